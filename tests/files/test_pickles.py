"""Nothing in a PyTorch file is run, whatever it calls; and no file takes more than it has.

Each attack first succeeds on Python's own `pickle.loads`.
"""

import contextlib
import pickle
import pickletools
import struct
import tracemalloc

import pytest
from cases import torch_by_hand

from wsjax.files import pickles, torch_files
from wsjax.files.torch_files import FileFormatError, Numbers, Record

ME = __name__


class Bomb:
    """Goes off when it is made, given a state, or called."""

    fired = 0

    def __new__(cls, *args, **kwargs):
        Bomb.fired += 1
        return super().__new__(cls)

    def __setstate__(self, state):
        Bomb.fired += 1


class Quiet:
    """Goes off when it is given a state, by name or by attribute."""

    def __setattr__(self, name, value):
        Bomb.fired += 1


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def attacks(canary):
    """Name -> (pickle, what the refusal names)."""
    shell = f"touch {canary}"
    python = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    system, get = name("posix", "system"), name("__builtin__", "getattr")
    bomb, quiet, ordered = name(ME, "Bomb"), name(ME, "Quiet"), name("collections", "OrderedDict")
    module = name("__builtin__", "__import__") + text("os") + b"\x85R"
    made = quiet + b")\x81"
    return {
        "reduce": (system + text(shell) + b"\x85R", "posix.system"),
        "reduce eval": (name("__builtin__", "eval") + text(python) + b"\x85R", "__builtin__.eval"),
        "reduce exec": (name("builtins", "exec") + text(python) + b"\x85R", "builtins.exec"),
        "inst": (b"(" + text(shell) + b"iposix\nsystem\n", "INST"),
        "obj": (b"(" + system + text(shell) + b"o", "posix.system"),
        "obj of a class": (b"(" + bomb + b"o", "Bomb"),
        "newobj": (bomb + b")\x81", "Bomb"),
        "newobj with keywords": (b"\x80\x04" + bomb + b")}\x92", "Bomb"),
        "setstate": (bomb + b")\x81}b", "Bomb"),
        "setattr": (made + b"N}" + text("a") + b"K\x01s\x86b", "Quiet"),
        "stack global": (
            b"\x80\x04" + text("posix") + text("system") + b"\x93" + text(shell) + b"\x85R",
            "posix.system",
        ),
        "getattr": (get + module + text("system") + b"\x86R" + text(shell) + b"\x85R", "getattr"),
        "inside a list": (b"](" + system + text(shell) + b"\x85R" + b"e", "posix.system"),
        "as a key": (b"}" + system + text(shell) + b"\x85R" + b"Ns", "posix.system"),
        "as an argument": (ordered + b"]" + bomb + b")\x81a\x85R", "Bomb"),
        "thrown away": (system + text(shell) + b"\x85R0N", "posix.system"),
        "from the memo": (system + b"q\x000h\x00" + text(shell) + b"\x85R", "posix.system"),
        "partial": (
            name("functools", "partial") + system + text(shell) + b"\x86R)R",
            "functools.partial",
        ),
        "dotted": (
            b"\x80\x04" + text(ME) + text("Bomb.__call__.__globals__") + b"\x93",
            "__globals__",
        ),
    }


ATTACKS = sorted(attacks("x"))


@pytest.fixture
def canary(tmp_path):
    Bomb.fired = 0
    return tmp_path / "canary"


def gone_off(canary):
    return canary.exists() or Bomb.fired > 0


class Nothing:
    """A file of no arrays."""

    def read(self, key, most):
        raise AssertionError(f"a storage {key} was read")

    def spend(self, size):
        pass


nothing = Nothing()


def whole(body):
    return (b"" if body.startswith(b"\x80") else b"\x80\x02") + body + b"."


def file_of(program, path):
    torch_by_hand.archive(path, program)
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_an_error_with_its_name_and_nothing_runs(attack, canary, tmp_path):
    body, named = attacks(canary)[attack]
    with pytest.raises(FileFormatError, match=r"names|instruction") as raised:
        torch_files.state(file_of(whole(body), tmp_path / "bad.pth"))
    assert named in str(raised.value)
    assert "bad.pth: " in str(raised.value)
    assert not gone_off(canary)


@pytest.mark.parametrize("attack", sorted(set(ATTACKS) - {"dotted"}))
def test_the_attacks_are_real(attack, canary):
    body, _ = attacks(canary)[attack]
    with contextlib.suppress(TypeError, pickle.UnpicklingError):  # what it did came first
        pickle.loads(whole(body))
    assert gone_off(canary)


def test_an_allowed_class_is_only_a_record(canary):
    body = name(ME, "Bomb") + b")\x81}" + text("x") + b"K\x07sb"
    found = pickles.rebuild(whole(body), nothing, [f"{ME}.Bomb"])
    assert type(found) is Record
    assert (found.name, found.fields) == (f"{ME}.Bomb", {"x": 7})
    for more in (
        name(ME, "Bomb") + b")R",  # called
        name(ME, "Bomb") + b"K\x01\x85\x81",  # made with arguments
        body + b"}b",  # a state once more
        name(ME, "Bomb") + b")\x81K\x01b",  # a state that is none
        name(ME, "Bomb") + b")\x81N}\x86b",  # attributes
        name(ME, "Bomb") + b"}b",  # of the class itself
    ):
        with pytest.raises(FileFormatError, match=r"Bomb|Record"):
            pickles.rebuild(whole(more), nothing, [f"{ME}.Bomb"])
    assert not gone_off(canary)


@pytest.mark.parametrize("builder", sorted(pickles.BUILDERS))
def test_builders_can_neither_be_changed_nor_fooled(builder):
    module, attribute = builder.rsplit(".", 1)
    token = name(module, attribute)
    arguments = b"NR" if "reconstruct" in builder else b"((NNK\x01NNttR"
    if builder == "torch.Size":
        arguments = b"(" + 9 * b"N" + b"t\x85R"
    for body in (
        token + b"}b",
        token + b"N}" + text("__code__") + b"Ns\x86b",
        token + b"K\x01a",
        token + text("a") + b"Ns",
        token + b"]\x85R",
        token + arguments,
        token + b"}R",
    ):
        with pytest.raises(FileFormatError):
            Numbers.array(pickles.rebuild(whole(body), nothing))
    assert not hasattr(pickles.Name("x"), "__dict__")


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda o: o.name)
def test_every_other_instruction_is_an_error(opcode):
    ours = {"REDUCE", "NEWOBJ", "BUILD", "SETITEM", "SETITEMS", *pickles._ALLOWED}
    if opcode.name in ours:
        assert opcode.proto <= 4
        return
    with pytest.raises(FileFormatError, match=f"instruction {opcode.name},"):
        pickles.rebuild(opcode.code.encode("latin-1") + b"0\n0\n", nothing)


# What a file may take


def peak(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memo_is_not_made_large():
    program = b"\x80\x02Nr\xff\xff\xff\x7f."  # 32 GB in the unpickler that is written in C
    assert peak(lambda: pickles.rebuild(program, nothing)) < 1 << 20


def test_keys_that_collide_are_errors():
    """Multiples of 2**61 - 1 have one hash: 80,000 of them took 44 s."""

    def dictionary(key):
        program, _ = torch_by_hand.program({key: None})
        return pickles.rebuild(program, nothing)

    last = (1 << 60) - 1
    assert [dictionary(k) for k in (last, -last)] == [{last: None}, {-last: None}]
    for key in ((1 << 61) - 1, -(1 << 60), 1 << 2000):
        with pytest.raises(FileFormatError, match="by name or number"):
            dictionary(key)


def test_a_storage_has_one_type_and_length():
    def stored(kind, count):
        pid = text("storage") + name("torch", kind) + text("0") + text("cpu") + count
        return b"(" + pid + b"tQ"

    one = stored("FloatStorage", b"K\x03")
    a, b = pickles.rebuild(whole(b"](" + one + one + b"e"), nothing)
    assert a is b
    for other in (stored("FloatStorage", b"K\x02"), stored("LongStorage", b"K\x03")):
        with pytest.raises(FileFormatError, match="storage '0' is of two types or lengths"):
            pickles.rebuild(whole(b"](" + one + other + b"e"), nothing)


def test_depth_costs_nothing():
    deep = b")" + 50_000 * b"\x85"
    assert type(pickles.rebuild(whole(deep), nothing)) is tuple
    with pytest.raises(FileFormatError, match="by name or number"):
        pickles.rebuild(whole(b"}" + deep + b"Ns"), nothing)


@pytest.mark.parametrize("builder", ["_codecs encode", "pathlib PosixPath"])
def test_a_builder_cannot_copy_one_text_time_and_again(builder):
    once = text("x" * 100_000) + b"q\x00" + text("latin1") + b"q\x01"
    token = "c{}\n{}\n".format(*builder.split()).encode() + b"q\x02"
    args = b"h\x00h\x01\x86" if "encode" in builder else b"h\x00\x85"
    program = whole(once + token + b"](" + 10_000 * (b"h\x02" + args + b"R") + b"e")

    def run():
        with pytest.raises(FileFormatError, match="grows too large"):
            pickles.rebuild(program, nothing)

    assert peak(run) < 8 << 20

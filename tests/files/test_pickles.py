"""Nothing in a PyTorch file is run, however it asks; and no file takes more than it has.

Each attack is first shown to work on Python's own `pickle.loads`.
"""

import contextlib
import hashlib
import io
import pickle
import pickletools
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from cases import torch_by_hand
from cases.torch_by_hand import Inline, Instance, Path, State

from wsjax.files import pickles, torch_files
from wsjax.files.torch_files import Limits, Numbers, Record, TorchFileError

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


def nothing(key, most):
    raise AssertionError(f"a storage {key} was read")


def whole(body):
    return (b"" if body.startswith(b"\x80") else b"\x80\x02") + body + b"."


def file_of(program, path):
    torch_by_hand.archive(path, program)
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_by_name_and_nothing_runs(attack, canary, tmp_path):
    body, named = attacks(canary)[attack]
    with pytest.raises(TorchFileError, match=r"names|instruction") as refused:
        torch_files.state(file_of(whole(body), tmp_path / "bad.pth"))
    assert named in str(refused.value)
    assert "bad.pth: " in str(refused.value)
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
        with pytest.raises(TorchFileError, match=r"Bomb|Record"):
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
        with pytest.raises(TorchFileError):
            Numbers.array(pickles.rebuild(whole(body), nothing))
    assert not hasattr(pickles._Name("x"), "__dict__")


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda o: o.name)
def test_every_other_instruction_is_refused(opcode):
    ours = {"REDUCE", "NEWOBJ", "BUILD", "SETITEM", "SETITEMS", *pickles._ALLOWED}
    if opcode.name in ours:
        assert opcode.proto <= 4
        return
    with pytest.raises(TorchFileError, match=f"instruction {opcode.name},"):
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


def test_depth_costs_nothing():
    deep = b")" + 50_000 * b"\x85"
    assert type(pickles.rebuild(whole(deep), nothing)) is tuple
    with pytest.raises(TorchFileError, match="by name or number"):
        pickles.rebuild(whole(b"}" + deep + b"Ns"), nothing)


@pytest.mark.parametrize("builder", ["_codecs encode", "pathlib PosixPath"])
def test_a_builder_cannot_copy_one_text_time_and_again(builder):
    once = text("x" * 100_000) + b"q\x00" + text("latin1") + b"q\x01"
    token = "c{}\n{}\n".format(*builder.split()).encode() + b"q\x02"
    args = b"h\x00h\x01\x86" if "encode" in builder else b"h\x00\x85"
    program = whole(once + token + b"](" + 10_000 * (b"h\x02" + args + b"R") + b"e")

    def run():
        with pytest.raises(TorchFileError, match="grows too large"):
            pickles.rebuild(program, nothing)

    assert peak(run) < 8 << 20


def test_compressed_members_are_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", [bytes(1 << 20)], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(TorchFileError, match="it has compressed or encrypted members"):
        torch_files.state(path)


def test_overlapping_members_are_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", [bytes(5000)])
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        offset = file.getinfo("bomb/data/0").header_offset
    at = data.index(b"PK\x01\x02")
    entry = lambda n: data.index(n, at)  # of the directory: two members take the same bytes
    for member in (b"bomb/version", b"bomb/.data/serialization_id"):
        end = entry(member)
        data[end - 4 : end] = struct.pack("<I", offset)
        data[end - 26 : end - 18] = struct.pack("<II", 5000, 5000)
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match="its members overlap: together"):
        torch_files.state(path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=100), "bytes, expected at most 100"),
        (Limits(pickle_bytes=10), "'data.pkl' has [0-9]+ bytes, expected at most 10"),
        (Limits(members=3), "at most 3 members"),
        (Limits(members=1), "at most 1 members, it has room for more"),
    ],
)
def test_limits(limits, message, tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.write(path, {"a": np.ones(3, "f4")})
    assert set(torch_files.state(path)) == {"a"}
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path, limits)


def storage(key, count, shape, strides, offset=0, kind="Float"):
    p = torch_by_hand.Program()
    p.name("torch._utils._rebuild_tensor_v2")

    def stored():
        p.tuple(["storage", lambda: p.name(f"torch.{kind}Storage"), key, "cpu", count])
        p.out.append(b"Q")

    p.tuple([stored, offset, shape, strides, False, p.ordered])
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"".join(p.out[1:]) + b"Rs."


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (storage("../../secret", 3, (3,), (1,)), r"member 'bad/data/../../secret', it is missing"),
        (storage("7", 3, (3,), (1,)), "missing"),
        (storage("0", 2, (2,), (1,)), "12 bytes, expected at most 8"),
        (storage("0", 4, (4,), (1,)), "has 12 bytes, expected 16"),
        (storage("0", 3, (4,), (1,)), "within its storage of 3"),
        (storage("0", 3, (2, 2), (1, 1), 2), "within its storage"),
        (storage("0", 3, (3,), (1,), 1), "within its storage"),
        (storage("0", 3, (1 << 30, 1 << 30), (0, 0)), "within its storage"),
        (storage("0", 3, (3,), (1, 1)), "stride each"),
        (storage("0", 3, (1,) * 20, (1,) * 20), "at most 8 axes"),
        (storage("0", 3, (-1,), (1,)), "counts"),
        (storage("0", 3, (2,), (-1,), 1), "counts"),
        (storage("0", 3, (2.0,), (1,)), "counts"),
        (storage("0", True, (2,), (1,)), "name and length"),
        (storage("0", 3, (3,), (1,), kind="ComplexFloat"), "torch.ComplexFloatStorage"),
        (b"\x80\x02K\x01Q.", "reference to a storage"),
    ],
)
def test_tensors_that_are_not_in_the_file(program, message, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    path = tmp_path / "bad.pth"
    torch_by_hand.archive(path, program, [np.arange(3, dtype="<f4").tobytes()])
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path)


def test_a_damaged_file_is_one_error_wherever_it_ends_or_differs(tmp_path):
    path = tmp_path / "net.pth"
    kinds = {"coef": [1.5, 2.5], "x": Inline(np.arange(4.0)), "a": np.ones((2, 3), "f4")}
    torch_by_hand.write(path, State(kinds, ("", "seq")))
    good, rng = path.read_bytes(), np.random.default_rng(0)
    for end in rng.integers(0, len(good), 60):
        path.write_bytes(good[:end])
        with pytest.raises(TorchFileError, match=r"net\.pth: "):
            torch_files.state(path)
    program, _ = torch_by_hand.program(State(kinds, ("", "seq")))
    errors = 0
    for _ in range(600):
        bad = bytearray(program)
        for at in rng.integers(0, len(bad), rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        try:
            pickles.rebuild(bytes(bad), nothing)
        except TorchFileError:
            errors += 1
    assert errors > 200
    at = good.index(np.ones((2, 3), "f4").tobytes())
    path.write_bytes(good[:at] + b"\x01" + good[at + 1 :])
    with pytest.raises(TorchFileError, match="CRC"):
        torch_files.state(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins otherwise"),
        (b"hello", "begins otherwise"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6"),
        (b"PK\x03\x04", "cut short"),
    ],
)
def test_what_is_no_file_of_pytorch(data, message, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path)
    with pytest.raises(FileNotFoundError, match=r"PyTorch file at .*absent\.pth, found none"):
        torch_files.state(tmp_path / "absent.pth")


def test_what_the_zip_must_hold(tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", more=[("other/data.pkl", b"\x80\x02N.")])
    with pytest.raises(TorchFileError, match=r"one member NAME/data\.pkl, found 2"):
        torch_files.state(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        torch_by_hand.archive(path, b"\x80\x02N.", more=[("net/version", b"4\n")])
    with pytest.raises(TorchFileError, match="different names"):
        torch_files.state(path)
    torch_by_hand.archive(path, b"\x80\x02K\x01.")
    with pytest.raises(TorchFileError, match="arrays by name, got a int"):
        torch_files.state(path)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {m: file.read(m) for m in file.namelist()} | {"net/byteorder": b"big"}
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    with pytest.raises(TorchFileError, match="big-endian"):
        torch_files.state(path)


# What is read


def test_a_state_dict_as_pytorch_writes_it(tmp_path):
    """The pickle of a network 2-32-32-1 is PyTorch 2.15's, to the byte."""
    shapes = {"0.weight": (32, 2), "0.bias": (32,), "1.weight": (32, 32), "1.bias": (32,)}
    shapes |= {"2.weight": (1, 32), "2.bias": (1,)}
    rng = np.random.default_rng(0)
    arrays = {f"seq.{k}": rng.normal(size=s).astype("f4") for k, s in shapes.items()}
    saved = State(arrays, ("", "seq", "seq.0", "seq.1", "seq.2"))
    program, _ = torch_by_hand.program(saved)
    digest = hashlib.sha256(program).hexdigest()
    assert digest == "dffe2ada15348386c12276f08ebb70b0165847ff42169c7bb6bd1ac76bfbf38e"
    torch_by_hand.write(tmp_path / "model_final.pth", saved)
    found = torch_files.state(tmp_path / "model_final.pth")
    assert list(found) == list(arrays)
    for k, array in arrays.items():
        np.testing.assert_array_equal(found[k], array)
        assert found[k].dtype == np.float32


def test_other_kinds_of_things(tmp_path):
    path = tmp_path / "kinds.pth"
    arrays = {k: np.arange(6).reshape(2, 3).astype(k) for k in ("f8", "i8", "f2", "u1", "b1")}
    arrays |= {"scalar": np.array(2.5, "f4"), "empty": np.zeros((0, 3), "f4")}
    rest = {"inline": Inline(np.arange(6.0).reshape(2, 3)), "path": Path("/a/b"), "none": None}
    rest |= {"record": Instance("zoo.Dataset", {"epochs": [1, 2], "large": 70_000})}
    torch_by_hand.write(path, {**arrays, **rest})
    with torch_files.opened(path, ["zoo.Dataset"]) as found:
        for k, array in arrays.items():
            np.testing.assert_array_equal(found[k].array(), array)
        np.testing.assert_array_equal(found["inline"].array(), np.arange(6.0).reshape(2, 3))
        assert (found["path"], found["none"]) == ("/a/b", None)
        assert found["record"].fields == {"epochs": [1, 2], "large": 70_000}
    with pytest.raises(TorchFileError, match=r"names 'zoo\.Dataset'"):
        torch_files.state(path)


def test_a_view_of_a_storage(tmp_path):
    path = tmp_path / "view.pth"
    torch_by_hand.archive(path, storage("0", 6, (2, 2), (1, 3), 1), [np.arange(6, dtype="<f4")])
    np.testing.assert_array_equal(torch_files.state(path)["a"], [[1, 4], [2, 5]])
    bfloat = np.array([1.5, -2.0], "<f4").view("<u2")[1::2].tobytes()
    torch_by_hand.archive(path, storage("0", 2, (2,), (1,), kind="BFloat16"), [bfloat])
    np.testing.assert_array_equal(torch_files.state(path)["a"], np.array([1.5, -2.0], "f4"))


def test_files_that_pytorch_itself_writes(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(4, 2))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    found = torch_files.state(tmp_path / "net.pth")
    for k, array in net.state_dict().items():
        np.testing.assert_array_equal(found[k], array.numpy())
    old = tmp_path / "old.pth"
    torch.save(net.state_dict(), old, _use_new_zipfile_serialization=False)
    with pytest.raises(TorchFileError, match=r"before version 1\.6"):
        torch_files.state(old)

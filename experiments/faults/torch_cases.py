"""Hostile PyTorch files by hand: bombs, lies about sizes, code, colliding keys.

`CASES` is title -> (a function that gives the bytes, what is right). The function receives the
path of a canary, a file that must not come into being. Right is a list of results, a function
that gives them, `ANYTHING` that is plain data, or None: the file must be refused.
"""

import io
import struct
import zipfile

import numpy as np

from experiments.lib.torch_writer import (
    call,
    mapping,
    name,
    patched,
    program,
    pt,
    saved,
    state,
    tensor,
    value,
)

ANYTHING = "anything"
PUT, GET = b"r\xff\xff\x00\x00", b"j\xff\xff\x00\x00"  # a place in the memo that `value` leaves
ROW = np.arange(6, dtype="f4").reshape(2, 3)
GOOD = {"seq.0.weight": ROW, "seq.0.bias": ROW[0]}
PRIME = 2**61 - 1  # integers that differ by a multiple of it have the same hash
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def _one(body, *storages):
    """{"w": body}."""
    return pt(program(mapping([(value("w"), body)])), storages)


def _shape(*arguments, size=24, **more):
    """A tensor that lies about a storage of six numbers."""
    return lambda _: _one(tensor("0", *arguments, **{"count": 6, **more}), bytes(size))


def _code(make):
    """A pickle that has a shell command run if it can: makes it of the command."""
    return lambda canary: _one(make(f"touch {canary}"))


def _zip(change):
    return lambda _: change(saved(GOOD))


# One tensor under many names, one storage under many tensors


def _aliases(count, size):
    def make(_):
        first = tensor("0", (size,)) + PUT
        pairs = [(value(f"w{i}"), GET if i else first) for i in range(count)]
        return pt(program(mapping(pairs)), [np.arange(size, dtype="f4").tobytes()])

    def right():
        array = np.arange(size, dtype="f4")
        return [{f"w{i}": array for i in range(count)}]

    return make, right


def _views(count, size):
    """As many tensors of one storage, each with an object of its own for it."""
    tensors = {f"w{i}": tensor("0", (size - i,), offset=i, count=size) for i in range(count)}
    return pt(program(state(tensors)), [bytes(4 * size)])


def _collisions(count):
    pairs = ((value(i * PRIME), b"N") for i in range(1, count))
    return _one(mapping(pairs))


# Files that hold more than a state dict


def _large():
    return {"w": np.arange(17 << 18, dtype="f4")}


def _nested():
    momentum = {0: {"step": 3, "exp_avg": ROW}}
    return {"model": GOOD, "optimizer": {"state": momentum, "lr": 0.5}, "epoch": 3}


def _wrapped(_):
    model = state({k: tensor(str(i), x.shape) for i, (k, x) in enumerate(GOOD.items())})
    moments = mapping([(value("step"), value(3)), (value("exp_avg"), tensor("2", ROW.shape))])
    optimizer = [(value("state"), mapping([(value(0), moments)])), (value("lr"), value(0.5))]
    pairs = [("model", model), ("optimizer", mapping(optimizer)), ("epoch", value(3))]
    storages = [x.tobytes() for x in (*GOOD.values(), ROW)]
    return pt(program(mapping((value(k), v) for k, v in pairs)), storages)


TENSORS = {
    "a tensor of 2**40 entries, strides 0": _shape((2**40,), (0,)),
    "a tensor of 2**60 entries, strides 0": _shape((2**30, 2**30), (0, 0)),
    "a negative size": _shape((-2, 3), (3, 1)),
    "a size of 2**200": _shape((2**200,), (1,)),
    "a size that is a fraction": _shape((2.5,), (1,)),
    "a size that is true": _shape((True, 3), (3, 1)),
    "a size that is a string": _shape(("2", 3), (3, 1)),
    "a size that is a tuple": _shape(((2,), 3), (3, 1)),
    "64 axes": _shape((1,) * 64, (1,) * 64),
    "more strides than axes": _shape((2, 3), (3, 1, 1)),
    "a negative stride": _shape((2, 3), (-3, 1)),
    "a stride of 2**61": _shape((2, 3), (2**61, 1)),
    "a negative offset": _shape((2, 3), (3, 1), offset=-1),
    "an offset behind the end": _shape((2, 3), (3, 1), offset=1),
    "an offset of 2**62": _shape((1,), (1,), offset=2**62),
    "a storage of 2**40 entries": _shape((2, 3), (3, 1), count=2**40),
    "a storage of -1 entries": _shape((2, 3), (3, 1), count=-1),
    "a storage larger than its member": _shape((2, 3), (3, 1), size=20),
    "a storage smaller than its member": _shape((2, 3), (3, 1), size=4000),
    "a storage of doubles in the bytes of floats": _shape((2, 3), (3, 1), kind="Double"),
    "a storage of objects": _shape((2, 3), (3, 1), kind="Untyped"),
    "a member that is not there": lambda _: _one(tensor("7", (2, 3)), bytes(24)),
    "a member outside the file": lambda _: _one(tensor("../../../etc/passwd", (2,)), bytes(8)),
    "a member that is the pickle": lambda _: _one(tensor("../data.pkl", (2,)), bytes(8)),
    "a member with a zero in its name": lambda _: _one(tensor("0\0", (2, 3)), bytes(24)),
    "a member with half a surrogate": lambda _: _one(tensor("\ud800", (2, 3)), bytes(24)),
}
CODE = {
    "os.system": lambda shell: call("os.system", value(shell)),
    "posix.system": lambda shell: call("posix.system", value(shell)),
    "subprocess.getoutput": lambda shell: call("subprocess.getoutput", value(shell)),
    "builtins.eval": lambda shell: call(
        "builtins.eval", value(f"__import__('os').system({shell!r})")
    ),
    "__builtin__.exec": lambda shell: call(
        "__builtin__.exec", value(f"import os; os.system({shell!r})")
    ),
    "runpy.run_path": lambda shell: call("runpy.run_path", value(shell)),
    "builtins.getattr": lambda shell: call("builtins.getattr", name("os.path"), value("os")),
    "operator.methodcaller": lambda shell: call("operator.methodcaller", value(shell)),
    "an instruction INST": lambda shell: b"(" + value(shell) + b"ios\nsystem\n",
    "an instruction OBJ": lambda shell: b"(" + name("os.system") + value(shell) + b"o",
    "an instruction NEWOBJ": lambda shell: name("subprocess.Popen") + value((shell,)) + b"\x81",
    "an instruction NEWOBJ_EX": lambda shell: (
        name("subprocess.Popen") + value((shell,)) + b"}" + value("shell") + b"\x88s\x92"
    ),
    "an instruction STACK_GLOBAL": lambda shell: (
        value("os") + value("system") + b"\x93" + value((shell,)) + b"R"
    ),
    "an instruction EXT1": lambda shell: b"\x82\x01" + value((shell,)) + b"R",
    "an instruction PERSID": lambda shell: b"P" + shell.encode() + b"\n",
    "BUILD of a name": lambda shell: (
        name("torch.Size") + b"}" + value("__class__") + name("os.system") + b"sb"
    ),
    "BUILD of a list": lambda shell: b"]}" + value("append") + value(shell) + b"sb",
    "BUILD with __setstate__": lambda shell: (
        call("collections.OrderedDict")
        + mapping([(value("__setstate__"), name("posix.system"))])
        + b"b"
        + value(shell)
        + b"b"
    ),
    "a dotted name": lambda shell: (
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n" + value((shell,)) + b"R"
    ),
    "torch.load": lambda shell: call("torch.load", value(shell)),
    "torch.jit": lambda shell: call("torch.jit._script.unpackage_script_module", value(shell)),
    "numpy.load": lambda shell: call("numpy.load", value(shell)),
    "functools.partial": lambda shell: call("functools.partial", name("os.system"), value(shell)),
    "copyreg._reconstructor": lambda shell: call(
        "copyreg._reconstructor", name("os.system"), name("builtins.object"), b"N"
    ),
    "a tensor built of a command": lambda shell: call(
        "torch._utils._rebuild_tensor_v2", *[call("os.system", value(shell))] * 4
    ),
    "a storage of a class": lambda shell: (
        b"(" + value("storage") + name("subprocess.Popen") + value(shell) * 2 + value(1) + b"tQ"
    ),
}


def _numpy(*kind, shape=(2,), data=b"\0" * 16, order="<", columns=False):
    """A NumPy array within the pickle."""
    array = call(
        "numpy._core.multiarray._reconstruct", name("numpy.ndarray"), value((0,)),
        call("_codecs.encode", value("b"), value("latin1")),
    )  # fmt: skip
    of = call("numpy.dtype", *map(value, kind)) + value((3, order, None, None, None, -1, -1, 0))
    encoded = call("_codecs.encode", value(data.decode("latin-1")), value("latin1"))
    return array + b"(" + value(1) + value(shape) + of + b"b" + value(columns) + encoded + b"tb"


PICKLES = {
    "an array of objects": _numpy("O8", False, True),
    "an array of strings of a gigabyte": _numpy("S1000000000", False, True),
    "an array of records": _numpy("f8,O", False, True),
    "a big-endian array": _numpy("f8", False, True, order=">"),
    "an array of 2**40 entries": _numpy("f8", False, True, shape=(2**40,)),
    "an array of a negative size": _numpy("f8", False, True, shape=(-2,)),
    "an array by columns": _numpy("f8", False, True, columns=True),
    "an array without contents": call("numpy._core.multiarray._reconstruct"),
    "a string of 2**31 bytes": b"X\xff\xff\xff\x7f",
    "a string of 2**63 bytes": b"\x8d" + struct.pack("<Q", 2**63 - 1),
    "bytes of 2**63": b"\x8e" + struct.pack("<Q", 2**63 - 1),
    "a bytearray of 2**62": b"\x96" + struct.pack("<Q", 2**62),
    "an integer of 2**31 bytes": b"\x8b\xff\xff\xff\x7f",
    "an integer of a negative length": b"\x8b\xff\xff\xff\xff",
    "a frame of 2**63 bytes": b"\x95" + struct.pack("<Q", 2**63 - 1),
    "a frame within a frame": b"\x95" + struct.pack("<Q", 9) + b"\x95" + struct.pack("<Q", 1),
    "a decimal of 900,000 digits": b"I" + b"9" * 900_000 + b"\n",
    "a long decimal of 900,000 digits": b"L" + b"9" * 900_000 + b"L\n",
    "a string that is not UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
    "an end without an object": b"0",
    "a mark without an end": b"(" * 1000,
    "a pickle of protocol 200": b"\x80\xc8N",
    "a name without an end": b"ctorch._utils",
    "a name that is not UTF-8": b"c\xff\xfe\n\xff\n",
    "a dict of lists as keys": mapping([(b"]", b"N")]),
    "a dict of dicts as keys": mapping([(b"}", b"N")]),
    "an odd dict": b"}(" + value("a") * 3 + b"u",
    "a dict that is a tensor": tensor("0", (2, 3)) + b"(" + value("a") + value("b") + b"u",
    "a call of a tensor": tensor("0", (2, 3)) + value((1,)) + b"R",
    "a state of a tensor": tensor("0", (2, 3)) + b"}b",
}
LONG = value("a/" * 200_000) + PUT
_ENCODED = call("_codecs.encode", GET, value("latin1"))
HARMLESS = {  # plain data, however much of it: read, or refused
    "lists in lists, 400,000 deep": b"]" * 400_000 + b"a" * 399_999,
    "tuples in tuples, 900,000 deep": b")" + b"\x85" * 900_000,
    "dicts in dicts, 100,000 deep": b"}" + (value("a") + b"}") * 100_000 + b"s" * 100_000,
    "a list that holds itself": b"]" + PUT + b"(" + GET * 100_000 + b"e",
    "a tuple doubled 60 times": b")" + PUT + (GET + b"\x86" + PUT) * 60,
    "300,000 empty dicts": b"](" + b"}" * 300_000 + b"e",
    "a memo with a number of 2**31": b"]r\xff\xff\xff\x7f",
    "300,000 memos": b"]" + b"".join(b"r" + struct.pack("<I", 2**31 - i) for i in range(150_000)),
    "an integer of 900,000 bytes": b"\x8b" + struct.pack("<i", 900_000) + b"\x7f" * 900_000,
    "a string of 400,000 bytes, 5,000 times": b"](" + LONG + GET * 5000 + b"e",
    "bytes made anew 2,000 times": b"](" + LONG + _ENCODED * 2000 + b"e",
    "a path joined 2,000 times": b"](" + LONG + call("pathlib.PosixPath", GET) * 2000 + b"e",
    "a string with half a surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
    "no entries of 2**50 columns": tensor("0", (0, 2**50), (1, 1), count=6),
    "no entries of 2**59 columns": tensor("0", (0, 2**59, 2**59), (1, 1, 1), count=6),
    "a NumPy array of no entries, 2**59 columns": _numpy(
        "f8", False, True, shape=(0, 2**59), data=b""
    ),
}  # fmt: skip


def _entry(data, offset, form, number):
    """With a number of the directory's entry of data/0 replaced."""
    return patched(data, data.rindex(b"archive/data/0") - 46, offset, form, number)


def _overlap(data):
    """Two members of the directory with one place in the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        first = file.infolist()[0].header_offset
    return _entry(data, 42, "I", first)


def _end64(data, offset=None, **changed):
    """With the records of a zip that is too large for four bytes."""
    end = data.rindex(END)
    count, size, start = struct.unpack_from("<HII", data, end + 10)
    stated = {"count": count, "size": size, "start": start} | changed
    counts = (stated["count"], stated["count"], stated["size"], stated["start"])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, *counts)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end if offset is None else offset, 1)
    tail = data[end : end + 8] + struct.pack("<HHII", 65535, 65535, 2**32 - 1, 2**32 - 1)
    return data[:end] + record + locator + tail + data[end + 20 :]


def _many(count):
    """Members without contents."""
    return saved(GOOD, more=[(f"archive/{i}", b"") for i in range(count)])


ZIPS = {
    "an empty file": lambda _: b"",
    "four bytes": lambda _: LOCAL,
    "text": lambda _: b"weights: 1 2 3\n" * 40,
    "a bare pickle": lambda _: program(value(3)),
    "the format before PyTorch 1.6": lambda _: program(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"),
    "a zip without a directory": _zip(lambda x: x[: x.index(CENTRAL)]),
    "a zip of nothing": lambda _: END + bytes(18),
    "compressed members": lambda _: saved(GOOD, compression=zipfile.ZIP_DEFLATED),
    "members by bzip2": lambda _: saved(GOOD, compression=zipfile.ZIP_BZIP2),
    "an unknown compression": _zip(lambda x: _entry(x, 10, "H", 99)),
    "an encrypted member": _zip(lambda x: _entry(x, 8, "H", 1)),
    "a member for version 9.9": _zip(lambda x: _entry(x, 6, "H", 99)),
    "a member's name that is not UTF-8": _zip(
        lambda x: _entry(x, 8, "H", 0x800).replace(b"archive/data/0", b"archive/data/\xff")
    ),
    "a member of four gigabytes": _zip(lambda x: _entry(x, 24, "I", 2**32 - 2)),
    "a member with a long name": _zip(lambda x: _entry(x, 28, "H", 65535)),
    "a member with a long extra field": _zip(lambda x: _entry(x, 30, "H", 65535)),
    "a member behind the end": _zip(lambda x: _entry(x, 42, "I", 2**31)),
    "members that overlap": _zip(_overlap),
    "a directory of 2**31 bytes": _zip(lambda x: patched(x, x.rindex(END), 12, "I", 2**31)),
    "a directory behind the end": _zip(lambda x: patched(x, x.rindex(END), 16, "I", 2**31)),
    "a directory of 65,535 members": _zip(lambda x: patched(x, x.rindex(END), 10, "H", 65535)),
    "a comment that is not there": _zip(lambda x: patched(x, x.rindex(END), 20, "H", 65535)),
    "a second end in the comment": _zip(lambda x: x + END + bytes(18)),
    "zip64, a directory of 2**62 bytes": _zip(lambda x: _end64(x, size=2**62)),
    "zip64, a directory at 2**63": _zip(lambda x: _end64(x, start=2**63)),
    "zip64, 2**62 members": _zip(lambda x: _end64(x, count=2**62)),
    "zip64, a record at 2**64 - 1": _zip(lambda x: _end64(x, offset=2**64 - 1)),
    "zip64, a record at 0": _zip(lambda x: _end64(x, offset=0)),
    "two pickles": lambda _: saved(GOOD, more=[("other/data.pkl", b"N.")]),
    "one member twice": lambda _: saved(GOOD, more=[("archive/data/0", bytes(24))]),
    "big-endian numbers": lambda _: saved(GOOD, byteorder=b"big"),
    "a byte order of 900,000 bytes": lambda _: saved(GOOD, byteorder=b"little" * 150_000),
    "12,000 members": lambda _: _many(12_000),
    "a number alone": lambda _: pt(program(value(3))),
    "a list": lambda _: pt(program(b"]")),
    "numbers as names": lambda _: pt(program(mapping([(value(1), value(2))]))),
    "a pickle of two megabytes": lambda _: pt(program(value("a" * 2_000_000))),
    "an empty pickle": lambda _: pt(b""),
}
CASES = {
    "a good file": (lambda _: saved(GOOD), [GOOD]),
    "zip64, and right": (_zip(_end64), [GOOD]),
    "model and optimizer": (_wrapped, lambda: [_nested(), _nested()["model"]]),
    "a state dict of 17 MiB": (lambda _: saved(_large()), lambda: [_large()]),
    "a good file behind four bytes": (_zip(lambda x: LOCAL + x), ANYTHING),
    "20,000 names of one tensor": _aliases(20_000, 10_000),
    "300 names of one tensor of 16 MB": _aliases(300, 4_100_000),
    "5,000 tensors of one storage": (lambda _: _views(5_000, 10_000), ANYTHING),
    "70,000 colliding integers": (lambda _: _collisions(70_000), ANYTHING),
    **{k: (make, [GOOD]) for k, make in ZIPS.items()},
    **{k: (make, None) for k, make in TENSORS.items()},
    **{k: (_code(make), None) for k, make in CODE.items()},
    **{k: (lambda _, body=body: _one(body, bytes(24)), None) for k, body in PICKLES.items()},
    **{k: (lambda _, body=body: _one(body, bytes(24)), ANYTHING) for k, body in HARMLESS.items()},
}

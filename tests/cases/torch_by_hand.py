"""Files as `torch.save` writes them, byte by byte, without PyTorch.

    write(path, {"seq.0.weight": array, ...})     a state dict
    program(x)                                    its data.pkl, and the arrays of data/0, ...

The instructions are those of PyTorch 2.15 (protocol 2), memo numbers included: a test holds
the sha256 of one that it wrote.
"""

import struct
import zipfile

import numpy as np

STORAGES = {"f4": "Float", "f8": "Double", "i8": "Long", "f2": "Half", "u1": "Byte", "b1": "Bool"}


class State(dict):
    """A state dict; `modules` are the names that PyTorch keeps versions of."""

    def __init__(self, arrays, modules=()):
        super().__init__(arrays)
        self.modules = modules


class Instance:
    """Of a class "module.Name", its fields as a dict."""

    def __init__(self, name, fields):
        self.name, self.fields = name, fields


class Path(str):
    """A `pathlib.PosixPath`."""


class Inline:
    """A NumPy array that stays one."""

    def __init__(self, array):
        self.array = array


class Program:
    """A pickle in the writing."""

    def __init__(self):
        self.out, self.memo, self.count, self.arrays = [b"\x80\x02"], {}, 0, []

    def put(self, key=None):
        n, self.count = self.count, self.count + 1
        self.out.append(b"q" + bytes([n]) if n < 256 else b"r" + struct.pack("<I", n))
        if key is not None:
            self.memo[key] = n

    def known(self, key):
        if key in self.memo:
            n = self.memo[key]
            self.out.append(b"h" + bytes([n]) if n < 256 else b"j" + struct.pack("<I", n))
        return key in self.memo

    def name(self, full):
        if not self.known(("name", full)):
            self.out.append("c{}\n{}\n".format(*full.rsplit(".", 1)).encode())
            self.put(("name", full))

    def tuple(self, items):
        short = {1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(items))
        if not items:
            return self.out.append(b")")
        self.out += [] if short else [b"("]
        for x in items:
            x() if callable(x) else self.add(x)
        self.out.append(short or b"t")
        return self.put()

    def items(self, pairs):
        pairs = list(pairs)
        self.out += [b"("] if len(pairs) > 1 else []
        for k, v in pairs:
            self.add(k)
            self.add(v)
        self.out += [b"u" if len(pairs) > 1 else b"s"] if pairs else []

    def ordered(self, pairs=()):
        self.name("collections.OrderedDict")
        self.out += [b")", b"R"]
        self.put()
        self.items(pairs)

    def tensor(self, array):
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        kind = f"torch.{STORAGES[array.dtype.str[1:]]}Storage"
        key = str(len(self.arrays))
        self.arrays.append(array)
        strides = tuple(s // array.itemsize for s in array.strides)

        def storage():
            self.tuple(["storage", lambda: self.name(kind), key, "cpu", array.size])
            self.out.append(b"Q")

        self.name("torch._utils._rebuild_tensor_v2")
        self.tuple([storage, 0, array.shape, strides, False, self.ordered])
        self.out.append(b"R")
        self.put()

    def inline(self, array):
        self.name("numpy._core.multiarray._reconstruct")
        self.tuple([lambda: self.name("numpy.ndarray"), (0,), lambda: self.encoded(b"b")])
        self.out.append(b"R")
        self.put()

        def kind():
            if self.known(("type", array.dtype.str)):
                return
            self.name("numpy.dtype")
            self.tuple([array.dtype.str[1:], False, True])
            self.out.append(b"R")
            self.put(("type", array.dtype.str))
            self.tuple([3, "<", None, None, None, -1, -1, 0])
            self.out.append(b"b")

        self.tuple([1, array.shape, kind, False, lambda: self.encoded(array.tobytes())])
        self.out.append(b"b")

    def encoded(self, data):
        if self.known(data):
            return
        self.name("_codecs.encode")
        self.tuple([data.decode("latin-1"), "latin1"])
        self.out.append(b"R")
        self.put(data)

    def integer(self, x):
        if 0 <= x < 256:
            self.out.append(b"K" + bytes([x]))
        elif 0 <= x < 65536:
            self.out.append(b"M" + struct.pack("<H", x))
        elif -(1 << 31) <= x < 1 << 31:
            self.out.append(b"J" + struct.pack("<i", x))
        else:
            data = x.to_bytes(x.bit_length() // 8 + 1, "little", signed=True)
            self.out.append(b"\x8a" + bytes([len(data)]) + data)

    def add(self, x):
        if x is None or isinstance(x, bool):
            self.out.append({None: b"N", True: b"\x88", False: b"\x89"}[x])
        elif isinstance(x, int):
            self.integer(x)
        elif isinstance(x, float):
            self.out.append(b"G" + struct.pack(">d", x))
        elif isinstance(x, Path):
            self.name("pathlib.PosixPath")
            self.tuple(("/", *x.strip("/").split("/")))
            self.out.append(b"R")
            self.put()
        elif isinstance(x, str):
            if not self.known(x):
                self.out.append(b"X" + struct.pack("<I", len(x.encode())) + x.encode())
                self.put(x)
        elif isinstance(x, tuple):
            self.tuple(x)
        elif isinstance(x, list):
            self.out.append(b"]")
            self.put()
            self.out += [b"("] if len(x) > 1 else []
            for y in x:
                self.add(y)
            self.out += [b"e" if len(x) > 1 else b"a"] if x else []
        elif isinstance(x, State):
            self.ordered(x.items())
            self.out.append(b"}")
            self.put()
            self.add("_metadata")
            self.ordered([(m, {"version": 1}) for m in x.modules])
            self.out += [b"s", b"b"]
        elif isinstance(x, dict):
            self.out.append(b"}")
            self.put()
            self.items(x.items())
        elif isinstance(x, Instance):
            self.name(x.name)
            self.out += [b")", b"\x81"]
            self.put()
            self.add(x.fields)
            self.out.append(b"b")
        elif isinstance(x, Inline):
            self.inline(x.array)
        else:
            self.tensor(x)


def program(x):
    """The pickle, and the arrays that it refers to."""
    made = Program()
    made.add(x)
    return b"".join(made.out) + b".", made.arrays


def write(path, x):
    """A file; its members are those of PyTorch, in its order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pickle, arrays = program(x)
    archive(path, pickle, [a.tobytes() for a in arrays])


def archive(path, pickle, storages=(), root=None, compression=zipfile.ZIP_STORED, more=()):
    """A file with this pickle in it."""
    root = path.stem if root is None else root
    members = [("data.pkl", pickle), (".format_version", b"1"), (".storage_alignment", b"64")]
    members += [("byteorder", b"little"), *((f"data/{i}", d) for i, d in enumerate(storages))]
    members += [("version", b"3\n"), (".data/serialization_id", b"0" * 40)]
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(f"{root}/{name}", data)
        for name, data in more:
            file.writestr(name, data)


# Networks as PyTorch runs them, in NumPy


def draw(*shape, scale=0.3, seed=0):
    return (scale * np.random.default_rng([seed, *shape]).normal(size=shape)).astype("f4")


def conv(x, kernel, bias, stride=1):
    """PyTorch's: x [in, row, column], kernel [out, in, row, column]."""
    k = kernel.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (1, 2))[:, ::stride, ::stride]
    return np.einsum("irchw,oihw->orc", windows, kernel) + bias[:, None, None]


def max_pool(x, n):
    rows, cols = x.shape[1] // n, x.shape[2] // n
    return x[:, : rows * n, : cols * n].reshape(len(x), rows, n, cols, n).max((2, 4))

"""The pickle inside a PyTorch file, rebuilt as plain data; nothing in it is run.

    GLOBAL torch._utils _rebuild_tensor_v2   a name: becomes a token that stands for itself
    BINPERSID                                a storage of the file: found, not yet read
    REDUCE                                   a call: `Numbers(storage, offset, shape, strides)`

A pickle is a program: it names functions and has them called. Here it can do neither.
A name that it looks up gives a token with no attributes, never the thing itself, and only
if the name is among `BUILDERS`, `STORAGES` or the caller's `records`; a call of a token
runs our builder of that name. Instructions that `torch.save` does not write are errors,
and so is setting the state of anything but a record: each is one `TorchFileError` that
names it.

The interpreter is Python's own `pickle._Unpickler`, the one written in Python: the one in
C gives a pickle of ten bytes a gigabyte for its memo, and lets it set attributes of what
it was given. Its instructions are taken one by one, so that a new one is not let in.
"""

import io
import math
import pathlib
import pickle
import pickletools
import struct
import weakref
from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np

BFLOAT16 = "torch.BFloat16Storage"
STORAGES = {  # name of a storage -> how its numbers lie in the file
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    BFLOAT16: "<u2",  # the upper half of a float32
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")  # NumPy's
DIMENSIONS = 8


class TorchFileError(ValueError):
    """A file is damaged, too large, or holds what is not read here."""


class Record:
    """An instance of a class that is not here: its name and its fields."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str):
        self.name, self.fields = name, None


class Source(Protocol):
    """Where the numbers of a pickle lie."""

    def read(self, key: str, most: int) -> bytes:
        """The bytes of a storage, from its name and the most there may be."""
        ...

    def spend(self, size: int) -> None:
        """Counts the bytes of an array that is given out, and raises if there are too many."""
        ...


class Storage:
    """Numbers in a row: in a member of the file or, for NumPy's arrays, in the pickle.

    Attributes:
        name: of its type, a key of `STORAGES`; of NumPy's arrays the NumPy type.
        kind: their NumPy type.
        count: how many.
        source: gives their bytes.
        key: the member.
        kept: the numbers, if they are in memory, else None.
    """

    __slots__ = ("count", "kept", "key", "kind", "name", "source")

    def __init__(self, name: str, count: int, source: Source, key: str):
        self.name, self.kind = name, np.dtype(STORAGES.get(name, name))
        self.count, self.source, self.key = count, source, key
        self.kept: Callable[[], np.ndarray | None] = lambda: None

    def array(self) -> np.ndarray:
        """All of them, read-only; read once for as long as an array of them is in use."""
        flat = self.kept()
        if flat is None:
            flat = self._flat()
            flat.flags.writeable = False
            self.kept = weakref.ref(flat)
        return flat

    def _flat(self):
        size = self.count * self.kind.itemsize
        data = self.source.read(self.key, size)
        if len(data) != size:
            raise TorchFileError(f"a storage has {len(data)} bytes, expected {size}")
        flat = np.frombuffer(data, self.kind)
        if self.kind == np.bool_ and np.any(flat.view(np.uint8) > 1):
            raise TorchFileError("a storage of booleans has bytes other than 0 and 1")
        if self.name != BFLOAT16:
            return flat
        wide = np.empty(self.count, np.float32)
        np.left_shift(flat, np.uint32(16), out=wide.view(np.uint32))
        return wide


class Numbers:
    """An array that is read on demand.

    Of a storage's entries, `shape` of them with `strides` from `offset`, all in entries.
    """

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(
        self,
        storage: Storage | None,
        offset: int = 0,
        shape: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        """Reads it: a read-only view of its storage, which `.copy()` makes writable.

        Arrays of one storage, as of tied weights, share its memory, and are then read once.

        Raises:
            TorchFileError: its storage is missing, damaged or too small; or the file is
                closed, or has given out as many bytes as it may (`torch_files.Limits`).
        """
        shape, strides = self.shape, self.strides
        if len(shape) != len(strides) or len(shape) > DIMENSIONS:
            raise TorchFileError(
                f"expected a tensor of at most {DIMENSIONS} axes with a stride each, got "
                f"{len(shape)} axes and {len(strides)} strides"
            )
        if not all(_is_count(n) for n in (*shape, *strides, self.offset)):
            raise TorchFileError("expected a tensor's shape, strides and offset as counts")
        if self.storage is None:
            raise TorchFileError("expected the contents of an array, its pickle has none")
        item = self.storage.kind.itemsize * (1 + (self.storage.name == BFLOAT16))
        self.storage.source.spend(item * math.prod(max(n, 1) for n in shape))
        flat = self.storage.array()
        last = self.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if 0 in shape:
            return np.ndarray(shape, flat.dtype, b"")
        if last >= len(flat):
            raise TorchFileError(
                f"expected a tensor within its storage of {len(flat)} numbers, got shape "
                f"{shape}, strides {strides} from {self.offset}"
            )
        steps = [item * s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)]
        return np.ndarray(shape, flat.dtype, flat, item * self.offset, steps)


def rebuild(program: bytes, source: Source, records: Collection[str] = ()) -> Any:
    """Rebuilds a pickle as dicts, lists, tuples, numbers, strings, `Numbers`, `Record`.

    Args:
        program: the pickle.
        source: of its arrays.
        records: full names of classes whose instances are rebuilt as `Record`.

    Raises:
        TorchFileError: the pickle is damaged, or does what is not allowed.
    """
    try:
        return _Reader(program, source, records).load()
    except TorchFileError:
        raise
    except _BROKEN as error:
        raise TorchFileError(f"its pickle is damaged ({error!r:.200})") from error


_BROKEN = (
    *(pickle.UnpicklingError, EOFError, IndexError, KeyError, ValueError, TypeError),
    *(AttributeError, OverflowError, struct.error, AssertionError),
)


class _Name:
    """A name that a pickle looked up; a token without attributes."""

    __slots__ = ("full",)

    def __init__(self, full):
        self.full = full


def _is_count(n):
    return type(n) is int and 0 <= n < 1 << 60


def _is_key(k):
    return type(k) is str or (type(k) is int and abs(k) < 1 << 60)


def _by_name(state):
    return type(state) is dict and all(type(k) is str for k in state)


def _empty(reader, *args):
    if args:
        raise TorchFileError("expected an empty collections.OrderedDict in its pickle")
    return {}


def _encode(reader, text, encoding):
    if type(text) is not str or encoding != "latin1":
        raise TorchFileError("expected _codecs.encode of text as latin1 in its pickle")
    reader.spend(len(text))
    return text.encode("latin-1")


def _path(reader, *parts):
    if not all(type(p) is str for p in parts):
        raise TorchFileError("expected a path of strings in its pickle")
    reader.spend(sum(map(len, parts)))
    return str(pathlib.PurePosixPath(*parts))


def _size(reader, shape):
    if type(shape) is not tuple or len(shape) > DIMENSIONS:
        raise TorchFileError(f"expected a torch.Size of at most {DIMENSIONS} axes in its pickle")
    return shape


def _kind(reader, code, *_):
    if code not in NUMBERS:
        raise TorchFileError(f"expected a NumPy type of {NUMBERS}, got {code!r:.40}")
    return np.dtype(code)


def _scalar(reader, kind, data):
    if not isinstance(kind, np.dtype) or type(data) is not bytes or len(data) != kind.itemsize:
        raise TorchFileError("expected a NumPy number in its pickle, got other than one")
    return np.frombuffer(data, kind)[0].item()


def _tensor(reader, storage, offset, shape, strides, *_):
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise TorchFileError("expected a tensor with storage, shape and strides in its pickle")
    return Numbers(storage, offset, shape, strides)


def _parameter(reader, tensor, *_):
    if type(tensor) is not Numbers:
        raise TorchFileError("expected a parameter made of a tensor in its pickle")
    return tensor


def _array(reader, *_):
    return Numbers(None)


BUILDERS = {  # what a pickle may have called -> what is called instead
    "collections.OrderedDict": _empty,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "pathlib.PosixPath": _path,
    "pathlib.PurePosixPath": _path,
    "pathlib._local.PosixPath": _path,
    "_codecs.encode": _encode,
    "numpy.dtype": _kind,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}
_NAMES = {*BUILDERS, *STORAGES, "numpy.ndarray"}
_ALLOWED = (  # Python's own instructions; five more are written below
    *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1"),
    *("BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES"),
    *("SHORT_BINBYTES", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST"),
    *("EMPTY_DICT", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET"),
    *("LONG_BINGET", "BINPERSID", "GLOBAL", "STACK_GLOBAL"),
)


def _refusal(name):
    def fail(reader):
        raise TorchFileError(f"its pickle has an instruction {name}, which torch.save never writes")

    return fail


class _Reader(pickle._Unpickler):
    """Python's unpickler: the instructions above, names as tokens, calls as builders."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, program, source, records):
        super().__init__(io.BytesIO(program))
        self.source, self._records, self._storages = source, frozenset(records), {}
        # Builders that copy could be given the same large text time and again.
        self._left = 4 * len(program) + 4096

    def spend(self, size):
        self._left -= size
        if self._left < 0:
            raise TorchFileError("its pickle grows too large as it is rebuilt")

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full not in _NAMES and full not in self._records:
            raise TorchFileError(f"its pickle names {full!r:.200}, which is not rebuilt here")
        return _Name(full)

    def persistent_load(self, pid):
        """("storage", its type, its member, a device, its length)."""
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise TorchFileError("expected a reference to a storage in its pickle")
        _, kind, key, _, count = pid
        if type(kind) is not _Name or kind.full not in STORAGES:
            raise TorchFileError(f"expected a storage of {sorted(STORAGES)} in its pickle")
        if type(key) is not str or not _is_count(count):
            raise TorchFileError("expected a storage's name and length in its pickle")
        storage = self._storages.setdefault(key, Storage(kind.full, count, self.source, key))
        if (storage.name, storage.count) != (kind.full, count):
            raise TorchFileError(f"its storage {key!r:.80} is of two types or lengths")
        return storage

    def load_reduce(self):
        args, name = self.stack.pop(), self.stack[-1]
        builder = BUILDERS.get(name.full) if type(name) is _Name else None
        if builder is None or type(args) is not tuple:
            raise TorchFileError(f"its pickle calls {what(name)}, which is not called here")
        self.stack[-1] = builder(self, *args)

    def load_newobj(self):
        args, name = self.stack.pop(), self.stack[-1]
        record = type(name) is _Name and name.full in self._records
        if not record or type(args) is not tuple or args:
            raise TorchFileError(f"its pickle makes a {what(name)}, which is not made here")
        self.stack[-1] = Record(name.full)

    def load_build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Record and target.fields is None and _by_name(state):
            target.fields = state
        elif type(target) is Numbers and target.storage is None:
            _fill(self, target, state)
        elif isinstance(target, np.dtype) and type(state) is tuple and len(state) > 1:
            if state[1] not in ("<", "|", "="):
                raise TorchFileError("its NumPy arrays are big-endian, which is not read here")
        elif not (type(target) is dict and _by_name(state) and set(state) == {"_metadata"}):
            raise TorchFileError(f"its pickle sets the state of {what(target)}")

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self):
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def _set(self, target, items):
        # The hash of a tuple within tuples would recurse as deep as they go; those of large
        # integers, multiples of 2**61 - 1, can be the same for all.
        if type(target) is not dict or not all(map(_is_key, items[::2])):
            raise TorchFileError("expected dicts by name or number alone in its pickle")
        target.update(zip(items[::2], items[1::2], strict=True))

    dispatch = {o.code.encode("latin-1")[0]: _refusal(o.name) for o in pickletools.opcodes} | {
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (getattr(pickle, name) for name in _ALLOWED)
    }
    dispatch |= {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def what(x: object) -> str:
    """Names a token, or the type of anything else, for messages."""
    return f"{x.full!r:.200}" if type(x) is _Name else f"a {type(x).__name__}"


def _fill(reader, target, state):
    """Gives an array NumPy's (version, shape, type, by columns, bytes)."""
    if type(state) is not tuple or len(state) != 5 or type(state[4]) is not bytes:
        raise TorchFileError("expected a NumPy array of plain numbers in its pickle")
    _, shape, kind, by_columns, data = state
    if not isinstance(kind, np.dtype) or type(shape) is not tuple or by_columns:
        raise TorchFileError("expected a NumPy array of plain numbers, row by row")
    if len(shape) > DIMENSIONS or not all(map(_is_count, shape)):
        raise TorchFileError("expected the shape of a NumPy array as counts")
    if math.prod(shape) * kind.itemsize != len(data):
        raise TorchFileError(f"expected a NumPy array {shape} {kind}, got {len(data)} bytes")
    target.storage = Storage(kind.str, math.prod(shape), reader.source, "")
    flat = np.frombuffer(data, kind)
    target.storage.kept = lambda: flat
    target.shape = shape
    target.strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))

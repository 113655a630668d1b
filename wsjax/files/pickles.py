"""The pickle inside a PyTorch file, rebuilt as plain data; nothing in it is run.

    GLOBAL torch._utils _rebuild_tensor_v2   a name: becomes a token that stands for itself
    BINPERSID                                a storage of the file: found, not yet read
    REDUCE                                   a call: `Numbers(storage, offset, shape, strides)`

A pickle is a program: it names functions and has them called. Here it can do neither.
A name that it looks up gives a token with no attributes, never the thing itself, and only
if the name is among `BUILDERS`, `STORAGES` or the caller's `records`; a call of a token
runs our builder of that name. Instructions that `torch.save` does not write are errors,
and so is setting the state of anything but a record: each is one `FileFormatError` that
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
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from wsjax.files.checkpoint import NUMBERS, FileFormatError
from wsjax.files.storages import (
    DIMENSIONS,
    NAMES,
    STORAGES,
    Numbers,
    Record,
    Source,
    Storage,
    is_count,
)

CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")  # NumPy's


def rebuild(program: bytes, source: Source, records: Collection[str] = ()) -> Any:
    """Rebuilds a pickle as dicts, lists, tuples, numbers, strings, `Numbers`, `Record`.

    Args:
        program: the pickle.
        source: of its arrays.
        records: full names of classes whose instances are rebuilt as `Record`.

    Raises:
        FileFormatError: the pickle is damaged, or does what is not allowed.
    """
    return loaded(Reader(program, source, records))


def loaded(reader: "Reader") -> Any:
    """The object of a pickle; whatever Python raises of a damaged one as one error."""
    try:
        return reader.load()
    except FileFormatError:
        raise
    except _BROKEN as error:
        raise FileFormatError(f"its pickle is damaged ({error!r:.200})") from error


_BROKEN = (
    *(pickle.UnpicklingError, EOFError, IndexError, KeyError, ValueError, TypeError),
    *(AttributeError, OverflowError, struct.error, AssertionError),
)


class Name:
    """A name that a pickle looked up; a token without attributes.

    Attributes:
        full: the name, with its module's.
    """

    __slots__ = ("full",)

    def __init__(self, full):
        self.full = full


def is_key(k: object) -> bool:
    """Whether a dict may have it as a key; see `Reader._set`."""
    return type(k) is str or (type(k) is int and abs(k) < 1 << 60)


def _by_name(state):
    return type(state) is dict and all(type(k) is str for k in state)


def _empty(reader, *args):
    if args:
        raise FileFormatError("expected an empty collections.OrderedDict in its pickle")
    return {}


def _encode(reader, text, encoding):
    if type(text) is not str or encoding != "latin1":
        raise FileFormatError("expected _codecs.encode of text as latin1 in its pickle")
    reader.spend(len(text))
    return text.encode("latin-1")


def _path(reader, *parts):
    if not all(type(p) is str for p in parts):
        raise FileFormatError("expected a path of strings in its pickle")
    reader.spend(sum(map(len, parts)))
    return str(pathlib.PurePosixPath(*parts))


def _size(reader, shape):
    if type(shape) is not tuple or len(shape) > DIMENSIONS:
        raise FileFormatError(f"expected a torch.Size of at most {DIMENSIONS} axes in its pickle")
    return shape


def _kind(reader, code, *_):
    if code not in CODES:
        raise FileFormatError(f"expected a NumPy type of {CODES}, got {code!r:.40}")
    return np.dtype(code)


def _scalar(reader, kind, data):
    if not isinstance(kind, np.dtype) or type(data) is not bytes or len(data) != kind.itemsize:
        raise FileFormatError("expected a NumPy number in its pickle, got other than one")
    return np.frombuffer(data, kind)[0].item()


def _tensor(reader, storage, offset, shape, strides, *beside):
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise FileFormatError("expected a tensor with storage, shape and strides in its pickle")
    flags = beside[-1] if len(beside) > 2 else None  # after requires_grad and hooks
    if type(flags) is dict and (flags.get("conj") or flags.get("neg")):
        raise FileFormatError(
            "a tensor is to be conjugated or negated on reading: save its clone()"
        )
    return Numbers(storage, offset, shape, strides)


def _typed_tensor(reader, storage, offset, shape, strides, grad, hooks, kind=None, *beside):
    """Of bytes, and of a type that has no storages of its own."""
    if type(kind) is not Name or kind.full not in NAMES:
        raise FileFormatError(f"expected a tensor of {', '.join(NAMES)}, got {what(kind)}")
    array = _tensor(reader, storage, offset, shape, strides, grad, hooks, *beside)
    array.kind = NUMBERS[NAMES[kind.full]]
    return array


def _attributed(reader, builder, kind, args, *_):
    """A buffer, or a parameter with attributes."""
    known = type(builder) is Name and builder.full in TENSORS and type(args) is tuple
    if not known or type(kind) is not Name or kind.full not in _TENSOR_CLASSES:
        raise FileFormatError(f"expected a tensor in its pickle, got {what(kind)}")
    return TENSORS[builder.full](reader, *args)


def _parameter(reader, tensor, *_):
    if type(tensor) is not Numbers:
        raise FileFormatError("expected a parameter made of a tensor in its pickle")
    return tensor


def _default(reader, kind=None, *rest):
    if rest or (kind is not None and type(kind) is not Name):
        raise FileFormatError("expected an empty collections.defaultdict in its pickle")
    return {}


def _array(reader, *_):
    return Numbers(None)


TENSORS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_TENSOR_CLASSES = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
BUILDERS = {  # what a pickle may have called -> what is called instead
    "collections.OrderedDict": _empty,
    "collections.defaultdict": _default,
    **TENSORS,
    "torch._tensor._rebuild_from_type_v2": _attributed,
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
_FACTORIES = {f"{m}.{k}" for m in ("__builtin__", "builtins") for k in ("dict", "list", "int")}
_NAMES = {*BUILDERS, *STORAGES, *NAMES, *_TENSOR_CLASSES, *_FACTORIES, "numpy.ndarray"}
_ALLOWED = (  # Python's own instructions; five more are written below
    *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1"),
    *("BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES"),
    *("SHORT_BINBYTES", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST"),
    *("EMPTY_DICT", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET"),
    *("LONG_BINGET", "BINPERSID", "GLOBAL", "STACK_GLOBAL"),
)


def _refusal(name):
    def fail(reader):
        raise FileFormatError(
            f"its pickle has an instruction {name}, which torch.save never writes"
        )

    return fail


class Reader(pickle._Unpickler):
    """Python's unpickler: the instructions above, names as tokens, calls as builders.

    Its methods are the interpreter's; a subclass replaces them in `dispatch` too.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]

    def __init__(self, program, source, records):
        super().__init__(io.BytesIO(program))
        self.source, self._records, self._storages = source, frozenset(records), {}
        # Builders that copy could be given the same large text time and again.
        self._left = 4 * len(program) + 4096

    def spend(self, size):
        """Counts what a builder copies; raises where it is too much."""
        self._left -= size
        if self._left < 0:
            raise FileFormatError("its pickle grows too large as it is rebuilt")

    def find_class(self, module, name):
        """GLOBAL: a token for a name."""
        full = f"{module}.{name}"
        if full not in _NAMES and full not in self._records:
            raise FileFormatError(f"its pickle names {full!r:.200}, which is not rebuilt here")
        return Name(full)

    def persistent_load(self, pid):
        """("storage", its type, its member, a device, its length)."""
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise FileFormatError("expected a reference to a storage in its pickle")
        _, kind, key, _, count = pid
        if type(kind) is not Name or kind.full not in STORAGES:
            raise FileFormatError(f"expected a storage of {sorted(STORAGES)} in its pickle")
        if type(key) is not str or not is_count(count):
            raise FileFormatError("expected a storage's name and length in its pickle")
        storage = self._storages.setdefault(key, Storage(kind.full, count, self.source, key))
        if (storage.name, storage.count) != (kind.full, count):
            raise FileFormatError(f"its storage {key!r:.80} is of two types or lengths")
        return storage

    def load_reduce(self):
        """A call, by our builder of that name."""
        args, name = self.stack.pop(), self.stack[-1]
        builder = BUILDERS.get(name.full) if type(name) is Name else None
        if builder is None or type(args) is not tuple:
            raise FileFormatError(f"its pickle calls {what(name)}, which is not called here")
        self.stack[-1] = builder(self, *args)

    def load_newobj(self):
        """An instance, as a `Record`."""
        args, name = self.stack.pop(), self.stack[-1]
        record = type(name) is Name and name.full in self._records
        if not record or type(args) is not tuple or args:
            raise FileFormatError(f"its pickle makes a {what(name)}, which is not made here")
        self.stack[-1] = Record(name.full)

    def load_build(self):
        """The state of a record or an array."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Record and target.fields is None and _by_name(state):
            target.fields = state
        elif type(target) is Numbers and target.storage is None:
            _fill(self, target, state)
        elif isinstance(target, np.dtype) and type(state) is tuple and len(state) > 1:
            if state[1] not in ("<", "|", "="):
                raise FileFormatError("its NumPy arrays are big-endian, which is not read here")
        elif not (type(target) is dict and _by_name(state) and set(state) == {"_metadata"}):
            raise FileFormatError(f"its pickle sets the state of {what(target)}")

    def load_setitem(self):
        """One entry of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self):
        """Entries of a dict."""
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def _set(self, target, items):
        # The hash of a tuple within tuples would recurse as deep as they go; those of large
        # integers, multiples of 2**61 - 1, can be the same for all.
        if type(target) is not dict or not all(map(is_key, items[::2])):
            raise FileFormatError("expected dicts by name or number alone in its pickle")
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
    return f"{x.full!r:.200}" if type(x) is Name else f"a {type(x).__name__}"


def _fill(reader, target, state):
    """Gives an array NumPy's (version, shape, type, by columns, bytes)."""
    if type(state) is not tuple or len(state) != 5 or type(state[4]) is not bytes:
        raise FileFormatError("expected a NumPy array of plain numbers in its pickle")
    _, shape, kind, by_columns, data = state
    if not isinstance(kind, np.dtype) or type(shape) is not tuple:
        raise FileFormatError("expected a NumPy array of plain numbers in its pickle")
    if len(shape) > DIMENSIONS or not all(map(is_count, shape)):
        raise FileFormatError("expected the shape of a NumPy array as counts")
    if math.prod(shape) * kind.itemsize != len(data):
        raise FileFormatError(f"expected a NumPy array {shape} {kind}, got {len(data)} bytes")
    target.storage = Storage(kind.str, math.prod(shape), reader.source, "")
    target.kind = kind
    flat = np.frombuffer(data, kind)
    target.storage.kept = lambda: flat
    target.shape = shape
    later = (shape[:i] if by_columns else shape[i + 1 :] for i in range(len(shape)))
    target.strides = tuple(map(math.prod, later))

"""Numbers of a PyTorch file: storages, and the arrays that are views of them.

Storage     a row of numbers: a member of the zip, or NumPy's bytes in the pickle
Numbers     some of its entries, by offset, shape and strides; read on demand
"""

import math
import weakref
from collections.abc import Callable
from typing import Protocol

import numpy as np

from wsjax.files.checkpoint import NUMBERS, FileFormatError
from wsjax.files.disk import check_booleans, empty

STORAGES = {  # name of a storage -> type of its numbers, little-endian
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.storage.UntypedStorage": "uint8",  # bytes; each array states its own type
}
NAMES = {f"torch.{name}": name for name in NUMBERS}  # of types in a pickle
DIMENSIONS = 8


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
        self.name, self.kind = name, NUMBERS[STORAGES[name]] if name in STORAGES else np.dtype(name)
        self.count, self.source, self.key = count, source, key
        self.kept: Callable[[], np.ndarray | None] = lambda: None

    def array(self) -> np.ndarray:
        """All of them, read-only; read once for as long as an array of them is in use."""
        flat = self.kept()
        if flat is None:
            size = self.count * self.kind.itemsize
            data = self.source.read(self.key, size)
            if len(data) != size:
                raise FileFormatError(f"a storage has {len(data)} bytes, expected {size}")
            # Of views, NumPy keeps alive the array of all the bytes alone, here this one.
            flat = np.frombuffer(data, self.kind)
            check_booleans(flat)
            self.kept = weakref.ref(flat)
        return flat


class Numbers:
    """An array that is read on demand.

    Of a storage's entries, `shape` of them with `strides` from `offset`, all in entries. They are
    of the storage's own type, or its bytes are those of another `kind`.
    """

    __slots__ = ("kind", "offset", "shape", "storage", "strides")

    def __init__(
        self,
        storage: Storage | None,
        offset: int = 0,
        shape: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        kind: np.dtype | None = None,
    ):
        self.kind = kind or (storage.kind if storage else None)
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def check(self) -> None:
        """Raises unless it is an array at all; whether it fits its storage is seen on reading.

        Raises:
            FileFormatError: axes and strides disagree, or are no counts; or there are no numbers.
        """
        shape, strides = self.shape, self.strides
        if len(shape) != len(strides) or len(shape) > DIMENSIONS:
            raise FileFormatError(
                f"expected a tensor of at most {DIMENSIONS} axes with a stride each, got "
                f"{len(shape)} axes and {len(strides)} strides"
            )
        if not all(is_count(n) for n in (*shape, *strides, self.offset)):
            raise FileFormatError("expected a tensor's shape, strides and offset as counts")
        if self.storage is None:
            raise FileFormatError("expected the contents of an array, its pickle has none")

    @property
    def last(self) -> int:
        """Place of its last entry in the storage; before `offset` in an array of none."""
        if 0 in self.shape:
            return self.offset - 1
        return self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    def array(self) -> np.ndarray:
        """Reads it: a read-only view of its storage, which `.copy()` makes writable.

        Arrays of one storage, as of tied weights, share its memory, and are then read once.

        Raises:
            FileFormatError: its storage is missing, damaged or too small; or the file is
                closed, or has given out as many bytes as it may (`torch_files.Limits`).
        """
        self.check()
        shape, strides, kind, storage = self.shape, self.strides, self.kind, self.storage
        assert storage is not None
        assert kind is not None
        storage.source.spend(kind.itemsize * math.prod(max(n, 1) for n in shape))
        flat = storage.array()
        if flat.dtype != kind:
            flat = flat[: len(flat) - len(flat) % kind.itemsize].view(kind)
        if 0 in shape:
            return empty(shape, kind)
        if self.last >= len(flat):
            raise FileFormatError(
                f"expected a tensor within its storage of {len(flat)} numbers, got shape "
                f"{shape}, strides {strides} from {self.offset}"
            )
        steps = [kind.itemsize * s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)]
        return np.ndarray(shape, kind, flat, kind.itemsize * self.offset, steps)


def is_count(n: object) -> bool:
    """Whether it is a whole number that can be a length."""
    return type(n) is int and 0 <= n < 1 << 60

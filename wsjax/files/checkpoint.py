"""The contents of a weights file, whatever its format: arrays by path, each read on demand.

    Checkpoint
        arrays      Stored, Stored, ...     paths, shapes and dtypes; no numbers yet
        metadata    {"epoch": 3, ...}       plain values beside the arrays
        findings    Finding, Finding, ...   what a reader should know before it trusts the numbers

Every reader of this package gives one of these from a header alone, so that a file of 10 GB is
listed at once, and `Stored.read` takes the memory of one array.
"""

import dataclasses
import math
from collections.abc import Callable, Hashable
from typing import Any, Literal

import ml_dtypes
import numpy as np

# Types that are read as they are; every other name is a format's own, and is listed only.
_PLAIN = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_EXTENDED = (
    *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2"),
    *("float8_e5m2fnuz", "float8_e8m0fnu", "float8_e4m3", "float8_e3m4"),
)
NUMBERS = {name: np.dtype(name) for name in _PLAIN} | {
    name: np.dtype(getattr(ml_dtypes, name)) for name in _EXTENDED
}
DIMENSIONS = 32


class FileFormatError(ValueError):
    """A weights file is damaged, too large, or holds what is not supported."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest things that are read of one file; the message of a refusal names its limit.

    Attributes:
        file_bytes: of a file all of whose arrays are read at once (`torch_files.state`).
        header_bytes: of a header or index in JSON, or of what lists the arrays elsewhere.
        pickle_bytes: of PyTorch's `data.pkl`. A byte of it can become about 100 in memory.
        members: arrays, or members of a zip.
        array_bytes: of one array as it is read.
        unpacked_bytes: of one array that is stored compressed, or repeats a stored one. None is
            twenty times the file's size, and 256 MiB at least.
        total_bytes: of all arrays that are read at once, each under every name it has, as if
            none shared memory. None is four times the file's size, and 64 MiB at least. `load`
            counts memory that names share once; None there is `unpacked_bytes` where that is more.
    """

    file_bytes: int = 2 << 30
    header_bytes: int = 32 << 20
    pickle_bytes: int = 4 << 20
    members: int = 200_000
    array_bytes: int = 64 << 30
    unpacked_bytes: int | None = None
    total_bytes: int | None = None

    def of(self, size: int) -> "LimitsOfFile":
        """The same of a file of this size, with numbers for None."""
        unpacked, total = self.unpacked_bytes, self.total_bytes
        return LimitsOfFile(
            **vars(self)
            | {
                "unpacked_bytes": max(256 << 20, 20 * size) if unpacked is None else unpacked,
                "total_bytes": max(64 << 20, 4 * size) if total is None else total,
            }
        )


@dataclasses.dataclass(frozen=True)
class LimitsOfFile(Limits):
    """Limits of a file whose size is known: all are numbers."""

    unpacked_bytes: int = 256 << 20
    total_bytes: int = 64 << 20


def too_large(came: str, limit: str, limits: Limits) -> FileFormatError:
    """The error of a thing that is larger than one of the `Limits`, which it names."""
    most = getattr(limits, limit)
    return FileFormatError(
        f"{came}, expected at most {most}; limits=Limits({limit}=...) allows more"
    )


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was noticed about a file or one of its arrays.

    Attributes:
        kind: "truncated", "stray", "refused", "tied", "zeros", "nonfinite", "scale", ...
        severity: "error": numbers are missing or wrong; "warning": they may be; "note".
        array: name of the array it is about; None is the whole file.
        text: one sentence.
    """

    kind: str
    severity: Literal["error", "warning", "note"]
    array: str | None
    text: str


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file, not yet read.

    Attributes:
        path: keys from the outermost tree to the array, as the file has them.
        shape: of its elements, also where several of them share a byte.
        dtype: a key of `NUMBERS`, or a format's own name, such as "Q4_K" or "F4".
        storage: equal for arrays whose bytes are the same bytes of the file.
        nbytes: as stored, of this array alone.
        read: its numbers, a fresh array or a read-only view; inside the `with` alone. Raises
            `FileFormatError`: it is damaged or too large, or its dtype is not in `NUMBERS`.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    storage: Hashable
    nbytes: int
    read: Callable[[], np.ndarray] = dataclasses.field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The path as one text.

        >>> Stored(("params", "Dense_0", "kernel"), (2, 3), "float32", 0, 24, lambda: None).name
        'params/Dense_0/kernel'
        """
        return "/".join(self.path)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A weights file or folder, open.

    Attributes:
        path: as it was given.
        format: of the contents: "safetensors", "torch", "npz", "npy", "msgpack", "orbax", "hdf5",
            "keras", "onnx" or "gguf", whatever the file's name ends in.
        arrays: in the file's order; no two have one path.
        metadata: plain values beside the arrays, nested as the file has them.
        findings: about the file as a whole and its header; numbers have not been read.
    """

    path: str
    format: str
    arrays: tuple[Stored, ...]
    metadata: dict[str, Any]
    findings: tuple[Finding, ...] = ()


def reader(dtype: str, read: Callable[[], np.ndarray], remedy: str) -> Callable[[], np.ndarray]:
    """`Stored.read` of an array: as given, or an error where its dtype is not in `NUMBERS`."""
    if dtype in NUMBERS:
        return read

    def refuse():
        raise FileFormatError(
            f"its type {dtype:.80} is listed but not read as numbers; expected one of "
            f"{', '.join(NUMBERS)}; {remedy}"
        )

    return refuse


def named(what: str, read: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """`Stored.read` whose errors begin with the name of the file and of the array."""

    def run():
        try:
            return read()
        except FileFormatError as error:
            raise FileFormatError(f"{what}: {error}") from error

    return run

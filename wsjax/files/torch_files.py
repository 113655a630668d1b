"""PyTorch's `.pt` and `.pth` files, read without PyTorch and without running anything.

    NAME.pth, a zip          what `torch.save` writes
        NAME/data.pkl        a pickle: nested dicts and lists that refer to storages
        NAME/data/0, 1, ...  the numbers of one storage each, little-endian, not compressed

`pickles` rebuilds the pickle as plain data. Here sizes are checked before anything is read
(`Limits`); a zip that could grow on reading, by compression or by members that overlap, is
not supported; members are found by name in the zip's own directory, and nothing is ever written
to disk.

Arrays are read-only views of their storages: tied weights share memory here as in PyTorch, and
a file takes about its own size, however many names it has for one array. `.copy()` is writable.
"""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Collection, Generator
from typing import Any

import numpy as np

from wsjax.checks import printable
from wsjax.files import pickles, zips
from wsjax.files.checkpoint import FileFormatError, Limits, too_large
from wsjax.files.disk import BytesOf
from wsjax.files.storages import Numbers, Record

__all__ = ["FileFormatError", "Limits", "Numbers", "Record", "archive", "opened", "state"]

LEGACY = b"\x80\x02\x8a\x0a"  # how the format before PyTorch 1.6 begins
LEGACY_ADVICE = (
    "it is in the format that PyTorch wrote before version 1.6, which is not read here; load and "
    "save it with a PyTorch of today"
)
PLAIN = (type(None), bool, int, float, str, bytes, np.dtype)
DEPTH = 100  # of dicts in lists in dicts


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, records: Collection[str] = (), limits: Limits | None = None
) -> Generator[Any]:
    """The object that a file holds, for as long as the file is open.

    Tensors and NumPy's arrays are `Numbers`, read on demand, inside the `with` alone; ordered
    dicts are dicts, paths are strings.

    Args:
        path: of the file.
        records: full names of classes, "package.module.Name", whose instances are rebuilt
            as `Record`; none of their code is looked for, let alone run.
        limits: of sizes; `Limits()` by default.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be opened or read.
        FileFormatError: the file is not read; the message says which and why. Arrays that
            are read inside the `with` raise it too.
    """
    name = printable(path)
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"expected a PyTorch file at {name}, found none")
    try:
        with BytesOf(path) as file:
            source = archive(file, limits or Limits())
            yield pickles.rebuild(source.program(), source, records)
    except FileFormatError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise FileFormatError(f"{name}: {error}") from error


def state(path: str | os.PathLike, limits: Limits | None = None) -> dict[str, Any]:
    """A saved state dict: name -> array, or whatever else was saved beside the arrays.

    A dict around it, such as {"model": ..., "optimizer": ..., "epoch": 3}, is read as it is:
    dicts, lists and tuples nested, all their tensors as arrays.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be opened or read.
        FileFormatError: the file is not read, or holds something other than a dict by name.
    """
    limits = limits or Limits()
    with opened(path, limits=limits) as saved:
        if (size := os.stat(path).st_size) > limits.file_bytes:
            raise too_large(f"it has {size} bytes", "file_bytes", limits)
        if type(saved) is not dict or not all(type(k) is str for k in saved):
            raise FileFormatError(f"expected arrays by name, got a {type(saved).__name__}")
        return _arrays(saved, itertools.count(1), limits.pickle_bytes)


def _arrays(x, counter, most, depth=0):
    """Dicts, lists and tuples with arrays for their `Numbers`.

    What is there under two names is met twice, so that a few lists of each other, or one of
    itself, have more items than a pickle of `most` bytes can have written.
    """
    if depth > DEPTH or next(counter) > most:
        raise FileFormatError(f"expected at most {most} items, nested {DEPTH} deep, got more")
    if type(x) is Numbers:
        return x.array()
    inside = lambda y: _arrays(y, counter, most, depth + 1)
    if type(x) is dict:
        return {k: inside(v) for k, v in x.items()}
    if type(x) in (list, tuple):
        return type(x)(map(inside, x))
    if not isinstance(x, PLAIN):
        raise FileFormatError(f"expected arrays and plain values, got {pickles.what(x)}")
    return x


def archive(file: BytesOf, limits: Limits) -> "Archive":
    """The zip of a file, its directory checked.

    Raises:
        FileFormatError: it is no zip that `torch.save` wrote, or damaged.
    """
    start = file.bytes(0, min(file.size, 4))
    if start == LEGACY:
        raise FileFormatError(LEGACY_ADVICE)
    if start != zips.START:
        raise FileFormatError("expected a zip that torch.save wrote, it begins otherwise")
    return Archive(zips.Zip(file, limits), limits)


class Archive:
    """A zip that `torch.save` wrote; the source of a pickle's storages.

    Attributes:
        zip: the zip.
        limits: of sizes, with the total.
        left: bytes of the arrays that it may still give out.
    """

    def __init__(self, members: zips.Zip, limits: Limits):
        """Finds the pickle.

        Raises:
            FileFormatError: it is no such zip.
        """
        self.zip, self.limits = members, limits.of(members.file.size)
        self.left = self.limits.total_bytes
        if any(n.endswith(("/constants.pkl", "/code/__torch__.py")) for n in members.members):
            raise FileFormatError(
                "it is a TorchScript program; load it by `torch.jit.load` and save its "
                "`state_dict()`"
            )
        if any(m.compress_type for m in self.zip.members.values()):
            raise FileFormatError("it has compressed members, torch.save writes none")
        roots = [n for n in self.zip.members if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise FileFormatError(f"expected one member NAME/data.pkl, found {len(roots)}")
        self.root = roots[0].removesuffix("data.pkl")
        order = f"{self.root}byteorder"
        if order in self.zip.members and self.zip.read(order, 16) != b"little":
            raise FileFormatError("its numbers are big-endian, which is not read here")

    def program(self) -> bytes:
        """The pickle."""
        name = f"{self.root}data.pkl"
        size = self.zip.members[name].file_size
        if size > self.limits.pickle_bytes:
            raise too_large(f"'data.pkl' has {size} bytes", "pickle_bytes", self.limits)
        return self.zip.read(name, size)

    def read(self, key: str, most: int) -> bytes:
        """The bytes of a storage."""
        return self.zip.read(f"{self.root}data/{key}", most)

    def spend(self, size: int) -> None:
        """Counts the bytes of an array that is given out."""
        if self.zip.file.closed:
            name = printable(self.zip.file.path)
            raise FileFormatError(
                f"{name}: the file is closed: read its arrays inside the `with`, or all of them at "
                "once by `state`"
            )
        self.left -= size
        if self.left < 0:
            came = "its arrays are too large in all, each as often as it is named or read"
            raise too_large(came, "total_bytes", self.limits)

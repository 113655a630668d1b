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
import dataclasses
import errno
import itertools
import os
import pathlib
import struct
import zipfile
from collections.abc import Collection, Generator
from typing import Any

import numpy as np

from wsjax.checks import printable
from wsjax.files import pickles
from wsjax.files.pickles import Numbers, Record, TorchFileError

__all__ = ["Limits", "Numbers", "Record", "TorchFileError", "opened", "state"]

LEGACY = b"\x80\x02\x8a\x0a"  # how the format before PyTorch 1.6 begins
PLAIN = (type(None), bool, int, float, str, bytes, np.dtype)
DEPTH = 100  # of dicts in lists in dicts
LEAST_TOTAL = 64 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest file that is read; the defaults suit the checkpoint of an ordinary network.

    Attributes:
        file_bytes: of the whole file.
        pickle_bytes: of `data.pkl`. A byte of it can become about 100 in memory.
        members: of the zip, one for each storage and a few more.
        total_bytes: of all arrays together, each counted as often as it is read and under
            every name, as if none shared memory. None is four times the file's size, and
            64 MiB at least.
    """

    file_bytes: int = 2 << 30
    pickle_bytes: int = 1 << 20
    members: int = 10_000
    total_bytes: int | None = None


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
        TorchFileError: the file is not read; the message says which and why. Arrays that
            are read inside the `with` raise it too.
    """
    path, limits = pathlib.Path(path), limits or Limits()
    name = printable(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a PyTorch file at {name}, found none")
    try:
        with open(path, "rb") as file, contextlib.closing(_Archive(file, name, limits)) as archive:
            yield pickles.rebuild(archive.member("data.pkl", limits.pickle_bytes), archive, records)
    except TorchFileError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise TorchFileError(f"{name}: {error}") from error


def state(path: str | os.PathLike, limits: Limits | None = None) -> dict[str, Any]:
    """A saved state dict: name -> array, or whatever else was saved beside the arrays.

    A dict around it, such as {"model": ..., "optimizer": ..., "epoch": 3}, is read as it is:
    dicts, lists and tuples nested, all their tensors as arrays.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be opened or read.
        TorchFileError: the file is not read, or holds something other than a dict by name.
    """
    limits = limits or Limits()
    with opened(path, limits=limits) as saved:
        if type(saved) is not dict or not all(type(k) is str for k in saved):
            raise TorchFileError(f"expected arrays by name, got a {type(saved).__name__}")
        return _arrays(saved, itertools.count(1), limits.pickle_bytes)


def _arrays(x, counter, most, depth=0):
    """Dicts, lists and tuples with arrays for their `Numbers`.

    What is there under two names is met twice, so that a few lists of each other, or one of
    itself, have more items than a pickle of `most` bytes can have written.
    """
    if depth > DEPTH or next(counter) > most:
        raise TorchFileError(f"expected at most {most} items, nested {DEPTH} deep, got more")
    if type(x) is Numbers:
        return x.array()
    inside = lambda y: _arrays(y, counter, most, depth + 1)
    if type(x) is dict:
        return {k: inside(v) for k, v in x.items()}
    if type(x) in (list, tuple):
        return type(x)(map(inside, x))
    if not isinstance(x, PLAIN):
        raise TorchFileError(f"expected arrays and plain values, got {pickles.what(x)}")
    return x


class _Archive:
    """The zip, its directory checked; the source of a pickle's storages.

    Attributes:
        name: of the file.
        limits: with the total.
        left: bytes of the arrays that it may still give out.
    """

    def __init__(self, file, name, limits):
        size = os.fstat(file.fileno()).st_size
        if limits.total_bytes is None:
            limits = dataclasses.replace(limits, total_bytes=max(LEAST_TOTAL, 4 * size))
        self.name, self.limits, self.left = name, limits, limits.total_bytes
        self.closed = False
        if size > limits.file_bytes:
            raise _too_many(f"it has {size} bytes", "file_bytes", limits)
        with self._reading():
            start = file.read(4)
        if start == LEGACY:
            raise TorchFileError(
                "it is in the format that PyTorch wrote before version 1.6, which is not read "
                "here; load and save it with a PyTorch of today"
            )
        if start != b"PK\x03\x04":
            raise TorchFileError("expected a zip that torch.save wrote, it begins otherwise")
        with self._reading():
            room = _directory_bytes(file, size)
            if room > 256 * limits.members:
                raise _too_many(f"it has room for {room // 46} members", "members", limits)
            self.zip = zipfile.ZipFile(file)
        listed = self.zip.infolist()
        self.members = {m.filename: m for m in listed}
        if len(listed) > limits.members:
            raise _too_many(f"it has {len(listed)} members", "members", limits)
        if len(self.members) != len(listed):
            raise TorchFileError("expected members of different names, got two of one")
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in listed):
            raise TorchFileError("it has compressed or encrypted members, torch.save writes none")
        if sum(m.file_size for m in listed) > size:
            raise TorchFileError("its members overlap: together they are larger than the file")
        roots = [n for n in self.members if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise TorchFileError(f"expected one member NAME/data.pkl, found {len(roots)}")
        self.root = roots[0].removesuffix("data.pkl")
        if f"{self.root}byteorder" in self.members and self.member("byteorder", 16) != b"little":
            raise TorchFileError("its numbers are big-endian, which is not read here")

    def close(self):
        self.zip.close()
        self.closed = True

    def read(self, key, most):
        return self.member(f"data/{key}", most)

    def member(self, name, most):
        member = self.members.get(self.root + name)
        if member is None:
            raise TorchFileError(f"expected a member {self.root + name!r:.120}, it is missing")
        if member.file_size > most:
            got = f"{name!r:.80} has {member.file_size} bytes"
            if name == "data.pkl":
                raise _too_many(got, "pickle_bytes", self.limits)
            raise TorchFileError(f"{got}, expected at most {most}")
        with self._reading():
            return self.zip.read(member)

    def spend(self, size):
        if self.closed:
            raise TorchFileError(
                f"{self.name}: the file is closed: read its arrays inside the `with`, or all of "
                "them at once by `state`"
            )
        self.left -= size
        if self.left < 0:
            got = "its arrays are too large in all, each as often as it is named or read"
            raise _too_many(got, "total_bytes", self.limits)

    @contextlib.contextmanager
    def _reading(self):
        """Whatever `zipfile` raises of a damaged file as one error; what a disk does, by name."""
        try:
            yield
        except (TorchFileError, MemoryError):
            raise
        except Exception as error:
            # A damaged directory has it seek before the file's beginning.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise type(error)(error.errno, error.strerror, self.name) from error
            raise TorchFileError(f"the zip is damaged ({error!r:.200})") from error


def _too_many(got, limit, limits):
    most = getattr(limits, limit)
    return TorchFileError(f"{got}, expected at most {most}; limits=Limits({limit}=...) allows more")


def _directory_bytes(file, size):
    """The size of a zip's directory as the zip states it, before any of it is parsed."""
    file.seek(max(0, size - 65_600))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise TorchFileError("the zip is cut short: it has no directory")
    stated = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # of zips too large for it
        # Its record is where the locator says; `zipfile` takes what lies before the locator.
        place = struct.unpack_from("<Q", tail, end - 12)[0]
        records = [_bytes_at(file, at, 56) for at in (place, size - len(tail) + end - 76)]
        records = [r for r in records if len(r) == 56 and r[:4] == b"PK\x06\x06"]
        if not records:
            raise TorchFileError("the zip's directory is damaged")
        stated = max(struct.unpack_from("<Q", r, 40)[0] for r in records)
    file.seek(0)
    return stated


def _bytes_at(file, place, count):
    file.seek(place)
    return file.read(count)

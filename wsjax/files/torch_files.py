"""PyTorch's `.pt` and `.pth` files, read without PyTorch and without running anything.

    NAME.pth, a zip          what `torch.save` writes
        NAME/data.pkl        a pickle: nested dicts and lists that refer to storages
        NAME/data/0, 1, ...  the numbers of one storage each, little-endian, not compressed

`pickles` rebuilds the pickle as plain data. Here sizes are checked before anything is read
(`Limits`); a zip that could grow on reading, by compression or by members that overlap, is
not supported; members are found by name in the zip's own directory, and nothing is ever written
to disk.
"""

import contextlib
import dataclasses
import os
import pathlib
import struct
import zipfile
from collections.abc import Collection, Generator
from typing import Any

from wsjax.files import pickles
from wsjax.files.pickles import Numbers, Record, TorchFileError

__all__ = ["Limits", "Numbers", "Record", "TorchFileError", "opened", "state"]

LEGACY = b"\x80\x02\x8a\x0a"  # how the format before PyTorch 1.6 begins


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest file that is read; the defaults suit one small network's state dict.

    Attributes:
        file_bytes: of the whole file.
        pickle_bytes: of `data.pkl`. A byte of it can become about 100 in memory.
        members: of the zip, one for each storage and a few more.
    """

    file_bytes: int = 16 << 20
    pickle_bytes: int = 1 << 20
    members: int = 10_000


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, records: Collection[str] = (), limits: Limits | None = None
) -> Generator[Any]:
    """The object that a file holds, for as long as the file is open.

    Tensors and NumPy's arrays are `Numbers`, read on demand; ordered dicts are dicts, paths
    are strings.

    Args:
        path: of the file.
        records: full names of classes, "package.module.Name", whose instances are rebuilt
            as `Record`; none of their code is looked for, let alone run.
        limits: of sizes; `Limits()` by default.

    Raises:
        FileNotFoundError: there is no such file.
        TorchFileError: the file is not read; the message says which and why. Arrays that
            are read inside the `with` raise it too.
    """
    path, limits = pathlib.Path(path), limits or Limits()
    if not path.is_file():
        raise FileNotFoundError(f"expected a PyTorch file at {path}, found none")
    try:
        with open(path, "rb") as file, contextlib.closing(_Archive(file, limits)) as archive:
            program = archive.read("data.pkl", limits.pickle_bytes)
            storage = lambda key, most: archive.read(f"data/{key}", most)
            yield pickles.rebuild(program, storage, records)
    except TorchFileError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise TorchFileError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise TorchFileError(f"{path}: the zip is damaged ({error})") from error


def state(path: str | os.PathLike, limits: Limits | None = None) -> dict[str, Any]:
    """A saved state dict: name -> array, or whatever else was saved beside the arrays.

    Raises:
        FileNotFoundError: there is no such file.
        TorchFileError: the file is not read, or holds something other than a dict by name.
    """
    with opened(path, limits=limits) as saved:
        if type(saved) is not dict or not all(type(k) is str for k in saved):
            raise TorchFileError(f"expected arrays by name, got a {type(saved).__name__}")
        return {k: v.array() if type(v) is Numbers else v for k, v in saved.items()}


class _Archive:
    """The zip, its directory checked."""

    def __init__(self, file, limits):
        size = os.fstat(file.fileno()).st_size
        if size > limits.file_bytes:
            raise TorchFileError(f"it has {size} bytes, expected at most {limits.file_bytes}")
        start = file.read(4)
        if start == LEGACY:
            raise TorchFileError(
                "it is in the format that PyTorch wrote before version 1.6, which is not read "
                "here; load and save it with a PyTorch of today"
            )
        if start != b"PK\x03\x04":
            raise TorchFileError("expected a zip that torch.save wrote, it begins otherwise")
        if _directory_bytes(file, size) > 256 * limits.members:
            raise TorchFileError(f"expected at most {limits.members} members, it has room for more")
        self.zip = zipfile.ZipFile(file)
        listed = self.zip.infolist()
        self.members = {m.filename: m for m in listed}
        if len(listed) > limits.members or len(self.members) != len(listed):
            raise TorchFileError(
                f"expected at most {limits.members} members of different names, got {len(listed)}"
            )
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in listed):
            raise TorchFileError("it has compressed or encrypted members, torch.save writes none")
        if sum(m.file_size for m in listed) > size:
            raise TorchFileError("its members overlap: together they are larger than the file")
        roots = [n for n in self.members if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise TorchFileError(f"expected one member NAME/data.pkl, found {len(roots)}")
        self.root = roots[0].removesuffix("data.pkl")
        if f"{self.root}byteorder" in self.members and self.read("byteorder", 16) != b"little":
            raise TorchFileError("its numbers are big-endian, which is not read here")

    def close(self):
        self.zip.close()

    def read(self, name, most):
        member = self.members.get(self.root + name)
        if member is None:
            raise TorchFileError(f"expected a member {self.root + name!r:.120}, it is missing")
        if member.file_size > most:
            raise TorchFileError(
                f"{name!r:.80} has {member.file_size} bytes, expected at most {most}"
            )
        return self.zip.read(member)


def _directory_bytes(file, size):
    """The size of a zip's directory as the zip states it, before any of it is parsed."""
    file.seek(max(0, size - 65_600))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise TorchFileError("the zip is cut short: it has no directory")
    stated = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # of zips too large for it
        file.seek(struct.unpack_from("<Q", tail, end - 12)[0])
        record = file.read(56)
        if len(record) < 56 or record[:4] != b"PK\x06\x06":
            raise TorchFileError("the zip's directory is damaged")
        stated = struct.unpack_from("<Q", record, 40)[0]
    file.seek(0)
    return stated

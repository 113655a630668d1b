"""Zips of untrusted files: their directory is checked before a member is read.

A zip that could grow on reading is refused: by its directory, by members that overlap, or by
compression, where the format has none. Members are found by name in the directory, and nothing
is ever written to disk.
"""

import contextlib
import errno
import struct
import zipfile
from collections.abc import Generator
from typing import IO

from wsjax.files.checkpoint import FileFormatError, Limits, too_large
from wsjax.files.disk import BytesOf

START = b"PK\x03\x04"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Zip:
    """The directory of a zip, checked.

    Attributes:
        file: the zip's.
        limits: of sizes, with numbers for None.
        members: by name.
    """

    def __init__(self, file: BytesOf, limits: Limits):
        """Reads the directory.

        Raises:
            FileFormatError: it is damaged or too large, or its members overlap, share a name, are
                encrypted, or are compressed other than by DEFLATE.
        """
        self.file, self.limits = file, limits.of(file.size)
        with self.reading():
            room = _directory_bytes(file)
            if room > 256 * limits.members:
                raise too_large(f"it has room for {room // 46} members", "members", limits)
            stream = file.owned.enter_context(file.stream())
            self._zip = file.owned.enter_context(zipfile.ZipFile(stream))
        listed = self._zip.infolist()
        self.members = {m.filename: m for m in listed}
        if len(listed) > limits.members:
            raise too_large(f"it has {len(listed)} members", "members", limits)
        if len(self.members) != len(listed):
            raise FileFormatError("expected members of different names, got two of one")
        if any(m.compress_type not in METHODS or m.flag_bits & 1 for m in listed):
            raise FileFormatError("it has members that are encrypted or compressed in a rare way")
        if sum(m.compress_size for m in listed) > file.size:
            raise FileFormatError("its members overlap: together they are larger than the file")
        if any(m.compress_type == 0 and m.file_size != m.compress_size for m in listed):
            raise FileFormatError("the zip is damaged: a stored member has two sizes")

    def read(self, name: str, most: int) -> bytes:
        """A member's bytes.

        Raises:
            FileFormatError: there is no such member, it has more than `most` bytes, or it is
                damaged.
        """
        member = self.members.get(name)
        if member is None:
            raise FileFormatError(f"expected a member {name!r:.200}, it is missing")
        if member.file_size > most:
            raise FileFormatError(
                f"its member {name!r:.200} has {member.file_size} bytes, expected at most {most}"
            )
        with self.reading():
            return self._zip.read(member)

    def opened(self, name: str) -> IO[bytes]:
        """A member as a stream; read it within `reading`."""
        with self.reading():
            return self._zip.open(name)

    def place(self, name: str) -> int:
        """Where the bytes of a member that is not compressed begin in the file."""
        offset = self.members[name].header_offset
        head = self.file.bytes(offset, 30)
        begin = offset + 30 + sum(struct.unpack_from("<HH", head, 26))
        if head[:4] != START or begin + self.members[name].file_size > self.file.size:
            raise FileFormatError(f"the zip is damaged: its member {name!r:.200} is not there")
        return begin

    @contextlib.contextmanager
    def reading(self) -> Generator[None]:
        """Whatever `zipfile` raises of a damaged file as one error; what a disk does, by name."""
        try:
            yield
        except (FileFormatError, MemoryError, AttributeError, NameError, TypeError):
            raise  # the last three are errors of a program, never of a file
        except Exception as error:
            # A damaged directory has it seek before the file's beginning.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise type(error)(error.errno, error.strerror, str(self.file.path)) from error
            raise FileFormatError(f"the zip is damaged ({error!r:.200})") from error


def _directory_bytes(file):
    """The size of a zip's directory as the zip states it, before any of it is parsed."""
    start = max(0, file.size - 65_600)
    tail = file.bytes(start, file.size - start)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise FileFormatError("the zip is cut short: it has no directory")
    stated = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # of zips too large for it
        # Its record is where the locator says; `zipfile` takes what lies before the locator.
        place = struct.unpack_from("<Q", tail, end - 12)[0]
        records = [_bytes_at(file, at, 56) for at in (place, start + end - 76)]
        records = [r for r in records if r[:4] == b"PK\x06\x06"]
        if not records:
            raise FileFormatError("the zip's directory is damaged")
        stated = max(struct.unpack_from("<Q", r, 40)[0] for r in records)
    return stated


def _bytes_at(file, place, count):
    return file.bytes(place, count) if 0 <= place <= file.size - count else b""

"""Files as readers of untrusted formats want them: by place and length, never beyond the end.

    BytesOf(path)                   a file, open
        .bytes(place, count)        exactly `count` bytes, or a `FileFormatError`
        .array(place, shape, dtype) an array of its own memory, read straight into it

Nothing is mapped into memory: a file that another process cuts short meanwhile is an error here,
where a map would end this process.
"""

import contextlib
import errno
import math
import os
import pathlib
import stat
import struct
from typing import IO, Any

import numpy as np

from wsjax.files.checkpoint import FileFormatError, Limits, too_large

BUFFER = 1 << 14  # bytes that a cursor reads ahead
PIECE = 1 << 26  # bytes that one system call reads; the most is 2 GiB less a page


class BytesOf:
    """A file that is open for reading; a context manager.

    Attributes:
        path: of the file.
        owned: closed before it: whatever a reader keeps open of it.
        size: in bytes, when it was opened.
        identity: equal for two paths of one file.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens it.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: it is no regular file, where opening a pipe would wait for ever, or
                a link to itself.
            OSError: it cannot be opened.
        """
        self.path, self.owned = pathlib.Path(path), contextlib.ExitStack()
        try:
            mode = os.stat(self.path).st_mode
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
                raise
            raise FileFormatError(f"expected a file or a folder of weights ({error})") from error
        if not stat.S_ISREG(mode):
            raise FileFormatError("expected a file or a folder of weights, it is neither")
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        status = os.fstat(self._file.fileno())
        self.size, self.identity = status.st_size, (status.st_dev, status.st_ino)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Closes it; arrays that are still to be read raise from here on."""
        self.owned.close()
        self._file.close()

    @property
    def closed(self) -> bool:
        """Whether it is."""
        return self._file.closed

    def check_open(self) -> None:
        """Raises `FileFormatError` after it was closed."""
        if self.closed:
            raise FileFormatError("the file is closed: read its arrays inside the `with`")

    def stream(self) -> IO[bytes]:
        """All of it for libraries that read from a stream; `owned` is to close it."""
        return os.fdopen(os.dup(self._file.fileno()), "rb")

    def fill(self, place: int, buffer: memoryview) -> None:
        """Reads exactly as many bytes as a buffer has.

        Raises:
            FileFormatError: the file is closed, or has fewer.
        """
        self.check_open()
        if place < 0 or place + len(buffer) > self.size:
            raise FileFormatError(
                f"expected {len(buffer)} bytes at {place}, the file has {self.size} in all"
            )
        start = 0
        while start < len(buffer):
            piece = buffer[start : start + PIECE]
            count = os.preadv(self._file.fileno(), [piece], place + start)
            if not count:
                raise FileFormatError("the file was cut short while it was read")
            start += count

    def bytes(self, place: int, count: int) -> bytes:
        """Exactly `count` bytes from a place on."""
        if not 0 <= count <= self.size - place:  # before memory is taken for them
            raise FileFormatError(
                f"expected {count} bytes at {place}, the file has {self.size} in all"
            )
        buffer = bytearray(count)
        self.fill(place, memoryview(buffer))
        return bytes(buffer)

    def array(
        self, place: int, shape: tuple[int, ...], dtype: np.dtype, limits: Limits
    ) -> np.ndarray:
        """An array whose numbers lie in a row at a place, row-major, in native byte order.

        Raises:
            FileFormatError: the file is closed or too short, the array is larger than
                `limits.array_bytes`, or its booleans are neither 0 nor 1.
        """
        count = math.prod(shape) * dtype.itemsize
        if count > limits.array_bytes:
            raise too_large(f"an array has {count} bytes", "array_bytes", limits)
        if not 0 <= count <= self.size - place:
            raise FileFormatError(
                f"expected {count} bytes at {place}, the file has {self.size} in all"
            )
        flat = np.empty(count, np.uint8)
        if count:
            self.fill(place, flat.data)
        return shaped(flat, shape, dtype)


class Cursor:
    """A place in a file that moves on; what it passes over is not read.

    Attributes:
        place: of the next byte.
        end: where it must stop.
    """

    def __init__(self, file: BytesOf, place: int = 0, end: int | None = None):
        self.file, self.place, self.end = file, place, file.size if end is None else end
        self._start, self._buffer = 0, b""

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            FileFormatError: fewer are left.
        """
        self._check(count)
        offset = self.place - self._start
        if offset < 0 or offset + count > len(self._buffer):
            size = min(max(count, BUFFER), self.file.size - self.place)
            self._start, self._buffer, offset = self.place, self.file.bytes(self.place, size), 0
        self.place += count
        return self._buffer[offset : offset + count]

    def skip(self, count: int) -> int:
        """Passes over the next bytes; returns where they begin."""
        self._check(count)
        self.place += count
        return self.place - count

    def number(self, fmt: str) -> Any:
        """The next number, by its `struct` format."""
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def within(self, count: int) -> "Cursor":
        """The next bytes alone, as a cursor of their own; this one passes over them."""
        inside = Cursor(self.file, self.skip(count), self.place)
        inside._start, inside._buffer = self._start, self._buffer
        return inside

    def _check(self, count):
        if not 0 <= count <= self.end - self.place:
            raise FileFormatError(
                f"the file is cut short or damaged: expected {count} bytes at {self.place}, "
                f"{self.end - self.place} are left"
            )


def shaped(flat: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Bytes as an array of native byte order.

    Raises:
        FileFormatError: booleans are neither 0 nor 1.
    """
    if 0 in shape:
        return empty(shape, dtype)
    array = flat.view(dtype).reshape(shape)
    check_booleans(array)
    return array.astype(dtype.newbyteorder("="), copy=False)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of no elements; raises `FileFormatError` where NumPy cannot have its shape."""
    try:
        return np.zeros(shape, dtype)
    except ValueError as error:
        raise FileFormatError(f"it has an impossible shape {shape} ({error})") from error


def check_booleans(array: np.ndarray) -> None:
    """Raises `FileFormatError` where booleans are neither 0 nor 1; NumPy would read nonsense."""
    if array.dtype == np.bool_ and np.any(array.view(np.uint8) > 1):
        raise FileFormatError("an array of booleans has bytes other than 0 and 1")


def unpacked(fmt: str, data: Any, place: int = 0) -> tuple:
    """`struct.unpack_from`, with a `FileFormatError` where the data ends too early."""
    try:
        return struct.unpack_from(fmt, data, place)
    except struct.error as error:
        raise FileFormatError("the file is cut short: its header ends within a number") from error


def is_beside(place: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether a file lies, links followed, where files that belong to another may.

    That is in the folder of the other, or below it; in the folder where the other is kept, if it
    is a link itself; or in the `blobs` of the cache of downloads that the folder belongs to, whose
    files are links (CACHE/snapshots/REVISION/NAME -> CACHE/blobs/HASH). A link to anywhere else
    is not followed, nor is one from a folder outside of such a cache into it.

    Args:
        place: of the file.
        path: of the other file, such as an index, or of a folder.
    """
    folder = os.path.realpath(path if path.is_dir() else path.parent)
    homes = {folder}
    if not path.is_dir():
        homes.add(os.path.dirname(os.path.realpath(path)))
    if snapshots := [p for p in pathlib.Path(folder).parents if p.name == "snapshots"]:
        homes.add(str(snapshots[0].parent / "blobs"))
    real = os.path.realpath(place)
    return any(real.startswith(f"{home.rstrip(os.sep)}{os.sep}") for home in homes)

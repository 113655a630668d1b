"""NumPy's `.npy` and `.npz`: arrays of plain numbers; nothing is unpickled.

    NAME.npy    "?NUMPY", version, length, "{'descr': '<f4', 'fortran_order': False, ...}", numbers
    NAME.npz    a zip of KEY.npy, each stored or compressed by DEFLATE

An array of objects is a pickle, and an array of records has no one type: both are listed and
refused on reading. So is bfloat16, whose name NumPy does not write.
"""

import ast
import dataclasses
import math
import re
import warnings

import numpy as np

from wsjax.checks import printable
from wsjax.files.checkpoint import (
    DIMENSIONS,
    NUMBERS,
    Checkpoint,
    FileFormatError,
    Finding,
    Limits,
    Stored,
    reader,
    too_large,
)
from wsjax.files.disk import BytesOf, shaped, unpacked
from wsjax.files.json_text import first
from wsjax.files.storages import is_count
from wsjax.files.zips import Zip

START = b"\x93NUMPY"
HEADER = 10_128  # bytes at most; NumPy's own reader takes a text of 10,000
PIECE = 1 << 22
PLAIN = re.compile(r"[<>|=](b1|[iu][1248]|f[248]|c8|c16)")
REMEDY = "save it again as plain numbers"


@dataclasses.dataclass(frozen=True)
class Header:
    """How the numbers of an array lie in the file.

    Attributes:
        dtype: a key of `NUMBERS`, or NumPy's description of another type.
        order: of the bytes of a number: "<", ">", "|" or "=".
        shape: of the array.
        by_columns: whether the first index moves fastest.
        size: of the header in bytes; the numbers follow.
    """

    dtype: str
    order: str
    shape: tuple[int, ...]
    by_columns: bool
    size: int

    @property
    def nbytes(self) -> int | None:
        """Of the numbers; None if they are none that are read."""
        numbers = NUMBERS.get(self.dtype)
        return numbers and math.prod(self.shape) * numbers.itemsize

    def array(self, flat: np.ndarray) -> np.ndarray:
        """The array, of its bytes."""
        dtype = NUMBERS[self.dtype].newbyteorder(">" if self.order == ">" else "<")
        if self.by_columns:
            return shaped(flat, self.shape[::-1], dtype).T
        return shaped(flat, self.shape, dtype)


def header(head: bytes) -> Header:
    """Reads the header of an array from the first bytes of its file, `HEADER` or all of them.

    Raises:
        FileFormatError: it is damaged.
    """
    if head[:6] != START:
        raise FileFormatError("expected an array as NumPy writes it, it begins otherwise")
    (version,) = unpacked("<B", head, 6)
    fmt, place = ("<H", 8) if version == 1 else ("<I", 8)
    (count,) = unpacked(fmt, head, place)
    begin = place + (2 if version == 1 else 4)
    if version not in (1, 2, 3) or begin + count > len(head):
        raise FileFormatError("an array's header is cut short, too large, or of another version")
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in texts
            fields = ast.literal_eval(head[begin : begin + count].decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise FileFormatError(f"an array's header is damaged ({error!r:.200})") from error
    if type(fields) is not dict or set(fields) != {"descr", "fortran_order", "shape"}:
        raise FileFormatError("expected descr, fortran_order and shape in an array's header")
    code, shape, by_columns = fields["descr"], fields["shape"], fields["fortran_order"]
    if type(shape) is not tuple or len(shape) > DIMENSIONS or not all(map(is_count, shape)):
        raise FileFormatError(f"expected an array's shape as at most {DIMENSIONS} counts")
    if type(by_columns) is not bool:
        raise FileFormatError("expected fortran_order as True or False in an array's header")
    known = type(code) is str and PLAIN.fullmatch(code)
    dtype = np.dtype(code[1:]).name if known else f"{code!s:.80}"
    return Header(dtype, code[0] if known else "|", shape, by_columns, begin + count)


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The one array of an `.npy`, by the name of its file.

    Raises:
        FileFormatError: its header is damaged.
    """
    about = header(file.bytes(0, min(file.size, HEADER)))
    rest = file.size - about.size
    count = rest if about.nbytes is None else about.nbytes
    findings = []
    if count > rest:
        text = f"the header promises {count} bytes of numbers, the file has {rest}"
        findings.append(Finding("truncated", "error", file.path.stem, text))
    elif count < rest:
        text = f"{rest - count} bytes after the array belong to none"
        findings.append(Finding("stray", "warning", None, text))
    raw = lambda: about.array(file.array(about.size, (count,), np.dtype(np.uint8), limits))
    array = Stored(
        (file.path.stem,),
        about.shape,
        about.dtype,
        (*file.identity, about.size, count),
        count,
        reader(about.dtype, raw, REMEDY),
    )
    return Checkpoint(str(file.path), "npy", (array,), {}, tuple(findings))


def read_zip(members: Zip) -> Checkpoint:
    """The arrays of an `.npz`.

    Raises:
        FileFormatError: a header is damaged, or disagrees with the size of its member.
    """
    names = [n for n in members.members if n.endswith(".npy")]
    arrays = tuple(_member(members, name) for name in names)
    others = [printable(n) for n in members.members if not n.endswith(".npy")]
    findings = ()
    if others:
        text = f"{len(others)} members are no arrays and are not read ({first(others)})"
        findings = (Finding("stray", "note", None, text),)
    return Checkpoint(str(members.file.path), "npz", arrays, {}, findings)


def _member(members, name):
    member, limits = members.members[name], members.limits
    with members.reading(), members.opened(name) as stream:
        head = stream.read(HEADER)
    try:
        about = header(head)
    except FileFormatError as error:
        raise FileFormatError(f"member {name!r:.200}: {error}") from error
    count = member.file_size - about.size
    if about.nbytes not in (None, count):
        raise FileFormatError(
            f"member {name!r:.200}: expected {about.nbytes} bytes of numbers of shape "
            f"{about.shape} and type {about.dtype}, got {count}"
        )

    def numbers():
        members.file.check_open()
        if count > limits.array_bytes:
            raise too_large(f"it has {count} bytes", "array_bytes", limits)
        if member.compress_type and count > members.limits.unpacked_bytes:
            came = f"its {member.compress_size} compressed bytes become {count}"
            raise too_large(came, "unpacked_bytes", members.limits)
        return about.array(_filled(members, name, about.size, count))

    storage = (*members.file.identity, member.header_offset)
    key = name.removesuffix(".npy")
    return Stored(
        (key,), about.shape, about.dtype, storage, count, reader(about.dtype, numbers, REMEDY)
    )


def _filled(members, name, skip, count):
    """The bytes of a member after its first, straight into an array's memory."""
    flat = np.empty(count, np.uint8)
    with members.reading(), members.opened(name) as stream:
        stream.read(skip)
        for start in range(0, count, PIECE):
            piece = stream.read(min(PIECE, count - start))
            if len(piece) != min(PIECE, count - start):
                raise FileFormatError("the zip is damaged: a member ends early")
            flat[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        if stream.read(1):  # the checksum is compared at the end
            raise FileFormatError("the zip is damaged: a member goes on after its array")
    return flat

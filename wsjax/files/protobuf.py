"""Protocol buffers, field by field, without their schema: what is passed over is not read.

field     number * 8 + wire type, a varint; then a varint, 8 bytes, 4 bytes, or a length and
          as many bytes                              (protobuf.dev, "Encoding")
"""

from collections.abc import Iterator

import numpy as np

from wsjax.files.checkpoint import FileFormatError, Limits, too_large
from wsjax.files.disk import Cursor

FIELDS = 10  # for each array, at most


class Budget:
    """Fields and bytes of texts that may still be read of one file."""

    def __init__(self, limits: Limits):
        self.limits, self.fields, self.texts = limits, 0, 0

    def text(self, value: "int | Cursor") -> str:
        """The text of a field.

        Raises:
            FileFormatError: it is none, or all texts are too large together.
        """
        data = self.raw(value)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise FileFormatError(f"a text in it is damaged ({error})") from error

    def raw(self, value: "int | Cursor") -> bytes:
        """The bytes of a field; raises as `text` does."""
        cursor = message(value)
        self.texts += cursor.end - cursor.place
        if self.texts > self.limits.header_bytes:
            raise too_large(f"it has {self.texts} bytes of texts", "header_bytes", self.limits)
        return cursor.take(cursor.end - cursor.place)


def fields(cursor: Cursor, budget: Budget) -> Iterator[tuple[int, "int | Cursor"]]:
    """Numbers of the fields of a message, and their values.

    A value is a whole number, or a cursor over the field's bytes alone: 4, 8, or as many as it
    has.

    Raises:
        FileFormatError: the message is damaged, or has too many fields.
    """
    while cursor.place < cursor.end:
        budget.fields += 1
        if budget.fields > FIELDS * budget.limits.members:
            raise too_large(f"it has more than {budget.fields} fields", "members", budget.limits)
        key = varint(cursor)
        match key & 7:
            case 0:
                value = varint(cursor)
            case 1:
                value = cursor.within(8)
            case 2:
                value = cursor.within(varint(cursor))
            case 5:
                value = cursor.within(4)
            case wire:
                raise FileFormatError(f"a field has wire type {wire}: no such, or no longer used")
        if not key >> 3:
            raise FileFormatError("a field has number 0, which none may have")
        yield key >> 3, value


def varint(cursor: Cursor) -> int:
    """The next number, of at most 64 bits."""
    number = 0
    for i in range(10):
        byte = cursor.take(1)[0]
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF
    raise FileFormatError("a number has more than ten bytes")


def signed(value: "int | Cursor") -> int:
    """A field's number as one with a sign."""
    if isinstance(value, Cursor):
        raise FileFormatError("expected a whole number in a field, got bytes")
    return value - (1 << 64) if value >> 63 else value


def message(value: "int | Cursor") -> Cursor:
    """A field's bytes."""
    if not isinstance(value, Cursor):
        raise FileFormatError("expected bytes in a field, got a whole number")
    return value


def varints(data: np.ndarray) -> np.ndarray:
    """Numbers that follow each other, from their bytes: uint64 [count].

    >>> varints(np.array([1, 0x80, 1, 127], np.uint8)).tolist()
    [1, 128, 127]
    """
    ends = np.flatnonzero(data < 0x80)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise FileFormatError("its last number is cut short")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    lengths = ends - starts + 1
    if len(ends) and lengths.max() > 10:
        raise FileFormatError("a number has more than ten bytes")
    numbers = np.zeros(len(ends), np.uint64)
    for i in range(int(lengths.max(initial=0))):
        has = lengths > i
        digits = (data[starts[has] + i] & 0x7F).astype(np.uint64)
        numbers[has] |= digits << np.uint64(7 * i)
    return numbers

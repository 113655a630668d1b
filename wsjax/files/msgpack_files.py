"""Flax's files of one tree: MessagePack, with an extension type for arrays.

    {"params": {"Dense_0": {"kernel": EXT(1, [[2, 3], "float32", BYTES])}}, "step": 7}

`flax.serialization.to_bytes` writes them, and `flax.training.checkpoints` before Orbax did. The
bytes are walked here, not unpacked (msgpack/spec.md): of an array only type and shape are taken,
and its numbers are passed over. Arrays beyond 1 GB are in chunks, and are one array again here.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from wsjax.files import trees
from wsjax.files.checkpoint import (
    DIMENSIONS,
    NUMBERS,
    Checkpoint,
    FileFormatError,
    Limits,
    Stored,
    reader,
    too_large,
)
from wsjax.files.disk import BytesOf, Cursor, shaped
from wsjax.files.storages import is_count

ARRAY, COMPLEX, SCALAR = 1, 2, 3  # Flax's extension types
CHUNKED = "__msgpack_chunked_array__"
ITEMS = 5  # of a tree for each array, at most
SCALARS = {  # first byte -> how the number that follows lies
    **{0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"},
    **{0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"},
}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
LENGTHS = (">B", ">H", ">I")


def begins(start: bytes) -> bool:
    """Whether a file can be one of these: a map, or one array."""
    return bool(start) and (start[0] & 0xF0 == 0x80 or start[0] in (0xDE, 0xDF, 0xC7, 0xC8, 0xC9))


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """An array: its type, its shape, and where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[tuple[int, int], ...]


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The tree of a file.

    Raises:
        FileFormatError: it is damaged, too large, or no tree by name.
    """
    walk = _Walk(limits)
    cursor = Cursor(file)
    tree = walk.value(cursor, 0)
    if cursor.place != file.size:
        raise FileFormatError(f"{file.size - cursor.place} bytes follow the tree, expected none")
    if isinstance(tree, _Numbers):
        tree = {file.path.stem: tree}
    leaf = lambda path, x: _stored(file, limits, path, x) if isinstance(x, _Numbers) else x
    parts = trees.apart(tree, leaf, ITEMS * limits.members)
    metadata = trees.metadata_of(parts)
    return Checkpoint(
        str(file.path), "msgpack", tuple(parts.arrays), metadata, tuple(parts.findings())
    )


class _Walk:
    """Values of MessagePack; counts them and the bytes of texts."""

    def __init__(self, limits):
        self.limits, self.items, self.texts = limits, 0, 0

    def value(self, cursor, depth) -> Any:
        self.items += 1
        if self.items > ITEMS * self.limits.members:
            raise too_large(f"it has more than {self.items} values", "members", self.limits)
        if depth > trees.DEPTH:
            raise FileFormatError(f"expected a tree at most {trees.DEPTH} deep, it is deeper")
        code = cursor.take(1)[0]
        match code:
            case _ if code < 0x80:
                return code
            case _ if code < 0x90:
                return self._map(cursor, code & 0x0F, depth)
            case _ if code < 0xA0:
                return self._list(cursor, code & 0x0F, depth)
            case _ if code < 0xC0:
                return self._text(cursor, code & 0x1F)
            case _ if code >= 0xE0:
                return code - 256
            case 0xC4 | 0xC5 | 0xC6:
                return self._bytes(cursor, cursor.number(LENGTHS[code - 0xC4]))
            case 0xC7 | 0xC8 | 0xC9:
                return self._extension(cursor, cursor.number(LENGTHS[code - 0xC7]), depth)
            case 0xD4 | 0xD5 | 0xD6 | 0xD7 | 0xD8:
                return self._extension(cursor, 1 << (code - 0xD4), depth)
            case 0xD9 | 0xDA | 0xDB:
                return self._text(cursor, cursor.number(LENGTHS[code - 0xD9]))
            case 0xDC | 0xDD:
                return self._list(cursor, cursor.number(LENGTHS[code - 0xDB]), depth)
            case 0xDE | 0xDF:
                return self._map(cursor, cursor.number(LENGTHS[code - 0xDD]), depth)
            case _ if code in CONSTANTS:
                return CONSTANTS[code]
            case _ if code in SCALARS:
                return cursor.number(SCALARS[code])
        raise FileFormatError(
            f"byte {code:#x} at {cursor.place - 1} begins no value of MessagePack"
        )

    def _map(self, cursor, count, depth):
        tree = {}
        for _ in range(count):
            key = self.value(cursor, depth + 1)
            if type(key) not in (str, int) or key in tree:
                raise FileFormatError(
                    f"expected a tree by unique names, got the key {key!r:.100} in it"
                )
            tree[key] = self.value(cursor, depth + 1)
        return _joined(tree) if tree.get(CHUNKED) is True else tree

    def _list(self, cursor, count, depth):
        return [self.value(cursor, depth + 1) for _ in range(count)]

    def _bytes(self, cursor, count):
        self.texts += count
        if self.texts > self.limits.header_bytes:
            raise too_large(f"it has {self.texts} bytes of texts", "header_bytes", self.limits)
        return cursor.take(count)

    def _text(self, cursor, count):
        try:
            return self._bytes(cursor, count).decode()
        except UnicodeDecodeError as error:
            raise FileFormatError(f"a text in it is damaged ({error})") from error

    def _extension(self, cursor, count, depth):
        kind = cursor.number(">b")
        inside = cursor.within(count)
        if kind in (ARRAY, SCALAR):
            return self._array(inside, depth)
        if kind == COMPLEX:
            parts = self.value(inside, depth + 1)
            if type(parts) is list and [type(x) for x in parts] == [float, float]:
                return complex(*parts)
        return trees.Refusal(f"extension type {kind} of MessagePack")

    def _array(self, cursor, depth):
        """[shape, type, bytes]; where the bytes lie."""
        if cursor.take(1) != b"\x93":
            raise FileFormatError("expected shape, type and bytes of an array")
        shape, dtype = self.value(cursor, depth + 1), self.value(cursor, depth + 1)
        dtype = dtype.decode("latin-1") if type(dtype) is bytes else dtype
        code = cursor.take(1)[0]
        if code not in (0xC4, 0xC5, 0xC6) or type(dtype) is not str:
            raise FileFormatError("expected shape, type and bytes of an array")
        count = cursor.number(LENGTHS[code - 0xC4])
        return _checked(_Numbers(dtype, _shape(shape), ((cursor.skip(count), count),)))


def _shape(shape):
    if type(shape) is not list or len(shape) > DIMENSIONS or not all(map(is_count, shape)):
        raise FileFormatError(f"expected the shape of an array as at most {DIMENSIONS} counts")
    return tuple(shape)


def _checked(array):
    count = sum(n for _, n in array.pieces)
    if array.dtype in NUMBERS:
        expected = math.prod(array.shape) * NUMBERS[array.dtype].itemsize
        if count != expected:
            raise FileFormatError(
                f"an array of shape {array.shape} and type {array.dtype} has {count} bytes, "
                f"expected {expected}"
            )
    return array


def _joined(tree):
    """An array that Flax wrote in chunks, one dict of it and of its shape each."""
    shape, chunks = (_in_order(tree.get(k)) for k in ("shape", "chunks"))
    if not chunks or not all(isinstance(c, _Numbers) for c in chunks):
        raise FileFormatError("expected the chunks of an array by number")
    if len({c.dtype for c in chunks}) > 1:
        raise FileFormatError("expected chunks of one type, got several")
    pieces = tuple(piece for c in chunks for piece in c.pieces)
    return _checked(_Numbers(chunks[0].dtype, _shape(shape), pieces))


def _in_order(tree):
    if type(tree) is not dict or set(tree) != {str(i) for i in range(len(tree))}:
        raise FileFormatError("expected the chunks and the shape of an array by number")
    return [tree[str(i)] for i in range(len(tree))]


def _stored(file, limits, path, x):
    count = sum(n for _, n in x.pieces)

    def read():
        if count > limits.array_bytes:
            raise too_large(f"it has {count} bytes", "array_bytes", limits)
        flat, start = np.empty(count, np.uint8), 0
        for place, size in x.pieces:
            file.fill(place, flat.data[start : start + size])
            start += size
        return shaped(flat, x.shape, NUMBERS[x.dtype])

    remedy = "save it again as plain numbers"
    return Stored(
        path, x.shape, x.dtype, (*file.identity, x.pieces), count, reader(x.dtype, read, remedy)
    )

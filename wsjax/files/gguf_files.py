"""GGUF, the files of llama.cpp: settings, then tensors, most of them quantised in blocks.

    "GGUF", version, number of tensors, number of settings       (ggml, docs/gguf.md)
    settings      key, type, value
    tensors       name, sizes (fastest first), type, offset
    numbers       each tensor at a multiple of `general.alignment`

Tensors of plain numbers are read. Of quantised ones the type, the shape and the bytes are listed.
"""

import itertools
import math

import numpy as np

from wsjax.checks import printable
from wsjax.files import trees
from wsjax.files.checkpoint import (
    NUMBERS,
    Checkpoint,
    FileFormatError,
    Finding,
    Limits,
    Stored,
    reader,
    too_large,
)
from wsjax.files.disk import BytesOf, Cursor
from wsjax.files.json_text import first

START = b"GGUF"
PLAIN = {  # ggml_type -> ours
    **{0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64"},
    **{28: "float64", 30: "bfloat16"},
}
BLOCKS = {  # ggml_type -> name, elements of a block, bytes of a block
    **{2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24)},
    **{8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110)},
    **{12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210)},
    **{15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74)},
    **{18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18)},
    **{21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136)},
    **{29: ("IQ1_M", 256, 56), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66)},
    **{39: ("MXFP4", 32, 17)},
}
SCALARS = {  # gguf_metadata_value_type -> how a value lies
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
TEXT, ARRAY = 8, 9
KEPT = 100  # items of a list that is kept in the metadata; vocabularies have 100,000
AXES = 8
VALUES = 5  # settings for each tensor, at most


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The tensors of a file, in its order; its settings are the metadata.

    Raises:
        FileFormatError: it is damaged, of another version, or of the other byte order.
    """
    cursor = Cursor(file, len(START))
    version = cursor.number("<I")
    if version not in (2, 3):
        order = " of big-endian numbers" if version in (2 << 24, 3 << 24) else ""
        raise FileFormatError(f"expected GGUF of version 2 or 3, got {version}{order}")
    tensors, settings = cursor.number("<Q"), cursor.number("<Q")
    for count in (tensors, settings):
        if count > limits.members:
            raise too_large(f"it has {count} tensors or settings", "members", limits)
    walk = _Walk(limits)
    metadata = {}
    for _ in range(settings):
        key = walk.text(cursor)
        if key in metadata:
            raise FileFormatError(f"expected unique settings, got {key!r:.200} twice")
        metadata[key] = walk.value(cursor, cursor.number("<I"), 0)
    entries = [_entry(cursor, walk) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20:
        raise FileFormatError(f"expected an alignment in bytes, got {alignment!r:.40}")
    start = -(-cursor.place // alignment) * alignment
    arrays = tuple(_stored(file, limits, start, *entry) for entry in entries)
    metadata = {key: value for key, value in metadata.items() if value is not trees.NOTHING}
    return Checkpoint(str(file.path), "gguf", arrays, metadata, tuple(_findings(file, arrays)))


class _Walk:
    """Settings; counts values and bytes of texts."""

    def __init__(self, limits):
        self.limits, self.values, self.texts = limits, 0, 0

    def text(self, cursor) -> str:
        count = cursor.number("<Q")
        self.texts += count
        if self.texts > self.limits.header_bytes:
            raise too_large(f"it has {self.texts} bytes of texts", "header_bytes", self.limits)
        return cursor.take(count).decode("utf-8", "backslashreplace")

    def value(self, cursor, kind, depth):
        """A setting; `NOTHING` stands for a list that is too long to keep."""
        self._count(1)
        if kind == TEXT:
            return self.text(cursor)
        if kind == ARRAY:
            return self._array(cursor, depth)
        if kind not in SCALARS:
            raise FileFormatError(f"a setting has type {kind}, which is not known")
        return cursor.number(SCALARS[kind])

    def _count(self, count):
        self.values += count
        if self.values > VALUES * self.limits.members:
            raise too_large(f"its settings have {self.values} values", "members", self.limits)

    def _array(self, cursor, depth):
        if depth > AXES:
            raise FileFormatError(f"expected lists at most {AXES} deep in each other")
        kind, count = cursor.number("<I"), cursor.number("<Q")
        if kind in SCALARS and count > KEPT:
            cursor.skip(count * np.dtype(SCALARS[kind]).itemsize)
            return trees.NOTHING
        self._count(count)
        values = [self.value(cursor, kind, depth + 1) for _ in range(count)]
        return values if count <= KEPT and trees.NOTHING not in values else trees.NOTHING


def _entry(cursor, walk):
    """Name, shape, type and offset of a tensor."""
    name, axes = walk.text(cursor), cursor.number("<I")
    if axes > AXES:
        raise FileFormatError(f"tensor {name!r:.200} has {axes} axes, expected at most {AXES}")
    shape = tuple(cursor.number("<Q") for _ in range(axes))[::-1]
    if math.prod(shape) >= 1 << 60:
        raise FileFormatError(f"tensor {name!r:.200} has a shape {shape} of too many numbers")
    return name, shape, cursor.number("<I"), cursor.number("<Q")


def _stored(file, limits, start, name, shape, kind, offset):
    place = start + offset
    if kind in PLAIN:
        dtype = PLAIN[kind]
        count = math.prod(shape) * NUMBERS[dtype].itemsize
    elif kind in BLOCKS:
        dtype, elements, size = BLOCKS[kind]
        if not shape or shape[-1] % elements:
            raise FileFormatError(
                f"tensor {name!r:.200} of shape {shape} is not made of blocks of {elements}"
            )
        count = math.prod(shape) // elements * size
    else:
        dtype, count = f"ggml type {kind}", 0
    read = lambda: file.array(place, shape, NUMBERS[dtype], limits)
    storage = (*file.identity, place, count) if count else (*file.identity, name, 0)
    remedy = "convert the model to f16 or f32 first"
    return Stored((name,), shape, dtype, storage, count, reader(dtype, read, remedy))


def _findings(file, arrays):
    """Findings on tensors beyond the end; raises where some share a part of their bytes."""
    ranges = sorted((*a.storage[-2:], a.name) for a in arrays if a.nbytes)
    for (place, count, name), (begin, size, other) in itertools.pairwise(ranges):
        if place + count > begin and (place, count) != (begin, size):
            raise FileFormatError(f"tensors {name!r:.200} and {other!r:.200} overlap")
    cut = [printable(name) for place, count, name in ranges if place + count > file.size]
    if cut:
        text = f"the file ends at {file.size} bytes: {len(cut)} of {len(arrays)} tensors are cut"
        yield Finding("truncated", "error", None, f"{text} ({first(cut)})")

"""Safetensors: a header in JSON, then the numbers, which the header gives a place each.

    8 bytes     length of the header, little-endian
    header      {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
                 "__metadata__": {text: text}}
    numbers     back to back, little-endian, row-major

The header is checked as the format demands (huggingface/safetensors, README, "Format"): names
are unique, sizes agree with dtypes and shapes, and the arrays fill the file without holes. Two
departures, both found in real files: arrays may share all their bytes, as tied weights do, and a
file that ends too early is listed, with what it lacks as a finding.
"""

import collections
import math

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
from wsjax.files.disk import BytesOf, unpacked
from wsjax.files.json_text import first, json_object
from wsjax.files.storages import is_count

DTYPES = {  # of the format -> ours
    **{"BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"},
    **{"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"},
    **{"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"},
    **{"F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz"},
    "C64": "complex64",
}
PARTIAL_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}  # several elements share a byte
CONVERT = "convert the file to one of these first"


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The contents of one file; numbers are read as they are wanted.

    Raises:
        FileFormatError: the header is damaged, contradicts itself, or is too large.
    """
    start, header = _header(file, limits)
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or not all(type(v) is str for v in metadata.values()):
        raise FileFormatError("expected __metadata__ as texts by name in the header")
    if len(header) > limits.members:
        raise too_large(f"it has {len(header)} arrays", "members", limits)
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    end = _filled(entries, start)
    order = sorted(entries, key=lambda name: entries[name][2])
    arrays = tuple(_stored(file, limits, start, name, *entries[name]) for name in order)
    return Checkpoint(
        str(file.path), "safetensors", arrays, metadata, tuple(_ends(file, end, arrays))
    )


def _header(file, limits):
    """Where the numbers begin, and the header."""
    (count,) = unpacked("<Q", file.bytes(0, min(8, file.size)))
    if count > limits.header_bytes:
        raise too_large(f"its header has {count} bytes", "header_bytes", limits)
    header = json_object(file.bytes(8, count), "its header", limits)
    return 8 + count, header


def _entry(name, entry):
    """Its dtype, shape, beginning and end."""
    where = f"the header's entry {name!r:.200}"
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileFormatError(f"expected dtype, shape and data_offsets alone in {where}")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(shape) is not list or len(shape) > DIMENSIONS or not all(map(is_count, shape)):
        raise FileFormatError(f"expected the shape as at most {DIMENSIONS} counts in {where}")
    if type(offsets) is not list or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise FileFormatError(f"expected data_offsets as two counts in {where}")
    if type(code) is not str:
        raise FileFormatError(f"expected the dtype as a text in {where}")
    begin, end = offsets
    bits = PARTIAL_BITS.get(code)
    if code in DTYPES:
        bits = 8 * NUMBERS[DTYPES[code]].itemsize
    if end < begin:
        raise FileFormatError(f"data_offsets end before they begin in {where}")
    if bits is not None and 8 * (end - begin) != math.prod(shape) * bits:
        raise FileFormatError(
            f"{where} has {end - begin} bytes, expected {math.prod(shape) * bits / 8:g} of shape "
            f"{shape} and dtype {code}"
        )
    return code, tuple(shape), begin, end


def _filled(entries, start):
    """Where the last array ends; raises where arrays share some of their bytes, or leave holes."""
    end, last = 0, (0, 0)
    ranges = sorted((begin, stop, name) for name, (_, _, begin, stop) in entries.items())
    for begin, stop, name in ranges:
        if (begin, stop) != last or begin == stop:
            if begin < end:
                raise FileFormatError(f"array {name!r:.200} overlaps with the one before it")
            if begin > end:
                raise FileFormatError(f"{begin - end} bytes before array {name!r:.200} are unused")
        end, last = stop, (begin, stop)
    return start + end


def _ends(file, end, arrays):
    """Findings on a file that ends before its last array, or after it, and on shared bytes."""
    names = collections.defaultdict(list)
    for a in arrays:
        names[a.storage].append(printable(a.name))
    if end > file.size:
        cut = [
            n
            for (*_, place, count), same in names.items()
            if place + count > file.size
            for n in same
        ]
        text = (
            f"the header promises {end} bytes, the file has {file.size}: {len(cut)} of "
            f"{len(arrays)} arrays are cut ({first(cut)})"
        )
        yield Finding("truncated", "error", None, text)
    elif end < file.size:
        text = f"{file.size - end} bytes after the last array belong to none"
        yield Finding("stray", "warning", None, text)
    for same in names.values():
        if len(same) > 1:
            yield Finding("tied", "note", same[0], f"{first(same)} are the same bytes")


def _stored(file, limits, start, name, code, shape, begin, end):
    dtype, place, count = DTYPES.get(code, code), start + begin, end - begin
    # Empty arrays share no byte with each other, wherever they lie.
    storage = (*file.identity, place, count) if count else (*file.identity, name, 0, 0)
    read = lambda: file.array(place, shape, NUMBERS[dtype], limits)
    return Stored((name,), shape, dtype, storage, count, reader(dtype, read, CONVERT))

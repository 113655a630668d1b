"""Tensors of ONNX, each with its numbers in one of three places, read on demand.

TensorProto (onnx.proto)    dims (1), data_type (2), name (8), and
    raw_data (9)            the numbers, little-endian
    float_data (4), ...     the numbers in a field of their type
    external_data (13)      location, offset, length: in a file beside the model
"""

import dataclasses
import math

import numpy as np

from wsjax.checks import printable
from wsjax.files.checkpoint import (
    DIMENSIONS,
    NUMBERS,
    FileFormatError,
    Finding,
    Limits,
    Stored,
    reader,
    too_large,
)
from wsjax.files.disk import BytesOf, Cursor, check_booleans, empty, is_beside
from wsjax.files.json_text import first
from wsjax.files.protobuf import Budget, fields, message, signed, varints
from wsjax.files.storages import is_count

TYPES = {  # TensorProto.DataType
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64"},
    **{15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz"},
    **{19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu"},
    **{8: "STRING", 21: "UINT4", 22: "INT4", 23: "FLOAT4E2M1", 25: "UINT2", 26: "INT2"},
}
FLOATS, INTS, LONGS, RAW, DOUBLES, UNSIGNED = 4, 5, 7, 9, 10, 11  # fields of numbers
FIELD_OF = {  # of a type; others lie in INTS
    **{"float32": FLOATS, "complex64": FLOATS, "float64": DOUBLES, "complex128": DOUBLES},
    **{"int64": LONGS, "uint64": UNSIGNED, "uint32": UNSIGNED},
}


def whole(value: int | Cursor, budget: Budget) -> list[int]:
    """Whole numbers of a field, which has one or many."""
    if isinstance(value, Cursor):
        return varints(np.frombuffer(budget.raw(value), np.uint8)).astype(np.int64).tolist()
    return [signed(value)]


@dataclasses.dataclass
class Tensor:
    """A TensorProto: where its numbers lie.

    Attributes:
        code: of its type, a key of `TYPES`.
        shape: of the tensor.
        name: of an initialiser.
        pieces: field of numbers -> places and lengths in the file.
        external: location, offset and length, as texts, if the numbers lie in another file.
    """

    code: int = 0
    shape: list[int] = dataclasses.field(default_factory=list)
    name: str = ""
    pieces: dict[int, list[tuple[int, int]]] = dataclasses.field(default_factory=dict)
    external: dict[str, str] | None = None


def parsed(cursor: Cursor, budget: Budget) -> Tensor:
    """Reads a TensorProto, but for its numbers.

    Raises:
        FileFormatError: it is damaged, or a segment of a tensor.
    """
    tensor, elsewhere, pairs = Tensor(), False, {}
    for number, value in fields(cursor, budget):
        match number:
            case 1:
                tensor.shape += whole(value, budget)
            case 2:
                tensor.code = signed(value)
            case 3:
                raise FileFormatError("a tensor is a segment of a larger one, not supported")
            case 8:
                tensor.name = budget.text(value)
            case 13:
                pair = {k: budget.text(v) for k, v in fields(message(value), budget) if k in (1, 2)}
                pairs[pair.get(1, "")] = pair.get(2, "")
            case 14:
                elsewhere = signed(value) == 1
            case 4 | 5 | 7 | 9 | 10 | 11:
                piece = message(value)
                place = (piece.place, piece.end - piece.place)
                tensor.pieces.setdefault(number, []).append(place)
    if len(tensor.shape) > DIMENSIONS or not all(map(is_count, tensor.shape)):
        raise FileFormatError(
            f"expected the shape of {tensor.name!r:.200} as at most {DIMENSIONS} counts"
        )
    tensor.external = pairs if elsewhere else None
    return tensor


class Tensors:
    """The tensors of a model as arrays, and the files beside it that hold some of them."""

    def __init__(self, file: BytesOf, limits: Limits):
        self._file, self._limits = file, limits
        self._beside: dict[str, BytesOf | None] = {}
        self._lost: dict[str, list[str]] = {}

    def findings(self) -> list[Finding]:
        """Of tensors whose numbers are not where they should be."""
        return [
            Finding("missing", "error", None, f"{where}: {len(names)} arrays ({first(names)})")
            for where, names in self._lost.items()
        ]

    def stored(self, path: tuple[str, ...], tensor: Tensor) -> Stored:
        """A tensor as an array.

        Raises:
            FileFormatError: the sizes of its numbers and of its shape disagree, or they lie
                outside the model's folder.
        """
        dtype, shape = TYPES.get(tensor.code, f"type {tensor.code}"), tuple(tensor.shape)
        count = math.prod(shape) * NUMBERS[dtype].itemsize if dtype in NUMBERS else 0
        name = f"{'/'.join(path)!r:.200}"
        if tensor.external is not None:
            return self._external(path, dtype, shape, count, tensor.external)
        if len(tensor.pieces) > 1 or len(tensor.pieces.get(RAW, [])) > 1:
            raise FileFormatError(f"tensor {name} has numbers in more than one field")
        (field, pieces) = next(iter(tensor.pieces.items()), (RAW, []))
        size = sum(n for _, n in pieces)
        if dtype in NUMBERS and pieces:
            if field not in (RAW, FIELD_OF.get(dtype, INTS)):
                raise FileFormatError(f"tensor {name} of {dtype} has numbers of another type")
            if field in (RAW, FLOATS, DOUBLES) and size != count:
                raise FileFormatError(
                    f"tensor {name} of shape {shape} and type {dtype} has {size} bytes, expected "
                    f"{count}"
                )
        if count and not pieces:
            self._lose("the model does not hold the numbers", path)
        read = lambda: self._numbers(field, pieces, dtype, shape, count)
        storage = (*self._file.identity, tuple(pieces)) if size else (*self._file.identity, path)
        return self._array(path, shape, dtype, storage, count or size, read)

    def _array(self, path, shape, dtype, storage, count, read):
        remedy = "save it again as plain numbers"
        return Stored(path, shape, dtype, storage, count, reader(dtype, read, remedy))

    def _lose(self, where, path):
        self._lost.setdefault(where, []).append(printable("/".join(path)))

    def _numbers(self, field, pieces, dtype, shape, count):
        kind = NUMBERS[dtype]
        if not pieces:
            if count:
                raise FileFormatError("the model does not hold its numbers")
            return empty(shape, kind)
        if field == RAW:
            return self._file.array(pieces[0][0], shape, kind, self._limits)
        size = sum(n for _, n in pieces)
        if max(count, size) > self._limits.array_bytes:
            raise too_large(f"it has {max(count, size)} bytes", "array_bytes", self._limits)
        data = np.frombuffer(b"".join(self._file.bytes(*piece) for piece in pieces), np.uint8)
        if 0 in shape:
            return empty(shape, kind)
        if field in (FLOATS, DOUBLES):
            return data.view(kind).reshape(shape)
        numbers = varints(data)
        if len(numbers) != math.prod(shape):
            raise FileFormatError(f"it has {len(numbers)} numbers, expected {math.prod(shape)}")
        if kind.kind in "iu":
            return numbers.astype(kind).reshape(shape)
        # Of types that are no whole numbers, the bits.
        array = numbers.astype(f"u{kind.itemsize}").view(kind).reshape(shape)
        check_booleans(array)
        return array

    def _external(self, path, dtype, shape, count, about):
        location = about.get("location", "")
        offset, length = (_count(about.get(k), path) for k in ("offset", "length"))
        offset = offset or 0
        name = f"tensor {'/'.join(path)!r:.200}"
        if dtype in NUMBERS and length not in (None, count):
            raise FileFormatError(f"{name} has {length} bytes in {location!r:.200}, not {count}")
        count = count or length or 0
        file = self._opened(location, name)
        if file is None:
            self._lose(f"the file {printable(location)} beside the model is missing", path)
        elif offset + count > file.size:
            self._lose(f"the file {printable(location)} beside the model is cut short", path)

        def read():
            self._file.check_open()
            if file is None:
                raise FileFormatError(f"the file {location!r:.200} beside the model is missing")
            return file.array(offset, shape, NUMBERS[dtype], self._limits)

        identity = file.identity if file else (location,)
        return self._array(path, shape, dtype, (*identity, offset, count), count, read)

    def _opened(self, location, name):
        """A file of the model's folder, or of one below it; None if there is none."""
        if location not in self._beside:
            parts = location.split("/")
            if not location or "\0" in location or {"", ".", ".."} & set(parts):
                raise FileFormatError(f"{name} lies in {location!r:.200}, outside the folder")
            place = self._file.path.parent / location
            if not is_beside(place, self._file.path):
                raise FileFormatError(f"{name} lies in {location!r:.200}, a link to elsewhere")
            if len(self._beside) >= 100:
                raise FileFormatError("expected at most 100 files beside the model")
            try:
                self._beside[location] = self._file.owned.enter_context(BytesOf(place))
            except (FileNotFoundError, NotADirectoryError):
                self._beside[location] = None
        return self._beside[location]


def _count(text, path):
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise FileFormatError(f"expected a count in the place of {'/'.join(path)!r:.200}")
    return int(text)

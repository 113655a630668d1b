"""Weights files of several formats, written byte by byte: of any type, sound or not.

safetensors({"w": array, "q": Raw("F4", (2, 4), bytes(4))})    the bytes of a file
torch({"state_dict": {"w": array}, "epoch": 3})                likewise, without PyTorch
onnx([tensor("w", array)], [constant("c", array)])             likewise
gguf({"w": array})                                             likewise
"""

import dataclasses
import json
import struct
from collections.abc import Iterable, Mapping

import numpy as np

from experiments.lib import torch_writer

CODES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"},
    **{"int64": "I64", "int32": "I32", "uint8": "U8", "uint32": "U32", "complex64": "C64"},
    **{"float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0"},
}
ONNX_TYPES = {"float32": 1, "int64": 7}
GGUF_TYPES = {"float32": 0, "float16": 1}


@dataclasses.dataclass(frozen=True)
class Raw:
    """An array of any type, by its bytes.

    Attributes:
        code: of its type, as safetensors names it.
        shape: of its elements.
        data: its bytes.
    """

    code: str
    shape: tuple[int, ...]
    data: bytes


@dataclasses.dataclass(frozen=True)
class Instance:
    """An object of a class "module.Name" in a pickle, with its fields."""

    name: str
    fields: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Function:
    """A reference to a function "module.name" in a pickle."""

    name: str


def raw(array: np.ndarray | Raw) -> Raw:
    """An array's type, shape and bytes."""
    if isinstance(array, Raw):
        return array
    return Raw(CODES[array.dtype.name], array.shape, array.tobytes())


def safetensors(arrays: Mapping[str, np.ndarray | Raw], tied: Mapping[str, str] = {}) -> bytes:
    """A safetensors file.

    Args:
        arrays: by name, in the file's order.
        tied: name -> name of the array whose bytes it has.
    """
    header, end, data = {}, 0, b""
    for name, array in arrays.items():
        stored = raw(array)
        offsets = [end, end := end + len(stored.data)]
        data += stored.data
        header[name] = {"dtype": stored.code, "shape": stored.shape, "data_offsets": offsets}
    header |= {name: header[other] for name, other in tied.items()}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def torch(tree: object) -> bytes:
    """A PyTorch file of dicts, lists, plain values, arrays, `Instance` and `Function`."""
    storages: list[bytes] = []
    seen: dict[int, str] = {}

    def body(x) -> bytes:
        if isinstance(x, np.ndarray):
            if id(x) not in seen:
                seen[id(x)] = str(len(storages))
                storages.append(x.tobytes())
            kind = torch_writer.STORAGES[x.dtype.str[1:]]
            return torch_writer.tensor(seen[id(x)], x.shape, kind=kind)
        if isinstance(x, Instance):
            return torch_writer.name(x.name) + b")\x81" + body(dict(x.fields)) + b"b"
        if isinstance(x, Function):
            return torch_writer.name(x.name)
        if isinstance(x, dict):
            return torch_writer.mapping((torch_writer.value(k), body(v)) for k, v in x.items())
        if isinstance(x, list):
            return b"](" + b"".join(map(body, x)) + b"e"
        return torch_writer.value(x)

    pickled = torch_writer.program(body(tree))
    return torch_writer.pt(pickled, storages)


def message(*pairs: tuple[int, int | str | bytes]) -> bytes:
    """A protocol buffer: fields by number; counts, texts, or messages as bytes."""
    out = b""
    for number, value in pairs:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value % (1 << 64))
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def varint(n: int) -> bytes:
    """A whole number from 0 on, seven bits a byte, as protocol buffers write it."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def tensor(name: str, array: np.ndarray, file: str = "") -> bytes:
    """ONNX's TensorProto; its numbers are in a file beside if that is named."""
    about = [*((1, n) for n in array.shape), (2, ONNX_TYPES[array.dtype.name]), (8, name)]
    if file:
        return message(*about, (13, message((1, "location"), (2, file))), (14, 1))
    return message(*about, (9, array.tobytes()))


def constant(name: str, array: np.ndarray) -> bytes:
    """ONNX's NodeProto of a Constant."""
    attribute = message((1, "value"), (5, tensor("", array)), (20, 4))
    return message((2, name), (4, "Constant"), (5, attribute))


def onnx(tensors: Iterable[bytes], nodes: Iterable[bytes] = ()) -> bytes:
    """An ONNX model of initialisers and nodes."""
    graph = message((2, "net"), *((5, t) for t in tensors), *((1, n) for n in nodes))
    return message((1, 8), (2, "by hand"), (7, graph))


def gguf(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A GGUF file, version 3."""
    text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
    head, data = b"GGUF" + struct.pack("<IQQ", 3, len(arrays), 0), b""
    for name, array in arrays.items():
        shape = array.shape[::-1]
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", GGUF_TYPES[array.dtype.name], len(data))
        data += array.tobytes() + bytes(-array.nbytes % 32)
    return head + bytes(-len(head) % 32) + data

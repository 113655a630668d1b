"""A small valid weights file of every format that is read, and what harm may come to it.

    FORMATS[name](folder)      writes it, gives the path to open
    ARRAYS                     the arrays that (nearly) every one holds, by name
    mutations(data, seed, n)   n damaged copies of a file's bytes, the same for the same seed
    outcome(path)              its arrays and its errors; raises all but a `FileFormatError`

Each is written byte by byte or by the format's own library; "hdf5" and "keras" need h5py.
"""

import json
import struct
import time
import tracemalloc
import zipfile

import numpy as np
from cases import torch_by_hand
from flax import serialization
from orbax import checkpoint

from experiments.foreign_files.writers import message as proto
from wsjax.files.checkpoint import NUMBERS, FileFormatError
from wsjax.files.detection import opened

ARRAYS = {
    "enc.0.weight": np.arange(12, dtype="f4").reshape(4, 3) / 8 - 1,
    "enc.0.bias": np.array([0.5, -1.5, 2.0, 0.0], "f4"),
    "enc.1.weight": np.arange(8, dtype="f2").reshape(2, 4) / 4,
    "steps": np.array(7, "i8"),
    "empty": np.zeros((2, 0), "f4"),
}
SAFETENSORS = {"f4": "F32", "f2": "F16", "i8": "I64", "u1": "U8", "c8": "C64", "f8": "F64"}


def safetensors_bytes(arrays, metadata=None, **changes):
    """A file; `changes` replaces entries of its header, None drops one."""
    header, end = {"__metadata__": metadata} if metadata else {}, 0
    for name, array in arrays.items():
        code = SAFETENSORS[array.dtype.str[1:]]
        offsets = [end, end := end + array.nbytes]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": offsets}
    header = {k: v for k, v in (header | changes).items() if v is not None}
    return safetensors_of(json.dumps(header), b"".join(a.tobytes() for a in arrays.values()))


def safetensors_of(header, data=b""):
    """A file of this header, a text."""
    return struct.pack("<Q", len(header.encode())) + header.encode() + data


def _written(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def safetensors(folder):
    return _written(folder / "net.safetensors", safetensors_bytes(ARRAYS, {"format": "pt"}))


def safetensors_index(folder):
    """An index of two shards."""
    names = list(ARRAYS)
    shards = {
        "net-00001-of-00002.safetensors": names[:2],
        "net-00002-of-00002.safetensors": names[2:],
    }
    for shard, inside in shards.items():
        _written(folder / shard, safetensors_bytes({k: ARRAYS[k] for k in inside}))
    where = {k: shard for shard, inside in shards.items() for k in inside}
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    return _written(folder / "net.safetensors.index.json", json.dumps(index).encode())


def torch(folder):
    saved = {"state_dict": torch_by_hand.State(ARRAYS, ("", "enc")), "epoch": 3}
    torch_by_hand.write(folder / "net.pth", saved)
    return folder / "net.pth"


def npz(folder):
    with open(folder / "net.npz", "wb") as file:
        np.savez(file, **ARRAYS)
    return folder / "net.npz"


def npz_compressed(folder):
    with open(folder / "net.npz", "wb") as file:
        np.savez_compressed(file, **ARRAYS)
    return folder / "net.npz"


def npy(folder):
    np.save(folder / "enc.0.weight.npy", ARRAYS["enc.0.weight"])
    return folder / "enc.0.weight.npy"


def msgpack(folder):
    tree = {"params": {"enc": ARRAYS}, "step": 7, "names": ["a", None, True, 1.5]}
    return _written(folder / "net.msgpack", serialization.msgpack_serialize(tree))


def orbax(folder):
    """Each array in a folder of its own, so that each can be harmed by itself."""
    checkpointer = checkpoint.PyTreeCheckpointer(use_ocdbt=False)
    whole = {k: v for k, v in ARRAYS.items() if v.size}  # Orbax saves no others
    checkpointer.save(folder / "net", {"params": whole, "name": "a"})
    return folder / "net"


def hdf5(path, tree, attributes=(), **options):
    """An HDF5 file: path of a group or array -> array, and path -> attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in tree.items():
            file.create_dataset(name, data=array, **(options if np.ndim(array) else {}))
        for name, values in dict(attributes).items():
            file.require_group(name).attrs.update(values)
    return path


def keras_weights(folder):
    tree = {f"layers/dense/vars/{i}": array for i, array in enumerate(ARRAYS.values())}
    return hdf5(folder / "net.weights.h5", tree, compression="gzip")


def keras(folder):
    weights = keras_weights(folder)
    with zipfile.ZipFile(folder / "net.keras", "w") as file:
        file.writestr("config.json", json.dumps({"class_name": "Sequential"}))
        file.write(weights, "model.weights.h5")
    weights.unlink()
    return folder / "net.keras"


ONNX_TYPES = {"f4": 1, "u1": 2, "i8": 7, "b1": 9, "f2": 10, "f8": 11}


def onnx_tensor(name, array, *more):
    code = ONNX_TYPES[array.dtype.str[1:]]
    numbers = () if more else ((9, array.tobytes()),)
    return proto(*((1, n) for n in array.shape), (2, code), (8, name), *numbers, *more)


def onnx_node(operator, outputs, *attributes):
    return proto(*((2, o) for o in outputs), (4, operator), *((5, a) for a in attributes))


def onnx_model(*fields):
    """A model; `fields` are its graph's."""
    return proto((1, 8), (2, "by hand"), (7, proto((2, "net"), *fields)))


def onnx(folder):
    """Initialisers, one Constant, one tensor in a file beside."""
    arrays = dict(ARRAYS)
    beside = arrays.pop("enc.1.weight")
    constant = arrays.pop("steps")
    _written(folder / "net.data", b"pad." + beside.tobytes())
    pairs = [proto((1, k), (2, v)) for k, v in (("location", "net.data"), ("offset", "4"))]
    external = onnx_tensor("enc.1.weight", beside, *((13, p) for p in pairs), (14, 1))
    value = proto((1, "value"), (5, onnx_tensor("", constant)), (20, 4))
    tensors = [(5, onnx_tensor(k, v)) for k, v in arrays.items()]
    data = onnx_model(*tensors, (5, external), (1, onnx_node("Constant", ["steps"], value)))
    return _written(folder / "net.onnx", data)


GGUF_TYPES = {"f4": 0, "f2": 1, "i8": 27, "f8": 28}


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_bytes(tensors, settings=(), version=3, pad=32):
    """A file; `tensors` are (name, shape, type, bytes), `settings` (key, type, value's bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    for key, kind, value in settings:
        head += gguf_text(key) + struct.pack("<I", kind) + value
    data = b""
    for name, shape, kind, numbers in tensors:
        head += gguf_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", kind, len(data))
        data += numbers + bytes(-len(numbers) % pad)
    return head + bytes(-len(head) % pad) + data


def gguf(folder):
    tensors = [(k, v.shape, GGUF_TYPES[v.dtype.str[1:]], v.tobytes()) for k, v in ARRAYS.items()]
    tensors.append(("packed", (2, 32), 2, bytes(36)))
    tokens = struct.pack("<IQ", 8, 2) + gguf_text("a") + gguf_text("b")
    settings = [("general.name", 8, gguf_text("net")), ("tokens", 9, tokens)]
    return _written(folder / "net.gguf", gguf_bytes(tensors, settings))


FORMATS = {
    "safetensors": safetensors,
    "safetensors index": safetensors_index,
    "torch": torch,
    "npz": npz,
    "npz compressed": npz_compressed,
    "npy": npy,
    "msgpack": msgpack,
    "onnx": onnx,
    "gguf": gguf,
    "orbax": orbax,
    "hdf5": keras_weights,
    "keras": keras,
}


def mutations(data, seed, count):
    """Damaged copies of a file: cuts, holes, flips, repeats, swapped ranges, numbers made large."""
    rng = np.random.default_rng([seed, len(data)])
    for i in range(count):
        bad, at = bytearray(data), int(rng.integers(len(data)))
        size = int(rng.choice([1, 2, 8, 64]))
        piece = bad[at : at + size]
        match i % 8:
            case 0:
                del bad[at:]
            case 1:
                del bad[at : at + size]
            case 2:
                bad[at : at + size] = bytes(len(piece))
            case 3:
                bad[at] ^= 1 << int(rng.integers(8))
            case 4:
                bad[at:at] = piece
            case 5:
                bad[at : at + size] = rng.bytes(len(piece))
            case 6:
                bad[at : at + size] = b"\xff" * len(piece)
            case 7:  # most headers lie in front
                front = int(rng.integers(min(len(bad), 256)))
                bad[front : front + size] = rng.bytes(len(bad[front : front + size]))
        yield bytes(bad)


def outcome(path, limits=None, seconds=10, memory=64 << 20):
    """Its arrays by name, and the messages of errors; whatever takes more than it may fails."""
    arrays, errors, start = {}, [], time.monotonic()
    tracemalloc.start()
    try:
        with opened(path, limits) as found:
            for a in found.arrays:
                try:
                    array = a.read()
                except FileFormatError as error:
                    errors.append(str(error))
                    continue
                assert (array.shape, array.dtype) == (a.shape, NUMBERS[a.dtype])
                arrays[a.name] = array
    except FileFormatError as error:
        errors.append(str(error))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < memory, f"{peak} bytes"
    assert time.monotonic() - start < seconds
    assert all(message.startswith(f"{path}: ") for message in errors)
    return arrays, errors

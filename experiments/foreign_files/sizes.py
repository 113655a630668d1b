"""Large files: seconds and memory of listing, describing and reading them, in fresh processes.

The commands `wsjax inspect` and `wsjax verify` are timed as a user runs them, from the start of
the process: until their first output, and in all.

A file of holes reads as zeros and takes no room on disk, so that only its listing and the reading
of one array mean anything; files whose reading is timed are of random numbers.
"""

import json
import math
import pathlib
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from experiments.foreign_files import writers
from experiments.lib import commands, memory, torch_writer
from wsjax.files import describe, load, opened

ITEM = 4  # bytes of a float32
COMMANDS = ("inspect", "verify")  # of `wsjax`


def sparse_safetensors(path: pathlib.Path, size: int, count: int) -> None:
    """A file of so many bytes of zeros, in equal arrays; a hole on disk but for its header."""
    each = size // count // ITEM
    header = {
        f"layers.{i}.weight": {
            "dtype": "F32",
            "shape": [each],
            "data_offsets": [i * each * ITEM, (i + 1) * each * ITEM],
        }
        for i in range(count)
    }
    text = json.dumps(header).encode()
    _with_hole(path, struct.pack("<Q", len(text)) + text, each * ITEM * count)


def sparse_gguf(path: pathlib.Path, size: int, count: int) -> None:
    """Likewise, a GGUF file."""
    each = size // count // 32 * 32
    text = lambda s: struct.pack("<Q", len(s)) + s.encode()
    head = b"GGUF" + struct.pack("<IQQ", 3, count, 0)
    for i in range(count):
        head += text(f"blk.{i}.ffn.weight") + struct.pack("<IQIQ", 1, each // ITEM, 0, i * each)
    _with_hole(path, head + bytes(-len(head) % 32), each * count)


def sparse_onnx(path: pathlib.Path, size: int, count: int) -> None:
    """An ONNX model whose numbers lie in a file beside it, which is a hole."""
    each = size // count // ITEM
    tensors = []
    for i in range(count):
        place = {"location": f"{path.name}.data", "offset": f"{i * each * ITEM}"}
        pairs = [(13, writers.message((1, k), (2, v))) for k, v in place.items()]
        about = (1, each), (2, 1), (8, f"layers.{i}.weight")
        tensors.append(writers.message(*about, *pairs, (14, 1)))
    path.write_bytes(writers.onnx(tensors))
    _with_hole(path.with_name(f"{path.name}.data"), b"", each * count * ITEM)


def _with_hole(path, head, size):
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)


def safetensors(path: pathlib.Path, size: int, count: int) -> None:
    """A file of random numbers."""
    sparse_safetensors(path, size, count)
    with open(path, "r+b") as file:
        (header,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + header)
        for array in _arrays(size, count):
            file.write(array.data)


def torch(path: pathlib.Path, size: int, count: int) -> None:
    """Likewise, a PyTorch file."""
    shape = (size // count // ITEM,)
    tensors = {f"layers.{i}.weight": torch_writer.tensor(str(i), shape) for i in range(count)}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", torch_writer.program(torch_writer.state(tensors)))
        file.writestr("net/byteorder", b"little")
        for i, array in enumerate(_arrays(size, count)):
            with file.open(f"net/data/{i}", "w") as member:
                member.write(array.data)
        file.writestr("net/version", b"3\n")


def cnn(path: pathlib.Path, size: int, count: int) -> None:
    """A CNN of MNIST's images, whatever size is asked for; 6 arrays, PyTorch's names."""
    del size, count
    width, kernel = 32, (3, 3)
    shapes = {"conv1": (width, 1, *kernel), "conv2": (2 * width, width, *kernel)}
    shapes |= {"fc": (10, 2 * width)}
    _named(path, shapes)


def gpt2(path: pathlib.Path, size: int, count: int) -> None:
    """A transformer as GPT-2 of width 1,024, of so many bytes; PyTorch's names and layouts."""
    del count
    width = 1024
    block = {
        **{"ln_1": (width,), "attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)},
        **{"ln_2": (width,), "mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)},
    }
    layers = max(1, size // ITEM // (12 * width**2))
    shapes = {f"h.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}
    _named(
        path, {**shapes, "ln_f": (width,)}, {"wte.weight": (256, width), "wpe.weight": (64, width)}
    )


def _named(path, shapes, more=()):
    """A safetensors file of a weight of each of these shapes and a bias, random numbers."""
    arrays = dict(more)
    for name, shape in shapes.items():
        writes = shape[:1] if len(shape) == 4 or name == "fc" else shape[-1:]
        arrays |= {f"{name}.weight": shape, f"{name}.bias": writes}
    rng, place, header = np.random.default_rng(0), 0, {}
    for name, shape in arrays.items():
        end = place + ITEM * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in arrays.values():
            file.write((rng.standard_normal(shape, np.float32) / 32).data)


def _arrays(size, count) -> Iterator[np.ndarray]:
    for i in range(count):
        rng = np.random.default_rng(i)
        yield rng.standard_normal(size // count // ITEM, np.float32)


FILES: dict[str, tuple[Callable[[pathlib.Path, int, int], None], bool, tuple[str, ...]]] = {
    # name -> writer, whether it is one of holes, what is timed
    "safetensors_holes": (sparse_safetensors, True, ("list", "one", "describe")),
    "gguf_holes": (sparse_gguf, True, ("list", "one")),
    "onnx_holes": (sparse_onnx, True, ("list", "one")),
    "safetensors": (safetensors, False, ("list", "one", "describe", "load")),
    "torch": (torch, False, ("list", "one", "describe", "load")),
    "cnn": (cnn, False, COMMANDS),
    "gpt2": (gpt2, False, COMMANDS),
}


def run(operation: str, path: pathlib.Path) -> dict:
    """Does it once in a process of its own.

    Args:
        operation: "list", "one" (reads the last array), "describe" or "load"; or one of
            `COMMANDS`, whose seconds are those of the process.
        path: of a file.

    Returns:
        "seconds"; "megabytes", the most memory meanwhile, and "before", that of the imports; and
        "arrays" and "bytes", how many were listed or read. Of commands also "first", the seconds
        until their first output.
    """
    if operation in COMMANDS:
        return _command(operation, path)
    program = "from experiments.foreign_files import sizes; sizes.report()"
    command = [sys.executable, "-c", program, operation, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{operation} of {path.name}: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout)


def _command(verb, path):
    """The figures of a command; the memory before is that of `wsjax --help`."""
    listed, ran = commands.run(["--help"]), commands.run([verb, str(path)])
    if ran.code:
        raise RuntimeError(f"wsjax {verb} {path}: {ran.output[-2000:]}")
    figures = {k: getattr(ran, k) for k in ("first", "seconds", "megabytes")}
    arrays, count = done("list", path)
    return {**figures, "before": listed.megabytes, "arrays": arrays, "bytes": count}


def report() -> None:
    """One operation on one file, in a process of its own."""
    operation, path = sys.argv[1:]
    before, begin = memory.peak(), time.monotonic()
    arrays, count = done(operation, pathlib.Path(path))
    seconds = time.monotonic() - begin
    figures = {"arrays": arrays, "bytes": count, "seconds": round(seconds, 4)}
    print(json.dumps(figures | {"megabytes": round(memory.peak(), 1), "before": round(before, 1)}))


def done(operation: str, path: pathlib.Path) -> tuple[int, int]:
    """How many arrays were listed or read, and their bytes."""
    if operation in ("list", "one"):
        with opened(path) as checkpoint:
            if operation == "one":
                return 1, checkpoint.arrays[-1].read().nbytes
            return len(checkpoint.arrays), sum(a.nbytes for a in checkpoint.arrays)
    if operation == "describe":
        facts = describe(path)
        return facts.arrays, facts.parameters * ITEM
    params, _ = load(path)
    return len(params), sum(a.nbytes for a in params.values())

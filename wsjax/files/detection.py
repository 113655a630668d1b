"""The format of a weights file or folder, by its contents, and its reader.

    with opened("model.pt") as checkpoint:       # a safetensors file, whatever its name says
        checkpoint.format                        # "safetensors"
        [(a.name, a.shape, a.dtype) for a in checkpoint.arrays]
        checkpoint.arrays[0].read()              # one array, the others are not read

Readers give a `Checkpoint` each; adding a format is a reader and a line here.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Generator

from wsjax.checks import printable
from wsjax.files import (
    folders,
    gguf_files,
    keras_files,
    msgpack_files,
    numpy_files,
    onnx_files,
    orbax_folders,
    safetensors_files,
    torch_checkpoint,
    torch_files,
    zips,
)
from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits, named
from wsjax.files.disk import BytesOf
from wsjax.files.json_text import first

Reader = Callable[[BytesOf, Limits], Checkpoint]
OTHER = (  # how files begin that hold no weights, and what to do
    (b"version https://git-lfs", "a Git LFS pointer: `git lfs pull` gets the file it stands for"),
    (b"<!DOCTYPE", "a web page: the download failed, repeat it"),
    (b"<html", "a web page: the download failed, repeat it"),
    (b"\x1f\x8b", "compressed by gzip: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard: decompress it first"),
    (b"BZh", "compressed by bzip2: decompress it first"),
    (b"\xfd7zXZ", "compressed by xz: decompress it first"),
)
SUPPORTED = "safetensors, PyTorch, NumPy, Flax (MessagePack), Orbax, Keras (HDF5), ONNX, GGUF"
ZIPS = "PyTorch, NumPy or Keras"
PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")  # of pickles


@contextlib.contextmanager
def opened(path: str | os.PathLike, limits: Limits | None = None) -> Generator[Checkpoint]:
    """The contents of a weights file or folder, for as long as it is open.

    Headers alone are read here; numbers are read by `Stored.read`, inside the `with` alone.

    Args:
        path: of a file, an index of shards, or a folder.
        limits: of sizes; `Limits()` by default.

    Raises:
        FileNotFoundError: there is nothing at the path.
        OSError: it cannot be opened or read.
        ImportError: it is of HDF5, and `h5py` is not installed; the message says how to get it.
        FileFormatError: it is of no supported format, is damaged, or is too large. The message
            begins with the path. `Stored.read` raises it too.
    """
    path, limits = pathlib.Path(path), limits or Limits()
    name = printable(path)
    if not path.exists():
        raise FileNotFoundError(f"expected a file or folder of weights at {name}, found none")
    with contextlib.ExitStack() as stack:
        try:
            checkpoint = _contents(path, limits, stack)
            _check_paths(checkpoint)
        except FileFormatError as error:
            raise FileFormatError(f"{name}: {error}") from error
        if not checkpoint.arrays:
            finding = Finding("empty", "error", None, _instead(checkpoint))
            checkpoint = dataclasses.replace(checkpoint, findings=(finding, *checkpoint.findings))
        arrays = tuple(
            dataclasses.replace(a, read=named(f"{name}: array {printable(a.name)!r:.200}", a.read))
            for a in checkpoint.arrays
        )
        yield dataclasses.replace(checkpoint, path=str(path), arrays=arrays)


def _check_paths(checkpoint):
    paths = set()
    for a in checkpoint.arrays:
        if a.path in paths:
            raise FileFormatError(f"expected arrays of unique names, got {a.name!r:.200} twice")
        paths.add(a.path)


def _instead(checkpoint):
    listed = first([printable(key) for key in checkpoint.metadata], 6)
    return f"it holds no arrays{f', but {listed}' if listed else ''}"


def _contents(path, limits, stack):
    def open_file(path):
        file = stack.enter_context(BytesOf(path))
        return _reader(file)(file, limits)

    def open_index(path):
        file = stack.enter_context(BytesOf(path))
        if file.bytes(0, min(file.size, 1)) == b"{":
            return folders.read_index(file, limits, open_file)
        return _reader(file)(file, limits)

    if not path.is_dir():
        return open_index(path)
    if orbax_folders.items(path):
        return orbax_folders.read(path, limits)
    if steps := _steps(path):
        last = steps[-1]
        checkpoint = orbax_folders.read(last, limits) if last.is_dir() else open_file(last)
        text = f"{printable(last.name)} is read, the last of {len(steps)} steps"
        found = [Finding("step", "note", None, text)] * (len(steps) > 1)
        return dataclasses.replace(checkpoint, findings=(*found, *checkpoint.findings))
    return folders.read_folder(path, open_file, open_index)


def _steps(folder):
    """Steps of a training run: folders of Orbax, or Flax's files of one tree each."""
    return [p for p in orbax_folders.steps(folder) if p.is_file() or orbax_folders.items(p)]


def _reader(file) -> Reader:
    start = file.bytes(0, min(file.size, 64))
    if not start:
        raise FileFormatError("expected a weights file, it is empty")
    for head, what in OTHER:
        if start[: len(head)].lower() == head.lower():
            raise FileFormatError(f"expected a weights file, it is {what}")
    if not any(start):
        raise FileFormatError("expected a weights file, it begins with zeros: it was never filled")
    if start[:4] == torch_files.LEGACY:
        raise FileFormatError(torch_files.LEGACY_ADVICE)
    if start[:4] == zips.START:
        return _of_zip
    if start[:1] == b"\x80" and start[1:2] in PROTOCOLS:
        raise FileFormatError(
            "expected a weights file, it is a pickle, which is a program and is not run here; "
            "load it where you trust it and save its arrays as safetensors"
        )
    if start[:4] == gguf_files.START:
        return gguf_files.read
    if start[:6] == numpy_files.START:
        return numpy_files.read
    if start[5:9] == b"\0\0\0{":  # after a length of less than 2**40
        return safetensors_files.read
    if keras_files.begins(file):
        return keras_files.read
    if onnx_files.begins(start):
        return onnx_files.read
    if msgpack_files.begins(start):
        return msgpack_files.read
    raise FileFormatError(f"expected a file of {SUPPORTED}; it begins with {start[:8]!r}")


def _of_zip(file, limits):
    members = zips.Zip(file, limits)
    if any(name.endswith("/data.pkl") for name in members.members):
        return torch_checkpoint.read(torch_files.Archive(members, limits), limits)
    if any(name.endswith(".npy") for name in members.members):
        return numpy_files.read_zip(members)
    if keras_files.WEIGHTS in members.members:
        return keras_files.read_zip(members)
    listed = first([printable(name) for name in members.members])
    raise FileFormatError(f"expected a zip of {ZIPS}; its members are {listed}")

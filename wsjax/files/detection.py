"""The format of a weights file or folder, by its contents, and its reader.

with opened("model.pt") as checkpoint:       # a safetensors file, whatever its name says
checkpoint.format                        # "safetensors"
[(a.name, a.shape, a.dtype) for a in checkpoint.arrays]
checkpoint.arrays[0].read()              # one array, the others are not read
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Generator

from wsjax.checks import printable
from wsjax.files import folders, safetensors_files
from wsjax.files.checkpoint import Checkpoint, FileFormatError, Limits, named
from wsjax.files.disk import BytesOf

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
SUPPORTED = "safetensors"


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


def _contents(path, limits, stack):
    def open_file(path):
        file = stack.enter_context(BytesOf(path))
        return _reader(file)(file, limits)

    def open_index(path):
        file = stack.enter_context(BytesOf(path))
        if file.bytes(0, min(file.size, 1)) == b"{":
            return folders.read_index(file, limits, open_file)
        return _reader(file)(file, limits)

    if path.is_dir():
        return folders.read_folder(path, open_file, open_index)
    return open_index(path)


def _reader(file) -> Reader:
    start = file.bytes(0, min(file.size, 64))
    if not start:
        raise FileFormatError("expected a weights file, it is empty")
    for head, what in OTHER:
        if start[: len(head)].lower() == head.lower():
            raise FileFormatError(f"expected a weights file, it is {what}")
    if not any(start):
        raise FileFormatError("expected a weights file, it begins with zeros: it was never filled")
    if start[8:9] == b"{":
        return safetensors_files.read
    raise FileFormatError(f"expected a file of {SUPPORTED}; it begins with {start[:8]!r}")

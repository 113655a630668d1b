"""A zoo in the making on disk: one file for each block of networks that is finished.

    FOLDER/begun.json                        the recipe, and of which images
    FOLDER/block-000016-1f2e3d4c.safetensors arrays [network, ...] of a block
    FOLDER/block-000016-1f2e3d4c.json        its networks and its sha256, written last
    FOLDER/manifest.json                     of the whole zoo, once all blocks are there

A block counts when its .json does, and the sha256 in it is that of the file. Files are
written beside their place and moved there, so that neither an interruption nor a second
process at work on the same folder leaves half of one.
"""

import os
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from wsjax import storage
from wsjax.storage import DamagedError

FORMAT = 1
BLOCK_BYTES = 4 << 30  # no block larger than this is read


def write(folder: pathlib.Path, name: str, arrays: Mapping[str, np.ndarray], facts: Mapping):
    """Puts a finished block into the folder, in place of any of that name.

    Args:
        folder: of the zoo.
        name: of the block.
        arrays: float32, int32; the same name gives them back from `read`.
        facts: about it, as JSON types.
    """
    data = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    storage.write_bytes(folder / f"{name}.safetensors", data)
    storage.write_sealed(folder / f"{name}.json", {**facts, **storage.fingerprint(data)})


def read(folder: pathlib.Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A block's arrays and what was said about it; undoes `write`.

    Raises:
        FileNotFoundError: the block is not finished.
        DamagedError: a file of it is missing, cut short or altered; names the file.
    """
    about = storage.read_sealed(folder / f"{name}.json")
    path = folder / f"{name}.safetensors"
    if path.is_symlink() or not path.is_file():
        raise DamagedError(f"{path.name} is missing or no plain file")
    size = path.stat().st_size
    if size != about["bytes"] or size > BLOCK_BYTES:
        raise DamagedError(f"{path.name} has {size} bytes, expected {about['bytes']}")
    data = path.read_bytes()
    if storage.fingerprint(data)["sha256"] != about["sha256"]:
        raise DamagedError(f"{path.name} was altered: its sha256 is not that of {name}.json")
    return safetensors.numpy.load(data), about


def set_aside(folder: pathlib.Path, name: str) -> str:
    """Renames the files of a damaged block; gives the ending they now have."""
    files, n = [folder / f"{name}.safetensors", folder / f"{name}.json"], 1
    while any(os.path.lexists(f"{path}.damaged-{n}") for path in files):
        n += 1
    for path in files:
        if os.path.lexists(path):
            os.rename(path, f"{path}.damaged-{n}")
    return f".damaged-{n}"


def missing(folder: pathlib.Path, name: str) -> bool:
    """Whether a block must be made; one that is damaged is set aside, with a warning."""
    try:
        read(folder, name)
    except FileNotFoundError:
        return True
    except DamagedError as reason:
        aside = set_aside(folder, name)
        warnings.warn(
            f"in {folder}, {reason}. It is kept as {name}*{aside}, and made again.", stacklevel=4
        )
        return True
    return False


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order; that is, one where all agree."""
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found

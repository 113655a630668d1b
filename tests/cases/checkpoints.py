"""Checkpoints made of arrays, without a file."""

import numpy as np

from wsjax.files.checkpoint import Checkpoint, FileFormatError, Stored


def stored(path, array, dtype=None, storage=None, reads=None):
    """An array by its keys, "a/b" for two; `reads` is appended its name when it is read."""
    array = np.asarray(array)

    def read():
        if reads is not None:
            reads.append(path)
        return array

    keys = tuple(path.split("/")) if isinstance(path, str) else path
    storage = storage if storage is not None else object()
    return Stored(keys, array.shape, dtype or str(array.dtype), storage, array.nbytes, read)


def listed(path, shape, dtype):
    """An array that can be listed only."""

    def read():
        raise FileFormatError(f"{path} of {dtype} is not read")

    return Stored(tuple(path.split("/")), shape, dtype, object(), 1, read)


def checkpoint(arrays, metadata=(), findings=(), reads=None):
    """A checkpoint of {"a/b": array} or of `Stored`s."""
    if isinstance(arrays, dict):
        arrays = [stored(path, a, reads=reads) for path, a in arrays.items()]
    return Checkpoint("test.bin", "test", tuple(arrays), dict(metadata), tuple(findings))


def numbers(*shape, seed=0, scale=1.0):
    """Normal numbers in float32."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)

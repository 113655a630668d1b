"""Keras's files: HDF5, alone or in a zip with the model's configuration.

    NAME.h5              model_weights/dense/dense/kernel:0, optimizer_weights/... (Keras 1, 2)
    NAME.weights.h5      layers/dense/vars/0, optimizer/vars/0                     (Keras 3)
    NAME.keras           a zip: config.json, metadata.json, model.weights.h5

Any other HDF5 file of arrays is read the same way. Links to other files, arrays that lie in other
files or are assembled from others, and compression by plugins are refused. The parser is the HDF5
library's, written in C: it is not made for hostile files, and an error in it can end the process.
Needs `h5py`, of the extra `files`.
"""

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from wsjax.checks import natural, printable
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
from wsjax.files.disk import BytesOf, empty
from wsjax.files.json_text import json_object
from wsjax.files.trees import DEPTH, plain_dtype
from wsjax.files.zips import Zip

START = b"\x89HDF\r\n\x1a\n"
WEIGHTS = "model.weights.h5"
FILTERS = (1, 2, 3, 4, 5, 6, 32000)  # those of HDF5 itself, and LZF, which h5py brings
ORDERS = ("layer_names", "weight_names")  # attributes in which Keras 1 and 2 keep the order
PLACES = (0, *(512 << i for i in range(8)))  # of HDF5's signature


def begins(file: BytesOf) -> bool:
    """Whether a file is HDF5; other data may precede its signature."""
    return any(
        file.bytes(place, len(START)) == START
        for place in PLACES
        if place + len(START) <= file.size
    )


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The arrays of an HDF5 file.

    Raises:
        ImportError: `h5py` is not installed.
        FileFormatError: the file is damaged.
    """
    return _contents(file, _Window(file, 0, file.size), limits.of(file.size), "hdf5", {})


def read_zip(members: Zip) -> Checkpoint:
    """The arrays of a `.keras` file; its configuration is in the metadata.

    Raises:
        ImportError: `h5py` is not installed.
        FileFormatError: the file is damaged.
    """
    metadata, limits = {}, members.limits
    for name in ("config.json", "metadata.json"):
        if name in members.members:
            text = members.read(name, limits.header_bytes)
            metadata[name.removesuffix(".json")] = json_object(text, name, limits)
    member = members.members[WEIGHTS]
    if member.compress_type:
        stream = io.BytesIO(members.read(WEIGHTS, limits.unpacked_bytes))
    else:
        stream = _Window(members.file, members.place(WEIGHTS), member.file_size)
    return _contents(members.file, stream, limits, "keras", metadata)


class _Window(io.RawIOBase):
    """A part of a file as a stream."""

    def __init__(self, file, begin, size):
        self._file, self._begin, self._size, self._place = file, begin, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._place

    def seek(self, offset, whence=io.SEEK_SET):
        self._place = (0, self._place, self._size)[whence] + offset
        return self._place

    def readinto(self, buffer):
        buffer = memoryview(buffer).cast("B")
        count = max(0, min(len(buffer), self._size - self._place))
        self._file.fill(self._begin + self._place, buffer[:count])
        self._place += count
        return count


def _contents(file, stream, limits, kind, metadata):
    try:
        import h5py
    except ImportError as error:
        message = "Keras's files and HDF5 need h5py: pip install 'wsjax[files]'"
        raise ImportError(message) from error
    walk = _Walk(h5py, file, limits)
    root = walk.safely(lambda: file.owned.enter_context(h5py.File(stream, "r")))
    arrays = tuple(walk.arrays(root, ()))
    metadata |= walk.attributes(root)
    if "model_weights" in {a.path[0] for a in arrays}:
        metadata |= walk.attributes(root["model_weights"])
    return Checkpoint(str(file.path), kind, arrays, metadata, tuple(walk.findings))


class _Walk:
    """Goes through the groups of a file, each once, and never out of the file."""

    def __init__(self, h5py, file, limits):
        self.h5py, self.file, self.limits = h5py, file, limits
        self.findings, self.places, self.count = [], {}, 0

    def safely(self, run) -> Any:
        """Whatever HDF5 raises of a damaged file as one error.

        A TypeError too, which h5py raises for types that NumPy lacks: `run` calls h5py alone.
        """
        try:
            return run()
        except (FileFormatError, MemoryError, AttributeError, NameError):
            raise
        except Exception as error:
            raise FileFormatError(f"the HDF5 file is damaged ({error!s:.200})") from error

    def arrays(self, group, path) -> Iterator[Stored]:
        """Arrays below a group."""
        place = self._place(group)
        if place in self.places or len(path) > DEPTH:
            text = f"{'/'.join(path)} is the same group as {self.places.get(place, 'above')}"
            self.findings.append(Finding("refused", "warning", None, printable(text)))
            return
        self.places[place] = "/".join(path) or "the root"
        for name in self._names(group):
            self.count += 1
            if self.count > self.limits.members:
                raise too_large(f"it has more than {self.count} entries", "members", self.limits)
            inside = (*path, name)
            link = self.safely(lambda name=name: group.get(name, getlink=True))
            if link is None:
                raise FileFormatError(f"the HDF5 file is damaged (it has no entry {name!r:.200})")
            if not isinstance(link, self.h5py.HardLink):
                text = f"{'/'.join(inside)} is a link to {_target(link)}, which is not followed"
                self.findings.append(Finding("refused", "warning", None, printable(text)))
                continue
            thing = self.safely(lambda name=name: group[name])
            if isinstance(thing, self.h5py.Group):
                yield from self.arrays(thing, inside)
            elif isinstance(thing, self.h5py.Dataset):
                yield self._stored(thing, inside)

    def _place(self, thing):
        return self.safely(lambda: self.h5py.h5o.get_info(thing.id).addr)

    def _names(self, group):
        """In Keras's order where it is written down, else by the numbers in them."""
        names = sorted(map(str, self.safely(lambda: list(group))), key=natural)
        attributes = self.attributes(group)
        for key in ORDERS:
            stated = attributes.get(key)
            if type(stated) is list:
                first = [str(n).split("/")[0] for n in stated]
                place = {n: i for i, n in reversed(list(enumerate(first)))}
                names.sort(key=lambda name: place.get(name, len(place)))
        return names

    def attributes(self, thing) -> dict[str, Any]:
        """Attributes that are texts, numbers, or lists of them."""
        found = {}
        for name in self.safely(lambda: list(thing.attrs)):
            size = self.safely(lambda name=name: thing.attrs.get_id(name).get_storage_size())
            if size > self.limits.header_bytes:
                raise too_large(f"an attribute has {size} bytes", "header_bytes", self.limits)
            value = _plain(self.safely(lambda name=name: thing.attrs[name]))
            if value is not None:
                found[str(name)] = value
        return found

    def _stored(self, dataset, path):
        kind, sizes, filters, elsewhere = self.safely(lambda: _header(dataset))
        dtype = plain_dtype(kind) if kind.kind in "biufcV" else str(kind)
        label = self.safely(lambda: dataset.attrs.get("dtype")) if kind == np.dtype("V2") else None
        if _plain(label) == "bfloat16":
            dtype = "bfloat16"  # as Keras writes it
        shape = tuple(map(int, sizes or ()))
        count = math.prod(shape) * kind.itemsize
        remedy = "save it again as plain numbers"
        if elsewhere:
            dtype, remedy = "external", "its numbers lie in another place: copy them into the file"
        elif other := [f for f in filters if f not in FILTERS]:
            dtype, remedy = f"compressed by filter {other[0]}", "repack it by gzip or as it is"
        elif sizes is None:
            dtype = "null"
        read = lambda: self._numbers(dataset, dtype, shape, count, filters)
        storage = (*self.file.identity, self._place(dataset))
        return Stored(path, shape, dtype, storage, count, reader(dtype, read, remedy))

    def _numbers(self, dataset, dtype, shape, count, filters):
        self.file.check_open()
        if count > self.limits.array_bytes:
            raise too_large(f"it has {count} bytes", "array_bytes", self.limits)
        chunk = self.safely(lambda: math.prod(dataset.chunks or ()) * dataset.dtype.itemsize)
        for size in (count if filters else 0, chunk):
            if size > self.limits.unpacked_bytes:
                raise too_large(f"it unpacks to {size} bytes", "unpacked_bytes", self.limits)
        self.safely(lambda: _check_written(dataset, shape, count))
        if not count:
            return empty(shape, NUMBERS[dtype])
        numbers = np.asarray(self.safely(lambda: dataset[()]))
        if numbers.dtype.kind == "V":
            return numbers.view(NUMBERS[dtype])
        return numbers.astype(NUMBERS[dtype], copy=False)


def _header(dataset):
    """An array's type, shape and filters, and whether its numbers lie elsewhere."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    return dataset.dtype, dataset.shape, filters, dataset.external or dataset.is_virtual


def _check_written(dataset, shape, count):
    """Raises where some numbers were never written: HDF5 gives zeros for them."""
    if dataset.chunks:
        chunks = math.prod(-(-n // c) for n, c in zip(shape, dataset.chunks, strict=True))
        present = dataset.id.get_num_chunks()
        if present < chunks:
            raise FileFormatError(f"{chunks - present} of its {chunks} chunks are missing")
    elif dataset.id.get_storage_size() < count:
        raise FileFormatError("its numbers were never written to the file")


def _target(link):
    place = getattr(link, "filename", None)
    return f"{link.path!r:.200}{f' of {place!r:.200}' if place else ''}"


def _plain(value):
    """A text, a number or a list of them; None of anything else."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size <= 100_000:
        values = [_plain(v) for v in value.tolist()]
        return None if None in values else values
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str | bool | int | float) else None

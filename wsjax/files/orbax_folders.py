"""Orbax checkpoints: folders of arrays in chunks, from any number of devices.

    _METADATA                the tree: names of all leaves, in JSON
    manifest.ocdbt, d/       a database of `NAME/.zarray` (shape, type, chunks) and `NAME/0.1` (a
                             chunk), or a folder NAME of each array
    _strings.json            leaves that are texts

Names, shapes and types are read off these alone: neither the tree nor the devices that it was
saved from are needed, and no chunk is touched. Numbers come through TensorStore, one array at a
time, into this process's memory. A folder of items (`state`, `params`) is one tree of them all;
of a folder of steps the last is read.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import stat
from collections.abc import Generator
from typing import Any

import numpy as np

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
from wsjax.files.disk import BytesOf
from wsjax.files.json_text import first, json_file, json_object
from wsjax.files.storages import is_count

TREE, STRINGS, DATABASE = "_METADATA", "_strings.json", "manifest.ocdbt"
UNFINISHED = ".orbax-checkpoint-tmp"
STEP = re.compile(r"(?:[A-Za-z_]+_)?(\d{1,18})")
ENTRIES = 1_000_000  # files of a folder, at most
ZARR = {"zarr": ".zarray", "zarr3": "zarr.json"}  # driver -> member that describes an array
LISTS = (DATABASE, *ZARR.values())


def is_item(folder: pathlib.Path) -> bool:
    """Whether a folder is one tree of arrays."""
    return (folder / TREE).is_file() or (folder / DATABASE).is_file()


def items(folder: pathlib.Path) -> list[pathlib.Path]:
    """The trees in a folder: itself, or those of its subfolders."""
    if is_item(folder):
        return [folder]
    with os.scandir(folder) as entries:
        inside = [pathlib.Path(e.path) for e in entries if UNFINISHED not in e.name]
    return sorted(
        p for p in inside if p.is_dir() and is_item(p) and not p.name.startswith("ocdbt.process_")
    )


def steps(folder: pathlib.Path) -> list[pathlib.Path]:
    """Entries of a folder that are named by a step, in order, such as `100` or `checkpoint_100`."""
    with os.scandir(folder) as entries:
        matches = [(STEP.fullmatch(e.name), pathlib.Path(e.path)) for e in entries]
    numbered = [(int(m[1]), path.name, path) for m, path in matches if m]
    return [path for _, _, path in sorted(numbered)]


def read(folder: pathlib.Path, limits: Limits) -> Checkpoint:
    """The arrays of a checkpoint's one step.

    Raises:
        FileFormatError: its metadata are damaged or too large.
    """
    limits = limits.of(_bytes_in(folder, limits))
    arrays, metadata, findings = [], {}, []
    trees = items(folder)
    for item in trees:
        tree = _Item(item, limits)
        prefix = () if item == folder or len(trees) == 1 else (item.name,)
        arrays += [dataclasses.replace(a, path=(*prefix, *a.path)) for a in tree.arrays]
        metadata |= {item.name: tree.texts} if prefix and tree.texts else tree.texts
        findings += tree.findings
    if folder not in trees:
        metadata |= _beside(folder, limits)
    return Checkpoint(str(folder), "orbax", tuple(arrays), metadata, tuple(findings))


def _beside(folder, limits):
    """Items in JSON, as `ocp.args.JsonSave` writes them."""
    paths = sorted(p for p in folder.glob("*/metadata") if p.is_file())
    return {path.parent.name: _json(path, limits) for path in paths}


def _bytes_in(folder, limits):
    """All of its files together; TensorStore reads whole the ones that list arrays."""
    total = count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > ENTRIES:
                raise FileFormatError(f"expected a folder of at most {ENTRIES} files")
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise FileFormatError(f"it has a file that is none ({error})") from error
            if not stat.S_ISREG(status.st_mode):
                raise FileFormatError(f"{printable(name)} is no file")
            if name in LISTS and status.st_size > limits.header_bytes:
                raise too_large(f"{name} has {status.st_size} bytes", "header_bytes", limits)
            total += status.st_size
    return total


@contextlib.contextmanager
def _reading() -> Generator[None]:
    """Whatever TensorStore raises of a damaged folder as one error."""
    try:
        yield
    except (FileFormatError, MemoryError, AttributeError, NameError, TypeError):
        raise  # the last three are errors of a program, never of a folder
    except Exception as error:
        raise FileFormatError(f"the checkpoint is damaged ({error!s:.300})") from error


def _json(path, limits):
    with BytesOf(path) as file:
        return json_file(file, printable(path.name), limits)


class _Item:
    """One tree of arrays."""

    def __init__(self, folder, limits):
        import tensorstore  # heavy, and of use here alone

        self.folder, self.limits, self.findings = folder, limits, []
        base = f"{os.path.abspath(folder)}/"
        database = (folder / DATABASE).is_file()
        self.store = (
            {"driver": "ocdbt", "base": {"driver": "file", "path": base}}
            if database
            else {"driver": "file", "path": base}
        )
        self.context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
        with _reading():
            opening = tensorstore.KvStore.open(self.store, context=self.context)
            self.keys = opening.result()
        about = _json(folder / TREE, limits) if (folder / TREE).is_file() else {}
        # Chunks of zeros are left out unless this is set.
        self.complete = about.get("store_array_data_equal_to_fill_value") is True
        self.arrays = tuple(self._arrays(self._paths(about)))
        self.texts = self._strings()

    def _strings(self):
        path = self.folder / STRINGS
        texts = _json(path, self.limits) if path.is_file() else {}
        return {k: v for k, v in texts.items() if type(v) is str}

    def _paths(self, about) -> dict[str, tuple[str, ...]]:
        """Name of each array in the store -> its path in the tree."""
        tree = about.get("tree_metadata")
        if tree is None:
            with _reading():
                listed = [key.decode() for key in self.keys.list().result()]
            ends = tuple(f"/{end}" for end in ZARR.values())
            names = [key.rpartition("/")[0] for key in listed if key.endswith(ends)]
            return {name: tuple(name.split(".")) for name in names}
        paths = {}
        if type(tree) is not dict:
            raise FileFormatError(f"expected tree_metadata as a JSON object in {TREE}")
        for entry in tree.values():
            path, kind = _entry(entry)
            if kind in ("string", "None", "Dict", "List", "Tuple", "NamedTuple"):
                continue
            paths[".".join(path)] = path
        return paths

    def _arrays(self, paths):
        if len(paths) > self.limits.members:
            raise too_large(f"it has {len(paths)} arrays", "members", self.limits)
        missing = []
        with _reading():
            waiting = {
                name: {d: self.keys.read(f"{name}/{end}") for d, end in ZARR.items()}
                for name in paths
                if _is_plain(name)
            }
            for name, path in paths.items():
                replies = {d: f.result() for d, f in waiting.get(name, {}).items()}
                described = {d: r.value for d, r in replies.items() if r.state == "value"}
                if not described:
                    missing.append("/".join(path))
                for driver, text in list(described.items())[:1]:
                    yield self._stored(name, path, driver, text)
        if missing:
            text = f"{len(missing)} arrays of the tree are not stored ({first(missing)})"
            self.findings.append(Finding("missing", "error", None, printable(text)))

    def _stored(self, name, path, driver, text):
        about = json_object(text, f"the description of array {name!r:.200}", self.limits)
        dtype, shape, chunk = _described(about, driver, name)
        itemsize = NUMBERS[dtype].itemsize if dtype in NUMBERS else 1
        count = math.prod(shape) * itemsize

        def read():
            for what, size in (("it", count), ("a chunk of it", math.prod(chunk) * itemsize)):
                if size > min(self.limits.array_bytes, self.limits.unpacked_bytes):
                    raise too_large(f"{what} has {size} bytes", "unpacked_bytes", self.limits)
            return self._numbers(name, driver, dtype, shape, chunk)

        remedy = "save it again as plain numbers"
        storage = (str(self.folder), name)
        return Stored(path, shape, dtype, storage, count, reader(dtype, read, remedy))

    def _numbers(self, name, driver, dtype, shape, chunk):
        import tensorstore

        place = f"{self.store.get('path', '')}{name}/"
        spec = {"driver": driver, "kvstore": {**self.store, "path": place}}
        with _reading():
            if self.complete:
                start, end = f"{name}/".encode(), f"{name}0".encode()  # "0" comes after "/"
                listed = self.keys.list(tensorstore.KvStore.KeyRange(start, end)).result()
                present = sum(not key.endswith(ZARR[driver].encode()) for key in listed)
                chunks = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
                if present < chunks:
                    raise FileFormatError(f"{chunks - present} of its {chunks} chunks are missing")
            self._check_chunks(name, math.prod(chunk) * NUMBERS[dtype].itemsize)
            array = tensorstore.open(spec, open=True, read=True, context=self.context).result()
            numbers = np.asarray(array.read().result())
        if (numbers.shape, numbers.dtype) != (shape, NUMBERS[dtype]):
            raise FileFormatError(
                f"it changed while it was read, to {numbers.dtype}{numbers.shape}"
            )
        return numbers

    def _check_chunks(self, name, most):
        """TensorStore takes memory for whole files of chunks, and ends the process for want of it.

        Chunks that do not compress are a little larger than their numbers.
        """
        for place, _, names in os.walk(self.folder / name):
            for chunk in names:
                size = os.stat(os.path.join(place, chunk)).st_size
                if chunk not in LISTS and size > most + most // 8 + (1 << 16):
                    raise FileFormatError(f"a chunk has {size} bytes, expected {most} at most")


def _entry(entry):
    """The path of a leaf and the kind of its value, from `tree_metadata`."""
    try:
        keys = [key["key"] for key in entry["key_metadata"]]
        kind = entry["value_metadata"]["value_type"]
    except (TypeError, KeyError) as error:
        raise FileFormatError(f"expected keys and a type for each leaf in {TREE}") from error
    if not all(type(k) in (str, int) for k in keys) or not keys or len(keys) > 100:
        raise FileFormatError(f"expected keys as names or numbers in {TREE}")
    return tuple(map(str, keys)), kind


def _is_plain(name):
    """Whether a name stays within the folder."""
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name


def _described(about, driver, name) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Type, shape and shape of a chunk."""
    try:
        shape = about["shape"]
        if driver == "zarr":
            chunk, code = about["chunks"], about["dtype"]
        else:
            chunk = about["chunk_grid"]["configuration"]["chunk_shape"]
            code = about["data_type"]
    except (TypeError, KeyError) as error:
        raise FileFormatError(f"expected shape, type and chunks of array {name!r:.200}") from error
    for sizes in (shape, chunk):
        if type(sizes) is not list or len(sizes) > DIMENSIONS or not all(map(is_count, sizes)):
            raise FileFormatError(f"expected sizes as counts in the description of {name!r:.200}")
    if len(chunk) != len(shape) or 0 in chunk:
        raise FileFormatError(f"expected chunks of as many axes as array {name!r:.200} has")
    return _dtype(code), tuple(shape), tuple(chunk)


def _dtype(code: Any) -> str:
    if type(code) is str and re.fullmatch(r"[<>|](b1|[iu][1248]|f[248]|c8|c16)", code):
        return np.dtype(code[1:]).name
    return f"{code!s:.80}"

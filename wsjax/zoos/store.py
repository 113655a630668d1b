"""Zoos on disk: one format, for all architectures at once.

    NAME.json          the manifest: specs, facts, sizes and sha256 of the other two; sealed
    NAME.safetensors   weights.S [network, entry] float32 or float16 of each spec S
    NAME.csv           a line for each network: its spec, its run, its labels

    save("mine", zoo, {"made": "by hand"})
    zoo, manifest = load("mine")

A file is used as it was written or not at all: whatever is missing, cut short, altered, too
large or a link is a `DamagedError` that names it. Nothing is executed. Half precision is for
zoos that are kept in a repository; it changes what the networks do a little. `write` and `read`
keep arrays with facts, such as the factory's blocks, by the same rules.
"""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from wsjax import checks, networks, storage
from wsjax.storage import DamagedError
from wsjax.zoos.zoo import Zoo

FORMAT = 1
DTYPES = ("float32", "float16")
FILE_BYTES = 4 << 30  # no file larger than this is read: a million networks of 1,000 weights
MANIFEST_BYTES = 64 << 20

Arrays = Mapping[str, np.ndarray]
Manifest = dict[str, Any]


def rounded(zoo: Zoo) -> Zoo:
    """The networks as they come out of half precision.

    Raises:
        ValueError: a weight is too large for it.
    """
    with np.errstate(over="ignore"):
        vectors = zoo.vectors.astype(np.float16).astype(np.float32)
    if wrong := int((~np.isfinite(vectors)).any(axis=1).sum()):
        most = np.finfo(np.float16).max
        raise ValueError(f"expected weights of at most {most:.0f}, {wrong} networks have larger")
    return dataclasses.replace(zoo, vectors=vectors)


def save(
    path: str | os.PathLike,
    zoo: Zoo,
    facts: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> Manifest:
    """Writes a zoo as three files beside each other; undone by `load`.

    The manifest is written last: without it, there is no zoo.

    Args:
        path: FOLDER/NAME, without an ending; what is there is replaced.
        zoo: its networks, labels, runs and splits.
        facts: JSON values that the manifest is to hold, such as the recipe.
        dtype: of the weights, "float32" or, rounded, "float16".

    Returns:
        The manifest.

    Raises:
        ValueError: a weight is too large for half precision, a label is not finite or its
            name no identifier, facts are no JSON values, or a file would be too large to be
            read again.
    """
    checks.expect("zoo", zoo, Zoo)
    if dtype not in DTYPES:
        raise ValueError(f"expected a dtype of {DTYPES}, got {dtype!r}")
    if wrong := [k for k in zoo.labels if not k.isidentifier()]:
        raise ValueError(f"expected labels named as identifiers, got {wrong}")
    if wrong := [k for k, v in zoo.labels.items() if not np.isfinite(v).all()]:
        raise ValueError(f"expected finite labels, got NaN or infinity in {wrong}")
    try:
        facts = storage.plain(dict(facts or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected facts that are JSON values: {error}") from error
    path, zoo = pathlib.Path(path), rounded(zoo) if dtype == "float16" else zoo
    weights = {
        f"weights.{s}": zoo.vectors[zoo.which == s, : spec.count].astype(dtype)
        for s, spec in enumerate(zoo.specs)
    }
    names = sorted(zoo.labels)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["spec", "run", *names])
    for i in range(len(zoo)):
        values = [np.format_float_positional(zoo.labels[k][i], trim="-") for k in names]
        writer.writerow([zoo.which[i], zoo.runs[i], *values])
    files = {".safetensors": safetensors.numpy.save(weights), ".csv": table.getvalue().encode()}
    if large := {k: len(v) for k, v in files.items() if len(v) > FILE_BYTES}:
        raise ValueError(f"{path}: expected files of at most {FILE_BYTES} bytes, got {large}")
    manifest = {
        "format": FORMAT,
        "networks": len(zoo),
        "labels": names,
        "specs": [networks.to_json(s) for s in zoo.specs],
        "files": {path.name + k: storage.fingerprint(v) for k, v in files.items()},
        "facts": facts,
    }
    if zoo.splits:
        manifest["splits"] = {k: np.asarray(v).tolist() for k, v in zoo.splits.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    _beside(path, ".json").unlink(missing_ok=True)
    for ending, data in files.items():
        storage.write_bytes(_beside(path, ending), data)
    return storage.write_sealed(_beside(path, ".json"), manifest)


def load(path: str | os.PathLike) -> tuple[Zoo, Manifest]:
    """Reads a stored zoo and inspects all of it; undoes `save`.

    Args:
        path: FOLDER/NAME, without an ending.

    Returns:
        The zoo and its manifest.

    Raises:
        FileNotFoundError: there is no such zoo.
        DamagedError: a file is missing, altered, too large or makes no sense; says which.
    """
    path = pathlib.Path(path)
    about = _beside(path, ".json")
    if not os.path.lexists(about):
        raise FileNotFoundError(f"expected a stored zoo at {about}, found none")
    manifest = storage.read_sealed(about, limit=MANIFEST_BYTES)
    try:
        if manifest["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {manifest['format']!r}")
        specs = tuple(networks.from_json(s) for s in manifest["specs"])
        count, names = int(manifest["networks"]), list(manifest["labels"])
        prints = [manifest["files"][path.name + k] for k in (".safetensors", ".csv")]
        splits = {k: np.array(v, int) for k, v in manifest.get("splits", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{about} is damaged: {error!r}") from error
    data, text = (
        storage.read_same(_beside(path, ending), expected, FILE_BYTES)
        for ending, expected in zip((".safetensors", ".csv"), prints, strict=True)
    )
    try:
        weights = safetensors.numpy.load(data)
        header, *lines = csv.reader(io.StringIO(text.decode()))
        if header != ["spec", "run", *names] or len(lines) != count:
            raise ValueError(f"expected {count} lines of {names}, got {len(lines)} of {header}")
        which, runs = (np.array([int(line[i]) for line in lines]) for i in (0, 1))
        values = np.array([line[2:] for line in lines], np.float32).reshape(count, len(names))
        vectors = np.zeros((count, max(s.count for s in specs)), np.float32)
        for s, spec in enumerate(specs):
            rows, array = which == s, weights[f"weights.{s}"]
            if array.dtype.name not in DTYPES or array.shape != (rows.sum(), spec.count):
                raise ValueError(
                    f"weights.{s}: expected one of {DTYPES} of shape "
                    f"{(int(rows.sum()), spec.count)}, got {array.dtype} {array.shape}"
                )
            vectors[rows, : spec.count] = array
        labels = {k: values[:, i] for i, k in enumerate(names)}
        return Zoo(vectors, specs, which, labels, runs, splits), manifest
    except (ValueError, KeyError, IndexError, SafetensorError) as error:
        raise DamagedError(f"{path}: {error}") from error


def write(path: pathlib.Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Writes arrays and facts about them, in place of any of that name; undone by `read`.

    Args:
        path: FOLDER/NAME, without an ending; the folder exists.
        arrays: float32, int32.
        facts: JSON values.
    """
    data = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    storage.write_bytes(_beside(path, ".safetensors"), data)
    storage.write_sealed(_beside(path, ".json"), {**facts, **storage.fingerprint(data)})


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts that `write` wrote.

    Raises:
        FileNotFoundError: there are none.
        DamagedError: a file is missing, cut short, altered or a link; names it.
    """
    about = storage.read_sealed(_beside(path, ".json"), limit=MANIFEST_BYTES)
    expected = {k: about[k] for k in ("sha256", "bytes")}
    data = storage.read_same(_beside(path, ".safetensors"), expected, FILE_BYTES)
    return safetensors.numpy.load(data), about


def set_aside(path: pathlib.Path) -> str:
    """Renames damaged files of a name; gives the ending they now have."""
    files, n = [_beside(path, ".safetensors"), _beside(path, ".json")], 1
    while any(os.path.lexists(f"{file}.damaged-{n}") for file in files):
        n += 1
    for file in files:
        if os.path.lexists(file):
            os.rename(file, f"{file}.damaged-{n}")
    return f".damaged-{n}"


def _beside(path, ending):
    return path.parent / (path.name + ending)

"""A zoo packed small: weights in half precision, labels as a table that people can read.

    NAME.json          what it is: specs, facts, sizes and sha256 of the other two
    NAME.safetensors   weights.S [network, entry] float16 of each spec S
    NAME.csv           a line for each network: its spec, its run, its labels

For zoos that are kept in a repository. Rounding weights to half precision changes what the
networks do a little; who packs states by how much, in the facts.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax import networks, storage
from wsjax.zoos import Zoo

FORMAT = 1
MANIFEST_BYTES = 8 << 20
FILE_BYTES = 1 << 30  # neither weights nor table may be larger


def halved(zoo: Zoo) -> Zoo:
    """The networks as they come out of a packed zoo: weights rounded to half precision.

    Raises:
        ValueError: a weight is too large for it.
    """
    with np.errstate(over="ignore"):
        vectors = zoo.vectors.astype(np.float16).astype(np.float32)
    if wrong := int((~np.isfinite(vectors)).any(axis=1).sum()):
        most = np.finfo(np.float16).max
        raise ValueError(f"expected weights of at most {most:.0f}, {wrong} networks have larger")
    return dataclasses.replace(zoo, vectors=vectors)


def pack(path: str | os.PathLike, zoo: Zoo, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a zoo as three files beside each other; undone by `unpack`, splits aside.

    The manifest is written last: without it, there is no zoo.

    Args:
        path: FOLDER/NAME, without an ending; what is there is replaced.
        zoo: its weights are rounded.
        facts: JSON values that the manifest should say, such as the recipe.

    Returns:
        The manifest.

    Raises:
        ValueError: a weight is too large for half precision, or a label is not finite.
    """
    from safetensors.numpy import save

    path, rounded = pathlib.Path(path), halved(zoo)
    if wrong := [k for k, v in zoo.labels.items() if not np.isfinite(v).all()]:
        raise ValueError(f"expected finite labels, got NaN or infinity in {wrong}")
    weights = {
        f"weights.{s}": rounded.vectors[rounded.which == s, : spec.count].astype(np.float16)
        for s, spec in enumerate(rounded.specs)
    }
    names = sorted(zoo.labels)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["spec", "run", *names])
    for i in range(len(zoo)):
        values = [np.format_float_positional(zoo.labels[k][i], trim="-") for k in names]
        writer.writerow([zoo.which[i], zoo.runs[i], *values])
    files = {".safetensors": save(weights), ".csv": table.getvalue().encode()}
    manifest = {
        "format": FORMAT,
        "networks": len(zoo),
        "labels": names,
        "specs": [networks.to_json(s) for s in zoo.specs],
        "files": {path.name + k: storage.fingerprint(v) for k, v in files.items()},
        "facts": dict(facts),
    }
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _beside(path, ".json").unlink(missing_ok=True)
    for ending, data in {**files, ".json": text.encode()}.items():
        storage.write_bytes(_beside(path, ending), data)
    return json.loads(text)


def unpack(path: str | os.PathLike) -> tuple[Zoo, dict[str, Any]]:
    """Reads a packed zoo and inspects all of it.

    Args:
        path: FOLDER/NAME, without an ending.

    Returns:
        The zoo, without splits, and its manifest.

    Raises:
        FileNotFoundError: there is no such zoo.
        ValueError: a file is missing, altered, too large or makes no sense; says which.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = pathlib.Path(path)
    about = _beside(path, ".json")
    if not about.exists():
        raise FileNotFoundError(f"expected a packed zoo at {about}, found none")
    try:
        manifest = json.loads(_read(about, MANIFEST_BYTES))
        if manifest.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {manifest.get('format')!r}")
        specs = tuple(networks.from_json(s) for s in manifest["specs"])
        count, names = int(manifest["networks"]), list(manifest["labels"])
        known = dict(manifest["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{about} is damaged: {error!r}") from error
    data = {}
    for ending in (".safetensors", ".csv"):
        file = _beside(path, ending)
        data[ending] = _read(file, FILE_BYTES)
        if storage.fingerprint(data[ending]) != known.get(file.name):
            raise ValueError(
                f"{file} was altered: expected {known.get(file.name)}, got "
                f"{storage.fingerprint(data[ending])}"
            )
    try:
        weights = load(data[".safetensors"])
        header, *lines = csv.reader(io.StringIO(data[".csv"].decode()))
        if header != ["spec", "run", *names] or len(lines) != count:
            raise ValueError(f"expected {count} lines of {names}, got {len(lines)} of {header}")
        which, runs = (np.array([int(line[i]) for line in lines]) for i in (0, 1))
        values = np.array([line[2:] for line in lines], np.float32).reshape(count, len(names))
        vectors = np.zeros((count, max(s.count for s in specs)), np.float32)
        for s, spec in enumerate(specs):
            mine, array = which == s, weights[f"weights.{s}"]
            if array.dtype != np.float16 or array.shape != (mine.sum(), spec.count):
                raise ValueError(
                    f"weights.{s}: expected float16 {(int(mine.sum()), spec.count)}, got "
                    f"{array.dtype} {array.shape}"
                )
            vectors[mine, : spec.count] = array
        labels = {k: values[:, i] for i, k in enumerate(names)}
        return Zoo(vectors, specs, which, labels, runs), manifest
    except (ValueError, KeyError, IndexError, SafetensorError) as error:
        raise ValueError(f"{path}: {error}") from error


def _beside(path, ending):
    return path.parent / (path.name + ending)


def _read(path, most):
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path} is missing or no plain file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path} has {size} bytes, expected at most {most}")
    return path.read_bytes()

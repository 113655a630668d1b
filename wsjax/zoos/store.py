"""Zoos on disk.

    NAME/manifest.json    what it is: recipe, counts, shapes, versions, the data's sha256
    NAME/networks.npz     the numbers: `vectors` and a `label.LABEL` each, float32
    NAME.damaged-1/       an earlier NAME that did not pass inspection, kept

A stored zoo is used as it lies there or not at all: whatever does not match its
manifest, or the recipe asked for, is moved aside with the reason said. A zoo is written
beside its place and moved there when complete, so that no reader sees half of one.
Splits are not stored; `zoos.split` derives them from a seed.
"""

import contextlib
import json
import math
import os
import pathlib
import secrets
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wsjax import storage
from wsjax.networks import Spec
from wsjax.storage import DamagedError, versions
from wsjax.zoos import Zoo

FORMAT = 1
MANIFEST, DATA = "manifest.json", "networks.npz"
ARRAY_BYTES = 4 << 30  # no array larger than this is read: a million networks of 1,000 weights
MANIFEST_BYTES = 64 << 20

Manifest = dict[str, Any]


def save(
    folder: pathlib.Path, zoo: Zoo, recipe: Mapping[str, Any], facts: Mapping[str, Any]
) -> Manifest:
    """Writes a zoo as a new folder, all of it or nothing; undone by `load`.

    Args:
        folder: must not exist yet.
        zoo: its splits are left out.
        recipe: how it was made, as JSON types; includes the seed.
        facts: what else the manifest should say, such as the networks excluded.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: there is something at `folder`.
        ValueError: a fact has a name the manifest needs itself, or a label's name is not
            an identifier.
    """
    folder = pathlib.Path(folder)
    odd = [name for name in zoo.labels if not name.isidentifier()]
    if odd:
        raise ValueError(f"expected labels named as identifiers, got {odd}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        arrays = {"vectors": zoo.vectors} | {f"label.{k}": v for k, v in zoo.labels.items()}
        with open(partial / DATA, "wb") as file:
            np.savez(file, **{k: np.ascontiguousarray(v, "<f4") for k, v in arrays.items()})
            _flush(file)
        manifest = {
            "format": FORMAT,
            "recipe": dict(recipe),
            "networks": len(zoo),
            "labels": sorted(zoo.labels),
            "arrays": _layout(zoo.spec),
            "files": {DATA: storage.fingerprint(partial / DATA)},
            "versions": versions("wsjax", "jax", "numpy"),
        }
        taken = sorted(set(facts) & {*manifest, "sha256"})
        if taken:
            raise ValueError(f"the manifest says {taken} itself; expected facts of other names")
        manifest = storage.plain(manifest | dict(facts))
        manifest["sha256"] = storage.seal(manifest, "sha256")
        with open(partial / MANIFEST, "w") as file:
            json.dump(manifest, file, indent=1, allow_nan=False)
            _flush(file)
        if os.path.lexists(folder):
            raise FileExistsError(f"expected no zoo at {folder} yet, found one")
        try:
            os.rename(partial, folder)
        except OSError as error:  # another process finished the same zoo in between
            if not os.path.lexists(folder):
                raise
            raise FileExistsError(f"expected no zoo at {folder} yet, found one") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def load(folder: pathlib.Path, spec: Spec) -> tuple[Zoo, Manifest]:
    """Reads a stored zoo and inspects all of it; undoes `save`, splits aside.

    Raises:
        FileNotFoundError: there is no such folder.
        DamagedError: a file is missing, cut short, altered, too large, or of other
            shapes than the spec's; the message says which.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a stored zoo at {folder}, found no folder")
    manifest = _read_manifest(_inside(folder, MANIFEST))
    if manifest["arrays"] != _layout(spec):
        raise DamagedError(f"it has arrays {manifest['arrays']}, expected {_layout(spec)}")
    data = _inside(folder, DATA)
    size, expected = data.stat().st_size, manifest["files"][DATA]
    if size != expected["bytes"]:
        raise DamagedError(f"{DATA} has {size} bytes, expected {expected['bytes']}")
    if storage.fingerprint(data) != expected:
        raise DamagedError(f"{DATA} was altered: its sha256 is not the manifest's")
    count = manifest["networks"]
    shapes = {f"label.{k}": (count,) for k in manifest["labels"]}
    arrays = _read_arrays(data, shapes | {"vectors": (count, spec.count)})
    labels = {k: arrays[f"label.{k}"] for k in manifest["labels"]}
    try:
        return Zoo.of_spec(arrays["vectors"], spec, labels), manifest
    except ValueError as error:
        raise DamagedError(f"{DATA}: {error}") from error


def cached(
    folder: pathlib.Path,
    recipe: Mapping[str, Any],
    spec: Spec,
    make: Callable[[], tuple[Zoo, Mapping[str, Any]]],
) -> tuple[Zoo, Manifest]:
    """The zoo stored at a folder; made and stored if there is none.

    A zoo that is there, intact and of this recipe is never made again. One that is not
    is renamed NAME.damaged-1 (or the next free number), with a warning that says why.

    Args:
        folder: where it lies or will lie.
        recipe: what the stored recipe must equal, as JSON types.
        spec: what the stored spec must equal.
        make: returns the zoo and the facts for `save`.
    """
    folder = pathlib.Path(folder)
    if os.path.lexists(folder):
        try:
            return _matching(folder, recipe, spec)
        except DamagedError as reason:
            aside = _set_aside(folder)
            warnings.warn(
                f"the zoo at {folder} is not used: {reason}. It is kept as {aside.name}, "
                "and a new one is made.",
                stacklevel=2,
            )
    zoo, facts = make()
    with contextlib.suppress(FileExistsError):  # another process made it: both read that one
        save(folder, zoo, recipe, facts)
    return _matching(folder, recipe, spec)


def _matching(folder, recipe, spec):
    if not folder.is_dir():
        raise DamagedError("it is not a folder")
    stored, asked = _read_manifest(_inside(folder, MANIFEST))["recipe"], storage.plain(dict(recipe))
    differ = [
        f"{k} is {stored.get(k, 'absent')!r}, expected {asked.get(k, 'absent')!r}"
        for k in sorted({*stored, *asked})
        if stored.get(k, "absent") != asked.get(k, "absent")
    ]
    if differ:
        raise DamagedError("its recipe differs: " + "; ".join(differ))
    return load(folder, spec)


def _set_aside(folder):
    n = 1
    while os.path.lexists(aside := folder.with_name(f"{folder.name}.damaged-{n}")):
        n += 1
    os.rename(folder, aside)
    return aside


def _inside(folder, name):
    """The path of a file that truly lies in the folder: a link could point anywhere."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise DamagedError(f"{name} is missing or no plain file")
    return path


def _read_manifest(path):
    size = path.stat().st_size
    if size > MANIFEST_BYTES:
        raise DamagedError(f"{MANIFEST} has {size} bytes, expected at most {MANIFEST_BYTES}")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DamagedError(f"{MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise DamagedError(f"{MANIFEST} has format {found!r}, expected {FORMAT}")
    if manifest.get("sha256") != storage.seal(manifest, "sha256"):
        raise DamagedError(f"{MANIFEST} was altered: it does not match its own sha256")
    absent = {"recipe", "networks", "labels", "arrays", "files"} - set(manifest)
    if absent:
        raise DamagedError(f"{MANIFEST} lacks {sorted(absent)}")
    return manifest


def _read_arrays(path, shapes):
    """The float32 arrays of an npz, each header checked before anything is allocated."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            if set(members) != set(shapes):
                raise DamagedError(f"{DATA} holds {sorted(members)}, expected {sorted(shapes)}")
            for name, member in members.items():
                size = max(member.file_size, 4 * math.prod(shapes[name]))
                if size > ARRAY_BYTES:
                    raise DamagedError(
                        f"{DATA}: {name} has {size} bytes, expected at most {ARRAY_BYTES}"
                    )
                with archive.open(member) as file:
                    np.lib.format.read_magic(file)
                    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                if (shape, fortran, dtype) != (shapes[name], False, np.dtype("<f4")):
                    found, expected = f"{dtype}{list(shape)}", f"float32{list(shapes[name])}"
                    raise DamagedError(f"{DATA}: {name} is {found}, expected {expected}")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in shapes}
    except DamagedError:
        raise
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DamagedError(f"{DATA} is no npz file: {error}") from error


def _layout(spec):
    """The entries of a vector, in order: what must agree for its numbers to be in place."""
    return [[a.name, list(spec.shape(a))] for a in spec.arrays]


def _flush(file):
    """Onto the disk before the rename, lest a crash leave the name without the bytes."""
    file.flush()
    os.fsync(file.fileno())

"""Weights in several files: an index and its shards, shards alone, a folder with one file in it.

    model.safetensors.index.json     {"metadata": ..., "weight_map": {array: shard}}
    model-00001-of-00002.safetensors, model-00002-of-00002.safetensors

An index says in which shard each array lies, and is followed to the letter: arrays that it does
not list are left out, and reported, as are other weights files beside it. Its shards are files of
its own folder, by name, or links to where the index itself or the folder's cache of downloads is
kept (`disk.is_beside`); what it says of their total size is compared, not used.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterator

from wsjax.checks import natural, printable
from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits
from wsjax.files.disk import BytesOf, is_beside
from wsjax.files.json_text import first, json_file

Opener = Callable[[pathlib.Path], Checkpoint]  # of a single file that holds arrays
INDEX = ".index.json"
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?P<suffix>\.[a-z]+)")
SHARDS = 900  # all are open at once; most systems allow 1,024 files
ENTRIES = 100_000  # of a folder
# Suffixes tell candidates from other files of a folder; what each holds is read off its contents.
SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".npz", ".npy"),
    *(".weights.h5", ".h5", ".hdf5", ".keras", ".onnx", ".gguf"),
)
USUAL = ("model", "pytorch_model", "flax_model", "tf_model", "diffusion_pytorch_model")
BESIDE = re.compile(r"(training_args|optimizer|scheduler|rng_state|scaler)[^.]*\.")  # no network


def read_index(file: BytesOf, limits: Limits, open_file: Opener) -> Checkpoint:
    """The arrays of an index, each from the shard that it names.

    Raises:
        FileFormatError: the index is damaged, names a file outside its folder, or all of its
            shards are missing or links to elsewhere.
    """
    index = json_file(file, "the index", limits)
    places, folder = index.get("weight_map"), file.path.parent
    if type(places) is not dict or not places or not all(type(s) is str for s in places.values()):
        raise FileFormatError("expected an index of shards, with names of files in its weight_map")
    shards = sorted(set(places.values()), key=natural)
    for shard in shards:
        if not shard or shard.startswith(".") or os.path.basename(shard) != shard or "\0" in shard:
            raise FileFormatError(
                f"expected shards as files beside the index, got {shard!r:.200}, which may lie "
                "elsewhere"
            )
    parts, findings = _parts(file.path, shards, open_file)
    listed = collections.Counter(places.values())
    findings += [
        Finding("missing", "error", None, f"shard {printable(s)} is missing: {listed[s]} arrays")
        for s in shards
        if s not in parts
    ]
    arrays, present = [], set()
    for shard, part in parts.items():
        inside = {a.name: a for a in part.arrays}
        present |= {name for name in inside if places.get(name) == shard}
        arrays += [a for name, a in inside.items() if places.get(name) == shard]
        if extra := [printable(name) for name in inside if places.get(name) != shard]:
            text = f"{printable(shard)} has {len(extra)} arrays that the index does not place there"
            findings.append(Finding("stray", "warning", None, f"{text} ({first(extra)})"))
    if lost := [k for k, shard in places.items() if shard in parts and k not in present]:
        text = f"{len(lost)} arrays of the index are not in their shards"
        lost = first(list(map(printable, lost)))
        findings.append(Finding("missing", "error", None, f"{text} ({lost})"))
    metadata = index.get("metadata")
    metadata = metadata if type(metadata) is dict else {}
    findings += [*_total(metadata, arrays), *_strays(folder, {*shards, file.path.name})]
    return _joined(file.path, parts, arrays, metadata, findings)


def _total(metadata, arrays) -> Iterator[Finding]:
    stated, total = metadata.get("total_size"), sum({a.storage: a.nbytes for a in arrays}.values())
    if stated is not None and stated != total:
        text = f"the index states {stated!r:.40} bytes in all, its arrays have {total}"
        yield Finding("total", "note", None, f"{text}; the statement is not used")


def _parts(path, shards, open_file):
    """Shard -> its contents, of those that are there; and what was found about them."""
    if len(shards) > SHARDS:
        raise FileFormatError(f"it has {len(shards)} shards, expected at most {SHARDS}")
    parts, findings = {}, []
    folder = path if path.is_dir() else path.parent
    for shard in shards:
        with contextlib.suppress(FileNotFoundError):
            if not is_beside(folder / shard, path):
                raise FileFormatError(f"shard {printable(shard)} is a link to elsewhere")
            try:
                parts[shard] = open_file(folder / shard)
            except FileFormatError as error:
                raise FileFormatError(f"shard {printable(shard)}: {error}") from error
            findings += [
                dataclasses.replace(f, text=f"{printable(shard)}: {f.text}")
                for f in parts[shard].findings
            ]
    if not parts:
        raise FileFormatError(f"none of its {len(shards)} shards is there ({first(shards)})")
    return parts, findings


def _joined(path, parts, arrays, metadata, findings):
    expected = next(iter(parts.values())).format
    for shard, part in parts.items():
        metadata = {**part.metadata, **metadata}
        if part.format != expected:
            raise FileFormatError(
                f"shard {printable(shard)} is a file of {part.format}, the first of {expected}"
            )
    return Checkpoint(str(path), expected, tuple(arrays), metadata, tuple(findings))


def read_folder(folder: pathlib.Path, open_file: Opener, open_index: Opener) -> Checkpoint:
    """The weights of a folder: of its index, of its shards, or of its one file.

    Raises:
        FileFormatError: it has none, or several and none that is usual to prefer.
    """
    names = _names(folder)
    indices = sorted(n for n in names if n.endswith(INDEX))
    indices.sort(key=lambda name: not name.endswith(f".safetensors{INDEX}"))
    if indices and (len(indices) == 1 or _usual(indices[0])):
        return open_index(folder / indices[0])
    if indices:
        raise _several(indices)
    weights = [n for n in names if n.endswith(SUFFIXES) and not BESIDE.match(n)]
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for name in weights:
        if match := SHARD.fullmatch(name):
            groups[f"{match['stem']} {match['count']} {match['suffix']}"].append(name)
    if len(groups) > 1:
        raise _several([n for group in groups.values() for n in group])
    for group in groups.values():
        return _shards(folder, sorted(group, key=natural), open_file)
    for suffix in SUFFIXES:
        same = sorted(n for n in weights if n.endswith(suffix))
        chosen = same if len(same) == 1 else [n for n in same if _usual(n)]
        if len(chosen) > 1:  # variants beside it: `diffusion_pytorch_model.fp16.safetensors`
            chosen = [n for n in chosen if n.removesuffix(suffix) in USUAL]
        if len(chosen) == 1:
            checkpoint = open_file(folder / chosen[0])
            findings = (*checkpoint.findings, *_strays(folder, set(chosen)))
            return dataclasses.replace(checkpoint, path=str(folder), findings=findings)
        if same:
            raise _several(same)
    listed = f"it holds {first(list(map(printable, names)))}" if names else "it is empty"
    raise FileFormatError(f"expected a folder with weights, {listed}")


def _names(folder):
    with os.scandir(folder) as entries:
        names = []
        for entry in entries:
            names.append(entry.name)
            if len(names) > ENTRIES:
                raise FileFormatError(f"expected a folder of at most {ENTRIES} entries")
    return sorted(n for n in names if not n.startswith("."))


def _usual(name):
    return name.split(".")[0] in USUAL


def _several(names):
    return FileFormatError(
        f"it holds several weights files ({first(list(map(printable, names)), 6)}): give the path "
        "of one"
    )


def _shards(folder, shards, open_file):
    """All arrays of shards that no index lists."""
    parts, findings = _parts(folder, shards, open_file)
    matches = [m for m in map(SHARD.fullmatch, shards) if m]
    count, numbers = int(matches[0]["count"]), {int(m["number"]) for m in matches}
    lost = count - len(numbers)
    if lost > 0:
        absent = [str(n) for n in range(1, min(count, 10_000) + 1) if n not in numbers]
        text = f"{lost} of {count} shards are missing ({first(absent)})"
        findings.append(Finding("missing", "error", None, text))
    names = collections.Counter(a.path for part in parts.values() for a in part.arrays)
    repeated = [path for path, times in names.items() if times > 1]
    arrays = [
        dataclasses.replace(a, path=(shard, *a.path)) if repeated else a
        for shard, part in parts.items()
        for a in part.arrays
    ]
    if repeated:
        text = (
            f"{len(repeated)} names are in several shards ({first(list(map('/'.join, repeated)))})"
        )
        text += ": every array is listed under its shard"
        findings.append(Finding("repeated", "warning", None, printable(text)))
    findings += _strays(folder, set(shards))
    return _joined(folder, parts, arrays, {}, findings)


def _strays(folder, used) -> Iterator[Finding]:
    others = [n for n in _names(folder) if n.endswith(SUFFIXES) and n not in used]
    for name in others[:20]:
        text = f"{printable(name)} lies beside and is not read"
        yield Finding("stray", "note" if BESIDE.match(name) else "warning", None, text)

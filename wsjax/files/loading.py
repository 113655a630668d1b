"""Any weights file as named arrays, with the facts that a reader of them should know.

    params, facts = wsjax.load("model.safetensors")
    params["features.0.weight"].shape
    print(facts)      # one line: branch, counts, prefixes, and first of all what is wrong

`opened` lists the file; `listing` finds the network in it, where `branches` names its parts,
`names` takes wrappers off and puts layer 10 after layer 9, and `numbers` tells weights from
buffers and packed integers; `integrity` measures each array as it is read. Numbers that are
missing or cannot be a network's are errors here: nothing is loaded until a choice is made about
them. `describe` never fails for what a file holds.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wsjax.checks import counted, printable
from wsjax.files import integrity
from wsjax.files.adapters import adapter
from wsjax.files.branches import chosen, twins
from wsjax.files.checkpoint import (
    NUMBERS,
    Checkpoint,
    FileFormatError,
    Finding,
    Limits,
    too_large,
)
from wsjax.files.detection import opened
from wsjax.files.facts import ContentError, Facts, equated
from wsjax.files.folders import INDEX
from wsjax.files.json_text import json_object
from wsjax.files.listing import WEIGHTS, by_severity, counts, listed, named
from wsjax.files.numbers import Entry, entries
from wsjax.files.packed import INTEGERS

_LORA = re.compile(r"(?<![a-z])lora(?![a-z])", re.IGNORECASE)  # a word, as in "lora_A"
Visit = Callable[[str, np.ndarray], None]


def load(
    path: str | os.PathLike, branch: str | None = None, limits: Limits | None = None
) -> tuple[dict[str, np.ndarray], Facts]:
    """The weights of a network from a file of any format that `opened` lists.

    Arrays keep the file's types, bfloat16 included; weights of eight bits are multiplied by their
    scales, and reparametrised ones are computed, both in float32. Tied arrays are one array under
    two names. Packed integers are left out and counted in the facts.

    Args:
        path: of a file, an index of shards, or a folder.
        branch: name of the part that is the network; by default as `branches` says.
        limits: of sizes; `Limits()` by default. The arrays together are within `total_bytes`, of
            which None is here twenty times the size of the files, and 256 MiB at least.

    Returns:
        Name -> array, layer 10 after layer 9, and the facts.

    Raises:
        FileNotFoundError: there is nothing at the path.
        OSError: it cannot be opened or read, for want of permission or by a fault of the disk.
        FileFormatError: it is of no supported format, is damaged, or is too large.
        ImportError: it is of HDF5, and `h5py` is not installed.
        ContentError: it holds no network, or numbers are missing, not finite, zero almost
            throughout, of an absurd size or without their scale; each array is named, and so is
            a branch that has none of this.
        ValueError: there is no such branch; lists those there are.
    """
    with opened(path, limits) as checkpoint:
        params, facts = contents(checkpoint, branch, limits=limits)
    if any(f.severity == "error" for f in facts.findings):
        raise ContentError(facts)
    return params, facts


def describe(
    path: str | os.PathLike, branch: str | None = None, limits: Limits | None = None
) -> Facts:
    """The facts alone, without keeping arrays; whatever is wrong with a file is a finding.

    One array is in memory at a time, two where they are compared, and those that it is computed
    from. Adapters and buffers are kept. So is a missing `h5py`, which Keras's files and HDF5 need,
    a finding.

    Raises:
        FileNotFoundError: there is nothing at the path.
        OSError: it cannot be opened or read, for want of permission or by a fault of the disk.
        ValueError: there is no such branch.
    """
    try:
        with opened(path, limits) as checkpoint:
            return contents(checkpoint, branch, False, limits)[1]
    except (FileFormatError, ImportError) as error:
        return unopened(path, error)


def unopened(path: str | os.PathLike, error: FileFormatError | ImportError) -> Facts:
    """The facts of a file that cannot be opened: one finding."""
    text = str(error) if isinstance(error, FileFormatError) else f"{printable(path)}: {error}"
    return Facts(str(path), "", findings=(Finding("refused", "error", None, text),))


def contents(
    checkpoint: Checkpoint,
    branch: str | None = None,
    keep: bool = True,
    limits: Limits | None = None,
) -> tuple[dict[str, np.ndarray], Facts]:
    """The weights of an open file, and the facts, wrong ones included.

    Args:
        checkpoint: open.
        branch: see `load`.
        keep: whether the arrays are returned; otherwise each is dropped when it was measured.
        limits: see `load`.

    Raises:
        FileFormatError: the arrays that are kept are larger than `limits.total_bytes` in all.
        ValueError: there is no such branch.
    """
    rows, facts = listed(checkpoint, branch)
    return completed(checkpoint, rows, facts, branch, keep, limits)


def completed(
    checkpoint: Checkpoint,
    rows: Sequence[Entry],
    facts: Facts,
    branch: str | None = None,
    keep: bool = False,
    limits: Limits | None = None,
    visit: Visit | None = None,
) -> tuple[dict[str, np.ndarray], Facts]:
    """As `contents`, of what `listed` gave: each array is read once, and measured.

    Args:
        checkpoint: see `contents`.
        rows: of `listed`.
        facts: of `listed`.
        branch: see `contents`.
        keep: see `contents`.
        limits: see `contents`.
        visit: is called with the name and the numbers of each weight that can be read; of tied
            names with the first.
    """
    if not rows:
        return {}, facts
    every, own = facts.branches, chosen(facts.branches, branch)
    most = _most(checkpoint.path, limits or Limits())
    try:
        params, buffers, measures, beside, unread = _read(rows, facts.tied, keep, most, visit)
    except FileFormatError as error:
        raise FileFormatError(f"{printable(checkpoint.path)}: {error}") from error
    findings = [*facts.findings, *unread, *integrity.verdicts(measures, beside)]
    copies, alike = _copies(rows, measures, facts.tied)
    low_rank, config = _adapter(params, checkpoint, rows)
    findings += [*config, *alike]
    wrong = any(f.severity == "error" for f in findings)
    if not wrong and not any(e.kind == "weight" for e in rows):
        text = f"none of its {len(rows)} arrays holds weights that are read as numbers"
        findings.append(Finding("empty", "error", None, text))
    repeated = {n for group in (*facts.tied, *copies) for n in group[1:]}
    facts = dataclasses.replace(
        facts, buffers=buffers, copies=copies, adapter=low_rank, **counts(rows, repeated)
    )
    findings += _claims(checkpoint.metadata, facts)
    findings += _others(every, own, branch, findings)
    kept = params if keep else {}
    return kept, dataclasses.replace(facts, findings=by_severity(findings))


def _most(path, limits):
    """`total_bytes` of a file, or of all in its folder where others can belong to it."""
    if limits.total_bytes is not None:
        return limits
    path = pathlib.Path(path)
    if path.name.endswith((INDEX, ".onnx")):
        path = path.parent
    walk = os.walk(path) if path.is_dir() else [(path.parent, (), (path.name,))]
    files = [pathlib.Path(folder, name) for folder, _, names in walk for name in names]
    size = sum(f.stat().st_size for f in files if f.is_file())
    known = limits.of(size)
    return dataclasses.replace(limits, total_bytes=max(known.total_bytes, known.unpacked_bytes))


def _read(rows, tied, keep, limits, visit=None):
    """Reads every array once: params, buffers, measures of weights and of what lies beside."""
    params, buffers, measures, beside, findings = {}, {}, {}, {}, []
    first = {n: group[0] for group in tied for n in group[1:]}
    left = limits.total_bytes
    for e in rows:
        listed_only = any(s.dtype not in NUMBERS for s in e.sources)
        if e.kind in ("packed", "refused") or listed_only:
            continue
        if e.name in first:
            twin = params.get(first[e.name])
            if twin is not None and twin.shape == e.shape:
                params[e.name] = twin
            if twin is None or twin.shape == e.shape:
                continue
        array = None  # the one before is gone before this one is read
        try:
            array = e.read()
        except (FileFormatError, OSError) as error:
            findings.append(Finding("unreadable", "error", e.name, str(error)))
            continue
        kept = e.kind == "buffer" or (e.kind == "weight" and (keep or _of_adapter(e.name)))
        if e.name in first:
            twin = params[first[e.name]].reshape(e.shape)
            if _equals(array, twin):
                params[e.name] = twin
                continue
        left -= array.nbytes * kept
        if left < 0:
            came = f"its arrays are too large in all, at {printable(e.name):.200}"
            raise too_large(came, "total_bytes", limits)
        if e.kind == "buffer":
            buffers[e.name] = array
        elif e.kind == "weight":
            measures[e.name] = integrity.measured(array)
            if visit:
                visit(e.name, array)
            if kept:
                params[e.name] = array
        elif array.dtype.kind not in "biu":
            beside[e.name] = integrity.measured(array)
    return params, buffers, measures, beside, findings


def _equals(a, b):
    """Whether arrays of one shape have the same numbers, NaN too; a transpose has others."""
    flat = lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return np.array_equal(flat(a), flat(b))


def _equal(rows, measures, tied):
    """Groups of names of equal numbers that are stored one by one; constants are no copies."""
    known = {n for group in tied for n in group[1:]}
    groups: dict[Any, list[Entry]] = {}
    for e in rows:
        m = measures.get(e.name)
        if m and e.name not in known and len(e.shape) > 1 and not m.constant:
            groups.setdefault((e.shape, e.dtype, m.digest, m.rms), []).append(e)
    out = []
    for same in groups.values():
        if len(same) > 1:
            array = same[0].read()
            equal = [e.name for e in same[1:] if np.array_equal(e.read(), array)]
            out += [(same[0].name, *equal)] if equal else []
    return out


def _copies(rows, measures, tied):
    """Groups of equal arrays that are one array of the network, and a note on the others.

    Names that are the same but for numbers are layers that began alike and were not trained.
    """
    groups = _equal(rows, measures, tied)
    alike = [g for g in groups if len({re.sub(r"\d+", "0", n) for n in g}) < len(g)]
    text = f"{equated(alike[0])} are equal, as layers that were not trained" if alike else ""
    text += f"; so are {len(alike) - 1} more groups" * (len(alike) > 1)
    findings = [Finding("copies", "note", alike[0][0], text)] if alike else []
    return tuple(g for g in groups if g not in alike), findings


def _of_adapter(name):
    return bool(_LORA.search(name))


def _adapter(params, checkpoint, rows):
    """The adapter in the arrays, with the settings that lie beside the file."""
    factors = {n: a for n, a in params.items() if _of_adapter(n)}
    factors |= {n: a for n, a in params.items() if n not in factors}
    if not any(map(_of_adapter, factors)):
        return None, []
    path = pathlib.Path(checkpoint.path)
    config = (path if path.is_dir() else path.parent) / "adapter_config.json"
    settings: dict[str, Any] = {}
    findings = []
    if config.is_file() and config.stat().st_size < 1 << 20:
        try:
            settings = json_object(config.read_bytes(), config.name, Limits())
        except FileFormatError as error:
            findings.append(Finding("refused", "warning", None, str(error)))
    found = adapter(factors, settings)
    if found is None:
        return None, findings
    rest = [e.name for e in rows if e.name not in params and e.kind in WEIGHTS]
    found = dataclasses.replace(found, others=(*found.others, *rest))
    if found.others or found.decomposed:
        what = "DoRA's magnitudes" if found.decomposed else counted(len(found.others), "array")
        text = f"the adapter has {what} beside its factors, which `effective` does not add"
        text += f" ({', '.join(found.others[:4])}{', ...' * (len(found.others) > 4)})"
        findings.append(Finding("adapter", "warning", None, text))
    return found, findings


def _claims(metadata, facts):
    """Totals in the metadata that the arrays contradict."""
    for place in (metadata, *(v for v in metadata.values() if isinstance(v, dict))):
        stated = str(place.get("total_parameters", "")).removesuffix(".0")
        if stated.isdecimal() and int(stated[:30]) != facts.parameters:
            text = f"its metadata says {int(stated[:30]):,} parameters, which is not used"
            yield Finding("total", "note", None, text)


def _others(every, own, branch, findings):
    """Branches that are left out: others that could be meant, or that belong to the network."""
    rest = [b for b in every if b.kind == "other" and b is not own and any(map(_holds, b.arrays))]
    if branch is None and rest:
        text = f"{', '.join(map(str, rest[:4]))}{', ...' * (len(rest) > 4)}: left out"
        text += f", beside branch {own.name!r}; branch= takes one"
        yield Finding("branch", "warning", None, text)
    models = [b for b in every if b.kind not in ("optimiser", "other") and b is not own]
    if branch is None and models:
        text = f"branch {own.name!r} is the default; branch= takes {_names(models)} instead"
        yield Finding("branch", "note", None, text)
    if any(f.kind in ("nonfinite", "zeros", "scale") and f.severity == "error" for f in findings):
        for b in models:
            if (twins(b, own) or twins(own, b)) and _sound(b):
                text = f"branch {b.name!r} has the same arrays, all sound: branch={b.name!r}"
                yield Finding("branch", "note", None, text)


def _holds(named):
    """Whether it is an array of numbers that could be weights: no step, no key of randomness."""
    return bool(named[1].shape) and named[1].dtype not in (*INTEGERS, "bool")


def _names(models):
    return " or ".join(repr(b.name) for b in models)


def _sound(branch):
    rows, findings = entries(named(branch)[0])
    _, _, measures, beside, unread = _read(rows, (), False, Limits(total_bytes=1 << 62))
    findings = [*findings, *unread, *integrity.verdicts(measures, beside)]
    return not any(f.severity == "error" for f in findings)

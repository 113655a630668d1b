"""The network in a file, from its header: roles and names of arrays; facts before numbers.

    rows, facts = listed(checkpoint)     names in natural order, without the words of wrappers
    rows[0].name, rows[0].shape, rows[0].read

Masks of minus infinity and zero are read, as nothing else tells them from weights.
"""

import collections
import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any

from wsjax.checks import printable
from wsjax.files import names
from wsjax.files.branches import Branch, branches, chosen
from wsjax.files.checkpoint import Checkpoint, Finding, Stored
from wsjax.files.facts import Facts
from wsjax.files.numbers import Entry, entries

WEIGHTS = ("weight", "packed", "refused")


def listed(checkpoint: Checkpoint, branch: str | None = None) -> tuple[list[Entry], Facts]:
    """The arrays of a file's network by their roles, and the facts that its header gives.

    Args:
        checkpoint: open.
        branch: see `files.load`.

    Returns:
        The arrays; none, and an error finding, where there is no network. The facts without
        `buffers`, `copies` and `adapter`.

    Raises:
        ValueError: there is no such branch.
    """
    arrays, findings = _one_numbering(checkpoint.arrays)
    joined = any(f.kind == "shards" for f in findings)
    findings += [f for f in checkpoint.findings if not (joined and f.kind == "repeated")]
    every = branches(arrays)
    facts = Facts(checkpoint.path, checkpoint.format, branches=every, metadata=checkpoint.metadata)
    if not any(b.kind != "optimiser" and b.arrays for b in every):
        text = f"it holds no arrays of a network; found {_listed(checkpoint.metadata, every)}"
        findings = [f for f in findings if f.kind != "empty"]
        findings.append(Finding("empty", "error", None, text))
        return [], dataclasses.replace(facts, findings=by_severity(findings))
    own = chosen(every, branch)
    arrays_of, stripped, more = named(own)
    rows, numbers = entries(arrays_of)
    tied = _tied(rows)
    facts = dataclasses.replace(
        facts,
        branch=own.name,
        packed={e.name: e.count for e in rows if e.kind == "packed"},
        computed={e.name: e.how for e in rows if e.how},
        tied=tied,
        stripped=stripped,
        **counts(rows, {n for group in tied for n in group[1:]}),
    )
    findings = [*(_of_network(f, own, every) for f in findings), *more, *numbers]
    return rows, dataclasses.replace(facts, findings=by_severity(findings))


def counts(rows: Sequence[Entry], repeated: Collection[str]) -> dict[str, Any]:
    """Arrays, parameters and their types, of `Facts`; without repeated names of one array."""
    types = collections.Counter()
    for e in rows:
        if e.count and e.name not in repeated:
            types[e.dtype] += e.count
    arrays = sum(e.kind in WEIGHTS for e in rows)
    return {"arrays": arrays, "parameters": types.total(), "dtypes": tuple(types.most_common())}


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then notes."""
    order = ("error", "warning", "note")
    return tuple(sorted(findings, key=lambda f: order.index(f.severity)))


def _listed(metadata, every):
    """The values that a file without arrays holds, in a few words."""
    words = [f"{printable(k)} = {_value(v)}" for k, v in list(metadata.items())[:5]]
    more = [f"{len(metadata) - 5} more values"] if len(metadata) > 5 else []
    return ", ".join([*words, *more, *(str(b) for b in every)]) or "nothing at all"


def _value(x):
    if isinstance(x, dict | list | tuple):
        return f"a {type(x).__name__} of {len(x)}"
    return f"{printable(repr(x)):.40}"


def _one_numbering(arrays: Sequence[Stored]):
    """Arrays of several shards under one name each."""
    heads = dict.fromkeys(a.path[:1] for a in arrays)
    if len(heads) < 2 or not all(len(a.path) > 1 and names.shard(a.path[0]) for a in arrays):
        return arrays, []
    shards = [[a for a in arrays if a.path[:1] == head] for head in heads]
    new, stems = names.joined([["/".join(a.path[1:]) for a in shard] for shard in shards])
    flat = [
        dataclasses.replace(a, path=tuple(n.split("/")))
        for shard, name in zip(shards, new, strict=True)
        for a, n in zip(shard, name, strict=True)
    ]
    twice = [n for n, k in collections.Counter(a.name for a in flat).items() if k > 1]
    if twice:
        text = (
            f"{twice[0]} and {len(twice) - 1} other names are in several of {len(heads)} shards, "
            "and are no layers whose numbers go on: slices of arrays, or copies; join them first"
        )
        return flat, [Finding("shards", "error", twice[0], text)]
    texts = [f"{s}* are numbered anew in each of {len(heads)} shards" for s in stems]
    return flat, [Finding("shards", "note", None, f"{t}: numbered through") for t in texts]


def named(branch: Branch) -> tuple[dict[str, Stored], tuple[str, ...], list[Finding]]:
    """Name -> array in natural order, the words taken off, findings about names."""
    raw = ["/".join(keys) for keys, _ in branch.arrays]
    stored = [s for _, s in branch.arrays]
    findings = [
        Finding("names", "error", n, f"{n}: two arrays of one name, one of them is left out")
        for n, count in collections.Counter(raw).items()
        if count > 1
    ]
    unique = dict(reversed(list(zip(raw, stored, strict=True))))  # the first of each name
    raw = [n for n in dict.fromkeys(raw)]
    stored = [unique[n] for n in raw]
    new, stripped = names.unwrapped(raw, [bool(s.shape) for s in stored])
    contradictions = names.contradictions(new, [s.shape for s in stored])
    findings += [Finding("order", "warning", None, text) for text in contradictions]
    return {new[i]: stored[i] for i in names.natural(new)}, stripped, findings


def _tied(rows: Sequence[Entry]):
    """Groups of names of one storage."""
    groups: dict[Any, list[str]] = {}
    for e in rows:
        if e.kind in ("weight", "packed") and 0 not in e.shape:
            # Without the shape: views of one storage are one array, a transpose too.
            key = (tuple(s.storage for s in e.sources), math.prod(e.shape), e.dtype)
            groups.setdefault(key, []).append(e.name)
    return tuple(tuple(g) for g in groups.values() if len(g) > 1)


def _of_network(finding, own, every):
    """A finding on the checkpoint; a tensor outside of the network is no error of the network."""
    if finding.kind != "refused" or finding.severity != "error":
        return finding
    within = lambda b, name: bool(b.name) and name.startswith((f"{b.name}/", f"{b.name}."))
    places = [b for b in every if b is not own and within(b, finding.array)]
    if any(b.kind == "optimiser" for b in places):
        return dataclasses.replace(finding, severity="note")
    apart = all(within(own, s.name) for _, s in own.arrays)  # no part of it lies elsewhere
    outside = apart and not within(own, finding.array)
    return dataclasses.replace(finding, severity="warning") if places or outside else finding

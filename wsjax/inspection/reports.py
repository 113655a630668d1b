"""Facts, arrays and axes of a weights file as a report has them, each with its certainty."""

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wsjax.checks import printable
from wsjax.files.checkpoint import Finding
from wsjax.files.facts import Facts, equated
from wsjax.files.json_text import first
from wsjax.files.numbers import Entry
from wsjax.inspection.array_statistics import Statistics, statistics

if TYPE_CHECKING:
    from wsjax.networks import Array
    from wsjax.packing import Piece
    from wsjax.recognition import Recognition

Certainty = Literal["read", "derived", "inferred", "assumed"]
DERIVED = ("nonfinite", "zeros", "scale", "copies")  # kinds of findings that numbers give
INFERRED = ("order", "names", "packed", "reparametrised", "adapter", "shards", "structure")


@dataclasses.dataclass(frozen=True)
class Fact:
    """One fact of a file.

    Attributes:
        name: such as "format" or "parameters".
        value: a number or a text.
        certainty: how it is known, as the package says.
        note: what it rests on, or what else there is; "" for nothing.
    """

    name: str
    value: Any
    certainty: Certainty
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ArrayReport:
    """An array of the network, or the part of one that its structure makes an array.

    Attributes:
        name: as stored, without the words of wrappers.
        part: its name in the Spec, where it is one of several parts of a stored array; else "".
        dtype: as stored.
        shape: as the Spec has it.
        layer: of the Spec; "" of arrays without a place in it.
        kind: of the layer; or why it has no place: "packed", "int64", "buffer", ...
        activation: after the layer; "other" where it is not known.
        axes: a name for each axis; none of arrays without a place.
        hidden: those of `axes` that are.
        statistics: None if it was not read.
    """

    name: str
    part: str
    dtype: str
    shape: tuple[int, ...]
    layer: str = ""
    kind: str = ""
    activation: str = ""
    axes: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    statistics: Statistics | None = None


@dataclasses.dataclass(frozen=True)
class AxisReport:
    """A hidden axis and its symmetries.

    Attributes:
        name: in the Spec.
        neurons: how many.
        log10: of the number of their permutations; if nested, those within every outer neuron.
        sign: whether -1 is among the factors of a signal of its neurons; None if that is not
            known, as activations are not.
        scale: whether all positive numbers are; likewise.
        phases: whether a sine of its neurons has phase shifts; likewise.
    """

    name: str
    neurons: int
    log10: float
    sign: bool | None
    scale: bool | None
    phases: bool | None


@dataclasses.dataclass(frozen=True)
class Place:
    """An array of the Spec in a stored array, to be measured when that is read."""

    report: ArrayReport
    piece: "Piece | None" = None
    writes: tuple[int, ...] = ()

    def measured(self, stored: np.ndarray) -> ArrayReport:
        """The report, with the statistics of this part of a stored array."""
        if self.piece is not None:
            part = stored.reshape(self.piece.view)[self.piece.cut]
            stored = part.reshape(self.piece.shape)
        return dataclasses.replace(self.report, statistics=statistics(stored, self.writes))


def certainty(finding: Finding) -> Certainty:
    """How a finding is known.

    >>> certainty(Finding("nonfinite", "error", "fc", "fc: 1 of 6 numbers is not finite"))
    'derived'
    """
    if finding.kind in DERIVED:
        return "derived"
    return "inferred" if finding.kind in INFERRED else "read"


def of_header(facts: Facts, branch: str | None) -> Iterator[Fact]:
    """Facts of the header.

    Args:
        facts: of `files.listing.listed`.
        branch: as it was asked for; None takes a default.
    """
    yield Fact("format", facts.format, "read")
    others = [b for b in facts.branches if b.name != facts.branch]
    holds = lambda b: b.kind != "optimiser" and any(s.shape for _, s in b.arrays)  # no step alone
    choice = branch is None and any(map(holds, others))
    note = f"also {', '.join(map(str, others))}" if others else ""
    yield Fact("branch", facts.branch or "the whole file", "assumed" if choice else "read", note)
    yield Fact("arrays", facts.arrays, "read")
    yield Fact("parameters", facts.parameters, "read", "tied arrays once" if facts.tied else "")
    yield Fact("types", ", ".join(f"{name}: {n:,}" for name, n in facts.dtypes), "read")
    if facts.tied:
        yield Fact("tied", first([equated(names) for names in facts.tied]), "read", "one storage")
    if facts.packed:
        yield Fact("packed parameters", sum(facts.packed.values()), "inferred", "not read")
    if facts.computed:
        how = ", ".join(dict.fromkeys(facts.computed.values()))
        yield Fact("computed arrays", len(facts.computed), "inferred", how)
    if facts.stripped:
        yield Fact("prefixes taken off", ", ".join(facts.stripped), "inferred")
    plain = [(k, v) for k, v in facts.metadata.items() if isinstance(v, str | int | float)]
    for key, value in plain[:8]:
        yield Fact(f"metadata {printable(key)}", printable(f"{value!s:.80}"), "read")


def of_structure(recognition: "Recognition") -> Iterator[Fact]:
    """Facts of the structure; the notes say what a config would add."""
    spec = recognition.spec
    yield Fact("level", recognition.level, "inferred", "; ".join(recognition.notes))
    yield Fact("family", recognition.family, "inferred")
    yield Fact("coverage", recognition.coverage, "inferred", "share of parameters with a place")
    if recognition.level != "opaque":
        names = dict.fromkeys(x.activation for x in spec.layers if x.activation != "none")
        known = ", ".join("not known" if n == "other" else n for n in names)
        yield Fact("activations", known or "none", "inferred", "from the family and the config")
    yield Fact("permutations", f"10^{recognition.digits:.0f}", "inferred", _axes_of(spec))


def _axes_of(spec):
    hidden = sum(dict(spec.sizes)[h] > 1 for h in spec.hidden)
    return f"of {hidden} hidden {'axis' if hidden == 1 else 'axes'}"


def of_numbers(facts: Facts, arrays: Sequence[ArrayReport]) -> Iterator[Fact]:
    """Facts of the numbers.

    Args:
        facts: of `files.loading.completed`.
        arrays: with their statistics.
    """
    if facts.buffers:
        yield Fact("buffers", len(facts.buffers), "inferred", first(list(facts.buffers), 4))
    if facts.copies:
        note = f"{facts.parameters:,} parameters without the copies"
        yield Fact("equal by value", first([equated(c) for c in facts.copies]), "derived", note)
    if facts.adapter:
        yield Fact("adapter", str(facts.adapter), "inferred")
    known = [a.statistics for a in arrays if a.statistics]
    if known:
        yield Fact("not finite", sum(s.nonfinite for s in known), "derived")
        yield Fact("largest magnitude", max(s.magnitude for s in known), "derived")
        yield Fact("norm", math.hypot(*(s.norm for s in known)), "derived", "of all weights")


def places(rows: Sequence[Entry], recognition: "Recognition | None") -> dict[str, list[Place]]:
    """Stored name -> its places in the network; in the order of the Spec, then of the file."""
    types, out = {e.name: e.dtype for e in rows}, {}
    beside = recognition.beside if recognition else {}
    if recognition:
        spec, pieces = recognition.spec, {p.name: p for p in recognition.packing.pieces}
        parts = collections.Counter(p.source for p in pieces.values())
        for layer in spec.layers:
            for a in layer.arrays:
                piece = pieces[a.name]
                report = ArrayReport(
                    name=piece.source,
                    part=a.name if parts[piece.source] > 1 else "",
                    dtype=types[piece.source],
                    shape=piece.shape,
                    layer=layer.name,
                    kind=layer.kind,
                    activation=layer.activation,
                    axes=a.axes,
                    hidden=tuple(x for x in a.axes if x in spec.hidden),
                )
                out.setdefault(piece.source, []).append(Place(report, piece, _writes(a)))
    for e in rows:
        if e.name not in out and e.kind != "auxiliary":
            kind = beside.get(e.name, e.dtype) if e.kind == "weight" else e.kind
            out[e.name] = [Place(ArrayReport(e.name, "", e.dtype, e.shape, kind=kind))]
    return out


def _writes(array: "Array") -> tuple[int, ...]:
    return array.writes if array.role == "kernel" else ()


def axes(recognition: "Recognition") -> tuple[AxisReport, ...]:
    """The hidden axes and their symmetries."""
    from wsjax.symmetries.signals import scaling_group

    spec, exact = recognition.spec, recognition.level == "exact"
    group = scaling_group(spec) if recognition.wired else None
    sizes, out = dict(spec.sizes), []
    for name, log10 in spec.orders.items():
        of = [f for f in group.factors.values() if name in f.axes] if group else []
        shifts = [p for p in group.phases.values() if name in p.axes] if group else []
        found = any(f.sign for f in of), any(f.scale for f in of), bool(shifts)
        known = (x or (False if exact and group else None) for x in found)
        out.append(AxisReport(name, sizes[name], log10, *known))
    return tuple(out)

"""`compare`: what two networks have in common, how far apart they are, and a verdict.

found = compare("a.safetensors", "b.safetensors")
found.verdict.name       "fine-tuned"
found.verdict.reason     the number that decided, and its threshold
found.raw, found.matched distances before and after alignment; `found.rows` by array
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from wsjax import checks
from wsjax.comparison import alignment, distances, verdicts
from wsjax.comparison.alignment import Alignment
from wsjax.comparison.cost import Cost, allow
from wsjax.comparison.distances import Chance, Distance, Sums
from wsjax.comparison.pairs import Pairs, conflict, pairs, size
from wsjax.comparison.sides import Side, Source, inputs, side
from wsjax.comparison.verdicts import Verdict
from wsjax.networks import Spec
from wsjax.recognition.drafting import OTHER
from wsjax.views.wiring import wired

Arrays = Mapping[str, np.ndarray]
DRAWS = 4  # misaligned copies of B that are aligned
GIGABYTES, MINUTES = 8.0, 60.0  # what alignment may take by default
GUESSED = 0.1  # minutes of one alignment, at most, where activations are guessed too
LEAST = 0.01  # share of the parameters that two networks must have in common
NORM = re.compile(r"norm|\bln|[._/]ln|scale|gamma|\bbn", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Row:
    """The distance of one array.

    Attributes:
        name: in A.
        other: in B.
        entries: how many numbers it has.
        raw: distance as stored.
        matched: after alignment; None without.
        offset: what was added to B's numbers first: 1 where B stores a norm's weight less one.
        ulps: largest relative difference in epsilons of the coarser type, as stored.
        ratio: of B's numbers to A's, smallest and largest; of vectors, else None.
    """

    name: str
    other: str
    entries: int
    raw: Distance
    matched: Distance | None
    offset: int
    ulps: float
    ratio: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks compared.

    Attributes:
        a: one.
        b: the other.
        pairs: what they have in common, and what not.
        verdict: what they are to each other.
        rows: by array that both have.
        raw: distance of all that both have, as stored.
        matched: after alignment; None if nothing was aligned.
        alignment: the aligned copy of B, in A's layout, and the symmetries; None likewise.
        chance: their correlation against that of permuted copies; None of the same weights.
        matched_chance: after alignment against misaligned copies; None where not needed.
        function_error: largest change of B's outputs by its alignment on random inputs, relative
            to the largest output; None if the function is not known.
        outputs: |A(x) - B(x)| / |A(x)| on random inputs; None likewise.
        cost: of one alignment; None if there is nothing to align.
        notes: a line each.
    """

    a: Side
    b: Side
    pairs: Pairs
    verdict: Verdict
    rows: tuple[Row, ...]
    raw: Distance
    matched: Distance | None = None
    alignment: Alignment | None = None
    chance: Chance | None = None
    matched_chance: Chance | None = None
    function_error: float | None = None
    outputs: float | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verdict.name}: {self.verdict.reason}"


def compare(
    a: Source,
    b: Source,
    *,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    matching: bool = True,
    gigabytes: float = GIGABYTES,
    minutes: float = MINUTES,
    progress: Callable[[str], object] = lambda text: None,
) -> Comparison:
    """Compares two networks, as stored and after their symmetries are matched.

    Args:
        a: path of a weights file, a network that was read, or (params, spec).
        b: likewise.
        branch: of files, as `files.load` takes it.
        config: of files, as `recognize` takes it: with the activation signs and scales are matched
            beside permutations.
        matching: whether symmetries are matched.
        gigabytes: memory that an alignment may take.
        minutes: time that an alignment may take.
        progress: receives a line before each step that may take long.

    Raises:
        FileNotFoundError, FileFormatError, ContentError, ValueError, TypeError: as `sides.side`.
        TooLargeError: alignment would take more; see `cost`.

    >>> import jax
    >>> from wsjax import architectures, testing
    >>> from wsjax.symmetries import permutations
    >>> spec = architectures.mlp([4, 16, 16, 3], "relu")
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> moved = permutations.act(permutations.sample(jax.random.key(1), spec), params, spec)
    >>> compare((params, spec), (moved, spec)).verdict.name
    'same function up to symmetry'
    """
    one, other = (side(x, branch, config) for x in (a, b))
    found = pairs(one, other)
    common = size(found.a) / max(size(one.params), size(other.params), 1)
    if common < LEAST:
        reason = (
            f"{100 * common:.2g} % of the parameters are in both by structure, or by name and "
            f"shape, expected {100 * LEAST:g} %"
        )
        verdict = Verdict("not comparable", reason, common, LEAST)
        nothing = Distance(float("nan"), float("nan"))
        return Comparison(
            one, other, found, verdict, (), nothing, notes=tuple(_notes(one, other, found, ()))
        )
    offsets = norm_offsets(found)
    theirs = {n: _plus(x, offsets.get(n, 0)) for n, x in found.b.items()}
    rows, raw = _rows(found, theirs, offsets)
    spec, notes = matchable(found)
    result = Comparison(
        one, other, found, Verdict("unrelated", "", 0.0, 0.0), rows, raw,
        notes=(*_notes(one, other, found, rows), *notes),
    )  # fmt: skip
    whole = not (found.only_a or found.only_b or found.reshaped)
    if whole and (same := _same(one, other, rows)):
        return dataclasses.replace(result, verdict=same)
    progress("correlations by chance")
    ours, standard = found.a, distances.standard(found.a)
    raw_chance = distances.permuted(standard, distances.standard(theirs), spec)
    result = dataclasses.replace(result, chance=raw_chance)
    if not matching or spec is None:
        verdict = _decided(found, common, raw_chance, None)
        if verdict.name not in verdicts.RELATED and whole and distances.rearranged(ours, theirs):
            reason = "every array holds the same numbers in both, in another order of neurons that "
            reason += "was not matched" if spec else "cannot be matched"
            verdict = Verdict("undecided", reason, 0.0, verdicts.ULPS)
        return dataclasses.replace(result, verdict=verdict, **_functions(result, theirs, None))
    price = allow(spec, 1, gigabytes, minutes)
    progress(f"matching: {price}")
    aligned = alignment.align(theirs, ours, spec, found.factors)
    rows, matched = _matched(rows, ours, aligned.params)
    result = dataclasses.replace(
        result, rows=rows, matched=matched, alignment=aligned, cost=price,
        **_functions(result, theirs, aligned.params),
    )  # fmt: skip
    furthest = _furthest(ours, theirs, aligned.params)
    if whole and found.by_structure and furthest <= verdicts.ROUNDING:
        reason = (
            f"after matching no array is further than {furthest:.2g} epsilons from A's, relative "
            f"to its norm; at most {verdicts.ROUNDING:g} is rounding"
        )
        verdict = Verdict(verdicts.SAME[2], reason, furthest, verdicts.ROUNDING)
        return dataclasses.replace(result, verdict=verdict)
    matched_chance = None
    if raw_chance.z < verdicts.Z and DRAWS * price.minutes <= minutes:
        progress(f"matching {DRAWS} misaligned copies")
        matched_chance = _misaligned(standard, ours, theirs, aligned.params, spec, found)
    elif raw_chance.z < verdicts.Z:
        more = f"{DRAWS} more alignments would take over {minutes:g} minutes"
        result = dataclasses.replace(result, notes=(*result.notes, f"in this order alone: {more}"))
    verdict = _decided(found, common, raw_chance, matched_chance)
    if verdict.name == "unrelated" and matched_chance and price.minutes <= GUESSED:
        verdict = _guessed(standard, ours, theirs, spec, matched_chance) or verdict
    return dataclasses.replace(result, verdict=verdict, matched_chance=matched_chance)


def _decided(found: Pairs, common: float, raw: Chance, matched: Chance | None) -> Verdict:
    verdict = verdicts.of_chance(raw, matched)
    if found.by_structure or common > 0.9999:
        return verdict
    text = f"on the {100 * common:.3g} % of the parameters that are in both: {verdict.reason}"
    return verdict._replace(reason=text)


def _plus(x: np.ndarray, offset: int) -> np.ndarray:
    return np.asarray(x, np.float64) + offset if offset else x


def norm_offsets(found: Pairs) -> dict[str, int]:
    """By norm vector of A, what is to be added to B's to make it A's throughout: 1 or -1."""
    arrays = found.spec.arrays if found.spec is not None else ()
    scales = {a.name for a in arrays if a.role == "scale"}
    out = {}
    for name, a in found.a.items():
        if a.size > 1 and (name in scales or (a.ndim == 1 and NORM.search(name))):
            x, y = (np.asarray(z, np.float64) for z in (a, found.b[name]))
            size = np.maximum(1, np.maximum(np.abs(x), np.abs(y)))
            rounding = distances.epsilon(a, found.b[name]) * size
            fits = [k for k in (1, -1) if (np.abs(y + k - x) <= rounding).all()]
            if fits:
                out[name] = fits[0]
    return out


def _rows(found: Pairs, theirs: Arrays, offsets) -> tuple[tuple[Row, ...], Distance]:
    rows, total = [], Sums()
    names = {p.a if p.part_a is None else p.b: p.b for p in found.pairs}
    for name, x in found.a.items():
        y = theirs[name]
        own = distances.sums(x, y)
        total = total.plus(own)
        ulps = 0.0 if name in offsets else distances.ulps(x, y)
        rows.append(
            Row(name, names.get(name, name), x.size, own.distance, None,
                offsets.get(name, 0), ulps, _ratio(x, y))
        )  # fmt: skip
    return tuple(rows), total.distance


def _ratio(x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    x, y = (np.asarray(z, np.float64) for z in (x, y))
    if x.ndim != 1 or not x.size or not x.all():
        return None
    return float((y / x).min()), float((y / x).max())


def _matched(rows, ours: Arrays, aligned: Arrays) -> tuple[tuple[Row, ...], Distance]:
    out, total = [], Sums()
    for row in rows:
        own = distances.sums(ours[row.name], aligned[row.name])
        total = total.plus(own)
        out.append(dataclasses.replace(row, matched=own.distance))
    return tuple(out), total.distance


def _same(one: Side, other: Side, rows) -> Verdict | None:
    """The verdict on networks of equal numbers; None on others."""
    listed = [{**s.stored, **(s.facts.buffers if s.facts else {})} for s in (one, other)]
    if listed[0].keys() == listed[1].keys() and all(
        distances.identical(x, listed[1][n]) for n, x in listed[0].items()
    ):
        return Verdict("identical", "all stored arrays have the same bits", 0.0, 0.0)
    ulps = max(r.ulps for r in rows)
    if ulps > verdicts.ULPS:
        return None
    reason = (
        f"numbers differ by at most {ulps:.2g} epsilons of the coarser type; at most "
        f"{verdicts.ULPS:g} is rounding"
    )
    return Verdict("same weights", reason, ulps, verdicts.ULPS)


def matchable(found: Pairs) -> tuple[Spec | None, tuple[str, ...]]:
    """The spec by which neurons can be matched, or None and why not."""
    if found.spec is None:
        return None, ()
    sizes = dict(found.spec.sizes)
    hidden = [h for h in found.spec.hidden if sizes[h] > 1]
    twice = [a.name for a in found.spec.arrays if any(a.axes.count(h) > 1 for h in hidden)]
    if twice:
        why = "reads and writes the same neurons, whose matching is no linear assignment"
        return None, (f"{twice[0]}: {why}; nothing is matched",)
    if not hidden:
        return None, ("no neurons that can be permuted are known; nothing is matched",)
    return found.spec, ()


def _furthest(ours: Arrays, theirs: Arrays, aligned: Arrays) -> float:
    """The largest distance of an aligned array, in epsilons of the coarser type."""
    most = 0.0
    for name, x in ours.items():
        own = distances.sums(x, aligned[name])
        norm = max(own.a, float(np.sum(np.square(np.asarray(theirs[name], np.float64))))) ** 0.5
        eps = distances.epsilon(x, theirs[name]) or 1e-16
        if theirs[name].dtype == np.float64 and x.dtype != np.float64:
            eps = distances.epsilon(x)  # it was computed by an offset
        most = max(most, own.difference**0.5 / norm / eps if norm else 0.0)
    return most


def _misaligned(standard, ours, theirs, aligned, spec: Spec, found: Pairs) -> Chance:
    rng = np.random.default_rng(0)
    double = {n: np.asarray(x, np.float64) for n, x in theirs.items()}

    def drawn():
        copy = distances.misaligned(double, spec, rng)
        moved = alignment.align(copy, ours, spec, found.factors).params
        return distances.correlation(standard, distances.standard(moved))

    value = distances.correlation(standard, distances.standard(aligned))
    return distances.chance(value, [drawn() for _ in range(DRAWS)])


def _guessed(standard, ours, theirs, spec: Spec, chance: Chance) -> Verdict | None:
    """The verdict if signs or scales, of activations that are not known, make networks alike."""
    if all(x.activation != OTHER for x in spec.layers) or not wired(spec):
        return None
    for act in ("tanh", "relu"):
        layers = (
            dataclasses.replace(x, activation=act) if x.activation == OTHER else x
            for x in spec.layers
        )
        guess = dataclasses.replace(spec, layers=tuple(layers))
        aligned = distances.standard(alignment.align(theirs, ours, guess).params)
        found = dataclasses.replace(chance, correlation=distances.correlation(standard, aligned))
        if found.excess >= verdicts.CLOSE:
            reason = (
                f"by permutations alone unrelated, but if their activations were {act}, their "
                f"correlation would be {found.correlation:.3f} after matching; give them "
                f"(--set activation={act})"
            )
            return Verdict("undecided", reason, found.excess, verdicts.CLOSE)
    return None


def _functions(result: Comparison, theirs: Arrays, aligned: Arrays | None) -> dict[str, Any]:
    """The effect of alignment on B's outputs, and the difference of A's and B's."""
    run, found = result.a.forward, result.pairs
    if run is None or not found.factors or found.spec is None:
        return {}
    x = inputs(found.a, found.spec)
    if x is None:
        return {}
    outputs = lambda p: np.asarray(run(single(p), x), np.float64)
    own, other = outputs(found.a), outputs(theirs)
    far = float(np.linalg.norm(own - other) / max(np.linalg.norm(own), 1e-30))
    if aligned is None:
        return {"outputs": far}
    return {"outputs": far, "function_error": change(outputs(aligned), other)}


def single(params: Arrays) -> dict[str, np.ndarray]:
    """Arrays in float32."""
    return {n: np.asarray(p, np.float32) for n, p in params.items()}


def change(moved: np.ndarray, before: np.ndarray) -> float:
    """The largest change of outputs, relative to the largest output."""
    return float(np.abs(moved - before).max() / max(np.abs(before).max(), 1e-30))


def _notes(one: Side, other: Side, found: Pairs, rows) -> Iterator[str]:
    yield from found.differences
    for name, s in (("A", one), ("B", other)):
        if s.facts and s.facts.adapter:
            yield f"{name}: {s.facts.adapter}; `files.effective` makes a network of it and its base"
    for name, s in (("A", one), ("B", other)):
        share = size(found.a if s is one else found.b) / max(size(s.params), 1)
        if share < 0.9999:
            yield f"{100 * share:.1f} % of {name}'s parameters are compared"
        if s.facts and s.facts.packed:
            count = sum(s.facts.packed.values())
            yield f"{name}: {count:,} parameters are packed integers, which are not compared"
    yield from unsettled(one, other, found)
    if moved := [r for r in rows if r.offset]:
        sign = "less" if moved[0].offset > 0 else "plus"
        names = checks.some("norm vector", [r.name for r in moved])
        yield f"{names}: B stores A's numbers {sign} one throughout (+1 recognised)"
    changed = [r for r in rows if r.ulps > verdicts.ULPS]
    if changed and len(changed) < len(rows) and all(r.ratio for r in changed):
        ratios = [r.ratio for r in changed]
        low, high = min(r[0] for r in ratios), max(r[1] for r in ratios)
        names = checks.some("array", [r.name for r in changed])
        yield f"only {names} differ: B is {low:.3g} to {high:.3g} times A there"


def unsettled(one: Side, other: Side, found: Pairs) -> Iterator[str]:
    """Settings of the networks' functions that are not known, as options of the command line."""

    def typed(found: re.Match[str]) -> str:
        pairs = re.findall(r"'(\w+)': '?([^',]+)'?", found[1])
        words = (f"--set {k}={v.lower() if v in ('True', 'False') else v}" for k, v in pairs)
        return " ".join(words) or found[0]

    for note in dict.fromkeys((*one.notes, *other.notes)):
        if "config" in note or "activation" in note:
            names = " and ".join(x for x, s in (("A", one), ("B", other)) if note in s.notes)
            yield f"{names}: {re.sub(r'config={([^}]*)}', typed, note)}"
    if found.by_structure and not found.factors:
        yield (
            "A and B have other activations or settings: their functions differ"
            if conflict(one.spec, other.spec)
            else "activations or settings are known of one of A and B alone, so that only "
            "permutations are matched"
        )

"""`match` and `merge`: a copy of B in A's neuron order, and the average of both.

    aligned = match("a.safetensors", "b.safetensors")     B's function, names, layout and types
    merged = merge("a.safetensors", "b.safetensors", 0.5) (1 - .5) A + .5 B', in A's layout
    write("c.safetensors", merged.stored)

Means and variances of a BatchNorm are averaged as all else. Those of the merged network's own
activations are others (Jordan et al., 2023, REPAIR): estimate them again before use.
"""

import dataclasses
import io
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wsjax import checks, storage
from wsjax.comparison import comparing, distances
from wsjax.comparison.alignment import Alignment, align
from wsjax.comparison.comparing import GIGABYTES, MINUTES, matchable
from wsjax.comparison.cost import Cost, allow
from wsjax.comparison.distances import Distance, Sums
from wsjax.comparison.pairs import Pairs, pairs
from wsjax.comparison.sides import Side, Source, inputs, side
from wsjax.symmetries import matching

Arrays = Mapping[str, np.ndarray]
Function = Callable[[Arrays, np.ndarray], Any]
ENDINGS = (".safetensors", ".npz")


class DifferentError(ValueError):
    """Two networks that cannot be aligned or averaged.

    Attributes:
        code: the exit code of the command line, that of a refusal.
    """

    code = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """A copy of B in the order, signs and scales of A's neurons.

    Attributes:
        stored: its arrays by B's names, in B's layout and types.
        raw: B's distance from A.
        matched: the copy's.
        alignment: the copy in A's layout, float64, and the symmetries.
        function_error: largest change of B's outputs on random inputs, relative to the largest
            output, rounding to B's types included; None if the function is not known.
        cost: of the alignment.
        notes: a line each.
    """

    stored: dict[str, np.ndarray]
    raw: Distance
    matched: Distance
    alignment: Alignment
    function_error: float | None
    cost: Cost
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Merged:
    """The average of A and B.

    Attributes:
        stored: its arrays by A's names, in A's layout and types.
        weight: of B.
        raw: distance of B from A.
        matched: that of the aligned copy; None of a plain average.
        statistics: arrays of running means and variances, which were averaged.
        barrier: of the loss on the line from A to B, as stored; None without data.
        matched_barrier: on the line to the aligned copy; None likewise.
        losses: of A, B and the merged network; None likewise.
        notes: a line each.
    """

    stored: dict[str, np.ndarray]
    weight: float
    raw: Distance
    matched: Distance | None
    statistics: tuple[str, ...]
    barrier: float | None
    matched_barrier: float | None
    losses: tuple[float, float, float] | None
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """Two networks of one architecture; B under A's names, in A's layout."""

    a: Side
    b: Side
    pairs: Pairs
    theirs: dict[str, np.ndarray]
    offsets: dict[str, int]
    raw: Distance
    notes: tuple[str, ...]

    def back(self, aligned: Arrays) -> dict[str, np.ndarray]:
        """Arrays in A's layout by B's names, in B's layout and types."""
        out = {}
        for p in self.pairs.pairs:
            plain = aligned[p.a] - self.offsets.get(p.a, 0)
            out[p.b] = plain.transpose(np.argsort(p.order))
        return with_buffers(self.b, self.b.unpacked(out))

    def again(self, stored: Arrays) -> dict[str, np.ndarray]:
        """Arrays by B's names, as rounded to B's types, in A's layout."""
        packed = self.b.packed(stored)
        return {
            p.a: np.asarray(packed[p.b], np.float64).transpose(p.order) + self.offsets.get(p.a, 0)
            for p in self.pairs.pairs
        }


def match(
    a: Source,
    b: Source,
    *,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    gigabytes: float = GIGABYTES,
    minutes: float = MINUTES,
    progress: Callable[[str], object] = lambda text: None,
) -> Aligned:
    """A copy of B with its neurons in A's order, and their signs and scales as in A.

    Args:
        a: as `compare` takes it.
        b: likewise, of the same architecture; names and storage orders may differ.
        branch: as in `compare`.
        config: as in `compare`.
        gigabytes: as in `compare`.
        minutes: as in `compare`.
        progress: as in `compare`.

    Raises:
        DifferentError: the architectures differ, or no neurons are known that can be permuted.
        TooLargeError: alignment would take more than the limits.
        FileNotFoundError, FileFormatError, ContentError, ValueError, TypeError: as `compare`.
    """
    ready = _ready(a, b, branch, config)
    aligned, price = _aligned(ready, gigabytes, minutes, progress)
    stored, error = ready.back(aligned.params), None
    written = ready.again(stored)
    x = inputs(ready.a.params, ready.a.spec) if ready.a.forward and ready.pairs.factors else None
    if x is not None and ready.a.forward is not None:
        run = lambda p: np.asarray(ready.a.forward(comparing.single(p), x), np.float64)
        error = comparing.change(run(written), run(ready.theirs))
    return Aligned(
        stored, ready.raw, _distance(ready.pairs.a, written),
        aligned, error, price, ready.notes,
    )  # fmt: skip


def merge(
    a: Source,
    b: Source,
    weight: float = 0.5,
    *,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    matching: bool = True,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    function: Function | None = None,
    gigabytes: float = GIGABYTES,
    minutes: float = MINUTES,
    progress: Callable[[str], object] = lambda text: None,
) -> Merged:
    """Interpolates two networks after B was aligned with A.

    Args:
        a: as `compare` takes it.
        b: likewise, of the same architecture.
        weight: of B, from 0 to 1.
        branch: as in `compare`.
        config: as in `compare`.
        matching: whether B is aligned first.
        data: inputs x [example, ...] and y, class indices [example] or targets; the loss is the
            cross entropy or the squared error. With it barriers are measured.
        function: params by A's stored names, x -> outputs; by default the recognised network's.
        gigabytes: as in `compare`.
        minutes: as in `compare`.
        progress: as in `compare`.

    Raises:
        DifferentError: the architectures differ, or nothing can be matched.
        ValueError: the weight is not from 0 to 1, or there is data and no function is known.
        TooLargeError, FileNotFoundError, FileFormatError, ContentError, TypeError: as `match`.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight: expected a number from 0 to 1, got {weight!r}")
    ready = _ready(a, b, branch, config)
    loss = None if data is None else _loss(ready.a, data, function)
    ours, aligned = ready.pairs.a, None
    if matching:
        aligned, _ = _aligned(ready, gigabytes, minutes, progress)
    theirs = ready.theirs if aligned is None else aligned.params
    double = lambda x: np.asarray(x, np.float64)
    mean = {n: (1 - weight) * double(x) + weight * double(theirs[n]) for n, x in ours.items()}
    stored, barriers, losses = ready.a.unpacked(mean), [None, None], None
    if loss is not None:
        progress("barriers")
        one, two, three = (comparing.single(p) for p in (ours, ready.theirs, theirs))
        merged = {n: np.asarray(x) for n, x in ready.a.packed(stored).items()}
        losses = loss(one), loss(two), loss(comparing.single(merged))
        barriers = [
            _barrier(loss, one, two),
            None if aligned is None else _barrier(loss, one, three),
        ]
    arrays = ready.a.spec.arrays
    return Merged(
        with_buffers(ready.a, stored), weight, ready.raw,
        None if aligned is None else _distance(ours, aligned.params),
        tuple(x.name for x in arrays if x.role in ("mean", "variance")),
        barriers[0], barriers[1], losses, ready.notes,
    )  # fmt: skip


def _ready(a: Source, b: Source, branch, config) -> _Ready:
    one, other = (side(x, branch, config) for x in (a, b))
    found = pairs(one, other)
    wrong = [*found.differences[:5]] if not found.by_structure else []
    if not found.by_structure and "opaque" in (one.level, other.level):
        plain = [{n: x.shape for n, x in s.stored.items()} for s in (one, other)]
        wrong = [] if plain[0] == plain[1] else wrong  # one architecture, whatever it is
    if wrong:
        raise DifferentError("\n  ".join(["A and B have different architectures:", *wrong]))
    for name, s in (("A", one), ("B", other)):
        if s.facts and s.facts.packed:
            packed = checks.some("array", list(s.facts.packed))
            raise DifferentError(f"{name}: {packed} packed, not read as numbers")
    offsets = comparing.norm_offsets(found)
    double = lambda x: np.asarray(x, np.float64)
    theirs = {n: double(x) + offsets.get(n, 0) for n, x in found.b.items()}
    notes = list(comparing.unsettled(one, other, found))
    for name, s in (("A", one), ("B", other)):
        if s.facts and s.facts.stripped:
            notes.append(f"{name}: names are written without {', '.join(s.facts.stripped)}")
        if s.facts and s.facts.computed:
            names = checks.some("array", list(s.facts.computed))
            notes.append(f"{name}: {names} computed from several stored ones")
    return _Ready(one, other, found, theirs, offsets, _distance(found.a, theirs), tuple(notes))


def _aligned(ready: _Ready, gigabytes, minutes, progress) -> tuple[Alignment, Cost]:
    spec, why = matchable(ready.pairs)
    if spec is None:
        reason = why or ready.pairs.differences or ("nothing can be matched",)
        raise DifferentError(f"{reason[0]}; --no-match averages as stored")
    price = allow(spec, 1, gigabytes, minutes)
    progress(f"matching: {price}")
    return align(ready.theirs, ready.pairs.a, spec, ready.pairs.factors), price


def _distance(ours: Arrays, theirs: Arrays) -> Distance:
    total = Sums()
    for name, x in ours.items():
        total = total.plus(distances.sums(x, theirs[name]))
    return total.distance


def _barrier(loss, one, other) -> float:
    return matching.barrier(loss, one, other)


def _loss(a: Side, data, function: Function | None) -> Callable[[Arrays], float]:
    """The mean loss of a network in A's layout on data."""
    x, y = (np.asarray(z) for z in data)
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        shapes = f"of shapes {x.shape} and {y.shape}"
        raise ValueError(f"data: expected as many y as x, at least one, got x and y {shapes}")
    for name, z in (("x", x), ("y", y)):
        if not np.isfinite(np.asarray(z, np.float64)).all():
            raise ValueError(f"data: expected finite numbers in {name}, got NaN or infinity")
    run, forward = function, a.forward
    if run is None and forward is None:
        raise ValueError(
            "the network's function is not known from names and shapes: give its settings "
            "(--set activation=relu; of convolutions stride, padding, max_pool and pool), or the "
            "function (--function module:name)"
        )

    def outputs(params):
        if run is not None:
            try:
                return run(a.unpacked(params), x)
            except Exception as error:
                raise ValueError(f"the function raised {type(error).__name__}: {error}") from error
        return forward(params, x.astype(np.float32))  # pyrefly: ignore

    def loss(params) -> float:
        z = np.asarray(outputs(params), np.float64)
        if np.issubdtype(y.dtype, np.integer) and z.ndim == y.ndim + 1:
            if y.min() < 0 or y.max() >= z.shape[-1]:
                raise ValueError(
                    f"data: expected classes y from 0 to {z.shape[-1] - 1}, as the network has "
                    f"{z.shape[-1]} outputs, got {y.min()} to {y.max()}"
                )
            top = z.max(-1, keepdims=True)
            scores = z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))
            return float(-np.take_along_axis(scores, y[..., None], -1).mean())
        if z.shape != y.shape:
            raise ValueError(f"data: expected y of the outputs' shape {z.shape}, got {y.shape}")
        return float(np.mean((z - y) ** 2))

    return loss


def with_buffers(s: Side, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays with those of the file that are no weights, such as counters of batches."""
    return arrays | (dict(s.facts.buffers) if s.facts else {})


def write(path: str | os.PathLike, arrays: Arrays) -> None:
    """Writes arrays as safetensors or, by the path's ending, as `.npz`; all of them or nothing.

    Raises:
        ValueError: another ending, or a type that the format does not have.
    """
    import safetensors.numpy

    path = pathlib.Path(path)
    check_ending(path)
    whole = {n: np.ascontiguousarray(x).reshape(np.shape(x)) for n, x in arrays.items()}
    if path.suffix == ".safetensors":
        storage.write_bytes(path, safetensors.numpy.save(whole))
        return
    if foreign := sorted({str(x.dtype) for x in whole.values() if x.dtype.kind == "V"}):
        raise ValueError(f"{path}: .npz has no {', '.join(foreign)}; write .safetensors")
    buffer = io.BytesIO()
    np.savez(buffer, **whole)  # pyrefly: ignore
    storage.write_bytes(path, buffer.getvalue())


def check_ending(path: pathlib.Path) -> None:
    """Raises a `ValueError` of a path whose ending names no format that is written."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(ENDINGS)}")

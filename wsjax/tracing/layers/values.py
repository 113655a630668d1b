"""Values on a walk over a jaxpr: constants, weights and data, and what their axes come from.

    x @ kernel        data [batch, inputs]      weight [inputs, h]      data [batch, h]
    axes              no origin                 kernel 0, kernel 1      -, kernel 1

An axis is a product of *atoms*; each knows the stored axes of parameters that it comes from.
An axis of data with an origin is one of channels, the others are positions.
"""

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

Part = tuple[tuple[int, int, int], ...]  # (stored axis, start, stop), of a stacked parameter
INPUT = 0  # the node of the network's inputs


class Source(NamedTuple):
    """A parameter, or a part of it."""

    parameter: int
    part: Part = ()


class Origin(NamedTuple):
    """A stored axis of a parameter."""

    source: Source
    axis: int


class Atom(NamedTuple):
    """A factor of an axis.

    Attributes:
        size: of the factor.
        origins: the stored axes it comes from.
        stack: whether it numbers copies of one signal, side by side.
    """

    size: int
    origins: frozenset[Origin] = frozenset()
    stack: bool = False

    def of(self, size: int) -> "Atom":
        """A part of this atom."""
        return self._replace(size=size)


Axis = tuple[Atom, ...]
Dims = tuple[Axis, ...]


@dataclasses.dataclass(frozen=True)
class Use:
    """A parameter, or a part of it, at its first use.

    Attributes:
        parameter: its number.
        part: along these stored axes, only from start to stop: one step of a scan.
        role: one of `networks.ROLES`.
        reads: stored axes that are contracted with the data.
        writes: stored axes that go on to the output.
        blocks: (stored axis, n): its first factor n is read as well as written, a block diagonal.
    """

    parameter: int
    part: Part
    role: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Const:
    """A value that neither parameters nor inputs change; `value` is a number if all are equal."""

    value: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Weight:
    """A value that parameters alone change.

    Attributes:
        dims: its axes.
        terms: for each parameter how it enters: "root" below a root or a quotient,
            "times" another, "straight" as it is.
        inner: stored axes that were contracted between parameters.
    """

    dims: Dims
    terms: dict[Source, frozenset[str]]
    inner: frozenset[Origin] = frozenset()


@dataclasses.dataclass(frozen=True)
class Stat:
    """How a value depends on all of a signal, not on one number at a time.

    Attributes:
        inner: if it is a plain reduction, the numbers that are reduced, as of `Data.value`.
        outer: and a function of their reduction.
        kind: and which: "sum", "max" or another.
        odd: True if it changes sign with the signal, False if it does not, None if neither.
        root: whether it was divided by a root.
        mean: whether a sum of an odd function was added or subtracted.
        known: whether it is made of sums, products and roots alone.
        reduced: (number of channels that are left apart, whether positions were reduced, whether
            channels were) of every reduction.
        uses: of parameters that multiply it already.
    """

    inner: np.ndarray | None
    outer: np.ndarray | None
    kind: str
    odd: bool | None
    root: bool = False
    mean: bool = False
    known: bool = True
    reduced: frozenset[tuple[int, bool, bool]] = frozenset()
    uses: tuple[tuple[Use, ...], ...] = ()


@dataclasses.dataclass(frozen=True)
class Data:
    """A value that the network's inputs change.

    Attributes:
        dims: its axes.
        base: the node it is computed from, entry by entry.
        value: the function of the base's entries, at `elementwise.GRID`; None with a `stat`.
        view: which of the base's entries: values of equal views are aligned.
        stat: how it depends on other entries of the base.
        whole: whether it is the input, or whole numbers computed from whole numbers of it.
    """

    dims: Dims
    base: int
    value: np.ndarray | None
    view: tuple[Hashable, ...] = ()
    stat: Stat | None = None
    whole: bool = False

    @property
    def free(self) -> bool:
        """Whether no parameter changes it."""
        return self.base == INPUT


Value = Const | Weight | Data


def fresh(shape: Sequence[int]) -> Dims:
    """Axes without an origin."""
    return tuple((Atom(n),) for n in shape)


def stored(source: Source, shape: Sequence[int]) -> Dims:
    """The axes of a parameter."""
    return tuple((Atom(n, frozenset([Origin(source, i)])),) for i, n in enumerate(shape))


def origins(axis: Iterable[Atom]) -> frozenset[Origin]:
    """All origins of an axis."""
    return frozenset().union(*(a.origins for a in axis))


def channel(axis: Axis) -> bool:
    """Whether an axis of data has channels."""
    return bool(origins(axis))


def whole(axis: Axis, size: int) -> Axis:
    """An axis as one atom."""
    return (Atom(size, origins(axis), all(a.stack for a in axis) and bool(axis)),)


def size(axis: Axis) -> int:
    """How many entries an axis has."""
    return math.prod(a.size for a in axis)


def aligned(one: Axis, two: Axis) -> list[tuple[Atom, Atom]]:
    """Atoms of two axes of one size side by side, split where needed.

    >>> [(a.size, b.size) for a, b in aligned((Atom(6),), (Atom(2), Atom(3)))]
    [(2, 2), (3, 3)]
    """
    first, second = ([a for a in x if a.size > 1] for x in (one, two))
    out = []
    while first and second:
        a, b = first[0], second[0]
        common = math.gcd(a.size, b.size)
        if common < min(a.size, b.size):  # they have no common factors
            rest = [size(tuple(x)) for x in (first, second)]
            return [*out, (whole(tuple(first), rest[0])[0], whole(tuple(second), rest[1])[0])]
        out.append((a.of(common), b.of(common)))
        first = ([a.of(a.size // common)] if a.size > common else []) + first[1:]
        second = ([b.of(b.size // common)] if b.size > common else []) + second[1:]
    return out


def joined(one: Axis, two: Axis) -> Axis:
    """The axis of a sum of two values, or of what broadcasts to it."""
    sizes = [size(one), size(two)]
    if sizes[0] != sizes[1]:
        return one if sizes[0] > sizes[1] else two
    if sizes[0] == 1:
        return (Atom(1, origins(one) | origins(two)),)
    return tuple(
        Atom(a.size, a.origins | b.origins, a.stack and b.stack) for a, b in aligned(one, two)
    )


def together(parts: Sequence[Dims]) -> Dims:
    """The axes of an elementwise function of several values."""
    out = parts[0]
    for dims in parts[1:]:
        if len(dims) != len(out):
            out = max(out, dims, key=len)
        else:
            out = tuple(joined(a, b) for a, b in zip(out, dims, strict=True))
    return out


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims:
    """The axes after a reshape, row by row; one whole axis where sizes are not known."""
    have = [size(axis) for axis in dims]
    if math.prod(have) != math.prod(shape):
        every = whole(tuple(a for axis in dims for a in axis), 1)[0]
        return tuple((every.of(n),) for n in shape)
    if [n for n in have if n > 1] == [n for n in shape if n > 1]:  # axes of one come and go
        long = iter([axis for axis, n in zip(dims, have, strict=True) if n > 1])
        ones = [axis for axis, n in zip(dims, have, strict=True) if n == 1]
        same = sum(n == 1 for n in shape) == len(ones)
        short = iter(ones if same else ())
        return tuple(next(long) if n > 1 else next(short, (Atom(1),)) for n in shape)
    atoms, out = [a for axis in dims for a in axis if a.size > 1], []
    for k, n in enumerate(shape):
        axis, left = [], n
        while left > 1:
            a = atoms[0]
            common = math.gcd(a.size, left)
            if common < min(a.size, left):
                rest = whole(tuple(atoms), n)[0]
                return (*out, *((rest.of(m),) for m in shape[k:]))
            axis.append(a.of(common))
            left //= common
            atoms = ([a.of(a.size // common)] if a.size > common else []) + atoms[1:]
        out.append(tuple(axis) or (Atom(1),))
    return tuple(out)

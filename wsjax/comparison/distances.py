"""Distances between arrays, and the correlation that two networks have by chance.

relative    |A - B| / |A|, Euclidean norms
cosine      <A, B> / |A| |B|
ulps        the largest |A_i - B_i| / max(|A_i|, |B_i|), in units of the coarser type's epsilon
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wsjax.networks import Spec
from wsjax.symmetries import matching
from wsjax.symmetries.permutations import shapes

Arrays = Mapping[str, np.ndarray]
WORK = 4e9  # numbers that the draws of one null distribution read, about
DRAWS = (20, 200)  # of a null distribution, at least and at most


class Distance(NamedTuple):
    """The distance of one array, or of all, from A's.

    Attributes:
        relative: |A - B| / |A|; infinite if A is zero and B is not.
        cosine: of the angle between them; NaN if one is zero.
    """

    relative: float
    cosine: float


class Sums(NamedTuple):
    """Sums over the numbers of arrays of A and B; they add up.

    Attributes:
        a: of A's squares.
        b: of B's.
        both: of the products.
        difference: of the squares of A - B.
    """

    a: float = 0.0
    b: float = 0.0
    both: float = 0.0
    difference: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        """The sums over both."""
        return Sums(*(x + y for x, y in zip(self, other, strict=True)))

    @property
    def distance(self) -> Distance:
        """As a `Distance`."""
        norms = math.sqrt(self.a), math.sqrt(self.b)
        far = 0.0 if self.difference == 0 else math.inf
        return Distance(
            math.sqrt(self.difference) / norms[0] if norms[0] else far,
            self.both / (norms[0] * norms[1]) if all(norms) else math.nan,
        )


def sums(a: np.ndarray, b: np.ndarray) -> Sums:
    """The sums of one array [*shape] of A and of B."""
    x, y = (np.asarray(z, np.float64).ravel() for z in (a, b))
    d = x - y
    return Sums(float(x @ x), float(y @ y), float(x @ y), float(d @ d))


def epsilon(*arrays: np.ndarray) -> float:
    """The epsilon of the coarsest type; zero of integers."""
    kinds = [x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    return max((float(jnp.finfo(d).eps) for d in kinds), default=0.0)


def ulps(a: np.ndarray, b: np.ndarray) -> float:
    """The largest relative difference of two numbers, in epsilons of the coarser type.

    Rounding to that type moves a number by half of one at most. What lies below its smallest
    normal number is within rounding too.
    """
    kinds = [jnp.finfo(x.dtype) for x in (a, b) if jnp.issubdtype(x.dtype, jnp.floating)]
    if not kinds or not a.size:
        return 0.0 if np.array_equal(a, b) else math.inf
    eps, least = max(float(k.eps) for k in kinds), max(float(k.tiny) for k in kinds)
    x, y = (np.asarray(z, np.float64) for z in (a, b))
    size = np.maximum(np.maximum(np.abs(x), np.abs(y)), least)
    return float((np.abs(x - y) / size).max() / eps)


def identical(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have one type and the same bits."""
    bits = lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return a.dtype == b.dtype and a.shape == b.shape and bool((bits(a) == bits(b)).all())


class Standard(NamedTuple):
    """Arrays of mean zero and norm one, and the share of each in a correlation.

    Attributes:
        arrays: [*shape], by name; constant ones are left out.
        shares: of the numbers of all that are kept in both networks.
    """

    arrays: dict[str, np.ndarray]
    shares: dict[str, float]


def standard(params: Arrays) -> dict[str, np.ndarray]:
    """Each array with mean zero and norm one; constant ones are left out."""
    out = {}
    for name, x in params.items():
        y = np.asarray(x, np.float64)
        y = y - y.mean() if y.size else y
        norm = float(np.linalg.norm(y))
        if norm > 1e-12 * max(1.0, float(np.abs(np.asarray(x, np.float64)).max(initial=0))):
            out[name] = (y / norm).astype(np.float32)
    return out


def correlation(a: Arrays, b: Arrays) -> float:
    """Pearson's correlation of two networks, the mean of those of their arrays.

    Weighted by the number of entries; constant arrays are left out.

    Args:
        a: arrays as of `standard`.
        b: likewise.
    """
    names = [n for n in a if n in b]
    total = sum(a[n].size for n in names)
    parts = (a[n].size / total * float(np.vdot(a[n], b[n])) for n in names)
    return sum(parts, 0.0)


@dataclasses.dataclass(frozen=True)
class Chance:
    """A correlation against those that chance gives.

    Attributes:
        correlation: of the two networks.
        mean: by chance.
        deviation: standard deviation by chance.
        most: of all draws.
        draws: how many.
        digits: logarithm to base ten of how many orders of the neurons can be drawn.
    """

    correlation: float
    mean: float
    deviation: float
    most: float
    draws: int
    digits: float = math.inf

    @property
    def z(self) -> float:
        """How many standard deviations the correlation lies above chance."""
        return (self.correlation - self.mean) / max(self.deviation, 1e-12)

    @property
    def reach(self) -> float:
        """`z` of a copy: the most that can come out."""
        return (1 - self.mean) / max(self.deviation, 1e-12)

    @property
    def excess(self) -> float:
        """The share of the way from the largest by chance to one; 1 of a copy."""
        return (self.correlation - self.most) / max(1 - self.most, 1e-12)


def chance(value: float, draws) -> Chance:
    """A correlation against drawn ones."""
    draws = np.asarray(list(draws))
    return Chance(
        value, float(draws.mean()), float(draws.std(ddof=1)), float(draws.max()), len(draws)
    )


def permuted(a: Arrays, b: Arrays, spec: Spec | None, seed: int = 0) -> Chance:
    """The correlation of two networks against those of A with permuted copies of B.

    Hidden neurons of networks that were initialised and trained independently are exchangeable:
    B in any other order of its neurons is as likely as B. So the correlation of unrelated networks
    is one more draw from that of A with randomly permuted copies of B, which have B's function,
    whatever task, architecture and input statistics they share. Only arrays with a hidden axis
    count. Without hidden axes every array's entries are permuted along each of its axes, which
    also destroys what networks of one task share.

    Args:
        a: arrays as of `standard`.
        b: likewise.
        spec: of both, or None.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sizes = dict(spec.sizes) if spec is not None else {}
    movable = [h for h in spec.hidden if sizes[h] > 1] if spec is not None else []
    names = [n for n in a if n in b]
    axes = {x.name: x.axes for x in spec.arrays} if spec is not None else {}
    if movable:
        names = [n for n in names if set(axes[n]) & set(movable)]
    a, b = ({n: p[n] for n in names} for p in (a, b))
    total = max(sum(x.size for x in a.values()), 1)
    draws = int(np.clip(WORK / total, *DRAWS))
    found = chance(
        correlation(a, b),
        [correlation(a, _shuffled(b, spec, movable, rng)) for _ in range(draws)],
    )
    if spec is None or not movable:
        return found
    digits = min(_digits(p, spec, movable) for p in (a, b))
    return dataclasses.replace(found, digits=digits)


def _digits(params: Arrays, spec: Spec, movable) -> float:
    """The logarithm of how many orders of a network's neurons differ: equal ones are one."""
    outer, total = dict(spec.nested), 0.0
    for h in movable:
        total += spec.orders[h]
        arrays = [x for x in spec.arrays if x.name in params and h in x.axes and h not in outer]
        rows = (np.moveaxis(params[x.name], x.axes.index(h), 0) for x in arrays)
        neurons = zip(*([hash(row.tobytes()) for row in x] for x in rows), strict=True)
        total -= sum(math.lgamma(n + 1) for n in Counter(neurons).values()) / math.log(10)
    return total


def rearranged(a: Arrays, b: Arrays) -> bool:
    """Whether every array of both holds the same numbers up to rounding, in any order."""
    ordered = (ulps(np.sort(x, axis=None), np.sort(b[n], axis=None)) <= 1 for n, x in a.items())
    return all(ordered)


def _shuffled(b: Arrays, spec: Spec | None, movable, rng) -> dict[str, np.ndarray]:
    """B with its hidden neurons in another order, or its arrays in any."""
    if spec is None or not movable:
        return {n: _scattered(x, range(x.ndim), rng) for n, x in b.items()}
    element, outer = _element(spec, rng), dict(spec.nested)
    arrays = [x for x in spec.arrays if x.name in b]
    return {x.name: matching.permute(b[x.name], x.axes, element, outer) for x in arrays}


def _element(spec: Spec, rng) -> dict[str, np.ndarray]:
    """A uniform permutation of every hidden axis."""
    return {
        h: rng.permuted(np.broadcast_to(np.arange(s[-1]), s), axis=-1)
        for h, s in shapes(spec).items()
    }


def _scattered(x: np.ndarray, axes, rng) -> np.ndarray:
    for i in axes:
        x = x.take(rng.permutation(x.shape[i]), axis=i)
    return x


def misaligned(b: Arrays, spec: Spec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """B with the neurons of its hidden axes in another order in every array.

    Arrays keep their entries and what they are within a layer; how layers are connected is lost.
    """
    outer = dict(spec.nested)
    return {
        x.name: matching.permute(b[x.name], x.axes, _element(spec, rng), outer) for x in spec.arrays
    }

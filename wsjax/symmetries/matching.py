"""Weight matching: permute a network's hidden neurons to match those of a reference.

Of equal functions the weights differ by permutations of hidden neurons. Sought is the
permutation g that brings `act(g, params)` nearest to the reference in L2: the one of
largest inner product. With all hidden axes but one held fixed this is a linear
assignment, solved exactly (Ainsworth et al., 2023, "Git Re-Basin", 3.2 and algorithm 1):

    maximise over permutations g_h    sum_i C[i, g_h[i]]
    C[i, j] = sum over arrays with h of <reference at neuron i, params at neuron j>

A *sweep* does so for every hidden axis once; sweeps follow until nothing improves.

Axes nested in another, as dimensions in attention heads, are matched together with it: C[i, j]
is then of head i of the reference and head j of the network with its dimensions matched to
those of head i, and each head keeps the dimensions it was assigned with.

Deviations: algorithm 1 starts from the order as given. We also start from a permutation grown
axis by axis, where an axis not yet matched is summed out of C, and keep the better result.
So a permuted copy is matched exactly, if its neurons differ in such sums.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from wsjax import checks, networks
from wsjax.networks import Params, Spec
from wsjax.symmetries.permutations import Element


def match(
    params: Params,
    reference: Params,
    spec: Spec,
    sweeps: int = 100,
    key: jax.Array | None = None,
) -> Element:
    """The permutation that brings a network near a reference.

    Args:
        params: one network, arrays [*shape].
        reference: another of the same spec.
        spec: meaning of the arrays; no array has a hidden axis twice.
        sweeps: at most so many over all hidden axes, from each of the two starts.
        key: for the order of the axes in each sweep; None keeps the order of `spec.hidden`.

    Returns:
        g such that `permutations.act(g, params, spec)` is near `reference`. A local optimum: no
        permutation of a single axis improves it, unless the sweeps ran out.

    Raises:
        ValueError: a network does not match the spec, an array has a hidden axis twice (its
            assignment would be quadratic), or sweeps are below 0.

    >>> from wsjax import architectures, testing
    >>> from wsjax.symmetries import permutations
    >>> spec = architectures.mlp([2, 4, 1])
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> g = {"h0": jnp.array([2, 0, 3, 1])}
    >>> match(permutations.act(g, params, spec), params, spec)["h0"].tolist()
    [1, 3, 0, 2]
    """
    _check_linear(spec)
    if sweeps < 0:
        raise ValueError(f"expected a number of sweeps, got {sweeps}")
    for x in (params, reference):
        networks.check(x, spec)
        for a in spec.arrays:
            if np.ndim(x[a.name]) != len(a.axes):
                raise ValueError(
                    f"expected one network, without batch axes, got {a.name} {x[a.name].shape}"
                )
    seed = None if key is None else int(jax.random.bits(key))
    element = _match(_pair(params, reference, spec), sweeps, seed)
    return {h: jnp.asarray(element[h].astype(np.int32)) for h in spec.hidden}


def align(vectors: np.ndarray, reference: np.ndarray, spec: Spec) -> np.ndarray:
    """Matches every network of a zoo with the reference, each on its own; functions stay.

    For the "MLP + Alignment" baseline of Navon et al. (2023).

    Args:
        vectors: [network, entry], as `ravel` gives.
        reference: [entry], most often one of the networks.
        spec: meaning of the entries; as in `match`.

    Returns:
        [network, entry], the entries of each network in another order.

    Raises:
        ValueError: as in `match`, or the shapes are others.
    """
    _check_linear(spec)
    vectors, reference = np.asarray(vectors), np.asarray(reference)
    if vectors.ndim != 2 or vectors.shape[1] != spec.count or reference.shape != (spec.count,):
        raise ValueError(
            f"expected vectors [network, {spec.count}] and a reference [{spec.count}], "
            f"got {vectors.shape} and {reference.shape}"
        )
    for x in (vectors, reference):
        networks.check(networks.unravel(x, spec), spec)
    theirs, places = networks.unravel(reference, spec), networks.offsets(spec)
    out, outer = np.empty_like(vectors), dict(spec.nested)
    for i, vector in enumerate(vectors):
        element = _match(_pair(networks.unravel(vector, spec), theirs, spec))
        moved = {a.name: permute(places[a.name], a.axes, element, outer) for a in spec.arrays}
        out[i] = vector[networks.ravel(moved, spec)]
    return out


def barrier(
    loss: Callable[[Params], float],
    a: Mapping[str, jax.Array],
    b: Mapping[str, jax.Array],
    points: int = 11,
) -> float:
    """Loss barrier on the straight line between two networks.

    The largest, over t in [0, 1], of loss((1 - t) a + t b) - ((1 - t) loss(a) + t loss(b))
    (Entezari et al., 2022). Zero if the loss is nowhere above its chord.

    Args:
        loss: params -> a number.
        a: one network, arrays [*shape].
        b: another with the same arrays.
        points: values of t, evenly spaced, both ends included.

    Returns:
        The barrier, at least zero, in the loss's units; NaN if a loss is not finite.

    Raises:
        ValueError: the arrays differ in name or shape, or fewer than three points.
    """
    shapes = [{name: np.shape(x) for name, x in p.items()} for p in (a, b)]
    names = sorted({*a, *b})
    wrong = [f"{n}: {shapes[0].get(n, 'absent')} and {shapes[1].get(n, 'absent')}"
             for n in names if shapes[0].get(n) != shapes[1].get(n)]  # fmt: skip
    checks.raise_all("expected two networks of one shape, got", wrong)
    if points < 3:
        raise ValueError(f"expected at least three points, both ends included, got {points}")
    ends = float(loss(a)), float(loss(b))
    rises = [0.0]  # at both ends, without rounding
    for t in np.linspace(0, 1, points)[1:-1].tolist():
        middle = {name: (1 - t) * a[name] + t * b[name] for name in names}
        rises.append(float(loss(middle)) - ((1 - t) * ends[0] + t * ends[1]))
    return max(rises) if np.isfinite([*ends, *rises]).all() else math.nan


def _check_linear(spec):
    """Raises `ValueError` if the matching of an axis is no linear assignment."""
    for a in spec.arrays:
        if twice := [h for h in spec.hidden if a.axes.count(h) > 1]:
            raise ValueError(
                f"{a.name}: expected each hidden axis at most once, got {twice[0]!r} "
                f"{a.axes.count(twice[0])} times in {a.axes}; its matching is no linear assignment"
            )


class _Pair(NamedTuple):
    """Two networks, of which the first is matched: arrays [*shape] of float64, and their axes.

    `hidden` has the sizes of the axes to match, `outer` the axis around each nested one.
    """

    ours: list[np.ndarray]
    theirs: list[np.ndarray]
    axes: list[tuple[str, ...]]
    hidden: dict[str, int]
    outer: dict[str, str]


def _pair(params, reference, spec) -> _Pair:
    sizes = dict(spec.sizes)
    doubles = lambda p: [np.asarray(p[a.name], np.float64) for a in spec.arrays]
    axes, hidden = [a.axes for a in spec.arrays], {h: sizes[h] for h in spec.hidden}
    return _Pair(doubles(params), doubles(reference), axes, hidden, dict(spec.nested))


def _match(pair, sweeps=100, seed=None) -> dict[str, np.ndarray]:
    whole, grown = [h for h in pair.hidden if h not in pair.outer], {}
    for h in whole:
        grown |= _step(h, pair, grown)[0]
    if all(sum(a in whole for a in axes) < 2 for axes in pair.axes) and not pair.outer:
        return grown  # no axis depends on another: exact
    start = {h: np.arange(n) for h, n in pair.hidden.items()}
    start |= {h: np.tile(start[h], (pair.hidden[o], 1)) for h, o in pair.outer.items()}
    optima = [_sweep(element, whole, pair, sweeps, seed) for element in (start, grown)]
    return max(optima, key=lambda element: _similarity(element, pair))


def _sweep(element, axes, pair, sweeps, seed):
    """Coordinate descent from an element, until no axis improves or the sweeps run out."""
    order, now = np.random.default_rng(seed), axes
    for _ in range(sweeps):
        improved = False
        if seed is not None:
            now = [axes[i] for i in order.permutation(len(axes))]
        for h in now:
            new, gain = _step(h, pair, element)
            if gain > 0:
                element, improved = element | new, True
        if not improved:
            break
    return element


def _step(axis, pair, element):
    """The best permutations of an axis and of those within it, all others held.

    Returns:
        Them, and how much more similar they are than the element's; 0 if that is rounding.
    """
    part = _along(axis, pair, element)
    count = pair.hidden[axis]
    rows, scores = np.arange(count), np.zeros((count, count))
    if part.hidden:
        held, tables = _nested(part, scores, element.get(axis), element)
    else:
        for x, y in zip(part.ours, part.theirs, strict=True):
            scores += y.reshape(count, -1) @ x.reshape(count, -1).T
        held, tables = scores[rows, element[axis]] if axis in element else None, {}
    order = linear_sum_assignment(scores, maximize=True)[1]
    new = {axis: order} | {h: table[rows, order] for h, table in tables.items()}
    if held is None:
        return new, 0.0
    gain = scores[rows, order].sum() - held.sum()
    return new, gain if gain > 1e-12 * np.abs(scores).max() * count else 0.0


def _nested(part, scores, order, element):
    """Matches what lies within each pair of neurons of an axis, which all arrays have in front.

    Writes their inner products to `scores`, [neuron of theirs, neuron of ours].

    Returns:
        [neuron of theirs]: those of the element, whose axis is `order`, if it has the axis; and by
        inner axis the permutations that match, [neuron of theirs, neuron of ours, size].
    """
    count, held = len(scores), None if order is None else np.zeros(len(scores))
    tables = {h: np.zeros((count, count, n), int) for h, n in part.hidden.items()}
    for i, j in itertools.product(range(count), repeat=2):
        two = part._replace(ours=[x[j] for x in part.ours], theirs=[y[i] for y in part.theirs])
        best = _match(two)
        scores[i, j] = _similarity(best, two)
        if held is not None and order[i] == j:
            now = {h: element[h][i] for h in part.hidden}
            held[i] = _similarity(now, two)
            if held[i] > scores[i, j]:  # both are local optima
                scores[i, j], best = held[i], now
        for h, permutation in best.items():
            tables[h][i, j] = permutation
    return held, tables


def _along(axis, pair, element) -> _Pair:
    """The arrays with an axis, it in front; axes within it remain to be matched.

    The other axes are permuted by `element`; hidden ones that it lacks are summed out.
    """
    inner = {h: pair.hidden[h] for h, outer in pair.outer.items() if outer == axis}
    others = {h: p for h, p in element.items() if h != axis and h not in inner}
    part = _Pair([], [], [], inner, {})
    for x, y, axes in zip(pair.ours, pair.theirs, pair.axes, strict=True):
        if axis not in axes:
            continue
        lacking = pair.hidden.keys() - others.keys() - inner.keys() - {axis}
        unknown, at = tuple(i for i, a in enumerate(axes) if a in lacking), axes.index(axis)
        x = permute(x, axes, others, pair.outer)
        if unknown:
            x, y = (z.sum(unknown, keepdims=True) for z in (x, y))
        part.ours.append(np.ascontiguousarray(np.moveaxis(x, at, 0)))
        part.theirs.append(np.ascontiguousarray(np.moveaxis(y, at, 0)))
        part.axes.append(axes[:at] + axes[at + 1 :])
    return part


def _similarity(element, pair) -> float:
    """The inner product of both networks, the first permuted."""
    arrays = zip(pair.ours, pair.theirs, pair.axes, strict=True)
    return sum(float(np.vdot(permute(x, a, element, pair.outer), y)) for x, y, a in arrays)


def permute(
    array: np.ndarray,
    axes: tuple[str, ...],
    element: Mapping[str, np.ndarray],
    outer: Mapping[str, str],
) -> np.ndarray:
    """One array [*axes] of `permutations.act`, in NumPy, for thousands of networks.

    Args:
        array: of one network.
        axes: their names.
        element: permutations by axis; those of other arrays' axes are ignored.
        outer: the axis around each nested one.
    """
    for i, h in enumerate(axes):
        if h in element and h not in outer:
            array = array.take(element[h], axis=i)
    for i, h in enumerate(axes):
        if h in element and h in outer:  # by rows of the outer axis, now in place
            around = axes.index(outer[h])
            shape = [n if k in (i, around) else 1 for k, n in enumerate(array.shape)]
            table = element[h] if around < i else element[h].T
            array = np.take_along_axis(array, table.reshape(shape), axis=i)
    return array

"""Weight matching: permute a network's hidden neurons to match those of a reference.

Of equal functions the weights differ by permutations of hidden neurons. Sought is the
permutation g that brings `act(g, params)` nearest to the reference in L2: the one of
largest inner product. With all hidden axes but one held fixed this is a linear
assignment, solved exactly (Ainsworth et al., 2023, "Git Re-Basin", 3.2 and algorithm 1):

    maximise over permutations g_h    sum_i C[i, g_h[i]]
    C[i, j] = sum over arrays with h of <reference at neuron i, params at neuron j>

A *sweep* does so for every hidden axis once; sweeps follow until nothing improves.

Deviations: algorithm 1 starts from the order as given. We also start from a permutation grown
axis by axis, where an axis not yet matched is summed out of C, and keep the better result.
So a permuted copy is matched exactly, if its neurons differ in such sums.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from wsjax import checks, networks
from wsjax.networks import Array, Params, Spec
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
        ValueError: a network does not match the spec, or an array has a hidden axis twice
            (its assignment would be quadratic), or an axis is nested in another.

    >>> from wsjax import architectures, testing
    >>> from wsjax.symmetries import permutations
    >>> spec = architectures.mlp([2, 4, 1])
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> g = {"h0": jnp.array([2, 0, 3, 1])}
    >>> match(permutations.act(g, params, spec), params, spec)["h0"].tolist()
    [1, 3, 0, 2]
    """
    _check_linear(spec)
    for x in (params, reference):
        networks.check(x, spec)
        for a in spec.arrays:
            if np.ndim(x[a.name]) != len(a.axes):
                raise ValueError(
                    f"expected one network, without batch axes, got {a.name} {x[a.name].shape}"
                )
    seed = None if key is None else int(jax.random.bits(key))
    element = _match(_doubles(params, spec), _doubles(reference, spec), spec, sweeps, seed)
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
    theirs, places = _doubles(networks.unravel(reference, spec), spec), networks.offsets(spec)
    out = np.empty_like(vectors)
    for i, vector in enumerate(vectors):
        element = _match(_doubles(networks.unravel(vector, spec), spec), theirs, spec)
        moved = {a.name: _permute(places[a.name], a, element) for a in spec.arrays}
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
    if spec.nested:
        raise ValueError(
            "matching supports permutations of whole axes; "
            + ", ".join(f"axis {inner!r} is nested in {outer!r}" for inner, outer in spec.nested)
        )
    for a in spec.arrays:
        if twice := [h for h in spec.hidden if a.axes.count(h) > 1]:
            raise ValueError(
                f"{a.name}: expected each hidden axis at most once, got {twice[0]!r} "
                f"{a.axes.count(twice[0])} times in {a.axes}; its matching is no linear assignment"
            )


def _doubles(params, spec):
    return {a.name: np.asarray(params[a.name], np.float64) for a in spec.arrays}


def _match(ours, theirs, spec, sweeps=100, seed=None) -> dict[str, np.ndarray]:
    sizes, grown = dict(spec.sizes), {}
    for h in spec.hidden:
        grown[h] = _assign(_similarities(h, ours, theirs, spec, grown))
    optima = []
    for start in ({h: np.arange(sizes[h]) for h in spec.hidden}, grown):
        element = _sweep(start, ours, theirs, spec, sweeps, seed)
        moved = ((_permute(ours[a.name], a, element), theirs[a.name]) for a in spec.arrays)
        optima.append((sum(float(np.vdot(x, y)) for x, y in moved), element))
    return max(optima, key=lambda pair: pair[0])[1]


def _sweep(element, ours, theirs, spec, sweeps, seed):
    """Coordinate descent from an element, until no axis improves or the sweeps run out."""
    element, axes = dict(element), list(spec.hidden)
    order = np.random.default_rng(seed)
    for _ in range(sweeps):
        improved = False
        if seed is not None:
            axes = [spec.hidden[i] for i in order.permutation(len(spec.hidden))]
        for h in axes:
            scores = _similarities(h, ours, theirs, spec, element)
            rows, new = np.arange(len(scores)), _assign(scores)
            gain = scores[rows, new].sum() - scores[rows, element[h]].sum()
            if gain > 1e-12 * np.abs(scores).max() * len(scores):  # not rounding
                element[h], improved = new, True
        if not improved:
            break
    return element


def _similarities(axis, ours, theirs, spec, element) -> np.ndarray:
    """[neuron of theirs, neuron of ours]: inner products over all arrays with the axis.

    The other axes are permuted by `element`; hidden ones that it lacks are summed out.
    """
    size, others = dict(spec.sizes)[axis], {h: p for h, p in element.items() if h != axis}
    total = np.zeros((size, size))
    for a in spec.arrays:
        if axis not in a.axes:
            continue
        x, y = _permute(ours[a.name], a, others), theirs[a.name]
        unknown = tuple(
            i for i, h in enumerate(a.axes) if h in spec.hidden and h != axis and h not in element
        )
        at = a.axes.index(axis)
        if unknown:
            x, y = (z.sum(unknown, keepdims=True) for z in (x, y))
        x, y = (np.moveaxis(z, at, 0).reshape(size, -1) for z in (x, y))
        total += y @ x.T
    return total


def _assign(scores) -> np.ndarray:
    return linear_sum_assignment(scores, maximize=True)[1]


def _permute(array: np.ndarray, a: Array, element) -> np.ndarray:
    """One array [*shape] of `permutations.act`, in NumPy, for thousands of networks."""
    for i, h in enumerate(a.axes):
        if h in element:
            array = array.take(element[h], axis=i)
    return array

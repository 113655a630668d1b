"""Renumberings of hidden neurons: sample, act, compose, invert.

A hidden neuron has no identity. Renumbering the neurons of a hidden axis, in every
array that has the axis, leaves the network's function as it is (Hecht-Nielsen, 1990).

    g = {"h0": [2, 0, 1]}       neuron 0 of act(g, p) is neuron 2 of p

Two forms of the one action. By name, on `Params`: `sample`, `act`, `compose`,
`inverse`. By position, on `ravel`'s vector: `moves` says once, in NumPy, which entries
of the vector a permutation carries, and `shuffle` samples and acts inside a jitted
step; moves are arrays, so networks of several architectures share one compiled step.
"""

import functools
import math
import zlib

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Params, Spec, offsets

Element = dict[str, jax.Array]  # hidden axis -> permutation of its neurons


def sample(key: jax.Array, spec: Spec) -> Element:
    """One uniform renumbering per hidden axis."""
    sizes = dict(spec.sizes)
    keys = {h: jax.random.fold_in(key, zlib.crc32(h.encode())) for h in spec.hidden}
    return {h: jax.random.permutation(keys[h], sizes[h]) for h in spec.hidden}


def identity(spec: Spec) -> Element:
    """The renumbering that changes nothing."""
    sizes = dict(spec.sizes)
    return {h: jnp.arange(sizes[h]) for h in spec.hidden}


def act(element: Element, params: Params, spec: Spec) -> Params:
    """Renumbers a network's hidden neurons; its function is unchanged.

    Args:
        element: permutations by hidden axis, as from `sample`.
        params: arrays [..., *axes of the spec].
        spec: what the arrays mean.

    Returns:
        The same network, written down in another order.

    Raises:
        ValueError: the element permutes an axis that is not hidden, or has another
            number of neurons than the spec.
    """
    if strange := sorted(set(element) - set(spec.hidden)):
        raise ValueError(f"expected permutations of the hidden axes {spec.hidden}, got {strange}")
    sizes = dict(spec.sizes)
    for axis, p in element.items():
        if p.shape != (sizes[axis],):
            raise ValueError(
                f"{axis!r}: expected a permutation of {sizes[axis]} neurons, got {p.shape}"
            )
    out = {}
    for a in spec.arrays:
        array = params[a.name]
        for i, axis in enumerate(a.axes):
            if axis in element:
                array = jnp.take(array, element[axis], axis=i - len(a.axes))
        out[a.name] = array
    return out


def compose(second: Element, first: Element) -> Element:
    """The renumbering that does `first`, then `second`.

    `act(compose(g, f), p) == act(g, act(f, p))`.
    """
    if set(first) != set(second):
        raise ValueError(f"expected the same axes, got {sorted(first)} and {sorted(second)}")
    return {axis: first[axis][second[axis]] for axis in first}


def inverse(element: Element) -> Element:
    """The renumbering that undoes `element`."""
    return {axis: jnp.argsort(p) for axis, p in element.items()}


@flax.struct.dataclass
class Moves:
    """How permutations of the hidden axes move the entries of `ravel`'s vector.

    Entry i has the coordinate `coordinate[i, k]` along its k-th hidden axis, which is
    row `axis[i, k]` of the table of hidden axes; one neuron further along that axis
    lies `stride[i, k]` entries further in the vector. Unused k, and padding, have
    stride 0. A batch of several architectures has one more axis in front of all.

    Attributes:
        axis: [entry, k] row of `sizes`.
        coordinate: [entry, k] neuron.
        stride: [entry, k] step in the vector.
        sizes: [axis] number of neurons; padding has none.
        width: largest size, the same for all of a batch (static).
    """

    axis: np.ndarray
    coordinate: np.ndarray
    stride: np.ndarray
    sizes: np.ndarray
    width: int = flax.struct.field(pytree_node=False)


@functools.lru_cache(maxsize=256)
def moves(spec: Spec) -> Moves:
    """The `Moves` of a spec."""
    rows, sizes = {h: i for i, h in enumerate(spec.hidden)}, dict(spec.sizes)
    places = offsets(spec)
    hidden = {a.name: [i for i, x in enumerate(a.axes) if x in rows] for a in spec.arrays}
    depth = max([1, *map(len, hidden.values())])
    axis, coordinate, stride = (np.zeros((spec.count, depth), np.int32) for _ in range(3))
    for a in spec.arrays:
        shape, at = spec.shape(a), places[a.name].ravel()
        grid = np.indices(shape).reshape(len(shape), -1)
        for k, i in enumerate(hidden[a.name]):
            axis[at, k] = rows[a.axes[i]]
            coordinate[at, k] = grid[i]
            stride[at, k] = math.prod(shape[i + 1 :])
    counts = np.array([sizes[h] for h in spec.hidden] or [0], np.int32)
    return Moves(axis, coordinate, stride, counts, width=int(max(counts.max(), 1)))


def pad(layout: Moves, entries: int, depth: int, axes: int, width: int) -> Moves:
    """The same moves in larger arrays; padding stays in place.

    Raises:
        ValueError: something does not fit.
    """
    have = (*layout.axis.shape, len(layout.sizes), layout.width)
    room = (entries, depth, axes, width)
    if any(h > r for h, r in zip(have, room, strict=True)):
        raise ValueError(f"moves of (entries, depth, axes, width) {have} do not fit {room}")
    grow = ((0, entries - have[0]), (0, depth - have[1]))
    parts = (np.pad(x, grow) for x in (layout.axis, layout.coordinate, layout.stride))
    return Moves(*parts, np.pad(layout.sizes, (0, axes - have[2])), width=width)


def shuffle(key: jax.Array, vector: jax.Array, layout: Moves) -> jax.Array:
    """Renumbers the hidden neurons of a raveled network uniformly at random.

    Args:
        key: randomness.
        vector: [entry], one network; `vmap` for more.
        layout: its `moves`, without a batch axis.

    Returns:
        [entry], the same function.
    """
    # A key per axis, so that an axis draws the same numbers however large the padding.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(layout.sizes.shape[0]))
    draws = jax.vmap(lambda k: jax.random.uniform(k, (layout.width,)))(keys)
    real = jnp.arange(layout.width) < jnp.asarray(layout.sizes)[:, None]
    permutations = jnp.argsort(jnp.where(real, draws, 2.0), axis=1)
    target = permutations[layout.axis, layout.coordinate]
    steps = jnp.where(layout.stride == 0, 0, target - layout.coordinate)
    return vector[jnp.arange(vector.shape[0]) + (steps * layout.stride).sum(1)]

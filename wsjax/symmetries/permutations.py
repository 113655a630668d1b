"""Permutations of hidden neurons: sample, act, compose, invert.

A permutation of the neurons of a hidden axis, applied to every array that has the axis,
preserves the network's function (Hecht-Nielsen, 1990).

    g = {"h0": [2, 0, 1]}       neuron 0 of act(g, p) is neuron 2 of p

An axis nested within another has a permutation of its own within each neuron of the outer
axis: a table, one row for each neuron of the outer axis *after* its permutation:

    g = {"head": [1, 0], "v": [[2, 0, 1], [0, 2, 1]]}
    dimension j of head i of act(g, p) is dimension g["v"][i, j] of head g["head"][i] of p

Two forms of the one action. By name, on `Params`: `sample`, `act`, `compose`,
`inverse`. By position, on `ravel`'s vector: `moves` is computed once, in NumPy: where
each entry of the vector goes. `shuffle` samples and acts inside a jitted step; moves are
arrays, so networks of several architectures share one compiled step.
"""

import functools
import math
import zlib
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Params, Spec, check_shapes, expect_spec, offsets
from wsjax.summaries import summary
from wsjax.views import padding

Element = dict[str, jax.Array]  # hidden axis -> permutation of its neurons


def shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """For each hidden axis, the shape of its permutations: [size] or, nested, [outer, size]."""
    sizes, outer = dict(spec.sizes), dict(spec.nested)
    return {h: (*([sizes[outer[h]]] if h in outer else []), sizes[h]) for h in spec.hidden}


def sample(key: jax.Array, spec: Spec) -> Element:
    """One uniform permutation per hidden axis."""
    expect_spec(spec)
    out = {}
    for h, shape in shapes(spec).items():
        own = jax.random.fold_in(key, zlib.crc32(h.encode()))
        order = jnp.broadcast_to(jnp.arange(shape[-1]), shape)
        out[h] = jax.random.permutation(own, order, axis=-1, independent=len(shape) > 1)
    return out


def identity(spec: Spec) -> Element:
    """The permutation that changes nothing."""
    return {h: jnp.broadcast_to(jnp.arange(s[-1]), s) for h, s in shapes(spec).items()}


def act(element: Element, params: Params, spec: Spec) -> Params:
    """Permutes a network's hidden neurons; its function is unchanged.

    Args:
        element: permutations by hidden axis, as from `sample`.
        params: arrays [..., *axes of the spec].
        spec: meaning of the arrays.

    Returns:
        The same function, with neurons in another order.

    Raises:
        ValueError: the element permutes an axis that is not hidden, or is no permutation of as
            many neurons as the spec has (traced ones are checked for shape alone); or the
            network does not match its spec.
        TypeError: these are no named arrays, or no spec.
    """
    check_shapes(params, spec)
    if strange := sorted(set(element) - set(spec.hidden)):
        raise ValueError(f"expected permutations of the hidden axes {spec.hidden}, got {strange}")
    want, outer = shapes(spec), dict(spec.nested)
    element = {axis: jnp.asarray(p) for axis, p in element.items()}
    for axis, p in element.items():
        if p.shape != want[axis] or not jnp.issubdtype(p.dtype, jnp.integer):
            raise ValueError(
                f"{axis!r}: expected permutations {want[axis]} of its neurons, got {p.shape} "
                f"{p.dtype}"
            )
        if not isinstance(p, jax.core.Tracer) and (np.sort(p) != np.arange(p.shape[-1])).any():
            raise ValueError(
                f"{axis!r}: expected permutations of 0..{p.shape[-1] - 1}, got {p.tolist()}"
            )
    out = {}
    for a in spec.arrays:
        array, last = params[a.name], len(a.axes)
        for i, axis in enumerate(a.axes):
            if axis in element and axis not in outer:
                array = jnp.take(array, element[axis], axis=i - last)
        for i, axis in enumerate(a.axes):
            if axis in element and axis in outer:  # by rows of the outer axis, now in place
                around = a.axes.index(outer[axis])
                table = element[axis] if around < i else element[axis].T
                shape = [1] * array.ndim
                shape[around - last], shape[i - last] = want[axis]
                array = jnp.take_along_axis(array, table.reshape(shape), axis=i - last)
        out[a.name] = array
    return out


def compose(second: Element, first: Element, spec: Spec) -> Element:
    """The permutation that does `first`, then `second`.

    `act(compose(g, f, spec), p, spec) == act(g, act(f, p, spec), spec)`.

    Raises:
        ValueError: the two do not name the same axes.
    """
    if set(first) != set(second):
        raise ValueError(f"expected the same axes, got {sorted(first)} and {sorted(second)}")
    outer, out = dict(spec.nested), {}
    for axis, p in first.items():
        if axis in outer and outer[axis] in second:
            p = p[second[outer[axis]]]
        out[axis] = jnp.take_along_axis(p, second[axis], axis=-1)
    return out


def inverse(element: Element, spec: Spec) -> Element:
    """The permutation that undoes `element`."""
    outer, out = dict(spec.nested), {}
    for axis, p in element.items():
        undone = jnp.argsort(p, axis=-1)
        if axis in outer and outer[axis] in element:
            undone = undone[jnp.argsort(element[outer[axis]])]
        out[axis] = undone
    return out


def movable(spec: Spec) -> list[str]:
    """The hidden axes with more than one neuron."""
    sizes = dict(spec.sizes)
    return [h for h in spec.hidden if sizes[h] > 1]


def derange(key: jax.Array, params: Params, spec: Spec) -> Element:
    """A random permutation in which no neuron of an axis of two or more stays in place.

    Each axis gets a random cycle through all its neurons. A uniform permutation leaves one
    neuron in place on average, which hides that an encoder depends on its index.

    Raises:
        ValueError: there is no such axis, or all neurons are equal.
    """
    if not (axes := movable(spec)):
        raise ValueError("nothing to permute: expected a hidden axis of at least two neurons")
    element = {}
    for h, p in sample(key, spec).items():
        if h in axes:
            cycle = jnp.roll(p, 1, axis=-1)
            element[h] = jnp.take_along_axis(cycle, jnp.argsort(p, axis=-1), axis=-1)
    moved = act(element, params, spec)
    if all(np.array_equal(moved[a.name], params[a.name]) for a in spec.arrays):
        raise ValueError("permutations move nothing: all neurons of the network are equal")
    return element


@flax.struct.dataclass
class Moves:
    """Moves of the entries of `ravel`'s vector under permutations of the hidden axes.

    Entry i has the coordinate `coordinate[i, k]` along its k-th hidden axis, which is
    row `axis[i, k]` of the table of permutations (a nested axis has a row for each
    neuron of the outer one, every other axis has one); one neuron further along that axis
    lies `stride[i, k]` entries further in the vector. Unused k, and padding, have
    stride 0. A batch of several architectures has one more axis in front of all.

    Attributes:
        axis: [entry, k] row of the table, as of `sizes`.
        coordinate: [entry, k] neuron.
        stride: [entry, k] step in the vector.
        sizes: [row] number of neurons; padding has none.
        width: largest size, the same for all of a batch (static).
    """

    axis: np.ndarray
    coordinate: np.ndarray
    stride: np.ndarray
    sizes: np.ndarray
    width: int = flax.struct.field(pytree_node=False)

    __repr__ = summary


@functools.lru_cache(maxsize=256)
def moves(spec: Spec) -> Moves:
    """The `Moves` of a spec."""
    rows, counts, outer = {}, [], dict(spec.nested)
    for h, shape in shapes(spec).items():
        rows[h] = len(counts)
        counts += [shape[-1]] * math.prod(shape[:-1])
    places = offsets(spec)
    hidden = {a.name: [i for i, x in enumerate(a.axes) if x in rows] for a in spec.arrays}
    depth = max([1, *map(len, hidden.values())])
    axis, coordinate, stride = (np.zeros((spec.count, depth), np.int32) for _ in range(3))
    for a in spec.arrays:
        shape, at = spec.shape(a), places[a.name].ravel()
        grid = np.indices(shape).reshape(len(shape), -1)
        for k, i in enumerate(hidden[a.name]):
            axis[at, k] = rows[a.axes[i]]
            if a.axes[i] in outer:
                axis[at, k] += grid[a.axes.index(outer[a.axes[i]])]
            coordinate[at, k] = grid[i]
            stride[at, k] = math.prod(shape[i + 1 :])
    table = np.array(counts or [0], np.int32)
    return Moves(axis, coordinate, stride, table, width=int(max(table.max(), 1)))


def pad(layout: Moves, entries: int, depth: int, axes: int, width: int) -> Moves:
    """The same moves in larger arrays; padding stays in place.

    Raises:
        ValueError: the moves are larger.
    """
    have = (*layout.axis.shape, len(layout.sizes), layout.width)
    want = (entries, depth, axes, width)
    if any(n > most for n, most in zip(have, want, strict=True)):
        raise ValueError(f"moves of (entries, depth, axes, width) {have} do not fit {want}")
    grow = ((0, entries - have[0]), (0, depth - have[1]))
    axis, coordinate, stride = (
        np.pad(x, grow) for x in (layout.axis, layout.coordinate, layout.stride)
    )
    sizes = padding.rows(layout.sizes, axes, 0)
    return Moves(axis, coordinate, stride, sizes, width=width)


def stack(layouts: Sequence[Moves], entries: int) -> Moves:
    """Moves of several networks, padded to one size, with a batch axis.

    Raises:
        ValueError: a network has more than so many entries.
    """
    sizes = [(x.axis.shape[1], len(x.sizes), x.width) for x in layouts]
    depth, axes, width = map(max, zip(*sizes, strict=True))
    return padding.stack([pad(x, entries, depth, axes, width) for x in layouts])


def shuffle(key: jax.Array, vector: jax.Array, layout: Moves) -> jax.Array:
    """Permutes the hidden neurons of a raveled network uniformly at random.

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

"""Spatial parameter grids: tables of features, looked up at coordinates.

A grid lies on [-1, 1]^d, its first and last entries on the border; coordinates outside
count as on the border. In between, features are interpolated linearly from the 2^d
entries around.

    grid        [*cells, feature]                d coordinates, one axis each
    triplane    [plane, row, column, feature]    3 coordinates: planes (0, 1), (0, 2), (1, 2),
                                                 features summed (Chan et al., 2022)
    hash        [entry, feature]                 one level of a hash grid: entry of a cell by
                                                 row-major order, or by hash where the table is
                                                 smaller than the grid (Mueller et al., 2022)
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp

PLANES = ((0, 1), (0, 2), (1, 2))
PRIMES = (1, 2654435761, 805459861)  # Mueller et al., 2022, section 3


def look_up(kind: str, table: jax.Array, x: jax.Array, resolution: int | None = None) -> jax.Array:
    """The features of a grid at coordinates.

    Args:
        kind: "grid", "triplane" or "hash".
        table: as above.
        x: [..., coordinate].
        resolution: cells along each axis, of a hash grid.

    Returns:
        [..., feature].

    Raises:
        ValueError: a hash grid has no resolution.
    """
    if kind == "hash":
        if resolution is None:
            raise ValueError("expected the resolution of a hash grid, got none")
        return hashed(table, x, resolution)
    if kind == "triplane":
        planes = [grid(table[i], x[..., list(pair)]) for i, pair in enumerate(PLANES)]
        return planes[0] + planes[1] + planes[2]
    return grid(table, x)


def grid(table: jax.Array, x: jax.Array) -> jax.Array:
    """Interpolates a dense grid [*cells, feature] at x [..., coordinate]."""
    corners = _around(x, table.shape[:-1])
    return functools.reduce(jnp.add, (w[..., None] * table[tuple(index)] for index, w in corners))


def hashed(table: jax.Array, x: jax.Array, resolution: int) -> jax.Array:
    """Interpolates one level of a hash grid, table [entry, feature], at x [..., coordinate]."""
    shape = (resolution + 1,) * x.shape[-1]
    entry = lambda index: _entry(index, shape, table.shape[0])
    parts = (w[..., None] * table[entry(index)] for index, w in _around(x, shape))
    return functools.reduce(jnp.add, parts)


def entries(resolution: int, coordinates: int, largest: int) -> int:
    """The size of a hash grid's table for one level: no larger than the level's grid."""
    return min((resolution + 1) ** coordinates, largest)


def _entry(index, shape, size):
    if size == math.prod(shape):
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        return sum(i * s for i, s in zip(index, strides, strict=True))
    mixed = jnp.uint32(0)
    for i, prime in zip(index, PRIMES, strict=False):
        mixed = mixed ^ (i.astype(jnp.uint32) * jnp.uint32(prime))
    return (mixed % jnp.uint32(size)).astype(jnp.int32)


def _around(x, shape):
    """For each corner of the cell around x: its index by axis, and its weight [...]."""
    last = [n - 1 for n in shape]
    low, part = [], []
    for i, n in enumerate(last):
        u = jnp.clip((x[..., i] + 1) * (n / 2), 0, n)
        floor = jnp.clip(jnp.floor(u), 0, max(n - 1, 0))
        low.append(floor.astype(jnp.int32))
        part.append(u - floor)
    for corner in itertools.product((0, 1), repeat=len(shape)):
        index = [jnp.minimum(i + c, n) for i, c, n in zip(low, corner, last, strict=True)]
        factors = (p if c else 1 - p for p, c in zip(part, corner, strict=True))
        yield index, functools.reduce(jnp.multiply, factors)

"""The maximum, with a gradient that goes to one of equal entries.

JAX gives the gradient of `max` to the entries that equal the maximum, divided by their number.
Where a compiler computes an entry twice and rounds differently, none does, and 0 / 0 is NaN.
Here halves are compared with each other, so that it always goes to one entry.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def larger(first: jax.Array, second: jax.Array) -> jax.Array:
    """The larger of two, entry by entry; NaN if one is."""
    return jnp.where((second > first) | jnp.isnan(second), second, first)


def largest(x: jax.Array, axis: Sequence[int]) -> jax.Array:
    """The maximum over axes, NaN if an entry is.

    >>> largest(jnp.arange(10).reshape(2, 5), (1,)).tolist()
    [4, 9]
    """
    x = jnp.moveaxis(x, axis, range(len(axis)))
    x = x.reshape(-1, *x.shape[len(axis) :])
    while (count := len(x)) > 1:
        half = count // 2
        x = jnp.concatenate([larger(x[:half], x[half : 2 * half]), x[2 * half :]])
    return x[0]

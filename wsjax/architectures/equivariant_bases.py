"""Bases of the linear maps that are equivariant to a group (Lim et al., appendix B).

    X -> sum_i B_i X W_i        X [position, channel], B_i [position, position], eq. 5

A basis is a function X [..., position, channel] -> all B_i X [..., basis, position, channel];
the matrices themselves are not needed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Basis(NamedTuple):
    """A basis: `apply`, and the `count` of its maps on a number of positions."""

    count: Callable[[int], int]
    apply: Callable[[jax.Array], jax.Array]


def _with_sum(x):
    return jnp.stack([x, jnp.broadcast_to(x.sum(-2, keepdims=True), x.shape)], axis=-3)


def _with_mean(x):
    return jnp.stack([x, jnp.broadcast_to(x.mean(-2, keepdims=True), x.shape)], axis=-3)


def _rotations(x):
    """Every cyclic shift: position j of map i is position j - i of x."""
    return jnp.stack([jnp.roll(x, i, axis=-2) for i in range(x.shape[-2])], axis=-3)


BASES = {
    "deepsets": Basis(lambda n: 2, _with_sum),  # permutations: I and 11^T, eq. 6
    "deepsets_mean": Basis(lambda n: 2, _with_mean),  # the same with 11^T / n
    "cyclic": Basis(lambda n: n, _rotations),  # rotations: the n circulants
}

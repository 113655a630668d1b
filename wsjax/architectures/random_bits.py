"""Cheap random bits that any loop can draw, the same under `vmap` and alone."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp


def scramble(numbers: jax.Array) -> jax.Array:
    """uint32 to uint32, one to one, each bit of a result depending on all that came in.

    The two-multiplication mixer of Wellons (2018), `lowbias32`.
    """
    x = numbers ^ (numbers >> 16)
    x = x * jnp.uint32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def scrambled(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """uint32 of the given shape, for dropout and the like.

    Threefry counts its bits out five times slower on a CPU, which would double the time of
    a small network's step. Two words of it start two rounds of `scramble` here.
    """
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    numbers = jax.lax.iota(jnp.uint32, math.prod(shape))
    return scramble(scramble(numbers + first) ^ second).reshape(shape)

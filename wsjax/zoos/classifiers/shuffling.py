"""Shuffles that need no memory: where one position of a shuffled deck comes from.

    rounds = shuffle(key)                    a shuffle
    cards = shuffled(rounds, positions, n)   the cards at some positions of a deck of n

Thousands of networks in one program each shuffle images of their own, as many as they have,
at every epoch; sorting random numbers for each would need an array of all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wsjax.architectures import random_bits

ROUNDS = 48


class Rounds(NamedTuple):
    """A shuffle: `pivots` and `seeds`, each [rounds] uint32."""

    pivots: jax.Array
    seeds: jax.Array


def shuffle(key: jax.Array) -> Rounds:
    """A shuffle from a key."""
    return Rounds(*jax.random.bits(key, (2, ROUNDS), jnp.uint32))


def shuffled(rounds: Rounds, positions: jax.Array, n: int | jax.Array) -> jax.Array:
    """The cards at some positions of a shuffled deck: a permutation of 0..n - 1.

    Swap-or-not (Hoang, Morris and Rogaway, 2012): each round pairs the cards whose sum is
    a random number modulo n, and swaps a pair or not by a random bit of its own.

    Args:
        rounds: the shuffle.
        positions: [...] int32, each in 0..n - 1.
        n: cards; may be traced.

    Returns:
        [...] int32.
    """
    size = jnp.asarray(n).astype(jnp.uint32)

    def swap(cards, one):
        pivot, seed = one
        partner = (pivot % size) + size - cards
        partner = jnp.where(partner >= size, partner - size, partner)
        word = random_bits.scramble(
            random_bits.scramble(jnp.maximum(cards, partner) + seed) ^ pivot
        )
        return jnp.where(word >> 31 == 1, partner, cards), None

    cards, _ = jax.lax.scan(swap, positions.astype(jnp.uint32), rounds)
    return cards.astype(jnp.int32)

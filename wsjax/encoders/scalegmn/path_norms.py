"""Path norms: bounds of the sum that reaches a neuron (Neyshabur et al., 2015).

    r_i^2  =  |b_i|^2 + sum_j w_ij^2 r_j^2          inputs: r = 1

Summed over all paths that lead to the neuron, the squares of the products of their weights.
Multiplying neuron i by s_i multiplies r_i by |s_i|, and nothing else: hence

    w_ij r_j / r_i         has no scales, and is at most 1
    w_ij (r_j / r_i)^2     has those of 1 / w_ij, and is finite where w_ij is zero. For all
                           weights of a neuron without bias together it is the pseudoinverse
                           of their row, w / |w|^2, if they come from inputs

With the second in place of a weight, sums over the neurons that read j carry the scale of j.
If x_i is r_i^2 dL/dz_i, they are r_j^2 dL/dh_j: a backward pass.
"""

import jax
import jax.numpy as jnp


def path_norms(
    own: jax.Array, weight: jax.Array, sender: jax.Array, receiver: jax.Array, steps: int
) -> jax.Array:
    """Path norms of neurons, with finite gradients; NaN where they overflow.

    What is below the fourth-fifths power of the smallest normal number (1e-30 in single
    precision) counts as zero.

    Args:
        own: [node row, lane, feature] what neurons add of their own: biases; 1 of inputs.
        weight: [pair row, lane, channel] weights of pairs.
        sender: [pair row] row of the neuron it starts from.
        receiver: [pair row] row of the neuron it ends at.
        steps: pairs of the longest path; where pairs go round, how often they are followed.

    Returns:
        [node row, lane, 1], not negative.
    """
    begin, each = _length(own), _length(weight)
    count = len(begin)

    def follow(_, norms):
        terms = each * norms[sender]
        top = jnp.maximum(begin, jax.ops.segment_max(terms, receiver, count))
        top, some = _divisor(top)
        square = jax.ops.segment_sum(jnp.square(terms / top[receiver]), receiver, count)
        return _root(top, some, jnp.square(begin / top) + square)

    return jax.lax.fori_loop(0, steps, follow, begin)


def reciprocals(
    norms: jax.Array, weight: jax.Array, sender: jax.Array, receiver: jax.Array
) -> jax.Array:
    """Weights in place of 1 / w, w (r_j / r_i)^2: [pair row, lane, channel]. Arguments as there.

    It is 0 where r_j / r_i, whose square is its slope, is above the square root of the largest
    number, or nearly (1e17 in single precision).
    """
    start, end = norms[sender], norms[receiver]
    some = ~(end <= start * float(jnp.finfo(norms.dtype).tiny) ** 0.45)  # NaN stays
    ratio = jnp.where(some, start, 0) / jnp.where(some, end, 1)
    return weight * ratio * ratio


def _length(x):
    top, some = _divisor(jnp.abs(x).max(-1, keepdims=True, initial=0))
    return _root(top, some, jnp.square(x / top).sum(-1, keepdims=True))


def _divisor(top):
    """The largest entry, a constant to gradients, or 1 where it counts as zero."""
    top = jax.lax.stop_gradient(top)
    some = top > float(jnp.finfo(top.dtype).tiny) ** 0.8
    return jnp.where(some, top, 1), some


def _root(top, some, square):
    return jnp.where(some, top * jnp.sqrt(jnp.where(some, square, 1)), 0)

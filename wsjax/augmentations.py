"""Augmentations: disturbed copies of raveled networks.

    noise(key, vectors, 0.2)    every entry moved a little
    mask(key, vectors, 0.5)     every other entry, by chance, set to zero

Neither preserves a network's function, unlike the renumberings of `wsjax.symmetries`; a
learner that treats copies as the network they were made of must know how much may change
before the function is another one. Vectors are [entry] or have axes in front; all entries
are disturbed independently. Both run under `jit` and `vmap`.
"""

import jax
import jax.numpy as jnp


def noise(
    key: jax.Array, vectors: jax.Array, deviation: float, scale: jax.Array | float = 1.0
) -> jax.Array:
    """Adds Gaussian noise to every entry; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        deviation: of the noise, relative to `scale`.
        scale: of the entries, [entry] or one for all. The default suits networks whose
            arrays were divided by their root mean square.

    Returns:
        [..., entry].
    """
    return vectors + deviation * scale * jax.random.normal(key, vectors.shape, vectors.dtype)


def mask(key: jax.Array, vectors: jax.Array, probability: float) -> jax.Array:
    """Sets entries to zero by chance; does not preserve the network's function.

    What is left keeps its size: dropout would divide it by `1 - probability`.

    Args:
        key: randomness.
        vectors: [..., entry].
        probability: of each entry to become zero.

    Returns:
        [..., entry].
    """
    gone = jax.random.bernoulli(key, probability, vectors.shape)
    return jnp.where(gone, jnp.zeros_like(vectors), vectors)

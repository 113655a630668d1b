"""Initialisers that Flax has not."""

import jax
import jax.numpy as jnp
import numpy as np


def uniform(fan_in: float | np.ndarray):
    """Uniform in +- 1 / sqrt(fan_in), of each column if there are several.

    PyTorch's initialiser of linear layers, biases included.
    """

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) / jnp.asarray(fan_in**0.5, dtype)

    return init

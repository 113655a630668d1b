"""How variables begin, where Flax has no initialiser for it."""

import jax
import jax.numpy as jnp


def uniform(fan_in: int):
    """Uniform in +- 1 / sqrt(fan_in): PyTorch's initialiser of the biases of linear layers."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) / fan_in**0.5

    return init

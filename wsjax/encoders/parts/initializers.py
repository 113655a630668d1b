"""Initialisers that Flax has not, and linear layers that begin as those of PyTorch or of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# first values of linear layers: kernels normal, of variance 1 / fan_in, and no biases, as Flax has
# them; or both uniform, of a third of this variance, as PyTorch has them and so published code
INITIAL = ("lecun", "published")


def uniform(fan_in: float | np.ndarray):
    """Uniform in +- 1 / sqrt(fan_in), of each column if there are several.

    PyTorch's initialiser of linear layers, biases included.
    """

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) / jnp.asarray(fan_in**0.5, dtype)

    return init


def kernel(initial: str, fan_in: int):
    """Initialiser of a kernel [fan_in, width], one of `INITIAL`."""
    return uniform(fan_in) if initial == "published" else nn.initializers.lecun_normal()


def begin(initial: str, fan_in: int) -> dict:
    """Arguments of `flax.linen.Dense` for a layer [..., fan_in], one of `INITIAL`."""
    init = uniform(fan_in)
    return {"kernel_init": init, "bias_init": init} if initial == "published" else {}


def dense(x: jax.Array, width: int, initial: str, name: str, fan_in: int = 0, **how) -> jax.Array:
    """A linear layer of the module that calls this, [..., n] -> [..., width].

    Args:
        x: what it takes in.
        width: of the result.
        initial: one of `INITIAL`.
        name: of the layer.
        fan_in: more than n, where it is a part of a layer; n if 0.
        how: more of `flax.linen.Dense`, such as `use_bias=False`.
    """
    return nn.Dense(width, name=name, **begin(initial, fan_in or x.shape[-1]), **how)(x)

"""Activations by name: those of `networks.ACTIVATIONS` that are known, as functions.

    gelu         x Phi(x), by the error function       PyTorch's default
    gelu_tanh    its approximation by a tanh           JAX's and Flax's default

(Hendrycks & Gimpel, 2016.) The two differ by less than 5e-4.
"""

import functools

import jax
import jax.numpy as jnp

from wsjax.architectures import trigonometry

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "sin": trigonometry.sin,
    "leaky_relu": jax.nn.leaky_relu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
}


def check(name: str) -> None:
    """Raises `ValueError` if no activation has this name."""
    if name not in ACTIVATIONS:
        raise ValueError(f"expected an activation of {sorted(ACTIVATIONS)}, got {name!r}")

"""Activations by name: `networks.ACTIVATIONS` as functions."""

import jax
import jax.numpy as jnp

from wsjax import networks
from wsjax.architectures import trigonometry

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,  # the tanh form, as Flax; PyTorch's default is the exact one
    "sin": trigonometry.sin,
    "leaky_relu": jax.nn.leaky_relu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
}


def check(name: str) -> None:
    """Raises `ValueError` if no activation has this name."""
    if name not in networks.ACTIVATIONS:
        raise ValueError(f"expected an activation of {sorted(ACTIVATIONS)}, got {name!r}")

"""Architectures: for each family its `Spec` and its forward pass.

Names and storage orders are Flax Linen's (`Dense_0/kernel` is [in, out]). A forward
pass is a pure function of a network's arrays and its inputs; `jax.vmap` gives a zoo.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from wsjax import trigonometry
from wsjax.networks import Array, Layer, Params, Spec

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "sin": trigonometry.sin,
}


def mlp(
    widths: Sequence[int], activation: str = "relu", omega: float = 1.0, bias: bool = True
) -> Spec:
    """Spec of a chain of dense layers, an activation after each but the last.

    A SIREN (Sitzmann et al., 2020) is `mlp([2, 32, 32, 1], "sin", omega=30.0)`.

    >>> mlp([2, 32, 1]).hidden
    ('h0',)
    """
    if len(widths) < 2:
        raise ValueError(f"expected at least an input and an output width, got {list(widths)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"expected an activation of {sorted(ACTIVATIONS)}, got {activation!r}")
    names = ("x", *(f"h{i}" for i in range(len(widths) - 2)), "y")
    layers = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(names)):
        arrays = [Array(f"Dense_{i}/kernel", "kernel", (fan_in, fan_out), (0,), (1,))]
        if bias:
            arrays.append(Array(f"Dense_{i}/bias", "bias", (fan_out,), (), (0,)))
        act = activation if i < len(widths) - 2 else "none"
        layers.append(Layer(f"Dense_{i}", "dense", i, tuple(arrays), act, omega))
    return Spec(tuple(layers), tuple(zip(names, widths, strict=True)), names[1:-1])


def forward(params: Params, x: jax.Array, spec: Spec) -> jax.Array:
    """Runs a chain of dense layers.

    Args:
        params: one network, no batch axes.
        x: [..., inputs].
        spec: from `mlp`.

    Returns:
        [..., outputs].

    Raises:
        ValueError: the spec has a layer that is not dense.
    """
    for layer in spec.layers:
        if layer.kind != "dense":
            raise ValueError(f"{layer.name}: expected a dense layer, got {layer.kind!r}")
        named = {a.role: params[a.name] for a in layer.arrays}  # stored in any order
        x = x @ named["kernel"]
        if "bias" in named:
            x = x + named["bias"]
        if layer.activation != "none":
            x = ACTIVATIONS[layer.activation](layer.omega * x)
    return x

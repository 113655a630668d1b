"""Chains of dense layers."""

import itertools
from collections.abc import Iterable, Sequence

from wsjax.architectures import activations
from wsjax.networks import Array, Layer, Spec


def mlp(
    widths: Sequence[int], activation: str = "relu", omega: float = 1.0, bias: bool = True
) -> Spec:
    """Spec of a chain of dense layers, an activation after each but the last.

    A SIREN (Sitzmann et al., 2020) is `mlp([2, 32, 32, 1], "sin", omega=30.0)`.
    Reads [..., inputs]. A ValueError with fewer than two widths, or an unknown activation.

    >>> mlp([2, 32, 1]).hidden
    ('h0',)
    """
    if not isinstance(widths, Iterable) or len(widths) < 2:
        raise ValueError(f"expected at least an input and an output width, got {widths}")
    activations.check(activation)
    names = ("x", *(f"h{i}" for i in range(len(widths) - 2)), "y")
    layers = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(names)):
        arrays = [Array(f"Dense_{i}/kernel", "kernel", (fan_in, fan_out), (0,), (1,))]
        if bias:
            arrays.append(Array(f"Dense_{i}/bias", "bias", (fan_out,), (), (0,)))
        act = activation if i < len(widths) - 2 else "none"
        layers.append(Layer(f"Dense_{i}", "dense", i, tuple(arrays), act, omega))
    return Spec(tuple(layers), tuple(zip(names, widths, strict=True)), names[1:-1])

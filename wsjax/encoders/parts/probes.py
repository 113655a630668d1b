"""Probe features: activations of each neuron on learned inputs (Kofinas et al., 2024).

    probes [probe, input]  --the network-->  [batch, node, probe], of every neuron

An activation carries the factor of its neuron as the bias does: an encoder that keeps factors
may read either. Networks reach encoders normalised (`wsjax.tasks.scaling`), and must be run as
they were, so `scales_by_level` undoes that.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, networks
from wsjax.architectures import ACTIVATIONS
from wsjax.networks import Spec
from wsjax.views.graphs import Graph
from wsjax.views.neurons import ends, square


def assert_chain(spec: Spec, inputs: int) -> None:
    """Raises `ValueError` if probes cannot run through a network."""
    wrong, before = [], None
    for i, layer in enumerate(spec.layers):
        kernels = [a for a in layer.arrays if a.role == "kernel"]
        rest = [a for a in layer.arrays if a.role != "kernel"]
        plain = len(kernels) == 1 and len(kernels[0].axes) == 2 and len(kernels[0].writes) == 1
        plain = plain and len(rest) <= 1 and all(a.role == "bias" for a in rest)
        if layer.kind != "dense" or not plain:
            wrong.append(f"{layer.name}: not a dense layer of a kernel and a bias")
            continue
        if layer.activation not in ACTIVATIONS:
            wrong.append(f"{layer.name}: activation {layer.activation!r} is not known")
        kernel = kernels[0]
        start, end = ([kernel.axes[k] for k in x] for x in (kernel.reads, kernel.writes))
        if layer.level != i or layer.source not in (None, i - 1) or before not in (None, start):
            wrong.append(f"{layer.name}: does not read what the layer before it writes")
        if start == end:
            wrong.append(f"{layer.name}: reads what it writes")
        if i == 0 and (n := dict(spec.sizes)[start[0]]) != inputs:
            wrong.append(f"{layer.name}: {n} inputs, where probes have {inputs}")
        before = end
    checks.raise_all("probes run through chains of dense layers only", wrong)


def omegas(spec: Spec, graph: Graph) -> np.ndarray:
    """The factor inside the activation of each node of a chain, [node]."""
    factors = [1.0 if x.activation == "none" else x.omega for x in spec.layers]
    level = graph.place_level[graph.place]
    return np.where(level < 0, 1.0, np.array(factors)[level]).astype(np.float32)


def scales_by_level(scales: Mapping[str, float]) -> dict[str, jax.Array]:
    """Divisors of kernels and biases of chains: {"kernel": [level], "bias": [level]}.

    Args:
        scales: of `InputScale`, by "kind/role/level".

    Raises:
        ValueError: the scales are not given.
    """
    levels = {int(k.rsplit("/", 1)[1]) for k in scales}
    if not levels or (lost := {f"dense/kernel/{i}" for i in levels} - set(scales)):
        raise ValueError(
            "probes run networks, so their normalisation must be known: expected what "
            f"arrays were divided by, got none of {sorted(lost) if levels else 'them'}"
        )
    kinds = lambda role: [
        networks.nearest(f"dense/{role}/{i}", scales) for i in range(max(levels) + 1)
    ]
    of = lambda role: [1.0 if k is None else scales[k] for k in kinds(role)]  # no biases: 1
    return {role: jnp.asarray(of(role), jnp.float32) for role in ("kernel", "bias")}


def variables(module: nn.Module, count: int, inputs: int, depth: int) -> tuple:
    """The probes [count, inputs] and the scales that a module has among its variables."""
    uniform = lambda key, shape: jax.random.uniform(key, shape, minval=-1.0)
    points = module.param("probes", uniform, (count, inputs))
    scales = [module.variable("statistics", k, jnp.ones, depth) for k in ("kernel", "bias")]
    return points, tuple(x.value for x in scales)


class Chain(NamedTuple):
    """Dense chains, as graphs of neurons.

    Attributes:
        kernel: [batch, pair] weights.
        bias: [batch, node].
        graph: of one network, or of each [batch, ...].
        omega: [node] or [batch, node], see `omegas`.
        depth: number of levels, of the deepest.
    """

    kernel: jax.Array
    bias: jax.Array
    graph: Graph
    omega: np.ndarray
    depth: int

    def activations(
        self, probes: jax.Array, scales: tuple[jax.Array, jax.Array] | None = None
    ) -> jax.Array:
        """Activations of each neuron on inputs.

        Args:
            probes: [probe, input].
            scales: what kernels and biases were divided by, each [level], the last for all
                deeper ones; None for networks as they are.

        Returns:
            [batch, node, probe]; of an input neuron, the input.
        """
        graph, bias = self.graph, self.bias
        joined = ends(graph, len(bias))
        kernel = square(self.kernel[..., None], joined, graph.sizes[0])[..., 0]
        of_node = lambda x: jnp.broadcast_to(
            jnp.take_along_axis(jnp.asarray(x), jnp.maximum(graph.place, 0), axis=-1), bias.shape
        )[:, None]  # [batch, 1, node]
        level, kind = of_node(graph.place_level), of_node(graph.place_activation)
        number = jnp.asarray(graph.number).reshape(-1, bias.shape[1])
        x = jnp.where(level < 0, probes.T[jnp.maximum(number, 0)].swapaxes(1, 2), 0)
        if scales:
            at = jnp.clip(level, 0, len(scales[0]) - 1)
            kernel = kernel * scales[0][at].astype(kernel.dtype)  # columns are what is written
            bias = bias * scales[1][at[:, 0]].astype(bias.dtype)
        omega = jnp.asarray(self.omega).reshape(-1, 1, bias.shape[1])
        given = graph.place_activation  # of a stack, any
        present = np.unique(given) if isinstance(given, np.ndarray) else range(len(ACTIVATIONS))
        present = [i for i in present if i >= 0]
        for depth in range(self.depth):
            y = omega * (x @ kernel + bias[:, None])
            z = y
            for i in present:
                z = jnp.where(kind == i, ACTIVATIONS[networks.ACTIVATIONS[i]](y), z)
            x = jnp.where(level == depth, z, x)
        return x.swapaxes(1, 2)

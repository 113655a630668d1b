"""Weights before training, by the names that published zoos give their initializers.

They are Keras's and PyTorch's; a kernel's fans are its channels times its taps:

    glorot_normal, he_normal, orthogonal     as Keras and `jax.nn.initializers`
    random_normal, truncated_normal          of a standard deviation of their own
    kaiming_normal, kaiming_uniform          as PyTorch
    normal, uniform                          PyTorch's: N(0, 1) and U(0, 1)
    fan_in_uniform                           PyTorch's default, U(-1, 1) / sqrt(fan in)
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from wsjax.networks import Array, Params, Spec

_scaled = jax.nn.initializers.variance_scaling

# key, shape [taps, in, out], standard deviation -> values
INITIALIZERS: dict[str, Callable[[jax.Array, Sequence[int], jax.Array], jax.Array]] = {
    "glorot_normal": lambda key, shape, _: _scaled(1.0, "fan_avg", "truncated_normal")(key, shape),
    "he_normal": lambda key, shape, _: _scaled(2.0, "fan_in", "truncated_normal")(key, shape),
    "orthogonal": lambda key, shape, _: jax.nn.initializers.orthogonal()(key, shape),
    "random_normal": lambda key, shape, std: std * jax.random.normal(key, shape),
    "truncated_normal": lambda key, shape, std: (
        std * jax.random.truncated_normal(key, -2.0, 2.0, shape)
    ),
    "kaiming_normal": lambda key, shape, _: _scaled(2.0, "fan_in", "normal")(key, shape),
    "kaiming_uniform": lambda key, shape, _: _scaled(2.0, "fan_in", "uniform")(key, shape),
    "normal": lambda key, shape, _: jax.random.normal(key, shape),
    "uniform": lambda key, shape, _: jax.random.uniform(key, shape),
    "fan_in_uniform": lambda key, shape, _: _scaled(1 / 3, "fan_in", "uniform")(key, shape),
}


def initial(
    spec: Spec,
    key: jax.Array,
    names: Sequence[str],
    index: int | jax.Array = 0,
    deviation: float | jax.Array = 0.05,
    bias: float = 0.0,
) -> Params:
    """A network before training.

    Biases are constant, scales one, stored means zero and variances one; what is learnt for
    a token is N(0, 0.02^2).

    Args:
        spec: of the network.
        key: of its weights.
        names: initializers to pick from.
        index: which of them, for all kernels; may be traced.
        deviation: of those that have one; may be traced.
        bias: of every layer.
    """
    branches = [INITIALIZERS[name] for name in names]
    params = {}
    for i, (layer, array) in enumerate((x, a) for x in spec.layers for a in x.arrays):
        draw, shape = jax.random.fold_in(key, i), spec.shape(array)
        if array.role == "kernel":
            fans = _fans(spec, array)
            values = jax.lax.switch(
                index, [lambda k, d, f=f, s=fans: f(k, s, d) for f in branches], draw, deviation
            )
            params[array.name] = _stored(values, array, shape)
        elif layer.kind == "embedding":
            params[array.name] = 0.02 * jax.random.normal(draw, shape)
        else:
            constant = {"bias": bias, "mean": 0.0}.get(array.role, 1.0)
            params[array.name] = jnp.full(shape, constant)
    return params


def _fans(spec: Spec, array: Array) -> tuple[int, int, int]:
    """The array's taps, inputs and outputs."""
    shape = spec.shape(array)
    taps, inputs, outputs = (
        math.prod(shape[i] for i in axes) for axes in (array.taps, array.reads, array.writes)
    )
    return taps, inputs, outputs


def _stored(values: jax.Array, array: Array, shape: tuple[int, ...]) -> jax.Array:
    """[taps, in, out] as the array is stored."""
    order = (*array.taps, *array.reads, *array.writes)
    values = values.reshape([shape[i] for i in order])
    return values.transpose([order.index(i) for i in range(len(order))])

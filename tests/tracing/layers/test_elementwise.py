"""Activations are recognised by their values, whatever their spelling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.architectures import ACTIVATIONS
from wsjax.tracing.layers import elementwise, structure

SPELLINGS = {
    "relu": (
        lambda x: jnp.where(x > 0, x, 0),
        lambda x: (x + jnp.abs(x)) / 2,
        lambda x: -jnp.minimum(-x, 0),
    ),
    "tanh": (
        lambda x: 2 * jax.nn.sigmoid(2 * x) - 1,
        lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
        lambda x: 1 - 2 / (1 + jnp.exp(2 * x)),
    ),
    "gelu": (lambda x: x / 2 * (1 + jax.lax.erf(x / np.sqrt(2))),),
    "silu": (lambda x: x / (1 + jnp.exp(-x)), lambda x: 3 * x * (1 + jnp.tanh(x / 2))),
    "leaky_relu": (lambda x: jnp.maximum(x, 0.2 * x),),
    "sigmoid": (lambda x: 1 / (1 + jnp.exp(-x)), lambda x: jnp.exp(x) / (1 + jnp.exp(x))),
    "sin": (lambda x: 0.5 * jnp.sin(x),),
    "none": (lambda x: x * 2 - x, lambda x: x.astype(jnp.bfloat16).astype(jnp.float32)),
    "other": (
        *(jax.nn.elu, jax.nn.softplus, jax.nn.relu6, jax.nn.soft_sign, jnp.abs, jnp.cos),
        *(lambda x: jnp.clip(x, 0, 20), lambda x: jnp.clip(x, -20, 20), jax.nn.hard_swish),
        *(lambda x: jnp.where(jnp.abs(x) < 5e-4, 0, x), lambda x: jax.nn.relu(x) + 1e-5),
        *(lambda x: jnp.sin(jnp.clip(x, -20, 20)), lambda x: jnp.sin(x) + 1e-8 * x),
        *(lambda x: jax.nn.gelu(jnp.maximum(x, -30)) + jnp.where(x > 1e5, 1, 0), jax.nn.selu),
        *(lambda x: x + 1, lambda x: jnp.sin(x + 0.3), lambda x: 0 * x, jnp.square),
    ),
}
CASES = [(name, f) for name, fs in SPELLINGS.items() for f in fs] + [*ACTIVATIONS.items()]


def first_of(activation):
    function = lambda w, v, x: activation(x @ w) @ v
    arrays = jnp.ones((2, 5)), jnp.ones((5, 3)), jnp.ones((7, 2))
    block = structure(jax.make_jaxpr(function)(*arrays), "wb").blocks[0]
    return block.activation, block.omega


@pytest.mark.parametrize(("name", "function"), CASES)
def test_an_activation_is_recognised_in_any_spelling(name, function):
    assert first_of(function) == (name, 1.0)


@pytest.mark.parametrize("omega", [0.5, 3.0, 6.2832, 30.0])
@pytest.mark.parametrize("name", ["sin", "tanh", "sigmoid", "silu"])
def test_the_factor_inside_an_activation_is_found(name, omega):
    assert first_of(lambda x: ACTIVATIONS[name](omega * x)) == (name, omega)


def test_the_factor_inside_is_found_of_any_number():
    omega = 2 * np.pi * 5.3
    assert first_of(lambda x: jnp.sin(omega * x)) == ("sin", float(f"{omega:.5g}"))
    assert first_of(lambda x: 3 * jnp.tanh(x / np.pi)) == ("tanh", float(f"{1 / np.pi:.5g}"))


def test_parity_is_that_of_the_function():
    x = elementwise.GRID
    parities = [elementwise.parity(f(x)) for f in (np.tanh, np.square, lambda x: np.exp(x / 4096))]
    assert parities == [True, False, None]
    assert elementwise.parity(np.clip(x, -20, 30)) is None
    assert elementwise.linear(-2 * x)
    assert not elementwise.linear(np.abs(x))

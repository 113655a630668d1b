import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.architectures import trigonometry

# Small angles, those of a SIREN, multiples of pi / 2 and their neighbours, large ones; as many
# of each, so that one compiled program serves all.
CORNERS = np.arange(-40, 41) * np.float32(np.pi / 2)
ANGLES = {
    "small": np.linspace(-1e-3, 1e-3, 20001),
    "siren": np.linspace(-60, 60, 20001),
    "corners": np.resize([CORNERS, np.nextafter(CORNERS, 99), np.nextafter(CORNERS, -99)], 20001),
    "large": np.linspace(-9999, 9999, 20001),
}


@pytest.fixture(params=[pytest.param(np.float32(v), id=k) for k, v in ANGLES.items()])
def angles(request):
    return request.param


@functools.cache
def derivative(order):
    function = trigonometry.sin
    for _ in range(order):
        function = jax.grad(function)
    return jax.jit(jax.vmap(function))


SIN, COS = jax.jit(trigonometry.sin), jax.jit(trigonometry.cos)


@pytest.mark.parametrize(("ours", "exact"), [(SIN, np.sin), (COS, np.cos)], ids=["sin", "cos"])
def test_agrees_with_double_precision(ours, exact, angles):
    error = np.abs(np.asarray(ours(angles), np.float64) - exact(angles.astype(np.float64)))
    assert error.max() < 2e-7, f"at {angles[error.argmax()]}"


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_every_order_agree(order, angles):
    exact = np.sin(angles.astype(np.float64) + order * np.pi / 2)
    np.testing.assert_allclose(derivative(order)(angles), exact, rtol=0, atol=2e-7)


def test_a_siren_has_the_gradient_of_the_exact_sine():
    x = jnp.linspace(-3, 3, 64)
    loss = lambda w, sine: jnp.mean(sine(30.0 * sine(30.0 * w * x)) ** 2)
    slope = jax.jit(jax.grad(loss), static_argnums=1)
    ours = slope(jnp.float32(0.07), trigonometry.sin)
    exact = slope(jnp.float32(0.07), jnp.sin)
    np.testing.assert_allclose(ours, exact, rtol=1e-3)


def test_nan_and_infinity_are_not_hidden():
    bad = jnp.array([jnp.nan, jnp.inf, -jnp.inf])
    assert np.isnan(SIN(bad)).all()
    assert np.isnan(COS(bad)).all()

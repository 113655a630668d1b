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
    "large": np.linspace(-32767, 32767, 20001),
}
# beyond `LIMIT`, up to the largest number; one among small ones takes the other route too
HUGE = {
    "huge": np.geomspace(32768, 3.4e38, 20001) * np.resize([1, -1], 20001),
    "one huge": np.where(np.arange(20001) == 7, 1e30, ANGLES["siren"]),
}


@pytest.fixture(params=[pytest.param(np.float32(v), id=k) for k, v in (ANGLES | HUGE).items()])
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
    sine, cosine = np.sin(angles.astype(np.float64)), np.cos(angles.astype(np.float64))
    exact = {1: cosine, 2: -sine, 3: -cosine}[order]
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
    for function in (SIN, COS, trigonometry.fast_sin, trigonometry.fast_cos):
        assert np.isnan(function(bad)).all()


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_the_fast_ones_are_the_same_within_their_range_and_nan_beyond(name):
    fast, right = (getattr(trigonometry, f"{prefix}{name}") for prefix in ("fast_", ""))
    edge = np.float32(trigonometry.LIMIT)
    inside = np.append(ANGLES["siren"], np.nextafter([edge, -edge], 0)).astype(np.float32)
    np.testing.assert_allclose(fast(inside), right(inside), rtol=0, atol=2e-7)
    assert np.isnan(fast(np.array([edge, -edge, 1e30], np.float32))).all()
    slope = jax.grad(fast)
    assert np.isfinite(slope(1.0))
    assert np.isnan(slope(1e30))


def test_an_angle_depends_on_no_other_of_its_batch():
    alone = jax.jit(trigonometry.sin)(np.float32(ANGLES["siren"]))
    joined = np.asarray(SIN(np.float32(HUGE["one huge"])))
    np.testing.assert_array_equal(np.delete(joined, 7), np.delete(alone, 7))


def test_half_precision_is_that_of_the_result():
    x = jnp.linspace(0, 1000, 2001, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(
        trigonometry.sin(x), jnp.sin(x.astype(jnp.float32)).astype(x.dtype)
    )

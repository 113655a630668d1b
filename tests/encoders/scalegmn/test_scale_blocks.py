"""The slope of |x| where x is zero, and what depends on it."""

import jax
import jax.numpy as jnp
import numpy as np
from cases.drawing import params_of, shaken

from wsjax import architectures, networks
from wsjax.encoders import ScaleGMN
from wsjax.encoders.scalegmn import scale_blocks
from wsjax.symmetries import scalings

SPEC = architectures.mlp([2, 6, 5, 3], "tanh")


def moved(x, other):
    return float(np.abs(np.asarray(other) - x).max() / np.abs(x).max())


def test_the_magnitude_has_no_slope_at_zero():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0, -jnp.inf])
    np.testing.assert_array_equal(scale_blocks.magnitude(x), np.abs(x))
    slope = jax.vmap(jax.grad(scale_blocks.magnitude))(x)
    np.testing.assert_array_equal(slope, [-1, 0, 0, 1, -1])
    assert np.isnan(scale_blocks.magnitude(jnp.nan))


def test_gradients_of_networks_without_biases_carry_the_signs(monkeypatch):
    """Of states that are zero, |x| must have slope 0: with that of `jnp.abs`, 1, it is broken."""
    settings = {"width": 6, "layers": 1, "code": 3, "symmetry": "sign", "symmetrise": False}
    encoder, errors = ScaleGMN(**settings, backward="as_published"), []
    view, params = encoder.view(SPEC), params_of(SPEC)
    params = {k: x * (not k.endswith("bias")) for k, x in params.items()}
    g = scalings.sample(jax.random.key(3), SPEC, ("sign",))
    for magnitude in (scale_blocks.magnitude, jnp.abs):
        monkeypatch.setattr(scale_blocks, "magnitude", magnitude)
        variables = shaken(encoder, jnp.zeros((1, SPEC.count)), view)
        loss = lambda x, v=variables: jnp.sin(encoder.apply(v, x[None], view)).sum()
        slope = jax.jit(jax.grad(loss))
        other = scalings.act(g, params, SPEC)
        here, there = (slope(networks.ravel(p, SPEC)) for p in (params, other))
        signed = networks.ravel(scalings.act(g, networks.unravel(here, SPEC), SPEC), SPEC)
        assert moved(signed, here) > 0.1
        errors.append(moved(signed, there))
    assert errors[0] < 1e-4
    assert errors[1] > 1e-2

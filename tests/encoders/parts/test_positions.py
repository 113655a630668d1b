"""Encodings of integers: the values of sinusoids, and zeros where there is no position."""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts import positions


def test_sinusoids():
    waves = positions.sinusoid(jnp.array([0, 3, -1]), 8, 100.0)
    np.testing.assert_allclose(waves[0], [0] * 4 + [1] * 4, atol=1e-7)
    np.testing.assert_allclose(waves[1, 1], np.sin(3 * 100 ** (-1 / 4)), rtol=1e-6)
    np.testing.assert_array_equal(waves[2], 0)


def test_negative_positions_and_categories_become_zeros():
    for module in (positions.Position(8), positions.Category(3, 8)):
        x = jnp.array([[0, 2], [-1, 1]])
        out, _ = module.init_with_output(jax.random.key(0), x)
        assert out.shape == (2, 2, 8)
        assert not out[1, 0].any()
        assert all(out[i, j].any() for i, j in ((0, 0), (0, 1), (1, 1)))

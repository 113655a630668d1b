"""The maximum, and which entries receive its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.encoders.parts.pooling import largest


@pytest.mark.parametrize("axis", [(1,), (2,), (1, 2), (2, 0), ()])
def test_it_is_the_maximum(axis):
    x = np.random.default_rng(0).standard_normal((3, 7, 6, 2)).astype(np.float32)
    want = np.moveaxis(x, axis, range(len(axis)))
    want = want.reshape(-1, *want.shape[len(axis) :]).max(0)
    np.testing.assert_array_equal(largest(jnp.asarray(x), axis), want)


def test_nan_is_not_lost():
    for i in range(5):
        x = jnp.zeros((1, 5)).at[0, i].set(jnp.nan)
        assert jnp.isnan(largest(x, (1,))).all()


def test_one_entry_is_given_all_of_the_gradient():
    """In a program that computes entries twice and rounds differently, too.

    As tests compile here, the gradient of `max` after a LayerNorm is NaN.
    """
    x = jax.random.normal(jax.random.key(0), (4, 50, 9))

    def total(offset):
        y = x - x.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-6)
        return largest(jnp.tanh(y) + offset, (1,)).sum()

    slope = jax.jit(jax.grad(total))(jnp.zeros((4, 50, 9)))
    np.testing.assert_array_equal(slope.sum(1), np.ones((4, 9)))
    assert set(np.unique(slope)) == {0.0, 1.0}

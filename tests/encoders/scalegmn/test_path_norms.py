"""Path norms: what they sum, what scales do to them, and what large and small numbers do."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.encoders.scalegmn.path_norms import path_norms, reciprocals

# 0, 1 are inputs; 2, 3 read them; 4 reads 2, 3 and, around them, 0 by two weights
SENDER, RECEIVER = np.array([0, 1, 1, 2, 3, 0]), np.array([2, 2, 3, 4, 4, 4])


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    own, weight = rng.standard_normal((5, 1, 2)), rng.standard_normal((6, 1, 2))
    own[:2] = [1, 0]
    weight[:5, :, 1] = 0
    return jnp.asarray(own, jnp.float32), jnp.asarray(weight, jnp.float32)


run = jax.jit(lambda own, weight: path_norms(own, weight, SENDER, RECEIVER, 2))
back = jax.jit(lambda norms, weight: reciprocals(norms, weight, SENDER, RECEIVER))


def test_they_sum_over_paths():
    """All paths of 0, 1 and 2 pairs to a neuron, one by one."""
    own, weight = drawn()
    pairs = list(zip(SENDER, RECEIVER, np.square(weight).sum((1, 2)), strict=True))
    starts = np.square(own).sum((1, 2))
    want = np.zeros(5)
    for node in range(5):
        want[node] = starts[node]
        want[node] += sum(starts[s] * w for s, r, w in pairs if r == node)
        want[node] += sum(
            starts[s] * w * v
            for (s, r, w), (t, u, v) in itertools.product(pairs, pairs)
            if r == t and u == node
        )
    np.testing.assert_allclose(run(own, weight)[:, 0, 0], np.sqrt(want), rtol=1e-6)


def test_reciprocals_of_a_row_are_its_pseudoinverse():
    own, weight = drawn()
    own = own.at[2].set(0)
    found = back(run(own, weight), weight)[:2, 0, 0]
    row = np.asarray(weight[:2, 0, 0], np.float64)
    np.testing.assert_allclose(found, np.linalg.pinv(row[None])[:, 0], rtol=1e-5)


@pytest.mark.parametrize("size", [1e-15, 1.0, 1e8])
def test_they_are_finite_and_so_are_their_gradients(size):
    own, weight = drawn()
    own = own.at[2:].multiply(size)

    def total(own, weight):
        norms = run(own, weight)
        return (norms + back(norms, weight).sum(-1).sum()).sum()

    both = jax.jit(jax.value_and_grad(total, (0, 1)))
    for w in (size * weight, 0 * weight, weight.at[::2].multiply(size), weight.at[0].set(0)):
        for x in jax.tree.leaves(both(own, w)):
            assert np.isfinite(x).all()
            assert np.abs(x).max() > 0
    dead = back(run(own.at[3].set(0), weight.at[2].set(0)), weight)
    assert dead[2, 0, 0] == 0  # the pair that a dead neuron reads


def test_a_weight_of_zero_before_a_small_neuron():
    """Its slope is a square that overflows; the pair counts as none."""
    own = jnp.zeros((5, 1, 2)).at[:2, :, 0].set(1).at[4].set(1e-25)
    weight = jnp.ones((6, 1, 2)).at[3:].set(0)
    total = lambda own, weight: back(run(own, weight), weight).sum()
    for x in jax.tree.leaves(jax.jit(jax.value_and_grad(total, (0, 1)))(own, weight)):
        assert np.isfinite(x).all()


def test_a_factor_of_a_neuron_is_one_of_its_norm():
    own, weight = drawn()
    factors = jnp.array([1, 1, 3.0, 0.2, -5.0])
    scaled = weight * (factors[RECEIVER] / factors[SENDER])[:, None, None]
    want = run(own, weight) * jnp.abs(factors)[:, None, None]
    np.testing.assert_allclose(run(own * factors[:, None, None], scaled), want, rtol=1e-6)


def test_what_overflows_is_not_silent():
    own, weight = drawn()
    norms = run(own, 1e20 * weight)
    assert np.isnan(norms[4]).all()
    assert np.isnan(back(norms, weight)[3:]).all()

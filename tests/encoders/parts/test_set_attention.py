"""Attention against Flax's, and pooling over masked sets."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts import set_attention


def test_attention_is_flaxs():
    key = jax.random.key(0)
    q, k, v = (
        jax.random.normal(jax.random.fold_in(key, i), (2, n, 8)) for i, n in enumerate((5, 7, 7))
    )
    mask = jax.random.bernoulli(key, 0.6, (2, 5, 7)).at[..., 0].set(True)
    ours = set_attention.attend(q, k, v, mask, heads=2)
    heads = lambda x: x.reshape(*x.shape[:-1], 2, 4)
    theirs = nn.dot_product_attention(heads(q), heads(k), heads(v), mask=mask[:, None])
    np.testing.assert_allclose(ours, theirs.reshape(2, 5, 8), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        set_attention.attend(q, k, v, mask, heads=2, block=2), ours, rtol=1e-5, atol=1e-6
    )


def test_pooling_ignores_what_is_masked():
    for attention in (True, False):
        pool = set_attention.SetToVector(seeds=1, attention=attention, heads=2)
        x = jax.random.normal(jax.random.key(0), (6, 8))
        mask = jnp.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], bool)
        variables = jax.jit(pool.init)(jax.random.key(1), x, mask)
        out = pool.apply(variables, x, mask)
        alone = pool.apply(variables, x[3:5], jnp.ones((1, 2), bool))
        np.testing.assert_allclose(out[1], alone[0], rtol=1e-5, atol=1e-6)
        changed = pool.apply(variables, x.at[5].set(100.0), mask)
        np.testing.assert_allclose(changed, out, rtol=1e-6)


def test_its_written_gradient_is_that_of_the_formula():
    """Of all inputs; a query that attends to nothing has no gradient towards scores."""
    key = jax.random.key(0)
    q, k, v = (jax.random.normal(jax.random.fold_in(key, i), (2, 5, 8)) for i in range(3))
    mask = jax.random.bernoulli(key, 0.6, (2, 5, 5)).at[:, 0].set(True).at[:, 1].set(False)

    def formula(q, k, v):
        heads = lambda x: x.reshape(*x.shape[:-1], 2, 4)
        scores = jnp.einsum("bnhd,bmhd->bhnm", heads(q), heads(k)) / 2
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e30))
        return jnp.einsum("bhnm,bmhd->bnhd", weights, heads(v)).reshape(v.shape)

    gradient = lambda f: jax.grad(lambda *x: (jnp.sin(f(*x)) ** 2).sum(), (0, 1, 2))(q, k, v)
    ours = gradient(lambda *x: set_attention.attend(*x, mask, heads=2))
    for one, other in zip(ours, gradient(formula), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert not ours[0][:, 1].any()
    assert ours[0][:, 0].any()

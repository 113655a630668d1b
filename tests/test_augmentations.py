import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, augmentations, networks, testing

KEY = jax.random.key(0)
BOTH = {
    "noise": lambda key, x: augmentations.noise(key, x, 0.2),
    "mask": lambda key, x: augmentations.mask(key, x, 0.5),
}
both = pytest.mark.parametrize("augment", BOTH.values(), ids=BOTH)


def test_noise_has_the_deviation_asked_for_about_every_entry():
    x = jnp.tile(jnp.array([5.0, -3.0]), (20000, 1))
    scale = jnp.array([1.0, 10.0])
    change = np.asarray(augmentations.noise(KEY, x, 0.2, scale) - x)
    np.testing.assert_allclose(change.std(0), [0.2, 2.0], rtol=0.03)
    np.testing.assert_allclose(change.mean(0), [0, 0], atol=0.05)
    assert abs(np.corrcoef(change.T)[0, 1]) < 0.03


def test_a_mask_zeroes_the_share_asked_for_and_leaves_the_rest():
    x = jax.random.normal(KEY, (200, 100)) + 10
    out = np.asarray(augmentations.mask(KEY, x, 0.3))
    assert np.mean(out == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(out[out != 0], np.asarray(x)[out != 0])
    # no entry and no network is spared or singled out
    assert np.ptp((out == 0).mean(0)) < 0.3
    assert np.ptp((out == 0).mean(1)) < 0.4


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_limits(size):
    x = jax.random.normal(KEY, (4, 7)) + 1
    np.testing.assert_array_equal(augmentations.noise(KEY, x, 0.0), x)
    np.testing.assert_array_equal(augmentations.mask(KEY, x, size), x * (1 - size))


@both
def test_a_key_gives_the_same_copy_and_another_key_another(augment):
    x = jax.random.normal(KEY, (3, 50))
    np.testing.assert_array_equal(augment(KEY, x), augment(KEY, x))
    assert (augment(KEY, x) != augment(jax.random.key(1), x)).any()
    assert (augment(KEY, x)[0] - x[0] != augment(KEY, x)[1] - x[1]).any()


@both
def test_jit_vmap_and_one_network(augment):
    x, keys = jax.random.normal(KEY, (3, 50)), jax.random.split(KEY, 3)
    one = jnp.stack([augment(k, v) for k, v in zip(keys, x, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(augment))(keys, x), one, rtol=1e-6, atol=1e-6)
    assert augment(KEY, x[0]).shape == (50,)


@both
def test_the_function_is_not_preserved_as_the_docstring_says(augment):
    spec = architectures.mlp([1, 6, 6, 1], "tanh")
    params = testing.draw(KEY, spec)
    x = jnp.linspace(-1, 1, 9)[:, None]
    copy = networks.unravel(augment(KEY, networks.ravel(params, spec)), spec)
    gap = architectures.forward(copy, x, spec) - architectures.forward(params, x, spec)
    assert abs(gap).max() > 1e-2

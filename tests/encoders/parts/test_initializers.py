"""Uniform weights within the bound of PyTorch's linear layers, and layers that begin with them."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from wsjax.encoders.parts.initializers import dense, kernel, uniform


def test_bounds_are_the_root_of_the_fan_in_of_each_column():
    weights = np.abs(uniform(np.array([4.0, 100.0]))(jax.random.key(0), (500, 2)))
    assert (weights.max(0) <= [0.5, 0.1]).all()
    assert (weights.max(0) > [0.45, 0.09]).all()


class Map(nn.Module):
    """One layer [..., 16] -> [..., 4000]."""

    initial: str
    fan_in: int = 0

    @nn.compact
    def __call__(self, x):
        return dense(x, 4000, self.initial, "map", self.fan_in)


@pytest.mark.parametrize(("fan_in", "bound"), [(0, 1 / 4), (64, 1 / 8)])
def test_published_layers_begin_uniform_with_their_biases(fan_in, bound):
    x = np.ones((1, 16), np.float32)
    variables = jax.jit(Map("published", fan_in).init)(jax.random.key(0), x)["params"]["map"]
    for name in ("kernel", "bias"):
        values = np.asarray(variables[name])
        assert 0.99 * bound < np.abs(values).max() <= bound
        np.testing.assert_allclose(np.sqrt(np.mean(values**2)), bound / np.sqrt(3), rtol=0.03)


def test_layers_of_lecun_have_three_times_their_variance_and_no_biases():
    x = np.ones((1, 16), np.float32)
    layer = jax.jit(Map("lecun").init)(jax.random.key(0), x)["params"]["map"]
    np.testing.assert_allclose(np.std(layer["kernel"]), 1 / 4, rtol=0.03)
    assert np.abs(layer["kernel"]).max() > 0.5
    assert not np.any(layer["bias"])


def test_kernels_alone():
    draw = {k: np.std(kernel(k, 16)(jax.random.key(0), (16, 4000))) for k in ("published", "lecun")}
    np.testing.assert_allclose(draw["lecun"] / draw["published"], np.sqrt(3), rtol=0.02)

"""Windows: the two routes of convolutions, pooling, counts of positions."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from wsjax import architectures, testing
from wsjax.architectures import cnn, convolution

KEY = jax.random.key(8)
CASES = {  # size of the image, window, stride, padding
    "ordinary": ((7, 6), (3, 3), (1, 1), "SAME"),
    "stride two": ((7, 6), (3, 3), (2, 2), "SAME"),
    "no padding": ((7, 6), (3, 2), (2, 1), "VALID"),
    "window of one": ((7, 6), (1, 1), (1, 1), "VALID"),
    "stride past the window": ((9, 8), (2, 1), (4, 3), "VALID"),
    "window as large as the image": ((5, 4), (5, 4), (1, 1), "VALID"),
    "uneven padding": ((5, 4), (3, 3), (2, 2), ((0, 3), (2, 1))),
    "one dimension": ((11,), (4,), (3,), "SAME"),
    "three dimensions": ((4, 3, 5), (2, 3, 2), (1, 2, 2), "SAME"),
    "image of one": ((1, 1), (3, 3), (2, 2), "SAME"),
}


@pytest.fixture(params=[pytest.param(c, id=n.replace(" ", "_")) for n, c in CASES.items()])
def case(request):
    return request.param


@pytest.mark.parametrize("wide", [0, convolution.WIDE])
def test_both_routes_agree(case, wide, monkeypatch):
    monkeypatch.setattr(convolution, "WIDE", wide)
    size, window, stride, padding = case
    x = jax.random.normal(KEY, (2, 3, *size, 2))  # two axes of batch
    kernel = jax.random.normal(jax.random.fold_in(KEY, 1), (*window, 2, 4))
    one, two = (
        jax.jit(functools.partial(f, stride=stride, padding=padding))(x, kernel)
        for f in (convolution.by_xla, convolution.by_slices)
    )
    assert one.shape == (2, 3, *convolution.positions(size, window, stride, padding), 4)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_max_pool_is_flaxs(case):
    size, window, stride, padding = case
    x = -1 - jax.random.uniform(KEY, (2, *size, 3))  # padding must not win
    want = nn.max_pool(x, window, stride, padding)
    np.testing.assert_array_equal(convolution.max_pool(x, window, stride, padding), want)


def test_both_routes_run_a_network_and_its_gradient():
    spec = cnn([2, 4, 5], [3], stride=2, activation="tanh")
    zoo = testing.draw(KEY, spec, (3,))
    x = jax.random.normal(KEY, (4, 7, 6, 2))

    def slope(convolve):
        loss = lambda p: (architectures.forward(p, x, spec, convolve) ** 2).sum()
        return jax.jit(jax.vmap(jax.value_and_grad(loss)))(zoo)

    one, two = slope(architectures.by_xla), slope(architectures.by_slices)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one, two)

"""Families against the same networks written in Flax Linen, on the same arrays.

Arrays go over by name: every name of Flax's must be one of ours, and of the same shape,
or the same number of entries where ours are stored [group, member] or [*positions, ...].
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from wsjax import architectures, testing
from wsjax.architectures import cnn, mlp, resnet, vit

KEY = jax.random.key(5)
NORMS = {
    "batch": lambda: nn.BatchNorm(use_running_average=True),
    "layer": lambda: nn.LayerNorm(epsilon=1e-5),
    "group": lambda: nn.GroupNorm(num_groups=2, epsilon=1e-5),
    "none": lambda: lambda x: x,
}


class Chain(nn.Module):
    widths: Sequence[int]
    act: Callable
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        for width in self.widths[:-1]:
            x = self.act(nn.Dense(width, use_bias=self.bias)(x))
        return nn.Dense(self.widths[-1], use_bias=self.bias)(x)


class CNN(nn.Module):
    channels: Sequence[int]
    dense: Sequence[int]
    act: Callable
    kernel: tuple = (3, 3)
    stride: int = 1
    padding: str = "SAME"
    norm: str = "none"
    pool: tuple = ()
    flat: bool = False
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        for width in self.channels:
            x = nn.Conv(width, self.kernel, self.stride, self.padding, use_bias=self.bias)(x)
            x = self.act(NORMS[self.norm]()(x))
            if self.pool:
                x = nn.max_pool(x, self.pool, self.pool)
        x = x.reshape(len(x), -1) if self.flat else x.mean(range(1, x.ndim - 1))
        for width in self.dense[:-1]:
            x = self.act(nn.Dense(width, use_bias=self.bias)(x))
        return nn.Dense(self.dense[-1], use_bias=self.bias)(x)


class ResNet(nn.Module):
    widths: Sequence[int]
    outputs: int
    norm: str

    @nn.compact
    def __call__(self, x):
        norm = lambda y: NORMS[self.norm]()(y)
        conv = lambda width, window, stride=1: nn.Conv(
            width, window, stride, [(n // 2, n // 2) for n in window], use_bias=False
        )
        x = nn.relu(norm(conv(self.widths[0], (3, 3))(x)))
        for i, width in enumerate(self.widths):
            for j in range(2):
                stride = 2 if i > 0 and j == 0 else 1
                branch, came = conv(width, (3, 3), stride)(x), x
                if stride == 2:  # the order in which Flax counts modules
                    came = conv(width, (1, 1), stride)(x)
                branch = norm(branch)
                came = norm(came) if stride == 2 else came
                x = nn.relu(came + norm(conv(width, (3, 3))(nn.relu(branch))))
        return nn.Dense(self.outputs)(x.mean((1, 2)))


class ViT(nn.Module):
    width: int
    patch: tuple
    heads: int
    mlp: int
    outputs: int
    blocks: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, self.patch, self.patch, "VALID")(x)
        x = x.reshape(len(x), -1, self.width)
        token = self.param("cls", nn.initializers.zeros, (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], 1)
        x = x + self.param("positions", nn.initializers.zeros, x.shape[1:])
        for _ in range(self.blocks):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(num_heads=self.heads)(y, y)
            y = nn.gelu(nn.Dense(self.mlp)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(self.outputs)(nn.LayerNorm()(x)[:, 0])


def assert_same(spec, module, x):
    params = testing.draw(KEY, spec)
    flat = flatten_dict(jax.eval_shape(module.init, KEY, x))
    assert {"/".join(path[1:]) for path in flat} == set(params)
    variables = {}
    for path, want in flat.items():
        array = params["/".join(path[1:])]
        assert array.size == np.prod(want.shape), path
        assert array.shape == want.shape or array.ndim > len(want.shape), path
        variables[path] = array.reshape(want.shape)
    want = jax.jit(module.apply)(unflatten_dict(variables), x)
    got = jax.jit(lambda p, x: architectures.forward(p, x, spec))(params, x)
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * float(jnp.abs(want).max()))


def normal(*shape):
    return jax.random.normal(jax.random.fold_in(KEY, 1), shape)


ACTIVATIONS = {
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "tanh": nn.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_chains(name):
    bias = name != "relu"
    module = Chain([5, 4, 2], ACTIVATIONS[name], bias)
    assert_same(mlp([3, 5, 4, 2], name, bias=bias), module, normal(6, 3))


@pytest.mark.parametrize("norm", NORMS)
def test_cnn(norm):
    groups = 2 if norm == "group" else None
    spec = cnn([3, 4, 6], [5, 2], stride=2, norm=norm, groups=groups)
    assert_same(spec, CNN([4, 6], [5, 2], nn.relu, stride=2, norm=norm), normal(2, 7, 6, 3))


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 3))], ids=str)
@pytest.mark.parametrize(("kernel", "stride"), [((2, 3), 1), ((1, 1), 2), ((4, 3), 3)])
def test_windows(kernel, stride, padding):
    spec = cnn([3, 4], [2], kernel=[kernel], stride=stride, padding=padding, bias=False)
    module = CNN([4], [2], nn.relu, kernel, stride, padding, bias=False)
    assert_same(spec, module, normal(2, 7, 9, 3))


@pytest.mark.parametrize("norm", ["none", "group"])
def test_cnn_in_one_dimension(norm):
    groups = 2 if norm == "group" else None
    spec = cnn([3, 4, 6], [2], kernel=9, stride=2, dims=1, norm=norm, groups=groups)
    assert_same(spec, CNN([4, 6], [2], nn.relu, (9,), 2, norm=norm), normal(2, 13, 3))


def test_cnn_of_flattened_images():
    spec = cnn(
        [1, 4, 6], [5, 2], padding="VALID", max_pool=2, pool="flatten", size=(16, 14),
        norm="group", groups=2,
    )  # fmt: skip
    module = CNN([4, 6], [5, 2], nn.relu, padding="VALID", pool=(2, 2), flat=True, norm="group")
    assert_same(spec, module, normal(2, 16, 14, 1))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet(norm):
    spec = resnet(3, [4, 6], 2, norm=norm, groups=2 if norm == "group" else None)
    assert_same(spec, ResNet([4, 6], 2, norm), normal(2, 8, 6, 3))


@pytest.mark.parametrize("heads", [1, 3])
def test_vit(heads):
    settings = {"heads": heads, "mlp_width": 5, "activation": "gelu_tanh"}
    spec = vit(3, 6, 2, size=(4, 6), patch=(2, 3), **settings)
    assert_same(spec, ViT(6, (2, 3), heads, 5, 2), normal(2, 4, 6, 3))

"""Families against PyTorch's layers, on the same arrays: where zoos come from PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, testing
from wsjax.architectures import cnn, resnet, triplane, vit

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
KEY = jax.random.key(6)


def tensor(x):
    return torch.tensor(np.asarray(x))


def normal(*shape):
    return jax.random.normal(jax.random.fold_in(KEY, 1), shape)


def images(x):
    """[batch, *positions, channels] to PyTorch's [batch, channels, *positions]."""
    return tensor(jnp.moveaxis(x, -1, 1))


def filters(kernel):
    """[*window, in, out] to PyTorch's [out, in, *window]."""
    return tensor(jnp.moveaxis(kernel, (-1, -2), (0, 1)))


def conv(p, name, x, **settings):
    bias = tensor(p[f"{name}/bias"]) if f"{name}/bias" in p else None
    return F.conv2d(x, filters(p[f"{name}/kernel"]), bias, **settings)


def dense(p, name, x):
    return F.linear(x, tensor(p[f"{name}/kernel"]).T, tensor(p[f"{name}/bias"]))


def batch_norm(p, name, x):
    parts = (tensor(p[f"{name}/{k}"]) for k in ("mean", "var", "scale", "bias"))
    return F.batch_norm(x, *parts, eps=1e-5)


def close(got, want):
    want = want.detach().numpy()
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * np.abs(want).max())


def run(spec, params, x):
    return jax.jit(lambda p, x: architectures.forward(p, x, spec))(params, x)


def test_conv3_gap():
    """Unterthiner et al. (2020): three convolutions, the mean, a dense layer."""
    spec = cnn([1, 16, 16, 16], [10], stride=2, padding="VALID")
    p, x = testing.draw(KEY, spec), normal(2, 28, 28, 1)
    y = images(x)
    for i in range(3):
        y = F.relu(conv(p, f"Conv_{i}", y, stride=2))
    close(run(spec, p, x), dense(p, "Dense_0", y.mean((2, 3))))


def test_conv3_linear2():
    """Schuerholt et al. (2022); PyTorch flattens channels first, we flatten them last."""
    spec = cnn(
        [1, 8, 6, 4], [20, 10], kernel=(5, 5, 2), max_pool=(2, 2, 1), padding="VALID",
        pool="flatten", size=(28, 28), activation="gelu",
    )  # fmt: skip
    p, x = testing.draw(KEY, spec), normal(2, 28, 28, 1)
    y = images(x)
    for i, window in enumerate((2, 2, 1)):
        y = F.max_pool2d(F.gelu(conv(p, f"Conv_{i}", y)), window)
    kernel = jnp.moveaxis(p["Dense_0/kernel"], 2, 0).reshape(36, 20)
    y = F.gelu(dense(p | {"Dense_0/kernel": kernel}, "Dense_0", y.flatten(1)))
    close(run(spec, p, x), dense(p, "Dense_1", y))


def test_bottlenecks_after_a_pooled_stem():
    """He et al. (2016): the stem and the blocks of ResNet-50, the stride in the 3x3 one."""
    spec = resnet(3, [8, 12], 2, blocks=1, bottleneck=2, stem=(7, 2, 2), stem_width=5)
    p, x = testing.draw(KEY, spec), normal(2, 21, 18, 3)
    y = F.relu(batch_norm(p, "BatchNorm_0", conv(p, "Conv_0", images(x), stride=2, padding=3)))
    y, names = F.max_pool2d(y, 3, 2, 1), iter(range(1, 9))
    for stride in (1, 2):
        one, short, two, three = (next(names) for _ in range(4))
        norm = lambda i, z: batch_norm(p, f"BatchNorm_{i}", z)
        z = F.relu(norm(one, conv(p, f"Conv_{one}", y)))
        came = norm(short, conv(p, f"Conv_{short}", y, stride=stride))
        z = F.relu(norm(two, conv(p, f"Conv_{two}", z, stride=stride, padding=1)))
        y = F.relu(came + norm(three, conv(p, f"Conv_{three}", z)))
    close(run(spec, p, x), dense(p, "Dense_0", y.mean((2, 3))))


def attention(p, name, x, width, heads):
    """`torch.nn.MultiheadAttention`, its projections the rows of one matrix."""
    layer = nn.MultiheadAttention(width, heads, batch_first=True)
    parts = ("query", "key", "value")
    rows = [tensor(p[f"{name}/{k}/kernel"]).reshape(width, width).T for k in parts]
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat(rows))
        layer.in_proj_bias.copy_(torch.cat([tensor(p[f"{name}/{k}/bias"]).ravel() for k in parts]))
        layer.out_proj.weight.copy_(tensor(p[f"{name}/out/kernel"]).reshape(width, width).T)
        layer.out_proj.bias.copy_(tensor(p[f"{name}/out/bias"]))
    return layer(x, x, x, need_weights=False)[0]


def layer_norm(p, name, x):
    parts = (tensor(p[f"{name}/{k}"]) for k in ("scale", "bias"))
    return F.layer_norm(x, x.shape[-1:], *parts, eps=1e-6)


def test_vit_that_reads_all_patches():
    spec = vit(3, 6, 2, size=(4, 6), patch=(2, 3), blocks=1, mlp_width=5, pool="mean")
    p, x = testing.draw(KEY, spec), normal(2, 4, 6, 3)
    y = conv(p, "Conv_0", images(x), stride=(2, 3)).flatten(2).transpose(1, 2)
    y = y + tensor(p["positions"])
    y = y + attention(p, "MultiHeadDotProductAttention_0", layer_norm(p, "LayerNorm_0", y), 6, 2)
    z = F.gelu(dense(p, "Dense_0", layer_norm(p, "LayerNorm_1", y)))
    y = layer_norm(p, "LayerNorm_2", y + dense(p, "Dense_1", z)).mean(1)
    close(run(spec, p, x), dense(p, "Dense_2", y))


def test_triplane():
    """Chan et al. (2022) sample planes bilinearly; PyTorch names columns first."""
    spec = triplane(4, 5, [6, 2])
    p, x = testing.draw(KEY, spec), jax.random.uniform(KEY, (9, 3), minval=-1.2, maxval=1.2)
    features = 0
    for plane, pair in zip(p["Triplane_0/embedding"], ([1, 0], [2, 0], [2, 1]), strict=True):
        points = tensor(x[:, jnp.array(pair)])[None, :, None]
        sampled = F.grid_sample(
            images(plane[None]), points, padding_mode="border", align_corners=True
        )
        features = features + sampled[0, :, :, 0].T
    kernels = [tensor(p[f"Dense_0/kernel_{k}"]) for k in ("x", "f")]
    y = torch.cat([tensor(x), features], 1) @ torch.cat(kernels) + tensor(p["Dense_0/bias"])
    close(run(spec, p, x), dense(p, "Dense_1", F.relu(y)))

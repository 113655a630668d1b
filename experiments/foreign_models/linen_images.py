"""Flax Linen models of images, named by what makes each one hard to read."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.foreign_models.generic import Case, linen, normal


class CNN(nn.Module):
    """Convolutions with BatchNorm, flattened: positions x channels feed a dense layer."""

    @nn.compact
    def __call__(self, x):
        for width in (8, 12):
            x = nn.Conv(width, (3, 3))(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(10)(nn.gelu(nn.Dense(20)(x)))


class VGG(nn.Module):
    """Stages of convolutions in the manner of VGG, average pooling, dropout that is off."""

    @nn.compact
    def __call__(self, x):
        for width, count in ((6, 1), (10, 2)):
            for _ in range(count):
                x = nn.relu(nn.Conv(width, (3, 3))(x))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(16)(x.reshape(x.shape[0], -1)))
        return nn.Dense(5)(nn.Dropout(0.5, deterministic=True)(x))


class ResNet(nn.Module):
    """Pre-activation blocks, GroupNorm, projections: many layers write one stream."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3))(x)
        for width, stride in ((8, 1), (16, 2), (16, 1)):
            y = nn.Conv(width, (3, 3), strides=stride)(nn.relu(nn.GroupNorm(4)(x)))
            y = nn.Conv(width, (3, 3))(nn.relu(nn.GroupNorm(4)(y)))
            if x.shape != y.shape:
                x = nn.Conv(width, (1, 1), strides=stride)(x)
            x = x + y
        return nn.Dense(10)(nn.LayerNorm()(x).mean((1, 2)))


class Bottleneck(nn.Module):
    """Blocks of Flax's ImageNet example: convolution, BatchNorm, ReLU, three times."""

    @nn.compact
    def __call__(self, x):
        norm = lambda: nn.BatchNorm(use_running_average=True)
        x = nn.relu(norm()(nn.Conv(8, (7, 7), strides=2, use_bias=False)(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for width, stride in ((4, 1), (4, 1), (8, 2)):
            y = nn.relu(norm()(nn.Conv(width, (1, 1), use_bias=False)(x)))
            y = nn.relu(norm()(nn.Conv(width, (3, 3), strides=stride, use_bias=False)(y)))
            y = norm()(nn.Conv(4 * width, (1, 1), use_bias=False)(y))
            if x.shape != y.shape:
                x = norm()(nn.Conv(4 * width, (1, 1), strides=stride, use_bias=False)(x))
            x = nn.relu(x + y)
        return nn.Dense(7)(x.mean((1, 2)))


class StandardisedConv(nn.Module):
    """A convolution whose kernel is standardised over all but its last axis."""

    width: int

    @nn.compact
    def __call__(self, x):
        shape = (3, 3, x.shape[-1], self.width)
        w = self.param("kernel", nn.initializers.lecun_normal(), shape)
        w = w - w.mean((0, 1, 2))
        w = w / jnp.sqrt(jnp.square(w).mean((0, 1, 2)) + 1e-5)
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=dims)


class BigTransfer(nn.Module):
    """big_vision's BiT: weight standardisation and GroupNorm."""

    @nn.compact
    def __call__(self, x):
        x = StandardisedConv(8)(x)
        for _ in range(2):
            y = StandardisedConv(12)(nn.relu(nn.GroupNorm(4)(x)))
            x = x + StandardisedConv(8)(nn.relu(nn.GroupNorm(4)(y)))
        return nn.Dense(5)(nn.relu(nn.GroupNorm(4)(x)).mean((1, 2)))


class WideResNet(nn.Module):
    """Zero-padded shortcuts: the narrow stream is the first part of the wide one."""

    @nn.compact
    def __call__(self, x):
        norm = lambda: nn.BatchNorm(use_running_average=True)
        x = nn.Conv(6, (3, 3), use_bias=False)(x)
        for width, stride in ((6, 1), (12, 2)):
            y = nn.Conv(width, (3, 3), strides=stride, use_bias=False)(nn.relu(norm()(x)))
            y = nn.Conv(width, (3, 3), use_bias=False)(nn.relu(norm()(y)))
            if x.shape != y.shape:
                x = nn.avg_pool(x, (stride, stride), (stride, stride))
                x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[-1])))
            x = x + y
        return nn.Dense(5)(nn.relu(norm()(x)).mean((1, 2)))


class DenseNet(nn.Module):
    """Every layer reads all before it, concatenated, behind one BatchNorm."""

    @nn.compact
    def __call__(self, x):
        norm = lambda: nn.BatchNorm(use_running_average=True)
        x = nn.Conv(8, (3, 3))(x)
        for _ in range(2):
            for _ in range(2):
                y = nn.Conv(12, (1, 1))(nn.relu(norm()(x)))
                x = jnp.concatenate([x, nn.Conv(4, (3, 3))(nn.relu(norm()(y)))], -1)
            x = nn.avg_pool(nn.Conv(8, (1, 1))(nn.relu(norm()(x))), (2, 2), (2, 2))
        return nn.Dense(5)(x.mean((1, 2)))


class MobileNet(nn.Module):
    """Inverted residuals: depthwise, grouped, squeeze and excite, hard swish."""

    @nn.compact
    def __call__(self, x):
        x = nn.hard_swish(nn.Conv(8, (3, 3), strides=2)(x))
        for groups in (16, 4):
            y = nn.hard_swish(nn.Conv(16, (1, 1))(x))
            y = nn.hard_swish(nn.Conv(16, (3, 3), feature_group_count=groups)(y))
            s = nn.relu(nn.Dense(4)(y.mean((1, 2))))
            y = y * nn.hard_sigmoid(nn.Dense(16)(s))[:, None, None]
            x = x + nn.Conv(8, (1, 1))(y)
        return nn.Dense(5)(x.mean((1, 2)))


class ShuffleNet(nn.Module):
    """Grouped convolutions between which channels are shuffled."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(12, (3, 3))(x))
        for _ in range(2):
            y = nn.relu(nn.Conv(12, (1, 1), feature_group_count=3)(x))
            b, h, w, c = y.shape
            y = y.reshape(b, h, w, 3, c // 3).swapaxes(-1, -2).reshape(b, h, w, c)
            x = x + nn.Conv(12, (3, 3), feature_group_count=12)(y)
        return nn.Dense(5)(x.mean((1, 2)))


class ConvNeXt(nn.Module):
    """Depthwise 5 x 5, LayerNorm, an inverted bottleneck and a scale for each channel."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.Conv(8, (4, 4), strides=4)(x))
        for i in range(2):
            y = nn.LayerNorm()(nn.Conv(8, (5, 5), feature_group_count=8)(x))
            y = nn.Dense(8)(nn.gelu(nn.Dense(32)(y)))
            x = x + y * self.param(f"layer_scale_{i}", nn.initializers.ones, (8,))
        return nn.Dense(5)(nn.LayerNorm()(x.mean((1, 2))))


class UNet(nn.Module):
    """Skips that are concatenated; nearest-neighbour upsampling."""

    @nn.compact
    def __call__(self, x):
        a = nn.relu(nn.Conv(8, (3, 3))(x))
        b = nn.relu(nn.Conv(16, (3, 3), strides=2)(a))
        up = jax.image.resize(b, (*a.shape[:3], 16), "nearest")
        return nn.Conv(3, (1, 1))(nn.relu(nn.Conv(8, (3, 3))(jnp.concatenate([up, a], -1))))


class DiffusionUNet(nn.Module):
    """Time embeddings scale and shift channels; transposed convolutions; attention below."""

    @nn.compact
    def __call__(self, x, t):
        angles = t[:, None] * jnp.exp(jnp.arange(4) * -0.7)
        t = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
        t = nn.silu(nn.Dense(16)(t))

        def block(x, width):
            y = nn.Conv(width, (3, 3))(nn.silu(nn.GroupNorm(2)(x)))
            scale, shift = jnp.split(nn.Dense(2 * width)(t)[:, None, None], 2, -1)
            y = nn.silu(nn.GroupNorm(2)(y) * (1 + scale) + shift)
            return nn.Conv(width, (1, 1))(x) + nn.Conv(width, (3, 3))(y)

        a = block(nn.Conv(8, (3, 3))(x), 8)
        b = block(nn.Conv(12, (3, 3), strides=2)(a), 12)
        tokens = b.reshape(b.shape[0], -1, b.shape[-1])
        tokens = nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(tokens))
        up = nn.ConvTranspose(8, (4, 4), strides=(2, 2))(b + tokens.reshape(b.shape))
        return nn.Conv(x.shape[-1], (3, 3))(block(jnp.concatenate([up, a], -1), 8))


class VAE(nn.Module):
    """Flax's VAE, deterministic: two heads over one layer, and a decoder."""

    @nn.compact
    def __call__(self, x, noise):
        shape, x = x.shape, x.reshape(x.shape[0], -1)
        h = nn.relu(nn.Dense(20)(x))
        mean, log_variance = nn.Dense(6)(h), nn.Dense(6)(h)
        z = mean + noise * jnp.exp(0.5 * log_variance)
        out = nn.Dense(x.shape[-1])(nn.relu(nn.Dense(20)(z)))
        return nn.sigmoid(out).reshape(shape), mean.sum(-1), log_variance.sum(-1)


class Generator(nn.Module):
    """A decoder of transposed convolutions behind a dense layer that is unflattened."""

    @nn.compact
    def __call__(self, z):
        x = nn.relu(nn.Dense(4 * 4 * 12)(z)).reshape(-1, 4, 4, 12)
        x = nn.BatchNorm(use_running_average=True)(nn.ConvTranspose(8, (4, 4), (2, 2))(x))
        return jnp.tanh(nn.ConvTranspose(3, (4, 4), (2, 2))(nn.leaky_relu(x, 0.2)))


class ActorCritic(nn.Module):
    """Flax's PPO network: one trunk, two heads, log-softmax."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(6, (8, 8), strides=4, padding="VALID")(x))
        x = nn.relu(nn.Conv(8, (2, 2), padding="VALID")(x))
        x = nn.relu(nn.Dense(16)(x.reshape(x.shape[0], -1)))
        return nn.log_softmax(nn.Dense(4)(x)), nn.Dense(1)(x)


class Inception(nn.Module):
    """Parallel branches, concatenated; max pooling is one of them."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        for _ in range(2):
            a = nn.relu(nn.Conv(6, (1, 1))(x))
            b = nn.relu(nn.Conv(4, (3, 3))(nn.relu(nn.Conv(5, (1, 1))(x))))
            c = nn.Conv(3, (1, 1))(nn.max_pool(x, (3, 3), padding="SAME"))
            x = jnp.concatenate([a, b, c], -1)
        return nn.Dense(5)(x.mean((1, 2)))


def cnn_batchnorm_flatten() -> Case:
    """Positions and channels of one reshape."""
    return linen(CNN(), normal(2, 16, 16, 3))


def vgg() -> Case:
    """Average pooling before the flattening."""
    return linen(VGG(), normal(2, 8, 8, 3))


def resnet_groupnorm() -> Case:
    """Groups of channels that move together."""
    return linen(ResNet(), normal(2, 16, 16, 3))


def resnet_bottleneck() -> Case:
    """Flax's ImageNet example."""
    return linen(Bottleneck(), normal(2, 32, 32, 3))


def bit_resnet() -> Case:
    """Kernels are standardised when they are used."""
    return linen(BigTransfer(), normal(2, 8, 8, 3))


def wide_resnet_padded() -> Case:
    """Padding adds channels."""
    return linen(WideResNet(), normal(2, 8, 8, 3))


def densenet() -> Case:
    """A direct sum that grows."""
    return linen(DenseNet(), normal(2, 8, 8, 3))


def mobilenet() -> Case:
    """Depthwise and grouped convolutions of one width."""
    return linen(MobileNet(), normal(2, 8, 8, 3))


def shufflenet() -> Case:
    """Groups by transposition."""
    return linen(ShuffleNet(), normal(2, 8, 8, 3))


def convnext() -> Case:
    """A parameter that is neither kernel nor bias."""
    return linen(ConvNeXt(), normal(2, 16, 16, 3))


def unet() -> Case:
    """A direct sum of two scales."""
    return linen(UNet(), normal(2, 16, 16, 3))


def diffusion_unet() -> Case:
    """GroupNorm of a concatenation; scale and shift from one split."""
    return linen(DiffusionUNet(), normal(2, 8, 8, 3), normal(2))


def vae() -> Case:
    """Latent dimensions are fixed by the noise, which is an input."""
    return linen(VAE(), normal(2, 6, 6, 1), normal(2, 6))


def generator() -> Case:
    """A dense layer's outputs are positions x channels."""
    return linen(Generator(), normal(2, 5))


def actor_critic() -> Case:
    """Two outputs."""
    return linen(ActorCritic(), normal(2, 16, 16, 2))


def inception() -> Case:
    """A direct sum of three, one of them pooled."""
    return linen(Inception(), normal(2, 8, 8, 3))


MODELS = (
    *(cnn_batchnorm_flatten, vgg, resnet_groupnorm, resnet_bottleneck, bit_resnet),
    *(wide_resnet_padded, densenet, mobilenet, shufflenet, convnext, unet, diffusion_unet, vae),
    *(generator, actor_critic, inception),
)

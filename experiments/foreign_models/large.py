"""Models of 1e8 parameters and more, as shapes: axes are found from shapes alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.foreign_models.generic import Case


class Decoder(nn.Module):
    """A causal language model: GPT-2 with 12 blocks of width 768."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    vocabulary: int = 32768

    @nn.compact
    def __call__(self, t):
        table = nn.Embed(self.vocabulary, self.width)
        x = table(t) + nn.Embed(1024, self.width)(jnp.arange(t.shape[1]))
        mask = nn.make_causal_mask(t)
        for _ in range(self.depth):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(self.heads)(y, y, mask=mask)
            y = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return table.attend(nn.LayerNorm()(x))


class ViT(nn.Module):
    """A vision transformer: ViT-L/16 with 24 blocks of width 1,024."""

    width: int = 1024
    depth: int = 24
    heads: int = 16

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (16, 16), strides=16, name="embedding")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        small = nn.initializers.normal(0.02)
        x = x + self.param("pos_embedding", small, (1, x.shape[1], self.width))
        for _ in range(self.depth):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(self.heads)(y, y)
            y = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(1000)(nn.LayerNorm()(x).mean(1))


def _shapes(module, *inputs) -> Case:
    return module.apply, jax.eval_shape(module.init, jax.random.key(0), *inputs), inputs


def gpt2_small() -> Case:
    """1.1e8 parameters, of which a quarter are one table."""
    return _shapes(Decoder(), jax.ShapeDtypeStruct((2, 9), jnp.int32))


def vit_large() -> Case:
    """3.0e8 parameters."""
    return _shapes(ViT(), jax.ShapeDtypeStruct((2, 32, 48, 3), jnp.float32))


MODELS = (gpt2_small, vit_large)

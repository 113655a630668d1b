"""Flax Linen transformers, named by what makes each one hard to read."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.foreign_models.generic import Case, linen, normal, tokens


class FeedForward(nn.Module):
    """Two dense layers with a GELU, back to the width of the stream."""

    hidden: int = 20

    @nn.compact
    def __call__(self, x):
        return nn.Dense(x.shape[-1])(nn.gelu(nn.Dense(self.hidden)(x)))


class Block(nn.Module):
    """A pre-norm block of big_vision."""

    heads: int = 4

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads)(y, y)
        return x + FeedForward()(nn.LayerNorm()(x))


class FusedBlock(nn.Module):
    """Queries, keys and values of one dense layer, cut apart."""

    heads: int = 2

    @nn.compact
    def __call__(self, x):
        b, n, c = x.shape
        qkv = nn.Dense(3 * c)(nn.LayerNorm()(x))
        q, k, v = (t.reshape(b, n, self.heads, -1) for t in jnp.split(qkv, 3, -1))
        x = x + nn.Dense(c)(jax.nn.dot_product_attention(q, k, v).reshape(b, n, c))
        return x + FeedForward()(nn.LayerNorm()(x))


class PackedBlock(nn.Module):
    """Queries, keys and values of a fused layer as timm reshapes it: [3, heads, head]."""

    heads: int = 2

    @nn.compact
    def __call__(self, x):
        b, n, c = x.shape
        qkv = nn.Dense(3 * c)(nn.LayerNorm()(x)).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (c // self.heads) ** -0.5
        y = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v).reshape(b, n, c)
        x = x + nn.Dense(c)(y)
        return x + FeedForward()(nn.LayerNorm()(x))


def patches(x: jax.Array, width: int) -> jax.Array:
    """Images cut into embedded patches [batch, patch, width]."""
    x = nn.Conv(width, (4, 4), strides=4, padding="VALID", name="embedding")(x)
    return x.reshape(x.shape[0], -1, width)


class ViT(nn.Module):
    """A class token in front, learned positions, blocks of one kind."""

    block: Any = Block
    width: int = 16
    pool: str = "token"

    @nn.compact
    def __call__(self, x):
        x = patches(x, self.width)
        small = nn.initializers.normal(0.02)
        if self.pool == "token":
            first = self.param("cls", small, (1, 1, self.width))
            x = jnp.concatenate([jnp.tile(first, (x.shape[0], 1, 1)), x], 1)
        x = x + self.param("pos_embedding", small, (1, x.shape[1], self.width))
        for _ in range(2):
            x = self.block()(x)
        x = nn.LayerNorm()(x)
        if self.pool == "token":
            return nn.Dense(6)(x[:, 0])
        probe = jnp.tile(self.param("probe", small, (1, 1, self.width)), (x.shape[0], 1, 1))
        x = nn.MultiHeadDotProductAttention(4)(probe, x)
        return nn.Dense(6)((x + FeedForward()(nn.LayerNorm()(x)))[:, 0])


class Mixer(nn.Module):
    """MLPs over patches and over channels by turns."""

    @nn.compact
    def __call__(self, x):
        x = patches(x, 12)
        for _ in range(2):
            y = FeedForward(10)(nn.LayerNorm()(x).swapaxes(1, 2))
            x = x + y.swapaxes(1, 2)
            x = x + FeedForward(24)(nn.LayerNorm()(x))
        return nn.Dense(5)(nn.LayerNorm()(x).mean(1))


class TiedLM(nn.Module):
    """One table embeds and reads out; SwiGLU; RMSNorm."""

    @nn.compact
    def __call__(self, t):
        table = nn.Embed(30, 24)
        x = table(t)
        mask = nn.make_causal_mask(t)
        for _ in range(2):
            y = nn.RMSNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(3)(y, y, mask=mask)
            y = nn.RMSNorm()(x)
            x = x + nn.Dense(24)(nn.silu(nn.Dense(36)(y)) * nn.Dense(36)(y))
        return table.attend(x)


class GPT2(nn.Module):
    """Learned positions, fused qkv, a causal mask, a read-out of its own."""

    @nn.compact
    def __call__(self, t):
        b, n = t.shape
        x = nn.Embed(30, 16)(t) + nn.Embed(12, 16)(jnp.arange(n))
        causal = jnp.tril(jnp.ones((n, n), bool))
        for _ in range(2):
            qkv = nn.Dense(48)(nn.LayerNorm()(x))
            q, k, v = (s.reshape(b, n, 4, 4).swapaxes(1, 2) for s in jnp.split(qkv, 3, -1))
            scores = jnp.where(causal, q @ k.swapaxes(-1, -2) / 2.0, -jnp.inf)
            y = (nn.softmax(scores) @ v).swapaxes(1, 2).reshape(b, n, 16)
            x = x + nn.Dense(16)(y)
            x = x + FeedForward(64)(nn.LayerNorm()(x))
        return nn.Dense(30, use_bias=False)(nn.LayerNorm()(x))


def rotated(x: jax.Array, interleaved: bool) -> jax.Array:
    """Rotary positions of heads [batch, position, head, dimension], by pairs of dimensions."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 100.0 ** -(jnp.arange(half) / half)
    c, s = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    if interleaved:
        a, b = x[..., ::2], x[..., 1::2]
        return jnp.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * c - b * s, a * s + b * c], -1)


class LLaMA(nn.Module):
    """Rotary positions, and fewer heads of keys and values than of queries."""

    interleaved: bool = False
    repeated: bool = True

    @nn.compact
    def __call__(self, t):
        b, n = t.shape
        x = nn.Embed(30, 16)(t)
        causal = jnp.tril(jnp.ones((n, n), bool))
        for _ in range(2):
            y = nn.RMSNorm()(x)
            project = lambda h: nn.DenseGeneral((h, 8), use_bias=False)
            q, k, v = project(4)(y), project(2)(y), project(2)(y)
            q, k = (rotated(z, self.interleaved) for z in (q, k))
            if self.repeated:
                k, v = (jnp.repeat(z, 2, axis=2) for z in (k, v))
                scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * 8**-0.5
                scores = jnp.where(causal, scores, -1e9)
                y = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v)
            else:
                q = q.reshape(b, n, 2, 2, 8)
                scores = jnp.einsum("bqhgd,bkhd->bhgqk", q, k) * 8**-0.5
                scores = jnp.where(causal, scores, -1e9)
                y = jnp.einsum("bhgqk,bkhd->bqhgd", nn.softmax(scores), v).reshape(b, n, 4, 8)
            x = x + nn.DenseGeneral(16, axis=(-2, -1), use_bias=False)(y)
            y = nn.RMSNorm()(x)
            gate, up = nn.Dense(24, use_bias=False)(y), nn.Dense(24, use_bias=False)(y)
            x = x + nn.Dense(16, use_bias=False)(nn.silu(gate) * up)
        return nn.Dense(30, use_bias=False)(nn.RMSNorm()(x))


class ScannedLM(nn.Module):
    """Blocks stacked by `nn.scan`, rematerialised."""

    @nn.compact
    def __call__(self, t):
        class Step(nn.Module):
            @nn.compact
            def __call__(self, x, _):
                return Block(2)(x), None

        x = nn.Embed(20, 12)(t)
        stack = nn.scan(
            nn.remat(Step), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x, _ = stack(name="blocks")(x, None)
        return nn.Dense(20)(nn.LayerNorm()(x))


class Perceiver(nn.Module):
    """Learned latents read the input by cross-attention; their order is free."""

    @nn.compact
    def __call__(self, x):
        z = self.param("latents", nn.initializers.normal(1), (5, 12))
        z = jnp.broadcast_to(z, (x.shape[0], 5, 12))
        for _ in range(2):
            z = z + nn.MultiHeadDotProductAttention(2, qkv_features=8)(nn.LayerNorm()(z), x)
            z = Block(3)(z)
        return nn.Dense(4)(z.mean(1))


class DETR(nn.Module):
    """Learned queries whose order is that of the output."""

    @nn.compact
    def __call__(self, x):
        x = patches(x, 12)
        x = Block(3)(x + self.param("positions", nn.initializers.normal(1), (x.shape[1], 12)))
        q = self.param("queries", nn.initializers.normal(1), (4, 12))
        z = jnp.zeros((x.shape[0], 4, 12))
        for _ in range(2):
            z = nn.LayerNorm()(z + nn.MultiHeadDotProductAttention(3)(z + q, z + q, z))
            z = nn.LayerNorm()(z + nn.MultiHeadDotProductAttention(3)(z + q, x))
            z = nn.LayerNorm()(z + FeedForward()(z))
        return nn.Dense(3)(z), nn.sigmoid(nn.Dense(4)(nn.relu(nn.Dense(9)(z))))


class Translator(nn.Module):
    """An encoder and a decoder that share a table, which also reads out."""

    @nn.compact
    def __call__(self, source, target):
        table = nn.Embed(20, 12)
        x = Block(3)(table(source) + sines(source.shape[1], 12))
        y = table(target) + sines(target.shape[1], 12)
        mask = nn.make_causal_mask(target)
        z = nn.LayerNorm()(y)
        y = y + nn.MultiHeadDotProductAttention(3)(z, z, mask=mask)
        y = y + nn.MultiHeadDotProductAttention(3)(nn.LayerNorm()(y), x)
        return table.attend(nn.LayerNorm()(y + FeedForward()(nn.LayerNorm()(y))))


def sines(count: int, width: int) -> jax.Array:
    """Sinusoidal positions [count, width]: constants that tell the dimensions apart."""
    angle = jnp.arange(count)[:, None] * 100.0 ** -(jnp.arange(width // 2) / width)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


class Experts(nn.Module):
    """Feed-forward experts: a weighted sum over all, or over the best two of each token."""

    best: int = 0

    @nn.compact
    def __call__(self, t):
        x = nn.Embed(20, 12)(t)
        normal = nn.initializers.normal(1)
        up = self.param("up", normal, (5, 12, 16))
        down = self.param("down", normal, (5, 16, 12))
        gate = nn.softmax(nn.Dense(5)(x))
        if self.best:
            weight, which = jax.lax.top_k(gate, self.best)
            chosen = jax.nn.one_hot(which, 5)
            gate = (weight[..., None] * chosen).sum(-2)
        y = nn.gelu(jnp.einsum("bti,eih->bteh", x, up))
        x = x + jnp.einsum("bteh,eho,bte->bto", y, down, gate)
        return nn.Dense(20)(nn.LayerNorm()(x))


class Universal(nn.Module):
    """One block, applied three times by a scan that does not stack it."""

    @nn.compact
    def __call__(self, t):
        class Step(nn.Module):
            @nn.compact
            def __call__(self, x, _):
                return Block(3)(x), None

        x = nn.Embed(20, 12)(t)
        repeat = nn.scan(Step, variable_broadcast="params", split_rngs={"params": False}, length=3)
        return nn.Dense(20)(repeat()(x, None)[0])


class BERT(nn.Module):
    """Post-norm, segments, and a masked language model's head on the tied table."""

    @nn.compact
    def __call__(self, t, segments):
        table = nn.Embed(20, 12)
        x = table(t) + nn.Embed(2, 12)(segments) + nn.Embed(8, 12)(jnp.arange(t.shape[1]))
        x = nn.LayerNorm()(x)
        for _ in range(2):
            x = nn.LayerNorm()(x + nn.MultiHeadDotProductAttention(3)(x, x))
            x = nn.LayerNorm()(x + FeedForward(24)(x))
        y = nn.LayerNorm()(nn.gelu(nn.Dense(12)(x)))
        pooled = jnp.tanh(nn.Dense(12)(x[:, 0]))
        bias = self.param("bias", nn.initializers.zeros, (20,))
        return table.attend(y) + bias, nn.Dense(2)(pooled)


IMAGES = (2, 8, 12, 3)


def vit_class_token() -> Case:
    """A token that is a parameter, in front of those of patches."""
    return linen(ViT(), normal(*IMAGES))


def vit_map_head() -> Case:
    """big_vision's pooling by attention, with a learned probe."""
    return linen(ViT(pool="map"), normal(*IMAGES))


def vit_fused_qkv() -> Case:
    """A direct sum of three, each heads x dimensions."""
    return linen(ViT(block=FusedBlock), normal(*IMAGES))


def vit_packed_qkv() -> Case:
    """The same by a reshape and an index."""
    return linen(ViT(block=PackedBlock), normal(*IMAGES))


def mixer() -> Case:
    """Patches are hidden where no layer fixes their order; here the image does."""
    return linen(Mixer(), normal(*IMAGES))


def lm_tied_swiglu() -> Case:
    """Gated units; the vocabulary is fixed by input and output."""
    return linen(TiedLM(), tokens(2, 5, vocabulary=30))


def gpt2() -> Case:
    """Fused, causal, with positions from a table."""
    return linen(GPT2(), tokens(2, 5, vocabulary=30))


def llama_grouped_queries() -> Case:
    """Heads of queries lie within heads of keys, repeated; rotation by halves."""
    return linen(LLaMA(), tokens(2, 5, vocabulary=30))


def llama_interleaved() -> Case:
    """Rotation of neighbours; groups of heads by a reshape."""
    return linen(LLaMA(interleaved=True, repeated=False), tokens(2, 5, vocabulary=30))


def lm_scanned() -> Case:
    """Every array has the layers as its first axis."""
    return linen(ScannedLM(), tokens(2, 5, vocabulary=20))


def perceiver() -> Case:
    """The latents themselves are a hidden axis."""
    return linen(Perceiver(), normal(2, 7, 6))


def detr() -> Case:
    """Queries are outputs; their stream is hidden."""
    return linen(DETR(), normal(*IMAGES))


def translator() -> Case:
    """One stream of encoder and decoder, because they share a table; sinusoids fix it."""
    return linen(Translator(), tokens(2, 5, vocabulary=20), tokens(2, 4, vocabulary=20, seed=2))


def experts_soft() -> Case:
    """Experts are a hidden axis; their units lie within."""
    return linen(Experts(), tokens(2, 5, vocabulary=20))


def experts_top_k() -> Case:
    """Experts by index: a sort, a comparison with a constant."""
    return linen(Experts(best=2), tokens(2, 5, vocabulary=20))


def universal_transformer() -> Case:
    """The carry of a loop is the stream."""
    return linen(Universal(), tokens(2, 5, vocabulary=20))


def bert() -> Case:
    """Three tables write one stream, one of them also reads it."""
    return linen(BERT(), tokens(2, 5, vocabulary=20), tokens(2, 5, vocabulary=2))


MODELS = (
    *(vit_class_token, vit_map_head, vit_fused_qkv, vit_packed_qkv, mixer, lm_tied_swiglu, gpt2),
    *(llama_grouped_queries, llama_interleaved, lm_scanned, perceiver, detr, translator),
    *(experts_soft, experts_top_k, universal_transformer, bert),
)

"""Functions of sets: attention blocks and pooling (Lee et al., 2019; Andreis et al., 3.7).

    SAB(X)    = MAB(X, X)                        set -> set
    PMA(X, S) = MAB(S, rFF(X))                   set -> one vector per seed
    MAB(X, Y) = H + rFF(H),  H = X + Attention(X, Y, Y)          (eqs. 11-14)

A block has four linear maps of its width, as in the Set Transformer's own code; with `output`
a fifth, of the joined heads, as in Vaswani et al. (2017, MultiHead; eq. 12). Sets are masked,
and one call serves many: `mask[i, j]` is True where element i attends to element j, so several
sets that lie side by side are kept apart by a block-diagonal mask.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Mask = Array | tuple[Array, Array]  # True where one attends to another; or integers, see `same`
NORMS = ("none", "post", "pre")
RESIDUALS = ("identity", "projected")


def same(a: Array, b: Array) -> jax.Array:
    """[..., n], [..., m] -> [..., n, m]: do both numbers agree, and is neither "none" (-1)?"""
    a, b = jnp.asarray(a)[..., :, None], jnp.asarray(b)[..., None, :]
    return (a == b) & (b >= 0)


def attend(query, key, value, mask, heads: int, block: int = 0) -> jax.Array:
    """Multi-head attention.

    Args:
        query: [..., n, width].
        key: [..., m, width].
        value: [..., m, width].
        mask: [..., n, m] bool, True where n attends to m; broadcasts. Or a pair of
            integers [..., n] and [..., m]: n attends to m where they are the `same`.
        heads: number of heads; divides the width.
        block: if positive, queries are taken in blocks of this many, one after another,
            and again in the backward pass, so that memory grows with block * m and not
            with n * m, if the mask is a pair. The numbers are the same.

    Returns:
        [..., n, width]. An element that attends to nothing gets the mean of all.
    """
    n, pair = query.shape[-2], isinstance(mask, tuple)
    if block and n > block:
        rows = jnp.asarray(mask[0])[..., None] if pair else jnp.asarray(mask)
        rows = jnp.broadcast_to(rows, (*rows.shape[:-2], n, rows.shape[-1]))

        @jax.checkpoint
        def one(queries, rows):
            some = (rows[..., 0], mask[1]) if pair else rows
            return attend(queries, key, value, some, heads)

        pieces = (blocks(query, -2, block), blocks(rows, -2, block))
        return unblock(jax.lax.map(lambda x: one(*x), pieces), -2)[..., :n, :]
    if pair:
        mask = same(*mask)
    size = query.shape[-1] // heads
    split = lambda x: jnp.swapaxes(x.reshape(*x.shape[:-1], heads, size), -3, -2)
    mask = jnp.asarray(mask)[..., None, :, :]
    out = _attend(split(query) * size**-0.5, split(key), split(value), mask)
    out = jnp.swapaxes(out, -3, -2)
    return out.reshape(*out.shape[:-2], -1)


@jax.custom_vjp
def _attend(query, key, value, mask):
    """Attention of single heads [..., n, size], [..., m, size]; the mask [..., n, m] broadcasts.

    The backward pass is written out because it has thousands of small products: XLA's own one
    contracts them along rows, which takes a CPU longer than along columns.
    """
    return _attend_forward(query, key, value, mask)[0]


def _attend_forward(query, key, value, mask):
    scores = jnp.matmul(query, key.mT)
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min))
    out = jnp.matmul(weights, value)
    return out, (query, key, value, mask, weights, out)


def _attend_backward(kept, change):
    query, key, value, mask, weights, out = kept
    slope = jnp.matmul(change, value.mT) - (change * out).sum(-1, keepdims=True)
    slope = jnp.where(mask, weights * slope, 0)
    of_key, of_value = jnp.matmul(query.mT, slope).mT, jnp.matmul(change.mT, weights).mT
    return jnp.matmul(slope, key), of_key, of_value, None


_attend.defvjp(_attend_forward, _attend_backward)


def blocks(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Pads an axis with zeros to a multiple of `size` and brings its blocks to the front.

    [..., n, ...] -> [block, ..., size, ...]; `unblock` undoes it, but for the padding.
    """
    x = jnp.asarray(x)
    axis %= x.ndim
    grow = [(0, 0)] * x.ndim
    grow[axis] = (0, -x.shape[axis] % size)
    x = jnp.pad(x, grow)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :]), axis, 0)


def unblock(x: jax.Array, axis: int) -> jax.Array:
    """[block, ..., size, ...] -> [..., block * size, ...], at `axis` of the result."""
    axis %= x.ndim - 1
    x = jnp.moveaxis(x, 0, axis)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _maps(*gains):
    """Initialiser of several square maps side by side, [width, width * len(gains)].

    Twenty blocks deep and without norms, a network explodes when every map starts at
    gain one: values start at .3 and feed-forward maps at .1.
    """
    plain = nn.initializers.lecun_normal()

    def init(key, shape, dtype=jnp.float32):
        one = (shape[0], shape[1] // len(gains))
        keys = jax.random.split(key, len(gains))
        parts = [g * plain(k, one, dtype) for k, g in zip(keys, gains, strict=True)]
        return jnp.concatenate(parts, axis=1)

    return init


class MAB(nn.Module):
    """Multi-head attention block.

    Attributes:
        heads: number of heads.
        norm: where LayerNorm sits: "none", "post" (eqs. 11-12) or "pre".
        residual: "identity" adds X itself (eq. 12), "projected" its query projection
            (the Set Transformer's code).
        output: whether the joined heads are projected.
        block: as in `attend`.
    """

    heads: int = 4
    norm: str = "none"
    residual: str = "identity"
    output: bool = False
    block: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None, mask: Mask) -> jax.Array:
        """X [..., n, width] attends to Y [..., m, width], or at itself if Y is None."""
        if self.norm not in NORMS or self.residual not in RESIDUALS:
            raise ValueError(
                f"expected a norm of {NORMS} and a residual of {RESIDUALS}, "
                f"got {self.norm!r} and {self.residual!r}"
            )
        width, norm = x.shape[-1], lambda on, name, z: nn.LayerNorm(name=name)(z) if on else z
        pre, post = self.norm == "pre", self.norm == "post"
        if y is None:
            z = norm(pre, "norm_0", x)
            z = nn.Dense(3 * width, kernel_init=_maps(1, 1, 0.3), name="query_key_value")(z)
            query, key, value = jnp.split(z, 3, axis=-1)
        else:
            query = nn.Dense(width, kernel_init=_maps(1), name="query")(norm(pre, "norm_0", x))
            z = nn.Dense(2 * width, kernel_init=_maps(1, 0.3), name="key_value")(y)
            key, value = jnp.split(z, 2, axis=-1)
        out = attend(query, key, value, mask, self.heads, self.block)
        if self.output:
            out = nn.Dense(width, kernel_init=_maps(1), name="output")(out)
        out = norm(post, "norm_0", (x if self.residual == "identity" else query) + out)
        forward = nn.Dense(width, kernel_init=_maps(0.1), name="feed_forward")
        return norm(post, "norm_1", out + nn.relu(forward(norm(pre, "norm_1", out))))


class SetToSet(nn.Module):
    """A stack of SABs; or, without `attention`, of maps of one element each.

    Attributes:
        depth: number of blocks.
        attention: False replaces each block by a residual map (SNE, table 6).
        heads, norm, residual, output, block: as in `MAB`.
    """

    depth: int
    attention: bool = True
    heads: int = 4
    norm: str = "none"
    residual: str = "identity"
    output: bool = False
    block: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, mask: Mask) -> jax.Array:
        """[..., n, width], mask [..., n, n] or a pair as in `attend` -> [..., n, width]."""
        for _ in range(self.depth):
            if self.attention:
                block = MAB(self.heads, self.norm, self.residual, self.output, self.block)
                x = block(x, None, mask)
            else:
                x = x + nn.relu(nn.Dense(x.shape[-1], kernel_init=_maps(0.1))(x))
        return x


class SetToVector(nn.Module):
    """Pools each of several sets into a vector: PMA, or a mean without `attention`.

    Attributes:
        seeds: vectors a set is pooled into; they are laid side by side.
        attention: False takes the mean over the set (SNE, table 6).
        heads, norm, residual, output: as in `MAB`.
    """

    seeds: int = 1
    attention: bool = True
    heads: int = 4
    norm: str = "none"
    residual: str = "identity"
    output: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: Array) -> jax.Array:
        """[..., n, width], mask [..., sets, n] -> [..., sets, seeds * width]."""
        width, sets = x.shape[-1], mask.shape[-2]
        if not self.attention:
            mask = mask.astype(x.dtype)
            share = mask / jnp.maximum(mask.sum(-1, keepdims=True), 1)
            return jnp.einsum("...sn,...nw->...sw", share, x)
        x = nn.relu(nn.Dense(width, kernel_init=_maps(1), name="feed_forward")(x))
        seeds = self.param("seed", nn.initializers.normal(0.5), (self.seeds, width))
        seeds = jnp.tile(seeds, (sets, 1))
        mask = jnp.repeat(mask, self.seeds, axis=-2)
        out = MAB(self.heads, self.norm, self.residual, self.output)(
            jnp.broadcast_to(seeds, (*x.shape[:-2], *seeds.shape)), x, mask
        )
        return out.reshape(*out.shape[:-2], sets, self.seeds * width)

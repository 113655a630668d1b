"""Vision transformers."""

import math
from collections.abc import Sequence

from wsjax.architectures import activations
from wsjax.architectures.spec_builder import Axes, Draft, kernel, vector
from wsjax.networks import Spec


def vit(
    inputs: int,
    width: int,
    outputs: int,
    *,
    size: Sequence[int],
    patch: int | Sequence[int],
    blocks: int = 2,
    heads: int = 2,
    mlp_width: int | None = None,
    head_width: int | None = None,
    pool: str = "first",
    epsilon: float = 1e-6,
    activation: str = "gelu",
    key_bias: bool = True,
) -> Spec:
    """Spec of a vision transformer (Dosovitskiy et al., 2021), normalised first.

    Patches by a convolution, a class token, learnt positions; blocks of LayerNorm and
    attention, LayerNorm and two dense layers, each pair added to the stream; a LayerNorm
    and a dense layer. Reads [..., *positions, inputs]. Attention is stored as
    `flax.linen.MultiHeadDotProductAttention` does: query, key, value [stream, head,
    dimension], out [head, dimension, stream].

    Args:
        inputs: channels of the input.
        width: of the stream.
        outputs: of the last layer.
        size: of the image; its length is the number of dimensions, 1 or 2.
        patch: window of a patch, a number or one by dimension.
        blocks: how many.
        heads: of each attention.
        mlp_width: of the dense layer inside a block; four times the stream's if None.
        head_width: of queries, keys and values of one head; width / heads if None.
        pool: "first", the class token alone is read; or "mean", over all patches, without
            a class token.
        epsilon: of the LayerNorms.
        activation: inside a block: "gelu" of networks trained with PyTorch, "gelu_tanh" of
            those trained with Flax, if by the defaults of each.
        key_bias: whether keys have a bias, which leaves the function as it is: softmax is
            invariant to a number added to all keys.

    Raises:
        ValueError: the settings make no network.
    """
    activations.check(activation)
    size, draft = tuple(size), Draft()
    patch = (patch,) * len(size) if isinstance(patch, int) else tuple(patch)
    fits = len(patch) == len(size) and not any(n % p for n, p in zip(size, patch, strict=True))
    if not fits or len(size) not in (1, 2) or pool not in ("first", "mean"):
        raise ValueError(
            "expected an image that patches divide and a pool of ['first', 'mean'], got "
            f"{size}, {patch} and {pool!r}"
        )
    if heads < 1:
        raise ValueError(f"expected at least one head, got {heads}")
    if head_width is None and width % heads:
        raise ValueError(f"expected a width in {heads} equal heads, got {width}")
    dimension = head_width or width // heads
    tokens = math.prod(n // p for n, p in zip(size, patch, strict=True))
    x, s = draft.fixed("x", inputs), draft.neurons("s", width)
    own = {"stride": patch, "padding": "VALID", "pool": "tokens"}
    draft.conv(x, s, patch, settings=own)
    if pool == "first":
        array = vector("cls", "bias", s)
        draft.layer("embedding", [array], name="cls", settings={"embedding": "token"})
        tokens += 1
    token = draft.fixed("token", tokens)
    array = vector("positions", "bias", s, token)
    draft.layer("embedding", [array], name="positions", settings={"embedding": "positions"})
    for i in range(blocks):
        start = draft.level
        draft.norm("layer", s, epsilon, {})
        attend(draft, s, *draft.heads(i, heads, dimension, dimension), key_bias)
        draft.residual(start)
        start = draft.level
        draft.norm("layer", s, epsilon, {})
        inner = draft.neurons(f"h{i}", mlp_width or 4 * width)
        draft.dense(s, writes=inner, activation=activation)
        draft.dense(inner, writes=s)
        draft.residual(start)
    draft.norm("layer", s, epsilon, {"pool": pool})
    draft.dense(s, writes=draft.fixed("y", outputs))
    return draft.spec()


def attend(draft: Draft, stream: Axes, queries: Axes, values: Axes, key_bias: bool = True) -> int:
    """Drafts multi-head attention of a stream with itself; gives the level."""
    name, arrays = draft.name("MultiHeadDotProductAttention"), []
    for part, axes in (("query", queries), ("key", queries), ("value", values)):
        arrays.append(kernel(f"{name}/{part}/kernel", stream, axes))
        if part != "key" or key_bias:
            arrays.append(vector(f"{name}/{part}/bias", "bias", axes))
    arrays.append(kernel(f"{name}/out/kernel", values, stream))
    arrays.append(vector(f"{name}/out/bias", "bias", stream))
    return draft.layer("attention", arrays, name=name)

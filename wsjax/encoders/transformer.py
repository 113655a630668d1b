"""Transformer: a token per neuron, and attention among them.

The "Transformer" row of Navon et al. (2023) and of Lim et al. (2024, table 3), after the
G.pt encoder (Peebles et al., 2022), with the tokens of HyperRep (Schürholt et al., 2021):

    token of neuron j    what the layer writes to j:  [kernel[:, j], bias[j]]
    embedding            map of the layer (token) + learned position
    embedding            map of a class token that attends to all others

Every array belongs to the neurons it writes, and each token has all that one layer writes
to one neuron:

    dense       ("x", "h0"), ("h0",)          one token per h0, of x + 1 numbers
    conv        ("row", "col", "c0", "c1")    one token per c1, of row * col * c0 (+ 1)
    norm        scale, bias, mean, variance   one token per neuron, of up to 4 numbers
    attention   writes ("head", "qk")         one token per pair, queries and keys together
    an array that writes no axis              one token, of all its entries

So every parameter is in exactly one token. Positions and maps are learned for one
architecture: the encoder depends on the order of neurons, and is the baseline for that.

Deviations: neither paper describes the tokens of this method; Peebles et al. cut flattened
layers into pieces. No dropout (HyperRep: .1). The size is ours, about 100 000 parameters
on 1-32-32-1 networks as Navon et al. have it.
"""

import math

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors, offsets
from wsjax.summaries import summary

POOLS = ("class", "mean")


@flax.struct.dataclass
class Tokens:
    """Positions of the numbers of each token in `ravel`'s vector.

    Attributes:
        places: for each group of like tokens, [token, number]; a group is what one layer
            writes to the neurons of one axis, or of several folded into one.
        names: of the groups, "layer/axis" (static).
    """

    places: tuple[np.ndarray, ...]
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)

    __repr__ = summary


def tokens(spec: Spec) -> Tokens:
    """The `Tokens` of a spec.

    Raises:
        ValueError: the network has no arrays.

    >>> from wsjax import architectures
    >>> [x.shape for x in tokens(architectures.mlp([2, 32, 1])).places]
    [(32, 3), (1, 33)]
    """
    places, groups = offsets(spec) if spec.arrays else {}, {}
    for layer in spec.layers:
        for a in layer.arrays:
            written = tuple(a.axes[i] for i in a.writes)
            count = math.prod(spec.shape(a)[i] for i in a.writes)
            entries = np.moveaxis(places[a.name], a.writes, range(len(a.writes)))
            groups.setdefault((layer.name, written), []).append(entries.reshape(count, -1))
    if not groups:
        raise ValueError("expected a network with at least one array, got none")
    return Tokens(
        tuple(np.concatenate(parts, axis=1).astype(np.int32) for parts in groups.values()),
        tuple("/".join((layer, *written)) for layer, written in groups),
    )


class Transformer(Encoder):
    """A pre-norm Transformer encoder on the tokens of one architecture.

    Attributes:
        width: of a token.
        depth: number of blocks.
        heads: of every attention; divides the width.
        factor: width of the feed-forward maps, in token widths.
        pool: the source of the embedding: "class", a learned token that attends to all
            others, or "mean", of all tokens.
        code: width of the embedding.
    """

    width: int = 52
    depth: int = 4
    heads: int = 4
    factor: int = 2
    pool: str = "class"
    code: int = 32

    def __post_init__(self):
        super().__post_init__()
        divides = settings.divides(self.heads, self.width)
        rules = {"heads": (divides, f"a divisor of the width {self.width}")}
        settings.check(self, rules, choices={"pool": POOLS}, sizes=["depth", "factor", "code"])

    def view(self, spec: Spec) -> Tokens:
        """Positions of the numbers of each token."""
        return tokens(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Tokens, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        check_vectors(vectors, sum(places.size for places in view.places))
        numbers = [jnp.asarray(vectors)[:, places] for places in view.places]
        parts = [nn.Dense(self.width, name=f"embed_{i}")(x) for i, x in enumerate(numbers)]
        x = jnp.concatenate(parts, axis=1)  # [batch, token, width]
        small = nn.initializers.normal(0.02)
        x = x + self.param("position", small, x.shape[1:])
        if self.pool == "class":
            token = self.param("class", small, (self.width,))
            token = jnp.broadcast_to(token, (x.shape[0], 1, self.width))
            x = jnp.concatenate([token, x], axis=1)
        for i in range(self.depth):
            x = Block(self.heads, self.factor, name=f"block_{i}")(x)
        x = x[:, 0] if self.pool == "class" else x.mean(1)
        return nn.Dense(self.code, name="code_map")(nn.LayerNorm(name="norm")(x))


class Block(nn.Module):
    """A pre-norm Transformer block: attention, then a map of each token, both residual.

    Attributes:
        heads: number of heads; divides the width.
        factor: width of the hidden layer, in token widths.
    """

    heads: int
    factor: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, token, width] -> the same shape."""
        width = x.shape[-1]
        attention = nn.MultiHeadDotProductAttention(self.heads)
        x = x + jnp.asarray(attention(nn.LayerNorm()(x)))
        y = nn.gelu(nn.Dense(self.factor * width)(nn.LayerNorm()(x)))
        return x + nn.Dense(width)(y)

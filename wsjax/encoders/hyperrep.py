"""HyperRep, hyper-representations: an auto-encoder of networks (Schürholt et al., 2021).

    token of neuron j   [ all it reads, kernel[..., j]; bias[j] ]
    x = [ compression token, map_layer(token_1), map_layer(token_2), ... ] + learned position
    x = x + Attention(norm(x)),  x = x + map(relu(map(norm(x))))       in each block
    embedding = tanh( map of the compression token )

    y = map(embedding), a row for each token, + learned position -> blocks -> map_layer -> network

    loss = gamma * NT-Xent( head(embedding of view 1), head(embedding of view 2) )
         + (1 - gamma) * mean squared error of the views as decoded

A view is the network with its hidden neurons permuted and, half the time, one block of its
entries set to zero. Maps and positions belong to one architecture, and the encoder
depends on the order of neurons: permuted views teach it invariance. As an encoder like any other
it is trained on labels and has no decoder; the auto-encoder is a task,

    trained = fit(zoo, Reconstruction(), HyperRep())         of `wsjax.tasks.reconstruction`

whose variables hold the encoder's under the names the encoder alone has.
`HyperRep(**PUBLISHED)` is the model of the published code for CNNs of 4 970 parameters.

Its gamma is .85 for Fashion-MNIST, as here, and .1 for MNIST; for CIFAR-10 it has another
contrast, without negatives, which is left out here.

Deviations: LayerNorm for BatchNorm in the head, since embeddings here do not depend on the batch,
and the variance in the norms of blocks is not Bessel-corrected; blocks to be erased are drawn
at a length and then where they fit, the published code draws both until they fit, which
favours short ones by a little; permutations are drawn afresh, not from a list of 25 000; the
published index of the CNNs begins their third layer at entry 2 320 where it is 2 480, here
every entry is in one token. As in the published code, what is to be decoded is the view as
encoded, with its hole; `Objective.target` takes the whole network instead. The default size is
ours, about 100 000 parameters without decoder on 1-32-32-1 networks.
"""

import functools
import math
from collections.abc import Sequence

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors, offsets
from wsjax.summaries import summary
from wsjax.views.wiring import wiring

PUBLISHED = {
    "width": 512,
    "depth": 4,
    "heads": 4,
    "hidden": 1000,
    "code": 1200,
    "dropout": 0.1,
    "head": (400, 400, 400, 400, 50),
}


@flax.struct.dataclass
class Tokens:
    """Positions of the numbers of each token in `ravel`'s vector.

    Attributes:
        places: for each layer, [neuron, number]: what the neuron reads, then its bias.
        back: [entry] the number of each entry among those of all tokens, one after another.
        rank: [entry] the same with the biases of a layer after all its kernels, as the
            published code lays networks out: blocks that are erased are blocks of this.
        names: of the layers; with the axes written, if a layer writes several (static).
    """

    places: tuple[np.ndarray, ...]
    back: np.ndarray
    rank: np.ndarray
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)

    __repr__ = summary


@functools.lru_cache(maxsize=256)
def tokens(spec: Spec) -> Tokens:
    """The `Tokens` of a spec.

    Raises:
        ValueError: a layer is none of dense, convolution and residual, has arrays that are
            neither kernel nor bias, or a bias and no kernel; all at once. Or the network has
            no arrays.

    >>> from wsjax import architectures
    >>> [x.shape for x in tokens(architectures.cnn([1, 16], [10])).places]
    [(16, 10), (10, 17)]
    """
    _check(spec)
    places, joined, groups = offsets(spec), wiring(spec), {}
    for join in joined.joins:
        count = len(join.write_axes)
        entries = np.moveaxis(places[join.array.name], join.write_axes, range(count))
        rows = entries.reshape(math.prod(entries.shape[:count]), -1)
        kernels, biases = groups.setdefault((join.layer, join.writes), ([], []))
        (kernels if join.array.role == "kernel" else biases).append(rows)
    numbers = [np.concatenate(kernels + biases, axis=1) for kernels, biases in groups.values()]
    laid = [
        np.concatenate([x.ravel() for x in (np.concatenate(kernels, axis=1), *biases)])
        for kernels, biases in groups.values()
    ]
    layers = [layer for layer, _ in groups]
    names = [
        "_".join((spec.layers[n].name, *(joined.places[p].axes if layers.count(n) > 1 else ())))
        for n, p in groups
    ]
    undo = lambda parts: np.argsort(np.concatenate([x.ravel() for x in parts])).astype(np.int32)
    return Tokens(
        tuple(x.astype(np.int32) for x in numbers), undo(numbers), undo(laid), tuple(names)
    )


def _check(spec):
    wrong = []
    for layer in spec.layers:
        roles = [a.role for a in layer.arrays]
        if layer.kind not in ("dense", "conv", "residual"):
            wrong.append(
                f"{layer.name}: expected a dense layer or a convolution, got {layer.kind!r}"
            )
        elif set(roles) - {"kernel", "bias"} or (layer.arrays and "kernel" not in roles):
            wrong.append(f"{layer.name}: expected a kernel and biases, got {roles}")
    if not (wrong or spec.arrays):
        wrong.append("expected a network with at least one array, got none")
    checks.raise_all("HyperRep does not support the network", wrong)


class HyperRep(Encoder):
    """An encoder with tokens for neurons, and the decoder that undoes it.

    Attributes:
        width: of a token.
        depth: blocks of the encoder, and as many of the decoder.
        heads: of every attention; divides the width.
        hidden: width of the map between the blocks' linear maps.
        code: width of the embedding.
        dropout: in training, of attention weights, hidden layers and what blocks add.
        head: widths of the projection that NT-Xent compares; nothing else reads it.
    """

    width: int = 52
    depth: int = 4
    heads: int = 4
    hidden: int = 104
    code: int = 32
    dropout: float = 0.1
    head: Sequence[int] = (64, 64, 16)

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "heads": (
                settings.divides(self.heads, self.width),
                f"a divisor of the width {self.width}",
            ),
            "head": (len(self.head) > 0 and min(self.head) >= 1, "widths of at least 1"),
        }
        sizes = "width", "depth", "hidden", "code"
        settings.check(self, rules, sizes=sizes, rates=["dropout"])

    def view(self, spec: Spec) -> Tokens:
        """Positions of the numbers of each token."""
        return tokens(spec)

    def setup(self):
        """Three parts; the encoder alone has the first."""
        block = (self.heads, self.hidden, self.dropout)
        self.to_code = ToCode(self.width, self.depth, block, self.code)
        self.from_code = FromCode(self.width, self.depth, block)
        self.projection = Projection(self.head)

    def __call__(self, vectors: jax.Array, view: Tokens, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code], in (-1, 1)."""
        return self.to_code(vectors, view, train)

    def decode(self, code: jax.Array, view: Tokens, train: bool = False) -> jax.Array:
        """[batch, code] -> [batch, entry]; the inverse of encoding as far as it was learned."""
        return self.from_code(code, view, train)

    def autoencode(
        self, vectors: jax.Array, view: Tokens, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """[batch, entry] -> projected embeddings [batch, head[-1]], networks [batch, entry]."""
        code = self.to_code(vectors, view, train)
        return self.projection(code), self.from_code(code, view, train)


class ToCode(nn.Module):
    """Networks to embeddings.

    Attributes:
        width, depth, code: as in `HyperRep`.
        block: heads, hidden and dropout of the blocks.
    """

    width: int
    depth: int
    block: tuple[int, int, float]
    code: int

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Tokens, train: bool) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        vectors = jnp.asarray(vectors)
        check_vectors(vectors, len(view.back))
        x = [
            nn.Dense(self.width, name=f"embed_{name}")(vectors[:, places])
            for name, places in zip(view.names, view.places, strict=True)
        ]
        token = self.param("compression", nn.initializers.normal(1.0), (1, 1, self.width))
        token = jnp.broadcast_to(token.astype(x[0].dtype), (len(vectors), 1, self.width))
        x = jnp.concatenate([token, *x], axis=1)  # [batch, 1 + token, width]
        x = _placed(self, x)
        for i in range(self.depth):
            x = Block(*self.block, name=f"block_{i}")(x, train)
        return jnp.tanh(nn.Dense(self.code, name="code_map")(x[:, 0]))


class FromCode(nn.Module):
    """Embeddings to networks.

    Attributes:
        width, depth: as in `HyperRep`.
        block: heads, hidden and dropout of the blocks.
    """

    width: int
    depth: int
    block: tuple[int, int, float]

    @nn.compact
    def __call__(self, code: jax.Array, view: Tokens, train: bool) -> jax.Array:
        """[batch, code] -> [batch, entry]."""
        counts = [len(places) for places in view.places]
        x = nn.Dense(self.width * sum(counts), name="token_map")(jnp.asarray(code))
        x = _placed(self, x.reshape(len(x), sum(counts), self.width))
        for i in range(self.depth):
            x = Block(*self.block, name=f"block_{i}")(x, train)
        layers = jnp.split(x, np.cumsum(counts)[:-1].tolist(), axis=1)
        parts = [
            nn.Dense(places.shape[1], name=f"read_{name}")(part).reshape(len(x), -1)
            for name, places, part in zip(view.names, view.places, layers, strict=True)
        ]
        return jnp.concatenate(parts, axis=1)[:, view.back]


class Block(nn.Module):
    """A pre-norm block: attention, then a map of each token, both residual.

    Attributes:
        heads, hidden, dropout: as in `HyperRep`.
    """

    heads: int
    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[batch, token, width] -> the same shape."""
        drop = lambda y: nn.Dropout(self.dropout, deterministic=not train)(y)
        attention = nn.MultiHeadDotProductAttention(
            self.heads,
            dropout_rate=self.dropout,
            broadcast_dropout=False,
            deterministic=not train,
            name="attention",
        )
        x = x + drop(attention(nn.LayerNorm(name="norm_attention")(x)))
        y = nn.relu(nn.Dense(self.hidden, name="map_in")(nn.LayerNorm(name="norm_map")(x)))
        return x + drop(nn.Dense(x.shape[-1], name="map_out")(drop(y)))


class Projection(nn.Module):
    """Maps with LayerNorm, and ReLU between.

    Attributes:
        widths: of the maps, the result's included.
    """

    widths: Sequence[int]

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch, widths[-1]]."""
        for i, width in enumerate(self.widths):
            code = nn.relu(code) if i else code
            code = nn.LayerNorm(name=f"norm_{i}")(nn.Dense(width, name=f"map_{i}")(code))
        return code


def _placed(module, x):
    """With learned positions, which start from a normal distribution (PyTorch's default)."""
    position = module.param("position", nn.initializers.normal(1.0), x.shape[1:])
    return x + position.astype(x.dtype)

"""NFT: neural functional transformers, attention between arrays (Zhou et al., NeurIPS 2023).

Every parameter has channels: random Fourier features of itself, plus learned numbers of its
array and of the input or output it belongs to. Blocks of attention and of dense layers on each
parameter, both after LayerNorm and with skips, follow. With q, k, v linear in the channels,
attention of one head is a sum over the axes of neurons, and one term for all:

    for axis h    tokens are the slices along h of all arrays that have it: of a kernel
                  [g, h] each of its rows g, of a bias [h] itself
                  y_t = sum over s of softmax_s( <q_t, k_s> / sqrt(h * channel) ) v_s,
                  where <q, k> is over the neurons of h and the channels
    for all       tokens are the means of q, k, v of each array; each entry gets its array's

so every entry of a kernel receives twice along its axes and once as a whole. On a chain of
dense layers this is `NPAttention` of the authors' package, here read off the names of axes.
Inputs and outputs are permuted like hidden neurons, but for the learned numbers. At the end

    code    means of every array over hidden neurons, and dense layers, as in `nfn`
    edit    LayerNorm and a linear map of each parameter's channels, its change

Deviations: the head, for the classifier is not in the published code, and its Perceiver was
not used here. LayerNorm's epsilon is under the root, and its variance is not corrected. Arrays
with taps fold them into channels and have maps to q, k, v and back of their own (published as
`share_projections=False`, there for all arrays); the others share one. Fourier frequencies are
constants of the class.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.neural_graph import fourier
from wsjax.encoders.nfn.nfn_layers import (
    Arrays,
    Head,
    Linear,
    Reading,
    end_positions,
    pooled,
    reading,
    spread,
)
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.initializers import INITIAL, begin, dense
from wsjax.networks import Spec, check_vectors
from wsjax.views.arrays import ArraysView, arrays_view, fold, unfold, variable

# blocks of the authors' classifier and of their autoencoder, INR2Array, from the configuration
# files of their code (github.com/AllanYangZhou/nfn); heads of the first are its default
SETTINGS = {
    "classifier": {
        **{"frequencies": 128, "blocks": 4, "heads": 8, "factor": 2},
        **{"dropout": 0.1, "code": 10, "initial": "published"},
    },
    "inr2array": {
        **{"frequencies": 128, "blocks": 6, "heads": 4, "factor": 4},
        "initial": "published",
    },
}


class Norm(nn.Module):
    """LayerNorm over the channels of every entry, with a scale and an offset for each array.

    Attributes:
        read: the architecture.
    """

    read: Reading

    @nn.compact
    def __call__(self, arrays: Arrays) -> dict[str, jax.Array]:
        """Features of arrays -> features of arrays."""
        out = {}
        for a in self.read.spec.arrays:
            x, name = arrays[a.name], variable(a.name)
            scale = self.param(f"{name}_scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
            offset = self.param(f"{name}_offset", nn.initializers.zeros, x.shape[-1:], jnp.float32)
            x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
            out[a.name] = x * scale.astype(x.dtype) + offset.astype(x.dtype)
        return out


class Attention(nn.Module):
    """Attention along every axis, and between arrays.

    Attributes:
        read: the architecture.
        heads: that share the channels.
        dropout: of the attention along axes.
        initial: of linear maps, one of `initializers.INITIAL`.
    """

    read: Reading
    heads: int
    dropout: float
    initial: str = "lecun"

    @nn.compact
    def __call__(self, arrays: Arrays, train: bool) -> dict[str, jax.Array]:
        """Features of arrays -> features of arrays."""
        spec, read = self.read.spec, self.read
        width = _width(read, arrays)
        own = {a.name for a in spec.arrays if len(read.rest(a)) > 0}
        dtype = next(iter(arrays.values())).dtype
        shared = nn.Dense(3 * width, dtype=dtype, name="qkv", **begin(self.initial, width))
        qkv, out = {}, {}
        for a in spec.arrays:
            x, name = arrays[a.name], f"{variable(a.name)}_qkv"
            x = dense(x, 3 * width, self.initial, name, dtype=dtype) if a.name in own else shared(x)
            qkv[a.name] = x.reshape(*x.shape[:-1], 3, self.heads, -1)
        kept = {a.name: read.kept(a) for a in spec.arrays}
        means = [x.mean(tuple(range(1, x.ndim - 3))) for x in qkv.values()]
        values = self._attend(jnp.stack(means, axis=1)[:, :, None], train=False)[:, :, 0]
        for i, a in enumerate(spec.arrays):
            out[a.name] = spread(values[:, i], (), kept[a.name])
        for axis in read.keep:
            tokens, shapes = [], {}
            for a in spec.arrays:
                if axis in kept[a.name]:
                    x = jnp.moveaxis(qkv[a.name], 1 + kept[a.name].index(axis), -4)
                    shapes[a.name] = x.shape[:-3]  # [batch, *other axes, axis]
                    tokens.append(x.reshape(len(x), -1, *x.shape[-4:]))
            values = self._attend(jnp.concatenate(tokens, axis=1), train)
            stops = np.cumsum([x.shape[1] for x in tokens])[:-1]
            for (name, shape), x in zip(shapes.items(), jnp.split(values, stops, 1), strict=True):
                x = x.reshape(*shape, width)
                out[name] = out[name] + jnp.moveaxis(x, -2, 1 + kept[name].index(axis))
        for a in spec.arrays:
            if a.name in own:
                size, name = arrays[a.name].shape[-1], f"{variable(a.name)}_out"
                out[a.name] = dense(out[a.name], size, self.initial, name, dtype=dtype)
        return out

    def _attend(self, tokens, train):
        """[batch, token, neuron, q k v, head, channel] -> [batch, token, neuron, channel]."""
        batch, count, neurons, _, heads, channels = tokens.shape
        tokens = tokens.transpose(3, 0, 4, 1, 2, 5)  # matrices, for the multiplications to come
        q, k, v = tokens.reshape(3, batch, heads, count, neurons * channels)
        weight = jax.nn.softmax((q / math.sqrt(q.shape[-1])) @ k.swapaxes(2, 3))
        weight = nn.Dropout(self.dropout)(weight, deterministic=not train)
        out = (weight @ v).reshape(batch, heads, count, neurons, channels)
        return out.transpose(0, 2, 3, 1, 4).reshape(batch, count, neurons, heads * channels)


class Block(nn.Module):
    """x + attention of norm of x, then x + dense layers of norm of x.

    Attributes:
        read: the architecture.
        heads: of attention.
        factor: channels between the dense layers, for each of the block's.
        dropout: of attention, and of what is added.
        initial: of linear maps, one of `initializers.INITIAL`.
    """

    read: Reading
    heads: int
    factor: int
    dropout: float
    initial: str

    @nn.compact
    def __call__(self, arrays: Arrays, train: bool) -> dict[str, jax.Array]:
        """Features of arrays -> features of arrays."""
        read, width = self.read, _width(self.read, arrays)
        drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
        update = Norm(read, name="norm_0")(arrays)
        how = self.heads, self.dropout, self.initial
        update = Attention(read, *how, name="attention")(update, train)
        arrays = {k: x + drop(update[k]) for k, x in arrays.items()}
        update = Norm(read, name="norm_1")(arrays)
        update = Linear(read, self.factor * width, pointwise=True, name="dense_0")(update)
        update = {k: nn.gelu(x, approximate=False) for k, x in update.items()}
        update = Linear(read, width, pointwise=True, name="dense_1")(update)
        return {k: x + drop(update[k]) for k, x in arrays.items()}


def _width(read, arrays):
    """Channels of one entry."""
    first = read.spec.arrays[0]
    return arrays[first.name].shape[-1] // read.channels(first)


class NFT(Encoder):
    """Blocks of attention between all arrays of a network.

    Attributes:
        frequencies: of the Fourier features; twice as many are the channels of a parameter.
        sigma: their deviation.
        blocks: of attention and dense layers.
        heads: that share the channels.
        factor: channels between a block's dense layers, for each of the block's.
        pool: "hidden" keeps inputs and outputs apart, "all" averages them too.
        head: widths of the dense layers before the embedding.
        code: width of the embedding.
        dropout: within blocks and after the head's layers.
        readout: "edit" gives every parameter a change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editors`.
        initial: of maps to q, k, v, one of `initializers.INITIAL`: "published" as in `SETTINGS`;
            "lecun" is ours, sqrt(3) times as large, without biases. All others begin as
            published in both.
    """

    frequencies: int = 16
    sigma: float = 3.0
    blocks: int = 2
    heads: int = 4
    factor: int = 2
    pool: str = "hidden"
    head: Sequence[int] = ()
    code: int = 32
    dropout: float = 0.0
    readout: str = "code"
    expansion: int = 1
    initial: str = "lecun"

    edits = True

    def __post_init__(self):
        super().__post_init__()
        channels = 2 * self.frequencies
        shared = settings.divides(self.heads, channels)
        rules = {
            "head": (all(x > 0 for x in self.head), "widths above 0"),
            "heads": (shared, f"a divisor of {channels} channels"),
            "sigma": (self.sigma > 0, "above 0"),
        }
        choices = {"pool": ("hidden", "all"), "readout": settings.READOUTS, "initial": INITIAL}
        sizes = "frequencies", "blocks", "factor", "code"
        settings.check(self, rules, choices=choices, sizes=sizes, rates=["dropout"])

    def view(self, spec: Spec) -> ArraysView:
        """The architecture.

        Raises:
            ValueError: see `nfn_layers.reading`.
        """
        reading(spec, "NFT", False)
        return arrays_view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        check_vectors(vectors, view.spec.count)
        read = reading(view.spec, "NFT", False)
        x = fourier(jnp.asarray(vectors)[..., None], self.frequencies, self.sigma)
        arrays = fold(x + self._positions(read, view.array).astype(x.dtype), view.spec, read.keep)
        for i in range(self.blocks):
            how = self.heads, self.factor, self.dropout, self.initial
            arrays = Block(read, *how, name=f"block_{i}")(arrays, train)
        if self.readout == "edit":
            arrays = Norm(read, name="norm")(arrays)
            change = Linear(read, self.expansion, pointwise=True, name="change")(arrays)
            return unfold(change, view.spec, read.keep).mean(-1)
        x = pooled(arrays, read, self.pool == "all")
        return Head(self.head, self.code, self.dropout, name="readout")(x, train)

    def _positions(self, read, array):
        """Learned numbers of an entry's array, its input and its output, [entry, channel]."""
        width, init, sizes = (
            2 * self.frequencies,
            nn.initializers.normal(1.0),
            dict(read.spec.sizes),
        )
        table = self.param("arrays", init, (len(read.spec.arrays), width), jnp.float32)
        x = table[jnp.asarray(array)]
        for i, (axis, index) in enumerate(end_positions(read).items()):
            table = self.param(f"ends_{i}", init, (sizes[axis], width), jnp.float32)
            x = x + jnp.where(index[:, None] < 0, 0, table[np.maximum(index, 0)])
        return x

"""DMC, the deep meta-classifier: a 1-D CNN over flattened weights (Eilertsen et al., 2020).

    signal    kernel_0, bias_0, kernel_1, ...   of a kernel: neuron by neuron, what each reads
    x_1 = signal                                one channel
    x   = norm( relu( conv x ) )                once for each width of a stage
    x   = maxima of pairs of neighbours         after each stage; an odd last one stands alone
    embedding = maps of [ mean of x, max of x ]

A window that slides over the signal reads neighbours in storage, which are neighbours in
nothing else: the encoder depends on the order of neurons. It takes signals of any length, also
of several architectures in one batch: padding is zero before every convolution, as the
signal's surroundings are, and left out of every maximum and mean, so that it changes no
number.

Deviations: LayerNorm over the channels of each position for BatchNorm, since embeddings here do not
depend on the batch. It takes the scale of what it reads away but for the biases before it, so
these start at random. Mean and maximum over positions where the published code flattens, which
ties it to one length; Lim et al. (2024), who read whole networks of varying length with it, do
not describe theirs. The published code drops an odd last position and skips pools before its
seventh to twelfth convolution on signals of up to 50 positions; here a pool follows every
stage. The embedding is a linear map. The default size is ours, about 100 000 parameters;
`DMC(**PUBLISHED_SMALL)` has the layers of the published code for slices of 5 000 weights.
"""

import functools
from collections.abc import Sequence

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.initializers import uniform
from wsjax.encoders.parts.pooling import larger, largest
from wsjax.networks import Spec, check_vectors, offsets
from wsjax.summaries import summary
from wsjax.views import padding

NORMS = ("layer", "none")
POOLS = ("both", "mean", "max")

PUBLISHED_SMALL = {
    "stages": ((8,), (16,), (32, 64), (128, 256), (256,), (256,), (256,), (256, 256, 256)),
    "widths": (1024, 1024, 1024, 1024),
    "code": 64,
    "dropout": 0.5,
}


@flax.struct.dataclass
class Signal:
    """Networks as signals.

    Attributes:
        order: [entry] where in `ravel`'s vector each number of the signal stands. A batch of
            several architectures has one more axis in front, and -1 on padding.
    """

    order: np.ndarray

    __repr__ = summary


@functools.lru_cache(maxsize=256)
def signal(spec: Spec) -> Signal:
    """The `Signal` of a spec: array by array, and within each what is written first.

    Raises:
        ValueError: the network has no arrays.

    >>> from wsjax import architectures
    >>> signal(architectures.mlp([2, 3])).order  # kernel [2, 3], bias [3]
    array([0, 3, 1, 4, 2, 5, 6, 7, 8], dtype=int32)
    """
    if not spec.arrays:
        raise ValueError("expected a network with at least one array, got none")
    places = offsets(spec)
    order = lambda a: (*a.writes, *(i for i in a.reads if i not in a.writes), *a.taps)
    parts = [places[a.name].transpose(order(a)).ravel() for a in spec.arrays]
    return Signal(np.concatenate(parts).astype(np.int32))


def stack(views: Sequence[Signal]) -> Signal:
    """Signals of several networks, padded to a length that few batches differ in."""
    room = padding.rounded(max(len(v.order) for v in views))
    fill = lambda x: np.pad(x, (0, room - len(x)), constant_values=-1)
    return Signal(np.stack([fill(v.order) for v in views]))


class DMC(Encoder):
    """A 1-D CNN over flattened weights, of any architecture.

    Attributes:
        stages: channels of the convolutions; after each stage, positions are halved.
        window: of the convolutions, in positions.
        norm: after each ReLU: "layer", over the channels of a position, or "none".
        pool: over the positions that are left: "mean", "max", or "both" side by side.
        widths: of the maps with ReLU after that.
        code: width of the embedding.
        dropout: after each of the maps, in training.
    """

    stages: Sequence[Sequence[int]] = ((8,), (16,), (32,), (64,), (64,), (64,), (64,))
    window: int = 5
    norm: str = "layer"
    pool: str = "both"
    widths: Sequence[int] = (128,)
    code: int = 32
    dropout: float = 0.0

    reads_any = True
    mixes = True
    stack = staticmethod(stack)

    def __post_init__(self):
        super().__post_init__()
        least = 2 if self.norm == "layer" else 1  # a norm of one channel is constant
        channels = [width for stage in self.stages for width in stage]
        wide = lambda widths: all(width >= least for width in widths)
        rules = {
            "stages": (bool(channels) and wide(channels), f"channels of at least {least}"),
            "widths": (wide(self.widths), f"widths of at least {least}"),
        }
        choices = {"norm": NORMS, "pool": POOLS}
        settings.check(self, rules, choices=choices, sizes=("window", "code"), rates=["dropout"])

    def view(self, spec: Spec) -> Signal:
        """Positions of the numbers of the signal, [entry]."""
        return signal(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Signal, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code].

        Raises:
            ValueError: networks and views do not fit.
        """
        x, mask = taken(jnp.asarray(vectors), view)
        x = x[..., None]  # [batch, position, channel]
        for i, stage in enumerate(self.stages):
            for j, width in enumerate(stage):
                x = windows(x, self.window)
                conv = nn.Dense(width, bias_init=uniform(x.shape[-1]), name=f"conv_{i}_{j}")
                x = self._normed(nn.relu(conv(x)), f"norm_{i}_{j}")
                x = jnp.where(mask[..., None], x, 0)
            x, mask = halved(x, mask)
        x = self._pooled(x, mask)
        for i, width in enumerate(self.widths):
            x = self._normed(nn.relu(nn.Dense(width, name=f"map_{i}")(x)), f"map_norm_{i}")
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.code, name="code_map")(x)

    def _normed(self, x, name):
        return nn.LayerNorm(name=name)(x) if self.norm == "layer" else x

    def _pooled(self, x, mask):
        """[batch, position, channel] -> [batch, channel], or twice as many."""
        parts = []
        if self.pool != "max":
            parts.append(x.sum(1) / mask.sum(1, keepdims=True).astype(x.dtype))
        if self.pool != "mean":
            parts.append(largest(jnp.where(mask[..., None], x, -jnp.inf), (1,)))
        return jnp.concatenate(parts, axis=-1)


def taken(vectors: jax.Array, view: Signal) -> tuple[jax.Array, jax.Array]:
    """Signals [batch, position], 0 on padding, and where they are, [batch or 1, position].

    Raises:
        ValueError: there are not as many networks as views, or they have too few entries.
    """
    order = view.order
    least = int(order.max()) + 1 if isinstance(order, np.ndarray) else 0
    check_vectors(vectors, least, exactly=False)
    if order.ndim == 1:
        return vectors[:, order], jnp.ones((1, len(order)), bool)
    if len(order) != len(vectors):
        raise ValueError(f"expected a view of each network, got {len(vectors)} networks and "
                         f"{len(order)} views")  # fmt: skip
    mask = jnp.asarray(order) >= 0
    values = jnp.take_along_axis(vectors, jnp.maximum(jnp.asarray(order), 0), axis=1)
    return jnp.where(mask, values, 0), mask


def windows(x: jax.Array, size: int) -> jax.Array:
    """Each position of a convolution with its neighbours, 0 beyond the ends.

    Windows lie around their position, and one further to the right if their size is even. A
    convolution is a linear map of them, and so written compiles in half the time.

    Args:
        x: [batch, position, channel].
        size: of the window.

    Returns:
        [batch, position, size * channel].
    """
    count, before = x.shape[1], (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (before, size - 1 - before), (0, 0)))
    return jnp.concatenate([x[:, k : k + count] for k in range(size)], axis=-1)


def halved(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maxima of pairs of positions, where a pair is one of them at least; 0 elsewhere.

    Args:
        x: [batch, position, channel].
        mask: [batch or 1, position]; what is True comes first.

    Returns:
        Both with half as many positions, rounded up.
    """
    spare = x.shape[1] % 2
    x = jnp.pad(x, ((0, 0), (0, spare), (0, 0)))
    mask = jnp.pad(mask, ((0, 0), (0, spare)))
    first, second, both = x[:, ::2], x[:, 1::2], mask[:, 1::2, None]
    return jnp.where(both, larger(first, second), first), mask[:, ::2]

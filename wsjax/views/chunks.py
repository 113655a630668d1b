"""Pad and chunk: a network as a table of equal pieces, and back (Andreis et al., eq. 1).

Every array is cut into chunks of c values so that the weights of one output neuron stay
together. A neuron that reads at least c values fills whole chunks of its own; smaller
neurons share a chunk, never split. Each tap of a convolution is a matrix [out, in] of
its own, so that one encoder reads every kernel size.

    kernel [in 3, out 2], c = 4        w00 w10 w20  .      neuron 0
                                       w01 w11 w21  .      neuron 1
    bias   [out 2]                     b0  b1   .   .

The layout depends on the `Spec` alone: `layout` computes it once, in NumPy; `cut`
and `join` are gathers and run under `jit`. Layouts of several architectures are padded
to a common `Bucket` and stacked; padding is masked everywhere and changes no number.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import KINDS, ROLES, TAPS, Spec, offsets
from wsjax.summaries import summary
from wsjax.views import padding
from wsjax.views.padding import NONE


@flax.struct.dataclass
class Layout:
    """The parameter at each place of each chunk, and the meaning of the place.

    All entries are integers or booleans; -1 stands for none. A batch of several
    architectures has one more axis in front of all of them.

    Attributes:
        index: [chunk, place] position in `ravel`'s vector (0 where masked).
        mask: [chunk, place] True where a parameter sits.
        read: [chunk, place] the input neuron the parameter reads, counted over all
            axes it reads.
        write: [chunk, place] the output neuron it feeds.
        tap: [chunk, TAPS] position inside the convolution's window.
        position: [chunk] number of the chunk inside its array.
        array: [chunk] the array it belongs to; -1 for padding.
        array_type: [array] kind of layer and role, as one number.
        layer: [array] the layer it belongs to; -1 for padding.
        layer_type: [layer] index into `KINDS`; -1 for padding.
        level: [layer] depth.
        source: [layer] level a residual connection starts from.
    """

    index: np.ndarray
    mask: np.ndarray
    read: np.ndarray
    write: np.ndarray
    tap: np.ndarray
    position: np.ndarray
    array: np.ndarray
    array_type: np.ndarray
    layer: np.ndarray
    layer_type: np.ndarray
    level: np.ndarray
    source: np.ndarray

    __repr__ = summary

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of chunks, arrays and layers, padding included."""
        return self.index.shape[-2], self.layer.shape[-1], self.level.shape[-1]


@functools.lru_cache(maxsize=256)
def layout(spec: Spec, size: int) -> Layout:
    """The chunks of `size` values that a network of this spec is cut into.

    Raises:
        ValueError: the size is below 1, or an array has too many taps.
    """
    if size < 1:
        raise ValueError(f"expected a chunk size of at least 1, got {size}")
    places, chunks = offsets(spec), []
    array_type, layer_of = [], []
    for number, layer in enumerate(spec.layers):
        for a in layer.arrays:
            if len(a.taps) > TAPS:
                raise ValueError(f"{a.name}: expected at most {TAPS} taps, got axes {a.axes}")
            chunks += _chunks_of(places[a.name], a, size, len(layer_of))
            array_type.append(KINDS.index(layer.kind) * len(ROLES) + ROLES.index(a.role))
            layer_of.append(number)
    columns = {k: np.stack([c[k] for c in chunks]) for k in chunks[0]}
    none = [NONE if x.source is None else x.source for x in spec.layers]
    return Layout(
        mask=columns["index"] != NONE,
        index=np.maximum(columns.pop("index"), 0),
        **columns,
        array_type=np.array(array_type, np.int32),
        layer=np.array(layer_of, np.int32),
        layer_type=np.array([KINDS.index(x.kind) for x in spec.layers], np.int32),
        level=np.array([x.level for x in spec.layers], np.int32),
        source=np.array(none, np.int32),
    )


def _chunks_of(places, array, size, number):
    """The chunks of one array, as dicts of rows."""
    shape = places.shape
    span = lambda axes: math.prod(shape[i] for i in axes)
    reads = tuple(i for i in array.reads if i not in array.writes)  # a block diagonal has both
    ins, outs = span(reads), span(array.writes)
    slices = places.transpose(*array.taps, *array.writes, *reads).reshape(-1, outs, ins)
    per_neuron = -(-ins // size)  # chunks a neuron fills, or
    together = max(1, size // ins)  # neurons that share a chunk
    read = np.arange(ins) if reads else np.full(ins, NONE)
    write = np.arange(outs) if array.writes else np.full(outs, NONE)
    rows = []
    for tap, kernel in enumerate(slices):
        where = np.unravel_index(tap, [shape[i] for i in array.taps]) if array.taps else ()
        coordinates = np.array([*where, *[NONE] * (TAPS - len(where))], np.int32)
        for first in range(0, outs, together):
            group = slice(first, first + together)
            fields = {
                "index": kernel[group],
                "read": np.broadcast_to(read, kernel[group].shape),
                "write": np.broadcast_to(write[group, None], kernel[group].shape),
            }
            flat = {k: _fill(v, per_neuron * size) for k, v in fields.items()}
            for i in range(per_neuron):
                piece = {k: v[i * size : (i + 1) * size] for k, v in flat.items()}
                rows.append({**piece, "tap": coordinates})
    for i, row in enumerate(rows):
        row |= {"position": np.int32(i), "array": np.int32(number)}
    return rows


def _fill(values, length):
    out = np.full(length, NONE, np.int32)
    out[: values.size] = values.ravel()
    return out


def cut(vector: jax.Array, layout: Layout) -> jax.Array:
    """Cuts raveled networks into chunks.

    Args:
        vector: [..., entry].
        layout: without a batch axis.

    Returns:
        [..., chunk, place], 0 where masked.
    """
    return jnp.where(layout.mask, jnp.take(vector, layout.index, axis=-1), 0)


def join(values: jax.Array, layout: Layout, count: int) -> jax.Array:
    """Puts chunks [..., chunk, place] back into vectors [..., count]; undoes `cut`."""
    where = jnp.where(layout.mask, layout.index, count)
    out = jnp.zeros((*values.shape[:-2], count), values.dtype)
    return out.at[..., where].set(values, mode="drop")


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Numbers of chunks, arrays and layers of a padded layout."""

    chunks: int
    arrays: int
    layers: int


def bucket(layouts: Sequence[Layout]) -> Bucket:
    """A bucket that holds every layout, rounded up so that few different ones occur.

    Chunks are rounded up to 1, 1.25, 1.5 or 1.75 times a power of two: at most a fifth
    of a bucket is padding. Arrays and layers are rounded up to multiples of eight.
    """
    chunks, arrays, layers = (max(x) for x in zip(*(a.sizes for a in layouts), strict=True))
    eights = lambda n: padding.multiple(n, 8)
    return Bucket(padding.rounded(chunks), eights(arrays), eights(layers))


def pad(layout: Layout, size: Bucket) -> Layout:
    """The same layout with masked chunks, arrays and layers up to the bucket's size.

    Raises:
        ValueError: the layout does not fit.
    """
    rows = {
        "chunks": ("index", "mask", "read", "write", "tap", "position", "array"),
        "arrays": ("array_type", "layer"),
        "layers": ("layer_type", "level", "source"),
    }
    return padding.view(layout, size, rows, zero=("index", "mask"))


def stack(views: Sequence[Layout]) -> Layout:
    """Layouts of several networks, padded to their common bucket, with a batch axis."""
    size = bucket(views)
    return padding.stack([pad(x, size) for x in views])

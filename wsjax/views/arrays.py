"""Networks as arrays with named axes, for encoders that have weights for each array.

    array    kernel [tap, tap, c0, c1] of a convolution, [batch, entry, channel] as a vector
    folded   [batch, c0, c1, tap * tap * channel]        keep = ("c0", "c1")
             [batch, c1, tap * tap * c0 * channel]       keep = ("c1",): c0 is an input

Axes whose neurons are permuted are kept; all others are channels, the network's own channels
last. Axes stay in storage order.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Array, Spec
from wsjax.summaries import summary


@flax.struct.dataclass
class ArraysView:
    """An architecture, for encoders with weights for each of its arrays.

    Attributes:
        array: [entry] number of the array an entry of `ravel`'s vector belongs to.
        spec: the architecture without its activations, so that architectures that differ in
            nothing else have one view (static).
    """

    array: np.ndarray
    spec: Spec = flax.struct.field(pytree_node=False)

    __repr__ = summary


def arrays_view(spec: Spec) -> ArraysView:
    """The view of an architecture."""
    layers = (dataclasses.replace(x, activation="none", omega=1.0) for x in spec.layers)
    return ArraysView(array_numbers(spec), dataclasses.replace(spec, layers=tuple(layers)))


def array_numbers(spec: Spec) -> np.ndarray:
    """The number of the array that each entry of `ravel`'s vector belongs to, [entry] int32."""
    sizes = [math.prod(spec.shape(a)) for a in spec.arrays]
    return np.repeat(np.arange(len(sizes), dtype=np.int32), np.array(sizes, int))


def variable(name: str) -> str:
    """An array's name, as part of the names of variables."""
    return name.replace("/", "_")


def kept(array: Array, keep: Sequence[str]) -> tuple[int, ...]:
    """Positions of the axes of an array that are kept."""
    return tuple(i for i, axis in enumerate(array.axes) if axis in keep)


def fold(vectors: jax.Array, spec: Spec, keep: Sequence[str]) -> dict[str, jax.Array]:
    """Takes networks apart.

    Args:
        vectors: [batch, entry], or [batch, entry, channel].
        spec: meaning of the entries.
        keep: names of axes.

    Returns:
        For each array, [batch, *kept axes, sizes of all others * channel].

    Raises:
        ValueError: networks do not have as many entries as the spec.
    """
    if vectors.ndim < 2 or vectors.shape[1] != spec.count:
        raise ValueError(f"expected networks [batch, {spec.count}], got {list(vectors.shape)}")
    batch, channels = len(vectors), math.prod(vectors.shape[2:])
    out, start = {}, 0
    for a in spec.arrays:
        shape = spec.shape(a)
        size, stay = math.prod(shape), kept(a, keep)
        x = vectors[:, start : start + size].reshape(batch, *shape, channels)
        rest = [i for i in range(len(shape)) if i not in stay]
        x = x.transpose(0, *(1 + i for i in (*stay, *rest)), x.ndim - 1)
        out[a.name] = x.reshape(batch, *(shape[i] for i in stay), -1)
        start += size
    return out


def unfold(arrays: Mapping[str, jax.Array], spec: Spec, keep: Sequence[str]) -> jax.Array:
    """Undoes `fold`: [batch, entry, channel]."""
    parts = []
    for a in spec.arrays:
        shape, stay, x = spec.shape(a), kept(a, keep), arrays[a.name]
        order = [*stay, *(i for i in range(len(shape)) if i not in stay)]
        x = x.reshape(len(x), *(shape[i] for i in order), -1)
        x = x.transpose(0, *(1 + order.index(i) for i in range(len(shape))), x.ndim - 1)
        parts.append(x.reshape(len(x), math.prod(shape), -1))
    return jnp.concatenate(parts, axis=1)

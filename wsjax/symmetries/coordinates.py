"""Coordinates of networks that read them: f(A x + t) as a network, exactly.

A network that reads coordinates through a dense layer, as INRs do, takes a change of them in
its first layer alone (Navon et al., 2023; Shamsian et al., 2024):

    W (A x + t) + b   =   (W A) x + (b + W t)          kernel [in, out]:  A^T W,  b + t W

The network that `move` gives for A and t has at x the value of the first network at A x + t: an
INR's image moves. Weights must not be normalised: of normalised arrays t is another
(`wsjax.symmetries.augmentations.Augmentation`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Spec, offsets


class First(NamedTuple):
    """The first layer's positions in `ravel`'s vector.

    Attributes:
        kernel: [input, neuron] entries.
        bias: [neuron] entries; None without one.
    """

    kernel: np.ndarray
    bias: np.ndarray | None


@functools.lru_cache(maxsize=256)
def first(spec: Spec) -> First:
    """The layer that reads the coordinates.

    Raises:
        ValueError: they are not read by one dense layer, of a kernel and at most a bias, alone.
    """
    readers = [x for x in spec.layers if x.source == -1 or (x.source is None and x.level == 0)]
    arrays = {a.role: a for x in readers for a in x.arrays}
    kernel, bias = arrays.get("kernel"), arrays.get("bias")
    fine = (
        len(readers) == 1
        and readers[0].kind == "dense"
        and not readers[0].settings  # such as pooling over a set
        and set(arrays) <= {"kernel", "bias"}
        and sum(len(x.arrays) for x in readers) == len(arrays)
        and kernel is not None
        and (len(kernel.axes), len(kernel.reads), len(kernel.writes)) == (2, 1, 1)
        and kernel.axes[kernel.reads[0]] not in spec.hidden
        and (bias is None or bias.axes == (kernel.axes[kernel.writes[0]],))
    )
    if not fine:
        names = [f"{x.name} ({x.kind})" for x in readers]
        raise ValueError(f"expected coordinates that one dense layer reads, got {names}")
    places = offsets(spec)
    order = (*kernel.reads, *kernel.writes)
    return First(places[kernel.name].transpose(order), None if bias is None else places[bias.name])


def dimensions(spec: Spec) -> int:
    """The number of coordinates that a network reads.

    Raises:
        ValueError: see `first`.
    """
    return len(first(spec).kernel)


def move(
    vectors: jax.Array,
    spec: Spec,
    matrix: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> jax.Array:
    """The networks x -> f(A x + t): the functions change, by their coordinates alone.

    Args:
        vectors: [..., entry], as `networks.ravel` lays them out.
        spec: meaning of the entries.
        matrix: A [..., input, input]; the identity if None.
        shift: t [..., input]; zero if None.

    Returns:
        [..., entry].

    Raises:
        ValueError: see `first`; vectors are of another length; there is a shift, and no bias
            to take it.

    >>> from wsjax import architectures
    >>> spec = architectures.mlp([1, 1], "none")
    >>> move(jnp.array([2.0, 5.0]), spec, jnp.array([[3.0]]), jnp.array([10.0])).tolist()
    [6.0, 25.0]
    """
    at = first(spec)
    if vectors.shape[-1] != spec.count:
        raise ValueError(f"expected {spec.count} parameters, got vectors {vectors.shape}")
    out = jnp.asarray(vectors)
    kernel = out[..., at.kernel]
    if shift is not None:
        if at.bias is None:
            raise ValueError("expected a bias that takes the shift, got a first layer without one")
        added = jnp.einsum(
            "...i,...io->...o", shift.astype(vectors.dtype), kernel, precision="highest"
        )
        out = out.at[..., at.bias].add(added)
    if matrix is not None:
        product = jnp.einsum(
            "...ji,...jo->...io", matrix.astype(vectors.dtype), kernel, precision="highest"
        )
        out = out.at[..., at.kernel].set(product)
    return out


def rotation(angle: jax.Array) -> jax.Array:
    """The matrix [..., 2, 2] that rotates coordinates by angles [...], in radians.

    From the first coordinate to the second: an image rotates the other way.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)

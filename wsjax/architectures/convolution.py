"""Convolutions and pooling of windows, over any number of dimensions.

Two routes to one result. `by_xla` is XLA's own convolution. `by_slices` lays the windows
side by side, one strided slice of the images for each position in the window, and
multiplies once. Which is faster depends on the program around it, see `by_slices`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Padding = str | tuple[tuple[int, int], ...]  # "SAME", "VALID", or (before, after) by dimension
WIDE = 160  # numbers in a patch, the inputs of one output neuron
Convolve = Callable[[jax.Array, jax.Array, tuple[int, ...], Padding], jax.Array]


def by_xla(x: jax.Array, kernel: jax.Array, stride: tuple[int, ...], padding: Padding) -> jax.Array:
    """Convolves images, as `flax.linen.Conv` does.

    Args:
        x: [..., *positions, inputs].
        kernel: [*window, inputs, outputs].
        stride: by dimension.
        padding: as `Padding`.

    Returns:
        [..., *positions, outputs].
    """
    d = len(stride)
    lead, letters = x.shape[: -d - 1], "DHW"[3 - d :]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    images = x.reshape(math.prod(lead), *x.shape[-d - 1 :])
    y = jax.lax.conv_general_dilated(images, kernel, stride, padding, dimension_numbers=layout)
    return y.reshape(*lead, *y.shape[1:])


def by_slices(
    x: jax.Array, kernel: jax.Array, stride: tuple[int, ...], padding: Padding
) -> jax.Array:
    """The same as `by_xla`, as one product of matrices.

    For thousands of small networks on a CPU: XLA:CPU is slow at convolutions whose kernels
    `vmap` batches, and at all that stand inside a loop (jax-ml/jax#12868). Holds as many
    copies of the images as the window has positions. Where that is `WIDE`, only as many as
    a line of the window has, with a product for each line: two and a half times faster.
    """
    window, d = kernel.shape[:-2], len(stride)
    spans = positions(x.shape[-d - 1 : -1], window, stride, padding)
    pads = _pads(x.shape[-d - 1 : -1], window, stride, padding)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - d - 1) + [*pads, (0, 0)])
    if math.prod(kernel.shape[:-1]) <= WIDE:
        pieces = _slices(x, window, stride, spans)
        patches = jnp.concatenate(pieces, axis=-1)  # [..., *positions, window * inputs]
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    lines = (x.shape[-d - 1], *spans[1:])
    pieces = _slices(x, (1, *window[1:]), (1, *stride[1:]), lines)
    patches = jnp.concatenate(pieces, axis=-1)  # [..., line, *positions, window * inputs]
    along = lambda i: _slices(patches, (1,) * d, (stride[0], *(1,) * (d - 1)), spans, i)[0]
    products = (along(i) @ k.reshape(-1, k.shape[-1]) for i, k in enumerate(kernel))
    return functools.reduce(jnp.add, products)


def max_pool(
    x: jax.Array, window: tuple[int, ...], stride: tuple[int, ...], padding: Padding
) -> jax.Array:
    """The largest of each window, by channel: [..., *positions, channels] to the same.

    One strided slice for each position in the window: XLA:CPU takes sixteen times longer
    over `reduce_window` and its gradient. That gradient goes to equal values alike.
    """
    d = len(window)
    size = x.shape[-d - 1 : -1]
    pads, spans = _pads(size, window, stride, padding), positions(size, window, stride, padding)
    if any(map(sum, pads)):
        blank = [(0, 0)] * (x.ndim - d - 1)
        x = jnp.pad(x, [*blank, *pads, (0, 0)], constant_values=-jnp.inf)
    return functools.reduce(jnp.maximum, _slices(x, window, stride, spans))


def positions(
    size: Sequence[int], window: Sequence[int], stride: Sequence[int], padding: Padding
) -> tuple[int, ...]:
    """Number of positions of windows along each dimension; less than 1 where none fits."""
    pads = _pads(size, window, stride, padding)
    return tuple(
        (n + before + after - w) // s + 1
        for n, w, s, (before, after) in zip(size, window, stride, pads, strict=True)
    )


def _slices(x, window, stride, spans, skip: int = 0) -> list[jax.Array]:
    """For each position in the window, the values of all windows there [..., *spans, channels].

    The first window begins so many lines into the images.
    """
    pieces, first = [], range(skip, skip + window[0])
    for start in itertools.product(first, *map(range, window[1:])):
        cut = [
            slice(i, i + (n - 1) * s + 1, s) for i, n, s in zip(start, spans, stride, strict=True)
        ]
        pieces.append(x[(..., *cut, slice(None))])
    return pieces


def _pads(size, window, stride, padding) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        return tuple(jax.lax.padtype_to_pads(size, window, stride, padding))
    return tuple(padding)

"""Layers of PyTorch in JAX: products, convolutions, pooling, normalisation, resizing, attention.

Arguments are as PyTorch's documentation of "Core ATen" gives them, arrays instead of tensors.
Images are [example, channel, *position]. Operators of several results return a tuple, without
those that no inference reads: the indices of a pooling, the statistics of a normalisation.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def axes(x: jax.Array, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Axes that are reduced: every one if `dim` is None or empty."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(x.ndim))
    return (dim,) if isinstance(dim, int) else tuple(dim)


def variance(x, dim=None, correction=1, keepdim=False):
    """Over axes, with n - correction degrees of freedom."""
    dims = axes(x, dim)
    n = math.prod(x.shape[i] for i in dims)
    return jnp.square(x - x.mean(dims, keepdims=True)).sum(dims, keepdims=keepdim) / (
        n - (1 if correction is None else correction)
    )


def linear(x, w, b=None):
    """Dense layer of a kernel [out, in]."""
    y = jnp.einsum("...i,oi->...o", x, w)
    return y if b is None else y + b


def embedding(table, tokens, *_, **__):
    """Rows of a table."""
    return table[tokens]


def convolution(x, w, b, stride, padding, dilation, transposed, output_padding, groups):
    """Convolution [example, channel, *position], of a kernel [out, in, *tap], or its transpose."""
    n = x.ndim - 2
    one = lambda v: tuple(v) if len(v) == n else tuple(v) * n
    stride, padding, dilation = one(stride), one(padding), one(dilation)
    ends, holes = list(zip(padding, padding, strict=True)), (1,) * n
    if transposed:  # kernel [in, out of a group, *tap]
        out, taps = w.shape[1], w.shape[2:]
        w = w.reshape(groups, -1, out, *taps).swapaxes(1, 2).reshape(groups * out, -1, *taps)
        w = jnp.flip(w, range(2, w.ndim))
        reach = [d * (t - 1) - p for d, t, p in zip(dilation, taps, padding, strict=True)]
        ends = [(r, r + extra) for r, extra in zip(reach, one(output_padding), strict=True)]
        stride, holes = (1,) * n, stride
    positions = "DHW"[-n:]
    y = lax.conv_general_dilated(
        x, w, stride, ends, holes, dilation, feature_group_count=groups,
        dimension_numbers=("NC" + positions, "OI" + positions, "NC" + positions),
    )  # fmt: skip
    return y if b is None else y + b.reshape(-1, *(1,) * n)


def _windows(x, size, stride, padding, dilation, ceil_mode):
    """Sizes, strides, (before, after) and dilations of a pooling over the last axes."""
    n, lead = len(size), x.ndim - len(size)
    one = lambda v: tuple(v) if len(v) == n else tuple(v) * n
    stride, padding = one(stride or size), one(padding)
    ends = []
    for length, k, s, p, d in zip(
        x.shape[lead:], size, stride, padding, one(dilation), strict=True
    ):
        span = length + 2 * p - d * (k - 1) - 1
        count = -(-span // s) if ceil_mode else span // s
        if ceil_mode and count * s >= length + p:  # a window must begin inside
            count -= 1
        ends.append((p, max(p, count * s + d * (k - 1) + 1 - length - p)))
    before = (1,) * lead
    return (
        *(before + tuple(size), before + stride, [(0, 0)] * lead + ends),
        before + one(dilation),
    )


def max_pool(x, size, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
    """Maxima of windows over the last axes, alone in a tuple."""
    window, strides, ends, spread = _windows(x, size, stride, padding, dilation, ceil_mode)
    low = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return (lax.reduce_window(x, low, lax.max, window, strides, ends, window_dilation=spread),)


def avg_pool(
    x, size, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor=None
):
    """Means of windows over the last axes."""
    window, strides, ends, _ = _windows(x, size, stride, padding, (1,), ceil_mode)
    total = lambda v, ends: lax.reduce_window(v, 0.0, lax.add, window, strides, ends)
    if divisor:
        return total(x, ends) / divisor
    lead, counted = x.ndim - len(size), [(0, 0)] * x.ndim
    if count_include_pad:
        own = tuple(padding) * (len(size) // len(padding))
        counted = [(0, 0)] * lead + [(p, p) for p in own]
    ones = jnp.pad(jnp.ones((1,) * lead + x.shape[lead:]), counted, constant_values=1)
    rest = [(a - p, b - q) for (a, b), (p, q) in zip(ends, counted, strict=True)]
    return total(x, ends) / total(ones, rest)


def adaptive_avg_pool(x, size):
    """Means of as many windows as asked for along the last axes."""
    for i, n in enumerate(size, x.ndim - len(size)):
        length = x.shape[i]
        bounds = [(j * length // n, -(-(j + 1) * length // n)) for j in range(n)]
        if length % n == 0:
            parts = x.reshape(*x.shape[:i], n, length // n, *x.shape[i + 1 :])
            x = parts.mean(i + 1)
        else:
            x = jnp.stack([lax.slice_in_dim(x, a, b, axis=i).mean(i) for a, b in bounds], i)
    return x


def _resized(x, size, scales):
    """Positions of the last axes that an image grows or shrinks to: lengths, and factors."""
    lengths = x.shape[2:]
    if size is None:
        size = [math.floor(n * s) for n, s in zip(lengths, scales, strict=True)]
        return size, [1 / s for s in scales]
    return size, [n / m for n, m in zip(lengths, size, strict=True)]


def nearest(x, size, scales=None):
    """Nearest-neighbour interpolation of [example, channel, *position]."""
    for i, (n, factor) in enumerate(zip(*_resized(x, size, scales), strict=True), 2):
        x = x.take(jnp.clip(jnp.floor(jnp.arange(n) * factor).astype(int), 0, x.shape[i] - 1), i)
    return x


def interpolated(x, size, align_corners, scales=None):
    """Linear interpolation of [example, channel, *position]."""
    for i, (n, factor) in enumerate(zip(*_resized(x, size, scales), strict=True), 2):
        last = x.shape[i] - 1
        where = jnp.arange(n) * (last / max(n - 1, 1) if align_corners else factor)
        where = where if align_corners else jnp.maximum(where + 0.5 * factor - 0.5, 0)
        low = jnp.minimum(jnp.floor(where).astype(int), last)
        part = (where - low).reshape(-1, *(1,) * (x.ndim - i - 1))
        x = x.take(low, i) * (1 - part) + x.take(jnp.minimum(low + 1, last), i) * part
    return x


def _scaled(x, scale, bias):
    x = x if scale is None else x * scale
    return x if bias is None else x + bias


def layer_norm(x, shape, w, b, eps):
    """LayerNorm over the last axes, alone in a tuple."""
    dims = tuple(range(-len(shape), 0))
    y = (x - x.mean(dims, keepdims=True)) * lax.rsqrt(variance(x, dims, 0, True) + eps)
    return (_scaled(y, w, b),)


def group_norm(x, w, b, n, c, positions, groups, eps):
    """GroupNorm of [example, channel, *position], alone in a tuple."""
    parts = x.reshape(n, groups, c // groups, *x.shape[2:])
    dims = tuple(range(2, parts.ndim))
    y = parts - parts.mean(dims, keepdims=True)
    y = (y * lax.rsqrt(variance(parts, dims, 0, True) + eps)).reshape(x.shape)
    each = lambda v: v if v is None else v.reshape(-1, *(1,) * (x.ndim - 2))
    return (_scaled(y, each(w), each(b)),)


def batch_norm(x, w, b, mean, var, momentum, eps):
    """BatchNorm by stored statistics, alone in a tuple."""
    each = lambda v: v if v is None else v.reshape(-1, *(1,) * (x.ndim - 2))
    return (_scaled((x - each(mean)) * lax.rsqrt(each(var) + eps), each(w), each(b)),)


def instance_norm(x, w, b, training, momentum, eps):
    """BatchNorm by the statistics of the batch, alone in a tuple."""
    dims = (0, *range(2, x.ndim))
    y = (x - x.mean(dims, keepdims=True)) * lax.rsqrt(variance(x, dims, 0, True) + eps)
    each = lambda v: v if v is None else v.reshape(-1, *(1,) * (x.ndim - 2))
    return (_scaled(y, each(w), each(b)),)


def attention(
    q, k, v, dropout=0.0, is_causal=False, return_debug_mask=False, attn_mask=None, scale=None
):
    """Scaled dot-product attention of [example, head, position, dimension], alone in a tuple."""
    scores = jnp.einsum("...qd,...kd->...qk", q, k)
    scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    if attn_mask is not None:
        scores = scores + attn_mask
    return (jnp.einsum("...qk,...kd->...qd", jax.nn.softmax(scores), v),)


def softmax(x, dim, half=False):
    """Softmax along an axis."""
    return jax.nn.softmax(x, axis=dim)


def log_softmax(x, dim, half=False):
    """Log-softmax along an axis."""
    return jax.nn.log_softmax(x, axis=dim)

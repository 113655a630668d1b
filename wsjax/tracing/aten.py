"""PyTorch's core operators in JAX, by name: what an exported module is made of.

    {"aten.relu": jax.nn.relu, "aten.linear": layers.linear, ...}[name](*arguments, **settings)

Arguments are as PyTorch's documentation of "Core ATen" gives them, arrays instead of tensors;
types are NumPy's.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from wsjax.tracing import aten_layers as layers
from wsjax.tracing.aten_layers import axes, variance


def reduction(of: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """A reduction of JAX with PyTorch's arguments: axes, then whether they are kept."""

    def reduce(x, dim=None, keepdim=False, dtype=None):
        return of(x if dtype is None else x.astype(dtype), axis=axes(x, dim), keepdims=keepdim)

    return reduce


def moments(x, dim=None, correction=1, keepdim=False):
    """Variance and mean."""
    return variance(x, dim, correction, keepdim), x.mean(axes(x, dim), keepdims=keepdim)


def extreme(of, which):
    """Maximum or minimum along an axis, and where it is; of everything without an axis."""

    def reduce(x, dim=None, keepdim=False):
        if dim is None:
            return of(x)
        return of(x, axis=dim, keepdims=keepdim), which(x, axis=dim, keepdims=keepdim)

    return reduce


def norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    """Vector norm over axes."""
    x = x if dtype is None else x.astype(dtype)
    if ord == 2:
        return jnp.sqrt(jnp.square(x).sum(axes(x, dim), keepdims=keepdim))
    if math.isinf(ord):
        return jnp.abs(x).max(axes(x, dim), keepdims=keepdim)
    return (jnp.abs(x) ** ord).sum(axes(x, dim), keepdims=keepdim) ** (1 / ord)


def add(x, y, alpha=1):
    """Sum, the second times alpha."""
    return x + (y if alpha == 1 else alpha * y)


def sub(x, y, alpha=1):
    """Difference, the second times alpha."""
    return x - (y if alpha == 1 else alpha * y)


def div(x, y, rounding_mode=None):
    """Quotient, rounded down or to zero on demand."""
    if rounding_mode is None:
        return x / y
    return jnp.floor_divide(x, y) if rounding_mode == "floor" else jnp.trunc(x / y)


def clamp(x, min=None, max=None):
    """Limits from below and above."""
    x = x if min is None else jnp.maximum(x, min)
    return x if max is None else jnp.minimum(x, max)


def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    """ELU and, by its factors, SELU."""
    return scale * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x) * input_scale))


def cast(x, dtype=None):
    """Another type; of 32 bits where JAX has no 64."""
    return x if dtype is None else x.astype(jax.dtypes.canonicalize_dtype(dtype))


def full(shape, value, dtype=None):
    """One value."""
    kind = None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
    return jnp.full(tuple(shape), value, kind)


def like(value):
    """An array of the shape of another and of one value."""
    return lambda x, dtype=None: full(x.shape, value, dtype or x.dtype)


def arange(*bounds, dtype=None):
    """Whole numbers."""
    return jnp.arange(*bounds, dtype=dtype and jax.dtypes.canonicalize_dtype(dtype))


def expand(x, shape):
    """Broadcasts; -1 keeps a size."""
    lead = len(shape) - x.ndim
    return jnp.broadcast_to(x, [x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)])


def squeeze(x, dim=None):
    """Without axes of size one, or those of `dim` that are."""
    return x.squeeze(tuple(i for i in axes(x, dim) if x.shape[i] == 1))


def cut(x, dim=0, start=None, end=None, step=1):
    """A slice along an axis."""
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def select(x, dim, index):
    """One index of an axis, which goes."""
    return lax.index_in_dim(x, index % x.shape[dim], dim, keepdims=False)


def split(x, sizes, dim=0):
    """Parts along an axis."""
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return tuple(cut(x, dim, a, b) for a, b in itertools.pairwise(ends))


def chunks(x, size, dim=0):
    """Parts of one size, the last of the rest."""
    n = x.shape[dim]
    return split(x, [min(size, n - i) for i in range(0, n, size)], dim)


def repeat(x, times):
    """Copies side by side."""
    return jnp.tile(x, tuple(times))


def roll(x, shifts, dims=()):
    """Cyclic shifts along axes."""
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, tuple(shifts))


def pad(x, widths, value=0.0):
    """Constant padding; (before, after) of the last axis first."""
    pairs = [(widths[i], widths[i + 1], 0) for i in range(0, len(widths), 2)][::-1]
    pairs = [(0, 0, 0)] * (x.ndim - len(pairs)) + pairs
    return lax.pad(x, jnp.asarray(value, x.dtype), pairs)


def index(x, indices):
    """Advanced indexing; None takes an axis whole."""
    return x[tuple(slice(None) if i is None else i for i in indices)]


def put(x, indices, values, accumulate=False):
    """The array with entries replaced or added to."""
    place = x.at[tuple(slice(None) if i is None else i for i in indices)]
    return place.add(values) if accumulate else place.set(values)


def scatter(x, dim, where, values):
    """The array with entries along an axis replaced."""
    return jnp.put_along_axis(x, where, values, dim, inplace=False)


def sort(x, dim=-1, descending=False):
    """Sorted values and their places."""
    order = jnp.argsort(x, axis=dim, descending=descending)
    return jnp.take_along_axis(x, order, dim), order


def topk(x, k, dim=-1, largest=True, sorted=True):
    """The k largest or smallest along an axis, and their places."""
    moved = jnp.moveaxis(x, dim, -1)
    values, places = lax.top_k(moved if largest else -moved, k)
    return jnp.moveaxis(values if largest else -values, -1, dim), jnp.moveaxis(places, -1, dim)


def addmm(b, x, y, beta=1, alpha=1):
    """Product times alpha, plus b times beta."""
    return (b if beta == 1 else beta * b) + (x @ y if alpha == 1 else alpha * (x @ y))


def unfold(x, dim, size, step):
    """Windows along an axis, whose positions are a new last axis."""
    begin = jnp.arange(0, x.shape[dim] - size + 1, step)
    windows = x.take(begin[:, None] + jnp.arange(size), dim % x.ndim)
    return jnp.moveaxis(windows, dim % x.ndim + 1, -1)


_SAME = (
    *("abs", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "floor", "log", "log10", "log1p"),
    *("log2", "reciprocal", "round", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh"),
    *("trunc", "logical_not", "bitwise_not", "isinf", "isnan", "isfinite", "pow", "maximum"),
    *("minimum", "remainder", "fmod", "floor_divide", "logical_and", "logical_or", "logical_xor"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "where", "matmul", "cumsum", "cumprod", "flip"),
    *("tril", "triu", "argmax", "argmin", "real", "imag"),
)
_RENAMED: dict[str, Callable[..., Any]] = {
    **{"acos": jnp.arccos, "acosh": jnp.arccosh, "asin": jnp.arcsin, "asinh": jnp.arcsinh},
    **{"atan": jnp.arctan, "atanh": jnp.arctanh, "atan2": jnp.arctan2, "neg": jnp.negative},
    **{"mul": jnp.multiply, "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less},
    **{"le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal, "add": add, "sub": sub},
    **{"div": div, "rsub": lambda x, y, alpha=1: y - alpha * x, "clamp": clamp},
    **{"rsqrt": lax.rsqrt, "erf": lax.erf, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu},
    **{"silu": jax.nn.silu, "elu": elu, "softplus": jax.nn.softplus},
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh"),
    "hardtanh": lambda x, low=-1.0, high=1.0: clamp(x, low, high),
    "leaky_relu": lambda x, slope=0.01: jax.nn.leaky_relu(x, slope),
    **{
        "_softmax": layers.softmax,
        "_log_softmax": layers.log_softmax,
        "_safe_softmax": layers.softmax,
    },
    **{"sum": reduction(jnp.sum), "mean": reduction(jnp.mean), "prod": reduction(jnp.prod)},
    **{"amax": reduction(jnp.max), "amin": reduction(jnp.min), "any": reduction(jnp.any)},
    **{"all": reduction(jnp.all), "var": variance, "var_mean": moments, "linalg_vector_norm": norm},
    **{"max": extreme(jnp.max, jnp.argmax), "min": extreme(jnp.min, jnp.argmin)},
    **{"_to_copy": cast, "clone": lambda x: x, "alias": lambda x: x, "detach": lambda x: x},
    **{"lift_fresh_copy": lambda x: x, "full": full, "arange": arange, "repeat": repeat},
    "full_like": lambda x, value, dtype=None: full(x.shape, value, dtype or x.dtype),
    **{"zeros_like": like(0), "ones_like": like(1)},
    "zeros": lambda shape, dtype=None: full(shape, 0, dtype or jnp.float32),
    "ones": lambda shape, dtype=None: full(shape, 1, dtype or jnp.float32),
    "scalar_tensor": lambda x, dtype=None: full((), x, dtype),
    **{"view": jnp.reshape, "reshape": jnp.reshape, "_unsafe_view": jnp.reshape},
    **{"permute": jnp.transpose, "transpose": jnp.swapaxes, "t": jnp.transpose, "expand": expand},
    **{"unsqueeze": jnp.expand_dims, "squeeze": squeeze, "slice": cut, "select": select},
    "cat": lambda parts, dim=0: jnp.concatenate(parts, dim),
    "stack": lambda parts, dim=0: jnp.stack(parts, dim),
    "unbind": lambda x, dim=0: tuple(select(x, dim, i) for i in range(x.shape[dim])),
    **{"split_with_sizes": split, "split": chunks, "roll": roll, "constant_pad_nd": pad},
    **{"index": index, "index_put": put, "scatter": scatter, "embedding": layers.embedding},
    "gather": lambda x, dim, where, **_: jnp.take_along_axis(x, where, dim),
    "index_select": lambda x, dim, where: jnp.take(x, where, dim),
    **{"sort": sort, "topk": topk, "linear": layers.linear, "addmm": addmm},
    **{"mm": jnp.matmul, "bmm": jnp.matmul, "mv": jnp.matmul, "dot": jnp.matmul},
    **{"baddbmm": addmm, "convolution": layers.convolution},
    **{f"upsample_nearest{n}d": layers.nearest for n in (1, 2, 3)},
    **{
        f"upsample_{kind}": layers.interpolated
        for kind in ("linear1d", "bilinear2d", "trilinear3d")
    },
    "unfold": unfold,
    **{f"max_pool{n}d_with_indices": layers.max_pool for n in (2, 3)},
    **{f"avg_pool{n}d": layers.avg_pool for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": layers.adaptive_avg_pool for n in (2, 3)},
    **{"adaptive_avg_pool1d": layers.adaptive_avg_pool, "native_layer_norm": layers.layer_norm},
    **{"native_group_norm": layers.group_norm, "_native_batch_norm_legit": layers.instance_norm},
    **{"_native_batch_norm_legit_no_training": layers.batch_norm},
    **{"_scaled_dot_product_flash_attention_for_cpu": layers.attention},
}
OPERATORS: dict[str, Callable[..., Any]] = {
    f"aten.{name}": operator
    for name, operator in ({name: getattr(jnp, name) for name in _SAME} | _RENAMED).items()
}

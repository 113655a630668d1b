"""Functions of one number, recognised by their values.

A jaxpr spells one activation in many ways: a named call, `max(x, 0)`, half of x times one plus an
error function, a polynomial. On a walk every elementwise operation is evaluated on `GRID`, and
the result compared with the known activations: from where a threshold would be hidden by noise,
2^-20, to where a bound would be hidden by its size, 2^20.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_STEPS = np.concatenate([2.0 ** np.arange(-20, 21), [0.3, 0.7, 1.5, 2.3, 2.9, 3.7, 5.1, 6.5, 12.1]])
GRID = np.concatenate([-np.sort(_STEPS)[::-1], [0.0], np.sort(_STEPS)])
FIRST = 2.0**-9  # of the numbers that a factor inside is computed from
LARGE = 32.0  # beyond, what overflows is not compared
TOLERANCE = 3e-6  # relative, of every value
ROUNDING = 1e-12  # relative to the number that a function is given
_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])
_sigmoid = lambda x: 0.5 * (1 + np.tanh(0.5 * x))


def _power(x, y):
    return np.power(np.asarray(x, float), y)


def _convert(x, new_dtype=None, **_):
    kind = np.dtype(new_dtype).kind if new_dtype is not None else "f"
    return (
        np.trunc(x).astype(np.int64)
        if kind in "iu"
        else np.asarray(x, bool if kind == "b" else float)
    )


def _select(which, *cases, **_):
    return np.select([np.asarray(which, int) == i for i in range(len(cases))], cases)


def _logical(of, bits):
    return lambda *x: of(*x) if all(np.asarray(a).dtype == bool for a in x) else bits(*x)


# lax primitive -> its function of arrays; parameters by name
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "max": np.maximum, "min": np.minimum, "neg": np.negative, "sign": np.sign, "abs": np.abs,
    "floor": np.floor, "ceil": np.ceil, "exp": np.exp, "exp2": np.exp2, "log": np.log,
    "log1p": np.log1p, "expm1": np.expm1, "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
    "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "atan2": np.arctan2, "logistic": _sigmoid, "erf": _erf, "erfc": _erfc, "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt, "square": np.square, "pow": _power,
    "integer_pow": lambda x, y: np.power(np.asarray(x, float), y), "rem": np.fmod,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "is_finite": np.isfinite, "convert_element_type": _convert,
    "select_n": _select, "clamp": lambda low, x, high: np.clip(x, low, high),
    "and": _logical(np.logical_and, np.bitwise_and), "or": _logical(np.logical_or, np.bitwise_or),
    "xor": _logical(np.logical_xor, np.bitwise_xor),
    "not": _logical(np.logical_not, np.bitwise_not),
    "round": lambda x, rounding_method=1: np.round(x),
}  # fmt: skip
SAME = frozenset(  # that leave numbers as they are
    (
        *("copy", "copy_p", "stop_gradient", "reduce_precision", "sharding_constraint"),
        *("optimization_barrier", "convert_element_type", "name", "real"),
    )
)
_WANTED = {"convert_element_type": ("new_dtype",), "integer_pow": ("y",)}


def evaluated(name: str, params: dict, *values: np.ndarray | None) -> np.ndarray | None:
    """The values of an elementwise operation; None if an operand's are not known.

    >>> evaluated("max", {}, np.array([-1.0, 2.0]), np.array(0.0)).tolist()
    [0.0, 2.0]
    """
    if any(v is None for v in values) or (name not in OPERATIONS and name not in SAME):
        return None
    if name in SAME and name not in OPERATIONS:
        return values[0]
    more = {k: params[k] for k in _WANTED.get(name, ())}
    with np.errstate(all="ignore"):
        try:
            return np.asarray(OPERATIONS[name](*values, **more))
        except (TypeError, ValueError):  # bits of numbers that are no whole numbers
            return None


def parity(value: np.ndarray | None) -> bool | None:
    """True of an odd function, given at `GRID`, False of an even one, None of others."""
    if value is None or value.shape != GRID.shape or value.dtype == bool:
        return None
    value = value.astype(float)
    mirrored = value[::-1]
    return next(
        (odd for odd in (True, False) if _close(value, -mirrored if odd else mirrored)), None
    )


def linear(value: np.ndarray | None) -> bool:
    """Whether a function, given at `GRID`, multiplies by a number other than 0."""
    if value is None or value.shape != GRID.shape or value.dtype == bool:
        return False
    value = value.astype(float)
    slope = value[-1] / GRID[-1]
    return bool(slope and np.isfinite(slope)) and _close(value, slope * GRID)


@np.errstate(all="ignore")  # what overflows is not compared
def recognised(value: np.ndarray | None) -> tuple[str, float]:
    """The name of an activation and the factor inside it, from its values at `GRID`.

    A factor outside does not matter. "other" if it is none of `networks.ACTIVATIONS`.

    >>> recognised(np.sin(30.0 * GRID))
    ('sin', 30.0)
    >>> recognised(2 * np.maximum(GRID, 0))
    ('relu', 1.0)
    """
    if value is None or value.shape != GRID.shape:
        return "other", 1.0
    value = value.astype(float)
    if linear(value):
        return "none", 1.0
    left, right = value[0] / GRID[0], value[-1] / GRID[-1]
    if right and _close(value, np.where(GRID > 0, right, left) * GRID):
        ratio = left / right
        return (
            "relu" if abs(ratio) < TOLERANCE else "leaky_relu" if 0 < ratio < 1 else "other"
        ), 1.0
    at = lambda x: value[np.searchsorted(GRID, x)]
    for h in FIRST * 2.0 ** np.arange(13):
        for name, of, inside in () if np.ptp(value) == 0 else _candidates(h, at):
            if np.isfinite(inside) and inside > 0:
                inside = _refined(value, inside, h) if name == "sin" else inside
                shape = of(inside * GRID)
                size = _size(value, shape)
                if _close(value, size * shape):
                    return name, float(f"{inside:.5g}")
    return "other", 1.0


def _candidates(h, at):
    """(name, function, factor inside it) that fit the values at 0, h, 2 h and -h."""
    gelu = lambda x: x * 0.5 * _erfc(-x / math.sqrt(2))
    if h == FIRST:
        yield from (("gelu", gelu, 1.0), ("gelu_tanh", _gelu_tanh, 1.0))
    if odd := at(h) - at(-h):
        yield "silu", lambda x: x * _sigmoid(x), 2 * np.arctanh((at(h) + at(-h)) / odd) / h
    if (double := at(2 * h)) and at(h):
        yield "tanh", np.tanh, np.arctanh(np.sqrt(2 * at(h) / double - 1)) / h
        yield "sin", np.sin, np.arccos(np.clip(double / 2 / at(h), -1, 1)) / h
    if double := at(2 * h) - at(0):
        yield "sigmoid", _sigmoid, 2 * np.arctanh(np.sqrt(2 * (at(h) - at(0)) / double - 1)) / h


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _refined(value, inside, h):
    """The frequency of a sine, more and more precise at larger and larger numbers."""
    size = value[np.searchsorted(GRID, h)] / np.sin(inside * h)
    for x, y in zip(GRID[h <= GRID], value[h <= GRID], strict=True):
        if abs(slope := np.cos(inside * x)) > 0.5:
            inside += (y / size - np.sin(inside * x)) / (slope * x)
    return inside


def _size(value, shape):
    """The factor outside, where both are finite."""
    both = np.isfinite(value) & np.isfinite(shape)
    value, shape = value[both], shape[both]
    return (value @ shape) / (shape @ shape)


def _close(value, other):
    """Whether two functions are the same, number by number."""
    both = np.isfinite(value) & np.isfinite(other)
    if not both[np.abs(GRID) <= LARGE].all():
        return False
    value, other, at = value[both], other[both], np.maximum(np.abs(GRID[both]), 1)
    slope = np.max(np.abs(other / at), where=at > 1, initial=0.0)
    return bool((np.abs(value - other) <= TOLERANCE * np.abs(other) + ROUNDING * slope * at).all())

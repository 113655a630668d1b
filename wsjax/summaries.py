"""Short `repr`s of what holds arrays: shapes in place of numbers.

Moves(axis=int32[13, 2], coordinate=int32[13, 2], stride=int32[13, 2], sizes=int32[1], width=4)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

LENGTH = 400  # characters of a summary, about


def summary(thing: Any) -> str:
    """The `repr` of a dataclass or a named tuple, with arrays as their types and shapes.

    >>> import typing, numpy as np
    >>> class Points(typing.NamedTuple):
    ...     places: np.ndarray
    ...     names: tuple[str, ...]
    ...     __repr__ = summary
    >>> Points(np.zeros((99, 2)), ("here", "there"))
    Points(places=float64[99, 2], names=('here', 'there'))
    """
    fields = getattr(thing, "_fields", None) or [f.name for f in dataclasses.fields(thing)]
    parts = ", ".join(f"{name}={value(getattr(thing, name))}" for name in fields)
    return f"{type(thing).__name__}({cut(parts)})"


def value(x: Any) -> str:
    """One field of a summary."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}{list(x.shape)}"
    if isinstance(x, Mapping):
        return "{" + cut(", ".join(f"{key!r}: {value(v)}" for key, v in x.items())) + "}"
    if isinstance(x, tuple) and not hasattr(x, "_fields"):
        return "(" + cut(", ".join(map(value, x))) + ("," if len(x) == 1 else "") + ")"
    if dataclasses.is_dataclass(x) or hasattr(x, "_fields"):
        return f"{type(x).__name__}(...)"
    return cut(repr(x))


def cut(text: str) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}..."


def architectures(specs: Sequence[Any]) -> str:
    """How many specs, of how many weights: "2 architectures of 13 to 29 weights"."""
    sizes = sorted({spec.count for spec in specs})
    ends = " to ".join(f"{size:,}" for size in (*sizes[:1], *sizes[1:][-1:]))
    return f"{count(len(specs), 'architecture')} of {ends} weights"


def count(number: int, noun: str) -> str:
    """A number with its noun, "1 network" or "2,000 networks"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""Padding: sizes that few batches differ in, so that a step compiles for few of them.

Views of several architectures are padded to the sizes of one bucket and stacked. Padding is
masked wherever a view is used, and changes no number.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

NONE = -1  # "does not apply", where a position or an index is expected

Tree = TypeVar("Tree")


class Sized(Protocol):
    """A dataclass of arrays [row, ...] with their numbers of rows."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """By part of the view, in the order of its bucket."""
        ...


View = TypeVar("View", bound=Sized)


def rounded(n: int) -> int:
    """`n` rounded up to 1, 1.25, 1.5 or 1.75 times a power of two: at most a fifth is padding."""
    step = max(1, 2 ** max(0, math.ceil(math.log2(n)) - 3))
    return -(-n // step) * step


def multiple(n: int, of: int) -> int:
    """The smallest multiple that is not smaller."""
    return -(-n // of) * of


def vectors(networks: Sequence[np.ndarray]) -> np.ndarray:
    """Raveled networks of several lengths as one array [batch, entry], zeros behind them.

    Raises:
        ValueError: a network holds a NaN or an infinity.
    """
    for i, vector in enumerate(networks):
        if bad := len(vector) - int(np.isfinite(vector).sum()):
            raise ValueError(f"network {i}: {bad} of {len(vector)} values are NaN or infinite")
    width = rounded(max(map(len, networks)))
    return np.stack([rows(x, width, 0) for x in networks])


def rows(x: np.ndarray, count: int, fill: float) -> np.ndarray:
    """An array [row, ...] with rows of `fill` behind its own, up to a count."""
    return np.pad(x, [(0, count - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=fill)


def view(
    view: View, bucket: Any, parts: Mapping[str, Iterable[str]], zero: Collection[str]
) -> View:
    """A view with rows of padding behind its own, up to the sizes of a bucket.

    Args:
        view: a dataclass of arrays [row, ...] whose `sizes` are in the order of the bucket's.
        bucket: a dataclass of sizes.
        parts: size of the bucket -> the fields of the view that have so many rows.
        zero: the fields whose padding is 0; it is `NONE` in all others.

    Raises:
        ValueError: the view does not fit.
    """
    want: dict[str, int] = dataclasses.asdict(bucket)
    if any(n > most for n, most in zip(view.sizes, want.values(), strict=True)):
        raise ValueError(f"view of ({', '.join(want)}) {view.sizes} does not fit {bucket}")
    return type(view)(**{
        field: rows(getattr(view, field), want[size], 0 if field in zero else NONE)
        for size, fields in parts.items()
        for field in fields
    })  # fmt: skip


def stack(views: Sequence[Tree]) -> Tree:
    """Views of equal sizes, with a batch axis in front of all arrays."""
    return jax.tree.map(lambda *x: np.stack(x), *views)

"""Stored arrays against those of a `Spec`: cut and reshaped, exactly, and back.

    stored                      views and cuts                          the Spec's arrays
    in_proj.weight [12, 4]      [3, 2, 2, 4] cut at 0, 1, 2        ->   3 kernels [2, 2, 4]
    out/kernel [4, 4]           [2, 2, 4]                          ->   1 kernel  [2, 2, 4]

A file's arrays are stored as its framework likes: queries, keys and values fused into one
kernel, heads merged with their dimensions, the layers of a scan stacked. A Spec has one axis
for each set of neurons. A `Packing` says which part of which stored array each array of the
Spec is; every stored number lies in exactly one.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from wsjax import checks

AnyArray = TypeVar("AnyArray", jax.Array, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a stored array.

    Attributes:
        name: of the array in the Spec.
        source: name of the stored array.
        view: the shape to which the stored array is reshaped, row by row.
        start: of the part, along each axis of the view.
        stop: its end, exclusive.
        shape: of the array in the Spec: the part's, without axes of size one as needed.
        origins: for each axis of `shape`, the axis of the stored array that it comes from.
    """

    name: str
    source: str
    view: tuple[int, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    shape: tuple[int, ...]
    origins: tuple[int, ...]

    @property
    def cut(self) -> tuple[slice, ...]:
        """The part, as an index of the view."""
        return tuple(map(slice, self.start, self.stop))


@dataclasses.dataclass(frozen=True)
class Packing:
    """How stored arrays make the arrays of a Spec.

    Attributes:
        stored: (name, shape) of every stored array.
        pieces: one for each array of the Spec, in any order.

    Raises:
        ValueError: a piece does not fit its stored array, two have one name, or a stored number
            lies in no piece or in two; every mistake is listed.

    >>> fused = Piece("q", "qk", (2, 3), (0, 0), (1, 3), (3,), (0,))
    >>> rest = Piece("k", "qk", (2, 3), (1, 0), (2, 3), (3,), (0,))
    >>> both = Packing((("qk", (6,)),), (fused, rest))
    >>> {n: a.tolist() for n, a in both.pack({"qk": np.arange(6)}).items()}
    {'q': [0, 1, 2], 'k': [3, 4, 5]}
    >>> both.unpack(both.pack({"qk": np.arange(6)}))["qk"].tolist()
    [0, 1, 2, 3, 4, 5]
    """

    stored: tuple[tuple[str, tuple[int, ...]], ...]
    pieces: tuple[Piece, ...]

    def __post_init__(self):
        shapes, wrong = dict(self.stored), []
        names = collections.Counter(p.name for p in self.pieces)
        wrong += [f"{n}: two arrays of one name" for n, count in names.items() if count > 1]
        parts: dict[str, list[Piece]] = {name: [] for name in shapes}
        for p in self.pieces:
            part = tuple(b - a for a, b in zip(p.start, p.stop, strict=True))
            if p.source not in shapes:
                wrong.append(f"{p.name}: expected a stored array, got {p.source!r}")
            elif math.prod(p.view) != math.prod(shapes[p.source]):
                wrong.append(
                    f"{p.name}: expected a view of {p.source} {list(shapes[p.source])}, got "
                    f"{list(p.view)}"
                )
            elif math.prod(part) != math.prod(p.shape) or len(p.origins) != len(p.shape):
                wrong.append(f"{p.name}: expected a part of shape {list(p.shape)}, got {part}")
            elif any(not 0 <= a <= b <= n for a, b, n in zip(p.start, p.stop, p.view, strict=True)):
                wrong.append(f"{p.name}: {p.start} to {p.stop} is no part of {list(p.view)}")
            else:
                parts[p.source].append(p)
        for name, shape in () if wrong else self.stored:
            if len(parts[name]) == 1 and math.prod(parts[name][0].shape) == math.prod(shape):
                continue
            times = np.zeros(math.prod(shape), np.int8)
            for p in parts[name]:
                times.reshape(p.view)[p.cut] += 1
            if (times != 1).any():
                wrong.append(
                    f"{name}: {(times != 1).sum()} of {times.size} numbers in no, or two, parts"
                )
        checks.raise_all("packing is inconsistent", wrong)

    def pack(self, stored: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """The arrays of the Spec, from stored ones [*shape]; raises as `check`."""
        self.check(stored)
        part: Any = lambda p: stored[p.source].reshape(p.view)[p.cut].reshape(p.shape)
        return {p.name: part(p) for p in self.pieces}

    def unpack(self, params: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """The stored arrays; undoes `pack` to the bit.

        Raises:
            ValueError: an array is absent or of another shape; every one is named.
        """
        checks.raise_all(
            "arrays do not match the packing",
            _differences({p.name: p.shape for p in self.pieces}, params),
        )
        parts: dict[str, list[Piece]] = {}
        for p in self.pieces:
            parts.setdefault(p.source, []).append(p)
        whole: Any = _whole
        return {name: whole(shape, parts.get(name, []), params) for name, shape in self.stored}

    def check(self, stored: Mapping[str, jax.Array | np.ndarray]) -> None:
        """Raises a ValueError that names every stored array that is absent or misshapen."""
        checks.raise_all(
            "stored arrays do not match the packing", _differences(dict(self.stored), stored)
        )


def _whole(shape, pieces, params):
    """One stored array from its parts."""
    if not pieces:
        return np.zeros(shape, np.float32)  # without a single number
    first = params[pieces[0].name]
    if len(pieces) == 1:
        return first.reshape(shape)
    if all(isinstance(params[p.name], np.ndarray) for p in pieces):
        out = np.empty(math.prod(shape), first.dtype)
        for p in pieces:
            view = out.reshape(p.view)
            view[p.cut] = params[p.name].reshape(view[p.cut].shape)
        return out.reshape(shape)
    out = jax.numpy.empty(math.prod(shape), first.dtype)
    for p in pieces:
        view = out.reshape(p.view)
        part = params[p.name].reshape([b - a for a, b in zip(p.start, p.stop, strict=True)])
        out = view.at[p.cut].set(part).ravel()
    return out.reshape(shape)


def _differences(want, arrays):
    for name, shape in want.items():
        if name not in arrays:
            yield f"{name}: expected, absent"
        elif tuple(arrays[name].shape) != tuple(shape):
            yield f"{name}: expected shape {list(shape)}, got {list(arrays[name].shape)}"
    yield from (f"{name}: not expected" for name in arrays if name not in want)

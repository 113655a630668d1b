"""Whether the numbers of a file can be those of a network: measured array by array.

    measured(array)      how many are not finite, and where; root mean square; zeros
    verdicts(measures)   findings by name: nonfinite, zeros, scale

An array is measured in pieces, so that no copy of one that is contiguous is made, and can be
dropped before the next is read. Scales are compared within a kind, the arrays of one last word
and number of axes (all kernels of dense layers, all running means): training leaves them within a
few orders of magnitude, while random or misread bytes span all that their type has. Zeros are
found where an array is zero throughout, or from some place to its end, as a broken download
leaves it.
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping

import numpy as np

from wsjax.files.checkpoint import Finding
from wsjax.files.derived import split

_PIECE = 1 << 18  # elements at a time
_WILD = 1e4  # times the median of the siblings' root mean squares: a warning
_ABSURD = 1e8  # times that: an error, as are numbers beyond `_MOST`
_MOST = 1e15
_SIBLINGS = 3  # fewer are no kind to compare with
_TAIL = 0.25  # of an array, zero to its end
_TAIL_LEAST = 64


@dataclasses.dataclass(frozen=True)
class Measure:
    """Numbers about the numbers of an array.

    Attributes:
        shape: of the array.
        nonfinite: how many are NaN or infinite.
        place: index of the first of these; None if there is none.
        rms: root mean square of the finite ones; 0 of none.
        largest: absolute value of the largest finite one.
        zero_tail: how many at its end are zero, in row-major order; its size if all are.
        constant: whether all are the same number.
        digest: of its bytes; equal arrays have equal ones.
    """

    shape: tuple[int, ...]
    nonfinite: int
    place: tuple[int, ...] | None
    rms: float
    largest: float
    zero_tail: int
    constant: bool
    digest: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def zero(self) -> bool:
        """Whether it has elements and all are zero."""
        return self.zero_tail == self.size > 0


def measured(array: np.ndarray) -> Measure:
    """Measures an array of any type of numbers, in its own memory and a piece's.

    >>> m = measured(np.array([[1.0, np.nan], [0.0, 0.0]]))
    >>> m.nonfinite, m.place, m.zero_tail
    (1, (0, 1), 2)
    """
    flat = array.reshape(-1)  # a view where it is contiguous
    nonfinite, first, squares, largest, tail, digest = 0, None, 0.0, 0.0, 0, 0
    constant, begin = True, _wide(flat[:1])
    for start in range(0, len(flat), _PIECE):
        stored = np.ascontiguousarray(flat[start : start + _PIECE])
        digest = zlib.crc32(stored.view(np.uint8).data, digest)
        piece = _wide(stored)
        low, high = float(piece.min()), float(piece.max())
        constant = constant and low == high == begin[0]
        if not (math.isfinite(low) and math.isfinite(high)):
            fine = np.isfinite(piece)
            first = start + int(np.argmin(fine)) if first is None else first
            nonfinite += int(np.count_nonzero(~fine))
            tail = _tail(~fine | (piece != 0), tail)
            piece = piece[fine]
            low, high = float(piece.min(initial=0)), float(piece.max(initial=0))
        else:
            tail = _tail(piece, tail) if not piece[-1] else 0
        largest = max(largest, -low, high)
        if largest > _MOST:
            piece = piece.astype(np.float64)
        with np.errstate(all="ignore"):  # 1e200 squared is beyond float64, and absurd anyway
            squares += float(np.dot(piece, piece))
    place = None if first is None else tuple(int(i) for i in np.unravel_index(first, array.shape))
    count = len(flat) - nonfinite
    rms = math.sqrt(squares / count) if count else 0.0
    return Measure(array.shape, nonfinite, place, rms, largest, tail, constant, digest)


def _wide(piece):
    """Of complex numbers the absolute values; of small types float32."""
    if piece.dtype.kind == "c":
        with np.errstate(all="ignore"):
            return np.abs(piece)
    return piece if piece.dtype in (np.float32, np.float64) else piece.astype(np.float32)


def _tail(piece, before):
    """Zeros at the end, from those of the pieces before."""
    some = np.flatnonzero(piece)
    return len(piece) - 1 - int(some[-1]) if len(some) else before + len(piece)


def verdicts(measures: Mapping[str, Measure], beside: Mapping[str, Measure]) -> list[Finding]:
    """Findings about the arrays of a network.

    Args:
        measures: name -> of each weight.
        beside: name -> of each array that is no weight itself, such as the scales of packed
            ones; NaN there is an error too.
    """
    return [
        *(_nonfinite(name, m) for name, m in {**measures, **beside}.items() if m.nonfinite),
        *_zeros(measures),
        *_scales(measures),
    ]


def _nonfinite(name, m):
    text = f"{name}: {m.nonfinite:,} of {m.size:,} numbers are not finite, the first at "
    return Finding("nonfinite", "error", name, f"{text}{list(m.place)}")


def _zeros(measures):
    """Kernels begin at zero now and then, biases always do; most of a network never stays so."""
    sized = {n: m for n, m in measures.items() if m.size > 1}
    zero = {n: m for n, m in sized.items() if m.zero}
    kernels = {n: m for n, m in sized.items() if len(m.shape) > 1}
    zero_kernels = [n for n in kernels if n in zero]
    if zero and (
        2 * len(zero_kernels) > len(kernels) or (not kernels and 2 * len(zero) > len(sized))
    ):
        names = ", ".join(list(zero)[:3])
        text = f"{len(zero)} of {len(sized)} arrays are zero ({names}{', ...' * (len(zero) > 3)})"
        yield Finding("zeros", "error", next(iter(zero)), text)
    else:
        for name in zero_kernels:
            text = f"{name} {list(measures[name].shape)} is zero throughout"
            yield Finding("zeros", "warning", name, text)
    for name, m in sized.items():
        if not m.zero and m.zero_tail >= max(_TAIL_LEAST, _TAIL * m.size):
            text = f"{name}: the last {m.zero_tail:,} of its {m.size:,} numbers are zero"
            yield Finding("zeros", "warning", name, text)


def _scales(measures):
    """Arrays whose root mean square is far from the median of their kind."""
    kinds: dict[tuple, dict[str, Measure]] = {}
    for name, m in measures.items():
        if m.rms > 0:
            kinds.setdefault((split(name)[1], len(m.shape)), {})[name] = m
    for siblings in kinds.values():
        middle = float(np.median([m.rms for m in siblings.values()]))
        for name, m in siblings.items():
            ratio = m.rms / middle if len(siblings) >= _SIBLINGS and middle < math.inf else 1.0
            far = max(ratio, 1 / ratio if ratio else math.inf)
            if m.largest > _MOST or far > _WILD:
                text = f"{name}: numbers of size {m.rms:.2g} (root mean square)"
                if far > _WILD:
                    text += f", {len(siblings) - 1} others of its kind have {middle:.2g}"
                absurd = m.largest > _MOST or ratio > _ABSURD
                yield Finding("scale", "error" if absurd else "warning", name, text)

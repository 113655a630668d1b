"""Statistics of one array, in the memory of the array, a piece of it and one matrix."""

import dataclasses
import math
from typing import Any

import numpy as np

WIDE = 4096  # the largest matrix whose singular value is computed has the entries of this square
DENSE = 256  # the smaller side up to which all singular values are computed
_PIECE = 1 << 18  # elements at a time


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Statistics of an array's finite numbers; of complex numbers, of their absolute values.

    Attributes:
        count: of its numbers.
        nonfinite: how many are NaN or infinite.
        mean: NaN if none is finite, as `std`, `smallest` and `largest`.
        std: standard deviation, divided by the number.
        smallest: of the numbers.
        largest: of the numbers.
        magnitude: the largest absolute value; 0 if none is finite.
        zeros: share of zeros among all numbers.
        norm: Frobenius norm.
        spectral: largest singular value, to four digits; None without a matrix, of one with more
            entries than a square of `WIDE`, and where a number is not finite.
        stable_rank: the square of `norm` over that of `spectral`; None also of zeros alone.
    """

    count: int
    nonfinite: int
    mean: float
    std: float
    smallest: float
    largest: float
    magnitude: float
    zeros: float
    norm: float
    spectral: float | None = None
    stable_rank: float | None = None


def statistics(array: np.ndarray, writes: tuple[int, ...] = ()) -> Statistics:
    """Statistics of an array of any type of numbers.

    Args:
        array: of any shape, complex numbers too.
        writes: its axes that index the neurons it writes; the singular value is that of the
            matrix [these, all others], as usual for convolutions. None are no matrix.

    >>> kernel = np.array([[3.0, 0.0], [0.0, 4.0]])
    >>> stats = statistics(kernel, (1,))
    >>> stats.mean, stats.zeros, stats.norm, stats.spectral, stats.stable_rank
    (1.75, 0.5, 5.0, 4.0, 1.5625)
    """
    flat = array.reshape(-1)
    count, mean, spread, zeros = 0, 0.0, 0.0, 0
    low, high = math.inf, -math.inf
    with np.errstate(all="ignore"):  # squares beyond float64 are infinite, as their norm
        for start in range(0, flat.size, _PIECE):
            piece = _wide(flat[start : start + _PIECE])
            fine = np.isfinite(piece)
            piece = piece if fine.all() else piece[fine]
            if not piece.size:
                continue
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
            zeros += piece.size - int(np.count_nonzero(piece))
            center = float(piece.mean())
            piece = piece - center
            # Chan et al., 1979: exact also where the spread is far below the mean
            shift, total = center - mean, count + piece.size
            apart = shift * math.sqrt(count * piece.size / total)  # 0 of the first, however large
            spread += float(np.dot(piece, piece)) + apart * apart
            mean += shift * piece.size / total
            count = total
    if not count:
        nan = math.nan
        return Statistics(flat.size, flat.size, nan, nan, nan, nan, 0.0, 0.0, 0.0)
    norm = math.hypot(math.sqrt(spread), abs(mean) * math.sqrt(count))
    magnitude = max(abs(low), abs(high))
    found = (math.sqrt(spread / count), low, high, magnitude, zeros / flat.size, norm)
    singular = _singular(array, writes, magnitude) if count == flat.size else None
    rank = (norm / singular) ** 2 if singular else None
    return Statistics(flat.size, flat.size - count, mean, *found, singular, rank)


def _wide(piece):
    return (np.abs(piece) if piece.dtype.kind == "c" else piece).astype(np.float64)


def _singular(array, writes, magnitude):
    """The largest singular value of the matrix [writes, all else], if it is one."""
    rows = math.prod(array.shape[i] for i in writes)
    columns = array.size // rows
    if not writes or min(rows, columns) < 2 or array.size > WIDE**2 or array.dtype.kind == "c":
        return None
    if not magnitude or not math.isfinite(magnitude):
        return 0.0 if magnitude == 0 else None
    kind = np.float64 if min(rows, columns) <= DENSE else np.float32
    matrix = np.moveaxis(array, writes, range(len(writes))).reshape(rows, columns)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    matrix = (matrix / matrix.dtype.type(magnitude)).astype(kind, copy=False)
    matrix = matrix if rows <= columns else matrix.T
    if min(rows, columns) <= DENSE:
        return magnitude * math.sqrt(max(0.0, float(np.linalg.eigvalsh(matrix @ matrix.T)[-1])))
    return magnitude * math.sqrt(_largest_eigenvalue(matrix))


def _largest_eigenvalue(matrix):
    """Of matrix @ matrix.T, by Lanczos' iteration from a start that is the same each time."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    side = len(matrix)
    product: Any = lambda x: matrix @ (matrix.T @ x)
    operator = LinearOperator((side, side), product, dtype=matrix.dtype)  # pyrefly: ignore
    start = np.random.default_rng(0).standard_normal(side).astype(matrix.dtype)
    try:
        return float(eigsh(operator, 1, which="LA", v0=start, tol=1e-4)[0][0])
    except ArpackNoConvergence:
        return float(np.linalg.norm(matrix, 2)) ** 2

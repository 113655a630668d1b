"""Sizes that few batches differ in, so that a step compiles for few of them."""

import math
from collections.abc import Sequence

import numpy as np


def room(n: int) -> int:
    """Up to 1, 1.25, 1.5 or 1.75 times a power of two: at most a fifth is padding."""
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
    width = room(max(map(len, networks)))
    return np.stack([np.pad(x, (0, width - len(x))) for x in networks])

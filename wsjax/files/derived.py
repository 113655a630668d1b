"""A weight that is computed from several stored arrays."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Derived:
    """A weight as the network uses it, from arrays of other names.

    Attributes:
        name: of the weight.
        shape: of the weight.
        sources: names of the stored arrays that it is computed from, in `compute`'s order.
        how: in a few words, such as "weight norm".
        compute: the sources' arrays -> the weight.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    how: str
    compute: Callable[..., np.ndarray] = dataclasses.field(repr=False, compare=False)


def split(name: str) -> tuple[str, str]:
    """A name as (all before its last dot or slash, that included; the last word).

    >>> split("features.0.weight"), split("Dense_0/kernel"), split("w")
    (('features.0.', 'weight'), ('Dense_0/', 'kernel'), ('', 'w'))
    """
    at = max(name.rfind("."), name.rfind("/")) + 1
    return name[:at], name[at:]

"""The axes of a function's parameters."""

import dataclasses

from wsjax.packing import Packing


@dataclasses.dataclass(frozen=True)
class Axes:
    """Which axes of a function's parameters index the same neurons.

    Attributes:
        packing: how the parameters are cut and reshaped so that every axis is one set of neurons.
        names: for each packed array, the name of each axis. Equal names are the same neurons.
        sizes: (axis name, number of neurons).
        hidden: names of the axes whose neurons can be permuted.
        nested: (inner, outer) hidden axes, as in `Spec`.
        notes: why axes are fixed that might have been free, a line each.
    """

    packing: Packing
    names: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    hidden: tuple[str, ...]
    nested: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

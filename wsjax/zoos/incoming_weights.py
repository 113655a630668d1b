"""Norms and signs of the weights that come into neurons, array by array.

    Dense_1/kernel [32, 32]    a column each      norms [network, 32], shares of + and - [network]
    Dense_1/bias       [32]    a number each      norms are absolute values

Where neurons can be flipped, and training has no side that it prefers, a layer's signs are
near even; where they can be scaled, norms spread (Kalogeropoulos et al., 2024, appendix).
`plots.norms_and_signs` draws them. In NumPy, in float64.
"""

from typing import NamedTuple

import numpy as np

from wsjax.networks import check, unravel
from wsjax.zoos import Zoo

ROLES = ("kernel", "scale", "bias")  # a norm's mean and variance are measured, not learned


class Incoming(NamedTuple):
    """The weights that come into neurons through one array.

    Attributes:
        layer: the name of the array's layer.
        role: one of `ROLES`.
        norms: [network, neuron], over all that the array reads and over its taps.
        positive: [network], the share of its entries above zero.
        negative: [network], the share below. Entries that are zero are in neither.
    """

    layer: str
    role: str
    norms: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def incoming(zoo: Zoo) -> dict[str, Incoming]:
    """Measures the arrays of a zoo's networks.

    Returns:
        Array name -> what comes in through it, in order of computation.

    Raises:
        ValueError: an entry is NaN or infinite; the arrays with such entries are listed.
    """
    params, out = unravel(np.asarray(zoo.vectors, np.float64), zoo.spec), {}
    check(params, zoo.spec)  # the zoo was, when it was made
    for layer in zoo.spec.layers:
        for a in layer.arrays:
            if a.role in ROLES:
                array, axes = np.asarray(params[a.name]), range(1, 1 + len(a.axes))
                others = tuple(i for i in axes if i - 1 not in a.writes)
                norms = np.sqrt((array**2).sum(others)).reshape(len(zoo), -1)
                positive, negative = ((s * array > 0).mean(tuple(axes)) for s in (1, -1))
                out[a.name] = Incoming(layer.name, a.role, norms, positive, negative)
    return out

"""Features of networks that need no learning: StatNN's statistics of each array.

statistics(zoo)  ->  [network, 7 * arrays], of one width for all architectures of the zoo
"""

import numpy as np

from wsjax import checks
from wsjax.encoders import stat_nn
from wsjax.zoos import Zoo


class UnsupportedError(ValueError):
    """Networks that a computation does not support."""


def statistics(networks: Zoo) -> np.ndarray:
    """StatNN's statistics of networks, [network, 7 * arrays].

    Raises:
        UnsupportedError: they have not all as many arrays.
        ValueError: weights are NaN or infinite, or statistics are: of weights too large for their
            variance in float32. Networks and arrays are named.
    """
    networks.check()
    parts, wrong = {}, []
    for s in np.unique(networks.which).tolist():
        zoo = networks.of(s)
        with np.errstate(over="ignore", invalid="ignore"):
            parts[s] = np.asarray(stat_nn.statistics(zoo.vectors, stat_nn.bounds(zoo.spec)))
        bad = ~np.isfinite(parts[s]).reshape(len(zoo), -1, 7).all(-1)  # [network, array]
        members = np.flatnonzero(networks.which == s)
        for i in np.flatnonzero(bad.any(0)).tolist():
            wrong.append(
                f"{zoo.spec.arrays[i].name} of {checks.some('network', members[bad[:, i]])}"
            )
    checks.raise_all("statistics overflow float32, expected smaller weights in", wrong)
    widths = sorted({x.shape[1] for x in parts.values()})
    if len(widths) > 1:
        counts = " and ".join(str(w // 7) for w in widths)
        raise UnsupportedError(f"expected as many arrays in all networks, got {counts}")
    out = np.zeros((len(networks), *widths))
    for s, x in parts.items():
        out[networks.which == s] = x
    return out

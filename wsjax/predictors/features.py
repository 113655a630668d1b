"""Features of networks that need no learning, invariant to permutations of hidden neurons.

statistics(zoo)            ->  [network, 7 * arrays], StatNN's, for zoos of several architectures
describe(vectors, spec)    ->  Features(names, values [network, feature]), of one architecture
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.encoders import stat_nn
from wsjax.networks import Array, Spec, unravel
from wsjax.zoos import Zoo

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
TAPS = 25  # of a window, up to which its positions are described one by one
VALUES = 9  # largest singular values of a kernel
SIDE = 1024  # neurons of a kernel's smaller side, up to which it has singular values
TINY = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Numbers that describe networks.

    Attributes:
        names: "Conv_0/kernel: mean", one for each column.
        values: [network, feature] float64.
    """

    names: tuple[str, ...]
    values: np.ndarray


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
            parts[s] = np.asarray(
                stat_nn.statistics(jnp.asarray(zoo.vectors), stat_nn.bounds(zoo.spec))
            )
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


def describe(vectors: np.ndarray, spec: Spec) -> Features:
    """Features of networks of one architecture, computed in NumPy: nothing is compiled.

    Of each array StatNN's seven statistics, the logarithm of the root mean square, and mean and
    quantiles in units of it. Of each kernel also the largest singular values, from all that it
    reads at every tap to all that it writes; of a convolution the mean and the root mean square at
    each tap, and the correlations between taps, which differ between data sets of images more than
    sizes of weights do.

    Args:
        vectors: [network, entry or more], finite.
        spec: the architecture.

    >>> from wsjax import architectures
    >>> spec = architectures.mlp([1, 2, 1])
    >>> described = describe(np.ones((3, spec.count)), spec)
    >>> described.values.shape, described.names[0]
    ((3, 58), 'Dense_0/kernel: mean')
    """
    names, columns = [], []
    params = unravel(np.asarray(vectors, np.float64)[:, : spec.count], spec)
    for array in spec.arrays:
        parts = _moments(params[array.name])
        if array.role == "kernel":
            parts |= _spectrum(params[array.name], array) | _window(params[array.name], array)
        names += [f"{array.name}: {name}" for name in parts]
        columns += parts.values()
    return Features(tuple(names), np.stack(columns, axis=1))


def root_mean_squares(vectors: np.ndarray, spec: Spec) -> np.ndarray:
    """The root mean square of each array, [network, array] float64."""
    params = unravel(np.asarray(vectors, np.float64)[:, : spec.count], spec)
    return np.stack([_rms(_flat(params[a.name])) for a in spec.arrays], axis=1)


def _moments(x: np.ndarray) -> dict[str, np.ndarray]:
    """Of an array [network, ...]."""
    x = _flat(x)
    quantiles = np.quantile(x, QUANTILES, axis=1)
    out = {"mean": x.mean(1)}
    out["variance"] = x.var(1, ddof=1) if x.shape[1] > 1 else np.zeros(len(x))
    out |= {f"{q:.0%} quantile": v for q, v in zip(QUANTILES, quantiles, strict=True)}
    size = _rms(x) + TINY
    out |= {f"relative {k}": v / size for k, v in out.items() if k != "variance"}
    return {**out, "log size": np.log(size)}


def _spectrum(x: np.ndarray, array: Array) -> dict[str, np.ndarray]:
    """Of a kernel [network, ...]: its largest singular values, relative to its size."""
    last = [i for i in array.writes if i not in array.reads]
    first = [i for i in range(len(array.axes)) if i not in last]
    matrix = np.moveaxis(x, [i + 1 for i in (*first, *last)], range(1, x.ndim))
    rows = math.prod(matrix.shape[1 : 1 + len(first)])
    matrix = matrix.reshape(len(x), rows, -1)
    if not first or not last or min(matrix.shape[1:]) > SIDE:
        return {}
    values = np.linalg.svd(matrix, compute_uv=False)[:, :VALUES]
    values = values / (_rms(_flat(x))[:, None] * math.sqrt(matrix[0].size) + TINY)
    return {f"log singular value {i + 1}": np.log(v + TINY) for i, v in enumerate(values.T)}


def _window(x: np.ndarray, array: Array) -> dict[str, np.ndarray]:
    """Of a convolution's kernel [network, ...]: its taps."""
    taps = array.taps
    rest = [i for i in range(len(array.axes)) if i not in taps]
    window = np.moveaxis(x, [i + 1 for i in (*taps, *rest)], range(1, x.ndim))
    count = math.prod(window.shape[1 : 1 + len(taps)])
    if not 1 < count <= TAPS:
        return {}
    window = window.reshape(len(x), count, -1)  # [network, tap, connection]
    size = np.sqrt(np.square(window).mean(-1)) + TINY  # [network, tap]
    out = {f"tap {i}: relative mean": v for i, v in enumerate((window.mean(-1) / size).T)}
    out |= {f"tap {i}: log size": v for i, v in enumerate(np.log(size).T)}
    shape = window / size[..., None]
    pairs = shape @ shape.transpose(0, 2, 1) / window.shape[-1]
    for i in range(count):
        out |= {f"taps {i} and {j}: correlation": pairs[:, i, j] for j in range(i + 1, count)}
    return out


def _flat(x):
    return x.reshape(len(x), -1)


def _rms(x):
    return np.sqrt(np.square(x).mean(1))

"""Which INRs are like those that a model was trained on."""

import dataclasses

import numpy as np

from wsjax import networks, tasks
from wsjax.inr_folders.conventions import convention

SIZES, OUT_SIZE, FEW = 1.5, 1.5, 16  # of `Domain`
MARGIN, PIXELS, OUT_PIXELS = 0.25, 0.01, 2.0


@dataclasses.dataclass(frozen=True)
class Domain:
    """Which networks are like those of training, by the sizes of arrays and by the pixels.

    The size is the root mean square of an array, over that of training (`InputScale`). A network
    is "edge" where one is beyond a factor, and "out" beyond half as much again. The factor of n
    numbers is 1.5 (1 + 1 / sqrt(n)), as small arrays vary more; below 16 numbers a small size is
    none to speak of. Likewise where more than 1 % of the pixels are outside of the images' range
    by a quarter of it, and "out" beyond 2 %. Of a model that `runs_network`, pixels alone count, as
    it receives nothing else of a network. The factors were set on MNIST INRs of `inr_recipe.DWS`.
    Nothing here notices that the order of the coordinates is another.

    Attributes:
        arrays: names.
        factors: [network, array], sizes over those of training.
        limits: [array], see above.
        outside: [network], share of the pixels.
        verdicts: [network] "in", "edge" or "out".
        reasons: [network], one sentence; "" where it is in.
    """

    arrays: tuple[str, ...]
    factors: np.ndarray
    limits: np.ndarray
    outside: np.ndarray
    verdicts: tuple[str, ...]
    reasons: tuple[str, ...]


def domain(vectors: np.ndarray, rendered: np.ndarray, trained: tasks.Trained) -> Domain:
    """Compares networks with those that a model was trained on.

    Args:
        vectors: [network, entry] of `trained.specs[0]`.
        rendered: [network, row, col, channel], their images by the model's convention.
        trained: the model.
    """
    spec, low = trained.specs[0], convention(trained).low
    params = networks.unravel(np.asarray(vectors, np.float64), spec)
    scales = {k: x.ravel() for k, x in networks.unravel(trained.scale.divisors(spec), spec).items()}
    names = tuple(scales)
    sizes = [np.sqrt(np.square(params[k].reshape(len(vectors), -1)).mean(-1)) for k in names]
    factors = np.stack(sizes, axis=-1) / np.array([scales[k][0] for k in names], np.float64)
    counts = np.array([scales[k].size for k in names])
    limits = SIZES * (1 + 1 / np.sqrt(counts))
    larger = np.where((factors < 1) & (counts < FEW), 1, np.maximum(factors, 1 / (factors + 1e-30)))
    beyond = larger / limits
    if trained.module.encoder.runs_network:
        beyond = np.zeros_like(beyond)
    margin = MARGIN * (1 - low)
    outside = ((rendered < low - margin) | (rendered > 1 + margin)).mean((1, 2, 3))
    verdicts, reasons = [], []
    for i, (k, share) in enumerate(zip(beyond.argmax(-1), outside.tolist(), strict=True)):
        by_size, by_pixels = float(beyond[i, k]), share / PIXELS
        out = by_size > OUT_SIZE or by_pixels > OUT_PIXELS
        verdicts.append("out" if out else "edge" if max(by_size, by_pixels) > 1 else "in")
        reason = []
        if by_size > 1:
            least = f"{1 / limits[k]:.2f} to" if counts[k] >= FEW else "at most"
            reason.append(
                f"{names[k]} is {factors[i, k]:.3g} times as large as in training, expected "
                f"{least} {limits[k]:.2f}"
            )
        if by_pixels > 1:
            reason.append(f"{100 * share:.0f} % of its pixels are outside of {low:g} to 1")
        reasons.append("; ".join(reason))
    return Domain(names, factors, limits, outside, tuple(verdicts), tuple(reasons))

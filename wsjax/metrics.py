"""Measures of predictions, and their intervals.

    predictions [example], targets [example]  ->  {"mse", "mae", "r2", "tau"}, plain floats
    probabilities [example, class], classes [example]  ->  {"accuracy", "error", "loss"}

NumPy in, floats out: measures are computed in float64, outside of any `jit`.
"""

import numpy as np
import scipy.stats

LARGEST = 1e150  # of predictions and targets: sums of squares are finite in float64


def mse(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared error over all values of two arrays of one shape.

    Raises:
        ValueError: the shapes differ or are empty, or a value is NaN, infinite or beyond `LARGEST`.
    """
    p, t = _checked(predictions, targets)
    return float(np.mean((p - t) ** 2))


def mae(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Mean absolute error over all values of two arrays of one shape; raises as `mse`."""
    p, t = _checked(predictions, targets)
    return float(np.mean(np.abs(p - t)))


def r2(predictions: np.ndarray, targets: np.ndarray) -> float:
    """The proportion of the targets' variance that is predicted: 1 is perfect, 0 their mean.

    For constant targets 1 if every prediction is exact and else 0, as in scikit-learn.

    Args:
        predictions: [example].
        targets: [example].

    Raises:
        ValueError: not two vectors of one length, or a value is NaN, infinite or beyond `LARGEST`.
    """
    p, t = _checked(predictions, targets, vectors=True)
    left, spread = np.sum((t - p) ** 2), np.sum((t - t.mean()) ** 2)
    if spread == 0:
        return float(left == 0)
    return float(1 - left / spread)


def kendall_tau(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Kendall's tau-b: 1 if both put the examples in one order, -1 if in opposite ones.

    tau-b corrects for ties. Where all values of either are equal it is undefined; then
    this is 0, for a constant predictor orders nothing.

    Args:
        predictions: [example].
        targets: [example].

    Raises:
        ValueError: not two vectors of one length, or a value is NaN, infinite or beyond `LARGEST`.
    """
    p, t = _checked(predictions, targets, vectors=True)
    if np.all(p == p[0]) or np.all(t == t[0]):
        return 0.0
    return float(scipy.stats.kendalltau(p, t).statistic)


def evaluate(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """All measures of a regression at once.

    Args:
        predictions: [example].
        targets: [example].

    Returns:
        {"mse", "mae", "r2", "tau"}.

    Raises:
        ValueError: not two vectors of one length, or a value is NaN, infinite or beyond `LARGEST`.
    """
    return {
        "mse": mse(predictions, targets),
        "mae": mae(predictions, targets),
        "r2": r2(predictions, targets),
        "tau": kendall_tau(predictions, targets),
    }


def classification(probabilities: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """All measures of a classifier at once.

    Args:
        probabilities: [example, class], rows that add up to 1; the largest is the prediction,
            of equal ones the first.
        classes: [example] int, the true ones.

    Returns:
        {"accuracy", "error", "loss"}: the proportion of right predictions, of wrong ones, and
        the mean cross-entropy in nats. Probabilities below 1e-12 count as that.

    Raises:
        ValueError: the shapes do not fit, rows are no probabilities, or there is no such class.
    """
    p, t = _probabilities(probabilities, classes)
    right = float(np.mean(p.argmax(1) == t))
    loss = -np.log(np.maximum(p[np.arange(len(t)), t], 1e-12)).mean()
    return {"accuracy": right, "error": 1 - right, "loss": float(loss)}


def calibration_error(probabilities: np.ndarray, classes: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error of a classifier (Guo et al., 2017, eq. 5), in [0, 1].

    Predictions are put into bins of equal width by their probability; the difference of mean
    probability and accuracy of each bin is averaged over predictions.

    Args:
        probabilities: as `classification`, which also lists errors.
        classes: likewise.
        bins: how many.

    >>> float(calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1])))
    0.0
    """
    p, t = _probabilities(probabilities, classes)
    confidence, right = p.max(1), p.argmax(1) == t
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(which, confidence - right, bins)
    return float(np.abs(gaps).sum() / len(t))


def confusion(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Counts of examples by true and predicted class, [true, predicted] int.

    Arguments and errors are those of `classification`.
    """
    p, t = _probabilities(probabilities, classes)
    counts = np.zeros((p.shape[1], p.shape[1]), int)
    np.add.at(counts, (t, p.argmax(1)), 1)
    return counts


def _probabilities(probabilities, classes):
    p, t = np.asarray(probabilities, np.float64), np.asarray(classes)
    if p.ndim != 2 or not p.size or t.shape != p.shape[:1] or t.dtype.kind not in "iu":
        raise ValueError(
            "expected probabilities [example, class] and int classes [example], got "
            f"{p.shape} and {t.dtype} {t.shape}"
        )
    if not (np.isfinite(p).all() and p.min() >= 0 and np.allclose(p.sum(1), 1, atol=1e-5)):
        raise ValueError("expected rows of probabilities that add up to 1")
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise ValueError(f"expected classes 0..{p.shape[1] - 1}, got {t.min()}..{t.max()}")
    return p, t


def bootstrap(
    predictions: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None = None,
    samples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of all measures over the choice of test networks.

    Percentiles of the measures of resamples with replacement (Efron, 1979).

    Args:
        predictions: [example].
        targets: [example].
        groups: [example], such as training runs; whole groups are resampled, since the
            checkpoints of one run are dependent. Every example by itself if None.
        samples: resamples.
        level: probability that an interval should cover.
        seed: of the resamples.

    Returns:
        Measure -> (low, high), of those in `evaluate`.

    Raises:
        ValueError: as `evaluate`; or not a group for each example, or below two groups; or no
            resamples, or no probability.
    """
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"expected samples >= 1 and a level in (0, 1), got {samples}, {level}")
    p, t = _checked(predictions, targets, vectors=True)
    groups = np.arange(len(p)) if groups is None else np.asarray(groups)
    if groups.shape != p.shape or len(np.unique(groups)) < 2:
        raise ValueError(
            f"expected two or more groups of {len(p)} examples, got {groups.shape}, "
            f"{len(np.unique(groups))} different"
        )
    _, member = np.unique(groups, return_inverse=True)
    order = np.argsort(member, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    rng, measures = np.random.default_rng(seed), []
    for _ in range(samples):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        measures.append(evaluate(p[drawn], t[drawn]))
    ends = [50 * (1 - level), 50 * (1 + level)]
    spans = {k: np.percentile([m[k] for m in measures], ends) for k in measures[0]}
    return {k: (float(low), float(high)) for k, (low, high) in spans.items()}


def _checked(predictions, targets, vectors=False):
    p, t = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if p.shape != t.shape:
        # [n, 1] against [n] would broadcast to [n, n] and give a plausible number
        raise ValueError(f"expected predictions of shape {t.shape}, got {p.shape}")
    if p.size == 0 or (vectors and p.ndim != 1):
        raise ValueError(f"expected predictions of shape [example], got {p.shape}")
    for name, x in (("predictions", p), ("targets", t)):
        bad = x.size - int(np.isfinite(x).sum())
        if bad:
            raise ValueError(f"{bad} of {x.size} {name} are NaN or infinite")
        if (most := np.abs(x).max()) > LARGEST:
            raise ValueError(
                f"expected {name} within {LARGEST:.0e}, got {most:.3g}: squares overflow"
            )
    return p, t

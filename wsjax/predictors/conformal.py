"""Intervals by split conformal prediction (Vovk et al., 2005; Papadopoulos et al., 2002).

    errors of calibration networks, which nothing was fitted or chosen on
      --the k-th largest of n, k = floor((1 - confidence) (n + 1))-->  half the interval

One checkpoint of each run counts, drawn at random: of n + 1 exchangeable runs, the interval of a
checkpoint of the new one covers its label with probability `confidence` at least. Other
checkpoints of the same runs would only seem to be more data.
"""

import dataclasses
import math
import warnings

import numpy as np


def fewest(confidence: float) -> int:
    """The fewest calibration runs with which intervals are finite.

    >>> fewest(0.9), fewest(0.8), fewest(0.95)
    (9, 4, 19)
    """
    return math.ceil(confidence / (1 - confidence) - 1e-9)


def one_of_each(runs: np.ndarray, seed: int) -> np.ndarray:
    """One network of each run [network], drawn at random: positions [run] in order."""
    order = np.random.default_rng(seed).permutation(len(runs))
    return np.sort(order[np.unique(runs[order], return_index=True)[1]])


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """The errors of the calibration runs.

    Attributes:
        errors: [run] float64, label less prediction, of one checkpoint of each.
        confidence: of intervals.
        low: of labels; minus infinity if they have no bound.
        high: likewise.
    """

    errors: np.ndarray
    confidence: float
    low: float = -math.inf
    high: float = math.inf

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Predictions within the bounds of labels."""
        return np.clip(values, self.low, self.high)

    def intervals(self, values: np.ndarray) -> np.ndarray:
        """The interval of each prediction [network], [network, 2], by `crepes`.

        Infinite (or at the bounds) where the runs are fewer than `fewest`.

        >>> Calibration(np.linspace(-1, 1, 21), 0.9).intervals(np.array([5.0])).tolist()
        [[4.0, 6.0]]
        """
        from crepes import ConformalRegressor

        regressor = ConformalRegressor().fit(self.errors)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of infinite intervals
            return regressor.predict_int(
                np.asarray(values, np.float64),
                # crepes cuts (1 - .9) * (9 + 1) = 0.9999... down to 0
                confidence=self.confidence - 1e-9,
                y_min=self.low,
                y_max=self.high,
            )

    @property
    def margin(self) -> float:
        """The difference of two predictions beyond which their order is certain enough.

        The `confidence` quantile of the errors' differences over ordered pairs of calibration
        runs: two networks are then put in the wrong order with probability 1 - confidence at most,
        about.
        """
        pairs = self.errors[:, None] - self.errors[None]
        apart = pairs[~np.eye(len(self.errors), dtype=bool)]
        return float(np.quantile(apart, self.confidence, method="higher"))

    def ranks(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last rank that each prediction [network] may have, 1 the highest.

        The first is 1 and the number of predictions above by more than `margin`, the last the
        number of those not below by more than it. Networks of one first rank are tied.

        >>> first, last = Calibration(np.array([-1.0, 1.0]), 0.9).ranks(np.array([9, 8, 4.0]))
        >>> first.tolist(), last.tolist()
        ([1, 1, 3], [2, 2, 3])
        """
        above = values[None] - values[:, None] > self.margin  # [network, other]
        return 1 + above.sum(1), len(values) - above.sum(0)

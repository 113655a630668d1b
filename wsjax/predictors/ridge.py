"""Ridge regression on features: strong where networks are few.

Ridge.fit(x, y).predict(other)      the penalty is that of the least leave-one-out error

Features are standardised by median and quartiles and clipped, so that one network with
extreme weights, which zoos have, neither bends the fit nor is predicted far off.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

PENALTIES = 10.0 ** np.arange(-4, 2.1, 0.5)
CLIP = 4.0  # of standardised features
SPREAD = 1.349  # quartiles of a normal distribution are so many deviations apart


def standards(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and robust deviation of features [network, feature], two [feature].

    A feature whose quartiles are equal has its standard deviation, and a constant one infinity,
    so that it counts for nothing.
    """
    centre, (low, high) = np.median(x, axis=0), np.percentile(x, [25, 75], axis=0)
    least = 1e-9 * (1 + np.abs(centre))  # below which differences are those of rounding
    spread = (high - low) / SPREAD
    spread = np.where(spread > least, spread, x.std(0))
    return centre, np.where(spread > least, spread, np.inf)


def standardised(x: np.ndarray, centre: np.ndarray, spread: np.ndarray, clip: float) -> np.ndarray:
    """Features [network, feature] in units of `standards`, within -clip..clip."""
    return np.clip((x - centre) / spread, -clip, clip)


@dataclasses.dataclass(frozen=True, eq=False)
class Ridge:
    """A linear function of standardised features.

    Attributes:
        centre: [feature], subtracted.
        spread: [feature], divided by; infinite where training had one value.
        weights: [feature].
        intercept: [].
    """

    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray) -> "Ridge":
        """Fits features [network, feature] to labels [network].

        The leave-one-out errors of each penalty have a closed form (Hastie et al., 2009,
        eq. 7.64), here of the dual problem, as features are more than networks.
        """
        centre, spread = standards(x)
        z = standardised(x, centre, spread, CLIP)
        middle = z.mean(0)
        z = z - middle
        scale = max(1.0, float(np.square(z).sum(1).mean()))  # penalties count per network's size
        eigenvalues, vectors = np.linalg.eigh(z @ z.T / scale)
        eigenvalues, mean = np.maximum(eigenvalues, 0), y.mean()
        rotated = vectors.T @ (y - mean)
        errors = []
        for penalty in PENALTIES:
            kept = eigenvalues / (eigenvalues + penalty)
            leverage = np.square(vectors) @ kept + 1 / len(y)
            residuals = (y - mean) - vectors @ (kept * rotated)
            errors.append(np.square(residuals / np.maximum(1 - leverage, 1e-6)).mean())
        penalty = PENALTIES[int(np.argmin(errors))]
        weights = z.T @ (vectors @ (rotated / (eigenvalues + penalty))) / scale
        return cls(centre, spread, weights, np.asarray(mean - middle @ weights))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Features [network, feature] -> [network]."""
        z = standardised(x, self.centre, self.spread, CLIP)
        return (z * self.weights).sum(1) + self.intercept  # rounded the same, however many

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name; `from_arrays` undoes it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Ridge":
        """The function of `arrays`.

        Raises:
            ValueError: arrays are absent, or not of one width.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        if absent := sorted(set(names) - set(arrays)):
            raise ValueError(f"expected the arrays {names} of a ridge regression, absent: {absent}")
        ridge = cls(**{k: np.asarray(arrays[k]) for k in names})
        if not ridge.centre.shape == ridge.spread.shape == ridge.weights.shape:
            raise ValueError("expected centre, spread and weights of one width")
        return ridge

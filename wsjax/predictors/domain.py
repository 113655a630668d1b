"""The networks that a predictor may be asked about: those like its training and calibration ones.

    of one network     architecture, constant arrays, sizes of arrays, distance to its neighbours
                       -> "in", "edge" or "out", and the reasons in words
    of a collection    a classifier two-sample test -> a p-value, small for another zoo

A single network of a zoo of another data set can have weights that some network of this zoo might
have: no distance tells it apart. Twenty of them together differ in distribution, which is what
an interval's guarantee is about, so a collection is tested as one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from wsjax import networks
from wsjax.checks import printable
from wsjax.networks import Spec
from wsjax.predictors.features import Features, root_mean_squares
from wsjax.predictors.ridge import standardised, standards

IN, EDGE, OUT = "in", "edge", "out"
NEIGHBOURS = 3
CLIP = 20.0  # of standardised features: one alone cannot make all of a distance
RARE = 0.05  # conformal p-value of a distance up to which a network is at the edge
FAR = 1.5  # times the largest calibration distance: beyond, it is out
NEAR_SIZE, FAR_SIZE = 1.5, 2.0  # times the largest training size of an array: edge, out
SMALL_SIZE = 0.25  # times the smallest training size: edge
REFERENCES = 1000  # networks that are kept, at most
COLLECTION = 10  # networks, from which they are tested as a collection
DIFFERENT, UNLIKE = 0.01, 0.001  # p-values up to which a collection is at the edge, or out
PERMUTATIONS = 1999
PENALTY = 1.0  # of the two-sample test's classifier
PARTS = ("features", "centre", "spread", "distances", "sizes", "constant", "runs")


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """The networks that a predictor was trained and calibrated on.

    Attributes:
        specs: their architectures, of equal arrays; they may differ in activations.
        features: of networks that trained or chose the model, one of each run,
            [network, feature] float32.
        centre: [feature], see `ridge.standards`.
        spread: [feature].
        distances: of the calibration networks, one of each run, [run].
        sizes: smallest and largest root mean square of each array, [2, array].
        constant: whether each array was constant in any network, [array] bool.
        runs: features of the calibration networks, [run, feature] float32.
    """

    specs: tuple[Spec, ...]
    features: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    distances: np.ndarray
    sizes: np.ndarray
    constant: np.ndarray
    runs: np.ndarray

    @classmethod
    def of(
        cls,
        specs: Sequence[Spec],
        vectors: np.ndarray,
        features: np.ndarray,
        calibration: np.ndarray,
    ) -> "Domain":
        """The domain of networks.

        Args:
            specs: the architectures.
            vectors: of the networks that trained or chose the model, [network, entry].
            features: of these, [network, feature].
            calibration: features of the calibration networks, one of each run, [run, feature].
        """
        centre, spread = standards(features)
        sizes = root_mean_squares(vectors, specs[0])
        rows = np.linspace(0, len(features) - 1, min(len(features), REFERENCES)).astype(int)
        kept, held_out = features[rows].astype(np.float32), calibration.astype(np.float32)
        domain = cls(
            *(tuple(specs), kept, centre, spread, np.zeros(0)),
            np.stack([sizes.min(0), sizes.max(0)]),
            np.asarray(_constant(vectors, specs[0]).any(0)),
            held_out[:REFERENCES],
        )
        return dataclasses.replace(domain, distances=domain.distance(held_out))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mean distance to the nearest of `features`, [network]; root mean squares of features."""
        scale = lambda x: standardised(x, self.centre, self.spread, CLIP)
        own, others = scale(self.features), scale(features)
        squares = np.square(others).sum(1)[:, None] + np.square(own).sum(1) - 2 * others @ own.T
        nearest = np.sort(np.maximum(squares, 0), axis=1)[:, :NEIGHBOURS]
        return np.sqrt(nearest / own.shape[1]).mean(1)

    def adopted(self, spec: Spec, activation: str | None = None) -> Spec:
        """The domain's architecture that a recognised one is, else the recognised one itself.

        Names and shapes do not tell strides, nor a chain of equal widths from a residual network:
        arrays of the same names and shapes with the same activations are taken to be the
        architecture of training.

        Args:
            spec: of a network.
            activation: of its hidden layers where `spec` has "other".
        """
        shapes = lambda s: [(a.name, s.shape(a)) for a in s.arrays]
        kinds = lambda s: [layer.activation for layer in s.layers if layer.arrays]
        for own in () if spec in self.specs else self.specs:
            if shapes(own) == shapes(spec) and len(kinds(own)) == len(kinds(spec)):
                pairs = zip(kinds(spec), kinds(own), strict=True)
                if all(x == y or (x == "other" and y in (activation, "none")) for x, y in pairs):
                    return own
        return spec

    def architecture(self, spec: Spec) -> str:
        """Why networks of an architecture are out; "" if they are not."""
        if spec in self.specs:
            return ""
        shapes = [{a.name: s.shape(a) for a in s.arrays} for s in (spec, self.specs[0])]
        if shapes[0] == shapes[1]:
            pairs = [(a, b) for a, b in zip(spec.layers, self.specs[0].layers, strict=False)]
            name, came = next(
                ((a.name, a.activation) for a, b in pairs if a.activation != b.activation),
                (spec.layers[0].name, "other settings"),
            )
            expected = sorted({_activation(s, name) for s in self.specs})
            if came == "other":  # weights alone do not tell
                return (
                    f"the activation of {printable(name)} is not known, in training it was "
                    f"{' or '.join(expected)}: state it (--set activation={expected[0]})"
                )
            return f"another architecture: {name} has {came}, training {' or '.join(expected)}"
        for name in (*shapes[1], *shapes[0]):
            one, other = (x.get(name) for x in shapes)
            if one != other:
                came, expected = ("none" if x is None else f"shape {x}" for x in (one, other))
                return f"another architecture: {printable(name)} is {came}, training {expected}"
        return "another architecture: the same arrays in another order"

    def check(self, vectors: np.ndarray, described: Features) -> list[tuple[str, list[str]]]:
        """The verdict on networks of the architecture, and the reasons unless it is "in".

        Args:
            vectors: [network, entry].
            described: of the same networks.
        """
        names = [printable(a.name) for a in self.specs[0].arrays]
        sizes = root_mean_squares(vectors, self.specs[0])
        constant = _constant(vectors, self.specs[0]) & ~self.constant
        distances = self.distance(described.values)
        counts = (self.distances[None] >= distances[:, None]).sum(1)
        p = (1 + counts) / (len(self.distances) + 1)
        rare = max(RARE, 1 / (len(self.distances) + 1))
        farthest = self.distances.max()
        verdicts = []
        for i in range(len(vectors)):
            hard = [f"{names[j]}: constant, in training it was not" for j in _true(constant[i])]
            soft = []
            for j, (low, high) in enumerate(self.sizes.T):
                if constant[i, j] or low * SMALL_SIZE <= sizes[i, j] <= high * NEAR_SIZE:
                    continue
                # a network whose training died has tiny biases: unusual, and of this zoo
                (hard if sizes[i, j] > high * FAR_SIZE else soft).append(
                    f"{names[j]}: root mean square {sizes[i, j]:.3g}, training {low:.3g} to "
                    f"{high:.3g}"
                )
            if p[i] <= rare:
                times = f"{distances[i] / farthest:.2g} times that of the farthest held-out network"
                text = (
                    f"distance {distances[i]:.3g} to the training networks, {times}; most unusual: "
                    f"{self._unusual(described, i)}"
                )
                (hard if distances[i] > FAR * farthest else soft).append(text)
            verdicts.append((OUT if hard else EDGE if soft else IN, hard + soft))
        return verdicts

    def _unusual(self, described: Features, i: int) -> str:
        """The feature of a network that is farthest from training."""
        x = described.values[i]
        scaled = standardised(described.values[i : i + 1], self.centre, self.spread, np.inf)[0]
        j = int(np.abs(scaled).argmax())
        low, high = self.features[:, j].min(), self.features[:, j].max()
        return f"{printable(described.names[j])} {x[j]:.3g}, training {low:.3g} to {high:.3g}"

    def shift(self, features: np.ndarray, seed: int = 0) -> float | None:
        """The p-value of a collection's networks being like those of the domain.

        The classifier two-sample test (Lopez-Paz and Oquab, 2017): a ridge classifier of these
        networks [network, feature] against the domain's, whose area under the ROC curve,
        leave-one-out, is compared with that of shuffled labels. The p-value is exact where the
        networks are exchangeable with the domain's. None for fewer than `COLLECTION`.
        """
        if len(features) < COLLECTION:
            return None
        own = np.concatenate([self.features, self.runs])
        rng = np.random.default_rng(seed)
        own = own[rng.permutation(len(own))[: max(200, 10 * len(features))]]
        new = features[rng.permutation(len(features))[:REFERENCES]]
        x = np.concatenate([own, new.astype(np.float32)])
        x = standardised(x, self.centre, self.spread, 5.0)
        x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
        eigenvalues, vectors = np.linalg.eigh(x @ x.T / x.shape[1])
        kept = np.maximum(eigenvalues, 0) / (np.maximum(eigenvalues, 0) + PENALTY)
        labels = np.zeros(len(x))
        labels[len(own) :] = 1
        shuffled = [labels, *(rng.permutation(labels) for _ in range(PERMUTATIONS))]
        classes = np.stack(shuffled, axis=1)  # [network, permutation]
        centred = classes - labels.mean()
        leverage = (np.square(vectors) @ kept)[:, None]
        fitted = vectors @ (kept[:, None] * (vectors.T @ centred))
        scores = (fitted - leverage * centred) / (1 - leverage)  # leave-one-out
        ranks = scipy.stats.rankdata(scores.round(9), axis=0)
        sums = (ranks * classes).sum(0)  # orders as the area under the curve does
        return float((sums >= sums[0]).mean())

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the specs by name; `from_arrays` undoes it."""
        return {k: getattr(self, k) for k in PARTS}

    @classmethod
    def from_arrays(
        cls, specs: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
    ) -> "Domain":
        """The domain of `arrays`, and of specs as JSON.

        Raises:
            ValueError: arrays are absent, or a spec makes no sense.
        """
        if absent := sorted(set(PARTS) - set(arrays)):
            raise ValueError(f"expected the arrays {PARTS} of a domain, absent: {absent}")
        return cls(tuple(map(networks.from_json, specs)), **{k: arrays[k] for k in PARTS})


def _constant(vectors: np.ndarray, spec: Spec) -> np.ndarray:
    """Whether all entries of each array are equal, [network, array]; not of single numbers."""
    params = networks.unravel(vectors[:, : spec.count], spec)
    flat = [params[a.name].reshape(len(vectors), -1) for a in spec.arrays]
    return np.stack([(x == x[:, :1]).all(1) & (x.shape[1] > 1) for x in flat], axis=1)


def _activation(spec: Spec, name: str) -> str:
    return next((layer.activation for layer in spec.layers if layer.name == name), "none")


def _true(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()

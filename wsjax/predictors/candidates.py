"""The models that `fit` chooses from, simplest first.

    mean       of the training labels: what any other must beat
    ridge      ridge regression on `features.describe`
    trees      boosted trees on the same features
    sne, ...   an encoder with a head, trained in a process of its own, see `child`

Each is a dataclass with `predict(zoo, features) -> [network]`, and comes back from a file.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.encoders import GMN, SNE, Encoder, ScaleGMN, StatNN
from wsjax.predictors import child
from wsjax.predictors.child import FOLDER, SkippedError
from wsjax.predictors.ridge import Ridge
from wsjax.predictors.trees import ConstantWarning, Trees, grow
from wsjax.tasks.base import views
from wsjax.tasks.exports import export, restore
from wsjax.tasks.regression import Regression, TrainedRegression
from wsjax.zoos import Zoo

# sizes for a CPU, as those of the accuracy-prediction table
ENCODERS: dict[str, Encoder] = {
    "stat_nn": StatNN(),
    "sne": SNE(
        chunk=64, chunk_depth=1, depth=1, width=32, heads=4, code=64, output=False,
        types="learned", scale=0.3, learned_scale=True,
    ),
    "gmn": GMN(width=32, layers=2, aggregate="mean"),
    "scalegmn": ScaleGMN(layers=2, width=24, backward="none"),
}  # fmt: skip
ROUNDS = 500  # of boosting, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Mean:
    """One number for all networks."""

    value: float

    def predict(self, zoo: Zoo, features: np.ndarray) -> np.ndarray:
        """[network]."""
        return np.full(len(features), self.value)


@dataclasses.dataclass(frozen=True, eq=False)
class OnFeatures:
    """A function of features."""

    function: Ridge | Trees

    def predict(self, zoo: Zoo, features: np.ndarray) -> np.ndarray:
        """[network]."""
        return self.function.predict(features)


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A trained encoder with its head."""

    trained: TrainedRegression

    def predict(self, zoo: Zoo, features: np.ndarray) -> np.ndarray:
        """[network]."""
        return np.asarray(self.trained.predict(zoo), np.float64)


Model = Mean | OnFeatures | Encoded
KINDS = {"ridge": Ridge, "trees": Trees}


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Networks that candidates learn from.

    Attributes:
        zoo: the networks.
        features: [network, feature].
        label: predicted.
        seed: of all that is random.
        shares: whether all labels lie in [0, 1].
    """

    zoo: Zoo
    features: np.ndarray
    label: str
    seed: int
    shares: bool

    def y(self, rows: np.ndarray) -> np.ndarray:
        """Labels of some networks."""
        return np.asarray(self.zoo.labels[self.label][rows], np.float64)


def grown(x: np.ndarray, y: np.ndarray, held_out: tuple, seed: int) -> tuple[Trees, str]:
    """Boosted trees that stop early on held-out networks, and a note."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = {"max_iter": ROUNDS, "learning_rate": 0.05, "random_state": seed}
        trees = grow(HistGradientBoostingRegressor, x, y, held_out, **settings)
    constant = any(issubclass(w.category, ConstantWarning) for w in caught)
    return Trees.of(trees), "one prediction for all: too few networks" if constant else ""


def learn(
    name: str, data: Data, train: np.ndarray, stop: np.ndarray, encoder: Encoder | None,
    seconds: float,
) -> tuple[Model, str]:  # fmt: skip
    """A candidate, learned from some networks; and a note.

    Args:
        name: of the candidate.
        data: the networks.
        train: rows of the networks that it learns from.
        stop: rows of those on which trees and encoders stop; the others learn from them too.
        encoder: of an encoder's name.
        seconds: after which an encoder's training is ended.

    Raises:
        SkippedError: see there.
    """
    if encoder is not None:
        return _encoded(data, train, stop, encoder, seconds)
    both = np.concatenate([train, stop])
    if name == "mean":
        return Mean(float(data.y(both).mean())), ""
    if name == "ridge":
        return OnFeatures(Ridge.fit(data.features[both], data.y(both))), ""
    held_out = data.features[stop], data.y(stop)
    trees, note = grown(data.features[train], data.y(train), held_out, data.seed)
    return OnFeatures(trees), note


def _encoded(data, train, stop, encoder, seconds):
    try:
        views(encoder, data.zoo.compact().specs)
    except ValueError as error:
        raise SkippedError(str(error).splitlines()[0]) from error
    rows = np.concatenate([train, stop])
    places = np.arange(len(rows))
    splits = {"train": places[: len(train)], "validation": places[len(train) :]}
    zoo = data.zoo.select(rows)
    zoo = dataclasses.replace(zoo, splits=splits, labels={data.label: zoo.labels[data.label]})
    trained, note = child.train(zoo, data.label, encoder, data.seed, data.shares, seconds)
    return Encoded(trained), note


def save(model: Model, folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Writes an encoder's export; the description and the arrays of any model."""
    if isinstance(model, Mean):
        return {"kind": "mean", "value": model.value}, {}
    if isinstance(model, Encoded):
        export(model.trained, folder / FOLDER)
        return {"kind": FOLDER}, {}
    kind = next(k for k, v in KINDS.items() if isinstance(model.function, v))
    return {"kind": kind}, {f"model.{k}": x for k, x in model.function.arrays().items()}


def load(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: pathlib.Path) -> Model:
    """The model that `save` described.

    Raises:
        ValueError: it is of no known kind, or its arrays make no sense.
    """
    if about["kind"] == "mean":
        return Mean(float(about["value"]))
    if about["kind"] == FOLDER:
        return Encoded(restore(folder / FOLDER, Regression))
    if about["kind"] not in KINDS:
        raise ValueError(f"expected a model of {['mean', FOLDER, *KINDS]}, got {about['kind']!r}")
    own = {k.removeprefix("model."): x for k, x in arrays.items() if k.startswith("model.")}
    return OnFeatures(KINDS[about["kind"]].from_arrays(own))

"""Predictors of a label that need no gradient, which every encoder must beat.

(train, tests, label, seed) -> {test zoo: predictions of its "test" split, or why there are none}
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wsjax import checks
from wsjax.encoders import stat_nn
from wsjax.zoos import Zoo
from wsjax.zoos.classifiers import classifier_factory

# measured of a network, as opposed to chosen for it
MEASURED = {*classifier_factory.FIGURES, "generalization_gap"}

Tests = Mapping[str, Zoo]
Predictions = dict[str, np.ndarray | str]  # test zoo -> predictions, or why there are none
Compute = Callable[[Zoo, Tests, str, int], Predictions]


class ConstantWarning(UserWarning):
    """A model that has learnt gives one prediction for all networks."""


class UnsupportedError(ValueError):
    """Networks that a computation does not support."""


def mean(train: Zoo, tests: Tests, label: str, seed: int) -> Predictions:
    """Predicts the mean label of the training networks for all."""
    value = train.part("train", label)[1].mean()
    return {name: np.full(len(zoo.splits["test"]), value) for name, zoo in tests.items()}


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


def boosted_trees(train: Zoo, tests: Tests, label: str, seed: int) -> Predictions:
    """Boosted trees on `statistics`; for networks with as many arrays as in training."""
    return _trees(statistics, train, tests, label, seed)


def recipe_only(train: Zoo, tests: Tests, label: str, seed: int) -> Predictions:
    """Boosted trees on what was chosen for each network before its training: no weights.

    Words are labels of 0 and 1, see `zoo_loading.spelled`.
    """
    names = sorted(set(train.labels) - MEASURED)
    if not names:
        raise ValueError(f"expected chosen settings among the labels, got {sorted(train.labels)}")

    def features(zoo):
        if absent := sorted(set(names) - set(zoo.labels)):
            raise UnsupportedError(f"expected the settings {names}, absent: {absent}")
        out = np.stack([zoo.labels[k] for k in names], axis=1)
        bad = {k: np.flatnonzero(~np.isfinite(x)) for k, x in zip(names, out.T, strict=True)}
        wrong = [f"{k} of {checks.some('network', rows)}" for k, rows in bad.items() if len(rows)]
        checks.raise_all("expected settings that are numbers, got NaN or infinity in", wrong)
        return out

    return _trees(features, train, tests, label, seed)


def grow(kind: type, x: np.ndarray, y: np.ndarray, held_out: tuple, **settings: Any) -> Any:
    """Boosted trees of at least `min(20, max(2, n // 10))` of the n networks in each leaf.

    scikit-learn's default is 20, with which trees of fewer than 40 networks have no split.

    Args:
        kind: scikit-learn's `HistGradientBoostingRegressor` or `HistGradientBoostingClassifier`.
        x: features, [network, feature].
        y: labels or classes, [network].
        held_out: the same two of the validation networks, for early stopping.
        settings: of that class.

    Returns:
        The fitted model; with a `ConstantWarning` if it gives all of x one prediction.
    """
    from sklearn.base import is_classifier

    leaf = min(20, max(2, len(x) // 10))
    trees = kind(early_stopping=True, min_samples_leaf=leaf, **settings)
    trees.fit(x, y, X_val=held_out[0], y_val=held_out[1])
    predicted = trees.predict_proba(x) if is_classifier(trees) else trees.predict(x)
    if (predicted == predicted[0]).all():
        warnings.warn(
            f"boosted trees on {len(x)} training networks give one prediction for all: no split "
            f"leaves {leaf} networks on both sides, or none predicts the label; expected more "
            "training networks, or features that differ among them",
            ConstantWarning,
            stacklevel=2,
        )
    return trees


def _trees(features, train, tests, label, seed):
    from sklearn.ensemble import HistGradientBoostingRegressor

    (zoo, y), (validation, validation_y) = (train.part(s, label) for s in ("train", "validation"))
    try:
        x, validation_x = features(zoo), features(validation)
    except UnsupportedError as error:
        return dict.fromkeys(tests, str(error))
    settings = {"max_iter": 1000, "learning_rate": 0.05, "random_state": seed}
    trees = grow(HistGradientBoostingRegressor, x, y, (validation_x, validation_y), **settings)
    predictions: Predictions = {}
    for name, test in tests.items():
        try:
            test_x = features(test.part("test", label)[0])
        except UnsupportedError as error:
            predictions[name] = str(error)
            continue
        width = test_x.shape[1]
        predictions[name] = (
            trees.predict(test_x)
            if width == x.shape[1]
            else f"expected {x.shape[1]} features as in training, got {width}"
        )
    return predictions


METHODS: Mapping[str, Compute] = {
    "mean": mean,
    "boosted_trees": boosted_trees,
    "recipe_only": recipe_only,
}

"""Predictors of a label that need no gradient, which every encoder must beat.

(train, tests, label, seed) -> {test zoo: predictions of its "test" split, or why there are none}
"""

from collections.abc import Callable, Mapping

import numpy as np

from wsjax import checks
from wsjax.predictors.features import UnsupportedError, statistics
from wsjax.predictors.trees import grow
from wsjax.zoos import Zoo
from wsjax.zoos.classifiers import classifier_factory

# measured of a network, as opposed to chosen for it
MEASURED = {*classifier_factory.FIGURES, "generalization_gap"}

Tests = Mapping[str, Zoo]
Predictions = dict[str, np.ndarray | str]  # test zoo -> predictions, or why there are none
Compute = Callable[[Zoo, Tests, str, int], Predictions]


def mean(train: Zoo, tests: Tests, label: str, seed: int) -> Predictions:
    """Predicts the mean label of the training networks for all."""
    value = train.part("train", label)[1].mean()
    return {name: np.full(len(zoo.splits["test"]), value) for name, zoo in tests.items()}


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

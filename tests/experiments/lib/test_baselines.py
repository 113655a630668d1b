"""Baselines: statistics of each network by its own architecture, no labels in features."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, TANH, classifiers
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from experiments.lib import baselines, runs
from experiments.lib.methods import Method
from wsjax import metrics
from wsjax.encoders import stat_nn


def test_statistics_are_of_each_network_by_its_own_architecture():
    zoo = classifiers([SMALL, TANH], 8)
    found = baselines.statistics(zoo.select(np.random.default_rng(0).permutation(16)))
    order = np.random.default_rng(0).permutation(16)
    expected = stat_nn.statistics(zoo.vectors[order], stat_nn.bounds(SMALL))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_networks_of_other_arrays_than_in_training_have_a_reason():
    train, both = classifiers([SMALL]), classifiers([SMALL, DEEP])
    predictions = baselines.boosted_trees(train, {"a": train, "both": both}, "test_accuracy", 0)
    assert predictions["a"].shape == (10,)
    assert predictions["both"] == "expected as many arrays in all networks, got 6 and 8"
    assert baselines.boosted_trees(both, {"a": train}, "test_accuracy", 0) == {
        "a": "expected as many arrays in all networks, got 6 and 8"
    }


def test_a_recipe_is_expected_among_the_labels():
    zoo = classifiers([SMALL])
    blind = dataclasses.replace(zoo, labels={"test_accuracy": zoo.labels["test_accuracy"]})
    with pytest.raises(ValueError, match="expected chosen settings among the labels"):
        baselines.recipe_only(blind, {"a": blind}, "test_accuracy", 0)
    predictions = baselines.recipe_only(zoo, {"blind": blind}, "test_accuracy", 0)
    assert predictions == {"blind": "expected the settings ['rate'], absent: ['rate']"}


def test_networks_without_finite_statistics_are_named():
    zoo = classifiers([SMALL, TANH], 8)
    large = zoo.vectors.copy()
    large[[3, 12], 0] = 1e30
    name = SMALL.arrays[0].name
    with pytest.raises(ValueError, match=f"smaller weights in:\n  {name} of network 3\n.*12"):
        baselines.statistics(dataclasses.replace(zoo, vectors=large))
    train = classifiers([SMALL])
    train.vectors[train.splits["test"][2], 0] = np.nan  # after the zoo was checked
    with pytest.raises(ValueError, match=f"{name}: 1 of .* in network 2"):
        baselines.boosted_trees(train, {"a": train}, "test_accuracy", 0)


def test_a_recipe_is_of_numbers():
    zoo = classifiers([SMALL])
    rate = zoo.labels["rate"].copy()
    rate[zoo.splits["train"][1]] = np.nan
    broken = dataclasses.replace(zoo, labels={**zoo.labels, "rate": rate})
    with pytest.raises(ValueError, match="got NaN or infinity in:\n  rate of network 1"):
        baselines.recipe_only(broken, {"a": broken}, "test_accuracy", 0)


def recipes(n, depends=True):
    """A zoo of 60 networks whose label depends on the recipe's one setting, n to learn from."""
    zoo = classifiers([SMALL], 60)
    rate = zoo.labels["rate"]
    labels = {"rate": rate if depends else np.ones_like(rate), "test_accuracy": rate**2}
    splits = {"train": np.arange(n), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
    return dataclasses.replace(zoo, labels=labels, splits=splits)


def test_few_networks_are_enough_for_trees():
    """With scikit-learn's own leaves of 20 there is no split of 15: the mean for all."""
    zoo = recipes(15)
    x, y = zoo.labels["rate"][:, None], zoo.labels["test_accuracy"]
    assert np.ptp(HistGradientBoostingRegressor().fit(x[:15], y[:15]).predict(x)) == 0
    predicted = baselines.recipe_only(zoo, {"a": zoo}, "test_accuracy", 0)["a"]
    assert metrics.evaluate(predicted, y[50:])["tau"] > 0.5


@pytest.mark.parametrize(("n", "leaf"), [(4, 2), (39, 3), (199, 19), (200, 20), (900, 20)])
def test_leaves_hold_a_tenth_of_the_networks_and_at_most_twenty(n, leaf):
    x = np.random.default_rng(0).standard_normal((n, 1))
    trees = baselines.grow(HistGradientBoostingRegressor, x, x[:, 0], (x, x[:, 0]), max_iter=1)
    assert trees.min_samples_leaf == leaf


def test_a_constant_model_is_a_warning_and_a_note():
    zoo = recipes(30, depends=False)
    method = Method(compute=baselines.recipe_only)
    with pytest.warns(baselines.ConstantWarning, match="30 training networks give one prediction"):
        result, facts = runs.compute(method, zoo, {"a": zoo}, "test_accuracy", 0)
    assert np.ptp(result["a"]) == 0
    assert facts["note"].startswith("boosted trees on 30 training networks give one prediction")
    varied = recipes(30)
    assert "note" not in runs.compute(method, varied, {"a": varied}, "test_accuracy", 0)[1]


def test_classes_have_constant_models_too():
    x, y = np.zeros((12, 1)), np.arange(12) % 2
    with pytest.warns(baselines.ConstantWarning, match="12 training networks"):
        baselines.grow(HistGradientBoostingClassifier, x, y, (x, y), max_iter=3)
    trees = baselines.grow(HistGradientBoostingClassifier, y[:, None], y, (y[:, None], y))
    assert (trees.predict(y[:, None]) == y).all()

"""Baselines: statistics of each network by its own architecture, no labels in features."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, classifiers
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments.lib import baselines, runs
from experiments.lib.methods import Method
from wsjax import metrics
from wsjax.predictors.trees import ConstantWarning


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


def test_a_training_network_of_nan_is_named():
    name = SMALL.arrays[0].name
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


def test_a_constant_model_is_a_warning_and_a_note():
    zoo = recipes(30, depends=False)
    method = Method(compute=baselines.recipe_only)
    with pytest.warns(ConstantWarning, match="30 training networks give one prediction"):
        result, facts = runs.compute(method, zoo, {"a": zoo}, "test_accuracy", 0)
    assert np.ptp(result["a"]) == 0
    assert facts["note"].startswith("boosted trees on 30 training networks give one prediction")
    varied = recipes(30)
    assert "note" not in runs.compute(method, varied, {"a": varied}, "test_accuracy", 0)[1]

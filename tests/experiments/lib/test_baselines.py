"""Baselines: statistics of each network by its own architecture, no labels in features."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, TANH, classifiers

from experiments.lib import baselines
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

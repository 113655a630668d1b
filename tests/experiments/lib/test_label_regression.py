"""Prediction of a label: nothing of the test networks reaches the training."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, classifiers

from experiments.lib import baselines
from experiments.lib.label_regression import label_regression, predict
from experiments.lib.methods import Method
from wsjax.tasks.regression import Objective
from wsjax.training import Settings

pytestmark = pytest.mark.trains

QUICK = Settings(steps=20, batch=16, learning_rate=1e-2, evaluate_every=10, checkpoint_every=20)
STAT_NN = Method(
    "stat_nn", {"widths": (8,), "code": 4}, (4,), Objective("bce", permute=False), QUICK
)
CONFIG = {**STAT_NN.config(), "row": "stat_nn", "seed": 0}


def test_nothing_of_the_test_networks_reaches_the_training(tmp_path):
    """A prediction is the same whatever the other test networks are: no statistics leak."""
    zoo = classifiers([SMALL])
    rest = zoo.vectors.copy()
    rest[zoo.splits["test"][1:]] *= 50
    one, two = (
        predict(STAT_NN, CONFIG, tmp_path / n, z, {"a": z}, "test_accuracy").predicted["a"]
        for n, z in (("one", zoo), ("two", dataclasses.replace(zoo, vectors=rest)))
    )
    assert one[0] == two[0]
    assert one[1] != two[1]


def test_labels_are_numbers_before_any_training(tmp_path):
    zoo = classifiers([SMALL])
    labels = zoo.labels["test_accuracy"].copy()
    labels[zoo.splits["test"][0]] = np.nan
    broken = dataclasses.replace(zoo, labels={**zoo.labels, "test_accuracy": labels})
    with pytest.raises(ValueError, match="'test_accuracy': 1 of 10 values of the split 'test'"):
        predict(STAT_NN, CONFIG, tmp_path, zoo, {"a": broken}, "test_accuracy")
    assert not list(tmp_path.iterdir())


def test_a_label_regression_has_figures_and_a_plot(tmp_path):
    measure = lambda trained, vectors: {"tests": len(vectors)}
    (facts,) = label_regression(
        classifiers([SMALL]), "test_accuracy", STAT_NN, CONFIG, tmp_path, measure
    )
    assert facts["metrics"]["tests"] == 10
    assert {"test_mse", "test_tau", "val_mse", "encoder_parameters"} < set(facts["metrics"])
    assert (tmp_path / "predictions.png").stat().st_size > 1000
    zoo = classifiers([SMALL, DEEP])
    with pytest.raises(ValueError, match="MLP reads one architecture at a time, got 2"):
        label_regression(zoo, "test_accuracy", Method("mlp"), CONFIG, tmp_path)


def test_computed_predictions_are_those_of_the_baseline(tmp_path):
    zoo = classifiers([SMALL])
    found = predict(
        Method(compute=baselines.mean), {"seed": 0}, tmp_path, zoo, {"a": zoo}, "test_accuracy"
    )
    labels = zoo.part("train", "test_accuracy")[1]
    np.testing.assert_array_equal(found.predicted["a"], np.full(10, labels.mean()))
    assert found.facts["steps"] == 0

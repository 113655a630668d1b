"""Auto-encoders that are trained without labels, and the probe on their embeddings."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import SMALL, TANH, classifiers

from experiments.lib import pretraining
from experiments.lib.label_regression import predict
from experiments.lib.methods import Method
from wsjax.tasks import restore
from wsjax.tasks.reconstruction import Objective, Reconstruction
from wsjax.tasks.regression import Regression
from wsjax.training import Settings

pytestmark = pytest.mark.trains

TINY = {"width": 8, "depth": 1, "heads": 2, "hidden": 8, "code": 4, "head": (4,)}
QUICK = Settings(steps=20, batch=8, learning_rate=1e-2, evaluate_every=10, checkpoint_every=20)
METHOD = Method("hyperrep", TINY, (), Objective(), QUICK)


def test_labels_are_for_the_probe_alone(tmp_path):
    """On networks of two activations, as those of published zoos."""
    zoo = classifiers([SMALL, TANH], 20)
    config = {**METHOD.config(), "row": "hyperrep", "seed": 0}
    result = predict(METHOD, config, tmp_path, zoo, {"a": zoo}, "test_accuracy", measure="tau")
    assert restore(tmp_path).task == Reconstruction()
    assert not Reconstruction().needs  # no labels in training
    networks, truth = zoo.part("train", "test_accuracy")
    codes = result.trained.encode(networks).astype(np.float64)
    design = np.column_stack([codes, np.ones(len(codes))])
    coefficients = np.linalg.lstsq(design, truth, rcond=None)[0]
    codes = result.trained.encode(zoo.part("test", "test_accuracy")[0])
    want = np.column_stack([codes, np.ones(len(codes))]) @ coefficients
    np.testing.assert_allclose(result.predicted["a"], want, rtol=1e-5)
    assert np.ptp(want) > 0
    labels = {**zoo.labels, "test_accuracy": 2 * zoo.labels["test_accuracy"]}
    double = dataclasses.replace(zoo, labels=labels)
    again = pretraining.predictor(result.trained, double, "test_accuracy")
    test, _ = zoo.part("test", "test_accuracy")
    np.testing.assert_allclose(again(result.trained, test), 2 * result.predicted["a"], rtol=1e-6)


def test_the_objective_decides_the_task():
    assert pretraining.task(METHOD, "accuracy") == Reconstruction()
    assert pretraining.task(Method("mlp"), "accuracy") == Regression("accuracy")

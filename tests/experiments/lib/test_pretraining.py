"""Auto-encoders that are trained without labels, and the probe on their embeddings."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import SMALL, classifiers

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


def test_labels_reach_the_probe_and_not_the_encoder(tmp_path):
    """With the labels of training networks doubled, embeddings stay and predictions double."""
    zoo = classifiers([SMALL])
    labels = zoo.labels["test_accuracy"].copy()
    labels[zoo.splits["train"]] *= 2
    double = dataclasses.replace(zoo, labels={**zoo.labels, "test_accuracy": labels})
    config = {**METHOD.config(), "row": "hyperrep", "seed": 0}
    one, two = (
        predict(METHOD, config, tmp_path / n, z, {"a": z}, "test_accuracy")
        for n, z in (("one", zoo), ("two", double))
    )
    np.testing.assert_array_equal(*(r.trained.encode(zoo) for r in (one, two)))
    np.testing.assert_allclose(two.predicted["a"], 2 * one.predicted["a"], rtol=1e-6)
    assert np.ptp(one.predicted["a"]) > 0
    assert restore(tmp_path / "one").task == Reconstruction()
    networks, truth = zoo.part("train", "test_accuracy")
    codes = one.trained.encode(networks)
    design = np.column_stack([codes, np.ones(len(codes))]).astype(np.float64)
    want = design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    fitted = pretraining.predictor(one.trained, zoo, "test_accuracy")(one.trained, networks)
    np.testing.assert_allclose(fitted, want, rtol=1e-5)


def test_the_objective_decides_the_task():
    assert pretraining.task(METHOD, "accuracy") == Reconstruction()
    assert pretraining.task(Method("mlp"), "accuracy") == Regression("accuracy")

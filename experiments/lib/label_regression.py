"""Prediction of a label of networks: learnt from one zoo, tested on others.

train (Zoo), tests {name: Zoo}  --predict: a trained encoder, or a computation-->  Prediction
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.lib import plots, pretraining, runs, sweeps
from experiments.lib.baselines import Tests
from experiments.lib.methods import Method
from wsjax import metrics
from wsjax.tasks import InputScale, Trained, expect_supported
from wsjax.tasks.base import views
from wsjax.zoos import Zoo


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The predictions of a method.

    Attributes:
        predicted: test zoo -> predictions of its "test" split, where its networks are supported.
        unsupported: test zoo -> why they are not.
        facts: of a record, see `runs.learn`.
        trained: the model, of methods that are trained.
        adopted: test zoo -> the kinds of its arrays that training had none of, see
            `InputScale.extend`.
    """

    predicted: Mapping[str, np.ndarray]
    unsupported: Mapping[str, str]
    facts: Mapping[str, Any]
    trained: Trained | None = None
    adopted: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)


def predict(
    method: Method,
    config: Mapping[str, Any],
    home: pathlib.Path,
    train: Zoo,
    tests: Tests,
    label: str,
    adopt: bool = False,
    measure: str = "mse",
) -> Prediction:
    """Trains a method if it supports one of the test zoos, and predicts the label of those.

    Args:
        method: its objective is one of regression, or of reconstruction.
        config: of the run.
        home: its folder.
        train: with the splits "train" and "validation".
        tests: name -> zoo with a "test" split.
        label: predicted.
        adopt: whether arrays of kinds that training has none of are supported.
        measure: of the validation networks, that selects the checkpoint, see `Regression`.

    Raises:
        ValueError: a split is absent or empty, or a label is NaN or infinite (its networks are
            named): before any training.
    """
    for split in ("train", "validation"):
        train.label(split, label)
    for zoo in tests.values():
        zoo.label("test", label)
    if method.compute:
        outcomes, facts = runs.compute(method, train, tests, label, config["seed"])
        unsupported = {k: v for k, v in outcomes.items() if isinstance(v, str)}
        predicted = {k: v for k, v in outcomes.items() if k not in unsupported}
        return Prediction(predicted, unsupported, facts)
    unsupported = reasons(method, train, tests, adopt)
    if set(unsupported) == set(tests):
        nothing = {"metrics": {}, "parameters": 0, "steps": 0, "seconds": 0.0}
        return Prediction({}, unsupported, nothing)
    task = pretraining.task(method, label, measure)
    trained, facts = sweeps.learn(method, config, home, train, task)
    predict_label, predicted, adopted = pretraining.predictor(trained, train, label), {}, {}
    for name in tests.keys() - unsupported.keys():
        zoo, _ = tests[name].part("test", label)
        model = trained.extend(zoo.specs) if adopt else trained
        adopted[name] = sorted(set(model.scale.scales) - set(trained.scale.scales))
        predicted[name] = predict_label(model, zoo)
    return Prediction(predicted, unsupported, facts, trained, adopted)


def reasons(method: Method, train: Zoo, tests: Tests, adopt: bool = False) -> dict[str, str]:
    """Test zoo -> why an encoder that learns from `train` does not support it; no training."""
    encoder, unsupported = method.build(), {}
    try:
        views(encoder, train.specs)
    except ValueError as error:
        return dict.fromkeys(tests, str(error))
    scale = InputScale.fit(train.select(train.splits["train"]))
    for name, zoo in tests.items():
        present = zoo.select(zoo.splits["test"]).compact().specs
        try:
            expect_supported(
                encoder, scale.extend(present) if adopt else scale, train.specs[0], present
            )
        except ValueError as error:
            unsupported[name] = str(error)
    return unsupported


def label_regression(
    zoo: Zoo,
    label: str,
    method: Method,
    config: Mapping[str, Any],
    home: pathlib.Path,
    measure: Callable[[Trained, np.ndarray], Mapping[str, float]] | None = None,
) -> list[runs.Facts]:
    """Work of `runs.Run`: predicts a label of the test networks of one zoo, and plots that.

    Args:
        zoo: with its splits.
        label: predicted.
        method: of the run.
        config: of the run.
        home: its folder.
        measure: the trained model and the vectors of the test networks -> more metrics.
    """
    result = predict(method, config, home, zoo, {"test": zoo}, label)
    if result.unsupported:
        raise ValueError(result.unsupported["test"])
    test, labels = zoo.part("test", label)
    predicted = result.predicted["test"]
    scores = {f"test_{k}": v for k, v in metrics.evaluate(predicted, labels).items()}
    title = f"{config['row']}: test MSE {scores['test_mse']:.3f}"
    plots.predictions(home / "predictions.png", predicted, labels, label, title)
    more = measure(result.trained, test.vectors) if measure and result.trained else {}
    return [{**result.facts, "metrics": {**scores, **result.facts["metrics"], **more}}]

"""Measures of trained models on a test split, and the model cards that have them.

measure(trained, zoo) -> Scores        of the test split, with bootstrap intervals
card(facts) -> Markdown
"""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import tables
from experiments.lib.zoo_loading import LABEL
from wsjax import metrics
from wsjax.tasks import Trained, classification, editing
from wsjax.zoos import Zoo

SAMPLES = 1000  # of a bootstrap


@dataclasses.dataclass(frozen=True)
class Scores:
    """Measures of a test split.

    Attributes:
        values: measure -> value.
        intervals: measure -> 95 % bootstrap interval over the choice of test networks.
        controls: what is needed to read them, such as the error of no edit.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    controls: Mapping[str, float]


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean of [example]."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (SAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values, np.float64)[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def regression(trained: Trained, zoo: Zoo) -> Scores:
    """Error, R2 and Kendall's tau; the control is the training networks' mean label."""
    label = trained.task.label
    (test, truth), (_, train) = zoo.part("test", label), zoo.part("train", label)
    predicted = trained.predict(test)
    spans = metrics.bootstrap(predicted, truth, test.runs)
    mean = metrics.mse(np.full(len(truth), train.mean()), truth)
    return Scores(metrics.evaluate(predicted, truth), spans, {"mse of the mean label": mean})


def classes(trained: Trained, zoo: Zoo) -> Scores:
    """Accuracy and calibration; the control is the largest class."""
    test, labels = zoo.part("test", trained.task.label)
    true = classification.class_numbers(labels, trained.task.classes)
    predicted = trained.predict(test)
    scores = metrics.classification(predicted, true)
    values = {"accuracy": scores["accuracy"], "cross-entropy": scores["loss"]}
    values["expected calibration error"] = metrics.calibration_error(predicted, true)
    spans = {"accuracy": interval(predicted.argmax(1) == true)}
    most = np.bincount(true).max() / len(true)
    return Scores(values, spans, {"accuracy of the largest class": float(most)})


def edits(trained: Trained, zoo: Zoo, target: np.ndarray) -> Scores:
    """Squared error of rendered edits; the control is no edit.

    Args:
        trained: an editor.
        zoo: with a "test" split.
        target: [network, row, col, channel], of every network of the zoo.
    """
    rows = zoo.splits["test"]
    errors = trained.errors(zoo.vectors[rows], target[rows])
    before = editing.squared_errors(trained.render(zoo.vectors[rows]), target[rows])
    values = {"mse": float(errors.mean()), "median squared error": float(np.median(errors))}
    controls = {"mse without an edit": float(before.mean())}
    return Scores(values, {"mse": interval(errors)}, controls)


def embeddings(trained: Trained, zoo: Zoo) -> Scores:
    """How well the head predicts accuracy, and how alike the nearest networks are in it.

    Controls are the same of two random networks, and of nearest weights.
    """
    scores = regression(trained, zoo)
    test, truth = zoo.part("test", LABEL)
    x = trained.encode(test).astype(np.float64)
    spread = x.std(0)
    kept = spread > 1e-6 * spread.max()
    near = lambda v: np.abs(truth - truth[_nearest(v)])
    apart = near(x[:, kept] / spread[kept])
    shuffled = np.random.default_rng(0).permutation(truth)
    name = "mean difference of accuracy to the nearest network"
    controls = {
        **scores.controls,
        "the same by nearest weights": float(near(test.vectors.astype(np.float64)).mean()),
        "the same of random pairs": float(np.abs(truth - shuffled).mean()),
    }
    spans = {**scores.intervals, name: interval(apart)}
    return Scores({**scores.values, name: float(apart.mean())}, spans, controls)


def _nearest(x):
    """[network], the nearest other one of each."""
    square = (x**2).sum(1)
    distances = square[:, None] + square - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(1)


def example(trained: Trained, zoo: Zoo) -> dict[str, Any]:
    """A test network with what the model gives for it, as JSON, to check a copy by."""
    row = zoo.splits["test"][0]
    spec = int(zoo.which[row])
    vector = np.asarray(zoo.vectors[row, : zoo.specs[spec].count], "<f4")
    return packed(vector, spec, answer(trained, vector, spec).tolist())


def packed(vector: np.ndarray, spec: int, gives: Sequence[float]) -> dict[str, Any]:
    """A network [entry] of a spec, by its number, and what a model gives for it, as JSON."""
    text = base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return {"network": text, "spec": spec, "gives": list(gives)}


def stored(data: Mapping[str, Any]) -> tuple[np.ndarray, int, np.ndarray]:
    """The network [entry] of an `example`, its spec's number, and what the model gave for it."""
    vector = np.frombuffer(base64.b64decode(data["network"]), "<f4").astype(np.float32)
    return vector, data["spec"], np.asarray(data["gives"])


def answer(trained: Trained, vector: np.ndarray, spec: int) -> np.ndarray:
    """A few numbers that a model gives for a network [entry] of its spec of that number."""
    of = trained.specs[spec]
    if trained.task.kind == "editing":
        return trained.render(trained.edit(vector, of), of).ravel()[::37]
    return np.atleast_1d(trained.predict(vector, of))


def card(facts: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The model card, Markdown.

    Args:
        facts: of `experiments.make.pretrained`.
        record: of the run.
    """
    test = facts["test"]
    spans = {k: "–".join(f"{x:.4g}" for x in v) for k, v in test["intervals"].items()}
    measures = [[k, f"{v:.4g}", spans.get(k, "")] for k, v in test["values"].items()]
    measures += [[f"*{k}*", f"{v:.4g}", ""] for k, v in test["controls"].items()]
    measures_table = tables.markdown(["measure", "value", "95 % interval"], measures)
    chosen = "; ".join(f"{k}: {v:.4g}" for k, v in facts["validation"].items())
    lines = [
        f"# {facts['name']}",
        "",
        facts["title"],
        "",
        "```python",
        f'trained = wsjax.restore("{facts["name"]}")',
        facts["use"],
        "```",
        "",
        tables.markdown(
            ["", ""],
            [
                ["reads", facts["reads"]],
                ["how", facts["how"]],
                ["trained on", facts["trained_on"]],
                ["encoder", f"`{record['method']}`, {record['parameters']:,} parameters in all"],
                ["chosen by", f"{facts['selection']} on the validation split: {chosen}"],
                ["training", f"{record['steps']:,} steps, {record['seconds']:.0f} s, "
                 f"{record['device']}"],
                ["commit", f"`{record['commit']}`, {record['time'][:10]}"],
                ["licence of the data", facts["licence"]],
                ["limits", facts["limits"]],
            ],
        ),
        "",
        f"Test split, {facts['networks']['test']:,} networks that neither training nor selection "
        "has seen; in italics, controls:",
        "",
        measures_table,
        "",
        facts["calibration"],
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def predictor_notes(
    name: str, data: str, licence: str, scores: Mapping[str, Any], record: Mapping[str, Any]
) -> list[str]:
    """Notes on the card of an accuracy predictor, beside those of `wsjax.predictors`.

    Args:
        name: of the model.
        data: that its networks were trained on.
        licence: of these.
        scores: of the test split, see `intervals.coverage`.
        record: of the run.
    """
    span = lambda k: "–".join(f"{x:.4g}" for x in scores.get(f"{k}_interval", ()))
    measures = [
        [k.replace("_", " "), f"{v:.4g}", span(k)]
        for k, v in scores.items()
        if not k.endswith("_interval")
    ]
    lines = [
        f"`{name}` reads networks of the family `conv3-gap`, trained on {data} as those of",
        "`experiments/zoos` were. Of its test split, networks of runs that nothing was learned,",
        "chosen or calibrated on:",
        "",
        tables.markdown(["measure", "value", "95 % interval"], measures),
        "",
        f"- made: {record['seconds']:.0f} s, {record['device']}, commit `{record['commit']}`, "
        f"{record['time'][:10]}",
        f"- licence of the data: {licence}",
        "- limits: accuracies of networks trained on other data or by another recipe are predicted",
        "  wrongly where they are not refused; the interval holds over networks like those above",
    ]
    return "\n".join(lines).splitlines()

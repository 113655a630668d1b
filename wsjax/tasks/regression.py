"""Regression: predict a label of networks, such as their test accuracy.

    trained = fit(zoo, "accuracy", SNE())
    trained.predict(params)          # in the label's own units

    embedding --MLP--> standardised label, squared error; or the logit of a label in [0, 1]

Checkpoints are selected on the validation split: by the mean squared error, or the measure that
`Regression.measure` names.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
import numpy as np
import scipy.special

from wsjax import checks, metrics
from wsjax.encoders import Encoder, Regressor
from wsjax.networks import Params, Spec
from wsjax.tasks import losses
from wsjax.tasks.base import Loss, Part, Predictor, Step, Task, Trained
from wsjax.zoos import Zoo

LOSSES = {
    "mse": losses.squared_error, "bce": losses.binary_cross_entropy, "brier": losses.brier,
}  # fmt: skip
MEASURES = {"mse": False, "mae": False, "r2": True, "tau": True}  # whether the highest is best


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of predicted labels, and how networks are augmented.

    Attributes:
        loss: "mse" on the standardised label; or on a label in [0, 1], of which a sigmoid is the
            prediction, "bce" or "brier", the squared error.
        permute: augmentation: train on copies with hidden neurons permuted at random, anew in
            every step.
        invariance: weight v of the logit invariance loss (SNE, eq. 10); 0 switches it off. The
            paper has it without `permute`: the task loss is that of the original networks.
        samples: permuted copies per network for that loss; data of the task loss too where
            `permute` is on.
        share: of the networks of a batch (of a microbatch, if there are any) that are
            copied. A quarter makes the loss cost a quarter instead of all of a step.
    """

    loss: str = "mse"
    permute: bool = True
    invariance: float = 0.0
    samples: int = 1
    share: float = 1.0

    def __post_init__(self):
        checks.fields("objective makes no sense", self)
        fine = self.invariance >= 0 and self.samples >= 1 and 0 < self.share <= 1
        if self.loss not in LOSSES or not fine:
            raise ValueError(
                f"expected a loss of {sorted(LOSSES)}, invariance >= 0, samples >= 1 and a "
                f"share in (0, 1], got {self}"
            )


@dataclasses.dataclass(frozen=True)
class TrainedRegression(Trained):
    """A trained predictor of a label."""

    def predict(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """The label, a number or [batch], in its units; arguments and errors as of `encode`."""
        out = self.outputs(networks, spec).astype(np.float64)  # the units may be large
        if self.task.objective.loss != "mse":
            return scipy.special.expit(out)
        return out * self.constants["deviation"] + self.constants["mean"]


@dataclasses.dataclass(frozen=True)
class Regression(Task[TrainedRegression]):
    """Predicts one label.

    Attributes:
        label: its name in the zoo.
        objective: what is minimised.
        measure: one of `MEASURES`, on the validation split, that selects the checkpoint.

    Raises:
        ValueError: there is no such measure.
    """

    label: str
    objective: Objective = Objective()
    measure: str = "mse"

    kind: ClassVar[str] = "regression"
    trained: ClassVar[type[Trained]] = TrainedRegression

    def __post_init__(self):
        super().__post_init__()
        if self.measure not in MEASURES:
            raise ValueError(f"expected a measure of {[*MEASURES]}, got {self.measure!r}")

    @property
    def selection(self) -> tuple[str, bool]:
        """The measure, and its direction."""
        return self.measure, MEASURES[self.measure]

    @property
    def needs(self) -> tuple[str, ...]:
        """The label."""
        return (self.label,)

    def module(self, encoder: Encoder, head: Sequence[int]) -> Predictor:
        """The encoder with a `Regressor`."""
        return Predictor(encoder, Regressor(tuple(head)))

    def constants(self, train: Zoo) -> dict[str, float]:
        """Mean and deviation of the training labels, for "mse"; else 0 and 1.

        Raises:
            ValueError: the loss is of shares, and a label is not in [0, 1].
        """
        labels = np.asarray(train.labels[self.label], np.float64)  # squares of float32 overflow
        if self.objective.loss == "mse":
            deviation = float(labels.std()) if np.ptp(labels) else 1.0
            return {"mean": float(labels.mean()), "deviation": deviation}
        if labels.min() < 0 or labels.max() > 1:
            raise ValueError(
                f"loss {self.objective.loss!r} expects labels in [0, 1], got {labels.min():.3g}.."
                f"{labels.max():.3g} of {self.label!r}"
            )
        return {"mean": 0.0, "deviation": 1.0}

    def targets(self, train: Part, constants: Mapping[str, float]) -> dict[str, np.ndarray]:
        """The standardised label."""
        labels = np.asarray(train.networks.labels[self.label], np.float64)
        target = (labels - constants["mean"]) / constants["deviation"]
        return {"target": target.astype(np.float32)}

    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """The task loss and the logit invariance loss, see `losses.regression`."""
        which, drops = batch["which"], jax.random.fold_in(key, 1)
        return losses.regression(
            lambda vectors, places: step.apply(vectors, which[places], drops),
            LOSSES[self.objective.loss],
            batch["vectors"],
            batch["target"],
            key,
            step.views.of(which)[1],
            permute=self.objective.permute,
            invariance=self.objective.invariance,
            samples=self.objective.samples,
            share=self.objective.share,
        )

    def evaluate(
        self, trained: TrainedRegression, train: Part, validation: Part
    ) -> dict[str, float]:
        """As `metrics.evaluate`."""
        predicted = trained.predict(validation.networks)
        return metrics.evaluate(predicted, validation.networks.labels[self.label])

"""Classification: name the classes of networks, such as the digits that INRs represent.

    trained = fit(zoo, Classification("class", ("cat", "dog")), ScaleGMN())
    trained.predict(params)          # [class] probabilities, or [batch, class]
    trained.classify(params)         # the name of the likeliest class, or [batch] of names

    augmented networks --encoder--> embedding --head--> logits, softmax cross-entropy

Networks are augmented anew in every step. Checkpoints are selected by the accuracy on the
validation split.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
import scipy.special

from wsjax import metrics, training
from wsjax.encoders import Encoder
from wsjax.networks import Params, Spec
from wsjax.symmetries.augmentations import Augmentation
from wsjax.tasks.base import Loss, Part, Predictor, Step, Task, Trained
from wsjax.zoos import Zoo

TEMPERATURE = "temperature"  # of the softmax, among the constants of a classifier


@dataclasses.dataclass(frozen=True)
class Objective(Augmentation):
    """The cross-entropy of networks, augmented by the strengths of its fields.

    Of several architectures that train together only permutations are supported.

    Attributes:
        smoothing: share of a label that is spread over all classes (Szegedy et al., 2016).

    Raises:
        ValueError: a strength makes no sense, see `Augmentation`; or a smoothing is not in
            [0, 1).
    """

    smoothing: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.smoothing >= 1:
            raise ValueError(f"expected a smoothing in [0, 1), got {self.smoothing}")

    @property
    def others(self) -> Augmentation:
        """The augmentations without permutations."""
        strengths = {f.name: getattr(self, f.name) for f in dataclasses.fields(Augmentation)}
        return Augmentation(**strengths | {"permute": False})


class Classifier(nn.Module):
    """Linear layers with ReLU between, a logit for each class out.

    Attributes:
        widths: of the hidden layers; with none, an embedding is the logits, as in the published
            classifiers of INRs, and as wide as there are classes.
        classes: how many.
    """

    widths: Sequence[int]
    classes: int

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch, class].

        Raises:
            ValueError: there are no layers, and embeddings are not as wide as there are classes.
        """
        if not self.widths:
            if code.shape[-1] != self.classes:
                raise ValueError(
                    "without a head an embedding is the logits: expected embeddings of "
                    f"{self.classes}, got {code.shape[-1]}"
                )
            return code
        for width in self.widths:
            code = nn.relu(nn.Dense(width)(code))
        return nn.Dense(self.classes)(code)


def class_numbers(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels [network], positions in `classes`, as int32.

    Raises:
        ValueError: there are fewer than two classes, or a label is the position of none.
    """
    numbers = np.asarray(labels).astype(np.int32)
    if len(classes) < 2 or not len(numbers):
        raise ValueError(
            f"expected networks of at least two classes, got {len(numbers)} of {list(classes)}"
        )
    wrong = (numbers != labels) | (numbers < 0) | (numbers >= len(classes))
    if wrong.any():
        raise ValueError(
            f"expected labels 0..{len(classes) - 1} of {len(classes)} classes, got "
            f"{np.unique(np.asarray(labels)[wrong])[:5].tolist()}"
        )
    return numbers


@dataclasses.dataclass(frozen=True)
class TrainedClassifier(Trained):
    """A trained classifier; its logits are divided by the constant "temperature", if it has one."""

    def __post_init__(self):
        if not 0 < (temperature := self.constants.get(TEMPERATURE, 1.0)) < math.inf:
            raise ValueError(f"expected a temperature above 0, got {temperature}")

    def predict(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """Probabilities [class] or [batch, class]; arguments and errors as of `encode`."""
        logits = self.outputs(networks, spec).astype(np.float64)
        return scipy.special.softmax(logits / self.constants.get(TEMPERATURE, 1.0), axis=-1)

    def calibrated(self, zoo: Zoo) -> "TrainedClassifier":
        """The same with the temperature of the least cross-entropy on a labelled zoo.

        Temperature scaling (Guo et al., 2017, 4.2): classes stay, probabilities change. The zoo is
        to be of networks that it was not trained on, such as the validation split.

        Raises:
            ValueError: as `predict`; or a label is the position of no class.
        """
        logits = self.outputs(zoo).astype(np.float64)
        rows = np.arange(len(logits))
        true = class_numbers(zoo.labels[self.task.label], self.task.classes)

        def loss(log_temperature):
            scores = scipy.special.log_softmax(logits / math.exp(log_temperature), axis=-1)
            return -scores[rows, true].mean()

        best = scipy.optimize.minimize_scalar(loss, bounds=(-5, 5), method="bounded").x
        constants = {**self.constants, TEMPERATURE: math.exp(best)}
        return dataclasses.replace(self, constants=constants)

    def classify(
        self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None
    ) -> str | np.ndarray:
        """The name of the likeliest class of one network, or names [batch]; as `predict`."""
        names = np.array(self.task.classes)[self.predict(networks, spec).argmax(-1)]
        return str(names) if np.ndim(names) == 0 else names


@dataclasses.dataclass(frozen=True)
class Classification(Task[TrainedClassifier]):
    """Predicts a class.

    Attributes:
        label: its name in the zoo; its values are positions in `classes`.
        classes: their names.
        objective: what is minimised.
    """

    label: str
    classes: tuple[str, ...]
    objective: Objective = Objective()

    kind: ClassVar[str] = "classification"
    trained: ClassVar[type[Trained]] = TrainedClassifier

    @property
    def selection(self) -> tuple[str, bool]:
        """The lowest error."""
        return "error", False

    @property
    def needs(self) -> tuple[str, ...]:
        """The label."""
        return (self.label,)

    def module(self, encoder: Encoder, head: Sequence[int]) -> Predictor:
        """The encoder with a `Classifier`."""
        return Predictor(encoder, Classifier(tuple(head), len(self.classes)))

    def check(self, zoo: Zoo, settings: training.Settings) -> None:
        """Raises a ValueError unless labels are of the classes, and augmentations supported."""
        for split in ("train", "validation"):
            class_numbers(zoo.labels[self.label][zoo.splits[split]], self.classes)
        if self.objective.others != Augmentation() and len(zoo.specs) > 1:
            raise ValueError(
                f"expected no augmentation but permutations of {len(zoo.specs)} architectures"
            )

    def targets(self, train: Part, constants: Mapping[str, float]) -> dict[str, np.ndarray]:
        """The classes, one-hot and smoothed."""
        numbers = class_numbers(train.networks.labels[self.label], self.classes)
        one_hot = np.eye(len(self.classes), dtype=np.float32)[numbers]
        return {"target": np.asarray(optax.smooth_labels(one_hot, self.objective.smoothing))}

    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """Cross-entropy of augmented networks."""
        orders, draws, drops = jax.random.split(key, 3)
        vectors, which, others = batch["vectors"], batch["which"], self.objective.others
        if self.objective.permute:
            vectors = step.views.permute(orders, vectors, which)
        if others != Augmentation():
            spec = step.views.specs[0]
            vectors = others.apply(draws, vectors, spec, jnp.asarray(step.scale.divisors(spec)))
        logits = step.apply(vectors, which, drops)
        return optax.softmax_cross_entropy(logits, batch["target"]).mean(), {}

    def evaluate(
        self, trained: TrainedClassifier, train: Part, validation: Part
    ) -> dict[str, float]:
        """As `metrics.classification`."""
        numbers = class_numbers(validation.networks.labels[self.label], self.classes)
        return metrics.classification(trained.predict(validation.networks), numbers)

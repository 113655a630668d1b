"""Contrastive learning: embed networks without labels, then fit a linear probe to labels.

    network -------- encoder -- embedding -- projection --+
       |                           |                      |  NT-Xent: is it the same network?
    augmented copy -- encoder -- embedding -- projection -+
                                   |
                     probe: a linear map from embeddings to labels, in closed form

    trained = fit(zoo, Contrastive(("amplitude", "frequency")), MLP(code=16), head=(16, 16))
    trained.encode(params)              # [code], or [batch, code]
    a, b = trained.predict(params)      # by the probe, in the labels' own units

Chen et al. (2020), "SimCLR", on weights as Navon et al. (2023) do it: one view is the network
itself, the other a copy with noise added to its weights and some set to zero. Training uses no
label. Labels fit the probe, and the probe's error on the validation split selects the
checkpoint.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, metrics, storage, training
from wsjax.encoders import Encoder
from wsjax.networks import Params, Spec
from wsjax.summaries import summary
from wsjax.symmetries import augmentations
from wsjax.tasks import losses
from wsjax.tasks.base import Loss, Part, Predictor, Step, Task, Trained, Views
from wsjax.zoos import Zoo

PROBE = "probe.json"


@dataclasses.dataclass(frozen=True)
class Objective:
    """NT-Xent between networks and their augmented copies.

    Attributes:
        temperature: of NT-Xent.
        noise: deviation of the Gaussian noise, relative to the root mean square of arrays
            of the kind.
        mask: probability of each weight to become zero.
        permute: permute the copy's hidden neurons too, for encoders that are not invariant.
        probed: number of training networks that the probe is fitted on when checkpoints are
            compared, at most. The final one is fitted on all.
        piece: views that are encoded at a time, and again for the gradient; a divisor of
            twice the batch, 0 for all at once. It bounds memory, and on a CPU a piece that
            fits the cache is often faster. All views are compared with each other still.
    """

    temperature: float = 0.1
    noise: float = 0.2
    mask: float = 0.5
    permute: bool = False
    probed: int = 1000
    piece: int = 0

    def __post_init__(self):
        checks.fields("objective makes no sense", self)
        fine = self.temperature > 0 and self.noise >= 0 and 0 <= self.mask < 1
        if not (fine and self.probed >= 1 and self.piece >= 0):
            raise ValueError(
                "expected a temperature above 0, noise >= 0, a mask in [0, 1), probed >= 1 and "
                f"piece >= 0, got {self}"
            )

    def augment(self, key: jax.Array, vectors: jax.Array, views: Views) -> jax.Array:
        """The copies of networks of one architecture that they are compared with.

        Args:
            key: randomness.
            vectors: [batch, entry], normalised.
            views: of the architecture.

        Returns:
            [batch, entry]; no longer the same functions, unless noise and mask are 0.
        """
        orders, numbers, zeros = jax.random.split(key, 3)
        if self.permute:
            vectors = views.permute(orders, vectors, jnp.zeros(len(vectors), jnp.int32))
        vectors = augmentations.noise(numbers, vectors, self.noise)
        return augmentations.mask(zeros, vectors, self.mask)


class Projection(nn.Module):
    """Linear layers with ReLU between; only the loss uses their outputs.

    Attributes:
        widths: of the layers, the result's included.
    """

    widths: Sequence[int] = (16, 16)

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch, widths[-1]]."""
        for width in self.widths[:-1]:
            code = nn.relu(nn.Dense(width)(code))
        return nn.Dense(self.widths[-1])(code)


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear map from embeddings to labels.

    Attributes:
        mean: [code], of the embeddings it was fitted on; they are standardised.
        deviation: [code], 1 where a coordinate does not vary.
        coefficients: [code, label].
        intercept: [label].
    """

    mean: np.ndarray
    deviation: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray

    __repr__ = summary

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """[..., code] -> [..., label]."""
        return (embeddings - self.mean) / self.deviation @ self.coefficients + self.intercept


def fit_probe(embeddings: np.ndarray, targets: np.ndarray) -> Probe:
    """Fits labels by least squares on standardised embeddings, in float64.

    Where embeddings do not determine the coefficients, the smallest are taken; embeddings that
    are all alike give the mean of the targets.

    Args:
        embeddings: [network, code], of training networks.
        targets: [network, label].

    Raises:
        ValueError: the shapes do not fit, there is no network, or a value is NaN or
            infinite.
    """
    x, y = np.asarray(embeddings, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"expected embeddings [network, code] and targets [network, label], got {x.shape} "
            f"and {y.shape}"
        )
    for name, values in (("embeddings", x), ("targets", y)):
        if bad := values.size - int(np.isfinite(values).sum()):
            raise ValueError(f"{bad} of {values.size} {name} are NaN or infinite")
    mean, spread = x.mean(0), x.std(0)
    deviation = np.where(spread > 1e-9 * (1 + np.abs(mean)), spread, 1.0)  # of a constant: rounding
    intercept = y.mean(0)
    coefficients, *_ = np.linalg.lstsq((x - mean) / deviation, y - intercept)
    return Probe(mean, deviation, coefficients, intercept)


def targets(zoo: Zoo, split: str, labels: Sequence[str]) -> np.ndarray:
    """The labels of a split side by side, [network, label].

    Raises:
        ValueError: there is no such split or label.
    """
    return np.stack([zoo.part(split, label)[1] for label in labels], axis=1)


def errors(predicted: np.ndarray, target: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """The mean squared error over all labels, "mse", and of each alone, "mse_LABEL".

    Args:
        predicted: [network, label].
        target: the same.
        labels: their names.

    Raises:
        ValueError: the shapes differ, or a value is NaN or infinite.
    """
    each = {f"mse_{k}": metrics.mse(predicted[:, i], target[:, i]) for i, k in enumerate(labels)}
    return {"mse": metrics.mse(predicted, target), **each}


@dataclasses.dataclass(frozen=True)
class TrainedContrastive(Trained):
    """A trained encoder with a probe.

    Attributes:
        probe: from embeddings to labels.
    """

    probe: Probe | None = None

    def predict(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """The probe's predictions; arguments and errors as of `encode`.

        Returns:
            [label], or [batch, label], in the order of `task.names` and in their units.
        """
        assert self.probe is not None, "`fit` and `restore` give results with a probe"
        return self.probe.predict(self.encode(networks, spec))


@dataclasses.dataclass(frozen=True)
class Contrastive(Task[TrainedContrastive]):
    """Embeds networks without labels; a probe predicts the labels.

    Attributes:
        labels: what the probe predicts; the encoder is trained without them.
        objective: what is minimised.
    """

    labels: tuple[str, ...]
    objective: Objective = Objective()

    kind: ClassVar[str] = "contrastive"
    trained: ClassVar[type[Trained]] = TrainedContrastive

    @property
    def needs(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(self.labels)

    def module(self, encoder: Encoder, head: Sequence[int]) -> Predictor:
        """The encoder with a `Projection`."""
        return Predictor(encoder, Projection(tuple(head)))

    def check(self, zoo: Zoo, settings: training.Settings) -> None:
        """Raises a ValueError without a label, one architecture, or batches to compare within."""
        if not self.labels:
            raise ValueError("expected at least one label for the probe, got none")
        batch, micro, piece = settings.batch, settings.microbatch, self.objective.piece
        if batch < 2 or micro not in (0, batch) or (piece and 2 * batch % piece):
            raise ValueError(
                "networks are compared within a batch: expected a batch of at least 2, no "
                "microbatch, and a piece that divides twice the batch, got batch "
                f"{batch}, microbatch {micro} and piece {piece}"
            )
        if len(zoo.specs) > 1:
            raise ValueError(f"expected networks of one architecture, got {len(zoo.specs)}")

    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """NT-Xent of networks and copies."""
        copies = self.objective.augment(key, batch["vectors"], step.views)
        drops = jax.random.fold_in(key, 1)
        apply = lambda vectors: step.apply(vectors, batch["which"], drops)
        both = jnp.concatenate([batch["vectors"], copies])
        one, other = jnp.split(_by_piece(apply, both, self.objective.piece), 2)
        return losses.nt_xent(one, other, self.objective.temperature).mean(), {}

    def evaluate(
        self, trained: TrainedContrastive, train: Part, validation: Part
    ) -> dict[str, float]:
        """The `errors` of a probe."""
        some = train.networks.select(np.arange(min(self.objective.probed, len(train.networks))))
        predicted = self._probe(trained, some).predict(trained.encode(validation.networks))
        return errors(predicted, self._labels(validation.networks), self.labels)

    def finish(self, trained: TrainedContrastive, train: Part) -> TrainedContrastive:
        """Fits the probe on the whole training split."""
        return dataclasses.replace(trained, probe=self._probe(trained, train.networks))

    def keep(self, trained: TrainedContrastive, folder: pathlib.Path) -> tuple[str, ...]:
        """Writes the probe."""
        assert trained.probe is not None, "`fit` and `restore` give results with a probe"
        arrays = {k: v.tolist() for k, v in dataclasses.asdict(trained.probe).items()}
        storage.write_sealed(folder / PROBE, arrays)
        return (PROBE,)

    def reopen(self, trained: TrainedContrastive, folder: pathlib.Path) -> TrainedContrastive:
        """Reads the probe.

        Raises:
            FileNotFoundError: training has not ended.
            DamagedError: the file was altered.
        """
        path = folder / PROBE
        if not path.exists():
            raise FileNotFoundError(
                f"expected {path}, which is written when training ends; the command that began "
                "the run goes on with it"
            )
        arrays = {k: np.asarray(v) for k, v in storage.read_sealed(path).items()}
        del arrays[storage.SEAL]
        probe = Probe(**arrays)
        return dataclasses.replace(trained, probe=probe)

    def _labels(self, zoo):
        return np.stack([zoo.labels[label] for label in self.labels], axis=1)

    def _probe(self, trained, zoo):
        return fit_probe(trained.encode(zoo), self._labels(zoo))


def _by_piece(f: Callable, rows: jax.Array, size: int) -> jax.Array:
    """F over rows [n, ...], `size` at a time, keeping nothing but the results."""
    if not size:
        return f(rows)
    pieces = rows.reshape(-1, size, *rows.shape[1:])
    out = jax.lax.map(jax.checkpoint(f), pieces)
    return out.reshape(len(rows), *out.shape[2:])

"""Predict a property of networks: train an encoder with a head, keep it, restore it.

    model = prediction.restore("runs/inr_frequency/laptop/sne/0")
    code = model.encode(params)          # [width], or [batch, width]
    frequency = model.predict(params)    # in the label's own units

A model is a module, its params and a `Normalisation`, all that is needed to read a raw
network; a checkpoint holds the three.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import encoders, metrics, training
from wsjax.encoders import Regressor
from wsjax.networks import Params, Spec
from wsjax.tasks import losses, reading
from wsjax.zoos import Zoo

LOSSES = {"mse": losses.squared_error, "bce": losses.binary_cross_entropy}


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        loss: "mse" on the standardised label, or "bce" on a label in [0, 1].
        permute: train on randomly renumbered copies, afresh in every step.
        invariance: weight v of the logit invariance loss (SNE, eq. 10); 0 switches it off.
        samples: renumbered copies per network for that loss. The task loss is taken
            over the copies as well, since their predictions are there.
        share: of the networks of a batch (of a microbatch, if there are any) that are
            copied. A quarter makes the loss cost a quarter instead of all of a step.
    """

    loss: str = "mse"
    permute: bool = True
    invariance: float = 0.0
    samples: int = 1
    share: float = 1.0

    def __post_init__(self):
        fine = self.invariance >= 0 and self.samples >= 1 and 0 < self.share <= 1
        if self.loss not in LOSSES or not fine:
            raise ValueError(
                f"expected a loss of {sorted(LOSSES)}, invariance >= 0, samples >= 1 and a "
                f"share in (0, 1], got {self}"
            )


class Predictor(nn.Module):
    """An encoder and a head, as one module: networks in, what the head says of them out."""

    encoder: nn.Module
    head: nn.Module

    def __call__(self, vectors: jax.Array, view, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch], or what else the head makes of codes."""
        return self.head(self.encoder(vectors, view, train))

    def encode(self, vectors: jax.Array, view) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        return self.encoder(vectors, view, False)


def build(config: Mapping) -> Predictor:
    """The module that a checkpoint's config describes.

    Raises:
        ValueError: the encoder or one of its settings is unknown.
    """
    encoder = encoders.build(config["encoder"], config["encoder_settings"])
    return Predictor(encoder, Regressor(tuple(config["head"])))


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Constants of the training networks.

    Attributes:
        scales: as from `reading.measure_scales`.
        mean: of the label; predictions are shifted back by it.
        deviation: of the label.
    """

    scales: Mapping[str, float]
    mean: float
    deviation: float


def normalisation(zoo: Zoo, label: str, loss: str) -> Normalisation:
    """Measures the constants on the training split."""
    networks_, labels = zoo.part("train", label)
    zoos = [networks_.of(s) for s in np.unique(networks_.which).tolist()]
    scales = reading.measure_scales(*((zoo.vectors, zoo.spec) for zoo in zoos))
    if loss == "bce":
        if labels.min() < 0 or labels.max() > 1:
            raise ValueError(
                f"loss 'bce' expects labels in [0, 1], got {labels.min():.3g}..{labels.max():.3g}"
            )
        return Normalisation(scales, 0.0, 1.0)
    return Normalisation(scales, float(labels.mean()), float(labels.std()) or 1.0)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained predictor: reads raw networks.

    Attributes:
        module: the `Predictor`.
        variables: its params, and its encoder's statistics if it has any.
        norm: constants of the training networks.
        specs: the architectures it was trained on.
        loss: as in `Objective`.
        config: everything the checkpoint says about the run.
    """

    module: Predictor
    variables: Mapping
    norm: Normalisation
    specs: tuple[Spec, ...]
    loss: str
    config: Mapping

    def predict(self, networks_: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """Predicts the property of networks.

        Args:
            networks_: named arrays of one network or, with a batch axis, of several; or
                raveled vectors [batch, entry]; or a zoo, which brings its specs.
            spec: what they mean; the training architecture, if there was one, if None.

        Returns:
            A number, or [batch], in the label's units.

        Raises:
            ValueError: arrays do not match the spec or are not finite, or the encoder
                cannot read this architecture.
        """
        out = self.reader.judge(networks_, spec, self.specs)
        if self.loss == "bce":
            return 1 / (1 + np.exp(-out))
        return out * self.norm.deviation + self.norm.mean

    def adopt(self, specs: Sequence[Spec]) -> "Model":
        """The model with scales for arrays of kinds it was not trained on, see `reading.adopt`."""
        scales = reading.adopt(self.norm.scales, specs)
        return dataclasses.replace(self, norm=dataclasses.replace(self.norm, scales=scales))

    def encode(self, networks_: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """The codes [width] or [batch, width] of networks; arguments as in `predict`."""
        return self.reader.encode(networks_, spec, self.specs)

    @property
    def reader(self) -> reading.Reader:
        """What shows networks to the module."""
        return reading.Reader(self.module, self.variables, self.norm.scales, self.specs[0])


def train(
    zoo: Zoo,
    label: str,
    config: Mapping,
    objective: Objective,
    settings: training.Settings,
    folder: str | pathlib.Path,
    progress: bool = True,
) -> tuple[Model, training.FitResult]:
    """Trains a predictor on a zoo's "train" split, chosen on its "validation" split.

    Continues from the folder's newest checkpoint if there is one.

    Args:
        zoo: with both splits; of one architecture, or of several that the encoder reads together.
        label: what to predict.
        config: "encoder" (a key of `ENCODERS`), "encoder_settings", "head"; whatever
            else it holds is kept in the checkpoint.
        objective: what is minimised.
        settings: how.
        folder: of checkpoints and metrics.
        progress: show it.

    Returns:
        The model with the best validation error, and what the run cost.
    """
    norm, specs = normalisation(zoo, label, objective.loss), zoo.specs
    module = build(config)
    known = reading.views(module.encoder, specs)
    networks_, labels = zoo.part("train", label)
    held, wanted = zoo.part("validation", label)
    data = {
        "vectors": reading.in_units(networks_, norm.scales, known.width),
        "which": networks_.which.astype(np.int32),
        "target": ((labels - norm.mean) / norm.deviation).astype(np.float32),
    }
    statistics = reading.calibrate(module.encoder, data["vectors"], known.view, norm.scales)
    config = {
        **config,
        "label": label,
        "objective": dataclasses.asdict(objective),
        "normalisation": dataclasses.asdict(norm),
        **reading.described(specs, statistics),
    }

    def initial(key):
        one = jnp.asarray(data["which"][:1])
        return module.init(key, jnp.asarray(data["vectors"][:1]), known.of(one)[0])["params"]

    def loss(params, key, batch):
        variables, which = reading.bind(params, statistics), batch["which"]
        rngs = {"dropout": jax.random.fold_in(key, 1)}
        return losses.regression(
            lambda x, rows: module.apply(variables, x, known.of(which[rows])[0], True, rngs=rngs),
            LOSSES[objective.loss],
            batch["vectors"],
            batch["target"],
            key,
            known.of(which)[1],
            permute=objective.permute,
            invariance=objective.invariance,
            samples=objective.samples,
            share=objective.share,
        )

    def model(params):
        variables = reading.bind(params, statistics)
        return Model(module, variables, norm, specs, objective.loss, config)

    def evaluate(params):
        return metrics.evaluate(model(params).predict(held), wanted)

    result = training.fit(
        initial, loss, data, evaluate, settings, folder, config, select="mse", progress=progress
    )
    return model(result.variables_best), result


def restore(folder: str | pathlib.Path) -> Model:
    """The model a training run left in `folder`; needs nothing but the path.

    Raises:
        FileNotFoundError, ValueError: no such folder, or no whole checkpoint in it.
    """
    module, variables, specs, config = reading.restored(folder, build)
    norm = Normalisation(**config["normalisation"])
    return Model(module, variables, norm, specs, config["objective"]["loss"], config)

"""Predict a property of networks: train an encoder with a head, keep it, restore it.

    model = prediction.restore("runs/inr_frequency/laptop/sne/0")
    code = model.encode(params)          # [width], or [batch, width]
    frequency = model.predict(params)    # in the label's own units

A model is a module, its params and a `Normalisation`, all that is needed to read a raw
network; a checkpoint holds the three. Arrays are divided by the root mean square that
arrays of their kind, role and level have among the training networks: one number per
array, so no symmetry is touched.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checkpoints, metrics, networks, objectives, symmetries, training
from wsjax.encoders import ENCODERS, Regressor
from wsjax.networks import Params, Spec
from wsjax.zoos import Zoo

LOSSES = {"mse": objectives.squared_error, "bce": objectives.binary_cross_entropy}


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        loss: "mse" on the standardised label, or "bce" on a label in [0, 1].
        renumber: train on randomly renumbered copies, afresh in every step.
        invariance: weight v of the logit invariance loss (SNE, eq. 10); 0 switches it off.
        samples: renumbered copies per network for that loss. The task loss is taken
            over the copies as well, since their predictions are there.
        share: of the networks of a batch (of a microbatch, if there are any) that are
            copied. A quarter makes the loss cost a quarter instead of all of a step.
    """

    loss: str = "mse"
    renumber: bool = True
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
    """An encoder and a head, as one module: networks in, predictions out."""

    encoder: nn.Module
    head: nn.Module

    def __call__(self, vectors: jax.Array, view, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch]."""
        return self.head(self.encoder(vectors, view, train))

    def encode(self, vectors: jax.Array, view) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        return self.encoder(vectors, view, False)


def build(config: Mapping) -> Predictor:
    """The module that a checkpoint's config describes.

    Raises:
        ValueError: the encoder or one of its settings is unknown.
    """
    name, settings = config["encoder"], dict(config["encoder_settings"])
    if name not in ENCODERS:
        raise ValueError(f"expected an encoder of {sorted(ENCODERS)}, got {name!r}")
    fields = {f.name for f in dataclasses.fields(ENCODERS[name])} - {"parent", "name"}
    if strange := sorted(set(settings) - fields):
        raise ValueError(f"encoder {name!r} has the settings {sorted(fields)}, got {strange}")
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return Predictor(ENCODERS[name](**settings), Regressor(tuple(config["head"])))


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Constants of the training networks.

    Attributes:
        scales: "kind/role/level" -> root mean square of such arrays.
        mean: of the label; predictions are shifted back by it.
        deviation: of the label.
    """

    scales: Mapping[str, float]
    mean: float
    deviation: float


def _kinds(spec):
    return {a.name: f"{x.kind}/{a.role}/{x.level}" for x in spec.layers for a in x.arrays}


def normalisation(zoo: Zoo, label: str, loss: str) -> Normalisation:
    """Measures the constants on the zoo's training split."""
    vectors, labels = zoo.part("train", label)
    params = networks.unravel(vectors, zoo.spec)
    squares = {}
    for name, kind in _kinds(zoo.spec).items():
        squares.setdefault(kind, []).append(np.square(params[name], dtype=np.float64).ravel())
    scales = {k: float(np.sqrt(np.concatenate(v).mean())) or 1.0 for k, v in squares.items()}
    if loss == "bce":
        if labels.min() < 0 or labels.max() > 1:
            raise ValueError(
                f"loss 'bce' expects labels in [0, 1], got {labels.min():.3g}..{labels.max():.3g}"
            )
        return Normalisation(scales, 0.0, 1.0)
    return Normalisation(scales, float(labels.mean()), float(labels.std()) or 1.0)


def scale(spec: Spec, norm: Normalisation) -> np.ndarray:
    """What each entry of a raveled network is divided by, [entry].

    Raises:
        ValueError: the spec has arrays of a kind, role and level not seen in training.
    """
    kinds = _kinds(spec)
    if strange := sorted(set(kinds.values()) - set(norm.scales)):
        raise ValueError(f"trained on arrays {sorted(norm.scales)}, got also {strange}")
    return np.concatenate(
        [np.full(int(np.prod(spec.shape(a))), norm.scales[kinds[a.name]]) for a in spec.arrays]
    ).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained predictor: reads raw networks.

    Attributes:
        module: the `Predictor`.
        variables: its params, and its encoder's statistics if it has any.
        norm: constants of the training networks.
        spec: the architecture it was trained on.
        loss: as in `Objective`.
        config: everything the checkpoint says about the run.
    """

    module: Predictor
    variables: Mapping
    norm: Normalisation
    spec: Spec
    loss: str
    config: Mapping

    def predict(self, networks_: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """Predicts the property of networks.

        Args:
            networks_: named arrays of one network or, with a batch axis, of several; or
                raveled vectors [batch, entry].
            spec: what they mean; the training architecture if None.

        Returns:
            A number, or [batch], in the label's units.

        Raises:
            ValueError: arrays do not match the spec or are not finite, or the encoder
                cannot read this architecture.
        """
        out = self._run(networks_, spec, None)
        if self.loss == "bce":
            return 1 / (1 + np.exp(-out))
        return out * self.norm.deviation + self.norm.mean

    def encode(self, networks_: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """The codes [width] or [batch, width] of networks; arguments as in `predict`."""
        return self._run(networks_, spec, "encode")

    def _run(self, given, spec, method):
        spec = spec or self.spec
        if spec != self.spec and self.module.encoder.fixed:
            raise ValueError(
                f"{type(self.module.encoder).__name__} reads only the architecture it was "
                f"trained on, of sizes {dict(self.spec.sizes)}; got {dict(spec.sizes)}"
            )
        if isinstance(given, Mapping):
            networks.check(given, spec)
            vectors = np.asarray(networks.ravel(given, spec), np.float32)
        else:
            vectors = np.asarray(given, np.float32)
            networks.check(networks.unravel(vectors, spec), spec)
        rows = np.atleast_2d(vectors) / scale(spec, self.norm)
        out = in_pieces(functools.partial(_apply(self.module, spec, method), self.variables), rows)
        return out if vectors.ndim == 2 else out[0]


@functools.lru_cache(maxsize=32)
def _apply(module, spec, method):
    """The jitted forward pass; the view is a constant of the program."""
    view = module.encoder.view(spec)
    return jax.jit(lambda variables, x: module.apply(variables, x, view, method=method))


def in_pieces(f, rows: np.ndarray, size: int = 16) -> np.ndarray:
    """F over rows [n, ...], `size` at a time: one compiled shape, bounded memory."""
    if not len(rows):
        raise ValueError(f"expected at least one network, got {rows.shape}")
    size = min(size, len(rows))
    spare = -len(rows) % size
    padded = np.concatenate([rows, np.repeat(rows[-1:], spare, axis=0)])
    out = [np.asarray(f(padded[i : i + size])) for i in range(0, len(padded), size)]
    return np.concatenate(out)[: len(rows)]


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
        zoo: with both splits.
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
    norm, spec = normalisation(zoo, label, objective.loss), zoo.spec
    module = build(config)
    encoder = module.encoder
    view, moves = encoder.view(spec), symmetries.moves(spec)
    unit = scale(spec, norm)
    vectors, labels = zoo.part("train", label)
    held, wanted = zoo.part("validation", label)
    data = {
        "vectors": vectors / unit,
        "target": ((labels - norm.mean) / norm.deviation).astype(np.float32),
    }
    statistics = {}
    if hasattr(encoder, "calibrate"):
        statistics = {"encoder": encoder.calibrate(data["vectors"], view)}
    extra = {"statistics": statistics} if statistics else {}
    config = {
        **config,
        "spec": networks.to_json(spec),
        "label": label,
        "objective": dataclasses.asdict(objective),
        "normalisation": dataclasses.asdict(norm),
        "statistics": jax.tree.map(lambda x: np.asarray(x).tolist(), statistics),
    }

    def initial(key):
        return module.init(key, jnp.asarray(data["vectors"][:1]), view)["params"]

    def loss(params, key, batch):
        return objectives.regression(
            lambda x: module.apply({"params": params, **extra}, x, view, True),
            LOSSES[objective.loss],
            batch["vectors"],
            batch["target"],
            key,
            moves,
            renumber=objective.renumber,
            invariance=objective.invariance,
            samples=objective.samples,
            share=objective.share,
        )

    def model(params):
        return Model(module, {"params": params, **extra}, norm, spec, objective.loss, config)

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
    config = checkpoints.read_config(folder)
    module, spec = build(config), networks.from_json(config["spec"])
    view = module.encoder.view(spec)
    abstract = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, spec.count)), view)["params"]
    )
    params = checkpoints.load(folder, abstract)
    statistics = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32),
        config["statistics"],
        is_leaf=lambda x: isinstance(x, list),
    )
    extra = {"statistics": statistics} if statistics else {}
    norm = Normalisation(**config["normalisation"])
    loss = config["objective"]["loss"]
    return Model(module, {"params": params, **extra}, norm, spec, loss, config)

"""Learn to encode networks without labels; then probe what the codes know.

    network ------ encoder -- code -- projection ---+
       |                       |                    |  NT-Xent: is it the same network?
    disturbed copy -- encoder -- code -- projection +
                               |
                 probe: a linear map from codes to labels, in closed form

    model = contrastive.restore("runs/inr_self_supervised/laptop/mlp-0-...")
    code = model.encode(params)         # [code], or [batch, code]
    a, b = model.predict(params)        # by the probe, in the labels' own units

Chen et al. (2020), "SimCLR", on weights as Navon et al. (2023) do it: one view is the
network as it is, the other a copy with noise added to its weights and some set to zero.
Training sees no label. Labels fit the probe, and the probe's error on the validation split
chooses among checkpoints.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import encoders, metrics, training
from wsjax.networks import Params, Spec
from wsjax.symmetries import augmentations, permutations
from wsjax.tasks import losses, reading
from wsjax.tasks.regression import Predictor
from wsjax.zoos import Zoo


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised: NT-Xent between networks and their disturbed copies.

    Attributes:
        temperature: of NT-Xent.
        noise: deviation of the Gaussian noise, relative to the root mean square of arrays
            of the kind.
        mask: probability of each weight to become zero.
        permute: permute the copy's hidden neurons too, for encoders that see numbers.
        probed: how many training networks the probe is fitted on when checkpoints are
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
        fine = self.temperature > 0 and self.noise >= 0 and 0 <= self.mask < 1
        if not (fine and self.probed >= 1 and self.piece >= 0):
            raise ValueError(
                "expected a temperature above 0, noise >= 0, a mask in [0, 1), probed >= 1 and "
                f"piece >= 0, got {self}"
            )


class Projection(nn.Module):
    """Linear layers with ReLU between; what the loss compares, and nothing else reads.

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


def build(config: Mapping) -> Predictor:
    """The module that a checkpoint's config describes.

    Raises:
        ValueError: the encoder or one of its settings is unknown.
    """
    encoder = encoders.build(config["encoder"], config["encoder_settings"])
    return Predictor(encoder, Projection(tuple(config["head"])))


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear map from codes to labels.

    Attributes:
        mean: [code], of the codes it was fitted on; they are standardised.
        deviation: [code], 1 where a code does not vary.
        coefficients: [code, label].
        intercept: [label].
    """

    mean: np.ndarray
    deviation: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """[..., code] -> [..., label]."""
        return (codes - self.mean) / self.deviation @ self.coefficients + self.intercept


def probe(codes: np.ndarray, targets: np.ndarray) -> Probe:
    """Fits labels by least squares on standardised codes, in float64.

    Where codes do not determine the coefficients, the smallest are taken; codes that are
    all alike give the mean of the targets.

    Args:
        codes: [network, code], of training networks.
        targets: [network, label].

    Raises:
        ValueError: the shapes do not fit, there is no network, or a value is NaN or
            infinite.
    """
    x, y = np.asarray(codes, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"expected codes [network, code] and targets [network, label], got {x.shape} and "
            f"{y.shape}"
        )
    for name, values in (("codes", x), ("targets", y)):
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


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained encoder with a probe: reads raw networks.

    Attributes:
        module: encoder and projection.
        variables: its params, and its encoder's statistics if it has any.
        scales: as from `reading.measure_scales`.
        spec: the architecture it was trained on.
        labels: what the probe predicts.
        probe: from codes to labels.
        config: everything the checkpoint says about the run.
    """

    module: Predictor
    variables: Mapping
    scales: Mapping[str, float]
    spec: Spec
    labels: tuple[str, ...]
    probe: Probe
    config: Mapping

    def encode(self, given: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """The codes of networks; arguments and errors as of `reading.Reader`.

        Returns:
            [code], or [batch, code].
        """
        reader = reading.Reader(self.module, self.variables, self.scales, self.spec)
        return reader(given, spec, "encode")

    def predict(self, given: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """The probe's predictions from the codes; arguments and errors as of `encode`.

        Returns:
            [label], or [batch, label], in the order of `labels` and in their units.
        """
        return self.probe.predict(self.encode(given, spec))


def errors(predicted: np.ndarray, wanted: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """The mean squared error over all labels, "mse", and of each alone, "mse_LABEL".

    Args:
        predicted: [network, label].
        wanted: the same.
        labels: their names.

    Raises:
        ValueError: the shapes differ, or a value is NaN or infinite.
    """
    each = {f"mse_{k}": metrics.mse(predicted[:, i], wanted[:, i]) for i, k in enumerate(labels)}
    return {"mse": metrics.mse(predicted, wanted), **each}


def disturb(
    key: jax.Array, vectors: jax.Array, objective: Objective, moves: permutations.Moves
) -> jax.Array:
    """The copies of networks that stand for them in training.

    Args:
        key: randomness.
        vectors: [batch, entry], in units.
        objective: says how much.
        moves: of the networks, without a batch axis.

    Returns:
        [batch, entry]; no longer the same functions, unless noise and mask are 0.
    """
    orders, numbers, zeros = jax.random.split(key, 3)
    if objective.permute:
        keys = jax.random.split(orders, len(vectors))
        vectors = jax.vmap(permutations.shuffle, in_axes=(0, 0, None))(keys, vectors, moves)
    vectors = augmentations.noise(numbers, vectors, objective.noise)
    return augmentations.mask(zeros, vectors, objective.mask)


def train(
    zoo: Zoo,
    labels: Sequence[str],
    config: Mapping,
    objective: Objective,
    settings: training.Settings,
    folder: str | pathlib.Path,
    progress: bool = True,
) -> tuple[Model, training.FitResult]:
    """Trains an encoder on the networks of a zoo's "train" split, then fits the probe.

    Continues from the folder's newest checkpoint if there is one.

    Args:
        zoo: with the splits "train" and "validation".
        labels: what the probe predicts; not seen by the encoder.
        config: "encoder" (a key of `ENCODERS`), "encoder_settings", "head" (widths of the
            projection); whatever else it holds is kept in the checkpoint.
        objective: what is minimised.
        settings: how; without microbatches, since a batch's networks are compared with
            each other.
        folder: of checkpoints, metrics and the probe.
        progress: show it.

    Returns:
        The model with the best validation error of a probe, and what the run cost. Its own
        probe is fitted on the codes of the whole training split.

    Raises:
        ValueError: there is no such label, the batch is 1, has microbatches or does not go
            into pieces, or as `training.fit` says.
    """
    batch, micro, piece = settings.batch, settings.microbatch, objective.piece
    if batch < 2 or micro not in (0, batch) or (piece and 2 * batch % piece):
        raise ValueError(
            "networks are compared within a batch: expected a batch of at least 2, no "
            "microbatch, and a piece that divides twice the batch, got batch "
            f"{batch}, microbatch {micro} and piece {piece}"
        )
    spec, module = zoo.spec, build(config)
    known, wanted = (targets(zoo, split, labels) for split in ("train", "validation"))
    vectors, held = (zoo.vectors[zoo.splits[split]] for split in ("train", "validation"))
    view, moves = module.encoder.view(spec), permutations.moves(spec)
    scales = reading.measure_scales((vectors, spec))
    data = {"vectors": vectors / reading.units(spec, scales)}
    statistics = reading.calibrate(module.encoder, data["vectors"], view, scales)
    config = {
        **config,
        "labels": list(labels),
        "objective": dataclasses.asdict(objective),
        "scales": scales,
        **reading.described([spec], statistics),
    }

    def initial(key):
        return module.init(key, jnp.asarray(data["vectors"][:1]), view)["params"]

    def loss(params, key, batch):
        copies = disturb(key, batch["vectors"], objective, moves)
        variables, rngs = reading.bind(params, statistics), {"dropout": jax.random.fold_in(key, 1)}
        apply = lambda x: module.apply(variables, x, view, True, rngs=rngs)
        both = jnp.concatenate([batch["vectors"], copies])
        one, other = jnp.split(_by_piece(apply, both, piece), 2)
        return losses.nt_xent(one, other, objective.temperature).mean(), {}

    def model(params, count):
        variables = reading.bind(params, statistics)
        codes = reading.Reader(module, variables, scales, spec)(vectors[:count], method="encode")
        fitted = probe(codes, known[:count])
        return Model(module, variables, scales, spec, tuple(labels), fitted, config)

    def evaluate(params):
        return errors(model(params, objective.probed).predict(held), wanted, labels)

    result = training.fit(
        initial, loss, data, evaluate, settings, folder, config, select="mse", progress=progress
    )
    trained = model(result.variables_best, len(vectors))
    _write_probe(pathlib.Path(folder), trained.probe)
    return trained, result


def restore(folder: str | pathlib.Path) -> Model:
    """The model a training run left in `folder`; needs nothing but the path.

    A run whose networks were aligned to a reference reads networks so aligned.

    Raises:
        FileNotFoundError, ValueError: no such folder, no whole checkpoint in it, or a run
            that was stopped before its probe was fitted.
    """
    module, variables, (spec,), config = reading.restored(folder, build)
    path = pathlib.Path(folder) / "probe.json"
    if not path.exists():
        raise FileNotFoundError(
            f"expected {path}, which is written when training ends; the command that began "
            "the run goes on with it"
        )
    fitted = Probe(**{k: np.asarray(v) for k, v in json.loads(path.read_text()).items()})
    return Model(module, variables, config["scales"], spec, tuple(config["labels"]), fitted, config)


def _by_piece(f, rows, size):
    """F over rows [n, ...], `size` at a time, keeping nothing but the results."""
    if not size:
        return f(rows)
    pieces = rows.reshape(-1, size, *rows.shape[1:])
    out = jax.lax.map(jax.checkpoint(f), pieces)
    return out.reshape(len(rows), *out.shape[2:])


def _write_probe(folder, fitted):
    """All of it or nothing."""
    part = folder / "probe.json.part"
    part.write_text(json.dumps({k: v.tolist() for k, v in dataclasses.asdict(fitted).items()}))
    os.replace(part, folder / "probe.json")

"""Tell what networks show: train an encoder with a head to name classes, keep it, restore it.

    model = classification.restore("runs/inr_classification/laptop/scalegmn-0-...")
    model.predict(params)      # [class] probabilities, or [batch, class]
    model.classify(params)     # the name of the likeliest class, or [batch] of names
    model.encode(params)       # [code], or [batch, code]

    copies of networks --encoder--> codes --head--> logits, softmax cross-entropy

Copies are drawn anew in every step, as `augmentations.Augmentation` says. Checkpoints are
chosen by the accuracy on the validation split.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

from wsjax import encoders, metrics, training
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.symmetries.augmentations import Augmentation
from wsjax.tasks import reading
from wsjax.tasks.regression import Predictor
from wsjax.zoos import Zoo


@dataclasses.dataclass(frozen=True)
class Objective(Augmentation):
    """What is minimised: the cross-entropy of copies of networks, augmented as it says.

    Of several architectures that train together the only copies are renumbered ones.

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
    def changes(self) -> Augmentation:
        """What makes copies, renumbering apart."""
        strengths = {f.name: getattr(self, f.name) for f in dataclasses.fields(Augmentation)}
        return Augmentation(**strengths | {"permute": False})


class Classifier(nn.Module):
    """Linear layers with ReLU between, a logit for each class out.

    Attributes:
        widths: of the hidden layers; with none, a code is the logits, as in the published
            classifiers of INRs, and as wide as there are classes.
        classes: how many.
    """

    widths: Sequence[int]
    classes: int

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch, class].

        Raises:
            ValueError: there are no layers, and a code has not as many numbers as classes.
        """
        if not self.widths:
            if code.shape[-1] != self.classes:
                raise ValueError(
                    f"without a head a code is the logits: expected codes of {self.classes}, got "
                    f"{code.shape[-1]}"
                )
            return code
        for width in self.widths:
            code = nn.relu(nn.Dense(width)(code))
        return nn.Dense(self.classes)(code)


def build(config: Mapping) -> Predictor:
    """The module that a checkpoint's config describes.

    Raises:
        ValueError: the encoder or one of its settings is unknown.
    """
    head = Classifier(tuple(config["head"]), len(config["classes"]))
    return Predictor(encoders.build(config["encoder"], config["encoder_settings"]), head)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained classifier: reads raw networks.

    Attributes:
        module: encoder and head.
        variables: its params, and its encoder's statistics if it has any.
        scales: as from `reading.measure_scales`.
        specs: the architectures it was trained on.
        classes: their names.
        config: everything the checkpoint says about the run.
    """

    module: Predictor
    variables: Mapping
    scales: Mapping[str, float]
    specs: tuple[Spec, ...]
    classes: tuple[str, ...]
    config: Mapping

    def predict(self, given: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """How likely each class is; arguments and errors as of `reading.Reader.encode`.

        Returns:
            [class], or [batch, class]; adds up to 1.
        """
        logits = self.reader.judge(given, spec, self.specs)
        return scipy.special.softmax(logits.astype(np.float64), axis=-1)

    def classify(
        self, given: Params | np.ndarray | Zoo, spec: Spec | None = None
    ) -> str | np.ndarray:
        """The name of the likeliest class of one network, or names [batch]; as `predict`."""
        found = np.array(self.classes)[self.predict(given, spec).argmax(-1)]
        return str(found) if np.ndim(found) == 0 else found

    def encode(self, given: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """The codes [code] or [batch, code]; arguments and errors as of `predict`."""
        return self.reader.encode(given, spec, self.specs)

    @property
    def reader(self) -> reading.Reader:
        """What shows networks to the module."""
        return reading.Reader(self.module, self.variables, self.scales, self.specs[0])


def numbers(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels [network], positions in `classes`, as int32.

    Raises:
        ValueError: there are fewer than two classes, or a label is the position of none.
    """
    found = np.asarray(labels).astype(np.int32)
    if len(classes) < 2 or not len(found):
        raise ValueError(
            f"expected networks of at least two classes, got {len(found)} of {list(classes)}"
        )
    odd = (found != labels) | (found < 0) | (found >= len(classes))
    if odd.any():
        raise ValueError(
            f"expected labels 0..{len(classes) - 1} of {len(classes)} classes, got "
            f"{np.unique(np.asarray(labels)[odd])[:5].tolist()}"
        )
    return found


def train(
    zoo: Zoo,
    label: str,
    classes: Sequence[str],
    config: Mapping,
    objective: Objective,
    settings: training.Settings,
    folder: str | pathlib.Path,
    progress: bool = True,
) -> tuple[Model, training.FitResult]:
    """Trains a classifier on a zoo's "train" split, chosen on its "validation" split.

    Continues from the folder's newest checkpoint if there is one.

    Args:
        zoo: with both splits; of one architecture, or of several that the encoder reads
            together.
        label: what to tell; its values are positions in `classes`.
        classes: their names.
        config: "encoder" (a key of `ENCODERS`), "encoder_settings", "head" (widths of its
            hidden layers); whatever else it holds is kept in the checkpoint.
        objective: what is minimised.
        settings: how.
        folder: of checkpoints and metrics.
        progress: show it.

    Returns:
        The model with the best validation accuracy (`best_value` is the error, the share that
        is wrong), and what the run cost.

    Raises:
        ValueError: there is no such split or label, labels are of no class, networks of
            several architectures are to be changed, or as `training.fit` says.
    """
    networks_, labels = zoo.part("train", label)
    held, wanted = zoo.part("validation", label)
    known, wanted = numbers(labels, classes), numbers(wanted, classes)
    changes, specs = objective.changes, zoo.specs
    if changes != Augmentation() and len(specs) > 1:
        raise ValueError(f"expected no copies but renumbered ones of {len(specs)} architectures")
    parts = [networks_.of(s) for s in np.unique(networks_.which).tolist()]
    scales = reading.measure_scales(*((part.vectors, part.spec) for part in parts))
    config = {**config, "classes": list(classes)}
    module = build(config)
    views = reading.views(module.encoder, specs)
    targets = np.eye(len(classes), dtype=np.float32)[known]
    data = {
        "vectors": reading.in_units(networks_, scales, views.width),
        "which": networks_.which.astype(np.int32),
        "target": np.asarray(optax.smooth_labels(targets, objective.smoothing)),
    }
    statistics = reading.calibrate(module.encoder, data["vectors"], views.view, scales)
    units = reading.units(specs[0], scales)
    config |= {
        "label": label,
        "objective": dataclasses.asdict(objective),
        "scales": scales,
        **reading.described(specs, statistics),
    }

    def initial(key):
        one = jnp.asarray(data["which"][:1])
        return module.init(key, jnp.asarray(data["vectors"][:1]), views.of(one)[0])["params"]

    def loss(params, key, batch):
        orders, draws, drops = jax.random.split(key, 3)
        vectors, (view, moves) = batch["vectors"], views.of(batch["which"])
        if objective.permute:
            shuffle = jax.vmap(permutations.shuffle, (0, 0, None if views.shared else 0))
            vectors = shuffle(jax.random.split(orders, len(vectors)), vectors, moves)
        if changes != Augmentation():
            vectors = changes.apply(draws, vectors, specs[0], units)
        variables, rngs = reading.bind(params, statistics), {"dropout": drops}
        logits = module.apply(variables, vectors, view, True, rngs=rngs)
        return optax.softmax_cross_entropy(logits, batch["target"]).mean(), {}

    def model(params):
        variables = reading.bind(params, statistics)
        return Model(module, variables, scales, specs, tuple(classes), config)

    def evaluate(params):
        return metrics.classification(model(params).predict(held), wanted)

    result = training.fit(
        initial, loss, data, evaluate, settings, folder, config, select="error", progress=progress
    )
    return model(result.variables_best), result


def restore(folder: str | pathlib.Path) -> Model:
    """The model a training run left in `folder`; needs nothing but the path.

    Raises:
        FileNotFoundError, ValueError: no such folder, or no whole checkpoint in it.
    """
    module, variables, specs, config = reading.restored(folder, build)
    return Model(module, variables, config["scales"], specs, tuple(config["classes"]), config)

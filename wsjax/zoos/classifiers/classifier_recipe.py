"""Zoos of image classifiers: the recipe, and what each network draws for itself.

    recipe = FAMILIES["conv3-gap"].recipe(data="mnist", networks=1000)
    drawn = hyperparameters(recipe)       name -> [network]
    drawn["learning_rate"][7]             the same in a zoo of 8 networks and of 8,000

A network draws all that is its own from its number and the recipe's seed. The choices are in
the recipe: `classifier_families` has the published ones, `classifier_factory` makes the zoo.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.architectures import ACTIVATIONS
from wsjax.architectures.layer_settings import NORMS
from wsjax.networks import frozen
from wsjax.zoos.classifiers.classifier_training import OPTIMIZERS
from wsjax.zoos.classifiers.initializers import INITIALIZERS

Draw = tuple  # ("log", low, high), ("uniform", low, high) or ("choice", one, another, ...)

NUMBERS = ("learning_rate", "decay", "dropout", "smoothing", "deviation", "fraction", "epochs")
WORDS = {"initializer": "initializers", "activation": "activations", "optimizer": "optimizers"}
SHAPE = ("kind", "width", "depth", "dense", "norm")  # of a network, see `Kind`


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of network, and what its shape is drawn from.

    Attributes:
        name: of a builder in `classifier_families`.
        widths: of its hidden layers.
        depths: convolutions, equivariant layers or blocks.
        dense: dense layers at the end.
        norms: after its layers, "none" among others.
        drops: whether it has dropout at all.
    """

    name: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    dense: tuple[int, ...] = (1,)
    norms: tuple[str, ...] = ("none",)
    drops: bool = True


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a zoo of classifiers is made; see `classifier_families` for the published ones.

    A draw is ("log", low, high), ("uniform", low, high) or ("choice", one, another, ...).

    Attributes:
        family: its name, for tables and folders.
        data: name of the images.
        kinds: of networks, drawn evenly.
        networks: how many.
        seed: of all that is drawn.
        side: rows and columns that images are resized to; 0 leaves them.
        gray: whether colours are averaged.
        low: what black becomes, 0 or -1; white is 1.
        train_images: how many of them the zoo has for training, drawn once; 0 for all.
        test_images: how many every network is tested on; 0 for all.
        measured_images: training images, at most, that the training figures are taken on.
        batch: images a step; what is left of an epoch is dropped.
        checkpoints: epochs after which a network is kept, beside its last; 0 is the start.
        learning_rate: draw.
        decay: draw, of the weight decay.
        decay_kind: "penalty", "gradient" or "decoupled", see `classifier_training.Plan`.
        dropout: draw.
        smoothing: draw, of the labels.
        fraction: draw, of the training images that a network trains on: its own sample.
        epochs: draw.
        initializers: names in `INITIALIZERS`, drawn evenly.
        deviation: draw, of those that have one.
        bias: initial.
        activations: names, drawn evenly.
        optimizers: "adam", "rmsprop" or "sgd", drawn evenly.
        momentum: of SGD.
        warmup: see `Plan`.
        flip: see `Plan`.
        translate: see `Plan`.
        cutout: see `Plan`.
        block: networks in one file and one call of a program.
        window: networks, counted on from the first, whose blocks are finished before those
            of the next are begun. A zoo of whole windows is reused by a larger one.

    Raises:
        ValueError: a setting makes no sense; every one is listed.
    """

    family: str
    data: str
    kinds: tuple[Kind, ...]
    networks: int = 1000
    seed: int = 0
    side: int = 0
    gray: bool = True
    low: int = -1
    train_images: int = 0
    test_images: int = 0
    measured_images: int = 2000
    batch: int = 128
    checkpoints: tuple[int, ...] = ()
    learning_rate: Draw = ("log", 5e-4, 5e-2)
    decay: Draw = ("choice", 0.0)
    decay_kind: str = "penalty"
    dropout: Draw = ("choice", 0.0)
    smoothing: Draw = ("choice", 0.0)
    fraction: Draw = ("choice", 1.0)
    epochs: Draw = ("choice", 1)
    initializers: tuple[str, ...] = ("glorot_normal",)
    deviation: Draw = ("choice", 0.05)
    bias: float = 0.0
    activations: tuple[str, ...] = ("relu",)
    optimizers: tuple[str, ...] = ("adam",)
    momentum: float = 0.0
    warmup: float = 0.0
    flip: bool = False
    translate: int = 0
    cutout: int = 0
    block: int = 16
    window: int = 128

    def __post_init__(self):
        checks.fields("recipe makes no sense", self)
        least = ("networks", "batch", "block", "window", "measured_images")
        rules = {name: (getattr(self, name) >= 1, "at least 1") for name in least}
        least = ("side", "train_images", "test_images", "translate", "cutout")
        rules |= {name: (getattr(self, name) >= 0, "0 or more") for name in least}
        rules |= {name: (_sensible(getattr(self, name)), "a draw") for name in NUMBERS}
        for name, choices in (
            ("initializers", INITIALIZERS),
            ("activations", ACTIVATIONS),
            ("optimizers", OPTIMIZERS),
        ):
            given = getattr(self, name)
            rules[name] = (bool(given) and set(given) <= set(choices), f"some of {sorted(choices)}")
        high = lambda name: max(x for x in getattr(self, name)[1:])
        kinds = ("penalty", "gradient", "decoupled")
        rules |= {
            "kinds": (
                bool(self.kinds)
                and all({*k.norms} <= {"none", *NORMS} and k.widths and k.depths and k.dense
                        for k in self.kinds),
                "one or more, each with widths, depths and known norms",
            ),
            "low": (self.low in (0, -1), "0 or -1"),
            "decay_kind": (self.decay_kind in kinds, f"one of {kinds}"),
            "checkpoints": (
                all(c >= 0 for c in self.checkpoints)
                and list(self.checkpoints) == sorted(set(self.checkpoints)),
                "epochs in order",
            ),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "warmup": (0 <= self.warmup < 1, "from 0 to below 1"),
        }  # fmt: skip
        if rules["dropout"][0]:
            rules["dropout"] = (high("dropout") < 1, "a draw below 1")
        if rules["fraction"][0]:
            right = high("fraction") <= 1 and min(self.fraction[1:]) > 0
            rules["fraction"] = (right, "a draw above 0 and up to 1")
        if rules["epochs"][0]:
            whole = self.epochs[0] == "choice" and all(
                isinstance(e, int) and e >= 1 for e in self.epochs[1:]
            )
            rules["epochs"] = (whole, "a choice of whole numbers from 1")
        checks.attributes("recipe makes no sense", self, rules)


def from_json(data: Mapping) -> Recipe:
    """The recipe that `dataclasses.asdict` and JSON wrote down."""
    kinds = tuple(Kind(**{k: frozen(v) for k, v in kind.items()}) for kind in data["kinds"])
    settings: dict[str, Any] = {k: frozen(v) for k, v in data.items()}
    return Recipe(**settings | {"kinds": kinds})


def hyperparameters(recipe: Recipe) -> dict[str, np.ndarray]:
    """The draws of each network of a recipe, name -> [network].

    Numbers are float32, "epochs" int32. "initializer", "activation" and "optimizer" are
    positions in the recipe's lists, "kind" in its kinds, "norm" in its kind's norms; the
    other parts of a shape are the numbers themselves. A kind without dropout has 0.
    """
    root = jax.random.key(recipe.seed)
    names = (*SHAPE, *NUMBERS, *WORDS)

    def fractions(number):
        key = jax.random.fold_in(jax.random.fold_in(root, number), 0)
        return jax.random.uniform(key, (len(names),))

    table = np.asarray(jax.jit(jax.vmap(fractions))(jnp.arange(recipe.networks)))
    fraction = dict(zip(names, table.T.astype(np.float64), strict=True))
    kind = _pick(fraction["kind"], len(recipe.kinds))
    out = {"kind": kind}
    for name, field in (("width", "widths"), ("depth", "depths"), ("dense", "dense")):
        out[name] = np.zeros(recipe.networks, np.int32)
        for i, k in enumerate(recipe.kinds):
            rows, choices = kind == i, np.array(getattr(k, field), np.int32)
            out[name][rows] = choices[_pick(fraction[name][rows], len(choices))]
    counts = np.array([len(k.norms) for k in recipe.kinds])[kind]
    out["norm"] = _pick(fraction["norm"], counts)
    for name in NUMBERS:
        out[name] = _draw(getattr(recipe, name), fraction[name]).astype(np.float32)
    out["epochs"] = out["epochs"].astype(np.int32)
    out["dropout"] *= np.array([k.drops for k in recipe.kinds], np.float32)[kind]
    for name, field in WORDS.items():
        out[name] = _pick(fraction[name], len(getattr(recipe, field)))
    return out


def keys(recipe: Recipe) -> jax.Array:
    """The random key of each network, [network]."""
    root = jax.random.key(recipe.seed)
    return jax.jit(jax.vmap(lambda i: jax.random.fold_in(root, i)))(jnp.arange(recipe.networks))


def _draw(draw: Draw, fraction: np.ndarray) -> np.ndarray:
    how, *values = draw
    if how == "choice":
        return np.array(values)[_pick(fraction, len(values))]
    low, high = values
    if how == "log":
        return np.exp(np.log(low) + fraction * (np.log(high) - np.log(low)))
    return low + fraction * (high - low)


def _pick(fraction: np.ndarray, count: int | np.ndarray) -> np.ndarray:
    """Positions below a count, from fractions in [0, 1)."""
    return np.minimum(np.floor(fraction * count), count - 1).astype(np.int32)


def _sensible(draw: Draw) -> bool:
    """True for a draw of numbers from 0 on."""
    if len(draw) < 2 or not all(isinstance(x, int | float) and x >= 0 for x in draw[1:]):
        return False
    ranged = len(draw) == 3 and draw[1] <= draw[2] and (draw[0] == "uniform" or draw[1] > 0)
    return draw[0] == "choice" or (draw[0] in ("log", "uniform") and ranged)

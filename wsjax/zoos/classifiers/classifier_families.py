"""The families of classifiers, each as its paper has it: shapes, draws, and departures.

    conv3-gap       Unterthiner et al. (2020): 3 convolutions, a mean, a dense layer; 4,970
    conv3-linear2   Schuerholt et al. (2022): 3 convolutions, 2 dense layers; 2,464
    varying-cnns    Lim et al. (2024, table 5): 2-D CNNs of 36 shapes
    diverse         the same table: those, 1-D CNNs, DeepSets, ResNets and ViTs
    vit-small       Andreis et al. (SNE, table 4): a small ViT

`FAMILIES[name].recipe(data=..., **changes)` is the recipe; `spec` the network of a shape.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from wsjax import architectures
from wsjax.networks import Spec
from wsjax.zoos.classifiers.classifier_recipe import Kind, Recipe

GROUPS = 4  # of a GroupNorm; table 5 of GMN does not state it


class Shape(NamedTuple):
    """A network's shape, and its images: their side, channels and number of classes."""

    width: int
    depth: int
    dense: int
    norm: str
    side: int
    channels: int
    classes: int


@dataclasses.dataclass(frozen=True)
class Family:
    """A family: `about` it in words, and its recipe's `settings`."""

    about: str
    settings: dict[str, Any]

    def recipe(self, **changes: Any) -> Recipe:
        """The recipe as published, of the data and with the changes named."""
        return Recipe(**{**self.settings, **changes})


def spec(recipe: Recipe, kind: int, activation: str, **shape: Any) -> Spec:
    """The network of one of the recipe's kinds; `shape` are the fields of `Shape`."""
    return BUILDERS[recipe.kinds[kind].name][0](Shape(**shape), activation)


def layout(recipe: Recipe, kind: int) -> str:
    """How one of the recipe's kinds reads an image: a key of `classifier_training.LAYOUTS`."""
    return BUILDERS[recipe.kinds[kind].name][1]


def _conv3_gap(s: Shape, activation: str) -> Spec:
    channels = [s.channels, *[s.width] * s.depth]
    return architectures.cnn(
        channels, [s.classes], stride=2, padding="VALID", activation=activation
    )


def _conv3_linear2(s: Shape, activation: str) -> Spec:
    return architectures.cnn(
        [s.channels, 8, 6, 4], [20, s.classes], kernel=(5, 5, 2), max_pool=(2, 2, 1),
        padding="VALID", pool="flatten", size=(s.side, s.side), activation=activation,
    )  # fmt: skip


def _norm(s: Shape) -> dict[str, Any]:
    return {"norm": s.norm} | ({"groups": GROUPS} if s.norm == "group" else {})


def _dense(s: Shape) -> list[int]:
    return [*[s.width] * (s.dense - 1), s.classes]


def _cnn(s: Shape, activation: str) -> Spec:
    channels = [s.channels, *[s.width] * s.depth]
    return architectures.cnn(channels, _dense(s), stride=2, activation=activation, **_norm(s))


def _cnn1d(s: Shape, activation: str) -> Spec:
    channels = [s.channels, *[s.width] * s.depth]
    return architectures.cnn(
        channels, _dense(s), kernel=9, stride=4, dims=1, activation=activation, **_norm(s)
    )


def _deepsets(s: Shape, activation: str) -> Spec:
    widths = [s.channels + 2, *[s.width] * s.depth]  # row and column beside the colours
    return architectures.deepsets(
        widths, _dense(s), basis="deepsets_mean", activation=activation, **_norm(s)
    )


def _resnet(s: Shape, activation: str) -> Spec:
    return architectures.resnet(
        s.channels, [s.width], s.classes, blocks=s.depth, stem=(3, 2, 1), activation=activation
    )


def _vit(s: Shape, activation: str) -> Spec:
    return architectures.vit(
        s.channels, s.width, s.classes, size=(s.side, s.side), patch=4, blocks=s.depth, heads=2,
        pool="mean", activation=activation,
    )  # fmt: skip


def _vit_small(s: Shape, activation: str) -> Spec:
    return architectures.vit(
        s.channels, s.width, s.classes, size=(s.side, s.side), patch=4, blocks=s.depth, heads=4,
        mlp_width=s.width * 3 // 2, activation=activation,
    )  # fmt: skip


# name of a kind -> its spec, and how it reads an image
BUILDERS: dict[str, tuple[Callable[[Shape, str], Spec], str]] = {
    "conv3-gap": (_conv3_gap, "image"),
    "conv3-linear2": (_conv3_linear2, "image"),
    "cnn": (_cnn, "image"),
    "cnn1d": (_cnn1d, "sequence"),
    "deepsets": (_deepsets, "set"),
    "resnet": (_resnet, "image"),
    "vit": (_vit, "image"),
    "vit-small": (_vit_small, "image"),
}

_BOTH = ("batch", "group")
CNN = Kind("cnn", (24, 28, 32), (1, 2, 3), (1, 2), _BOTH)
OTHERS = (
    Kind("cnn1d", (24, 28, 32), (1, 2, 3), (1, 2), _BOTH),
    Kind("deepsets", (32, 64), (2, 3, 4), (1, 2), _BOTH),
    Kind("resnet", (16, 32), (2, 3, 4), (1,), ("batch",), drops=False),
    Kind("vit", (32, 48), (2, 3), (1,), ("layer",)),
)

UNTERTHINER = {
    "batch": 512,
    "epochs": ("choice", 86),
    "checkpoints": (0, 1, 2, 3, 20, 40, 60, 80),
    "learning_rate": ("log", 5e-4, 5e-2),
    "decay": ("log", 1e-8, 1e-2),
    "decay_kind": "penalty",
    "dropout": ("uniform", 0.0, 0.7),
    "deviation": ("log", 1e-3, 0.5),
    "fraction": ("choice", 0.1, 0.25, 0.5, 1.0),
    "initializers": (
        *("glorot_normal", "random_normal", "truncated_normal", "orthogonal", "he_normal"),
    ),
    "activations": ("relu", "tanh"),
    "optimizers": ("adam", "rmsprop", "sgd"),
}
GMN = {
    "gray": False,
    "batch": 512,
    "learning_rate": ("log", 1e-3, 1e-1),
    "decay": ("log", 1e-5, 1e-2),
    "decay_kind": "decoupled",
    "dropout": ("uniform", 0.0, 0.25),
    "smoothing": ("uniform", 0.0, 0.2),
    "epochs": ("choice", 24),
    "initializers": ("fan_in_uniform",),
    "activations": ("relu",),
    "optimizers": ("sgd", "adam", "rmsprop"),
    "momentum": 0.9,
    "warmup": 0.2,
    "flip": True,
    "translate": 2,
    "cutout": 4,
}

FAMILIES = {
    "conv3-gap": Family(
        """The small CNN zoo (Unterthiner et al., 2020): 16 channels, windows of 3, stride 2.

        Architecture, batch of 512, 86 epochs, checkpoints, the lists of choices, the
        penalty on kernels alone, gray images in -1..1 and dropout after each convolution
        are those of the published training script. The ranges of numbers are as recorded
        from the paper's appendix A.2 and not confirmed. Ours: a network's share of the
        images is drawn from all of them, and figures leave the penalty out.""",
        {
            "family": "conv3-gap",
            "kinds": (Kind("conv3-gap", (16,), (3,)),),
            **UNTERTHINER,
        },
    ),
    "conv3-linear2": Family(
        """Schuerholt et al.'s small CNN (2022) and its grid, drawn from instead of walked.

        All but these is as in the published generator: images lie in -1..1 instead of being
        standardised; dropout follows the third convolution too; pooling comes after the
        activation, which is the same but for GELU. SNE makes its zoos of this network by
        Unterthiner et al.'s procedure: change the recipe by `UNTERTHINER` for those.""",
        {
            "family": "conv3-linear2",
            "kinds": (Kind("conv3-linear2", (8,), (3,), (2,)),),
            "side": 28,
            "batch": 10,
            "epochs": ("choice", 50),
            "learning_rate": ("choice", 1e-3, 1e-4),
            "decay": ("choice", 1e-3, 1e-4),
            "decay_kind": "gradient",
            "dropout": ("choice", 0.0, 0.5),
            "initializers": ("uniform", "normal", "kaiming_uniform", "kaiming_normal"),
            "bias": 0.01,
            "activations": ("tanh", "relu", "sigmoid", "gelu"),
            "optimizers": ("adam", "sgd"),
            "momentum": 0.9,
        },
    ),
    "varying-cnns": Family(
        """GMN's Varying CNNs (Lim et al., 2024, table 5).

        The published numbers of parameters, 970 to 21,165, are those of these shapes: biases
        and a norm on every convolution, a mean over positions. The paper is silent on
        strides (2 here), groups, batch, epochs and the sizes of its augmentations; those
        are what the FFCV template it builds on has, as recorded.""",
        {"family": "varying-cnns", "kinds": (CNN,), **GMN},
    ),
    "diverse": Family(
        """GMN's Diverse Architectures (Lim et al., 2024, table 5).

        Its 1-D CNNs read pixels in raster order, stride 4 here; its DeepSets read pixels as
        a set with "positional encodings", here row and column in -1..1, and the mean for
        the sum. ResNets have one stage at half the image's side. ViTs have 2 heads
        (appendix B) and patches of 4; the published 87,658 parameters leave no room for
        learnt positions, which ours have, and a norm before the last layer.""",
        {"family": "diverse", "kinds": (CNN, *OTHERS), **GMN},
    ),
    "vit-small": Family(
        """A small ViT for SNE's table 4, of "about 5 times" the parameters of `conv3-gap`.

        25,082 on 28 x 28 x 1: patches of 4, width 32, 3 blocks, 4 heads, MLPs of 48. The
        paper names a code base and no settings: its patches, heads, class token and warm-up
        are kept, its width of 64 and 6 blocks are not, which make 210,000. Draws are ours,
        and so is the tanh form of GELU.""",
        {
            "family": "vit-small",
            "kinds": (Kind("vit-small", (32,), (3,), (1,), ("layer",)),),
            "side": 28,
            "learning_rate": ("log", 1e-4, 1e-2),
            "decay": ("log", 1e-5, 1e-1),
            "decay_kind": "decoupled",
            "dropout": ("uniform", 0.0, 0.25),
            "fraction": ("choice", 0.1, 0.25, 0.5, 1.0),
            "epochs": ("choice", 10, 20, 40),
            "initializers": ("fan_in_uniform", "glorot_normal"),
            "activations": ("gelu_tanh",),
            "optimizers": ("adam", "rmsprop", "sgd"),
            "momentum": 0.9,
            "warmup": 0.05,
        },
    ),
}

"""Recipes of the zoos of classifiers that several experiments share.

    recipe("conv3-gap", "mnist", "small")

`experiments.make.classifier_zoo` makes them, and describes the presets.
"""

import dataclasses
import pathlib
from typing import Any

from wsjax.zoos.classifiers import classifier_families
from wsjax.zoos.classifiers.classifier_families import FAMILIES
from wsjax.zoos.classifiers.classifier_recipe import Recipe

ZOOS = pathlib.Path(__file__).parents[1] / "zoos"  # packed ones, see `wsjax.zoos.store`
SEEDS = {"digits": 0, "mnist": 1, "fashion_mnist": 2, "cifar10": 3, "svhn": 4}
EPOCHS = {  # of `small`: about 500 steps of 128 images on average
    "digits": (2, 5, 10, 20),
    "mnist": (1, 2, 3, 4),
    "fashion_mnist": (1, 2, 3, 4),
    "cifar10": (1, 2, 3, 5),
    "svhn": (4, 8, 16, 28),  # of 10,000 of its images
}
PUBLISHED = {  # networks
    "conv3-gap": 30_000,
    "conv3-linear2": 2560,
    "varying-cnns": 30_000,
    "diverse": 30_000,
    "vit-small": 750,
}
PRESETS = {  # networks by family
    "smoke": dict.fromkeys(FAMILIES, 24),
    "laptop": dict.fromkeys(FAMILIES, 300),
    "small": {**dict.fromkeys(FAMILIES, 640), "conv3-linear2": 320, "vit-small": 128},
    "paper": PUBLISHED,
}
NARROW = {  # of `smoke` and `laptop`: a fifth of the parameters, fewer shapes to compile
    "cnn": {"widths": (8, 16)},
    "cnn1d": {"widths": (8, 16)},
    "deepsets": {"widths": (12, 24), "depths": (2, 3)},
    "resnet": {"widths": (8, 16), "depths": (2, 3)},
    "vit": {"widths": (16, 24)},
}


# SNE makes its zoos of Schuerholt's network by Unterthiner's procedure (appendix G)
SNE = {**classifier_families.UNTERTHINER, "bias": 0.0, "momentum": 0.0}


def recipe(family: str, data: str, preset: str, networks: int = 0) -> Recipe:
    """The recipe of a preset; with its own number of networks where none is given.

    Raises:
        ValueError: the preset has other data.
    """
    if preset in ("smoke", "laptop") and data != "digits":
        raise ValueError(f"preset {preset!r} is on digits: expected data 'digits', got {data!r}")
    # families draw each their own: a network of one has no twin with its settings in another
    seed = SEEDS[data] + 100 * list(FAMILIES).index(family)
    settings: dict[str, Any] = {"data": data, "seed": seed}
    settings["networks"] = networks or PRESETS[preset][family]
    if preset == "paper":
        return FAMILIES[family].recipe(**settings, block=256, window=4096)
    settings |= {
        "epochs": ("choice", *EPOCHS[data]),
        "fraction": ("choice", 0.1, 0.25, 0.5, 1.0),
        "checkpoints": (),
        "batch": 32 if data == "digits" else 128,
    }
    if data == "svhn":
        settings["train_images"] = 10_000
    if family == "conv3-linear2":
        settings |= SNE
        if data == "mnist":
            settings["epochs"] = ("choice", 1)  # a step costs four times as much
    if data == "digits":
        if not FAMILIES[family].settings.get("side"):
            settings["side"] = 16
        settings["kinds"] = tuple(
            dataclasses.replace(kind, **NARROW.get(kind.name, {}))
            for kind in FAMILIES[family].settings["kinds"]
        )
    return FAMILIES[family].recipe(**settings)

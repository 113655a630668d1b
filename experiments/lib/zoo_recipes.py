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
    "conv3-linear2": 750,  # SNE, appendix H
    "varying-cnns": 30_000,
    "diverse": 30_000,
    "vit-small": 750,
}
PRESETS = {  # networks by family
    "smoke": dict.fromkeys(FAMILIES, 24),
    "laptop": dict.fromkeys(FAMILIES, 300),
    "small": {**dict.fromkeys(FAMILIES, 640), "conv3-linear2": 320, "vit-small": 128},
    # of `conv3-gap` two minutes and a half on an H100, at 1,323 of 500 steps a minute
    "h100": {**dict.fromkeys(FAMILIES, 3000), "conv3-linear2": 750, "vit-small": 256},
    "paper": PUBLISHED,
}
BLOCK = "networks that are trained in one call; the preset's if not given"  # a flag
AT_ONCE = {"block": 256, "window": 4096}  # on a GPU: networks of like cost in one program
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
    if family == "conv3-linear2":
        settings |= SNE
    if preset in ("h100", "paper"):
        settings |= AT_ONCE
    if preset == "paper":
        if family == "conv3-linear2":
            settings["gray"] = False  # those of CIFAR-10 and SVHN keep their colours (table 12)
        return FAMILIES[family].recipe(**settings)
    settings |= {
        "epochs": ("choice", *EPOCHS[data]),
        "fraction": ("choice", 0.1, 0.25, 0.5, 1.0),
        "checkpoints": (),
        "batch": 32 if data == "digits" else 128,
    }
    if data == "svhn":
        settings["train_images"] = 10_000
    if family == "conv3-linear2" and data == "mnist" and preset == "small":
        settings["epochs"] = ("choice", 1)  # a step costs a CPU four times as much
    if data == "digits":
        if not FAMILIES[family].settings.get("side"):
            settings["side"] = 16
        settings["kinds"] = tuple(
            dataclasses.replace(kind, **NARROW.get(kind.name, {}))
            for kind in FAMILIES[family].settings["kinds"]
        )
    return FAMILIES[family].recipe(**settings)


def sized(plan: Recipe, networks: int = 0, block: int = 0) -> Recipe:
    """The recipe with other numbers of networks, in all and in a block; 0 leaves either."""
    plan = dataclasses.replace(plan, networks=networks or plan.networks, block=block or plan.block)
    return dataclasses.replace(plan, window=max(plan.window, plan.block))

r"""How well does a classifier generalise, by its weights, and what are their symmetries worth?

ScaleGMN (Kalogeropoulos et al., NeurIPS 2024): a predictor of test accuracy learns from small CNNs
(Unterthiner et al., 2020) on CIFAR-10 and SVHN in gray: from those of ReLU, whose neurons have
scales, from those of tanh, whose neurons have signs, or from both. Kendall's tau in the paper, as
recorded and, but for NFN's "both", not confirmed: ScaleGMN .928 on CIFAR-10 with ReLU, .942 with
tanh, .941 with both; NFN-HNP .927, .934, .934; NeuralGraph .901, .934, .931; StatNN .914, .914,
.915.

    python -m experiments.generalization                   CIFAR-10, every row, on 2 CPU cores
    python -m experiments.generalization --rows scalegmn,scalegmn_b,scalegmn_permutation
    python -m experiments.generalization --preset paper --images FOLDER
    python -m experiments.generalization --preset paper \
        --published cifar10=FOLDER/cifar10 --published svhn=FOLDER/svhn_cropped

`scalegmn_permutation` is the same network without signs and scales, as large.

Protocol, where we differ: as in `experiments.cross_dataset`. The whole zoo is dealt; each
activation has its share of the parts.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.lib import accuracy_predictors
from experiments.lib.accuracy_predictors import Direction
from experiments.lib.cli import Row
from experiments.lib.zoo_loading import SIZES, Preset, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

ROWS = ("stat_nn", "nfn_np", "nfn_hnp", "neural_graph", "gmn")


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """From and to networks of each activation, and all of them, zoo by zoo."""
    found = []
    for name, zoo in zoos.items():
        kinds = activations(zoo)
        for activation in sorted(set(kinds)):
            mine = zoo.select(kinds == activation).compact()
            found.append(Direction(f"{name} {activation}", mine, {activation: mine}, (name,)))
        found.append(Direction(f"{name} both", zoo, {"both": zoo}, (name,)))
    return found


def activations(zoo: Zoo) -> np.ndarray:
    """The activation of each network's first layer, [network]."""
    return np.array([s.layers[0].activation for s in zoo.specs])[zoo.which]


def rows() -> dict[str, Row]:
    """The rows of the paper's table that read these zoos, and ScaleGMN in three versions."""
    known = accuracy_predictors.rows()
    scale = known["scalegmn"]
    settings = {
        "scalegmn": {},
        "scalegmn_b": {"backward": "balanced", "width": 20},
        "scalegmn_permutation": {"symmetry": "permutation", "width": 45},
    }
    return {k: known[k] for k in (*accuracy_predictors.METHODS, *ROWS)} | {
        k: dataclasses.replace(scale, settings={**scale.settings, **v}) for k, v in settings.items()
    }


def _presets() -> dict[str, Preset]:
    every = rows()
    few = {k: accuracy_predictors.shorter(every[k], 4) for k in ("stat_nn",)}
    simple = {k: every[k] for k in accuracy_predictors.METHODS}
    digits = tiny(recipe("conv3-gap", "digits", "smoke"))
    digits = dataclasses.replace(digits, networks=40)
    small = {"cifar10": recipe("conv3-gap", "cifar10", "small")}
    paper = {k: recipe("conv3-gap", k, "paper") for k in ("cifar10", "svhn")}
    long = {name: accuracy_predictors.longer(row, 20000) for name, row in every.items()}
    return {
        "smoke": Preset({"digits": digits}, SIZES, 1, simple | few, "a minute"),
        "laptop": Preset(small, SIZES, 1, every, "half an hour on a CPU core"),
        "paper": Preset(paper, SIZES | {"train": 0.4, "test": 0.5}, 3, long,
                        "days, for a GPU; resumable row by row"),
    }  # fmt: skip


PRESETS = _presets()
PAPER = {  # tau: CIFAR-10 relu, tanh, both, SVHN relu, tanh
    "stat_nn": (".914", ".914", ".915", ".846", ".844"),
    "nfn_np": (".919", ".925", ".922", ".859", ".858"),
    "nfn_hnp": (".927", ".934", ".934", ".864", ".859"),
    "neural_graph": (".901", ".934", ".931", ".855", ".862"),
    "scalegmn": (".928", ".942", ".941", ".869", ".874"),
    "scalegmn_b": (".928", ".943", ".941", ".865", ".866"),
}
WAYS = (("cifar10", "relu"), ("cifar10", "tanh"), ("cifar10", "both"),
        ("svhn", "relu"), ("svhn", "tanh"))  # fmt: skip


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    paper = {
        (row, f"{data} {way}", way): tau
        for row, taus in PAPER.items()
        for (data, way), tau in zip(WAYS, taus, strict=True)
    }
    return accuracy_predictors.main(
        "generalization", __doc__, PRESETS, directions, arguments, paper
    )


if __name__ == "__main__":
    main()

r"""Generalisation of classifiers, predicted from their weights, and the worth of symmetries.

ScaleGMN (Kalogeropoulos et al., NeurIPS 2024): a predictor of test accuracy learns from small CNNs
(Unterthiner et al., 2020) on CIFAR-10 and SVHN in gray: from those of ReLU, whose neurons have
scales, from those of tanh, whose neurons have signs, or from both. Kendall's tau in the paper, as
recorded and, but for NFN's "both", not confirmed: ScaleGMN .928 on CIFAR-10 with ReLU, .942 with
tanh, .941 with both; NFN-HNP .927, .934, .934; NeuralGraph .901, .934, .931; StatNN .914, .914,
.915.

    python -m experiments.generalization                   CIFAR-10, every method, on 2 CPU cores
    python -m experiments.generalization --methods scalegmn,scalegmn_b,scalegmn_permutation
    python -m experiments.generalization --preset h100 --files FOLDER
    python -m experiments.generalization --preset paper --files FOLDER
    python -m experiments.generalization --preset paper \
        --published cifar10=FOLDER/cifar10 --published svhn=FOLDER/svhn_cropped --splits NFN

`scalegmn_permutation` is the same network without signs and scales, as large. `paper` has the
paper's methods and their training, `experiments.lib.published_predictors`.

Protocol, where we differ: as in `experiments.cross_dataset`. The whole zoo is split; each
activation has its share of the parts.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.lib import accuracy_predictors, cli, published_predictors
from experiments.lib.accuracy_predictors import SIMPLE, Direction, shorter
from experiments.lib.methods import Preset
from experiments.lib.published_numbers import PAPERS, SUBSETS, SYMMETRY
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

ENCODERS = ("stat_nn", "nfn_np", "nfn_hnp", "neural_graph", "gmn", "gmn_product", "scalegmn")
SCALEGMN = accuracy_predictors.METHODS["scalegmn"]
METHODS = {  # those of the paper's table that support these zoos, and ScaleGMN in three versions
    **SIMPLE,
    **{k: accuracy_predictors.METHODS[k] for k in ENCODERS},
    "scalegmn_b": SCALEGMN.sized(backward="balanced", width=20),
    "scalegmn_permutation": SCALEGMN.sized(symmetry="permutation", width=45),
}


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """From and to networks of each activation, and all of them, zoo by zoo."""
    ways = []
    for name, zoo in zoos.items():
        kinds = activations(zoo)
        for activation in sorted(set(kinds)):
            part = zoo.select(kinds == activation).compact()
            ways.append(Direction(f"{name} {activation}", part, {activation: part}, (name,)))
        ways.append(Direction(f"{name} both", zoo, {"both": zoo}, (name,)))
    return ways


def activations(zoo: Zoo) -> np.ndarray:
    """The activation of each network's first layer, [network]."""
    return np.array([s.layers[0].activation for s in zoo.specs])[zoo.which]


def smoke() -> Preset:
    """Forty networks."""
    digits = dataclasses.replace(tiny(recipe("conv3-gap", "digits", "smoke")), networks=40)
    few = {"stat_nn": shorter(METHODS["stat_nn"], 4)}
    return Preset(SIMPLE | few, "a minute", {"digits": digits}, SIZES)


def laptop() -> Preset:
    """The zoo in the repository."""
    zoos = {"cifar10": recipe("conv3-gap", "cifar10", "small")}
    return Preset(METHODS, "half an hour on a CPU core", zoos, SIZES)


def h100() -> Preset:
    """Thousands of networks on CIFAR-10."""
    zoos = {"cifar10": recipe("conv3-gap", "cifar10", "h100")}
    default = (*SIMPLE, "stat_nn", "nfn_hnp", "scalegmn")
    return accuracy_predictors.h100(zoos, METHODS, default=default)


def paper() -> Preset:
    """The paper's methods, trained as there, on zoos of its sizes.

    Each direction has the published configuration of ScaleGMN for its data set and activations.
    """
    zoos = {k: recipe("conv3-gap", k, "paper") for k in ("cifar10", "svhn")}
    directions = {}
    for data, activation in SUBSETS:
        name = f"{data}_{SYMMETRY[activation]}"
        own = {f"scalegmn{b}": published_predictors.scalegmn(name + b) for b in ("", "_b")}
        directions[f"{data} {activation}"] = SIMPLE | published_predictors.OTHERS_OF_SCALEGMN | own
    return accuracy_predictors.paper(zoos, directions["cifar10 relu"], directions=directions)


PRESETS = {f.__name__: f() for f in (smoke, laptop, h100, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return accuracy_predictors.main(
        "generalization", __doc__, PRESETS, directions, arguments, PAPERS["generalization"]
    )


if __name__ == "__main__":
    cli.run(main)

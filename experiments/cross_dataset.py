"""Predictors of test accuracy, learnt from classifiers of one data set, on those of another.

SNE, tables 5 and 8 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from a
zoo of small CNNs (Unterthiner et al., 2020) trained on one data set, and is tested on the zoos
of all four; Kendall's tau. The paper: SNE .761 on average over the directions, NFN-NP .746,
StatNN .734, NFN-HNP .705, MLP .616.

    python -m experiments.cross_dataset                        every method, from MNIST to all three
    python -m experiments.cross_dataset --preset small         from each of three to all three
    python -m experiments.cross_dataset --methods sne_small,stat_nn,boosted_trees
    python -m experiments.cross_dataset --preset h100 --files FOLDER
    python -m experiments.cross_dataset --preset paper --files FOLDER

`paper` has the paper's methods and their training, `experiments.lib.published_predictors`; the
other presets have methods of CPU size, of which `sne_small` is not the paper's SNE.

Methods that do not support a zoo are listed as such. Beside the encoders stand boosted trees on
weight statistics, and on the recipe alone: the settings a network was trained with.

Protocol, where we differ: the published zoos are not available here, so we make our own
(`experiments.make.classifier_zoo`), smaller and trained for fewer steps; the last checkpoint of
each run, shuffled into training, validation and test, 50 : 10 : 40; the paper has
12 000 : 3 000 : 15 000. The zoos of `laptop` and `small` lie in the repository; these and `h100`
leave SVHN out. Published zoos (`--published`) have NFN's splits, which are the paper's (table
13), unless `--resplit`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.lib import accuracy_predictors, cli, published_predictors
from experiments.lib.accuracy_predictors import METHODS, SIMPLE, Direction, shorter
from experiments.lib.methods import Preset
from experiments.lib.published_numbers import PAPERS
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """From each zoo, or those that the preset learns from, to all of them."""
    return [Direction(k, zoos[k], zoos, tuple(zoos)) for k in preset.learns or zoos]


def smoke() -> Preset:
    """Two zoos of twenty networks."""
    digits = recipe("conv3-gap", "digits", "smoke")
    zoos = {name: tiny(digits, seed) for seed, name in enumerate(("digits", "other"))}
    few = {k: shorter(METHODS[k], 6) for k in ("stat_nn", "nfn_hnp")}
    return Preset(SIMPLE | few, "a minute on 2 CPU cores", zoos, SIZES)


def small() -> Preset:
    """Of the zoos in the repository, from each to all."""
    zoos = {name: recipe("conv3-gap", name, "small") for name in DATA if name != "svhn"}
    return Preset(METHODS, "an hour on a CPU core, by estimate", zoos, SIZES)


def laptop() -> Preset:
    """Of the zoos in the repository, from one to all."""
    cost = "a quarter of an hour on a CPU core, by estimate"
    return dataclasses.replace(small(), cost=cost, learns=("mnist",))


def h100() -> Preset:
    """Thousands of networks of each data set."""
    zoos = {name: recipe("conv3-gap", name, "h100") for name in DATA if name != "svhn"}
    return accuracy_predictors.h100(
        zoos, default=(*SIMPLE, "stat_nn", "gmn", "scalegmn", "sne_small")
    )


def paper() -> Preset:
    """The paper's methods, trained as there, on zoos of its sizes."""
    zoos = {k: recipe("conv3-gap", k, "paper") for k in DATA}
    compared = dict.fromkeys(method for method, *_ in PAPERS["cross_dataset"])
    methods = {k: published_predictors.SNE[k] for k in compared}
    return accuracy_predictors.paper(zoos, methods)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, h100, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return accuracy_predictors.main(
        "cross_dataset", __doc__, PRESETS, directions, arguments, PAPERS["cross_dataset"]
    )


if __name__ == "__main__":
    cli.run(main)

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
from experiments.lib.protocols import Protocol
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
_TAU = {  # of table 8, by method and training data: tested on each of `DATA`
    ("mlp", "mnist"): (".878 ± .001", ".486 ± .019", ".562 ± .024", ".544 ± .005"),
    ("mlp", "fashion_mnist"): (".507 ± .007", ".874 ± .001", ".515 ± .007", ".554 ± .006"),
    ("mlp", "cifar10"): (".552 ± .003", ".514 ± .005", ".880 ± .000", ".578 ± .005"),
    ("mlp", "svhn"): (".545 ± .025", ".523 ± .026", ".540 ± .027", ".809 ± .003"),
    ("stat_nn", "mnist"): (".926 ± .000", ".756 ± .006", ".773 ± .005", ".698 ± .005"),
    ("stat_nn", "fashion_mnist"): (".667 ± .010", ".915 ± .000", ".698 ± .029", ".502 ± .043"),
    ("stat_nn", "cifar10"): (".656 ± .005", ".677 ± .004", ".912 ± .001", ".728 ± .004"),
    ("stat_nn", "svhn"): (".630 ± .009", ".616 ± .007", ".746 ± .002", ".844 ± .000"),
    ("nfn_np", "mnist"): (".937 ± .000", ".726 ± .005", ".756 ± .010", ".702 ± .005"),
    ("nfn_np", "fashion_mnist"): (".755 ± .018", ".922 ± .001", ".733 ± .007", ".663 ± .014"),
    ("nfn_np", "cifar10"): (".674 ± .018", ".629 ± .031", ".924 ± .002", ".697 ± .006"),
    ("nfn_np", "svhn"): (".674 ± .008", ".567 ± .014", ".725 ± .007", ".855 ± .001"),
    ("nfn_hnp", "mnist"): (".942 ± .001", ".690 ± .008", ".758 ± .000", ".710 ± .010"),
    ("nfn_hnp", "fashion_mnist"): (".617 ± .012", ".935 ± .000", ".695 ± .032", ".662 ± .003"),
    ("nfn_hnp", "cifar10"): (".600 ± .025", ".526 ± .038", ".931 ± .000", ".662 ± .004"),
    ("nfn_hnp", "svhn"): (".647 ± .016", ".494 ± .023", ".547 ± .039", ".862 ± .002"),
    ("sne", "mnist"): (".941 ± .000", ".773 ± .009", ".792 ± .008", ".721 ± .001"),
    ("sne", "fashion_mnist"): (".722 ± .005", ".928 ± .001", ".745 ± .008", ".664 ± .003"),
    ("sne", "cifar10"): (".648 ± .006", ".643 ± .006", ".927 ± .000", ".753 ± .007"),
    ("sne", "svhn"): (".647 ± .001", ".655 ± .003", ".760 ± .006", ".858 ± .003"),
}
PAPER = {
    (method, train, test): tau
    for (method, train), taus in _TAU.items()
    for test, tau in zip(DATA, taus, strict=True)
}


PROTOCOL = Protocol("the zoos of Unterthiner et al.", networks=12_000, epochs=300, batch=64)


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
    methods = {k: published_predictors.SNE[k] for k in dict.fromkeys(m for m, _ in _TAU)}
    return accuracy_predictors.paper(zoos, methods)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, h100, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return accuracy_predictors.main("cross_dataset", __doc__, PRESETS, directions, arguments, PAPER)


if __name__ == "__main__":
    cli.run(main)

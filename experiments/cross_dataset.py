"""Predictors of test accuracy, learnt from classifiers of one data set, on those of another.

SNE, tables 5 and 8 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from a
zoo of small CNNs (Unterthiner et al., 2020) trained on one data set, and is tested on the zoos
of all four; Kendall's tau. The paper: SNE .761 on average over the directions, NFN-NP .746,
StatNN .734, NFN-HNP .705, MLP .616.

    python -m experiments.cross_dataset                        every method, from MNIST to all three
    python -m experiments.cross_dataset --preset small         from each of three to all three
    python -m experiments.cross_dataset --methods sne_small,stat_nn,boosted_trees
    python -m experiments.cross_dataset --preset paper --files FOLDER

`paper` has the paper's methods and their training, `experiments.lib.published_predictors`; the
other presets have methods of CPU size, of which `sne_small` is not the paper's SNE.

Methods that do not support a zoo are listed as such. Beside the encoders stand boosted trees on
weight statistics, and on the recipe alone: the settings a network was trained with.

Protocol, where we differ: the published zoos are not available here, so we make our own
(`experiments.make.classifier_zoo`), smaller and trained for fewer steps; the last checkpoint of
each run, shuffled into training, validation and test, 50 : 10 : 40; the paper has
12 000 : 3 000 : 15 000.
The zoos of `laptop` and `small` lie in the repository, and leave SVHN out. Published zoos
(`--published`) are split anew, whatever splits come with them.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.lib import accuracy_predictors, cli, published_predictors
from experiments.lib.accuracy_predictors import METHODS, SIMPLE, Direction, shorter
from experiments.lib.methods import Preset
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
# Kendall's tau of these, table 8
PAPER_METHODS = ("mlp", "stat_nn", "nfn_np", "nfn_hnp", "sne")
PAPER = {
    ("mnist", "mnist"): (0.878, 0.926, 0.937, 0.942, 0.941),
    ("mnist", "fashion_mnist"): (0.486, 0.756, 0.726, 0.690, 0.773),
    ("mnist", "cifar10"): (0.562, 0.773, 0.756, 0.758, 0.792),
    ("mnist", "svhn"): (0.544, 0.698, 0.702, 0.710, 0.721),
    ("fashion_mnist", "fashion_mnist"): (0.874, 0.915, 0.922, 0.935, 0.928),
    ("fashion_mnist", "mnist"): (0.507, 0.667, 0.755, 0.617, 0.722),
    ("fashion_mnist", "cifar10"): (0.515, 0.698, 0.733, 0.695, 0.745),
    ("fashion_mnist", "svhn"): (0.554, 0.502, 0.663, 0.662, 0.664),
    ("cifar10", "cifar10"): (0.880, 0.912, 0.924, 0.931, 0.927),
    ("cifar10", "mnist"): (0.552, 0.656, 0.674, 0.600, 0.648),
    ("cifar10", "fashion_mnist"): (0.514, 0.677, 0.629, 0.526, 0.643),
    ("cifar10", "svhn"): (0.578, 0.728, 0.697, 0.662, 0.753),
    ("svhn", "svhn"): (0.809, 0.844, 0.855, 0.862, 0.858),
    ("svhn", "mnist"): (0.545, 0.630, 0.674, 0.647, 0.647),
    ("svhn", "fashion_mnist"): (0.523, 0.616, 0.567, 0.494, 0.655),
    ("svhn", "cifar10"): (0.540, 0.746, 0.725, 0.547, 0.760),
}


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


def paper() -> Preset:
    """The paper's methods, trained as there, on zoos of its sizes."""
    zoos = {k: recipe("conv3-gap", k, "paper") for k in DATA}
    methods = {k: published_predictors.SNE[k] for k in PAPER_METHODS}
    return accuracy_predictors.paper(zoos, methods)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    published = {
        (method, *way): f"{tau:.3f}"
        for way, taus in PAPER.items()
        for method, tau in zip(PAPER_METHODS, taus, strict=True)
    }
    return accuracy_predictors.main(
        "cross_dataset", __doc__, PRESETS, directions, arguments, published
    )


if __name__ == "__main__":
    cli.run(main)

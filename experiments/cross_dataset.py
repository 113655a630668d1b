"""Does a judge of classifiers of one data set know those of another?

SNE, tables 5 and 8 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from a
zoo of small CNNs (Unterthiner et al., 2020) trained on one data set, and is tested on the zoos
of all four; Kendall's tau. The paper: SNE .761 on average over the directions, NFN-NP .746,
StatNN .734, NFN-HNP .705, MLP .616.

    python -m experiments.cross_dataset                        every row, from MNIST to all three
    python -m experiments.cross_dataset --preset small         from each of three to all three
    python -m experiments.cross_dataset --rows sne,stat_nn,boosted_trees
    python -m experiments.cross_dataset --preset paper --images FOLDER

Rows that cannot read a zoo are listed as such. Beside the encoders stand boosted trees on
weight statistics, and on the recipe alone: the settings a network was trained with.

Protocol, where we differ: the published zoos are not to be had here, so we make our own
(`experiments.make.classifier_zoo`), smaller and trained for fewer steps; the last checkpoint of
each run, shuffled into training, validation and test, 50 : 10 : 40; the paper has
12 000 : 3 000 : 15 000.
The zoos of `laptop` and `small` lie in the repository, and leave SVHN out. Published zoos
(`--published`) are dealt anew, whatever splits come with them.
"""

from collections.abc import Mapping

from experiments.lib import accuracy_predictors
from experiments.lib.accuracy_predictors import Direction
from experiments.lib.zoo_loading import SIZES, Preset, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
# Kendall's tau of these, table 8
PAPER_ROWS = ("mlp", "stat_nn", "nfn_np", "nfn_hnp", "sne")
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


def _presets() -> dict[str, Preset]:
    rows = accuracy_predictors.rows()
    few = {k: accuracy_predictors.shorter(rows[k], 6) for k in ("stat_nn", "nfn_hnp")}
    simple = {k: rows[k] for k in accuracy_predictors.METHODS}
    digits = recipe("conv3-gap", "digits", "smoke")
    smoke = {name: tiny(digits, seed) for seed, name in enumerate(("digits", "other"))}
    small = {name: recipe("conv3-gap", name, "small") for name in DATA if name != "svhn"}
    paper = {name: recipe("conv3-gap", name, "paper") for name in DATA}
    return {
        "smoke": Preset(smoke, SIZES, 1, simple | few, "a minute on 2 CPU cores"),
        "laptop": Preset(
            small,
            SIZES,
            1,
            rows,
            "a quarter of an hour on a CPU core, by estimate",
            learns=("mnist",),
        ),
        "small": Preset(small, SIZES, 1, rows, "an hour on a CPU core, by estimate"),
        "paper": Preset(
            paper,
            {"train": 0.4, "validation": 0.1, "test": 0.5},
            3,
            {name: accuracy_predictors.longer(row, 20000) for name, row in rows.items()},
            "days, for a GPU; resumable row by row",
        ),
    }


PRESETS = _presets()


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    paper = {
        (row, *way): f"{tau:.3f}"
        for way, taus in PAPER.items()
        for row, tau in zip(PAPER_ROWS, taus, strict=True)
    }
    return accuracy_predictors.main("cross_dataset", __doc__, PRESETS, directions, arguments, paper)


if __name__ == "__main__":
    main()

"""Does a judge of classifiers of one architecture know those of another?

SNE, tables 2 and 9 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from a
zoo of one architecture, and is tested on zoos of an architecture it has never seen; Kendall's
tau. The architectures are Schuerholt et al.'s CNN of three convolutions and two dense layers
(`conv3-linear2`) and Unterthiner et al.'s of three convolutions and one (`conv3-gap`). The
paper, MNIST to MNIST: SNE .490 and DeepSets .460 from "Arch 1" to "Arch 2", SNE .452 back; its
text and its appendix disagree on which of the two is which.

    python -m experiments.cross_architecture                     every row, on 2 CPU cores
    python -m experiments.cross_architecture --rows sne,deepsets,neural_graph

Most encoders have weights for each array of one architecture and cannot be asked at all;
they are listed with the reason.

Protocol, where we differ: as in `experiments.cross_dataset`; and images are gray throughout,
where the paper keeps the colours for one of the architectures.
"""

import dataclasses

from experiments import judging
from experiments.judging import Direction, Preset
from experiments.zoo_recipes import SNE, recipe

SIZES = {"train": 0.5, "validation": 0.1, "test": 0.4}
ARCHITECTURES = ("conv3-linear2", "conv3-gap")


def directions(preset: Preset) -> list[Direction]:
    """From each zoo to those of the other architecture."""
    found = []
    for name, mine in preset.zoos.items():
        others = [k for k, r in preset.zoos.items() if r.family != mine.family]
        found.append(Direction(name, (name,), tuple(others)))
    return found


def _zoos(data, preset):
    return {f"{f} {d}": recipe(f, d, preset) for f in ARCHITECTURES for d in data}


def _presets() -> dict[str, Preset]:
    rows = judging.rows()
    few = {k: judging.shorter(rows[k], 6) for k in ("deepsets", "nfn_hnp", "gmn")}
    simple = {k: rows[k] for k in judging.METHODS}
    paper = {name: judging.longer(row, 20000) for name, row in rows.items()}
    quarter = "a quarter of an hour on 2 CPU cores, by estimate"
    days = "days, for a GPU; resumable row by row"
    smoke = {name: judging.tiny(plan) for name, plan in _zoos(["digits"], "smoke").items()}
    large = {
        name: dataclasses.replace(plan, **SNE) if plan.family == "conv3-linear2" else plan
        for name, plan in _zoos(["mnist", "cifar10", "svhn"], "paper").items()
    }
    return {
        "smoke": Preset(smoke, SIZES, 1, simple | few, "a minute"),
        "laptop": Preset(_zoos(["mnist"], "small"), SIZES, 1, rows, quarter),
        "paper": Preset(large, SIZES | {"train": 0.4, "test": 0.5}, 3, paper, days),
    }


PRESETS = _presets()


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return judging.main("cross_architecture", __doc__, PRESETS, directions, arguments)


if __name__ == "__main__":
    main()

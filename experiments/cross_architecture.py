r"""Does a judge of classifiers of one architecture know those of another?

SNE, tables 2, 3, 4 and 9 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns
from a zoo of one architecture, and is tested on zoos of an architecture it has never seen;
Kendall's tau. The architectures are Schuerholt et al.'s CNN of three convolutions and two dense
layers (`conv3-linear2`), Unterthiner et al.'s of three convolutions and one (`conv3-gap`), and a
small ViT (`vit-small`), which is tested on alone. The paper, MNIST to MNIST: SNE .490,
NeuralGraph .473 and DeepSets .460 from "Arch 1" to "Arch 2", SNE .452 back; .463 and .198 to a
ViT. Its text and its appendix disagree on which of the two CNNs is which; here "Arch 1" is
`conv3-gap`, as in the appendix's tables of layers.

    python -m experiments.cross_architecture                     every row; zoos of digits
    python -m experiments.cross_architecture --preset small      the CNNs on MNIST, both ways
    python -m experiments.cross_architecture --rows sne,deepsets,neural_graph
    python -m experiments.cross_architecture --preset paper \
        --published "conv3-linear2 svhn=dataset_svhn_hyp_fix.pt" \
        --published "conv3-gap svhn=svhn_cropped"      table 3; the other zoos are made first

Most encoders have weights for each array of one architecture and cannot be asked at all;
they are listed with the reason, and not trained where there is nothing that they can read.

Protocol, where we differ: as in `experiments.cross_dataset`; and images are gray throughout,
where the paper keeps the colours for one of the architectures. `laptop` is on scikit-learn's
digits, `small` has no ViT: hundreds of them on MNIST would take a night on two cores.
"""

import dataclasses
from collections.abc import Mapping

from experiments.lib import accuracy_predictors
from experiments.lib.accuracy_predictors import Direction
from experiments.lib.zoo_loading import SIZES, Preset, tiny
from experiments.lib.zoo_recipes import SNE, recipe
from wsjax.zoos import Zoo

ARCHITECTURES = ("conv3-linear2", "conv3-gap")
PAPER_ROWS = ("deepsets", "neural_graph", "sne")
PAPER = {  # Kendall's tau: tables 2, 4 and 9
    ("conv3-gap", "mnist", "conv3-linear2", "mnist"): (".460 ± .001", ".473 ± .079", ".490 ± .027"),
    ("conv3-gap", "mnist", "conv3-linear2", "cifar10"): (
        *(".508 ± .001", ".528 ± .065", ".586 ± .036"),
    ),
    ("conv3-gap", "mnist", "conv3-linear2", "svhn"): (".546 ± .001", ".502 ± .119", ".535 ± .004"),
    ("conv3-gap", "cifar10", "conv3-linear2", "cifar10"): (
        *(".507 ± .000", ".463 ± .131", ".660 ± .016"),
    ),
    ("conv3-gap", "svhn", "conv3-linear2", "svhn"): (".553 ± .000", ".573 ± .067", ".609 ± .039"),
    ("conv3-linear2", "mnist", "conv3-gap", "mnist"): ("", "", ".452 ± .021"),
    ("conv3-linear2", "cifar10", "conv3-gap", "cifar10"): ("", "", ".511 ± .020"),
    ("conv3-linear2", "svhn", "conv3-gap", "svhn"): ("", "", ".621 ± .013"),
    ("conv3-gap", "mnist", "vit-small", "mnist"): (".198 ± .000", "", ".463 ± .006"),
}


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """From each zoo, or those that the preset learns from, to those of other architectures."""
    found = []
    for name in preset.learns or zoos:
        mine = preset.zoos[name].family
        others = {k: zoos[k] for k, r in preset.zoos.items() if r.family != mine}
        if not others:
            raise ValueError(f"expected zoos of two architectures, got {mine!r} alone")
        found.append(Direction(name, zoos[name], others, (name, *others), adopt=True))
    return found


def _zoos(data, preset, families=ARCHITECTURES):
    return {f"{f} {d}": recipe(f, d, preset) for f in families for d in data}


def _presets() -> dict[str, Preset]:
    rows = accuracy_predictors.rows()
    few = {k: accuracy_predictors.shorter(rows[k], 6) for k in ("deepsets", "nfn_hnp", "gmn")}
    simple = {k: rows[k] for k in accuracy_predictors.METHODS}
    paper = {name: accuracy_predictors.longer(row, 20000) for name, row in rows.items()}
    smoke = {name: tiny(plan, plan.seed) for name, plan in _zoos(["digits"], "smoke").items()}
    digits = _zoos(["digits"], "laptop", (*ARCHITECTURES, "vit-small"))
    large = {
        name: dataclasses.replace(plan, **SNE) if plan.family == "conv3-linear2" else plan
        for name, plan in _zoos(["mnist", "cifar10", "svhn"], "paper").items()
    }
    learns = tuple(large)
    large |= _zoos(["mnist"], "paper", ["vit-small"])
    return {
        "smoke": Preset(smoke, SIZES, 1, simple | few, "a minute"),
        "laptop": Preset(
            digits, SIZES, 1, rows, "a quarter of an hour on a CPU core, and as long for the zoos",
            learns=tuple(k for k in digits if "vit" not in k),
        ),
        "small": Preset(
            _zoos(["mnist"], "small"), SIZES, 1, rows, "half an hour on a CPU core"
        ),
        "paper": Preset(
            large, SIZES | {"train": 0.4, "test": 0.5}, 3, paper,
            "days, for a GPU; resumable row by row", learns=learns,
        ),
    }  # fmt: skip


PRESETS = _presets()


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    ways = {k: (f"{k[0]} {k[1]}", f"{k[2]} {k[3]}") for k in PAPER}
    paper = {
        (row, *ways[way]): tau
        for way, taus in PAPER.items()
        for row, tau in zip(PAPER_ROWS, taus, strict=True)
        if tau
    }
    return accuracy_predictors.main(
        "cross_architecture", __doc__, PRESETS, directions, arguments, paper
    )


if __name__ == "__main__":
    main()

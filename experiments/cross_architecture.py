r"""Predictors of test accuracy, learnt from classifiers of one architecture, on another.

SNE, tables 2, 3, 4 and 9 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns
from a zoo of one architecture, and is tested on zoos of an architecture it has never seen;
Kendall's tau. The architectures are Schuerholt et al.'s CNN of three convolutions and two dense
layers (`conv3-linear2`), Unterthiner et al.'s of three convolutions and one (`conv3-gap`), and a
small ViT (`vit-small`), which is tested on alone. The paper, MNIST to MNIST: SNE .490,
NeuralGraph .473 and DeepSets .460 from "Arch 1" to "Arch 2", SNE .452 back; .463 and .198 to a
ViT. Its text and its appendix disagree on which of the two CNNs is which; here "Arch 1" is
`conv3-gap`, as in the appendix's tables of layers.

    python -m experiments.cross_architecture                     every method; zoos of digits
    python -m experiments.cross_architecture --preset small      the CNNs on MNIST, both ways
    python -m experiments.cross_architecture --methods sne_small,deepsets,neural_graph
    python -m experiments.cross_architecture --preset paper \
        --published "conv3-linear2 svhn=dataset_svhn_hyp_fix.pt" \
        --published "conv3-gap svhn=svhn_cropped"      table 3; the other zoos are made first

Most encoders have weights for each array of one architecture and do not support others; they
are listed with the reason, and not trained where they support no test zoo.

`paper` has the paper's methods and their training, `experiments.lib.published_predictors`; the
other presets have methods of CPU size, of which `sne_small` is not the paper's SNE.

Protocol, where we differ: as in `experiments.cross_dataset`; and images are gray throughout,
where the paper keeps the colours for one of the architectures. `laptop` is on scikit-learn's
digits, `small` has no ViT: hundreds of them on MNIST would take a night on two cores.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.lib import accuracy_predictors, cli, published_predictors
from experiments.lib.accuracy_predictors import METHODS, SIMPLE, Direction, shorter
from experiments.lib.methods import Preset
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import SNE, recipe
from wsjax.zoos import Zoo

ARCHITECTURES = ("conv3-linear2", "conv3-gap")
PAPER_METHODS = ("deepsets", "neural_graph", "sne")
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
    ways = []
    for name in preset.learns or zoos:
        family = preset.zoos[name].family
        others = {k: zoos[k] for k, r in preset.zoos.items() if r.family != family}
        if not others:
            raise ValueError(f"expected zoos of two architectures, got {family!r} alone")
        ways.append(Direction(name, zoos[name], others, (name, *others), adopt=True))
    return ways


def _zoos(data, preset, families=ARCHITECTURES):
    return {f"{f} {d}": recipe(f, d, preset) for f in families for d in data}


def smoke() -> Preset:
    """Two zoos of twenty networks."""
    zoos = {name: tiny(plan, plan.seed) for name, plan in _zoos(["digits"], "smoke").items()}
    few = {k: shorter(METHODS[k], 6) for k in ("deepsets", "nfn_hnp", "gmn")}
    return Preset(SIMPLE | few, "a minute", zoos, SIZES)


def laptop() -> Preset:
    """All three architectures on digits."""
    zoos = _zoos(["digits"], "laptop", (*ARCHITECTURES, "vit-small"))
    return Preset(
        METHODS,
        "a quarter of an hour on a CPU core, and as long for the zoos",
        zoos,
        SIZES,
        learns=tuple(k for k in zoos if "vit" not in k),
    )


def small() -> Preset:
    """The zoos in the repository."""
    return Preset(METHODS, "half an hour on a CPU core", _zoos(["mnist"], "small"), SIZES)


def paper() -> Preset:
    """The paper's methods, trained as there, on zoos of its sizes."""
    zoos = {
        name: dataclasses.replace(plan, **SNE) if plan.family == "conv3-linear2" else plan
        for name, plan in _zoos(["mnist", "cifar10", "svhn"], "paper").items()
    }
    tested = _zoos(["mnist"], "paper", ["vit-small"])
    methods = {k: published_predictors.SNE[k] for k in PAPER_METHODS}
    return accuracy_predictors.paper(zoos | tested, methods, learns=tuple(zoos))


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    published = {
        (method, f"{way[0]} {way[1]}", f"{way[2]} {way[3]}"): tau
        for way, taus in PAPER.items()
        for method, tau in zip(PAPER_METHODS, taus, strict=True)
        if tau
    }
    return accuracy_predictors.main(
        "cross_architecture", __doc__, PRESETS, directions, arguments, published
    )


if __name__ == "__main__":
    cli.run(main)

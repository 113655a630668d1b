r"""Predictors of test accuracy, learnt from classifiers of one architecture, on another.

SNE, tables 2, 3, 4 and 9 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns
from a zoo of one architecture, and is tested on zoos of an architecture it has never seen;
Kendall's tau. The architectures are Schuerholt et al.'s CNN of three convolutions and two dense
layers (`conv3-linear2`), Unterthiner et al.'s of three convolutions and one (`conv3-gap`), and a
small ViT (`vit-small`), which is tested on alone. All numbers of the four tables are in
`experiments.lib.published_numbers`.

The paper's text and its appendix disagree on which of the two CNNs is "Arch 1", from which
tables 2 and 4 learn. Here it is `conv3-gap`, as in the appendix's tables of layers and of splits
(12,000 networks for training), and as table 3 needs, whose networks have larger filters than
"Arch 1". By the text it is `conv3-linear2`, since NeuralGraph supports filters only up to the
size it was trained on. Of table 3 the text does not state the training zoo of each line; here it
is `conv3-gap` on SVHN, and HyperRep's, pre-trained by its own loss with a linear probe on its
embeddings, is Schuerholt et al.'s of SVHN.

    python -m experiments.cross_architecture                     every method; zoos of digits
    python -m experiments.cross_architecture --preset small      the CNNs on MNIST, both ways
    python -m experiments.cross_architecture --methods sne_small,deepsets,neural_graph
    python -m experiments.cross_architecture --preset h100 --files FOLDER
    python -m experiments.cross_architecture --preset paper         tables 2, 4 and 9
    python -m experiments.cross_architecture --preset schuerholt \
        --published "schuerholt svhn=dataset_svhn_hyp_fix.pt" \
        --published "conv3-gap svhn=svhn_cropped" --splits NFN      table 3; others are made first

Most encoders have weights for each array of one architecture and do not support others; they
are listed with the reason, and not trained where they support no test zoo.

`paper` has the paper's methods and their training, `experiments.lib.published_predictors`; the
other presets have methods of CPU size, of which `sne_small` is not the paper's SNE.

Protocol, where we differ: as in `experiments.cross_dataset`. `laptop` is on scikit-learn's
digits, `small` has no ViT: hundreds of them on MNIST would take a night on two cores. `paper`
has 750 networks of `conv3-linear2`, which keeps the colours of images, and learns from them too,
split as all zoos are.
"""

from collections.abc import Mapping, Sequence

from experiments.lib import accuracy_predictors, cli, published_predictors
from experiments.lib.accuracy_predictors import METHODS, SIMPLE, Direction, shorter
from experiments.lib.methods import Preset
from experiments.lib.published_numbers import GRID, PAPERS
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import AT_ONCE, recipe
from wsjax.zoos import Zoo
from wsjax.zoos.classifiers.classifier_families import FAMILIES

ARCHITECTURES = ("conv3-linear2", "conv3-gap")
DATA = ("mnist", "cifar10", "svhn")


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """From each zoo, or those that the preset learns from, to those of other architectures.

    From one of Schuerholt et al.'s to all of theirs: of the same architecture, as table 3 has
    HyperRep.
    """
    ways = []
    for name in preset.learns or zoos:
        family, grid = preset.zoos[name].family, name.startswith(GRID)
        others = {
            k: zoos[k]
            for k, r in preset.zoos.items()
            if (k.startswith(GRID) if grid else r.family != family)
        }
        if not others:
            raise ValueError(f"expected zoos of two architectures, got {family!r} alone")
        used = tuple(dict.fromkeys((name, *others)))
        ways.append(Direction(name, zoos[name], others, used, adopt=not grid))
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


def h100() -> Preset:
    """All three architectures on MNIST; of `conv3-linear2` as many networks as the paper has."""
    zoos = _zoos(["mnist"], "h100", (*ARCHITECTURES, "vit-small"))
    return accuracy_predictors.h100(
        zoos, learns=("conv3-gap mnist",), default=("recipe_only", "deepsets", "gmn", "sne_small")
    )


def paper() -> Preset:
    """The published sizes: tables 2, 4 and 9."""
    zoos = _zoos(DATA, "paper")
    tested = _zoos(["mnist"], "paper", ["vit-small"])
    methods = {k: published_predictors.SNE[k] for k in ("deepsets", "neural_graph", "sne")}
    return accuracy_predictors.paper(zoos | tested, methods, learns=tuple(zoos))


def schuerholt() -> Preset:
    """The published sizes: table 3, on zoos of Schuerholt et al.'s own recipe."""
    grid = {}
    for data in ("svhn", "mnist", "cifar10"):
        seed = recipe("conv3-linear2", data, "paper").seed
        own = FAMILIES["conv3-linear2"].recipe(data=data, seed=seed, networks=2560, **AT_ONCE)
        grid[f"{GRID} {data}"] = own
    zoos = {"conv3-gap svhn": recipe("conv3-gap", "svhn", "paper"), **grid}
    learns = ("conv3-gap svhn", f"{GRID} svhn")
    methods = {"sne": published_predictors.SNE["sne"]} | published_predictors.SCHUERHOLT
    return accuracy_predictors.paper(zoos, methods, learns=learns, seeds=1)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, h100, paper, schuerholt)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return accuracy_predictors.main(
        "cross_architecture", __doc__, PRESETS, directions, arguments, PAPERS["cross_architecture"]
    )


if __name__ == "__main__":
    cli.run(main)

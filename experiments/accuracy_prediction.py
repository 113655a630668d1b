"""Test accuracy of classifiers of many architectures, predicted from their weights alone.

GMN, tables 1 and 6, figures 5 and 8 (Lim et al., ICLR 2024): a predictor of test accuracy learns
from half of a zoo, from a tenth of that half, or from its narrowest networks alone, and is
tested on the rest. The zoos are CNNs of 36 shapes ("varying-cnns"), and those with 1-D CNNs,
DeepSets, ResNets and ViTs beside them ("diverse"). The paper, tau on Diverse Architectures, 50 %,
5 % and OOD: GMN .908, .828, .780; DMC .883, .758, .566; DeepSets .559, .290, .380. Table 6 is on
the small CNNs of Unterthiner et al. ("conv3-gap"): GMN with GRIT .938, NFN-HNP .934,
NFT .926, NFN-NP .922, StatNN .915.

    python -m experiments.accuracy_prediction                       CNNs on digits
    python -m experiments.accuracy_prediction --methods gmn,dmc,deepsets
    python -m experiments.accuracy_prediction --preset small        table 6, on CIFAR-10 in gray,
                                                                    and five kinds, on digits
    python -m experiments.accuracy_prediction --preset h100 --files FOLDER      table 6 alone
    python -m experiments.accuracy_prediction --preset paper --files FOLDER

Encoders with weights for each array of one architecture do not support zoos of many; they are
listed with the reason. The runs' folder has the histograms of accuracies (figure 5) and a
scatter plot for each method, by kind of network (figure 8).

Protocol, where we differ: `laptop` has the CNNs alone, a few times narrower than the paper's,
on scikit-learn's digits, and learns from 150, 15 or the narrowest; `small` has the networks of
five kinds as well; `paper` has the published sizes. "5 %" is a tenth of the training networks
of "50 %", as in the paper, but at least one of each kind with each norm; both are tested on the
same networks. For "OOD", validation networks are narrow as well; "as narrow" are networks of
the same widths that served neither for learning nor for selection.

`paper` has the paper's methods and their training, `experiments.lib.published_predictors`: those
of table 1 with a learning rate chosen by the validation R2, GRIT for table 6. Presets of CPU size
have `gmn`, the paper's messages, and `gmn_product`, ours; `sne_small` is not the paper's SNE.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.lib import accuracy_predictors, cli, plots, published_predictors
from experiments.lib.accuracy_predictors import GRIT, METHODS, SIMPLE, Direction, shorter
from experiments.lib.methods import Method, Preset
from experiments.lib.published_numbers import DIRECTIONS, MANY, PAPERS
from experiments.lib.zoo_loading import SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax.zoos import Zoo
from wsjax.zoos.classifiers.classifier_recipe import Recipe


def fewer(zoo: Zoo, share: float, seed: int) -> Zoo:
    """The zoo with a share of the runs of its "train" split, chosen at random.

    One of each kind of network with each norm is among them: arrays of a kind that training has
    none of are not supported.
    """
    rows = np.random.default_rng(seed).permutation(zoo.splits["train"])
    sort = zoo.labels["kind"][rows] * 100 + zoo.labels["norm"][rows]
    _, first = np.unique(sort, return_index=True)
    runs = zoo.runs[np.concatenate([rows[first], np.delete(rows, first)])]
    runs = runs[np.sort(np.unique(runs, return_index=True)[1])]
    kept = runs[: max(len(first), round(share * len(runs)))]
    train = zoo.splits["train"][np.isin(zoo.runs[zoo.splits["train"]], kept)]
    return dataclasses.replace(zoo, splits={**zoo.splits, "train": train})


def by_width(zoo: Zoo, plan: Recipe, seed: int) -> tuple[Zoo, Zoo] | None:
    """Splits to learn from the narrowest networks of each kind, tested on wider ones (E.1.2).

    Returns:
        The zoo with the narrowest in "train" and "validation", and all others in "test"; and a
        zoo whose "test" are narrow ones that are in neither. Four to one to one. None if all
        networks are of one width.
    """
    least = np.array([min(kind.widths) for kind in plan.kinds])
    narrow = zoo.labels["width"] == least[zoo.labels["kind"].astype(int)]
    if narrow.all():
        return None
    runs = np.random.default_rng(seed).permutation(np.unique(zoo.runs[narrow]))
    part = max(2, len(runs) // 6)
    validation, near = (np.isin(zoo.runs, r) & narrow for r in (runs[:part], runs[part : 2 * part]))
    splits = {"train": narrow & ~validation & ~near, "validation": validation, "test": ~narrow}
    far = dataclasses.replace(zoo, splits={k: np.flatnonzero(v) for k, v in splits.items()})
    return far, dataclasses.replace(zoo, splits={"test": np.flatnonzero(near)})


def directions(preset: Preset, zoos: Mapping[str, Zoo]) -> list[Direction]:
    """Of each zoo: from half of it, from a part of that, from its narrowest networks."""
    ways = []
    for name, zoo in zoos.items():
        seed = preset.zoos[name].seed
        few = fewer(zoo, 0.1, seed)
        ways.append(Direction(f"{name} 50 %", zoo, {"rest": zoo}, (name,)))
        ways.append(Direction(f"{name} 5 %", few, {"rest": few}, (name,)))
        if apart := by_width(zoo, preset.zoos[name], seed):
            tests = {"wider": apart[0], "as narrow": apart[1]}
            ways.append(Direction(f"{name} OOD", apart[0], tests, (name,)))
    return ways


def pictures(
    preset: Preset,
    zoos: Mapping[str, Zoo],
    runs: Sequence[Mapping],
    folder: pathlib.Path,
    home: pathlib.Path,
) -> dict[str, pathlib.Path]:
    """Draws figures 5 and 8: accuracies of the networks, and predictions of each method."""
    drawn = {}
    for name, zoo in zoos.items():
        kinds = np.array([kind.name for kind in preset.zoos[name].kinds])
        of = lambda labels, kinds=kinds: kinds[np.asarray(labels, int)]
        accuracy, kind = zoo.labels["test_accuracy"], of(zoo.labels["kind"])
        parts = {
            "on training images": {"all": zoo.labels["train_accuracy"]},
            "on test images": {"all": accuracy},
            "on test images, by kind": {k: accuracy[kind == k] for k in kinds},
        }
        word = name.split()[0]
        first, second = (f"{word}_{what}" for what in ("accuracies", "predictions"))
        drawn |= {k: home / f"{k}.png" for k in (first, second)}
        plots.histograms(drawn[first], parts, "accuracy", f"{name}: {len(zoo)} networks")
        scatters = {}
        for run in runs:
            far = run["train_zoo"] == f"{name} OOD" and run["seed"] == 0
            if far and run["steps"] and "refused" not in run:
                tests = accuracy_predictors.predictions(folder, run)
                words = f"{run['row']}, {run['test_zoo']}: tau {run['metrics']['test_tau']:.2f}"
                scatters[words] = tests["true"], tests["predicted"], of(tests["kind"])
        if scatters:
            title = f"{name}: learnt from narrow"
            plots.scatters(drawn[second], scatters, "test accuracy", "predicted", title)
    return drawn


def _directions_of(
    zoo: str, methods: Mapping[str, Method], parts: Sequence[str] = DIRECTIONS
) -> dict[str, Mapping[str, Method]]:
    """Directions of a zoo by name, all with these methods."""
    return {f"{zoo} {part}": methods for part in parts}


def _digits(family):
    return {f"{family} digits": recipe(family, "digits", "laptop")}


def smoke() -> Preset:
    """Thirty-six networks of two widths."""
    plan = tiny(recipe("varying-cnns", "digits", "laptop"))
    (cnn,) = plan.kinds
    cnn = dataclasses.replace(cnn, depths=(1,), dense=(1,))
    zoos = {"varying-cnns": dataclasses.replace(plan, kinds=(cnn,), networks=36)}
    few = {k: shorter(METHODS[k], 4, 2) for k in ("dmc", "nfn_hnp")}
    return Preset(SIMPLE | few, "a minute", zoos, SIZES)


def laptop() -> Preset:
    """CNNs on digits."""
    several = ("gmn", "gmn_product", "neural_graph", "scalegmn", "sne_small", "dmc")
    several += ("deepsets", "nfn_hnp")
    return Preset(
        SIMPLE | {k: shorter(METHODS[k], 100, 8) for k in several},
        "a quarter of an hour on 2 CPU cores, a third of it for the zoo",
        _digits("varying-cnns"),
        SIZES,
    )


def small() -> Preset:
    """Table 6, and networks of five kinds."""
    several = ("nfn_hnp", "nfn_np", "stat_nn", "nft", "gmn", "gmn_product", "mlp", "dmc")
    several += ("deepsets", "neural_graph", "scalegmn", "sne_small")
    methods = SIMPLE | {k: METHODS[k] for k in several}
    alike = methods | {"grit": GRIT}
    return Preset(
        alike,
        "an hour and a half on 2 CPU cores, by estimate",
        {"conv3-gap cifar10": recipe("conv3-gap", "cifar10", "small")} | _digits("diverse"),
        SIZES,
        directions=_directions_of("conv3-gap cifar10", alike)
        | _directions_of("diverse digits", methods),
    )


def h100() -> Preset:
    """Table 6 from thousands of networks; those of many shapes would take longer to compile."""
    zoos = {"conv3-gap cifar10": recipe("conv3-gap", "cifar10", "h100")}
    default = (*SIMPLE, "stat_nn", "gmn", "scalegmn", "sne_small")
    preset = accuracy_predictors.h100(zoos, default=default)
    own = _directions_of("conv3-gap cifar10", preset.methods, ["50 %", "5 %"])  # all of one width
    return dataclasses.replace(preset, directions=own)


def paper() -> Preset:
    """The paper's methods, trained as there, on zoos of its sizes."""
    zoos = {f"{k} cifar10": recipe(k, "cifar10", "paper") for k in (*MANY, "conv3-gap")}
    sizes = {"train": 0.5, "validation": 1 / 15, "test": 13 / 30}
    many, one = SIMPLE | published_predictors.GMN, SIMPLE | published_predictors.SMALL_CNNS
    directions = _directions_of("conv3-gap cifar10", one, ["50 %"])
    for family in MANY:
        directions |= _directions_of(f"{family} cifar10", many)
    return accuracy_predictors.paper(zoos, many | one, sizes=sizes, seeds=5, directions=directions)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, h100, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    return accuracy_predictors.main(
        "accuracy_prediction",
        __doc__,
        PRESETS,
        directions,
        arguments,
        PAPERS["accuracy_prediction"],
        pictures,
    )


if __name__ == "__main__":
    cli.run(main)

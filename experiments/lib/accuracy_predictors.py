"""Predictors of classifiers' test accuracy: learnt from one zoo, tested on others.

    train (Zoo), tests {name: Zoo}  --a method-->  a record for each test

A method is an encoder with a head, or a computation without gradients; both learn on a "train"
split, select on "validation" and are tested on the "test" splits of any zoos. Kendall's tau is
reported, so the checkpoint with the highest one is selected. A record of a test zoo that a method
does not support has the reason.

Methods here are sized for a CPU; those of the papers are in `published_predictors`.
"""

import argparse
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from experiments.lib import cli, records, runs, zoo_loading
from experiments.lib.baselines import METHODS as BASELINES
from experiments.lib.baselines import Tests
from experiments.lib.label_regression import predict
from experiments.lib.methods import Method, Preset
from experiments.lib.published_numbers import Paper
from experiments.lib.zoo_loading import LABEL, SIZES
from wsjax import metrics
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.tasks.reconstruction import Objective as AutoEncoding
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo

SELECT = "tau"  # the measure that selects checkpoints


class Direction(NamedTuple):
    """Where a method learns and where it is tested.

    Attributes:
        name: of the training zoo, for tables.
        train: the zoo, with "train" and "validation" splits.
        tests: name -> zoo with a "test" split.
        zoos: names of the preset's zoos that either is made of.
        adopt: whether arrays of kinds that training has none of are supported, see
            `InputScale.extend`.
    """

    name: str
    train: Zoo
    tests: Tests
    zoos: tuple[str, ...]
    adopt: bool = False


Directions = Callable[[Preset, Mapping[str, Zoo]], list[Direction]]


def accuracies(
    way: Direction, paper: Paper, method: Method, config: Mapping[str, Any], home: pathlib.Path
) -> list[runs.Facts]:
    """Work of `runs.Run`: a record for each test zoo, in their order; predictions.npz."""
    result = predict(method, config, home, way.train, way.tests, LABEL, way.adopt, SELECT)
    lines, saved = [], {}
    for name, zoo in way.tests.items():
        number = paper.get((config["row"], way.name, name), "–")
        facts = {**result.facts, "test_zoo": name, "paper": number}
        if name in result.predicted:
            test, truth = zoo.part("test", LABEL)
            predicted = result.predicted[name]
            scores = {f"test_{k}": v for k, v in metrics.evaluate(predicted, truth).items()}
            spans = metrics.bootstrap(predicted, truth, test.runs)
            scores |= {f"test_{k}_interval": list(v) for k, v in spans.items()}
            facts["metrics"] = {**facts["metrics"], **scores}
            kind = test.labels.get("kind", np.zeros(len(test)))
            saved[name] = np.stack([predicted, truth, kind])
        else:
            facts["refused"] = result.unsupported[name]
        if result.adopted.get(name):
            facts["adopted"] = result.adopted[name]
        lines.append(facts)
    home.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(home / "predictions.npz", **saved)
    return lines


def predictions(folder: pathlib.Path, record: Mapping) -> dict[str, np.ndarray]:
    """The test networks of a record: "predicted", "true" and "kind" of each, [network]."""
    with np.load(runs.place(folder, record["config"]) / "predictions.npz") as saved:
        return dict(zip(("predicted", "true", "kind"), saved[record["test_zoo"]], strict=True))


PLAIN, PERMUTED = Objective(loss="bce", permute=False), Objective(loss="bce")
QUICK = Settings(
    steps=300, batch=16, learning_rate=1e-3, warmup=20, weight_decay=0.01,
    evaluate_every=50, checkpoint_every=100,
)  # fmt: skip
PIECES = dataclasses.replace(QUICK, microbatch=4)  # stays in the cache of a CPU
GRAPH = {"width": 32, "layers": 2, "aggregate": "mean"}
PNA = {"backbone": "pna", "width": 32, "edge_width": 32, "head": (32, 32)}
SNE = {
    **{"chunk": 64, "chunk_depth": 1, "depth": 1, "width": 32, "heads": 4, "code": 64},
    **{"output": False, "types": "learned", "scale": 0.3, "learned_scale": True},
}
SCALEGMN = {"layers": 2, "width": 24, "backward": "none"}
NFN_NP, NFN_HNP = ({**NFN[f"generalisation_{k}"], "code": 64} for k in ("np", "hnp"))
HEAD = (512, 512)

# Sizes for a CPU. Probing runs networks on inputs of one shape, and INR2Vec reads hidden layers of
# one width: these are for fields, and left out. All predict a share by binary cross-entropy, as
# NFN, SNE and GMN do; methods that are not invariant to permutations are trained on permuted
# copies. `gmn_product` has messages with products of neurons and weights, which the paper's have
# not.
METHODS: Mapping[str, Method] = {name: Method(compute=f) for name, f in BASELINES.items()} | {
    "neural_graph": Method("neural_graph", PNA, HEAD, PLAIN, PIECES),
    "gmn": Method("gmn", GRAPH, HEAD, PLAIN, PIECES),
    "gmn_product": Method("gmn", {**GRAPH, "product": True}, HEAD, PLAIN, PIECES),
    "scalegmn": Method("scalegmn", SCALEGMN, HEAD, PLAIN, PIECES),
    "nfn_np": Method("nfn", NFN_NP, HEAD, PLAIN, QUICK),
    "nfn_hnp": Method("nfn", NFN_HNP, HEAD, PLAIN, QUICK),
    "unf": Method("unf", {}, HEAD, PLAIN, QUICK),
    "dwsnet": Method("dwsnet", {"width": 16, "layers": 3}, HEAD, PLAIN, PIECES),
    "nft": Method("nft", {"frequencies": 8, "blocks": 1}, HEAD, PLAIN, PIECES),
    "stat_nn": Method("stat_nn", {}, HEAD, PLAIN, QUICK),
    "deepsets": Method("deepsets", {}, HEAD, PLAIN, PIECES),
    "dmc": Method("dmc", {}, HEAD, PERMUTED, PIECES),
    "hyperrep": Method("hyperrep", {}, HEAD, PERMUTED, QUICK),
    "hyperrep_pretrained": Method(
        "hyperrep", {}, (), AutoEncoding(), QUICK, words="trained without labels, linear probe"
    ),
    "transformer": Method("transformer", {}, HEAD, PERMUTED, QUICK),
    "mlp": Method("mlp", {}, HEAD, PERMUTED, QUICK),
    "sne_small": Method("sne", SNE, HEAD, Objective("bce", invariance=0.1, share=0.25), PIECES),
}
# attends over all pairs of neurons: for the smallest networks
GRIT = Method("grit", {"width": 32, "layers": 2, "heads": 4}, HEAD, PLAIN, PIECES)
SIMPLE = {name: METHODS[name] for name in BASELINES}


def shorter(method: Method, steps: int, batch: int = 4) -> Method:
    """The method trained for a few steps of small batches, with an evaluation at their end."""
    every = dict.fromkeys(("evaluate_every", "checkpoint_every"), max(steps // 4, min(steps, 6)))
    return method.train(steps, batch=batch, warmup=max(1, steps // 10), microbatch=0, **every)


def paper(zoos: Mapping[str, Any], methods: Mapping[str, Method], **more: Any) -> Preset:
    """A preset of a paper's methods on zoos of its sizes; `more` are fields of it."""
    sizes = SIZES | {"train": 0.4, "test": 0.5}
    fields = {"zoos": zoos, "sizes": sizes, "seeds": 3, **more}
    return Preset(SIMPLE | methods, "days, for a GPU; resumable method by method", **fields)


def planned(
    options: argparse.Namespace,
    preset: Preset,
    chosen: Mapping[str, Method],
    direction: str,
    networks: int,
) -> dict[str, Method]:
    """The chosen methods as a direction has them, with the steps of their epochs.

    Args:
        options: the command line, with changes of settings.
        preset: whose.
        chosen: as from `cli.choose`.
        direction: its name.
        networks: it learns from.
    """
    given, here = cli.changes(options.set), dict(chosen)
    if preset.directions:
        own = preset.directions.get(direction, {})
        others = {k: m for k, m in chosen.items() if k not in preset.methods}  # `--encoder`
        here = {k: own[k].override(given) for k in chosen if k in own} | others
    return {k: m.over(networks).override(given) for k, m in here.items()}


def h100(zoos: Mapping[str, Any], methods: Mapping[str, Method] = METHODS, **more: Any) -> Preset:
    """A preset for one H100: a data set's zoo and the default methods in eight minutes.

    By estimate: 3,000 small CNNs take two minutes and a half, and a step of 128 of them 17 ms
    with ScaleGMN, the slowest but SNE. `more` are fields of the preset.
    """
    large = {"batch": 128, "warmup": 100, "microbatch": 0}
    train = lambda method: method.train(3000, **large) if method.encoder else method
    trained = {name: train(method) for name, method in methods.items()}
    cost = "eight minutes of an H100 for each data set, zoos included, by estimate"
    return Preset(trained, **{"cost": cost, "zoos": zoos, "sizes": SIZES, **more})


def main(
    name: str,
    about: str,
    presets: Mapping[str, Preset],
    directions: Directions,
    arguments: Sequence[str] | None = None,
    paper: Paper | None = None,
    pictures: Callable | None = None,
) -> list[dict]:
    """The command line of an experiment on zoos of classifiers; returns the records of its runs.

    Args:
        name: of the experiment.
        about: its description.
        presets: by name.
        directions: of a preset and its zoos.
        arguments: the command line's.
        paper: published numbers.
        pictures: draws them: preset, zoos, records, folder of all runs, and the folder for
            pictures -> those to be published beside the records, by name.
    """
    parser = cli.parser(name, about, presets, own=True)
    zoo_loading.flags(parser)
    options = cli.prepare(parser.parse_args(arguments))
    preset = presets[options.preset]
    methods = cli.choose(options, preset)
    zoos, described = zoo_loading.open_zoos(options, preset)
    plan = []
    for way in directions(preset, zoos):
        facts = {
            "train_zoo": way.name,
            "zoos": {k: described[k] for k in sorted(way.zoos)},
            "sizes": {"train": len(way.train.splits["train"])},
            "label": LABEL,
            "select": SELECT,
        }
        here = planned(options, preset, methods, way.name, facts["sizes"]["train"])
        work = functools.partial(accuracies, way, paper or {})
        plan += runs.plan(options, preset, here, work, **facts)
    finished = runs.execute(plan, options, table, "test_tau")
    if pictures:
        drawn = pictures(preset, zoos, finished, options.folder, cli.home(options))
        if set(methods) == set(preset.methods):  # some alone would replace the picture of all
            records.publish_pictures(name, cli.preset_name(options), drawn, options.results)
    return finished


def table(finished: Sequence[Mapping]) -> Table:
    """Kendall's tau: a line for each method, a column for each direction."""
    ways = list(dict.fromkeys((r["train_zoo"], r["test_zoo"]) for r in finished))
    out = Table("method", *(f"{a} to {b}" for a, b in ways), title="Kendall's tau")
    for name in dict.fromkeys(r["row"] for r in finished):
        cells = []
        for way in ways:
            group = [
                r for r in finished if (r["row"], r["train_zoo"], r["test_zoo"]) == (name, *way)
            ]
            taus = [r["metrics"]["test_tau"] for r in group if "test_tau" in r["metrics"]]
            spread = f"{np.mean(taus):.3f}" if taus else "not supported" if group else ""
            cells.append(spread + (f" ± {np.std(taus, ddof=1):.3f}" if len(taus) > 1 else ""))
        out.add_row(name, *cells)
    return out

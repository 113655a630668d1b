"""Judges of classifiers: trained on one set of networks, tested on others.

    train [Zoo], tests {name: Zoo}  --a row-->  a record for each test

What the experiments on zoos of classifiers share. A row is an encoder with a head, or a
method that needs no gradient; both learn on a "train" split, select on "validation" and are
tested on the "test" splits of any zoos. Who cannot read a test zoo is recorded as such.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.lib import cli, records, zoo_loading
from experiments.lib.baselines import METHODS, Tests
from experiments.lib.cli import Row
from experiments.lib.zoo_loading import LABEL, Preset
from wsjax import metrics
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.tasks import reading, regression
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo


class Direction(NamedTuple):
    """Where a row learns and where it is tested.

    Attributes:
        name: of what it learns from, for tables.
        train: the zoo that it learns from, with "train" and "validation" splits.
        tests: name -> zoo with a "test" split.
        zoos: names of the preset's zoos that either is made of.
        adopt: whether arrays of kinds that training has none of are read, see `reading.adopt`.
    """

    name: str
    train: Zoo
    tests: Mapping[str, Zoo]
    zoos: tuple[str, ...]
    adopt: bool = False


Directions = Callable[[Preset, Mapping[str, Zoo]], list[Direction]]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a row made of the test zoos.

    Attributes:
        predicted: test zoo -> predictions of its "test" split, of those that it reads.
        refused: test zoo -> why it cannot be read.
        facts: "parameters", "seconds", "steps" and, of trained rows, "metrics", "curve".
        model: of trained rows.
        adopted: test zoo -> the kinds of its arrays that training had none of, see
            `reading.adopt`.
    """

    predicted: Mapping[str, np.ndarray]
    refused: Mapping[str, str]
    facts: Mapping[str, object]
    model: regression.Model | None = None
    adopted: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)


def judge(
    row: Row,
    config: Mapping,
    train: Zoo,
    tests: Tests,
    label: str,
    home: pathlib.Path,
    adopt: bool = False,
) -> Judgement:
    """Trains a row, if there is a test zoo that it can read, and asks it about those."""
    begin = time.monotonic()
    if row.method:
        answers = row.method(train, tests, label, config["seed"])
        refused = {k: v for k, v in answers.items() if isinstance(v, str)}
        predicted = {k: v for k, v in answers.items() if k not in refused}
        facts = {"parameters": 0, "steps": 0, "seconds": round(time.monotonic() - begin, 1)}
        return Judgement(predicted, refused, facts)
    refused = refusals(config, train, tests, label, row.objective.loss, adopt)
    if set(refused) == set(tests):
        return Judgement({}, refused, {"parameters": 0, "steps": 0})
    model, result = regression.train(train, label, config, row.objective, row.training, home)
    predicted, adopted = {}, {}
    for name, zoo in tests.items():
        if name not in refused:
            asked, _ = zoo.part("test", label)
            able = model.adopt(asked.specs) if adopt else model
            adopted[name] = sorted(set(able.norm.scales) - set(model.norm.scales))
            predicted[name] = able.predict(asked)
    encoder, parameters = cli.size(model)
    facts = {
        "parameters": parameters,
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "metrics": {"val_mse": result.best_value, "encoder_parameters": encoder},
        "curve": cli.curve(home),
    }
    return Judgement(predicted, refused, facts, model, adopted)


def refusals(
    config: Mapping, train: Zoo, tests: Tests, label: str, loss: str, adopt: bool = False
) -> dict[str, str]:
    """Test zoo -> why an encoder that learns from `train` cannot read it; without any training."""
    module, found = regression.build(config), {}
    try:
        reading.views(module.encoder, train.specs)
    except ValueError as error:
        return dict.fromkeys(tests, str(error))
    scales = regression.normalisation(train, label, loss).scales
    for name, zoo in tests.items():
        asked, _ = zoo.part("test", label)
        known = reading.adopt(scales, asked.specs) if adopt else scales
        reader = reading.Reader(module, {}, known, train.specs[0])
        try:
            reader.expect_readable([asked.specs[s] for s in np.unique(asked.which)])
        except ValueError as error:
            found[name] = str(error)
    return found


def run(
    row: Row,
    about: Mapping,
    folder: pathlib.Path,
    train: Zoo,
    tests: Tests,
    label: str = LABEL,
    paper: Mapping[tuple[str, str, str], str] | None = None,
    adopt: bool = False,
) -> list[dict]:
    """Runs one row with one seed, or finds it finished; returns a record for each test zoo.

    Args:
        row: what is run.
        about: what else determines the run: "experiment", "preset", "row", "seed",
            "train_zoo" (its name), "zoos" (what they are).
        folder: of all runs.
        train: the zoo to learn from, with "train" and "validation" splits.
        tests: name -> zoo with a "test" split.
        label: what is predicted.
        paper: (row, training zoo, test zoo) -> the paper's number.
        adopt: as of `Direction`.
    """
    words = f"{about['row']} on {about['train_zoo']}, seed {about['seed']}"
    row = row.seeded(about["seed"])
    config = {**row.config(), **about, "label": label}
    home = cli.place(folder, config)
    if done := cli.finished(home):
        print(f"{words}: finished before, in {home}")
        return done["records"]
    print(f"{words}: {home}", flush=True)
    found = judge(row, config, train, tests, label, home, adopt)
    lines, told = [], {}
    for name, zoo in tests.items():
        facts, scores = dict(found.facts), dict(found.facts.get("metrics", {}))
        if name in found.predicted:
            held, truth = zoo.part("test", label)
            scores |= {
                f"test_{k}": v for k, v in metrics.evaluate(found.predicted[name], truth).items()
            }
            spans = metrics.bootstrap(found.predicted[name], truth, held.runs)
            scores |= {f"test_{k}_interval": list(v) for k, v in spans.items()}
            told[name] = {
                "predicted": found.predicted[name].tolist(),
                "true": truth.tolist(),
                "kind": held.labels.get("kind", np.zeros(len(held))).tolist(),
            }
        else:
            facts["refused"] = found.refused[name]
        if found.adopted.get(name):
            facts["adopted"] = found.adopted[name]
        keys = ("experiment", "row", "preset", "seed", "train_zoo")
        lines.append(
            records.append(
                {
                    "seconds": 0.0,
                    **facts,
                    **{k: about[k] for k in keys},
                    "test_zoo": name,
                    "metrics": scores,
                    "words": row.words,
                    "paper": (paper or {}).get((about["row"], about["train_zoo"], name), "–"),
                    "config": config,
                }
            )
        )
        if name in found.predicted:
            print(f"{words}, tested on {name}: tau {scores['test_tau']:.3f}", flush=True)
        else:
            print(f"{words}: cannot read {name}: {facts['refused']}", flush=True)
    cli.finish(home, {"records": lines, "predictions": told})
    return lines


def predictions(folder: pathlib.Path, record: Mapping) -> dict[str, np.ndarray]:
    """What a run on record said of its test networks: "predicted", "true", "kind" of each."""
    told = cli.finished(cli.place(folder, record["config"]))["predictions"]
    return {k: np.array(v) for k, v in told[record["test_zoo"]].items()}


def rows() -> dict[str, Row]:
    """Encoders as judges of classifiers, and what needs no encoder; sizes for a CPU.

    GRIT attends over all pairs of neurons, Probing runs networks on inputs of one shape, and
    INR2Vec reads hidden layers of one width: these are for fields, and left out.

    All predict a share by binary cross-entropy, as NFN, SNE and GMN do. Those that see the
    numbering of neurons are trained on renumbered copies.
    """
    plain = Objective(loss="bce", permute=False)
    often = {"evaluate_every": 50, "checkpoint_every": 100}
    quick = Settings(steps=300, batch=16, learning_rate=1e-3, warmup=20, weight_decay=0.01, **often)
    sne = {"chunk": 64, "chunk_depth": 1, "depth": 1, "width": 32, "heads": 4, "code": 64}
    graph = {"width": 32, "layers": 2, "aggregate": "mean", "product": True}
    pna = {"backbone": "pna", "width": 32, "edge_width": 32, "head": (32, 32)}
    free = {
        "neural_graph": Row("neural_graph", settings=pna),
        "gmn": Row("gmn", settings=graph),
        "scalegmn": Row("scalegmn", settings={"layers": 2, "width": 24, "backward": "none"}),
        "nfn_np": Row("nfn", settings={**NFN["generalisation_np"], "code": 64}),
        "nfn_hnp": Row("nfn", settings={**NFN["generalisation_hnp"], "code": 64}),
        "unf": Row("unf"),
        "dwsnet": Row("dwsnet", settings={"width": 16, "layers": 3}),
        "nft": Row("nft", settings={"frequencies": 8, "blocks": 1}),
        "stat_nn": Row("stat_nn"),
        "deepsets": Row("deepsets"),
    }
    seeing = {name: Row(name) for name in ("dmc", "hyperrep", "transformer", "mlp")}
    every = {k: dataclasses.replace(r, objective=plain) for k, r in free.items()}
    every |= {k: dataclasses.replace(r, objective=Objective(loss="bce")) for k, r in seeing.items()}
    every["sne"] = Row("sne", settings=sne, objective=Objective("bce", invariance=0.1, share=0.25))
    every = {k: dataclasses.replace(r, training=quick) for k, r in every.items()}
    small = dataclasses.replace(quick, microbatch=4)  # stays in the cache of a CPU
    for name in ("sne", "gmn", "neural_graph", "scalegmn", "deepsets", "dwsnet", "nft", "dmc"):
        every[name] = dataclasses.replace(every[name], training=small)
    return {name: Row(None, method=method) for name, method in METHODS.items()} | every


def shorter(row: Row, steps: int, batch: int = 4) -> Row:
    """The row trained for a few steps of small batches, with a look at their end."""
    often = max(steps // 4, min(steps, 6))
    few = {"steps": steps, "batch": batch, "warmup": max(1, steps // 10), "microbatch": 0}
    looks = {"evaluate_every": often, "checkpoint_every": often}
    return dataclasses.replace(row, training=dataclasses.replace(row.training, **few, **looks))


def longer(row: Row, steps: int) -> Row:
    """The row trained for many steps of large batches: for GPUs."""
    many = {"steps": steps, "batch": 64, "warmup": 500, "microbatch": 0}
    often = {"evaluate_every": steps // 40, "checkpoint_every": steps // 10}
    return dataclasses.replace(row, training=dataclasses.replace(row.training, **many, **often))


def main(
    name: str,
    about: str,
    presets: Mapping[str, Preset],
    directions: Directions,
    arguments: Sequence[str] | None = None,
    paper: Mapping[tuple[str, str, str], str] | None = None,
    pictures: Callable | None = None,
) -> list[dict]:
    """The command line of an experiment on zoos; returns the records of its runs.

    Args:
        name: of the experiment.
        about: its description.
        presets: by name.
        directions: of a preset and its zoos.
        arguments: the command line's.
        paper: (row, training zoo, test zoo) -> the paper's number.
        pictures: draws them: preset, zoos, records, folder of all runs, and where they should
            lie -> those to be shown beside the records, by name.
    """
    parser = cli.parser(name, about, presets)
    zoo_loading.flags(parser)
    options = cli.prepare(parser.parse_args(arguments))
    preset = presets[options.preset]
    chosen = cli.select(options.rows, preset.rows, preset.rows)
    rows = cli.apply({k: preset.rows[k] for k in chosen}, cli.changes(options))
    begin = time.monotonic()
    zoos, described = zoo_loading.open_zoos(options, preset)
    found = []
    for way in directions(preset, zoos):
        about_run = {
            "experiment": name,
            "preset": cli.preset_name(options),
            "train_zoo": way.name,
            "zoos": {k: described[k] for k in sorted(way.zoos)},
            "sizes": {"train": len(way.train.splits["train"])},
        }
        for row_name, row in rows.items():
            for seed in range(max(options.seeds, 0) or preset.seeds):
                run_about = {**about_run, "row": row_name, "seed": seed}
                found += run(
                    row, run_about, options.folder, way.train, way.tests, LABEL, paper, way.adopt
                )
    report(found)
    if pictures:
        home = options.folder / name / cli.preset_name(options)
        shown = pictures(preset, zoos, found, options.folder, home)
        if set(rows) == set(preset.rows):  # some rows alone would replace the picture of all
            records.show(name, cli.preset_name(options), shown)
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes")
    return found


def report(runs: Sequence[Mapping]) -> None:
    """Prints Kendall's tau, a line for each row, a column for each direction."""
    from rich.console import Console
    from rich.table import Table

    ways = list(dict.fromkeys((r["train_zoo"], r["test_zoo"]) for r in runs))
    table = Table("row", *(f"{a} to {b}" for a, b in ways), title="Kendall's tau")
    for name in dict.fromkeys(r["row"] for r in runs):
        cells = []
        for way in ways:
            mine = [r for r in runs if (r["row"], r["train_zoo"], r["test_zoo"]) == (name, *way)]
            known = [r["metrics"]["test_tau"] for r in mine if "test_tau" in r["metrics"]]
            cells.append(records.spread(known) if known else "cannot read")
        table.add_row(name, *cells)
    Console(width=40 + 22 * len(ways)).print(table)

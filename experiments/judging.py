"""Judges of classifiers: trained on one set of networks, tested on others.

    train [Mixture], tests {name: Mixture}  --a row-->  a record for each test

What the experiments on zoos of classifiers share. A row is an encoder with a head, or a
method that needs no gradient; both learn on a "train" split, select on "validation" and are
tested on the "test" splits of any zoos. Who cannot read a test zoo is recorded as such.
"""

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments import commands, records
from experiments.baselines import METHODS, Tests
from experiments.commands import Row
from wsjax import metrics, prediction, reading
from wsjax.encoders.nfn import SETTINGS as NFN
from wsjax.prediction import Objective
from wsjax.training import Settings
from wsjax.zoos import classifiers, factory, images, mixture, packing
from wsjax.zoos.classifiers import Recipe
from wsjax.zoos.mixture import Mixture

LABEL = "test_accuracy"
ZOOS = pathlib.Path(__file__).parent / "zoos"  # packed ones, see `wsjax.zoos.packing`


@dataclasses.dataclass(frozen=True)
class Preset:
    """How large an experiment on classifiers is.

    Attributes:
        zoos: name -> recipe.
        sizes: share of the training runs in each split.
        seeds: how many runs a row has.
        rows: all there are, by name.
        cost: in words.
    """

    zoos: Mapping[str, Recipe]
    sizes: Mapping[str, float]
    seeds: int
    rows: Mapping[str, Row]
    cost: str


class Direction(NamedTuple):
    """Where a row learns and where it is tested.

    Attributes:
        name: of what it learns from, for tables.
        train: names of the zoos it learns from, together.
        tests: names of the zoos it is tested on.
    """

    name: str
    train: tuple[str, ...]
    tests: tuple[str, ...]


def load(name: str, preset: Preset, folder: pathlib.Path, images_: pathlib.Path | None) -> Mixture:
    """A preset's zoo, each network as its training left it, dealt into splits.

    It is the packed one of the repository, in half precision, where that has the preset's very
    recipe; else it is made, block by block, and kept below the folder of all runs. Records
    hold `content` of what was taken.

    Args:
        name: of one of the preset's zoos.
        preset: whose.
        folder: of all runs.
        images_: a folder with the original images; tensorflow-datasets' if None.
    """
    recipe = preset.zoos[name]
    path = ZOOS / f"{recipe.family}.{recipe.data}"
    zoo = None
    if path.with_name(path.name + ".json").exists():
        packed, manifest = packing.unpack(path)
        if classifiers.from_json(manifest["facts"]["recipe"]) == recipe:
            zoo = packed
    if zoo is None:
        data = images.load(recipe.data, images_, folder / "cache" / "images")
        zoo, _ = factory.make(recipe, data, folder / "cache" / "zoos")
    zoo = zoo.select(zoo.labels["epoch"] == zoo.labels["epochs"])
    count = len(np.unique(zoo.runs))
    sizes = {k: int(share * count) for k, share in preset.sizes.items()}
    return mixture.split(zoo, sizes, recipe.seed)


def content(zoo: Mixture) -> str:
    """Sixteen letters that tell one set of networks and labels from another."""
    arrays = [zoo.vectors, zoo.which, zoo.runs, *(zoo.labels[k] for k in sorted(zoo.labels))]
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a row made of the test zoos.

    Attributes:
        predicted: test zoo -> predictions of its "test" split, of those that it reads.
        refused: test zoo -> why it cannot be read.
        facts: "parameters", "seconds", "steps" and, of trained rows, "metrics", "curve".
        model: of trained rows.
    """

    predicted: Mapping[str, np.ndarray]
    refused: Mapping[str, str]
    facts: Mapping[str, object]
    model: prediction.Model | None = None


def judge(
    row: Row, config: Mapping, train: Mixture, tests: Tests, label: str, home: pathlib.Path
) -> Judgement:
    """Trains a row and asks it about every test zoo.

    Raises:
        ValueError: it cannot read the training zoo.
    """
    begin = time.monotonic()
    if row.method:
        answers = row.method(train, tests, label, config["seed"])
        refused = {k: v for k, v in answers.items() if isinstance(v, str)}
        predicted = {k: v for k, v in answers.items() if k not in refused}
        facts = {"parameters": 0, "steps": 0, "seconds": round(time.monotonic() - begin, 1)}
        return Judgement(predicted, refused, facts)
    model, result = prediction.train(train, label, config, row.objective, row.training, home)
    predicted, refused = {}, {}
    for name, zoo in tests.items():
        asked, _ = zoo.part("test", label)
        try:
            model.reader.expect_readable([asked.specs[s] for s in np.unique(asked.which)])
        except ValueError as error:
            refused[name] = str(error)
            continue
        predicted[name] = model.predict(asked)
    encoder, parameters = commands.size(model)
    facts = {
        "parameters": parameters,
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "metrics": {"val_mse": result.best_value, "encoder_parameters": encoder},
        "curve": commands.curve(home),
    }
    return Judgement(predicted, refused, facts, model)


def unreadable(row: Row, specs: Sequence) -> str:
    """Why a row's encoder cannot read these architectures together; "" if it can."""
    if row.encoder is None:
        return ""
    try:
        reading.views(reading.build_encoder(row.config()), specs)
    except ValueError as error:
        return str(error)
    return ""


def run(
    row: Row,
    about: Mapping,
    folder: pathlib.Path,
    train: Mixture,
    tests: Tests,
    label: str = LABEL,
    paper: Mapping[tuple[str, str, str], str] | None = None,
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
    """
    words = f"{about['row']} on {about['train_zoo']}, seed {about['seed']}"
    if row.encoder:
        settings = dataclasses.replace(row.training, seed=about["seed"])
        row = dataclasses.replace(row, training=settings)
    config = {**row.config(), **about, "label": label}
    home = commands.place(folder, config)
    if done := commands.finished(home):
        print(f"{words}: finished before, in {home}")
        return done["records"]
    print(f"{words}: {home}", flush=True)
    reason = unreadable(row, train.specs)
    if reason:
        found = Judgement({}, dict.fromkeys(tests, reason), {"parameters": 0, "steps": 0})
    else:
        found = judge(row, config, train, tests, label, home)
    lines = []
    for name, zoo in tests.items():
        facts, scores = dict(found.facts), dict(found.facts.get("metrics", {}))
        if name in found.predicted:
            held, truth = zoo.part("test", label)
            scores |= {
                f"test_{k}": v for k, v in metrics.evaluate(found.predicted[name], truth).items()
            }
            spans = metrics.bootstrap(found.predicted[name], truth, held.runs)
            scores |= {f"test_{k}_interval": list(v) for k, v in spans.items()}
        else:
            facts["refused"] = found.refused[name]
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
    commands.finish(home, {"records": lines})
    return lines


def expect_one_language(recipes: Mapping[str, Recipe]) -> None:
    """Checks that a label such as "optimizer" means the same in all zoos.

    Raises:
        ValueError: recipes have other lists of words.
    """
    for field in classifiers.WORDS.values():
        lists = {name: getattr(recipe, field) for name, recipe in recipes.items()}
        if len(set(lists.values())) > 1:
            raise ValueError(f"expected zoos of recipes with one list of {field}, got {lists}")


def expect_splits(zoos: Mapping[str, Mixture]) -> None:
    """Checks that there are networks in all splits; that no run is in two, a mixture sees to.

    Raises:
        ValueError: a split is absent or empty.
    """
    for name, zoo in zoos.items():
        for split in ("train", "validation", "test"):
            if not len(zoo.splits.get(split, ())):
                raise ValueError(f"zoo {name!r}: expected networks in split {split!r}, got none")


def rows() -> dict[str, Row]:
    """Encoders as judges of classifiers, and what needs no encoder; sizes for a CPU.

    GRIT attends over all pairs of neurons, Probing runs networks on inputs of one shape, and
    INR2Vec reads hidden layers of one width: these are for fields, and left out.

    All predict a share by binary cross-entropy, as NFN, SNE and GMN do. Those that see the
    numbering of neurons are trained on renumbered copies.
    """
    plain = Objective(loss="bce", renumber=False)
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
    return {name: Row(None, method=method) for name, method in METHODS.items()} | every


def tiny(recipe: Recipe, seed: int = 0) -> Recipe:
    """The recipe of twenty networks, hardly trained: for smoke tests."""
    few = {"train_images": 320, "test_images": 100, "measured_images": 100}
    return dataclasses.replace(recipe, networks=20, epochs=("choice", 1, 2), seed=seed, **few)


def shorter(row: Row, steps: int) -> Row:
    """The row trained for a few steps, with a look at their end: for smoke tests."""
    few = {"steps": steps, "warmup": 1, "evaluate_every": steps, "checkpoint_every": steps}
    return dataclasses.replace(row, training=dataclasses.replace(row.training, batch=4, **few))


def longer(row: Row, steps: int) -> Row:
    """The row trained for many steps of large batches: for GPUs."""
    many = {"steps": steps, "batch": 64, "warmup": 500, "microbatch": 0}
    often = {"evaluate_every": steps // 40, "checkpoint_every": steps // 10}
    return dataclasses.replace(row, training=dataclasses.replace(row.training, **many, **often))


def main(
    name: str,
    about: str,
    presets: Mapping[str, Preset],
    directions: Callable[[Preset], list[Direction]],
    arguments: Sequence[str] | None = None,
    paper: Mapping[tuple[str, str, str], str] | None = None,
) -> list[dict]:
    """The command line of an experiment on zoos; returns the records of its runs.

    Args:
        name: of the experiment.
        about: its description.
        presets: by name.
        directions: of a preset.
        arguments: the command line's.
        paper: (row, training zoo, test zoo) -> the paper's number.
    """
    parser = commands.parser(name, about, presets)
    parser.add_argument("--images", type=pathlib.Path, help="a folder with the original images")
    options = commands.prepare(parser.parse_args(arguments))
    preset = presets[options.preset]
    chosen = commands.select(options.rows, preset.rows, preset.rows)
    rows = commands.apply({k: preset.rows[k] for k in chosen}, commands.changes(options))
    begin = time.monotonic()
    expect_one_language(preset.zoos)
    zoos = {k: load(k, preset, options.folder, options.images) for k in preset.zoos}
    expect_splits(zoos)
    described = {k: dataclasses.asdict(r) | {"content": content(zoos[k])}
                 for k, r in preset.zoos.items()}  # fmt: skip
    for k, zoo in zoos.items():
        accuracy = zoo.labels[LABEL]
        print(f"{k}: {len(zoo)} networks, test accuracy {accuracy.min():.2f}..{accuracy.max():.2f}")
    found = []
    for direction in directions(preset):
        train = mixture.join([zoos[k] for k in direction.train])
        tests = {k: zoos[k] for k in direction.tests}
        asked = {*direction.train, *direction.tests}
        about_run = {
            "experiment": name,
            "preset": commands.preset_name(options),
            "train_zoo": direction.name,
            "zoos": {k: described[k] for k in sorted(asked)},
            "sizes": {"train": len(train.splits["train"])},
        }
        for row_name, row in rows.items():
            for seed in range(max(options.seeds, 0) or preset.seeds):
                run_about = {**about_run, "row": row_name, "seed": seed}
                found += run(row, run_about, options.folder, train, tests, paper=paper)
    report(found)
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

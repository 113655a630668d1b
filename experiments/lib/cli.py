"""What the experiments share: flags made from dataclasses, and rows that are run once.

    --training.steps 100  --objective.invariance 0.1  --encoder.chunk 8

Each field of `training.Settings`, of the experiment's objective and of every encoder is a
flag; an unknown one, or one that no selected row has, is an error.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np

from experiments.lib import plots, records
from wsjax import encoders, metrics, training
from wsjax.encoders import ENCODERS, stat_nn
from wsjax.tasks import contrastive, regression
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo, split
from wsjax.zoos.sines import sine
from wsjax.zoos.store import Manifest

ROOTS = ("training", "objective", "encoder")
RECORDED = {"permute": "renumber", "phase": "turn"}  # fields -> their keys in records
Objectives = object  # a frozen dataclass, such as `regression.Objective`
Work = Callable[["Row", Mapping, pathlib.Path], dict]  # row, config, folder -> what it gave


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: an encoder with its head, and how they are trained.

    Attributes:
        encoder: a key of `ENCODERS`; None for a row that has a `method` instead.
        settings: of the encoder, where they differ from its defaults.
        head: widths of the head's layers: those that are hidden in a regressor, all of a
            projection.
        objective: what is minimised.
        training: how.
        words: what sets the row apart, for tables.
        paper: the paper's number, for tables.
        method: what is there in place of training; what it takes is the experiment's: mostly
            (zoo, seed) -> predictions for the test split. See `baselines.Method` for judges.
    """

    encoder: str | None
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    head: tuple[int, ...] = (512, 512)
    objective: Objectives = Objective()
    training: Settings = Settings()
    words: str = ""
    paper: str = "–"
    method: Callable | None = None

    def override(self, changes: Mapping[str, object]) -> "Row":
        """The row with "part.field" settings replaced, where it has them.

        Those of encoders are text: a name can stand for a number in one, for a word in another.
        """
        if self.encoder is None:
            return self
        new = {"training": {}, "objective": {}, "encoder": {}}
        for flag, value in changes.items():
            part, field = flag.split(".")
            new[part][field] = value
        known = _settings(self.encoder)
        mine = {k: _read(k, v, known[k]) for k, v in new["encoder"].items() if k in known}
        return dataclasses.replace(
            self,
            settings={**self.settings, **mine},
            objective=dataclasses.replace(self.objective, **new["objective"]),
            training=dataclasses.replace(self.training, **new["training"]),
        )

    def seeded(self, seed: int) -> "Row":
        """The row with the seed of its training, if it is trained."""
        if self.encoder is None:
            return self
        return dataclasses.replace(self, training=dataclasses.replace(self.training, seed=seed))

    def config(self) -> dict:
        """As JSON, with the encoder's defaults written out."""
        if self.encoder is None:
            return {}
        settings = _settings(self.encoder)
        if strange := sorted(set(self.settings) - set(settings)):
            raise ValueError(f"{self.encoder} has the settings {sorted(settings)}, got {strange}")
        return {
            "encoder": self.encoder,
            "encoder_settings": {**settings, **self.settings},
            "head": list(self.head),
            "objective": {RECORDED.get(k, k): v for k, v in vars(self.objective).items()},
            "training": dataclasses.asdict(self.training),
        }


@dataclasses.dataclass(frozen=True)
class Preset:
    """How large the experiment is.

    Attributes:
        recipe: of the zoo.
        sizes: networks in the splits; the recipe's other networks are spare.
        seeds: how many runs a row has.
        rows: all there are, by name.
        cost: in words.
    """

    recipe: sine.Recipe
    sizes: Mapping[str, int]
    seeds: int
    rows: Mapping[str, Row]
    cost: str


def _fields(objective: type) -> dict[str, object]:
    """Every flag and its default; of encoders, text."""
    found = {f"training.{f.name}": f.default for f in dataclasses.fields(Settings)}
    del found["training.seed"]  # --seeds says how many
    found |= {f"objective.{f.name}": f.default for f in dataclasses.fields(objective)}
    for encoder in ENCODERS:
        found |= {f"encoder.{k}": "" for k in _settings(encoder)}
    return found


def _settings(encoder: str) -> dict[str, object]:
    """An encoder's settings and their defaults."""
    fields = dataclasses.fields(ENCODERS[encoder])
    return {f.name: f.default for f in fields if f.name not in ("parent", "name")}


def _read(name, text, default):
    """An encoder's setting from its text.

    Raises:
        ValueError: it is not of the type of the default.
    """
    try:
        return _reader(default)(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise ValueError(
            f"--encoder.{name}: expected something like {default!r}, got {text!r} ({error})"
        ) from None


def _reader(default):
    """Reads a flag's text as the type of its default."""
    if isinstance(default, bool):
        words = {"true": True, "false": False}

        def boolean(text):
            if text not in words:
                raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
            return words[text]

        return boolean
    if isinstance(default, tuple):
        number_or_word = lambda text: int(text) if text.isdecimal() else text
        kind = type(default[0]) if default else number_or_word
        if kind is tuple:  # 8;16;32,64
            row = _reader(default[0])
            return lambda text: tuple(row(x) for x in text.split(";"))
        return lambda text: tuple(kind(x) for x in text.split(","))
    return type(default)


def parser(
    name: str, about: str, presets: Iterable[str], objective: type = Objective
) -> argparse.ArgumentParser:
    """A command line with the flags every experiment has, and those of its objective."""
    shape = argparse.RawDescriptionHelpFormatter
    out = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=shape,
        allow_abbrev=False,
    )
    out.add_argument("--preset", choices=list(presets), default="laptop")
    out.add_argument("--rows", default="", help="comma-separated; all for every row there is")
    out.add_argument("--seeds", type=int, default=0, help="how many; the preset's if 0 or less")
    folders(out)
    group = out.add_argument_group("settings of the selected rows")
    for flag, default in _fields(objective).items():
        group.add_argument(f"--{flag}", type=_reader(default), default=None, metavar="VALUE")
    return out


def parse(
    name: str, about: str, presets: Iterable[str], arguments: list[str] | None
) -> argparse.Namespace:
    """Reads an experiment's command line, and prepares what all of them need."""
    return prepare(parser(name, about, presets).parse_args(arguments))


def folders(out: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the flags of commands that write records."""
    out.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs"))
    out.add_argument("--results", type=pathlib.Path, help="folder of records; FOLDER/results")
    out.add_argument("--publish", action="store_true",
                     help="write records and pictures into experiments/results of this clone")  # fmt: skip
    return out


def prepare(options: argparse.Namespace) -> argparse.Namespace:
    """Settles where records go, and keeps compiled programs between runs.

    Raises:
        SystemExit: records are to be published from elsewhere than a clone, or into two folders.
    """
    options.folder = options.folder.resolve()
    if options.publish and options.results:
        raise SystemExit("expected --publish or --results, not both")
    if options.publish and not (records.ROOT / ".git").exists():
        raise SystemExit(f"--publish: expected a clone of the repository at {records.ROOT}")
    options.results = (
        records.PUBLISHED if options.publish else options.results or options.folder / "results"
    )
    training.compilation_cache(options.folder / "cache" / "xla")
    return options


def changes(options: argparse.Namespace) -> dict[str, object]:
    """The "part.field" settings given on the command line."""
    return {k: v for k, v in vars(options).items() if "." in k and v is not None}


def preset_name(options: argparse.Namespace) -> str:
    """What a record calls the preset: with settings changed or other zoos, it is another."""
    name = f"{options.preset}-custom" if changes(options) else options.preset
    return f"{name}-published" if getattr(options, "published", ()) else name


def select(names: str, default: Iterable[str], rows: Iterable[str]) -> list[str]:
    """The rows a `--rows` flag asks for.

    Raises:
        SystemExit: one of them does not exist.
    """
    rows = list(rows)
    chosen = list(default) if not names else rows if names == "all" else names.split(",")
    if strange := sorted(set(chosen) - set(rows)):
        raise SystemExit(f"expected rows of {rows}, got {strange}")
    return chosen


def apply(rows: Mapping[str, Row], given: Mapping[str, object]) -> dict[str, Row]:
    """The rows with the command line's settings.

    Raises:
        SystemExit: a setting fits none of the rows, or has a value that none accepts.
    """
    for flag in given:
        part, field = flag.split(".")
        if not any(
            row.encoder and (part != "encoder" or field in _settings(row.encoder))
            for row in rows.values()
        ):
            raise SystemExit(f"--{flag}: none of the rows {list(rows)} has this setting")
    try:
        new = {name: row.override(given) for name, row in rows.items()}
        for row in new.values():
            if row.encoder:
                encoders.build(row.encoder, row.config()["encoder_settings"])
        return new
    except ValueError as error:
        raise SystemExit(str(error)) from None


def fingerprint(config: Mapping) -> str:
    """Eight letters that tell one configuration from another."""
    text = json.dumps(config, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def finished(folder: pathlib.Path) -> dict | None:
    """The record of a run that was completed here before."""
    path = folder / "record.json"
    return json.loads(path.read_text()) if path.exists() else None


def finish(folder: pathlib.Path, record: Mapping) -> None:
    """Marks a run as completed; never half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "record.json.part"
    part.write_text(json.dumps(record, indent=1))
    os.replace(part, folder / "record.json")


def place(folder: pathlib.Path, config: Mapping) -> pathlib.Path:
    """Where the run of a configuration lives, below the folder of all runs."""
    name = f"{config['row']}-{config['seed']}-{fingerprint(config)}"
    return folder / config["experiment"] / config["preset"] / name


def make_zoo(
    recipe: sine.Recipe, sizes: Mapping[str, int], folder: pathlib.Path
) -> tuple[Zoo, Manifest]:
    """A zoo with its splits, from the cache below the folder of all runs or made now."""
    zoo, manifest = sine.make(recipe, folder / "cache" / "zoos")
    return split(zoo, sizes, recipe.seed, sort=False), manifest


def zoo_of(config: Mapping, path: pathlib.Path) -> Zoo:
    """The zoo of a run, given its config and its folder.

    It is the one that lies beside the run, or is made anew by the run's recipe.
    """
    recipe = {k: tuple(v) if isinstance(v, list) else v for k, v in config["zoo"].items()}
    zoo, _ = make_zoo(sine.Recipe(**recipe), config["sizes"], path.resolve().parents[2])
    return zoo


def run(
    row: Row, about: Mapping, folder: pathlib.Path, work: Work, score: str = "test_mse"
) -> dict:
    """Runs one row with one seed, or finds it finished; returns its record.

    Args:
        row: what is run.
        about: what else determines the run: "experiment", "preset", "row" (its name),
            "seed", "zoo" (a recipe) and "sizes" (of the splits).
        folder: of all runs.
        work: what there is to do: row, config, folder of the run -> the record's "metrics",
            the score among them, "parameters", "seconds" and "steps". The record's "curve" is
            [seconds, validation error] of each look at a row that is trained in steps.
        score: the metric that rows are compared by, the smaller the better.
    """
    seed = about["seed"]
    row = row.seeded(seed)
    config = {**row.config(), **about}
    home = place(folder, config)
    if record := finished(home):
        print(f"{about['row']}, seed {seed}: finished before, by {record['commit']}, in {home}")
        return record
    print(f"{about['row']}, seed {seed}: {home}", flush=True)
    found = work(row, config, home)
    found["seconds"] = round(found["seconds"], 1)
    if found["steps"]:
        found["curve"] = curve(home, score)
    keys = ("experiment", "row", "preset", "seed")
    record = records.append(
        {
            **{k: about[k] for k in keys},
            **found,
            "words": row.words,
            "paper": row.paper,
            "config": config,
        }
    )
    finish(home, record)
    words = score.replace("_", " ").replace("mse", "MSE")
    print(f"{about['row']}, seed {seed}: {words} {found['metrics'][score]:.6f}", flush=True)
    return record


def label_regression(
    zoo: Zoo, label: str, extra: Callable[[regression.Model], dict[str, float]] | None = None
) -> Work:
    """Work for `run`: train on a label of the zoo, or take the row's method; test; plot.

    Args:
        zoo: with its splits.
        label: what is predicted.
        extra: more figures of the trained model, for the record's metrics.
    """

    def work(row, config, home):
        vectors, labels = zoo.part("test", label)
        start, parameters, steps, more = time.monotonic(), 0, 0, {}
        if row.method:
            predicted = row.method(zoo, config["seed"])
            seconds = time.monotonic() - start
        else:
            model, result = regression.train(zoo, label, config, row.objective, row.training, home)
            predicted = model.predict(vectors)
            encoder, parameters = size(model)
            seconds, steps = result.seconds, result.steps
            more = {"val_mse": result.best_value, "encoder_parameters": encoder}
            more |= extra(model) if extra else {}
        scores = {f"test_{k}": v for k, v in metrics.evaluate(predicted, labels).items()}
        title = f"{config['row']}: test MSE {scores['test_mse']:.3f}"
        plots.predictions(home / "predictions.png", predicted, labels, label, title)
        found = {"metrics": {**scores, **more}, "parameters": parameters}
        return {**found, "seconds": seconds, "steps": steps}

    return work


def boosted_trees(zoo: Zoo, label: str, seed: int) -> np.ndarray:
    """A row's method: boosted trees on StatNN's statistics."""
    (train, y), (held, wanted), (test, _) = (
        zoo.part(k, label) for k in ("train", "validation", "test")
    )
    known, checked = (train.vectors, y), (held.vectors, wanted)
    return stat_nn.boosted_trees(known, checked, test.vectors, zoo.spec, seed)


def size(model: regression.Model | contrastive.Model) -> tuple[int, int]:
    """Numbers of parameters: of the encoder, and with its head."""
    count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
    params = model.variables["params"]
    return count(params.get("encoder", {})), count(params)


def report(runs: list[dict], columns: Mapping[str, str], score: str = "test_mse") -> None:
    """Prints a table of runs (records), the smallest score first; columns: heading -> metric."""
    from rich.console import Console
    from rich.table import Table

    table = Table("row", "seed", "encoder", "with head", *columns, "seconds", "in the paper")
    for r in sorted(runs, key=lambda r: r["metrics"][score]):
        m = r["metrics"]
        sizes = [m.get("encoder_parameters", 0), r["parameters"]]
        cells = [r["row"], str(r["seed"]), *(f"{s:,}" if s else "–" for s in sizes)]
        cells += [f"{m[k]:.3g}" if k in m else "–" for k in columns.values()]
        table.add_row(*cells, f"{r['seconds']:.0f}", r["paper"])
    Console(width=110).print(table)


def curve(home: pathlib.Path, score: str = "test_mse") -> list[list[float]]:
    """[seconds, validation error] of each look at a row that is trained in steps."""
    history, key = log.read_lines(home / "metrics.jsonl"), score.replace("test", "val")
    return [[round(h["seconds"], 1), h[key]] for h in history]


def curves(about: Mapping, path: pathlib.Path, y: str, score: str = "test_mse") -> None:
    """Draws validation error against seconds for every row that is on record.

    A row without a curve on record is a point, its test error at its end; one that is not
    trained in steps is a level.

    Args:
        about: whose records: an "experiment", a "preset" and a "train_zoo", if there are several.
        path: of the picture; none is made if nothing was trained.
        y: what the error is of.
        score: that error, a metric.
    """
    lines, levels = {}, {}
    whose = {k: about[k] for k in ("preset", "train_zoo") if k in about}
    for r in records.latest(records.read(about["experiment"], **whose)):
        name = f"{r['row']}, seed {r['seed']}" if r["seed"] else r["row"]
        if r.get("curve"):
            lines[name] = tuple(zip(*r["curve"], strict=True))
        elif r["steps"]:
            lines[f"{name} (test)"] = ([r["seconds"]], [r["metrics"][score]])
        elif r["seed"] == 0:
            levels[f"{r['row']} (test)"] = r["metrics"][score]
    if lines:
        plots.curves(path, lines, "seconds", y, "Validation error while training", levels=levels)


def in_turn(runs: Mapping[str, Callable], rounds: int) -> dict[str, float]:
    """The least milliseconds of each, over rounds in which all take turns."""
    best = dict.fromkeys(runs, np.inf)
    for f in runs.values():
        f()
    for _ in range(rounds):
        for name, f in runs.items():
            start = time.perf_counter()
            f()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best

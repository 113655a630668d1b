"""The loop of all experiments: train or compute, measure, draw, record.

    [Run] --workers: work--> facts --parent--> records, table, curves

Runs that are on record in the folder are not run again; one that was stopped goes on from its
checkpoint. With several jobs each worker is a process on a core of its own, and the parent
alone appends records and prints.

A finished run has its records in `record.json`, written before they are appended to the results.
So a kill between the two loses none: the same command appends what is not there yet.
"""

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import pathlib
import time
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from experiments.lib import cli, plots, records, workers
from experiments.lib.methods import Method, Preset
from wsjax import storage, training
from wsjax.predictors.trees import ConstantWarning
from wsjax.storage import DamagedError, LockedError
from wsjax.tasks import Trained, fit
from wsjax.training.log import read_lines
from wsjax.training.progress import Interrupted
from wsjax.zoos import Zoo

Facts = dict[str, Any]
# method, config, folder of the run -> of each record its "metrics", "parameters", "seconds",
# "steps" and whatever else is to stand there
Work = Callable[[Method, Mapping[str, Any], pathlib.Path], list[Facts]]
COPIED = ("experiment", "row", "preset", "seed", "train_zoo")  # from a config to its records


@dataclasses.dataclass(frozen=True)
class Run:
    """A method with one seed.

    Attributes:
        method: with its seed.
        config: of the method, and whatever else determines the run: "experiment", "preset",
            "row" (the method's name), "seed", ...; as JSON.
        work: trains or computes, measures and draws; goes to another process by pickle.
    """

    method: Method
    config: Mapping[str, Any]
    work: Work

    @property
    def name(self) -> str:
        """In words: "sne on mnist, seed 0"."""
        zoo = f" on {self.config['train_zoo']}" if "train_zoo" in self.config else ""
        return f"{self.config['row']}{zoo}, seed {self.config['seed']}"

    def home(self, folder: pathlib.Path) -> pathlib.Path:
        """Its folder, below the folder of all runs."""
        return place(folder, self.config)


def plan(
    options: Namespace, preset: Preset, methods: Mapping[str, Method], work: Work, **about: Any
) -> list[Run]:
    """The runs of methods, by name and seed.

    Args:
        options: the command line.
        preset: with the number of seeds, where the options have none.
        methods: by name.
        work: of all of them.
        about: whatever else determines the runs, for their config.
    """
    shared = {"experiment": options.experiment, "preset": cli.preset_name(options), **about}
    runs = []
    for name, method in methods.items():
        for seed in cli.seeds(options, preset):
            seeded = method.seeded(seed)
            runs.append(Run(seeded, {**seeded.config(), **shared, "row": name, "seed": seed}, work))
    return runs


def place(folder: pathlib.Path, config: Mapping[str, Any]) -> pathlib.Path:
    """The folder of the run of a configuration, below the folder of all runs."""
    name = f"{config['row']}-{config['seed']}-{fingerprint(config)}"
    return folder / config["experiment"] / config["preset"] / name


def fingerprint(config: Mapping[str, Any]) -> str:
    """Eight letters, others for each configuration."""
    text = json.dumps(config, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def finished(home: pathlib.Path) -> list[dict] | None:
    """The records of a run that was completed in this folder before.

    Raises:
        DamagedError: they were altered; names the file and the remedy.
    """
    path = home / "record.json"
    try:
        return storage.read_sealed(path)["records"]
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise DamagedError(f"{path}: {error}; remove it, and the run is measured again") from error


def learn(
    method: Method, config: Mapping[str, Any], home: pathlib.Path, zoo: Zoo, task: Any,
    value: str = "val_mse",
) -> tuple[Trained, Facts]:  # fmt: skip
    """Trains a method, or goes on with its training.

    Args:
        method: with an encoder.
        config: kept in the checkpoints.
        home: their folder.
        zoo: with its splits.
        task: see `wsjax.tasks.fit`.
        value: name of the metric that chooses among checkpoints.

    Returns:
        The model, and its facts: the metrics `value` and "encoder_parameters", "parameters",
        "seconds", "steps" and "curve": [seconds, value] of each evaluation.
    """
    trained = fit(
        zoo, task, method.build(), head=method.head, settings=method.training, folder=home,
        config=config, progress=multiprocessing.parent_process() is None,
    )  # fmt: skip
    count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
    params, result = trained.variables["params"], trained.result
    history = read_lines(home / "metrics.jsonl")
    encoder = count(params.get("encoder", {}))
    return trained, {
        "metrics": {value: result.best_value, "encoder_parameters": encoder},
        "parameters": count(params),
        "seconds": round(result.seconds, 1),
        "steps": result.steps,
        "curve": [[round(h["seconds"], 1), h[value]] for h in history],
    }


def compute(method: Method, *arguments: object) -> tuple[Any, Facts]:
    """Runs a method without training: its result, and the facts of its record.

    Among these are a "note" if its model is constant, which is a warning, too.
    """
    begin = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConstantWarning)
        result = method.compute(*arguments)
    seconds = round(time.monotonic() - begin, 1)
    notes = [str(w.message) for w in caught if issubclass(w.category, ConstantWarning)]
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    facts = {"metrics": {}, "parameters": 0, "seconds": seconds, "steps": 0}
    return result, facts | ({"note": "; ".join(notes)} if notes else {})


def execute(
    runs: Sequence[Run],
    options: Namespace,
    table: Callable[[Sequence[Mapping]], Table],
    score: str = "test_mse",
    curves: str = "",
) -> list[dict]:
    """Runs what is not on record yet; prints the table again whenever a run is finished.

    Methods without training come first, then the order of `runs`. A method that fails does not
    stop the others.

    Args:
        runs: any.
        options: the command line: `folder`, `results`, `jobs`.
        table: records -> what is printed of them.
        score: the metric that methods are compared by, the smaller the better.
        curves: name of that error on the axis of curves.png, which lies beside the runs.

    Returns:
        The records, in the order of the runs.

    Raises:
        SystemExit: a method failed, or another process is at it; names it, when all others
            are done.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the checkpoints saved.
    """
    begin, done, failures, waiting = time.monotonic(), {}, [], {}

    def fail(run, words):
        failures.append(f"{run.name} failed: {words}")
        print(failures[-1], flush=True)

    for i, run in enumerate(runs):
        try:
            before = _finished(run, options)
        except (OSError, DamagedError) as error:
            fail(run, cli.sentence(error))
        else:
            (waiting if before is None else done)[i] = run if before is None else before
    waiting = dict(sorted(waiting.items(), key=lambda item: item[1].method.encoder is not None))
    try:
        with contextlib.closing(_outcomes(waiting, options)) as outcomes:
            for i, outcome in outcomes:
                if isinstance(outcome, str):
                    fail(runs[i], outcome)
                    continue
                done[i] = outcome
                for record in done[i]:
                    print(_line(runs[i].name, record, score), flush=True)
                if len(done) < len(runs):
                    _show(table, done)
    except Interrupted:  # says where the training stopped
        raise
    except KeyboardInterrupt:
        words = f"stopped after {len(done)} of {len(runs)} runs; the same command continues"
        raise KeyboardInterrupt(f"{words}, in {cli.home(options)}") from None
    _show(table, done)
    home = cli.home(options)
    if curves:
        for zoo in dict.fromkeys(r.config.get("train_zoo") for r in runs):
            draw_curves(options, zoo, score, curves)
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    if failures:
        raise SystemExit("\n".join(failures))
    return _ordered(done)


def _ordered(done):
    return [record for i in sorted(done) for record in done[i]]


def _show(table, done):
    printed = table(_ordered(done))
    Console(width=max(110, 18 * len(printed.columns))).print(printed)


def _line(name, record, score):
    """A finished run in one line."""
    on = f", tested on {record['test_zoo']}" if "test_zoo" in record else ""
    if score not in record["metrics"]:
        return f"{name}{on}: not supported: {record['refused']}"
    words = score.replace("_", " ").replace("mse", "MSE")
    return f"{name}{on}: {words} {record['metrics'][score]:.6f}"


def _finished(run, options):
    """The records of a finished run, which are among the results then; or None."""
    before = finished(home := run.home(options.folder))
    if before is not None:
        records.add(before, options.results)
        print(f"{run.name}: finished before, in {home}", flush=True)
    return before


def _claim(run, options):
    """The lock of a run, to be closed; or its records, if it is finished; or why it cannot be."""
    home, lock = run.home(options.folder), contextlib.ExitStack()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.enter_context(storage.locked(home / "record.json"))
        if before := _finished(run, options):  # by the process that held the lock until now
            lock.close()
            return before
    except (OSError, DamagedError, LockedError) as error:
        lock.close()
        return cli.sentence(error)
    print(f"{run.name}: {home}", flush=True)
    return lock


def _record(run, facts, options):
    """The records of a run, which are written now; of a failure, its sentence."""
    if isinstance(facts, str):
        return facts
    shared = {k: run.config[k] for k in COPIED if k in run.config}
    shared |= {"words": run.method.words, "paper": run.method.paper, "config": run.config}
    home = run.home(options.folder)
    try:
        lines = [records.stamp({**shared, **x}) for x in facts]
    except ValueError as error:  # a metric is not finite
        return str(error)
    try:
        home.mkdir(parents=True, exist_ok=True)
        storage.write_sealed(home / "record.json", {"records": lines})
        records.add(lines, options.results)
    except (OSError, DamagedError) as error:
        return f"{cli.sentence(error)}; the same command records it, from {home}"
    return lines


def _outcomes(waiting: Mapping[int, Run], options) -> Iterator[tuple[int, list[dict] | str]]:
    """Records of each run as it is done, or a sentence about its failure."""
    cores = workers.job_cores(options.jobs, len(waiting))
    if len(cores) > 1:
        yield from _side_by_side(waiting, options, cores)
        return
    for i, run in waiting.items():
        claim = _claim(run, options)
        if isinstance(claim, contextlib.ExitStack):
            with claim:
                claim = _record(run, _attempt(run, options.folder), options)
        yield i, claim


def _attempt(run, folder):
    """Facts, or a sentence about the failure, whose traceback goes to error.txt."""
    home = run.home(folder)
    try:
        return run.work(run.method, run.config, home)
    except Exception as error:
        words = f"{type(error).__name__}: {cli.sentence(error)}"
        with contextlib.suppress(OSError):  # a full disk, maybe the very error
            home.mkdir(parents=True, exist_ok=True)
            (home / "error.txt").write_text(traceback.format_exc())
            words += f" ({home / 'error.txt'})"
        return words


class _Worker:
    """A process that does one run after another, the run that it is at, and its lock."""

    def __init__(self, core: int, folder: pathlib.Path):
        self.connection, other_end = multiprocessing.get_context("spawn").Pipe()
        self.core, self.at, self.lock = core, -1, contextlib.ExitStack()
        self.process = workers.start(_serve, core, other_end, folder)
        other_end.close()


def _side_by_side(waiting, options, cores):
    """Runs in a worker on each core."""
    queue, folder = list(waiting.items()), options.folder
    team, early = [_Worker(core, folder) for core in cores], []

    def start(worker):
        worker.at = -1
        while queue and worker.at < 0:
            i, run = queue.pop(0)
            claim = _claim(run, options)
            if isinstance(claim, contextlib.ExitStack):
                worker.at, worker.lock = i, claim
                with contextlib.suppress(BrokenPipeError):  # it has died, as `wait` will notice
                    worker.connection.send(run)
            else:
                early.append((i, claim))

    try:
        for worker in team:
            start(worker)
        while busy := {w.connection: w for w in team if w.at >= 0}:
            for ready in connection.wait(list(busy)):
                worker = busy[ready]
                i, run = worker.at, waiting[worker.at]
                try:
                    facts = worker.connection.recv()
                except EOFError:
                    worker.process.join()
                    facts = f"its process ended with code {worker.process.exitcode}"
                    team[team.index(worker)] = new = _Worker(worker.core, folder)
                    new.lock, worker = worker.lock, new
                with worker.lock:
                    outcome = _record(run, facts, options)
                start(worker)
                yield i, outcome
            yield from early
            early.clear()
        yield from early
    finally:
        for worker in team:
            worker.connection.close()
        workers.stop([worker.process for worker in team])
        for worker in team:
            worker.lock.close()


def _serve(parent, folder):
    """A worker: runs from the parent, facts to it, until it closes the connection."""
    training.compilation_cache(folder / "cache" / "xla")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            parent.send(_attempt(parent.recv(), folder))


def columns(
    runs: Sequence[Mapping], named: Mapping[str, str], score: str = "test_mse", title: str = ""
) -> Table:
    """A table of records, the smallest score first; `named` is heading -> metric."""
    table = Table("method", "seed", "encoder", "with head", *named, "seconds", "paper", title=title)
    for r in sorted(runs, key=lambda r: r["metrics"].get(score, float("inf"))):
        m = r["metrics"]
        sizes = [m.get("encoder_parameters", 0), r["parameters"]]
        cells = [r["row"], str(r["seed"]), *(f"{s:,}" if s else "–" for s in sizes)]
        missing = "not supported" if "refused" in r else "–"
        cells += [f"{m[k]:.3g}" if k in m else missing for k in named.values()]
        table.add_row(*cells, f"{r['seconds']:.0f}", r["paper"])
    return table


def draw_curves(options: Namespace, zoo: str | None, score: str, y: str) -> pathlib.Path:
    """Draws validation error against seconds for every method in the records of this preset.

    A method without a curve on record is a point, its test error at its end; one that is not
    trained in steps is a level.

    Args:
        options: the command line.
        zoo: the "train_zoo" of the records, if they have one.
        score: the error, a metric.
        y: that in words.

    Returns:
        The picture; it is not there if nothing was trained.
    """
    lines, levels = {}, {}
    match = {"preset": cli.preset_name(options)} | ({"train_zoo": zoo} if zoo else {})
    for r in records.latest(records.read(options.experiment, options.results, **match)):
        name = f"{r['row']}, seed {r['seed']}" if r["seed"] else r["row"]
        if r.get("curve"):
            lines[name] = tuple(zip(*r["curve"], strict=True))
        elif r["steps"]:
            lines[f"{name} (test)"] = ([r["seconds"]], [r["metrics"][score]])
        elif r["seed"] == 0:
            levels[f"{r['row']} (test)"] = r["metrics"][score]
    path = cli.home(options) / (f"curves.{zoo}.png" if zoo else "curves.png")
    if lines:
        plots.curves(path, lines, "seconds", y, "Validation error while training", levels=levels)
    return path

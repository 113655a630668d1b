"""Seeded mutations of every format that the library writes, each then read by its reader.

    make(whole) --copy--> damage(rng, files(copy)) --> read(copy)   equal to read(whole)?

All cases of all attacks run in one process, which is started anew where it dies.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import logging
import pathlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

import wsjax
from experiments.faults.attacks import Attack, Verdict, Workshop, cases, verdict
from experiments.faults.mutators import damage
from experiments.lib import records, runs
from experiments.lib.methods import Method
from wsjax import architectures, encoders, training
from wsjax.datasets import images
from wsjax.tasks import contrastive
from wsjax.training.log import JsonLines, read_lines
from wsjax.zoos import Zoo, store
from wsjax.zoos.sines import sine
from wsjax.zoos.sines.sine_recipe import Recipe

SPEC = architectures.mlp([1, 4, 1], "tanh")
SETTINGS = training.Settings(
    steps=6, batch=8, warmup=1, learning_rate=0.05, evaluate_every=1, checkpoint_every=2
)
RECIPE = Recipe(networks=520, widths=(1, 4, 1), points=8, steps=20, keep_unfit=True)
TIMED = ("seconds", "examples_per_second")
_WORKSHOP = Workshop()


@dataclasses.dataclass(frozen=True)
class Target:
    """A format.

    Attributes:
        make: writes the files into a folder.
        read: the folder's content, as the library reads it.
        files: of the folder, to be damaged; see `damage`.
        also: (undamaged folder, damaged folder, whether the reader warned) -> other results
            that are right.
    """

    make: Callable[[pathlib.Path], Any]
    read: Callable[[pathlib.Path], Any]
    files: Callable[[pathlib.Path], list[pathlib.Path]]
    also: Callable[[pathlib.Path, pathlib.Path, bool], Iterator[Any]] = lambda *_: iter(())


# Lines of JSON: what is cut off at the end is a file that is still being written


def _unfinished(whole, damaged, warned):
    """The whole lines, where the end of the file is missing or half a line."""
    path = damaged / "metrics.jsonl"
    data = path.read_bytes() if path.exists() else b""
    if not data.endswith(b"\n") or (whole / path.name).read_bytes().startswith(data):
        yield _read_metrics(whole)[: data.count(b"\n")]


def _write_metrics(folder):
    log, rng = JsonLines(folder / "metrics.jsonl"), np.random.default_rng(0)
    for step in range(10, 90, 10):
        loss, mse = rng.random(2)
        log.write({"step": step, "loss": loss, "val_mse": mse, "seconds": round(step / 7, 3)})


def _read_metrics(folder):
    return read_lines(folder / "metrics.jsonl")


def _record(seed):
    metrics = {"test_mse": 0.125 + seed, "test_tau": 0.5}
    head = {"experiment": "sample", "row": "gmn", "preset": "laptop", "seed": seed}
    return {**head, "metrics": metrics, "parameters": 40, "seconds": 1.5, "steps": 300}


def _write_records(folder):
    for seed in range(4):
        records.append(_record(seed), folder)


def _read_records(folder):
    """In any order: records are a set of lines, which git may merge."""
    return sorted(records.read("sample", folder), key=json.dumps)


def _fewer(whole, damaged, warned):
    """The records whose lines are left, where no other line is there, and none of them twice."""
    path = damaged / "sample.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    original = (whole / path.name).read_bytes().splitlines(keepends=True)
    if len(set(lines)) == len(lines) and set(lines) <= set(original):
        fewer = whole.with_name("fewer")
        fewer.mkdir(exist_ok=True)
        (fewer / path.name).write_bytes(b"".join(x for x in original if x in lines))
        yield _read_records(fewer)


def _write_run(folder):
    """A method without training, run by the loop of all experiments."""
    facts = [{"metrics": {"test_mse": 0.25}, "parameters": 4, "seconds": 1.5, "steps": 3}]
    head = {"experiment": "sample", "preset": "laptop", "row": "mean", "seed": 0}
    run = runs.Run(Method(None), head, lambda *_: facts)
    options = argparse.Namespace(**head, folder=folder, results=folder, jobs=1, set=[])
    with contextlib.redirect_stdout(io.StringIO()):
        runs.execute([run], options, lambda records: Table("method"))


def _run_files(folder):
    return list(folder.glob("sample/**/record.json"))


def _read_run(folder):
    (home,) = (path for path in folder.glob("sample/laptop/mean*"))
    return runs.finished(home)


def _without_file(whole, damaged, warned):
    """A run without the file is not finished, and is run again."""
    if not _run_files(damaged):
        yield None


# Checkpoints


def _small_zoo():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, SPEC.count)).astype(np.float32)
    return Zoo.of_spec(vectors, SPEC, {"y": rng.normal(size=20).astype(np.float32)})


def _fit(folder, task="y"):
    run = dict(head=(64,), settings=SETTINGS, folder=folder / "run", progress=False)
    wsjax.fit(_small_zoo(), task, encoders.MLP(), **run)


def _restore(folder):
    trained = wsjax.restore(folder / "run")
    scale, module = trained.scale.to_json(), repr(trained.module)
    values = {"variables": trained.variables, "specs": trained.specs, "config": trained.config}
    probe = getattr(trained, "probe", None)
    return {**values, "constants": trained.constants, "scale": scale, "module": module}, probe


def _steps(folder):
    """The folders of checkpoints, the newest first."""
    steps = [p for p in (folder / "run").iterdir() if p.name.isdecimal()]
    return sorted(steps, key=lambda p: -int(p.name))


def _below(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _best_weights(folder):
    return [p for p in _below(_steps(folder)[0] / "best") if p.parent.name == "d"]


def _descriptions(folder):
    """The files of the newest step but its weights; those of the whole step the more likely."""
    files = [p for p in _below(_steps(folder)[0]) if p.parent.name != "d"]
    return files + 4 * [p for p in files if p.parent.name.isdecimal()]


@functools.cache
def _one_step_older(whole):
    older = whole.with_name("older")
    if not older.exists():
        shutil.copytree(whole, older)
        shutil.rmtree(_steps(older)[0])
    return _restore(older)


def _stepped_back(whole, damaged, warned):
    if warned:
        yield _one_step_older(whole)


class _StopError(Exception):
    pass


def _inputs():
    return np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def _loss(variables, key, batch):
    noise = 0.1 * jax.random.normal(key)
    return jnp.mean((batch["x"] @ variables["w"] - 1 + noise) ** 2), {}


def _train(folder, stop=0):
    """Trains, or goes on, and stops where it evaluates for the `stop`-th time."""
    evaluations, x = itertools.count(1), _inputs()

    def evaluate(variables):
        if next(evaluations) == stop:
            raise _StopError
        return {"mse": float(np.mean((x @ np.asarray(variables["w"]) - 1) ** 2))}

    init = lambda key: {"w": jax.random.normal(key, (3, 64))}
    given = (init, _loss, {"x": x}, evaluate, SETTINGS, folder / "run", {"width": 4})
    return training.fit(*given, progress=False)


def _begin(folder):
    """Leaves the checkpoints 2 and 4, and the metrics of the steps 1 to 4."""
    with contextlib.suppress(_StopError):
        _train(folder, stop=5)


def _resume(folder, kept):
    """The end of the run, and its metrics; with their times up to the step `kept`."""
    result, lines = _train(folder), read_lines(folder / "run" / "metrics.jsonl")
    timeless = lambda line: {k: v for k, v in line.items() if k not in TIMED}
    lines = [x if x["step"] <= kept else timeless(x) for x in lines]
    return result.variables, result.variables_best, result.best_value, result.steps, lines


# Zoos and images


def _write_zoo(folder):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, SPEC.count)).astype(np.float32)
    labels = {"accuracy": rng.random(6).astype(np.float32)}
    splits = {"train": np.arange(4), "test": np.arange(4, 6)}
    zoo = dataclasses.replace(Zoo.of_spec(vectors, SPEC, labels), splits=splits)
    store.save(folder / "zoo", zoo, {"made": "by hand", "rate": 0.125})


def _write_images(folder):
    rng = np.random.default_rng(0)
    draw = lambda n: rng.integers(0, 256, (n, 4, 4, 1), np.uint8)
    numbers = lambda n: rng.integers(0, 10, n).astype(np.int32)
    drawn = images.Images("digits", draw(6), numbers(6), draw(3), numbers(3), images.DIGITS, "x")
    images.save(folder / "digits-x.npz", drawn)


TARGETS = {
    "metrics": Target(_write_metrics, _read_metrics, _below, _unfinished),
    "metrics_resumed": Target(
        _begin, lambda f: _resume(f, kept=4), lambda f: [f / "run" / "metrics.jsonl"]
    ),
    "records": Target(_write_records, _read_records, _below, _fewer),
    "finished_run": Target(_write_run, _read_run, _run_files, _without_file),
    "checkpoint_weights": Target(_fit, _restore, _best_weights, _stepped_back),
    "checkpoint_metadata": Target(_fit, _restore, _descriptions, _stepped_back),
    "checkpoint_resumed": Target(
        _begin, lambda f: _resume(f, kept=2), lambda f: _below(_steps(f)[0])
    ),
    "linear_probe": Target(
        lambda f: _fit(f, contrastive.Contrastive(("y",))),
        _restore,
        lambda f: [f / "run" / "probe.json"],
    ),
    "stored_zoo": Target(_write_zoo, lambda f: store.load(f / "zoo"), _below),
    "zoo_in_the_making": Target(
        lambda f: sine.make(RECIPE, f), lambda f: sine.make(RECIPE, f)[0], _below
    ),
    "kept_images": Target(_write_images, lambda f: images.read(f / "digits-x.npz"), _below),
}
WORDS = {  # name -> of the attack, cases, cases of the quick part
    "metrics": ("metrics.jsonl", 60, 20),
    "metrics_resumed": ("metrics.jsonl, then training goes on", 40, 4),
    "records": ("records of experiments", 60, 20),
    "finished_run": ("record.json, by which a run counts as finished", 40, 20),
    "checkpoint_weights": ("weights in a checkpoint, then `restore`", 80, 10),
    "checkpoint_metadata": ("all else in a checkpoint, then `restore`", 80, 10),
    "checkpoint_resumed": ("a checkpoint, then training goes on", 80, 6),
    "linear_probe": ("probe.json of contrastive learning", 40, 4),
    "stored_zoo": ("a stored zoo: .json, .safetensors, .csv", 60, 20),
    "zoo_in_the_making": ("blocks and facts of a sine zoo that is made on", 40, 4),
    "kept_images": ("images kept as .npz", 40, 20),
}


@functools.lru_cache(maxsize=1)
def _right(name, home):
    """The undamaged folder, and what a copy of it reads as."""
    whole = home / "whole"
    if not whole.exists():  # there is one after the death of the process
        making = home / "making"
        making.mkdir()
        TARGETS[name].make(making)
        making.rename(whole)
    return whole, TARGETS[name].read(_copy(whole))


def _copy(whole):
    place = whole.with_name("case")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    return place


@contextlib.contextmanager
def _listening():
    """The warnings and the log's lines that are warnings, as a list."""
    heard = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = heard.append
    logger = logging.getLogger("wsjax")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield heard
            heard += warned
    finally:
        logger.removeHandler(handler)


def strike(name: str, home: pathlib.Path, rng: np.random.Generator) -> Verdict:
    """One case: damages a copy of a target's files, and reads it.

    Args:
        name: of `TARGETS`.
        home: a folder of its own; the undamaged files are kept in it.
        rng: of the damage.
    """
    target, (whole, right) = TARGETS[name], _right(name, home)
    place = _copy(whole)
    names = [place, *{path.name for path in target.files(place)}]
    words = damage(rng, target.files(place))
    heard = []

    def read():
        with _listening() as now:
            try:
                return target.read(place)
            finally:
                heard.extend(now)

    def expected():
        yield right
        yield from target.also(whole, place, bool(heard))

    found = verdict(read, expected(), names)
    return found._replace(words=f"{words}: {found.words}")


def _strike(name, home, rng):
    """`strike` in the workshop, which keeps compiled programs from one case to the next."""
    training.compilation_cache(home.parent / "xla")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return strike(name, home, rng)


def _run(name):
    def run(rng, count, folder):
        for _, own in cases(rng, count):
            yield _WORKSHOP.run(_strike, name, folder, own)

    return run


ATTACKS = tuple(
    Attack(name, words, count, quick, _run(name)) for name, (words, count, quick) in WORDS.items()
)

"""The programs that are killed, interrupted and run twice, each in a process of its own."""

import argparse
import atexit
import functools
import os
import pathlib
import runpy
import signal
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from experiments.lib import plots, records, runs
from experiments.lib.methods import Method, Preset
from wsjax import architectures, encoders, tasks, training
from wsjax.datasets import images
from wsjax.networks import Spec
from wsjax.training.log import JsonLines, read_lines
from wsjax.zoos import Zoo, store
from wsjax.zoos.sines import sine

STEPS = 16
EVERY = 4  # steps between checkpoints
NETWORKS = 2000  # of the zoo that is stored
SPEC = architectures.mlp([1, 4, 1], "tanh")
WAVES = sine.Recipe(networks=8, widths=(1, 4, 1), points=8, steps=20, keep_unfit=True)
REFUSALS = (ValueError, OSError, RuntimeError)  # promised of folders that cannot be used


def count_operations(path: str, die_at: int) -> None:
    """Counts how often this process writes a file through or renames one, from now on.

    Args:
        path: of a file that has the number at the end.
        die_at: before this one, from 1, the process kills itself; never if 0.
    """
    count = 0

    def counted(operation):
        def call(*arguments, **more):
            nonlocal count
            count += 1
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **more)

        return call

    for name in ("fsync", "replace", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    atexit.register(lambda: pathlib.Path(path).write_text(str(count)))


def random_zoo(spec: Spec = SPEC, count: int = 32) -> Zoo:
    """Random networks with a label "size", in the usual splits."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, spec.count)).astype(np.float32)
    labels = {"size": np.linalg.norm(vectors, axis=1)}
    return tasks.fitting.default_splits(Zoo.of_spec(vectors, spec, labels))


def fit(folder: str, final: str) -> None:
    """Trains in a folder; the variables go to an .npz file."""
    settings = training.Settings(
        steps=STEPS, batch=8, learning_rate=1e-2, schedule="constant", evaluate_every=1,
        checkpoint_every=EVERY,
    )  # fmt: skip
    encoder = encoders.build("mlp", {"widths": (4,), "code": 4})
    trained = tasks.fit(
        random_zoo(), "size", encoder, head=(4,), settings=settings, folder=folder, progress=False
    )
    np.savez(final, *jax.tree.leaves((trained.variables, trained.result.variables)))


def command(module: str, *arguments: str) -> None:
    """A command line, `python -m MODULE ARGUMENTS`; zoos of sines are made in small blocks."""
    sine.BLOCK = 32
    training.compilation_cache = lambda folder: None  # there is one, see `launcher`
    # pictures take longer than all the rest
    plots.predictions = plots.curves = lambda *arguments, **more: None
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def execute(folder: str) -> None:
    """An experiment of one method without training, which makes three records."""
    below = pathlib.Path(folder)
    options = argparse.Namespace(
        experiment="x", preset="smoke", set=[], seeds=1, folder=below, results=below / "results",
        jobs=1, seed=None,
    )  # fmt: skip
    preset = Preset({"three": Method(compute=len)}, "nothing")
    plan = runs.plan(options, preset, preset.methods, three_facts)
    runs.execute(plan, options, functools.partial(runs.columns, named={"test MSE": "test_mse"}))


def three_facts(method: Method, config: dict, home: pathlib.Path) -> list[runs.Facts]:
    """Facts of three records."""
    facts = {"parameters": 0, "seconds": 0.0, "steps": 0}
    return [{**facts, "metrics": {"test_mse": float(i)}, "test_zoo": str(i)} for i in range(3)]


def append_lines(path: str, writer: int, count: int, begin: float = 0) -> None:
    """Appends to a log, opened anew for every few, the lines of a writer that it has not yet.

    Args:
        path: of the log.
        writer: of the lines.
        count: how many there are to be.
        begin: the time of day to begin at.
    """
    time.sleep(max(0.0, begin - time.time()))
    there = sum(line["writer"] == writer for line in read_lines(path))
    for i in range(there, count):
        if i % 4 == 0 or i == there:
            log = JsonLines(path)
            log.truncate_after(2**62)  # drops nothing; a run that goes on does it
        for attempt in range(50):
            try:
                log.write({"step": time.monotonic_ns(), "writer": writer, "number": i})
                break
            except ValueError:  # the other writer has had a later step
                if attempt == 49:
                    raise


def append_records(results: str, writer: int, count: int, begin: float = 0) -> None:
    """Appends to an experiment's records those of a writer that are not there yet."""
    time.sleep(max(0.0, begin - time.time()))
    # Git and the list of installed packages take longer than all the rest.
    records.commit, records.versions = (lambda root: "0"), (lambda *packages: {})
    parts = {"experiment": "x", "row": str(writer), "preset": "x", "parameters": 0, "steps": 0}
    there = len(records.read("x", pathlib.Path(results), row=str(writer)))
    for i in range(there, count):
        record = {**parts, "seed": i, "metrics": {"number": i}, "seconds": 0.0}
        records.append(record, pathlib.Path(results))


def keep(kind: str, path: str) -> None:
    """Writes a zoo, images, or the blocks of a zoo of sines, at a path."""
    KEPT[kind](path)


def tiny_images() -> images.Images:
    """Random ones, of two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 1), np.uint8)
    labels = np.arange(len(pixels), dtype=np.int32) % 2
    return images.Images("digits", pixels, labels, pixels, labels, ("even", "odd"))


KEPT: dict[str, Callable[[str], object]] = {
    "zoo": lambda path: store.save(path, random_zoo(count=NETWORKS)),
    "images": lambda path: images.save(path, tiny_images()),
    "blocks": lambda path: sine.make(WAVES, path),
}


def _worded(program):
    """The program, with an error that the library promises as a sentence."""

    def run(*arguments):
        try:
            program(*arguments)
        except REFUSALS as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from None

    return run


PROGRAMS: dict[str, Callable[..., None]] = {
    "command": command,
    "execute": execute,
    **{f.__name__: _worded(f) for f in (fit, append_lines, append_records, keep)},
}

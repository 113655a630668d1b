"""The training of an encoder in a child process, which ends when its time is over.

    parent --job.pickle--> child: probe of a few steps -> as many steps as fit -> export
           <--------------- encoder/, note.txt; or skipped.txt

Compilation cannot be interrupted in the process that compiles, and can take minutes.
"""

import dataclasses
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax

from wsjax import tasks, training
from wsjax.encoders import Encoder
from wsjax.tasks.exports import export, restore
from wsjax.tasks.regression import Objective, Regression, TrainedRegression
from wsjax.training.log import read_lines
from wsjax.zoos import Zoo

HEAD = (128,)
BATCH = 16
PROBE = 8  # steps that measure how long one takes
STEPS = 2000  # at most
FEWEST_STEPS = 50  # below which an encoder has learned nothing
LEAST = 5.0  # seconds, in which a process starts
PLANNED = 0.85  # of the seconds: a step may take longer than it did in the probe
AGAIN = 0.6  # of the probe: the step is compiled once more, as its schedule is another
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # the parent may hold an accelerator
FOLDER, JOB, NOTE, SKIPPED = "encoder", "job.pickle", "note.txt", "skipped.txt"
# no module is imported before the path is the parent's: "-c" puts the working folder first
START = "import sys; sys.path[:] = sys.argv[2:]; from wsjax.predictors import child; child.main()"


class SkippedError(ValueError):
    """A candidate cannot be had: its architecture is not supported, or its time is too short."""


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """The training of an encoder.

    Attributes:
        zoo: networks with splits "train" and "validation".
        label: predicted.
        encoder: trained.
        seed: of the training.
        shares: whether all labels lie in [0, 1].
        end: of the time, as `time.time` counts it.
    """

    zoo: Zoo
    label: str
    encoder: Encoder
    seed: int
    shares: bool
    end: float


def train(
    zoo: Zoo, label: str, encoder: Encoder, seed: int, shares: bool, seconds: float
) -> tuple[TrainedRegression, str]:
    """An encoder with its head, trained in a child process; and a note on how.

    Args:
        zoo: networks with splits "train" and "validation".
        label: predicted.
        encoder: of a class that another process can import.
        seed: of the training.
        shares: whether all labels lie in [0, 1].
        seconds: after which the process is ended.

    Raises:
        SkippedError: the time is too short, training diverges, or the process fails.
    """
    if seconds < LEAST:  # compilation alone takes seconds
        raise SkippedError(f"{seconds:.1f} s were left for it")
    if type(encoder).__module__ == "__main__":
        raise SkippedError("it is defined in the script that runs, expected a module of its own")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        job = Job(zoo, label, encoder, seed, shares, time.time() + seconds)
        try:
            (folder / JOB).write_bytes(pickle.dumps(job))
        except (pickle.PicklingError, AttributeError, TypeError) as error:  # of a local class
            raise SkippedError(f"another process cannot import it: {error}") from error
        with open(folder / "errors.txt", "w+") as errors:
            command = [sys.executable, "-c", START, name, *sys.path]
            try:
                ended = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                    timeout=seconds, env=ENVIRONMENT | os.environ,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise SkippedError(f"it was ended after the {seconds:.0f} s left for it") from None
            errors.seek(0)
            last = next((x.strip() for x in reversed(list(errors)) if x.strip()), "no message")
        if (folder / SKIPPED).exists():
            raise SkippedError((folder / SKIPPED).read_text())
        if ended.returncode:
            raise SkippedError(f"its process ended with {ended.returncode}: {last[:200]}")
        return restore(folder / FOLDER, Regression), (folder / NOTE).read_text()


def main() -> None:
    """The child process: `sys.argv[1]` is the folder of a `Job`."""
    folder = pathlib.Path(sys.argv[1])
    job = pickle.loads((folder / JOB).read_bytes())  # of the parent, in a folder of its own
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    try:
        trained, note = _train(job)
    except (SkippedError, FloatingPointError) as error:
        (folder / SKIPPED).write_text(str(error).splitlines()[0])
        return
    export(trained, folder / FOLDER)
    (folder / NOTE).write_text(note)


def _train(job: Job) -> tuple[TrainedRegression, str]:
    """As many steps as the time allows."""
    start = time.time()
    task = Regression(job.label, Objective("bce" if job.shares else "mse", permute=False))
    batch = min(BATCH, len(job.zoo.splits["train"]))

    def fit(steps, every, folder):
        settings = training.Settings(
            steps=steps, batch=batch, learning_rate=1e-3, warmup=min(20, steps - 1),
            weight_decay=0.01, evaluate_every=every, checkpoint_every=steps, seed=job.seed,
        )  # fmt: skip
        more: dict[str, Any] = {"settings": settings, "folder": folder, "progress": False}
        return tasks.fit(job.zoo, task, job.encoder, head=HEAD, **more)

    with tempfile.TemporaryDirectory() as folder:
        fit(2 * PROBE, PROBE, folder)
        lines = read_lines(pathlib.Path(folder) / "metrics.jsonl")
    seconds = [x["seconds"] for x in lines if "seconds" in x]
    step = max((seconds[-1] - seconds[-2]) / PROBE, 1e-5)  # with its part of an evaluation
    probe = time.time() - start  # most of it is compilation
    again = AGAIN * probe
    left = job.end - time.time()
    steps = min(STEPS, int((PLANNED * left - again) / step))
    if steps < FEWEST_STEPS:
        raise SkippedError(
            f"{FEWEST_STEPS} steps take {again + FEWEST_STEPS * step:.0f} s with compilation, "
            f"{left:.0f} s were left for it"
        )
    return fit(steps, -(-steps // 10), None), f"{steps} steps"

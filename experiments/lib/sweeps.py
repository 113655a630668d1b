"""Learning rates: each is tried with one seed, the best by validation R2 serves all seeds.

    PRESET/gmn-rates-1f2e3d4c/0.001/        a training run for each rate, of seed 0
    PRESET/gmn-rates-1f2e3d4c/rates.json    what they came to

So are those of GMN and its baselines chosen (Lim et al., 2024, E.1.2).
"""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.lib import runs
from experiments.lib.methods import Method
from wsjax import storage
from wsjax.storage import DamagedError, LockedError
from wsjax.tasks import Trained
from wsjax.tasks.reconstruction import Reconstruction
from wsjax.tasks.regression import Regression
from wsjax.training.log import read_lines
from wsjax.zoos import Zoo

OUTCOMES = "rates.json"
PAUSE = 5.0  # seconds between attempts at a sweep that another seed is at


def learn(
    method: Method,
    config: Mapping[str, Any],
    home: pathlib.Path,
    zoo: Zoo,
    task: Regression | Reconstruction,
) -> tuple[Trained, runs.Facts]:
    """As `runs.learn`; a method with several rates learns at the best of them.

    Seed 0 has then been trained already. Whoever comes first tries the rates, others wait.

    Args:
        method: with an encoder; of regression, if it has rates.
        config: of the run.
        home: its folder; those of the rates lie beside it.
        zoo: with its splits.
        task: whose measure selects checkpoints.

    Returns:
        The model and its facts; of a method with rates also the chosen "learning_rate" and
        "rates": of each its "learning_rate", with "val_r2" and "seconds", or "diverged".

    Raises:
        FloatingPointError: training diverged; at every rate, if there are several.
        DamagedError: the outcomes of a sweep were altered; names the file and the remedy.
    """
    value = f"val_{task.selection[0]}"
    if not method.rates:
        return runs.learn(method, config, home, zoo, task, value)
    trial = {**config, **method.seeded(0).config(), "seed": 0}
    folder = home.with_name(f"{config['row']}-rates-{runs.fingerprint(trial)}")

    def at(rate: float, seed: int, where: pathlib.Path):
        training = dataclasses.replace(method.training, learning_rate=rate, seed=seed)
        chosen = dataclasses.replace(method, training=training)
        own = {**config, **chosen.config(), "seed": seed}
        return runs.learn(chosen, own, where, zoo, task, value)

    def tried(rate: float) -> dict[str, Any]:
        try:
            _, facts = at(rate, 0, folder / f"{rate:g}")
        except FloatingPointError as error:
            return {"learning_rate": rate, "diverged": str(error)}
        lines = read_lines(folder / f"{rate:g}" / "metrics.jsonl")
        best = (max if task.selection[1] else min)(lines, key=lambda line: line[value])
        return {"learning_rate": rate, "val_r2": best["val_r2"], "seconds": facts["seconds"]}

    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / OUTCOMES):
        if not (folder / OUTCOMES).exists():
            outcomes = [tried(rate) for rate in method.rates]
            storage.write_sealed(folder / OUTCOMES, {"rates": outcomes})
        outcomes = _outcomes(folder / OUTCOMES)
    fine = [x for x in outcomes if "val_r2" in x]
    if not fine:
        raise FloatingPointError(
            "; ".join(f"{x['learning_rate']}: {x['diverged']}" for x in outcomes)
        )
    rate, seed = max(fine, key=lambda x: x["val_r2"])["learning_rate"], config["seed"]
    trained, facts = at(rate, seed, home if seed else folder / f"{rate:g}")
    return trained, {**facts, "learning_rate": rate, "rates": outcomes}


def _outcomes(path):
    """The outcome of each rate of a sweep."""
    try:
        return storage.read_sealed(path)["rates"]
    except DamagedError as error:
        remedy = "remove it, and it is made anew from the runs beside it"
        raise DamagedError(f"{path}: {error}; {remedy}") from error


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
    """Holds a file for this process, as soon as no other does."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(storage.locked(path))
                break
            except LockedError:
                time.sleep(PAUSE)
        yield

"""Timing of steps: variants take turns, and the least time of each counts.

So do ratios hold on a machine that does other work.
"""

import argparse
import pathlib
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import cli, records
from wsjax import training


def parser(name: str, about: str | None, rounds: int) -> argparse.ArgumentParser:
    """The command line of a benchmark, `python -m experiments.NAME`."""
    out = cli.folders(cli.command(name, about))
    out.add_argument(
        "--rounds", type=cli.positive, default=rounds, help="in which all variants run"
    )
    return out


def record(
    name: str,
    measure: Callable[[], Mapping[str, float]],
    config: Mapping,
    results: pathlib.Path,
    parameters: int = 0,
) -> dict:
    """Measures, and appends the figures as a record of "benchmarks"."""
    begin = time.monotonic()
    record = {"experiment": "benchmarks", "row": name, "preset": "laptop", "seed": 0}
    record |= {"metrics": measure(), "parameters": parameters, "steps": 0, "config": dict(config)}
    return records.append({**record, "seconds": round(time.monotonic() - begin, 1)}, results)


def least_seconds(runs: Mapping[str, Callable], rounds: int) -> dict[str, dict[str, float]]:
    """The least time of each run: "second" of the wall, on a CPU also "CPU-second", -> run -> s.

    Every run is called once before, to compile.
    """
    clocks = {"second": time.perf_counter}
    if jax.default_backend() == "cpu":
        clocks["CPU-second"] = time.process_time
    least = {clock: dict.fromkeys(runs, np.inf) for clock in clocks}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            began = {clock: now() for clock, now in clocks.items()}
            run()
            for clock, now in clocks.items():
                least[clock][name] = min(least[clock][name], now() - began[clock])
    return least


def in_turn(runs: Mapping[str, Callable], rounds: int, about: str = "") -> dict[str, float]:
    """The least milliseconds of each run by the wall's clock; printed behind `about`."""
    least = {k: 1e3 * s for k, s in least_seconds(runs, rounds)["second"].items()}
    for name, milliseconds in least.items():
        print(f"{about:18} {name:50} {milliseconds:9.2f} ms", flush=True)
    return least


def training_step(
    loss: Callable, params, data: Mapping[str, np.ndarray], microbatch: int = 0
) -> tuple[Callable[[], float], int]:
    """A compiled step (loss, gradient, AdamW) on one batch.

    Args:
        loss: (params, key, batch) -> (scalar, metrics).
        params: where it begins; they stay as they are.
        data: name -> [batch, ...].
        microbatch: networks at a time; 0 for all.

    Returns:
        A function that takes the next step and gives its loss, and the bytes of
        temporaries that XLA reports, beside weights and batch.
    """
    batch = len(next(iter(data.values())))
    settings = training.Settings(steps=1000, batch=batch, microbatch=microbatch)
    step = training.make_step(loss, settings, training.data_mesh())
    state = training.init_state(jax.tree.map(jnp.copy, params), settings)
    compiled = step.lower(state, data).compile()

    def run():
        nonlocal state
        state, out = compiled(state, data)
        return float(out["loss"])

    return run, compiled.memory_analysis().temp_size_in_bytes

"""The sine zoo beside the published recipe, and how fast it is made.

    python -m experiments.make.sine_zoo               the same 64 networks by both recipes
    python -m experiments.make.sine_zoo --benchmark   networks per second, four ways

**By both recipes.** Ours has 128 grid points where 2,000 were published, and a polynomial
sine. The first command fits the same waves from the same initial weights by both, prints
their weights' statistics side by side and writes them to `sine_zoo_reference.json` beside the
records; the published copy is the reference of `python -m experiments.inr_frequency`. Expect every
standard deviation within one per cent and about the same steps; a minute on two cores. The
picture `sine_zoo_norms_and_signs.png` has our networks layer by layer: norms that spread, and
signs near even in each network, which a sine's symmetry allows. Only the output's bias, which
no symmetry flips, leans to one side.

**Networks per second.** The second command makes a zoo of 512 in blocks, as `sine.make`
does, and fits a few of the same networks one by one: with a jitted JAX step called from
Python, by the exact sine and by ours, and with a plain PyTorch loop, if PyTorch is installed.
All of them test the error after each step and stop at the same tolerance. The few are spread
evenly over the zoo's frequencies, since high ones take longer. A minute and a half on two cores.
"""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing, torch_networks
from experiments.lib import cli, plots
from wsjax import storage
from wsjax.architectures import trigonometry
from wsjax.zoos import fitting, incoming_weights
from wsjax.zoos.sines import sine, sine_datasheet


def reference(results: pathlib.Path, count: int = 64) -> dict:
    """Fits the same networks by the published recipe and by ours; compares their statistics."""
    facts = {}
    for name, recipe, wave in (
        ("published", sine.Recipe.published(networks=count), jnp.sin),
        ("ours", sine.Recipe(networks=count), trigonometry.fast_sin),
    ):
        waves = sine.waves(recipe)
        began = time.perf_counter()
        fit = sine.fit_with(recipe, *waves, sine=wave)
        zoo, excluded = sine.collect(recipe, waves, fit)
        facts[name] = {
            "recipe": dataclasses.asdict(recipe),
            "sine": "exact" if wave is jnp.sin else "polynomial",
            "seconds": round(time.perf_counter() - began, 1),
            "excluded": excluded,
            "statistics": sine_datasheet.statistics(zoo),
        }
    results.mkdir(parents=True, exist_ok=True)
    storage.write_sealed(results / "sine_zoo_reference.json", facts)
    title = f"Sine zoo, {len(zoo)} networks: incoming weights of neurons"
    incoming = incoming_weights.incoming(zoo)  # of ours, the last
    plots.norms_and_signs(results / "sine_zoo_norms_and_signs.png", incoming, title)
    lines = sine_datasheet.compare(facts["ours"]["statistics"], facts["published"]["statistics"])
    print("\n".join(lines))
    print({name: facts[name]["seconds"] for name in facts}, "seconds, compilation included")
    return facts


def benchmark(
    recipe: sine.Recipe, torch: Any | None, alone: int = 16, rounds: int = 3
) -> dict[str, float]:
    """Networks per second in a batch and one by one; of all routes in turn, the fastest round."""
    count = recipe.networks
    waves = sine.waves(recipe)
    ranks = ((np.arange(alone) + 0.5) / alone * count).astype(int)
    few = sine.Waves(*(w[np.argsort(waves.frequencies)[ranks]] for w in waves))
    routes = {
        "jax_exact_sine": _jax_loop(recipe, jnp.sin),
        "jax_our_sine": _jax_loop(recipe, trigonometry.fast_sin),
    }
    if torch:
        routes["torch"] = _torch_loop(torch, recipe)

    batch, best = 0.0, {name: (math.inf, []) for name in routes}
    for _ in range(rounds):
        zoo, facts = sine.make(recipe)  # compiled in the first round, outside its seconds
        batch = max(batch, facts["networks_per_minute"] / 60)
        for name, fit in routes.items():
            best[name] = min(best[name], _timed(fit, few))
    metrics = {
        "batch_networks_per_second": batch,
        "batch_compile_seconds": facts["compile_seconds"],
        "batch_networks": count,
        "batch_mean_steps": float(zoo.labels["fit_steps"].mean()),
        "one_by_one_networks": alone,
        "rounds": rounds,
        "load_average": os.getloadavg()[0],
    }
    for name, (seconds, steps) in best.items():
        metrics |= {
            f"{name}_networks_per_second": alone / seconds,
            f"{name}_steps_per_second": sum(steps) / seconds,
            f"{name}_mean_steps": float(np.mean(steps)),
            f"batch_times_{name}": batch * seconds / alone,
        }
    for key, value in metrics.items():
        print(f"{key:<40}{value:>12.4g}")
    return {k: float(f"{v:.5g}") for k, v in metrics.items()}


def _timed(fit: Callable, few: sine.Waves) -> tuple[float, list[int]]:
    """Seconds and steps of fitting waves one after another; the first is also the warm-up."""
    fit(few.frequencies[0], few.amplitudes[0], few.keys[0])
    began = time.perf_counter()
    steps = [fit(*wave) for wave in zip(*few, strict=True)]
    return time.perf_counter() - began, steps


def _jax_loop(recipe: sine.Recipe, wave: sine.Sine) -> Callable:
    """Fits one network by a jitted step, called from Python until the error is low enough."""
    step = jax.jit(lambda state, x, y: sine.step(state, x, y, recipe, wave))
    begin = jax.jit(lambda key: sine.begin(recipe, key))
    target = jax.jit(lambda frequency, amplitude: sine.target(recipe, frequency, amplitude))

    def fit(frequency, amplitude, key):
        (x, y), state = target(frequency, amplitude), begin(key)
        for _ in range(recipe.steps):
            state = step(state, x, y)
            if float(state.mse) <= recipe.tolerance:
                break
        return int(state.steps)

    return fit


def _torch_loop(torch: Any, recipe: sine.Recipe) -> Callable:
    """The same in plain PyTorch, from the same initial weights."""
    initial = jax.jit(lambda key: fitting.initial(recipe.spec, key))
    grid = np.linspace(-math.pi, math.pi, recipe.points, endpoint=False)
    x = torch.tensor(grid, dtype=torch.float32)[:, None]

    def fit(frequency, amplitude, key):
        model = torch_networks.siren(torch, recipe.spec, initial(key), recipe.omega, recipe.offset)
        y = float(amplitude) * torch.sin(float(frequency) * x)
        adam = torch.optim.Adam(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        return torch_networks.fit(torch, model, x, y, adam, recipe.steps, recipe.tolerance)

    return fit


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("make.sine_zoo", __doc__))
    parser.add_argument("--benchmark", action="store_true", help="networks per second instead")
    options = cli.prepare(parser.parse_args(arguments))
    if not options.benchmark:
        reference(options.results)
        return
    recipe, torch = sine.Recipe(networks=512), torch_networks.load()
    config = dataclasses.asdict(recipe)
    if torch:
        config |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    measure = lambda: benchmark(recipe, torch)
    timing.record("zoo_generation", measure, config, options.results, recipe.spec.count)


if __name__ == "__main__":
    cli.run(main)

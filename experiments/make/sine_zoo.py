"""The sine zoo: is ours the published one, and what does making it in batches save?

    python -m experiments.make.sine_zoo               the same 64 networks by both recipes
    python -m experiments.make.sine_zoo --benchmark   networks per second, four ways

**By both recipes.** Ours has 128 grid points where 2,000 were published, and a polynomial
sine. The first command fits the same waves from the same initial weights by both, prints
their weights' statistics side by side and leaves them in `results/sine_zoo_reference.json`,
which `wsjax.zoos.sines.sine_datasheet` takes as its reference. Expect every standard deviation
within one per cent and about the same steps; a minute on two cores. Beside them,
`results/sine_zoo_norms_and_signs.png` shows our networks layer by layer: norms that spread,
and signs near even in each network, as a sine's symmetry lets them be. Only the output's
bias, which no symmetry flips, leans to one side.

**Networks per second.** The second command makes a zoo of 512 in blocks, as `sine.make`
does, and fits a few of the same networks one by one: with a jitted JAX step called from
Python, by the exact sine and by ours, and with a plain PyTorch loop, if there is a
PyTorch. All of them look at the error after each step and stop at the same tolerance.
The few are spread evenly over the zoo's frequencies, since high ones take longer.
The newest figures are in the README's table; a minute and a
half on two cores.
"""

import argparse
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib import plots, records
from wsjax.architectures import trigonometry
from wsjax.zoos import statistics
from wsjax.zoos.sines import sine, sine_datasheet

REFERENCE = records.RESULTS / "sine_zoo_reference.json"
PICTURE = records.RESULTS / "sine_zoo_norms_and_signs.png"


def reference(count: int = 64) -> dict:
    """Fits the same networks by the published recipe and by ours; compares their statistics."""
    found = {}
    for name, recipe, wave in (
        ("published", sine.Recipe.published(networks=count), jnp.sin),
        ("ours", sine.Recipe(networks=count), trigonometry.sin),
    ):
        waves = sine.waves(recipe)
        began = time.perf_counter()
        fit = sine.fit_with(recipe, *waves, sine=wave)
        zoo, excluded = sine.collect(recipe, waves, fit)
        found[name] = {
            "recipe": dataclasses.asdict(recipe),
            "sine": "exact" if wave is jnp.sin else "polynomial",
            "seconds": round(time.perf_counter() - began, 1),
            "excluded": excluded,
            "statistics": sine_datasheet.statistics(zoo),
        }
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    REFERENCE.write_text(json.dumps(found, indent=1) + "\n")
    title = f"Sine zoo, {len(zoo)} networks: what comes into a neuron"
    plots.norms_and_signs(PICTURE, statistics.incoming(zoo), title)  # ours, the last
    lines = sine_datasheet.compare(found["ours"]["statistics"], found["published"]["statistics"])
    print("\n".join(lines))
    print({name: found[name]["seconds"] for name in found}, "seconds, compilation included")
    return found


def benchmark(count: int = 512, alone: int = 16, rounds: int = 3) -> dict[str, float]:
    """Networks per second in a batch and one by one, in one run on one machine.

    All routes take turns, and each is given its fastest round: what else the machine does
    then weighs least.
    """
    began, recipe = time.perf_counter(), sine.Recipe(networks=count)
    waves = sine.waves(recipe)
    ranks = ((np.arange(alone) + 0.5) / alone * count).astype(int)
    few = sine.Waves(*(w[np.argsort(waves.frequencies)[ranks]] for w in waves))
    routes = {
        "jax_exact_sine": _jax_loop(recipe, jnp.sin),
        "jax_our_sine": _jax_loop(recipe, trigonometry.sin),
    }
    torch_loop, config = _torch_loop(recipe)
    if torch_loop:
        routes["torch"] = torch_loop

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
    records.append(
        {
            "experiment": "benchmarks",
            "row": "zoo_generation",
            "preset": "laptop",
            "seed": recipe.seed,
            "metrics": {k: float(f"{v:.5g}") for k, v in metrics.items()},
            "parameters": recipe.spec.count,
            "steps": recipe.steps,
            "seconds": round(time.perf_counter() - began, 1),
            "config": dataclasses.asdict(recipe) | config,
        }
    )
    return metrics


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


def _torch_loop(recipe: sine.Recipe) -> tuple[Callable | None, dict]:
    """The same in plain PyTorch, from the same initial weights; None without PyTorch."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed (pip install wsjax[torch]); its row is left out")
        return None, {}
    torch.set_num_threads(1)  # the network is too small for two: they would only wait
    initial = jax.jit(lambda key: sine.initial(recipe, key))

    class Siren(torch.nn.Module):
        def __init__(self, params):
            super().__init__()
            self.layers = torch.nn.ModuleList()
            for layer in recipe.spec.layers:
                kernel = torch.tensor(np.array(params[f"{layer.name}/kernel"]).T)
                linear = torch.nn.Linear(kernel.shape[1], kernel.shape[0])
                with torch.no_grad():
                    linear.weight.copy_(kernel)
                    linear.bias.copy_(torch.tensor(np.array(params[f"{layer.name}/bias"])))
                self.layers.append(linear)

        def forward(self, x):
            for linear in self.layers[:-1]:
                x = torch.sin(recipe.omega * linear(x))
            return self.layers[-1](x) + recipe.offset

    def fit(frequency, amplitude, key):
        model = Siren(initial(key))
        x = torch.tensor(
            np.linspace(-math.pi, math.pi, recipe.points, endpoint=False), dtype=torch.float32
        )
        x = x[:, None]
        y = float(amplitude) * torch.sin(float(frequency) * x)
        adam = torch.optim.Adam(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        for taken in range(recipe.steps):
            adam.zero_grad()
            error = torch.nn.functional.mse_loss(model(x), y)
            if error.item() <= recipe.tolerance:
                return taken
            error.backward()
            adam.step()
        return recipe.steps

    return fit, {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.make.sine_zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--benchmark", action="store_true", help="networks per second instead")
    if parser.parse_args(arguments).benchmark:
        benchmark()
    else:
        reference()


if __name__ == "__main__":
    main()

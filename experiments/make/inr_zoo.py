"""Zoos of image INRs: how close they are to the published ones, and how fast they are made.

    python -m experiments.make.inr_zoo --data digits --recipe dws --preset laptop
    python -m experiments.make.inr_zoo --data mnist --recipe dws --preset small \
        --files FILES --shard 0/2
    python -m experiments.make.inr_zoo --benchmark      two minutes on one core

A zoo lies below `FOLDER/cache`, block by block. A stopped command resumes, and several
processes, each pinned to a core of its own (`taskset -c 0`), make shards of a zoo.

Recipes: `dws`, of the INRs that came with DWSNets; `nfn`, of NFN's; `zoos.inrs.inr_recipe` has
every setting. Presets: `smoke`, tens of images and 100 steps; `laptop`, a few hundred
images, a minute on scikit-learn's digits; `small`, 12,000 INRs of MNIST or 6,000 of other
data, at 28 x 28 an eighth of a core-second each (an AMD EPYC); `h100`, `own` and `paper`, all
images, whose device-hours are estimated before it begins. Each image has one view unless
`--views` is given: NFN published 11 of each training image of the MNISTs, 21 of CIFAR-10.

Beside the layers' statistics stand those published of DWSNets' own zoos. 1,000 steps at 5e-4 do
not reach them: published weights have moved further. `--learning-rate 1e-3 --steps 1500`
does for MNIST; those of Fashion-MNIST lie between 5,000 and 8,000 steps at 5e-4 (measured on
10 images). For networks like the published ones, take the steps at which the statistics agree.
`--record` appends a zoo's figures to the records.

`--benchmark` times the factory, with our sine and the exact one, and a plain PyTorch loop
(`pip install torch`) on one thread, in turn, and compares the networks of the two sines.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing, torch_networks
from experiments.lib import cli, records
from experiments.lib.inr_recipes import PRESETS, WHOLE, estimate, first_keys, recipe, title
from wsjax.architectures import trigonometry
from wsjax.datasets import images
from wsjax.zoos import factory, fitting
from wsjax.zoos.inrs import inr_factory, inr_fitting, inr_statistics
from wsjax.zoos.inrs.inr_recipe import RECIPES, Recipe, grid


def benchmark(side: int = 28, count: int = 0, steps: int = 100, rounds: int = 3) -> dict:
    """Fits of 1,000 steps a second by each route.

    The factory fits `count` networks at once, by default 8, or 1,000 on an accelerator.
    """
    count = count or (8 if jax.default_backend() == "cpu" else 1000)
    plan = dataclasses.replace(RECIPES["dws"], steps=steps, psnr=np.inf)
    pictures = images.load("digits").train[:count]
    values = images.prepare(pictures, images.Preparation(size=side))
    keys, devices = first_keys(count), jax.devices()[:1]
    routes = {
        "factory": lambda: inr_fitting.run(plan, values, keys, devices=devices),
        "exact_sine": lambda: inr_fitting.run(plan, values, keys, sine=jnp.sin, devices=devices),
    }
    if alone := torch_fitting(plan, values[0], keys[0]):
        routes["PyTorch"] = alone
    taken = dict.fromkeys(routes, steps * count) | {"PyTorch": steps}
    figures = {}
    for clock, seconds in timing.least_seconds(routes, rounds).items():
        rates = {name: taken[name] / s for name, s in seconds.items()}
        for name, rate in rates.items():
            figures[f"{name}: fits of 1000 steps a {clock}"] = rate / 1000
            figures[f"{name}: microseconds of a net-step by {clock}"] = 1e6 / rate
            if name != "factory":
                figures[f"factory times {name} by {clock}"] = rates["factory"] / rate
    ours, exact = routes["factory"](), routes["exact_sine"]()
    apart = np.abs(ours.vectors - exact.vectors).max()
    figures["largest difference of a weight, by our sine and the exact one"] = float(apart)
    figures["largest relative difference of the errors"] = float(
        np.abs(ours.mse / exact.mse - 1).max()
    )
    x = np.linspace(-100, 100, 200_001, dtype=np.float32)
    off = np.asarray(trigonometry.fast_sin(x), np.float64) - np.sin(x.astype(np.float64))
    figures["our sine less the exact one, |x| < 100"] = float(np.abs(off).max())
    for name, value in figures.items():
        print(f"{name:<60}{value:>12.4g}")
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def torch_fitting(plan: Recipe, image: np.ndarray, key: jax.Array) -> Callable | None:
    """Fits one network in plain PyTorch, from the same initial weights; None where it is absent.

    On one thread of the CPU, or where JAX computes on a GPU, on that.
    """
    if (torch := torch_networks.load()) is None:
        return None
    rows, cols, channels = image.shape
    spec = plan.spec(channels)
    start = fitting.initial(spec, key, plan.initialization)
    device = torch_networks.device_of(torch)
    points = torch.tensor(grid(rows, cols, plan.indexing).reshape(-1, 2).copy(), device=device)
    target = torch.tensor(np.ascontiguousarray(image.reshape(-1, channels)), device=device)

    def run():
        model = torch_networks.siren(torch, spec, start, plan.omega, plan.offset).to(device)
        adam = torch.optim.Adam(model.parameters(), lr=plan.learning_rate)
        torch_networks.fit(torch, model, points, target, adam, plan.steps, plan.tolerance)

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("make.inr_zoo", __doc__))
    parser.add_argument("--recipe", choices=list(RECIPES), default="dws")
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--preset", choices=list(PRESETS), default="laptop")
    for name, words in {
        "--views": "networks for each training image",
        "--train-images": "how many",
        "--test-images": "how many",
        "--steps": "the most of a network",
        "--seed": "of images and weights",
    }.items():
        parser.add_argument(name, type=int, help=f"{words}; the preset's if not given")
    parser.add_argument("--learning-rate", type=float, help="Adam's; the recipe's if not given")
    parser.add_argument("--files", type=pathlib.Path, help="folder of a data set's original files")
    parser.add_argument(
        "--shard", type=cli.shard, default="0/1", metavar="K/N", help="process K, from 0, of N"
    )
    parser.add_argument("--benchmark", action="store_true", help="times the factory instead")
    parser.add_argument("--record", action="store_true", help="appends the zoo's figures")
    options = cli.prepare(parser.parse_args(arguments))
    if options.benchmark:
        timing.record("inr_zoo", benchmark, dataclasses.asdict(RECIPES["dws"]), options.results)
        return
    cache = options.folder / "cache"
    names = ("views", "train_images", "test_images", "steps", "seed", "learning_rate")
    changes = {k: v for k in names if (v := getattr(options, k)) is not None}
    try:
        plan = dataclasses.replace(recipe(options.recipe, options.data, options.preset), **changes)
    except ValueError as error:
        parser.error(str(error))
    with cli.reading(f"--data {options.data}"):
        data = images.load(options.data, options.files, cache / "images")
    pictures = inr_factory.image_set(data)
    if options.preset in WHOLE and (
        count := factory.unfinished(inr_factory.job(plan, pictures), cache / "zoos")
    ):
        print(f"at most {estimate(plan, pictures, count):.1f} device-hours", flush=True)
    try:
        zoo, manifest = inr_factory.make(plan, pictures, cache / "zoos", options.shard)
    except factory.UnfinishedError as error:
        print(f"this shard is done; {error}")
        return
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in zoo.splits.items())
    excluded = manifest["excluded"]["count"]
    print(f"{len(zoo)} networks of {manifest['runs']} images ({counts}), {excluded} excluded")
    print(f"{manifest['networks_per_minute']} networks a minute on {manifest['made_on']}")
    print(f"{manifest['within_tolerance']} within {plan.psnr} dB; PSNR by percentile:")
    print("  ".join(f"{p} %: {v:.2f}" for p, v in manifest["psnr"].items()))
    data = options.data if options.recipe == "dws" else ""
    print("\n".join(inr_statistics.compare(zoo.vectors, zoo.specs[0], data)[1]))
    if options.record:
        kept = ("networks", "psnr", "layers", "made_on", "networks_per_minute", "versions")
        records.append(
            {
                "experiment": "inr_zoo",
                "row": title(options.data, options.recipe, changes),
                "preset": options.preset,
                "seed": plan.seed,
                "metrics": {k: manifest[k] for k in kept},
                "parameters": zoo.specs[0].count,
                "seconds": manifest["seconds"],
                "steps": plan.steps,
                "config": dataclasses.asdict(plan),
            },
            options.results,
        )


if __name__ == "__main__":
    cli.run(main)

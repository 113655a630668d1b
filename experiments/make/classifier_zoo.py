"""Zoos of image classifiers, and how fast they are made.

    python -m experiments.make.classifier_zoo --family conv3-gap --data digits --preset laptop
    python -m experiments.make.classifier_zoo --family conv3-gap --data mnist --preset small \
        --files FILES --shard 0/2
    python -m experiments.make.classifier_zoo --family conv3-gap --data mnist --preset small --pack
    python -m experiments.make.classifier_zoo --family conv3-gap --data cifar10 --draw
    python -m experiments.make.classifier_zoo --benchmark      a quarter of an hour on two cores

A zoo lies below `FOLDER/cache`, block by block. A stopped command resumes, and several
processes, each pinned to cores of its own, make shards of a zoo. Two processes on two cores
train twice the networks of one process on one core; one process on both does not.

Presets: `smoke`, tens of networks on scikit-learn's digits; `laptop`, a few hundred of
them in minutes; `small`, hundreds on real images, of two or three core-seconds each;
`h100`, thousands of such in minutes on an H100; `paper`, the published sizes, whose
device-hours are estimated before it begins.

The zoos in the repository were made by `--route map`, before "steps" existed. The same
recipe, route, versions and type of machine give the same bits.

`--pack` puts a finished zoo into the repository, `experiments/zoos`, in half precision, and a
picture of its accuracies beside the records. The manifest states how much rounding changed the
accuracy of `REMEASURED` random networks of it, tested again before and after.

`--draw` draws the norms of the weights into each neuron and the signs of weights and biases,
layer by layer (ScaleGMN, appendix: CIFAR-10 in gray, ReLU and tanh), of the repository's zoo of
this family and data: neurons of ReLU can be scaled, those of tanh flipped.

Departures of `small` and `h100` from the published zoos, and of `smoke` and `laptop`, which are on
digits resized to 16 x 16 where a family does not fix the size: batches of 128 (32), and
about 500 steps on average (170; `small`'s `conv3-linear2` on MNIST 220) instead of thousands. The
published 86 epochs are 1 to 4 here, random for each network, or more where there are fewer
images. For `conv3-linear2` the settings are sampled as by Unterthiner et al. (2020), as SNE made
all of its zoos (appendix G), not on Schuerholt et al.'s grid. Accuracies spread from chance to
what so short a training gives.

`--benchmark` times every kind of network on images of noise: steps of all networks together,
here and one network at a time in plain PyTorch (`pip install torch`) on one thread, or on
the GPU if there is one, in turn. Beside other work, or on one core (`taskset -c 0`),
compare CPU-seconds.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.benchmarks import timing, torch_networks
from experiments.lib import cli, plots
from experiments.lib.zoo_recipes import BLOCK, PRESETS, ZOOS, recipe, sized
from wsjax import architectures, networks
from wsjax.datasets import images
from wsjax.networks import Spec
from wsjax.zoos import Zoo, factory, incoming_weights, store
from wsjax.zoos.classifiers import (
    classifier_factory,
    classifier_families,
    classifier_recipe,
    classifier_routes,
    classifier_training,
)
from wsjax.zoos.classifiers.classifier_families import FAMILIES
from wsjax.zoos.classifiers.classifier_recipe import Recipe

REMEASURED = 64
STEPS = 20  # of a network, between two readings of the clock
BENCHMARK = {  # kind -> family, its place in it, side and channels of the images
    "conv3-gap": ("conv3-gap", 0, 28, 1),
    "conv3-linear2": ("conv3-linear2", 0, 28, 1),
    "cnn": ("diverse", 0, 32, 3),
    "cnn1d": ("diverse", 1, 32, 3),
    "deepsets": ("diverse", 2, 32, 3),
    "resnet": ("diverse", 3, 32, 3),
    "vit": ("diverse", 4, 32, 3),
    "vit-small": ("vit-small", 0, 28, 1),
}


class Pace(NamedTuple):
    """Networks that train together: `run(steps)` trains each for so many steps."""

    run: Callable[[int], object]
    parameters: int
    spec: Spec


def pace(
    plan: Recipe,
    pictures: images.Images,
    kind: int,
    count: int,
    steps: int,
    route: str | None = None,
) -> Pace:
    """`count` networks of one kind in the program of a block; the rest of the block is idle.

    Its `run` takes 1 to `steps` steps.
    """
    data = classifier_routes.put(classifier_factory.inputs(plan, pictures))
    drawn, keys = classifier_recipe.hyperparameters(plan), classifier_recipe.keys(plan)
    block = next(b for b in classifier_factory.partition(plan, drawn) if b.kind == kind)
    block = block._replace(numbers=(block.numbers * count)[:count])
    program = classifier_factory.plan_of(plan, block, data, len(pictures.classes))
    one_epoch = {**drawn, "epochs": np.ones_like(drawn["epochs"])}
    size = max(count, -(-plan.block // jax.device_count()) * jax.device_count())
    settings = classifier_factory.settings_of(one_epoch, keys, block, len(data.train), size)

    def run(taken):
        images = settings.images.at[:].set(min(taken, steps) * plan.batch)
        return classifier_routes.run(program, data, settings._replace(images=images), route)

    parameters = int(classifier_training.masks(program.spec)[1].sum())
    return Pace(run, parameters, program.spec)


def estimate(
    plan: Recipe, pictures: images.Images, steps: int = 20, route: str | None = None
) -> float:
    """Device-hours of a zoo, estimated by a few steps of networks of each kind."""
    total = plan.train_images or len(pictures.train)
    drawn, least = classifier_recipe.hyperparameters(plan), plan.batch / total
    per_epoch = (drawn["fraction"] * total).astype(int) // plan.batch
    steps = min(steps, int(1 / least))
    alone = jax.default_backend() == "cpu"  # where networks come one after another
    devices = 1 if alone else jax.device_count()
    count = 1 if alone else devices * plan.block
    seconds = 0.0
    for kind in sorted(set(drawn["kind"].tolist())):
        of_kind = np.flatnonzero(drawn["kind"] == kind)
        some = pace(plan, pictures, kind, count, steps, route)
        run = {n: lambda n=n, some=some: some.run(n) for n in (1, steps)}
        took = timing.least_seconds(run, 1)["second"]
        step = max(took[steps] - took[1], 0.0) / max(steps - 1, 1)
        rest = max(took[1] - step, 0.0) * (1 + len(plan.checkpoints))
        seconds += (
            (drawn["epochs"] * per_epoch)[of_kind].sum() * step + len(of_kind) * rest
        ) / count
    return seconds * devices / 3600


def benchmark(name: str, rounds: int = 3) -> dict[str, float]:
    """Net-steps a second of a kind, all together and one by one in PyTorch."""
    figures, count = {}, 2 if jax.default_backend() == "cpu" else 256
    rng = np.random.default_rng(0)
    family, place, side, channels = BENCHMARK[name]
    noise = rng.integers(0, 256, (STEPS * 128, side, side, channels), np.uint8)
    labels = rng.integers(0, 10, len(noise)).astype(np.int32)
    classes = tuple("0123456789")
    pictures = images.Images("mnist", noise, labels, noise[:250], labels[:250], classes)
    plan = recipe(family, "mnist", "small", 200)
    kind = plan.kinds[place]
    kind = dataclasses.replace(
        kind, **{k: getattr(kind, k)[-1:] for k in ("widths", "depths", "dense")},
        norms=kind.norms[:1],
    )  # fmt: skip
    plan = dataclasses.replace(plan, kinds=(kind,), measured_images=250)
    some = pace(plan, pictures, 0, count, STEPS)
    runs = {"factory": lambda: some.run(STEPS)}
    convolutional = any(layer.kind == "conv" for layer in some.spec.layers)
    if jax.default_backend() == "cpu" and jax.device_count() == 1 and convolutional:
        for route in ("map", "steps"):
            other = pace(plan, pictures, 0, count, STEPS, route)
            runs[f"by {route}"] = lambda other=other: other.run(STEPS)
    if alone := torch_networks.training(name, side, channels, some.parameters, STEPS):
        runs["PyTorch"] = alone
    steps = dict.fromkeys(runs, count * STEPS) | {"PyTorch": STEPS}
    took = timing.least_seconds(runs, rounds)
    for clock, seconds in took.items():
        rates = {route: steps[route] / s for route, s in seconds.items()}
        for route, rate in rates.items():
            figures[f"{route}: net-steps a {clock}"] = round(rate, 1)
            print(f"{name:14} {route:8} {rate:10.1f} net-steps a {clock}", flush=True)
        if alone:
            ratio = rates["factory"] / rates["PyTorch"]
            figures[f"factory times PyTorch by {clock}"] = round(ratio, 2)
    a_minute = 60 * count * STEPS / took["second"]["factory"] / 500
    return figures | {"networks of 500 steps a minute": round(a_minute, 2)}


def tested(plan: Recipe, pictures: images.Images, zoo: Zoo) -> np.ndarray:
    """The test accuracy of each network, measured again, [network]."""
    data, accuracy = classifier_factory.inputs(plan, pictures), np.zeros(len(zoo), np.float32)
    pieces = np.array_split(np.arange(len(data.test)), -(-len(data.test) // 250))
    for s, spec in enumerate(zoo.specs):
        predict = jax.jit(
            lambda v, x, spec=spec: architectures.forward(
                networks.unravel(v, spec), x, spec, architectures.by_slices
            ).argmax(-1)
        )
        for i in np.flatnonzero(zoo.which == s):
            read = classifier_training.LAYOUTS[
                classifier_families.layout(plan, int(zoo.labels["kind"][i]))
            ]
            vector = zoo.vectors[i, : spec.count]
            right = [predict(vector, read(data.test[p])) == data.test_labels[p] for p in pieces]
            accuracy[i] = np.mean(np.concatenate(right))
    return accuracy


def pack(
    plan: Recipe, pictures: images.Images, zoo: Zoo, manifest: dict, folder: pathlib.Path
) -> dict:
    """Packs a zoo below a folder; returns how much rounding changes accuracies.

    Raises:
        ValueError: networks tested again are not as accurate as their labels.
    """
    rows = np.random.default_rng(0).permutation(len(zoo))[:REMEASURED]
    some = zoo.select(rows)
    before, after = (tested(plan, pictures, z) for z in (some, store.rounded(some)))
    if (wrong := np.abs(before - some.labels["test_accuracy"]).max()) > 1e-3:
        raise ValueError(f"expected networks as accurate as labelled, got a change of {wrong:.4f}")
    change = np.abs(after - before)
    rounding = {
        "what": "absolute change of test accuracy by rounding weights to half precision",
        "networks": len(rows),
        "mean": float(f"{change.mean():.3g}"),
        "largest": float(f"{change.max():.3g}"),
    }
    kept = ("recipe", "images", "excluded", "versions", "made_on", "routes", "seconds",
            "licence", "networks_per_minute")  # fmt: skip
    facts = {**{k: manifest[k] for k in kept}, "rounding": rounding}
    store.save(folder / f"{plan.family}.{plan.data}", zoo, facts, "float16")
    return rounding


def draw(zoo: Zoo, name: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws norms and signs of the networks of each activation, as their training left them.

    Returns:
        The pictures in the folder.

    Raises:
        ValueError: networks of an activation are of several architectures.
    """
    final, paths = zoo.select(zoo.labels["epoch"] == zoo.labels["epochs"]).compact(), []
    activations = [spec.layers[0].activation for spec in final.specs]
    if len(set(activations)) < len(activations):
        raise ValueError(f"expected one architecture for each activation, got {activations}")
    for s, activation in enumerate(activations):
        part = final.of(s)
        path = folder / f"zoo_{name.replace(' ', '_')}_{activation}_norms_and_signs.png"
        title = f"{name}, {activation}: {len(part)} networks"
        plots.norms_and_signs(path, incoming_weights.incoming(part), title)
        paths.append(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("make.classifier_zoo", __doc__))
    parser.add_argument("--family", choices=list(FAMILIES), default="conv3-gap")
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--preset", choices=list(PRESETS), default="laptop")
    parser.add_argument("--networks", type=int, default=0, help="the preset's if 0")
    parser.add_argument("--block", type=cli.positive, default=0, help=BLOCK)
    parser.add_argument("--files", type=pathlib.Path, help="folder of a data set's original files")
    parser.add_argument(
        "--shard", type=cli.shard, default="0/1", metavar="K/N", help="process K, from 0, of N"
    )
    parser.add_argument(
        "--route", choices=list(classifier_routes.ROUTES),
        help="how to train, by default the fastest; another rounds otherwise",
    )  # fmt: skip
    parser.add_argument("--pack", action="store_true", help="puts the zoo into the repository")
    parser.add_argument("--draw", action="store_true", help="draws norms and signs instead")
    parser.add_argument("--benchmark", action="store_true", help="times the factory instead")
    parser.add_argument("--rounds", type=cli.positive, default=3, help="of the benchmark")
    parser.add_argument("--kinds", default="", help="of the benchmark, comma-separated")
    options = cli.prepare(parser.parse_args(arguments))
    if options.route == "steps" and jax.device_count() > 1:
        parser.error(f"expected one device for --route steps, got {jax.device_count()}")
    if options.benchmark:
        config = {"batch": 128, "steps": STEPS, "rounds": options.rounds}
        for kind in cli.select(options.kinds, BENCHMARK, BENCHMARK):  # each its own record
            measure = lambda kind=kind: benchmark(kind, options.rounds)
            timing.record(f"classifier_zoo {kind}", measure, config, options.results)
        return
    if options.draw:
        path = ZOOS / f"{options.family}.{options.data}"
        with cli.reading(f"the repository's zoo {path.name}"):
            drawn = draw(store.load(path)[0], f"{options.family} {options.data}", options.results)
        print("\n".join(map(str, drawn)))
        return
    cache = options.folder / "cache"
    try:
        plan = recipe(options.family, options.data, options.preset, options.networks)
        plan = sized(plan, block=options.block)
    except ValueError as error:
        parser.error(str(error))
    with cli.reading(f"--data {options.data}"):
        pictures = images.load(options.data, options.files, cache / "images")
    if options.preset == "paper":
        hours = estimate(plan, pictures, route=options.route)
        print(f"{plan.networks} networks: about {hours:.1f} device-hours", flush=True)
    try:
        zoo, manifest = classifier_factory.make(
            plan, pictures, cache / "zoos", options.shard, options.route
        )
    except factory.UnfinishedError as error:
        print(f"this shard is done; {error}")
        return
    accuracy = zoo.labels["test_accuracy"]
    counts, edges = np.histogram(accuracy, bins=10, range=(0, 1))
    excluded = manifest["excluded"]["count"]
    print(f"{len(zoo)} networks of {manifest['runs']} runs, {excluded} runs excluded")
    print(f"{manifest['networks_per_minute']} networks a minute on {manifest['made_on']}")
    for n, low in zip(counts, edges[:-1], strict=True):
        print(f"test accuracy {low:.1f} to {low + 0.1:.1f}: {n}")
    if options.pack:
        print(f"packed; {pack(plan, pictures, zoo, manifest, ZOOS)}")
        kinds = {k.name: zoo.labels["kind"] == i for i, k in enumerate(plan.kinds)}
        parts = {
            f"{part} accuracy": {k: zoo.labels[f"{part}_accuracy"][at] for k, at in kinds.items()}
            for part in ("train", "test")
        }
        title = f"{plan.family} on {plan.data}: {len(zoo)} networks"
        path = options.results / f"zoo_{plan.family}_{plan.data}.png"
        plots.histograms(path, parts, "accuracy", title)


if __name__ == "__main__":
    cli.run(main)

"""Linear mode connectivity of two classifiers, before and after their neurons are matched.

Git Re-Basin, figure 2 (Ainsworth et al., 2023): two MLPs with three hidden layers of 512,
trained from different initial weights and in different orders of the data. The loss on the
line between them has a barrier, which weight matching removes where they are wide enough.

    python -m experiments.interpolation                              digits; half a minute
    python -m experiments.interpolation --data mnist                 tensorflow-datasets
    python -m experiments.interpolation --data mnist --files FOLDER  the original files

The barrier is the largest rise above the chord between the two losses (`matching.barrier`).
The paper trains for 100 epochs; here 20, or `--epochs`.
"""

import dataclasses
import functools
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lib import cli, plots, records
from wsjax import architectures
from wsjax.datasets import images
from wsjax.datasets.images import Images, Preparation
from wsjax.networks import Params, Spec
from wsjax.symmetries import matching, permutations

POINTS = 25
MEASURED = 10_000  # of the training images, the first


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the training of the two networks.

    Attributes:
        width: of the hidden layers.
        depth: how many of them.
        epochs: passes over the training images.
        batch: images in a step.
        learning_rate: of Adam.
    """

    width: int = 512
    depth: int = 3
    epochs: int = 20
    batch: int = 500
    learning_rate: float = 1e-3


def train(spec: Spec, x: np.ndarray, y: np.ndarray, settings: Settings, seed: int) -> Params:
    """Trains a classifier on inputs [n, input] and classes [n]; He-normal kernels, no biases."""
    adam, rng = optax.adam(settings.learning_rate), np.random.default_rng(seed)
    params = {}
    for a in spec.arrays:
        shape = spec.shape(a)
        spread = np.sqrt(2 / shape[0]) if a.role == "kernel" else 0.0
        params[a.name] = jnp.asarray(rng.normal(0, spread or 1, shape) * (spread > 0), jnp.float32)

    def step(carry, rows):
        params, memory = carry
        gradient = jax.grad(loss)(params, x[rows], y[rows], spec)
        change, memory = adam.update(gradient, memory)
        return (optax.apply_updates(params, change), memory), None

    epoch = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order)[0])
    x, y, carry = jnp.asarray(x), jnp.asarray(y), (params, adam.init(params))
    size = min(settings.batch, len(x))
    for _ in range(settings.epochs):
        order = rng.permutation(len(x))[: len(x) // size * size]
        carry = epoch(carry, order.reshape(-1, size))
    return jax.tree.map(np.asarray, carry[0])


def loss(params: Params, x: jax.Array, y: jax.Array, spec: Spec) -> jax.Array:
    """Mean cross-entropy of inputs [n, input] and classes [n]."""
    logits = architectures.forward(params, x, spec)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def compare(data: Images, settings: Settings, picture: pathlib.Path) -> dict[str, float]:
    """Trains both, matches the second to the first, and measures the loss on the line between."""
    flat = lambda x: images.prepare(x, Preparation(gray=True)).reshape(len(x), -1)
    x, test = flat(data.train), flat(data.test)
    widths = [x.shape[1], *[settings.width] * settings.depth, len(data.classes)]
    spec = architectures.mlp(widths, "relu")
    one, other = (train(spec, x, data.train_labels, settings, seed) for seed in (0, 1))
    begin = time.monotonic()
    element = matching.match(other, one, spec)
    figures = {"matching_seconds": round(time.monotonic() - begin, 2)}
    ends = {"as trained": other, "matched": permutations.act(element, other, spec)}
    y, lines = jnp.asarray(data.test_labels), {}
    accuracy = jax.jit(lambda p: (architectures.forward(p, test, spec).argmax(-1) == y).mean())
    figures |= {"test_accuracy": float(accuracy(one)), "test_accuracy_2": float(accuracy(other))}
    first = slice(0, MEASURED)
    parts = {"train": (x[first], data.train_labels[first]), "test": (test, data.test_labels)}
    for part, (inputs, classes) in parts.items():
        measure = jax.jit(functools.partial(loss, x=inputs, y=classes, spec=spec))
        for name, end in ends.items():
            key = name.replace(" ", "_")
            figures[f"{part}_barrier_{key}"] = matching.barrier(measure, one, end, POINTS)
            path = np.linspace(0, 1, POINTS)
            between = [jax.tree.map(lambda a, b, t=t: (1 - t) * a + t * b, one, end) for t in path]
            lines[f"{part}, {name}"] = (path, [float(measure(p)) for p in between])
    title = f"{data.name}: loss on the line between two networks"
    plots.curves(picture, lines, "position on the line", "cross-entropy", title)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("interpolation", __doc__))
    parser.add_argument("--data", choices=images.NAMES, default="digits")
    parser.add_argument("--files", type=pathlib.Path, help="folder of a data set's original files")
    for field in dataclasses.fields(Settings):
        flag = "--" + field.name.replace("_", "-")
        kind = cli.positive if isinstance(field.default, int) else float
        parser.add_argument(flag, type=kind, default=field.default)
    options = cli.prepare(parser.parse_args(arguments))
    settings = Settings(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Settings)})
    with cli.reading(f"--data {options.data}"):
        data = images.load(options.data, options.files, options.folder / "cache" / "images")
    begin = time.monotonic()
    picture = options.folder / "interpolation" / f"{options.data}.png"
    figures = compare(data, settings, picture)
    record = records.append(
        {
            "experiment": "interpolation",
            "row": options.data,
            "preset": "laptop" if settings == Settings() else "laptop-custom",
            "seed": 0,
            "metrics": figures,
            "parameters": 0,
            "seconds": round(time.monotonic() - begin, 1),
            "steps": settings.epochs * (len(data.train) // min(settings.batch, len(data.train))),
            "config": {"data": options.data, **dataclasses.asdict(settings)},
        },
        options.results,
    )
    if options.results == records.PUBLISHED:
        shutil.copyfile(picture, options.results / f"interpolation_{options.data}.png")
    for name, value in record["metrics"].items():
        print(f"{name:32} {value:.4f}")
    print(f"plot of the losses on the line: {picture}")


if __name__ == "__main__":
    cli.run(main)

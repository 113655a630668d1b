"""Makes a folder of PyTorch checkpoints of a sweep, 40 of 60 labelled, for `wsjax fit` and `rank`.

    python -m experiments.make.checkpoint_folder --folder sweep         half a minute on one core

    sweep/run_00.pt ... run_59.pt    state dicts of small CNNs: conv 3x3, conv 3x3, linear
          labels.csv                 file, accuracy, learning_rate, weight_decay, epochs: of 40
          held_back.csv              the same of the other 20

The CNNs learn scikit-learn's 8x8 digits with hyper-parameters drawn at random, so that their test
accuracies spread from chance to nearly 1. They are trained in JAX, all of one number of epochs at
once, and written as PyTorch lays weights out and pickles them.
"""

import csv
import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lib import cli, torch_writer

WIDTHS = (8, 12)
LABELLED = 2 / 3
BATCH = 64
COLUMNS = ("file", "accuracy", "learning_rate", "weight_decay", "epochs")


def settings(count: int, seed: int) -> dict[str, np.ndarray]:
    """Hyper-parameters of each run, [run], log-uniform."""
    rng = np.random.default_rng(seed)
    log = lambda low, high: np.exp(rng.uniform(np.log(low), np.log(high), count))
    return {
        "learning_rate": log(1e-4, 3e-2),
        "weight_decay": log(1e-5, 1e-1),
        "epochs": np.round(log(1, 12)).astype(int),
    }


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images [image, 1, 8, 8] and classes [image], then those of the test."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    images = (images.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1200], order[1200:]
    return images[train], classes[train], images[test], classes[test]


def initial(key: jax.Array) -> dict[str, jax.Array]:
    """The arrays of a CNN, uniform as PyTorch initialises them."""
    one, two = WIDTHS
    shapes = {"conv1": (one, 1, 3, 3), "conv2": (two, one, 3, 3), "fc": (10, two * 4)}
    params = {}
    for name, shape in shapes.items():
        key, weight, bias = jax.random.split(key, 3)
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        params[f"{name}.weight"] = jax.random.uniform(weight, shape, minval=-bound, maxval=bound)
        params[f"{name}.bias"] = jax.random.uniform(bias, shape[:1], minval=-bound, maxval=bound)
    return params


def logits(params: Mapping[str, jax.Array], images: jax.Array) -> jax.Array:
    """Images [image, 1, 8, 8] -> [image, 10]: two convolutions of stride 2, a linear layer."""
    x = images
    for name in ("conv1", "conv2"):
        x = jax.lax.conv_general_dilated(x, params[f"{name}.weight"], (2, 2), ((1, 1), (1, 1)))
        x = jax.nn.relu(x + params[f"{name}.bias"][:, None, None])
    return x.reshape(len(x), -1) @ params["fc.weight"].T + params["fc.bias"]


def train(drawn: Mapping[str, np.ndarray], seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Arrays of all runs, each [run, ...], and their test accuracies [run]."""
    images, classes, test_images, test_classes = map(jnp.asarray, digits())
    runs, steps = len(drawn["epochs"]), len(images) // BATCH
    keys = jax.random.split(jax.random.key(seed), runs)
    params = jax.vmap(initial)(keys)
    optimizer = optax.scale_by_adam()
    state = jax.vmap(optimizer.init)(params)

    def loss(params, rows):
        each = optax.softmax_cross_entropy_with_integer_labels(
            logits(params, images[rows]), classes[rows]
        )
        return each.mean()

    def epoch(params, state, key, rate, decay, on):
        order = jax.random.permutation(key, len(images))[: steps * BATCH].reshape(steps, BATCH)

        def step(carry, rows):
            params, state = carry
            updates, new = optimizer.update(jax.grad(loss)(params, rows), state)
            moved = jax.tree.map(lambda p, u: p - rate * (u + decay * p), params, updates)
            return (moved, new), None

        moved, _ = jax.lax.scan(step, (params, state), order)
        return jax.tree.map(lambda a, b: jnp.where(on, a, b), moved, (params, state))

    every = jax.jit(jax.vmap(epoch))
    for i in range(int(drawn["epochs"].max())):
        folded = jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys)
        rates, decays = (jnp.asarray(drawn[k]) for k in ("learning_rate", "weight_decay"))
        params, state = every(params, state, folded, rates, decays, drawn["epochs"] > i)
    right = jax.vmap(lambda p: (logits(p, test_images).argmax(1) == test_classes).mean())(params)
    return {k: np.asarray(x) for k, x in params.items()}, np.asarray(right)


def write(folder: pathlib.Path, count: int = 60, seed: int = 0) -> None:
    """Trains the networks, and writes them with both tables."""
    drawn = settings(count, seed)
    params, accuracies = train(drawn, seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        name = f"run_{i:02d}.pt"
        arrays = {k: np.ascontiguousarray(x[i]) for k, x in params.items()}
        (folder / name).write_bytes(torch_writer.saved(arrays))
        own = (f"{drawn[k][i]:.6g}" for k in COLUMNS[2:])
        rows.append([name, f"{accuracies[i]:.4f}", *own])
    labelled = round(count * LABELLED)
    for name, part in (("labels.csv", rows[:labelled]), ("held_back.csv", rows[labelled:])):
        with open(folder / name, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *part])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = cli.command("make.checkpoint_folder", __doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="created")
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    write(options.folder, options.networks, options.seed)


if __name__ == "__main__":
    cli.run(main)

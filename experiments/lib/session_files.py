"""Files for sessions with the `wsjax` command, as people who train with Flax have them.

cnn-0.msgpack, cnn-1.msgpack     two CNNs on scikit-learn's digits, of two seeds
cnn-0-tuned.msgpack              the first, trained further on the digits 0 to 4 alone
cnn.json                         settings that weights do not hold: activation, stride, ...
digits-test.npz                  x [image, 8, 8, 1] and y [image], which none was trained on

python -m experiments.lib.session_files sessions
wsjax diff sessions/cnn-0.msgpack sessions/cnn-0-tuned.msgpack --config sessions/cnn.json
"""

import json
import pathlib
import sys

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax

HELD_OUT = 5  # every fifth image
BATCH = 64
SETTINGS = {"activation": "relu", "stride": 2, "padding": "SAME", "max_pool": 1, "pool": "mean"}


class CNN(nn.Module):
    """Convolutions of 3x3 and stride 2, ReLUs, the mean over positions, and one dense layer.

    Attributes:
        widths: channels of the convolutions.
    """

    widths: tuple[int, ...] = (16, 32)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., 8, 8, 1] -> [..., 10]."""
        for width in self.widths:
            x = nn.relu(nn.Conv(width, (3, 3), strides=2)(x))
        return nn.Dense(10)(x.mean((-3, -2)))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images [image, 8, 8, 1] from 0 to 1 and their classes."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32).reshape(-1, 8, 8, 1), y.astype(np.int32)


def train(model: CNN, variables, x, y, steps: int, seed: int, rate: float = 1e-2):
    """Trains by Adam on random batches.

    Args:
        model: the network.
        variables: initial ones.
        x: images.
        y: classes.
        steps: of `BATCH` images.
        seed: of the batches.
        rate: of learning.
    """
    optimizer = optax.adam(rate)

    def loss(variables, x, y):
        scores = model.apply(variables, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def step(carry, key):
        variables, state = carry
        at = jax.random.randint(key, (BATCH,), 0, len(x))
        updates, state = optimizer.update(jax.grad(loss)(variables, x[at], y[at]), state)
        return (optax.apply_updates(variables, updates), state), None

    @jax.jit
    def run(variables, keys):
        return jax.lax.scan(step, (variables, optimizer.init(variables)), keys)[0][0]

    x, y = jnp.asarray(x), jnp.asarray(y)
    return run(variables, jax.random.split(jax.random.key(seed), steps))


def make(folder: pathlib.Path, steps: int = 400, widths: tuple[int, ...] = (16, 32)) -> None:
    """Writes the files.

    Args:
        folder: is made if there is none.
        steps: of training; a third of them for the tuned network.
        widths: of the networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    x, y = digits()
    (folder / "cnn.json").write_text(json.dumps(SETTINGS))
    held_out = np.arange(len(x)) % HELD_OUT == 0
    np.savez(folder / "digits-test.npz", x=x[held_out], y=y[held_out])
    x, y, model = x[~held_out], y[~held_out], CNN(widths)
    networks = {}
    for seed in (0, 1):
        first = model.init(jax.random.key(seed), x[:1])
        networks[f"cnn-{seed}"] = train(model, first, x, y, steps, seed=seed + 10)
    half = y < 5
    tuned = train(model, networks["cnn-0"], x[half], y[half], max(steps // 3, 1), 20, 3e-3)
    for name, variables in {**networks, "cnn-0-tuned": tuned}.items():
        data = flax.serialization.to_bytes(variables)
        (folder / f"{name}.msgpack").write_bytes(data)


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))

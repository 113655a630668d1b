"""Files for sessions with the `wsjax` command, as people who train with Flax have them.

cnn-0.msgpack, cnn-1.msgpack     two CNNs on scikit-learn's digits, of two seeds
cnn-0-tuned.msgpack              the first, trained further on the digits 0 to 4 alone
cnn.json                         settings that weights do not hold: activation, stride, ...
digits-test.npz                  x [image, 8, 8, 1] and y [image], which none was trained on

python -m experiments.lib.session_files sessions
wsjax diff sessions/cnn-0.msgpack sessions/cnn-0-tuned.msgpack --config sessions/cnn.json

And `sirens`, as a loop in PyTorch leaves them; `inrs`, by the recipe of our zoos; `orbax`, a
checkpoint of training; `truncated`, a safetensors file and its first nine tenths.
"""

import json
import pathlib
import sys

import flax.linen as nn
import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from wsjax import networks
from wsjax.datasets import images
from wsjax.zoos.inrs import inr_fitting
from wsjax.zoos.inrs.inr_recipe import DWS

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


def orbax(folder: pathlib.Path, steps: int = 20) -> None:
    """A checkpoint of the CNN and of Adam's state, in a folder of Orbax."""
    import orbax.checkpoint as ocp

    x, y = digits()
    model = CNN()
    variables = model.init(jax.random.key(0), x[:1])
    params = train(model, variables, x, y, steps, seed=1)["params"]
    state = {"params": params, "opt_state": optax.adam(1e-2).init(params), "step": np.int64(steps)}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), state)


def truncated(folder: pathlib.Path) -> None:
    """`whole.safetensors` of an untrained CNN, and `cut.safetensors`, its first nine tenths."""
    variables = CNN().init(jax.random.key(0), digits()[0][:1])
    arrays = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    data = safetensors.numpy.save({k: np.asarray(a) for k, a in arrays.items()})
    (folder / "whole.safetensors").write_bytes(data)
    (folder / "cut.safetensors").write_bytes(data[: len(data) * 9 // 10])


def sirens(
    folder: pathlib.Path,
    files: pathlib.Path | None,
    counts: tuple[int, int] = (17, 3),
    steps: int = 1000,
) -> None:
    """SIRENs 2-32-32-1 of MNIST's test images, fitted one by one in PyTorch; and `labels.csv`.

    Args:
        folder: is made if there is none.
        files: folder of MNIST's original files; tensorflow-datasets' if None.
        counts: how many have the convention of DWSNets' zoos, and how many another: images on
            [-1, 1] without an offset, the first coordinate down a column.
        steps: of Adam at 1e-3.

    Raises:
        SystemExit: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise SystemExit("SIRENs of PyTorch need it: pip install torch") from error
    folder.mkdir(parents=True, exist_ok=True)
    mnist = images.load("mnist", files)
    torch.manual_seed(0)
    along = torch.linspace(-1, 1, 28)
    down, across = torch.meshgrid(along, along, indexing="ij")
    rows = ["file,class"]
    for i in range(sum(counts)):
        image = torch.tensor(mnist.test[i] / 255.0, dtype=torch.float32).reshape(-1, 1)
        usual = i < counts[0]
        points = torch.stack([across, down] if usual else [down, across], -1).reshape(-1, 2)
        params = _fitted(torch, points, image - 0.5 if usual else 2 * image - 1, steps)
        torch.save(params, folder / f"digit_{i:02d}.pth")
        rows.append(f"digit_{i:02d}.pth,{mnist.test_labels[i]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def _fitted(torch, points, values, steps):
    """The state dict of a SIREN of omega 30 (Sitzmann et al., 2020), with PyTorch's biases."""
    layers = [torch.nn.Linear(n, m) for n, m in ((2, 32), (32, 32), (32, 1))]
    for layer, bound in zip(
        layers, (1 / 2, (6 / 32) ** 0.5 / 30, (6 / 32) ** 0.5 / 30), strict=True
    ):
        torch.nn.init.uniform_(layer.weight, -bound, bound)
    net = torch.nn.ModuleDict({f"net_{i}": layer for i, layer in enumerate(layers)})
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(steps):
        x = points
        for layer in layers[:-1]:
            x = torch.sin(30 * layer(x))
        loss = (layers[-1](x) - values).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    named = {"net_0": "net.0.linear", "net_1": "net.1.linear", "net_2": "net.2"}
    return {f"{named[k[:5]]}{k[5:]}": a for k, a in net.state_dict().items()}


def inrs(folder: pathlib.Path, files: pathlib.Path | None, count: int = 3) -> None:
    """INRs of MNIST's first test images by the recipe of DWSNets' zoos, named as SIRENs are."""
    folder.mkdir(parents=True, exist_ok=True)
    values = images.prepare(images.load("mnist", files).test[:count], images.Preparation())
    fitted = inr_fitting.run(DWS, values, inr_fitting.keys(1, "test", range(count), 0))
    for i, vector in enumerate(fitted.vectors):
        params, stored = networks.unravel(vector, DWS.spec(1)), {}
        for layer, name in enumerate(("net.0.linear", "net.1.linear", "net.2")):
            kernel = np.asarray(params[f"Dense_{layer}/kernel"])
            stored[f"{name}.weight"] = np.ascontiguousarray(kernel.T)
            stored[f"{name}.bias"] = np.asarray(params[f"Dense_{layer}/bias"])
        safetensors.numpy.save_file(stored, folder / f"siren_{i}.safetensors")


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))

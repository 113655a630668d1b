"""Small zoos and quick settings that the tests of all tasks share."""

import jax
import numpy as np

from wsjax import architectures, encoders, tasks, testing, training, zoos

SPEC = architectures.mlp([1, 4, 1], "tanh")
SNE = {"chunk": 4, "width": 16, "code": 8, "heads": 2, "chunk_depth": 1, "depth": 1}
STAT_NN = {"widths": (8,), "code": 4}


def thirds(zoo, seed=0):
    """A half of the runs for training, a quarter each for validation and test."""
    quarter = len(np.unique(zoo.runs)) // 4
    sizes = {"train": 2 * quarter, "validation": quarter, "test": quarter}
    return zoos.split(zoo, sizes, seed)


def ratio_zoo(count=64, seed=0):
    """The label is which of two kernels is the larger: the same numbers, in other places."""
    params = {k: np.array(v) for k, v in testing.draw(jax.random.key(seed), SPEC, (count,)).items()}
    ratio = np.random.default_rng(seed).uniform(-1, 1, count)
    for sign, name in ((1, "Dense_0/kernel"), (-1, "Dense_1/kernel")):
        kernel = params[name]
        size = np.sqrt((kernel**2).mean((1, 2), keepdims=True))
        params[name] = kernel / size * np.exp(sign * ratio)[:, None, None]
    share = (ratio - ratio.min()) / np.ptp(ratio)
    return thirds(zoos.from_params(params, SPEC, {"ratio": ratio, "share": share}))


def two_depths(count=64):
    """Networks of two depths, two of each run; labels as of `ratio_zoo`."""
    flat = ratio_zoo(count)
    deep = architectures.mlp([1, 4, 3, 1], "tanh")
    params = testing.draw(jax.random.key(9), deep, (count,))
    labels = np.random.default_rng(9).uniform(-1, 1, count)
    other = zoos.from_params(params, deep, {"ratio": labels, "share": labels / 2 + 0.5})
    both = zoos.concatenate([flat, other])
    runs = np.concatenate([np.arange(count) // 2, count + np.arange(count) // 2])
    return thirds(zoos.Zoo(both.vectors, both.specs, both.which, both.labels, runs))


def fit(zoo, task, folder, encoder="sne", settings=None, head=(16,), **how):
    """Trains a named encoder for a few steps, in silence."""
    how = {"steps": 10, "batch": 16, "learning_rate": 1e-2} | how
    how = {"evaluate_every": how["steps"], "checkpoint_every": how["steps"]} | how
    module = encoders.build(encoder, SNE if encoder == "sne" and settings is None else settings)
    return tasks.fit(
        zoo,
        task,
        module,
        head=head,
        settings=training.Settings(**how),
        folder=folder,
        progress=False,
    )

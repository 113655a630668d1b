"""Pairs of networks of one function, and files of them in the layouts of frameworks."""

import itertools

import jax
import numpy as np
import safetensors.numpy
from cases.drawing import draw

from wsjax import architectures
from wsjax.symmetries import permutations, scalings

SPECS = {
    "relu": architectures.mlp([4, 24, 24, 3], "relu"),
    "tanh": architectures.mlp([4, 24, 24, 3], "tanh"),
    "sin": architectures.mlp([2, 24, 24, 1], "sin", 3.0),
    "batch norm": architectures.cnn([1, 8, 12], [5], norm="batch"),
    "heads": architectures.vit(1, 12, 5, size=[4, 4], patch=2, blocks=1, heads=3),
}


def numpy(params):
    return {n: np.array(x) for n, x in params.items()}


def copy(params, spec, seed=0):
    """The same function: neurons permuted, flipped, rescaled and shifted."""
    keys = jax.random.split(jax.random.key(seed))
    moved = permutations.act(permutations.derange(keys[0], params, spec), params, spec)
    return numpy(scalings.act(scalings.sample(keys[1], spec, spread=0.5), moved, spec))


def noisy(params, size, seed=0):
    """The network with noise of this share of each array's deviation."""
    rng = np.random.default_rng(seed)
    noise = lambda x: (size * x.std() * rng.standard_normal(x.shape)).astype(x.dtype)
    return {n: np.abs(x + noise(x)) if "var" in n else x + noise(x) for n, x in params.items()}


def torch_mlp(seed=0, widths=(6, 24, 24, 3)):
    """An MLP as PyTorch names and stores it: 0.weight [out, in], 0.bias."""
    out = {}
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        rng = np.random.default_rng([seed, i])
        out[f"{2 * i}.weight"] = (rng.standard_normal((m, n)) / n**0.5).astype(np.float32)
        out[f"{2 * i}.bias"] = (0.3 * rng.standard_normal(m)).astype(np.float32)
    return out


def flax_mlp(state):
    """The same as Flax does: Dense_0/kernel [in, out]."""
    out = {}
    for name, x in state.items():
        number, leaf = name.split(".")
        leaf = "kernel" if leaf == "weight" else leaf
        out[f"Dense_{int(number) // 2}/{leaf}"] = np.ascontiguousarray(x.T)
    return out


def permuted_mlp(state, seed=0):
    """The same function: hidden neurons permuted."""
    rng, out = np.random.default_rng(seed), dict(state)
    layers = len(state) // 2
    for i in range(layers - 1):
        order = rng.permutation(len(state[f"{2 * i}.bias"]))
        for leaf in ("weight", "bias"):
            out[f"{2 * i}.{leaf}"] = out[f"{2 * i}.{leaf}"][order]
        following = f"{2 * i + 2}.weight"
        out[following] = np.ascontiguousarray(out[following][:, order])
    return out


def saved(path, arrays):
    safetensors.numpy.save_file({n: np.ascontiguousarray(x) for n, x in arrays.items()}, path)
    return str(path)


def network(name, seed=7):
    spec = SPECS[name]
    return draw(spec, seed=seed), spec

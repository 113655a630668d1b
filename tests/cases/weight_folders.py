"""Folders of weights files, written byte by byte."""

import itertools

import jax
import numpy as np
from cases import torch_by_hand, weight_files

from wsjax import networks
from wsjax.recognition import recognize
from wsjax.symmetries import permutations, scalings

WIDTHS = (2, 6, 6, 1)


def mlp(seed, widths=WIDTHS):
    """The arrays of a network, by PyTorch's names."""
    rng, arrays = np.random.default_rng(seed), {}
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        arrays[f"net.{2 * i}.weight"] = rng.normal(size=(m, n)).astype("f4")
        arrays[f"net.{2 * i}.bias"] = rng.normal(size=m).astype("f4")
    return arrays


def write(path, arrays):
    """A PyTorch checkpoint, or a safetensors file by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        path.write_bytes(weight_files.safetensors_bytes(arrays))
    else:
        torch_by_hand.write(path, {"state_dict": torch_by_hand.State(arrays), "epoch": 3})


def moved(arrays, seed, activation):
    """The same function: neurons in another order, with other factors."""
    found = recognize(arrays, {"activation": activation})
    params = found.pack(arrays)
    g = permutations.sample(jax.random.key(seed), found.spec)
    scaling = scalings.sample(jax.random.key(seed + 1), found.spec)
    params = permutations.act(g, scalings.act(scaling, params, found.spec), found.spec)
    copy = found.packing.unpack({name: np.asarray(x) for name, x in params.items()})
    networks.check(found.pack(copy), found.spec)
    return copy


def folder(path, count=8, activation="tanh"):
    """Networks net_0.pt, ...; net_5 moves net_2, net_6 is net_0, net_7 is near net_1."""
    for i in range(count):
        arrays = mlp(i)
        if i == 5:
            arrays = moved(mlp(2), 1, activation)
        elif i == 6:
            arrays = mlp(0)
        elif i == 7:
            arrays = {name: array * np.float32(1.001) for name, array in mlp(1).items()}
        write(path / f"net_{i}.pt", arrays)
    return path

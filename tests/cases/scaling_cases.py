"""Networks to be scaled: those of every battery, and cases that these lack.

Smooth networks admit no scales; these are of relu, of sines, with maxima, and mixed.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from cases import drawing
from cases.corner_cases import FORWARDS, SPECS, affine, dense, spec
from cases.families import FAMILIES

from wsjax import architectures
from wsjax.architectures import cnn, mlp, resnet, vit

KEY = jax.random.key(7)
IMAGE = (6, 5, 2)


def with_omega(network, omega):
    layers = (dataclasses.replace(x, omega=omega) for x in network.layers)
    return dataclasses.replace(network, layers=tuple(layers))


def chain_of(*activations):
    """One dense layer for each activation, then the output."""
    names = ["x", *(f"h{i}" for i in range(len(activations))), "y"]
    layers = [
        dense(f"Dense_{i}", i, names[i], names[i + 1], f)
        for i, f in enumerate((*activations, "none"))
    ]
    sizes = dict(zip(names, [2, *range(3, 3 + len(activations)), 2], strict=True))
    return with_omega(spec(*layers, hidden=tuple(names[1:-1]), **sizes), 1.5)


MIXED = chain_of("relu", "sin", "none", "tanh", "leaky_relu", "gelu", "sin")
MORE = {  # cases that the batteries' smooth networks lack
    "mixed activations": (MIXED, (2,)),
    "relu": (mlp([2, 5, 4, 1]), (2,)),
    "linear": (mlp([2, 5, 4, 1], "none"), (2,)),
    "sine without bias": (mlp([2, 5, 4, 1], "sin", omega=3.0, bias=False), (2,)),
    "relu and maxima": (cnn([2, 4, 5], [3, 2], max_pool=2, pool="max"), IMAGE),
    "tanh and maxima": (cnn([2, 4], [3], max_pool=2, activation="tanh"), IMAGE),
    "sine and maxima": (cnn([2, 4], [3, 2], pool="max", activation="sin"), IMAGE),
    "sine after batch norm": (
        with_omega(cnn([2, 4], [3, 2], norm="batch", activation="sin"), 2.0),
        IMAGE,
    ),
    "residual of relu": (resnet(2, [4, 5], 3, blocks=2, stem=(3, 1, 2)), IMAGE),
    "residual of relu without norm": (resnet(2, [4], 3, norm="none", bias=True), IMAGE),
    "residual of sines": (
        with_omega(resnet(2, [4, 5], 3, norm="none", bias=True, activation="sin"), 2.0),
        IMAGE,
    ),
    "residual of sines, batch norm": (resnet(2, [4, 5], 3, activation="sin"), IMAGE),
    "residual of sines, layer norm": (
        resnet(2, [4], 3, norm="layer", bias=True, activation="sin"),
        IMAGE,
    ),
    "transformer of relu": (
        vit(2, 6, 3, size=(4, 4), patch=2, heads=2, mlp_width=5, activation="relu"),
        (4, 4, 2),
    ),
    "transformer of sines": (
        vit(2, 6, 3, size=(4, 4), patch=2, heads=2, mlp_width=5, activation="sin"),
        (4, 4, 2),
    ),
}


def runs(network):
    return lambda p, x: architectures.forward(p, x, network)


def recurrence_of_sines():
    network = SPECS["one axis twice in an array"]
    layers = [
        dataclasses.replace(x, activation="sin") if x.name == "Recurrent" else x
        for x in network.layers
    ]
    return dataclasses.replace(network, layers=tuple(layers))


def recur(p, x):
    state = jnp.zeros(5)
    for now in x.reshape(3, 2):
        state = jnp.sin(affine(p, "Recurrent", state) + affine(p, "In", now))
    return affine(p, "Out", state)


CASES = {name: (s, (60,), FORWARDS[name]) for name, s in SPECS.items()}
CASES |= {name: (s, shape, runs(s)) for name, (s, shape) in (FAMILIES | MORE).items()}

CASES["recurrence of sines"] = (recurrence_of_sines(), (6,), recur)
NOTHING = {
    "no hidden axis": "there is no hidden neuron",
    "tanh and maxima": "a maximum lets no sign pass, and tanh no scale",
}


def moved(a, b):
    """The largest difference of two trees, relative to each array's largest entry."""
    a, b = (list(map(np.asarray, jax.tree.leaves(tree))) for tree in (a, b))
    assert [x.shape for x in a] == [x.shape for x in b]
    gaps = [np.abs(x - y).max() / max(np.abs(y).max(), 1e-30) for x, y in zip(a, b, strict=True)]
    return max(map(float, gaps), default=0.0)


def draw(network, batch=(), seed=7):
    """As `testing.draw`, in double precision where that is on."""
    return {k: jnp.asarray(x) for k, x in drawing.draw(network, batch, float, seed).items()}


@functools.cache
def setting(name):
    """A network's spec and parameters, and its function [copy, ...] of copies of these."""
    network, shape, forward = CASES[name]
    x = jnp.asarray(np.random.default_rng(1).standard_normal((6, *shape)))
    run = lambda p: jax.vmap(forward, (None, 0))(p, x)
    return network, draw(network), jax.jit(jax.vmap(run))


def stacked(*trees):
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *trees)

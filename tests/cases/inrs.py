"""Small INRs, untrained models of them, and their files as other people store them."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from wsjax import encoders, networks, tasks
from wsjax.tasks.classification import Classification
from wsjax.tasks.editing import Canvas, Editing
from wsjax.zoos import Zoo
from wsjax.zoos.inrs.inr_recipe import Recipe

RECIPE = Recipe(hidden=(6, 5), initialization="siren")
SPEC = RECIPE.spec(1)
CLASSES = ("cat", "dog", "eel")
CANVAS = Canvas.of(RECIPE, 6, 7)


def vectors(count=12, seed=0):
    """Networks [count, entry] as a SIREN is initialised, their images within the range."""
    random = np.random.default_rng(seed)
    params = {}
    for i, (reads, writes) in enumerate([(2, 6), (6, 5), (5, 1)]):
        bound = 1 / reads if i == 0 else np.sqrt(6 / reads) / 30
        params[f"Dense_{i}/kernel"] = random.uniform(-bound, bound, (count, reads, writes))
        params[f"Dense_{i}/bias"] = random.uniform(-bound, bound, (count, writes))
    return networks.ravel({k: x.astype(np.float32) for k, x in params.items()}, SPEC)


def _trained(task, encoder, head):
    zoo = Zoo.of_spec(vectors(200, 7), SPEC, {})
    module, scale = task.module(encoder, head), tasks.InputScale.fit(zoo)
    view = module.encoder.view(SPEC)
    init = jax.jit(lambda key: module.init(key, jnp.asarray(zoo.vectors[:1]), view)["params"])
    variables = {"params": init(jax.random.key(0))}
    return task.trained(
        task=task, module=module, variables=variables, scale=scale, specs=(SPEC,), constants={},
        config={}, head=head,
    )  # fmt: skip


@functools.cache
def classifier():
    """Of `CLASSES`, at its initial weights, which tell networks apart."""
    task = Classification("class", CLASSES)
    return _trained(task, encoders.build("mlp", {"widths": (16,), "code": 8}), (8,))


@functools.cache
def editor():
    """At its initial weights, moved so that it changes images."""
    out = _trained(Editing(None, CANVAS), encoders.build("unf", {"width": 4, "layers": 1}), ())
    return dataclasses.replace(out, variables=jax.tree.map(lambda x: x + 0.3, out.variables))


def write(folder, networks_, layout="siren"):
    """The networks' files `net_3.safetensors`, as other people's code names and stores arrays."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    names = {
        "siren": lambda i: f"net.{i}.linear" if i < 2 else "net.2",
        "torch": lambda i: f"layers.{2 * i}",
        "flax": lambda i: f"Dense_{i}",
    }
    for number, vector in enumerate(networks_):
        params, stored = networks.unravel(vector, SPEC), {}
        for i in range(3):
            kernel, bias = params[f"Dense_{i}/kernel"], params[f"Dense_{i}/bias"]
            if layout == "flax":
                stored |= {f"Dense_{i}/kernel": kernel, f"Dense_{i}/bias": bias}
            else:
                name = names[layout](i)
                stored |= {f"{name}.weight": np.ascontiguousarray(kernel.T), f"{name}.bias": bias}
        safetensors.numpy.save_file(stored, folder / f"net_{number}.safetensors")
    return folder


def by_hand(params, convention, rows, cols, wanted):
    """An image [row, col], pixel by pixel, by a convention; in the range of another, `wanted`."""
    out = np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            down, along = row / (rows - 1), col / (cols - 1)
            if not convention.unit:
                down, along = 2 * down - 1, 2 * along - 1
            x = np.array([along, down] if convention.indexing == "xy" else [down, along])
            for i in range(3):
                x = x @ np.asarray(params[f"Dense_{i}/kernel"], np.float64)
                x = x + np.asarray(params[f"Dense_{i}/bias"], np.float64)
                omega = convention.omega
                if i == 0 and convention.first_omega is not None:
                    omega = convention.first_omega
                x = np.sin(omega * x) if i < 2 else x
            white = (x[0] + convention.offset - convention.low) / (1 - convention.low)
            out[row, col] = wanted.low + white * (1 - wanted.low)
    return out

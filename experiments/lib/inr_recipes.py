"""Recipes of the zoos of image INRs that experiments use, their names and their cost."""

import dataclasses
import time
from collections.abc import Mapping

import jax
import numpy as np

from wsjax.datasets import images
from wsjax.zoos.inrs import inr_factory, inr_fitting
from wsjax.zoos.inrs.inr_recipe import RECIPES, Recipe

SMALL = {"digits": (1_000, 400), "mnist": (10_000, 2_000)}  # else 5,000 and 1,000
WHOLE = ("h100", "own", "paper")  # with all images
PRESETS = {"smoke": (40, 10), "laptop": (300, 60), "small": (5_000, 1_000)}
PRESETS |= dict.fromkeys(WHOLE, (0, 0))


def recipe(name: str, data: str, preset: str) -> Recipe:
    """The recipe of a preset: how many images of training and of the test, with one view each.

    Tables of papers are of one view but for ScaleGMN's augmented CIFAR-10, whose 21 `--views`
    gives; so the name of a zoo has their number.
    """
    train, test = SMALL.get(data, PRESETS["small"]) if preset == "small" else PRESETS[preset]
    plan = dataclasses.replace(RECIPES[name], train_images=train, test_images=test)
    if preset == "smoke":
        plan = dataclasses.replace(plan, steps=100, block=25)
    if preset in ("small", *WHOLE):  # of one size: a small zoo is the beginning of the whole
        plan = dataclasses.replace(plan, block=1000)
    return dataclasses.replace(plan, views=1)


def title(data: str, name: str, changes: Mapping[str, object]) -> str:
    """The name of a zoo, "mnist.dws-steps1500": data, recipe and the changed settings."""
    kept = {k: changes[k] for k in ("views", "steps", "learning_rate") if changes.get(k)}
    return f"{data}.{name}" + "".join(f"-{k}{v}" for k, v in kept.items())


def estimate(plan: Recipe, pictures: inr_factory.ImageSet, total: int, steps: int = 50) -> float:
    """Device-hours of `total` networks if none stops early, from a few steps of some."""
    cpu = jax.default_backend() == "cpu"
    count = 4 if cpu else plan.block * jax.device_count()
    values = np.resize(next(iter(pictures.parts.values()))[0], (count, *pictures.shape))
    values = images.prepare(values, images.Preparation(low=plan.low))
    few = dataclasses.replace(plan, steps=steps, psnr=np.inf)
    devices = jax.devices()[:1] if cpu else jax.devices()
    fit = lambda: inr_fitting.run(few, values, first_keys(count), devices=devices)
    fit()
    began = time.perf_counter()
    fit()
    each = (time.perf_counter() - began) / steps / count * len(devices)
    return each * plan.steps * total / 3600


def first_keys(count: int) -> jax.Array:
    """The keys of the first networks of a zoo of seed 0."""
    return inr_fitting.keys(0, "train", range(count), 0)

"""The directions of an experiment, as they are known before any zoo is there.

    planned("generalization", preset, "gmn")  ->  {"cifar10 relu": Method, "cifar10 both": ...}

A direction is what a method learns from: zoos of classifiers have one or several each, and a method
whose steps are given in epochs has other steps in each of them.
"""

import numpy as np

from experiments.lib.methods import Method, Preset
from wsjax.zoos.classifiers.classifier_recipe import Recipe

TOGETHER = ("embeddings",)  # experiments that learn from all zoos at once
PARTS = {"5 %": 0.1}  # share of a zoo's training networks, see `accuracy_prediction.fewer`
NARROW = 4 / 6  # share of the narrowest networks, see `accuracy_prediction.by_width`


def planned(experiment: str, preset: Preset, name: str) -> dict[str, Method]:
    """A method in each direction that it learns in, with the steps of its epochs there.

    Args:
        experiment: its module below `experiments`.
        preset: one of its presets.
        name: one of the preset's methods.

    Returns:
        name of the direction -> method; "" where there is but one, without a name.
    """
    if experiment in TOGETHER:
        networks = sum(training_networks(preset, zoo) for zoo in preset.zoos)
        return {"": preset.methods[name].over(networks)}
    if "sines" in preset.zoos or not preset.zoos:
        return {"": preset.methods[name]}
    same = dict.fromkeys(preset.learns or preset.zoos, preset.methods)
    return {
        k: methods[name].over(training_networks(preset, k))
        for k, methods in (preset.directions or same).items()
        if name in methods
    }


def training_networks(preset: Preset, direction: str) -> int:
    """The networks that a direction learns from; their mean number where they are drawn."""
    zoo = max((k for k in preset.zoos if direction.startswith(k)), key=len)
    recipe, part = preset.zoos[zoo], direction[len(zoo) :].strip()
    return round(recipe.networks * _share(recipe, part, preset.sizes["train"]))


def _share(recipe: Recipe, part: str, train: float) -> float:
    """Share of a zoo's networks that one of its directions learns from."""
    if part == "OOD":
        return NARROW * float(np.mean([1 / len(kind.widths) for kind in recipe.kinds]))
    if part in recipe.activations:
        return train / len(recipe.activations)
    return train * PARTS.get(part, 1.0)

"""Recipes of zoos of classifiers."""

import dataclasses

import numpy as np
import pytest

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
)
from experiments.lib import zoo_recipes
from wsjax.zoos.classifiers import classifier_families
from wsjax.zoos.classifiers import classifier_recipe as classifiers_module


def test_no_network_of_one_family_has_a_twin_in_another():
    """Networks that share settings and images would tell `recipe_only` what it should not know."""
    drawn = [
        classifiers_module.hyperparameters(zoo_recipes.recipe(family, "mnist", "small"))
        for family in ("conv3-gap", "conv3-linear2")
    ]
    rates = [set(np.round(d["learning_rate"], 9).tolist()) for d in drawn]
    assert not rates[0] & rates[1]
    seeds = [
        zoo_recipes.recipe(f, d, "small").seed
        for f in classifier_families.FAMILIES
        for d in zoo_recipes.SEEDS
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("data", ["mnist", "cifar10", "svhn"])
def test_snes_zoos_of_schuerholts_network_are_made_by_unterthiners_procedure(data):
    ours = zoo_recipes.recipe("conv3-linear2", data, "paper")
    assert (ours.networks, ours.batch, ours.epochs, ours.gray) == (750, 512, ("choice", 86), False)
    unterthiner = zoo_recipes.recipe("conv3-gap", data, "paper")
    own = {k: getattr(ours, k) for k in ("family", "kinds", "networks", "seed", "side", "gray")}
    assert dataclasses.replace(unterthiner, **own) == ours
    assert zoo_recipes.recipe("conv3-linear2", data, "small").batch == 128


def test_a_recipe_has_other_numbers_and_room_for_its_blocks():
    plan = zoo_recipes.recipe("conv3-gap", "mnist", "small")
    assert zoo_recipes.sized(plan) == plan
    sized = zoo_recipes.sized(plan, networks=9, block=512)
    assert (sized.networks, sized.block, sized.window) == (9, 512, 512)
    h100 = zoo_recipes.recipe("conv3-gap", "mnist", "h100")
    assert h100.window == zoo_recipes.sized(h100, block=64).window > h100.networks
    small = {k: getattr(plan, k) for k in ("networks", "block", "window")}
    assert dataclasses.replace(h100, **small) == plan  # trained as those of `small`


@pytest.mark.parametrize(
    "experiment",
    [accuracy_prediction, cross_architecture, cross_dataset, embeddings, generalization],
)
def test_the_h100_has_zoos_and_training_of_its_size(experiment):
    preset = experiment.PRESETS["h100"]
    for plan in preset.zoos.values():
        assert plan == zoo_recipes.recipe(plan.family, plan.data, "h100")
    assert set(preset.default) <= set(preset.methods)
    assert set(preset.learns) <= set(preset.zoos)
    trained = [m.training for m in preset.methods.values() if m.encoder]
    assert {(t.batch, t.microbatch, t.steps // t.evaluate_every) for t in trained} == {(128, 0, 12)}

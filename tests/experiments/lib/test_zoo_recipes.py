"""Recipes of zoos of classifiers."""

import numpy as np

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

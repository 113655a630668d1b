"""Zoos of experiments: packed or made, labels in words, splits."""

import argparse
import dataclasses
import json

import numpy as np
import pytest
from cases.classifier_zoos import SMALL, classifiers

from experiments import cross_dataset
from experiments.lib import zoo_loading
from wsjax.datasets import images
from wsjax.zoos import store
from wsjax.zoos.classifiers import classifier_factory

pytestmark = pytest.mark.trains


def test_a_packed_zoo_of_the_very_recipe_is_taken(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    preset = cross_dataset.PRESETS["smoke"]
    recipe = preset.zoos["digits"]
    data = images.load("digits")
    zoo, manifest = classifier_factory.make(recipe, data, folder / "cache" / "zoos")
    marked = store.rounded(zoo)
    marked.vectors[:, 0] = 7
    monkeypatch.setattr(zoo_loading, "ZOOS", tmp_path / "zoos")
    facts = json.loads(json.dumps({"recipe": manifest["recipe"]}))
    store.save(tmp_path / "zoos" / "conv3-gap.digits", marked, facts, "float16")
    assert (zoo_loading.load("digits", preset, folder, None).vectors[:, 0] == 7).all()
    facts["recipe"]["seed"] = 9
    store.save(tmp_path / "zoos" / "conv3-gap.digits", marked, facts, "float16")
    assert not (zoo_loading.load("digits", preset, folder, None).vectors[:, 0] == 7).any()


def test_words_mean_the_same_in_all_zoos():
    recipe = cross_dataset.PRESETS["smoke"].zoos["digits"]
    other = dataclasses.replace(recipe, optimizers=recipe.optimizers[::-1])
    zoo = classifiers([SMALL], 4)
    words = {k: np.zeros(4, np.float32) for k in ("initializer", "activation")}
    drawn = np.array([0, 1, 2, 2], np.float32)
    zoo = dataclasses.replace(zoo, labels={**zoo.labels, **words, "optimizer": drawn})
    found = [zoo_loading.spelled(zoo, r).labels for r in (recipe, other)]
    assert recipe.optimizers[0] == "adam"
    assert found[0]["optimizer_adam"].tolist() == [1, 0, 0, 0]
    assert found[1]["optimizer_adam"].tolist() == [0, 0, 1, 1]
    assert set(found[0]) == set(found[1])
    assert "optimizer" not in found[0]


def test_both_forms_of_gelu_are_one_word():
    recipe = dataclasses.replace(
        cross_dataset.PRESETS["smoke"].zoos["digits"], activations=("tanh", "gelu_tanh", "gelu")
    )
    words = {k: np.zeros(3, np.float32) for k in ("initializer", "optimizer")}
    labels = {**words, "activation": np.arange(3, dtype=np.float32)}
    found = zoo_loading.spelled(
        dataclasses.replace(classifiers([SMALL], 3), labels=labels), recipe
    ).labels
    assert found["activation_gelu"].tolist() == [0, 1, 1]
    assert found["activation_tanh"].tolist() == [1, 0, 0]
    assert "activation_gelu_tanh" not in found


def test_content_tells_zoos_apart():
    zoo = classifiers([SMALL])
    other = zoo.vectors.copy()
    other[0, 0] += 1
    assert zoo_loading.content(zoo) == zoo_loading.content(classifiers([SMALL]))
    assert zoo_loading.content(zoo) != zoo_loading.content(dataclasses.replace(zoo, vectors=other))


def test_splits_are_expected():
    zoo = classifiers([SMALL])
    zoo_loading.expect_splits({"a": zoo})
    none = dataclasses.replace(zoo, splits={**zoo.splits, "validation": np.zeros(0, int)})
    with pytest.raises(ValueError, match="'b': expected networks in split 'validation', got none"):
        zoo_loading.expect_splits({"a": zoo, "b": none})


def test_flags_size_the_zoos_that_are_made(tmp_path, monkeypatch):
    """`--networks` is part of a record's recipe, `--block` is not."""
    made = []

    def make(recipe, images, cache):
        made.append(recipe)
        words = {k: np.zeros(40, np.float32) for k in zoo_loading.WORDS}
        ended = {k: np.ones(40, np.float32) for k in ("epoch", "epochs")}
        zoo = classifiers([SMALL])
        return dataclasses.replace(zoo, labels={**zoo.labels, **words, **ended}), {}

    monkeypatch.setattr(classifier_factory, "make", make)
    parser = argparse.ArgumentParser()
    zoo_loading.flags(parser)
    preset = cross_dataset.PRESETS["smoke"]
    described = []
    for flags in ([], ["--networks", "24", "--block", "256"]):
        options = parser.parse_args(flags, argparse.Namespace(folder=tmp_path))
        described.append(zoo_loading.open_zoos(options, preset)[1]["digits"])
    plain, sized = made[0], made[2]
    assert (plain.networks, plain.block) == (20, preset.zoos["digits"].block)
    assert (sized.networks, sized.block, sized.window) == (24, 256, 256)
    assert [d["networks"] for d in described] == [20, 24]
    assert {d["block"] for d in described} == {plain.block}

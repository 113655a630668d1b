"""Directions, their training networks and steps, without any zoo."""

import dataclasses

import numpy as np
import pytest

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
    inr_classification,
    inr_frequency,
)
from experiments.lib.directions import planned, training_networks
from wsjax import architectures
from wsjax.zoos import Zoo

ACCURACY, GENERAL = accuracy_prediction.PRESETS, generalization.PRESETS


def test_directions_are_those_of_the_experiment():
    h100 = planned("accuracy_prediction", ACCURACY["h100"], "gmn")
    assert list(h100) == ["conv3-gap cifar10 50 %", "conv3-gap cifar10 5 %"]
    paper = ACCURACY["paper"]
    assert list(planned("accuracy_prediction", paper, "grit")) == ["conv3-gap cifar10 50 %"]
    assert len(planned("accuracy_prediction", paper, "gmn")) == 6
    assert len(planned("accuracy_prediction", paper, "mean")) == 7
    assert list(planned("embeddings", embeddings.PRESETS["paper"], "sne")) == [""]
    named = ["mnist", "fashion_mnist", "cifar10", "svhn"]
    assert list(planned("cross_dataset", cross_dataset.PRESETS["paper"], "sne")) == named
    learnt = ["conv3-gap mnist"]
    assert list(planned("cross_architecture", cross_architecture.PRESETS["h100"], "gmn")) == learnt
    for module in (inr_frequency, inr_classification):
        preset = module.PRESETS["paper"]
        name = module.__name__.rpartition(".")[2]
        assert planned(name, preset, "mlp") == {"": preset.methods["mlp"]}


@pytest.mark.parametrize(
    ("preset", "direction", "networks"),
    [
        (ACCURACY["paper"], "conv3-gap cifar10 50 %", 15_000),
        (ACCURACY["paper"], "diverse cifar10 5 %", 1500),
        (ACCURACY["paper"], "varying-cnns cifar10 OOD", round(30_000 / 3 * 4 / 6)),
        (GENERAL["paper"], "cifar10 relu", 6000),
        (GENERAL["paper"], "svhn both", 12_000),
        (cross_architecture.PRESETS["paper"], "conv3-linear2 mnist", 300),
    ],
)
def test_training_networks(preset, direction, networks):
    assert training_networks(preset, direction) == networks


def test_steps_are_those_of_the_networks():
    (grit,) = planned("accuracy_prediction", ACCURACY["paper"], "grit").values()
    assert grit.training.steps == 50 * (15_000 // 8)
    (sne,) = planned("embeddings", embeddings.PRESETS["paper"], "sne").values()
    assert sne.training.steps == 300 * (48_000 // 64)


def test_every_direction_of_the_papers_presets_has_more_steps_than_its_warm_up():
    for preset in ("paper", "schuerholt"):
        own = cross_architecture.PRESETS[preset]
        for name in own.methods:
            assert set(planned("cross_architecture", own, name)) == set(own.learns)
    graph = planned("cross_architecture", cross_architecture.PRESETS["paper"], "neural_graph")
    about = {k: (m.training.steps, m.training.warmup) for k, m in graph.items()}
    assert about["conv3-linear2 svhn"] == (600, 60)
    assert about["conv3-gap svhn"] == (27_900, 1000)


def test_the_narrowest_are_as_many_as_the_experiment_learns_from():
    plan = dataclasses.replace(ACCURACY["paper"].zoos["varying-cnns cifar10"], networks=180)
    preset = dataclasses.replace(ACCURACY["paper"], zoos={"x": plan})
    labels = {"kind": np.zeros(180), "width": np.repeat(plan.kinds[0].widths, 60)}
    specs, vectors = (architectures.mlp([1, 1]),), np.zeros((180, 2))
    zoo = Zoo(vectors, specs, np.zeros(180, int), labels, np.arange(180))
    far, _ = accuracy_prediction.by_width(zoo, plan, 0)
    assert training_networks(preset, "x OOD") == len(far.splits["train"]) == 40

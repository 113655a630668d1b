"""The order of runs, and the minutes that they are expected to take."""

import dataclasses

import pytest

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    inr_ablation,
    inr_frequency,
    reproduce,
)
from experiments.lib import entries, schedule
from experiments.lib.methods import Method


def test_the_most_valuable_come_first():
    first = [(e.experiment, e.method) for e in reproduce.ENTRIES[:4]]
    assert first[:2] == [("inr_frequency", "sne"), ("inr_frequency", "sne_chunk_8")]
    assert first[2:] == [("inr_classification", "scalegmn"), ("inr_self_supervised", "gmn")]
    seeds = [e.seed for e in reproduce.ENTRIES]
    assert seeds == sorted(seeds)


def test_every_method_and_seed_of_the_papers_presets_is_there_once():
    modules = {
        **{"inr_frequency": inr_frequency, "inr_ablation": inr_ablation},
        **{"accuracy_prediction": accuracy_prediction, "cross_dataset": cross_dataset},
    }
    presets = {name: module.PRESETS for name, module in modules.items()}
    made = entries.entries(presets)
    names = [e.name for e in made]
    assert len(names) == len(set(names))
    for experiment, own in presets.items():
        paper = own["paper"]
        own_runs = [e for e in made if (e.experiment, e.preset) == (experiment, "paper")]
        runs = {(e.method, e.seed) for e in own_runs if not e.more}
        assert runs == {(k, seed) for k in paper.methods for seed in range(paper.seeds)}
    sne = next(e for e in made if e.experiment == "inr_frequency" and e.method == "sne")
    assert (sne.gpu, sne.cpu) == (3.5, 280.0)  # of the first, not by `COSTS`


def test_shorter_runs_of_the_ablation_are_validated_as_often():
    own = [e for e in reproduce.ENTRIES if e.experiment == "inr_ablation" and e.more]
    assert len(own) == 10
    for entry in own:
        (config,) = schedule.target(entry, inr_ablation.main).methods
        training = config["training"]
        assert training["steps"] == 5000
        assert training["evaluate_every"] == training["checkpoint_every"] == 5000 // 12


def test_table_3_is_there():
    """The preset `schuerholt`, whose zoos are made anew."""
    own = {e.method for e in reproduce.ENTRIES if e.preset == "schuerholt"}
    assert own == set(cross_architecture.PRESETS["schuerholt"].methods)


def test_minutes_follow_from_steps():
    net, mean = Method("mlp").train(40_000, batch=50), Method(compute=len)
    step, network = entries.COSTS["mlp"]
    gpu, cpu = entries._minutes([net], 0)
    assert gpu == pytest.approx(entries.START[0] + 40_000 * step / 60_000)
    assert cpu == pytest.approx(entries.START[1] + 40_000 * 50 * network / 60_000, abs=0.01)
    thrice = pytest.approx(3 * gpu), pytest.approx(3 * cpu, abs=0.02)
    assert entries._minutes([net] * 3, 0) == thrice
    assert entries._minutes([mean] * 2, 0) == (0.4, 0.4)
    swept = dataclasses.replace(net, rates=(1e-4, 1e-3, 1e-2))
    assert entries._minutes([swept], 0) == thrice
    assert entries._minutes([swept], 1) == (gpu, cpu)


def test_minutes_are_of_the_directions_and_networks_that_there_are():
    named = {(e.experiment, e.preset, e.method, e.seed): e for e in reproduce.ENTRIES}
    minutes = lambda *key: named[key].gpu
    step = lambda encoder, steps: steps * entries.COSTS[encoder][0] / 60_000 + entries.START[0]
    grit = step("grit", 50 * (15_000 // 8))
    assert minutes("accuracy_prediction", "paper", "grit", 0) == pytest.approx(grit, abs=0.01)
    learnt = (15_000, 1500, round(30_000 / 3 * 4 / 6), 15_000, 1500)
    zoo = accuracy_prediction.PRESETS["paper"].zoos["diverse cifar10"]
    share = sum(1 / len(kind.widths) for kind in zoo.kinds) / len(zoo.kinds)
    networks = (*learnt, round(30_000 * share * 4 / 6))
    gmn = sum(step("gmn", 50 * (n // 32)) for n in networks)
    assert minutes("accuracy_prediction", "paper", "gmn", 1) == pytest.approx(gmn, abs=0.01)
    assert minutes("accuracy_prediction", "paper", "gmn", 0) == pytest.approx(5 * gmn, abs=0.01)
    assert named["accuracy_prediction", "paper", "gmn", 0].swept
    joined = step("stat_nn", 50 * (48_000 // 8))
    assert minutes("embeddings", "paper", "stat_nn", 0) == pytest.approx(joined, abs=0.01)

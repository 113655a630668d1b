"""The order of runs, and the minutes that they are expected to take."""

import pytest

from experiments import (
    accuracy_prediction,
    cross_dataset,
    inr_ablation,
    inr_frequency,
    reproduce,
)
from experiments.lib import entries, schedule
from experiments.lib.methods import Method, Preset


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


def test_minutes_follow_from_steps():
    methods = {"net": Method("mlp").train(40_000, batch=50), "mean": Method(compute=len)}
    minutes = lambda name, ways: entries._minutes(Preset(methods, ""), name, ways)
    step, network = entries.COSTS["mlp"]
    gpu, cpu = minutes("net", 1)
    assert gpu == pytest.approx(entries.START[0] + 40_000 * step / 60_000)
    assert cpu == pytest.approx(entries.START[1] + 40_000 * 50 * network / 60_000, abs=0.01)
    assert minutes("net", 3) == (pytest.approx(3 * gpu), pytest.approx(3 * cpu, abs=0.02))
    assert minutes("mean", 2) == (0.4, 0.4)

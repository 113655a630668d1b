"""Sweeps of learning rates: tried once, the best by validation R2 serves all seeds."""

import dataclasses
import pathlib

import pytest
from cases.classifier_zoos import SMALL, classifiers

from experiments.lib import runs, sweeps
from experiments.lib.methods import Method
from wsjax import storage
from wsjax.tasks.regression import Objective, Regression
from wsjax.training import Settings
from wsjax.training.log import read_lines

pytestmark = pytest.mark.trains

QUICK = Settings(steps=12, batch=16, evaluate_every=4, checkpoint_every=12, optimizer="adam")
METHOD = Method(
    "stat_nn", {"widths": (8,), "code": 4}, (4,), Objective("bce", permute=False), QUICK,
    rates=(1e-5, 1e-2, 1e30),
)  # fmt: skip
TASK = Regression("test_accuracy", METHOD.objective, "tau")


def learn(folder, seed, method=METHOD):
    method = method.seeded(seed)
    config = {**method.config(), "row": "stat_nn", "seed": seed}
    return sweeps.learn(method, config, folder / f"stat_nn-{seed}", classifiers([SMALL]), TASK)


def test_seeds_share_the_rate_of_the_highest_r2(tmp_path, monkeypatch):
    trained, facts = learn(tmp_path, 0)
    small, large, diverged = facts["rates"]
    assert [x["learning_rate"] for x in facts["rates"]] == [1e-5, 1e-2, 1e30]
    assert "diverged" in diverged
    assert "val_r2" not in diverged
    best = max(small, large, key=lambda x: x["val_r2"])
    assert facts["learning_rate"] == best["learning_rate"]
    assert trained.config["training"]["learning_rate"] == best["learning_rate"]
    (folder,) = tmp_path.glob("stat_nn-rates-*")
    lines = read_lines(folder / f"{best['learning_rate']:g}" / "metrics.jsonl")
    selected = max(lines, key=lambda line: line["val_tau"])
    assert best["val_r2"] == selected["val_r2"]
    assert facts["metrics"]["val_tau"] == pytest.approx(selected["val_tau"])

    fits = []
    once = lambda *given: fits.append(pathlib.Path(given[2]).name) or learn_once(*given)
    learn_once = runs.learn
    monkeypatch.setattr(runs, "learn", once)
    other, more = learn(tmp_path, 1)
    assert fits == ["stat_nn-1"]  # nothing is tried again
    assert (more["rates"], more["learning_rate"]) == (facts["rates"], facts["learning_rate"])
    assert other.config["training"]["seed"] == 1
    learn(tmp_path, 0)
    assert fits[1:] == [f"{facts['learning_rate']:g}"]


def test_one_rate_is_no_choice_and_no_rate_left_an_error(tmp_path):
    one = dataclasses.replace(METHOD, rates=())
    _, facts = learn(tmp_path / "one", 0, one)
    assert "rates" not in facts
    assert (tmp_path / "one" / "stat_nn-0" / "metrics.jsonl").exists()
    with pytest.raises(FloatingPointError, match=r"1e\+30: .* at step"):
        learn(tmp_path / "none", 0, dataclasses.replace(METHOD, rates=(1e30,)))


def test_a_seed_waits_for_the_one_that_tries_the_rates(tmp_path, monkeypatch):
    path, pauses = tmp_path / "rates.json", []
    first = storage.locked(path)
    first.__enter__()

    def pause(seconds):
        pauses.append(seconds)
        first.__exit__(None, None, None)

    monkeypatch.setattr(sweeps.time, "sleep", pause)
    with sweeps._alone(path):
        assert pauses == [sweeps.PAUSE]

"""Sweeps of learning rates: tried once, the best by validation R2 serves all seeds."""

import dataclasses

import pytest
from cases.classifier_zoos import SMALL, classifiers

from experiments.lib import runs, sweeps
from experiments.lib.methods import Method
from wsjax import storage
from wsjax.storage import DamagedError
from wsjax.tasks.regression import Objective, Regression
from wsjax.training import Settings
from wsjax.training.log import JsonLines

QUICK = Settings(steps=12, batch=16, evaluate_every=4, checkpoint_every=12, optimizer="adam")
METHOD = Method(
    "stat_nn", {"widths": (8,), "code": 4}, (4,), Objective("bce", permute=False), QUICK,
    rates=(0.1, 0.2, 0.4, 1e30),
)  # fmt: skip
TASK = Regression("test_accuracy", METHOD.objective, "tau")
# of each rate, at two evaluations: tau, R2; the R2 that counts is the selected checkpoint's
VALUES = {0.1: ((0.5, 0.3), (0.4, 0.9)), 0.2: ((0.1, 0.2), (0.5, 0.4)), 0.4: ((0, -5), (0, -9))}


def learn(folder, seed, method=METHOD, zoo=None):
    method = method.seeded(seed)
    config = {**method.config(), "row": "stat_nn", "seed": seed}
    return sweeps.learn(method, config, folder / f"stat_nn-{seed}", zoo, TASK)


@pytest.fixture
def calls(monkeypatch):
    """In place of training: values of the rate; it diverges where there are none."""
    done = []

    def train(method, config, home, zoo, task, value):
        rate, seed = method.training.learning_rate, method.training.seed
        assert (config["training"]["learning_rate"], config["seed"]) == (rate, seed)
        assert value == "val_tau"
        done.append((rate, seed, home.name))
        if rate not in VALUES:
            raise FloatingPointError("loss is nan at step 3")
        if not home.exists():
            for step, (tau, r2) in enumerate(VALUES[rate]):
                JsonLines(home / "metrics.jsonl").write({"step": step, value: tau, "val_r2": r2})
        return rate, {"metrics": {}, "seconds": 2.0}

    monkeypatch.setattr(runs, "learn", train)
    return done


def test_seeds_share_the_rate_of_the_highest_r2(tmp_path, calls):
    rate, facts = learn(tmp_path, 1)
    assert rate == facts["learning_rate"] == 0.2
    assert facts["rates"] == [
        {"learning_rate": 0.1, "val_r2": 0.3, "seconds": 2.0},
        {"learning_rate": 0.2, "val_r2": 0.4, "seconds": 2.0},
        {"learning_rate": 0.4, "val_r2": -5.0, "seconds": 2.0},
        {"learning_rate": 1e30, "diverged": "loss is nan at step 3"},
    ]
    tried = [(0.1, 0, "0.1"), (0.2, 0, "0.2"), (0.4, 0, "0.4"), (1e30, 0, "1e+30")]
    assert calls == [*tried, (0.2, 1, "stat_nn-1")]
    assert learn(tmp_path, 0) == (rate, facts)
    assert learn(tmp_path, 2) == (rate, facts)
    assert calls[5:] == [(0.2, 0, "0.2"), (0.2, 2, "stat_nn-2")]  # nothing is tried again
    learn(tmp_path, 0, METHOD.sized(code=5))
    assert len(calls) == 12  # another method has a sweep of its own


def test_one_rate_is_no_choice_and_no_rate_left_an_error(tmp_path, calls):
    given = dataclasses.replace(QUICK, learning_rate=0.4)
    _, facts = learn(tmp_path, 0, dataclasses.replace(METHOD, training=given, rates=()))
    assert "rates" not in facts
    assert calls == [(0.4, 0, "stat_nn-0")]
    with pytest.raises(FloatingPointError, match=r"^1e\+30: loss is nan at step 3$"):
        learn(tmp_path, 0, dataclasses.replace(METHOD, rates=(1e30,)))


def test_damaged_outcomes_are_named_and_made_anew(tmp_path, calls):
    learn(tmp_path, 1)
    (path,) = tmp_path.glob("*/rates.json")
    path.write_text(path.read_text().replace("0.4", "0.9"))
    with pytest.raises(DamagedError, match=rf"^{path}: .* was altered: .*; remove it, and it is"):
        learn(tmp_path, 2)
    path.unlink()
    assert learn(tmp_path, 2)[0] == 0.2


@pytest.mark.trains
def test_the_first_seed_is_that_of_the_sweep(tmp_path):
    trained, facts = learn(
        tmp_path, 0, dataclasses.replace(METHOD, rates=(1e-2,)), classifiers([SMALL])
    )
    assert trained.config["training"]["learning_rate"] == 1e-2
    assert (trained.result.resumed, facts["steps"]) == (12, 12)
    assert facts["rates"][0]["val_r2"] < 1
    assert not (tmp_path / "stat_nn-0").exists()


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

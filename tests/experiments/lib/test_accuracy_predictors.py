"""Accuracy predictors: a record for each test zoo, with the reason where there is no figure."""

import argparse
import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import DEEP, SMALL, TANH, classifiers

from experiments.lib import accuracy_predictors, baselines
from experiments.lib.accuracy_predictors import Direction, accuracies
from experiments.lib.methods import Method, Preset
from wsjax import architectures
from wsjax.tasks.regression import Objective
from wsjax.training import Settings

pytestmark = pytest.mark.trains

QUICK = Settings(steps=20, batch=16, learning_rate=1e-2, evaluate_every=10, checkpoint_every=20)
FLAT = Objective(loss="bce", permute=False)


def facts(method, folder, train, tests, name="a", adopt=False):
    config = {**method.config(), "row": name, "seed": 0}
    way = Direction("a", train, tests, ("a",), adopt)
    return accuracies(way, {("a", "a", "b"): ".9"}, method, config, folder)


def test_each_test_zoo_has_figures_intervals_and_predictions(tmp_path):
    tests = {"a": classifiers([SMALL, TANH]), "b": classifiers([SMALL, TANH], seed=1)}
    training = dataclasses.replace(QUICK, steps=150)
    method = Method("stat_nn", {"widths": (16,), "code": 8}, (8,), FLAT, training)
    found = facts(method, tmp_path, tests["a"], tests)
    assert [(r["test_zoo"], r["paper"]) for r in found] == [("a", "–"), ("b", ".9")]
    for r in found:
        low, high = r["metrics"]["test_tau_interval"]
        assert low < r["metrics"]["test_tau"] < high
        assert r["metrics"]["test_tau"] > 0.5
        assert r["metrics"]["val_tau"] == pytest.approx(max(tau for _, tau in r["curve"]))
    with np.load(tmp_path / "predictions.npz") as saved:
        assert {k: v.shape for k, v in saved.items()} == {"a": (3, 20), "b": (3, 20)}


def test_baselines_use_no_more_than_their_features(tmp_path):
    tests = {"a": classifiers([SMALL, TANH], 120), "b": classifiers([DEEP])}
    tau = {}
    for name, compute in baselines.METHODS.items():
        found = facts(Method(compute=compute), tmp_path, tests["a"], tests)
        tau[name] = [r["metrics"].get("test_tau") for r in found]
        if name == "boosted_trees":
            assert found[1]["refused"] == "expected 42 features as in training, got 56"
    assert tau["mean"] == [0, 0]
    assert 0 < tau["recipe_only"][0] < 0.5 < tau["boosted_trees"][0]
    assert tau["boosted_trees"][1] is None  # other arrays


def test_unsupported_zoos_have_a_reason(tmp_path):
    one, deep = classifiers([SMALL]), classifiers([DEEP])
    method = Method("mlp", {"widths": (8,)}, (8,), FLAT, QUICK)
    first, second = facts(method, tmp_path / "one", one, {"a": one, "deep": deep})
    assert "test_tau" in first["metrics"]
    assert second["refused"].startswith("MLP supports only the architecture it was trained on")
    both = classifiers([SMALL, DEEP])
    (only,) = facts(method, tmp_path / "both", both, {"both": both})
    assert only["refused"] == "MLP reads one architecture at a time, got 2"
    assert (only["steps"], only["metrics"]) == (0, {})


def test_arrays_that_training_had_none_of_are_adopted_and_on_record(tmp_path):
    vit = architectures.vit(1, 4, 2, size=(4, 4), patch=2, blocks=1, heads=1, mlp_width=4)
    tests = {"a": classifiers([SMALL]), "vit": classifiers([vit], seed=1)}
    method = Method("deepsets", {}, (8,), FLAT, QUICK)
    first, second = facts(method, tmp_path / "one", tests["a"], tests, adopt=True)
    assert "adopted" not in first
    assert "attention/kernel/4" in second["adopted"]
    assert np.isfinite(second["metrics"]["test_tau"])
    (strict,) = facts(method, tmp_path / "two", tests["a"], {"vit": tests["vit"]})
    assert strict["refused"].startswith("trained on arrays ['conv/bias/0'")


def test_directions_have_methods_of_their_own_with_the_steps_of_their_epochs():
    training = Settings(steps=10, batch=8)
    small, large = (Method("mlp", {"widths": (n,)}, training=training, epochs=2) for n in (4, 8))
    preset = Preset(
        {"mlp": small, "stat_nn": Method("stat_nn")}, "", directions={"b": {"mlp": large}}
    )
    chosen = {"mlp": small, "stat_nn": Method("stat_nn"), "Mine": Method("dmc")}
    options = argparse.Namespace(set=["training.evaluate_every=3"])
    here = accuracy_predictors.planned(options, preset, chosen, "b", 80)
    assert {k: m.encoder for k, m in here.items()} == {"mlp": "mlp", "Mine": "dmc"}
    assert here["mlp"].settings == {"widths": (8,)}
    assert (here["mlp"].training.steps, here["mlp"].training.evaluate_every) == (20, 3)
    assert list(accuracy_predictors.planned(options, preset, chosen, "a", 80)) == ["Mine"]
    alike = dataclasses.replace(preset, directions={})
    assert list(accuracy_predictors.planned(options, alike, chosen, "a", 80)) == [*chosen]


def test_the_table_has_a_column_for_each_direction():
    runs = [
        {"row": row, "train_zoo": "a", "test_zoo": test, "metrics": scores}
        for row, test, scores in (
            *(("mlp", "b", {"test_tau": 0.5}), ("mlp", "b", {"test_tau": 0.7})),
            *(("mlp", "c", {}), ("gmn", "b", {"test_tau": 0.25})),
        )
    ]
    table = accuracy_predictors.table(runs)
    assert [c.header for c in table.columns] == ["method", "a to b", "a to c"]
    cells = [list(c.cells) for c in table.columns]
    assert cells == [["mlp", "gmn"], ["0.600 ± 0.141", "0.250"], ["not supported", ""]]

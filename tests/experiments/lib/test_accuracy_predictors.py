"""Judges of classifiers: what the experiments on zoos of classifiers share."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import cross_dataset
from experiments.lib import accuracy_predictors, baselines, records, zoo_loading, zoo_recipes
from experiments.lib.cli import Row
from wsjax import architectures
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo, join, split
from wsjax.zoos.classifiers import classifier_families
from wsjax.zoos.classifiers import classifier_recipe as classifiers_module

pytestmark = pytest.mark.trains

SMALL = architectures.cnn([1, 3, 3], [2], activation="relu")
TANH = architectures.cnn([1, 3, 3], [2], activation="tanh")
DEEP = architectures.cnn([1, 3, 3, 3], [2])
QUICK = Settings(steps=20, batch=16, learning_rate=1e-2, evaluate_every=10, checkpoint_every=20)
FLAT = Objective(loss="bce", permute=False)


def classifiers(specs, n=40, seed=0):
    """The label grows with the size of the weights and, less so, with a setting."""
    rng, parts = np.random.default_rng(seed), []
    for spec in specs:
        size, rate = rng.uniform(0.2, 2, n), rng.uniform(0, 1, n)
        vectors = (rng.normal(size=(n, spec.count)) * size[:, None]).astype(np.float32)
        accuracy = (0.4 * size + 0.15 * rate).astype(np.float32)
        labels = {"test_accuracy": accuracy, "train_loss": -accuracy, "rate": rate}
        labels = {k: np.asarray(v, np.float32) for k, v in labels.items()}
        parts.append(Zoo.of_spec(vectors, spec, labels))
    whole = join(parts)
    half = len(whole) // 2
    return split(whole, {"train": half, "validation": half // 2, "test": half // 2}, seed)


def about(row, train="a"):
    return {
        "experiment": "cross_dataset", "preset": "smoke", "row": row, "seed": 0,
        "train_zoo": train, "zoos": {},
    }  # fmt: skip


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "cross_dataset.jsonl"


def test_each_test_zoo_has_a_record_and_finished_rows_are_not_run_again(tmp_path, results):
    tests = {"a": classifiers([SMALL, TANH]), "b": classifiers([SMALL, TANH], seed=1)}
    row = Row("stat_nn", settings={"widths": (16,), "code": 8}, head=(8,), objective=FLAT,
              training=dataclasses.replace(QUICK, steps=150))  # fmt: skip
    found = accuracy_predictors.run(row, about("stat_nn"), tmp_path, tests["a"], tests)
    assert [(r["train_zoo"], r["test_zoo"]) for r in found] == [("a", "a"), ("a", "b")]
    for r in found:
        low, high = r["metrics"]["test_tau_interval"]
        assert low < r["metrics"]["test_tau"] < high
        assert r["metrics"]["test_tau"] > 0.5
        assert r["curve"]
    again = accuracy_predictors.run(row, about("stat_nn"), tmp_path, tests["a"], tests)
    assert again == json.loads(json.dumps(found))
    assert len(results.read_text().splitlines()) == 2


def test_methods_know_no_more_than_they_say(tmp_path, results):
    tests = {"a": classifiers([SMALL, TANH], 120), "b": classifiers([DEEP])}
    tau = {}
    for name, method in baselines.METHODS.items():
        lines = accuracy_predictors.run(
            Row(None, method=method), about(name), tmp_path, tests["a"], tests
        )
        tau[name] = [r["metrics"].get("test_tau") for r in lines]
    assert tau["mean"] == [0, 0]
    assert 0 < tau["recipe_only"][0] < 0.5 < tau["boosted_trees"][0]
    assert tau["boosted_trees"][1] is None  # other arrays
    last = json.loads(results.read_text().splitlines()[3])
    assert last["row"] == "boosted_trees"
    assert last["refused"] == "expected 42 features as in training, got 56"
    blind = {k: dataclasses.replace(z, labels={"test_accuracy": z.labels["test_accuracy"]})
             for k, z in tests.items()}  # fmt: skip
    with pytest.raises(ValueError, match="expected chosen settings among the labels"):
        baselines.recipe_only(blind["a"], blind, "test_accuracy", 0)


def test_who_cannot_read_a_zoo_is_on_record_and_no_crash(tmp_path, results):
    one, deep = classifiers([SMALL]), classifiers([DEEP])
    flat = Row("mlp", settings={"widths": (8,)}, head=(8,), objective=FLAT, training=QUICK)
    first, second = accuracy_predictors.run(
        flat, about("mlp"), tmp_path, one, {"a": one, "deep": deep}
    )
    assert "test_tau" in first["metrics"]
    assert second["refused"].startswith("MLP reads only the architecture it was trained on")
    both = classifiers([SMALL, DEEP])
    (only,) = accuracy_predictors.run(flat, about("mlp", "both"), tmp_path, both, {"both": both})
    assert only["refused"] == "MLP reads one architecture at a time, got 2"
    assert only["steps"] == 0


def test_arrays_that_training_had_not_are_adopted_and_on_record(tmp_path, results):
    seen = architectures.vit(1, 4, 2, size=(4, 4), patch=2, blocks=1, heads=1, mlp_width=4)
    tests = {"a": classifiers([SMALL]), "vit": classifiers([seen], seed=1)}
    row = Row("deepsets", settings={}, head=(8,), objective=FLAT, training=QUICK)
    first, second = accuracy_predictors.run(
        row, about("deepsets"), tmp_path, tests["a"], tests, adopt=True
    )
    assert "adopted" not in first
    assert "attention/kernel/4" in second["adopted"]
    assert np.isfinite(second["metrics"]["test_tau"])
    (strict,) = accuracy_predictors.run(
        row, about("strict"), tmp_path, tests["a"], {"vit": tests["vit"]}
    )
    assert strict["refused"].startswith("trained on arrays ['conv/bias/0'")


def test_a_method_that_cannot_read_one_zoo_reads_the_others(tmp_path, results):
    tests = {"a": classifiers([SMALL]), "both": classifiers([SMALL, DEEP])}
    row = Row(None, method=baselines.boosted_trees)
    first, second = accuracy_predictors.run(row, about("trees"), tmp_path, tests["a"], tests)
    assert "test_tau" in first["metrics"]
    assert second["refused"] == "expected as many arrays in all networks, got 6 and 8"


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


def test_nothing_of_the_test_networks_reaches_the_training(tmp_path, results):
    """Predictions are the same whatever the other test networks are: no statistics leak."""
    zoo = classifiers([SMALL])
    rest = zoo.vectors.copy()
    rest[zoo.splits["test"][1:]] *= 50
    row = Row(
        "stat_nn", settings={"widths": (8,), "code": 4}, head=(4,), objective=FLAT, training=QUICK
    )
    found = [
        accuracy_predictors.judge(
            row, {**row.config(), "seed": 0}, z, {"a": z}, "test_accuracy", tmp_path / n
        )
        for n, z in (("one", zoo), ("two", dataclasses.replace(zoo, vectors=rest)))
    ]
    assert found[0].predicted["a"][0] == found[1].predicted["a"][0]
    assert found[0].predicted["a"][1] != found[1].predicted["a"][1]

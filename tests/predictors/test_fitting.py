"""`fit`: splits by run, choice, refusals before work, coverage on exchangeable networks."""

import dataclasses

import numpy as np
import pytest
from cases.predictor_zoos import OTHER, SPEC, TANH, accuracies, quick

from wsjax import predictors
from wsjax.predictors import UnfitDataError, fitting
from wsjax.zoos import Zoo, concatenate

NONE = {}  # no encoders


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with quick():
        yield


@pytest.fixture(scope="module")
def predictor():
    return predictors.fit(accuracies(40), "accuracy", minutes=1)


def test_a_predictor_of_forty_networks_predicts_others(predictor):
    test = accuracies(200, 1)
    found = predictor.predict(test)
    y = test.labels["accuracy"]
    assert predictor.facts["chosen"] == "ridge"
    assert np.corrcoef(predictor.predict(test, anyway=True).values, y)[0, 1] > 0.8
    assert np.mean([x == "in" for x in found.domain]) > 0.8
    lines = {x["name"]: x for x in predictor.facts["candidates"]}
    assert lines["ridge"]["r2"] > 0.6 > 0.1 > lines["mean"]["r2"]
    assert lines["sne"]["note"] == "28 runs to learn from, tried from 100"
    control = predictor.facts["control"]
    assert control["columns"] == ["rate"]
    assert lines["ridge"]["r2"] > control["r2"]


def test_coverage_is_nominal_over_fits():
    """90 % of 400 networks, 100 of each of 4 fits; fits differ by their calibration, of beta."""
    covered = []
    for seed in range(4):
        zoo = accuracies(50, seed)
        predictor = predictors.fit(zoo, "accuracy", encoders=NONE, seed=seed)
        test = accuracies(100, 100 + seed)
        found, y = predictor.predict(test, anyway=True), test.labels["accuracy"]
        covered.append(np.mean((found.low <= y) & (y <= found.high)))
    n = 15  # calibration runs: coverage of one fit is of Beta(15, 1) about
    assert np.mean(covered) > 0.9 - 3 * np.sqrt(0.9 * 0.1 / n / 4)
    assert np.mean(covered) < 1


def test_shifted_networks_are_not_covered_and_refused(predictor):
    shifted = accuracies(60, 1, size=2.0)
    y = shifted.labels["accuracy"]
    found = predictor.predict(shifted, anyway=True)
    assert np.mean((found.low <= y) & (y <= found.high)) < 0.6
    assert found.shift < 0.001
    assert set(found.domain) == {"out"}
    assert np.isnan(predictor.predict(shifted).values).all()


def test_runs_and_copies_are_in_one_split():
    zoo = accuracies(60, each=2)
    vectors = zoo.vectors.copy()
    kernel, bias, last = (slice(0, 15), slice(15, 20), slice(20, 30))
    order = np.array([1, 0, 2, 3, 4])  # hidden neurons of network 0, as network 59
    vectors[59, kernel] = vectors[0, kernel].reshape(3, 5)[:, order].ravel()
    vectors[59, bias] = vectors[0, bias][order]
    vectors[59, last] = vectors[0, last].reshape(5, 2)[order].ravel()
    vectors[59, 30:] = vectors[0, 30:]
    zoo = dataclasses.replace(zoo, vectors=vectors)
    names = [f"n{i}" for i in range(60)]
    facts = predictors.fit(zoo, "accuracy", names=names, encoders=NONE).facts
    home = {n: k for k, part in facts["splits"].items() for n in part}
    assert set(home) == set(names)
    assert all(home[f"n{i}"] == home[f"n{i + 1}"] for i in range(0, 60, 2))
    assert home["n59"] == home["n0"]
    assert sum(facts["runs"].values()) == 29
    assert facts["runs"]["calibration"] >= 9


def test_twenty_networks_have_finite_intervals():
    zoo = accuracies(20)
    predictor = predictors.fit(zoo, "accuracy", encoders=NONE)
    assert predictor.facts["runs"] == {"train": 8, "validation": 3, "calibration": 9}
    found = predictor.predict(accuracies(5, 3), anyway=True)
    assert (found.high - found.low < 1).all()


def test_the_mean_is_chosen_where_nothing_predicts():
    chosen = []
    for seed in range(3):
        noise = np.random.default_rng(seed + 1000).uniform(size=40)
        zoo = dataclasses.replace(accuracies(40, seed), labels={"accuracy": noise})
        facts = predictors.fit(zoo, "accuracy", encoders=NONE).facts
        chosen.append(facts["chosen"])
    assert facts["control"]["columns"] == []
    assert chosen.count("mean") >= 2


def test_labels_beyond_shares_have_no_bounds():
    zoo = accuracies(40)
    labels = {"loss": 100 - 50 * zoo.labels["accuracy"]}
    predictor = predictors.fit(dataclasses.replace(zoo, labels=labels), "loss", encoders=NONE)
    assert predictor.calibration.high == np.inf
    found = predictor.predict(accuracies(5, 3), anyway=True)
    assert (found.high > 60).any()


def test_the_choice_is_the_simplest_within_a_standard_error():
    rng, groups = np.random.default_rng(0), np.arange(60)
    truth = rng.standard_normal(60)

    def result(noise):
        predicted = truth + noise * rng.standard_normal(60)
        return fitting._Result("", groups, predicted, truth)

    alike = {"mean": result(1), "ridge": result(0.201), "trees": result(0.2)}
    assert fitting._chosen(alike, groups) == "ridge"
    better = {"mean": result(1), "ridge": result(0.8), "trees": result(0.2)}
    assert fitting._chosen(better, groups) == "trees"


def test_columns_named_as_measures_are_not_the_controls_unless_named():
    zoo, y = accuracies(40), accuracies(40).labels["accuracy"]
    measured = ("train_loss", "valAcc", "generalization_gap", "test_time", "top5")
    settings = ("rate", "batch_norm", "decay", "timesteps", "step")
    labels = dict.fromkeys((*measured, *settings), y + np.arange(40, dtype=np.float32))
    zoo = dataclasses.replace(zoo, labels={**labels, "accuracy": y})
    control = predictors.fit(zoo, "accuracy", encoders=NONE).facts["control"]
    assert control["columns"] == sorted(settings)
    assert control["measured"] == sorted(measured)
    named = predictors.fit(zoo, "accuracy", encoders=NONE, recipe=["train_loss"]).facts["control"]
    assert (named["columns"], named["measured"]) == (["train_loss"], [])


def labelled(y, n=40):
    return dataclasses.replace(accuracies(n), labels={"accuracy": y})


@pytest.mark.parametrize(
    ("zoo", "message"),
    [
        (accuracies(19), "expected at least 20 networks to learn from, got 19"),
        (accuracies(30, each=30), "expected networks of at least 15 runs, got 1"),
        (labelled(np.ones(40)), "label 'accuracy' is 1 of all 40 networks: constant"),
        (
            labelled(np.r_[np.nan, np.arange(39)]),
            "label 'accuracy' is NaN or infinite of network network 0; expected a number for each",
        ),
        (
            concatenate([accuracies(20), accuracies(20, spec=OTHER)]),
            "expected networks of one architecture, got 2: 20 of 32, 20 of 38 weights",
        ),
    ],
    ids=["few", "one run", "constant", "nan", "mixed"],
)
def test_bad_input_is_an_error_before_any_work(zoo: Zoo, message, monkeypatch):
    monkeypatch.setattr(fitting, "features_of", lambda *a: pytest.fail("work was done"))
    with pytest.raises(UnfitDataError, match=message):
        predictors.fit(zoo, "accuracy")
    assert UnfitDataError.code == 3


def test_copies_of_few_networks_are_too_few_runs():
    zoo = accuracies(40)
    vectors = zoo.vectors[np.arange(40) % 10]
    zoo = dataclasses.replace(zoo, vectors=vectors)
    with pytest.raises(UnfitDataError, match="15 runs, got 10, copies of one network counted once"):
        predictors.fit(zoo, "accuracy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": 0}, "expected finite minutes above 0"),
        ({"minutes": np.inf}, "expected finite minutes above 0"),
        ({"seed": -1}, "a seed from 0, got 5"),
        ({"confidence": 1.0}, "a confidence from 0.5 to below 1"),
        ({"names": ["a"]}, "expected 40 names of networks, got 1"),
        ({"names": ["a"] * 40}, "expected different names, got twice: a"),
        ({"recipe": ["depth"]}, "recipe: expected labels of"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        predictors.fit(accuracies(40), "accuracy", encoders=NONE, **settings)


def test_activations_may_differ():
    zoo = concatenate([accuracies(20), accuracies(20, 7, spec=TANH)])
    zoo = dataclasses.replace(zoo, runs=np.arange(40))
    predictor = predictors.fit(zoo, "accuracy", encoders=NONE)
    assert predictor.domain.specs == (SPEC, TANH)

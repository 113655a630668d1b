"""Predictions, ranks, and the model folder: whole or a clear error."""

import dataclasses
import json

import numpy as np
import pytest
from cases.predictor_zoos import OTHER, SPEC, accuracies, quick

from wsjax import networks, predictors, storage
from wsjax.predictors import candidates
from wsjax.predictors.card import card
from wsjax.predictors.predictor import features_of
from wsjax.storage import DamagedError


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with quick():
        yield


@pytest.fixture(scope="module")
def predictor():
    return predictors.fit(accuracies(60), "accuracy", encoders={})


@pytest.fixture
def folder(predictor, tmp_path):
    return predictor.save(tmp_path / "model")


def network(scale=1.0, spec=SPEC, seed=5):
    zoo = accuracies(1, seed, spec=spec)
    return networks.unravel(zoo.vectors[0] * scale, spec), spec


def test_each_network_has_its_verdict_beside_the_others(predictor):
    broken, spec = network()
    broken = {**broken, "Dense_1/bias": np.full(2, np.nan, np.float32)}
    given = [network(), (broken, spec), network(spec=OTHER), network(scale=100)]
    found = predictor.predict(given, ["fine", "nan", "other", "large"])
    assert found.domain == ("in", "out", "out", "out")
    assert found.reasons[1] == ("Dense_1/bias: 2 of 2 NaN or inf",)
    assert found.reasons[2][0].startswith("another architecture: Dense_0/kernel")
    assert "root mean square" in found.reasons[3][0]
    assert np.isfinite(found.values).tolist() == [True, False, False, False]
    assert found.low[0] < found.values[0] < found.high[0]
    anyway = predictor.predict(given, anyway=True)
    assert np.isfinite(anyway.values).tolist() == [True, False, False, True]
    assert anyway.domain == found.domain
    assert found.shift is None


def test_ranks_are_of_those_with_a_prediction(predictor):
    zoo = accuracies(8, 3)
    given = [*((zoo.params(i), SPEC) for i in range(8)), network(spec=OTHER)]
    ranking = predictor.rank(given)
    values = ranking.predictions.values
    assert 8 not in ranking.order
    assert (np.diff(values[ranking.order]) <= 0).all()
    assert ranking.first[8] == 0
    assert (ranking.first[ranking.order] <= ranking.last[ranking.order]).all()
    assert ranking.first[ranking.order[0]] == 1
    assert np.nanmax(values) - np.nanmin(values) > ranking.margin > 0


def test_a_saved_predictor_predicts_the_same(predictor, folder):
    zoo = accuracies(12, 3)
    one, other = predictor.predict(zoo), predictors.load(folder).predict(zoo)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.high, other.high)
    assert (one.reasons, one.shift) == (other.reasons, other.shift)
    predictor.save(folder)  # replaces it
    assert predictors.load(folder).facts == storage.plain(predictor.facts)


def test_every_kind_of_model_comes_back(tmp_path):
    zoo = accuracies(40)
    x = np.random.default_rng(0).standard_normal((40, 3))
    data = candidates.Data(zoo, x, "accuracy", 0, True)
    for name in ("mean", "ridge", "trees"):
        model, _ = candidates.learn(name, data, np.arange(30), np.arange(30, 40), None, 30.0)
        about, arrays = candidates.save(model, tmp_path)
        again = candidates.load(storage.plain(about), arrays, tmp_path)
        predicted = model.predict(zoo, x)
        assert name == "mean" or np.ptp(predicted) > 0
        np.testing.assert_array_equal(again.predict(zoo, x), predicted)
    with pytest.raises(ValueError, match="expected a model of"):
        candidates.load({"kind": "oracle"}, {}, tmp_path)


def test_the_card_states_data_measures_and_limits(predictor, folder):
    text = (folder / "README.md").read_text()
    assert text == card("accuracy", predictor.facts, SPEC)
    for part in (
        "wsjax predict FILE --with THIS_FOLDER --set activation=relu",
        "| calibration | 18 | 18 |",
        "**ridge**",
        "recipe_only",
        "90% of new runs",
        "Limits",
    ):
        assert part in text


def rewritten(folder, **changes):
    about = json.loads((folder / "predictor.json").read_text())
    storage.write_sealed(folder / "predictor.json", {**about, **changes})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "predictor.json").write_text("{}"), "predictor.json was altered"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "model.safetensors was altered"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "README.md").write_text("better"), "README.md was altered"),
        (lambda f: rewritten(f, model={"kind": "pickle"}), "damaged: expected a model of"),
        (lambda f: rewritten(f, specs=[{}]), "is damaged"),
    ],
)
def test_damaged_models_are_one_clear_error(folder, damage, message):
    damage(folder)
    with pytest.raises(DamagedError, match=message):
        predictors.load(folder)


def test_models_of_other_versions_and_no_models_are_errors(folder, tmp_path):
    rewritten(folder, format=99)
    with pytest.raises(ValueError, match="expected a predictor of format 1, got 99: fit it again"):
        predictors.load(folder)
    with pytest.raises(FileNotFoundError, match="expected a predictor at"):
        predictors.load(tmp_path)


def test_a_folder_of_something_else_is_not_replaced(predictor, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="a predictor to replace"):
        predictor.save(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"thesis\.tex is a file"):
        predictors.expect_place(tmp_path / "thesis.tex" / "model")
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_a_folder_of_boosted_trees_predicts_the_same(predictor, tmp_path):
    zoo = accuracies(60)
    features = features_of(zoo.vectors, SPEC).values
    y = np.asarray(zoo.labels["accuracy"], np.float64)
    data = candidates.Data(zoo, features, "accuracy", 0, True)
    rows = np.arange(len(zoo))
    model, _ = candidates.learn("trees", data, rows[:40], rows[40:], None, 60.0)
    grown = dataclasses.replace(predictor, model=model)
    again = predictors.load(grown.save(tmp_path / "trees"))
    assert np.ptp(grown.predict(zoo).values) > 0.1 * np.ptp(y)
    np.testing.assert_array_equal(again.predict(zoo).values, grown.predict(zoo).values)

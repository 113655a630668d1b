"""Pretrained models are small, sealed, and give what they gave; the command resumes."""

import dataclasses

import numpy as np
import pytest
from cases.tasks import ratio_zoo

from experiments.lib import model_cards, pretrained_tables
from experiments.lib.methods import Method
from experiments.make import pretrained
from experiments.make.pretrained import Entry, Work
from wsjax import networks, predictors, restore
from wsjax.tasks import exports
from wsjax.tasks.regression import Objective, Regression

MODELS = sorted(p.name for p in pretrained.FOLDER.iterdir())
MOST = 25_000_000  # bytes of all


def test_all_models_are_here_and_small():
    assert set(MODELS) == {*pretrained.ENTRIES, *pretrained.PREDICTORS}
    assert sum(p.stat().st_size for p in pretrained.FOLDER.rglob("*")) < MOST


@pytest.mark.parametrize("name", [n for n in MODELS if n in pretrained.ENTRIES])
def test_a_model_gives_what_it_gave(name):
    trained, facts = restore(name), exports.about(name)["facts"]
    vector, spec, given = model_cards.stored(facts["example"])
    assert vector.shape == (trained.specs[spec].count,)
    answer = model_cards.answer(trained, vector, spec)
    np.testing.assert_allclose(answer, given, rtol=1e-3, atol=1e-4)
    card = (pretrained.FOLDER / name / "README.md").read_text()
    assert f'wsjax.restore("{name}")' in card
    for measure, value in facts["test"]["values"].items():
        assert f"| {measure} | {value:.4g} |" in card
    assert not facts["commit"].endswith("-dirty")


@pytest.mark.parametrize("name", [n for n in MODELS if n in pretrained.PREDICTORS])
def test_a_predictor_gives_what_it_gave(name):
    predictor = predictors.load(name)
    vector, spec, given = model_cards.stored(predictor.facts["example"])
    network = networks.unravel(vector, predictor.domain.specs[spec])
    alone = predictor.predict([(network, predictor.domain.specs[spec])], anyway=True)
    ends = [x[0] for x in (alone.values, alone.low, alone.high)]
    np.testing.assert_allclose(ends, given, rtol=1e-3, atol=1e-4)
    test = predictor.facts["test"]
    assert test["coverage"] == pytest.approx(0.9, abs=0.06)
    card = (pretrained.FOLDER / name / "README.md").read_text()
    assert f"| coverage | {test['coverage']:.4g} |" in card
    assert not predictor.facts["commit"].endswith("-dirty")


# The command


def tiny():
    encoder = {"widths": (8,), "code": 4}
    method = Method("stat_nn", encoder, (8,), Objective(permute=False)).train(4, 2, batch=8)
    task = lambda method: Regression("ratio", method.objective)
    words = ("title", "use", "reads", "trained_on", "licence", "limits", "calibration")
    return Entry(
        {"slow": method, "fast": dataclasses.replace(method).train(20, 2, learning_rate=0.03)},
        lambda options: Work(ratio_zoo(), task, model_cards.regression),
        {k: f"the {k}" for k in words},
    )


@pytest.mark.trains
def test_the_best_on_validation_is_exported_once_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.setattr(pretrained, "ENTRIES", {"tiny": tiny()})
    flags = [
        "--models",
        "tiny",
        "--folder",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path / "models"),
    ]
    (record,) = pretrained.main(flags)
    values = record["metrics"]["validation"]
    assert record["method"] == min(values, key=values.get)
    trained = restore(tmp_path / "models" / "tiny")
    test, truth = ratio_zoo().part("test", "ratio")
    mse = float(np.mean((trained.predict(test) - truth) ** 2))
    assert record["metrics"]["test"]["values"]["mse"] == pytest.approx(mse, rel=1e-4)
    low, high = record["metrics"]["test"]["intervals"]["mse"]
    assert low < mse < high
    before = exports.about(tmp_path / "models" / "tiny")
    assert before["facts"]["how"] == pretrained.WEIGHTS_ALONE
    capsys.readouterr()
    assert pretrained.main(flags) == [record]
    assert "step" not in capsys.readouterr().out  # nothing was trained
    assert exports.about(tmp_path / "models" / "tiny") == before
    results = tmp_path / "runs" / "results"
    assert len((results / "pretrained.jsonl").read_text().splitlines()) == 1
    table = pretrained_tables.models(results)
    assert f"| [`tiny`](pretrained/tiny/README.md) | `fast` | mse {mse:.3g} ({low:.3g}–" in table


def test_unknown_models_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    with pytest.raises(SystemExit, match=r"expected some of \['sine-frequency'.*got \['gpt'\]"):
        pretrained.main(["--models", "gpt", "--folder", str(tmp_path)])


# Measures


def test_intervals_of_means_cover_them_and_narrow():
    values = np.random.default_rng(0).normal(1, 1, 1000)
    wide, narrow = model_cards.interval(values[:50]), model_cards.interval(values)
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert narrow[0] < 1 < narrow[1]
    assert narrow[1] - narrow[0] == pytest.approx(4 * 1 / np.sqrt(1000), rel=0.1)


def test_an_example_comes_back_to_the_bit():
    zoo = ratio_zoo()
    data = {"network": "AACAPwAAAMA=", "spec": 0, "gives": [0.5]}
    vector, spec, given = model_cards.stored(data)
    assert (vector.tolist(), spec, given.tolist()) == ([1.0, -2.0], 0, [0.5])

    class Norm:
        specs = zoo.specs
        task = Regression("ratio")
        predict = staticmethod(lambda vector, spec: float(np.square(vector).sum()))

    example = model_cards.example(Norm(), zoo)
    row = zoo.splits["test"][0]
    np.testing.assert_array_equal(model_cards.stored(example)[0], zoo.vectors[row])
    assert example["gives"] == [pytest.approx(float(np.square(zoo.vectors[row]).sum()))]

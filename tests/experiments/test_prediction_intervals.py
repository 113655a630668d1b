"""Coverage and refusal are counted right, and the sets are those that they are named for."""

import dataclasses
import types

import numpy as np
import pytest
from cases.tasks import two_depths

from experiments import prediction_intervals, report
from experiments.lib import interval_tables, intervals, records
from wsjax import networks
from wsjax.zoos import split

TAU = ("tau_recipe_only", "tau_boosted_trees")


def labelled(zoo):
    return dataclasses.replace(
        zoo, labels={"test_accuracy": zoo.labels["share"], "depth": 1.0 * zoo.which}, splits={}
    )


ZOO = labelled(two_depths(40))


class Fixed:
    """Predicts a half, between .4 and .6; every other network is out of domain."""

    def predict(self, zoo, anyway=False):
        n = len(zoo)
        ends = {"low": np.full(n, 0.4), "high": np.full(n, 0.6)}
        verdicts = tuple(("in", "out")[i % 2] for i in range(n))
        return types.SimpleNamespace(values=np.full(n, 0.5), domain=verdicts, **ends)


def test_a_run_is_in_one_part_alone_and_seeds_are_other_splits():
    (fitted, test), (again, _) = (prediction_intervals.divide(ZOO, seed) for seed in (0, 1))
    assert not set(fitted.runs) & set(test.runs)
    assert len(fitted) + len(test) == len(ZOO)
    assert len(test) == pytest.approx(0.3 * len(ZOO), abs=2)
    assert set(fitted.runs) != set(again.runs)


def test_coverage_is_counted_over_all_and_in_domain():
    truth = np.array([0.5, 0.5, 0.1, 0.9, 0.5, 0.1], np.float32)
    zoo = ZOO.select(np.arange(6))
    zoo = dataclasses.replace(zoo, labels={"test_accuracy": truth})
    scores = intervals.coverage(Fixed(), zoo)
    assert scores["coverage"] == pytest.approx(3 / 6)
    assert scores["coverage_in_domain"] == pytest.approx(2 / 3)  # of networks 0, 2 and 4
    assert scores["width"] == pytest.approx(0.2)
    assert scores["mae"] == pytest.approx(np.abs(truth - 0.5).mean())


def test_refusals_are_counted():
    some = prediction_intervals.pairs(ZOO)
    assert len(some) == len(ZOO)
    rates = prediction_intervals.domains(Fixed(), some)
    assert (rates["out"], rates["edge"], rates["networks"]) == (0.5, 0.0, len(ZOO))
    # a group of nine or fewer begins with one in domain
    assert rates["out_alone"] == (len(ZOO) // 9 * 4 + len(ZOO) % 9 // 2) / len(ZOO)


def test_initial_networks_are_of_he_and_broken_ones_have_one_nan():
    many = dataclasses.replace(
        ZOO, **{k: np.repeat(getattr(ZOO, k), 50, 0) for k in ("vectors", "which", "runs")},
        labels={},
    )  # fmt: skip
    drawn = prediction_intervals.initial(many, 0)
    for s, spec in enumerate(many.specs):
        part = drawn.vectors[many.which == s]
        params = networks.unravel(part[:, : spec.count], spec)
        for name, array in params.items():
            shape = array.shape[1:]
            if name.endswith("kernel"):
                assert np.std(array) == pytest.approx(np.sqrt(2 / np.prod(shape[:-1])), rel=0.1)
            else:
                assert not np.any(array)
        assert not part[:, spec.count :].any()
    for params, spec in prediction_intervals.broken(prediction_intervals.pairs(ZOO), 0):
        assert np.isnan(networks.ravel(params, spec)).sum() == 1


def test_sets_are_named_by_data_and_by_family():
    others = {"a.one": ZOO, "a.two": ZOO, "b.one": ZOO}
    named = prediction_intervals.sets("a.one", ZOO, others, 0)
    assert list(named) == [
        *("test networks", "two", "b, one", "initial weights", "one weight NaN", "times 10")
    ]
    for (params, spec), (large, _) in zip(named["test networks"], named["times 10"], strict=True):
        once, times = (networks.ravel(p, spec) for p in (params, large))
        np.testing.assert_allclose(times, 10 * once, rtol=1e-6)


def test_controls_learn_from_the_recipe_and_from_statistics():
    flat = dataclasses.replace(ZOO.of(0), splits={})
    fitted, test = (flat.select(x) for x in split(flat, {"a": 14, "b": 6}, 0).splits.values())
    chosen = dataclasses.replace(
        fitted, labels={**fitted.labels, "width": fitted.labels["test_accuracy"]}, splits={}
    )
    tested = dataclasses.replace(
        test, labels={**test.labels, "width": test.labels["test_accuracy"]}, splits={}
    )
    scores = prediction_intervals.controls(chosen, tested, 0)
    assert set(scores) == set(TAU)
    assert scores["tau_recipe_only"] > 0.5  # which has the label itself


def test_records_become_tables(tmp_path):
    base = {"experiment": "prediction_intervals", "preset": "laptop", "parameters": 0, "steps": 0}
    base |= {"row": "a.one", "train_zoo": "a.one", "seconds": 1.0}
    scores = {"nominal": 0.9, "coverage_in_domain": 0.5, "width": 0.1, "tau": 0.8}
    scores |= dict.fromkeys(TAU, 0.25)
    for seed, covered in enumerate((0.8, 1.0)):
        metrics = {**scores, "coverage": covered}
        record = {**base, "seed": seed, "part": "coverage", "metrics": metrics}
        records.append(record, tmp_path)
        assert f"split {seed}: {covered:.1%} covered" in interval_tables.line(record)
        for tested, out in (("times 10", 1.0), ("test networks", 0.1 * seed)):
            rates = {"out": out, "edge": 0.0, "out_alone": 0.5, "edge_alone": 0.25}
            record = {**base, "seed": seed, "part": "domain", "test_zoo": tested, "metrics": rates}
            records.append(record, tmp_path)
    table = report.TABLES["prediction_intervals"](tmp_path)
    assert "| a.one | 0.90 | 0.900 ± 0.141 (2 seeds) | 0.500 ± 0.000 (2 seeds) |" in table
    table = report.TABLES["prediction_domain"](tmp_path)
    assert "| predictor of | times 10 | test networks |" in table
    assert "| a.one | 100%, 50% | 5%, 50% |" in table


def test_a_split_is_measured_and_not_again(tmp_path, monkeypatch, capsys):
    name, calls, labels = "conv3-gap.mnist", [], ("optimizer_adam", "test_accuracy")
    few = {}
    for i, key in enumerate(prediction_intervals.NAMES):
        zoo = prediction_intervals.load(key)
        zoo = zoo.select(np.arange(i, len(zoo), 6))
        few[key] = dataclasses.replace(zoo, labels={k: zoo.labels[k] for k in labels})
    fit = prediction_intervals.predictors.fit
    count = lambda *a, **k: calls.append(1) or fit(*a, **k)
    monkeypatch.setattr(prediction_intervals.predictors, "fit", count)
    monkeypatch.setattr(prediction_intervals, "load", few.__getitem__)
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    main = lambda: prediction_intervals.main(
        ["--zoos", name, "--seeds", "1", "--folder", str(tmp_path)]
    )
    main()
    first, *others = records.read("prediction_intervals", tmp_path / "results")
    assert 0.6 <= first["metrics"]["coverage"] <= 1
    assert 0 < first["metrics"]["width"] < 1
    rates = {r["test_zoo"]: r["metrics"] for r in others}
    assert rates["one weight NaN"]["out_alone"] == 1
    assert rates["conv3-linear2, mnist"]["out_alone"] == 1
    assert rates["test networks"]["out_alone"] < 0.2
    capsys.readouterr()
    main()
    assert calls == [1]
    assert f"{name}, split 0: " in capsys.readouterr().out
    assert len(records.read("prediction_intervals", tmp_path / "results")) == 1 + len(others)

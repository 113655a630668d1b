"""Encoders in child processes: chosen, saved, used by another process; ended in time."""

import subprocess
import sys
import time

import numpy as np
import pytest
from cases.predictor_zoos import SPEC, accuracies, quick

from wsjax import encoders, predictors
from wsjax.predictors import child, fitting
from wsjax.predictors.child import SkippedError

SMALL = encoders.StatNN((16,), 16)
ELSEWHERE = """
import sys, numpy as np
from wsjax import predictors
from wsjax.zoos import Zoo
predictor = predictors.load(sys.argv[1])
zoo = Zoo.of_spec(np.load(sys.argv[2]), predictor.domain.specs[0], {})
np.save(sys.argv[3], predictor.predict(zoo, anyway=True).values)
"""


def test_a_chosen_encoder_is_saved_and_predicts_in_another_process(tmp_path, monkeypatch):
    """The one training of the tests of predictors: StatNN, which the mean alone is beside."""
    monkeypatch.setattr(fitting, "SIMPLE", ("mean",))
    monkeypatch.setattr(fitting, "MANY", 50)
    monkeypatch.setattr(
        child, "START", child.START.replace("; child.main", "; child.STEPS = 300; child.main")
    )
    tried, names = {"stat_nn": SMALL, "inr2vec": encoders.INR2Vec()}, []
    with quick():
        predictor = predictors.fit(
            accuracies(120), "accuracy", encoders=tried, minutes=10, progress=names.append
        )
    lines = {x["name"]: x for x in predictor.facts["candidates"]}
    assert [x.split()[0] for x in names] == ["mean", "stat_nn", "inr2vec"]
    assert lines["stat_nn"]["note"] == "300 steps"
    assert lines["stat_nn"]["r2"] > 0.3
    assert "does not support the network" in lines["inr2vec"]["note"]
    assert predictor.facts["chosen"] == "stat_nn"
    assert predictor.facts["measure"] == "on validation"
    assert lines["stat_nn"]["seconds"] < 300
    test = accuracies(30, 1)
    found = predictor.predict(test, anyway=True)
    assert np.corrcoef(found.values, test.labels["accuracy"])[0, 1] > 0.6
    plain = predictors.predictor.features_of(test.vectors, SPEC)
    described = predictors.predictor.embedded(predictor.model, test, plain)
    assert predictor.domain.features.shape[1] == len(described.names) == len(plain.names) + 16
    assert set(predictor.predict(accuracies(5, 1, size=30)).domain) == {"out"}

    folder = predictor.save(tmp_path / "model").rename(tmp_path / "moved")
    assert (folder / "encoder" / "model.safetensors").is_file()
    np.save(tmp_path / "vectors.npy", test.vectors)
    arguments = (folder, tmp_path / "vectors.npy", tmp_path / "values.npy")
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, arguments)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "values.npy"), found.values, rtol=1e-5)
    model = folder / "encoder" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"encoder/model\.safetensors"):
        predictors.load(folder)


def trained(seconds, encoder=SMALL):
    zoo = accuracies(20)
    zoo.splits.update(train=np.arange(10), validation=np.arange(10, 20))
    return child.train(zoo, "accuracy", encoder, 0, True, seconds)


def test_the_process_is_ended_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(child, "LEAST", 0.5)
    monkeypatch.setattr(child, "START", "import time; time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(SkippedError, match="it was ended after the 1 s left for it"):
        trained(1.0)
    assert time.monotonic() - start < 10


def test_no_time_is_a_reason():
    with pytest.raises(SkippedError, match=r"3\.0 s were left for it"):
        trained(3.0)


def test_a_process_that_fails_is_a_reason(monkeypatch):
    monkeypatch.setattr(child, "START", "import os, sys; sys.exit('out of memory')")
    with pytest.raises(SkippedError, match="its process ended with 1: out of memory"):
        trained(20.0)


def test_an_encoder_of_a_script_or_a_function_is_a_reason(monkeypatch):
    class Local(encoders.StatNN):
        pass

    with pytest.raises(SkippedError, match="another process cannot import it"):
        trained(20.0, Local())
    monkeypatch.setattr(encoders.StatNN, "__module__", "__main__")
    with pytest.raises(SkippedError, match="expected a module of its own"):
        trained(20.0)

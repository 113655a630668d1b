"""Predictors of networks by activation, at the smoke preset."""

import pytest

from experiments import generalization
from experiments.lib import zoo_loading

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    flags = ["--jobs", "1", "--preset", "smoke", "--folder", str(folder)]
    return lambda *more: generalization.main([*flags, *more])


def test_networks_of_each_activation_are_predicted_apart(run, folder):
    found = run()
    ways = {(r["train_zoo"], r["test_zoo"]) for r in found}
    assert ways == {(f"digits {k}", k) for k in ("relu", "tanh", "both")}
    assert all("test_tau" in r["metrics"] for r in found)
    sizes = {r["train_zoo"]: r["config"]["sizes"]["train"] for r in found}
    assert 0 < sizes["digits relu"] < sizes["digits both"]
    assert sizes["digits relu"] + sizes["digits tanh"] == sizes["digits both"]
    preset = generalization.PRESETS["smoke"]
    zoo = zoo_loading.load("digits", preset, folder, None)
    for way in generalization.directions(preset, {"digits": zoo})[:2]:
        assert set(generalization.activations(way.train)) == {way.name.split()[1]}

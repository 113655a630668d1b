"""Predictors across architectures, at the smoke preset."""

import dataclasses
import re

import pytest

from experiments import cross_architecture

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    flags = ["--jobs", "1", "--preset", "smoke", "--folder", str(folder)]
    return lambda *more: cross_architecture.main([*flags, *more])


def test_unsupported_architectures_are_listed_as_such(run, folder, capsys):
    found = run("--methods", "deepsets,nfn_hnp,boosted_trees")
    refused = {r["row"]: r.get("refused", "") for r in found}
    assert refused["deepsets"] == ""
    assert refused["nfn_hnp"].startswith("NFN supports only the architecture it was trained on")
    assert refused["boosted_trees"].startswith("expected ")
    assert re.search("nfn_hnp.*not supported", capsys.readouterr().out)


def test_a_transfer_needs_two_architectures():
    preset = cross_architecture.PRESETS["smoke"]
    one = dict(list(preset.zoos.items())[:1])
    with pytest.raises(ValueError, match="zoos of two architectures, got 'conv3-linear2' alone"):
        cross_architecture.directions(dataclasses.replace(preset, zoos=one), dict.fromkeys(one))

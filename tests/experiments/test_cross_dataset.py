"""Predictors across data sets, at the smoke preset."""

import dataclasses
import types

import numpy as np
import pytest

from experiments import cross_dataset
from experiments.lib import zoo_loading

pytestmark = pytest.mark.trains


@pytest.fixture
def run(smoke):
    return smoke(cross_dataset.main)


def test_every_direction_of_every_method_is_on_record(run, folder, capsys):
    found = run()
    ways = {(r["train_zoo"], r["test_zoo"]) for r in found}
    assert ways == {(a, b) for a in ("digits", "other") for b in ("digits", "other")}
    methods = {r["row"] for r in found}
    assert methods == {"mean", "boosted_trees", "recipe_only", "stat_nn", "nfn_hnp"}
    assert len(found) == 4 * len(methods)
    assert all("test_tau" in r["metrics"] for r in found)
    before = (folder / "results" / "cross_dataset.jsonl").read_text()
    capsys.readouterr()
    again = run("--methods", "mean,stat_nn")
    assert capsys.readouterr().out.count("finished before") == 4
    assert (folder / "results" / "cross_dataset.jsonl").read_text() == before
    assert len(again) == 8


def test_a_published_zoo_takes_the_place_of_ours(run, folder, monkeypatch):
    """The reader is a stand-in; the one of the authors' files has tests of its own."""
    preset = cross_dataset.PRESETS["smoke"]
    ours = zoo_loading.load("digits", preset, folder, None)
    received = []

    def reader(path):
        def zoo(nonfinite):
            received.append((str(path), nonfinite))
            some = ours.select(np.arange(16))
            names = ("test_accuracy", "train_accuracy", "learning_rate")
            return dataclasses.replace(some, labels={k: some.labels[k] for k in names})

        return types.SimpleNamespace(zoo=zoo)

    monkeypatch.setattr(zoo_loading, "READERS", {"conv3-gap": reader})
    found = run("--methods", "recipe_only", "--published", "other=somewhere/else")
    assert received == [("somewhere/else", "exclude")]
    zoos = next(r["config"]["zoos"] for r in found if r["train_zoo"] == "other")
    assert zoos["other"].keys() == {"published", "data", "networks", "content"}
    assert {r["preset"] for r in found} == {"smoke-published"}
    labels = zoo_loading.load("digits", preset, folder, None, folder).labels
    assert {"kind", "norm", "width", "activation_relu"} <= set(labels)
    with pytest.raises(SystemExit, match=r"expected --published of zoos \['digits', 'other'\]"):
        run("--published", "imagenet=x")
    monkeypatch.setattr(zoo_loading, "READERS", {})
    with pytest.raises(SystemExit, match="expected a family with a published zoo"):
        zoo_loading.load("digits", preset, folder, None, folder)


def test_unknown_methods_are_errors(run, folder):
    with pytest.raises(SystemExit, match=r"expected some of .*got \['gpt'\]"):
        run("--methods", "gpt")

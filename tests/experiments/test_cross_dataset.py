"""Predictors across data sets, at the smoke preset."""

import dataclasses
import types

import numpy as np
import pytest

from experiments import cross_dataset
from experiments.lib import zoo_loading
from experiments.lib.published_numbers import PAPERS

pytestmark = pytest.mark.trains

PARTS = ("train", "validation", "test")


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


def test_a_published_zoo_takes_the_place_of_ours(run, folder, monkeypatch, tmp_path):
    """The reader is a stand-in; the one of the authors' files has tests of its own."""
    preset = cross_dataset.PRESETS["smoke"]
    ours = zoo_loading.load("digits", preset, folder, None)
    received = []

    def reader(path, split=None):
        def zoo(nonfinite):
            received.append((str(path), split and str(split), nonfinite))
            some = ours.select(np.arange(16))
            names = ("test_accuracy", "train_accuracy", "learning_rate")
            splits = {k: np.flatnonzero(np.arange(16) % 4 == i) for i, k in enumerate(PARTS)}
            labels = {k: some.labels[k] for k in names}
            return dataclasses.replace(some, labels=labels, splits=splits)

        return types.SimpleNamespace(zoo=zoo)

    monkeypatch.setattr(zoo_loading, "READERS", {"conv3-gap": reader})
    flags = ("--methods", "recipe_only", "--published", f"other={tmp_path}")
    shuffled = run(*flags, "--resplit")
    with pytest.raises(
        SystemExit, match=r"expected NFN's splits at .*digits_split\.csv.*--resplit"
    ):
        run(*flags)
    (tmp_path / "digits_split.csv").touch()
    published = run(*flags)
    (nfn := tmp_path / "nfn").mkdir()
    (nfn / "digits_split.csv").touch()
    run(*flags, "--splits", nfn)
    files = (None, *(str(x / "digits_split.csv") for x in (tmp_path, nfn)))
    assert received == [(str(tmp_path), file, "exclude") for file in files]
    for found, word, train in ((published, "published", 4), (shuffled, "shuffled", 8)):
        run_ = next(r for r in found if r["train_zoo"] == "other")
        about = run_["config"]["zoos"]["other"]
        assert about.keys() == {"published", "data", "networks", "splits", "content"}
        assert (about["splits"], run_["config"]["sizes"]["train"]) == (word, train)
    assert {r["preset"] for r in published} == {"smoke-published"}
    zoo = zoo_loading.load("digits", preset, folder, None, zoo_loading.Source(tmp_path))
    assert {"kind", "norm", "width", "activation_relu"} <= set(zoo.labels)
    with pytest.raises(SystemExit, match=r"expected --published of zoos \['digits', 'other'\]"):
        run("--published", "imagenet=x")
    monkeypatch.setattr(zoo_loading, "READERS", {})
    with pytest.raises(SystemExit, match="expected a family with a published zoo"):
        zoo_loading.load("digits", preset, folder, None, zoo_loading.Source(tmp_path))


def test_unknown_methods_are_errors(run, folder):
    with pytest.raises(SystemExit, match=r"expected some of .*got \['gpt'\]"):
        run("--methods", "gpt")


def test_published_means_are_those_of_the_paper():
    """Table 8's last line, which `published_numbers` has not."""
    means = {"mlp": 0.616, "stat_nn": 0.734, "nfn_np": 0.746, "nfn_hnp": 0.705, "sne": 0.761}
    preset = cross_dataset.PRESETS["paper"]
    ways = cross_dataset.directions(preset, dict.fromkeys(preset.zoos))
    for method, mean in means.items():
        taus = [PAPERS["cross_dataset"][method, w.name, test] for w in ways for test in w.tests]
        assert np.mean([float(t.split(" ")[0]) for t in taus]) == pytest.approx(mean, abs=6e-4)
    assert len(PAPERS["cross_dataset"]) == 16 * len(means)

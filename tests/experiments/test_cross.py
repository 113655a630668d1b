"""The experiments on zoos of classifiers, at their smoke presets."""

import dataclasses
import json
import re

import numpy as np
import pytest

from experiments import accuracy_prediction, cross_architecture, cross_dataset, generalization
from experiments.lib import cli, records, zoo_loading
from wsjax.datasets import images
from wsjax.zoos import store
from wsjax.zoos.classifiers import classifier_factory

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def results(folder, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", None)  # set back after `--results`
    return folder / "results"


def run(module, folder, results, *flags):
    return module.main(
        ["--preset", "smoke", "--folder", str(folder), "--results", str(results), *flags]
    )


def test_every_direction_of_every_row_is_on_record(folder, results, capsys):
    found = run(cross_dataset, folder, results)
    ways = {(r["train_zoo"], r["test_zoo"]) for r in found}
    assert ways == {(a, b) for a in ("digits", "other") for b in ("digits", "other")}
    rows = {r["row"] for r in found}
    assert rows == {"mean", "boosted_trees", "recipe_only", "stat_nn", "nfn_hnp"}
    assert len(found) == 4 * len(rows)
    assert all("test_tau" in r["metrics"] for r in found)
    before = (results / "cross_dataset.jsonl").read_text()
    capsys.readouterr()
    again = run(cross_dataset, folder, results, "--rows", "mean,stat_nn")
    assert capsys.readouterr().out.count("finished before") == 4
    assert (results / "cross_dataset.jsonl").read_text() == before
    assert len(again) == 8


def test_who_reads_one_architecture_is_listed_as_such(folder, results, capsys):
    found = run(cross_architecture, folder, results, "--rows", "deepsets,nfn_hnp,boosted_trees")
    refused = {r["row"]: r.get("refused", "") for r in found}
    assert refused["deepsets"] == ""
    assert refused["nfn_hnp"].startswith("NFN reads only the architecture it was trained on")
    assert refused["boosted_trees"].startswith("expected ")
    assert re.search("nfn_hnp.*cannot read", capsys.readouterr().out)


def test_a_transfer_needs_two_architectures():
    preset = cross_architecture.PRESETS["smoke"]
    one = dict(list(preset.zoos.items())[:1])
    with pytest.raises(ValueError, match="zoos of two architectures, got 'conv3-linear2' alone"):
        cross_architecture.directions(dataclasses.replace(preset, zoos=one), dict.fromkeys(one))


def test_halves_tenths_and_the_narrowest_are_learnt_from(folder, results):
    found = run(accuracy_prediction, folder, results)
    ways = {(r["train_zoo"], r["test_zoo"]) for r in found}
    assert ways == {
        *(("varying-cnns 50 %", "rest"), ("varying-cnns 5 %", "rest")),
        *(("varying-cnns OOD", "wider"), ("varying-cnns OOD", "as narrow")),
    }
    refused = {
        n: {"refused" in r for r in found if r["row"] == n} for n in {r["row"] for r in found}
    }
    assert refused == {
        "mean": {False}, "boosted_trees": {True}, "recipe_only": {False}, "dmc": {False},
        "nfn_hnp": {True},
    }  # fmt: skip
    # of 18 to learn from and 4 sorts (a kind with a norm): one of each at least
    sizes = {r["train_zoo"].split(" ", 1)[1]: r["config"]["sizes"]["train"] for r in found}
    assert sizes["50 %"] == 18
    assert 2 <= sizes["5 %"] <= 4
    for name in ("accuracies", "predictions"):
        path = folder / "accuracy_prediction" / "smoke" / f"varying-cnns_{name}.png"
        assert path.stat().st_size > 1000


def test_splits_by_width_share_no_run_and_no_width(folder, results):
    preset = accuracy_prediction.PRESETS["smoke"]
    zoo = zoo_loading.load("varying-cnns", preset, folder, None)
    plan = preset.zoos["varying-cnns"]
    far, near = accuracy_prediction.by_width(zoo, plan, 0)
    width = {k: set(zoo.labels["width"][v].tolist()) for k, v in far.splits.items()}
    assert width == {"train": {8.0}, "validation": {8.0}, "test": {16.0}}
    assert sum(map(len, far.splits.values())) + len(near.splits["test"]) == len(zoo)
    assert not {*zoo.runs[near.splits["test"]]} & {
        *zoo.runs[np.concatenate([*far.splits.values()])]
    }
    assert set(zoo.labels["width"][near.splits["test"]]) == {8.0}
    narrow = zoo.select(zoo.labels["width"] == 8)
    assert accuracy_prediction.by_width(narrow, plan, 0) is None


def test_networks_of_each_activation_are_judged_apart(folder, results):
    found = run(generalization, folder, results)
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
    cli.apply(generalization.rows(), {})  # their settings are known


def test_a_published_zoo_takes_the_place_of_ours(folder, results, monkeypatch):
    """The reader is played here; that it reads the authors' files, its own tests show."""
    preset = cross_dataset.PRESETS["smoke"]
    ours = zoo_loading.load("digits", preset, folder, None)
    asked = []

    def reader(path, nonfinite):
        asked.append((str(path), nonfinite))
        known = ("test_accuracy", "train_accuracy", "learning_rate")
        some = ours.select(np.arange(16))
        return dataclasses.replace(some, labels={k: some.labels[k] for k in known})

    monkeypatch.setattr(zoo_loading, "READERS", {"conv3-gap": reader})
    found = run(
        cross_dataset,
        folder,
        results,
        "--rows",
        "recipe_only",
        "--published",
        "other=somewhere/else",
    )
    assert asked == [("somewhere/else", "exclude")]
    zoos = next(r["config"]["zoos"] for r in found if r["train_zoo"] == "other")
    assert zoos["other"].keys() == {"published", "data", "networks", "content"}
    assert {r["preset"] for r in found} == {"smoke-published"}
    labels = zoo_loading.load("digits", preset, folder, None, folder).labels
    assert {"kind", "norm", "width", "activation_relu"} <= set(labels)
    with pytest.raises(SystemExit, match=r"expected --published of zoos \['digits', 'other'\]"):
        run(cross_dataset, folder, results, "--published", "imagenet=x")
    monkeypatch.setattr(zoo_loading, "READERS", {})
    with pytest.raises(ValueError, match="expected a family with a published zoo"):
        zoo_loading.load("digits", preset, folder, None, folder)


def test_a_packed_zoo_of_the_very_recipe_is_taken(folder, tmp_path, monkeypatch):
    preset = cross_dataset.PRESETS["smoke"]
    recipe = preset.zoos["digits"]
    data = images.load("digits")
    zoo, manifest = classifier_factory.make(recipe, data, folder / "cache" / "zoos")
    marked = store.rounded(zoo)
    marked.vectors[:, 0] = 7
    monkeypatch.setattr(zoo_loading, "ZOOS", tmp_path)
    facts = json.loads(json.dumps({"recipe": manifest["recipe"]}))
    store.save(tmp_path / "conv3-gap.digits", marked, facts, "float16")
    assert (zoo_loading.load("digits", preset, folder, None).vectors[:, 0] == 7).all()
    facts["recipe"]["seed"] = 9
    store.save(tmp_path / "conv3-gap.digits", marked, facts, "float16")
    assert not (zoo_loading.load("digits", preset, folder, None).vectors[:, 0] == 7).any()


def test_unknown_rows_are_refused(folder, results):
    with pytest.raises(SystemExit, match=r"expected rows of .*got \['gpt'\]"):
        run(cross_dataset, folder, results, "--rows", "gpt")

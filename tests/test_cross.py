"""The experiments on zoos of classifiers, at their smoke presets."""

import json
import re

import pytest

from experiments import cross_architecture, cross_dataset, judging, records
from wsjax.zoos import factory, images, packing

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


def test_a_packed_zoo_of_the_very_recipe_is_taken(folder, tmp_path, monkeypatch):
    preset = cross_dataset.PRESETS["smoke"]
    recipe = preset.zoos["digits"]
    data = images.load("digits")
    zoo, manifest = factory.make(recipe, data, folder / "cache" / "zoos")
    marked = packing.halved(zoo)
    marked.vectors[:, 0] = 7
    monkeypatch.setattr(judging, "ZOOS", tmp_path)
    facts = json.loads(json.dumps({"recipe": manifest["recipe"]}))
    packing.pack(tmp_path / "conv3-gap.digits", marked, facts)
    assert (judging.load("digits", preset, folder, None).vectors[:, 0] == 7).all()
    facts["recipe"]["seed"] = 9
    packing.pack(tmp_path / "conv3-gap.digits", marked, facts)
    assert not (judging.load("digits", preset, folder, None).vectors[:, 0] == 7).any()


def test_unknown_rows_are_refused(folder, results):
    with pytest.raises(SystemExit, match=r"expected rows of .*got \['gpt'\]"):
        run(cross_dataset, folder, results, "--rows", "gpt")

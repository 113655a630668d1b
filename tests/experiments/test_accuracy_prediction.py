"""Predictors of many architectures, at the smoke preset."""

import numpy as np
import pytest

from experiments import accuracy_prediction
from experiments.lib import zoo_loading
from experiments.lib.published_numbers import PAPERS

pytestmark = pytest.mark.trains


@pytest.fixture
def run(smoke):
    return smoke(accuracy_prediction.main)


@pytest.mark.filterwarnings("default::wsjax.predictors.trees.ConstantWarning")
def test_halves_tenths_and_the_narrowest_are_learnt_from(run, folder):
    found = run()
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
    constant = {(r["row"], r["train_zoo"]) for r in found if "note" in r}
    assert constant == {("recipe_only", "varying-cnns 5 %")}
    for name in ("accuracies", "predictions"):
        path = folder / "accuracy_prediction" / "smoke" / f"varying-cnns_{name}.png"
        assert path.stat().st_size > 1000


def test_splits_by_width_share_no_run_and_no_width(folder):
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


def test_published_numbers_are_of_the_zoos_and_ways_of_the_paper():
    """Tau with R2 of each way to each of two zoos, and table 6."""
    zoos = accuracy_prediction.PRESETS["paper"].zoos
    methods = {}
    for (method, way, test), number in PAPERS["accuracy_prediction"].items():
        name = next(z for z in zoos if way.startswith(f"{z} "))
        methods.setdefault(name, []).append(method)
        assert test == ("wider" if way.endswith("OOD") else "rest")
        assert number.count("±") == (1 if name.startswith("conv3-gap") else 2)
    counts = {name: (len(m), len(set(m))) for name, m in methods.items()}
    assert counts == {
        **{f"{k} cifar10": (9, 3) for k in accuracy_prediction.MANY},
        "conv3-gap cifar10": (5, 5),
    }

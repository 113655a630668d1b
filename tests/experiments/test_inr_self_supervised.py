"""Embeddings without labels, end to end at their smallest."""

import re

import numpy as np
import pytest

from experiments import inr_self_supervised
from experiments.lib import records


@pytest.mark.trains
def test_the_smoke_preset_trains_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    flags = ["--jobs", "1", "--preset", "smoke", "--folder", str(tmp_path)]
    every = inr_self_supervised.PRESETS["smoke"].methods
    # other encoders have tests of their own, and are slow to compile
    names = ("mean", "statistics", "boosted_trees", "mlp", "mlp_aug", "mlp_align", "scalegmn")
    found = inr_self_supervised.main([*flags, "--methods", ",".join(names)])
    assert [r["row"] for r in found] == list(names)
    assert set(records.KEYS) <= set(found[0])
    recorded = records.read("inr_self_supervised", tmp_path / "results")
    assert {r["row"] for r in recorded} == set(names)
    for r in found:
        m = r["metrics"]
        each = [m[f"test_mse_{k}"] for k in inr_self_supervised.LABELS]
        assert m["test_mse"] == pytest.approx(np.mean(each))
        assert bool(r["steps"]) == bool(every[r["row"]].encoder)
    error = {r["row"]: r["metrics"]["test_mse"] for r in found}
    assert error["boosted_trees"] < 0.5 * error["mean"]
    assert error["statistics"] < error["mean"]
    assert error["mlp_align"] != error["mlp"] != error["mlp_aug"]
    home = tmp_path / "inr_self_supervised" / "smoke"
    assert (home / "curves.png").stat().st_size > 1000
    for name in names:
        assert len(list(home.glob(f"{name}-0-*/predictions_*.png"))) == 2

    capsys.readouterr()
    path = next(home.glob("mlp_align-0-*"))
    inr_self_supervised.main(["--evaluate", str(path), "--folder", str(tmp_path)])
    printed = float(re.search(r"test MSE ([\d.]+) on 32 networks", capsys.readouterr().out)[1])
    assert printed == pytest.approx(error["mlp_align"], abs=1e-5)

    inr_self_supervised.main([*flags, "--methods", "mean,mlp"])
    assert capsys.readouterr().out.count("finished before") == 2


@pytest.mark.parametrize("preset", inr_self_supervised.PRESETS)
def test_every_method_gives_embeddings_of_16(preset):
    for method in inr_self_supervised.PRESETS[preset].methods.values():
        if method.encoder:
            assert method.build().code == inr_self_supervised.CODE
            assert not method.objective.piece or (
                2 * method.training.batch % method.objective.piece == 0
            )

import dataclasses
import types

import numpy as np
import pytest
from cases import image_files

from experiments.lib import session_files
from wsjax import files, forward, recognition
from wsjax.comparison import compare, merge
from wsjax.datasets import images
from wsjax.zoos.inrs.inr_recipe import grid


@pytest.mark.trains
def test_the_files_give_the_verdicts_of_the_sessions(tmp_path):
    session_files.make(tmp_path, steps=6, widths=(6, 12))
    paths = {n: tmp_path / f"{n}.msgpack" for n in ("cnn-0", "cnn-1", "cnn-0-tuned")}
    tuned = compare(paths["cnn-0"], paths["cnn-0-tuned"], config=session_files.SETTINGS)
    assert tuned.verdict.name == "fine-tuned"
    other = compare(paths["cnn-0"], paths["cnn-1"], config=session_files.SETTINGS)
    assert other.verdict.name in ("unrelated", "undecided")
    with np.load(tmp_path / "digits-test.npz") as data:
        found = merge(
            paths["cnn-0"],
            paths["cnn-1"],
            config=session_files.SETTINGS,
            data=(data["x"][:40], data["y"][:40]),
        )
    assert np.isfinite([found.barrier, found.matched_barrier, *found.losses]).all()


@pytest.mark.trains
def test_a_checkpoint_of_orbax_has_the_optimizers_state(tmp_path):
    session_files.orbax(tmp_path / "checkpoint", steps=1)
    params, facts = files.load(tmp_path / "checkpoint")
    assert facts.branch == "params"
    assert params["Conv_0/kernel"].shape == (3, 3, 1, 16)
    assert "opt_state" in {b.name for b in facts.branches}


def test_sirens_of_pytorch_are_recognised(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    mnist = types.SimpleNamespace(test=image_files.SMALL[..., None], test_labels=range(7))
    monkeypatch.setattr(images, "load", lambda *_: mnist)
    session_files.sirens(tmp_path / "sirens", None, (1, 1), steps=2)
    names = sorted(p.name for p in (tmp_path / "sirens").iterdir())
    assert names == ["digit_00.pth", "digit_01.pth", "labels.csv"]
    found = recognition.read(tmp_path / "sirens/digit_00.pth", config={"activation": "sin"})
    assert found.recognition.level == "exact"
    assert sorted(dict(found.spec.sizes).values()) == [1, 2, 32, 32]


@pytest.mark.trains
def test_inrs_are_of_the_recipe(tmp_path, monkeypatch):
    mnist = types.SimpleNamespace(test=image_files.SMALL[..., None])
    monkeypatch.setattr(images, "load", lambda *_: mnist)
    recipe = dataclasses.replace(session_files.DWS, steps=2)
    monkeypatch.setattr(session_files, "DWS", recipe)
    session_files.inrs(tmp_path / "inrs", None, 1)
    path = tmp_path / "inrs/siren_0.safetensors"
    found = recognition.read(path, config={"activation": "sin", "omega": recipe.omega})
    assert found.stored["net.0.linear.weight"].shape == (32, 2)
    x = grid(28, 28, recipe.indexing).reshape(-1, 2)
    image = forward(found.params, x, found.spec) + recipe.offset
    target = image_files.SMALL[0].reshape(-1, 1) / 255
    assert np.square(image - target).mean() < np.square(0.5 - target).mean() * 1.5

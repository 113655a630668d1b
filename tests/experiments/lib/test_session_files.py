import types

import numpy as np
import pytest
from cases import image_files

from experiments.lib import session_files
from wsjax import files, recognition
from wsjax.comparison import compare, merge
from wsjax.datasets import images


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

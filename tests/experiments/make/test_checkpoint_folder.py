"""A folder of checkpoints of a sweep: both tables, files that are read, true accuracies."""

import csv

import numpy as np
import pytest

from experiments.make import checkpoint_folder
from wsjax.zoos.from_files import read_folder


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.trains
def test_files_hold_networks_of_the_accuracies_in_the_tables(tmp_path, monkeypatch):
    few = checkpoint_folder.settings(6, 0) | {"epochs": np.array([1, 1, 1, 2, 2, 2])}
    monkeypatch.setattr(checkpoint_folder, "settings", lambda count, seed: few)
    checkpoint_folder.main(["--folder", str(tmp_path), "--networks", "6"])
    labelled, rest = table(tmp_path / "labels.csv"), table(tmp_path / "held_back.csv")
    assert [x["file"] for x in labelled + rest] == [f"run_0{i}.pt" for i in range(6)]
    assert len(rest) == 2
    folder = read_folder(tmp_path, tmp_path / "labels.csv")
    assert folder.skipped == ()
    assert folder.labelled.tolist() == [True] * 4 + [False] * 2
    _, _, images, classes = checkpoint_folder.digits()
    from wsjax import load

    stored, _ = load(tmp_path / "run_03.pt")
    predicted = np.asarray(checkpoint_folder.logits(stored, images)).argmax(1)
    assert (predicted == classes).mean() == pytest.approx(float(labelled[3]["accuracy"]), abs=1e-3)
    accuracies = [float(x["accuracy"]) for x in labelled + rest]
    assert max(accuracies) > min(accuracies) + 0.1

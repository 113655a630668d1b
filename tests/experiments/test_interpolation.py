"""Weight matching on classifiers that were really trained, as in Git Re-Basin."""

import pathlib

import pytest

from experiments import interpolation
from experiments.lib import records

pytestmark = pytest.mark.trains


def test_matching_removes_the_barrier_between_two_classifiers(tmp_path, capsys):
    small = ["--width", "128", "--depth", "2", "--epochs", "12", "--batch", "100"]
    interpolation.main([*small, "--folder", str(tmp_path)])
    (record,) = records.read("interpolation", tmp_path / "results")
    figures = record["metrics"]
    assert min(figures["test_accuracy"], figures["test_accuracy_2"]) > 0.85
    for part in ("train", "test"):
        before, after = (figures[f"{part}_barrier_{x}"] for x in ("as_trained", "matched"))
        assert before > 0.5  # two seeds lie in two basins
        assert 0 <= after < 0.6 * before
    assert (tmp_path / "interpolation" / "digits.png").stat().st_size > 1000
    assert "train_barrier_matched" in capsys.readouterr().out


def test_missing_data_are_an_error(tmp_path):
    with pytest.raises(SystemExit):
        interpolation.main(["--data", "imagenet"])
    with pytest.raises(SystemExit, match="--data mnist: expected train-images-idx3-ubyte"):
        interpolation.main(["--data", "mnist", "--files", str(tmp_path), "--folder", str(tmp_path)])
    assert not list(pathlib.Path(tmp_path).glob("interpolation/*"))

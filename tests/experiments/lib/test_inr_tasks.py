"""Zoos of image INRs for experiments; mistakes are reported before any network is fitted."""

import argparse
import dataclasses
import pathlib

import numpy as np
import pytest
from cases.image_folders import image_folder, save

from experiments import inr_classification
from experiments.lib import inr_tasks
from experiments.lib.methods import Method
from wsjax.tasks.classification import Classification
from wsjax.zoos import Zoo
from wsjax.zoos.inrs import image_folders, inr_factory


@pytest.fixture
def run(smoke):
    return smoke(inr_classification.main)


def fails(run, capsys, *flags):
    with pytest.raises(SystemExit) as stopped:
        run(*flags)
    return str(stopped.value) + capsys.readouterr().err


BAD = {
    "two sizes": "is 5 x 5 L, most are 5 x 6 L",
    "two modes": "is 5 x 6 RGB, most are 5 x 6 L",
    "nothing": "holds no image",
    "no folder": "expected a folder of images at",
    "notes": "notes.txt is no image",
    "damaged": "is no PNG or JPEG, or damaged",
    "no classes": "got no sub-folders",
    "one class": "two or more classes, got ['a']",
    "two images": "got in 'all': b 2",
    "few": "batches of 8 networks, got 4",
}


@pytest.mark.parametrize("harm", BAD)
def test_mistakes_in_a_folder_are_reported_before_any_fit(harm, run, tmp_path, monkeypatch, capsys):
    def make(*arguments):
        raise AssertionError("a network was to be fitted")

    monkeypatch.setattr(inr_factory, "make", make)
    monkeypatch.setattr(inr_tasks, "estimate", make)
    folder = tmp_path / "mine"
    if harm not in ("nothing", "few"):
        image_folder(folder, {"a": 20, "b": 20})
    if harm == "two sizes":
        save(folder / "a" / "other.png", shape=(5, 5))
    if harm == "two modes":
        save(folder / "a" / "other.png", mode="RGB")
    if harm == "nothing":
        folder.mkdir()
    if harm == "no folder":
        folder = pathlib.Path("/no/such/folder")
    if harm == "notes":
        (folder / "a" / "notes.txt").write_text("seen in May")
    if harm == "damaged":
        (folder / "a" / "0.png").write_bytes(b"\x89PNG\r\n")
    if harm == "no classes":
        folder = folder / "a"
    if harm == "one class":
        for path in (folder / "b").iterdir():
            path.unlink()
        (folder / "b").rmdir()
    if harm == "two images":
        for path in sorted((folder / "b").iterdir())[2:]:
            path.unlink()
    if harm == "few":
        image_folder(folder, {"a": 4, "b": 4})
    assert BAD[harm] in fails(run, capsys, "--images", folder, "--methods", "mlp")


def test_wrong_command_lines_are_one_clear_error(run, tmp_path, capsys):
    both = ("--images", tmp_path, "--data", "digits")
    assert "not both" in fails(run, capsys, *both)
    for flag in (("--gray",), ("--resize", 8)):
        assert "--gray with --images, a folder of" in fails(run, capsys, *flag)
    assert "views: expected at least 1, got 0" in fails(run, capsys, "--views", 0)
    assert "expected --sizes as numbers" in fails(run, capsys, "--sizes", "many")
    large = fails(run, capsys, "--methods", "majority", "--sizes", "10,31")
    assert "--sizes of 1 to 30 training networks, got [10, 31]" in large
    assert "objective.volume: not a setting" in fails(run, capsys, "--set", "objective.volume=3")
    assert "expected some of" in fails(run, capsys, "--methods", "gpt")


def test_a_folder_of_mixed_images_is_made_one_by_flags(tmp_path):
    folder = image_folder(tmp_path / "mine", {"a": 2, "b": 2})
    save(folder / "a" / "other.png", shape=(9, 5), mode="RGB")
    parser = argparse.ArgumentParser()
    inr_tasks.flags(parser)
    flags = ["--images", str(folder), "--resize", "4", "--gray"]
    subject = inr_tasks.subject(
        parser.parse_args(flags, argparse.Namespace(preset="smoke", dry_run=False))
    )
    assert subject.name == "own-mine-resize4-gray.dws"
    assert subject.pictures.shape == (4, 4, 1)


def test_unsupported_networks_are_reported_beforehand(capsys):
    subject = inr_tasks.Subject(
        "own",
        image_folders.image_set(np.zeros((60, 4, 4, 3), np.uint8), np.arange(60) % 2),
        ("a", "b"),
        inr_tasks.RECIPES["dws"],
    )
    gray = {"layout": (2, 2, 1), "width": 8, "layers": 1}  # has room for one output
    methods = {"majority": Method(), "scalegmn": Method("scalegmn", gray), "mlp": Method("mlp")}
    methods["code"] = Method("mlp", {"widths": (4,)}, ())
    task = lambda method: Classification("class", subject.classes)
    kept = inr_tasks.supported(methods, subject, task)
    assert list(kept) == ["majority", "mlp"]
    out = capsys.readouterr().out
    assert "scalegmn: these networks are not supported" in out
    assert "code: these networks are not supported: without a head an embedding is the" in out
    with pytest.raises(SystemExit, match="no method supports these networks"):
        inr_tasks.supported({"code": methods["code"]}, subject, task)


def test_validation_and_test_are_split_by_image_and_class():
    plan = dataclasses.replace(inr_tasks.RECIPES["nfn"], views=3)
    images = image_folders.image_set(np.zeros((40, 2, 2, 1), np.uint8), np.arange(40) % 4)
    subject = inr_tasks.Subject("x", images, tuple("abcd"), plan)
    runs = np.repeat(np.arange(40), 3)
    labels = {"class": (runs % 4).astype(np.float32), "view": np.tile([0.0, 1, 2], 40)}
    vectors = np.random.default_rng(0).normal(size=(120, subject.spec.count)).astype(np.float32)
    zoo = Zoo(vectors, (subject.spec,), np.zeros(120, int), labels, runs)
    zoo = inr_tasks.split(zoo, inr_tasks.split_images(subject))
    counts = {k: len(v) for k, v in zoo.splits.items()}
    assert counts == {"train": 84, "validation": 4, "test": 8}
    for name, rows in zoo.splits.items():
        assert set(labels["class"][rows]) == {0, 1, 2, 3}, name
        assert labels["view"][rows].any() == (name == "train")
    source = inr_tasks.Source("x", zoo, np.zeros(0), (), plan)
    few, some = (inr_tasks.shorter(source, n).zoo.splits["train"] for n in (5, 20))
    assert set(few) < set(some) < set(zoo.splits["train"])
    with pytest.raises(SystemExit, match="sizes of 1 to 84"):
        inr_tasks.shorter(source, 85)

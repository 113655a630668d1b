"""Editing of INRs, end to end at its smallest, and the edits themselves."""

import numpy as np
import pytest
from cases.image_folders import image_folder

from experiments import inr_editing
from experiments.lib import inr_tasks, records
from experiments.lib.runs import finished
from wsjax.tasks import restore
from wsjax.tasks.editing import Canvas, Editing


@pytest.fixture
def run(smoke):
    return smoke(inr_editing.main)


def test_dilation_is_the_largest_of_the_neighbours():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    found = inr_editing.dilation(images)
    assert found.dtype == np.uint8
    for i, row, col in np.ndindex(2, 4, 5):
        near = images[i, max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
        np.testing.assert_array_equal(found[i, row, col], near.max((0, 1)))


def test_contrast_is_twice_the_distance_from_the_mean_gray():
    images = np.random.default_rng(0).integers(60, 190, (2, 3, 3, 3)).astype(np.uint8)
    red, green, blue = np.moveaxis(images.astype(float), -1, 0)
    mean = (0.299 * red + 0.587 * green + 0.114 * blue).mean((1, 2))
    found = inr_editing.contrast(images)
    for i in range(2):
        want = np.clip(mean[i] + 2 * (images[i] - mean[i]), 0, 255)
        assert np.abs(found[i] - want).max() <= 0.5 + 1e-9
    assert {0, 255} & set(found.ravel().tolist())
    flat = np.full((1, 2, 2, 1), 77, np.uint8)
    np.testing.assert_array_equal(inr_editing.contrast(flat), flat)


@pytest.mark.trains
def test_networks_are_edited_and_it_is_on_record(run, folder, monkeypatch):
    published = {}
    publish = lambda name, preset, images, results: published.update(images)
    monkeypatch.setattr(records, "publish_pictures", publish)
    runs = run("--methods", "identity,mlp,refit")
    parts = [(t, k) for t in ("contrast", "dilation") for k in ("curves", "best_edits")]
    assert set(published) == {f"digits.dws.{task}_{k}" for task, k in parts}
    assert all(path.exists() for path in published.values())
    tasks = ("contrast", "dilation")
    assert [(r["train_zoo"], r["row"]) for r in runs] == [
        (f"digits.dws.{task}", row) for task in tasks for row in ("identity", "mlp", "refit")
    ]
    assert all(0 < r["metrics"]["test_mse"] < 1 for r in runs)
    still, _, fitted = (r["metrics"]["test_mse"] for r in runs[3:])
    assert fitted < still / 2
    home = folder / "inr_editing" / "smoke"
    assert len(list(home.glob("*-0-*/edits.png"))) == 6
    for task in tasks:
        assert (home / f"curves.digits.dws.{task}.png").stat().st_size > 1000
    path = next(home.glob("mlp-0-*"))
    (record,) = finished(path)
    assert record["config"]["expansion"] == 1
    assert restore(path, Editing).config["row"] == "mlp"


@pytest.mark.parametrize("preset", inr_editing.PRESETS)
def test_every_method_supports_the_networks_of_its_preset(preset):
    spec = inr_tasks.RECIPES["dws"].spec(1)
    for method in inr_editing.PRESETS[preset].methods.values():
        if method.encoder:
            task = Editing(np.zeros(0), Canvas(2, 2, "ij", 0.0))
            task.module(method.build(), method.head).encoder.view(spec)


def test_published_figures_are_of_their_data_and_task():
    edited = {
        (data, task): inr_editing.presets(f"{data}.nfn", task)["small"].methods["gmn"].paper
        for data in ("mnist", "cifar10")
        for task in inr_editing.TASKS
    }
    assert edited.pop(("mnist", "dilation")) == ".0603"
    assert edited.pop(("cifar10", "contrast")) == ".0197"
    assert set(edited.values()) == {"–"}


@pytest.mark.trains
def test_a_folder_of_images_needs_no_classes(run, tmp_path):
    images = image_folder(tmp_path / "mine", {".": 15})
    flags = ("--images", images, "--fit-steps", 20, "--task", "dilation")
    (record,) = run(*flags, "--methods", "identity")
    assert record["metrics"]["test_mse"] > 0

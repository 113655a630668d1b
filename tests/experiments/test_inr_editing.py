"""Editing of INRs, end to end at its smallest, and the edits themselves."""

import numpy as np
import pytest
from cases.encoders import parameter_count
from cases.image_folders import image_folder

from experiments import inr_editing
from experiments.lib import inr_tasks, records
from experiments.lib.runs import finished
from wsjax.datasets import clahe
from wsjax.tasks import restore
from wsjax.tasks.editing import Canvas, Editing


@pytest.fixture
def run(smoke):
    return smoke(inr_editing.main)


def test_dilation_is_the_largest_of_the_neighbours():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    found = inr_editing.TASKS["dilation"](images)
    assert found.dtype == np.uint8
    for i, row, col in np.ndindex(2, 4, 5):
        near = images[i, max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
        np.testing.assert_array_equal(found[i, row, col], near.max((0, 1)))


def test_contrast_is_clahe_of_the_lightness_as_published():
    rng = np.random.default_rng(0)
    shades = rng.integers(60, 120, (2, 9, 9, 1)).astype(np.uint8)
    edited = inr_editing.TASKS["contrast"](shades)
    np.testing.assert_array_equal(edited[..., 0], clahe.equalize(shades[..., 0], 1.0, 3))
    assert edited.std() > 1.2 * shades.std()
    # red counts as blue: the published order of channels
    colours = rng.integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    exchanged = clahe.enhance(colours[..., ::-1], bgr=False)[..., ::-1]
    np.testing.assert_array_equal(inr_editing.TASKS["contrast"](colours), exchanged)
    assert (exchanged != clahe.enhance(colours, bgr=False)).any()


@pytest.mark.trains
def test_networks_are_edited_and_it_is_on_record(run, folder, monkeypatch):
    published = {}
    publish = lambda name, preset, images, results: published.update(images)
    monkeypatch.setattr(records, "publish_pictures", publish)
    runs = run("--methods", "identity,mlp,refit")
    tasks = ("clahe", "dilation")
    parts = [(t, k) for t in tasks for k in ("curves", "best_edits")]
    assert set(published) == {f"digits.dws.{task}_{k}" for task, k in parts}
    assert all(path.exists() for path in published.values())
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


def test_published_errors_stand_beside_the_recipe_whose_range_they_are_of():
    edited = {
        (zoo, task, name): inr_editing.presets(zoo, task)["paper"].methods[name].paper
        for zoo in ("mnist.nfn", "mnist.dws-steps1500", "cifar10.nfn", "cifar10.dws", "digits.dws")
        for task in inr_editing.TASKS
        for name in ("gmn", "scalegmn")
    }
    assert edited.pop(("mnist.nfn", "dilation", "gmn")) == ".0603 ± .0010"
    assert edited.pop(("cifar10.nfn", "contrast", "gmn")) == ".0197 ± .0000"
    assert edited.pop(("mnist.dws-steps1500", "dilation", "scalegmn")) == ".0256 ± .0003*"
    assert set(edited.values()) == {"–"}
    assert (inr_tasks.RECIPES["nfn"].low, inr_tasks.RECIPES["dws"].low) == (-1.0, 0.0)


# of editors of INRs 2-32-32-1: ours, and those of the paper or of the authors' code
PARAMETERS = {
    "mlp": (4_374_191, 4_374_191),
    "nfn_hnp": (6_440_853, 6.44e6),
    "nfn_np": (4_133_656, 4.13e6),
    "gmn": (8_975_879, 8_945_671),
    "scalegmn": (4_002_058, 4_002_058),
    "scalegmn_b": (4_821_385, 4_821_385),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_paper_presets_have_the_papers_parameters(name):
    ours, published = PARAMETERS[name]
    method = inr_editing.PRESETS["paper"].methods[name]
    module = Editing(np.zeros(0), Canvas(2, 2, "ij", 0.0)).module(method.build(), method.head)
    assert parameter_count(module, inr_tasks.RECIPES["dws"].spec(1)) == ours
    assert ours == pytest.approx(published, rel=0.004)


def test_each_editor_is_trained_as_published():
    methods = inr_editing.PRESETS["paper"].methods
    for name in ("mlp", "mlp_aug", "nfn_pt", "nfn_hnp", "nfn_np", "nft", "gmn"):
        t = methods[name].training
        assert (t.steps, t.batch, t.learning_rate, t.warmup) == (50_000, 32, 1e-3, 1_000), name
        assert (t.optimizer, t.clip, t.weight_decay, t.ema) == ("adam", 0, 0, 0), name
    for name in ("scalegmn", "scalegmn_b"):
        t = methods[name].training
        assert (t.steps, t.batch, t.weight_decay, t.clip) == (258_000, 64, 0.001, 10.0), name
    t = methods["dwsnet"].training
    assert (t.steps, t.batch, t.warmup, t.clip) == (86_000, 128, 10_000, 1.0)
    for name, method in inr_editing.PRESETS["own"].methods.items():
        if method.encoder:
            ours, theirs = method.training, methods[name].training
            assert (ours.schedule, theirs.schedule) == ("cosine", "constant")
            assert 1 / (1 - ours.ema) == pytest.approx(ours.steps / 20)
            same = {k: getattr(theirs, k) for k in ("steps", "batch", "learning_rate", "clip")}
            assert same == {k: getattr(ours, k) for k in same}


@pytest.mark.trains
def test_a_folder_of_images_needs_no_classes(run, tmp_path):
    images = image_folder(tmp_path / "mine", {".": 15})
    flags = ("--images", images, "--fit-steps", 20, "--task", "dilation")
    (record,) = run(*flags, "--methods", "identity")
    assert record["metrics"]["test_mse"] > 0

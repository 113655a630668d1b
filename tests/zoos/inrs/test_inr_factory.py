"""Zoos of image INRs: labels, views, resuming, and the command that makes them."""

import dataclasses
import shutil

import numpy as np
import pytest

from experiments.lib import accuracy_tables
from experiments.make import inr_zoo
from wsjax.datasets import images
from wsjax.zoos import factory, store
from wsjax.zoos.inrs import image_folders, inr_factory, inr_fitting, inr_statistics
from wsjax.zoos.inrs.inr_recipe import DWS, NFN, Recipe, grid

pytestmark = pytest.mark.trains

DIGITS = images.load("digits")
IMAGES = inr_factory.image_set(DIGITS)
RECIPE = dataclasses.replace(
    NFN, steps=30, psnr=12.0, views=2, train_images=7, test_images=3, block=4
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of a cache, the zoo in it and its manifest."""
    cache = tmp_path_factory.mktemp("zoos")
    zoo, manifest = inr_factory.make(RECIPE, DIGITS, cache)
    (folder,) = cache.iterdir()
    return folder, zoo, manifest


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("block-*.safetensors"))}


def test_labels_describe_each_network(made):
    _, zoo, manifest = made
    assert sorted(zoo.labels) == manifest["labels"] == sorted(inr_factory.LABELS)
    assert manifest["splits"] == {"train": 14, "test": 3}
    assert (manifest["networks"], manifest["runs"]) == (17, 10)
    points = grid(8, 8, NFN.indexing)
    for part, array, classes in (
        ("train", DIGITS.train, DIGITS.train_labels),
        ("test", DIGITS.test, DIGITS.test_labels),
    ):
        for row in zoo.splits[part]:
            i = int(zoo.labels["image"][row])
            assert zoo.labels["class"][row] == classes[i]
            assert zoo.runs[row] == i + (len(DIGITS.train) if part == "test" else 0)
            image = image_folders.render(zoo.params(int(row)), zoo.spec, points, NFN.offset)
            mse = ((image - (array[i] / 127.5 - 1)) ** 2).mean()
            assert zoo.labels["mse"][row] == pytest.approx(float(mse), rel=1e-3)
    np.testing.assert_allclose(zoo.labels["psnr"], 10 * np.log10(4 / zoo.labels["mse"]), rtol=1e-5)
    assert (zoo.labels["steps"] <= 30).all()
    assert manifest["within_tolerance"] == (zoo.labels["psnr"] >= 12).sum()


def test_views_are_one_run_and_other_networks(made):
    zoo = made[1]
    train = zoo.splits["train"]
    for run in np.unique(zoo.runs[train]):
        rows = np.flatnonzero(zoo.runs == run)
        assert zoo.labels["view"][rows].tolist() == [0, 1]
        assert len(set(zoo.labels["image"][rows])) == 1
        assert np.abs(np.diff(zoo.vectors[rows], axis=0)).mean() > 0.01
    assert not set(zoo.runs[train]) & set(zoo.runs[zoo.splits["test"]])


def test_a_network_is_the_same_whatever_the_number(made, tmp_path):
    few = dataclasses.replace(RECIPE, train_images=5, views=1, test_images=1)
    assert inr_factory.job(few, IMAGES).folder(made[0].parent) == made[0]
    small, _ = inr_factory.make(few, DIGITS, tmp_path)
    large = made[1]
    key = lambda zoo, i: (int(zoo.runs[i]), int(zoo.labels["view"][i]))
    place = {key(large, i): i for i in range(len(large))}
    rows = [place[key(small, i)] for i in range(len(small))]
    assert len(rows) == 6
    np.testing.assert_array_equal(small.vectors, large.vectors[rows])


def test_an_interrupted_zoo_resumes(made, tmp_path, monkeypatch):
    write, done = store.write, []

    def interrupted(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        write(*arguments)

    monkeypatch.setattr(store, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        inr_factory.make(RECIPE, DIGITS, tmp_path)
    (folder,) = tmp_path.iterdir()
    before = {p: p.stat().st_mtime_ns for p in folder.glob("block-*.safetensors")}
    assert len(before) == 2
    job = inr_factory.job(RECIPE, IMAGES)
    assert factory.unfinished(job, tmp_path) == 10  # of 17, in blocks of 4 and 3
    monkeypatch.setattr(store, "write", write)
    zoo, _ = inr_factory.make(RECIPE, DIGITS, tmp_path)
    assert contents(folder) == contents(made[0])
    assert {p: p.stat().st_mtime_ns for p in before} == before
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)


def test_it_is_found_again(made, monkeypatch):
    monkeypatch.setattr(inr_fitting, "run", None)
    again, same = inr_factory.make(RECIPE, DIGITS, made[0].parent)
    assert same == made[2]
    np.testing.assert_array_equal(again.vectors, made[1].vectors)


def test_networks_that_diverge_are_left_out_and_listed(made, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / made[0].name)
    job = inr_factory.job(RECIPE, IMAGES)
    block = job.blocks[0]
    arrays, about = store.read(folder / block.name)
    arrays = {k: v.copy() for k, v in arrays.items()}
    arrays["vectors"][1, 5], arrays["mse"][2] = np.inf, np.nan
    kept = ("seconds", "compile_seconds", "device", "versions")
    store.write(folder / block.name, arrays, {k: about[k] for k in kept})
    zoo, manifest = factory.read(job, folder)
    assert len(zoo) == 15
    assert manifest["excluded"]["count"] == 2
    assert [x["image"] for x in manifest["excluded"]["networks"]] == list(block.images[1:3])
    assert manifest["splits"] == {"train": 12, "test": 3}
    wild = dataclasses.replace(RECIPE, learning_rate=1e38, views=1, test_images=1)
    with pytest.raises(ValueError, match="at least one network to stay finite, got 0 of 8"):
        inr_factory.make(wild, DIGITS, tmp_path / "wild")


def test_images_must_be_enough_and_the_same(made):
    others = dataclasses.replace(DIGITS, train=255 - DIGITS.train)
    with pytest.raises(ValueError, match="begun with other images"):
        inr_factory.make(RECIPE, others, made[0].parent)
    many = dataclasses.replace(RECIPE, train_images=1300, test_images=501)
    with pytest.raises(ValueError, match="1300 train images, got 1297, 501 test images, got 500"):
        inr_factory.make(many, DIGITS, made[0].parent)


def test_a_recipe_that_makes_no_sense_is_an_error():
    with pytest.raises(ValueError, match=r"(?s)steps.*got 0.*indexing.*'yx'") as wrong:
        Recipe(steps=0, indexing="yx", low=0.5, hidden=())
    assert str(wrong.value).count("\n") == 4


def test_statistics_stand_beside_the_published(made):
    zoo = made[1]
    own, lines = inr_statistics.compare(zoo.vectors, zoo.spec, "mnist")
    params = zoo.params(slice(None))
    for i in range(3):
        assert own["weight_std"][i] == pytest.approx(params[f"Dense_{i}/kernel"].std(), rel=1e-3)
        assert own["bias_std"][i] == pytest.approx(params[f"Dense_{i}/bias"].std(), rel=1e-3)
    assert own["last_bias_mean"] == pytest.approx(params["Dense_2/bias"].mean(), rel=1e-3)
    assert lines[0].split() == ["17", "networks", "ours", "DWSNets"]
    assert lines[1].endswith("0.0628")
    assert lines[-1].endswith("-0.0124")
    assert "DWSNets" not in inr_statistics.compare(zoo.vectors, zoo.spec, "cifar10")[1][0]


def test_the_command_makes_a_zoo(tmp_path, capsys):
    small = ["--preset", "smoke", "--folder", str(tmp_path), "--steps", "3", "--train-images", "5"]
    inr_zoo.main([*small, "--shard", "0/1", "--record"])
    out = capsys.readouterr().out
    (line,) = accuracy_tables.inr_zoos(tmp_path / "results").splitlines()[2:]
    assert line.startswith("| `digits.dws-steps3` | 15 | 3 at 0.0005 |")
    assert "15 networks of 15 images (5 train, 10 test), 0 excluded" in out
    assert "weight_std of layer 0" in out
    with pytest.raises(SystemExit):
        inr_zoo.main([*small, "--shard", "2/2"])
    assert "expected --shard K/N" in capsys.readouterr().err


def test_presets_are_recipes():
    plan = inr_zoo.recipe
    assert plan("dws", "mnist", "small") == dataclasses.replace(
        DWS, train_images=10_000, test_images=2_000, block=1000
    )
    assert plan("dws", "fashion_mnist", "small").train_images == 5_000
    # more are for the flag `--views`, and another zoo by its name
    for data, preset in (("mnist", "paper"), ("cifar10", "paper"), ("digits", "laptop")):
        assert plan("nfn", data, preset).views == 1


def test_a_small_zoo_is_the_beginning_of_the_whole():
    plan = dataclasses.replace(inr_zoo.recipe("dws", "digits", "small"), block=100)
    whole = dataclasses.replace(plan, train_images=0, test_images=0)
    names = [{b.name for b in inr_factory.partition(p, IMAGES)} for p in (plan, whole)]
    assert names[0] < names[1]
    assert (
        inr_zoo.recipe("dws", "mnist", "small").block
        == inr_zoo.recipe("dws", "mnist", "paper").block
    )


def test_the_cost_is_estimated_before():
    hours = inr_zoo.estimate(RECIPE, IMAGES, 7, steps=2)
    assert 0 < hours < 1

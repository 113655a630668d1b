"""Classification of INRs, end to end at its smallest."""

import re

import numpy as np
import pytest
from cases.image_folders import image_folder

from experiments import inr_classification
from experiments.lib import inr_tasks, records
from wsjax.tasks.classification import Classification


@pytest.fixture
def run(smoke):
    return smoke(inr_classification.main)


def lines(folder):
    return records.read("inr_classification", folder / "results")


@pytest.mark.trains
def test_networks_are_classified_and_it_is_on_record(run, folder, capsys):
    chosen = ("--methods", "majority,mlp_aug", "--sizes", "16")
    runs = run(*chosen)
    names = ["majority", "mlp_aug"]
    assert [r["row"] for r in runs] == names + [f"{n}_16" for n in names]
    recorded = {r["row"]: r["metrics"] for r in lines(folder)}
    assert recorded == {r["row"]: r["metrics"] for r in runs}
    for r in runs:
        assert set(records.KEYS) <= set(r)
        assert r["train_zoo"] == "digits.dws"
        m = r["metrics"]
        assert m["test_accuracy"] == pytest.approx(1 - m["test_error"])
        assert m["test_loss"] > 0
    assert [r["config"]["sizes"]["train"] for r in runs[::2]] == [30, 16]
    home = folder / "inr_classification" / "smoke"
    for name in ("curves.digits.dws.png", "training_size.digits.dws.png"):
        assert (home / name).stat().st_size > 1000
    path = next(home.glob("mlp_aug-0-*"))
    assert {p.name for p in path.glob("*.png")} == {"confusion.png", "codes.png"}
    with np.load(path / "predictions.npz") as saved:
        right = np.mean(saved["predicted"].argmax(1) == saved["true"])
    accuracy = runs[1]["metrics"]["test_accuracy"]
    assert right == pytest.approx(accuracy)
    capsys.readouterr()
    run("--evaluate", path)
    printed = re.search(r"accuracy ([\d.]+) on 10 networks of digits.dws", capsys.readouterr().out)
    assert float(printed[1]) == pytest.approx(accuracy, abs=1e-5)
    run(*chosen)
    assert capsys.readouterr().out.count("finished before") == 4


@pytest.mark.parametrize("preset", inr_classification.PRESETS)
def test_every_method_supports_the_networks_of_its_preset(preset):
    spec = inr_tasks.RECIPES["dws"].spec(1)
    for method in inr_classification.PRESETS[preset].methods.values():
        if method.encoder:
            task = Classification("class", tuple("abcdefghij"))
            task.module(method.build(), method.head).encoder.view(spec)


def test_published_settings_are_those_of_the_data_set():
    methods = {
        data: inr_classification.presets(data)["paper"].methods["scalegmn"].settings
        for data in ("mnist.dws", "fashion_mnist.dws", "cifar10.nfn", "cifar10.nfn-views21")
    }
    assert [s["layers"] for s in methods.values()] == [4, 2, 4, 4]
    assert [s["width"] for s in methods.values()] == [128, 128, 64, 128]
    papers = inr_classification.presets("cifar10.nfn-views21")["paper"].methods
    assert papers["scalegmn"].paper == "56.62 ± .24*"
    single = inr_classification.presets("cifar10.nfn-views1")["paper"].methods["scalegmn"]
    assert (single.paper, single.settings["width"]) == ("36.43 ± .41", 64)
    other = inr_classification.presets("own", classes=3)["paper"].methods
    assert other["scalegmn"].settings["code"] == other["nfn_np"].settings["code"] == 3


@pytest.mark.trains
def test_a_folder_of_images_is_one_command(run, tmp_path):
    images = image_folder(tmp_path / "mine", {"a": 8, "b": 7})
    flags = ("--images", images, "--fit-steps", 20, "--views", 2)
    runs = run(*flags, "--methods", "majority,boosted_trees")
    for r in runs:
        assert r["train_zoo"] == "own-mine.dws-views2-steps20"
        assert r["config"]["sizes"] == {"train": 20, "validation": 2, "test": 3}

"""Classifying and editing INRs, end to end at their smallest; what is wrong is said beforehand."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import PIL.Image
import pytest

from experiments import inr_classification, inr_editing
from experiments.lib import inr_tables, inr_tasks, records
from experiments.lib.cli import Row
from wsjax.tasks import classification, editing
from wsjax.zoos import Zoo
from wsjax.zoos.inrs import inr_factory

EXPERIMENTS = {"classification": inr_classification, "editing": inr_editing}


# What is edited


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


# End to end


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.setattr(records, "RESULTS", None)  # set back after `--results`
    flags = ["--folder", str(folder), "--results", str(folder / "results"), "--preset", "smoke"]
    return lambda name, *more: EXPERIMENTS[name].main([*flags, *map(str, more)])


def lines(folder, experiment):
    path = folder / "results" / f"{experiment}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.trains
def test_networks_are_classified_and_it_is_on_record(run, folder, capsys):
    chosen = ("--rows", "majority,mlp_aug", "--sizes", "16")
    runs = run("classification", *chosen)
    names = ["majority", "mlp_aug"]
    assert [r["row"] for r in runs] == names + [f"{n}_16" for n in names]
    assert [r["metrics"] for r in lines(folder, "inr_classification")] == [
        r["metrics"] for r in runs
    ]
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
    said = np.load(path / "predictions.npz")
    accuracy = runs[1]["metrics"]["test_accuracy"]
    assert np.mean(said["said"].argmax(1) == said["true"]) == pytest.approx(accuracy)
    capsys.readouterr()
    run("classification", "--evaluate", path)
    printed = re.search(r"accuracy ([\d.]+) on 10 networks of digits.dws", capsys.readouterr().out)
    assert float(printed[1]) == pytest.approx(accuracy, abs=1e-5)
    run("classification", *chosen)
    assert capsys.readouterr().out.count("finished before") == 4


@pytest.mark.trains
def test_networks_are_edited_and_it_is_on_record(run, folder, monkeypatch):
    shown = {}
    monkeypatch.setattr(records, "show", lambda name, preset, pictures: shown.update(pictures))
    runs = run("editing", "--rows", "identity,mlp,refit")
    parts = [(t, k) for t in ("contrast", "dilation") for k in ("curves", "best_edits")]
    assert set(shown) == {f"digits.dws.{task}_{k}" for task, k in parts}
    assert all(path.exists() for path in shown.values())
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
    config = json.loads((path / "record.json").read_text())["config"]
    assert config["expansion"] == 1
    assert editing.restore(path).config["row"] == "mlp"


def test_the_tables_sort_by_score_and_have_the_papers_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert inr_tables.classification_table() == inr_tables.editing_table() == "No runs yet."
    shared = {"preset": "small", "seed": 0, "parameters": 10, "seconds": 1.0, "steps": 30}
    shared["config"] = {"training": {"batch": 4}, "sizes": {"train": 10}}
    for row, right in (("mlp", 0.2), ("scalegmn", 0.9)):
        paper = inr_classification.PAPER["mnist"][row]
        record = {**shared, "experiment": "inr_classification", "row": row, "words": ""}
        record |= {"metrics": {"test_accuracy": right, "test_error": 1 - right}}
        records.append({**record, "train_zoo": "mnist.dws", "paper": paper})
    text = inr_tables.classification_table()
    best, worst = (x for x in text.splitlines() if x.startswith("| `"))
    assert best == "| `scalegmn` | 10 | 90.0 | 12 | 1 | 96.57 ± .10 |"
    assert worst.endswith("| 17.55 ± .01* |")
    assert "from memory" in text.splitlines()[-1]
    record["config"] = {**record["config"], "sizes": {"train": 5}}
    record["metrics"] = {"test_accuracy": 0.5, "test_error": 0.5}
    records.append({**record, "row": "scalegmn_5", "train_zoo": "mnist.dws", "paper": ""})
    more = inr_tables.classification_table().splitlines()
    assert set(text.splitlines()) < set(more)
    assert more[-5:-2] == [
        *("| row | 5 | 10 |", "| --- | --- | --- |", "| `scalegmn` | 50.0 | 90.0 |"),
    ]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("preset", ["smoke", "laptop", "small", "paper"])
def test_every_row_builds_and_reads_what_it_is_for(name, preset):
    module = EXPERIMENTS[name]
    build = {"classification": classification.build, "editing": editing.build}[name]
    spec = inr_tasks.RECIPES["dws"].spec(1)
    for row in module.PRESETS[preset].rows.values():
        if row.encoder:
            built = build({**row.config(), "classes": range(10), "expansion": 1})
            built.encoder.view(spec)
            steps = row.training
            assert steps.batch % (steps.microbatch or steps.batch) == 0


def test_published_settings_are_those_of_the_data_set():
    rows = {
        data: inr_classification.presets(data)["paper"].rows["scalegmn"].settings
        for data in ("mnist.dws", "fashion_mnist.dws", "cifar10.nfn", "cifar10.nfn-views21")
    }
    assert [s["layers"] for s in rows.values()] == [4, 2, 4, 4]
    assert [s["width"] for s in rows.values()] == [128, 128, 64, 128]
    papers = inr_classification.presets("cifar10.nfn-views21")["paper"].rows
    assert papers["scalegmn"].paper == "56.62 ± .24*"
    single = inr_classification.presets("cifar10.nfn-views1")["paper"].rows["scalegmn"]
    assert (single.paper, single.settings["width"]) == ("36.43 ± .41", 64)
    other = inr_classification.presets("own", classes=3)["paper"].rows
    assert other["scalegmn"].settings["code"] == other["nfn_np"].settings["code"] == 3
    edited = {
        (data, task): inr_editing.presets(f"{data}.nfn", task)["small"].rows["gmn"].paper
        for data in ("mnist", "cifar10")
        for task in inr_editing.TASKS
    }
    assert edited.pop(("mnist", "dilation")) == ".0603"
    assert edited.pop(("cifar10", "contrast")) == ".0197"
    assert set(edited.values()) == {"–"}


# A folder of one's own


def save(path, color=128, shape=(6, 5), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, shape, color if mode == "L" else (color, 0, 9)).save(path)


def own(folder, counts, **image):
    for name, count in counts.items():
        for i in range(count):
            save(folder / name / f"{i}.png", 5 * i + 100 * (name == "b"), **image)
    return folder


@pytest.mark.trains
def test_a_folder_of_pictures_is_one_command(run, tmp_path):
    pictures = own(tmp_path / "mine", {"a": 8, "b": 7})
    flags = ("--images", pictures, "--fit-steps", 20, "--views", 2)
    runs = run("classification", *flags, "--rows", "majority,boosted_trees")
    for r in runs:
        assert r["train_zoo"] == "own-mine.dws-views2-steps20"
        assert r["config"]["sizes"] == {"train": 20, "validation": 2, "test": 3}
    again = run("editing", *flags, "--rows", "identity", "--task", "dilation")
    assert again[0]["metrics"]["test_mse"] > 0


def fails(run, capsys, *flags):
    with pytest.raises(SystemExit) as stopped:
        run("classification", *flags)
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
    "two pictures": "got in 'all': b 2",
    "few": "batches of 8 networks, got 4",
}


@pytest.mark.parametrize("harm", BAD)
def test_what_is_wrong_with_a_folder_is_said_before_any_fit(
    harm, run, tmp_path, monkeypatch, capsys
):
    def make(*arguments):
        raise AssertionError("a network was to be fitted")

    monkeypatch.setattr(inr_factory, "make", make)
    monkeypatch.setattr(inr_tasks, "estimate", make)
    folder = own(tmp_path / "mine", {"a": 20, "b": 20}) if harm not in ("nothing", "few") else (
        tmp_path / "mine"
    )  # fmt: skip
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
    if harm == "two pictures":
        for path in sorted((folder / "b").iterdir())[2:]:
            path.unlink()
    if harm == "few":
        own(folder, {"a": 4, "b": 4})
    assert BAD[harm] in fails(run, capsys, "--images", folder, "--rows", "mlp")


def test_wrong_command_lines_are_one_clear_error(run, tmp_path, capsys):
    both = ("--images", tmp_path, "--data", "digits")
    assert "not both" in fails(run, capsys, *both)
    assert "views: expected at least 1, got 0" in fails(run, capsys, "--views", 0)
    assert "expected --sizes as numbers" in fails(run, capsys, "--sizes", "many")
    large = fails(run, capsys, "--rows", "majority", "--sizes", "10,31")
    assert "--sizes of 1 to 30 training networks, got [10, 31]" in large
    assert "unrecognized arguments" in fails(run, capsys, "--objective.volume", 3)
    assert "expected rows of" in fails(run, capsys, "--rows", "gpt")


def test_who_cannot_read_the_networks_is_told_beforehand(capsys):
    found = inr_tasks.Subject(
        "own",
        inr_tasks.image_folders.image_set(np.zeros((60, 4, 4, 3), np.uint8), np.arange(60) % 2),
        ("a", "b"),
        inr_tasks.RECIPES["dws"],
    )
    gray = {"layout": (2, 2, 1), "width": 8, "layers": 1}  # has room for one output
    rows = {"majority": Row(None), "scalegmn": Row("scalegmn", gray), "mlp": Row("mlp")}
    rows["code"] = Row("mlp", {"widths": (4,)}, ())
    more = {"classes": found.classes}
    kept = inr_tasks.readable(rows, found, classification.build, more)
    assert list(kept) == ["majority", "mlp"]
    out = capsys.readouterr().out
    assert "scalegmn: cannot read these networks" in out
    assert "code: cannot read these networks: without a head a code is the logits" in out
    with pytest.raises(SystemExit, match="no row reads these networks"):
        inr_tasks.readable({"code": rows["code"]}, found, classification.build, more)


def test_validation_and_test_are_dealt_by_image_and_class():
    plan = dataclasses.replace(inr_tasks.RECIPES["nfn"], views=3)
    pictures = inr_tasks.image_folders.image_set(
        np.zeros((40, 2, 2, 1), np.uint8), np.arange(40) % 4
    )
    found = inr_tasks.Subject("x", pictures, tuple("abcd"), plan)
    runs = np.repeat(np.arange(40), 3)
    labels = {"class": (runs % 4).astype(np.float32), "view": np.tile([0.0, 1, 2], 40)}
    vectors = np.random.default_rng(0).normal(size=(120, found.spec.count)).astype(np.float32)
    zoo = Zoo(vectors, (found.spec,), np.zeros(120, int), labels, runs)
    zoo = inr_tasks.split(zoo, inr_tasks.deal(found))
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

"""`wsjax fit`, `predict` and `rank` in process, on PyTorch files."""

import json

import numpy as np
import pytest
from cases import checkpoint_folders
from cases.predictor_zoos import quick
from click.testing import CliRunner

from experiments.lib import torch_writer
from wsjax.cli.main import main

ENDS = ("prediction", "low", "high")


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(x) for x in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with quick():
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    labels = checkpoint_folders.write(folder)
    return folder, labels


@pytest.fixture(scope="module")
def model(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")  # an empty folder serves
    folder, labels = sweep
    text = run("fit", folder, "--labels", labels, "--target", "accuracy", "-o", out).stdout
    assert "predicts accuracy, 90% intervals" in text
    assert "recipe_only sees rate and no weights" in text
    return out


def test_fit_writes_a_model_and_its_facts(sweep, model):
    folder, labels = sweep
    arguments = ("fit", folder, "--labels", labels, "--target", "accuracy", "-o", model)
    before = (model / "predictor.json").read_bytes()
    assert "is a model; --force replaces it" in run(*arguments, code=2).stderr
    assert (model / "predictor.json").read_bytes() == before
    facts = json.loads(run(*arguments, "--force", "--json", "--seed", 0).stdout)
    assert facts["runs"] == {"train": 11, "validation": 4, "calibration": 9}
    assert {x["name"] for x in facts["candidates"]} >= {"mean", "ridge", "trees", "sne"}
    assert (model / "README.md").read_text().startswith("# Predictor of accuracy")


def test_bad_input_is_one_sentence(sweep, model, tmp_path):
    folder, labels = sweep
    base = ("--labels", labels, "--target", "accuracy", "-o")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    error = run("fit", folder, *base, tmp_path / "other", code=2).stderr
    assert "a predictor to replace, it has x" in error
    error = run("fit", folder, *base, folder / "model", code=2).stderr
    assert "whose weights files are the networks" in error
    few = tmp_path / "few"
    few.mkdir()
    few_labels = checkpoint_folders.write(few, 19, 19)
    error = run("fit", few, "--labels", few_labels, "--target", "accuracy", "-o", tmp_path / "m",
                code=2).stderr  # fmt: skip
    assert "at least 20 labelled networks" in error
    assert len(error.splitlines()) == 1


def test_too_few_runs_is_a_refusal(sweep, tmp_path):
    folder, labels = sweep
    arguments = ("--target", "accuracy", "-o", tmp_path / "m", "--confidence", "0.97")
    error = run("fit", folder, "--labels", labels, *arguments, code=3).stderr
    assert "expected networks of at least 39 runs, got 24" in error


def test_predict_gives_intervals_and_gates(sweep, model):
    folder, _ = sweep
    file = folder / "run_25.pt"
    data = json.loads(run("predict", file, "--with", model, "--json").stdout)
    (one,) = data["networks"]
    assert one["low"] < one["prediction"] < one["high"]
    assert one["domain"] in ("in", "edge")
    gate = str((one["low"] + one["prediction"]) / 2)
    run("predict", file, "--with", model, "--gate", gate)
    text = run("predict", file, "--with", model, "--gate", gate, "--gate-on", "low", code=1).stdout
    assert text.startswith("gate failed: 1 of 1 below")


def test_a_network_has_one_prediction_alone_and_beside_others(sweep, model):
    files = sorted(sweep[0].glob("*.pt"))
    beside = json.loads(run("predict", *files, "--with", model, "--json", "--anyway").stdout)
    for file, expected in zip(files[:8], beside["networks"], strict=False):
        data = json.loads(run("predict", file, "--with", model, "--json", "--anyway").stdout)
        assert [data["networks"][0][k] for k in ENDS] == [expected[k] for k in ENDS]
        assert expected["file"] == str(file)


def written(path, scale=1.0, width=5, nan=False):
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (width, 3), "0.bias": (width,), "2.weight": (2, width), "2.bias": (2,)}
    arrays = {k: (scale * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()}
    if nan:
        arrays["2.bias"][0] = np.nan
    path.write_bytes(torch_writer.saved(arrays))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scale": 30.0}, "root mean square"),
        ({"width": 6}, "another architecture"),
        ({"nan": True}, "1 of 2 numbers are not finite"),
    ],
)
def test_predict_refuses_with_reasons(model, tmp_path, change, reason):
    file = written(tmp_path / "x.pt", **change)
    result = run("predict", file, "--with", model, "--json", code=3)
    (one,) = json.loads(result.stdout)["networks"]
    assert one["prediction"] is None
    assert one["domain"] == "out"
    assert any(reason in r for r in one["reasons"])
    assert (
        "refused: 1 of 1 out of the domain" in run("predict", file, "--with", model, code=3).stdout
    )


def test_a_broken_file_is_refused_beside_the_others(sweep, model, tmp_path):
    files = sweep[0] / "run_25.pt", written(tmp_path / "x.pt", nan=True), sweep[0] / "run_26.pt"
    data = json.loads(run("predict", *files, "--with", model, "--json", code=3).stdout)
    assert [x["prediction"] is None for x in data["networks"]] == [False, True, False]
    assert data["networks"][1]["file"] == str(files[1])


def test_anyway_predicts_where_the_model_can_be_applied(model, tmp_path):
    file = written(tmp_path / "x.pt", scale=30.0)
    (one,) = json.loads(run("predict", file, "--with", model, "--anyway", "--json").stdout)[
        "networks"
    ]
    assert one["prediction"] is not None
    assert one["domain"] == "out"
    file = written(tmp_path / "y.pt", nan=True)
    run("predict", file, "--with", model, "--anyway", "--gate", "0.1", code=3)


def test_a_gate_that_nothing_fails_is_an_error(sweep, model):
    arguments = ("predict", sweep[0] / "run_25.pt", "--with", model, "--gate", "nan")
    assert "expected a finite number, got nan" in run(*arguments, code=2).stderr


def test_rank_orders_the_networks_without_labels(sweep, model):
    folder, labels = sweep
    arguments = ("rank", folder, "--with", model, "--labels", labels)
    data = json.loads(run(*arguments, "--json").stdout)
    assert len(data["networks"]) + len(data["out"]) == 6
    values = [x["prediction"] for x in data["networks"]]
    assert values == sorted(values, reverse=True)
    assert data["networks"][0]["rank"] == 1
    assert "Networks by predicted accuracy" in run(*arguments).stdout


def test_a_folder_of_other_networks_is_refused(model, tmp_path):
    for i in range(3):
        written(tmp_path / f"{i}.pt", width=7, scale=i + 1)
    text = run("rank", tmp_path, "--with", model, code=3).stdout
    assert text.startswith("refused: all 3 networks are out of the domain")


def test_no_model_is_one_sentence(sweep, tmp_path):
    error = run("predict", sweep[0] / "run_01.pt", "--with", tmp_path, code=2).stderr
    assert error.startswith("wsjax: expected a predictor at")

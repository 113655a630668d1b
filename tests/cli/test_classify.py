"""`wsjax classify`: one page of classes, refusals by name, accuracy of labelled INRs."""

import json
import shutil

import numpy as np
import pytest
from cases import inrs, weight_folders
from click.testing import CliRunner

from wsjax import networks, tasks
from wsjax.cli.classify import classify
from wsjax.cli.main import main


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """The name of a pretrained model."""
    monkeypatch.setattr(tasks, "restore", {"animals": inrs.classifier()}.__getitem__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """INRs, the last of them with images that are too bright."""
    vectors = inrs.vectors(4)
    params = {k: np.array(a) for k, a in networks.unravel(vectors, inrs.SPEC).items()}
    params["Dense_2/bias"][3] += 0.9
    path = inrs.write(tmp_path_factory.mktemp("cli") / "inrs", networks.ravel(params, inrs.SPEC))
    classes = inrs.classifier().predict(vectors).argmax(-1)
    rows = [f"net_{i},{inrs.CLASSES[k]}\n" for i, k in enumerate(classes)]
    (path.parent / "labels.csv").write_text("file,class\n" + "".join(rows))
    return path, [inrs.CLASSES[k] for k in classes]


def test_classes_and_refusals(folder):
    path, classes = folder
    labels = str(path.parent / "labels.csv")
    command = [str(path), "--with", "animals", "--labels", labels, "--json"]
    result = CliRunner().invoke(classify, command)
    assert result.exit_code == 3, result.output
    data = json.loads(result.stdout)
    assert list(data) == ["classes", "networks", "accuracy", "labelled", "refused", "skipped",
                          "convention"]  # fmt: skip
    assert [x["class"] for x in data["networks"]] == [*classes[:3], None]
    assert [x["label"] for x in data["networks"]] == classes
    assert [x["domain"] == "out" for x in data["networks"]] == [False] * 3 + [True]
    assert "pixels are outside of 0 to 1" in data["networks"][3]["reason"]
    assert all(x["confidence"] > x["runner_up_confidence"] for x in data["networks"][:3])
    assert (data["accuracy"], data["labelled"], data["refused"]) == (1.0, 3, 1)
    assert data["convention"]["offset"] == 0.5


def test_a_refused_class_is_given_on_request(folder):
    path, _ = folder
    result = CliRunner().invoke(classify, [str(path), "--with", "animals", "--anyway", "--json"])
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert all(x["class"] for x in data["networks"])
    assert data["networks"][3]["domain"] == "out"
    assert data["accuracy"] is None
    assert "label" not in data["networks"][0]


def test_the_convention_of_the_files_is_an_option(folder):
    path, _ = folder
    given = ("--indexing", "ij", "--offset", "0", "--black", "-1", "--coordinates", "0..1")
    given += ("--omega", "12", "--first-omega", "20")
    result = CliRunner().invoke(classify, [str(path), "--with", "animals", *given, "--json"])
    convention = json.loads(result.stdout)["convention"]
    assert convention == {"omega": 12.0, "first_omega": 20.0, "indexing": "ij", "unit": True,
                          "offset": 0.0, "low": -1.0}  # fmt: skip


def test_the_report_has_a_contact_sheet(folder, tmp_path):
    path, classes = folder
    html = tmp_path / "report.html"
    command = ["classify", str(path), "--with", "animals", "--html", str(html)]
    result = CliRunner().invoke(main, command, prog_name="wsjax")
    lines = result.stdout.splitlines()
    assert lines[0] == "3 of 4 INRs classified, 1 refused as out of the domain"
    assert [line.split()[:2] for line in lines if line.startswith("net_0")] == [
        ["net_0.safetensors", classes[0]]
    ]
    text = html.read_text()
    assert "data:image/png;base64,iVBOR" in text
    assert f"wsjax classify {path} --with animals" in text


def test_files_that_are_no_inrs_are_counted_in_the_headline(folder, tmp_path):
    path, _ = folder
    shutil.copytree(path, tmp_path / "mixed")
    weight_folders.write(tmp_path / "mixed/mlp.pt", weight_folders.mlp(0, (3, 4, 1)))
    result = CliRunner().invoke(main, ["classify", str(tmp_path / "mixed"), "--with", "animals"])
    line = result.stdout.splitlines()[0]
    assert line == "3 of 4 INRs classified, 1 refused as out of the domain, 1 not of this model"


def test_an_empty_folder_is_one_sentence(tmp_path):
    result = CliRunner().invoke(main, ["classify", str(tmp_path), "--with", "animals"])
    assert result.exit_code == 2
    assert result.stderr.startswith("wsjax: expected weights files in ")
    assert result.stderr.count("\n") == 1

"""`wsjax embed` as it is typed."""

import json

import pytest
from cases import weight_folders
from click.testing import CliRunner

from wsjax.cli import embed
from wsjax.cli.main import main


def run(*arguments):
    return CliRunner().invoke(main, ["embed", *map(str, arguments)])


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    path = weight_folders.folder(tmp_path_factory.mktemp("nets"))
    (path / "cut.pt").write_bytes(b"PK")
    rows = [f"net_{i}.pt,0.{i},adam" for i in range(7)]
    (path / "labels.csv").write_text("\n".join(["file,accuracy,optimizer", *rows]))
    return path


def test_tables_name_duplicates_neighbours_and_what_was_skipped(nets, tmp_path):
    result = run(nets, "--set", "activation=tanh", "-o", tmp_path / "v.csv")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines() if line.strip()]
    assert lines[0] == ("8 networks, vectors of 42 numbers (statistics); 2 groups of duplicates")
    assert lines[1].endswith(
        "8 networks of 6 runs, 1 file skipped, 1 other file, 2 groups equal up to symmetry; each "
        "network is a run of its own"
    )
    assert any(line.startswith("cut.pt ") for line in lines)
    assert "net_0.pt = net_6.pt equal weights" in lines
    assert "net_2.pt = net_5.pt equal up to symmetry" in lines
    assert "symmetries considered: permutation, sign." in lines
    assert "net_0.pt net_6.pt 0" in lines
    assert "statistics of canonical forms: sign removed." in lines
    assert lines[-1] == f"written: {tmp_path / 'v.csv'}"
    assert (tmp_path / "v.csv").read_text().count("\n") == 9


def test_long_tables_are_cut_and_the_report_has_the_map(nets, tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "ROWS", 3)
    result = run(nets, "--html", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert "net_2.pt" in result.output
    assert "net_4.pt" not in result.output
    assert "and 5 more, see --json" in result.output
    document = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in document
    assert "8 networks in a plane: component 1" in document


def test_json_holds_the_same(nets):
    result = run(nets, "--json", "-k", 2)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [n["file"] for n in data["networks"]] == [f"net_{i}.pt" for i in range(8)]
    assert data["networks"][0]["neighbours"][0] == {"file": "net_6.pt", "distance": 0.0}
    assert {len(n["neighbours"]) for n in data["networks"]} == {2}
    assert data["networks"][0]["run"] == data["networks"][6]["run"]
    assert data["duplicates"] == [{"files": ["net_0.pt", "net_6.pt"], "equal_weights": True}]
    assert [s["file"] for s in data["skipped"]] == ["cut.pt"]
    assert data["symmetries"] == ["permutation"]


def test_the_map_is_a_picture(nets, tmp_path):
    labels = ("--labels", nets / "labels.csv", "--target", "accuracy")
    result = run(nets, "--map-png", tmp_path / "map.png", *labels)
    assert result.exit_code == 0, result.output
    coloured = (tmp_path / "map.png").read_bytes()
    assert coloured.startswith(b"\x89PNG")
    result = run(nets, "--map-png", tmp_path / "map.png")
    assert (result.exit_code, "exists; --force overwrites it" in result.stderr) == (2, True)
    assert (tmp_path / "map.png").read_bytes() == coloured
    assert run(nets, "--map-png", tmp_path / "map.png", "--force").exit_code == 0
    assert (tmp_path / "map.png").read_bytes() != coloured


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "v.txt"], "v.txt: expected a file of .csv or .npz"),
        (["-o", "absent/v.csv"], "absent/v.csv: expected a folder at absent, there is none"),
        (["--map-png", "m.jpg"], "--map-png m.jpg: expected a name that ends in .png"),
        (["--target", "accuracy"], "expected --labels and --target together"),
        (["--with", "no-such-model"], "no-such-model"),
        (["--set", "activation"], "expected KEY=VALUE"),
    ],
)
def test_wrong_arguments_are_one_sentence_before_weights_are_read(
    nets, monkeypatch, tmp_path, arguments, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wsjax.zoos.from_files.load", lambda *_: pytest.fail("weights were read"))
    if "--with" in arguments:
        monkeypatch.undo()
    result = run(nets, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_nothing_that_is_read_is_overwritten(nets):
    labels = nets / "labels.csv"
    before = labels.read_bytes()
    result = run(nets, "--labels", labels, "--target", "accuracy", "-o", labels, "--force")
    assert "never overwritten" in result.stderr
    assert labels.read_bytes() == before
    result = run(nets, "-o", nets / "vectors.npz")
    assert "would be read as a network" in result.stderr


def test_labels_that_are_absent_are_listed(nets, monkeypatch):
    monkeypatch.setattr("wsjax.zoos.from_files.load", lambda *_: pytest.fail("weights were read"))
    result = run(nets, "--labels", nets / "labels.csv", "--target", "loss")
    assert result.exit_code == 2
    assert result.stderr == (
        f"wsjax: {nets / 'labels.csv'}: expected a label 'loss', its labels are 'accuracy', "
        "'optimizer_adam'\n"
    )


def test_folders_that_are_no_zoo(nets, tmp_path):
    assert "it is empty" in run(tmp_path).stderr
    result = run(tmp_path / "absent")
    assert (result.exit_code, "there is none" in result.stderr) == (2, True)
    for i in range(2):
        weight_folders.write(tmp_path / f"{i}.pt", weight_folders.mlp(i, (2, 3 + i, 1)))
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "mixed architectures" in result.stderr
    assert run(tmp_path, "--mixed").exit_code == 0


def test_help_keeps_its_examples():
    assert "\n    wsjax embed sweep -o vectors.csv\n" in run("--help").output

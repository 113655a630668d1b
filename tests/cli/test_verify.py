import json

import numpy as np
import pytest
from cases import weight_files
from click.testing import CliRunner

from wsjax.cli.main import main
from wsjax.cli.verify import verify

NET = {"0.weight": np.eye(4, 3, dtype="f4"), "2.weight": np.full((2, 4), 0.5, "f4")}


def run(*args, code=0):
    result = CliRunner().invoke(main, ["verify", *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stdout


@pytest.fixture(name="files")
def _files(tmp_path):
    """Name -> path, of a file that is whole, of one with a warning, and of one cut short."""
    data = weight_files.safetensors_bytes(NET)
    contents = {"whole": data, "stray": data + b"12", "cut": data[:-4]}
    for name, content in contents.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    return {name: tmp_path / f"{name}.safetensors" for name in contents}


def test_a_whole_file_is_one_line(files):
    (line,) = run(files["whole"], "--set", "activation=relu").splitlines()
    assert line.startswith(f"{files['whole']}: fine: safetensors, 2 arrays, 20 parameters, exact")


def test_each_finding_is_a_line(files):
    lines = run(files["cut"], code=2).splitlines()
    assert [line.split(": ")[1:3] for line in lines[1:]] == [
        ["error", "truncated"],
        ["error", "unreadable"],
    ]


def test_warnings_fail_if_strict(files):
    assert ": warning: stray: " in run(files["stray"])
    run("--strict", files["stray"], code=1)
    run("--strict", files["whole"])


def test_the_worst_file_counts(files, tmp_path):
    run(files["whole"], files["cut"], files["stray"], code=2)
    run("--strict", files["whole"], files["stray"], code=1)
    absent = tmp_path / "absent"
    text = run(absent, files["whole"], code=2)
    assert f"{absent}: error: missing: " in text
    assert f"{files['whole']}: fine: " in text


def test_a_branch_that_a_file_lacks_is_an_error_of_that_file(files):
    lines = run(files["whole"], files["stray"], "--branch", "ema", code=2).splitlines()
    assert [line.split(": ")[0] for line in lines[::2]] == [
        str(files[k]) for k in ("whole", "stray")
    ]
    assert (
        f"{files['whole']}: error: refused: expected a branch of a network, got 'ema'" in lines[1]
    )


def test_json_is_one_document(files):
    document = json.loads(run("--json", "--strict", *files.values(), code=2))
    assert document["verdict"] == "errors"
    assert [f["worst"] for f in document["files"]] == [None, "warning", "error"]
    assert document["files"][2]["findings"][0]["certainty"] == "read"


def test_a_file_is_expected():
    result = CliRunner().invoke(verify, [])
    assert result.exit_code == 2
    assert "Missing argument 'FILE...'" in result.output

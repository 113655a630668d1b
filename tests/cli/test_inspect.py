import json

import click
import numpy as np
import pytest
from cases import weight_files
from click.testing import CliRunner

from wsjax.cli import output
from wsjax.cli.inspect import inspect
from wsjax.cli.main import main

MLP = {
    "net.0.weight": np.arange(15, dtype="f4").reshape(5, 3) / 8 - 1,
    "net.0.bias": np.array([0, 1, -1, 0.5, 2], "f4"),
    "net.2.weight": np.arange(10, dtype="f4").reshape(2, 5) / 4 - 1,
    "net.2.bias": np.array([0.25, -2], "f4"),
}


def run(*args, code=0):
    result = CliRunner().invoke(main, ["inspect", *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(name="path")
def _path(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(weight_files.safetensors_bytes(MLP))
    return path


def test_tables_give_each_fact_once_with_its_certainty(path):
    text = run(path, "--set", "activation=relu").stdout
    rows = [line.split() for line in text.splitlines()]
    assert [r for r in rows if r[:1] == ["format"]] == [["format", "safetensors", "read"]]
    assert ["parameters", "32", "read"] in rows
    assert ["h0", "5", "2.079", "no", "yes", "no"] in rows
    assert sum(line.startswith(str(path)) for line in text.splitlines()) == 1
    assert text.count("Header") == 1
    (layer,) = (r for r in rows if "net.0.weight" in r and "float32" in r)
    assert layer[-7:] == ["net.0.weight", "float32", "5", "x", "3", "h0*,", "x"]


def test_json_is_one_document(path):
    document = json.loads(run(path, "--set", "activation=relu", "--json").stdout)
    assert document["structure"]["level"] == "exact"
    assert document["parameters"] == 32
    assert {f["certainty"] for f in document["facts"]} == {"read", "derived", "inferred"}
    assert document["layers"][0]["statistics"]["count"] == 15
    assert document["axes"][0]["scale"] is True
    assert document["findings"] == []


def test_an_orbax_folder_is_described(tmp_path):
    document = json.loads(run(weight_files.orbax(tmp_path), "--json").stdout)
    assert (document["format"], document["branch"]) == ("orbax", "params")


def test_errors_end_with_code_2(path):
    path.write_bytes(path.read_bytes()[:-4])
    text = run(path, code=2).stdout
    assert "truncated" in text
    document = json.loads(run(path, "--json", code=2).stdout)
    assert [f["kind"] for f in document["findings"]] == ["truncated", "unreadable"]
    assert document["layers"][-1]["statistics"] is None


def test_what_is_not_there_is_one_sentence(tmp_path):
    result = run(tmp_path / "absent.pt", code=2)
    assert result.stderr.startswith("wsjax: ")
    assert "absent.pt" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    (tmp_path / "empty").mkdir()
    assert "refused" in run(tmp_path / "empty", code=2).stdout


def test_a_setting_that_makes_no_sense_is_named(path):
    assert "omega" in run(path, "--set", "omega=x", code=2).stderr
    assert "ema" in run(path, "--branch", "ema", code=2).stderr


def test_help_has_examples():
    text = CliRunner().invoke(inspect, ["--help"]).output
    assert "  wsjax inspect model.safetensors\n" in text
    assert "--branch" in text


def test_what_was_printed_early_is_not_repeated(capsys):
    table, more = output.Table("a", ("x",), (("one",),)), output.Table("b", ("y",), (("two",),))
    context = click.Context(click.Command("verb"))
    context.params["as_json"] = False
    with context:
        output.early(output.Page("headline", {}, (table,)))
        assert "one" in capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            output.show(output.Page("headline", {"all": 1}, (table, more), code=1))
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "two" in text
    assert "one" not in text
    assert "headline" not in text


def test_nothing_is_printed_early_with_json(capsys):
    context = click.Context(click.Command("verb"))
    context.params["as_json"] = True
    with context:
        output.early(output.Page("headline", {}))
        with pytest.raises(SystemExit):
            output.show(output.Page("headline", {"all": 1}), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"all": 1}

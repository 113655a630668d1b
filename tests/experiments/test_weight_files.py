"""The command that reads other people's weights files, and the tables of its records."""

import pytest

from experiments import report, weight_files
from experiments.foreign_files import sizes
from experiments.foreign_files.answers import Answer
from experiments.foreign_files.catalogue import CASES, what
from experiments.lib import file_tables, records
from wsjax import verify


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs parts and gives their records."""
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)

    def run(*flags):
        weight_files.main([*flags, "--folder", str(tmp_path)])
        return records.read("weight_files", tmp_path / "results")

    return run


@pytest.mark.parametrize("number", CASES)
def test_every_case_has_the_answer_that_is_right(number, tmp_path):
    answer = CASES[number](tmp_path)
    assert answer.right, answer.line
    assert "\n" not in answer.line
    assert what(number).endswith(".")


def test_all_cases_of_the_list_are_there():
    assert {int("".join(filter(str.isdigit, number))) for number in CASES} == set(range(1, 34))


def test_a_case_is_a_record_and_a_line_of_the_table(run, tmp_path, monkeypatch, capsys):
    wrong = lambda folder: Answer(f"lies in {folder}/net | `x`", False)
    wrong.__doc__ = "A file | that is wrong."
    monkeypatch.setitem(weight_files.CASES, "5", wrong)
    first, second = run("--parts", "cases", "--only", "13b,5")
    assert (first["metrics"], second["metrics"]) == ({"right": True}, {"right": False})
    assert second["line"] == "lies in net | `x`"
    assert "13b  right  A whole file whose arrays are zero but one." in capsys.readouterr().out
    table = file_tables.cases(tmp_path / "results")
    assert "| 5 | A file \\| that is wrong. | `lies in net ¦ 'x'` | **no** |" in table
    with pytest.raises(SystemExit, match="expected some of"):
        run("--only", "99")


def test_a_file_is_timed_in_a_process_of_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "FILES", {"torch": (sizes.torch, False, ("one",))})
    (one,) = run("--parts", "sizes", "--real", "0.02")
    assert one["row"] == "torch_one"
    assert (one["metrics"]["arrays"], one["metrics"]["bytes"]) == (1, 200_000)
    assert one["metrics"]["megabytes"] - one["metrics"]["before"] < 20
    assert "| `torch`, 0.02 GB | one | 1 |" in file_tables.sizes(tmp_path / "results")


def test_a_command_is_timed_until_its_first_output(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "FILES", {"cnn": (sizes.cnn, False, ("inspect",))})
    (one,) = run("--parts", "sizes")
    figures = one["metrics"]
    assert (figures["arrays"], figures["bytes"]) == (6, 4 * (32 * 10 + 64 * 289 + 650))
    assert 0 < figures["first"] < figures["seconds"]
    assert 0 < figures["before"] < figures["megabytes"]
    assert "| `cnn`, 7.8361e-05 GB | inspect | 6 |" in file_tables.sizes(tmp_path / "results")


@pytest.mark.parametrize("write", [sizes.cnn, sizes.gpt2])
def test_the_files_of_commands_are_networks(write, tmp_path):
    write(tmp_path / "net", 50 << 20, 0)
    result = verify(tmp_path / "net", config={"activation": "relu"})
    assert result.level == "exact"
    assert not result.worst


@pytest.mark.parametrize("name", [n for n, file in sizes.FILES.items() if "list" in file[2]])
def test_every_operation_reads_what_was_written(name, tmp_path):
    write, _, operations = sizes.FILES[name]
    write(tmp_path / "net", 64_000, 10)
    for operation in operations:
        expected = (1, 6_400) if operation == "one" else (10, 64_000)
        assert sizes.done(operation, tmp_path / "net") == expected


def test_the_report_has_the_tables_and_says_where_there_are_none(tmp_path):
    for name in file_tables.TABLES:
        page = f"<!-- table {name} -->\n<!-- end -->"
        assert "No runs yet." in report.render(page, tmp_path)

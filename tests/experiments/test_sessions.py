"""Sessions with the command: files, output, and how records are rendered."""

import json

import pytest

from experiments import sessions
from experiments.lib import commands, records, session_files, session_tables


def test_a_command_is_measured_in_a_process_of_its_own(tmp_path):
    session_files.truncated(tmp_path)
    ran = commands.run(["verify", "cut.safetensors"], tmp_path)
    assert ran.code == 2
    assert "truncated: the header promises" in ran.output
    assert 0 < ran.first <= ran.seconds
    assert 20 < ran.megabytes < 2000


def test_a_command_has_the_memory_of_its_own_imports(tmp_path):
    assert commands.run(["--help"], tmp_path).megabytes < 100  # JAX alone takes more


def test_errors_follow_the_output(tmp_path):
    ran = commands.run(["inspect", "absent"], tmp_path)
    assert ran.code == 2
    assert ran.output.startswith("wsjax: ")
    assert "Traceback" not in ran.output


def test_a_session_is_a_record_and_the_record_a_transcript(tmp_path, capsys):
    sessions.main(["--only", "truncated", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    (run,) = records.read("sessions", tmp_path / "results")
    assert [c["code"] for c in run["commands"]] == [2]
    assert session_tables.transcript(run) in printed
    text = session_tables.sessions(tmp_path / "results")
    assert "    $ wsjax verify whole.safetensors cut.safetensors\n" in text
    assert "    (exit code 2)\n" in text
    assert str(tmp_path) not in text


def test_long_output_is_shortened_and_says_so():
    long = {"line": "wsjax rank", "code": 0, "first": 1, "seconds": 2, "megabytes": 3}
    output = "\n".join(["x" * 200, *map(str, range(50))])
    run = {"row": "a", "about": "B.", "metrics": {}, "commands": [{**long, "output": output}]}
    text = session_tables.transcript(run)
    assert "... 37 lines more" in text
    assert "x" * 151 not in text
    assert "xxx ...\n" in text


def test_coverage_is_of_networks_held_back(tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/held_back.csv").write_text("file,accuracy\na.pt,0.5\nb.pt,0.9\n")
    known = [{"file": "a.pt", "prediction": 0.4, "low": 0.3, "high": 0.6}]
    known += [{"file": "b.pt", "prediction": 0.6, "low": 0.5, "high": 0.8}]
    ran = commands.Ran(0, json.dumps({"networks": known}), 0, 0, 0)
    monkeypatch.setattr(commands, "run", lambda *_: ran)
    measured = sessions.coverage(tmp_path)
    assert (measured["ranked"], measured["covered"]) == (2, 1)
    assert measured["mean_absolute_error"] == pytest.approx(0.2)

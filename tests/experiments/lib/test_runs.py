"""The loop of runs: in one process and side by side, finished before, failing and stopped."""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
from cases import works

from experiments.lib import records, runs
from wsjax import storage

ROOT = pathlib.Path(__file__).parents[3]


def lines(folder):
    return records.read("x", folder / "results")


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute in vain")


def test_runs_are_recorded_once_in_the_order_of_the_plan(tmp_path, capsys):
    arguments = works.plan(tmp_path, "bb,a", 1, seeds=2)
    found = runs.execute(*arguments)
    assert [(r["row"], r["seed"]) for r in found] == [("bb", 0), ("bb", 1), ("a", 0), ("a", 1)]
    assert lines(tmp_path) == found
    out = capsys.readouterr().out
    assert out.count("test MSE 2.000000") == 2
    assert out.count("┏") == 4  # the table, again after each run
    assert runs.execute(*works.plan(tmp_path, "a,bb", 1)) == [found[2], found[0]]
    assert capsys.readouterr().out.count("finished before") == 2
    assert len(lines(tmp_path)) == 4


def test_methods_without_training_come_first(tmp_path):
    plan, options, table = works.plan(tmp_path, "a,b", 1)
    trained = runs.Run(runs.Method("mlp"), {**plan[0].config, "row": "mlp"}, works.work)
    found = runs.execute([trained, *plan], options, table)
    assert [r["row"] for r in found] == ["mlp", "a", "b"]
    assert [r["row"] for r in lines(tmp_path)] == ["a", "b", "mlp"]


def test_side_by_side_failures_are_named_and_the_others_finish(tmp_path, capsys):
    plan, options, table = works.plan(tmp_path, "fails,dies,used,a,bb,ccc", 2)
    (used := plan[2].home(tmp_path)).mkdir(parents=True)
    with storage.locked(used / "record.json"), pytest.raises(SystemExit) as stopped:
        runs.execute(plan, options, table)
    first, second, third = sorted(str(stopped.value).splitlines())
    assert first == "dies, seed 0 failed: its process ended with code 3"
    assert second.startswith("fails, seed 0 failed: ValueError: expected better (")
    owner = f"{used / 'record.json'} is in use by process {os.getpid()} on "
    assert third.startswith(f"used, seed 0 failed: {owner}")
    path = pathlib.Path(second.rsplit("(", 1)[1].rstrip(")"))
    assert "raise ValueError" in path.read_text()
    found = lines(tmp_path)
    assert {r["row"] for r in found} == {"a", "bb", "ccc"}
    assert {r["metrics"]["cores"] for r in found} == {1}
    assert os.getpid() not in {r["metrics"]["process"] for r in found}
    assert "│ ccc" in capsys.readouterr().out
    assert not list(used.iterdir())  # the lock is gone


def test_in_one_process_a_failure_is_named_and_the_others_finish(tmp_path):
    with pytest.raises(SystemExit, match=r"^fails, seed 0 failed: ValueError: expected better"):
        runs.execute(*works.plan(tmp_path, "fails,a", 1))
    assert [r["row"] for r in lines(tmp_path)] == ["a"]


def test_finished_runs_are_recorded_wherever_they_are_not_yet(tmp_path):
    """As after a kill between `record.json` and the results, and for `--publish`."""
    found = runs.execute(*works.plan(tmp_path, "a,bb", 1))
    whole = (path := tmp_path / "results" / "x.jsonl").read_bytes()
    path.write_bytes(whole.split(b"\n")[0] + b'\n{"commit')
    assert runs.execute(*works.plan(tmp_path, "a,bb", 1)) == found
    assert path.read_bytes() == whole
    plan, options, table = works.plan(tmp_path, "a,bb", 1)
    options.results = tmp_path / "published"
    assert runs.execute(plan, options, table) == found
    assert (options.results / "x.jsonl").read_bytes() == whole


def test_altered_records_of_a_run_are_named_and_the_others_go_on(tmp_path):
    plan, options, table = works.plan(tmp_path, "a,bb", 1)
    runs.execute(plan[:1], options, table)
    path = plan[0].home(tmp_path) / "record.json"
    path.write_text(path.read_text().replace("1.0", "0.5"))
    with pytest.raises(SystemExit, match=rf"^a, seed 0 failed: {path}: .*altered.*; remove it"):
        runs.execute(plan, options, table)
    assert [r["row"] for r in lines(tmp_path)] == ["a", "bb"]


def test_a_run_that_another_process_finished_meanwhile_is_not_run_again(tmp_path, monkeypatch):
    first = works.plan(tmp_path, "a", 1)
    found, claim = [], runs._claim

    def late(run, options):
        if not found:
            found.append(None)
            found[0] = runs.execute(*first)
        return claim(run, options)

    monkeypatch.setattr(runs, "_claim", late)
    assert runs.execute(*works.plan(tmp_path, "a", 1)) == found[0]
    assert len(lines(tmp_path)) == 1


def test_records_that_cannot_be_written_are_kept_in_the_run(tmp_path):
    plan, options, table = works.plan(tmp_path, "a,bb", 1)
    path = options.results / "x.jsonl"
    path.mkdir(parents=True)
    with pytest.raises(SystemExit) as stopped:
        runs.execute(plan, options, table)
    for run, words in zip(plan, str(stopped.value).splitlines(), strict=True):
        assert words.startswith(f"{run.name} failed: {path}: Is a directory")
        assert words.endswith(f"the same command records it, from {run.home(tmp_path)}")
    path.rmdir()
    assert runs.execute(plan, options, table) == lines(tmp_path)


def command(folder, **more):
    line = [sys.executable, ROOT / "tests" / "cases" / "works.py", folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=folder, env=environment, text=True, **more)


def test_sigterm_is_passed_on_and_ends_in_one_sentence(tmp_path):
    with command(tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as parent:
        wait_for(lambda: list(tmp_path.glob("x/smoke/waits-*/pid")))
        parent.terminate()
        words = r"stopped after [01] of 2 runs; the same command continues, in \S+ \(SIGTERM\)\n"
        assert re.fullmatch(words, parent.stderr.read())
        assert parent.wait() == 143
    assert list(tmp_path.glob("x/smoke/waits-*/saved"))
    assert not list(tmp_path.glob("x/smoke/waits-*/record.json"))
    assert not list(tmp_path.glob("x/smoke/*/.*"))  # locks are gone


def test_workers_end_with_their_parent(tmp_path):
    with command(tmp_path) as parent:
        wait_for(lambda: list(tmp_path.glob("x/smoke/waits-*/pid")))
        time.sleep(0.2)
        (path,) = tmp_path.glob("x/smoke/waits-*/pid")
        parent.kill()
    wait_for(lambda: not pathlib.Path(f"/proc/{path.read_text()}").exists())


def test_a_changed_setting_is_another_run():
    plan, options, _ = works.plan(pathlib.Path("runs"), "a", 1)
    home = plan[0].home(options.folder)
    assert home == plan[0].home(options.folder)
    other = runs.Run(plan[0].method, {**plan[0].config, "sizes": {"train": 3}}, works.work)
    assert other.home(options.folder) != home

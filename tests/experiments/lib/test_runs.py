"""The loop of runs: in one process and side by side, finished before, failing and stopped."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from cases import works

from experiments.lib import runs

ROOT = pathlib.Path(__file__).parents[3]


def lines(folder):
    path = folder / "results" / "x.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


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
    assert lines(tmp_path) == json.loads(json.dumps(found))
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
    with pytest.raises(SystemExit) as stopped:
        runs.execute(*works.plan(tmp_path, "fails,dies,a,bb,ccc", 2))
    first, second = sorted(str(stopped.value).splitlines())
    assert first == "dies, seed 0 failed: its process ended with code 3"
    assert second.startswith("fails, seed 0 failed: ValueError: expected better (")
    path = pathlib.Path(second.rsplit("(", 1)[1].rstrip(")"))
    assert "raise ValueError" in path.read_text()
    found = lines(tmp_path)
    assert {r["row"] for r in found} == {"a", "bb", "ccc"}
    assert {r["metrics"]["cores"] for r in found} == {1}
    assert os.getpid() not in {r["metrics"]["process"] for r in found}
    assert "│ ccc" in capsys.readouterr().out


def test_in_one_process_a_failure_is_named_and_the_others_finish(tmp_path):
    with pytest.raises(SystemExit, match=r"^fails, seed 0 failed: ValueError: expected better"):
        runs.execute(*works.plan(tmp_path, "fails,a", 1))
    assert [r["row"] for r in lines(tmp_path)] == ["a"]


def test_ctrl_c_reaches_every_worker_once(tmp_path):
    def interrupt():
        wait_for(lambda: list(tmp_path.glob("x/smoke/*/pid")))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        runs.execute(*works.plan(tmp_path, "waits,a", 2))
    thread.join()
    assert list(tmp_path.glob("x/smoke/waits-*/saved"))
    assert not list(tmp_path.glob("x/smoke/waits-*/record.json"))


def test_workers_end_with_their_parent(tmp_path):
    command = [sys.executable, ROOT / "tests" / "cases" / "works.py", tmp_path]
    parent = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(lambda: list(tmp_path.glob("x/smoke/waits-*/pid")))
    time.sleep(0.2)
    (path,) = tmp_path.glob("x/smoke/waits-*/pid")
    parent.kill()
    parent.wait()
    wait_for(lambda: not pathlib.Path(f"/proc/{path.read_text()}").exists())


def test_a_changed_setting_is_another_run():
    plan, options, _ = works.plan(pathlib.Path("runs"), "a", 1)
    home = plan[0].home(options.folder)
    assert home == plan[0].home(options.folder)
    other = runs.Run(plan[0].method, {**plan[0].config, "sizes": {"train": 3}}, works.work)
    assert other.home(options.folder) != home

"""The main job as a newcomer types it, at its smallest, as real processes in another folder."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import inr_frequency
from experiments.lib import records, runs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"

    def run(*arguments):
        command = [sys.executable, "-m", "experiments.inr_frequency", "--preset", "smoke"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            cwd=folder, env={**os.environ, "PYTHONPATH": paths}, text=True, check=True,
            capture_output=True,
        ).stdout  # fmt: skip

    run.folder = folder / "runs"
    run.out = run()
    return run


def recorded(run):
    return {r["row"]: r for r in records.read("inr_frequency", run.folder / "results")}


def test_the_main_job_leaves_a_table_plots_records_and_checkpoints(run):
    home = run.folder / "inr_frequency" / "smoke"
    found = recorded(run)
    assert set(inr_frequency.DEFAULT) <= set(found)
    for name in inr_frequency.DEFAULT:
        assert re.search(rf"│ {name} +│", run.out), f"{name} is not in the table"
        assert list(home.glob(f"{name}-0-*/predictions.png"))
    assert (home / "curves.png").stat().st_size > 1000
    error = {name: r["metrics"]["test_mse"] for name, r in found.items()}
    assert error["stat_nn"] < 0.5 * error["mean"]
    assert error["boosted_trees"] < 0.5 * error["mean"]


def test_a_checkpoint_is_evaluated_from_its_path_alone(run):
    path = next((run.folder / "inr_frequency" / "smoke").glob("stat_nn-0-*"))
    printed = re.search(r"test MSE ([\d.]+) on 32 networks", run("--evaluate", path))[1]
    (record,) = runs.finished(path)
    assert float(printed) == pytest.approx(record["metrics"]["test_mse"], abs=1e-6)


def test_finished_methods_are_not_run_again(run):
    path = run.folder / "results" / "inr_frequency.jsonl"
    before = path.read_text()
    assert run("--methods", "mean,stat_nn").count("finished before") == 2
    assert path.read_text() == before


def test_an_own_encoder_stands_in_the_table(run):
    own = ("--encoder", "cases.own_encoder:Mine", "--set", "encoder.width=8,training.steps=6")
    out = run(*own, "--methods", "mean,Mine")
    assert re.search(r"│ Mine +│", out)
    assert recorded(run)["Mine"]["config"]["encoder_settings"] == {"width": 8}
    assert recorded(run)["Mine"]["preset"] == "smoke-custom"

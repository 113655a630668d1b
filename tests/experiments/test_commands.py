"""The commands a newcomer types, at their smallest, as real processes."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
    inr_ablation,
    inr_frequency,
    inr_self_supervised,
)
from experiments.lib import cli, records
from wsjax import architectures, networks, testing
from wsjax.tasks import regression

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENTS = (
    *(inr_frequency, inr_ablation, inr_self_supervised),
    *(cross_dataset, cross_architecture, accuracy_prediction, generalization, embeddings),
)


def run(module, *arguments, check=True):
    command = [sys.executable, "-m", f"experiments.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    flags = ("--preset", "smoke", "--folder", folder, "--results", folder / "results")
    return folder, flags, run("inr_frequency", *flags)


def test_the_main_job_leaves_a_table_plots_records_and_checkpoints(smoke):
    folder, _, out = smoke
    home = folder / "inr_frequency" / "smoke"
    lines = (folder / "results" / "inr_frequency.jsonl").read_text().splitlines()
    runs = {r["row"]: r for r in map(json.loads, lines)}
    assert set(runs) == set(inr_frequency.DEFAULT)
    for name in runs:
        assert re.search(rf"│ {name} +│", out.stdout), f"{name} is not in the table"
        assert list(home.glob(f"{name}-0-*/predictions.png"))
    assert (home / "curves.png").stat().st_size > 1000
    assert runs["stat_nn"]["metrics"]["test_mse"] < 0.5 * runs["mean"]["metrics"]["test_mse"]
    assert runs["boosted_trees"]["metrics"]["test_mse"] < 0.5 * runs["mean"]["metrics"]["test_mse"]


def test_a_checkpoint_is_evaluated_from_its_path_alone(smoke):
    folder, _, _ = smoke
    path = next((folder / "inr_frequency" / "smoke").glob("stat_nn-0-*"))
    out = run("inr_frequency", "--evaluate", path, "--folder", folder)
    printed = float(re.search(r"test MSE ([\d.]+) on 32 networks", out.stdout)[1])
    record = json.loads((path / "record.json").read_text())
    assert printed == pytest.approx(record["metrics"]["test_mse"], abs=1e-6)


def test_finished_rows_are_not_run_again(smoke):
    folder, flags, _ = smoke
    before = (folder / "results" / "inr_frequency.jsonl").read_text()
    out = run("inr_frequency", *flags, "--rows", "mean,stat_nn")
    assert out.stdout.count("finished before") == 2
    assert (folder / "results" / "inr_frequency.jsonl").read_text() == before


def test_the_ablation_measures_invariance(smoke):
    folder, flags, _ = smoke
    run("inr_ablation", *flags, "--rows", "sne_no_position,boosted_trees_20,boosted_trees")
    lines = (folder / "results" / "inr_ablation.jsonl").read_text().splitlines()
    runs = {r["row"]: r["metrics"] for r in map(json.loads, lines)}
    assert runs["sne_no_position"]["invariance"] < 1e-8  # nothing tells neurons apart
    assert runs["sne_no_position"]["untrained_code_error"] < 1e-3
    assert runs["boosted_trees_20"] != runs["boosted_trees"]
    assert list(folder.glob("inr_ablation/smoke/training_size.png"))


@pytest.mark.parametrize("encoder", ["mlp", "stat_nn", "deepsets"])
def test_invariance_tells_who_sees_the_numbering(encoder):
    spec = architectures.mlp([1, 6, 6, 1], "sin", 30.0)
    vectors = np.asarray(networks.ravel(testing.draw(jax.random.key(0), spec, (8,)), spec))
    config = {"encoder": encoder, "encoder_settings": {}, "head": [8], "seed": 0}
    module = regression.build(config)
    view = module.encoder.view(spec)
    variables = jax.jit(module.init)(jax.random.key(config["seed"]), vectors, view)
    scales = {f"{x.kind}/{a.role}/{x.level}": 1.0 for x in spec.layers for a in x.arrays}
    norm = regression.Normalisation(scales, mean=2.0, deviation=3.0)
    model = regression.Model(module, variables, norm, (spec,), "mse", config)
    found = inr_ablation.invariance(model, vectors)
    if encoder == "mlp":
        assert found["invariance"] > 1e-5
        assert found["code_error"] > 1e-2
    else:
        assert found["invariance"] < 1e-8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "invalid choice: 'huge' (choose from"),
        (["--rows", "sne,gpt"], "expected rows of ['mean', 'boosted_trees'"),
        (["--encoder.size", "3"], "unrecognized arguments: --encoder.size"),
        (["--rows", "mlp", "--encoder.chunk", "8"], "--encoder.chunk: none of the rows ['mlp']"),
        (["--training.schedule", "linear"], "schedule: expected one of"),
        (["--objective.permute", "perhaps"], "expected true or false, got 'perhaps'"),
        (["--rows", "sne", "--encoder.chunk", "many"], "--encoder.chunk: expected something like"),
        (["--evaluate", "no/such/run"], "expected a folder of checkpoints, there is no"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_wrong_command_lines_are_one_clear_error(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    with pytest.raises((SystemExit, FileNotFoundError)) as error:
        inr_frequency.main([*arguments, "--folder", str(tmp_path)])
    assert message in str(error.value) + capsys.readouterr().err


def test_settings_reach_the_rows_that_have_them():
    rows = inr_frequency.PRESETS["laptop"].rows
    new = cli.apply(rows, {"encoder.chunk": "8", "training.steps": 200, "training.warmup": 0})
    assert new["sne"].config()["encoder_settings"]["chunk"] == 8
    assert "chunk" not in new["mlp"].config()["encoder_settings"]
    assert new["mlp"].training.steps == 200
    assert rows["mlp"].training.steps != 200
    assert new["mean"] == rows["mean"]


def test_a_changed_setting_is_another_run():
    row = inr_frequency.PRESETS["laptop"].rows["sne"]
    other = row.override({"training.learning_rate": 0.5})
    assert cli.fingerprint(row.config()) != cli.fingerprint(other.config())
    assert cli.fingerprint(row.config()) == cli.fingerprint(row.config())


def test_shares_of_the_training_networks():
    rows = inr_ablation.PRESETS["smoke"].rows
    assert {"sne_20", "boosted_trees_80", "sne_chunk_16"} <= set(rows)


def test_the_list_of_experiments_names_every_preset():
    out = subprocess.run(
        [sys.executable, "-m", "experiments"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for module in EXPERIMENTS:
        for preset in module.PRESETS.values():
            assert preset.cost in out


def test_the_readmes_tables_are_those_of_the_records():
    text = records.README.read_text()
    assert records.render(text) == text, "run python -m experiments.lib.records"


def test_records_must_be_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match=r"missing: .*'metrics'"):
        records.append({"experiment": "x", "row": "y"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table nothing -->\n<!-- end -->", "expected a table of"),
        ("<!-- table benchmarks -->\n", "is not closed"),
    ],
)
def test_broken_markers(text, message):
    with pytest.raises(ValueError, match=message):
        records.render(text)


def test_the_readmes_rows_are_those_of_the_presets():
    """A number in the README was made with the settings that its command has today.

    A setting that an encoder has had only since is at its default there.
    """
    for module in EXPERIMENTS:
        name = module.__name__.rsplit(".", 1)[1]
        for preset, settings in module.PRESETS.items():
            for run_ in records.latest(records.read(name, preset=preset)):
                row = settings.rows[run_["row"]]
                if row.encoder is None:
                    continue
                want = json.loads(json.dumps(row.config()))
                want["training"]["seed"] = run_["seed"]
                came = {k: run_["config"][k] for k in want}
                defaults = cli.Row(row.encoder).config()["encoder_settings"]
                since = json.loads(json.dumps(defaults))
                came["encoder_settings"] = {**since, **came["encoder_settings"]}
                assert came == want, f"{name} {run_['row']}"

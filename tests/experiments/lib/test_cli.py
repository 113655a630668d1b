"""The command line: every mistake is one clear error."""

import pytest

from experiments import inr_frequency
from experiments.lib import cli, records

PRESET = inr_frequency.PRESETS["smoke"]


def options(*arguments):
    parser = cli.parser("inr_frequency", "about", inr_frequency.PRESETS, own=True)
    return parser.parse_args(["--preset", "smoke", *map(str, arguments)])


def chosen(*arguments):
    return cli.choose(options(*arguments), PRESET)


def test_methods_are_the_default_some_or_all():
    assert list(chosen()) == list(inr_frequency.DEFAULT)
    assert list(chosen("--methods", "sne,mean")) == ["sne", "mean"]
    assert list(chosen("--methods", "all")) == list(PRESET.methods)


def test_settings_reach_the_methods_that_have_them():
    methods = chosen(
        *("--methods", "sne,mlp,mean", "--set", "encoder.chunk=8,encoder.widths=4,5"),
        *("--set", "training.steps=200", "--set", "objective.invariance=0.5"),
    )
    assert methods["sne"].settings["chunk"] == 8
    assert methods["mlp"].settings == {"widths": (4, 5)}
    assert methods["mlp"].training.steps == methods["sne"].training.steps == 200
    assert methods["sne"].objective.invariance == 0.5
    assert methods["mean"] == PRESET.methods["mean"]
    assert PRESET.methods["mlp"].training.steps != 200


def test_changed_settings_are_another_preset():
    assert cli.preset_name(options()) == "smoke"
    assert cli.preset_name(options("--set", "training.steps=200")) == "smoke-custom"


def test_an_own_encoder_is_another_method():
    own = ("--encoder", "cases.own_encoder:Mine")
    assert list(chosen(*own)) == [*inr_frequency.DEFAULT, "Mine"]
    methods = chosen(*own, "--methods", "mean,Mine", "--set", "encoder.width=64")
    assert methods["Mine"].build().width == 64
    assert methods["Mine"].training == PRESET.methods["stat_nn"].training


def test_settings_are_listed(capsys):
    with pytest.raises(SystemExit) as stopped:
        chosen("--methods", "sne", "--settings")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "  encoder.chunk              int, default 32: " in out
    assert "training.seed" not in out


UNKNOWN = "not a setting of mlp, which have\n  training.steps "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "invalid choice: 'huge' (choose from"),
        (["--methods", "sne,gpt"], "expected some of ['mean', 'boosted_trees'"),
        (["--training.steps", "3"], "unrecognized arguments: --training.steps"),
        (["--methods", "mlp", "--set", "encoder.chunk=8"], f"--set encoder.chunk: {UNKNOWN}"),
        (["--methods", "mlp", "--set", "decoder.width=8"], f"--set decoder.width: {UNKNOWN}"),
        (["--methods", "mlp", "--set", "training.seed=8"], f"--set training.seed: {UNKNOWN}"),
        (["--methods", "mean", "--set", "training.steps=8"], "mean, which have\n  none"),
        (["--set", "chunk=8"], "expected --set PART.FIELD=VALUE, got 'chunk=8'"),
        (["--set", "encoder.chunk"], "expected --set PART.FIELD=VALUE, got 'encoder.chunk'"),
        (["--set", "training.schedule=linear"], "schedule: expected one of"),
        (["--set", "objective.permute=perhaps"], "expected true or false such as true, got 'per"),
        (["--set", "encoder.chunk=many"], "encoder.chunk: expected int such as 32, got 'many'"),
        (["--encoder", "no.such:Thing"], "encoder 'no.such:Thing': no module 'no.such' to import"),
        (["--encoder", "cases.own_encoder:Yours"], "expected a subclass of wsjax.encoders.Encoder"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_wrong_command_lines_are_one_clear_error(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        chosen(*arguments)
    assert message in str(stopped.value) + capsys.readouterr().err


def test_records_go_beside_the_runs_unless_they_are_published(tmp_path, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.chdir(tmp_path)
    prepare = lambda *more: cli.prepare(options(*more)).results
    assert prepare() == tmp_path / "runs" / "results"
    assert prepare("--folder", "f") == tmp_path / "f" / "results"
    assert prepare("--results", tmp_path) == tmp_path
    with pytest.raises(SystemExit, match="expected --publish or --results, not both"):
        prepare("--publish", "--results", tmp_path)
    monkeypatch.setattr(records, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="--publish: expected a clone of the repository at"):
        prepare("--publish")
    (tmp_path / ".git").mkdir()
    assert prepare("--publish") == records.PUBLISHED

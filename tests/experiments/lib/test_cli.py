"""The command line: every mistake is one clear error."""

import argparse
import errno
import os
import signal

import pytest

from experiments import inr_frequency
from experiments.lib import cli, records
from wsjax.storage import DamagedError, LockedError
from wsjax.training.progress import Interrupted
from wsjax.zoos.factory import UnfinishedError

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
    assert cli.preset_name(argparse.Namespace(preset="h100", set=[], networks=9)) == "h100-custom"


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


def test_one_seed_alone_or_as_many_as_given():
    assert list(cli.seeds(options(), PRESET)) == [0]
    assert list(cli.seeds(options("--seeds", 3), PRESET)) == [0, 1, 2]
    assert list(cli.seeds(options("--seeds", 3, "--seed", 2), PRESET)) == [2]


def test_runs_are_listed_and_nothing_is_written(tmp_path, capsys):
    flags = ["--preset", "smoke", "--methods", "mean,sne", "--set", "training.steps=7"]
    with pytest.raises(cli.Listed) as listed:
        inr_frequency.main([*flags, "--seeds", "2", "--dry-run", "--folder", str(tmp_path / "x")])
    assert listed.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        "smoke-custom mean, seeds [0, 1]: no training",
        "smoke-custom sne, seeds [0, 1]: 7 steps",
    ]
    assert listed.value.methods["sne"].training.steps == 7
    assert listed.value.preset is PRESET
    assert not (tmp_path / "x").exists()


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


def test_folders_that_cannot_be_written_to_are_named_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=rf"^{tmp_path}/file cannot be written to: .*File exists"):
        cli.prepare(options("--folder", tmp_path / "file"))
    with pytest.raises(SystemExit, match=rf"^{tmp_path}/file/a cannot be written to: .*Not a dir"):
        cli.prepare(options("--folder", tmp_path, "--results", tmp_path / "file" / "a"))
    cli.prepare(options("--folder", tmp_path))
    assert sorted(x.name for x in tmp_path.iterdir()) == ["file", "results"]
    path = tmp_path / "results" / "inr_frequency.jsonl"
    path.write_text('{"seed": 0}\n')
    with pytest.raises(DamagedError, match=rf"^{path}, line 1: expected an object with a 'seal'"):
        cli.prepare(options("--folder", tmp_path))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match=r"to: No space left on device; free some space$"):
        cli.prepare(options("--folder", tmp_path))


@pytest.fixture
def handlers():
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def kill(number):
    return lambda: os.kill(os.getpid(), number)


def fail(error):
    def main():
        raise error

    return main


ENDS = {
    "nothing": (lambda: None, 0, ""),
    "ctrl-c": (kill(signal.SIGINT), 130, "stopped (SIGINT)\n"),
    "sigterm": (kill(signal.SIGTERM), 143, "stopped (SIGTERM)\n"),
    "training": (fail(Interrupted("after step 5", signal.SIGTERM)), 143, "after step 5 (SIGTERM)"),
    "disk": (fail(OSError(errno.ENOSPC, "No space", "a")), "a: No space; free some space", ""),
    "permission": (
        fail(PermissionError(errno.EACCES, "Permission denied", "a")),
        "a: Permission denied; name folders you may write to, --folder and --results",
        "",
    ),
    "absent": (fail(FileNotFoundError("expected a zoo")), "expected a zoo", ""),
    "damaged": (fail(DamagedError("a was altered")), "a was altered", ""),
    "locked": (fail(LockedError("a is in use")), "a is in use", ""),
    "unfinished": (fail(UnfinishedError("2 blocks")), "2 blocks", ""),
}


@pytest.mark.parametrize("name", ENDS)
def test_whatever_can_be_mended_is_a_sentence(name, handlers, capsys):
    main, code, words = ENDS[name]
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(words)


@pytest.mark.parametrize("error", [ValueError("shapes"), TypeError("x"), RuntimeError("XLA")])
def test_mistakes_of_ours_keep_their_traceback(error, handlers):
    with pytest.raises(type(error)) as raised:
        cli.run(fail(error))
    assert raised.value is error


def test_what_is_read_for_an_option_is_a_sentence():
    read = lambda error: cli.reading("--files a")(fail(error))()
    with pytest.raises(SystemExit, match=r"^--files a: expected images, got 3$"):
        read(ValueError("expected images, got 3"))
    with pytest.raises(TypeError):
        read(TypeError("ours"))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_counts_are_positive(text):
    assert cli.positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number of at least 1, got"):
        cli.positive(text)

"""The list of commands."""

import pathlib

import pytest

from experiments import __main__ as listing


def test_every_command_and_every_preset_is_listed(capsys):
    listing.main([])
    out = capsys.readouterr().out
    for _, experiment in listing.EXPERIMENTS.values():
        for preset in experiment.PRESETS.values():
            assert preset.cost in out
    for path in pathlib.Path(listing.__file__).parent.glob("*.py"):
        if not path.name.startswith("__"):
            assert f"python -m experiments.{path.stem}" in out
    assert "python -m experiments.make.sine_zoo" in out
    assert "python -m experiments.benchmarks.encoder_steps" in out
    assert "python -m experiments.faults\n" in out


@pytest.mark.parametrize("prefix", ["", "experiments."])
def test_a_command_that_is_named_receives_the_arguments(capsys, tmp_path, prefix):
    for name in ("inr_frequency", "make.sine_zoo", "faults"):
        with pytest.raises(SystemExit) as stopped:
            listing.main([f"{prefix}{name}", "--no-such-flag"])
        assert stopped.value.code == 2
        printed = capsys.readouterr().err
        assert f"python -m experiments.{name}: error: unrecognized arguments" in printed


def test_an_unknown_command_is_one_sentence_with_the_names():
    with pytest.raises(SystemExit, match=r"^expected one of .*inr_frequency.* got 'inr_freq'$"):
        listing.main(["inr_freq"])


@pytest.mark.parametrize("name", listing.commands())
def test_every_command_ends_in_sentences(name):
    path = pathlib.Path(listing.__file__).parents[1] / name.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert path.read_text().endswith('if __name__ == "__main__":\n    cli.run(main)\n')

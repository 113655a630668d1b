"""The list of commands."""

import pathlib

from experiments import __main__ as listing


def test_every_command_and_every_preset_is_listed(capsys):
    listing.main()
    out = capsys.readouterr().out
    for _, presets in listing.EXPERIMENTS.values():
        for preset in presets.values():
            assert preset.cost in out
    for path in pathlib.Path(listing.__file__).parent.glob("*.py"):
        if not path.name.startswith("__"):
            assert f"python -m experiments.{path.stem}" in out
    assert "python -m experiments.make.sine_zoo" in out
    assert "python -m experiments.benchmarks.encoder_steps" in out

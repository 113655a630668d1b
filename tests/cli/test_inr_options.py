"""The convention of INRs on the command line: what is given, and nothing else."""

import dataclasses

import click
import pytest
from click.testing import CliRunner

from wsjax.cli.inr_options import OPTIONS, inrs
from wsjax.inr_folders import Convention


def received(*arguments):
    seen = []

    @click.command()
    @inrs
    def verb(**kwargs):
        seen.append(kwargs)

    result = CliRunner().invoke(verb, ["--with", "m", *arguments])
    return result, seen


@pytest.mark.parametrize(
    ("arguments", "convention"),
    [
        ((), {}),
        (("--coordinates", "0..1", "--black", "-1"), {"unit": True, "low": -1.0}),
        (("--coordinates", "-1..1", "--black", "0"), {"unit": False, "low": 0.0}),
        (("--omega", "30", "--first-omega", "60"), {"omega": 30.0, "first_omega": 60.0}),
        (("--offset", "0", "--indexing", "ij"), {"offset": 0.0, "indexing": "ij"}),
    ],
)
def test_only_what_is_given_is_received(arguments, convention):
    result, seen = received(*arguments)
    assert result.exit_code == 0, result.output
    assert seen == [{"model": "m", "anyway": False, "convention": convention}]
    Convention(**convention)


def test_every_setting_of_a_convention_is_an_option():
    fields = {f.name for f in dataclasses.fields(Convention)}
    assert {field for field, _, _ in OPTIONS.values()} == fields


def test_a_choice_that_there_is_not_is_clicks_error():
    result, seen = received("--indexing", "yx")
    assert result.exit_code == 2
    assert "'yx' is not one of 'xy', 'ij'" in result.output
    assert not seen

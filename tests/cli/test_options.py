import json

import click
import pytest
from click.testing import CliRunner

from wsjax.cli.options import configured


@click.command()
@configured
def verb(branch, config):
    click.echo(json.dumps([branch, config]))


def passed(*args):
    result = CliRunner().invoke(verb, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def refused(*args):
    result = CliRunner().invoke(verb, [str(a) for a in args])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.output.splitlines()[-1]


def test_nothing_given_is_none():
    assert passed() == [None, None]


def test_values_are_json_or_text():
    settings = ["omega=30", "activation=relu", "chain=true", 'order=["a", "b"]', "pool=a=b"]
    assert passed("--branch", "ema", *(x for s in settings for x in ("--set", s))) == [
        "ema",
        {"omega": 30, "activation": "relu", "chain": True, "order": ["a", "b"], "pool": "a=b"},
    ]
    assert passed("--set", "omega=NaN")[1] == {"omega": "NaN"}


def test_set_comes_before_the_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"omega": 1, "heads": 2}')
    assert passed("--config", file)[1] == {"omega": 1, "heads": 2}
    assert passed("--config", file, "--set", "omega=3")[1] == {"omega": 3, "heads": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "not JSON"), ("[1]", "JSON object, got a list"), ('{"a": 1, "a": 2}', "twice")],
)
def test_a_broken_file_is_one_sentence(tmp_path, text, expected):
    file = tmp_path / "config.json"
    file.write_text(text)
    message = refused("--config", file)
    assert expected in message
    assert str(file) in message


def test_a_missing_file_is_named(tmp_path):
    assert "No such file" in refused("--config", tmp_path / "absent.json")
    assert "neither" in refused("--config", tmp_path)


@pytest.mark.parametrize("text", ["activation", "=relu"])
def test_a_setting_without_key_or_value_is_named(text):
    assert f"--set {text}: expected KEY=VALUE" in refused("--set", text)


def test_a_setting_is_given_once():
    assert "expected it once" in refused("--set", "omega=1", "--set", "omega=2")


@pytest.mark.parametrize(
    ("text", "nearest", "among"),
    [
        ("activaton=relu", "activation", "head_dim"),
        ("activation=rleu", "relu", "silu"),
        ("flatten=lst", "last", "first"),
    ],
)
def test_a_setting_that_is_not_known_is_refused_with_the_nearest(text, nearest, among, tmp_path):
    message = refused("--set", text)
    assert text.partition("=")[0] in message
    assert f"did you mean {nearest!r}?" in message
    assert among in message
    file = tmp_path / "config.json"
    key, _, value = text.partition("=")
    file.write_text(json.dumps({key: value}))
    assert f"did you mean {nearest!r}?" in refused("--config", file)
    file.write_text(json.dumps({key: value, "model_type": "bert"}))  # Hugging Face's has many more
    assert passed("--config", file)[1][key] == value
    assert f"did you mean {nearest!r}?" in refused("--config", file, "--set", text)


def test_an_error_of_unknown_activations_names_the_remedy():
    @click.command()
    @configured
    def fails(branch, config):
        raise ValueError("0: expected an activation of ['relu'], got 'other'")

    notes = lambda *args: getattr(CliRunner().invoke(fails, args).exception, "__notes__", [])
    assert "--set activation=relu states them" in notes()[0]
    assert notes("--set", "activation=tanh") == []

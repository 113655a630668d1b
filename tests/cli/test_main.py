"""How a verb ends: what a user can mend is one sentence, and the exit code says which kind."""

import importlib.metadata
import json
import os
import re
import runpy
import signal
import sys
import types

import click
import pytest
from click.testing import CliRunner

from wsjax.cli import main as commands
from wsjax.cli.main import VERBS, main
from wsjax.cli.output import Page, RefusedError, command_line, reports
from wsjax.storage import LockedError


@pytest.fixture
def verb(monkeypatch):
    """Makes `wsjax inspect` call a function."""

    def place(function):
        inspect = click.command("inspect")(reports(click.argument("path", default="a")(function)))
        monkeypatch.setitem(
            sys.modules, "wsjax.cli.inspect", types.SimpleNamespace(inspect=inspect)
        )

    return place


def raising(error):
    def function(path):
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("expected a, got b"), 2, "expected a, got b"),
        (FileNotFoundError(2, "No such file or directory", "a\x1b[2J"), 2,
         r"a\x1b[2J: No such file or directory"),
        (ImportError("install h5py"), 2, "install h5py"),
        (LockedError("in use by process 7"), 2, "in use by process 7"),
        (FloatingPointError("the loss is NaN in step 3"), 2, "the loss is NaN in step 3"),
        (MemoryError(), 2, "not enough memory"),
        (RefusedError("out of the domain"), 3, "out of the domain"),
        (KeyboardInterrupt(), 130, "stopped (SIGINT)"),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_an_error_is_a_sentence_and_a_code(verb, error, code, text):
    verb(raising(error))
    result = CliRunner().invoke(main, ["inspect"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"wsjax: {text}\n", "")
    result = CliRunner().invoke(main, ["inspect", "--json"])
    assert (result.exit_code, result.stderr) == (code, f"wsjax: {text}\n")
    assert json.loads(result.stdout) == {"error": text, "code": code}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["inspect"], "Missing argument 'FILE'."),
        (["inspect", "net", "--set", "heads"], "--set heads: expected KEY=VALUE, such as"),
        (["inspekt"], "No such command 'inspekt'"),
        (["inspect", "net", "--nope"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_json_too(words, text):
    result = CliRunner().invoke(main, [*words, "--json"])
    error = json.loads(result.stdout)
    assert (result.exit_code, error["code"]) == (2, 2)
    assert text in error["error"]
    assert text in result.stderr
    assert CliRunner().invoke(main, words).stdout == ""


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_a_line_each(verb):
    text = CliRunner().invoke(main, [verb, "--help"], terminal_width=100).output
    assert f"\n    wsjax {verb} " in text
    assert "\\b" not in text
    assert not re.search(r"\S +wsjax \w+ \S*[./]", text)  # two examples folded into one line


def test_a_mistake_of_ours_keeps_its_traceback(verb):
    verb(raising(KeyError("x")))
    assert isinstance(CliRunner().invoke(main, ["inspect"]).exception, KeyError)


def test_a_reader_that_leaves_is_no_error(verb):
    verb(raising(BrokenPipeError(32, "Broken pipe")))
    result = CliRunner().invoke(main, ["inspect", "--json"])
    assert (result.exit_code, result.output) == (128 + signal.SIGPIPE, "")


def test_a_request_to_end_is_an_interrupt(verb):
    before = signal.getsignal(signal.SIGTERM)
    verb(lambda path: os.kill(os.getpid(), signal.SIGTERM))
    result = CliRunner().invoke(main, ["inspect"])
    assert (result.exit_code, result.stderr) == (143, "wsjax: stopped (SIGTERM)\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_usage_is_clicks_own():
    result = CliRunner().invoke(main, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.stderr


def test_a_page_ends_with_its_code_and_its_command_line(verb):
    verb(lambda path: Page(command_line(), {}, code=1))
    result = CliRunner().invoke(main, ["inspect", "my net.pt"], prog_name="wsjax")
    assert (result.exit_code, result.stdout) == (1, "wsjax inspect 'my net.pt'\n")


def test_help_lists_every_verb_and_imports_none(monkeypatch):
    monkeypatch.setattr(commands.importlib, "import_module", raising(AssertionError("an import")))
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert [f"{name} {line}" in words for name, line in commands.VERBS.items()] == [True] * 12


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_is_known_of_a_source_tree_too(monkeypatch, installed):
    def find(name):
        assert name == "wsjax"
        if not installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "7.8.9"

    monkeypatch.setattr(importlib.metadata, "version", find)
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"wsjax {'7.8.9' if installed else 'of a source tree'}\n"


def test_the_package_runs_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["python -m wsjax", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("wsjax", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: wsjax [OPTIONS]")

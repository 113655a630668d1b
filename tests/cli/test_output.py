"""One page, three outlets: each complete, each harmless whatever names a file holds."""

import io
import json
import math
import pathlib
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

from wsjax.cli import output
from wsjax.cli.output import ARGUMENTS, GATE, REFUSED, Page, Table, reports

HOSTILE = "[red]a[/red] :warning: \x1b[31mb\u202egnp.exe"
INERT = r"[red]a[/red] :warning: \x1b[31mb\u202egnp.exe"
TABLE = Table(
    "By array",
    ("name", "shape", "mean"),
    ((HOSTILE, "[32, 2]", 0.123456), ("b", "[]", None), ("c", "[1]", -12345.6)),
    "a note",
)


class Terminal(io.StringIO):
    """A terminal; rich asks whether it is one."""

    def isatty(self):
        return True


def printed(monkeypatch, page, columns, **environment):
    """The text that a terminal of so many columns receives, None for a pipe."""
    stream = Terminal() if columns else io.StringIO()
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        output.show(page)
    assert ended.value.code == page.code
    return stream.getvalue()


def test_a_pipe_receives_one_line_a_row_without_colour(monkeypatch):
    long = "layer." * 60 + "weight"
    page = Page("It fits", {}, ("words", Table("", ("name", "n"), ((long, 3), ("b", 12345)))))
    lines = printed(monkeypatch, page, None).splitlines()
    assert lines[0] == "It fits"
    assert f"{long}       3" in lines
    assert f"b{' ' * (len(long) - 1)}  12,345" in lines
    assert "\x1b" not in "".join(lines)
    assert not [x for x in lines if x != x.rstrip()]


def test_a_terminal_receives_colour_unless_it_is_declined(monkeypatch):
    page = Page("Refused", {}, (TABLE,), REFUSED)
    assert "\x1b[1;33mRefused" in printed(monkeypatch, page, 80)
    plain = printed(monkeypatch, page, 80, NO_COLOR="1")
    assert "Refused" in plain
    assert "33m" not in plain


@pytest.mark.parametrize("columns", [None, 120, 60, 24])
def test_names_are_inert(monkeypatch, columns):
    text = printed(monkeypatch, Page(HOSTILE, {}, (HOSTILE, TABLE)), columns, NO_COLOR="1")
    for codes in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):  # bold and faint, ours
        text = text.replace(codes, "")
    assert "\x1b" not in text
    assert "\u202e" not in text
    joined = "".join(text.split())  # however it is folded
    assert [joined.count(word) for word in INERT.split()] == [3, 3, 3]


def test_a_table_that_does_not_fit_is_one_block_a_row(monkeypatch):
    wide = printed(monkeypatch, Page("x", {}, (TABLE,)), 100, NO_COLOR="1").splitlines()
    narrow = printed(monkeypatch, Page("x", {}, (TABLE,)), 30, NO_COLOR="1").splitlines()
    heading = next(line for line in wide if "shape" in line)
    assert "name" in heading
    assert "mean" in heading
    assert any(line.split() == ["b", "[]", "–"] for line in wide)
    strip = lambda x: x.replace("\x1b[2m", "").replace("\x1b[0m", "").split()
    assert ["mean", "-12,346"] in [strip(x) for x in narrow]
    assert max(len(x.replace("\x1b[2m", "").replace("\x1b[0m", "")) for x in narrow) <= 30


def test_numbers_are_never_folded(monkeypatch):
    table = Table("", ("name", "count"), (("w" * 200, 123456789),))
    assert "123,456,789" in printed(monkeypatch, Page("x", {}, (table,)), 50)


def test_a_column_of_numbers_is_set_to_the_right():
    rows = ((1, None, np.float32(2.0), "a", True), (2.5, 3, None, 4, False))
    assert Table("", tuple("abcde"), rows).right == (True, True, True, False, False)


def test_rows_are_as_long_as_headings():
    with pytest.raises(ValueError, match=r"'t': expected rows of 2 cells, got \{1\}"):
        Table("t", ("a", "b"), ((1,),))


def test_names_of_an_encoding_that_lacks_them_are_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit):
        output.show(Page("größe", {}, (Table("", ("n",), ((None,),)),)))
    assert rb"gr\xf6\xdfe" in stream.buffer.getvalue()


def test_a_reader_that_leaves_is_reported_as_such(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        output.show(Page("x", {}, (TABLE,)))


def test_json_is_valid_and_keeps_names():
    data = {
        "names": ("a\x1b[31m\u202e", "größe"),
        "values": np.array([1.0, np.nan, np.inf], np.float32),
        "nested": {1: math.nan, "set": {2, 1}},
        "count": np.int64(3),
        "path": pathlib.PurePosixPath("a/b"),
        "flags": (True, None),
    }
    result = CliRunner().invoke(command(Page("x", data, code=GATE)), ["--json"])
    assert result.exit_code == GATE
    assert result.output.isascii()
    assert "\x1b" not in result.output

    def constant(name):
        raise AssertionError(name)

    assert json.loads(result.output, parse_constant=constant) == {
        "names": ["a\x1b[31m\u202e", "größe"],
        "values": [1.0, None, None],
        "nested": {"1": None, "set": [1, 2]},
        "count": 3,
        "path": "a/b",
        "flags": [True, None],
    }


def command(page):
    """A verb that gives a page, or raises."""

    @click.command()
    @reports
    def verb():
        if isinstance(page, Exception):
            raise page
        return page

    return verb


def test_html_is_written_beside_what_is_printed(tmp_path):
    path = tmp_path / "report.html"
    for headline in ("first", "second"):  # which replaces the first
        result = CliRunner().invoke(command(Page(headline, {})), ["--html", str(path)])
        assert result.exit_code == 0
        assert result.stdout == f"{headline}\n"
        assert f"<h1>{headline}</h1>" in path.read_text()


def test_html_replaces_no_other_file(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    for place, words in [(weights, "no page"), (tmp_path, "a file"), (tmp_path / "a/b", "a file")]:
        never = command(AssertionError("the command ran"))
        result = CliRunner().invoke(never, ["--html", str(place)])
        assert isinstance(result.exception, ValueError)
        assert words in str(result.exception)
    assert weights.read_bytes() == b"weights"


def test_the_command_line_is_quoted_and_hides_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert output.command_line() == ""
    with click.Context(click.Command("wsjax"), info_name="wsjax") as context:
        context.meta[ARGUMENTS] = ("inspect", "/home/ada/my nets/a.pt", "/home/adam", "a;b")
        assert output.command_line() == "wsjax inspect ~'/my nets/a.pt' /home/adam 'a;b'"


def test_notes_are_part_of_the_sentence():
    error = OSError(28, "No space left", "a\x1b")
    error.add_note("free some")
    assert output.sentence(error) == r"a\x1b: No space left; free some"
    assert output.sentence(KeyError()) == "KeyError"

"""The results of a verb as tables, as JSON, or as one HTML page.

page = Page("2 networks, the same function", {"verdict": "symmetric"}, (table, picture))
show(page, as_json, html)      prints it, writes the HTML page, ends the process with `page.code`
"""

import dataclasses
import errno
import functools
import itertools
import json
import math
import numbers
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

from wsjax.checks import printable

FINE, GATE, UNREADABLE, REFUSED = 0, 1, 2, 3  # exit codes
BEGINS = b"<!doctype html>"  # every page of `html.document`
ARGUMENTS = "wsjax.arguments"  # of the command line, in click's `Context.meta`
PRINTED = "wsjax.printed"  # there, too: the page that was printed early
FOLDED = 16  # characters of a line, at least, of a text that is folded in a column
WITHOUT_END = 1 << 16  # characters of a line where no terminal is
Command = Callable[..., Any]


class RefusedError(ValueError):
    """A request that is understood, and would not give a result to rely on.

    Attributes:
        code: the exit code of the command line.
    """

    code = REFUSED


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: above it; "" for none.
        columns: their headings.
        rows: of cells, see `cell`; numbers are set to the right.
        note: below it; "" for none.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""

    def __post_init__(self):
        if wrong := {len(row) for row in self.rows} - {len(self.columns)}:
            raise ValueError(
                f"table {self.title!r}: expected rows of {len(self.columns)} cells, got {wrong}"
            )

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether each column holds numbers, beside dashes."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        numeric = lambda cells: all(is_number(x) or x is None for x in cells)
        return tuple(any(map(is_number, x)) and numeric(x) for x in columns)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the HTML page.

    Attributes:
        title: above it.
        png: the file's bytes.
        alt: what it shows, in words.
    """

    title: str
    png: bytes
    alt: str


@dataclasses.dataclass(frozen=True)
class Page:
    """The result of a verb.

    Attributes:
        headline: the answer in one line.
        data: the same as plain values, for `--json`; keys are stable.
        parts: tables, pictures and paragraphs in order.
        code: of the process.
    """

    headline: str
    data: Mapping[str, Any]
    parts: tuple[Table | Picture | str, ...] = ()
    code: int = FINE


def reports(command: Callable[..., Page]) -> Command:
    """Adds `--json` and `--html` to a command, whose function then returns a `Page`.

    The place of the HTML page is checked before the command runs.
    """

    @functools.wraps(command)
    def run(*args, as_json: bool, html: pathlib.Path | None, **kwargs):
        if html is not None:
            _expect_place(html)
        show(command(*args, **kwargs), as_json, html)

    out = click.option("--html", type=click.Path(path_type=pathlib.Path), metavar="FILE",
                       help="Also write one self-contained HTML page.")(run)  # fmt: skip
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(out)


def show(page: Page, as_json: bool = False, html: pathlib.Path | None = None) -> NoReturn:
    """Prints a page, writes the HTML if a path is given, and ends the process."""
    if html is not None:
        from wsjax import storage
        from wsjax.cli.html import document

        storage.write_bytes(html, document(page, command_line()).encode())
    if as_json:
        print(json.dumps(plain(page.data)))  # ASCII: no character acts on a terminal
    else:
        context = click.get_current_context(silent=True)
        _print(page, context.meta.get(PRINTED) if context else None)
    sys.stdout.flush()  # here, where an error is still a sentence
    sys.exit(page.code)


def early(page: Page) -> None:
    """Prints the beginning of a page while its verb goes on; `show` adds what is missing.

    With `--json` nothing is printed before the end.
    """
    context = click.get_current_context()
    if not context.params["as_json"]:
        _print(page)
        sys.stdout.flush()
        context.meta[PRINTED] = page


def command_line() -> str:
    """The command that runs, as it would be typed, `~` for the home folder; "" outside of one."""
    context = click.get_current_context(silent=True)
    if context is None:
        return ""
    root = context.find_root()
    words = [root.info_name or "wsjax", *root.meta.get(ARGUMENTS, ())]
    home, quoted = os.path.expanduser("~").rstrip("/"), []
    for word in words:
        inside = home and (word == home or word.startswith(f"{home}/"))
        quoted.append(f"~{shlex.quote(word[len(home) :])}" if inside else shlex.quote(word))
    return " ".join(quoted)


def version() -> str:
    """The version of wsjax that is installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version("wsjax")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree"


def _expect_place(html: pathlib.Path) -> None:
    """Raises unless a page can be written there, in place of nothing but another page."""
    if html.is_dir() or not html.absolute().parent.is_dir():
        raise ValueError(f"--html: expected a file in a folder that exists, got {html}")
    if html.exists():
        with open(html, "rb") as file:
            if file.read(len(BEGINS)) != BEGINS:
                raise ValueError(f"--html: {html} exists and is no page of wsjax; name another")


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinity are null, arrays lists, sets sorted.

    >>> import numpy as np
    >>> plain({"scores": np.array([1.5, np.nan]), 3: {"b", "a"}})
    {'scores': [1.5, None], '3': ['a', 'b']}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(x) for k, x in value.items()}
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=str)
    return [plain(x) for x in value] if isinstance(value, (list, tuple)) else str(value)


def cell(value: Any) -> str:
    """A cell as text: four digits of a number, a dash for None.

    >>> [cell(x) for x in (0.91234, 1234567, 54321.9, 1e-9, None, True, "net.0")]
    ['0.9123', '1,234,567', '54,322', '1e-09', '–', 'yes', 'net.0']
    """
    if hasattr(value, "dtype") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def is_number(value: Any) -> bool:
    """Whether a cell is a number, which is set to the right."""
    real = isinstance(value, numbers.Real) or (hasattr(value, "dtype") and value.dtype.kind in "fi")
    return real and not isinstance(value, bool)


def sentence(error: BaseException) -> str:
    """An error in words, without the type; what does not print is escaped, line by line."""
    if isinstance(error, OSError) and error.strerror:
        words = ": ".join(str(x) for x in (error.filename, error.strerror) if x)
    else:
        words = str(error) or type(error).__name__
    text = "; ".join([words, *getattr(error, "__notes__", ())])
    return "\n".join(map(printable, text.split("\n")))


def code_of(error: BaseException) -> int:
    """The exit code of an error."""
    return getattr(error, "code", UNREADABLE)


def _print(page: Page, printed: Page | None = None) -> None:
    """Prints for people: as wide as the terminal, and one line a row where there is none.

    What was printed before, as a part of another page, is left out.
    """
    from rich.console import Console
    from rich.text import Text

    getattr(sys.stdout, "reconfigure", lambda **_: None)(errors="backslashreplace")

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # which would end the process with 1
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    console = Piped(highlight=False, markup=False, emoji=False)
    piped = not console.is_terminal and "COLUMNS" not in os.environ
    console.width = WITHOUT_END if piped else console.width
    put = lambda text, style="": console.print(Text(text, style))
    style = {FINE: "bold", REFUSED: "bold yellow"}.get(page.code, "bold red")
    if printed is None or page.headline != printed.headline:
        put(printable(page.headline), style)
    after_table = False
    for part in page.parts:
        if isinstance(part, Picture) or (printed is not None and part in printed.parts):
            continue
        if after_table or isinstance(part, Table):
            put("")
        after_table = isinstance(part, Table)
        if isinstance(part, str):
            put("\n".join(map(printable, part.split("\n"))))
            continue
        if part.title:
            put(printable(part.title), "bold")
        for line in _lines(part, console):
            line.rstrip()
            console.print(line)
        if part.note:
            put(printable(part.note), "dim")


def _lines(table: Table, console: Any) -> list:
    """A table as rich's lines; a block for each row where its columns do not fit."""
    from rich.table import Table as Grid
    from rich.text import Text

    heads = list(map(printable, table.columns))
    cells = [list(map(cell, row)) for row in table.rows]
    size = lambda text: Text(text).cell_len
    natural = [max(map(size, column)) for column in zip(heads, *cells, strict=True)]
    least = [n if r else min(n, FOLDED) for n, r in zip(natural, table.right, strict=True)]
    if sum(least) + 2 * len(least) - 2 <= console.width:
        grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for head, n, r in zip(heads, least, table.right, strict=True):
            side = "right" if r else "left"
            grid.add_column(Text(head), justify=side, min_width=n, no_wrap=r, overflow="fold")
        rows = cells
    else:
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        blocks = ([("", ""), *zip(heads, row, strict=True)] for row in cells)
        rows = list(itertools.chain.from_iterable(blocks))[1:]
    for row in rows:
        grid.add_row(*map(Text, row))
    lines = console.render_lines(grid, pad=False)
    return [Text.assemble(*((part.text, part.style or "") for part in line)) for line in lines]

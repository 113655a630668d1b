"""What a verb found, as tables, as JSON, or as one HTML page.

page = Page("2 networks, the same function", {"verdict": "symmetric"}, (table, picture))
show(page, options)      prints it, writes --html, ends the process with `page.code`
"""

import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import click

from wsjax.checks import printable

FINE, GATE, UNREADABLE, REFUSED = 0, 1, 2, 3  # exit codes
PRINTED = "wsjax.printed"  # of a context's `meta`: the page that was printed early
Command = TypeVar("Command", bound=Callable)


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
        rows: of cells; numbers are set to the right, with four digits.
        note: below it; "" for none.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


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
    """What a verb found.

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


def shown(command: Command) -> Command:
    """Adds `--json` and `--html` to a command, whose function then returns a `Page`."""
    import functools

    @functools.wraps(command)
    def run(*args, as_json: bool, html: pathlib.Path | None, **kwargs):
        show(command(*args, **kwargs), as_json, html)

    out = click.option("--html", type=click.Path(path_type=pathlib.Path), metavar="FILE",
                       help="Also write one self-contained HTML page.")(run)  # fmt: skip
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(out)


def show(page: Page, as_json: bool = False, html: pathlib.Path | None = None) -> NoReturn:
    """Prints a page, writes the HTML if a path is given, and ends the process."""
    if html is not None:
        from wsjax import storage
        from wsjax.cli.html import document

        storage.write_bytes(html, document(page).encode())
    if as_json:
        print(json.dumps(plain(page.data), ensure_ascii=False))
    else:
        context = click.get_current_context(silent=True)
        _print(page, context.meta.get(PRINTED) if context else None)
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


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinity are null, arrays lists, names printable."""
    if isinstance(value, Mapping):
        return {printable(str(k)): plain(x) for k, x in value.items()}
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(x) for x in value]
    return printable(str(value))


def cell(value: Any) -> str:
    """A cell as text: four digits of a number, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, float) or hasattr(value, "dtype"):
        return f"{float(value):.4g}"
    return f"{value:,}" if type(value) is int else printable(str(value))


def is_number(value: Any) -> bool:
    """Whether a cell is set to the right."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def sentence(error: BaseException) -> str:
    """An error in words, without the type."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(x) for x in (error.filename, error.strerror) if x)
    return str(error) or type(error).__name__


def _print(page: Page, printed: Page | None = None) -> None:
    """Prints a page without the parts of one that was printed before it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if printed is None or page.headline != printed.headline:
        console.print(escape(printable(page.headline)), style="bold")
    for part in page.parts:
        if printed and part in printed.parts:
            continue
        if isinstance(part, str):
            console.print(escape(printable(part)))
        if not isinstance(part, Table):
            continue
        table = RichTable(title=escape(part.title) or None, title_justify="left", box=None)
        for i, heading in enumerate(part.columns):
            right = any(is_number(row[i]) for row in part.rows)
            table.add_column(escape(heading), justify="right" if right else "left", overflow="fold")
        for row in part.rows:
            table.add_row(*(escape(cell(x)) for x in row))
        console.print(table)
        if part.note:
            console.print(escape(part.note))

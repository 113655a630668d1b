"""The verbs of the command line; a verb's module is imported when the verb runs."""

import contextlib
import importlib
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import click

from wsjax.cli.output import ARGUMENTS, UNREADABLE, code_of, sentence, version
from wsjax.storage import LockedError

# verb -> its line in `wsjax --help`; the verb is the command of that name in `wsjax/cli/VERB.py`
VERBS: dict[str, str] = {
    "inspect": "What a weights file holds, its structure, and what is wrong with it.",
    "verify": "Integrity and structure alone, for continuous integration.",
    "diff": "Two networks compared, also after their symmetries are matched.",
    "match": "A copy of a network with its neurons in the order of another's.",
    "merge": "The average of two networks after matching.",
    "embed": "A vector for each network of a folder, neighbours, duplicates, a map.",
    "fit": "Train a predictor of a label on a folder of networks.",
    "predict": "Predict the label of networks, with an interval, or refuse.",
    "rank": "Order the networks of a folder by prediction, with ties.",
    "classify": "The class of the image that each INR of a folder represents.",
    "edit": "INRs changed by an editor, and how they look.",
    "audit": "Which symmetries a trained encoder respects.",
}


class Verbs(click.Group):
    """A group that imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of `VERBS`."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; None if there is none of that name."""
        if cmd_name not in VERBS:
            return None
        return getattr(importlib.import_module(f"wsjax.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the command line for the report."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Runs a verb; what a user can mend is one sentence on stderr, without a traceback.

        Those are a `ValueError`, `OSError`, `ImportError`, `LockedError`, NaN in training and
        too little memory: the exit code is 2, or the error's own. Ctrl-C and SIGTERM end it with
        130 and 143, a reader that has left, such as `head`, with 141. Any other exception is a
        mistake of ours and keeps its traceback. With `--json`, the sentence and the code are also
        {"error": sentence, "code": code} on standard output; those of a wrong command line, too.
        """
        try:
            with _terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            number = signal.Signals(getattr(error, "signum", signal.SIGINT))
            return _end(ctx, f"{str(error) or 'stopped'} ({number.name})", 128 + number)
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):  # a stream of no file
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except click.ClickException as error:
            _put(ctx, error.format_message(), error.exit_code)
            raise
        except MemoryError as error:
            return _end(ctx, f"not enough memory: {error}".removesuffix(": "), UNREADABLE)
        except (ValueError, OSError, ImportError, FloatingPointError, LockedError) as error:
            return _end(ctx, sentence(error), code_of(error))


def _end(ctx: click.Context, text: str, code: int) -> NoReturn:
    _put(ctx, text, code)
    click.echo(f"wsjax: {text}", err=True)
    sys.exit(code)


def _put(ctx: click.Context, text: str, code: int) -> None:
    """The error as JSON, if the command line has the option."""
    options = itertools.takewhile(lambda word: word != "--", ctx.meta[ARGUMENTS])
    if "--json" in options:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"error": text, "code": code}), flush=True)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which clusters send, as a `KeyboardInterrupt` with its `signum`."""

    def interrupt(number, _):
        error = KeyboardInterrupt()
        setattr(error, "signum", number)  # noqa: B010
        raise error

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"wsjax {version()}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Print the version and exit.")  # fmt: skip
def main() -> None:
    """Read, compare, match and embed trained networks, and predict their accuracy.

    Exit codes: 0 fine, 1 a gate failed, 2 unreadable, 3 refused.

    Completion for bash: eval "$(_WSJAX_COMPLETE=bash_source wsjax)"
    """

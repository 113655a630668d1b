"""The verbs of the command line; a verb's module is imported when the verb runs."""

import importlib
import sys

import click

from wsjax.cli.output import UNREADABLE, sentence

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

    def invoke(self, ctx: click.Context) -> object:
        """Runs a verb; what a user can mend is one sentence on stderr, without a traceback."""
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, ImportError) as error:
            click.echo(f"wsjax: {sentence(error)}", err=True)
            sys.exit(getattr(error, "code", UNREADABLE))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wsjax")
def main() -> None:
    """Read, compare, match and embed trained networks, and predict their accuracy.

    Exit codes: 0 fine, 1 a gate failed, 2 unreadable, 3 refused.

    Completion for bash: eval "$(_WSJAX_COMPLETE=bash_source wsjax)"
    """

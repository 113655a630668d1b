"""Options and output that `diff`, `match` and `merge` share."""

import pathlib
import sys

import click

from wsjax.cli.options import expect_free
from wsjax.cli.output import Command


def limited(command: Command) -> Command:
    """Adds `--limit-gb` and `--limit-minutes`, passed as `gigabytes` and `minutes`."""
    for option in (
        click.option("--limit-minutes", "minutes", type=click.FloatRange(0), default=60.0,
                     show_default=True, help="Time that matching may take, by estimate."),
        click.option("--limit-gb", "gigabytes", type=click.FloatRange(0), default=8.0,
                     show_default=True, help="Memory that matching may take, by estimate."),
    ):  # fmt: skip
        command = option(command)
    return command


def written(command: Command) -> Command:
    """Adds `-o` and `--force`, passed as `output` and `force`."""
    for option in (
        click.option("--force", is_flag=True, help="Overwrite the output."),
        click.option("-o", "--output", required=True, metavar="FILE",
                     type=click.Path(path_type=pathlib.Path),
                     help="To write: .safetensors or .npz."),
    ):  # fmt: skip
        command = option(command)
    return command


def check_output(output: pathlib.Path, force: bool, *sources: str) -> None:
    """Raises a usage error unless the output can be written and is none of the sources."""
    from wsjax.comparison.merging import check_ending

    try:
        check_ending(output)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    expect_free(output, force, *sources)


def step(text: str) -> None:
    """Prints a step of a long run, where a person watches."""
    if sys.stderr.isatty():
        click.echo(f"{text} ...", err=True)

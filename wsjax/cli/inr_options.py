"""The options of verbs that read INRs: how they were fitted, and the model."""

import functools
from typing import Any

import click

from wsjax.cli.output import Command

OPTIONS = {  # name -> its field of `inr_folders.Convention`, its type, its words
    "--omega": ("omega", float, "Factor inside each sine."),
    "--first-omega": ("first_omega", float, "That of the first layer, where it is another."),
    "--indexing": ("indexing", click.Choice(["xy", "ij"]),
                   "xy: the first coordinate runs along a row of pixels; ij: down a column."),
    "--coordinates": ("unit", click.Choice(["-1..1", "0..1"]), "Range of the coordinates."),
    "--offset": ("offset", float, "Added to the output."),
    "--black": ("low", click.Choice(["-1", "0"]), "The value of black; that of white is 1."),
}  # fmt: skip


def inrs(command: Command) -> Any:
    """Adds `--with`, `--anyway` and the convention of the files to a command.

    The function receives `model`, `anyway` and `convention: dict`, the fields of an
    `inr_folders.Convention` that the command line gives; the others are as the model's.
    """

    @functools.wraps(command)
    def run(*args, **kwargs):
        given = {field: kwargs.pop(field) for field, _, _ in OPTIONS.values()}
        given = {k: x for k, x in given.items() if x is not None}
        if "unit" in given:
            given["unit"] = given["unit"] == "0..1"
        if "low" in given:
            given["low"] = float(given["low"])
        return command(*args, convention=given, **kwargs)

    for name, (field, kind, words) in reversed(OPTIONS.items()):
        run = click.option(name, field, type=kind, help=f"{words} As the model's if not given.")(
            run
        )
    words = "Also of networks out of the domain, whose results mean little."
    run = click.option("--anyway", is_flag=True, help=words)(run)
    words = "A trained model: its folder, or the name of a pretrained one."
    return click.option("--with", "model", required=True, metavar="MODEL", help=words)(run)

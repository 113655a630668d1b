"""Options that several verbs take."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import click

with_predictor = click.option(
    "--with",
    "model",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    metavar="MODEL",
    help="A model folder, as `wsjax fit` writes it, or the name of a pretrained predictor.",
)


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--branch`, `--set` and `--config` to a command, as `files.load` and `recognize` do.

    The function receives `branch: str | None` and `config: dict | None`; of one key, `--set` comes
    before the file. None is neither of them. Settings that are not known are refused, but for those
    of Hugging Face's file.
    """

    @functools.wraps(command)
    def run(*args, settings: tuple[str, ...], config_file: pathlib.Path | None, **kwargs):
        config = None if config_file is None else _expected(_read(config_file), config_file)
        if settings:
            config = {**(config or {}), **_parsed(settings)}
        try:
            return command(*args, config=config, **kwargs)
        except ValueError as error:
            if "'other'" in str(error) and "activation" not in (config or {}):
                error.add_note("'other': weights do not hold activations, --set activation=relu "
                               "states them (of INRs activation=sin and omega=30)")  # fmt: skip
            raise

    for option in (
        click.option("--config", "config_file", metavar="FILE.json",
                     type=click.Path(path_type=pathlib.Path),
                     help="Such settings in a file, as Hugging Face's config.json."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                     help="A setting that weights do not hold: activation=relu. Repeatable."),
        click.option("--branch", metavar="NAME",
                     help="The part of the file that is the network, such as ema."),
    ):  # fmt: skip
        run = option(run)
    return run


def expect_free(output: pathlib.Path, force: bool, *sources: str | pathlib.Path) -> None:
    """Raises a usage error unless a file can be written that is none of the sources.

    Args:
        output: to write.
        force: whether it may replace a file.
        sources: that are read, files or folders of networks.
    """
    for source in map(pathlib.Path, sources):
        inside = source.is_dir() and source.resolve() in output.resolve().parents
        if inside or (output.exists() and source.exists() and output.samefile(source)):
            raise click.UsageError(f"{output}: is one of the networks, and never overwritten")
    if output.exists() and not force:
        raise click.UsageError(f"{output}: exists; --force overwrites it")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"{output}: expected a folder at {output.parent}, there is none")


def _read(path):
    from wsjax.files.checkpoint import FileFormatError, Limits
    from wsjax.files.disk import BytesOf
    from wsjax.files.json_text import json_file

    try:
        with BytesOf(path) as file:
            return json_file(file, "its text", Limits())
    except FileFormatError as error:
        raise click.UsageError(f"--config {path}: {error}") from error
    except OSError as error:
        raise click.UsageError(f"--config {path}: {error.strerror or error}") from error


def _expected(config, path):
    """The config of a file; of one's own, every setting must be known."""
    from wsjax.settings import HUGGING_FACE, unknown

    if not HUGGING_FACE & set(config) and (wrong := unknown(config)):
        raise click.UsageError(f"--config {path}: {'; '.join(wrong)}")
    return config


def _parsed(settings):
    from wsjax.settings import unknown

    config = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--set {text}: expected KEY=VALUE, such as activation=relu")
        if key in config:
            raise click.UsageError(f"--set {key}: expected it once, got it twice")
        config[key] = _value(value)
    if wrong := unknown(config):
        raise click.UsageError(f"--set {'; '.join(wrong)}")
    return config


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # a text without its quotation marks
        return text


def _no_constant(word):
    raise ValueError(f"{word} is no number of JSON")

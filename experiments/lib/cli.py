"""The command line that the experiments share.

    --preset laptop --methods sne,gmn --seeds 3 --set training.steps=100,encoder.chunk=8
    --encoder my_module:MyEncoder --set encoder.width=64

`--set` takes every field of `training.Settings`, of the experiment's objective and of the
encoders of the selected methods; `--settings` lists them.
"""

import argparse
import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from experiments.lib import records, settings
from experiments.lib.methods import Method, Preset
from wsjax import training
from wsjax.encoders.registry import encoder_class
from wsjax.storage import DamagedError, LockedError
from wsjax.training.log import append_records
from wsjax.zoos.factory import UnfinishedError

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "name folders you may write to, --folder and --results",
    errno.EPERM: "name folders you may write to, --folder and --results",
    errno.EROFS: "name folders that can be written to, --folder and --results",
}


class Listed(SystemExit):
    """The end of a command that was to list its runs, `--dry-run`; the exit code is 0.

    Attributes:
        options: the command line.
        preset: that it selects.
        methods: those that it selects, with their settings.
    """

    def __init__(self, options: argparse.Namespace, preset: Preset, methods: Mapping[str, Method]):
        super().__init__(0)
        self.options, self.preset, self.methods = options, preset, methods


def run(main: Callable[[], object]) -> NoReturn:
    """Runs a command and ends its process; whatever a user can mend is a sentence on stderr.

    Those are `OSError` (a full disk, a folder that cannot be written, no network), `DamagedError`,
    `LockedError` and `UnfinishedError`: exit code 1. Ctrl-C and SIGTERM, which clusters send,
    raise a `KeyboardInterrupt`, whose sentence says what is kept: 130 and 143. Any other exception
    is a mistake of ours and keeps its traceback; a `ValueError` about what the command line names
    is a `SystemExit` where that is read, see `reading`.
    """
    came = [signal.SIGINT]

    def interrupt(number, _):
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        main()
        sys.stdout.flush()
        code: int | str = 0
    except KeyboardInterrupt as error:
        number = signal.Signals(getattr(error, "signum", came[-1]))
        print(f"{str(error) or 'stopped'} ({number.name})", file=sys.stderr)
        code = 128 + number
    except BrokenPipeError:  # the reader of our output has left, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except (OSError, DamagedError, LockedError, UnfinishedError) as error:
        code = sentence(error)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # ends it at once, without a traceback
            signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


def sentence(error: Exception) -> str:
    """An error in words: what cannot be done, where, and what would help."""
    if not isinstance(error, OSError) or not error.strerror:
        return "; ".join([str(error), *getattr(error, "__notes__", ())])
    words = ": ".join(str(x) for x in (error.filename, error.strerror) if x)
    return "; ".join(x for x in (words, REMEDIES.get(error.errno or 0)) if x)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Reads what the command line names: an error is one sentence.

    Raises:
        SystemExit: for a `ValueError`, `OSError`, `ImportError` or `RuntimeError`.
    """
    try:
        yield
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        raise SystemExit(f"{what}: {sentence(error)}") from error


def command(name: str, about: str | None, **more: bool) -> argparse.ArgumentParser:
    """An empty command line, `python -m experiments.NAME`, described by a docstring."""
    out = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )
    out.set_defaults(experiment=name.partition(".")[0], dry_run=False)  # as its records name it
    return out


def parser(
    name: str, about: str, presets: Mapping[str, Preset], own: bool = False
) -> argparse.ArgumentParser:
    """A command line with the flags of every experiment.

    Args:
        name: of the experiment.
        about: its description.
        presets: by name.
        own: whether `--encoder` adds a method.
    """
    out = command(name, about, allow_abbrev=False)
    out.set_defaults(encoder="")
    out.add_argument("--preset", choices=list(presets), default="laptop")
    out.add_argument("--methods", default="", help="comma-separated; all for every one there is")
    out.add_argument("--seeds", type=int, default=0, help="how many; the preset's if 0 or less")
    out.add_argument("--seed", type=int, help="this one alone, in place of --seeds")
    words = "a setting of the selected methods; comma-separated or repeated"
    out.add_argument("--set", action="append", default=[], metavar="PART.FIELD=VALUE", help=words)
    out.add_argument("--settings", action="store_true", help="list these settings and exit")
    words = "list the runs and exit; reads no data and writes nothing"
    out.add_argument("--dry-run", action="store_true", help=words)
    if own:
        words = "adds a method with an encoder of your own, named after its class, trained as the "
        words += "first trained method of the preset"
        out.add_argument("--encoder", default="", metavar="MODULE:CLASS", help=words)
    words = "methods side by side, a core each; as many as cores if 0, on a GPU 1"
    out.add_argument("--jobs", type=int, default=0, help=words)
    return folders(out)


def folders(out: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the flags of commands that write records."""
    out.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs"))
    out.add_argument("--results", type=pathlib.Path, help="folder of records; FOLDER/results")
    words = "write records and pictures into experiments/results of this clone"
    out.add_argument("--publish", action="store_true", help=words)
    return out


def positive(text: str) -> int:
    """The whole number, at least 1, of an option.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def shard(text: str) -> tuple[int, int]:
    """The numbers K and N of "K/N": process K, from 0, of the N that make a zoo together.

    Raises:
        argparse.ArgumentTypeError: they are none.
    """
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and int(k) < int(n)):
        raise argparse.ArgumentTypeError(
            f"expected --shard K/N with K from 0 to N - 1, got {text!r}"
        )
    return int(k), int(n)


def prepare(options: argparse.Namespace) -> argparse.Namespace:
    """Settles where records go, and keeps compiled programs between runs.

    Writes into both folders and reads the records there, so that hours of training do not end
    in an error of these.

    With `--dry-run` nothing is written.

    Raises:
        SystemExit: records are to be published from elsewhere than a clone, or into two folders;
            or a folder cannot be written to.
        DamagedError: the experiment's records were altered.
        OSError: they cannot be written to.
    """
    options.folder = options.folder.resolve()
    if options.publish and options.results:
        raise SystemExit("expected --publish or --results, not both")
    if options.publish and not (records.ROOT / ".git").exists():
        raise SystemExit(f"--publish: expected a clone of the repository at {records.ROOT}")
    options.results = (
        records.PUBLISHED if options.publish else options.results or options.folder / "results"
    )
    if options.dry_run:
        return options
    for folder in (options.folder, options.results):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = None  # of the probe
            raise SystemExit(f"{folder} cannot be written to: {sentence(error)}") from None
    if (path := options.results / f"{options.experiment}.jsonl").exists():
        append_records(path, [])
    training.compilation_cache(options.folder / "cache" / "xla")
    return options


def preset_name(options: argparse.Namespace) -> str:
    """The preset's name in records: with settings changed or other zoos, it is another."""
    custom = options.set or getattr(options, "networks", 0)
    name = f"{options.preset}-custom" if custom else options.preset
    return f"{name}-published" if getattr(options, "published", ()) else name


def seeds(options: argparse.Namespace, preset: Preset) -> Sequence[int]:
    """The seeds of each method: the flags', else the preset's."""
    return range(max(options.seeds, 0) or preset.seeds) if options.seed is None else [options.seed]


def home(options: argparse.Namespace) -> pathlib.Path:
    """The folder of an experiment's runs at a preset."""
    return options.folder / options.experiment / preset_name(options)


def select(names: str, default: Iterable[str], available: Iterable[str]) -> list[str]:
    """The names of a comma-separated flag.

    Raises:
        SystemExit: one of them does not exist.
    """
    available = list(available)
    chosen = list(default) if not names else available if names == "all" else names.split(",")
    if unknown := sorted(set(chosen) - set(available)):
        raise SystemExit(f"expected some of {available}, got {unknown}")
    return chosen


def choose(options: argparse.Namespace, preset: Preset) -> dict[str, Method]:
    """The methods that the flags select, with the settings of the command line.

    Raises:
        SystemExit: a method or a setting is unknown, or a value is not of its type or out of
            range; or, after printing them, the settings or the runs were to be listed
            (`Listed`).
    """
    methods, default = dict(preset.methods), list(preset.default or preset.methods)
    if options.encoder:
        own = options.encoder.rpartition(":")[2]
        methods[own] = _own(options.encoder, preset)
        default.append(own)
    chosen = select(options.methods, default, methods)
    methods = {k: methods[k] for k in chosen}
    if options.settings:
        print(settings.listing(_available(methods)))
        raise SystemExit(0)
    methods = apply(methods, changes(options.set))
    if options.dry_run:
        for name, method in methods.items():
            steps = f"{method.training.steps} steps" if method.encoder else "no training"
            print(f"{preset_name(options)} {name}, seeds {[*seeds(options, preset)]}: {steps}")
        raise Listed(options, preset, methods)
    return methods


def _own(encoder, preset):
    """The method of an encoder of one's own: that of the first trained one, at its defaults."""
    try:
        encoder_class(encoder)
    except ValueError as error:
        raise SystemExit(f"--encoder: {error}") from None
    first = next(m for m in preset.methods.values() if m.encoder)
    return dataclasses.replace(first, encoder=encoder, settings={}, words="", paper="–")


def changes(given: Sequence[str]) -> dict[str, str]:
    """{"part.field": text} of "part.field=text" entries, each of them one or several by comma.

    Raises:
        SystemExit: an entry is none.
    """
    texts = {}
    for entry in given:
        for one in re.split(r",(?=\w+\.\w+=)", entry):
            key, equals, text = one.partition("=")
            if not equals or key.count(".") != 1:
                raise SystemExit(f"expected --set PART.FIELD=VALUE, got {one!r}")
            texts[key] = text
    return texts


def apply(methods: Mapping[str, Method], given: Mapping[str, str]) -> dict[str, Method]:
    """The methods with settings "part.field" -> text, each where it is one of theirs.

    Raises:
        SystemExit: a setting is of no method, or a value is not of its type or out of range.
    """
    available = _available(methods)
    if unknown := [key for key in given if key not in available]:
        raise SystemExit(
            f"--set {' '.join(unknown)}: not a setting of {', '.join(methods)}, which have\n"
            + (settings.listing(available) or "  none")
        )
    try:
        changed = {name: method.override(given) for name, method in methods.items()}
        for method in changed.values():
            if method.encoder:
                method.build()
    except ValueError as error:
        raise SystemExit(f"--set: {error}") from None
    return changed


def _available(methods):
    """The settings that some of the methods have."""
    return {k: v for m in methods.values() for k, v in m.available().items()}

"""Fills the papers' tables, the most valuable runs first, within a time.

    python -m experiments.reproduce --minutes 60                    on a GPU, else on the CPU
    python -m experiments.reproduce --minutes 9 --device gpu --files FOLDER --export carried
    python -m experiments.reproduce --list                          what is there, and what it takes
    python -m experiments.reproduce --only "inr_frequency --preset paper" --minutes 600

Each line of `experiments.lib.entries` names a method of an experiment's preset with one seed: first
those that the papers' headlines rest on, then every method and seed of the presets `paper` and
`schuerholt`. One after another, in one process, those run that are not on record and are expected
to end in time; when there is none, the most valuable of the others goes on for the rest of the
time. Half a minute before the end the run under way is interrupted as by SIGTERM, with a
checkpoint, and the next call continues it; what takes no notice, a compilation or a block of a zoo,
is ended without one. What is on record is decided by configurations, of the records of this clone
and of yours.

Estimates are corrected by the minutes that runs took on the same kind of device. `--files` has
the original files of image data sets; runs that lack them are listed with the reason.

`--export FOLDER` is for machines that are there for a limited time: after each run records, metrics
and checkpoints are packed into it, in files of at most 16 MB. A call with the same folder elsewhere
unpacks what it lacks, or has less of, and continues; zoos are made anew. `--publish` writes records
into this clone, with `--list` those of an export alone.
"""

import argparse
import collections
import math
import os
import pathlib
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence

import jax
from rich.console import Console
from rich.table import Table

from experiments.__main__ import EXPERIMENTS
from experiments.lib import cli, entries, exports, records, schedule
from experiments.lib.entries import ZOOS
from experiments.lib.schedule import DONE, NEEDS, Entry, Ledger, State
from wsjax import storage
from wsjax.storage import DamagedError, LockedError
from wsjax.training.log import read_records
from wsjax.zoos.factory import UnfinishedError

MAINS = {name: module.main for name, (_, module) in EXPERIMENTS.items()}
RESERVE = 30.0  # seconds before the end that are kept for a checkpoint and the export
PACKING = 10.0  # of these, to pack what is on disk where a compilation does not end in time
PART = 2.0  # minutes from which a run that will not end in time is worth going on with

ENTRIES = entries.entries({k: module.PRESETS for k, (_, module) in EXPERIMENTS.items()})


class Plan:
    """Entries in order, how far each is, and the device and the folders of this call."""

    def __init__(self, options: argparse.Namespace, chosen: Sequence[Entry]):
        self.options, self.entries = options, chosen
        self.gpu = jax.default_backend() == "gpu"
        self.device = jax.devices()[0].device_kind
        self.ledger = Ledger.read(self.path)
        self.carried: list[str] = []  # runs of the export
        self.targets = {e.name: schedule.target(e, MAINS[e.experiment]) for e in chosen}
        self.states: dict[str, State] = {}
        self.packing = threading.Lock()

    @property
    def path(self) -> pathlib.Path:
        """Where the ledger lies."""
        return self.options.folder / "reproduce.json"

    def unpack(self) -> None:
        """Takes over what the export has; raises as `exports.read`."""
        if (out := self.options.export) is not None:
            carried, self.carried = exports.read(out, self.options.folder)
            self.ledger.add(carried)
            for path in exports.record_files(out):
                records.add(read_records(path), self.options.results)

    def pack(self) -> None:
        """Writes the ledger and the export."""
        with self.packing:
            self.ledger.write(self.path)
            if self.options.export is not None:
                folder = self.options.folder
                homes = [h for target in self.targets.values() for h in target.packed(folder)]
                homes += [folder / name for name in self.carried]
                exports.write(homes, folder, self.options.export, self.ledger.carried())

    def give_up(self) -> None:
        """Packs what is on disk and ends the process, whatever it is at."""
        try:
            self.pack()
            print("stopped in time, without the steps since the last checkpoint", flush=True)
            os._exit(0)
        except Exception:
            traceback.print_exc()
            os._exit(1)

    def look_up(self) -> None:
        """Finds how far each entry is, and what those on record took."""
        found = collections.defaultdict(list)
        for experiment in dict.fromkeys(e.experiment for e in self.entries):
            for folder in dict.fromkeys((records.PUBLISHED, self.options.results)):
                for r in records.read(experiment, folder):
                    # old records are read under the names that their methods have now
                    named = {**r, "config": {**r.get("config", {}), "row": r["row"]}}
                    found[experiment, r["row"], r["seed"]].append(named)
        for entry in self.entries:
            known = found[entry.experiment, entry.method, entry.seed]
            self.ledger.note_records(entry, self.targets[entry.name], known)
            self.states[entry.name] = self.state(entry, [r["config"] for r in known])

    def state(self, entry: Entry, configs: Sequence[Mapping] = ()) -> State:
        """How far an entry is, by configs on record and by the folders of its runs."""
        begun = entry.name in self.ledger.begun
        where = self.options.folder, self.options.files
        return schedule.state(entry, self.targets[entry.name], configs, *where, begun)

    def minutes(self, entry: Entry) -> float:
        """Expected for what is left of an entry."""
        share = self.states[entry.name].share
        return self.ledger.minutes(entry, share, self.device, self.gpu, ZOOS)

    def waiting(self, tried: Iterable[str] = ()) -> list[Entry]:
        """The entries that could run, in order."""
        left = lambda e: self.states[e.name].status not in (DONE, NEEDS) and e.name not in tried
        return [entry for entry in self.entries if left(entry)]

    def choose(self, left: float, tried: Iterable[str]) -> Entry | None:
        """The first entry that will end in the minutes left; or else the first to go on with."""
        waiting = self.waiting(tried)
        part = waiting[0] if waiting and left >= PART else None
        return next((entry for entry in waiting if self.minutes(entry) <= left), part)

    def run(self, entry: Entry, seconds: float) -> str:
        """Runs an entry for so many seconds at most, and packs it; why it failed, if it did.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, when all is packed.
        """
        options, failure, stopped = self.options, "", None
        flags = ["--folder", str(options.folder), "--results", str(options.results), "--jobs", "1"]
        flags += ["--files", str(options.files)] if entry.files else []
        before, began = self.states[entry.name].share, time.monotonic()
        self.ledger.begin(entry)
        self.ledger.write(self.path)
        with schedule.deadline(seconds, RESERVE - PACKING, self.give_up) as alarm:
            try:
                MAINS[entry.experiment]([*entry.arguments, *flags])
                self.ledger.end(entry)
            except KeyboardInterrupt as error:
                stopped = error
            except SystemExit as error:
                failure = str(error)
            except (OSError, DamagedError, LockedError, UnfinishedError) as error:
                failure = cli.sentence(error)
            except Exception as error:  # a mistake of ours, that the other entries do not have
                traceback.print_exc()
                failure = f"{type(error).__name__}: {error}"
        minutes = (time.monotonic() - began) / 60
        if entry.name in self.ledger.begun:
            self.states[entry.name] = self.state(entry)
        else:
            self.states[entry.name] = State(DONE, 1.0, DONE)
        if (share := self.states[entry.name].share - before) > 0 and not failure:
            self.ledger.note(entry, minutes, share, self.device, self.gpu, ZOOS)
        if share > 0 or not (failure or stopped):  # its zoo is whole, as it has trained here
            self.ledger.zoos = [*dict.fromkeys((*self.ledger.zoos, *filter(None, [entry.zoo])))]
        self.pack()
        jax.clear_caches()
        if stopped is not None:
            if not alarm.rang:
                raise stopped
            print(f"stopped in time: {stopped}", flush=True)
        return failure

    def table(self, minutes: float) -> Table:
        """The entries with their state, the minutes that are left, and which will run."""
        columns = ("minutes left", "in this call", "state", "command")
        title = f"{self.device}, {minutes:g} minutes: python -m experiments. ..."
        table = Table(*columns, title=title, title_justify="left")
        chosen, left = set(), minutes - RESERVE / 60
        while (entry := self.choose(left, chosen)) is not None:
            chosen.add(entry.name)
            left -= self.minutes(entry)
        for entry in self.entries:
            state, waits = self.states[entry.name], "yes" if entry.name in chosen else ""
            expected = "" if state.status == DONE else f"{self.minutes(entry):.1f}"
            table.add_row(expected, waits, state.words, entry.name)
        return table


def walk(plan: Plan, end: float) -> list[str]:
    """Runs one entry after another until a time of `time.monotonic`; the failures, in words."""
    tried, failures = [], []
    left = lambda: (end - RESERVE - time.monotonic()) / 60
    while (entry := plan.choose(left(), tried)) is not None:
        tried.append(entry.name)
        expected = f"{plan.minutes(entry):.1f} minutes expected, {left():.1f} left"
        print(f"\n{entry.name}: {expected}", flush=True)
        if failure := plan.run(entry, 60 * left()):
            failures.append(f"{entry.name}: {failure}")
            print(failures[-1], flush=True)
    done = sum(plan.states[name].status == DONE for name in tried)
    lacking = sum(state.status == NEEDS for state in plan.states.values())
    print(
        f"{done} of {len(tried)} runs of this call are finished; {len(plan.waiting())} wait, and "
        f"{lacking} more need files",
        flush=True,
    )
    return failures


def use(device: str) -> None:
    """Selects the device of this process, before JAX starts.

    Raises:
        SystemExit: it is to be a GPU, and JAX finds none.
    """
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu":
        try:
            first = jax.devices("gpu")[0]
        except (RuntimeError, AssertionError):  # the latter with JAX_PLATFORMS=cuda
            first = None
        if first is None or first != jax.devices()[0]:  # which JAX_PLATFORMS may hide
            raise SystemExit(
                "--device gpu: JAX finds no GPU; pip install -r requirements-cuda.txt, or take "
                "--device cpu"
            )


def minutes(text: str) -> float:
    """The positive number of an option.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


def main(arguments: Sequence[str] | None = None, runs: Sequence[Entry] = ENTRIES) -> None:
    """The command line.

    Raises:
        SystemExit: there is no such device or entry; or runs failed: names them, at the end.
        LockedError: another process is at it in this folder.
        DamagedError: the export, the ledger or records were altered.
    """
    began = time.monotonic()
    parser = cli.folders(cli.command("reproduce", __doc__))
    parser.add_argument("--minutes", type=minutes, default=9.0, help="that this call may take")
    parser.add_argument("--device", choices=("gpu", "cpu"), help="JAX's default if not given")
    parser.add_argument("--export", type=pathlib.Path, help="folder to pack runs into")
    parser.add_argument("--files", type=pathlib.Path, help="original files of image data sets")
    parser.add_argument("--only", default="", metavar="WORDS", help="commands that have these")
    parser.add_argument("--list", action="store_true", help="print the table and exit")
    options = parser.parse_args(arguments)
    use(options.device)
    chosen = [entry for entry in runs if options.only in entry.name]
    if not chosen:
        raise SystemExit(f"--only: no command has {options.only!r}; --list prints them")
    cli.prepare(options)
    with storage.locked(options.folder / "reproduce.json"):
        plan = Plan(options, chosen)
        plan.unpack()
        plan.look_up()
        if options.list:
            width = max(len(entry.name) for entry in chosen) + 90  # a line each
            Console(width=width).print(plan.table(options.minutes))
            return
        if failures := walk(plan, began + 60 * options.minutes):
            raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    cli.run(main)

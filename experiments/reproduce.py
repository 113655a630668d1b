"""Fills the papers' tables, the most valuable runs first, within a time.

    python -m experiments.reproduce --minutes 60                    on a GPU, else on the CPU
    python -m experiments.reproduce --minutes 9 --device gpu --files FOLDER --export carried
    python -m experiments.reproduce --list                          what is there, and what it takes
    python -m experiments.reproduce --only "inr_frequency --preset paper" --minutes 600

Each line of `ENTRIES` names a method of an experiment's preset with one seed: first those that the
papers' headlines rest on, then every method and seed of the presets `paper`. One after another, in
one process, those run that are not on record and are expected to end in time; when there is none,
the most valuable of the others goes on for the rest of the time. Half a minute before the end the
run under way is interrupted as by SIGTERM, with a checkpoint, and the next call continues it. What
is on record is decided by configurations, of the records of this clone and of yours.

Estimates are corrected by the minutes that runs took on the same kind of device. `--files` has
the original files of image data sets; runs that lack them are listed with the reason.

`--export FOLDER` is for machines that are lent: after each run records, metrics and checkpoints are
packed into it, in files of at most 16 MB. A call with the same folder elsewhere unpacks what it
lacks and continues; zoos are made anew. `--publish` writes records into this clone, with `--list`
those of an export alone.
"""

import argparse
import collections
import math
import pathlib
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
    inr_ablation,
    inr_classification,
    inr_editing,
    inr_frequency,
    inr_self_supervised,
)
from experiments.lib import cli, exports, records, schedule
from experiments.lib.methods import Preset
from experiments.lib.schedule import DONE, NEEDS, Entry, Ledger, State
from wsjax import storage
from wsjax.storage import DamagedError, LockedError
from wsjax.training.log import read_records
from wsjax.zoos.factory import UnfinishedError

MODULES = (
    *(inr_frequency, inr_ablation, inr_self_supervised, inr_classification, inr_editing),
    *(cross_dataset, cross_architecture, accuracy_prediction, generalization, embeddings),
)
MAINS = {module.__name__.rpartition(".")[2]: module.main for module in MODULES}
RESERVE = 30.0  # seconds before the end that are kept for a checkpoint and the export
PART = 2.0  # minutes from which a run that will not end in time is worth going on with

ZOOS = {  # minutes to make them: on an H100, on two CPU cores
    "sines": (0.5, 6.0),
    "sines, two labels": (1.0, 15.0),
    "mnist INRs": (1.6, 900.0),
    "mnist INRs, nfn": (4.0, 2400.0),
    "fashion_mnist INRs": (4.0, 2400.0),
    "cifar10 INRs": (4.5, 4000.0),
    "cifar10 INRs, 21 views": (75.0, 80_000.0),
    "conv3-gap, four": (120.0, 60_000.0),
    "conv3-gap, two": (60.0, 30_000.0),
    "cross_architecture": (400.0, 90_000.0),
    "accuracy_prediction": (400.0, 90_000.0),
}
COSTS = {  # encoder -> milliseconds: of a step on an H100, of a network on two CPU cores
    **{"mlp": (1.5, 0.1), "stat_nn": (1.5, 0.3), "probing": (1.5, 0.1), "unf": (3.0, 1.0)},
    **{"deepsets": (2.0, 3.0), "inr2vec": (2.0, 1.0), "hyperrep": (3.0, 3.0), "dmc": (3.0, 4.0)},
    **{"transformer": (3.0, 3.0), "nfn": (4.0, 3.0), "sne": (10.0, 12.0), "gmn": (8.0, 12.0)},
    **{"dwsnet": (15.0, 15.0), "nft": (15.0, 20.0), "scalegmn": (17.0, 20.0)},
    **{"grit": (20.0, 40.0), "neural_graph": (20.0, 40.0)},
}
UNTRAINED = (0.2, 0.2)  # minutes of a method without training
START = (1.0, 0.5)  # minutes to compile and to test


class Variant(NamedTuple):
    """A zoo of an experiment's preset `paper`.

    Attributes:
        zoo: a key of `ZOOS`.
        files: names of data sets.
        more: arguments that choose it.
        ways: zoos that each method learns from, one by one.
    """

    zoo: str
    files: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    ways: int = 1


MNIST = ("--data", "mnist", "--fit-steps", "1500", "--fit-rate", "1e-3")
FASHION = ("--data", "fashion_mnist", "--fit-steps", "4000", "--fit-rate", "1e-3")
MNIST_NFN = ("--data", "mnist", "--recipe", "nfn")
CIFAR = ("--data", "cifar10", "--recipe", "nfn", "--views", "1")
COSINE = ("--set", "training.steps=15000,training.schedule=cosine,training.ema=0.999")
FOUR = ("mnist", "fashion_mnist", "cifar10", "svhn")
VARIANTS = {
    "inr_frequency": (Variant("sines"),),
    "inr_ablation": (Variant("sines"),),
    "inr_self_supervised": (Variant("sines, two labels"),),
    "inr_classification": (
        Variant("mnist INRs", ("mnist",), MNIST),
        Variant("fashion_mnist INRs", ("fashion_mnist",), FASHION),
        Variant("cifar10 INRs", ("cifar10",), CIFAR),
        Variant("cifar10 INRs, 21 views", ("cifar10",), (*CIFAR[:-1], "21")),
    ),
    "inr_editing": (
        Variant("mnist INRs", ("mnist",), (*MNIST, "--task", "dilation")),
        Variant("mnist INRs, nfn", ("mnist",), (*MNIST_NFN, "--task", "dilation")),
        Variant("cifar10 INRs", ("cifar10",), (*CIFAR, "--task", "contrast")),
    ),
    "cross_dataset": (Variant("conv3-gap, four", FOUR, (), 4),),
    "cross_architecture": (
        Variant("cross_architecture", ("mnist", "cifar10", "svhn"), (), 6),
    ),
    "accuracy_prediction": (Variant("accuracy_prediction", ("cifar10",), (), 8),),
    "generalization": (Variant("conv3-gap, two", ("cifar10", "svhn"), (), 6),),
    "embeddings": (Variant("conv3-gap, four", FOUR),),
}  # fmt: skip


def _sines(methods: Mapping[str, tuple[float, float]]) -> list[Entry]:
    """Methods of SNE's table 1 with their minutes."""
    return [
        Entry("inr_frequency", "paper", name, 0, gpu, cpu, "sines")
        for name, (gpu, cpu) in methods.items()
    ]


def _ablation() -> list[Entry]:
    """SNE's tables 6 and 7 at 5,000 steps, a quarter of the preset's."""
    parts = [*inr_ablation.PARTS, "sne_no_invariance", "sne_augmented"]
    names = ["sne", *parts, *(f"sne_chunk_{n}" for n in (4, 8, 16))]
    return [
        Entry("inr_ablation", "paper", name, 0, *(1.5, 70.0, "sines"), (),
              ("--set", "training.steps=5000"))
        for name in names
    ]  # fmt: skip


def _first() -> list[Entry]:
    """What the papers' headlines rest on, in order of value."""
    paper = lambda experiment, method, *rest: Entry(experiment, "paper", method, 0, *rest)
    dilation = (*MNIST_NFN, "--task", "dilation")
    dilation += ("--set", "training.steps=12000,training.schedule=cosine")
    return [
        *_sines({"sne": (3.5, 280.0), "sne_chunk_8": (5.0, 360.0)}),
        paper("inr_classification", "scalegmn", 5.5, 1600.0, "mnist INRs", ("mnist",),
              (*MNIST, *COSINE)),
        paper("inr_self_supervised", "gmn", 3.0, 300.0, "sines, two labels"),
        paper("inr_editing", "gmn", 7.5, 900.0, "mnist INRs, nfn", ("mnist",), dilation),
        *_sines({"scalegmn": (6.5, 420.0), "stat_nn": (0.8, 4.0), "mlp": (0.8, 2.0)}),
        *_sines({"unf": (1.3, 20.0), "nfn_np": (1.6, 25.0), "nfn_hnp": (1.6, 25.0)}),
        *_sines({"dwsnet": (6.0, 400.0)}),
        paper("inr_classification", "scalegmn", 4.5, 1400.0, "fashion_mnist INRs",
              ("fashion_mnist",), (*FASHION, *COSINE)),
        *_ablation(),
    ]  # fmt: skip


def _rest(before: Sequence[Entry]) -> Iterator[Entry]:
    """Every method and seed of the presets `paper`, seed by seed, those by default first."""
    known = {entry.name for entry in before}
    presets = {name: module.PRESETS["paper"] for name, module in zip(MAINS, MODULES, strict=True)}
    for seed in range(max(preset.seeds for preset in presets.values())):
        for experiment, preset in presets.items():
            for variant in VARIANTS[experiment] if seed < preset.seeds else ():
                for method in dict.fromkeys((*preset.default, *preset.methods)):
                    cost = _minutes(preset, method, variant.ways)
                    entry = Entry(
                        experiment, "paper", method, seed, *cost, variant.zoo, variant.files,
                        variant.more,
                    )  # fmt: skip
                    if entry.name not in known:
                        yield entry


def _minutes(preset: Preset, name: str, ways: int) -> tuple[float, float]:
    """Minutes of a method, on an H100 and on two CPU cores, by `COSTS`."""
    method = preset.methods[name]
    if method.encoder is None:
        return tuple(round(ways * x, 2) for x in UNTRAINED)
    (step, network), training = COSTS[method.encoder], method.training
    each = (step, network * training.batch)
    whole = (a + training.steps * ms / 60_000 for a, ms in zip(START, each, strict=True))
    return tuple(round(ways * x, 2) for x in whole)


ENTRIES = (*_first(), *_rest(_first()))


class Plan:
    """Entries in order, how far each is, and the device and the folders of this call."""

    def __init__(self, options: argparse.Namespace, entries: Sequence[Entry]):
        self.options, self.entries = options, entries
        self.gpu = jax.default_backend() == "gpu"
        self.device = jax.devices()[0].device_kind
        self.ledger = Ledger.read(self.path)
        self.carried: list[str] = []  # runs of the export
        self.targets = {e.name: schedule.target(e, MAINS[e.experiment]) for e in entries}
        self.states: dict[str, State] = {}

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
        self.ledger.write(self.path)
        if self.options.export is not None:
            folder = self.options.folder
            homes = [home for target in self.targets.values() for home in target.homes(folder)]
            homes += [folder / name for name in self.carried]
            exports.write(homes, folder, self.options.export, self.ledger.carried())

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
        self.ledger.begun = [*dict.fromkeys((*self.ledger.begun, entry.name))]
        self.ledger.write(self.path)
        with schedule.deadline(seconds) as alarm:
            try:
                MAINS[entry.experiment]([*entry.arguments, *flags])
                self.ledger.begun.remove(entry.name)
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
        if self.targets[entry.name].homes(options.folder) or not (failure or stopped):
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
            jax.devices("gpu")
        except RuntimeError as error:
            raise SystemExit(
                "--device gpu: JAX finds no GPU; pip install -r requirements-cuda.txt, or take "
                "--device cpu"
            ) from error


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


def main(arguments: Sequence[str] | None = None, entries: Sequence[Entry] = ENTRIES) -> None:
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
    chosen = [entry for entry in entries if options.only in entry.name]
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

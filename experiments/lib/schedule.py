"""Runs in order of their worth, as far as the time goes.

    Entry --target--> the config of its runs --records, run folders--> State
    Ledger: minutes that runs took --correct--> minutes that the others will take

An entry is done when records have its very configuration, wherever they lie; a name alone is not
enough. Estimates are of one H100 and of two CPU cores; on each kind of device they are
multiplied by what was measured there over what was estimated.
"""

import argparse
import contextlib
import dataclasses
import io
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.lib import cli, exports, inr_tasks, records, runs, sweeps, zoo_loading
from experiments.lib.directions import planned
from wsjax import storage
from wsjax.datasets import image_files
from wsjax.storage import DamagedError
from wsjax.training.checkpoints import read_config

Main = Callable[[Sequence[str]], object]
Zoos = Mapping[str, tuple[float, float]]  # name -> minutes to make it, on an H100, on two cores
FORMAT = 2  # of the ledger
ENOUGH = 0.2  # share of a run from which its time counts as measured
BOUNDS = (0.05, 20.0)  # of the correction
# what follows from epochs and a zoo
OF_EPOCHS = ("steps", "warmup", "evaluate_every", "checkpoint_every")
DONE, PARTLY, MISSING, NEEDS = "done", "partly", "missing", "needs files"


class Entry(NamedTuple):
    """A method of an experiment's preset, with one seed.

    Attributes:
        experiment: its module below `experiments`.
        preset: one of its presets.
        method: one of the preset's.
        seed: of training.
        gpu: minutes on one H100, compilation included, without its zoo.
        cpu: minutes on two CPU cores.
        zoo: name of the zoo, among those whose minutes are known; "" if it takes none.
        files: names of the data sets whose original files it needs.
        more: further arguments of the command.
        swept: whether seed 0 tries several learning rates, see `sweeps`.
    """

    experiment: str
    preset: str
    method: str
    seed: int
    gpu: float
    cpu: float
    zoo: str = ""
    files: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    swept: bool = False

    @property
    def arguments(self) -> list[str]:
        """Of its command."""
        chosen = ["--preset", self.preset, *self.more, "--methods", self.method]
        return [*chosen, "--seed", str(self.seed)]

    @property
    def name(self) -> str:
        """Its command, without `python -m experiments.`."""
        return " ".join([self.experiment, *self.arguments])

    @property
    def kind(self) -> str:
        """The same for all seeds; but for seed 0 of a sweep, which takes longer."""
        return self._replace(seed=int(self.swept and self.seed > 0)).name


class Target(NamedTuple):
    """The runs of an entry, by their configuration.

    Attributes:
        config: what each run's config has, among other things.
        methods: configs of the method, of which each run's has one.
        zoos: name -> recipe, of zoos of classifiers; a run's are some of these.
        learns: how the names of the zoos to learn from begin, each of them -> steps of training, 0
            without; "" where runs name no zoo.
        tries: learning rates that each is trained at, see `sweeps`.
    """

    config: Mapping[str, Any]
    methods: tuple[Mapping[str, Any], ...]
    zoos: Mapping[str, Mapping[str, Any]]
    learns: Mapping[str, int]
    tries: int = 1

    def matches(self, config: Mapping[str, Any]) -> bool:
        """True of the config of one of these runs."""
        described = config.get("zoos", {})
        recipes = {name: {**about, "content": None} for name, about in described.items()}
        expected = {name: {**self.zoos.get(name, {}), "content": None} for name in described}
        same = _has(config, self.config) and any(_has(config, m) for m in self.methods)
        same &= any(_learns(config, name) for name in self.learns)
        return same and recipes == expected and bool(described) == bool(self.zoos)

    def covered(self, configs: Sequence[Mapping[str, Any]]) -> bool:
        """True if these are runs from each of the zoos to learn from."""
        own = [config for config in configs if self.matches(config)]
        learnt = lambda name: any(_learns(config, name) for config in own)
        return bool(own) and all(map(learnt, self.learns))

    def homes(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The folders of these runs that are there, below the folder of all runs."""
        c = self.config
        candidates = (folder / c["experiment"] / c["preset"]).glob(f"{c['row']}-{c['seed']}-*")
        return [home for home in sorted(candidates) if self.matches(config_of(home))]

    def trials(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The folders beside them in which learning rates are tried."""
        c = self.config
        swept = any(method.get("rates") for method in self.methods)
        found = (folder / c["experiment"] / c["preset"]).glob(f"{c['row']}-rates-*")
        return sorted(found) if swept else []

    def packed(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """All of these folders."""
        return [*self.homes(folder), *self.trials(folder)]

    def progress(self, folder: pathlib.Path) -> dict[str, tuple[int, int]]:
        """Of each zoo to learn from the steps done, and in all: by its config where a run is there.

        Empty if no run is there.
        """
        found = {}
        inside = ([p for p in home.iterdir() if p.is_dir()] for home in self.trials(folder))
        own = ([p for p in group if self.matches(config_of(p))] for group in inside)
        for homes in (*([home] for home in self.homes(folder)), *filter(None, own)):
            config = config_of(homes[0])
            name = next(k for k in self.learns if _learns(config, k))
            whole = self.tries * config.get("training", {}).get("steps", 0)
            ends = (homes[0] / "record.json", homes[0].with_name(sweeps.OUTCOMES))
            steps = [int(step.name) for step in map(exports.newest, homes) if step is not None]
            done = whole if any(path.exists() for path in ends) else sum(steps)
            found[name] = max(found.get(name, (0, whole)), (done, whole))
        return {k: (0, self.tries * n) for k, n in self.learns.items()} | found if found else {}


def _has(config, part):
    """True if a config has these values; of training it may have more."""
    training = part.get("training", {})
    rest = {k: v for k, v in part.items() if k != "training"}
    pairs = ((config.get("training", {}), training), (config, rest))
    return all(k in whole and whole[k] == v for whole, some in pairs for k, v in some.items())


def _learns(config, name):
    """False of a run on a zoo whose name begins otherwise."""
    return config.get("train_zoo", name).startswith(name)


class State(NamedTuple):
    """How far an entry is.

    Attributes:
        status: one of `DONE`, `PARTLY`, `MISSING` and `NEEDS`.
        share: done of it, 0 to 1.
        words: for tables.
    """

    status: str
    share: float
    words: str


def target(entry: Entry, main: Main) -> Target:
    """The runs that an entry's command would make; nothing is read or made for it.

    Raises:
        SystemExit: the command has no such preset, method, flag or setting.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main([*entry.arguments, "--dry-run"])
            raise TypeError(f"{entry.experiment} does not list its runs")
        except cli.Listed as listed:
            options, preset, methods = listed.options, listed.preset, listed.methods
    ((name, method),) = methods.items()
    config = {"experiment": entry.experiment, "preset": cli.preset_name(options)}
    config |= {"row": name, "seed": entry.seed}
    zoos, learns = {}, {"": method}
    if "sines" in preset.zoos:
        config |= zoo_loading.sine_facts(preset)
    elif preset.zoos:
        zoos = {k: dataclasses.asdict(recipe) for k, recipe in preset.zoos.items()}
        given, learns = cli.changes(options.set), planned(entry.experiment, preset, name)
        learns = {k: m.override(given) for k, m in learns.items()}
    else:
        subject = inr_tasks.subject(options)
        learns = {subject.name: method}
        config["zoo"] = dataclasses.asdict(subject.plan)
        config |= {"task": options.task} if "task" in vars(options) else {}
    steps = {k: m.training.steps if m.encoder else 0 for k, m in learns.items()}
    configs = tuple(storage.plain(_config(m.seeded(entry.seed))) for m in learns.values())
    tries = 1 if entry.seed else max(1, *(len(m.rates) for m in learns.values()))
    return Target(storage.plain(config), configs, storage.plain(zoos), steps, tries)


def _config(method):
    """A method's config, without what is known when its zoo is there or its rate is chosen."""
    config, unknown = method.config(), OF_EPOCHS if method.epochs else ()
    unknown += ("learning_rate",) if method.rates else ()
    if unknown:
        training = config["training"].items()
        config["training"] = {k: v for k, v in training if k not in unknown}
    return config


def config_of(home: pathlib.Path) -> Mapping[str, Any]:
    """The config of the run in a folder; {} if it cannot be read."""
    try:
        before = runs.finished(home)
        return before[0]["config"] if before else read_config(home)
    except (DamagedError, OSError):
        return {}


def state(
    entry: Entry,
    runs_: Target,
    recorded: Sequence[Mapping[str, Any]],
    folder: pathlib.Path,
    files: pathlib.Path | None,
    begun: bool,
) -> State:
    """How far an entry is.

    Args:
        entry: any.
        runs_: its runs.
        recorded: configs on record, those with its method's name at least.
        folder: of all runs.
        files: the folder of original files.
        begun: whether it was begun in this folder and not finished, so that records of some of
            its runs do not count for all.
    """
    if not begun and runs_.covered(recorded):
        return State(DONE, 1.0, DONE)
    if lacking := missing_files(entry, files):
        return State(NEEDS, 0.0, lacking)
    if not (steps := runs_.progress(folder)):
        return State(MISSING, 0.0, MISSING)
    done, whole = (sum(numbers) for numbers in zip(*steps.values(), strict=True))
    return State(PARTLY, min(1.0, done / max(1, whole)), f"step {done:,} of {whole:,}")


def missing_files(entry: Entry, files: pathlib.Path | None) -> str:
    """Which original files an entry lacks, in words; "" if none."""
    for name in entry.files:
        if files is None:
            return f"needs --files with {', '.join(entry.files)}"
        inside = files / name
        try:
            image_files.find(name, inside if inside.is_dir() else files)
        except (OSError, ValueError) as error:
            return f"{name}: {cli.sentence(error)}"
    return ""


@dataclasses.dataclass
class Ledger:
    """The memory of calls, beside the records: how long each took, and where all stand.

    Attributes:
        measured: of each call of an entry its "run" (`Entry.kind`), "device", "minutes", the
            "share" of the run that they were for, whether a "zoo" was made in them, and the
            minutes that were "expected" before any correction.
        begun: names of entries that were begun and are not finished.
        ended: names of entries that were finished by a call.
        zoos: names of zoos that are in the cache below the folder of all runs.
        recorded: likewise to `measured`, by records; these are not written.
    """

    measured: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    begun: list[str] = dataclasses.field(default_factory=list)
    ended: list[str] = dataclasses.field(default_factory=list)
    zoos: list[str] = dataclasses.field(default_factory=list)
    recorded: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def read(cls, path: pathlib.Path) -> "Ledger":
        """The ledger in a file; an empty one if there is none.

        Raises:
            DamagedError: it was altered, or is of another format; names it and the remedy.
        """
        remedy = "remove it, it holds estimates alone"
        try:
            data = storage.read_sealed(path)
        except FileNotFoundError:
            return cls()
        except DamagedError as error:
            raise DamagedError(f"{path}: {error}; {remedy}") from error
        if data.get("format") != FORMAT:
            raise DamagedError(f"{path}: expected format {FORMAT}; {remedy}")
        return cls(data["measured"], data["begun"], data["ended"], data["zoos"])

    def write(self, path: pathlib.Path) -> None:
        """Writes it, all of it or nothing."""
        storage.write_sealed(path, {**self.carried(), "zoos": self.zoos, "format": FORMAT})

    def carried(self) -> dict[str, Any]:
        """The part that holds on another machine, where no zoos are yet."""
        return {"measured": self.measured, "begun": self.begun, "ended": self.ended}

    def add(self, carried: Mapping[str, Any]) -> None:
        """Takes over the part of another machine; what either has finished is not begun."""
        self.measured += [m for m in carried.get("measured", ()) if m not in self.measured]
        self.ended = [*dict.fromkeys((*self.ended, *carried.get("ended", ())))]
        begun = dict.fromkeys((*self.begun, *carried.get("begun", ())))
        self.begun = [name for name in begun if name not in self.ended]

    def begin(self, entry: Entry) -> None:
        """Notes that an entry is under way."""
        self.begun = [*dict.fromkeys((*self.begun, entry.name))]
        self.ended = [name for name in self.ended if name != entry.name]

    def end(self, entry: Entry) -> None:
        """Notes that an entry is finished."""
        self.begun.remove(entry.name)
        self.ended.append(entry.name)

    def factor(self, device: str) -> float:
        """Minutes measured on a kind of device over those expected; 1 if there are none."""
        known = self.measured + self.recorded
        own = [m for m in known if m["device"] == device and m["share"] >= ENOUGH]
        expected = sum(m["expected"] for m in own)
        low, high = BOUNDS
        return min(high, max(low, sum(m["minutes"] for m in own) / expected)) if expected else 1.0

    def minutes(self, entry: Entry, share: float, device: str, gpu: bool, zoos: Zoos) -> float:
        """Minutes that the rest of an entry will take, its zoo included."""
        factor, zoo = self.factor(device), self._zoo(entry, gpu, zoos)
        same = [
            m
            for m in self.measured + self.recorded
            if (m["run"], m["device"], m["zoo"]) == (entry.kind, device, False)
        ]
        if (shares := sum(m["share"] for m in same)) >= ENOUGH:
            whole = sum(m["minutes"] for m in same) / shares
        else:
            whole = factor * (entry.gpu if gpu else entry.cpu)
        return whole * (1 - share) + factor * zoo

    def _zoo(self, entry, gpu, zoos):
        return 0.0 if entry.zoo in ("", *self.zoos) else zoos[entry.zoo][0 if gpu else 1]

    def note(
        self, entry: Entry, minutes: float, share: float, device: str, gpu: bool, zoos: Zoos
    ) -> None:
        """Adds a call of an entry that took so long for a share of the run."""
        zoo = self._zoo(entry, gpu, zoos)
        expected = (entry.gpu if gpu else entry.cpu) * share + zoo
        self.measured.append(_line(entry, device, minutes, share, zoo > 0, expected))

    def note_records(self, entry: Entry, runs_: Target, found: Sequence[Mapping]) -> None:
        """Adds what an entry took by its records, where no call of it was noted."""
        seconds: dict[tuple[str, Any], float] = {}
        for r in found:
            if runs_.matches(r["config"]):
                rates = r.get("rates", ()) if runs_.tries > 1 else ()
                spent = sum(rate.get("seconds", 0.0) for rate in rates) or r["seconds"]
                seconds[records.device_kind(r), r.get("train_zoo")] = spent
        for device in dict.fromkeys(device for device, _ in seconds):
            if (entry.kind, device) not in {(m["run"], m["device"]) for m in self.measured}:
                minutes = sum(s for (where, _), s in seconds.items() if where == device) / 60
                expected = entry.cpu if device == "cpu" else entry.gpu
                self.recorded.append(_line(entry, device, minutes, 1.0, False, expected))


def _line(entry, device, minutes, share, zoo, expected):
    line = {"run": entry.kind, "device": device, "minutes": round(minutes, 3), "zoo": zoo}
    return line | {"share": round(share, 4), "expected": round(expected, 4)}


@contextlib.contextmanager
def deadline(
    seconds: float, grace: float = 0.0, give_up: Callable[[], object] | None = None
) -> Iterator[argparse.Namespace]:
    """Interrupts what runs in it after so many seconds, by the signal that clusters send.

    Args:
        seconds: until the signal.
        grace: further seconds until `give_up`.
        give_up: called in another thread if what runs has not ended by then: a compilation and
            a block of a zoo take no notice of signals while they last.

    Yields:
        `rang`: whether it did.
    """
    alarm, ended = argparse.Namespace(rang=False), threading.Event()

    def interrupt(*_):
        raise KeyboardInterrupt

    def ring(*_):
        alarm.rang = True
        signal.raise_signal(signal.SIGTERM)

    alone = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # else it is that of `cli.run`
    if alone:
        signal.signal(signal.SIGTERM, interrupt)
    ringing = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))

    def watch():
        if not ended.wait(seconds + grace):
            give_up()

    if give_up is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield alarm
    finally:
        ended.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, ringing)
        if alone:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

"""Kills, signals, concurrent writers and two copies of one command.

    whole run -------------------------> result
    run, killed -> the same command ---> the same result, bit for bit

Kills come at a moment, or before a file is written through or renamed, both drawn.
"""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.faults import programs
from experiments.faults.attacks import Attack, Verdict, cases, same
from experiments.faults.launcher import COMMAND, Ended, Process, launcher
from experiments.lib import records
from wsjax import tasks
from wsjax.storage import fingerprint
from wsjax.training.log import read_lines

LIMIT = 60.0  # seconds; a command that takes longer hangs, also on a busy machine
SIGNALS = (signal.SIGTERM, signal.SIGINT)
TIMES = ("seconds", "examples_per_second", "seal")  # of a line of metrics, which no two runs share


@dataclasses.dataclass(frozen=True)
class Whole:
    """An uninterrupted run.

    Attributes:
        result: of it.
        operations: see `Ended`.
        folder: it is in.
    """

    result: Any
    operations: int
    folder: pathlib.Path


def kills(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """`kill -9` while training, every fifth run twice; then the same command to its end."""
    whole = fitted()
    for number, draw in cases(rng, count):
        yield timed(_kill, whole, number, draw, folder / str(number))


def _kill(whole, number, draw, place):
    start = functools.partial(launcher().start, "fit", place, place.with_suffix(".npz"))
    for _ in range(2 if number % 5 == 4 else 1):
        if number % 2:
            start(die_at=int(draw.integers(1, whole.operations + 1))).wait(LIMIT)
            continue
        least, process = int(draw.integers(0, programs.STEPS)), start()
        wait_for(lambda least=least: len(read_lines(place / "metrics.jsonl")) >= least, process)
        time.sleep(draw.uniform(0, 0.1 if least else 1.0))
        process.send(signal.SIGKILL)
        process.wait(LIMIT)
    return concluded(start().wait(LIMIT), lambda: fit_result(place), whole.result)


def signals(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """SIGTERM and Ctrl-C while training; every third before the first step."""
    whole = trained()
    for number, draw in cases(rng, count):
        yield timed(_signal, whole, number, draw, with_zoo(folder / str(number)))


def _signal(whole, number, draw, place):
    training, sent = number % 3 < 2, SIGNALS[number % 2]
    process, least = start_training(place), int(draw.integers(1, programs.STEPS - 4))
    if training:
        wait_for(lambda: len(lines_of(place)) >= least, process)
    else:
        wait_for(lambda: list(place.glob("inr_frequency/*/mlp-*")), process)
        time.sleep(draw.uniform(0, 1.0))
    process.send(sent)
    ended = process.wait(LIMIT)
    if wrong := interruption(ended, sent, sentence=training):
        return Verdict("crashed", wrong)
    if training and ended.code and (wrong := unsaved(place)):
        return Verdict("crashed", f"{sent.name}: {wrong}")
    again = start_training(place).wait(LIMIT)
    return concluded(again, lambda: command_result(place), whole.result)


def worker_signals(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """SIGTERM and Ctrl-C to a command whose methods train side by side, in two workers."""
    whole = trained()
    for number, draw in cases(rng, count):
        yield timed(_signal_workers, whole, number, draw, with_zoo(folder / str(number)))


def _signal_workers(whole, number, draw, place):
    sent, start = SIGNALS[number % 2], functools.partial(start_training, place)
    process = start("--methods", "mlp,stat_nn", "--jobs", "2")
    least = int(draw.integers(1, programs.STEPS - 4))
    wait_for(lambda: len(lines_of(place)) >= least, process, 4 * LIMIT)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = children.read_text().split() if process.running else []
    process.send(sent)
    ended = process.wait(LIMIT)
    if wrong := interruption(ended, sent, sentence=False):
        return Verdict("crashed", wrong)
    if ended.code and (wrong := unsaved(place)):
        return Verdict("crashed", f"{sent.name}: {wrong}")
    end = time.monotonic() + 10
    while (left := [x for x in children if _alive(x)]) and time.monotonic() < end:
        time.sleep(0.1)
    if left:
        return Verdict("crashed", f"{sent.name} leaves {len(left)} processes")
    return concluded(start().wait(LIMIT), lambda: command_result(place), whole.result)


def _alive(pid):
    with contextlib.suppress(OSError):
        return bool(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())  # of a zombie: nothing
    return False


def zoo_stops(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """`kill -9`, SIGTERM and Ctrl-C while a zoo of sines is made, in five blocks."""
    whole = made()
    for number, draw in cases(rng, count):
        yield timed(_stop_zoo, whole, number, draw, folder / str(number))


def _stop_zoo(whole, number, draw, place):
    sent, start = (signal.SIGKILL, *SIGNALS)[number % 3], functools.partial(start_mean, place)
    least, moment = int(draw.integers(1, 5)), draw.uniform(0, 0.5)
    if number % 6 == 0:
        ended = start(die_at=int(draw.integers(1, whole.operations + 1))).wait(LIMIT)
    else:
        process = start()
        wait_for(lambda: len(blocks_of(place, ".json")) >= least, process)
        time.sleep(moment)
        process.send(sent)
        ended = process.wait(LIMIT)
    if sent != signal.SIGKILL:
        if wrong := interruption(ended, sent, sentence=False):
            return Verdict("crashed", wrong)
        if partial := list(place.rglob("*.partial")):
            return Verdict("crashed", f"{sent.name} leaves {partial[0].name}")
    kept = {x: x.stat().st_mtime_ns for x in blocks_of(place, ".json")}
    again = start().wait(LIMIT)
    if lost := [x.name for x, at in kept.items() if not x.exists() or x.stat().st_mtime_ns != at]:
        return Verdict("crashed", f"the finished block {lost[0]} was made again")
    if partial := list(place.rglob("*.partial")):
        return Verdict("crashed", f"{partial[0].name} stays for ever")
    return concluded(again, lambda: zoo_result(place), whole.result)


def log_appends(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Lines that two processes append to one log; a case is a line."""
    path = folder / "log.jsonl"
    read = lambda: [(line["writer"], line["number"]) for line in read_lines(path)]
    yield from _appended("append_lines", path, count, read)


def record_appends(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Records that two processes append to one file; a case is a record."""
    read = lambda: [(int(r["row"]), r["metrics"]["number"]) for r in records.read("x", folder)]
    yield from _appended("append_records", folder, count, read)


def _appended(program, path, count, read):
    share = -(-count // 2)
    begin = time.time() + 1
    both = [launcher().start(program, path, writer, share, begin) for writer in (0, 1)]
    ends = [process.wait(4 * LIMIT) for process in both]
    wrong = [x.fault or x.sentence for x in ends if x.fault or x.code]
    try:
        entries = read()
    except ValueError as error:
        entries, wrong = [], [f"cannot be read: {error}"]
    for i in range(count):
        times = entries.count((i % 2, i // 2))
        if times == 1:
            yield Verdict("survived", "")
        else:
            outcome, words = ("crashed", wrong[0]) if wrong else ("silent", f"is there {times} x")
            yield Verdict(outcome, f"number {i // 2} of process {i % 2}: {words}")


def record_kills(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """`kill -9` before each write of an experiment that has three records, then once more."""
    run, whole = functools.partial(launcher().run, "execute", limit=LIMIT), folder / "whole"
    operations, expected = run(whole).operations, three_records(whole)
    for number, _ in cases(rng, count):
        place = folder / str(number)

        def kill(place=place, at=1 + number % operations):
            run(place, die_at=at)
            again = run(place)
            return concluded(again, lambda: three_records(place), expected)

        yield timed(kill)


def three_records(folder: pathlib.Path) -> dict[str, Any]:
    """The records of `programs.execute`, on record and as the run has them, in their order."""
    (finished,) = folder.glob("x/smoke/three-*/record.json")
    on_record = records.read("x", folder / "results")
    return {"zoos": sorted(r["test_zoo"] for r in on_record), "finished": finished.name}


def copies(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Two copies of one command at the same time in one folder."""
    kinds = (_fit_twice, _execute_twice, _train_twice, _make_twice)
    for number, _ in cases(rng, count):
        yield timed(kinds[number % len(kinds)], folder / str(number))


def _fit_twice(place):
    start = functools.partial(launcher().start, "fit", place, place.with_suffix(".npz"))
    first = start()
    wait_for(lambda: read_lines(place / "metrics.jsonl"), first)
    return _both(first, start(), place, fit_result, fitted().result)


def _execute_twice(place):
    start = functools.partial(launcher().start, "execute", place)
    expected = {"zoos": ["0", "1", "2"], "finished": "record.json"}
    return _both(start(), start(), place, three_records, expected)


def _train_twice(place):
    first = start_training(with_zoo(place))
    wait_for(lambda: lines_of(place), first)
    return _both(first, start_training(place), place, command_result, trained().result)


def _make_twice(place):
    return _both(start_mean(place), start_mean(place), place, zoo_result, made().result)


def _both(first, second, place, read, expected):
    """The verdict on two copies: one works; the other one may, or names the folder."""
    ends = [process.wait(LIMIT) for process in (first, second)]
    for ended in ends:
        if ended.fault or (ended.code and str(place) not in ended.sentence):
            return Verdict("crashed", ended.fault or f"names no folder: {ended.sentence}")
    ends.sort(key=lambda ended: ended.code != 0)
    found = concluded(ends[0], lambda: read(place), expected)
    if found.outcome == "survived" and ends[1].code:
        return Verdict("refused", ends[1].sentence)
    return found


def timed(case: Callable[..., Verdict], *arguments: Any) -> Verdict:
    """A verdict, with the time that it took; a folder that cannot be looked into is a crash."""
    begin = time.monotonic()
    try:
        found = case(*arguments)
    except (OSError, ValueError) as error:
        found = Verdict("crashed", f"{type(error).__name__}: {error}"[:400])
    return found._replace(seconds=time.monotonic() - begin)


def concluded(again: Ended, read: Callable[[], Any], expected: Any) -> Verdict:
    """The verdict on a command that was to complete what was stopped."""
    if again.fault or again.code:
        return Verdict("crashed", f"the same command then: {again.fault or again.sentence}")
    try:
        result = read()
    except Exception as error:
        return Verdict("crashed", f"no result: {type(error).__name__}: {error}"[:400])
    if same(result, expected):
        return Verdict("survived", "")
    return Verdict("silent", f"got {result!r}"[:300] + f", expected {expected!r}"[:300])


def interruption(ended: Ended, sent: signal.Signals, sentence: bool) -> str:
    """Why a command did not end well after a signal, or nothing."""
    if ended.fault:
        return f"{sent.name}: {ended.fault}"
    if ended.code not in (0, 128 + sent, -sent):
        return f"{sent.name}: exit code {ended.code}: {ended.sentence}"
    if sentence and ended.code and "continue" not in ended.sentence:
        return f"{sent.name}: not a word of how to continue: {ended.sentence}"
    return ""


def unsaved(place: pathlib.Path) -> str:
    """Whether the last step on record has no checkpoint, in words."""
    last = lines_of(place)[-1]["step"]
    return "" if (run_home(place) / str(last)).is_dir() else f"no checkpoint of step {last}"


def wait_for(condition: Callable[[], object], process: Process, limit: float = LIMIT) -> None:
    """Waits until a condition is met, or the process has ended."""
    end = time.monotonic() + limit
    while process.running and time.monotonic() < end and not condition():
        time.sleep(0.01)


@functools.cache
def fitted() -> Whole:
    """`programs.fit`, uninterrupted."""
    place = launcher().folder / "fitted"
    ended = launcher().run("fit", place, place.with_suffix(".npz"))
    return _whole(ended, place, fit_result)


@functools.cache
def trained() -> Whole:
    """A method that is trained, by the command line, uninterrupted."""
    place = with_zoo(launcher().folder / "trained")
    return _whole(start_training(place).wait(4 * LIMIT), place, command_result)


@functools.cache
def made() -> Whole:
    """A zoo of sines in five blocks and a method without training, uninterrupted."""
    place = launcher().folder / "made"
    return _whole(start_mean(place).wait(4 * LIMIT), place, zoo_result)


def _whole(ended, place, read):
    if ended.fault or ended.code:
        raise RuntimeError(f"without a fault: {ended.fault or ended.err}")
    return Whole(read(place), ended.operations, place)


def with_zoo(place: pathlib.Path) -> pathlib.Path:
    """The folder, with the zoo that the command line learns from."""
    shutil.copytree(made().folder / "cache", place / "cache")
    return place


def start_training(place: pathlib.Path, *more: object) -> Process:
    """Starts the command line that trains a method."""
    every = f"training.evaluate_every=1,training.checkpoint_every={programs.EVERY}"
    flags = ("--methods", "mlp", "--set", f"training.steps={programs.STEPS},{every}")
    return _start(place, *flags, *more)


def start_mean(place: pathlib.Path, *more: object, die_at: int = 0) -> Process:
    """Starts the command line with a method that is not trained; the zoo is made if need be."""
    return _start(place, "--methods", "mean", *more, die_at=die_at)


def _start(place, *flags, die_at=0):
    shared = ("--preset", "smoke", "--jobs", "1", "--folder", place)
    return launcher().start("command", COMMAND, *shared, *flags, die_at=die_at)


def run_home(place: pathlib.Path) -> pathlib.Path:
    """The folder of the trained run below one of all runs."""
    return next(place.glob("inr_frequency/smoke-custom/mlp-0-*"))


def lines_of(place: pathlib.Path) -> list[dict]:
    """The metrics of the trained run so far."""
    homes = list(place.glob("inr_frequency/smoke-custom/mlp-0-*"))
    return read_lines(homes[0] / "metrics.jsonl") if homes else []


def steady(lines: list[dict]) -> list[dict]:
    """Lines of metrics without times."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def fit_result(place: pathlib.Path, final: pathlib.Path | None = None) -> dict[str, Any]:
    """The variables and the metrics of `programs.fit`."""
    with np.load(final or place.with_suffix(".npz")) as arrays:
        return {"metrics": steady(read_lines(place / "metrics.jsonl")), "final": dict(arrays)}


def command_result(place: pathlib.Path) -> dict[str, Any]:
    """The metrics, the best variables and the records of the command line."""
    home = run_home(place)
    best = tasks.restore(home).variables
    on_record = [r["metrics"] for r in records.read("inr_frequency", place / "results", row="mlp")]
    return {"metrics": steady(read_lines(home / "metrics.jsonl")), "records": on_record,
            "best": _flat(best)}  # fmt: skip


def _flat(tree):
    return {jax.tree_util.keystr(k): x for k, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def zoo_result(place: pathlib.Path) -> dict[str, Any]:
    """The arrays of all blocks of the zoo, and the records."""
    on_record = [r["metrics"] for r in records.read("inr_frequency", place / "results")]
    blocks = {x.name: fingerprint(x)["sha256"] for x in blocks_of(place, ".safetensors")}
    return {"blocks": blocks, "records": on_record}


def blocks_of(place: pathlib.Path, ending: str) -> list[pathlib.Path]:
    """The files of the zoo's blocks."""
    return sorted(place.glob(f"cache/zoos/*/block-*{ending}"))


ATTACKS = (
    Attack("kills", "`kill -9` while training; the same command then", 50, 3, kills),
    Attack("signals", "SIGTERM and Ctrl-C while training; the same command then", 18, 1, signals),
    Attack("worker_signals", "SIGTERM and Ctrl-C while workers train", 2, 0, worker_signals),
    Attack("zoo_stops", "kill, SIGTERM, Ctrl-C while a zoo is made", 18, 1, zoo_stops),
    Attack("log_appends", "lines of two processes in one log", 600, 60, log_appends),
    Attack("record_appends", "records of two processes in one file", 600, 60, record_appends),
    Attack("record_kills", "`kill -9` between records and their end", 12, 3, record_kills),
    Attack("copies", "two copies of one command in one folder", 8, 1, copies),
)  # fmt: skip

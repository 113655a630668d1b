"""Disks that are full, folders that are read-only, results that cannot be written.

    a command there -----------------> one sentence that names the place, and an end
    the same command on a good disk -> the result, as if nothing had been

A bad disk is a small file system in memory, mounted for a case. Without the right to mount one,
attacks on disks have no cases, and say so.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.faults import processes, programs
from experiments.faults.attacks import Attack, Verdict, cases
from experiments.faults.launcher import Process, launcher
from experiments.faults.processes import LIMIT, concluded, timed
from experiments.lib import records
from wsjax.datasets import images
from wsjax.training.log import read_lines
from wsjax.zoos import store
from wsjax.zoos.sines import sine

LINES = 400  # of a log, and of records


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that writes into a folder.

    Attributes:
        start: folder -> its process.
        read: folder -> its result.
        expected: the result on a good disk.
        needs: bytes that it writes there, about.
        prepare: folder -> None: what it starts from.
    """

    start: Callable[[pathlib.Path], Process]
    read: Callable[[pathlib.Path], Any]
    expected: Any
    needs: int
    prepare: Callable[[pathlib.Path], Any] = lambda place: place.mkdir()


def full_disks(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Disks that are full after a drawn number of bytes."""
    kinds = (_fit, _log, _images, _train, _records, _zoo, _blocks)
    if mountable("full_disks", folder):
        for number, draw in cases(rng, count):
            yield timed(_full, kinds[number % len(kinds)], draw, folder / str(number))


def _full(kind, draw, disk):
    command = kind(disk)
    with mounted(disk):
        command.prepare(disk / "place")
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler = disk / "filler"
        filler.write_bytes(bytes(max(0, room - int(draw.integers(0, command.needs)))))
        ended = command.start(disk / "place").wait(LIMIT)
        filler.unlink()
        return _then(command, ended, disk / "place", disk)


def read_only(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Disks that are read-only."""
    kinds = (_log, _train, _fit, _halfway, _records, _zoo, _images, _blocks)
    if mountable("read_only", folder):
        for number, _ in cases(rng, count):
            yield timed(_read_only, kinds[number % len(kinds)], folder / str(number))


def _read_only(kind, disk):
    command = kind(disk)
    with mounted(disk):
        command.prepare(disk / "place")
        _mount("-o", "remount,ro", disk)
        ended = command.start(disk / "place").wait(LIMIT)
        _mount("-o", "remount,rw", disk)
        return _then(command, ended, disk / "place", disk)


def result_paths(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Records that cannot be written where the command line has them: before any training."""
    for number, _ in cases(rng, count):
        yield timed(_unwritable, number % 4, folder / str(number))


def _unwritable(kind, place):
    command = _train(place)
    command.prepare(place)
    bad = place / "bad"
    if kind == 1:  # a folder where the records' file is to be
        (bad / "inr_frequency.jsonl").mkdir(parents=True)
    else:  # a file where a folder is to be
        bad.touch()
    flags = ("--folder", bad) if kind == 3 else ("--results", bad / "below" if kind == 2 else bad)
    ended = processes.start_training(place, *flags).wait(LIMIT)
    if processes.lines_of(place) and not ended.fault:
        return Verdict("crashed", f"known only after training: {ended.sentence}")
    return _then(command, ended, place, bad)


def _then(command, ended, place, bad) -> Verdict:
    """The verdict on a command that could not write, and on the same where it can."""
    if ended.fault or (ended.code and str(bad) not in ended.sentence):
        return Verdict("crashed", ended.fault or f"names no place: {ended.sentence}")
    if partial := list(place.rglob("*.partial")):
        return Verdict("crashed", f"leaves {partial[0].name}")
    again = command.start(place).wait(LIMIT)
    found = concluded(again, lambda: command.read(place), command.expected)
    if ended.code and found.outcome == "survived":
        return Verdict("refused", ended.sentence)
    return found


def _fit(disk) -> Command:
    whole, final = processes.fitted(), disk.with_suffix(".npz")
    start = lambda place: launcher().start("fit", place, final)
    return Command(start, lambda place: processes.fit_result(place, final), whole.result,
                   _size(whole.folder))  # fmt: skip


def _halfway(disk) -> Command:
    """A run that was killed, and shall go on."""
    command, half = _fit(disk), processes.fitted().operations // 2
    final = disk.with_suffix(".npz")
    kill = lambda place: launcher().run("fit", place, final, die_at=half)
    return dataclasses.replace(command, prepare=kill)


def _train(disk) -> Command:
    whole = processes.trained()
    needs = _size(whole.folder) - _size(whole.folder / "cache")
    return Command(processes.start_training, processes.command_result, whole.result, needs,
                   processes.with_zoo)  # fmt: skip


def _log(disk) -> Command:
    start = lambda place: launcher().start("append_lines", place / "log.jsonl", 0, LINES)
    read = lambda place: [line["number"] for line in read_lines(place / "log.jsonl")]
    return Command(start, read, list(range(LINES)), 40 * LINES)


def _records(disk) -> Command:
    start = lambda place: launcher().start("append_records", place, 0, LINES)
    read = lambda place: [r["metrics"]["number"] for r in records.read("x", place)]
    return Command(start, read, list(range(LINES)), 200 * LINES)


def _zoo(disk) -> Command:
    read = lambda place: store.load(place / "zoo")[0]
    expected = programs.random_zoo(count=programs.NETWORKS)
    return Command(_keep("zoo"), read, expected, 200 << 10)


def _images(disk) -> Command:
    read = lambda place: images.read(place / "images")
    return Command(_keep("images"), read, programs.tiny_images(), 250 << 10)


def _blocks(disk) -> Command:
    read = lambda place: [x.name for x in sorted((place / "blocks").glob("*/*"))]
    return Command(_keep("blocks"), read, _block_names(), 16 << 10)


@functools.cache
def _block_names():
    place = launcher().folder / "blocks"
    sine.make(programs.WAVES, place)
    return [x.name for x in sorted(place.glob("*/*"))]


def _keep(kind):
    return lambda place: launcher().start("keep", kind, place / kind)


def _size(folder):
    return sum(x.stat().st_size for x in folder.rglob("*") if x.is_file())


def mountable(attack: str, folder: pathlib.Path) -> bool:
    """Whether a file system can be mounted in a folder; says so where it cannot."""
    try:
        with mounted(folder / "trial"):
            return True
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{attack}: not possible here, no file system can be mounted: {error}", flush=True)
        return False


@contextlib.contextmanager
def mounted(folder: pathlib.Path) -> Iterator[None]:
    """A file system of 8 MB in memory, at a folder.

    Raises:
        OSError, subprocess.CalledProcessError: it cannot be mounted.
    """
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def _mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


ATTACKS = (
    Attack("full_disks", "a disk that is full; the same command with room then", 21, 2, full_disks),
    Attack("read_only", "a disk that is read-only; the same on another then", 8, 1, read_only),
    Attack("result_paths", "records that cannot be written", 4, 1, result_paths),
)

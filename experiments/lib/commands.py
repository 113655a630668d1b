"""The `wsjax` command in a process of its own: its output, exit code, time and memory."""

import os
import pathlib
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from experiments.lib import memory

ROOT = pathlib.Path(__file__).parents[2]  # not of `records`: the command is to import nothing else
PRETRAINED = ROOT / "experiments" / "pretrained"
PROGRAM = "from experiments.lib import commands; commands.command()"


class Ran(NamedTuple):
    """A command that has ended.

    Attributes:
        code: its exit code.
        output: what it printed; what it printed as an error follows.
        first: seconds from the start of the process to its first line.
        seconds: to its end.
        megabytes: MiB of its memory at their peak.
    """

    code: int
    output: str
    first: float
    seconds: float
    megabytes: float


def run(arguments: Sequence[str], folder: pathlib.Path | None = None) -> Ran:
    """Runs `wsjax` with arguments, in a folder or here, as in a pipe."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {k: x for k, x in os.environ.items() if k != "COLUMNS"}  # which makes it a terminal
    begin = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        **dict.fromkeys(("stdout", "stderr"), subprocess.PIPE),
        text=True,
        cwd=folder,
        env={**kept, "PYTHONPATH": path, "WSJAX_PRETRAINED": str(PRETRAINED)},
    ) as process:
        line = process.stdout.readline()
        first = time.monotonic() - begin
        rest, errors = process.communicate()
    seconds = time.monotonic() - begin
    *errors, most = errors.splitlines()
    output = "\n".join([*(line + rest).splitlines(), *errors])
    figures = round(first, 3), round(seconds, 3), round(float(most), 1)
    return Ran(process.returncode, output, *figures)


def command() -> None:
    """`wsjax` with the process's arguments; the last line on standard error is its memory."""
    try:
        runpy.run_module("wsjax", run_name="__main__")
    finally:
        print(memory.peak(), file=sys.stderr)

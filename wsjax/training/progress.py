"""Progress of a long loop on the terminal, and interruption of it.

    recent = Recent(batch)           metrics of steps -> checked, averaged, examples a second
    with bar("loss", 100) as display: a bar on a terminal, `None` elsewhere
    with report(...) as show:        a training run: the bar, and a line at each evaluation
    with progress(total) as show:    a zoo being made: the bar, or a line for each piece
    with board(folder, 0) as write:  TensorBoard
    with interruptible() as stop:    `stop` is true once Ctrl-C was pressed or SIGTERM came

The log that is kept of a run is `wsjax.training.log.JsonLines`.
"""

import contextlib
import functools
import math
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

import jax
import numpy as np


def expect_finite(name: str, value: float, step: int) -> None:
    """Stops a run that diverges.

    Raises:
        FloatingPointError: the value is NaN or infinite; names it and the step.
    """
    if not math.isfinite(value):
        raise FloatingPointError(f"{name} is {value} at step {step}")


class Recent:
    """The metrics of the steps since the last line.

    Each step's are fetched when the next one is already under way: so every step is checked
    and the device does not wait for the host.

    Attributes:
        batch: examples a step.
    """

    def __init__(self, batch: int):
        self.batch = batch
        self.waiting: tuple[int, Mapping[str, jax.Array]] | None = None
        self.last: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Forgets the steps so far; the clock starts anew."""
        self.steps, self.start = [], time.monotonic()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> dict[str, float]:
        """Adds a step's metrics; returns the newest that have arrived, {} at first.

        Raises:
            FloatingPointError: "loss" or "gradient_norm" of the step before is not finite.
        """
        self.flush()
        self.waiting = (step, metrics)
        return self.last

    def flush(self) -> None:
        """Waits for the last step's metrics and checks them; raises as `add`."""
        if self.waiting is None:
            return
        step, metrics = self.waiting
        self.waiting = None
        self.last = {name: float(x) for name, x in jax.device_get(metrics).items()}
        expect_finite("loss", self.last["loss"], step)
        expect_finite("gradient norm", self.last["gradient_norm"], step)
        self.steps.append(self.last)

    def take(self) -> dict[str, float]:
        """The means, the newest learning rate, and how many examples a second."""
        self.flush()
        means = {name: float(np.mean([r[name] for r in self.steps])) for name in self.last}
        means["learning_rate"] = self.last["learning_rate"]
        seconds = max(time.monotonic() - self.start, 1e-9)
        means["examples_per_second"] = round(len(self.steps) * self.batch / seconds, 1)
        return means


class Bar:
    """A bar on a terminal, with words before it and a rate behind it; see `bar`."""

    def __init__(self, display, words: str, total: int, done: int):
        self._display = display
        self._task = display.add_task(words, total=total, completed=done, rate="")

    def show(self, done: int, words: str, rate: str) -> None:
        """Moves the bar."""
        self._display.update(self._task, completed=done, description=words, rate=rate)

    def print(self, line: str) -> None:
        """Puts a line above the bar, where it stays."""
        self._display.console.print(line)

    @property
    def speed(self) -> float:
        """Steps a second lately, 0 before it is known."""
        return self._display.tasks[0].speed or 0.0


@contextlib.contextmanager
def bar(words: str, total: int, done: int = 0, out: TextIO | None = None) -> Iterator[Bar | None]:
    """A bar of `total` steps if `out` (standard output) is a terminal, else `None`.

    Lines that overwrite each other are of no use in a log: where there is none, callers print.
    """
    out = out or sys.stdout
    if not out.isatty():
        yield None
        return
    import rich.console
    import rich.progress as rich_progress

    columns = (
        "{task.description}",
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        "{task.fields[rate]}",
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=rich.console.Console(file=out)) as display:
        yield Bar(display, words, total, done)


@contextlib.contextmanager
def report(
    steps: int, batch: int, select: str, done: int = 0, quiet: bool = False
) -> Iterator[Callable[..., None]]:
    """Shows a training run on standard output: a bar, and a line at each evaluation.

    Args:
        steps: of the whole run.
        batch: examples a step.
        select: the validation metric that the lines show.
        done: steps done before.
        quiet: show nothing.

    Yields:
        A function of the step and its metrics, to call at each step (it moves the bar), and
        with `finished=True` at an evaluation, whose line it prints; metrics that then must
        be there are "loss", "val_SELECT", "examples_per_second" and "seconds".
    """
    if quiet:
        yield lambda step, line, finished=False: None
        return
    with bar("loss", steps, done) as display:

        def show(step, line, finished=False):
            if finished:
                values = f"loss {line['loss']:.4g}  val_{select} {line[f'val_{select}']:.4g}"
                rest = f"{line['examples_per_second']:.0f} examples/s  {line['seconds']:.1f} s"
                put = display.print if display else functools.partial(print, flush=True)
                put(f"step {step}/{steps}  {values}  {rest}")
            if display:
                loss = f"loss {line['loss']:.4g}" if line else "loss"
                rate = f"{display.speed * batch:.0f} examples/s" if display.speed else ""
                display.show(step, loss, rate)

        yield show


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int, float], None]]:
    """Shows networks fitted, networks per second and time left, on standard error.

    A bar on a terminal; elsewhere, such as in a log, a line for each report. Yields the
    function to report by: networks done, seconds so far.
    """
    with bar("fitting", total, out=sys.stderr) as display:

        def show(done, seconds):
            rate = done / seconds
            if display:
                display.show(done, "fitting", f"{rate:.1f} networks/s")
                return
            left = f"{(total - done) / rate:.0f} s left"
            words = f"fitted {done} of {total} networks, {rate:.1f} networks/s, {left}"
            print(words, file=sys.stderr, flush=True)

        yield show


@contextlib.contextmanager
def board(folder: pathlib.Path | None, done: int) -> Iterator[Callable[[Mapping], None]]:
    """Writes lines of metrics for TensorBoard.

    Args:
        folder: where to; with `None` nothing is written.
        done: the step a resumed run starts from; what the folder has of later ones is void.

    Yields:
        A function of a line, name -> number, "step" among them.

    Raises:
        ImportError: tensorboardX is not installed.
    """
    if folder is None:
        yield lambda line: None
        return
    try:
        import tensorboardX
    except ImportError as error:
        raise ImportError(
            "tensorboard=True needs tensorboardX: pip install 'wsjax[tensorboard]'"
        ) from error
    with tensorboardX.SummaryWriter(str(folder), purge_step=done + 1) as out:

        def write(line):
            for name, value in line.items():
                if name != "step":
                    out.add_scalar(name, value, line["step"])

        yield write


class Interrupted(KeyboardInterrupt):
    """A request to stop, by Ctrl-C or SIGTERM, that was acted on: what was done is kept.

    Attributes:
        signum: the signal's number; a program exits with 128 and it by custom.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT):
        super().__init__(message)
        self.signum = signum


class Stop:
    """True once Ctrl-C was pressed or SIGTERM came.

    Attributes:
        signal: the number of the signal that came, `None` until then.
    """

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """Makes the first Ctrl-C or SIGTERM a request; a second signal acts at once.

    Clusters send SIGTERM some time before they kill. Whoever reads the request raises
    `Interrupted`. Outside the main thread, which alone may handle signals, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number, _):
        stop.signal = number
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    # None: set by other than Python code, which it could not be given back to
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    before = {n: handler for n, handler in before.items() if handler is not None}
    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()

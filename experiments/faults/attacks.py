"""An attack, the verdict on each of its cases, and the process that a case runs in.

    attack --run(generator, count, folder)--> Verdict, Verdict, ...   one for each case

A case draws from a generator of its own (`cases`), so that it can be repeated alone:

    for number, rng in cases(rng, count):
        yield verdict(lambda: read(damaged(rng)), expected=[right], names=[path])

    survived   the right result came back, bit for bit
    refused    one of the promised errors, whose message names the file
    silent     another result, without a word
    crashed    any other error, the death of the process, too much time or memory
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import pickle
import resource
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lib import memory

OUTCOMES = ("survived", "refused", "silent", "crashed")
PROMISED = (ValueError, FileNotFoundError)  # `DamagedError` and `FileFormatError` are ValueErrors
CPU_SECONDS = 60  # after which a case that has a process of its own is killed
ADDRESS_SPACE = 4 << 30  # bytes that a case may ask for, beyond those of the idle process


class Verdict(NamedTuple):
    """What came of a case.

    Attributes:
        outcome: one of `OUTCOMES`.
        words: what happened, for the log.
        seconds: it took; of the CPU, where it ran in a `Workshop`: others may use the cores.
        megabytes: of memory at its peak, beyond those of the idle process.
    """

    outcome: str
    words: str
    seconds: float = 0.0
    megabytes: float = 0.0


@dataclasses.dataclass(frozen=True)
class Attack:
    """A row of the table.

    Attributes:
        name: the `row` of its record.
        words: one line about it.
        count: cases of the whole run.
        quick: cases in the tests and at `--preset quick`.
        run: (generator, count, an empty folder) -> a verdict for each case; see `cases`.
    """

    name: str
    words: str
    count: int
    quick: int
    run: Callable[[np.random.Generator, int, pathlib.Path], Iterator[Verdict]]


def generator(seed: int, name: str, case: int = 0) -> np.random.Generator:
    """The generator that an attack is run with; from one of its cases on."""
    rng = np.random.default_rng([seed, *name.encode()])
    if case:
        rng.spawn(case)
    return rng


def cases(rng: np.random.Generator, count: int) -> Iterator[tuple[int, np.random.Generator]]:
    """The number and the generator of each case.

    Both are those of the whole run, if the generator starts at a later case.
    """
    for _ in range(count):
        (child,) = rng.spawn(1)
        yield child.bit_generator.seed_seq.spawn_key[-1], child


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal bit for bit: dicts, sequences, dataclasses, arrays."""
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, k), getattr(b, k)) for k in names)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "dtype"):
        a, b = np.asarray(a), np.asarray(b)
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and (a == b or repr(a) == repr(b))  # NaN is itself


def verdict(
    read: Callable[[], Any],
    expected: Iterable[Any],
    names: Iterable[str | os.PathLike],
    promised: Sequence[type[BaseException]] = PROMISED,
    equal: Callable[[Any, Any], bool] = same,
) -> Verdict:
    """Runs a case in this process.

    Args:
        read: gives the result.
        expected: the results that are right.
        names: a refusal names one of these.
        promised: the errors that are a refusal.
        equal: (result, expected) -> whether they are the same.
    """
    begin = time.process_time()
    took = lambda outcome, words: Verdict(outcome, words, time.process_time() - begin)
    try:
        result = read()
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        if not isinstance(error, tuple(promised)):
            return took("crashed", words)
        if not any(os.fspath(name) in str(error) for name in names):
            return took("crashed", f"the message names no file: {words}")
        return took("refused", words)
    if any(equal(result, right) for right in expected):
        return took("survived", "")
    return took("silent", f"got {result!r}"[:400])


class Workshop:
    """Runs cases in another process, each within limits of time and memory.

    Attributes:
        seconds: a case that takes more of the CPU has crashed.
        megabytes: likewise, of memory.
        killed: seconds by the clock after which a case is killed; many, for a busy machine.
        forks: whether each case has a process of its own; otherwise all have one, until it
            dies.
    """

    def __init__(
        self,
        seconds: float = 60.0,
        megabytes: float = 1024.0,
        forks: bool = False,
        killed: float = 300.0,
    ):
        self.seconds, self.megabytes, self.forks, self.killed = seconds, megabytes, forks, killed
        self._process = None

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def run(self, case: Callable[..., Verdict], *arguments: Any) -> Verdict:
        """The verdict of a function of a module, or "crashed" if it did not come to one."""
        if self._process is None:
            self._start()
        self._pipe.send_bytes(pickle.dumps((case, arguments)))
        begin = time.monotonic()
        try:
            if not self._pipe.poll(self.killed):
                words, peak = f"no end after {self.killed:.0f} s", self._peak()
                self._stop()
                return Verdict("crashed", words, self.killed, peak)
            found = self._pipe.recv()
        except EOFError:
            self._process.join()
            words = f"the process ended with code {self._process.exitcode}"
            self._stop()
            return Verdict("crashed", words, time.monotonic() - begin)
        if found.megabytes > self.megabytes or found.seconds > self.seconds:
            took = f"{found.seconds:.1f} s and {found.megabytes:.0f} MB"
            return found._replace(
                outcome="crashed", words=f"{took}; {found.outcome}: {found.words}"
            )
        return found

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, self.forks), daemon=True)
        self._process.start()
        other_end.close()
        self._pipe.recv()  # its start does not count

    def _peak(self):
        """Megabytes that the case under way has taken, if it has a process of its own."""
        idle = self._process.pid
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            children = pathlib.Path(f"/proc/{idle}/task/{idle}/children").read_text().split()
            return max([0.0, *(memory.peak(child) - memory.peak(idle) for child in children)])
        return 0.0

    def _stop(self):
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None


# of hostile files: all attacks share the process that their cases are forked from
FORKED = Workshop(seconds=5.0, megabytes=600.0, forks=True)


def _serve(pipe, forks):
    """The other process of a `Workshop`, without what Orbax prints about damaged files."""
    os.setpgrp()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pipe.send("started")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            case, arguments = pickle.loads(pipe.recv_bytes())
            if not forks:
                pipe.send(_measured(case, arguments))
            elif (child := os.fork()) == 0:
                resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
                pipe.send(_measured(case, arguments))
                os._exit(0)
            else:
                _, code, used = os.wait4(child, 0)
                if code:
                    words = f"the process ended with code {os.waitstatus_to_exitcode(code)}"
                    seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
                    pipe.send(Verdict("crashed", words, seconds, max(0.0, peak - memory.peak())))


def _measured(case, arguments):
    """The verdict of a case, with its time and memory."""
    before = memory.peak(reset=True)
    with _address_space(ADDRESS_SPACE):
        begin = time.process_time()
        try:
            found = case(*arguments)
        except Exception as error:  # `verdict` catches those of the library
            found = Verdict("crashed", f"the case itself failed: {error!r}"[:400])
        seconds = time.process_time() - begin
    peak = max(0.0, memory.peak() - before)
    return found._replace(seconds=found.seconds or seconds, megabytes=peak)


@contextlib.contextmanager
def _address_space(more: int) -> Generator[None]:
    """Bounds what this process may allocate beyond what it has."""
    now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

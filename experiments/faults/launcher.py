"""Commands as processes that start at once: forks of one process that has imported everything.

    process = launcher().start("command", "experiments.inr_frequency", "--methods", "mlp")
    process.send(signal.SIGTERM)
    ended = process.wait(30)                code, out, err, seconds

A fork happens before JAX starts a backend, which would not survive it. It runs one of
`programs.PROGRAMS` as if Python had started it: errors print a traceback, threads are waited
for, and the exit code is what a shell would see. All share one cache of compiled programs.
"""

import atexit
import dataclasses
import functools
import gc
import importlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import jax

COMMAND = "experiments.inr_frequency"  # the command line under attack
IMPORTS = (COMMAND, "experiments.faults.programs", "matplotlib.pyplot", "sklearn.ensemble")


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a process left.

    Attributes:
        code: its exit code, negative for a signal; None if it did not end by itself in time.
        out: standard output.
        err: standard error.
        seconds: from its start.
        operations: how often it wrote a file through or renamed one, if it ended by itself.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    operations: int

    @property
    def sentence(self) -> str:
        """The last line on standard error."""
        return next((x for x in reversed(self.err.splitlines()) if x.strip()), "")

    @property
    def fault(self) -> str:
        """Why this is no proper end of a command, or nothing: no end, a traceback."""
        if self.code is None:
            return f"no end after {self.seconds:.0f} s; standard error ends: {self.sentence}"
        if "Traceback (most recent call last)" in self.out + self.err:
            return f"a traceback, exit code {self.code}: {self.sentence}"
        return ""


class Process:
    """A process that runs a program."""

    def __init__(self, launcher: "Launcher", pid: int, files: pathlib.Path):
        self.pid, self._launcher, self._files = pid, launcher, files
        self._descriptor, self._began = os.pidfd_open(pid), time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not select.select([self._descriptor], [], [], 0)[0]

    def send(self, number: int) -> None:
        """Sends a signal."""
        signal.pidfd_send_signal(self._descriptor, number)

    def wait(self, limit: float) -> Ended:
        """Waits for its end, or kills it after so many seconds."""
        in_time = bool(select.select([self._descriptor], [], [], limit)[0])
        seconds = time.monotonic() - self._began
        if not in_time:
            self.send(signal.SIGKILL)
        code = self._launcher.ask({"wait": self.pid})
        os.close(self._descriptor)
        read = lambda ending: self._files.with_suffix(ending).read_text(errors="replace")
        counted = self._files.with_suffix(".operations").exists()
        operations = int(read(".operations")) if counted else 0
        return Ended(code if in_time else None, read(".out"), read(".err"), seconds, operations)


class Launcher:
    """The process that is forked.

    Attributes:
        folder: a temporary one, kept as long as this process.
    """

    def __init__(self):
        self.folder, self._count = pathlib.Path(tempfile.mkdtemp(prefix="faults-")), 0
        # Kept where this process keeps compiled programs, but apart: a kill may leave half of one.
        near = jax.config.jax_compilation_cache_dir or str(self.folder / "compiled")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "experiments.faults.launcher"],
            env=environment(pathlib.Path(f"{near}-attacked")), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, program: str, *arguments: object, die_at: int = 0) -> Process:
        """Starts a program.

        Args:
            program: of `programs.PROGRAMS`.
            arguments: JSON values, or paths.
            die_at: n, and the process kills itself before the n-th time that it writes a file
                through or renames one; never if 0.
        """
        self._count += 1
        files = self.folder / str(self._count)
        for ending in (".out", ".err"):  # there, however soon the process is killed
            files.with_suffix(ending).touch()
        arguments = [str(x) if isinstance(x, pathlib.Path) else x for x in arguments]
        request = {"program": program, "arguments": arguments, "die_at": die_at}
        return Process(self, self.ask(request | {"files": str(files)}), files)

    def run(self, program: str, *arguments: object, limit: float = 120.0, **how: int) -> Ended:
        """Starts a program and waits for its end."""
        return self.start(program, *arguments, **how).wait(limit)

    def ask(self, request: dict) -> int:
        """The answer of the process that is forked."""
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def launcher() -> Launcher:
    """The launcher of this process."""
    one = Launcher()
    atexit.register(one.close)
    return one


def environment(compiled: pathlib.Path) -> dict[str, str]:
    """Of processes under attack: the CPU, one thread, compiled programs in a folder.

    Programs are optimised, also where this process compiles quickly instead.
    """
    root = str(pathlib.Path(__file__).parents[2])
    quick = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
    return {
        **{k: v for k, v in os.environ.items() if k not in quick},
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def serve() -> None:
    """Forks a process for each request on standard input; in the fork, runs its program."""
    programs = [importlib.import_module(name) for name in IMPORTS][1]
    del sys.modules[COMMAND]  # a fork runs it as `__main__`
    gc.freeze()  # at its end, a fork need not visit what it has from here
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            _become(pathlib.Path(request["files"]))
            programs.count_operations(f"{request['files']}.operations", request["die_at"])
            programs.PROGRAMS[request["program"]](*request["arguments"])
            return  # ends as a program does
        print(answer, flush=True)


def _become(files):
    """Gives a fork the input, output and signals of a command in a terminal."""
    for number, (path, how) in enumerate(
        ((os.devnull, os.O_RDONLY), (f"{files}.out", os.O_WRONLY), (f"{files}.err", os.O_WRONLY))
    ):
        descriptor = os.open(path, how | (os.O_CREAT if number else 0), 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    serve()

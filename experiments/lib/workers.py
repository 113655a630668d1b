"""Processes side by side, a core each, that end with their parent.

    processes = [start(target, core, *arguments) for core in job_cores(jobs, most)]
    stop(processes)         each is interrupted once, and saves what it has

Signals are for the parent: a terminal sends Ctrl-C to all processes, a cluster SIGTERM, and a
second one would end a worker before it has saved.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

import jax


def job_cores(jobs: int, most: int) -> list[int]:
    """The core of each job.

    Args:
        jobs: processes side by side; if 0, as many as there are cores, on a GPU 1.
        most: how many there is work for.
    """
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    cores = sorted(affinity(0))
    jobs = jobs or (len(cores) if jax.default_backend() == "cpu" else 1)
    return [cores[i % len(cores)] for i in range(min(jobs, most))]


def start(target: Callable[..., object], core: int, *arguments: object) -> BaseProcess:
    """A process that calls a function of a module, on a core."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(target, core, *arguments), daemon=True)
    # Until it can handle them, which takes the imports of its modules, signals wait. (The first
    # process starts a tracker, which would let them through again.)
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def stop(processes: Sequence[BaseProcess]) -> None:
    """Interrupts processes and waits for them; a second interruption kills them."""
    try:
        for process in processes:
            if process.pid and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise


def _serve(target, core, *arguments):
    os.setpgrp()  # a terminal's Ctrl-C is for the parent

    def watch():
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _pin(core)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # SIGTERM waits for ever
            target(*arguments)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pin(core):
    """Restricts this process to a core; before the backend starts, which takes a thread a core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    os.environ["OMP_NUM_THREADS"] = "1"

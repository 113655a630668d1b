"""Works of runs that need no training, at the top of a module so that workers can import them."""

import os
import pathlib
import signal
import time


def work(method, config, home):
    """Facts at once; or, by the method's name, a failure, a death or a wait for Ctrl-C."""
    name = config["row"]
    home.mkdir(parents=True, exist_ok=True)
    if name == "fails":
        raise ValueError("expected better")
    if name == "dies":
        os._exit(3)
    if name == "waits":
        wait(home)
    cores = len(os.sched_getaffinity(0))
    scores = {"test_mse": float(len(name)), "process": os.getpid(), "cores": cores}
    return [{"metrics": scores, "parameters": 0, "seconds": 0.0, "steps": 0}]


def wait(folder):
    """Waits for Ctrl-C, and saves."""
    (folder / "pid").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / "saved").touch()
        raise


def stay(folder):
    """Takes no notice of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "pid").touch()
    time.sleep(60)


def main(folder):
    """A command of one run that waits, beside another."""
    from experiments.lib import runs

    runs.execute(*plan(pathlib.Path(folder), "waits,a", 2))


def command(folder):
    """The same as a command line runs it."""
    from experiments.lib import cli

    cli.run(lambda: main(folder))


def plan(folder, names, jobs, seeds=1):
    """Arguments of `runs.execute` for methods of these names."""
    import argparse
    import functools

    from experiments.lib import runs
    from experiments.lib.methods import Method, Preset

    options = argparse.Namespace(
        experiment="x", preset="smoke", set=[], seeds=seeds, seed=None, folder=folder,
        results=folder / "results", jobs=jobs,
    )  # fmt: skip
    methods = {k: Method(compute=len) for k in names.split(",")}
    table = functools.partial(runs.columns, named={"test MSE": "test_mse"})
    return runs.plan(options, Preset(methods, "nothing"), methods, work), options, table


if __name__ == "__main__":
    import sys

    command(sys.argv[1])

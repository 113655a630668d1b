"""Sessions with the `wsjax` command, as its users have them: commands, output, time and memory.

    python -m experiments.sessions --files FOLDER        some minutes of a core; MNIST's files
    python -m experiments.sessions --only sweep,flax

Each session makes its files (`lib.session_files`, `make.checkpoint_folder`), runs its commands one
by one, each in a process of its own, and appends a record of what they printed.
`wsjax/cli/README.md` renders the records.

    sweep       60 PyTorch CNNs of a sweep, 40 labelled: fit, rank the others, predict, embed
    flax        two CNNs of Flax of two seeds: diff, match, merge with barrier
    tuned       a fine-tuned CNN against its origin
    sirens      SIRENs from elsewhere, in PyTorch (needs it): classify
    edited      three INRs: edit
    orbax       a checkpoint of Orbax: inspect
    truncated   a safetensors file cut short: verify
"""

import csv
import json
import pathlib
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.lib import cli, commands, records, session_files, session_tables
from experiments.make import checkpoint_folder

CNN = "--config cnn.json"


class Session(NamedTuple):
    """A session.

    Attributes:
        about: its files, in one sentence.
        make: writes the files into a folder; the second argument has MNIST's.
        commands: arguments of `wsjax`, in the folder.
        measure: figures beyond those of the commands, from the folder.
    """

    about: str
    make: Callable[[pathlib.Path, pathlib.Path | None], None]
    commands: Sequence[str]
    measure: Callable[[pathlib.Path], dict] = lambda folder: {}


def coverage(folder: pathlib.Path) -> dict:
    """Intervals of the networks that are not labelled against the accuracies held back."""
    ran = commands.run(
        ["rank", "sweep", "--with", "model", "--labels", "sweep/labels.csv", "--json"], folder
    )
    with open(folder / "sweep" / "held_back.csv", newline="") as file:
        truth = {row["file"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    ranked = json.loads(ran.output)["networks"]
    covered = [n["low"] <= truth[n["file"]] <= n["high"] for n in ranked]
    error = [abs(n["prediction"] - truth[n["file"]]) for n in ranked]
    return {
        "ranked": len(ranked),
        "covered": sum(covered),
        "mean_absolute_error": sum(error) / len(error),
    }


SESSIONS = {
    "sweep": Session(
        "60 PyTorch checkpoints of a sweep; `labels.csv` has the accuracies of 40.",
        lambda folder, _: checkpoint_folder.write(folder / "sweep"),
        (
            "fit sweep --labels sweep/labels.csv --target accuracy -o model",
            "rank sweep --with model --labels sweep/labels.csv",
            "embed sweep --set activation=relu --with scalegmn-embedding -o vectors.csv",
            "predict sweep/run_00.pt sweep/run_01.pt --with model --gate 0.7",
        ),
        coverage,
    ),
    "flax": Session(
        "Two CNNs of Flax on scikit-learn's digits, of two seeds.",
        lambda folder, _: session_files.make(folder),
        (
            f"diff cnn-0.msgpack cnn-1.msgpack {CNN}",
            f"match cnn-0.msgpack cnn-1.msgpack -o aligned.safetensors {CNN}",
            f"diff cnn-1.msgpack aligned.safetensors --gate same {CNN}",
            f"merge cnn-0.msgpack cnn-1.msgpack -o merged.safetensors --data digits-test.npz {CNN}",
        ),
    ),
    "tuned": Session(
        "The first of them, trained further on half of the classes.",
        lambda folder, _: session_files.make(folder),
        (f"diff cnn-0.msgpack cnn-0-tuned.msgpack --gate related {CNN}",),
    ),
    "sirens": Session(
        "20 SIRENs of MNIST's test digits by a plain loop in PyTorch; the last three have images "
        "on [-1, 1] and the coordinates in the other order.",
        lambda folder, files: session_files.sirens(folder / "sirens", files),
        ("classify sirens --with mnist-inr-classes --labels sirens/labels.csv",),
    ),
    "edited": Session(
        "Three INRs of MNIST's test digits by the recipe of DWSNets' zoos.",
        lambda folder, files: session_files.inrs(folder / "inrs", files),
        (
            "edit inrs/siren_0.safetensors inrs/siren_1.safetensors inrs/siren_2.safetensors "
            "--with mnist-inr-dilation -o edited --png",
        ),
    ),
    "orbax": Session(
        "The first CNN of Flax with the state of Adam, as Orbax saves it.",
        lambda folder, _: session_files.orbax(folder / "checkpoint"),
        ("inspect checkpoint --set activation=relu",),
    ),
    "truncated": Session(
        "The parameters of the same CNN, whole and cut short.",
        lambda folder, _: session_files.truncated(folder),
        ("verify whole.safetensors cut.safetensors",),
    ),
}


def held(session: Session, files: pathlib.Path | None, folder: pathlib.Path) -> dict:
    """Makes the files of a session in a new folder, and runs its commands.

    Returns:
        "about"; "commands", of each its line, exit code, output and figures; and "metrics".
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        home = pathlib.Path(name)
        session.make(home, files)
        ran = []
        for line in session.commands:
            done = commands.run(shlex.split(line), home)
            ran.append({"line": f"wsjax {line}", **done._asdict()})
        return {"about": session.about, "commands": ran, "metrics": session.measure(home)}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("sessions", __doc__))
    parser.add_argument("--only", default="", help="sessions, comma-separated; all if not given")
    parser.add_argument("--files", type=pathlib.Path, help="folder of MNIST's original files")
    options = cli.prepare(parser.parse_args(arguments))
    for name in cli.select(options.only, SESSIONS, SESSIONS):
        begin = time.monotonic()
        record = held(SESSIONS[name], options.files, options.folder)
        seconds = round(time.monotonic() - begin, 1)
        fixed = {"experiment": "sessions", "preset": "laptop", "seed": 0, "parameters": 0}
        record |= {**fixed, "row": name, "steps": 0, "seconds": seconds}
        records.append(record, options.results)
        print(session_tables.transcript(record), flush=True)


if __name__ == "__main__":
    cli.run(main)

"""Records of runs: one JSON line a run, appended, never rewritten.

    a run -> append(record, folder) -> folder/EXPERIMENT.jsonl -> read -> latest -> tables, report

A run of yours writes its records to `results` beside its runs; only `--publish` writes to
`experiments/results`, of which `python -m experiments.report` makes the tables of the READMEs.
"""

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping

import jax

from wsjax.storage import versions
from wsjax.training.log import read_lines

ROOT = pathlib.Path(__file__).parents[2]
PUBLISHED = ROOT / "experiments" / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")
KEYS = ("experiment", "row", "preset", "seed", "metrics", "parameters", "seconds", "steps")
CODE = ("pyproject.toml", *(f":(glob){x}/**/*.py" for x in ("wsjax", "experiments", "third_party")))


def append(record: Mapping, results: pathlib.Path) -> dict:
    """Appends a record to `results/EXPERIMENT.jsonl`.

    Args:
        record: the keys in `KEYS` and anything else worth keeping ("config", ...).
            Commit, versions, device and time are added here.
        results: the folder; it is created.

    Returns:
        The record as written.

    Raises:
        ValueError: keys are missing, or a number is NaN or infinite.
    """
    if missing := sorted(set(KEYS) - set(record)):
        raise ValueError(f"a record needs {KEYS}, missing: {missing}")
    stamp = {
        "commit": commit(ROOT),
        "versions": {"python": sys.version.split()[0], **versions(*PACKAGES)},
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    whole = dict(sorted({**record, **stamp}.items()))
    line = json.dumps(whole, allow_nan=False) + "\n"
    results.mkdir(parents=True, exist_ok=True)
    with (results / f"{record['experiment']}.jsonl").open("a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return whole


def commit(root: pathlib.Path) -> str:
    """The commit checked out at `root`, with "-dirty" if code differs from it.

    Code is Python files and `pyproject.toml`, untracked ones included; records, pictures and
    READMEs are not. Outside a checkout of this repository: the version of the package.
    """
    git = lambda *arguments: subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        if pathlib.Path(git("rev-parse", "--show-toplevel")) != root.resolve():
            raise FileNotFoundError  # installed inside a checkout of something else
        changed = git("status", "--porcelain", "--untracked-files=all", "--", *CODE)
        return git("rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"wsjax {versions('wsjax')['wsjax']}"


def read(experiment: str, results: pathlib.Path, **match: object) -> list[dict]:
    """The records of an experiment whose keys equal `match`, oldest first."""
    runs = read_lines(results / f"{experiment}.jsonl")
    return [r for r in runs if all(r.get(k) == v for k, v in match.items())]


def device_kind(run: Mapping) -> str:
    """The device of a record without its count: "cpu", "NVIDIA H100 80GB HBM3"."""
    return run["device"].partition(" x ")[2]


def latest(runs: Iterable[Mapping]) -> list[Mapping]:
    """The newest record of each method, preset, seed, pair of zoos and kind of device."""
    keys = ("row", "preset", "seed", "train_zoo", "test_zoo")
    newest = {(*(r.get(k) for k in keys), device_kind(r)): r for r in runs}
    return list(newest.values())


def publish_pictures(
    experiment: str, preset: str, pictures: Mapping[str, pathlib.Path], results: pathlib.Path
) -> None:
    """Copies pictures beside published records; those of other runs stay beside their run."""
    if results == PUBLISHED:
        for name, picture in pictures.items():
            if picture.exists():
                shutil.copyfile(picture, results / f"{experiment}_{preset}_{name}.png")

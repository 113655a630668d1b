"""Records of runs: one JSON line a run, sealed and appended, never rewritten.

    a run -> append(record, folder) -> folder/EXPERIMENT.jsonl -> read -> latest -> tables, report

A run of yours writes its records to `results` beside its runs; only `--publish` writes to
`experiments/results`, of which `python -m experiments.report` makes the tables of the READMEs.
"""

import datetime
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import jax

from wsjax.storage import plain, versions
from wsjax.training.log import append_records, read_records

ROOT = pathlib.Path(__file__).parents[2]
PUBLISHED = ROOT / "experiments" / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")
KEYS = ("experiment", "row", "preset", "seed", "metrics", "parameters", "seconds", "steps")
WIDE = 32  # old records of SNE are of wider models than the paper's, or of narrow, shallow ones
CODE = ("pyproject.toml", *(f":(glob){x}/**/*.py" for x in ("wsjax", "experiments", "third_party")))


def append(record: Mapping, results: pathlib.Path) -> dict:
    """Stamps a record and adds it to `results`; see `stamp` and `add`, also for errors."""
    stamped = stamp(record)
    add([stamped], results)
    return stamped


def stamp(record: Mapping) -> dict:
    """The record with commit, versions, device and time, as JSON gives it back.

    Args:
        record: the keys in `KEYS` and anything else worth keeping ("config", ...).

    Raises:
        ValueError: keys are missing, or a number is NaN or infinite.
    """
    if missing := sorted(set(KEYS) - set(record)):
        raise ValueError(f"a record needs {KEYS}, missing: {missing}")
    stamps = {
        "commit": commit(ROOT),
        "versions": {"python": sys.version.split()[0], **versions(*PACKAGES)},
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return plain(dict(sorted({**record, **stamps}.items())))


def add(stamped: Sequence[Mapping], results: pathlib.Path) -> None:
    """Appends those records to `results/EXPERIMENT.jsonl` that are not there yet.

    Args:
        stamped: see `stamp`.
        results: the folder; it is created.

    Raises:
        DamagedError: the file was altered; names it, the line and the remedy.
        OSError: it cannot be written.
    """
    for name in dict.fromkeys(r["experiment"] for r in stamped):
        own = [r for r in stamped if r["experiment"] == name]
        append_records(results / f"{name}.jsonl", own)


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
    """The records of an experiment whose keys equal `match`, oldest first, named by `renamed`.

    Raises:
        DamagedError: a line was altered, is there twice, or is half a line.
    """
    runs = sorted(read_records(results / f"{experiment}.jsonl"), key=lambda r: r["time"])
    return [r for r in map(renamed, runs) if all(r.get(k) == v for k, v in match.items())]


def renamed(run: Mapping) -> dict:
    """A record under the name that its method has today.

    Until November 2026 `sne` was trained on permuted copies and had no output projection (and
    mostly twice the width), and `gmn` was our variant with products. Both names are now the
    papers' methods, so such records, which their settings give away, lose the paper's figure.
    ScaleGMN's published settings then began as Flax begins layers, and "as_published" was not yet
    what the authors' code does; notes say so.
    """
    run, settings = dict(run), run.get("config", {}).get("encoder_settings") or {}
    first, _, rest = run["row"].partition("_")
    name = first
    if first == "sne" and settings and "output" not in settings:
        name = "sne_wide" if settings["width"] > WIDE else "sne_small"
    if first == "gmn" and settings.get("product"):
        name = "gmn_product"
    if name != first and not run["row"].startswith(name):
        run |= {"row": f"{name}_{rest}" if rest else name, "paper": "–"}
    if first == "scalegmn" and "initial" not in settings:
        notes = [run.get("words")]
        if bare(run["preset"]) == "paper":
            notes.append("begun as Flax begins layers")
        if settings.get("backward") == "as_published" and settings.get("symmetry") != "scale":
            notes.append("messages back read updated pairs, the authors' the first ones")
        run["words"] = "; ".join(filter(None, notes))
    return run


def bare(preset: str) -> str:
    """The name of a preset without what `cli.preset_name` adds to it."""
    return preset.removesuffix("-published").removesuffix("-custom")


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

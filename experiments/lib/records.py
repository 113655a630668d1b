"""Results: one JSON line a run, and the README's tables made from them.

    python -m experiments.lib.records            rewrite the tables in README.md
    python -m experiments.lib.records --check    exit 1 if README.md disagrees with the records

A table stands in README.md between `<!-- table NAME -->` and `<!-- end -->`; a test holds
the two together, so no number in it is typed by hand.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from wsjax import metrics
from wsjax.storage import versions

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
README = ROOT / "README.md"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")
PUBLIC = ("laptop", "small")  # presets whose pictures lie beside the records
KEYS = ("experiment", "row", "preset", "seed", "metrics", "parameters", "seconds", "steps")


def append(record: Mapping) -> dict:
    """Adds a run to `experiments/results/EXPERIMENT.jsonl` and makes the README's tables anew.

    Where `RESULTS` was pointed elsewhere, the README is left alone.

    Args:
        record: the keys in `KEYS` and anything else worth keeping ("config", ...).
            Commit, versions, device and time are added here.

    Returns:
        The record as written.

    Raises:
        ValueError: keys are missing.
    """
    import jax

    if missing := sorted(set(KEYS) - set(record)):
        raise ValueError(f"a record needs {KEYS}, missing: {missing}")
    stamp = {
        "commit": _commit(),
        "versions": {"python": sys.version.split()[0], **versions(*PACKAGES)},
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    whole = dict(sorted({**record, **stamp}.items()))
    log.JsonLines(RESULTS / f"{record['experiment']}.jsonl").write(whole)
    if ROOT / "experiments" / "results" == RESULTS:
        update()
    return whole


def benchmark(row: str, measure: Callable[[], Mapping[str, float]], config: Mapping) -> dict:
    """Measures, and appends what was found as a row of "benchmarks"."""
    begin = time.monotonic()
    figures = measure()
    return append(
        {
            "experiment": "benchmarks",
            "row": row,
            "preset": "laptop",
            "seed": 0,
            "metrics": figures,
            "parameters": 0,
            "seconds": round(time.monotonic() - begin, 1),
            "steps": 0,
            "config": dict(config),
        }
    )


def show(experiment: str, preset: str, pictures: Mapping[str, pathlib.Path]) -> None:
    """Puts pictures beside the records, of those presets whose tables the README has."""
    if ROOT / "experiments" / "results" == RESULTS and preset in PUBLIC:
        for name, picture in pictures.items():
            if picture.exists():
                shutil.copyfile(picture, RESULTS / f"{experiment}_{preset}_{name}.png")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return out.stdout.strip()


def read(experiment: str, **match: object) -> list[dict]:
    """The runs of an experiment whose keys equal `match`, oldest first."""
    runs = log.read_lines(RESULTS / f"{experiment}.jsonl")
    return [r for r in runs if all(r.get(k) == v for k, v in match.items())]


def reference() -> dict | None:
    """Statistics of networks fitted by the published recipe, see `experiments.make.sine_zoo`."""
    path = ROOT / "experiments" / "results" / "sine_zoo_reference.json"
    return json.loads(path.read_text())["published"]["statistics"] if path.exists() else None


def latest(runs: Iterable[Mapping]) -> list[Mapping]:
    """Of runs with the same row, preset, seed and, if they have any, zoos, the newest."""
    keys = ("row", "preset", "seed", "train_zoo", "test_zoo")
    kept = {tuple(r.get(k) for k in keys): r for r in runs}
    return list(kept.values())


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean ± standard deviation over seeds, or the one value there is."""
    values = list(values)
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f} ({len(values)} seeds)"


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def _by_row(experiment: str, preset: str) -> dict[str, list[dict]]:
    """The newest run of each row and seed, by row, best mean test error first."""
    rows = {}
    for run in latest(read(experiment, preset=preset)):
        rows.setdefault(run["row"], []).append(run)
    error = lambda name: np.mean([r["metrics"]["test_mse"] for r in rows[name]])
    return {name: rows[name] for name in sorted(rows, key=error)}


def epochs(run: Mapping) -> str:
    """How often a run saw its training networks; "–" if it has no steps."""
    if not run["steps"]:
        return "–"
    config = run["config"]
    seen = run["steps"] * config["training"]["batch"] / config["sizes"]["train"]
    return f"{seen:.0f}" if seen >= 10 else f"{seen:.1f}"


def frequency_table() -> str:
    """SNE's table 1, ours beside the paper's."""
    tables = []
    for preset in ("laptop", "relu", "long", "paper"):
        rows = _by_row("inr_frequency", preset)
        lines = []
        for name, group in rows.items():
            scores = [spread(r["metrics"][k] for r in group) for k in ("test_mse", "test_tau")]
            seconds = f"{np.mean([r['seconds'] for r in group]):.0f}"
            size = f"{group[0]['parameters']:,}" if group[0]["parameters"] else "–"
            label = f"`{name}`, {words}" if (words := group[0]["words"]) else f"`{name}`"
            lines.append([label, size, *scores, epochs(group[0]), seconds, group[0]["paper"]])
        if lines:
            head = ["row", "parameters", "test MSE", "Kendall's τ", "epochs", "seconds"]
            head += ["paper's MSE"]
            devices = sorted({r["device"] for group in rows.values() for r in group})
            tables.append(f"Preset `{preset}`, on {', '.join(devices)}:\n\n{table(head, lines)}")
    return "\n\n".join(tables) or "No runs yet."


def ablation_table() -> str:
    """SNE's tables 6 and 7, ours beside the paper's."""
    lines = []
    for preset in ("laptop", "paper"):
        for name, group in _by_row("inr_ablation", preset).items():
            scores = [spread(r["metrics"]["test_mse"] for r in group)]
            for key in ("invariance", "untrained_code_error", "code_error"):
                known = [r["metrics"][key] for r in group if key in r["metrics"]]
                scores.append(f"{np.mean(known):.1e}" if known else "–")
            lines.append([preset, f"`{name}`", group[0]["words"], *scores, group[0]["paper"]])
    head = ["preset", "row", "what is changed", "test MSE", "invariance loss"]
    head += ["code error untrained", "trained", "paper's MSE"]
    return table(head, lines) if lines else "No runs yet."


def self_supervised_table() -> str:
    """GMN's table 3, ours beside the paper's."""
    tables = []
    for preset in ("laptop", "paper"):
        rows, lines = _by_row("inr_self_supervised", preset), []
        for name, group in rows.items():
            keys = ("test_mse", "test_mse_amplitude", "test_mse_frequency")
            scores = [spread((r["metrics"][k] for r in group), 2) for k in keys]
            seconds = f"{np.mean([r['seconds'] for r in group]):.0f}"
            count = group[0]["metrics"].get("encoder_parameters")
            size = f"{count:,}" if count else "–"
            first = group[0]
            cost = [epochs(first), seconds]
            lines.append([f"`{name}`", first["words"], size, *scores, *cost, first["paper"]])
        if lines:
            head = ["row", "what is special", "encoder's parameters", "test MSE", "of a", "of b"]
            head += ["epochs", "seconds", "paper's MSE"]
            devices = sorted({r["device"] for group in rows.values() for r in group})
            tables.append(f"Preset `{preset}`, on {', '.join(devices)}:\n\n{table(head, lines)}")
    return "\n\n".join(tables) or "No runs yet."


def benchmark_table() -> str:
    """The newest figures of each benchmark on each kind of device."""
    runs = {(r["row"], r["device"]): r for r in read("benchmarks")}
    lines = [
        [f"`{name}`", key.replace("_", " "), f"{value:,.4g}", device]
        for (name, device), run in runs.items()
        for key, value in run["metrics"].items()
    ]
    return table(["benchmark", "figure", "value", "on"], lines) if lines else "No runs yet."


def audit_cell(run: Mapping, symmetry: str) -> str:
    """What an audit found of one symmetry, over networks and precisions; worst verdict first.

    Behind a verdict stands the largest change of a code in float32 and, where that says
    more, in float64. A precision is named where the verdicts of the two differ.
    """
    from wsjax.symmetries.audit import VERDICTS, figure

    groups, unread = {}, []
    for network, by_dtype in run["metrics"].items():
        rows = [by_dtype[dtype][symmetry] for dtype in ("float32", "float64")]
        if all(r["verdict"] == "not applicable" for r in rows):
            if rows[0]["reason"].startswith("the wider network"):
                unread.append(network)
        else:
            groups.setdefault(tuple(r["verdict"] for r in rows), {})[network] = rows
    if not groups:
        return "cannot read" if unread else "–"
    texts = []
    badness = lambda verdicts: max(map(VERDICTS.index, verdicts))
    for verdicts in sorted(groups, key=badness, reverse=True):
        pairs = zip(*groups[verdicts].values(), strict=True)
        largest = [figure(max(r["change"] or 0.0 for r in rows)) for rows in pairs]
        if len(set(verdicts)) > 1:
            both = zip(verdicts, largest, ("float32", "float64"), strict=True)
            text = ", ".join(f"{v} ({x}) in {dtype}" for v, x, dtype in both)
        elif verdicts[0] in ("broken", "blind"):
            text = f"{verdicts[0]} ({largest[0]})" if verdicts[0] == "broken" else "blind"
        else:
            text = f"{verdicts[0]} ({largest[0]}; {largest[1]})"
        texts.append((text, groups[verdicts]))
    rest = [f"cannot read {', '.join(unread)}"] if unread else []
    if len(texts) == 1:
        return "; ".join([texts[0][0], *rest])
    named = [f"{text}: {', '.join(where)}" for text, where in texts[:-1]]
    return "; ".join([*named, f"else {texts[-1][0]}", *rest])


def audits_table() -> str:
    """Which symmetries each encoder respects."""
    runs = latest(read("audits", preset="laptop"))
    if not runs:
        return "No runs yet."
    symmetries = ("permutation", "sign", "scale", "phase", "widening")
    lines = []
    for run in runs:
        reads = "all but " + ", ".join(run["refused"]) if run["refused"] else "all"
        lines.append([f"`{run['row']}`", reads, *(audit_cell(run, s) for s in symmetries)])
    return table(["encoder", "networks it reads", *symmetries], lines)


def encoders_table() -> str:
    """Every encoder of the library, by its own account."""
    from experiments.lib import catalogue

    return table(*catalogue.rows())


def interpolation_table() -> str:
    """The barrier between two classifiers before and after their neurons are matched."""
    lines = []
    for run in latest(read("interpolation")):
        m, config = run["metrics"], run["config"]
        barriers = [
            f"{m[f'{part}_barrier_{when}']:.3f}"
            for part in ("train", "test")
            for when in ("as_trained", "matched")
        ]
        shape = f"{config['depth']} x {config['width']}"
        both = f"{m['test_accuracy']:.3f}, {m['test_accuracy_2']:.3f}"
        lines.append([config["data"], shape, str(config["epochs"]), both, *barriers])
    head = ["images", "hidden layers", "epochs", "test accuracy of the two", "barrier, training"]
    head += ["matched", "barrier, test", "matched"]
    return table(head, lines) if lines else "No runs yet."


def _tables() -> dict[str, Callable[[], str]]:
    """Every table by name; those in other files read records by this one."""
    from experiments.lib import accuracy_tables, inr_tables

    return {
        "inr_frequency": frequency_table,
        "inr_ablation": ablation_table,
        "inr_self_supervised": self_supervised_table,
        "inr_zoos": inr_tables.zoos_table,
        "inr_classification": inr_tables.classification_table,
        "inr_editing": inr_tables.editing_table,
        "zoos": accuracy_tables.zoos,
        "cross_dataset": lambda: accuracy_tables.judges("cross_dataset"),
        "cross_architecture": lambda: accuracy_tables.judges("cross_architecture"),
        "accuracy_prediction": lambda: accuracy_tables.judges("accuracy_prediction", "test_r2"),
        "generalization": lambda: accuracy_tables.judges("generalization"),
        "embeddings": accuracy_tables.embeddings,
        "benchmarks": benchmark_table,
        "interpolation": interpolation_table,
        "audits": audits_table,
        "encoders": encoders_table,
    }


def render(text: str) -> str:
    """A README with every marked table made anew from the records.

    Raises:
        ValueError: a marker names no table, or is not closed.
    """
    pieces, rest, tables = [], text, _tables()
    while "<!-- table " in rest:
        before, after = rest.split("<!-- table ", 1)
        name, after = after.split(" -->", 1)
        if name not in tables:
            raise ValueError(f"expected a table of {sorted(tables)}, got {name!r}")
        if "<!-- end -->" not in after:
            raise ValueError(f"table {name!r} is not closed by <!-- end -->")
        rest = after.split("<!-- end -->", 1)[1]
        pieces += [before, f"<!-- table {name} -->\n\n{tables[name]()}\n\n<!-- end -->"]
    return "".join([*pieces, rest])


def update() -> None:
    """Writes the README with its tables made anew, all of it or nothing."""
    old = README.read_text()
    if (new := render(old)) != old:
        part = README.with_suffix(".md.part")
        part.write_text(new)
        os.replace(part, README)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.lib.records", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 if different")
    check = parser.parse_args(arguments).check
    text = README.read_text()
    if check and render(text) != text:
        raise SystemExit(
            "README.md disagrees with the records: run python -m experiments.lib.records"
        )
    if not check:
        update()


if __name__ == "__main__":
    main()

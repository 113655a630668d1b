"""The README's tables of INRs that are classified and edited, from the records."""

import argparse
import itertools
from collections.abc import Callable, Mapping

import numpy as np

from experiments.lib import records
from wsjax.zoos.inrs import inr_statistics

PRESETS = ("laptop", "small", "small-custom", "paper", "paper-custom")  # settings of one's own


def classification_table() -> str:
    """ScaleGMN's table 1: accuracies of each row, a table for each zoo, the best first."""
    said = lambda group: [100 * r["metrics"]["test_accuracy"] for r in group]
    heading = ["test accuracy, %", "the paper's, %"]
    return _tables("inr_classification", "test_error", said, 1, heading)


def editing_table() -> str:
    """GMN's table 2: errors of edited images, a table for each zoo and task, the best first."""
    said = lambda group: [r["metrics"]["test_mse"] for r in group]
    return _tables("inr_editing", "test_mse", said, 4, ["test MSE", "the paper's"])


def zoos_table() -> str:
    """Zoos of INRs: how well they show their images, and their layers beside published ones."""
    numbers = lambda values: " ".join(f"{v:.4f}".removeprefix("0") for v in values)
    runs = records.latest(records.read("inr_zoo"))
    runs.sort(key=lambda r: (r["row"], r["metrics"]["networks"]))
    lines, per = [], ("weight_std", "bias_std")
    for (data, recipe), group in itertools.groupby(runs, _origin):
        for run in group:
            found, plan = run["metrics"], run["config"]
            names = [f"`{run['row']}`", f"{found['networks']:,}"]
            names.append(f"{plan['steps']:,} at {plan['learning_rate']:g}")
            names.append(", ".join(f"{found['psnr'][p]:.1f}" for p in ("5", "50", "95")))
            pace = f"{found['networks_per_minute']:,.0f} on {', '.join(found['made_on'])}"
            lines.append([*names, *(numbers(found["layers"][k]) for k in per), pace])
        if recipe == "dws" and (other := inr_statistics.PUBLISHED.get(data)):
            lines.append(["*DWSNets'*", "", "", "", *(f"*{numbers(other[k])}*" for k in per), ""])
    head = ["zoo", "networks", "Adam's steps", "PSNR in dB: 5 %, median, 95 %"]
    head += ["std of weights, layer by layer", "of biases", "networks a minute"]
    return records.table(head, lines) if lines else "No runs yet."


def _origin(run):
    """The data set and the recipe of a zoo's record."""
    data, _, recipe = run["row"].partition(".")
    return data, recipe.split("-")[0]


def _tables(
    experiment: str,
    score: str,
    said: Callable[[list[Mapping]], list[float]],
    digits: int,
    heading: list[str],
) -> str:
    tables = []
    for preset in PRESETS:
        runs = records.latest(records.read(experiment, preset=preset))
        for zoo in dict.fromkeys(r["train_zoo"] for r in runs):
            mine = [r for r in runs if r["train_zoo"] == zoo]
            most = max(map(_size, mine))
            rows = {}
            for r in mine:
                if _size(r) == most:
                    rows.setdefault(r["row"], []).append(r)
            error = lambda name, rows=rows: np.mean([r["metrics"][score] for r in rows[name]])
            lines = []
            for name in sorted(rows, key=error):
                group, first = rows[name], rows[name][0]
                label = f"`{name}`, {first['words']}" if first["words"] else f"`{name}`"
                size = f"{first['parameters']:,}" if first["parameters"] else "–"
                seconds = f"{np.mean([r['seconds'] for r in group]):.0f}"
                score_ = records.spread(said(group), digits)
                cost = [records.epochs(first), seconds]
                lines.append([label, size, score_, *cost, first["paper"]])
            devices = ", ".join(sorted({r["device"] for r in mine}))
            head = ["row", "parameters", heading[0], "epochs", "seconds", heading[1]]
            tables.append(
                f"Preset `{preset}`, zoo `{zoo}`, {most} networks to learn from, on {devices}:"
                f"\n\n{records.table(head, lines)}"
            )
            if len(set(map(_size, mine))) > 1:
                said_ = lambda group: records.spread(said(group), digits)
                tables.append(f"{heading[0]}, by networks to learn from:\n\n{_fewer(mine, said_)}")
    if not tables:
        return "No runs yet."
    note = "A number of the paper with a * is from memory, and not checked against it."
    return "\n\n".join([*tables, note])


def _size(run):
    """How many networks it learned from."""
    return run["config"]["sizes"]["train"]


def _fewer(runs, said):
    """The rows that also learned from parts of the networks, a column for each number of them."""
    rows: dict[str, dict[int, list]] = {}
    for r in runs:
        name = r["row"].removesuffix(f"_{_size(r)}")
        rows.setdefault(name, {}).setdefault(_size(r), []).append(r)
    rows = {name: found for name, found in rows.items() if len(found) > 1}
    sizes = sorted({n for found in rows.values() for n in found})
    lines = [
        [f"`{name}`", *(said(found[n]) if n in found else "–" for n in sizes)]
        for name, found in rows.items()
    ]
    return records.table(["row", *map(str, sizes)], lines)


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.lib.inr_tables", description=__doc__
    )
    parser.parse_args()
    print(classification_table(), editing_table(), sep="\n\n")


if __name__ == "__main__":
    main()

"""The README's tables of INRs that are classified and edited, from the records."""

import argparse
from collections.abc import Callable, Mapping

import numpy as np

from experiments import records

PRESETS = ("laptop", "small", "paper", "paper-custom")  # the last: with settings of one's own


def classification_table() -> str:
    """ScaleGMN's table 1: accuracies of each row, a table for each zoo, the best first."""
    said = lambda group: [100 * r["metrics"]["test_accuracy"] for r in group]
    heading = ["test accuracy, %", "the paper's, %"]
    return _tables("inr_classification", "test_error", said, 1, heading)


def editing_table() -> str:
    """GMN's table 2: errors of edited images, a table for each zoo and task, the best first."""
    said = lambda group: [r["metrics"]["test_mse"] for r in group]
    return _tables("inr_editing", "test_mse", said, 4, ["test MSE", "the paper's"])


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
            rows = {}
            for r in runs:
                if r["train_zoo"] == zoo:
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
            group = [r for r in runs if r["train_zoo"] == zoo]
            sizes = max(r["config"]["sizes"]["train"] for r in group)
            devices = ", ".join(sorted({r["device"] for r in group}))
            head = ["row", "parameters", heading[0], "epochs", "seconds", heading[1]]
            tables.append(
                f"Preset `{preset}`, zoo `{zoo}`, {sizes} networks to learn from, on {devices}:"
                f"\n\n{records.table(head, lines)}"
            )
    if not tables:
        return "No runs yet."
    note = "A number of the paper with a * is from memory, and not checked against it."
    return "\n\n".join([*tables, note])


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(prog="python -m experiments.inr_tables", description=__doc__)
    parser.parse_args()
    print(classification_table(), editing_table(), sep="\n\n")


if __name__ == "__main__":
    main()

"""The table of pretrained models."""

import pathlib
from collections.abc import Callable, Mapping

from experiments.lib import records, tables


def models(results: pathlib.Path) -> str:
    """A line for each model, with its test measures that have an interval."""
    cells = []
    for run in records.latest(records.read("pretrained", results)):
        values, spans = _measures(run["metrics"])
        test = "; ".join(f"{k} {values[k]:.3g} ({low:.3g}–{high:.3g})" for k, low, high in spans)
        link = f"[`{run['row']}`](pretrained/{run['row']}/README.md)"
        cells.append([link, f"`{run['method']}`", test, f"{run['seconds']:.0f}"])
    head = ["model", "method", "test split, 95 % interval", "seconds"]
    return tables.markdown(head, cells) if cells else tables.EMPTY


def _measures(metrics):
    """Values by name, and (name, low, high) of those with an interval."""
    if test := metrics.get("test"):
        return test["values"], [(k, *v) for k, v in test["intervals"].items()]
    names = [k.removesuffix("_interval") for k in metrics if k.endswith("_interval")]
    return metrics, [(k, *metrics[f"{k}_interval"]) for k in names]


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {"pretrained": models}

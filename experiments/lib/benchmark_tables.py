"""Tables of benchmarks, pivoted: the newest figures of each on each kind of device."""

import pathlib
from collections.abc import Callable, Mapping

from experiments.lib import records, tables

# name of a record, key of a figure -> line and column; None for what is not in the table
Place = Callable[[str, str], tuple[str, str] | None]


def table(prefix: str, corner: str, place: Place) -> Callable[[pathlib.Path], str]:
    """A table of the benchmarks whose names begin so, from the folder of records.

    Args:
        prefix: of the names.
        corner: heading of the lines.
        place: line and column of a figure; columns are further divided by kind of device.
    """

    def render(results):
        runs = records.latest(records.read("benchmarks", results))
        lines: dict[str, dict[str, str]] = {}
        for run in (r for r in runs if r["row"].startswith(prefix)):
            for key, value in run["metrics"].items():
                if where := place(run["row"], key.replace("_", " ").replace("|", "\\|")):
                    column = f"{where[1]} on {records.device_kind(run)}".strip()
                    figure = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
                    lines.setdefault(where[0], {})[column] = figure
        return tables.pivot(lines, corner) if lines else tables.EMPTY

    return render


def _step(_, key):
    """Of "variant: unit"."""
    return key.rpartition(": ")[::2]


def _route(_, key):
    """Of "network, route: ms"; ratios of those are left out."""
    variant, unit = _step(_, key)
    network, _, route = variant.partition(", ")
    return (route, f"{network}, ms") if unit == "ms" else None


def _classifier(name, key):
    """Of "route: net-steps a second", a line for each kind of network."""
    route, _, unit = key.partition(": ")
    return (f"`{name.split()[-1]}`", route) if unit == "net-steps a second" else None


def _inr(_, key):
    return None if "CPU-second" in key or "microseconds" in key else (key, "")


def _sine(_, key):
    route, _, rest = key.partition(" networks per second")
    return None if rest or route == key else (route, "")


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "encoder_steps": table("encoder_step", "step on 32 networks 1-32-32-1", _step),
    "torch_steps": table("nfn_step", "the same, at published size", _step),
    "graph_routes": table("gmn_step", "GMN, 64 networks", _route),
    "graph_construction": table("graph_construction", "parameter graph", _step),
    "scalegmn_steps": table("scalegmn_step", "published ScaleGMN, 32 networks", _route),
    "sne_steps": table("sne_step", "SNE, batch 32, chunk 32 if not named", _step),
    "classifier_factory": table("classifier_zoo ", "net-steps a second", _classifier),
    "inr_factory": table("inr_zoo", "INRs of 28 x 28 images", _inr),
    "sine_factory": table("zoo_generation", "sine zoo, networks a second", _sine),
}

"""The table of injected faults: a line for each attack."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.lib import records, tables

COUNTS = ("count", "survived", "refused", "silent", "crashed")


def table(runs: Sequence[Mapping]) -> str:
    """Markdown of records: attack x outcomes, the longest time and the largest memory."""
    if not runs:
        return tables.EMPTY
    cells = []
    for run in runs:
        m = run["metrics"]
        worst = [f"{m['seconds_max']:.1f}", f"{m['megabytes_max']:,.0f}"]
        cells.append([f"`{run['row']}`", run["words"], *(f"{m[k]:,}" for k in COUNTS), *worst])
    return tables.markdown(["attack", "on", *COUNTS, "worst s", "worst MB"], cells)


def published(results: pathlib.Path) -> str:
    """The newest whole run of each attack."""
    return table(records.latest(records.read("faults", results, preset="full")))


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {"faults": published}

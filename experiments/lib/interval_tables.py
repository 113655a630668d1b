"""Tables of the intervals and the domain of accuracy predictors."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.lib import records, tables

HEAD = ("zoo", "nominal", "covered", "in domain", "mean width", "tau", "recipe alone", "trees")
KEYS = ("coverage", "coverage_in_domain", "width", "tau", "tau_recipe_only", "tau_boosted_trees")


def line(run: Mapping) -> str:
    """One record in a line, for the screen."""
    m, where = run["metrics"], f"{run['row']}, split {run['seed']}"
    if run["part"] == "coverage":
        return f"{where}: {m['coverage']:.1%} covered, width {m['width']:.3f}, tau {m['tau']:.2f}"
    alone = f"alone {m['out_alone']:.0%}, {m['edge_alone']:.0%} at its edge"
    return f"{where}, {run['test_zoo']}: {m['out']:.0%} out of domain, {alone}"


def _runs(part: str, results: pathlib.Path) -> Sequence[Mapping]:
    return records.latest(records.read("prediction_intervals", results, part=part))


def coverage(results: pathlib.Path) -> str:
    """A line for each zoo, over splits."""
    cells = [
        [
            row,
            f"{group[0]['metrics']['nominal']:.2f}",
            *(
                tables.spread((r["metrics"][k] for r in group if k in r["metrics"]), 3)
                for k in KEYS
            ),
        ]
        for (row,), group in tables.grouped(_runs("coverage", results), "row").items()
    ]
    return tables.markdown(HEAD, cells) if cells else tables.EMPTY


def domain(results: pathlib.Path) -> str:
    """A line for each zoo, a column for each set; mean shares out of domain, together and alone."""
    lines: dict[str, dict[str, str]] = {}
    groups = tables.grouped(_runs("domain", results), "row", "test_zoo")
    for (row, tested), group in groups.items():
        mean = lambda key, group=group: sum(r["metrics"][key] for r in group) / len(group)
        lines.setdefault(row, {})[tested] = f"{mean('out'):.0%}, {mean('out_alone'):.0%}"
    return tables.pivot(lines, "predictor of") if lines else tables.EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "prediction_intervals": coverage,
    "prediction_domain": domain,
}

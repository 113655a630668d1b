"""The model card of a predictor (Mitchell et al., 2019), in Markdown."""

from collections.abc import Mapping
from typing import Any

from wsjax.checks import printable
from wsjax.networks import Spec


def card(label: str, facts: Mapping[str, Any], spec: Spec) -> str:
    """The card of the predictor of a label, from the facts of `fit`."""
    label, runs, labels = printable(label), facts["runs"], facts["labels"]
    known = [x.activation for x in spec.layers if x.activation not in ("none", "other")]
    setting = f" --set activation={known[0]}" if known else ""  # weights do not hold it
    lines = [
        f"# Predictor of {label}",
        "",
        f"Predicts {label} of a network from its weights alone, with an interval, or gives the",
        "reasons why it does not.",
        "",
        f"    wsjax predict FILE --with THIS_FOLDER{setting}",
        f"    wsjax rank FOLDER --with THIS_FOLDER{setting}",
        "",
        "## What it may be asked",
        "",
        f"Networks of {spec.count:,} weights in {len(spec.arrays)} arrays:",
        "",
        *(f"- `{printable(a.name)}` {list(spec.shape(a))}" for a in spec.arrays[:40]),
        *([f"- and {len(spec.arrays) - 40} more"] if spec.arrays[40:] else []),
        "",
        "trained as those below were: same data, same kind of recipe. Others are refused where",
        "their weights show it, and ten or more are compared as a collection.",
        "",
        "## Data",
        "",
        "| split | runs | networks |",
        "| --- | ---: | ---: |",
        *(f"| {k} | {n} | {len(facts['splits'][k])} |" for k, n in runs.items()),
        "",
        f"{label} from {labels['lowest']:.4g} to {labels['highest']:.4g}, mean "
        f"{labels['mean']:.4g}. Which network is in which split: `predictor.json`.",
        "",
        f"## Candidates, compared {facts['measure']}",
        "",
        "| candidate | R2 | 95 % interval | Kendall's tau | mean absolute error | note |",
        "| --- | ---: | --- | ---: | ---: | --- |",
        *(_row(x, facts["chosen"]) for x in (*facts["candidates"], facts["control"])),
        "",
        f"`{facts['chosen']}` is used: the simplest within one standard error of the least squared",
        "error. `recipe_only` is a control, boosted trees on columns chosen before training "
        f"({', '.join(map(printable, facts['control']['columns'])) or 'there were none'}) without",
        "any weights: it is not a candidate, as files come without a recipe.",
        "",
        "## Intervals",
        "",
        f"Split conformal: {facts['confidence']:.0%} of new runs of the same kind, on average over",
        f"calibration sets, have their {label} inside. {runs['calibration']} runs calibrate, one",
        f"checkpoint of each. Width {facts['interval']:.3g} in the middle of the labels; mean",
        f"absolute error on calibration {facts['calibration_mae']:.3g}.",
        "",
        "## Limits",
        "",
        "- The guarantee is for runs like these. Another data set, recipe or training length voids",
        "  it, and a single network of such often cannot be recognised by its weights.",
        "- It is one over runs, not for each network: intervals have one width, and are too wide",
        "  for easy networks and too narrow for hard ones.",
        "- A prediction is no measurement: where data are at hand, evaluate the network.",
        *(["", "## Notes", "", *facts["notes"]] if "notes" in facts else []),
        "",
    ]
    return "\n".join(lines)


def _row(line: Mapping[str, Any], chosen: str) -> str:
    name = f"**{line['name']}**" if line["name"] == chosen else line["name"]
    note = printable(line.get("note", "")).replace("|", "\\|")
    if "r2" not in line:
        return f"| {name} | – | – | – | – | {note} |"
    low, high = line["r2_interval"]
    cells = f"{line['r2']:.3f} | {low:.3f} to {high:.3f} | {line['tau']:.3f} | {line['mae']:.4f}"
    return f"| {name} | {cells} | {note} |"

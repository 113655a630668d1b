"""`wsjax predict`: the label of networks with an interval, or a refusal with its reasons."""

import math
import pathlib
from typing import Any

import click

from wsjax.cli.options import configured, with_predictor
from wsjax.cli.output import FINE, GATE, REFUSED, Page, Table, reports


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@with_predictor
@click.option(
    "--gate", type=float, metavar="NUMBER", help="Exit 1 if a network is predicted to be below."
)
@click.option(
    "--gate-on",
    type=click.Choice(["point", "low"]),
    default="point",
    show_default=True,
    help="Compare the prediction, or its interval's lower end.",
)
@click.option("--anyway", is_flag=True, help="Also predict networks out of the domain.")
@configured
@reports
def predict(
    files: tuple[pathlib.Path, ...], model: pathlib.Path, gate: float | None, gate_on: str,
    anyway: bool, branch: str | None, config: dict[str, Any] | None,
) -> Page:  # fmt: skip
    """Predict the label of networks, with an interval, or refuse.

    Out of the domain of the model there is no number, and the exit code is 3. At its edge there
    is one, with a warning.

    \b
    Examples:
      wsjax predict new.pt --with model
      wsjax predict runs/*.pt --with model --gate 0.8 --gate-on low
    """  # noqa: D301 - click reads the backspace
    from wsjax import predictors

    if gate is not None and not math.isfinite(gate):  # which no prediction is below
        raise click.UsageError(f"--gate: expected a finite number, got {gate}")
    predictor = predictors.load(model)
    predictions = predictors.predict_files(files, predictor, branch, config, anyway)
    return page(predictor.label, predictions, gate, gate_on)


def page(label: str, found: Any, gate: float | None, gate_on: str) -> Page:
    """Predictions as a table; the code of the gate or of a refusal."""
    compared = found.values if gate_on == "point" else found.low
    below = [
        name for name, x in zip(found.names, compared.tolist(), strict=True)
        if gate is not None and x < gate
    ]  # fmt: skip
    refused = sum(not math.isfinite(x) for x in found.values)
    code = REFUSED if refused else GATE if below else FINE
    rows = tuple(
        (name, *(x if math.isfinite(x) else None for x in numbers), verdict)
        for name, verdict, *numbers in zip(
            found.names, found.domain, found.values.tolist(), found.low.tolist(),
            found.high.tolist(), strict=True,
        )
    )  # fmt: skip
    columns = ("network", label, "low", "high", "domain")
    level = f"{found.confidence:.0%}"
    parts: list[Any] = [Table(f"{label} with {level} intervals", columns, rows)]
    reasons = tuple(
        (name, text) for name, own in zip(found.names, found.reasons, strict=True) for text in own
    )
    if reasons:
        note = "edge: a number with this warning. out: the intervals hold for no such network."
        parts.append(Table("Why not in the domain", ("network", "reason"), reasons, note))
    total = len(found)
    headline = f"{label} of {total} network{'s' * (total > 1)}"
    if total == 1 and math.isfinite(found.values[0]):
        ends = f"{found.low[0]:.4g} to {found.high[0]:.4g} ({level})"
        headline = f"{found.names[0]}: {label} {found.values[0]:.4g}, {ends}"
    if refused:
        headline = f"refused: {refused} of {total} out of the domain of the model"
    elif below:
        headline = f"gate failed: {len(below)} of {total} below {gate:g}: {', '.join(below[:5])}"
    data = {
        "label": label, "confidence": found.confidence, "gate": gate, "gate_on": gate_on,
        "below": below, "refused": bool(refused), "shift": found.shift,
        "networks": [
            {"file": name, "prediction": row[1], "low": row[2], "high": row[3], "domain": row[4],
             "reasons": list(own)}
            for name, row, own in zip(found.names, rows, found.reasons, strict=True)
        ],
    }  # fmt: skip
    return Page(headline, data, tuple(parts), code)

"""`wsjax rank`: the networks of a folder by prediction, with ties."""

import collections
import pathlib
from typing import Any

import click

from wsjax.cli.options import configured, with_predictor
from wsjax.cli.output import FINE, REFUSED, Page, Table, reports

KEYS = ("rank", "places", "file", "prediction", "low", "high", "domain")  # of a network


@click.command()
@click.argument("folder", type=click.Path(path_type=pathlib.Path))
@with_predictor
@click.option(
    "--labels",
    type=click.Path(path_type=pathlib.Path),
    metavar="CSV",
    help="Leave out the networks that have a row there, such as those of `fit`.",
)
@click.option("--anyway", is_flag=True, help="Also rank networks out of the domain.")
@configured
@reports
def rank(
    folder: pathlib.Path, model: pathlib.Path, labels: pathlib.Path | None, anyway: bool,
    branch: str | None, config: dict[str, Any] | None,
) -> Page:  # fmt: skip
    """Order the networks of a folder by prediction, with ties.

    Networks that the model cannot tell apart share a rank: the place of a network is from 1 plus
    the number that are surely above it to the number that are not surely below.

    \b
    Examples:
      wsjax rank sweep --with model
      wsjax rank sweep --with model --labels labels.csv
    """  # noqa: D301 - click reads the backspace
    from wsjax import predictors, settings
    from wsjax.zoos.from_files import read_folder

    predictor = predictors.load(model)
    read = read_folder(folder, labels, config=config, branch=branch, mixed=True)
    rest = ~read.labelled
    if not rest.any():
        raise ValueError(f"every network of {folder} has a row in {labels}: none is left to rank")
    names = [name for name, own in zip(read.names, rest, strict=True) if own]
    zoo, activation = read.zoo.select(rest), settings.activation(config)
    found = predictor.rank(zoo, names, anyway, activation)
    return page(predictor.label, found, str(read), read.skipped)


def page(label: str, found: Any, described: str, skipped: Any) -> Page:
    """The ranking; refused if no network of the folder has a prediction."""
    all_of, order = found.predictions, found.order.tolist()
    rows = tuple(
        (int(found.first[i]), _places(found, i), all_of.names[i], float(all_of.values[i]),
         float(all_of.low[i]), float(all_of.high[i]), all_of.domain[i])
        for i in order
    )  # fmt: skip
    columns = ("rank", "places", "network", label, "low", "high", "domain")
    note = (
        f"predictions less than {found.margin:.3g} apart are not distinguished; intervals "
        f"{all_of.confidence:.0%}"
    )
    parts: list[Any] = [described, Table(f"Networks by predicted {label}", columns, rows, note)]
    reasons = tuple(
        (all_of.names[i], all_of.domain[i], text)
        for i in range(len(all_of)) for text in all_of.reasons[i]
    )  # fmt: skip
    if reasons:
        parts.append(Table("Why not in the domain", ("network", "domain", "reason"), reasons))
    if skipped:
        parts.append(Table("Skipped files", ("file", "reason"), tuple(map(tuple, skipped))))
    out = len(all_of) - len(order)
    shared = collections.Counter(row[0] for row in rows)
    ties = sum(n for n in shared.values() if n > 1)
    headline = f"{len(order)} networks ranked by {label}, {ties} of them tied"
    if out:
        headline += f"; {out} out of the domain"
    if not order:
        headline = f"refused: all {len(all_of)} networks are out of the domain of the model"
    data = {
        "label": label, "margin": found.margin, "confidence": all_of.confidence,
        "shift": all_of.shift, "described": described,
        "networks": [dict(zip(KEYS, row, strict=True)) for row in rows],
        "out": [{"file": all_of.names[i], "reasons": list(all_of.reasons[i])}
                for i in range(len(all_of)) if not found.first[i]],
        "skipped": [{"file": name, "reason": why} for name, why in skipped],
    }  # fmt: skip
    return Page(headline, data, tuple(parts), FINE if order else REFUSED)


def _places(found, i):
    first, last = int(found.first[i]), int(found.last[i])
    return f"{first}" if first == last else f"{first} to {last}"

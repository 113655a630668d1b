"""`wsjax fit`: a predictor of a label from a folder of networks."""

import pathlib
from typing import Any

import click

from wsjax.cli.comparing import step
from wsjax.cli.options import configured
from wsjax.cli.output import Page, Table, reports


@click.command()
@click.argument("folder", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    metavar="CSV",
    help="A row for each labelled network: its file, numbers, perhaps its run.",
)
@click.option("--target", required=True, metavar="COLUMN", help="The label to predict.")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    metavar="MODEL",
    help="The model folder.",
)
@click.option("--force", is_flag=True, help="Replace a model that is there.")
@click.option("--minutes", default=5.0, show_default=True, help="For all candidates together.")
@click.option("--seed", default=0, show_default=True, help="Of splits and training.")
@click.option("--confidence", default=0.9, show_default=True, help="Of the intervals.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME",
    help="Try this encoder, however few the networks are. Repeatable.",
)
@click.option(
    "--recipe",
    multiple=True,
    metavar="COLUMN",
    help="A setting chosen before training, for the control. Repeatable.  "
    "[default: all other columns but those named as a measure is, such as loss]",
)
@configured
@reports
def fit(
    folder: pathlib.Path, labels: pathlib.Path, target: str, out: pathlib.Path, force: bool,
    minutes: float, seed: int, confidence: float, encoders: tuple[str, ...],
    recipe: tuple[str, ...], branch: str | None, config: dict[str, Any] | None,
) -> Page:  # fmt: skip
    """Train a predictor of a label on a folder of networks.

    Splits by run, compares ridge regression, boosted trees and encoders within the minutes,
    calibrates intervals on runs that nothing learned from, and keeps what it may be asked.

    \b
    Examples:
      wsjax fit sweep --labels labels.csv --target accuracy -o model
      wsjax fit sweep --labels labels.csv --target accuracy -o model --minutes 30 --encoder sne
    """  # noqa: D301 - click reads the backspace
    from wsjax import encoders as library
    from wsjax import predictors
    from wsjax.predictors import candidates
    from wsjax.zoos.from_files import read_folder

    predictors.expect_place(out)
    if (out / "predictor.json").exists() and not force:
        raise click.UsageError(f"{out}: is a model; --force replaces it")
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise click.UsageError(f"{out}: is in {folder}, whose weights files are the networks")
    chosen = {k: candidates.ENCODERS.get(k) or library.build(k) for k in encoders}
    read = read_folder(folder, labels, target=target, config=config, branch=branch)
    names = [name for name, own in zip(read.names, read.labelled, strict=True) if own]
    predictor = predictors.fit(
        read.zoo.select(read.labelled), target, names=names, minutes=minutes, seed=seed,
        confidence=confidence, encoders=chosen or None, recipe=recipe or None, progress=step,
    )  # fmt: skip
    predictor.save(out)
    return page(predictor.facts, target, out, str(read), read.skipped)


def page(facts: Any, target: str, out: pathlib.Path, described: str, skipped: Any) -> Page:
    """The candidates, and what was chosen."""
    lines = [*facts["candidates"], facts["control"]]
    rows = tuple(
        (x["name"] + " *" * (x["name"] == facts["chosen"]), x.get("r2"), x.get("tau"),
         x.get("mae"), x.get("seconds"), x.get("note", ""))
        for x in lines
    )  # fmt: skip
    title = f"Candidates, compared {facts['measure']}"
    note = (
        f"* chosen: the simplest within one standard error of the best. recipe_only sees "
        f"{', '.join(facts['control']['columns']) or 'no columns'} and no weights: a control."
    )
    columns = ("candidate", "R2", "Kendall's tau", "mean error", "seconds", "note")
    parts: list[Any] = [described, Table(title, columns, rows, note)]
    if measured := facts["control"]["measured"]:
        parts.append(
            f"recipe_only does not see {', '.join(measured)}: named as a measure of a trained "
            "network is; --recipe COLUMN gives the columns that were chosen before training."
        )
    splits = tuple((k, n, len(facts["splits"][k])) for k, n in facts["runs"].items())
    parts.append(Table("Splits", ("split", "runs", "networks"), splits))
    if skipped:
        parts.append(Table("Skipped files", ("file", "reason"), tuple(map(tuple, skipped))))
    if facts["chosen"] == "mean":
        parts.append("No candidate predicts better than the mean: the weights say nothing here.")
    headline = (
        f"{out}: {facts['chosen']} predicts {target}, {facts['confidence']:.0%} intervals "
        f"{facts['interval']:.3g} wide"
    )
    listed = [{"file": name, "reason": why} for name, why in skipped]
    data = {"model": str(out), "target": target, **facts, "skipped": listed}
    return Page(headline, data, tuple(parts))

"""`wsjax classify`: the class of the image that each INR of a folder represents."""

import pathlib

import click

from wsjax.cli.inr_options import inrs
from wsjax.cli.output import FINE, REFUSED, Page, Picture, Table, reports

PICTURED = 200  # INRs on the contact sheet, at most


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=pathlib.Path))
@click.option("--labels", type=click.Path(path_type=pathlib.Path), metavar="FILE.csv",
              help="Columns file and class: accuracy is measured.")  # fmt: skip
@click.option("--branch", metavar="NAME", help="The part of the files that is the network.")
@inrs
@reports
def classify(folder, labels, branch, model, anyway, convention) -> Page:
    """Name the class of the image that each INR of a folder represents, from its weights.

    INRs that differ from those of training, in the sizes of their arrays or in their pixels, are
    refused (exit code 3). Confidence is the model's
    probability of the class, calibrated if its card says so.

    \b
      wsjax classify sirens --with mnist-inr-classes
      wsjax classify sirens --with mnist-inr-classes --labels labels.csv --html report.html
      wsjax classify sirens --with mnist-inr-classes --indexing ij --offset 0 --black -1
    """  # noqa: D301
    import dataclasses

    from wsjax import inr_folders

    theirs = lambda ours: dataclasses.replace(ours, **convention)
    result = inr_folders.classify(folder, model, labels=labels, theirs=theirs, branch=branch)
    accepted = result.reliable | anyway
    order = result.probabilities.argsort(-1)[:, ::-1]
    networks = []
    for i, name in enumerate(result.names):
        first, second = order[i, :2]
        kept = bool(accepted[i])
        networks.append({
            "file": name,
            "class": result.classes[first] if kept else None,
            "confidence": float(result.probabilities[i, first]) if kept else None,
            "runner_up": result.classes[second] if kept else None,
            "runner_up_confidence": float(result.probabilities[i, second]) if kept else None,
            "domain": result.domain.verdicts[i],
            "reason": result.domain.reasons[i],
        })  # fmt: skip
        if result.labels is not None:
            label = int(result.labels[i])
            networks[-1]["label"] = result.classes[label] if label >= 0 else None
    count, refused = len(networks), int((~accepted).sum())
    accuracy, among = result.accuracy(anyway)
    headline = f"{count - refused} of {count} INRs classified"
    headline += f", {refused} refused as out of the domain" if refused else ""
    headline += f", {len(result.skipped)} not of this model" if result.skipped else ""
    headline += f", {100 * accuracy:.1f} % of {among} as labelled" if among else ""
    data = {
        "classes": result.classes,
        "networks": networks,
        "accuracy": accuracy,
        "labelled": among,
        "refused": refused,
        "skipped": [{"file": name, "reason": why} for name, why in result.skipped],
        "convention": dataclasses.asdict(result.theirs),
    }
    keys = ["file", "class", "confidence", "runner_up", "runner_up_confidence", "domain"]
    keys += ["label"] if result.labels is not None else []
    heads = {"runner_up": "runner-up", "runner_up_confidence": "its confidence"}
    brief = lambda x: round(x, 4) if isinstance(x, float) else x
    rows = tuple(tuple(brief(row[k]) for k in keys) for row in networks)
    parts: list[Table | Picture | str] = [Table(
        "INRs", tuple(heads.get(k, k) for k in keys), rows,
        "Confidence is the model's probability of the class, calibrated if its card says so.",
    )]  # fmt: skip
    if others := [row for row in networks if row["domain"] != "in"]:
        parts.append(Table(
            "Unlike those of training", ("file", "domain", "reason"),
            tuple((row["file"], row["domain"], row["reason"]) for row in others),
            "out: refused. Of another convention? See --omega, --coordinates, --offset, --black.",
        ))  # fmt: skip
    if result.skipped:
        parts.append(Table("Not INRs of this model", ("file", "reason"), result.skipped))
    words = [
        f"{row['class']}: {100 * share:.0f} %" if kept else "refused"
        for row, share, kept in zip(
            networks[:PICTURED], result.probabilities.max(-1), accepted, strict=False
        )
    ]
    png = inr_folders.sheet(result.images[:PICTURED], words, result.low)
    title = f"Rendered{f', the first {PICTURED}' if count > PICTURED else ''}"
    parts.append(Picture(title, png, f"the images of {len(words)} INRs with their classes"))
    return Page(headline, data, tuple(parts), REFUSED if refused else FINE)

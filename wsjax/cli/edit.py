"""`wsjax edit`: INRs changed by an editor."""

import pathlib
from collections.abc import Sequence

import click

from wsjax.cli.inr_options import inrs
from wsjax.cli.output import Page, Picture, RefusedError, Table, reports

PICTURED = 40  # INRs on the contact sheet, at most


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...",
                type=click.Path(path_type=pathlib.Path))  # fmt: skip
@click.option("-o", "--out", required=True, type=click.Path(path_type=pathlib.Path),
              metavar="OUTDIR", help="Folder of the edited weights; created.")  # fmt: skip
@click.option("--png", is_flag=True, help="Also write each image before and after as a PNG.")
@click.option("--force", is_flag=True, help="Replace files in OUTDIR.")
@click.option("--branch", metavar="NAME", help="The part of the files that is the network.")
@inrs
@reports
def edit(files, out, png, force, branch, model, anyway, convention) -> Page:
    """Change INRs by a trained editor; weights keep their names, layout and convention.

    Each becomes OUTDIR/NAME.safetensors. Nothing is replaced without --force. INRs that differ
    from those that the editor was trained on are refused (exit code 3).

    \b
      wsjax edit siren.pth --with mnist-inr-dilation -o edited --png
      wsjax edit sirens/*.pth --with mnist-inr-dilation -o edited --html report.html
    """  # noqa: D301
    import dataclasses

    import numpy as np
    import safetensors.numpy

    from wsjax import inr_folders, storage

    outputs = [out / f"{path.stem}{end}" for path in files for end in _endings(png)]
    _expect_free(outputs, files, force)
    theirs = lambda ours: dataclasses.replace(ours, **convention)
    result = inr_folders.edit(files, model, theirs=theirs, branch=branch)
    verdicts, reasons = result.domain.verdicts, result.domain.reasons
    if (refused := [i for i, x in enumerate(verdicts) if x == "out"]) and not anyway:
        raise RefusedError(
            f"{len(refused)} of {len(files)} INRs are unlike those that the editor was trained on, "
            f"so nothing is written; {files[refused[0]]}: {reasons[refused[0]]} (--anyway edits "
            "them; --omega, --coordinates, --offset, --black state another convention)"
        )
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    pairs = np.stack([result.before, result.after], axis=1)
    for i, path in enumerate(files):
        arrays = {name: np.ascontiguousarray(a) for name, a in result.arrays[i].items()}
        target = out / f"{path.stem}.safetensors"
        storage.write_bytes(target, safetensors.numpy.save(arrays))
        if png:
            image = inr_folders.sheet(pairs[i], ["before", "after"], result.low, side=168)
            storage.write_bytes(out / f"{path.stem}.png", image)
        change = float(np.abs(pairs[i, 1] - pairs[i, 0]).mean()) / (1 - result.low)
        rows.append((str(path), str(target), change, verdicts[i], reasons[i]))
    keys = ("file", "output", "change", "domain", "reason")
    data = {"files": [dict(zip(keys, row, strict=True)) for row in rows],
            "convention": dataclasses.asdict(result.theirs)}  # fmt: skip
    note = "change: mean absolute difference of pixels before and after, black to white being 1."
    some = pairs[:PICTURED].reshape(-1, *pairs.shape[2:])
    captions = [x for path in files[:PICTURED] for x in (path.stem, "edited")]
    picture = inr_folders.sheet(some, captions, result.low)
    alt = f"{len(some) // 2} INRs before and after"
    parts = (Table("", keys, tuple(rows), note), Picture("Before and after", picture, alt))
    return Page(f"{len(rows)} INR{'s' * (len(rows) != 1)} edited into {out}", data, parts)


def _endings(png: bool) -> tuple[str, ...]:
    return (".safetensors", ".png") if png else (".safetensors",)


def _expect_free(outputs: list[pathlib.Path], inputs: Sequence[pathlib.Path], force: bool) -> None:
    """Raises unless the outputs are different files, none of them an input, and new or replaced."""
    if twice := sorted({str(p) for p in outputs if outputs.count(p) > 1}):
        raise ValueError(f"expected files of different names, two would be written as {twice[0]}")
    sources = {p.resolve() for p in inputs}
    if read := [p for p in outputs if p.resolve() in sources]:
        raise ValueError(f"{read[0]} is an input, and never overwritten: expected another --out")
    if not force and (there := [p for p in outputs if p.exists()]):
        raise ValueError(f"{there[0]} exists: expected another folder as --out, or --force")

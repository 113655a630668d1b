"""`wsjax embed`: vectors of a folder of networks, neighbours, duplicates, a map."""

import pathlib

import click

from wsjax.cli.options import configured, expect_free
from wsjax.cli.output import Page, Picture, Table, reports

ROWS = 40  # of a table
FILE = click.Path(dir_okay=False, path_type=pathlib.Path)


@click.command()
@click.argument("folder", type=click.Path(path_type=pathlib.Path))
@click.option("-o", "--output", type=FILE, help="Write the vectors, as .csv or .npz.")
@click.option("--map-png", "png", type=FILE, help="Write the map as a picture.")
@click.option("--force", is_flag=True, help="Overwrite the vectors and the picture.")
@click.option("--map", "plane", type=click.Choice(["pca", "tsne"]), default="pca",
              show_default=True, help="How the plane of the map is found.")  # fmt: skip
@click.option("--with", "encoder", default="statistics", metavar="MODEL", show_default=True,
              help="The folder or name of a pretrained encoder.")  # fmt: skip
@click.option("--labels", type=FILE, help="A CSV: names of files, and labels.")
@click.option("--target", metavar="COLUMN", help="The label that gives the map's colours.")
@click.option("-k", "--neighbours", default=5, show_default=True, type=click.IntRange(1),
              help="Of each network.")  # fmt: skip
@click.option("--mixed", is_flag=True, help="Allow networks of several architectures.")
@configured
@reports
def embed(
    folder, output, png, force, plane, encoder, labels, target, neighbours, mixed, branch, config
):
    """A vector for each network of FOLDER: who is near whom, who is a copy, and a map.

    Every weights file below FOLDER is read, of any format. Vectors are statistics of each array,
    or the embeddings of a pretrained encoder. Duplicates are found up to the symmetries that the
    networks are known to have; `--set activation=relu` adds those of an activation. Statistics are
    then of canonical forms, so that copies and their neighbours are near, too.

    \b
      wsjax embed sweep -o vectors.csv
      wsjax embed sweep --map-png map.png --labels labels.csv --target accuracy
      wsjax embed sweep --with runs/first -o embeddings.npz
      wsjax embed sweep --html report.html
    """  # noqa: D301 (click reads the control character)
    from wsjax import maps
    from wsjax.zoos.from_files import read_folder

    _check(output, png, force, folder, labels, target)
    read = read_folder(folder, labels, config=config, branch=branch, mixed=mixed)
    made = maps.embed(read, encoder, neighbours=neighbours, plane=plane)
    values = None if target is None else read.zoo.labels[target]
    if output is not None:
        made.save(output)
    parts: list = list(_tables(made))
    if png is not None or click.get_current_context().params.get("html") is not None:
        data = maps.picture(made, values, target or "")
        if png is not None:
            from wsjax import storage

            storage.write_bytes(png, data)
        alt = f"{len(read.names)} networks in a plane: {made.axes[0]} and {made.axes[1]}"
        parts.append(Picture("Map", data, alt))
    written = [f"written: {path}" for path in (output, png) if path is not None]
    copies = len(made.duplicates)
    headline = (
        f"{len(read.names):,} networks, vectors of {made.vectors.shape[1]:,} numbers "
        f"({made.encoder}); {copies or 'no'} group{'s' * (copies != 1)} of duplicates"
    )
    return Page(headline, _data(made), (str(read), *parts, *written))


def _check(output, png, force, folder, labels, target):
    """Raises what would fail only after the weights were read."""
    from wsjax import maps
    from wsjax.zoos import label_files

    if output is not None:
        maps.expect_output(output)
    if png is not None and png.suffix.lower() != ".png":
        raise click.UsageError(f"--map-png {png}: expected a name that ends in .png")
    for path in (output, png):
        if path is not None:
            expect_free(path, force, *([] if labels is None else [labels]))
    npz = output is not None and output.suffix.lower() == ".npz"
    if npz and folder.resolve() in output.resolve().parents:
        raise click.UsageError(f"-o {output}: expected a place outside of {folder}, where it would "
                               "be read as a network")  # fmt: skip
    if (target is None) != (labels is None):
        raise click.UsageError("expected --labels and --target together: they colour the map")
    if labels is not None:
        known = label_files.read(labels).labels()
        if target not in known:
            names = ", ".join(map(repr, known)) or "none"
            raise ValueError(f"{labels}: expected a label {target!r}, its labels are {names}")


def _tables(made):
    names = made.folder.names
    if skipped := made.folder.skipped:
        yield Table("Skipped", ("file", "why"), skipped[:ROWS], _more(skipped))
    if made.duplicates:
        up_to = ", ".join(made.symmetries) or "none"
        rows = tuple(
            (" = ".join(g.names), "equal weights" if g.equal else "equal up to symmetry")
            for g in made.duplicates
        )
        note = f"symmetries considered: {up_to}. {_more(rows)}".strip()
        yield Table("Duplicates", ("networks", "how"), rows[:ROWS], note)
    if made.neighbours.shape[1]:
        near = tuple((name, *made.nearest(i)[0]) for i, name in enumerate(names[:ROWS]))
        columns = ("network", "nearest", "distance")
        yield Table("Nearest neighbours", columns, near, f"{_form(made)}{_more(names)}".strip())


def _form(made) -> str:
    """The weights that statistics are of."""
    if made.encoder != "statistics":
        return ""
    if made.removed:
        return f"statistics of canonical forms: {', '.join(made.removed)} removed. "
    return "statistics of weights as stored; of canonical forms with --set activation=relu. "


def _more(rows) -> str:
    rest = len(rows) - ROWS
    return f"and {rest:,} more, see --json" if rest > 0 else ""


def _data(made):
    folder = made.folder
    return {
        "folder": folder.path,
        "encoder": made.encoder,
        "columns": made.columns,
        "networks": [
            {
                "file": name,
                "run": int(folder.zoo.runs[i]),
                "plane": made.plane[i],
                "neighbours": [{"file": n, "distance": d} for n, d in made.nearest(i)],
            }
            for i, name in enumerate(folder.names)
        ],
        "axes": made.axes,
        "duplicates": [{"files": g.names, "equal_weights": g.equal} for g in made.duplicates],
        "symmetries": made.symmetries,
        "removed": made.removed,
        "skipped": [{"file": name, "why": why} for name, why in folder.skipped],
        "other_files": folder.others,
        "grouping": folder.grouping,
    }

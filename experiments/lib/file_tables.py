"""Tables of other people's weights files."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.lib import records, tables


def line(run: Mapping) -> str:
    """One record in a line, for the screen."""
    if run["part"] == "cases":
        right = "right" if run["metrics"]["right"] else "WRONG"
        return f"{run['row'].removeprefix('case_'):4} {right}  {run['what']}\n     {run['line']}"
    m = run["metrics"]
    most = f"{m['megabytes']:.0f} MiB at most, {m['before']:.0f} before"
    most += f", first output after {m['first']:.3f} s" if "first" in m else ""
    return f"{run['row']:28} {m['seconds']:8.3f} s  {m['bytes'] / 1e9:.2f} GB, {most}"


def _runs(part: str, results: pathlib.Path) -> Sequence[Mapping]:
    return records.latest(records.read("weight_files", results, part=part))


def cases(results: pathlib.Path) -> str:
    """A line for each kind of file."""
    cells = [
        [
            run["row"].removeprefix("case_"),
            run["what"].replace("|", r"\|"),
            f"`{run['line'].replace('|', '¦').replace('`', chr(39))}`",
            "yes" if run["metrics"]["right"] else "**no**",
        ]
        for run in _runs("cases", results)
    ]
    head = ["case", "file", "the line that is read", "as expected"]
    return tables.markdown(head, cells) if cells else tables.EMPTY


def sizes(results: pathlib.Path) -> str:
    """Seconds and memory of large files."""
    cells = []
    for run in _runs("sizes", results):
        m, config = run["metrics"], run["config"]
        file = f"`{config['file']}`, {config['gigabytes']:g} GB"
        figures = f"{m['bytes'] / 1e9:.2f}", f"{m['seconds']:.3f}"
        memory = f"{m['megabytes'] - m['before']:.0f}", f"{m['before']:.0f}"
        first = f"{m['first']:.3f}" if "first" in m else "–"
        cells.append([file, config["operation"], f"{m['arrays']}", *figures, first, *memory])
    head = ["file", "operation", "arrays", "GB", "seconds", "first output", "MiB more"]
    head.append("MiB before")
    return tables.markdown(head, cells) if cells else tables.EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "weight_files": cases,
    "weight_file_sizes": sizes,
}

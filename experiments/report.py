"""The generated tables of the READMEs, made from the published records.

    python -m experiments.report            renders them
    python -m experiments.report --check    exits 1 where text and records disagree

A table stands between `<!-- table NAME -->` and `<!-- end -->`. A test runs the check, so that
no number in a table is typed by hand.
"""

import pathlib
import re

from experiments.lib import (
    accuracy_tables,
    benchmark_tables,
    cli,
    fault_tables,
    file_tables,
    interval_tables,
    overview_tables,
    pretrained_tables,
    session_tables,
    size_tables,
    tables,
    tracing_tables,
)
from experiments.lib.records import PUBLISHED, ROOT
from wsjax import storage

FILES = ("README.md", "experiments/README.md", "wsjax/encoders/README.md", "wsjax/cli/README.md")
MARKER = re.compile(r"<!-- table (\S+) -->.*?(<!-- end -->|(?=<!-- table )|\Z)", re.DOTALL)


def experiments(_: pathlib.Path) -> str:
    """Every experiment: its command, the paper's table, the cost of each preset."""
    from experiments.__main__ import EXPERIMENTS

    cells = [
        [
            f"`python -m experiments.{name}`",
            table,
            "; ".join(f"`{k}`: {preset.cost}" for k, preset in experiment.PRESETS.items()),
        ]
        for name, (table, experiment) in EXPERIMENTS.items()
    ]
    return tables.markdown(["command", "reproduces", "cost of its presets"], cells)


TABLES = {
    "experiments": experiments,
    **overview_tables.TABLES,
    **tables.TABLES,
    **accuracy_tables.TABLES,
    **size_tables.TABLES,
    **benchmark_tables.TABLES,
    **fault_tables.TABLES,
    **tracing_tables.TABLES,
    **file_tables.TABLES,
    **interval_tables.TABLES,
    **pretrained_tables.TABLES,
    **session_tables.TABLES,
}


def render(text: str, results: pathlib.Path = PUBLISHED) -> str:
    """A page with every marked table made anew from the records of a folder.

    Raises:
        ValueError: a marker names no table, or is not closed.
    """

    def replace(match):
        name, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"expected a table of {sorted(TABLES)}, got {name!r}")
        if not end:
            raise ValueError(f"table {name!r} is not closed by <!-- end -->")
        return f"<!-- table {name} -->\n\n{TABLES[name](results)}\n\n{end}"

    return MARKER.sub(replace, text)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.command("report", __doc__)
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 if different")
    check = parser.parse_args(arguments).check
    for path in (ROOT / name for name in FILES):
        if not path.exists():
            continue
        text = path.read_text()
        if (rendered := render(text)) == text:
            continue
        name = path.relative_to(ROOT)
        if check:
            raise SystemExit(f"{name} disagrees with the records: run python -m experiments.report")
        storage.write_text(path, rendered)
        print(f"{name} is rendered anew")


if __name__ == "__main__":
    cli.run(main)

"""Other people's weights files: one line of output for each kind, and what large ones cost.

    python -m experiments.weight_files                         both parts; some minutes
    python -m experiments.weight_files --parts cases --only 13a,26b
    python -m experiments.weight_files --parts sizes --gigabytes 0.1 --real 0.1

`wsjax.load`, `wsjax.files.describe` and `wsjax.recognize` see a file and nothing else. The parts:

    cases     small files rebuilt from public bug reports of checkpoint tools: the line that a user
              reads, and whether facts, arrays and structure are those that the file has
    sizes     files of several gigabytes: seconds and memory of listing one, of reading one array,
              of describing it and of loading it, each in a process of its own; and of the commands
              `wsjax inspect` and `wsjax verify`, on a small CNN and on a transformer

A case of which a part is not there yet says so in its line.
"""

import pathlib
import tempfile
import time
from collections.abc import Iterable, Iterator

from experiments.foreign_files import sizes
from experiments.foreign_files.catalogue import CASES, what
from experiments.lib import cli, file_tables, records

PARTS = ("cases", "sizes")
ARRAYS = 100  # of a large file


def cases(numbers: Iterable[str], folder: pathlib.Path) -> Iterator[dict]:
    """A record for each case."""
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            begin = time.monotonic()
            answer = CASES[number](pathlib.Path(name))
            line = answer.line.replace(f"{name}/", "").replace(name, ".")
        yield {
            "row": f"case_{number}",
            "what": what(number),
            "line": line,
            "metrics": {"right": answer.right},
            "seconds": round(time.monotonic() - begin, 2),
        }


def large(folder: pathlib.Path, holes: float, real: float) -> Iterator[dict]:
    """A record for each file and operation; files of holes and of numbers of so many GB."""
    for file, (write, is_hole, operations) in sizes.FILES.items():
        gigabytes = holes if is_hole else real
        with tempfile.TemporaryDirectory(dir=folder) as name:
            path = pathlib.Path(name) / "net"
            write(path, int(gigabytes * 1e9), ARRAYS)
            if file == "cnn":
                gigabytes = path.stat().st_size / 1e9
            for operation in operations:
                figures = sizes.run(operation, path)
                yield {
                    "row": f"{file}_{operation}",
                    "metrics": figures,
                    "seconds": figures["seconds"],
                    "config": {"file": file, "operation": operation, "gigabytes": gigabytes},
                }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("weight_files", __doc__))
    parser.add_argument("--parts", default="", help="comma-separated; all if not given")
    parser.add_argument("--only", default="", help="numbers of cases, comma-separated")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of a file of holes")
    parser.add_argument("--real", type=float, default=1.0, help="likewise, of random numbers")
    options = cli.prepare(parser.parse_args(arguments))
    numbers = cli.select(options.only, CASES, CASES)
    for part in cli.select(options.parts, PARTS, PARTS):
        done = (
            cases(numbers, options.folder)
            if part == "cases"
            else large(options.folder, options.gigabytes, options.real)
        )
        for record in done:
            begin = {"experiment": "weight_files", "preset": "laptop", "seed": 0, "part": part}
            record = {**begin, "parameters": 0, "steps": 0, **record}
            records.append(record, options.results)
            print(file_tables.line(record), flush=True)


if __name__ == "__main__":
    cli.run(main)

"""`wsjax merge A B -o C`."""

import importlib
import os
import pathlib
import sys

import click

from wsjax.cli.comparing import check_output, limited, step, written
from wsjax.cli.options import configured
from wsjax.cli.output import Page, Table, reports


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--weight", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Of B.")  # fmt: skip
@click.option("--match/--no-match", "matching", default=True,
              help="Match B's neurons with A's first, or average as stored.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=pathlib.Path), metavar="FILE.npz",
              help="Arrays x and y, to measure loss barriers; integers y are classes.")  # fmt: skip
@click.option("--function", "name", metavar="MODULE:NAME",
              help="Your function of (params by stored name, x), imported from the current "
                   "folder; by default the recognised network.")  # fmt: skip
@written
@limited
@configured
@reports
def merge(a, b, weight, matching, data, name, output, force, gigabytes, minutes, branch, config):
    """Write the average of two networks after their neurons were matched.

    The output has A's names, layout and types. Running statistics of batch norms are averaged
    as well, and are to be estimated again on data before use.

    \b
    Examples:
      wsjax merge a.safetensors b.safetensors -o c.safetensors
      wsjax merge a.msgpack b.msgpack -o c.safetensors --weight 0.3 --set activation=relu
      wsjax merge a.pt b.pt -o c.safetensors --data test.npz --function model:apply
    """  # noqa: D301 - click reads the backspace
    from wsjax.comparison import merge, write

    check_output(output, force, a, b)
    examples = None if data is None else _read(data)
    function = None if name is None else _function(name)
    if function is not None and data is None:
        raise click.UsageError("--function: expected --data too, on which it is evaluated")
    result = merge(
        a, b, weight, branch=branch, config=config, matching=matching, data=examples,
        function=function, gigabytes=gigabytes, minutes=minutes, progress=step,
    )  # fmt: skip
    write(output, result.stored)
    rows = [("as stored", *result.raw, result.barrier)]
    if result.matched is not None:
        rows.append(("matched", *result.matched, result.matched_barrier))
    columns = ("B to A", "relative", "cosine", "loss barrier")
    table = Table("", columns if result.losses else columns[:3],
                  tuple(r if result.losses else r[:3] for r in rows))  # fmt: skip
    parts: list[Table | str] = [table]
    if result.losses:
        losses = zip(("A", "B", "merged"), result.losses, strict=True)
        parts.append(Table("", ("network", "loss"), tuple(losses)))
    if result.statistics:
        parts.append(
            f"{len(result.statistics)} running means and variances were averaged: estimate them "
            "again on data before use (REPAIR)"
        )
    data_ = {
        "output": output, "weight": weight, "raw": result.raw._asdict(),
        "matched": None if result.matched is None else result.matched._asdict(),
        "barrier": result.barrier, "matched_barrier": result.matched_barrier,
        "losses": result.losses and dict(zip(("a", "b", "merged"), result.losses, strict=True)),
        "statistics": result.statistics, "notes": result.notes,
    }  # fmt: skip
    how = "after matching" if matching else "as stored"
    headline = f"{output}: {1 - weight:g} A + {weight:g} B, {how}"
    return Page(headline, data_, (*parts, *result.notes))


def _read(path):
    import numpy as np

    from wsjax.files import opened

    try:
        with opened(path) as checkpoint:
            arrays = {s.name: s.read() for s in checkpoint.arrays if s.name in ("x", "y")}
    except OSError as error:
        raise click.UsageError(f"--data {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise click.UsageError(f"--data {error}") from error
    if set(arrays) != {"x", "y"}:
        raise click.UsageError(f"--data {path}: expected arrays x and y, got {sorted(arrays)}")
    return np.asarray(arrays["x"]), np.asarray(arrays["y"])


def _function(name):
    module, colon, attribute = name.partition(":")
    if not module or not colon or not attribute:
        raise click.UsageError(f"--function {name}: expected MODULE:NAME, such as model:apply")
    sys.path.insert(0, os.getcwd())  # as `python -m` has it
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's module does
        raise click.UsageError(f"--function {name}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(found):
        raise click.UsageError(f"--function {name}: expected a function, got {found!r}")
    return found

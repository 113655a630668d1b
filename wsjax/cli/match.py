"""`wsjax match A B -o C`."""

import click

from wsjax.cli.comparing import check_output, limited, step, written
from wsjax.cli.options import configured
from wsjax.cli.output import Page, Table, reports


@click.command()
@click.argument("a")
@click.argument("b")
@written
@limited
@configured
@reports
def match(a, b, output, force, gigabytes, minutes, branch, config):
    """Write a copy of B with its neurons in the order of A's.

    The copy has B's function, names, layout and types. With the activation given, signs and
    scales of neurons follow A's too. It can be averaged with A.

    \b
    Examples:
      wsjax match a.safetensors b.safetensors -o b-aligned.safetensors
      wsjax match a.msgpack b.msgpack -o c.npz --set activation=relu
    """  # noqa: D301 - click reads the backspace
    from wsjax.comparison import match, write

    check_output(output, force, a, b)
    result = match(a, b, branch=branch, config=config, gigabytes=gigabytes,
                   minutes=minutes, progress=step)  # fmt: skip
    write(output, result.stored)
    moved = sum(int((p != range(p.shape[-1])).sum()) for p in _tables(result))
    rows = (("as stored", *result.raw), ("aligned", *result.matched))
    error = result.function_error
    checked = "B's outputs could not be checked: settings of the network are not known"
    if error is not None:
        checked = f"B's outputs change by {error:.1g} of the largest on random inputs"
    data = {
        "output": output, "raw": result.raw._asdict(), "matched": result.matched._asdict(),
        "moved": moved, "function_error": error, "notes": result.notes,
    }  # fmt: skip
    table = Table("", ("B to A", "relative", "cosine"), rows)
    headline = f"{output}: B with {moved:,} neurons moved"
    return Page(headline, data, (table, checked, *result.notes))


def _tables(result):
    import numpy as np

    return [np.asarray(p) for p in result.alignment.permutation.values()]

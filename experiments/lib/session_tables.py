"""Transcripts of sessions with the `wsjax` command."""

import pathlib
from collections.abc import Callable, Mapping

from experiments.lib import records, tables

LINES = 14  # of one command's output
WIDTH = 150  # characters of a line


def transcript(run: Mapping) -> str:
    """A session as a terminal has it, and what its commands cost."""
    lines, costs = [], []
    for c in run["commands"]:
        output = [x.rstrip() for x in c["output"].splitlines()]
        rest = len(output) - LINES
        shortened = [*output[:LINES], f"... {rest} lines more"] if rest > 1 else output
        cut = (x if len(x) <= WIDTH else f"{x[:WIDTH]} ..." for x in shortened)
        lines += [f"$ {c['line']}", *cut]
        lines += [f"(exit code {c['code']})"] if c["code"] else []
        costs.append(
            f"`{c['line'].split()[1]}` {c['first']:.2f} s to the first output, "
            f"{c['seconds']:.1f} s in all, {c['megabytes']:.0f} MiB"
        )
    figures = "; ".join(costs)
    if m := run["metrics"]:
        figures += (
            f". Of the {m['ranked']} networks held back {m['covered']} lie in their interval; "
            f"the mean absolute error is {m['mean_absolute_error']:.3f}"
        )
    body = "\n".join(f"    {x}".rstrip() for x in lines)
    return f"**{run['row']}.** {run['about']}\n\n{body}\n\n{figures}."


def sessions(results: pathlib.Path) -> str:
    """The latest of each session, in the order in which they were first recorded."""
    runs = {r["row"]: r for r in records.latest(records.read("sessions", results))}
    parts = [transcript(run) for run in runs.values()]
    return "\n\n".join(parts) or tables.EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {"sessions": sessions}

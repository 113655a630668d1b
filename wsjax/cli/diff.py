"""`wsjax diff A B`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wsjax.cli.comparing import limited, step
from wsjax.cli.options import configured
from wsjax.cli.output import FINE, GATE, REFUSED, Page, Table, reports

if TYPE_CHECKING:
    from wsjax.comparison import Comparison

ROWS = 60  # arrays of the table; all are in the JSON


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--match/--no-match", "matching", default=True,
              help="Match permutations, signs and scales, or compare as stored.")  # fmt: skip
@click.option("--gate", type=click.Choice(["same", "related"]),
              help="Exit with 1 unless the verdict is that or better.")  # fmt: skip
@limited
@configured
@reports
def diff(a, b, matching, gate, gigabytes, minutes, branch, config):
    """Compare two networks, as stored and after their symmetries are matched.

    The verdict is one of: identical, same weights (to rounding), same function up to symmetry,
    fine-tuned (one from the other, or both from a third), undecided, unrelated, not comparable;
    with the number that decides it and its threshold.

    \b
    Examples:
      wsjax diff before.safetensors after.safetensors
      wsjax diff torch.pt flax.msgpack --set activation=relu
      wsjax diff a.safetensors b.safetensors --gate same     for continuous integration
      wsjax diff a.safetensors b.safetensors --no-match      of networks too large to match
    """  # noqa: D301 - click reads the backspace
    from wsjax.comparison import compare
    from wsjax.comparison.verdicts import RELATED, SAME

    result = compare(
        a, b, branch=branch, config=config, matching=matching,
        gigabytes=gigabytes, minutes=minutes, progress=step,
    )  # fmt: skip
    name = result.verdict.name
    code = REFUSED if name == "not comparable" else FINE
    if gate and name not in (SAME if gate == "same" else RELATED):
        code = code or GATE
    kinds = "" if result.pairs.by_structure or not result.pairs.differences else (
        "different architectures; " * (result.a.level != "opaque" != result.b.level)
    )  # fmt: skip
    headline = f"{kinds}{name}: {result.verdict.reason}"
    return Page(headline, _data(result), tuple(_parts(result)), code)


def _distance(x: Any) -> dict[str, float] | None:
    return None if x is None else x._asdict()


def _chance(x: Any) -> dict[str, Any] | None:
    if x is None:
        return None
    keys = ("correlation", "mean", "deviation", "most", "draws", "z", "excess")
    return {k: getattr(x, k) for k in keys}


def _data(result: Comparison) -> dict[str, Any]:
    pairs = result.pairs
    return {
        "verdict": result.verdict._asdict(),
        "a": {"path": result.a.path, "family": result.a.family, "parameters": result.a.spec.count},
        "b": {"path": result.b.path, "family": result.b.family, "parameters": result.b.spec.count},
        "raw": _distance(result.raw),
        "matched": _distance(result.matched),
        "chance": _chance(result.chance),
        "matched_chance": _chance(result.matched_chance),
        "function_error": result.function_error,
        "outputs": result.outputs,
        "names": {
            "same": pairs.same,
            "only_a": pairs.only_a,
            "only_b": pairs.only_b,
            "reshaped": pairs.reshaped,
            "renamed": pairs.renamed,
            "transposed": pairs.transposed,
            "split": pairs.split,
        },
        "arrays": [
            {
                "name": r.name, "other": r.other, "entries": r.entries, "offset": r.offset,
                "raw": _distance(r.raw), "matched": _distance(r.matched), "ratio": r.ratio,
            }
            for r in result.rows
        ],
        "notes": result.notes,
    }  # fmt: skip


def _parts(result: Comparison):
    pairs = result.pairs
    yield f"A  {result.a.path}: {result.a.described}"
    yield f"B  {result.b.path}: {result.b.described}"
    yield from _names(pairs)
    rows = [("as stored", *result.raw)]
    if result.matched is not None:
        rows.append(("matched", *result.matched))
    note = []
    if result.outputs is not None:
        note.append(f"outputs on random inputs differ by {result.outputs:.2g} of A's norm")
    if result.function_error is not None:
        note.append(f"matching changes B's outputs by {result.function_error:.1g} of the largest")
    if result.rows:
        yield Table("", ("distance", "relative", "cosine"), tuple(rows), "; ".join(note))
        yield _arrays(result)
    yield from result.notes


def _names(pairs: Any) -> list[str]:
    some = lambda names: ", ".join(names[:4]) + (f", ... ({len(names)})" if names[4:] else "")
    links = lambda both: some([f"{x} = {y}" for x, y in both])
    lines = [f"names  {len(pairs.same)} in both with one shape"]
    if pairs.reshaped:
        shapes = [f"{n} {list(x)} and {list(y)}" for n, x, y in pairs.reshaped]
        lines.append(f"       other shapes: {some(shapes)}")
    for label, names in (("A", pairs.only_a), ("B", pairs.only_b)):
        if names:
            lines.append(f"       only in {label}: {some(names)}")
    for label, both in (
        ("renamed", pairs.renamed),
        ("transposed", pairs.transposed),
        ("split", pairs.split),
    ):
        if both:
            lines.append(f"       {label}: {links(both)}")
    return lines


def _arrays(result: Comparison) -> Table:
    crossed = {x for pair in result.pairs.transposed for x in pair}
    rows = []
    for r in result.rows[:ROWS]:
        words = ["transposed"] if {r.name, r.other} & crossed else []
        words += [f"{r.offset:+d}"] if r.offset else []
        matched = (None, None) if r.matched is None else tuple(r.matched)
        rows.append((r.name, r.entries, *r.raw, *matched, " ".join(words)))
    columns = ("array", "entries", "relative", "cosine", "matched", "cosine", "")
    more = len(result.rows) - ROWS
    note = f"and {more} more arrays; --json lists all" if more > 0 else ""
    return Table("", columns, tuple(rows), note)

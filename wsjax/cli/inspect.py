"""`wsjax inspect`: a weights file for people."""

import dataclasses
from typing import Any

import click

from wsjax.cli.options import configured
from wsjax.cli.output import FINE, UNREADABLE, Page, Table, cell, early, reports

CERTAINTY = "read: stated in the file; derived: computed from its numbers; inferred: from names and"
CERTAINTY += " shapes; assumed: a default"


@click.command()
@click.argument("file", type=click.Path())
@configured
@reports
def inspect(file, branch, config):
    """Show what a weights file holds, its structure, and what is wrong with it.

    FILE is a file of any format, an index of shards, or a folder. Nothing in it is run. Each
    fact comes with its certainty.

    \b
      wsjax inspect model.safetensors
      wsjax inspect checkpoint.pt --branch ema
      wsjax inspect net.npz --set activation=relu --json
      wsjax inspect runs/42/checkpoint_1000/

    Exit code 2 if it cannot be read or an error is found in it.
    """  # noqa: D301 - click reads the escapes
    from wsjax import inspection

    begin = lambda report: early(Page(_headline(report), {}, (_header(report),)))
    report = inspection.inspect(file, branch, config, early=begin)
    code = UNREADABLE if any(f.severity == "error" for f in report.findings) else FINE
    return Page(_headline(report), _data(report), tuple(_parts(report)), code)


def _headline(report):
    return f"{report.path}: {report.contents.format or 'not opened'}"


def _header(report):
    return _facts("Header", report.header, CERTAINTY)


def _facts(title, facts, note=""):
    rows = tuple((f.name, cell(f.value), f.certainty, f.note) for f in facts)
    return Table(title, ("fact", "value", "certainty", "note"), rows, note)


def _parts(report):
    if report.header:
        yield _header(report)
        yield _facts("Structure and numbers", (*report.structure, *report.numbers))
    if report.findings:
        yield findings(report.findings)
    if report.axes:
        rows = tuple(
            (a.name, a.neurons, a.log10, *map(_yes, (a.sign, a.scale, a.phases)))
            for a in report.axes
        )
        heads = ("axis", "neurons", "log10 permutations", "signs", "scales", "phase shifts")
        yield Table("Symmetries (inferred)", heads, rows)
    if report.arrays:
        rows = tuple(
            (a.layer, a.kind, a.activation, a.part or a.name, a.dtype, _shape(a), _axes(a))
            for a in report.arrays
        )
        heads = ("layer", "kind", "activation", "array", "type", "shape", "axes")
        note = "* hidden: its neurons can be permuted"
        yield Table("Layers (names, types and shapes read, the rest inferred)", heads, rows, note)
    if measured := [a for a in report.arrays if a.statistics]:
        rows = tuple((a.part or a.name, *_numbers(a.statistics)) for a in measured)
        heads = ("array", "numbers", "mean", "std", "min", "max", "max |w|", "zeros")
        heads += ("not finite", "norm", "spectral", "stable rank")
        note = "norm: Frobenius; spectral: largest singular value of [neurons it writes, all else]"
        yield Table("Statistics (derived)", heads, rows, note)


def findings(found) -> Table:
    """A table of findings, the worst first."""
    from wsjax.inspection import certainty

    rows = tuple((f.severity, f.kind, certainty(f), f.text) for f in found)
    return Table("Findings", ("severity", "kind", "certainty", "finding"), rows)


def _yes(known: bool | None):
    return None if known is None else ("yes" if known else "no")


def _shape(array):
    return " x ".join(map(str, array.shape)) or "scalar"


def _axes(array):
    return ", ".join(f"{x}*" if x in array.hidden else x for x in array.axes)


def _numbers(s):
    zeros = f"{100 * s.zeros:.3g} %"
    spread = s.mean, s.std, s.smallest, s.largest, s.magnitude
    return (s.count, *spread, zeros, s.nonfinite, s.norm, s.spectral, s.stable_rank)


def _data(report) -> dict[str, Any]:
    facts, found = report.contents, report.recognition
    structure = found and {
        "level": found.level,
        "family": found.family,
        "coverage": found.coverage,
        "permutations_log10": found.digits,
        "notes": found.notes,
    }
    return {
        "path": report.path,
        "format": facts.format,
        "branch": facts.branch,
        "branches": [{"name": b.name, "kind": b.kind} for b in facts.branches],
        "arrays": facts.arrays,
        "parameters": facts.parameters,
        "dtypes": dict(facts.dtypes),
        "buffers": list(facts.buffers),
        "packed": facts.packed,
        "computed": facts.computed,
        "tied": facts.tied,
        "copies": facts.copies,
        "stripped": facts.stripped,
        "adapter": facts.adapter and str(facts.adapter),
        "facts": [dataclasses.asdict(f) for f in report.facts],
        "structure": structure,
        "axes": [dataclasses.asdict(a) for a in report.axes],
        "layers": [dataclasses.asdict(a) for a in report.arrays],
        "findings": listing(report.findings),
    }


def listing(found) -> list[dict[str, Any]]:
    """Findings as plain values, for `--json`."""
    from wsjax.inspection import certainty

    return [{**dataclasses.asdict(f), "certainty": certainty(f)} for f in found]

"""`wsjax verify`: whether weights files are whole, for continuous integration."""

import click

from wsjax.cli.inspect import listing
from wsjax.cli.options import configured
from wsjax.cli.output import FINE, GATE, UNREADABLE, Page, reports, sentence


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option("--strict", is_flag=True, help="Warnings fail too, with exit code 1.")
@configured
@reports
def verify(files, strict, branch, config):
    """Check the integrity and the structure of weights files.

    One line for each file, and one for each finding: FILE: severity: kind: text. Every number is
    read; nothing in a file is run.

    \b
      wsjax verify model.safetensors
      wsjax verify --strict runs/*/last.ckpt
      wsjax verify --json exported/ | jq .verdict

    Exit code 2 if a file cannot be read or has an error; with --strict, 1 if one has a warning.
    The worst file counts.
    """  # noqa: D301 - click reads the escapes
    results = [_verified(file, branch, config) for file in files]
    code = max((_code(r, strict) for r in results), default=FINE)
    verdict = {FINE: "fine", GATE: "warnings", UNREADABLE: "errors"}[code]
    lines = [line for r in results for line in _lines(r)]
    data = {"verdict": verdict, "files": [_data(r) for r in results]}
    return Page(lines[0], data, tuple(lines[1:]), code)


def _verified(file, branch, config):
    """The result of a file; one that is absent or lacks the branch is an error among the others."""
    from wsjax import inspection
    from wsjax.files import Finding

    try:
        return inspection.verify(file, branch, config)
    except (OSError, ValueError) as error:
        kind = "missing" if isinstance(error, OSError) else "refused"
        finding = Finding(kind, "error", None, sentence(error))
        return inspection.Verification(file, "not opened", "none", (finding,))


def _code(result, strict):
    if result.worst == "error":
        return UNREADABLE
    return GATE if strict and result.worst == "warning" else FINE


def _lines(result):
    state = {"error": "damaged or not supported", "warning": "to be looked at"}
    yield f"{result.path}: {state.get(result.worst, 'fine')}: {result.summary}"
    for f in result.findings:
        yield f"{result.path}: {f.severity}: {f.kind}: {f.text}"


def _data(result):
    return {
        "path": result.path,
        "worst": result.worst or None,
        "summary": result.summary,
        "level": result.level,
        "findings": listing(result.findings),
    }

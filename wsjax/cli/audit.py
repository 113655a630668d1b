"""`wsjax audit`: which symmetries a trained encoder respects."""

import dataclasses
import pathlib

import click

from wsjax.cli.options import configured
from wsjax.cli.output import FINE, GATE, Page, Table, reports

SYMMETRIES = ("permutation", "sign", "scale", "phase", "widening")


@click.command()
@click.argument("model")
@click.argument("file", required=False, type=click.Path(path_type=pathlib.Path))
@click.option("--samples", default=3, show_default=True, type=click.IntRange(1),
              help="How many of each symmetry.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0),
              help="Of the random network and the samples.")  # fmt: skip
@click.option("--require", multiple=True, type=click.Choice(SYMMETRIES),
              help="Exit with 1 unless this one is exact. Repeatable.")  # fmt: skip
@configured
@reports
def audit(model, file, samples, seed, require, branch, config):
    """Measure which symmetries the encoder of MODEL respects.

    MODEL is the folder of a training run or of an exported model, or the name of a pretrained
    one. A random network is moved by each symmetry, and by as large a change that is none;
    with FILE, the network in it.

    \b
      wsjax audit runs/first
      wsjax audit runs/first net.safetensors --set activation=tanh
      wsjax audit runs/first --require permutation --json
    """  # noqa: D301 (click reads the control character)
    from wsjax.auditing import audit_model

    audited = audit_model(model, file, samples=samples, seed=seed, branch=branch, config=config)
    findings = audited.audit.findings
    failed = [s for s in require if audited.audit[s].verdict != "exact"]
    verdicts: dict[str, list[str]] = {}
    for f in findings:
        verdicts.setdefault(f.verdict, []).append(f.symmetry)
    order = ("exact", "approximate", "broken", "blind")
    listed = "; ".join(f"{v}: {', '.join(verdicts[v])}" for v in order if v in verdicts)
    gate = f"; required, but not exact: {', '.join(failed)}" if failed else ""
    columns = ("symmetry", "verdict", "embedding moved", "control", "function moved", "control",
               "rounding")  # fmt: skip
    rows = tuple(
        (f.symmetry, f.verdict, f.change, f.control, f.function, f.function_control, f.rounding)
        for f in findings
    )
    reasons = [f"{f.symmetry}: {f.reason}" for f in findings if f.reason]
    note = (
        "Changes are relative to the largest entry. The control is as large a change of the "
        "weights that is no symmetry: an encoder that it does not move is blind."
    )
    data = {
        "model": audited.model,
        "encoder": audited.encoder,
        "network": audited.network,
        "samples": samples,
        "failed": failed,
        "findings": [dataclasses.asdict(f) for f in findings],
    }
    parts = (audited.trained, f"measured on {audited.network}", Table("", columns, rows, note))
    headline = f"{audited.encoder}, {listed or 'no symmetry applies'}{gate}"
    return Page(headline, data, (*parts, *reasons), GATE if failed else FINE)

"""Tables of traced models: what was found, and how well it holds."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.lib import records, tables

SYMMETRIES = ("permutation", "sign", "scale", "phase")


def small(x: float) -> str:
    """A relative error."""
    return "0" if x == 0 else f"{x:.0e}"


def line(run: Mapping) -> str:
    """One record in a line, for the screen."""
    if isinstance(run.get("refused"), str):
        return f"{run['row']:28} refused: {run['refused']}"
    figures = ", ".join(f"{k} {_figure(v)}" for k, v in run["metrics"].items())
    return f"{run['row']:28} {run['seconds']:6.1f} s  {figures}"


def _figure(value) -> str:
    if not isinstance(value, Mapping):
        return f"{value:.3g}" if isinstance(value, float) else str(value)
    if "verdict" in value:
        return value["verdict"]
    return "(" + ", ".join(f"{k} {_figure(v)}" for k, v in value.items()) + ")"


def _runs(part: str, results: pathlib.Path) -> Sequence[Mapping]:
    return records.latest(records.read("tracing", results, part=part))


def _model(run: Mapping) -> list[str]:
    first = [f"`{run['row']}`", run["config"]["framework"], f"{run['parameters']:,}"]
    if isinstance(run.get("refused"), str):
        return [*first, f"refused: {run['refused']}", *["–"] * 5]
    m = run["metrics"]
    axes = f"{m['hidden_axes']}" + (f", {m['nested_axes']} nested" if m["nested_axes"] else "")
    group = f"10^{m['log10_group']:.0f}"
    errors = [small(m["error"]), small(m["misaligned"])]
    return [*first, axes, group, *errors, f"{run['seconds']:.1f}", str(m["notes"])]


HEAD = ["model", "framework", "parameters", "hidden axes", "group", "error", "misaligned"]


def models(results: pathlib.Path) -> str:
    """A line for each model of the catalogue."""
    cells = [_model(run) for run in _runs("models", results)]
    return tables.markdown([*HEAD, "seconds", "notes"], cells) if cells else tables.EMPTY


def large(results: pathlib.Path) -> str:
    """A line for each large model, with the memory that its tracing took."""
    cells = [
        [*_model(run)[:-1], f"{run['metrics']['megabytes']:,}" if run["metrics"] else "–"]
        for run in _runs("large", results)
    ]
    return tables.markdown([*HEAD, "seconds", "peak MiB"], cells) if cells else tables.EMPTY


def families(results: pathlib.Path) -> str:
    """Our families: the handwritten Spec and the traced one side by side."""
    cells = []
    for run in _runs("families", results):
        m, cell = run["metrics"], [f"`{run['row'].removeprefix('family_')}`"]
        for key, form in (("log10_group", "{:.1f}"), ("nodes", "{:,}"), ("edges", "{:,}")):
            cell += [form.format(m[which][key]) for which in ("written", "traced")]
        cells.append([*cell, small(m["error"])])
    head = ["family", "log10 group", "traced", "nodes", "traced", "edges", "traced", "error"]
    return tables.markdown(head, cells) if cells else tables.EMPTY


def encoders(results: pathlib.Path) -> str:
    """Changes of embeddings of traced models: under a symmetry, and under its control."""
    cells = []
    for run in _runs("encoders", results):
        name = f"`{run['row'].removeprefix('encoder_')}`"
        for model, findings in run["metrics"].items():
            cell = [
                f"{f['verdict']}: {f['change']:.0e}, {f['control']:.0e}"
                if (f := findings.get(symmetry)) and f["change"] is not None
                else "–"
                for symmetry in SYMMETRIES
            ]
            cells.append([name, f"`{model}`", *cell])
        for model, reason in run["refused"].items():
            cells.append([name, f"`{model}`", f"not supported: {reason}", *["–"] * 3])
    return tables.markdown(["encoder", "model", *SYMMETRIES], cells) if cells else tables.EMPTY


def matching(results: pathlib.Path) -> str:
    """The barrier between two CNNs of two seeds, before and after matching."""
    cells = []
    for run in _runs("matching", results):
        m, config = run["metrics"], run["config"]
        both = ", ".join(f"{m[f'test_accuracy_{i}']:.3f}" for i in (1, 2))
        barriers = [
            f"{m[f'{part}_barrier_{k}']:.3f}"
            for part in ("train", "test")
            for k in ("as_trained", "matched")
        ]
        cells.append([config["data"], str(config["width"]), f"{run['steps']:,}", both, *barriers])
    head = ["images", "width", "steps", "test accuracy of the two", "barrier, training"]
    head += ["matched", "barrier, test", "matched"]
    return tables.markdown(head, cells) if cells else tables.EMPTY


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "tracing": models,
    "tracing_large": large,
    "tracing_families": families,
    "tracing_encoders": encoders,
    "tracing_matching": matching,
}

"""Tables of benchmarks, pivoted: the newest figures of each on each kind of device."""

import pathlib
from collections.abc import Callable, Mapping

from experiments.lib import records, tables


def _newest(results, prefix):
    """(name, kind of device) -> figures, of the benchmarks whose names begin so."""
    return {
        (r["row"], records.device_kind(r)): r["metrics"]
        for r in records.read("benchmarks", results)
        if r["row"].startswith(prefix)
    }


def _figure(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def steps(*benchmarks: str, corner: str, across: bool = False) -> Callable[[pathlib.Path], str]:
    """The table of benchmarks whose figures are called "variant: unit".

    Args:
        benchmarks: their names.
        corner: heading of the lines.
        across: whether a variant is called "network, route"; networks then have columns.

    Returns:
        A function of the folder of records: a line for each variant, a column for each unit and
        kind of device.
    """

    def table(results):
        lines: dict[str, dict[str, str]] = {}
        for benchmark in benchmarks:
            for (name, kind), figures in _newest(results, benchmark).items():
                for key, value in figures.items() if name == benchmark else ():
                    variant, _, unit = key.replace("_", " ").rpartition(": ")
                    if across and unit == "ms":
                        network, _, variant = variant.partition(", ")
                        unit = f"{network}, ms"
                    elif across:
                        continue  # ratios of those
                    lines.setdefault(variant, {})[f"{unit} on {kind}"] = _figure(value)
        return tables.pivot(lines, corner) if lines else tables.EMPTY

    return table


def classifier_factory(results: pathlib.Path) -> str:
    """Net-steps a second of the factory and of PyTorch, a line for each kind of network."""
    units = {
        "": "factory: net-steps a second",
        "by map": "by map: net-steps a second",
        "by steps": "by steps: net-steps a second",
        "PyTorch": "PyTorch: net-steps a second",
        "times PyTorch": "factory times PyTorch by second",
    }
    lines: dict[str, dict[str, str]] = {}
    for (name, kind), figures in _newest(results, "classifier_zoo ").items():
        line = lines.setdefault(f"`{name.removeprefix('classifier_zoo ')}`", {})
        line |= {
            f"{kind} {k}".strip(): _figure(figures[v]) for k, v in units.items() if v in figures
        }
    return tables.pivot(lines, "net-steps a second") if lines else tables.EMPTY


def inr_factory(results: pathlib.Path) -> str:
    """Fits of INRs a second by the factory and in PyTorch, a column for each kind of device."""
    lines: dict[str, dict[str, str]] = {}
    for (_, kind), figures in _newest(results, "inr_zoo").items():
        for key, value in figures.items():
            if "CPU-second" not in key and "microseconds" not in key:
                lines.setdefault(key.replace("_", " ").replace("|", "\\|"), {})[kind] = _figure(
                    value
                )
    return tables.pivot(lines, "INRs of 28 x 28 images") if lines else tables.EMPTY


def sine_zoo(results: pathlib.Path) -> str:
    """Networks of the sine zoo a second, in a batch and one by one."""
    lines: dict[str, dict[str, str]] = {}
    for (_, kind), figures in _newest(results, "zoo_generation").items():
        for name in ("batch", "jax_our_sine", "jax_exact_sine", "torch"):
            if (key := f"{name}_networks_per_second") in figures:
                lines.setdefault(name.replace("_", " "), {})[f"on {kind}"] = _figure(figures[key])
    return tables.pivot(lines, "sine zoo, networks a second") if lines else tables.EMPTY


SNE = ("sne_step", "sne_step_tried", "sne_step_memory")
TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "encoder_steps": steps("encoder_step", corner="step on 32 networks 1-32-32-1"),
    "torch_steps": steps("nfn_step", corner="the same, at published size"),
    "graph_routes": steps("gmn_step", corner="GMN, 64 networks", across=True),
    "graph_construction": steps("graph_construction", corner="parameter graph"),
    "scalegmn_steps": steps("scalegmn_step", corner="published ScaleGMN, 32 networks", across=True),
    "sne_steps": steps(
        "sne_step",
        "sne_step_tried",
        "sne_step_memory",
        corner="SNE: batch 32, chunk 32 unless named",
    ),
    "classifier_factory": classifier_factory,
    "inr_factory": inr_factory,
    "sine_factory": sine_zoo,
}

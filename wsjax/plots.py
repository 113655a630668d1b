"""Pictures, as PNG files. Matplotlib is imported when one is drawn."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from wsjax.graphs import NODE_ROLES, Graph


def _axes(width: float = 5.0, height: float = 4.0):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, path: pathlib.Path) -> None:
    from matplotlib import pyplot

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def predictions(
    path: pathlib.Path, predicted: np.ndarray, true: np.ndarray, label: str, title: str
) -> None:
    """Predicted against true, both [n], with the identity line."""
    figure, axes = _axes(4.5, 4.5)
    axes.scatter(true, predicted, s=6, alpha=0.5, linewidths=0)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="0.4", linewidth=1, linestyle="--")
    axes.set(xlabel=f"true {label}", ylabel=f"predicted {label}", title=title, aspect="equal")
    _save(figure, path)


def curves(
    path: pathlib.Path,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    title: str,
    log: bool = True,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Named lines (xs, ys); `levels` are named horizontal lines, such as a baseline."""
    figure, axes = _axes(6.5, 4.2)
    for name, (xs, ys) in lines.items():
        axes.plot(xs, ys, marker="o" if len(xs) < 12 else None, markersize=4, label=name)
    for i, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=f"C{len(lines) + i}", linestyle="--", linewidth=1, label=name)
    if log:
        axes.set_yscale("log")
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def bars(path: pathlib.Path, values: Mapping[str, float], x: str, title: str) -> None:
    """Horizontal bars, one a row, the first on top."""
    figure, axes = _axes(6.5, 0.4 * len(values) + 1.2)
    names = list(values)[::-1]
    drawn = axes.barh(names, [values[n] for n in names])
    axes.bar_label(drawn, fmt="%.3f", padding=3, fontsize=8)
    axes.set(xlabel=x, title=title)
    _save(figure, path)


def parameter_graph(
    path: pathlib.Path, graph: Graph, weights: np.ndarray, title: str, most: int = 20_000
) -> None:
    """A network: nodes by depth, edges coloured by their weight, free edges dashed.

    Nodes that hold biases, norms and the like are squares above their layer, heads and
    groups diamonds.

    Args:
        path: of the PNG.
        graph: `graphs.parameter_graph` of the network.
        weights: [edge], as `graphs.weights` gives them for one network.
        title: of the picture.
        most: edges there may be; more could not be told apart.

    Raises:
        ValueError: there are more edges.
    """
    from matplotlib.collections import LineCollection

    if len(graph.sender) > most:
        raise ValueError(f"expected at most {most} edges to draw, got {len(graph.sender)}")
    roles = np.array(NODE_ROLES)[graph.place_role]
    neuron = np.isin(roles, ["input", "hidden", "output"])
    x, y = np.zeros(graph.place.size), np.zeros(graph.place.size)
    column, above = {}, {}
    for p in np.argsort(graph.place_level, kind="stable"):
        mine, level = np.flatnonzero(graph.place == p), int(graph.place_level[p])
        if neuron[p]:
            # places at one depth stand side by side: queries, values, outputs
            k = column[level] = column.get(level, -1) + 1
            x[mine] = level + 0.3 * k
            y[mine] = np.linspace(-0.5, 0.5, len(mine) + 2)[1:-1] if len(mine) > 1 else 0.0
        else:
            k = above[level] = above.get(level, -1) + 1
            x[mine] = level - 0.35
            y[mine] = 0.62 + 0.09 * k + 0.04 * np.arange(len(mine))
    points = np.stack([x, y], axis=1)
    figure, axes = _axes(2.2 + 2.2 * len(column), 4.5)
    ends = np.stack([points[graph.sender], points[graph.receiver]], axis=1)
    own = graph.parameter >= 0
    bound = float(np.abs(weights[own]).max(initial=0)) or 1.0
    order = np.argsort(np.abs(weights[own]))  # the heaviest on top
    lines = LineCollection(ends[own][order], cmap="coolwarm", linewidths=0.8, alpha=0.8)
    lines.set_array(weights[own][order])
    lines.set_clim(-bound, bound)
    axes.add_collection(lines)
    free = LineCollection(ends[~own], colors="0.5", linewidths=0.7, linestyles="--")
    axes.add_collection(free)
    shape = np.where(neuron, "o", np.where(roles == "block", "D", "s"))[graph.place]
    for marker in sorted(set(shape)):
        at = shape == marker
        axes.scatter(x[at], y[at], s=18, marker=marker, color="0.15", zorder=3)
    figure.colorbar(lines, ax=axes, label="weight", shrink=0.7)
    axes.set(title=title, xlabel="level", yticks=[])
    axes.spines["left"].set_visible(False)
    _save(figure, path)

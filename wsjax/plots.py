"""Pictures, as PNG files. Matplotlib is imported when one is drawn."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np


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

"""Plots, as PNG files. Matplotlib is imported when one is drawn."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from wsjax.zoos.incoming_weights import Incoming

MARKERS = "osD^v<>PX*"
VIEWS = ((20, 30), (20, 120), (80, 30))  # elevation and azimuth of a cloud, in degrees


def _axes(
    width: float = 5.0,
    height: float = 4.0,
    rows: int = 1,
    columns: int = 1,
    projection: str | None = None,
):
    """A figure, and its axes: one, or [row, column] of several."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(width, height),
        layout="constrained",
        squeeze=False,
        subplot_kw={"projection": projection},
    )
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid if grid.size > 1 else grid[0, 0]


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
    levels = levels or {}
    many = len(lines) + len(levels) > 10  # too many for a cycle of colours and a legend inside
    figure, axes = _axes(9.5 if many else 6.5, 5.5 if many else 4.2)
    colors = _colors(len(lines) + len(levels))
    for i, ((name, (xs, ys)), color) in enumerate(zip(lines.items(), colors, strict=False)):
        mark = MARKERS[i % len(MARKERS)] if many or len(xs) == 1 else "o"
        mark = mark if len(xs) < 30 else None
        axes.plot(xs, ys, color=color, marker=mark, markersize=4, linewidth=1, label=name)
    for (name, level), color in zip(levels.items(), colors[len(lines) :], strict=True):
        axes.axhline(level, color=color, linestyle="--", linewidth=1, label=name)
    if log:
        axes.set_yscale("log")
    axes.set(xlabel=x, ylabel=y, title=title)
    beside = {"bbox_to_anchor": (1.01, 1.0), "loc": "upper left"} if many else {}
    axes.legend(frameon=False, fontsize=8, **beside)
    _save(figure, path)


def _colors(count: int) -> list:
    """As many colours as lines; beyond forty they repeat."""
    from matplotlib import colormaps

    palette = [
        colormaps[name](i)
        for name in ("tab20", "tab20b")
        for i in [*range(0, 20, 2), *range(1, 20, 2)]
    ]
    return [f"C{i}" if count <= 10 else palette[i % len(palette)] for i in range(count)]


def confusion(path: pathlib.Path, counts: np.ndarray, names: Sequence[str], title: str) -> None:
    """A confusion matrix of counts [true, predicted], shaded by shares of the true class."""
    side = 0.42 * len(names) + 2.2
    figure, axes = _axes(side + 0.8, side)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        dark = shares[i, j] > 0.5
        color = "white" if dark else "0.2"
        axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color=color)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(ticks, names, fontsize=7)
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    figure.colorbar(drawn, ax=axes, label="share of the class", shrink=0.8)
    _save(figure, path)


def points(path: pathlib.Path, places: np.ndarray, names: np.ndarray, title: str) -> None:
    """Points in the plane [n, 2], coloured by their names [n]."""
    words = sorted(set(names.tolist()))
    palette = dict(zip(words, _colors(len(words)), strict=True))
    figure, axes = _axes(6.0, 4.5)
    # one collection: a group drawn on top of the others would seem set apart
    axes.scatter(*places.T, c=[palette[n] for n in names.tolist()], s=10, linewidths=0)
    for word, color in palette.items():
        axes.scatter([], [], color=color, s=20, label=word)
    axes.set(xticks=[], yticks=[], title=title)
    axes.legend(frameon=False, fontsize=8, bbox_to_anchor=(1.01, 1.0), loc="upper left")
    _save(figure, path)


def pictures(path: pathlib.Path, rows: Mapping[str, np.ndarray], title: str, low: float) -> None:
    """Images in a grid, each named row [n, row, col, 1 or 3]; `low` is black."""
    columns = max(len(images) for images in rows.values())
    figure, grid = _axes(1.0 * columns + 1.0, 1.1 * len(rows) + 0.5, len(rows), columns)
    figure.suptitle(title)
    grid = np.reshape(grid, (len(rows), columns))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9)
        shades = np.clip((np.asarray(images) - low) / (1 - low), 0, 1)
        for axes, image in zip(line, shades, strict=False):
            flat = image[..., 0] if image.shape[-1] == 1 else image
            axes.imshow(flat, cmap="gray", vmin=0, vmax=1)
    _save(figure, path)


def histograms(
    path: pathlib.Path,
    parts: Mapping[str, Mapping[str, np.ndarray]],
    x: str,
    title: str,
) -> None:
    """Histograms side by side, of shares in [0, 1].

    Args:
        path: of the PNG.
        parts: heading -> name -> [n], stacked in one histogram.
        x: label of the horizontal axis.
        title: of the figure.
    """
    figure, grid = _axes(4.2 * len(parts), 3.4, 1, len(parts))
    figure.suptitle(title)
    bins = np.linspace(0, 1, 26)
    for axes, (heading, groups) in zip(np.ravel(grid), parts.items(), strict=True):
        colors = _colors(len(groups))
        axes.hist(list(groups.values()), bins, stacked=True, color=colors, label=list(groups))
        axes.set(xlabel=x, ylabel="networks", title=heading)
        if len(groups) > 1:
            axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def scatters(
    path: pathlib.Path,
    parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    x: str,
    y: str,
    title: str,
) -> None:
    """Scatter plots of shares with the identity line, two a row.

    Args:
        path: of the PNG.
        parts: heading -> xs [n], ys [n], and the name of the group of each [n].
        x: label of the horizontal axes.
        y: label of the vertical axes.
        title: of the figure.
    """
    rows = -(-len(parts) // 2)
    figure, grid = _axes(8.4, 3.9 * rows + 0.4, rows, 2)
    figure.suptitle(title)
    names = list(dict.fromkeys(g for _, _, groups in parts.values() for g in groups))
    colors = dict(zip(names, _colors(len(names)), strict=True))
    for axes in grid.flat[len(parts) :]:
        axes.set_axis_off()
    for axes, (heading, (xs, ys, groups)) in zip(grid.flat, parts.items(), strict=False):
        for name, color in colors.items():
            at = groups == name
            axes.scatter(xs[at], ys[at], s=8, color=color, alpha=0.7, linewidths=0, label=name)
        axes.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle="--")
        axes.set(xlabel=x, ylabel=y, title=heading, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    grid.flat[0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def norms_and_signs(path: pathlib.Path, arrays: Mapping[str, Incoming], title: str) -> None:
    """A zoo's weights and biases, layer by layer.

    Histograms of the norms of neurons' incoming weights and of their biases, with quartiles;
    and the shares of positive and negative entries, with the standard deviation over
    networks. A dashed line at one half marks even signs.

    Args:
        path: of the PNG.
        arrays: name -> statistics of incoming weights, by `incoming_weights.incoming`.
        title: of the figure.

    Raises:
        ValueError: a number is NaN or infinite; the arrays with such numbers are listed.
    """
    wrong = [k for k, x in arrays.items() if not all(np.isfinite(v).all() for v in x[2:])]
    if wrong:
        raise ValueError(f"expected finite norms and signs, got NaN or infinity in {wrong}")
    layers = list(dict.fromkeys(x.layer for x in arrays.values()))
    figure, grid = _axes(10, 2.1 * len(layers) + 0.6, len(layers), 3)
    figure.suptitle(title)
    for row, layer in zip(grid, layers, strict=True):
        incoming = {k: x for k, x in arrays.items() if x.layer == layer}
        for name, x in incoming.items():
            axes = row[1 if x.role == "bias" else 0]
            low, middle, high = np.percentile(x.norms, [25, 50, 75])
            label = f"{name}: {middle:.3g} ({low:.3g} to {high:.3g})"
            axes.hist(x.norms.ravel(), bins=40, alpha=0.6, label=label)
            axes.margins(y=0.35)  # room for the legend
            axes.legend(frameon=False, fontsize=7, title="median, quartiles", title_fontsize=7)
        at = np.arange(len(incoming))
        for shift, what, color in ((-0.2, "positive", "C3"), (0.2, "negative", "C0")):
            shares = [getattr(x, what) for x in incoming.values()]
            means, spread = [s.mean() for s in shares], [s.std() for s in shares]
            row[2].bar(at + shift, means, 0.4, yerr=spread, color=color, label=what, capsize=3)
        row[2].axhline(0.5, color="0.4", linewidth=1, linestyle="--")
        row[2].set(ylim=(0, 1.05), xticks=at)
        row[2].set_xticklabels(list(incoming), fontsize=8)
        row[0].set(ylabel=layer)
    headings = ("norm of incoming weights", "absolute bias", "share of positive and negative")
    for axes, words in zip(grid[0], headings, strict=True):
        axes.set_title(words, fontsize=9)
    grid[0, 2].legend(frameon=False, fontsize=7, ncols=2)
    _save(figure, path)


def clouds(
    path: pathlib.Path, named: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str
) -> None:
    """Points in space, three views of each cloud side by side; two clouds a row if many.

    Args:
        path: of the PNG.
        named: name -> points [n, 3] and colours [n]: names, which share a legend, or numbers,
            which have a bar of their own.
        title: of the figure.

    Raises:
        ValueError: there is no cloud, or points are not [n, 3], finite, with n colours.
    """
    if not named:
        raise ValueError("expected at least one cloud, got none")
    for name, (points, colors) in named.items():
        if points.shape != (len(colors), 3) or not np.isfinite(points).all():
            raise ValueError(
                f"cloud {name!r}: expected finite points [{len(colors)}, 3], got {points.shape}"
            )
    is_words = lambda colors: np.asarray(colors).dtype.kind in "US"
    words = [str(w) for _, colors in named.values() if is_words(colors) for w in colors]
    words = list(dict.fromkeys(words))
    palette = dict(zip(words, _colors(len(words)), strict=True))
    clouds_a_row = 2 if len(named) > 6 else 1
    rows, columns = -(-len(named) // clouds_a_row), 3 * clouds_a_row
    figure, grid = _axes(2.8 * columns, 2.8 * rows + 0.7, rows, columns, "3d")
    figure.suptitle(title)
    for axes in grid.flat[3 * len(named) :]:
        axes.set_axis_off()
    for i, (name, (points, colors)) in enumerate(named.items()):
        views = grid.flat[3 * i : 3 * i + 3]
        # one collection: a group drawn on top of the others would seem set apart
        shades = [palette[w] for w in colors] if is_words(colors) else colors
        for axes, (elevation, azimuth) in zip(views, VIEWS, strict=True):
            drawn = axes.scatter(*points.T, c=shades, s=6, linewidths=0, depthshade=False)
            axes.view_init(elevation, azimuth)
            axes.set_box_aspect(None, zoom=1.15)
            axes.set(xticks=[], yticks=[], zticks=[])
        views[1].set_title(name, fontsize=9)
        if not is_words(colors):
            figure.colorbar(drawn, ax=list(views), shrink=0.7)
    if words:
        from matplotlib.lines import Line2D

        dots = [Line2D([], [], color=c, marker="o", linestyle="") for c in palette.values()]
        figure.legend(dots, words, loc="outside lower center", ncols=10, frameon=False, fontsize=8)
    _save(figure, path)

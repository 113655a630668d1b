"""A map of a folder of networks: a vector for each, neighbours, duplicates, a plane.

networks  --statistics of canonical forms, or a pretrained encoder-->  vectors [network, column]
vectors   --PCA or t-SNE-->  plane [network, 2]

map = embed("sweep")
map.duplicates, map.nearest(0)
picture(map, map.folder.zoo.labels["accuracy"], "accuracy")      PNG
"""

import csv
import dataclasses
import io
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from wsjax import storage, tasks
from wsjax.checks import printable
from wsjax.predictors import features
from wsjax.symmetries import duplicates as duplicate
from wsjax.zoos import Zoo
from wsjax.zoos.from_files import Folder, read_folder

STATISTICS = "statistics"
NUMBERS = ("mean", "variance", "min", "q25", "median", "q75", "max")  # of `stat_nn.statistics`
PLANES = ("pca", "tsne")
SUFFIXES = (".csv", ".npz")
LABELLED = 40  # networks that have their names on the picture, at most


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Networks of one function.

    Attributes:
        names: of the networks.
        equal: whether their weights are equal as they are; else they are up to a symmetry.
    """

    names: tuple[str, ...]
    equal: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Map:
    """Vectors of the networks of a folder, and what follows from them.

    Attributes:
        folder: as it was read.
        encoder: "statistics", or what made the vectors.
        columns: names of the vectors' entries.
        vectors: [network, column]. Statistics are standardised over the folder: mean 0,
            deviation 1, or 0 where all are equal.
        neighbours: [network, k] int, the nearest others, nearest first.
        distances: [network, k], Euclidean.
        duplicates: groups of networks that are equal up to symmetry.
        symmetries: those that duplicates may differ by, such as "permutation", of any spec.
        removed: those of signs, scales and phase shifts, of any spec, that statistics are of
            canonical forms for: they are the same for copies. Empty of embeddings, and where
            activations are not known; then statistics are of weights as stored.
        plane: [network, 2].
        axes: what the plane's two axes are.
    """

    folder: Folder
    encoder: str
    columns: tuple[str, ...]
    vectors: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray
    duplicates: tuple[Duplicates, ...]
    symmetries: tuple[str, ...]
    removed: tuple[str, ...]
    plane: np.ndarray
    axes: tuple[str, str]

    def nearest(self, network: int) -> list[tuple[str, float]]:
        """Names of the neighbours of a network, and how far they are."""
        pairs = zip(self.neighbours[network], self.distances[network], strict=True)
        return [(self.folder.names[i], float(d)) for i, d in pairs]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the vectors: ".csv", a row for each network, or ".npz".

        The latter holds `names`, `columns`, `vectors`, `plane`, `neighbours` and `distances`.

        Raises:
            ValueError: the suffix is another.
            OSError: the file cannot be written.
        """
        path = expect_output(path)
        if path.suffix.lower() == ".csv":
            text = io.StringIO(newline="")
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(["file", *self.columns])
            for name, vector in zip(self.folder.names, self.vectors, strict=True):
                rows.writerow([printable(name), *(f"{x:.7g}" for x in vector)])
            storage.write_text(path, text.getvalue())
            return
        data = io.BytesIO()
        arrays = {k: getattr(self, k) for k in ("vectors", "plane", "neighbours", "distances")}
        np.savez(
            data,
            names=np.array([printable(n) for n in self.folder.names]),
            columns=np.array(self.columns),
            **arrays,
        )
        storage.write_bytes(path, data.getvalue())


def expect_output(path: str | os.PathLike) -> pathlib.Path:
    """The path, if vectors can be written to it by its suffix.

    Raises:
        ValueError: it cannot; the message names those that can.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{printable(path)}: expected a file of {' or '.join(SUFFIXES)}")
    return path


def embed(
    folder: Folder | str | os.PathLike,
    encoder: str | os.PathLike | tasks.Trained = STATISTICS,
    *,
    neighbours: int = 5,
    plane: str = "pca",
    seed: int = 0,
) -> Map:
    """A vector for each network of a folder, its neighbours, duplicates and a plane.

    Args:
        folder: of `read_folder`, or the path for it.
        encoder: "statistics": mean, variance and quantiles of each array, standardised over the
            folder, of the canonical forms where activations are known (`Map.removed`); a trained
            result; or what `restore` takes to give one.
        neighbours: of each network, at most.
        plane: "pca", the two directions of most variance, or "tsne".
        seed: of t-SNE.

    Raises:
        ValueError: as `read_folder`; the networks have not all as many arrays, which statistics
            need; the encoder does not support them; or an argument makes no sense.
        OSError: as `read_folder` and `restore`.
    """
    if plane not in PLANES or neighbours < 1:
        raise ValueError(
            f"expected a plane of {PLANES} and 1 neighbour or more, got {plane!r} and {neighbours}"
        )
    name = encoder if isinstance(encoder, str | os.PathLike) else type(encoder.module.encoder)
    name = printable(getattr(name, "__name__", name))
    trained: Any = None
    if name != STATISTICS:  # before weights are read
        is_path = isinstance(encoder, str | os.PathLike)
        trained = tasks.restore(os.fspath(encoder)) if is_path else encoder
    if not isinstance(folder, Folder):
        folder = read_folder(folder)
    zoo = folder.zoo
    kinds = tuple(dict.fromkeys(k for s in zoo.specs for k in duplicate.symmetries(s)))
    factors = tuple(k for k in kinds if k != "permutation")
    if trained is None:
        columns, vectors = _statistics(folder, _canonical(zoo) if factors else zoo)
    else:
        vectors = np.asarray(trained.encode(zoo), np.float32)
        columns = tuple(f"e{i}" for i in range(vectors.shape[1]))
    near, distances = _neighbours(vectors, min(neighbours, len(zoo) - 1))
    points, axes = _pca(vectors) if plane == "pca" else _tsne(vectors, seed)
    return Map(
        folder, name, columns, vectors, near, distances, _duplicates(folder), kinds,
        () if trained else factors, points, axes,
    )  # fmt: skip


def _canonical(zoo: Zoo) -> Zoo:
    """The networks in the form that is the same for all copies by signs, scales and phases."""
    vectors = zoo.vectors.copy()
    for s, spec in enumerate(zoo.specs):
        members = np.flatnonzero(zoo.which == s)
        vectors[members, : spec.count] = duplicate.canonical(vectors[members, : spec.count], spec)
    return dataclasses.replace(zoo, vectors=vectors)


def _statistics(folder: Folder, zoo: Zoo) -> tuple[tuple[str, ...], np.ndarray]:
    raw = features.statistics(zoo)
    spread = raw.std(0)
    constant = spread <= 1e-7 * np.abs(raw).max(0)
    scaled = np.where(constant, 0, (raw - raw.mean(0)) / np.where(constant, 1, spread))
    arrays = folder.zoo.specs[0].arrays
    names = [a.name if len(folder.zoo.specs) == 1 else str(i) for i, a in enumerate(arrays)]
    return tuple(f"{n}.{x}" for n in names for x in NUMBERS), scaled.astype(np.float32)


def _neighbours(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """[network, count] nearest others and their distances."""
    x = vectors.astype(np.float64)
    near = np.zeros((len(x), count), int)
    distances = np.zeros((len(x), count))
    squares = (x**2).sum(1)
    for start in range(0, len(x) if count else 0, 256):
        rows = np.arange(start, min(start + 256, len(x)))
        square = squares[rows, None] + squares - 2 * x[rows] @ x.T
        square[np.arange(len(rows)), rows] = np.inf
        near[rows] = np.argsort(square, axis=1, kind="stable")[:, :count]
        distances[rows] = np.linalg.norm(x[rows, None] - x[near[rows]], axis=-1)
    return near, distances


def _pca(vectors: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])  # SVD leaves it open
    points = np.zeros((len(vectors), 2))
    points[:, : len(values)] = (left * values * signs)[:, :2]
    total = (values**2).sum()
    shares = [*(values**2 / total if total else values), 0.0, 0.0]
    first, second = (f"component {i + 1} ({100 * s:.0f} % of the variance)"
                     for i, s in enumerate(shares[:2]))  # fmt: skip
    return points, (first, second)


def _tsne(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    if len(vectors) < 4:
        raise ValueError(f"t-SNE: expected at least 4 networks, got {len(vectors)}")
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # threads of the approximate method wait for each other longer than few networks take
    method = "exact" if len(vectors) <= 200 else "barnes_hut"
    tsne = TSNE(perplexity=perplexity, init="pca", method=method, random_state=seed)
    return np.asarray(tsne.fit_transform(vectors), np.float64), ("t-SNE 1", "t-SNE 2")


def _duplicates(folder: Folder) -> tuple[Duplicates, ...]:
    zoo, out = folder.zoo, []
    for s in np.unique(zoo.which).tolist():
        members, spec = np.flatnonzero(zoo.which == s), zoo.specs[s]
        vectors = zoo.vectors[members, : spec.count]
        for group in duplicate.duplicates(vectors, spec):
            equal = bool((vectors[group] == vectors[group[0]]).all())
            out.append(Duplicates(tuple(folder.names[i] for i in members[group]), equal))
    return tuple(out)


def picture(map: Map, values: Sequence[float] | np.ndarray | None = None, label: str = "") -> bytes:
    """The plane as a PNG.

    Args:
        map: of `embed`.
        values: [network], for the colours; NaN is grey. Architectures have colours if None.
        label: of the values.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x, y = map.plane.T
    style = {"s": 28, "linewidths": 0}
    if values is not None:
        values = np.asarray(values, np.float64)
        seen = np.isfinite(values)
        name = None if seen.all() else "no label"
        axes.scatter(x[~seen], y[~seen], color="0.75", label=name, **style)
        points = axes.scatter(x[seen], y[seen], c=values[seen], cmap="viridis", **style)
        figure.colorbar(points, ax=axes, label=_plain(label))
    else:
        for s, family in enumerate(map.folder.families):
            own = map.folder.zoo.which == s
            axes.scatter(x[own], y[own], label=_plain(f"{family} {s}"), **style)
    index = {name: i for i, name in enumerate(map.folder.names)}
    for k, group in enumerate(map.duplicates):
        at = [index[name] for name in group.names]
        ring = {"facecolors": "none", "edgecolors": "crimson", "s": 90, "linewidths": 1}
        axes.scatter(x[at], y[at], label="duplicates" if k == 0 else None, **ring)
    if len(x) <= LABELLED:
        for name, a, b in zip(map.folder.names, x, y, strict=True):
            axes.annotate(_plain(name), (a, b), fontsize=6, xytext=(3, 3),
                          textcoords="offset points")  # fmt: skip
    axes.set(xlabel=map.axes[0], ylabel=map.axes[1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.08)
    groups = len(axes.get_legend_handles_labels()[1])
    if groups > (values is None):  # one architecture alone needs no name
        axes.legend(fontsize=8, frameon=False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    return data.getvalue()


def _plain(text: str) -> str:
    """Text without the dollars that Matplotlib takes for mathematics, and shortened."""
    text = re.sub(r"([$\\])", r"\\\1", printable(text)) if "$" in text else printable(text)
    return text if len(text) <= 40 else f"...{text[-37:]}"

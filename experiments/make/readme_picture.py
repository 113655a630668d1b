"""The picture at the top of the README: networks go in, properties come out.

    python -m experiments.make.readme_picture        two minutes on 2 CPU cores

Left, the kernels of a CNN of the committed MNIST zoo with the names of their axes, and the
same network with its hidden channels permuted; one channel of each axis is framed in both.
Right, test accuracies that ScaleGMN predicts for held-out networks from their weights alone.
"""

import pathlib

import jax
import matplotlib
import numpy as np

import wsjax
from wsjax import metrics, zoos
from wsjax.encoders import ScaleGMN
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.tasks.regression import Objective, Regression
from wsjax.training import Settings
from wsjax.zoos import store

ROOT = pathlib.Path(__file__).parents[1]
PICTURE = ROOT / "results" / "readme.png"
COLORS = {"c0": "#7b3294", "c1": "#d95f02", "c2": "#118a4c"}  # by hidden axis
FRAMED = {"c0": 2, "c1": 13, "c2": 9}  # a channel of each, in the network as trained


def draw(
    path: pathlib.Path, params: Params, spec: Spec, predicted: np.ndarray, true: np.ndarray
) -> None:
    """A CNN of three convolutions and a permuted copy; predicted against true [network]."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    element = permutations.sample(jax.random.key(0), spec)
    copy = permutations.act(element, params, spec)
    moved = {h: int(np.flatnonzero(element[h] == n)[0]) for h, n in FRAMED.items()}
    figure = pyplot.figure(figsize=(11, 3.9), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.75, 0.22, 1])
    for part, network, framed, title in zip(
        left.subfigures(2, 1),
        (params, copy),
        (FRAMED, moved),
        (
            "a trained CNN: named arrays, named axes",
            "hidden channels permuted: the same function, the same prediction",
        ),
        strict=True,
    ):
        part.suptitle(title, fontsize=11)
        kernels = [a for a in spec.arrays if a.role == "kernel"]
        for axes, array in zip(part.subplots(1, len(kernels)), kernels, strict=True):
            values = np.asarray(network[array.name])
            reads, writes = array.axes[-2:]
            taps = values.reshape(-1, *values.shape[-2:])
            matrix = taps[:, 0] if reads == "x" else taps[len(taps) // 2]
            axes.imshow(matrix / matrix.std(), cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
            axes.set_title(array.name, fontsize=9)
            axes.set_xlabel(writes, color=COLORS.get(writes, "0.3"), labelpad=3)
            axes.set_ylabel("row, col" if reads == "x" else reads, color=COLORS.get(reads, "0.3"))
            axes.set(xticks=[], yticks=[])
            height, width = matrix.shape
            for axis, x, y, w, h in ((writes, 1, 0, 1, height), (reads, 0, 1, width, 1)):
                if axis in framed:
                    corner = (framed[axis] * x - 0.5, framed[axis] * y - 0.5)
                    style = {"fill": False, "edgecolor": COLORS[axis], "linewidth": 2}
                    axes.add_patch(pyplot.Rectangle(corner, w, h, clip_on=False, **style))
    middle.text(0.5, 0.53, "metanetwork", ha="center", fontsize=9)
    middle.text(0.5, 0.46, "⟶", ha="center", va="center", fontsize=26)
    axes, tau = right.subplots(), metrics.kendall_tau(predicted, true)
    axes.scatter(true, predicted, s=9, alpha=0.6, linewidths=0, color="#20567a")
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="true test accuracy")
    axes.set(ylabel="predicted from weights alone")
    axes.set_title(f"{len(true)} held-out networks, Kendall's τ = {tau:.2f}", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Trains the predictor on half of the zoo and draws."""
    zoo, _ = store.unpack(ROOT / "zoos" / "conv3-gap.mnist")
    zoo = zoos.split(zoo, {"train": 320, "validation": 64, "test": 256}, seed=0)
    task = Regression("test_accuracy", Objective(loss="bce", permute=False))
    encoder = ScaleGMN(width=24, layers=2, backward="none")
    settings = Settings(
        steps=300, batch=16, microbatch=4, learning_rate=1e-3, warmup=20, weight_decay=0.01
    )
    trained = wsjax.fit(zoo, task, encoder, settings=settings)
    held_out, true = zoo.part("test", "test_accuracy")
    best = int(held_out.select(held_out.which == 0).labels["test_accuracy"].argmax())
    one = held_out.of(0)
    draw(PICTURE, one.params(best), one.spec, trained.predict(held_out), true)


if __name__ == "__main__":
    main()

"""The picture at the top of the README: networks go in, properties come out.

    python -m experiments.make.readme_picture        two minutes on 2 CPU cores

Left, the kernels of a CNN of the committed MNIST zoo with the names of their axes, and the
same network with its hidden channels permuted; one channel of each axis is framed in both.
Right, test accuracies that ScaleGMN predicts for held-out networks from their weights alone.
"""

import pathlib
from collections.abc import Sequence

import jax
import matplotlib
import numpy as np

import wsjax
from experiments.lib import cli
from wsjax import metrics, zoos
from wsjax.encoders import ScaleGMN
from wsjax.symmetries import permutations
from wsjax.tasks.regression import Objective, Regression
from wsjax.training import Settings
from wsjax.zoos import store

ROOT = pathlib.Path(__file__).parents[1]
COLORS = {"c0": "#7b3294", "c1": "#d95f02", "c2": "#118a4c"}  # by hidden axis
FRAMED = {"c0": 2, "c1": 13, "c2": 9}  # a channel of each, in the network as trained


def kernels(figure, params, spec, framed) -> None:
    """Every kernel as a matrix [in, out]: its centre tap, or all taps of the one input channel."""
    arrays = [a for a in spec.arrays if a.role == "kernel"]
    for axes, array in zip(figure.subplots(1, len(arrays)), arrays, strict=True):
        taps = np.asarray(params[array.name]).reshape(-1, *params[array.name].shape[-2:])
        reads, writes = array.axes[-2:]
        matrix = taps[:, 0] if reads == "x" else taps[len(taps) // 2]
        axes.imshow(matrix / matrix.std(), cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
        axes.set_title(array.name, fontsize=9)
        axes.set_xlabel(writes, color=COLORS.get(writes, "0.3"), labelpad=3)
        axes.set_ylabel("row, col" if reads == "x" else reads, color=COLORS.get(reads, "0.3"))
        axes.set(xticks=[], yticks=[])
        style = {"fill": False, "linewidth": 2, "clip_on": False}
        if writes in framed:
            box = (framed[writes] - 0.5, -0.5), 1, len(matrix)
            axes.add_patch(matplotlib.patches.Rectangle(*box, edgecolor=COLORS[writes], **style))
        if reads in framed:
            box = (-0.5, framed[reads] - 0.5), matrix.shape[1], 1
            axes.add_patch(matplotlib.patches.Rectangle(*box, edgecolor=COLORS[reads], **style))


def draw(path: pathlib.Path, params, spec, predicted: np.ndarray, true: np.ndarray) -> None:
    """A CNN and a permuted copy of it; predicted against true accuracies [network]."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    element = permutations.sample(jax.random.key(0), spec)
    moved = {h: int(np.flatnonzero(element[h] == n)[0]) for h, n in FRAMED.items()}
    figure = pyplot.figure(figsize=(11, 3.9), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.75, 0.22, 1])
    above, below = left.subfigures(2, 1)
    above.suptitle("a trained CNN: named arrays, named axes", fontsize=11)
    kernels(above, params, spec, FRAMED)
    below.suptitle("hidden channels permuted: the same function, the same prediction", fontsize=11)
    kernels(below, permutations.act(element, params, spec), spec, moved)
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the predictor on half of the zoo and draws."""
    cli.command("make.readme_picture", __doc__).parse_args(arguments)
    zoo, _ = store.load(ROOT / "zoos" / "conv3-gap.mnist")
    zoo = zoos.split(zoo, {"train": 320, "validation": 64, "test": 256}, seed=0)
    task = Regression("test_accuracy", Objective(loss="bce", permute=False))
    rate = {"learning_rate": 1e-3, "warmup": 20, "weight_decay": 0.01}
    settings = Settings(steps=300, batch=16, microbatch=4, evaluate_every=50, **rate)
    encoder = ScaleGMN(width=24, layers=2, backward="none")
    trained = wsjax.fit(zoo, task, encoder, settings=settings)
    held_out, true = zoo.part("test", "test_accuracy")
    relu = held_out.of(0)
    best = relu.params(int(relu.labels["test_accuracy"].argmax()))
    draw(ROOT / "results" / "readme.png", best, relu.spec, trained.predict(held_out), true)


if __name__ == "__main__":
    cli.run(main)

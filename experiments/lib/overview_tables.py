"""Tables for an overview: a headline for each experiment, and the encoders."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from experiments.lib import catalogue, records, tables
from experiments.lib.protocols import RAISED


@dataclasses.dataclass(frozen=True)
class Headline:
    """A line of the table of headlines: a paper's method, published and ours.

    Attributes:
        experiment: its name.
        method: its name in records.
        metric: its heading.
        key: of the record's metrics.
        differs: how our data or protocol differ from the paper's, in a few words.
        digits: behind the point.
        times: factor from the record's unit to the published.
        least: whether smaller is better.
        match: other keys of the records that count.
        published: the paper's figure, where records have none.
        flags: of the command, beside preset and method.
    """

    experiment: str
    method: str
    metric: str
    key: str
    differs: str
    digits: int = 3
    times: float = 1.0
    least: bool = False
    match: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published: str = ""
    flags: str = ""

    def cells(self, results: pathlib.Path, mark: str) -> list[str] | None:
        """The line, of the preset and device with the best mean; None without a record."""
        runs = records.read(self.experiment, results, row=self.method, **self.match)
        if not self.published:
            runs = [r for r in runs if r["paper"] != "–"]
        runs = [{**r, "kind": records.device_kind(r)} for r in records.latest(runs)]
        if not runs:
            return None
        mean = lambda group: self.times * np.mean([r["metrics"][self.key] for r in group])
        best = (min if self.least else max)(
            tables.grouped(runs, "preset", "kind").values(), key=mean
        )
        published = self.published or best[0]["paper"]
        if len(best) > 1 and not self.published:
            figures = [float(r["paper"].split(" ")[0].rstrip("*")) for r in best]
            published = f"{np.mean(figures):.{self.digits}f}"
        command = f"python -m experiments.{self.experiment}"
        preset = best[0]["preset"].removesuffix("-custom")
        command += f" --preset {preset}" * (preset != "laptop")
        flags = f" {self.flags}" * bool(self.flags)
        device = tables.devices(best)
        return [
            f"`{self.experiment}`",
            f"`{self.method}`: {self.metric}",
            published,
            f"{mean(best):.{self.digits}f}{mark}",
            device,
            f"`{command}{flags}`",
        ]


MNIST = "mnist.dws-steps1500-learning_rate0.001"
FASHION = "fashion_mnist.dws-steps4000-learning_rate0.001"
HEADLINES = (
    Headline(
        "inr_frequency", "sne", "test MSE", "test_mse",
        "12,000 networks of our own zoo by the published recipe, 12 epochs, half the depth; the "
        "paper: its own zoo, 1,000 networks", least=True, flags="--methods sne",
    ),
    Headline(
        "inr_ablation", "sne_chunk_8", "test MSE", "test_mse",
        "300 steps on our own zoo", least=True, flags="--methods sne_chunk_8",
    ),
    Headline(
        "inr_self_supervised", "gmn", "probe's test MSE", "test_mse",
        "4 epochs, where the paper has 500; Gaussian noise", 2, least=True, flags="--methods gmn",
    ),
    Headline(
        "inr_classification", "scalegmn", "accuracy on MNIST INRs, %", "test_accuracy",
        "12 epochs, where the paper has 200; INRs of our own that match the published statistics",
        1, 100.0, match={"train_zoo": MNIST},
        flags="--data mnist --fit-steps 1500 --fit-rate 1e-3 --methods scalegmn "
        "--set training.ema=0.999 --set training.steps=5000 --set training.warmup=500",
    ),
    Headline(
        "inr_classification", "scalegmn", "accuracy on Fashion-MNIST INRs, %", "test_accuracy",
        "15 epochs, where the paper has 200; INRs of our own", 1, 100.0,
        match={"train_zoo": FASHION},
        flags="--data fashion_mnist --fit-steps 4000 --fit-rate 1e-3 --methods scalegmn "
        "--set training.ema=0.999 --set training.steps=6379 --set training.warmup=300",
    ),
    Headline(
        "inr_editing", "scalegmn_b", "test MSE, dilation of MNIST", "test_mse",
        "less than half an epoch with 4 of 10 layers, where the paper has 300 epochs; its figure "
        "is from memory", 4, least=True, match={"train_zoo": f"{MNIST}.dilation"},
        flags="--data mnist --fit-steps 1500 --fit-rate 1e-3 --methods scalegmn_b "
        "--set encoder.layers=4 --set encoder.dropout=0 --set training.steps=360 "
        "--set training.warmup=300 --set training.ema=0.999",
    ),
    Headline(
        "cross_dataset", "sne", "Kendall's τ, mean of 9 directions", "test_tau",
        "320 training networks and 300 steps, where the paper has 12,000 and 300 epochs",
        flags="--methods sne",
    ),
    Headline(
        "cross_architecture", "sne", "Kendall's τ, mean of 2 directions", "test_tau",
        "320 or 160 training networks of zoos of our own, 300 steps", flags="--methods sne",
    ),
    Headline(
        "accuracy_prediction", "gmn", "Kendall's τ, CNNs, from half of a zoo", "test_tau",
        "150 training networks on digits and 100 steps, where the paper has CIFAR-10",
        match={"train_zoo": "varying-cnns digits 50 %"}, published=".915 ± .006",
        flags="--methods gmn",
    ),
    Headline(
        "generalization", "scalegmn_b", "Kendall's τ, mean of ReLU, tanh and both", "test_tau",
        "300 steps on a zoo of our own; the paper's figures are from memory",
        flags="--methods scalegmn_b",
    ),
    Headline(
        "embeddings", "sne", "5 nearest neighbours name the zoo (chance .333)",
        "knn_zoo_accuracy", "the paper has a picture and no figure",
        published="–", flags="--methods sne",
    ),
    Headline(
        "interpolation", "mnist", "barrier on training images, matched", "train_barrier_matched",
        "20 epochs, where the paper has 100", least=True, published="none",
        flags="--data mnist",
    ),
)  # fmt: skip


def headline(results: pathlib.Path) -> str:
    """The papers' methods, published and ours: a line for each experiment, with its command."""
    cells, notes = [], []
    for entry in HEADLINES:
        mark = str(len(notes) + 1).translate(RAISED)
        if line := entry.cells(results, mark):
            cells.append(line)
            notes.append(f"{mark} {entry.differs}.")
    head = ["experiment", "metric", "published", "ours", "device", "command"]
    table = tables.markdown(head, cells)
    return f"{table}\n\n" + " ".join(notes) if cells else tables.EMPTY


def methods(_: pathlib.Path) -> str:
    """Every encoder: method x supported networks x exact symmetries x edits."""
    header, lines = catalogue.rows()
    kept = [header.index(x) for x in ("encoder", "method", "reads", "exact symmetries", "edits")]
    short = [[line[i] for i in kept] for line in [header, *lines]]
    return tables.markdown(short[0], short[1:])


def encoders(_: pathlib.Path) -> str:
    """Every encoder: paper, supported networks, symmetries, size."""
    return tables.markdown(*catalogue.rows())


TABLES: Mapping[str, Callable[[pathlib.Path], str]] = {
    "headline": headline,
    "methods": methods,
    "encoders": encoders,
}

"""Tables for an overview: a headline for each experiment, and the encoders."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.lib import catalogue, inr_published, records, tables
from experiments.lib.protocols import Footnotes, Protocol, both, of_data, of_size, of_training
from experiments.lib.published_numbers import PAPERS, PROTOCOLS

STANDARDS: Mapping[str, Callable[[Mapping], Protocol]] = {  # a record -> the paper's protocol
    **{name: protocol.of for name, protocol in PROTOCOLS.items() if name != "interpolation"},
    **dict.fromkeys(("inr_classification", "inr_editing"), inr_published.protocol),
}


@dataclasses.dataclass(frozen=True)
class Headline:
    """A line of the table of headlines: a paper's method, published and ours.

    Attributes:
        experiment: its name.
        method: its name in records.
        metric: its heading.
        key: of the record's metrics.
        differs: how our data or protocol differ from the paper's, in a few words, where
            `STANDARDS` do not give it.
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
    differs: str = ""
    digits: int = 3
    times: float = 1.0
    least: bool = False
    match: Mapping[str, str] = dataclasses.field(default_factory=dict)
    published: str = ""
    flags: str = ""

    def cells(self, results: pathlib.Path, notes: Footnotes) -> list[str] | None:
        """The line, of the preset and device with the best mean; None without a record."""
        runs = records.read(self.experiment, results, row=self.method, **self.match)
        if (paper := PAPERS.get(self.experiment)) is not None:
            key = lambda r: (r["row"], r["train_zoo"], r["test_zoo"])
            runs = [{**r, "paper": paper.get(key(r), "–")} for r in runs]
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
            memory = "*" * any("*" in r["paper"] for r in best)
            published = f"{np.mean(figures):.{self.digits}f}{memory}"
        command = f"python -m experiments.{self.experiment}"
        preset = records.bare(best[0]["preset"])
        command += f" --preset {preset}" * (preset != "laptop")
        flags = f" {self.flags}" * bool(self.flags)
        device = tables.devices(best)
        return [
            f"`{self.experiment}`",
            f"`{self.method}`: {self.metric}",
            published,
            f"{mean(best):.{self.digits}f}{notes.mark(self.footnote(best))}",
            device,
            f"`{command}{flags}`",
        ]

    def footnote(self, runs: Sequence[Mapping]) -> str:
        """How these records, which the line is of, differ from the paper."""
        parts = [self.differs, *dict.fromkeys(r.get("words", "") for r in runs)]
        if standard := STANDARDS.get(self.experiment):
            each = [(standard(r), r) for r in runs]
            differ = dict.fromkeys(x for theirs, r in each for x in of_data(theirs, r))
            sizes = dict.fromkeys(x for theirs, r in each for x in of_size(theirs, r))
            parts += [both([*differ, *of_training(each[0][0], runs), *sizes]), each[0][0].words]
        return "; ".join(filter(None, parts))


MNIST = "mnist.dws-steps1500-learning_rate0.001"
FASHION = "fashion_mnist.dws-steps4000-learning_rate0.001"
SMALL = "a smaller model than the paper's, trained on permuted copies"
HEADLINES = (
    Headline(
        "inr_frequency", "sne", "test MSE", "test_mse",
        least=True, flags="--methods sne",
    ),
    Headline(
        "inr_ablation", "sne_chunk_8", "test MSE", "test_mse",
        least=True, flags="--methods sne_chunk_8",
    ),
    Headline(
        "inr_self_supervised", "gmn", "probe's test MSE", "test_mse",
        digits=2, least=True, flags="--methods gmn",
    ),
    Headline(
        "inr_classification", "scalegmn", "accuracy on MNIST INRs, %", "test_accuracy",
        digits=1, times=100.0, match={"train_zoo": MNIST},
        flags="--data mnist --fit-steps 1500 --fit-rate 1e-3 --methods scalegmn "
        "--set training.ema=0.999 --set training.steps=5000 --set training.warmup=500 "
        "--set encoder.initial=lecun",
    ),
    Headline(
        "inr_classification", "scalegmn", "accuracy on Fashion-MNIST INRs, %", "test_accuracy",
        digits=1, times=100.0, match={"train_zoo": FASHION},
        flags="--data fashion_mnist --fit-steps 4000 --fit-rate 1e-3 --methods scalegmn "
        "--set training.ema=0.999 --set training.steps=6379 --set training.warmup=300 "
        "--set encoder.initial=lecun",
    ),
    Headline(
        "inr_editing", "scalegmn_b", "test MSE, dilation of MNIST", "test_mse",
        digits=4, least=True, match={"train_zoo": f"{MNIST}.dilation"},
        flags="--data mnist --fit-steps 1500 --fit-rate 1e-3 --methods scalegmn_b "
        "--set encoder.layers=4 --set encoder.dropout=0 --set training.steps=360 "
        "--set training.warmup=300 --set training.ema=0.999 --set encoder.initial=lecun "
        "--set encoder.backward=balanced",
    ),
    Headline(
        "cross_dataset", "sne_small", "Kendall's τ, mean of 9 directions", "test_tau",
        SMALL, published="0.791", flags="--methods sne_small",
    ),
    Headline(
        "cross_architecture", "sne_small", "Kendall's τ, mean of 2 directions", "test_tau",
        SMALL, published="0.471", flags="--methods sne_small",
    ),
    Headline(
        "accuracy_prediction", "gmn_product", "Kendall's τ, CNNs, from half of a zoo",
        "test_tau", "messages with products, where the paper's have none; classifiers of digits, "
        "where the paper has CIFAR-10 and 15,000 training networks",
        match={"train_zoo": "varying-cnns digits 50 %"}, published=".915 ± .006",
        flags="--methods gmn_product",
    ),
    Headline(
        "generalization", "scalegmn_b", "Kendall's τ, mean of ReLU, tanh and both", "test_tau",
        flags="--methods scalegmn_b",
    ),
    Headline(
        "embeddings", "sne_small", "5 nearest neighbours name the zoo (chance .333)",
        "knn_zoo_accuracy", "the paper has a picture and no figure",
        published="–", flags="--methods sne_small",
    ),
    Headline(
        "interpolation", "mnist", "barrier on training images, matched", "train_barrier_matched",
        "20 epochs, where the paper has 100", least=True, published="none",
        flags="--data mnist",
    ),
)  # fmt: skip


def headline(results: pathlib.Path) -> str:
    """The papers' methods, published and ours: a line for each experiment, with its command."""
    notes = Footnotes()
    cells = [line for entry in HEADLINES if (line := entry.cells(results, notes))]
    memory = tables.FROM_MEMORY * any("*" in published for _, _, published, *_ in cells)
    head = ["experiment", "metric", "published", "ours", "device", "command"]
    table = tables.markdown(head, cells)
    return f"{table}\n\n{notes.lines()}{memory}" if cells else tables.EMPTY


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

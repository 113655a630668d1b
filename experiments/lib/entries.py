"""Which runs fill the papers' tables, in order of their value, and the minutes they take.

    entries({"inr_frequency": {"paper": Preset, ...}, ...}) -> (Entry, ...)

Minutes are measured or, by `COSTS`, estimated from steps; `experiments.reproduce` corrects them by
what it measures. To add a run, add it to `_first`; a zoo that is new to it also to `ZOOS`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from experiments.lib.directions import planned
from experiments.lib.methods import Method, Preset
from experiments.lib.schedule import Entry

ZOOS = {  # minutes to make them: on an H100, on two CPU cores
    "sines": (0.5, 15.0),
    "sines, two labels": (1.0, 60.0),
    "mnist INRs": (1.6, 900.0),
    "mnist INRs, nfn": (4.0, 2400.0),
    "fashion_mnist INRs": (4.0, 2400.0),
    "cifar10 INRs": (4.5, 4000.0),
    "cifar10 INRs, 21 views": (75.0, 80_000.0),
    "conv3-gap cifar10, h100": (2.7, 1000.0),
    "conv3-gap, h100": (8.0, 3000.0),
    "conv3-gap, four": (120.0, 60_000.0),
    "conv3-gap, two": (60.0, 30_000.0),
    "cross_architecture": (400.0, 90_000.0),
    "schuerholt": (2000.0, 150_000.0),
    "accuracy_prediction": (400.0, 90_000.0),
}
COSTS = {  # encoder -> milliseconds: of a step on an H100, of a network on two CPU cores
    **{"mlp": (1.5, 0.1), "stat_nn": (1.5, 0.3), "probing": (1.5, 0.1), "unf": (3.0, 1.0)},
    **{"deepsets": (2.0, 3.0), "inr2vec": (2.0, 1.0), "hyperrep": (3.0, 3.0), "dmc": (3.0, 4.0)},
    **{"transformer": (3.0, 3.0), "nfn": (4.0, 3.0), "sne": (10.0, 12.0), "gmn": (8.0, 12.0)},
    **{"dwsnet": (15.0, 15.0), "nft": (15.0, 20.0), "scalegmn": (17.0, 20.0)},
    **{"grit": (20.0, 40.0), "neural_graph": (20.0, 40.0)},
}
UNTRAINED = (0.2, 0.2)  # minutes of a method without training
START = (1.0, 0.5)  # minutes to compile and to test


class Variant(NamedTuple):
    """A zoo of a preset, or the zoos that it has together.

    Attributes:
        zoo: a key of `ZOOS`.
        files: names of data sets.
        more: arguments that choose it.
        preset: of the experiment.
    """

    zoo: str
    files: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    preset: str = "paper"


MNIST = ("--data", "mnist", "--fit-steps", "1500", "--fit-rate", "1e-3")
FASHION = ("--data", "fashion_mnist", "--fit-steps", "4000", "--fit-rate", "1e-3")
MNIST_NFN = ("--data", "mnist", "--recipe", "nfn")
CIFAR = ("--data", "cifar10", "--recipe", "nfn", "--views", "1")
FOUR = ("mnist", "fashion_mnist", "cifar10", "svhn")
VARIANTS = {
    "inr_frequency": (Variant("sines"),),
    "inr_ablation": (Variant("sines"),),
    "inr_self_supervised": (Variant("sines, two labels"),),
    "inr_classification": (
        Variant("mnist INRs", ("mnist",), MNIST),
        Variant("fashion_mnist INRs", ("fashion_mnist",), FASHION),
        Variant("cifar10 INRs", ("cifar10",), CIFAR),
        Variant("cifar10 INRs, 21 views", ("cifar10",), (*CIFAR[:-1], "21")),
    ),
    "inr_editing": (
        Variant("mnist INRs", ("mnist",), (*MNIST, "--task", "dilation")),
        Variant("mnist INRs, nfn", ("mnist",), (*MNIST_NFN, "--task", "dilation")),
        Variant("cifar10 INRs", ("cifar10",), (*CIFAR, "--task", "contrast")),
    ),
    "cross_dataset": (Variant("conv3-gap, four", FOUR),),
    "cross_architecture": (
        Variant("cross_architecture", ("mnist", "cifar10", "svhn")),
        Variant("schuerholt", ("mnist", "cifar10", "svhn"), (), "schuerholt"),
    ),
    "accuracy_prediction": (Variant("accuracy_prediction", ("cifar10",)),),
    "generalization": (Variant("conv3-gap, two", ("cifar10", "svhn")),),
    "embeddings": (Variant("conv3-gap, four", FOUR),),
}  # fmt: skip


def _sines(methods: Mapping[str, tuple[float, float]]) -> list[Entry]:
    """Methods of SNE's table 1 with their minutes."""
    return [
        Entry("inr_frequency", "paper", name, 0, gpu, cpu, "sines")
        for name, (gpu, cpu) in methods.items()
    ]


def _ablation() -> list[Entry]:
    """SNE's tables 6 and 7 at 5,000 steps, a quarter of the preset's."""
    every = ",".join(f"training.{k}=416" for k in ("evaluate_every", "checkpoint_every"))  # twelve
    names = ["sne", *(f"sne_no_{k}" for k in ("level", "type", "sets", "position", "invariance"))]
    names += ["sne_augmented", *(f"sne_chunk_{n}" for n in (4, 8, 16))]
    return [
        Entry("inr_ablation", "paper", name, 0, *(1.5, 70.0, "sines"), (),
              ("--set", f"training.steps=5000,{every}"))
        for name in names
    ]  # fmt: skip


def _classifiers(presets: Mapping[str, Mapping[str, Preset]]) -> list[Entry]:
    """Predictors of accuracy on zoos of thousands of CNNs: the default methods, the cheap first."""
    variants = {
        "accuracy_prediction": Variant("conv3-gap cifar10, h100", ("cifar10",), (), "h100"),
        "cross_dataset": Variant("conv3-gap, h100", FOUR[:3], (), "h100"),
    }
    found = []
    for experiment, variant in variants.items():
        preset = presets[experiment][variant.preset]
        made = [_entry(experiment, preset, variant, method, 0) for method in preset.default]
        found += sorted(made, key=lambda entry: entry.gpu)
    return found


def _first(presets: Mapping[str, Mapping[str, Preset]]) -> list[Entry]:
    """The runs that the papers' headlines rest on, in order of value."""
    scalegmn, mnist = ("inr_classification", "h100", "scalegmn", 0), ("mnist",)
    dilation = (*MNIST_NFN, "--task", "dilation")
    return [
        *_sines({"sne": (3.5, 280.0), "sne_chunk_8": (5.0, 360.0)}),
        Entry(*scalegmn, 5.5, 1600.0, "mnist INRs", mnist, MNIST),
        Entry("inr_self_supervised", "paper", "gmn", 0, 3.0, 300.0, "sines, two labels"),
        *_classifiers(presets),
        Entry("inr_editing", "h100", "gmn", 0, 7.5, 900.0, "mnist INRs, nfn", mnist, dilation),
        *_sines({"scalegmn": (6.5, 420.0), "stat_nn": (0.8, 4.0), "mlp": (0.8, 2.0)}),
        *_sines({"unf": (1.3, 20.0), "nfn_np": (1.6, 25.0), "nfn_hnp": (1.6, 25.0)}),
        *_sines({"dwsnet": (6.0, 400.0)}),
        Entry(*scalegmn, 4.5, 1400.0, "fashion_mnist INRs", ("fashion_mnist",), FASHION),
        *_ablation(),
    ]


def _rest(presets: Mapping[str, Mapping[str, Preset]]) -> Iterator[Entry]:
    """Every method and seed of the papers' presets, seed by seed, those by default first."""
    for seed in range(max(own["paper"].seeds for own in presets.values())):
        for experiment, own in presets.items():
            for variant in VARIANTS[experiment]:
                preset = own[variant.preset]
                methods = dict.fromkeys((*preset.default, *preset.methods))
                for method in methods if seed < preset.seeds else ():
                    yield _entry(experiment, preset, variant, method, seed)


def _entry(experiment: str, preset: Preset, variant: Variant, name: str, seed: int) -> Entry:
    """A method of a preset, with its minutes by `COSTS`."""
    learnt = planned(experiment, preset, name).values()
    return Entry(
        *(experiment, variant.preset, name, seed, *_minutes(learnt, seed)),
        *(variant.zoo, variant.files, variant.more, any(method.rates for method in learnt)),
    )


def _minutes(learnt: Iterable[Method], seed: int) -> tuple[float, float]:
    """Minutes on an H100 and on two CPU cores of a method in all its directions, by `COSTS`.

    Seed 0 tries the learning rates, if there are several, see `sweeps`.
    """
    total = [0.0, 0.0]
    for method in learnt:
        each = UNTRAINED
        if method.encoder is not None:
            (step, network), training = COSTS[method.encoder], method.training
            costs = zip(START, (step, network * training.batch), strict=True)
            tries = 1 if seed else max(1, len(method.rates))
            each = [tries * (start + training.steps * ms / 60_000) for start, ms in costs]
        total = [a + b for a, b in zip(total, each, strict=True)]
    gpu, cpu = total
    return round(gpu, 2), round(cpu, 2)


def entries(presets: Mapping[str, Mapping[str, Preset]]) -> tuple[Entry, ...]:
    """All entries, the most valuable first; `presets` are those of each experiment, by name."""
    ordered = [*_first(presets), *_rest(presets)]
    named = {entry.name: entry for entry in reversed(ordered)}  # the first of a name stays
    return tuple(dict.fromkeys(named[entry.name] for entry in ordered))

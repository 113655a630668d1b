"""Embeddings learnt without labels, and a linear probe that reads labels off them.

GMN, table 3 (Lim et al., ICLR 2024), after Navon et al. (2023): INRs 1-32-32-1 with sine
activations, fitted to a sin(bx) on [-pi, pi), a and b ~ U(0, 10). An encoder is trained to
identify networks through noise on their weights and weights set to zero, by NT-Xent on a
projection of its embedding; then a linear map from embeddings to (a, b) is fitted in closed
form. The table has its mean squared error over a and b. The paper: MLP 7.39 +- .19, INR2Vec
(arch.) 3.86 +- .32, DWSNets 1.39 +- .06, GMN 1.13 +- .08.

    python -m experiments.inr_self_supervised                    laptop: on 2 CPU cores
    python -m experiments.inr_self_supervised --preset paper     three seeds, for a GPU
    python -m experiments.inr_self_supervised --methods mlp --set objective.mask=0.1
    python -m experiments.inr_self_supervised --evaluate runs/inr_self_supervised/laptop/mlp-0-...

Any run can be killed at any moment; the same command goes on where it stopped. Methods that
are finished are not run again.

Protocol, as published: embeddings of 16 numbers, a projection of two layers of 16, temperature .1,
noise of .2, half of the weights set to zero, pairs of a network and one such copy. Where we
differ: the published noise is, by a bug, the constant .2 std added to every weight of an array,
ours is Gaussian and relative to arrays of the kind in all training networks; the weights that
are left are not divided by 1 - p, as dropout does; the zoo is our own, by the published recipe,
with 1 000 networks each for validation and test as published (500 for validation in the laptop
preset), and 4 000 for training, a number that is not published (3 500). Labels fit the
probe, on training networks, and choose a method's checkpoint, by the probe's validation error.
The `paper` preset has the published batch of 512, rate of 5e-3 and about 500 epochs, for all
methods, with a cosine schedule; `laptop` has batches of 32 to 128, so fewer negatives, and far
fewer steps.

Methods beside the published ones: `mean`; `statistics`, the same probe on StatNN's statistics
without learning; `boosted_trees` on these statistics, which uses labels.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import baselines, cli, plots, runs
from experiments.lib.methods import Method, Preset
from experiments.lib.zoo_loading import sine_facts, sine_zoo, zoo_of
from wsjax.encoders.dwsnet.dwsnet import SETTINGS
from wsjax.encoders.sne import WIDE
from wsjax.predictors import features
from wsjax.symmetries import matching
from wsjax.tasks import contrastive, restore
from wsjax.tasks.contrastive import Contrastive, Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo
from wsjax.zoos.sines import sine

LABELS = ("amplitude", "frequency")
CODE = 16
ALIGNED = ("mlp_align",)  # methods on networks aligned to the first training network
COLUMNS = {"test MSE": "test_mse", "a": "test_mse_amplitude", "b": "test_mse_frequency"}


def _each(baseline, zoo, seed):
    """A baseline's predictions of both labels, [network, label]."""
    return np.stack([baseline(zoo, {"": zoo}, k, seed)[""] for k in LABELS], axis=1)


def mean(zoo: Zoo, seed: int) -> np.ndarray:
    """The training networks' mean labels for all."""
    return _each(baselines.mean, zoo, seed)


def statistics(zoo: Zoo, seed: int) -> np.ndarray:
    """The probe on StatNN's statistics, without learning."""
    embed = lambda split: features.statistics(zoo.select(zoo.splits[split]))
    probe = contrastive.fit_probe(embed("train"), contrastive.targets(zoo, "train", LABELS))
    return probe.predict(embed("test"))


def boosted_trees(zoo: Zoo, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics, for each label: what labels give."""
    return _each(baselines.boosted_trees, zoo, seed)


def aligned(zoo: Zoo) -> Zoo:
    """The zoo with the neurons of every network permuted as in the first of the training split."""
    reference = zoo.vectors[zoo.splits["train"][0]]
    return dataclasses.replace(zoo, vectors=matching.align(zoo.vectors, reference, zoo.spec))


def _method(encoder, paper="–", words="", permute=False, **settings):
    """A method with the published embedding, projection and objective."""
    training = Settings(batch=64, learning_rate=1e-3, weight_decay=5e-4)
    objective = Objective(permute=permute)
    return Method(
        encoder, {"code": CODE, **settings}, (CODE, CODE), objective, training, words, paper
    )


# 97,000 parameters; the paper has "about 100,000" at hidden 76 with three layers
GMN = {"width": 76, "layers": 3, "edges": "last", "receiver": False, "aggregate": "mean"}
DWSNET = SETTINGS["sines"]  # the published one, 103,600 parameters
SIGNS = {"layers": 3, "symmetry": "sign"}  # widths below: likewise about 100,000 parameters
METHODS = {  # at the sizes of the paper
    "mean": Method(compute=mean, words="the mean label"),
    "statistics": Method(compute=statistics, words="StatNN's statistics as the embedding"),
    "boosted_trees": Method(compute=boosted_trees, words="uses labels"),
    "stat_nn": _method("stat_nn"),
    "mlp": _method("mlp", "7.39 ± .19", widths=(80, 80)),
    "mlp_aug": _method("mlp", "5.65 ± .01", "permuted copies", True, widths=(80, 80)),
    "mlp_align": _method(
        "mlp", "4.47 ± .15", "networks aligned to the first of them", widths=(80, 80)
    ),
    "deepsets": _method("deepsets"),
    "inr2vec": _method("inr2vec", "3.86 ± .32"),
    "transformer": _method("transformer", "5.11 ± .12"),
    "dwsnet": _method("dwsnet", "1.39 ± .06", **DWSNET),
    "unf": _method("unf"),
    "probing": _method("probing", words="runs the network"),
    "sne": _method("sne"),
    "sne_wide": _method("sne", **WIDE),
    "gmn": _method("gmn", "1.13 ± .08", **GMN),
    "scalegmn": _method("scalegmn", **SIGNS, backward="none", width=30),
    "scalegmn_b": _method("scalegmn", **SIGNS, width=24),
    "scalegmn_permutation": _method(
        "scalegmn", words="without sign symmetry", layers=3, symmetry="permutation", width=44
    ),
}
LEARNT = {k: m for k, m in METHODS.items() if m.encoder}
SMALL = {  # settings of `smoke`
    "sne": {"chunk_depth": 1, "depth": 1, "width": 16, "heads": 2},
    "sne_wide": {"chunk_depth": 1, "depth": 1, "width": 16, "heads": 2},
    "transformer": {"width": 16, "depth": 1},
    "gmn": {"width": 8, "layers": 1},
    "scalegmn": {"width": 8, "layers": 1},
    "scalegmn_b": {"width": 8, "layers": 1},
    "scalegmn_permutation": {"width": 8, "layers": 1},
    "deepsets": {"widths": (16, 16)},
    "dwsnet": {"width": 8, "layers": 2},
    "unf": {"width": 8, "layers": 2},
}
QUICK = {  # steps, batch, piece of `laptop`: what minutes on two cores allow
    "stat_nn": (1000, 128, 0),
    "mlp": (2000, 128, 0),
    "mlp_aug": (2000, 128, 0),
    "mlp_align": (2000, 128, 0),
    "deepsets": (600, 32, 4),
    "inr2vec": (1000, 64, 8),
    "transformer": (400, 32, 8),
    "dwsnet": (220, 64, 4),
    "unf": (1000, 64, 4),
    "probing": (1000, 128, 0),
    "sne": (220, 32, 4),
    "sne_wide": (220, 32, 4),
    "gmn": (220, 64, 4),
    "scalegmn": (220, 64, 4),
    "scalegmn_b": (220, 64, 4),
    "scalegmn_permutation": (220, 64, 4),
}


def smoke() -> Preset:
    """Ten steps of small encoders."""
    few = {k: m.sized(**SMALL.get(k, {})).train(10, 2, batch=16) for k, m in LEARNT.items()}
    return Preset(
        METHODS | few,
        "a minute on 2 CPU cores, most of it compilation",
        {"sines": sine.Recipe.self_supervised(networks=112, points=32, steps=200, high=5.0)},
        {"train": 64, "validation": 16, "test": 32},
    )


def laptop() -> Preset:
    """A minute or two for each method on a CPU core."""
    methods = dict(METHODS)
    methods["sne_wide"] = methods["sne_wide"].sized(chunk_depth=1, depth=2)
    for name, (steps, batch, piece) in QUICK.items():
        methods[name] = methods[name].aimed(piece=piece).train(steps, 8, batch=batch, warmup=20)
    return Preset(
        methods,
        "about 20 minutes on 2 CPU cores",
        {"sines": sine.Recipe.self_supervised(networks=5000)},
        {"train": 3500, "validation": 500, "test": 1000},
    )


def paper() -> Preset:
    """The published batch and rate, for about as many epochs."""
    large = {"batch": 512, "learning_rate": 5e-3, "warmup": 100}
    return Preset(
        METHODS | {k: m.train(3500, 50, **large) for k, m in LEARNT.items()},
        "hours, for a GPU; resumable method by method",
        {"sines": sine.Recipe.self_supervised(networks=6000, points=2000)},
        {"train": 4000, "validation": 1000, "test": 1000},
        seeds=3,
    )


PRESETS = {f.__name__: f() for f in (smoke, laptop, paper)}


def evaluate(path: pathlib.Path) -> float:
    """The test MSE of a checkpoint on the split of its training, given nothing but its path."""
    trained = restore(path, Contrastive)
    zoo = zoo_of(trained.config, path)
    zoo = aligned(zoo) if trained.config["aligned"] else zoo
    labels = contrastive.targets(zoo, "test", LABELS)
    errors = contrastive.errors(trained.predict(zoo.vectors[zoo.splits["test"]]), labels, LABELS)
    print(f"test MSE {errors['mse']:.6f} on {len(labels)} networks")
    return errors["mse"]


def probing(
    zoo: Zoo, method: Method, config: Mapping[str, Any], home: pathlib.Path
) -> list[runs.Facts]:
    """Work of `runs.Run`: trains without labels, or computes; probes; plots."""
    zoo = aligned(zoo) if config["aligned"] else zoo
    labels = contrastive.targets(zoo, "test", LABELS)
    if method.compute:
        predicted, facts = runs.compute(method, zoo, config["seed"])
    else:
        task = Contrastive(LABELS, method.objective)
        trained, facts = runs.learn(method, config, home, zoo, task)
        predicted = trained.predict(zoo.vectors[zoo.splits["test"]])
    errors = contrastive.errors(predicted, labels, LABELS)
    for i, label in enumerate(LABELS):
        title = f"{config['row']}: test MSE of the {label} {errors[f'mse_{label}']:.3f}"
        path = home / f"predictions_{label}.png"
        plots.predictions(path, predicted[:, i], labels[:, i], label, title)
    return [{**facts, "metrics": {f"test_{k}": v for k, v in errors.items()} | facts["metrics"]}]


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_self_supervised", __doc__, PRESETS)
    parser.add_argument("--evaluate", type=pathlib.Path, help="a checkpoint folder to measure")
    options = cli.prepare(parser.parse_args(arguments))
    if options.evaluate:
        with cli.reading(f"--evaluate {options.evaluate}"):
            evaluate(options.evaluate)
        return []
    preset = PRESETS[options.preset]
    methods = cli.choose(options, preset)
    zoo, _ = sine_zoo(preset, options)
    unfit = np.mean(zoo.labels["fit_mse"] > preset.zoos["sines"].tolerance)
    print(f"{len(zoo)} networks, {unfit:.0%} of them above the tolerance of the fit, as published")
    plan = []
    for name, method in methods.items():
        about = {**sine_facts(preset), "aligned": name in ALIGNED}
        plan += runs.plan(options, preset, {name: method}, functools.partial(probing, zoo), **about)
    table = functools.partial(runs.columns, named=COLUMNS)
    return runs.execute(plan, options, table, curves="MSE of amplitude and frequency")


if __name__ == "__main__":
    cli.run(main)

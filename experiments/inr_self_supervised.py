"""What does an encoder learn about networks that nobody labelled?

GMN, table 3 (Lim et al., ICLR 2024), after Navon et al. (2023): INRs 1-32-32-1 with sine
activations, fitted to a sin(bx) on [-pi, pi), a and b ~ U(0, 10). An encoder is trained to tell
networks apart through noise on their weights and weights set to zero, by NT-Xent on a
projection of its code; then a linear map from codes to (a, b) is fitted in closed form. The
table has its mean squared error over a and b. The paper: MLP 7.39 +- .19, INR2Vec (arch.) 3.86
+- .32, DWSNets 1.39 +- .06, GMN 1.13 +- .08.

    python -m experiments.inr_self_supervised                    laptop: on 2 CPU cores
    python -m experiments.inr_self_supervised --preset paper     three seeds, for a GPU
    python -m experiments.inr_self_supervised --rows mlp --objective.mask 0.1
    python -m experiments.inr_self_supervised --evaluate runs/inr_self_supervised/laptop/mlp-0-...

Any run can be killed at any moment; the same command goes on where it stopped. Rows that are
finished are not run again.

Protocol, as published: codes of 16 numbers, a projection of two layers of 16, temperature .1,
noise of .2, half of the weights set to zero, pairs of a network and one such copy. Where we
differ: the published noise is, by a bug, the constant .2 std added to every weight of an array,
ours is Gaussian and relative to arrays of the kind in all training networks; what is left of the
weights is not divided by 1 - p, as dropout does; the zoo is our own, by the published recipe,
with 1 000 networks each for validation and test as published (500 for validation in the laptop
preset), and 4 000 for training, a number that is not published (3 500). Labels fit the
probe, on training networks, and choose a row's checkpoint, by the probe's validation error.
The `paper` preset has the published batch of 512, rate of 5e-3 and about 500 epochs, for all rows,
with a cosine schedule; `laptop` has batches of 32 to 128, so fewer negatives, and far fewer steps.

Rows beside the published ones: `mean`; `statistics`, the same probe on StatNN's statistics with
nothing learned; `boosted_trees` on these statistics, which uses labels.
"""

import dataclasses
import functools
import pathlib
import time

import numpy as np

from experiments.lib import cli, plots
from experiments.lib.cli import Preset, Row
from wsjax.encoders import stat_nn
from wsjax.encoders.dwsnet.dwsnet import SETTINGS
from wsjax.symmetries import matching
from wsjax.tasks import contrastive
from wsjax.tasks.contrastive import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo
from wsjax.zoos.sines import sine

LABELS = ("amplitude", "frequency")
CODE = 16
ALIGNED = ("mlp_align",)  # rows that see networks aligned to the first training network


def mean(zoo: Zoo, seed: int) -> np.ndarray:
    """Predicts the training networks' mean labels for everyone."""
    labels = contrastive.targets(zoo, "train", LABELS)
    return np.tile(labels.mean(0), (len(zoo.splits["test"]), 1))


def statistics(zoo: Zoo, seed: int) -> np.ndarray:
    """The probe on StatNN's statistics: what needs no learning."""
    where = stat_nn.bounds(zoo.spec)
    codes = lambda split: np.asarray(stat_nn.statistics(zoo.vectors[zoo.splits[split]], where))
    probe = contrastive.probe(codes("train"), contrastive.targets(zoo, "train", LABELS))
    return probe.predict(codes("test"))


def boosted_trees(zoo: Zoo, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics, for each label: what labels give."""
    each = [cli.boosted_trees(zoo, label, seed) for label in LABELS]
    return np.stack(each, axis=1)


def aligned(zoo: Zoo) -> Zoo:
    """The zoo with every network numbered as the first of the training split."""
    reference = zoo.vectors[zoo.splits["train"][0]]
    return dataclasses.replace(zoo, vectors=matching.align(zoo.vectors, reference, zoo.spec))


def _row(encoder, paper="–", words="", permute=False, **settings):
    """A row with the published code, projection and objective."""
    return Row(
        encoder,
        {"code": CODE, **settings},
        head=(CODE, CODE),
        objective=Objective(permute=permute),
        training=Settings(batch=64, learning_rate=1e-3, weight_decay=5e-4),
        words=words,
        paper=paper,
    )


# 97,000 parameters; the paper has "about 100,000" at hidden 76 with three layers
GMN = {"width": 76, "layers": 3, "edges": "last", "receiver": False, "aggregate": "mean"}
DWSNET = SETTINGS["sines"]  # the published one, 103,600 parameters
SIGNS = {"layers": 3, "symmetry": "sign"}  # widths below: likewise about 100,000 parameters


def _rows() -> dict[str, Row]:
    """At the sizes of the paper, about 100,000 parameters where we set them."""
    renumbered = "copies are renumbered too"
    reference = "networks aligned to the first of them"
    return {
        "mean": Row(None, method=mean, words="the mean label"),
        "statistics": Row(None, method=statistics, words="StatNN's statistics for a code"),
        "boosted_trees": Row(None, method=boosted_trees, words="uses labels"),
        "stat_nn": _row("stat_nn"),
        "mlp": _row("mlp", "7.39 ± .19", widths=(80, 80)),
        "mlp_aug": _row("mlp", "5.65 ± .01", renumbered, permute=True, widths=(80, 80)),
        "mlp_align": _row("mlp", "4.47 ± .15", reference, widths=(80, 80)),
        "deepsets": _row("deepsets"),
        "inr2vec": _row("inr2vec", "3.86 ± .32"),
        "transformer": _row("transformer", "5.11 ± .12"),
        "dwsnet": _row("dwsnet", "1.39 ± .06", **DWSNET),
        "unf": _row("unf"),
        "probing": _row("probing", words="runs the network"),
        "sne": _row("sne"),
        "gmn": _row("gmn", "1.13 ± .08", **GMN),
        "scalegmn": _row("scalegmn", **SIGNS, backward="none", width=30),
        "scalegmn_b": _row("scalegmn", **SIGNS, width=24),
        "scalegmn_permutation": _row(
            "scalegmn", words="knows of no signs", layers=3, symmetry="permutation", width=44
        ),
    }


def _resize(row: Row, looks: int, piece: int, settings: dict, **changes) -> Row:
    """The row with other settings, looked at so many times."""
    steps = changes["steps"]
    often = {k: max(1, steps // looks) for k in ("evaluate_every", "checkpoint_every")}
    return dataclasses.replace(
        row,
        settings={**row.settings, **settings},
        objective=dataclasses.replace(row.objective, piece=piece),
        training=dataclasses.replace(row.training, **often | changes),
    )


def _presets() -> dict[str, Preset]:
    rows = _rows()
    learned = [name for name, row in rows.items() if row.encoder]
    small = {
        "sne": {"chunk_depth": 1, "depth": 1, "width": 16, "heads": 2},
        "transformer": {"width": 16, "depth": 1},
        "gmn": {"width": 8, "layers": 1},
        "scalegmn": {"width": 8, "layers": 1},
        "scalegmn_b": {"width": 8, "layers": 1},
        "scalegmn_permutation": {"width": 8, "layers": 1},
        "deepsets": {"widths": (16, 16)},
        "dwsnet": {"width": 8, "layers": 2},
        "unf": {"width": 8, "layers": 2},
    }
    quick = {  # steps, batch, piece, settings: what minutes on two cores allow
        "stat_nn": (1000, 128, 0, {}),
        "mlp": (2000, 128, 0, {}),
        "mlp_aug": (2000, 128, 0, {}),
        "mlp_align": (2000, 128, 0, {}),
        "deepsets": (600, 32, 4, {}),
        "inr2vec": (1000, 64, 8, {}),
        "transformer": (400, 32, 8, {}),
        "dwsnet": (220, 64, 4, {}),
        "unf": (1000, 64, 4, {}),
        "probing": (1000, 128, 0, {}),
        "sne": (220, 32, 4, {"chunk_depth": 1, "depth": 2}),
        "gmn": (220, 64, 4, {}),
        "scalegmn": (220, 64, 4, {}),
        "scalegmn_b": (220, 64, 4, {}),
        "scalegmn_permutation": (220, 64, 4, {}),
    }
    large = {"batch": 512, "learning_rate": 5e-3, "warmup": 100}
    return {
        "smoke": Preset(
            sine.Recipe.self_supervised(networks=112, points=32, steps=200, high=5.0),
            {"train": 64, "validation": 16, "test": 32},
            1,
            rows
            | {k: _resize(rows[k], 2, 0, small.get(k, {}), steps=10, batch=16) for k in learned},
            "a minute on 2 CPU cores, most of it compilation",
        ),
        "laptop": Preset(
            sine.Recipe.self_supervised(networks=5000),
            {"train": 3500, "validation": 500, "test": 1000},
            1,
            rows
            | {
                k: _resize(rows[k], 8, piece, settings, steps=steps, batch=batch, warmup=20)
                for k, (steps, batch, piece, settings) in quick.items()
            },
            "about 20 minutes on 2 CPU cores",
        ),
        "paper": Preset(
            sine.Recipe.self_supervised(networks=6000, points=2000),
            {"train": 4000, "validation": 1000, "test": 1000},
            3,
            rows | {k: _resize(rows[k], 50, 0, {}, steps=3500, **large) for k in learned},
            "hours, for a GPU; resumable row by row",
        ),
    }


PRESETS = _presets()


def evaluate(path: pathlib.Path) -> float:
    """Measures a checkpoint on the test split it was made for; needs nothing but the path."""
    model = contrastive.restore(path)
    zoo = cli.zoo_of(model.config, path)
    zoo = aligned(zoo) if model.config["aligned"] else zoo
    wanted = contrastive.targets(zoo, "test", LABELS)
    scores = contrastive.errors(model.predict(zoo.vectors[zoo.splits["test"]]), wanted, LABELS)
    print(f"test MSE {scores['mse']:.6f} on {len(wanted)} networks")
    return scores["mse"]


def probing(zoo: Zoo) -> cli.Work:
    """Work for `cli.run`: train without labels, or take the row's method; probe; plot."""
    once = functools.cache(lambda: aligned(zoo))  # the seeds of a row share it

    def work(row, config, home):
        seen = once() if config["aligned"] else zoo
        wanted = contrastive.targets(seen, "test", LABELS)
        start, parameters, steps, more = time.monotonic(), 0, 0, {}
        if row.method:
            predicted = row.method(seen, config["seed"])
            seconds = time.monotonic() - start
        else:
            model, result = contrastive.train(
                seen, LABELS, config, row.objective, row.training, home
            )
            predicted = model.predict(seen.vectors[seen.splits["test"]])
            encoder, parameters = cli.size(model)
            seconds, steps = result.seconds, result.steps
            more = {"val_mse": result.best_value, "encoder_parameters": encoder}
        errors = contrastive.errors(predicted, wanted, LABELS)
        for i, label in enumerate(LABELS):
            title = f"{config['row']}: test MSE of the {label} {errors[f'mse_{label}']:.3f}"
            picture = home / f"predictions_{label}.png"
            plots.predictions(picture, predicted[:, i], wanted[:, i], label, title)
        scores = {f"test_{k}": v for k, v in errors.items()}
        found = {"metrics": {**scores, **more}, "parameters": parameters}
        return {**found, "seconds": seconds, "steps": steps}

    return work


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_self_supervised", __doc__, PRESETS, Objective)
    parser.add_argument("--evaluate", type=pathlib.Path, help="a checkpoint folder to measure")
    options = cli.prepare(parser.parse_args(arguments))
    if options.evaluate:
        evaluate(options.evaluate)
        return []
    preset = PRESETS[options.preset]
    chosen = cli.select(options.rows, preset.rows, preset.rows)
    rows = cli.apply({k: preset.rows[k] for k in chosen}, cli.changes(options))
    begin = time.monotonic()
    zoo, _ = cli.make_zoo(preset.recipe, preset.sizes, options.folder)
    unfit = np.mean(zoo.labels["fit_mse"] > preset.recipe.tolerance)
    print(f"{len(zoo)} networks, {unfit:.0%} of them above the tolerance of the fit, as published")
    about = {
        "experiment": "inr_self_supervised",
        "preset": cli.preset_name(options),
        "zoo": dataclasses.asdict(preset.recipe),
        "sizes": dict(preset.sizes),
    }
    work = probing(zoo)
    runs = [
        cli.run(
            row,
            {**about, "row": name, "seed": seed, "aligned": name in ALIGNED},
            options.folder,
            work,
        )
        for name, row in rows.items()
        for seed in range(max(options.seeds, 0) or preset.seeds)
    ]
    columns = {"test MSE": "test_mse", "a": "test_mse_amplitude", "b": "test_mse_frequency"}
    cli.report(runs, columns)
    home = options.folder / "inr_self_supervised" / about["preset"]
    cli.curves(about, home / "curves.png", "MSE of amplitude and frequency")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    return runs


if __name__ == "__main__":
    main()

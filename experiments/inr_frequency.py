"""Can a network read another's weights and tell the frequency of the sine it was fitted to?

SNE, table 1 (Andreis et al., NeurIPS 2024): INRs 1-32-32-1 with sine activations, fitted to
sin(bx) on [-pi, pi], b ~ U(0.5, 10); an encoder makes a code of 32 numbers, a head of two
layers of 512 predicts b; mean squared error on held-out networks. The paper: SNE .098 +- .002
with 358K parameters, DWSNet .209, NFT .401, boosted trees not tried.

    python -m experiments.inr_frequency                      laptop: all of it on 2 CPU cores
    python -m experiments.inr_frequency --preset paper       three seeds, for a GPU
    python -m experiments.inr_frequency --rows sne --training.steps 20000
    python -m experiments.inr_frequency --evaluate runs/inr_frequency/laptop/sne-0-...

Any run can be killed at any moment; the same command goes on where it stopped. Rows that are
finished are not run again.

Protocol, where the paper is silent or we differ: the published zoo is not to be had, so we
make our own with its recipe (`wsjax.zoos.sine`); the laptop preset trains on 4 000 networks
and tests on 1 000, where the paper's set has about 1 000 in all splits together.
"""

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Mapping

import numpy as np

from experiments import commands, records
from experiments.commands import Row
from wsjax import metrics, plots, prediction
from wsjax.encoders import stat_nn
from wsjax.prediction import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo, sine, split

LABEL = "frequency"
PAPER = {  # SNE, table 1
    "mlp": "1.917 ± .241",
    "deepsets": "2.674 ± .740",
    "stat_nn": "0.937 ± .276",
    "nfn_np": "0.911 ± .218",
    "nfn_hnp": "0.998 ± .382",
    "nft": "0.401 ± .109",
    "dws": "0.209 ± .026",
    "sne": "0.098 ± .002",
}
UNTRAINED = ("mean", "boosted_trees")  # rows that are not Flax modules


@dataclasses.dataclass(frozen=True)
class Preset:
    """How large the experiment is.

    Attributes:
        recipe: of the zoo.
        sizes: networks in the splits; the recipe's other networks are spare.
        seeds: how many runs a row has.
        rows: those run by default, see `rows`.
        trained: name -> how the row is trained.
        cost: in words.
    """

    recipe: sine.Recipe
    sizes: Mapping[str, int]
    seeds: int
    rows: tuple[str, ...]
    trained: Mapping[str, Row]
    cost: str


def _presets():
    quick = Settings(batch=32, learning_rate=1e-3, warmup=50, weight_decay=0.01)
    base = {
        "stat_nn": Row("stat_nn", training=quick),
        "mlp": Row("mlp", head=(12,), training=quick),
        "deepsets": Row("deepsets", head=(128,), training=quick),
    }
    sne = Row("sne", {"chunk_depth": 1, "depth": 2}, training=quick)
    all_rows = ("mean", "boosted_trees", *base, "sne")

    def steps(row, n, **changes):
        changes = {"evaluate_every": max(1, n // 12), "checkpoint_every": max(1, n // 12)} | changes
        return dataclasses.replace(
            row, training=dataclasses.replace(row.training, steps=n, **changes)
        )

    smoke = {name: steps(row, 30, batch=16, warmup=3) for name, row in base.items()}
    small = dataclasses.replace(sne, settings={"chunk_depth": 1, "depth": 1, "width": 16})
    smoke["sne"] = steps(small, 40, batch=16, microbatch=4, warmup=4)

    laptop = {
        "stat_nn": steps(base["stat_nn"], 4000),
        "mlp": steps(base["mlp"], 4000, weight_decay=0.1),
        "deepsets": steps(base["deepsets"], 600, microbatch=4),
        "sne": steps(sne, 3000, batch=16, microbatch=4, warmup=100, checkpoint_every=100),
    }
    paper = {name: steps(row, 20000) for name, row in base.items()}
    full = Row("sne", {"chunk": 8}, objective=Objective(invariance=0.1), training=quick)
    paper["sne"] = steps(full, 20000, batch=64, learning_rate=5e-4, warmup=500)
    return {
        "smoke": Preset(
            sine.Recipe(networks=176, points=64),
            {"train": 96, "validation": 32, "test": 32},
            1,
            all_rows,
            smoke,
            "under 40 s on 2 CPU cores",
        ),
        "laptop": Preset(
            sine.Recipe(networks=5600),
            {"train": 4000, "validation": 500, "test": 1000},
            1,
            all_rows,
            laptop,
            "12 minutes on 2 CPU cores",
        ),
        "paper": Preset(
            dataclasses.replace(sine.Recipe.published(), networks=2500),
            {"train": 1000, "validation": 500, "test": 1000},
            3,
            all_rows,
            paper,
            "hours, for a GPU; resumable row by row",
        ),
    }


PRESETS = _presets()


def make_zoo(recipe: sine.Recipe, sizes: Mapping[str, int], folder: pathlib.Path):
    """The zoo, from the cache under `folder` or made now, with its splits and manifest."""
    zoo, manifest = sine.make(recipe, folder / "cache" / "zoos")
    return split(zoo, sizes, recipe.seed), manifest


def mean_row(zoo: Zoo, seed: int) -> np.ndarray:
    """Predicts the mean frequency of the training networks for everyone."""
    _, labels = zoo.part("train", LABEL)
    return np.full(len(zoo.splits["test"]), labels.mean())


def boosted_trees_row(zoo: Zoo, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics; early stopping on the validation split."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    where = stat_nn.bounds(zoo.spec)
    parts = {name: zoo.part(name, LABEL) for name in ("train", "validation", "test")}
    x = {k: np.asarray(stat_nn.statistics(v, where)) for k, (v, _) in parts.items()}
    trees = HistGradientBoostingRegressor(
        max_iter=1000, learning_rate=0.05, early_stopping=True, random_state=seed
    )
    trees.fit(x["train"], parts["train"][1], X_val=x["validation"], y_val=parts["validation"][1])
    return trees.predict(x["test"])


def run(
    name: str, row: Row | None, zoo: Zoo, about: Mapping, folder: pathlib.Path, seed: int
) -> dict:
    """Runs one row with one seed, or finds it finished; returns its record.

    Args:
        name: of the row.
        row: how it is trained; None for the rows in `UNTRAINED`.
        zoo: with its splits.
        about: what else determines the run: preset, zoo, splits.
        folder: of all runs of the experiment.
        seed: of the run.
    """
    config = {**(row.config() if row else {}), **about, "row": name, "seed": seed}
    place = folder / about["preset"] / f"{name}-{seed}-{commands.fingerprint(config)}"
    if record := commands.finished(place):
        print(f"{name}, seed {seed}: finished before, in {place}")
        return record
    print(f"{name}, seed {seed}: {place}", flush=True)
    vectors, labels = zoo.part("test", LABEL)
    start, parameters, steps, extra = time.monotonic(), 0, 0, {}
    if row is None:
        method = {"mean": mean_row, "boosted_trees": boosted_trees_row}[name]
        predicted = method(zoo, seed)
        seconds = time.monotonic() - start
    else:
        settings = dataclasses.replace(row.training, seed=seed)
        model, result = prediction.train(zoo, LABEL, config, row.objective, settings, place)
        predicted = model.predict(vectors)
        encoder, parameters = commands.size(model)
        seconds, steps = result.seconds, result.steps
        extra = {"val_mse": result.best_value, "encoder_parameters": encoder}
    scores = {f"test_{k}": v for k, v in metrics.evaluate(predicted, labels).items()}
    record = {
        "experiment": "inr_frequency",
        "row": name,
        "preset": about["preset"],
        "seed": seed,
        "metrics": {**scores, **extra},
        "parameters": parameters,
        "seconds": round(seconds, 1),
        "steps": steps,
        "config": config,
    }
    title = f"{name}: test MSE {scores['test_mse']:.3f}"
    plots.predictions(place / "predictions.png", predicted, labels, LABEL, title)
    commands.finish(place, record)
    records.append(record)
    return record


def evaluate(path: pathlib.Path, folder: pathlib.Path) -> float:
    """Measures a checkpoint on the test split it was made for; needs nothing but the path."""
    model = prediction.restore(path)
    zoo, _ = make_zoo(sine.Recipe(**_tuples(model.config["zoo"])), model.config["sizes"], folder)
    vectors, labels = zoo.part("test", LABEL)
    scores = metrics.evaluate(model.predict(vectors), labels)
    print(f"test MSE {scores['mse']:.6f} on {len(labels)} networks")
    return scores["mse"]


def _tuples(settings):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def curves(runs: list[dict], folder: pathlib.Path, path: pathlib.Path) -> None:
    """Draws validation error against seconds for the trained rows, baselines as levels."""
    lines, levels = {}, {}
    for run_ in runs:
        config = run_["config"]
        place = folder / run_["preset"] / (
            f"{run_['row']}-{run_['seed']}-{commands.fingerprint(config)}"
        )
        history = metrics.read_lines(place / "metrics.jsonl") if run_["steps"] else []
        if history:
            name = run_["row"] if run_["seed"] == 0 else f"{run_['row']}, seed {run_['seed']}"
            lines[name] = ([h["seconds"] for h in history], [h["val_mse"] for h in history])
        elif run_["seed"] == 0:
            levels[f"{run_['row']} (test)"] = run_["metrics"]["test_mse"]
    if lines:
        title = "Validation error while training"
        plots.curves(path, lines, "seconds", "MSE of the frequency", title, levels=levels)


def report(runs: list[dict]) -> None:
    """Prints the table, best row first."""
    from rich.console import Console
    from rich.table import Table

    table = Table("row", "seed", "parameters", "test MSE", "tau", "R²", "seconds", "paper's MSE")
    for r in sorted(runs, key=lambda r: r["metrics"]["test_mse"]):
        m = r["metrics"]
        size = f"{r['parameters']:,}" if r["parameters"] else "–"
        if "encoder_parameters" in m:
            size = f"{m['encoder_parameters']:,} + head = {size}"
        scores = [f"{m[k]:.3f}" for k in ("test_mse", "test_tau", "test_r2")]
        cells = [r["row"], str(r["seed"]), size, *scores, f"{r['seconds']:.0f}"]
        table.add_row(*cells, PAPER.get(r["row"], "–"))
    Console().print(table)


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = commands.parser("inr_frequency", __doc__, PRESETS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--evaluate", type=pathlib.Path, help="a checkpoint folder to measure")
    options = parser.parse_args(arguments)
    if options.results:
        records.RESULTS = options.results
    commands.setup(options.folder)
    if options.evaluate:
        return [evaluate(options.evaluate, options.folder)]
    preset = PRESETS[options.preset]
    chosen = commands.select(options.rows, preset.rows, (*UNTRAINED, *preset.trained))
    rows = commands.apply({k: preset.trained.get(k) for k in chosen}, commands.changes(options))
    begin = time.monotonic()
    zoo, manifest = make_zoo(preset.recipe, preset.sizes, options.folder)
    print(sine.datasheet(zoo, manifest, records.reference("sine_zoo_reference")))
    about = {
        "preset": options.preset,
        "zoo": dataclasses.asdict(preset.recipe),
        "sizes": dict(preset.sizes),
    }
    folder = options.folder / "inr_frequency"
    runs = [
        run(name, row, zoo, about, folder, seed)
        for name, row in rows.items()
        for seed in range(options.seeds or preset.seeds)
    ]
    report(runs)
    curves(runs, folder, folder / options.preset / "curves.png")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots under {folder}")
    return runs


if __name__ == "__main__":
    main()

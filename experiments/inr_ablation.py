"""What makes SNE work: its parts, its chunk size, and how much data it needs.

SNE, tables 6 and 7, figure 3 and appendix E.3, on the zoo of `experiments.inr_frequency`. Each
row of the tables changes one thing of the row `sne`; the column "invariance loss" is the logit
invariance loss on five held-out renumberings of the test networks (appendix E.3 reports about
1e-15), and "code error" the change of the code relative to the spread of codes.

    python -m experiments.inr_ablation                       laptop: half an hour on 2 CPU cores
    python -m experiments.inr_ablation --rows sne,sne_no_level
    python -m experiments.inr_ablation --preset paper        for a GPU

Figure 3 is the rows `sne_20` to `sne_80` and `boosted_trees_20` to `boosted_trees_80`: trained
on that percentage of the training networks, drawn as `training_size.png`.

Protocol: the laptop preset trains each row for a fixed small number of steps, the same for
all, so its errors are above those of `inr_frequency`; only differences between rows count.
"""

import dataclasses
import time
from collections.abc import Mapping

import jax
import numpy as np

from experiments.lib import cli, plots
from experiments.lib.cli import Preset, Row
from wsjax import networks
from wsjax.symmetries import permutations
from wsjax.tasks import regression
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo
from wsjax.zoos.sines import sine

LABEL = "frequency"
SHARES = (20, 40, 60, 80)  # per cent of the training networks
HELD_OUT = 5  # renumberings
CHUNKS = {4: "0.095 ± .012", 8: "0.090 ± .023", 16: "0.118 ± .019", 32: "0.056 ± .020"}  # table 7


def boosted_trees(zoo: Zoo, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics, the yardstick of figure 3."""
    return cli.boosted_trees(zoo, LABEL, seed)


def _rows(settings: Mapping[str, object], training: Settings, whole: Objective) -> dict[str, Row]:
    size = settings.get("chunk", 32)
    words, paper = f"nothing; chunk size {size}", f"0.098 ± .002; as in table 7 {CHUNKS[size]}"
    rows = {"sne": Row("sne", settings, objective=whole, words=words, paper=paper)}
    for name, change, words, paper in (
        ("no_level", {"level": False}, "no layer level encoding", "2.216 ± 1.303"),
        ("no_type", {"type": False}, "no layer type encoding", "0.128 ± .007"),
        ("no_sets", {"attention": False}, "maps and means for set functions", "1.931 ± .108"),
        ("no_position", {"position": False}, "no encoding of any position", "7.452 ± .799"),
        *((f"chunk_{n}", {"chunk": n}, f"chunk size {n}", CHUNKS[n]) for n in CHUNKS if n != size),
    ):
        rows[f"sne_{name}"] = Row(
            "sne", {**settings, **change}, objective=whole, words=words, paper=paper
        )
    rows["sne_no_invariance"] = Row(
        "sne",
        settings,
        objective=Objective(permute=True),
        words="no invariance loss; renumbered copies in training",
        paper="0.156 ± .015",
    )
    rows["sne_no_symmetry"] = Row(
        "sne",
        settings,
        objective=Objective(permute=False),
        words="no invariance loss, no renumbered copies",
    )
    for share in SHARES:
        words = f"{share} % of the training networks"
        rows[f"sne_{share}"] = Row("sne", settings, objective=whole, words=words)
        rows[f"boosted_trees_{share}"] = Row(None, method=boosted_trees, words=words)
    rows["boosted_trees"] = Row(None, method=boosted_trees, words="all training networks")
    return {
        name: row if row.method else dataclasses.replace(row, training=training)
        for name, row in rows.items()
    }


def _presets() -> dict[str, Preset]:
    base = Settings(batch=16, microbatch=4, learning_rate=1e-3, warmup=50, weight_decay=0.01)
    tiny = {"chunk_depth": 1, "depth": 1, "width": 16}
    short = {"chunk_depth": 1, "depth": 2}

    def steps(n, **changes):
        return dataclasses.replace(base, steps=n, evaluate_every=n, checkpoint_every=n, **changes)

    return {
        "smoke": Preset(
            sine.Recipe(networks=176, points=64),
            {"train": 96, "validation": 32, "test": 32},
            1,
            _rows(tiny, steps(20, warmup=2), Objective(invariance=0.1)),
            "a minute for two rows on 2 CPU cores",
        ),
        "laptop": Preset(
            sine.Recipe(networks=5600),
            {"train": 4000, "validation": 500, "test": 1000},
            1,
            _rows(short, steps(300), Objective(invariance=0.1, share=0.25)),
            "half an hour on 2 CPU cores",
        ),
        "paper": Preset(
            sine.Recipe.published(networks=2600),
            {"train": 1000, "validation": 500, "test": 1000},
            3,
            _rows(
                {"chunk": 8},
                steps(20000, batch=64, microbatch=0, learning_rate=5e-4),
                Objective(invariance=0.1),
            ),
            "a day on a GPU",
        ),
    }


PRESETS = _presets()


def reduced(zoo: Zoo, name: str) -> Zoo:
    """The zoo with the percentage of training networks that the row's name asks for."""
    share = int(name.rsplit("_", 1)[1]) if name.rsplit("_", 1)[-1].isdigit() else 100
    if share not in SHARES:  # chunk sizes are numbers too
        return zoo
    rows = zoo.splits["train"]
    return dataclasses.replace(
        zoo, splits={**zoo.splits, "train": rows[: len(rows) * share // 100]}
    )


def invariance(model: regression.Model, vectors: np.ndarray) -> dict[str, float]:
    """How far a model is from blind to the numbering of hidden neurons (appendix E.3).

    Args:
        model: any predictor.
        vectors: [network, entry].

    Returns:
        "invariance": the logit invariance loss, of standardised predictions, over
        `HELD_OUT` renumberings of each network. "code_error": the change of the code,
        relative to the spread of codes among the networks.
    """
    logits = lambda x: (model.predict(x) - model.norm.mean) / model.norm.deviation
    before, codes = logits(vectors), model.encode(vectors)
    losses, errors = [], []
    for i in range(HELD_OUT):
        element = permutations.sample(jax.random.key(1000 + i), model.specs[0])
        params = permutations.act(
            element, networks.unravel(vectors, model.specs[0]), model.specs[0]
        )
        moved = np.asarray(networks.ravel(params, model.specs[0]))
        losses.append(0.5 * np.mean((logits(moved) - before) ** 2))
        errors.append(np.sqrt(np.mean((model.encode(moved) - codes) ** 2)))
    size = np.sqrt(np.mean((codes - codes.mean(0)) ** 2))
    return {"invariance": float(np.mean(losses)), "code_error": float(np.mean(errors) / size)}


def before_and_after(model: regression.Model, vectors: np.ndarray) -> dict[str, float]:
    """The `invariance` of a model, and of its module with fresh weights ("untrained_...")."""
    seed = jax.random.key(model.config["seed"])
    view = model.module.encoder.view(model.specs[0])
    params = jax.jit(model.module.init)(seed, vectors[:1], view)["params"]
    fresh = dataclasses.replace(model, variables={**model.variables, "params": params})
    start = {f"untrained_{k}": v for k, v in invariance(fresh, vectors).items()}
    return {**invariance(model, vectors), **start}


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    options = cli.parse("inr_ablation", __doc__, PRESETS, arguments)
    preset = PRESETS[options.preset]
    chosen = cli.select(options.rows, preset.rows, preset.rows)
    rows = cli.apply({k: preset.rows[k] for k in chosen}, cli.changes(options))
    begin = time.monotonic()
    zoo, _ = cli.make_zoo(preset.recipe, preset.sizes, options.folder)
    about = {
        "experiment": "inr_ablation",
        "preset": cli.preset_name(options),
        "zoo": dataclasses.asdict(preset.recipe),
        "sizes": dict(preset.sizes),
    }
    vectors = zoo.vectors[zoo.splits["test"]]
    extra = lambda model: before_and_after(model, vectors[:100])
    runs = [
        cli.run(
            row,
            {**about, "row": name, "seed": seed},
            options.folder,
            cli.label_regression(reduced(zoo, name), LABEL, extra),
        )
        for name, row in rows.items()
        for seed in range(max(options.seeds, 0) or preset.seeds)
    ]
    columns = {
        "test MSE": "test_mse",
        "invariance": "invariance",
        "code error": "code_error",
        "untrained": "untrained_code_error",
    }
    cli.report(runs, columns)
    home = options.folder / "inr_ablation" / about["preset"]
    training_size(runs, home / "training_size.png")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    return runs


def training_size(runs: list[dict], path) -> None:
    """Draws figure 3: test error against the share of training networks."""
    lines = {}
    for method in ("sne", "boosted_trees"):
        names = {f"{method}_{share}": share for share in SHARES} | {method: 100}
        points = {}
        for r in runs:
            if r["row"] in names:
                points.setdefault(names[r["row"]], []).append(r["metrics"]["test_mse"])
        if len(points) > 1:
            shares = sorted(points)
            lines[method] = (shares, [float(np.mean(points[s])) for s in shares])
    if lines:
        x = "percentage of training networks"
        plots.curves(path, lines, x, "test MSE", "Error against training-set size", log=False)


if __name__ == "__main__":
    main()

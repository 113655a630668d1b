"""Can a network read another's weights and tell the frequency of the sine it was fitted to?

SNE, table 1 (Andreis et al., NeurIPS 2024): INRs 1-32-32-1 with sine activations, fitted to
sin(bx) on [-pi, pi], b ~ U(0.5, 10); an encoder makes a code of 32 numbers, a head of two
layers of 512 predicts b; mean squared error on held-out networks. The paper: SNE .098 +- .002
with 358K parameters, DWSNet .209, NFT .401, boosted trees not tried. GMN, GRIT, NeuralGraph and
ScaleGMN, which read graphs of neurons and are exactly invariant, are not in the paper's table.

    python -m experiments.inr_frequency                      laptop, on 2 CPU cores
    python -m experiments.inr_frequency --rows grit,neural_graph,neural_graph_pna
    python -m experiments.inr_frequency --rows scalegmn,scalegmn_b,scalegmn_permutation
    python -m experiments.inr_frequency --preset relu --rows all   networks of ReLU instead
    python -m experiments.inr_frequency --preset paper       three seeds, for a GPU
    python -m experiments.inr_frequency --rows sne --training.steps 20000
    python -m experiments.inr_frequency --evaluate runs/inr_frequency/laptop/sne-0-...

Any run can be killed at any moment; the same command goes on where it stopped. Rows that are
finished are not run again.

Protocol, where the paper is silent or we differ: the published zoo is not to be had, so we
make our own with its recipe (`wsjax.zoos.sines.sine`); the laptop preset trains on 4 000 networks
and tests on 1 000, where the paper's set is said to have 1 000 for training and 100 for testing.
All seeds of a row share one zoo and one split: their spread is that of initial weights and of
the order of the data.
"""

import dataclasses
import pathlib
import time

import numpy as np

from experiments.lib import cli, records
from experiments.lib.cli import Preset, Row
from wsjax import metrics
from wsjax.encoders.nfn.nfn import SETTINGS as NFN
from wsjax.tasks import regression
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo
from wsjax.zoos.sines import sine
from wsjax.zoos.sines.sine_datasheet import datasheet

LABEL = "frequency"
DEFAULT = ("mean", "boosted_trees", "stat_nn", "mlp", "deepsets", "sne", "gmn", "scalegmn_b")


def mean(zoo: Zoo, seed: int) -> np.ndarray:
    """Predicts the mean frequency of the training networks for everyone."""
    _, labels = zoo.part("train", LABEL)
    return np.full(len(zoo.splits["test"]), labels.mean())


def boosted_trees(zoo: Zoo, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics."""
    return cli.boosted_trees(zoo, LABEL, seed)


def _steps(row: Row, steps: int, **changes) -> Row:
    """The row trained for so many steps, looked at a dozen times."""
    often = {"evaluate_every": max(1, steps // 12), "checkpoint_every": max(1, steps // 12)}
    settings = dataclasses.replace(row.training, steps=steps, **often | changes)
    return dataclasses.replace(row, training=settings)


def _presets() -> dict[str, Preset]:
    quick = Settings(batch=32, learning_rate=1e-3, warmup=50, weight_decay=0.01)
    # the paper's numbers are its table 1
    floor = {"mean": Row(None, method=mean), "boosted_trees": Row(None, method=boosted_trees)}
    plain = Objective(permute=False)
    stat = Row("stat_nn", objective=plain, training=quick, paper="0.937 ± .276")
    flat = Row("mlp", head=(12,), objective=plain, training=quick, paper="1.917 ± .241")
    sets = Row("deepsets", head=(128,), objective=plain, training=quick, paper="2.674 ± .740")
    sne = Row("sne", objective=Objective(invariance=0.1), training=quick, paper="0.098 ± .002")
    # copies of a quarter of each batch: on a CPU the budget is passes, not networks
    thrifty = Objective(invariance=0.1, share=0.25)
    short = dataclasses.replace(sne, settings={"chunk_depth": 1, "depth": 2}, objective=thrifty)
    # products of weights and neurons in messages did better on validation than sums
    graph = {"width": 48, "layers": 3, "aggregate": "mean", "product": True}
    fast = dataclasses.replace(quick, learning_rate=3e-3, microbatch=4)
    gmn = Row("gmn", settings=graph, objective=plain, training=fast)
    pairs = dataclasses.replace(quick, microbatch=4)
    narrow = {"width": 32, "edge_width": 16, "attention": 64, "hidden": 64, "edge_hidden": 32}
    relational = Row(
        "neural_graph",
        settings={**narrow, "heads": 4, "layers": 3},
        objective=plain,
        training=pairs,
    )
    pna = {"backbone": "pna", "width": 32, "edge_width": 32, "head": (32, 32), "sigma": 3.0}
    pna = Row("neural_graph", settings=pna, objective=plain, training=pairs)
    grit = {"width": 32, "layers": 2, "heads": 4}
    grit = Row("grit", settings=grit, objective=plain, training=pairs)
    # ScaleGMN of about 115,000 parameters; the last knows of no signs: what they are worth
    scalegmn = {
        name: Row("scalegmn", settings={"layers": 3, **settings}, objective=plain, training=fast)
        for name, settings in {
            "scalegmn": {"width": 32, "symmetry": "sign", "backward": "none"},
            "scalegmn_b": {"width": 26, "symmetry": "sign"},
            "scalegmn_permutation": {"width": 48, "symmetry": "permutation"},
        }.items()
    }
    # with weights for each array of one architecture; of NFN the widths that it has on CNNs, for
    # which the paper's table gives numbers of parameters, 2.0M and 2.8M
    # rates: the best of three on validation, in short runs
    slow = dataclasses.replace(pairs, learning_rate=3e-4)
    arrays = {
        name: Row(encoder, settings=settings, objective=plain, training=rate, paper=paper)
        for name, encoder, settings, rate, paper in (
            ("nfn_np", "nfn", {**NFN["generalisation_np"], "code": 32}, slow, "0.911 ± .218"),
            ("nfn_hnp", "nfn", {**NFN["generalisation_hnp"], "code": 32}, pairs, "0.998 ± .382"),
            ("nft", "nft", {}, pairs, "0.401 ± .109"),
            ("dwsnet", "dwsnet", {"width": 32, "layers": 4}, pairs, "0.209 ± .026"),
            ("unf", "unf", {}, pairs, "–"),
        )
    }
    larger = {  # sizes of the papers, for GPUs
        "nft": {"frequencies": 128, "blocks": 4, "heads": 8},
        "dwsnet": {"width": 64, "layers": 5},
    }
    # these see the numbering, and are trained on renumbered copies
    tokens = {name: Row(name, training=pairs) for name in ("dmc", "hyperrep", "transformer")}
    tokens["mlp_aug"] = dataclasses.replace(flat, objective=Objective())
    ceiling = Row("probing", objective=plain, training=fast, words="runs the network")
    scaled = {"layers": 3, "width": 29, "symmetry": "scale"}
    relu = {  # networks of ReLU have scales: which messages back are worth having, at one size
        "gmn": dataclasses.replace(gmn, settings={**graph, "width": 59}),
        "scalegmn": {"backward": "none", "width": 37},
        "scalegmn_as_published": {"backward": "as_published"},
        "scalegmn_reciprocal": {"backward": "reciprocal"},
        "scalegmn_gated": {"backward": "gated"},
        "scalegmn_b": {},
        "scalegmn_permutation": {"symmetry": "permutation", "width": 48},
    }
    relu = {
        name: x
        if isinstance(x, Row)
        else Row("scalegmn", settings={**scaled, **x}, objective=plain, training=fast)
        for name, x in relu.items()
    }
    tiny = dataclasses.replace(
        sne, settings={"chunk_depth": 1, "depth": 1, "width": 16, "heads": 2}
    )
    return {
        "smoke": Preset(
            sine.Recipe(networks=160, points=32),
            {"train": 96, "validation": 32, "test": 32},
            1,
            floor
            | {
                "stat_nn": _steps(stat, 60, batch=16, warmup=3, evaluate_every=30),
                "mlp": _steps(flat, 60, batch=16, warmup=3, evaluate_every=30),
                "deepsets": _steps(sets, 12, batch=16, warmup=3, evaluate_every=6),
                "sne": _steps(tiny, 20, batch=16, warmup=4, evaluate_every=10),
                **{
                    name: _steps(
                        dataclasses.replace(row, settings={**row.settings, "layers": 1}),
                        12,
                        batch=16,
                        warmup=3,
                        evaluate_every=6,
                    )
                    for name, row in {
                        "gmn": gmn,
                        "grit": grit,
                        "neural_graph": relational,
                        "scalegmn_b": scalegmn["scalegmn_b"],
                    }.items()
                },
                **{
                    name: _steps(row, 12, batch=16, warmup=3, evaluate_every=6)
                    for name, row in {
                        "nfn_hnp": arrays["nfn_hnp"],
                        "unf": dataclasses.replace(arrays["unf"], settings={"width": 8}),
                        "probing": ceiling,
                    }.items()
                },
            },
            "a minute on 2 CPU cores, half of it compilation",
        ),
        "laptop": Preset(
            sine.Recipe(networks=5600),
            {"train": 4000, "validation": 500, "test": 1000},
            1,
            floor
            | {
                "stat_nn": _steps(stat, 2500),
                "mlp": _steps(flat, 2000, weight_decay=0.1, evaluate_every=25),
                "deepsets": _steps(sets, 600, microbatch=4),
                # two that are cheap, at the budget of the others
                "stat_nn_long": _steps(stat, 20000),
                "deepsets_long": _steps(sets, 8000, microbatch=4),
                "sne": _steps(short, 2600, batch=16, microbatch=4, warmup=100),
                "gmn": _steps(gmn, 1500),
                "grit": _steps(grit, 500),
                "neural_graph": _steps(relational, 300),
                "neural_graph_pna": _steps(pna, 1500),
                **{name: _steps(row, 1500) for name, row in scalegmn.items()},
                **{name: _steps(arrays[name], 10000) for name in ("nfn_np", "nfn_hnp", "unf")},
                **{name: _steps(arrays[name], 1000) for name in ("nft", "dwsnet")},
                "dmc": _steps(tokens["dmc"], 8000),
                "hyperrep": _steps(tokens["hyperrep"], 2500),
                "transformer": _steps(tokens["transformer"], 5000),
                "mlp_aug": _steps(tokens["mlp_aug"], 4000),
                "probing": _steps(ceiling, 4000),
            },
            "about 20 minutes on 2 CPU cores",
        ),
        "relu": Preset(
            sine.Recipe.relu(networks=3600),
            {"train": 2500, "validation": 300, "test": 800},
            1,
            floor | {name: _steps(row, 400) for name, row in relu.items()},
            "a quarter of an hour on 2 CPU cores",
        ),
        "long": Preset(
            sine.Recipe(networks=14000),
            {"train": 12000, "validation": 500, "test": 1000},
            1,
            floor
            | {
                "stat_nn": _steps(stat, 6000),
                "sne": _steps(short, 9000, batch=16, microbatch=4, warmup=100),
                "gmn": _steps(gmn, 6000),
            },
            "an hour on 2 CPU cores",
        ),
        "paper": Preset(
            sine.Recipe.published(networks=2600),
            {"train": 1000, "validation": 500, "test": 1000},
            3,
            floor
            | {
                "stat_nn": _steps(stat, 20000),
                "mlp": _steps(flat, 20000, weight_decay=0.1),
                "deepsets": _steps(sets, 20000),
                "sne": _steps(
                    dataclasses.replace(sne, settings={"chunk": 8}),
                    20000,
                    batch=64,
                    learning_rate=5e-4,
                    warmup=500,
                ),
                "gmn": _steps(
                    dataclasses.replace(gmn, settings={**graph, "width": 64, "layers": 4}),
                    20000,
                    batch=64,
                    microbatch=0,
                    learning_rate=1e-3,
                    warmup=500,
                ),
                "grit": _steps(
                    dataclasses.replace(grit, settings={}), 20000, batch=64, microbatch=0
                ),
                "neural_graph": _steps(
                    dataclasses.replace(relational, settings={}), 20000, batch=64, microbatch=0
                ),
                **{
                    name: _steps(
                        dataclasses.replace(row, settings={**row.settings, "width": 64}),
                        20000,
                        batch=64,
                        microbatch=0,
                        learning_rate=1e-3,
                        warmup=500,
                    )
                    for name, row in scalegmn.items()
                },
                **{
                    name: _steps(
                        dataclasses.replace(row, settings={**row.settings, **larger.get(name, {})}),
                        20000,
                        batch=64,
                        microbatch=0,
                        learning_rate=1e-3,
                        warmup=500,
                    )
                    for name, row in (arrays | tokens | {"probing": ceiling}).items()
                },
            },
            "hours, for a GPU; resumable row by row",
        ),
    }


PRESETS = _presets()


def evaluate(path: pathlib.Path) -> float:
    """Measures a checkpoint on the test split it was made for; needs nothing but the path.

    The zoo is the one that lies beside the run, or is made anew by the run's recipe.
    """
    model = regression.restore(path)
    zoo = cli.zoo_of(model.config, path)
    vectors, labels = zoo.part("test", LABEL)
    scores = metrics.evaluate(model.predict(vectors), labels)
    print(f"test MSE {scores['mse']:.6f} on {len(labels)} networks")
    return scores["mse"]


def main(arguments: list[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_frequency", __doc__, PRESETS)
    parser.add_argument("--evaluate", type=pathlib.Path, help="a checkpoint folder to measure")
    options = cli.prepare(parser.parse_args(arguments))
    if options.evaluate:
        evaluate(options.evaluate)
        return []
    preset = PRESETS[options.preset]
    default = [name for name in DEFAULT if name in preset.rows]
    chosen = cli.select(options.rows, default, preset.rows)
    rows = cli.apply({k: preset.rows[k] for k in chosen}, cli.changes(options))
    begin = time.monotonic()
    zoo, manifest = cli.make_zoo(preset.recipe, preset.sizes, options.folder)
    print(datasheet(zoo, manifest, records.reference()))
    about = {
        "experiment": "inr_frequency",
        "preset": cli.preset_name(options),
        "zoo": dataclasses.asdict(preset.recipe),
        "sizes": dict(preset.sizes),
    }
    work = cli.label_regression(zoo, LABEL)
    runs = [
        cli.run(row, {**about, "row": name, "seed": seed}, options.folder, work)
        for name, row in rows.items()
        for seed in range(max(options.seeds, 0) or preset.seeds)
    ]
    cli.report(runs, {"test MSE": "test_mse", "tau": "test_tau", "R²": "test_r2"})
    home = options.folder / "inr_frequency" / about["preset"]
    cli.curves(about, home / "curves.png", "MSE of the frequency")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    return runs


if __name__ == "__main__":
    main()

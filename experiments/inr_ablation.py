"""The parts of SNE that matter: its encodings, its chunk size, and how much data it needs.

SNE, tables 6 and 7, figure 3 and appendix E.3, on the zoo of `experiments.inr_frequency`. Each
method of the tables changes one thing of the method `sne`; the column "invariance" is the
logit invariance loss on five held-out permutations of the test networks (appendix E.3 reports
about 1e-15), and "embedding error" the change of the embedding relative to the spread of
embeddings.

    python -m experiments.inr_ablation                       laptop: an hour on 2 CPU cores
    python -m experiments.inr_ablation --methods sne,sne_no_level
    python -m experiments.inr_ablation --preset long         tables 6 and 7 at 5,000 steps
    python -m experiments.inr_ablation --preset paper        for a GPU

The paper has no permuted copies as data: its loss is that of the networks as they are and, by
eq. 10, the invariance. So its .156 is the method with neither; `sne_augmented` is ours.

Figure 3 is `sne`, `dwsnet`, `nft` and `boosted_trees` with `_20` to `_80`: trained on that
percentage of the training networks, drawn as `training_size.png`.

Protocol: the laptop preset trains each method for a fixed small number of steps, the same for
all, so its errors are above those of `inr_frequency`; only differences between methods count.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lib import cli, plots, runs
from experiments.lib.baselines import boosted_trees
from experiments.lib.label_regression import label_regression
from experiments.lib.methods import Method, Preset
from experiments.lib.zoo_loading import sine_facts, sine_zoo
from wsjax import networks
from wsjax.symmetries import permutations
from wsjax.tasks import Trained
from wsjax.tasks.regression import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo
from wsjax.zoos.sines import sine

LABEL = "frequency"
SHARES = (20, 40, 60, 80)  # per cent of the training networks
CURVES = ("sne", "dwsnet", "nft", "boosted_trees")  # of figure 3
HELD_OUT = 5  # permutations
MEASURED = 100  # test networks of which invariance is measured
CHUNKS = {4: "0.095 ± .012", 8: "0.090 ± .023", 16: "0.118 ± .019", 32: "0.056 ± .020"}  # table 7
PARTS = {  # table 6: method -> the setting that is changed, words, the paper's number
    "sne_no_level": ({"level": False}, "no layer level encoding", "2.216 ± 1.303"),
    "sne_no_type": ({"type": False}, "no layer type encoding", "0.128 ± .007"),
    "sne_no_sets": ({"attention": False}, "maps and means for set functions", "1.931 ± .108"),
    "sne_no_position": ({"position": False}, "no encoding of any position", "7.452 ± .799"),
}
TABLES = (*PARTS, "sne", "sne_no_invariance", "sne_chunk_4", "sne_chunk_8", "sne_chunk_16")
BASE = Settings(batch=16, microbatch=4, learning_rate=1e-3, warmup=50, weight_decay=0.01)
PAIRS = {"microbatch": 2, "warmup": 200, "optimizer": "muon", "learning_rate": 2e-3}  # on CPUs
COLUMNS = {
    **{"test MSE": "test_mse", "invariance": "invariance"},
    **{"embedding error": "code_error", "untrained": "untrained_code_error"},
}


def methods(whole: Method, rivals: Mapping[str, Method]) -> dict[str, Method]:
    """All methods, given SNE as it is, and the rivals of figure 3."""
    size = whole.settings.get("chunk", 32)
    about = dataclasses.replace
    paper = f"0.098 ± .002; as in table 7 {CHUNKS[size]}"
    named = {"sne": about(whole, words=f"chunk size {size}", paper=paper)}
    chunks = {f"sne_chunk_{n}": ({"chunk": n}, f"chunk size {n}", CHUNKS[n]) for n in CHUNKS}
    chunks.pop(f"sne_chunk_{size}")
    for name, (change, words, paper) in (PARTS | chunks).items():
        named[name] = about(whole.sized(**change), words=words, paper=paper)
    plain = whole.aimed(invariance=0.0)
    named["sne_no_invariance"] = about(plain, words="no invariance loss", paper="0.156 ± .015")
    named["sne_augmented"] = about(
        plain.aimed(permute=True), words="permuted copies as data, no invariance loss"
    )
    trees = Method(compute=boosted_trees)
    for name, method in {"sne": whole, **rivals, "boosted_trees": trees}.items():
        for share in SHARES:
            named[f"{name}_{share}"] = about(method, words=f"{share} % of the training networks")
        named.setdefault(name, about(method, words="all training networks"))
    return named


def _sne(share=1.0, training=BASE, **settings):
    """SNE by eq. 10."""
    objective = Objective(permute=False, invariance=0.1, share=share)
    return Method("sne", settings, objective=objective, training=training)


def _rivals(steps, dwsnet, nft, training=BASE):
    """Those of figure 3."""
    named = {"dwsnet": dwsnet, "nft": nft}
    plain = Objective(permute=False)
    methods = {k: Method(k, v, objective=plain, training=training) for k, v in named.items()}
    return {k: m.train(steps) for k, m in methods.items()}


def smoke() -> Preset:
    """A few steps."""
    few = dataclasses.replace(BASE, warmup=2)
    small = {"width": 8, "layers": 2}, {"frequencies": 4, "blocks": 1, "heads": 2}
    return Preset(
        methods(
            _sne(training=few, chunk_depth=1, depth=1, width=16).train(20, 1),
            _rivals(20, *small, training=few),
        ),
        "a minute for two methods on 2 CPU cores",
        {"sines": sine.Recipe(networks=176, points=64)},
        {"train": 96, "validation": 32, "test": 32},
    )


def laptop() -> Preset:
    """A few minutes for each method on a CPU core."""
    return Preset(
        methods(_sne(share=0.25).train(300), _rivals(300, {"width": 32, "layers": 4}, {})),
        "an hour on 2 CPU cores",
        {"sines": sine.Recipe(networks=5600)},
        {"train": 4000, "validation": 500, "test": 1000},
    )


def long() -> Preset:
    """Tables 6 and 7 on the paper's number of training networks, 5,000 steps a method."""
    pairs = dataclasses.replace(BASE, **PAIRS)
    rivals = {"width": 32, "layers": 4}, {}
    return dataclasses.replace(
        paper(),
        methods=methods(_sne(share=0.5, training=pairs).train(5000), _rivals(5000, *rivals)),
        cost="a quarter of an hour a method on a CPU core",
        seeds=1,
        default=TABLES,
    )


def paper() -> Preset:
    """The paper's size of SNE; the steps are ours."""
    slow = dataclasses.replace(BASE, batch=64, microbatch=0, learning_rate=5e-4, warmup=500)
    rivals = {"width": 64, "layers": 5}, {"frequencies": 128, "blocks": 4, "heads": 8}
    return Preset(
        methods(_sne(training=slow).train(20000), _rivals(20000, *rivals, training=slow)),
        "a day on a GPU",
        {"sines": sine.Recipe.published(networks=2600)},
        {"train": 1000, "validation": 500, "test": 1000},
        seeds=3,
    )


PRESETS = {f.__name__: f() for f in (smoke, laptop, long, paper)}


def reduced(zoo: Zoo, name: str) -> Zoo:
    """The zoo with the percentage of training networks that a method's name ends in."""
    share = name.rsplit("_", 1)[-1]
    if share not in map(str, SHARES):  # chunk sizes are numbers too
        return zoo
    rows = zoo.splits["train"]
    kept = rows[: len(rows) * int(share) // 100]
    return dataclasses.replace(zoo, splits={**zoo.splits, "train": kept})


def invariance(trained: Trained, vectors: np.ndarray) -> dict[str, float]:
    """The change of a regressor's outputs under permutations of hidden neurons (appendix E.3).

    Args:
        trained: any regressor.
        vectors: [network, entry].

    Returns:
        "invariance": the logit invariance loss, of normalised predictions, over `HELD_OUT`
        permutations of each network. "code_error": the change of the embedding, relative to
        the spread of embeddings among the networks.
    """
    (spec,) = trained.specs
    before, embeddings = trained.outputs(vectors), trained.encode(vectors)
    losses, errors = [], []
    for i in range(HELD_OUT):
        element = permutations.sample(jax.random.key(1000 + i), spec)
        params = permutations.act(element, networks.unravel(vectors, spec), spec)
        moved = np.asarray(networks.ravel(params, spec))
        losses.append(0.5 * np.mean((trained.outputs(moved) - before) ** 2))
        errors.append(np.sqrt(np.mean((trained.encode(moved) - embeddings) ** 2)))
    size = np.sqrt(np.mean((embeddings - embeddings.mean(0)) ** 2))
    return {"invariance": float(np.mean(losses)), "code_error": float(np.mean(errors) / size)}


def before_and_after(trained: Trained, vectors: np.ndarray) -> dict[str, float]:
    """The `invariance` of a model, and of its module with fresh weights ("untrained_...")."""
    seed = jax.random.key(trained.config["seed"])
    view = trained.module.encoder.view(trained.specs[0])
    params = jax.jit(trained.module.init)(seed, vectors[:1], view)["params"]
    fresh = dataclasses.replace(trained, variables={**trained.variables, "params": params})
    start = {f"untrained_{k}": v for k, v in invariance(fresh, vectors).items()}
    return {**invariance(trained, vectors), **start}


def ablation(
    zoo: Zoo, method: Method, config: Mapping[str, Any], home: pathlib.Path
) -> list[runs.Facts]:
    """Work of `runs.Run`: a method on its share of the training networks."""
    part = reduced(zoo, config["row"])
    measure = lambda trained, vectors: before_and_after(trained, vectors[:MEASURED])
    return label_regression(part, LABEL, method, config, home, measure)


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    options = cli.prepare(cli.parser("inr_ablation", __doc__, PRESETS).parse_args(arguments))
    preset = PRESETS[options.preset]
    chosen = cli.choose(options, preset)
    zoo, _ = sine_zoo(preset, options)
    plan = runs.plan(
        options, preset, chosen, functools.partial(ablation, zoo), **sine_facts(preset)
    )
    table = functools.partial(runs.columns, named=COLUMNS)
    finished = runs.execute(plan, options, table)
    training_size(finished, cli.home(options) / "training_size.png")
    return finished


def training_size(finished: Sequence[Mapping], path: pathlib.Path) -> None:
    """Draws figure 3: test error against the share of training networks."""
    lines = {}
    for method in CURVES:
        names = {f"{method}_{share}": share for share in SHARES} | {method: 100}
        points = {}
        for r in finished:
            if r["row"] in names:
                points.setdefault(names[r["row"]], []).append(r["metrics"]["test_mse"])
        if len(points) > 1:
            shares = sorted(points)
            lines[method] = (shares, [float(np.mean(points[s])) for s in shares])
    if lines:
        x = "percentage of training networks"
        plots.curves(path, lines, x, "test MSE", "Error against training-set size", log=False)


if __name__ == "__main__":
    cli.run(main)

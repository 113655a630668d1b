"""Embeddings of accuracy predictors, and the data set that a network was trained on.

SNE, figure 2 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from zoos of
one small CNN (Unterthiner et al., 2020) trained on MNIST, Fashion-MNIST, CIFAR-10 and SVHN,
all together; t-SNE maps the embeddings of their networks to three dimensions, seen from three
sides. The paper, in words: NFN-NP and NFN-HNP have "very clear separation boundaries" between
zoos, MLP and StatNN "small continuous strings", and SNE embeds all networks "almost uniformly
close to each other".

    python -m experiments.embeddings                     five methods and a baseline, 2 CPU cores
    python -m experiments.embeddings --preset small      every method there is
    python -m experiments.embeddings --methods sne_small,nfn_hnp
    python -m experiments.embeddings --preset h100 --files FOLDER
    python -m experiments.embeddings --preset paper --files FOLDER

A picture is no evidence: whether t-SNE draws clusters depends on its settings. So each record
has figures of the embeddings themselves, of held-out test networks:

    knn_zoo_accuracy   share of networks whose 5 nearest others, by vote, give their zoo;
                       embeddings without information on zoos reach `chance`, the share of the
                       largest
    silhouette         1 if zoos are far apart and dense, 0 if they overlap (Rousseeuw, 1987)
    ..._standardised   both, with each number of the embeddings divided by its spread
    label_...          both, of the true test accuracy alone. Zoos differ in it, so that the
                       embeddings of a perfect predictor need not reach down to chance
    test_tau_ZOO       Kendall's tau of the predictions within a zoo

The paper holds if NFN's are near 1 and SNE's near those of the label. The method `statistics`
learns no embeddings: these are StatNN's seven numbers for each array, with boosted trees as the
predictor.

Pictures lie beside each run. Runs go on where they stopped, and methods that are finished are
not run again.

Protocol, where we differ or the paper is silent: the zoos are our own, smaller ones, as in
`experiments.cross_dataset`; embeddings are the inputs of the head; only networks of the test
splits are drawn; t-SNE is scikit-learn's, by its defaults apart from `TSNE`, and records hold its
settings. `laptop`, `small` and `h100` leave SVHN out.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import (
    accuracy_predictors,
    baselines,
    cli,
    plots,
    published_predictors,
    records,
    runs,
    zoo_loading,
)
from experiments.lib.accuracy_predictors import SELECT, shorter
from experiments.lib.label_regression import Prediction, predict
from experiments.lib.methods import Method, Preset
from experiments.lib.zoo_loading import LABEL, SIZES, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax import metrics
from wsjax.predictors.features import statistics
from wsjax.zoos import Zoo, join

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
FIGURE = ("mlp", "stat_nn", "nfn_np", "nfn_hnp", "sne_small")  # at CPU size
NEIGHBOURS = 5
MOST = 1000  # test networks of a zoo that are drawn and counted; tau is over all
TSNE = {"n_components": 3, "perplexity": 30.0, "init": "pca", "random_state": 0}


def separation(embeddings: np.ndarray, zoos: np.ndarray) -> dict[str, float]:
    """Measures of how far apart the embeddings of different zoos are.

    A vote goes to the zoo with most of the nearest neighbours; of zoos with equally many, to
    the one that has the nearest. No network votes for itself.

    Args:
        embeddings: [network, width].
        zoos: [network], the zoo of each.

    Returns:
        {"knn_zoo_accuracy", "silhouette"}, and both with "_standardised".

    Raises:
        ValueError: embeddings are not [network, width] or not finite, or there are networks of
            fewer than two zoos, or no more than neighbours that vote.
    """
    from sklearn.metrics import silhouette_score

    embeddings, zoos = np.asarray(embeddings, np.float64), np.asarray(zoos)
    if (
        embeddings.ndim != 2
        or zoos.shape != embeddings.shape[:1]
        or not np.isfinite(embeddings).all()
    ):
        raise ValueError(f"expected finite embeddings [{len(zoos)}, width], got {embeddings.shape}")
    names, which = np.unique(zoos, return_inverse=True)
    if len(names) < 2 or len(embeddings) <= NEIGHBOURS:
        raise ValueError(
            f"expected networks of two or more zoos, more than {NEIGHBOURS} in all, got "
            f"{len(embeddings)} of {[str(n) for n in names]}"
        )
    scores = {}
    for suffix, x in (("", embeddings), ("_standardised", _standardised(embeddings))):
        scores[f"knn_zoo_accuracy{suffix}"] = float(np.mean(_vote(x, which) == which))
        scores[f"silhouette{suffix}"] = float(silhouette_score(x, which))
    return scores


def _standardised(embeddings):
    """Each number divided by its spread; those that hardly vary are left out."""
    spread = embeddings.std(0)
    kept = spread > 1e-6 * spread.max()
    if not kept.any():
        return np.zeros((len(embeddings), 1))
    return (embeddings[:, kept] - embeddings[:, kept].mean(0)) / spread[kept]


def _vote(embeddings, which):
    """The zoo that the neighbours of each network vote for, [network]."""
    from scipy.spatial.distance import cdist

    # networks are sorted by zoo, which must not decide between equal distances
    order = np.random.default_rng(0).permutation(len(embeddings))
    x, shuffled = embeddings[order], which[order]
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    near = shuffled[np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]]
    weights = 1 + 0.1 * 0.5 ** np.arange(NEIGHBOURS)  # less than a vote: decides between equals
    votes = np.stack([(near == z) @ weights for z in range(which.max() + 1)], axis=1)
    winners = np.empty_like(which)
    winners[order] = votes.argmax(1)
    return winners


def embed(embeddings: np.ndarray) -> tuple[np.ndarray, dict]:
    """The t-SNE of embeddings [network, width], [network, 3]; and its settings and divergence.

    The perplexity is a third of the networks where there are too few for `TSNE`'s. Embeddings
    that are all alike are one point.
    """
    from sklearn import manifold

    perplexity = min(TSNE["perplexity"], (len(embeddings) - 1) / 3)
    tsne = manifold.TSNE(**TSNE | {"perplexity": perplexity})
    if np.ptp(embeddings, axis=0).max() == 0:
        return np.zeros((len(embeddings), 3), np.float32), tsne.get_params()
    points = tsne.fit_transform(np.asarray(embeddings, np.float32))
    outcome = {"kl_divergence": float(tsne.kl_divergence_), "iterations": int(tsne.n_iter_)}
    return points.astype(np.float32), {**tsne.get_params(), **outcome}


def subset(zoos: Mapping[str, Zoo]) -> tuple[Zoo, np.ndarray, np.ndarray]:
    """Test networks of all zoos, at most `MOST` of each; their zoos' names, and their label."""
    parts, rng = [], np.random.default_rng(0)
    for zoo in zoos.values():
        test, _ = zoo.part("test", LABEL)
        parts.append(test.select(np.sort(rng.permutation(len(test))[:MOST])))
    whole = join(parts)
    return whole, np.repeat(list(zoos), [len(p) for p in parts]), whole.labels[LABEL]


def embedding(
    train: Zoo, zoos: Mapping[str, Zoo],
    method: Method, config: Mapping[str, Any], home: pathlib.Path,
) -> list[runs.Facts]:  # fmt: skip
    """Work of `runs.Run`: predicts, embeds, measures the separation of zoos, draws.

    The run's folder holds `embedding.png`, and `embedding.npz`: codes (the embeddings), points,
    zoo and test_accuracy of each network.
    """
    result = predict(method, config, home, train, zoos, LABEL, measure=SELECT)
    if result.unsupported:
        reasons = "; ".join(dict.fromkeys(result.unsupported.values()))
        return [{**result.facts, "refused": reasons}]
    scores, tsne = _measure(result, zoos, config["row"], home)
    return [{**result.facts, "metrics": {**result.facts["metrics"], **scores}, "tsne": tsne}]


def _measure(result: Prediction, zoos, method, home):
    """Embeds and draws; gives figures, and the settings of t-SNE."""
    networks, names, accuracy = subset(zoos)
    trained = result.trained
    embeddings = trained.encode(networks) if trained else statistics(networks)
    _, counts = np.unique(names, return_counts=True)
    scores, label = separation(embeddings, names), separation(accuracy[:, None], names)
    scores |= {f"label_{k}": label[k] for k in ("knn_zoo_accuracy", "silhouette")}
    scores |= {"chance": float(counts.max() / counts.sum()), "code_width": embeddings.shape[1]}
    for name, zoo in zoos.items():
        test, truth = zoo.part("test", LABEL)
        predicted = result.predicted[name]
        scores[f"test_tau_{name}"] = metrics.kendall_tau(predicted, truth)
        span = metrics.bootstrap(predicted, truth, test.runs)["tau"]
        scores[f"test_tau_{name}_interval"] = list(span)
    scores["test_tau"] = float(np.mean([scores[f"test_tau_{k}"] for k in zoos]))
    points, tsne = embed(embeddings)
    home.mkdir(parents=True, exist_ok=True)
    saved = {"codes": embeddings.astype(np.float32), "points": points, "zoo": names}
    np.savez_compressed(home / "embedding.npz", **saved, test_accuracy=accuracy)
    colored = {"zoo": (points, names), "test accuracy": (points, accuracy)}
    plots.clouds(home / "embedding.png", colored, heading(method, scores))
    return scores, tsne


def heading(method: str, scores: Mapping[str, float]) -> str:
    """A method with its figures, in one line."""
    return (
        f"{method}: neighbours give the zoo of {scores['knn_zoo_accuracy']:.0%} (chance "
        f"{scores['chance']:.0%}), silhouette {scores['silhouette']:.2f}"
    )


def draw(options: argparse.Namespace, order: Sequence[str], zoos: Mapping[str, Any]) -> None:
    """Draws the methods on record side by side; publishes that and the pictures of runs.

    Args:
        options: the command line.
        order: of the methods.
        zoos: descriptions of the zoos; runs on others are left out.
    """
    preset, clouds = cli.preset_name(options), {}
    match = {"preset": preset, "seed": 0}
    pictures = {"overview": cli.home(options) / "overview.png"}
    runs_ = records.latest(records.read(options.experiment, options.results, **match))
    for r in sorted(runs_, key=lambda r: order.index(r["row"]) if r["row"] in order else -1):
        home = runs.place(options.folder, r["config"])
        same = r["config"]["zoos"] == json.loads(json.dumps(zoos))
        if same and (home / "embedding.npz").exists():
            pictures[r["row"]] = home / "embedding.png"
            with np.load(home / "embedding.npz") as saved:
                clouds[heading(r["row"], r["metrics"])] = saved["points"], saved["zoo"]
    if clouds:
        plots.clouds(pictures["overview"], clouds, "t-SNE of embeddings")
    records.publish_pictures(options.experiment, preset, pictures, options.results)


BASELINE = Method(
    compute=baselines.boosted_trees,
    words="StatNN's statistics as the embedding, boosted trees as the head",
)
METHODS = {
    "statistics": BASELINE,
    **{k: m for k, m in accuracy_predictors.METHODS.items() if m.encoder},
}


def smoke() -> Preset:
    """Two zoos of twenty networks."""
    digits = recipe("conv3-gap", "digits", "smoke")
    zoos = {name: tiny(digits, seed) for seed, name in enumerate(("digits", "other"))}
    few = {k: shorter(METHODS[k], 6) for k in ("stat_nn", "mlp")}
    return Preset({"statistics": BASELINE} | few, "a minute on 2 CPU cores", zoos, SIZES)


def small() -> Preset:
    """The zoos in the repository."""
    zoos = {name: recipe("conv3-gap", name, "small") for name in DATA if name != "svhn"}
    return Preset(METHODS, "an hour on 2 CPU cores, by estimate", zoos, SIZES)


def laptop() -> Preset:
    """The methods of the paper's figure."""
    figure = {k: METHODS[k] for k in ("statistics", *FIGURE)}
    cost = "a quarter of an hour on a CPU core"
    return dataclasses.replace(small(), methods=figure, cost=cost)


def h100() -> Preset:
    """Thousands of networks of each data set."""
    zoos = {name: recipe("conv3-gap", name, "h100") for name in DATA if name != "svhn"}
    return accuracy_predictors.h100(zoos, METHODS, default=("statistics", *FIGURE))


def paper() -> Preset:
    """The methods of the paper's figure, trained as there, on zoos of its sizes."""
    zoos = {name: recipe("conv3-gap", name, "paper") for name in DATA}
    methods = {"statistics": BASELINE} | published_predictors.FIGURE_2
    return dataclasses.replace(accuracy_predictors.paper(zoos, {}), methods=methods)


PRESETS = {f.__name__: f() for f in (smoke, laptop, small, h100, paper)}


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("embeddings", __doc__, PRESETS, own=True)
    zoo_loading.flags(parser)
    options = cli.prepare(parser.parse_args(arguments))
    preset = PRESETS[options.preset]
    methods = cli.choose(options, preset)
    zoos, described = zoo_loading.open_zoos(options, preset)
    train = join(list(zoos.values()))
    sizes = {"train": len(train.splits["train"])}
    measures = {"tsne": TSNE, "neighbours": NEIGHBOURS, "most": MOST, "label": LABEL}
    methods = accuracy_predictors.planned(options, preset, methods, "", sizes["train"])
    plan = runs.plan(
        options,
        preset,
        methods,
        functools.partial(embedding, train, zoos),
        zoos=described,
        sizes=sizes,
        select=SELECT,
        **measures,
    )
    named = {
        "5-NN": "knn_zoo_accuracy",
        "standardised": "knn_zoo_accuracy_standardised",
        "of label": "label_knn_zoo_accuracy",
        "chance": "chance",
        "silhouette": "silhouette",
        **{f"tau {name}": f"test_tau_{name}" for name in zoos},
    }
    title = "Which zoo a network is from, by its embedding"
    table = functools.partial(runs.columns, named=named, score="", title=title)
    finished = runs.execute(plan, options, table, "test_tau")
    draw(options, list(preset.methods), described)
    return finished


if __name__ == "__main__":
    cli.run(main)

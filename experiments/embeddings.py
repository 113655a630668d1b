"""Do the codes of judges of classifiers tell which data set a network was trained on?

SNE, figure 2 (Andreis et al., NeurIPS 2024): a predictor of test accuracy learns from zoos of
one small CNN (Unterthiner et al., 2020) trained on MNIST, Fashion-MNIST, CIFAR-10 and SVHN,
all together; t-SNE takes the codes of their networks to three dimensions, seen from three
sides. The paper, in words: NFN-NP and NFN-HNP have "very clear separation boundaries" between
zoos, MLP and StatNN "small continuous strings", and SNE embeds all networks "almost uniformly
close to each other".

    python -m experiments.embeddings                     five rows and a baseline, 2 CPU cores
    python -m experiments.embeddings --preset small      every row there is
    python -m experiments.embeddings --rows sne,nfn_hnp
    python -m experiments.embeddings --preset paper --images FOLDER

A picture is no evidence: t-SNE draws clusters or hides them as its settings please. So each
record has figures of the codes themselves, of test networks that no training saw:

    knn_zoo_accuracy   how often the 5 nearest other networks, by vote, name a network's zoo;
                       codes that know nothing of zoos reach `chance`, the largest zoo's share
    silhouette         1 if zoos are far apart and dense, 0 if they overlap (Rousseeuw, 1987)
    ..._standardised   both, with each number of the codes in units of its spread
    label_...          both, of the true test accuracy alone. Zoos differ in it, so that a
                       perfect judge's codes need not reach down to chance
    test_tau_ZOO       Kendall's tau of the predictions within a zoo

The paper holds if NFN's are near 1 and SNE's near those of the label. Row `statistics` learns
no codes: these are StatNN's seven numbers for each array, with boosted trees for a judge.

Pictures lie beside each run, and with `laptop` and `small` beside the records. Runs go on
where they stopped, and rows that are finished are not run again.

Protocol, where we differ or the paper is silent: the zoos are our own, smaller ones, as in
`experiments.cross_dataset`; codes are what the head reads; only networks of the test splits
are shown; t-SNE is scikit-learn's, by its defaults but for what `TSNE` says, and records hold
its settings. `laptop` and `small` leave SVHN out.
"""

import json
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.lib import accuracy_predictors, baselines, cli, plots, records, zoo_loading
from experiments.lib.cli import Row
from experiments.lib.zoo_loading import LABEL, SIZES, Preset, tiny
from experiments.lib.zoo_recipes import recipe
from wsjax import metrics
from wsjax.zoos import Zoo, join

DATA = ("mnist", "fashion_mnist", "cifar10", "svhn")
PAPER_ROWS = ("mlp", "stat_nn", "nfn_np", "nfn_hnp", "sne")
NEIGHBOURS = 5
MOST = 1000  # test networks of a zoo that are shown and counted; tau is over all
TSNE = {"n_components": 3, "perplexity": 30.0, "init": "pca", "random_state": 0}


def separation(codes: np.ndarray, zoos: np.ndarray) -> dict[str, float]:
    """How far codes tell zoos apart, in their own units and standardised.

    A vote goes to the zoo with most of the nearest neighbours; of zoos with equally many, to
    the one that has the nearest. No network votes for itself.

    Args:
        codes: [network, width].
        zoos: [network], where each comes from.

    Returns:
        {"knn_zoo_accuracy", "silhouette"}, and both with "_standardised".

    Raises:
        ValueError: codes are not [network, width] or not finite, or there are networks of
            fewer than two zoos, or no more than neighbours that vote.
    """
    from sklearn.metrics import silhouette_score

    codes, zoos = np.asarray(codes, np.float64), np.asarray(zoos)
    if codes.ndim != 2 or zoos.shape != codes.shape[:1] or not np.isfinite(codes).all():
        raise ValueError(f"expected finite codes [{len(zoos)}, width], got {codes.shape}")
    names, which = np.unique(zoos, return_inverse=True)
    if len(names) < 2 or len(codes) <= NEIGHBOURS:
        raise ValueError(
            f"expected networks of two or more zoos, more than {NEIGHBOURS} in all, got "
            f"{len(codes)} of {[str(n) for n in names]}"
        )
    found = {}
    for suffix, x in (("", codes), ("_standardised", _standardised(codes))):
        found[f"knn_zoo_accuracy{suffix}"] = float(np.mean(_vote(x, which) == which))
        found[f"silhouette{suffix}"] = float(silhouette_score(x, which))
    return found


def _standardised(codes):
    """Each number in units of its spread; those that hardly vary are left out."""
    spread = codes.std(0)
    kept = spread > 1e-6 * spread.max()
    if not kept.any():
        return np.zeros((len(codes), 1))
    return (codes[:, kept] - codes[:, kept].mean(0)) / spread[kept]


def _vote(codes, which):
    """What the neighbours of each network say it is, [network]."""
    from scipy.spatial.distance import cdist

    # networks stand in order of their zoos, which equal distances must not tell
    order = np.random.default_rng(0).permutation(len(codes))
    x, mine = codes[order], which[order]
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    near = mine[np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]]
    weights = 1 + 0.1 * 0.5 ** np.arange(NEIGHBOURS)  # less than a vote: decides between equals
    votes = np.stack([(near == z) @ weights for z in range(which.max() + 1)], axis=1)
    said = np.empty_like(which)
    said[order] = votes.argmax(1)
    return said


def embed(codes: np.ndarray) -> tuple[np.ndarray, dict]:
    """The t-SNE of codes [network, width], [network, 3]; and its settings, with what it left.

    The perplexity is a third of the networks where there are too few for `TSNE`'s. Codes that
    are all alike are one point.
    """
    from sklearn import manifold

    perplexity = min(TSNE["perplexity"], (len(codes) - 1) / 3)
    tsne = manifold.TSNE(**TSNE | {"perplexity": perplexity})
    if np.ptp(codes, axis=0).max() == 0:
        return np.zeros((len(codes), 3), np.float32), tsne.get_params()
    points = tsne.fit_transform(np.asarray(codes, np.float32))
    left = {"kl_divergence": float(tsne.kl_divergence_), "iterations": int(tsne.n_iter_)}
    return points.astype(np.float32), {**tsne.get_params(), **left}


def shown(zoos: Mapping[str, Zoo]) -> tuple[Zoo, np.ndarray, np.ndarray]:
    """Test networks of all zoos, at most `MOST` of each; their zoos' names, and their label."""
    parts, rng = [], np.random.default_rng(0)
    for zoo in zoos.values():
        held, _ = zoo.part("test", LABEL)
        parts.append(held.select(np.sort(rng.permutation(len(held))[:MOST])))
    whole = join(parts)
    return whole, np.repeat(list(zoos), [len(p) for p in parts]), whole.labels[LABEL]


def run(
    row: Row, about: Mapping, folder: pathlib.Path, train: Zoo, zoos: Mapping[str, Zoo]
) -> dict:
    """Runs one row with one seed, or finds it finished; returns its record.

    The run's folder holds `embedding.png`, and `embedding.npz`: codes, points, zoo and
    test_accuracy of each network.

    Args:
        row: what is run.
        about: what else determines the run: "experiment", "preset", "row", "seed", "zoos".
        folder: of all runs.
        train: the zoos as one.
        zoos: name -> zoo.
    """
    words = f"{about['row']}, seed {about['seed']}"
    row = row.seeded(about["seed"])
    measures = {"tsne": TSNE, "neighbours": NEIGHBOURS, "most": MOST}
    config = {**row.config(), **about, **measures, "label": LABEL}
    home = cli.place(folder, config)
    if record := cli.finished(home):
        print(f"{words}: finished before, in {home}")
        return record
    print(f"{words}: {home}", flush=True)
    found = accuracy_predictors.judge(row, config, train, zoos, LABEL, home)
    keys = ("experiment", "row", "preset", "seed")
    record = {"seconds": 0.0, "metrics": {}, **found.facts, **{k: about[k] for k in keys}}
    if found.refused:
        record["refused"] = "; ".join(dict.fromkeys(found.refused.values()))
        print(f"{words}: cannot read the zoos: {record['refused']}", flush=True)
    else:
        scores, record["tsne"] = _measure(found, config["row"], zoos, home)
        record["metrics"] = {**record["metrics"], **scores}
        print(heading(words, scores), flush=True)
    record = records.append({**record, "words": row.words, "config": config})
    cli.finish(home, record)
    return record


def _measure(found, row, zoos, home):
    """Encodes, embeds and draws; gives figures, and the settings of t-SNE."""
    networks, names, accuracy = shown(zoos)
    codes = found.model.encode(networks) if found.model else baselines.statistics(networks)
    _, counts = np.unique(names, return_counts=True)
    scores = separation(codes, names)
    label = separation(accuracy[:, None], names)
    scores |= {f"label_{k}": label[k] for k in ("knn_zoo_accuracy", "silhouette")}
    scores |= {"chance": float(counts.max() / counts.sum()), "code_width": codes.shape[1]}
    for name, zoo in zoos.items():
        held, truth = zoo.part("test", LABEL)
        predicted = found.predicted[name]
        scores[f"test_tau_{name}"] = metrics.kendall_tau(predicted, truth)
        span = metrics.bootstrap(predicted, truth, held.runs)["tau"]
        scores[f"test_tau_{name}_interval"] = list(span)
    scores["test_tau"] = float(np.mean([scores[f"test_tau_{k}"] for k in zoos]))
    points, tsne = embed(codes)
    home.mkdir(parents=True, exist_ok=True)
    saved = {"codes": codes.astype(np.float32), "points": points, "zoo": names}
    np.savez_compressed(home / "embedding.npz", **saved, test_accuracy=accuracy)
    colored = {"zoo": (points, names), "test accuracy": (points, accuracy)}
    plots.clouds(home / "embedding.png", colored, heading(row, scores))
    return scores, tsne


def heading(row: str, scores: Mapping[str, float]) -> str:
    """A row with its figures, in one line."""
    return (
        f"{row}: neighbours name the zoo of {scores['knn_zoo_accuracy']:.0%} (chance "
        f"{scores['chance']:.0%}), silhouette {scores['silhouette']:.2f}"
    )


def overview(about: Mapping, folder: pathlib.Path, order: Sequence[str]) -> dict:
    """Row -> points and zoos, of rows on record whose runs, on these very zoos, lie here."""
    same = json.loads(json.dumps(about["zoos"]))
    runs = records.latest(records.read(about["experiment"], preset=about["preset"], seed=0))
    found = {}
    for r in sorted(runs, key=lambda r: order.index(r["row"]) if r["row"] in order else -1):
        path = cli.place(folder, r["config"]) / "embedding.npz"
        if r["config"]["zoos"] == same and path.exists():
            with np.load(path) as saved:
                found[heading(r["row"], r["metrics"])] = saved["points"], saved["zoo"]
    return found


def draw(
    runs: Sequence[Mapping], about: Mapping, folder: pathlib.Path, order: Sequence[str]
) -> None:
    """Draws the overview; puts it and the pictures of runs beside the usual records."""
    whole = folder / about["experiment"] / about["preset"] / "overview.png"
    pictures = {"overview": whole}
    for r in runs:
        if r["seed"] == 0:
            pictures[r["row"]] = cli.place(folder, r["config"]) / "embedding.png"
    if clouds := overview(about, folder, order):
        plots.clouds(whole, clouds, "t-SNE of codes")
    records.show(about["experiment"], about["preset"], pictures)


def _presets() -> dict[str, Preset]:
    base = Row(
        None,
        method=baselines.boosted_trees,
        words="StatNN's statistics as codes, boosted trees on them as judge",
    )
    every = {"statistics": base} | {
        k: r for k, r in accuracy_predictors.rows().items() if r.encoder
    }
    few = {k: accuracy_predictors.shorter(every[k], 6) for k in ("stat_nn", "mlp")}
    digits = recipe("conv3-gap", "digits", "smoke")
    smoke = {name: tiny(digits, seed) for seed, name in enumerate(("digits", "other"))}
    small = {name: recipe("conv3-gap", name, "small") for name in DATA if name != "svhn"}
    figure = {k: every[k] for k in ("statistics", *PAPER_ROWS)}
    many = {k: accuracy_predictors.longer(r, 20000) if r.encoder else r for k, r in every.items()}
    return {
        "smoke": Preset(smoke, SIZES, 1, {"statistics": base} | few, "a minute on 2 CPU cores"),
        "laptop": Preset(small, SIZES, 1, figure, "a quarter of an hour on a CPU core"),
        "small": Preset(small, SIZES, 1, every, "an hour on 2 CPU cores, by estimate"),
        "paper": Preset(
            {name: recipe("conv3-gap", name, "paper") for name in DATA},
            {"train": 0.4, "validation": 0.1, "test": 0.5},
            3,
            many,
            "days, for a GPU; resumable row by row",
        ),
    }


PRESETS = _presets()


def report(runs: Sequence[Mapping], zoos: Sequence[str]) -> None:
    """Prints the figures, a line for each run."""
    from rich.console import Console
    from rich.table import Table

    columns = {
        "5-NN": "knn_zoo_accuracy",
        "standardised": "knn_zoo_accuracy_standardised",
        "of label": "label_knn_zoo_accuracy",
        "chance": "chance",
        "silhouette": "silhouette",
        **{f"tau {name}": f"test_tau_{name}" for name in zoos},
    }
    table = Table("row", "seed", *columns, title="Which zoo a network is from, told by its code")
    for r in runs:
        scores = [f"{r['metrics'][k]:.3f}" for k in columns.values() if k in r["metrics"]]
        table.add_row(r["row"], str(r["seed"]), *(scores or ["cannot read"]))
    Console(width=80 + 15 * len(zoos)).print(table)


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("embeddings", __doc__, PRESETS)
    zoo_loading.flags(parser)
    options = cli.prepare(parser.parse_args(arguments))
    preset, begin = PRESETS[options.preset], time.monotonic()
    chosen = cli.select(options.rows, preset.rows, preset.rows)
    rows = cli.apply({k: preset.rows[k] for k in chosen}, cli.changes(options))
    zoos, described = zoo_loading.open_zoos(options, preset)
    train = join(list(zoos.values()))
    about = {
        "experiment": "embeddings",
        "preset": cli.preset_name(options),
        "zoos": described,
        "sizes": {"train": len(train.splits["train"])},
    }
    runs = [
        run(row, {**about, "row": name, "seed": seed}, options.folder, train, zoos)
        for name, row in rows.items()
        for seed in range(max(options.seeds, 0) or preset.seeds)
    ]
    report(runs, list(zoos))
    draw(runs, about, options.folder, list(preset.rows))
    home = options.folder / "embeddings" / about["preset"]
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    return runs


if __name__ == "__main__":
    main()

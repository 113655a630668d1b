"""Can a network say what another one shows, from its weights alone?

ScaleGMN, table 1 (Kalogeropoulos et al., NeurIPS 2024), after Navon et al. (2023) and Zhou et
al. (2023): INRs 2-32-32-1 with sine activations, each fitted to one image; an encoder reads
the weights and names the class of the image. Accuracy on INRs of test images. The paper: MNIST
ScaleGMN 96.6, NG-GNN 91.4, DWS 85.7, NFN-HNP 79.1, NFN-NP 78.5; Fashion-MNIST 80.5, 68.0,
67.1, 68.9, 68.2; CIFAR-10 38.8 (ScaleGMN-B) at most.

    python -m experiments.inr_classification                       digits, on 2 CPU cores
    python -m experiments.inr_classification --preset small --data fashion_mnist --files FOLDER
    python -m experiments.inr_classification --rows scalegmn,probing --sizes 100,200,400
    python -m experiments.inr_classification --rows scalegmn_b --objective.phase 4
    python -m experiments.inr_classification --preset paper --data cifar10 --recipe nfn --views 21
    python -m experiments.inr_classification --images PICTURES     a folder of your own
    python -m experiments.inr_classification --evaluate runs/inr_classification/laptop/mlp-0-...

PICTURES holds PNG or JPEG files of one size, in a sub-folder for each class. One command
looks at all of them, fits a network to each, and trains every row that reads such networks.

Any run can be killed at any moment; the same command goes on where it stopped. Zoos are those
of `python -m experiments.make.inr_zoo`, which can make them in several processes. In the folder of
a run: `confusion.png`, `codes.png` (t-SNE of the codes of test networks) and `predictions.npz`;
beside the runs `curves.png` and, with `--sizes`, `training_size.png`.

Numbers of the paper with a * are quoted from memory, others as two independent tables have them;
deviations (±) are from memory throughout. Rows beside the published ones: `majority` says how
often each class is there; `boosted_trees`, on StatNN's statistics; `probing` runs the networks, a
ceiling; `mlp_aug`, on renumbered copies; `scalegmn_permutation`, ScaleGMN without signs;
`scalegmn_probes`, told what each neuron answers to 64 learned inputs, and so no pure reader of
weights either.

Protocol, where we differ: the zoos are our own; 15 % of the training images, at most 5 000,
are for validation. `paper` has ScaleGMN's, NFN's and DWSNet's published sizes, and ScaleGMN's
training, 200 epochs at batches of 128, for all rows. Other presets have smaller encoders of ours,
at equal batches, not at equal cost. In `--images` a quarter of the pictures of each class is
for the test.
"""

import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.lib import cli, inr_methods, inr_tasks, plots
from experiments.lib.cli import Row
from experiments.lib.inr_methods import Preset, timed
from experiments.lib.inr_tasks import Source
from wsjax import metrics
from wsjax.encoders import stat_nn
from wsjax.tasks import classification
from wsjax.tasks.classification import Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo

LABEL, SCORE = "class", "test_error"
RENUMBERED = {"mlp_aug", "sne"}  # rows that see the numbering, trained on renumbered copies
SHOWN = 1_000  # test networks in the picture of codes
DEFAULT = (
    *("majority", "boosted_trees", "stat_nn", "mlp", "mlp_aug", "nfn_hnp"),
    *("unf", "gmn", "scalegmn", "scalegmn_b", "scalegmn_probes", "probing"),
)
WORDS = {
    "majority": "the classes' shares",
    "boosted_trees": "on StatNN's statistics",
    "probing": "runs the network",
    "mlp_aug": "renumbered copies",
    "scalegmn_probes": "told what neurons answer",
    "scalegmn_permutation": "knows of no signs",
}
PAPER = {  # ScaleGMN, table 1, in per cent; * from memory, as are all deviations
    "mnist": {
        **{"mlp": "17.55 ± .01*", "inr2vec": "23.69 ± .10*", "dwsnet": "85.71 ± .57"},
        **{"nfn_np": "78.50 ± .23", "nfn_hnp": "79.11 ± .84", "neural_graph_pna": "91.40 ± .60"},
        **{"scalegmn": "96.57 ± .10", "scalegmn_b": "96.59 ± .24"},
    },
    "fashion_mnist": {
        **{"mlp": "19.91 ± .47*", "inr2vec": "22.33 ± .41*", "dwsnet": "67.06 ± .29"},
        **{"nfn_np": "68.19 ± .28", "nfn_hnp": "68.94 ± .64", "neural_graph_pna": "68.00 ± .20"},
        **{"scalegmn": "80.46 ± .32", "scalegmn_b": "80.78 ± .16"},
    },
    "cifar10": {
        **{"mlp": "11.38 ± .34*", "dwsnet": "34.45 ± .42", "nfn_np": "33.41 ± .01"},
        **{"nfn_hnp": "28.64 ± .07", "neural_graph_pna": "36.04 ± .44"},
        **{"scalegmn": "36.43 ± .41", "scalegmn_b": "38.82 ± .10"},
    },
    "cifar10, augmented": {
        **{"mlp": "16.90 ± .25*", "dwsnet": "41.27 ± .03*", "nfn_np": "46.60 ± .07*"},
        **{"nfn_hnp": "44.10 ± .47*", "neural_graph_pna": "45.70 ± .20*"},
        **{"scalegmn": "56.62 ± .24*", "scalegmn_b": "56.95 ± .57*"},
    },
}
QUICK = {  # steps of the laptop: one to two minutes a row on 2 CPU cores
    **{"mlp": 3000, "mlp_aug": 3000, "stat_nn": 3000, "probing": 3000},
    **{"inr2vec": 800, "nfn_np": 600, "nfn_hnp": 600, "unf": 1500},
    **{"nft": 300, "dwsnet": 500, "neural_graph": 100, "neural_graph_pna": 150},
    **{"gmn": 500, "sne": 300, "scalegmn": 400, "scalegmn_b": 300, "scalegmn_permutation": 400},
    "scalegmn_probes": 400,
}


def majority(source: Source, seed: int) -> np.ndarray:
    """The shares of the classes among training networks, for everyone."""
    train, test, _ = _labels(source)
    shares = np.bincount(train, minlength=len(source.classes)) / len(train)
    return np.tile(shares, (len(test), 1))


def boosted_trees(source: Source, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    train, test, held = _labels(source)
    zoo, where = source.zoo, stat_nn.bounds(source.zoo.specs[0])
    x, asked, checked = (
        np.asarray(stat_nn.statistics(zoo.vectors[zoo.splits[k]], where))
        for k in ("train", "test", "validation")
    )
    trees = HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.1, early_stopping=True, random_state=seed
    )
    known = np.isin(held, train)  # validation may have a class that small training parts lack
    trees.fit(x, train, X_val=checked[known], y_val=held[known])
    found = np.zeros((len(test), len(source.classes)))
    found[:, trees.classes_] = trees.predict_proba(asked)
    return found


def _labels(source):
    """Of training, test and validation networks."""
    parts = (source.zoo.part(k, LABEL)[1] for k in ("train", "test", "validation"))
    return [classification.numbers(labels, source.classes) for labels in parts]


def _rows(size: str, data: str, classes: int, training: Settings, head: tuple) -> dict[str, Row]:
    """Every row, at a size of `inr_methods.settings`."""
    images = data.split(".")[0]
    paper = PAPER.get(f"{images}, augmented" if inr_methods.augmented(data) else images, {})
    known = inr_methods.settings(size, data)
    known["mlp_aug"] = known["mlp"]
    rows = {
        "majority": Row(None, method=majority, words=WORDS["majority"]),
        "boosted_trees": Row(None, method=boosted_trees, words=WORDS["boosted_trees"]),
    }
    for name, (encoder, settings) in known.items():
        if name == "nfn_pt":
            continue
        # of published classifiers the code is the logits
        own = () if "code" in settings and name != "stat_nn" else head
        rows[name] = Row(
            encoder,
            settings if own else {**settings, "code": classes},
            own,
            Objective(permute=name in RENUMBERED),
            training,
            WORDS.get(name, ""),
            paper.get(name, "–"),
        )
    return rows


def presets(data: str = "mnist", classes: int = 10) -> dict[str, Preset]:
    """The presets for a data set of so many classes."""
    quick = Settings(batch=32, learning_rate=2e-3, warmup=20, weight_decay=0.01)
    published = Settings(
        **{"batch": 128, "learning_rate": 1e-3, "schedule": "constant"},
        **{"weight_decay": 0.01, "clip": 10.0},
    )
    costs = {
        "smoke": "40 digits; a minute on 2 CPU cores, most of it compilation",
        "laptop": "1,400 digits; about a quarter of an hour on 2 CPU cores",
        "small": "12,000 INRs of MNIST or 6,000 of others; some minutes a row on a CPU core",
        "paper": "all images; half an hour to hours a row on a GPU",
    }
    return inr_methods.presets(
        lambda size, training: _rows(size, data, classes, training, (64,)),
        quick, published, QUICK, 2, lambda k, row: timed(row, 86_000, 100, warmup=1000), costs,
    )  # fmt: skip


PRESETS = presets()


def working(source: Source) -> cli.Work:
    """Work for `cli.run`: train, or take the row's method; test; draw."""

    def work(row, config, home):
        test, labels = source.zoo.part("test", LABEL)
        true = classification.numbers(labels, source.classes)
        start, parameters, steps, more = time.monotonic(), 0, 0, {}
        if row.method:
            said = row.method(source, config["seed"])
            seconds = time.monotonic() - start
        else:
            model, result = classification.train(
                source.zoo, LABEL, source.classes, config, row.objective, row.training, home
            )
            said = model.predict(test)
            encoder, parameters = cli.size(model)
            seconds, steps = result.seconds, result.steps
            more = {"val_error": result.best_value, "encoder_parameters": encoder}
            _draw_codes(home / "codes.png", model, test, true, config["row"])
        scores = {f"test_{k}": v for k, v in metrics.classification(said, true).items()}
        title = f"{config['row']}, {source.name}: accuracy {scores['test_accuracy']:.3f}"
        counts = metrics.confusion(said, true)
        plots.confusion(home / "confusion.png", counts, source.classes, title)
        np.savez_compressed(home / "predictions.npz", said=said.astype(np.float32), true=true)
        found = {"metrics": {**scores, **more}, "parameters": parameters}
        return {**found, "seconds": seconds, "steps": steps, "train_zoo": source.name}

    return work


def _draw_codes(path, model: classification.Model, test: Zoo, true: np.ndarray, row: str):
    """The t-SNE of codes of test networks, scikit-learn's by its defaults."""
    from sklearn import manifold

    some = np.sort(np.random.default_rng(0).permutation(len(test))[:SHOWN])
    codes = model.encode(test.select(some)).astype(np.float32)
    where = np.zeros((len(codes), 2))
    if len(codes) > 3 and np.ptp(codes, axis=0).max() > 0:
        perplexity = min(30.0, (len(codes) - 1) / 3)
        where = manifold.TSNE(perplexity=perplexity, random_state=0).fit_transform(codes)
    plots.points(path, where, np.array(model.classes)[true[some]], f"Codes of {row}, t-SNE")


def evaluate(path: pathlib.Path, source: Source) -> float:
    """The accuracy of a run's model, which comes from its path alone, on any source's test.

    Raises:
        ValueError: the model names other classes, or cannot read the networks.
    """
    model = classification.restore(path)
    if model.classes != source.classes:
        raise ValueError(f"expected classes {model.classes}, got {source.classes}")
    test, labels = source.zoo.part("test", LABEL)
    true = classification.numbers(labels, source.classes)
    scores = metrics.classification(model.predict(test), true)
    print(f"accuracy {scores['accuracy']:.6f} on {len(true)} networks of {source.name}")
    return scores["accuracy"]


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_classification", __doc__, PRESETS, Objective)
    inr_tasks.flags(parser)
    parser.add_argument("--sizes", default="", help="numbers of training networks, 100,200,...")
    parser.add_argument("--evaluate", type=pathlib.Path, help="a run to measure on this zoo")
    options = cli.prepare(parser.parse_args(arguments))
    try:
        sizes = [int(x) for x in options.sizes.split(",") if x]
    except ValueError:
        parser.error(f"expected --sizes as numbers, 100,200, got {options.sizes!r}")
    found = inr_tasks.subject(options)
    inr_tasks.expect_classes(found)
    if options.evaluate:
        evaluate(options.evaluate, inr_tasks.make(found, options.folder))
        return []
    rows = inr_tasks.choose(options, presets(found.name, len(found.classes)), DEFAULT)
    classes = {"classes": found.classes}
    rows = inr_tasks.readable(rows, found, classification.build, classes, sizes)
    begin = time.monotonic()
    source = inr_tasks.make(found, options.folder)
    sources = {"": source} | {f"_{n}": inr_tasks.shorter(source, n) for n in sizes}
    runs = []
    for suffix, part in sources.items():
        about = inr_tasks.about("inr_classification", options, part)
        for name, row in rows.items():
            for seed in range(max(options.seeds, 0) or PRESETS[options.preset].seeds):
                mine = {**about, "row": name + suffix, "seed": seed}
                runs.append(cli.run(row, mine, options.folder, working(part), SCORE))
    columns = {"accuracy": "test_accuracy", "cross-entropy": "test_loss"}
    cli.report(runs, columns, SCORE)
    home = options.folder / "inr_classification" / cli.preset_name(options)
    about = inr_tasks.about("inr_classification", options, source)
    cli.curves(about, home / f"curves.{source.name}.png", "share that is wrong", SCORE)
    more = {"curves": home / f"curves.{source.name}.png"}
    if sizes:
        more["training_size"] = home / f"training_size.{source.name}.png"
        _draw_sizes(more["training_size"], runs, rows)
    inr_tasks.show(about, SCORE, options.folder, ("codes", "confusion"), more)
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; runs and plots are in {home}")
    return runs


def _draw_sizes(path: pathlib.Path, runs: Sequence[Mapping], rows: Mapping[str, Row]) -> None:
    """Accuracy against the number of training networks, a line for each row."""
    lines = {}
    for name in rows:
        group = {}
        for r in runs:
            count = r["config"]["sizes"]["train"]
            if r["row"] in (name, f"{name}_{count}"):
                group.setdefault(count, []).append(r["metrics"]["test_accuracy"])
        lines[name] = (sorted(group), [float(np.mean(group[n])) for n in sorted(group)])
    title = "Accuracy against training networks"
    plots.curves(path, lines, "training INRs", "test accuracy", title, log=False)


if __name__ == "__main__":
    main()

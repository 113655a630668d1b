"""Classes of images, from the weights of their INRs alone.

ScaleGMN, table 1 (Kalogeropoulos et al., NeurIPS 2024), after Navon et al. (2023) and Zhou et
al. (2023): INRs 2-32-32-1 with sine activations, each fitted to one image; an encoder reads
the weights and predicts the class of the image. Accuracy on INRs of test images. The paper: MNIST
ScaleGMN 96.6, NG-GNN 91.4, DWS 85.7, NFN-HNP 79.1, NFN-NP 78.5; Fashion-MNIST 80.5, 68.0,
67.1, 68.9, 68.2; CIFAR-10 38.8 (ScaleGMN-B) at most.

    python -m experiments.inr_classification                       digits, on 2 CPU cores
    python -m experiments.inr_classification --preset small --data fashion_mnist --files FOLDER
    python -m experiments.inr_classification --methods scalegmn,probing --sizes 100,200,400
    python -m experiments.inr_classification --methods scalegmn_b --set objective.phase=4
    python -m experiments.inr_classification --preset h100 --methods scalegmn
    python -m experiments.inr_classification --preset paper --data cifar10 --recipe nfn --views 21
    python -m experiments.inr_classification --images FOLDER       a folder of your own
    python -m experiments.inr_classification --evaluate runs/inr_classification/laptop/mlp-0-...

FOLDER holds PNG or JPEG files of one size, in a sub-folder for each class. One command checks
all of them, fits a network to each, and trains every method that supports such networks.

Any run can be killed at any moment; the same command goes on where it stopped. Zoos are those
of `python -m experiments.make.inr_zoo`, which can make them in several processes. In the folder
of a run: `confusion.png`, `codes.png` (t-SNE of the embeddings of test networks) and
`predictions.npz`; beside the runs `curves.png` and, with `--sizes`, `training_size.png`.

Numbers of the paper with a * are quoted from memory, others as two independent tables have them;
deviations (±) are from memory throughout. They are of DWSNets' networks of the MNISTs and NFN's of
CIFAR-10, and stand beside such recipes alone. Methods beside the published ones: `majority`, the
frequency of each class; `boosted_trees`, on StatNN's statistics; `probing` runs the networks, a
ceiling; `mlp_aug` and `sne_augmented`, on permuted copies; `gmn_product`, whose messages hold
products; `scalegmn_permutation`, ScaleGMN without signs; `scalegmn_probes`, which receives the
activations of each neuron for 64 learned inputs, and so does not read weights alone either.

`paper` has each method's published encoder and training for the data set, `inr_published`:
ScaleGMN's 200 epochs of 128 (64 on CIFAR-10; 200,000 or 300,000 steps of 256 with `--views 21`),
NFN's 200,000 steps of 32 at 1e-4 without clipping, NG-GNN's 200 epochs of 128, DWSNets' 100 of
512. `own` has the same encoders, batches and steps, a cosine down to 0 and an average of the
variables over a twentieth of the run; `h100` too, in fewer steps. The best validation accuracy
selects the checkpoint, as in the papers. Other presets have smaller encoders of ours, at equal
batches, not at equal cost.

Protocol, where we differ: the zoos are our own; 15 % of the training images, at most 5,000,
are for validation; DWSNets' and Neural Graphs' augmentations are missing. In `--images` a quarter
of the images of each class is for the test.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import (
    cli,
    inr_methods,
    inr_published,
    inr_tasks,
    plots,
    runs,
)
from experiments.lib.inr_tasks import Source
from experiments.lib.methods import Method, Preset
from wsjax import metrics
from wsjax.predictors.features import statistics
from wsjax.predictors.trees import grow
from wsjax.tasks import Trained, classification, restore
from wsjax.tasks.classification import Classification, Objective
from wsjax.training import Settings
from wsjax.zoos import Zoo

LABEL, SCORE = "class", "test_error"
COLUMNS = {"accuracy": "test_accuracy", "cross-entropy": "test_loss"}
PERMUTED = {
    "mlp_aug",
    "sne_augmented",
}  # not invariant, trained on permuted copies
EMBEDDED = 1_000  # test networks in the picture of embeddings
DEFAULT = (
    *("majority", "boosted_trees", "stat_nn", "mlp", "mlp_aug", "nfn_hnp"),
    *("unf", "gmn", "gmn_product", "scalegmn", "scalegmn_b", "scalegmn_probes", "probing"),
)
WORDS = {
    "majority": "the classes' shares",
    "boosted_trees": "on StatNN's statistics",
    "probing": "runs the network",
    **dict.fromkeys(("mlp_aug", "sne_augmented"), "permuted copies"),
    "gmn_product": "products",
    "scalegmn_probes": "receives activations at 64 probes",
    "scalegmn_permutation": "without sign symmetry",
}
STEPS = {  # one to two minutes a method on 2 CPU cores, up to eight on an H100
    **dict.fromkeys(("mlp", "mlp_aug", "stat_nn", "probing"), (3000, 40_000)),
    **{"inr2vec": (800, 10_000), "nfn_np": (600, 20_000), "nfn_hnp": (600, 20_000)},
    **{"unf": (1500, 20_000), "nft": (300, 6_000), "dwsnet": (500, 10_000)},
    **{"neural_graph": (100, 10_000), "neural_graph_pna": (150, 15_000)},
    **{"gmn": (500, 15_000), "gmn_product": (500, 15_000), "sne_augmented": (300, 10_000)},
    **dict.fromkeys(("scalegmn", "scalegmn_permutation", "scalegmn_probes"), (400, 15_000)),
    "scalegmn_b": (300, 10_000),
}


def majority(source: Source, seed: int) -> np.ndarray:
    """The shares of the classes among training networks, for all."""
    train, test, _ = _labels(source)
    shares = np.bincount(train, minlength=len(source.classes)) / len(train)
    return np.tile(shares, (len(test), 1))


def boosted_trees(source: Source, seed: int) -> np.ndarray:
    """Boosted trees on StatNN's statistics."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    zoo, (train, test, validation) = source.zoo, _labels(source)
    x, test_x, validation_x = (
        statistics(zoo.select(zoo.splits[k])) for k in ("train", "test", "validation")
    )
    known = np.isin(validation, train)  # validation may have a class that small training parts lack
    settings = {"max_iter": 300, "learning_rate": 0.1, "random_state": seed}
    held_out = (validation_x[known], validation[known])
    trees = grow(HistGradientBoostingClassifier, x, train, held_out, **settings)
    shares = np.zeros((len(test), len(source.classes)))
    shares[:, trees.classes_] = trees.predict_proba(test_x)
    return shares


def _labels(source):
    """Of training, test and validation networks."""
    parts = (source.zoo.part(k, LABEL)[1] for k in ("train", "test", "validation"))
    return [classification.class_numbers(labels, source.classes) for labels in parts]


def _methods(size: str, zoo: str, classes: int, training: Settings) -> dict[str, Method]:
    """Every method, at a size of `inr_methods.settings`."""
    encoders = inr_methods.settings(size, zoo)
    encoders["mlp_aug"] = encoders["mlp"]
    encoders.pop("nfn_pt")
    methods = {
        "majority": Method(compute=majority, words=WORDS["majority"]),
        "boosted_trees": Method(compute=boosted_trees, words=WORDS["boosted_trees"]),
    }
    for name, (encoder, settings) in encoders.items():
        # of published classifiers the embedding is the logits
        logits = "code" in settings and name != "stat_nn"
        note = inr_published.NOTES.get(name, "") if size == "paper" else ""
        methods[name] = Method(
            encoder,
            {**settings, "code": classes} if logits else settings,
            () if logits else (64,),
            Objective(permute=name in PERMUTED),
            training,
            "; ".join(filter(None, (WORDS.get(name), note))),
            inr_published.accuracy(zoo, name),
        )
    return methods


def presets(zoo: str = "mnist.dws", classes: int = 10) -> dict[str, Preset]:
    """The presets for a zoo, by its name, of so many classes."""
    quick = Settings(batch=32, learning_rate=2e-3, warmup=20, weight_decay=0.01)
    costs = {
        "smoke": "40 digits; a minute on 2 CPU cores, most of it compilation",
        "laptop": "1,400 digits; about a quarter of an hour on 2 CPU cores",
        "small": "12,000 INRs of MNIST or 6,000 of others; some minutes a method on a CPU core",
        "h100": "all images; at most eight minutes a method on an H100, by estimate",
        "own": "all images; half an hour to hours a method on a GPU",
        "paper": "all images; half an hour to hours a method on a GPU",
    }
    methods = lambda size, training: _methods(size, zoo, classes, training)
    published = lambda name: inr_published.training(name, zoo)
    return inr_methods.presets(methods, quick, published, STEPS, 2, costs, DEFAULT)


PRESETS = presets()


def classify(
    source: Source, method: Method, config: Mapping[str, Any], home: pathlib.Path
) -> list[runs.Facts]:
    """Work of `runs.Run`: trains or computes; tests; draws."""
    test, labels = source.zoo.part("test", LABEL)
    true = classification.class_numbers(labels, source.classes)
    if method.compute:
        predicted, facts = runs.compute(method, source, config["seed"])
    else:
        task = Classification(LABEL, source.classes, method.objective)
        trained, facts = runs.learn(method, config, home, source.zoo, task, "val_error")
        predicted = trained.predict(test)
        _draw_embeddings(home / "codes.png", trained, test, true, config["row"])
    scores = {f"test_{k}": v for k, v in metrics.classification(predicted, true).items()}
    title = f"{config['row']}, {source.name}: accuracy {scores['test_accuracy']:.3f}"
    counts = metrics.confusion(predicted, true)
    plots.confusion(home / "confusion.png", counts, source.classes, title)
    saved = {"predicted": predicted.astype(np.float32), "true": true}
    np.savez_compressed(home / "predictions.npz", **saved)
    return [{**facts, "metrics": {**scores, **facts["metrics"]}}]


def _draw_embeddings(path, trained: Trained, test: Zoo, true: np.ndarray, method: str):
    """The t-SNE of embeddings of test networks, scikit-learn's by its defaults."""
    from sklearn.manifold import TSNE

    some = np.sort(np.random.default_rng(0).permutation(len(test))[:EMBEDDED])
    embeddings = trained.encode(test.select(some)).astype(np.float32)
    points = np.zeros((len(embeddings), 2))
    if len(embeddings) > 3 and np.ptp(embeddings, axis=0).max() > 0:
        perplexity = min(30.0, (len(embeddings) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, random_state=0)
        points = tsne.fit_transform(embeddings)
    names = np.array(trained.task.classes)[true[some]]
    plots.points(path, points, names, f"Embeddings of {method}, t-SNE")


def evaluate(path: pathlib.Path, source: Source) -> float:
    """The accuracy of a run's model, which comes from its path alone, on any source's test.

    Raises:
        ValueError: the model has other classes, or does not support the networks.
    """
    trained = restore(path, Classification)
    if tuple(trained.task.classes) != source.classes:
        raise ValueError(f"expected classes {tuple(trained.task.classes)}, got {source.classes}")
    test, labels = source.zoo.part("test", LABEL)
    true = classification.class_numbers(labels, source.classes)
    scores = metrics.classification(trained.predict(test), true)
    print(f"accuracy {scores['accuracy']:.6f} on {len(true)} networks of {source.name}")
    return scores["accuracy"]


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_classification", __doc__, PRESETS)
    inr_tasks.flags(parser)
    parser.add_argument("--sizes", default="", help="numbers of training networks, 100,200,...")
    parser.add_argument("--evaluate", type=pathlib.Path, help="a run to measure on this zoo")
    options = cli.prepare(parser.parse_args(arguments))
    try:
        sizes = [int(x) for x in options.sizes.split(",") if x]
    except ValueError:
        parser.error(f"expected --sizes as numbers, 100,200, got {options.sizes!r}")
    subject = inr_tasks.subject(options)
    inr_tasks.expect_classes(subject)
    if options.evaluate:
        source = inr_tasks.make(subject, options.folder)
        with cli.reading(f"--evaluate {options.evaluate}"):
            evaluate(options.evaluate, source)
        return []
    preset = presets(subject.name, len(subject.classes))[options.preset]
    task = lambda method: Classification(LABEL, subject.classes, method.objective)
    methods = inr_tasks.supported(cli.choose(options, preset), subject, task, sizes)
    source = inr_tasks.make(subject, options.folder)
    sources = {"": source} | {f"_{n}": inr_tasks.shorter(source, n) for n in sizes}
    plan = []
    for suffix, part in sources.items():
        named = {name + suffix: method for name, method in methods.items()}
        plan += runs.plan(
            options, preset, named, functools.partial(classify, part), **inr_tasks.facts(part)
        )
    table = functools.partial(runs.columns, named=COLUMNS, score=SCORE)
    finished = runs.execute(plan, options, table, SCORE, "share that is wrong")
    pictures = {"curves": cli.home(options) / f"curves.{source.name}.png"}
    if sizes:
        pictures["training_size"] = cli.home(options) / f"training_size.{source.name}.png"
        _draw_sizes(pictures["training_size"], finished, methods)
    inr_tasks.publish(options, source.name, SCORE, ("codes", "confusion"), pictures)
    return finished


def _draw_sizes(path: pathlib.Path, finished: Sequence[Mapping], names: Sequence[str]) -> None:
    """Accuracy against the number of training networks, a line for each method."""
    lines = {}
    for name in names:
        accuracies: dict[int, list[float]] = {}
        for r in finished:
            count = r["config"]["sizes"]["train"]
            if r["row"] in (name, f"{name}_{count}"):
                accuracies.setdefault(count, []).append(r["metrics"]["test_accuracy"])
        counts = sorted(accuracies)
        lines[name] = (counts, [float(np.mean(accuracies[n])) for n in counts])
    title = "Accuracy against training networks"
    plots.curves(path, lines, "training INRs", "test accuracy", title, log=False)


if __name__ == "__main__":
    cli.run(main)

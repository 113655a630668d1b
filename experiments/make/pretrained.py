"""The pretrained models of `wsjax.restore`, made again from their zoos.

    python -m experiments.make.pretrained                       all; half an hour of one core
    python -m experiments.make.pretrained --models sine-frequency,mnist-inr-classes
    python -m experiments.make.pretrained --files FOLDER        original files of the images
    python -m experiments.make.pretrained --publish             records into experiments/results

Each becomes `experiments/pretrained/NAME/`: `config.json`, `model.safetensors` and a model card,
see `wsjax.tasks.exports`; accuracy predictors are folders of `wsjax.predictors`. Of the methods of
a model the one with the best validation measure is taken; the test split is measured once, for
the card. Zoos and checkpoints lie below `--folder`, a run that was stopped goes on, and a model
whose record is there is exported from it again.

Zoos of INRs are those of

    python -m experiments.make.inr_zoo --data mnist --preset small --train-images 5000 \
        --test-images 600
    python -m experiments.make.inr_zoo --data fashion_mnist --preset small --train-images 4000 \
        --test-images 600 --steps 2000

zoos of classifiers those in `experiments/zoos`.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lib import (
    accuracy_predictors,
    baselines,
    cli,
    inr_methods,
    inr_recipes,
    inr_tasks,
    intervals,
    model_cards,
    records,
    runs,
    zoo_loading,
)
from experiments.lib.inr_tasks import Source, Subject
from experiments.lib.methods import Method, Preset
from experiments.lib.model_cards import Scores
from experiments.lib.zoo_loading import LABEL, SIZES
from experiments.lib.zoo_recipes import recipe
from wsjax import predictors, storage
from wsjax.datasets import images
from wsjax.tasks import Task, Trained, export, fit, restore
from wsjax.tasks.classification import Classification, TrainedClassifier
from wsjax.tasks.classification import Objective as Classifying
from wsjax.tasks.editing import Canvas, Editing
from wsjax.tasks.editing import Objective as Dilating
from wsjax.tasks.regression import Objective as Predicting
from wsjax.tasks.regression import Regression
from wsjax.training import Settings
from wsjax.zoos import Zoo, join
from wsjax.zoos.inrs import inr_factory
from wsjax.zoos.sines import sine

FOLDER = records.ROOT / "experiments" / "pretrained"
LICENCES = {
    "mnist": "MNIST: CC BY-SA 3.0, as commonly stated",
    "fashion_mnist": "Fashion-MNIST: MIT",
    "cifar10": "CIFAR-10: none stated by its authors",
}
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
RUNS_NETWORKS = "runs the network on inputs that it has learned"
WEIGHTS_ALONE = "weights alone, never running the network"


class Work(NamedTuple):
    """A zoo and what is to be learned from it.

    Attributes:
        zoo: with the splits "train", "validation" and "test".
        task: of a method.
        measure: on the test split.
        calibrate: the trained result on its validation networks; None leaves it as it is.
    """

    zoo: Zoo
    task: Callable[[Method], Task]
    measure: Callable[[Trained, Zoo], Scores]
    calibrate: Callable[[Trained, Zoo], Trained] | None = None

    def calibrated(self, trained: Trained) -> Trained:
        """The trained result, calibrated if it is to be."""
        if self.calibrate is None:
            return trained
        return self.calibrate(trained, self.zoo.select(self.zoo.members("validation")))


@dataclasses.dataclass(frozen=True)
class Entry:
    """A pretrained model.

    Attributes:
        methods: candidates; the validation split chooses.
        work: the command line -> what is learned.
        words: for the card: "title", "use", "reads", "trained_on", "licence", "limits" and
            "calibration".
    """

    methods: Mapping[str, Method]
    work: Callable[[argparse.Namespace], Work]
    words: Mapping[str, str]


def sines(options: argparse.Namespace) -> Work:
    """Frequencies of sine INRs."""
    sizes = {"train": 4000, "validation": 500, "test": 1000}
    preset = Preset({}, "", {"sines": sine.Recipe(networks=5600)}, sizes)
    zoo, _ = zoo_loading.sine_zoo(preset, options)
    task = lambda method: Regression("frequency", method.objective)
    return Work(zoo, task, model_cards.regression)


def inrs(data: str, options: argparse.Namespace) -> Source:
    """INRs of images, one of each."""
    changes: dict[str, Any] = dict(INRS[data])
    counts = {k: changes.pop(k) for k in ("train_images", "test_images")}
    plan = dataclasses.replace(inr_recipes.recipe("dws", data, "small"), **counts, **changes)
    files = options.files / data if options.files and (options.files / data).is_dir() else None
    with cli.reading(f"images of {data}"):
        loaded = images.load(data, files or options.files, options.folder / "cache" / "images")
    name = inr_recipes.title(data, "dws", changes)
    subject = Subject(name, inr_factory.image_set(loaded), images.CLASSES[data], plan)
    return inr_tasks.make(subject, options.folder)


def classes(data: str, options: argparse.Namespace) -> Work:
    """Classes of the images that INRs represent."""
    source = inrs(data, options)
    task = lambda method: Classification("class", source.classes, method.objective)
    calibrate: Any = TrainedClassifier.calibrated
    return Work(source.zoo, task, model_cards.classes, calibrate)


def dilation(options: argparse.Namespace) -> Work:
    """Edits of INRs so that strokes are wider."""
    source = inrs("mnist", options)
    preparation = images.Preparation(low=source.plan.low)
    target = images.prepare(inr_tasks.dilation(source.originals), preparation)
    canvas = Canvas.of(source.plan, *source.originals.shape[1:3])
    task = lambda method: Editing(target, canvas, method.objective)
    measure = lambda trained, zoo: model_cards.edits(trained, zoo, target)
    return Work(source.zoo, task, measure)


def classifiers(names: Sequence[str], options: argparse.Namespace) -> Zoo:
    """Zoos of `conv3-gap` by their data, as one with splits of each."""
    plans = {k: recipe("conv3-gap", k, "small") for k in names}
    preset = Preset({}, "", plans, SIZES)
    return join([zoo_loading.load(k, preset, options.folder, options.files) for k in names])


def embedding(options: argparse.Namespace) -> Work:
    """Embeddings of classifiers, by predicting their accuracy."""
    task = lambda method: Regression(LABEL, method.objective, accuracy_predictors.SELECT)
    return Work(classifiers(tuple(TITLES), options), task, model_cards.embeddings)


INRS = {
    "mnist": {"train_images": 5000, "test_images": 600},
    "fashion_mnist": {"train_images": 4000, "test_images": 600, "steps": 2000},
}
FAST = Settings(batch=32, microbatch=4, learning_rate=3e-3, warmup=50, weight_decay=0.01)
QUICK = Settings(batch=32, learning_rate=2e-3, warmup=20, weight_decay=0.01)


def inr_method(name: str, steps: int, edit: bool = False) -> Method:
    """A method of `inr_methods`, at its size for a CPU."""
    encoder, settings = inr_methods.settings("laptop", edit=edit)[name]
    settings = {k: v for k, v in settings.items() if k != "readout"}
    aim, head = (Dilating(), ()) if edit else (Classifying(), () if "code" in settings else (64,))
    pieces = 4 if name.startswith(inr_methods.GRAPHS) else 0
    method = Method(encoder, settings, head, aim, QUICK)
    return method.train(steps, microbatch=pieces, **({"weight_decay": 0.0} if edit else {}))


SIGN = {"layers": 3, "symmetry": "sign", "width": 32, "backward": "none"}
# the best of `inr_classification` by its validation error, and the quickest
CLASSIFIERS = {"probing": inr_method("probing", 6000)}
EMBEDDERS = {
    "sne": accuracy_predictors.METHODS["sne_small"].train(120, 6),
    "scalegmn": accuracy_predictors.METHODS["scalegmn"].train(600, 8),
}


def _inr_words(data: str) -> dict[str, str]:
    """Words on the INRs of a data set."""
    counts = INRS[data]
    return {
        "reads": "INRs 2-32-32-1 with sine activations (omega 30), as `wsjax.zoos.inrs` fits them "
        "by the recipe `dws`",
        "trained_on": f"INRs of {counts['train_images']:,} training images of {TITLES[data]}, of "
        "which 15 % are for validation; the test is on INRs of "
        f"{counts['test_images']} test images",
        "licence": LICENCES[data],
        "limits": "INRs of other widths, depths, activations, frequencies or fitted by another "
        "recipe are out of its training distribution; so are other images",
        "calibration": "Probabilities have a temperature that was fitted on the validation split "
        "(Guo et al., 2017); the expected calibration error (15 bins) is in the table.",
    }


def _class_entry(data: str) -> Entry:
    words = {
        "title": f"The class of the {TITLES[data]} image that an INR represents.",
        "use": "trained.classify(params), trained.predict(params)",
        **_inr_words(data),
    }
    return Entry(CLASSIFIERS, lambda options: classes(data, options), words)


def _embedding_entry(name: str) -> Entry:
    words = {
        "title": "Embeddings of small image classifiers, learned by predicting their accuracy.",
        "use": "trained.encode(params), trained.predict(params)",
        "reads": "CNNs of the family `conv3-gap`: three convolutions of 16 channels of 3 x 3, "
        "global average pooling and a dense layer to 10 classes",
        "trained_on": "the networks of `experiments/zoos/conv3-gap.*`, of MNIST, Fashion-MNIST and "
        "CIFAR-10 together: half for training, a tenth for validation, the rest for the test",
        "licence": "; ".join(LICENCES.values()),
        "limits": "distances compare networks of this family; accuracies that `predict` gives are "
        "of the three data sets, and it has no interval: `wsjax fit` makes predictors that have",
        "calibration": "Distances are of embeddings with each number divided by its spread.",
    }
    return Entry({name: EMBEDDERS[name]}, embedding, words)


ENTRIES: Mapping[str, Entry] = {
    "sine-frequency": Entry(
        {
            "scalegmn": Method("scalegmn", SIGN, (512, 512), Predicting(permute=False), FAST).train(
                1500
            )
        },
        sines,
        {
            "title": "The frequency b of the sine a sin(bx) that an INR represents.",
            "use": "trained.predict(params)",
            "reads": "INRs 1-32-32-1 with sine activations, as `wsjax.zoos.sines` fits them",
            "trained_on": "4,000 INRs fitted to a sin(bx) on [-pi, pi), a and b uniform on [0, 10]",
            "licence": "none: the signals are synthetic",
            "limits": "frequencies below 0 or above 10, other signals and INRs fitted in another "
            "way are out of its training distribution",
            "calibration": "It predicts a number, without an interval.",
        },
    ),
    "mnist-inr-classes": _class_entry("mnist"),
    "sne-embedding": _embedding_entry("sne"),
    "scalegmn-embedding": _embedding_entry("scalegmn"),
    "mnist-inr-dilation": Entry(
        {"unf": inr_method("unf", 1000, edit=True)},  # as good as ScaleGMN in a quarter of the time
        dilation,
        {
            **_inr_words("mnist"),
            "title": "Edits INRs of MNIST images so that their strokes are wider.",
            "use": "edited = trained.edit(params)\ntrained.render(edited)",
            "calibration": "Errors are of images on [0, 1], the target the dilated original.",
        },
    ),
    "fashion-inr-classes": _class_entry("fashion_mnist"),
}
PREDICTORS = {f"conv3-gap-accuracy-{data}": data for data in TITLES}


def make(name: str, entry: Entry, options: argparse.Namespace) -> dict[str, Any]:
    """Trains the candidates, measures the best, exports it; its record.

    A model that has a record of the same configuration is exported again without training.
    """
    work = entry.work(options)
    config = {
        "model": name,
        "networks": {k: len(v) for k, v in work.zoo.splits.items()},
        "content": zoo_loading.content(work.zoo),
        "methods": {k: m.config() for k, m in entry.methods.items()},
    }
    if work.calibrate is not None:
        config["calibrated"] = "validation"
    home = options.folder / "pretrained" / f"{name}-{runs.fingerprint(config)}"
    if (done := runs.finished(home)) is None:
        done = [_train(entry, work, config, home)]
        storage.write_sealed(home / "record.json", {"records": done})
    (record,) = done
    trained = work.calibrated(restore(home / record["method"]))
    facts = {
        "name": name,
        "how": RUNS_NETWORKS if trained.module.encoder.runs_network else WEIGHTS_ALONE,
        **entry.words,
        **{k: record["metrics"][k] for k in ("selection", "validation", "test")},
        "networks": config["networks"],
        "commit": record["commit"],
        "example": model_cards.example(trained, work.zoo),
    }
    export(trained, options.out / name, model_cards.card(facts, record), facts)
    records.add([record], options.results)
    return record


def _train(entry, work, config, home):
    """The record of the best candidate, measured on the test split."""
    candidates, select = {}, None
    for row, method in entry.methods.items():
        task = work.task(method)
        select, highest = task.selection
        candidates[row] = fit(
            work.zoo, task, method.build(), head=method.head, settings=method.training,
            folder=home / row, config={"model": config["model"], "row": row},
        )  # fmt: skip
    values = {k: t.result.best_value for k, t in candidates.items()}
    best = (max if highest else min)(values, key=values.__getitem__)
    trained = work.calibrated(candidates[best])
    scores = work.measure(trained, work.zoo)
    count = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
    return records.stamp(
        {
            "experiment": "pretrained",
            "row": config["model"],
            "method": best,
            "preset": "laptop",
            "seed": entry.methods[best].training.seed,
            "metrics": {
                "selection": select,
                "validation": values,
                "test": dataclasses.asdict(scores),
            },
            "parameters": count,
            "seconds": round(sum(t.result.seconds for t in candidates.values()), 1),
            "steps": candidates[best].result.steps,
            "config": config,
        }
    )


def make_predictor(name: str, data: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fits a predictor of accuracies, measures it on the test split, writes it; its record.

    Its candidates are those that train no encoder: it is made in seconds.
    """
    zoo = classifiers((data,), options)
    fitted, test = (
        dataclasses.replace(zoo.select(rows), splits={})
        for rows in (np.setdiff1d(np.arange(len(zoo)), zoo.splits["test"]), zoo.splits["test"])
    )
    recipe = sorted(set(zoo.labels) - baselines.MEASURED)
    predictor = predictors.fit(fitted, LABEL, encoders={}, recipe=recipe)
    scores = intervals.coverage(predictor, test)
    facts = predictor.facts
    record = records.stamp(
        {
            "experiment": "pretrained",
            "row": name,
            "method": facts["chosen"],
            "preset": "laptop",
            "seed": facts["seed"],
            "metrics": scores,
            "parameters": 0,
            "seconds": facts["seconds"],
            "steps": 0,
            "config": {"model": name, "content": zoo_loading.content(zoo)},
        }
    )
    notes = model_cards.predictor_notes(name, TITLES[data], LICENCES[data], scores, record)
    more = {"test": scores, "commit": record["commit"], "notes": notes}
    row = zoo.splits["test"][0]
    spec = zoo.specs[zoo.which[row]]
    vector = zoo.vectors[row, : spec.count]
    alone = predictor.predict(Zoo.of_spec(vector[None], spec, {}), anyway=True)
    ends = [float(x[0]) for x in (alone.values, alone.low, alone.high)]
    more["example"] = model_cards.packed(vector, predictor.domain.specs.index(spec), ends)
    dataclasses.replace(predictor, facts={**facts, **more}).save(options.out / name)
    records.add([record], options.results)
    return record


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of the models."""
    parser = cli.folders(cli.command("make.pretrained", __doc__))
    parser.set_defaults(experiment="pretrained")
    names = (*ENTRIES, *PREDICTORS)
    parser.add_argument("--models", default="", help=f"of {', '.join(names)}; all if not given")
    parser.add_argument("--out", type=pathlib.Path, default=FOLDER, help="of the models")
    parser.add_argument("--files", type=pathlib.Path, help="original files of the images")
    parser.add_argument("--jobs", type=cli.positive, default=1, help="processes that fit a zoo")
    options = cli.prepare(parser.parse_args(arguments))
    made = []
    for name in cli.select(options.models, names, names):
        if name in ENTRIES:
            made.append(make(name, ENTRIES[name], options))
            values = made[-1]["metrics"]["test"]["values"]
        else:
            made.append(make_predictor(name, PREDICTORS[name], options))
            values = made[-1]["metrics"]
        size = sum(p.stat().st_size for p in (options.out / name).rglob("*"))
        figures = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, float))
        print(f"{name}: {made[-1]['method']}, test {figures}; {size / 1e6:.2f} MB", flush=True)
    return made


if __name__ == "__main__":
    cli.run(main)

"""The model zoos of Schuerholt et al.: small CNNs, every epoch of every run kept.

Paper     Schuerholt, Taskiran, Knyazev, Giro-i-Nieto, Borth: Model Zoos: A Dataset of
          Diverse Populations of Neural Network Models, NeurIPS 2022, arXiv 2209.14764
Licence   CC-BY 4.0
From      Zenodo, linked from modelzoos.cc and github.com/ModelZoos/ModelZooDataset:
          doi.org/10.5281/zenodo.N with N 6632086 (MNIST), 6632104 (Fashion-MNIST),
          6632120 (SVHN), 6633626 (USPS), 6620868 (CIFAR-10), 6631783 (STL-10, raw),
          6634138 (STL-10, preprocessed)

    dataset_mnist_seed.pt, dataset_cifar_small_hyp_fix.pt, ...     preprocessed: `read`
        {"trainset", "valset", "testset"}, each an instance of the authors' class
        ModelDatasetBase: data_in, a state dict for each checkpoint; paths, of its run;
        epochs; properties, lists of test_acc, ggap, model::nlin, ...
    tune_zoo_mnist_uniform/, ...                                   raw: `read_raw`
        RUN/checkpoint_N/checkpoints (or checkpoint_00000N), RUN/result.json

    About 1 to 6 GB a file (unconfirmed); reading takes minutes, and about 2 GB of memory
    for a file of 1.3 GB. No code of the authors is needed and none is run, see `pickles`;
    `RECORDS` has the names under which files refer to their class.

    zoo       runs    recipe
    seed      1 000   one; seeds 1 to 1000
    hyp-fix   1 280   {tanh, relu, sigmoid, gelu} x dropout {0, 0.5} x 4 initialisations x
    hyp-rand          {adam, sgd} x lr {1e-3, 1e-4} x wd {1e-3, 1e-4} x 10 seeds; 50 epochs

Networks  conv - pool - activation, twice or three times; flattened; two dense layers.

    family                convolutions         images   numbers
    conv3-linear2         8@5, 6@5, 4@2        28x28    2 464 (1 channel), 2 864 (3)
    conv3-linear2-wide    6@5, 9@5, 6@2        28x28    CNN2 of the authors' code
    conv3-linear2-large   16@3, 32@3, 15@3     32x32    10 853 (3 channels)

The published networks pool before the activation, a `Spec` of ours after it. Where the
activation never falls the two are one function, as max f(x) = f(max x): tanh, ReLU,
sigmoid. GELU, here PyTorch's exact one, falls before it rises, so there they differ: read its
networks' weights, but do not run them by `architectures.forward`. The CIFAR-10 seed zoos are
GELU throughout; `MONOTONE` lists the others.

Splits    70 / 15 / 15 by run, as the preprocessed files have them. The raw zoos have none:
          theirs hung on the order in which a file system lists folders.
"""

import argparse
import json
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from third_party import published
from third_party.published import Published
from wsjax import architectures
from wsjax.checks import printable
from wsjax.files import torch_files
from wsjax.files.torch_files import Numbers, Record
from wsjax.networks import Spec

RECORDS = (
    "checkpoints_to_datasets.dataset_base.ModelDatasetBase",
    "ghrp.checkpoints_to_datasets.dataset_base.ModelDatasetBase",
)
LIMITS = torch_files.Limits(file_bytes=16 << 30, pickle_bytes=1 << 30, members=8_000_000)
FAMILIES = {
    "conv3-linear2": ((8, 6, 4), (5, 5, 2), (2, 2, 1), 28),
    "conv3-linear2-wide": ((6, 9, 6), (5, 5, 2), (2, 2, 1), 28),
    "conv3-linear2-large": ((16, 32, 15), (3, 3, 3), (2, 2, 2), 32),
}
ACTIVATIONS = {k: k for k in ("tanh", "relu", "sigmoid", "gelu", "silu")} | {
    "leakyrelu": "leaky_relu"
}
MONOTONE = ("tanh", "relu", "sigmoid", "leaky_relu")  # where `architectures.forward` is theirs
SPLITS = {"train": "trainset", "validation": "valset", "test": "testset"}
NUMBERS = {  # of the recipe
    "model::dropout": "dropout",
    "optim::lr": "learning_rate",
    "optim::wd": "weight_decay",
}
WORDS = {"model::init_type": "init", "optim::optimizer": "optimizer"}
LAYER = r"(?P<network>.*\.)?(?P<layer>\d{1,4})\.(?P<role>weight|bias)"
RESULT_BYTES = 64 << 20


def spec(family: str, channels: int, activation: str) -> Spec:
    """The architecture of a family of these zoos.

    >>> spec("conv3-linear2", 1, "tanh").count, spec("conv3-linear2-large", 3, "gelu").count
    (2464, 10853)
    """
    widths, kernel, pool, size = FAMILIES[family]
    return architectures.cnn(
        [channels, *widths], [20, 10], kernel=kernel, max_pool=pool, padding="VALID",
        pool="flatten", size=(size, size), activation=activation,
    )  # fmt: skip


def read(
    path: str | os.PathLike,
    epochs: Sequence[int] = (50,),
    activation: str | None = None,
) -> Published:
    """A preprocessed zoo, one `.pt` file; its splits are "train", "validation", "test".

    Labels are `test_accuracy` in [0, 1], `epoch`, `generalization_gap` (train accuracy
    less test accuracy; not if epoch 0 is read, which has no train accuracy), and of the
    recipe what the file states: `dropout`, `learning_rate`, `weight_decay`, and 0 or 1 for
    words, such as `optimizer_adam` and `init_kaiming_normal`.

    Args:
        path: of the file.
        epochs: to read, of each run; all of a run share its number in `runs`.
        activation: of all networks, where the file does not state it, as in the seed zoos:
            "tanh" there, "gelu" for CIFAR-10.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is no such zoo, or has no network of these epochs.
    """
    vectors, table, of_split = [], [], []
    with torch_files.opened(path, RECORDS, LIMITS) as saved:
        if type(saved) is not dict or not set(SPLITS.values()) <= set(saved):
            raise ValueError(f"{path}: expected a dict of {[*SPLITS.values()]}")
        for split, name in SPLITS.items():
            rows = _rows(saved[name], epochs, f"{path}: {name}")
            for weights, facts in rows:
                where = f"{path}: {name}: {printable(facts['run'])}"
                vectors.append(_identified(weights, where))
                table.append(facts)
                of_split.append(split)
    zoo = _assembled(vectors, table, activation, epochs, path)
    splits = {k: np.flatnonzero(np.array(of_split) == k) for k in SPLITS}
    return Published(*zoo, splits)


def read_raw(
    folder: str | os.PathLike,
    epochs: Sequence[int] = (50,),
    activation: str | None = None,
    missing: str = "raise",
) -> Published:
    """A raw zoo, a folder with one of each run; without splits, see `zoos.split`.

    Labels and arguments are those of `read`, and `test_loss`, `train_loss`,
    `train_accuracy`, but for epoch 0.

    Args:
        folder: with the runs.
        epochs: as for `read`.
        activation: as for `read`.
        missing: "raise" is an error if a run lacks one of the epochs; "exclude" leaves out
            what is not there.

    Raises:
        FileNotFoundError: the folder has no runs, or a run lacks a file.
        ValueError: as for `read`.
    """
    if missing not in ("raise", "exclude"):
        raise ValueError(f"expected missing 'raise' or 'exclude', got {missing!r}")
    folder = pathlib.Path(folder)
    runs = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not runs:
        raise FileNotFoundError(f"expected a folder of runs at {folder}, found none")
    vectors, table = [], []
    for run in runs:
        try:
            for epoch, facts in _results(run, epochs).items():
                plain = run / f"checkpoint_{epoch}" / "checkpoints"
                padded = run / f"checkpoint_{epoch:06d}" / "checkpoints"
                saved = torch_files.state(padded if padded.is_file() else plain)
                vectors.append(_identified(saved, printable(run)))
                table.append(facts)
        except FileNotFoundError:
            if missing == "raise":
                raise
    return Published(*_assembled(vectors, table, activation, epochs, folder))


def _rows(part, epochs, where):
    """(weights, facts) of each checkpoint of these epochs in one of the authors' objects."""
    if type(part) is not Record or part.fields is None:
        raise ValueError(f"{where}: expected an instance of {RECORDS[0]}")
    fields = {"properties": None, **part.fields}
    data, paths, stored = (fields.get(k) for k in ("data_in", "paths", "epochs"))
    properties = fields["properties"]
    if type(data) is Numbers:  # vectors of all checkpoints
        data = list(data.array())
    if not all(type(x) is list for x in (data, paths, stored)) or type(properties) is not dict:
        raise ValueError(f"{where}: expected lists data_in, paths, epochs, and properties")
    lengths = {"paths": len(paths), "epochs": len(stored)}
    lengths |= {k: len(v) if type(v) is list else -1 for k, v in properties.items()}
    wrong = {k: n for k, n in lengths.items() if n != len(data)}
    if wrong or "test_acc" not in properties:
        raise ValueError(
            f"{where}: expected test_acc and more for each of {len(data)} checkpoints, got "
            f"{wrong or sorted(properties)}"
        )
    for i, epoch in enumerate(stored):
        if epoch in epochs:
            facts = {k: v[i] for k, v in properties.items()}
            yield data[i], {**facts, "run": paths[i], "epoch": epoch}


def _results(run, epochs):
    """Epoch -> what a run measured at it, with its recipe.

    Raises:
        FileNotFoundError: a file, or one of the epochs, is missing.
    """
    path = run / "result.json"
    where = printable(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected {where}, found none")
    if path.stat().st_size > RESULT_BYTES:
        raise ValueError(f"{where}: expected at most {RESULT_BYTES} bytes")
    measured = {}
    try:
        for line in path.read_text("utf-8").splitlines():
            facts = json.loads(line)
            epoch = facts["training_iteration"]
            if epoch in epochs:
                measured[epoch] = {**facts["config"], **facts, "run": run.name, "epoch": epoch}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected lines of JSON with training_iteration and config ({error!r:.80})"
        ) from error
    absent = sorted(set(epochs) - set(measured))
    if absent:
        raise FileNotFoundError(f"{where}: expected epochs {list(epochs)}, {absent} are missing")
    return measured


def _identified(weights, where):
    """(family, channels, vector in PyTorch's order) of a state dict, or of such a vector."""
    if type(weights) is Numbers:
        weights = weights.array()
    if isinstance(weights, np.ndarray):
        for key, candidate in _SPECS.items():
            if weights.shape == (candidate.count,) and weights.dtype.kind == "f":
                return *key, np.asarray(weights, np.float32)
        raise ValueError(f"{where}: expected a vector of these zoos, got {weights.shape}")
    if type(weights) is not dict:
        raise ValueError(f"{where}: expected a state dict, got a {type(weights).__name__}")
    arrays = _in_order(weights, where)
    shapes = [getattr(x, "shape", None) for x in arrays]
    for key, candidate in _SPECS.items():
        if published.torch_shapes(candidate) == shapes:
            return *key, published.flat(arrays, candidate, where)
    raise ValueError(f"{where}: expected a network of {[*FAMILIES]}, got shapes {shapes}")


def _in_order(weights, where):
    """Arrays of `module_list.N.weight` and `.bias`; N depends on the dropout between."""
    arrays, beside = published.layers(weights, LAYER, where)
    if beside:
        name = next(iter(beside))
        raise ValueError(f"{where}: expected names module_list.N.weight, got {name!r:.80}")
    return [x.array() if type(x) is Numbers else x for x in arrays]


_SPECS = {(f, c): spec(f, c, "relu") for f in FAMILIES for c in (1, 3)}


def _assembled(networks, table, activation, epochs, where):
    """The fields of `Published`, but for the splits."""
    if not networks:
        raise ValueError(f"{where}: no network of epochs {list(epochs)}")
    kinds = []
    for (family, channels, _), facts in zip(networks, table, strict=True):
        name = facts.get("model::nlin", activation)
        if name is None:
            raise ValueError(
                f"{where}: does not state the activation; give it: 'tanh' for the seed zoos, "
                "'gelu' for those of CIFAR-10"
            )
        if name not in ACTIVATIONS:
            raise ValueError(f"{where}: expected an activation of {[*ACTIVATIONS]}, got {name!r}")
        kinds.append((family, channels, ACTIVATIONS[name]))
    distinct = sorted(set(kinds))
    specs = tuple(spec(*k) for k in distinct)
    which = np.array([distinct.index(k) for k in kinds])
    vectors = np.zeros((len(networks), max(s.count for s in specs)), np.float32)
    orders = [published.torch_order(s) for s in specs]
    for row, s, (_, _, vector) in zip(vectors, which, networks, strict=True):
        row[: specs[s].count] = vector[orders[s]]
    runs = published.numbered([str(facts["run"]) for facts in table])
    return vectors, specs, which, _labels(table, where), runs


def _labels(table, where):
    column = lambda key: np.array([_number(x[key], key, where) for x in table], np.float32)
    labels = {"epoch": column("epoch"), "test_accuracy": column("test_acc")}
    trained = labels["epoch"].min() > 0  # before it, -999 stands for the train accuracy
    measured = {"test_loss": "test_loss"} | (
        {"train_acc": "train_accuracy", "train_loss": "train_loss", "ggap": "generalization_gap"}
        if trained
        else {}
    )
    for key, name in (measured | NUMBERS).items():
        if all(key in x for x in table):
            labels[name] = column(key)
    if "train_accuracy" in labels:
        labels["generalization_gap"] = labels["train_accuracy"] - labels["test_accuracy"]
    for key, low in (("test_accuracy", 0), ("train_accuracy", 0), ("generalization_gap", -1)):
        if key in labels:
            published.check_range(key, labels[key], low, 1, where)
    for key, name in WORDS.items():
        if all(key in x for x in table):
            for word in sorted({str(x[key]) for x in table}):
                drawn = [float(str(x[key]) == word) for x in table]
                labels[re.sub(r"\W", "_", f"{name}_{word}")] = np.array(drawn, np.float32)
    return labels


def _number(x, key, where):
    if isinstance(x, bool) or not isinstance(x, int | float):
        raise ValueError(f"{where}: expected {key} to be numbers, got a {type(x).__name__}")
    return x


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks a preprocessed file, or the folder of a raw zoo, and prints what is in it."""
    options = {
        "--epochs": {"type": int, "nargs": "+", "default": [50], "help": "to read"},
        "--activation": {"choices": [*ACTIVATIONS], "help": "where the files do not state it"},
    }
    published.command(__doc__, _check, options, arguments)


def _check(parsed: argparse.Namespace) -> Published:
    reader = read if pathlib.Path(parsed.folder).is_file() else read_raw
    zoo = reader(parsed.folder, parsed.epochs, parsed.activation)
    for s in zoo.specs:
        if s.layers[0].activation not in MONOTONE:
            print(
                f"{s.layers[0].activation}: pooled before the activation, do not run (see --help)"
            )
    return zoo


if __name__ == "__main__":
    main()

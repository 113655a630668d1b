"""The small CNN zoo: classifiers with all their recipes, at nine moments of training.

Paper     Unterthiner, Keysers, Gelly, Bousquet, Tolstikhin: Predicting Neural Network
          Accuracy from Weights, 2020, arXiv 2002.11448
Licence   CC-BY 4.0
From      https://storage.cloud.google.com/gresearch/smallcnnzoo-dataset/NAME.tar.xz
          (a login in a browser; storage.googleapis.com/gresearch/... has the same objects),
          linked from github.com/google-research/google-research, dnn_predict_accuracy
Unpack    tar -xf NAME.tar.xz, a folder for each data set:

    NAME            rows      weights.npy, float32 [rows, 4970]
    cifar10         270 000   5.4 GB      (grayscale, as all: the mean of the channels)
    svhn_cropped    269 892   5.4 GB
    mnist           269 973   5.4 GB
    fashion_mnist   270 000   5.4 GB

    weights.npy     a row for each checkpoint
    metrics.csv.gz  a line for each: config.activation, ..., modeldir, step, test_accuracy,
                    test_loss, train_accuracy, train_loss
    layout.csv      varname, start_idx, end_idx, size, shape: which columns are which array

Networks  three convolutions 3x3 of 16 channels, stride 2, no padding, the activation after
          each; the mean over positions; a dense layer of 10. Images in [-1, 1]. 4 970
          numbers, of each layer the bias before the kernel; kernels [row, column, in, out].
          ReLU or tanh: a `Spec` each.
Steps     epochs 0, 1, 2, 3, 20, 40, 60, 80, 86 of a training run, named by its modeldir
Splits    those of NFN (Zhou et al., 2023): github.com/AllanYangZhou/nfn,
          experiments/predict_gen_data_splits/{cifar10,svhn,mnist,fashion_mnist}_split.csv,
          MIT, 1.8 MB each. 12 000, 3 000 and 15 000 final networks of CIFAR-10.

No sums of the zoo's own files are published; those of NFN's splits are in `SPLIT_SHA256`.
"""

import ast
import csv
import gzip
import hashlib
import math
import os
import pathlib
import random
import re
import zlib
from collections.abc import Sequence

import numpy as np

from third_party import published
from third_party.published import Published
from wsjax import architectures, checks

STEPS = (0, 1, 2, 3, 20, 40, 60, 80, 86)
ROWS = {"cifar10": 270_000, "svhn_cropped": 269_892, "mnist": 269_973, "fashion_mnist": 270_000}
SPECS = {
    a: architectures.cnn([1, 16, 16, 16], [10], stride=2, padding="VALID", activation=a)
    for a in ("relu", "tanh")
}
MEASURED = ("test_accuracy", "test_loss", "train_accuracy", "train_loss", "step")
RECIPE = ("dropout", "init_std", "l2reg", "learning_rate", "train_fraction")  # numbers
CHOICES = ("optimizer", "w_init", "b_init")  # words
SPLIT_SHA256 = {
    "cifar10": "04fb71937dc796fc64f6306457de9d95f0d2d8a343db856213b965a4953a4f67",
    "fashion_mnist": "0d13165d28963acdac000d3d033da58b5719920f7d19aadf310173823053b021",
    "mnist": "b516aea9d62a8c8f2acb5b92abfedc4c1f0c2f6f9afd716835ec75103c25cf3b",
    "svhn_cropped": "c1dcfc521f38071bb4ac2af4866a38a4d2d468630ef60bb70f9ae75c681fc60c",
}
LINE = 1 << 16  # characters of a line of the metrics, at most


def read(
    folder: str | os.PathLike,
    steps: Sequence[int] = (86,),
    activations: Sequence[str] = ("relu", "tanh"),
    split: str | os.PathLike | None = None,
) -> Published:
    """The zoo of one data set.

    Labels are `test_accuracy` and `train_accuracy` in [0, 1], `test_loss`, `train_loss`,
    `step`, the recipe's `dropout`, `init_std`, `l2reg`, `learning_rate`, `train_fraction`,
    and 0 or 1 for each of its words, such as `optimizer_adam` and `w_init_orthogonal`.
    A number that the recipe leaves open, such as `init_std` where `w_init` implies it, is 0.

    Args:
        folder: with the three files of a data set.
        steps: checkpoints to read. All nine of a run share its number in `runs`.
        activations: of networks to read, a `Spec` each, in this order.
        split: NFN's file for this data set: then there are splits "train", "validation"
            and "test", the other checkpoints of a run where its last is. By default none;
            `zoos.split` shuffles runs.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, of other shape or order than published, or holds
            what it should not; one message names what was expected and what came.
    """
    folder = pathlib.Path(folder)
    unknown = [*(set(steps) - set(STEPS)), *(set(activations) - set(SPECS))]
    if unknown or not steps or not activations:
        raise ValueError(
            f"expected steps of {STEPS} and activations of {sorted(SPECS)}, got {list(steps)} "
            f"and {list(activations)}"
        )
    weights = _weights(_file(folder, "weights.npy"))
    columns = layout(_file(folder, "layout.csv"))
    metrics = _metrics(_file(folder, "metrics.csv.gz"), len(weights))
    runs, step = published.numbered(metrics["modeldir"]), metrics["step"]
    if len(np.unique(runs * 100 + step.astype(int))) != len(runs):
        raise ValueError(f"{folder}: expected each step of a run once, got one twice")
    kinds = np.array(
        [activations.index(a) if a in activations else -1 for a in metrics["activation"]]
    )
    rows = np.flatnonzero(np.isin(step, steps) & (kinds >= 0))
    if not len(rows):
        raise ValueError(f"{folder}: no network has a step of {steps}, activation {activations}")
    vectors = np.empty((len(rows), len(columns)), np.float32)
    for i in range(0, len(rows), published.BLOCK):  # the file may be as large as the memory
        some = slice(i, i + published.BLOCK)
        vectors[some] = weights[rows[some]][:, columns]
    with np.errstate(over="ignore"):  # a loss too large for float32 becomes infinite
        labels = {k: metrics[k][rows].astype(np.float32) for k in (*MEASURED, *RECIPE)}
    for name in CHOICES:
        for word in sorted(set(metrics[name])):
            key = re.sub(r"\W", "_", f"{name}_{word}")
            labels[key] = (np.array(metrics[name]) == word)[rows].astype(np.float32)
    splits = {}
    if split is not None:
        for name, members in nfn_split(split, step).items():
            splits[name] = np.flatnonzero(np.isin(runs[rows], runs[members]))
    specs = tuple(SPECS[a] for a in activations)
    return Published(vectors, specs, kinds[rows], labels, runs[rows], splits)


def nfn_split(path: str | os.PathLike, step: np.ndarray) -> dict[str, np.ndarray]:
    """NFN's parts of the final networks, as rows of the zoo's files.

    All rows are put in the file's order, and those of step 86 kept. The second half of
    them is the test set; the first is shuffled by `random.Random(0)`, four fifths train.
    The file begins with a line "0", a header, that NFN's own code reads as one more row:
    there, row 0 counts twice, which shows only if it is a final network.

    Args:
        path: of the file.
        step: [row], of the zoo.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an order of all rows.
    """
    path = pathlib.Path(path)
    lines = _file(path.parent, path.name).read_text("utf-8").split()
    if not all(n.isdecimal() and len(n) < 10 for n in lines) or lines[:1] != ["0"]:
        raise ValueError(f"{path}: expected a header 0, then a row number on each line")
    order = np.array(lines[1:], np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(step))):
        raise ValueError(
            f"{path}: expected each of the zoo's {len(step)} rows once, got {len(order)} numbers, "
            f"{len(np.unique(order))} different, up to {order.max(initial=-1)}"
        )
    final = order[step[order] == STEPS[-1]]
    half = len(final) // 2
    first = list(range(half))
    random.Random(0).shuffle(first)
    cut = int(0.8 * half)
    parts = {"train": final[first[:cut]], "validation": final[first[cut:]], "test": final[half:]}
    return parts


def layout(path: str | os.PathLike) -> np.ndarray:
    """[4970]: for each entry of our vector, the column of `weights.npy` that holds it.

    Raises:
        ValueError: the file does not name each array once, with our shape, and each column
            once.
    """
    path, spec = pathlib.Path(path), SPECS["relu"]
    with open(path, newline="", encoding="utf-8") as file:
        listed = {}
        for line in csv.DictReader(_lines(file, path)):
            name = _array_name(line.get("varname"), path)
            try:
                start, end = int(line["start_idx"]), int(line["end_idx"])
                shape = ast.literal_eval(line["shape"])
                shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
            except (KeyError, TypeError, ValueError, SyntaxError) as error:
                raise ValueError(f"{path}: expected start_idx, end_idx, shape: {line}") from error
            if name in listed:
                raise ValueError(f"{path}: {name} is listed twice")
            listed[name] = (start, end, shape)
    parts, wrong = [], [f"{n}: not in the network" for n in listed]
    for a in spec.arrays:
        want = spec.shape(a)
        if a.name not in listed:
            wrong.append(f"{a.name}: expected, absent")
            continue
        wrong.remove(f"{a.name}: not in the network")
        start, end, shape = listed[a.name]
        if shape != want or end - start != math.prod(want) or not 0 <= start <= end <= spec.count:
            wrong.append(f"{a.name}: expected {want}, got {shape} in columns {start} to {end}")
            continue
        parts.append(np.arange(start, end))
    columns = np.concatenate(parts) if parts else np.zeros(0, int)
    if not wrong and not np.array_equal(np.sort(columns), np.arange(spec.count)):
        wrong.append(f"expected each of {spec.count} columns once")
    checks.raise_all(f"{path}: not the layout of this zoo", wrong)
    return columns


def _array_name(variable, path):
    """`sequential/conv2d_1/kernel:0` is `Conv_1/kernel`."""
    match = re.fullmatch(r"(?:.*/)?(conv2d|dense)(?:_(\d+))?/(kernel|bias)(?::0)?", variable or "")
    if match is None:
        raise ValueError(f"{path}: expected a varname such as conv2d_1/kernel:0, got {variable!r}")
    kind, number, role = match.groups()
    return f"{ {'conv2d': 'Conv', 'dense': 'Dense'}[kind] }_{number or 0}/{role}"


def _weights(path):
    """The array on disk, mapped and not read."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: no complete array file ({error})") from error
    count = SPECS["relu"].count
    if getattr(array, "ndim", 0) != 2 or array.shape[1] != count or array.dtype.kind != "f":
        kind = f"{getattr(array, 'dtype', type(array).__name__)}{getattr(array, 'shape', '')}"
        raise ValueError(f"{path}: expected float32 [rows, {count}], got {kind}")
    return array


def _metrics(path, rows):
    """The columns that are used, each [row]: arrays of numbers, lists of words."""
    numbers = {**{k: k for k in MEASURED}, **{k: f"config.{k}" for k in RECIPE}}
    words = {k: f"config.{k}" for k in (*CHOICES, "activation")} | {"modeldir": "modeldir"}
    out = {k: [] for k in (*numbers, *words)}
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            table = csv.DictReader(_lines(file, path))
            absent = {*numbers.values(), *words.values()} - set(table.fieldnames or ())
            if absent:
                raise ValueError(f"{path}: expected columns {sorted(absent)}, absent")
            for n, line in enumerate(table):
                if n == rows:
                    raise ValueError(f"{path}: expected {rows} lines as in weights.npy, got more")
                for key, column in words.items():
                    out[key].append(line[column])
                for key, column in numbers.items():
                    empty = 0.0 if key in RECIPE else math.nan
                    out[key].append(_number(line[column], empty, f"{path}: line {n + 2}: {column}"))
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise ValueError(f"{path}: no complete gzip of a table ({error})") from error
    if len(out["step"]) != rows:
        raise ValueError(f"{path}: expected {rows} lines as in weights.npy, got {len(out['step'])}")
    out |= {k: np.array(out[k], np.float64) for k in numbers}
    for key in ("test_accuracy", "train_accuracy"):
        published.check_range(key, out[key], 0, 1, path)
    odd = sorted(set(out["step"].tolist()) - set(STEPS))
    if odd:
        raise ValueError(f"{path}: expected steps {STEPS}, got {odd[:5]} too")
    odd = sorted(set(out["activation"]) - set(SPECS))
    if odd:
        raise ValueError(f"{path}: expected activations {sorted(SPECS)}, got {odd[:5]} too")
    return out


def _number(text, empty, where):
    if text in ("", "nan", "None"):
        return empty
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected a number, got {text!r:.40}") from None


def _lines(file, path):
    """The lines of a file, none longer than a table's."""
    while line := file.readline(LINE):
        if len(line) == LINE:
            raise ValueError(f"{path}: expected lines of less than {LINE} characters")
        yield line


def _file(folder, name):
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"expected {name} in {folder}, found none; python -m third_party.small_cnn_zoo --help "
            "describes its source"
        )
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks a folder and prints what is in it."""
    options = {
        "--split": {"help": "NFN's split file of this data set"},
        "--all": {"action": "store_true", "help": "all nine checkpoints, not the last alone"},
    }
    published.command(__doc__, _check, options, arguments)


def _check(parsed):
    folder = pathlib.Path(parsed.folder)
    if parsed.split:
        split = pathlib.Path(parsed.split)
        digest = hashlib.sha256(_file(split.parent, split.name).read_bytes()).hexdigest()
        names = [k for k, v in SPLIT_SHA256.items() if v == digest]
        print(f"{parsed.split}: {f'as published, {names[0]}' if names else 'NOT as published'}")
    zoo = read(folder, STEPS if parsed.all else STEPS[-1:], tuple(SPECS), parsed.split)
    rows = len(_weights(folder / "weights.npy"))
    names = [k for k, v in ROWS.items() if v == rows]
    print(f"{rows} rows: {f'as published for {names}' if names else f'NOT as published, {ROWS}'}")
    return zoo


if __name__ == "__main__":
    main()

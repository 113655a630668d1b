"""Folders of implicit neural representations (INRs): one small sine network per image or wave.

Navon, Shamsian, Achituve, Fetaya, Chechik, Maron: Equivariant Architectures for Learning in
Deep Weight Spaces (DWSNets), ICML 2023, arXiv 2301.12780. github.com/AvivNavon/DWSNets (MIT;
for the files themselves no licence is stated) links www.dropbox.com/sh/56pakaxe58z29mq with
mnist-inrs.zip, fmnist_inrs.zip, ssl-inrs.zip, sine-regression-inrs.zip.

Zhou, Yang, Burns, Cardace, Jiang, Sokota, Kolter, Finn: Permutation Equivariant Neural
Functionals (NFN), NeurIPS 2023, arXiv 2302.14040. github.com/AllanYangZhou/nfn (MIT; for the
files none is stated) links drive.google.com/drive/folders/15CdOTPWHqDcS4SwbIdm100rXkTYZPcC5
with siren_mnist_wts.tar, siren_fashion_wts.tar, siren_cifar_wts.tar.

    reader          files under the folder                                        networks
    read_mnist      mnist_png_{training,testing}_LABEL_ID/checkpoints/            60 000
                    model_final.pth                                               + 10 000
    read_fashion    {train,test}/model_ID.pth, a `label` inside; splits.json      60 000
                                                                                  + 10 000
    read_sines      model_SEED.pth, inside: coef (a, b), the grid x, y = a sin(b x)
    read_nfn        randinit_smaller_LABELs/netID.pth, and of augmented views     50 000 and
                    randinit_smaller_augK_LABELs/netID.pth, K from 0 to 9 (19     more, and
                    for CIFAR-10); ID counts training images, then test images    each view

Layer i is `seq.i.weight`, `seq.i.bias`, in NFN's files `net.i.linear.weight`, the last one
`net.2.weight`. PyTorch stores [out, in], we [in, out].

    convention      output          image        coordinates of pixel (i, j)    activation
    DWSNets images  network + 0.5   in [0, 1]    (u[j], u[i])                   sin(30 x)
    DWSNets waves   network + 0.5   -            x in [-pi, pi)                 sin(30 x)
    NFN             network         in [-1, 1]   (u[i], u[j])                   sin(30 x)

with u from -1 to 1, both ends included. No weight holds the 0.5: `architectures.forward`
gives the network alone, `pixels` the image. DWSNets' first layer is initialised like the
second, NFN's as in SIREN.

Splits    MNIST: training and testing; DWSNets draw 5 000 for validation without a seed, so
          give the JSON that was used, or use `zoos.split`. Fashion-MNIST:
          splits.json, 55 000 / 5 000 / 10 000; neural-graphs' fmnist_splits.json is the
          same in another form. NFN: images 0 to 44 999, to 49 999, the rest; augmented
          views train only. Waves: none published. Views of one image are one run.
Scale     sd of the kernels of DWSNets' MNIST 0.063, 0.018, 0.118, Fashion-MNIST 0.078,
          0.032, 0.135 (neural-graphs' statistics)

Unconfirmed: the archive of waves for frequency regression is taken to be like that for
self-supervision, or with one number `coef`, the frequency. Not read: ten views of
Fashion-MNIST (Shamsian et al., 2024), whose file names are not documented.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Sequence

import jax
import numpy as np

from third_party import published
from third_party.published import Published
from wsjax import architectures
from wsjax.checks import printable
from wsjax.files import torch_files
from wsjax.networks import Params, Spec


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a collection's networks stand for their signals.

    Attributes:
        spec: the network.
        offset: to be added to its output.
        columns_first: whether the first coordinate runs along a row of pixels.
        size: pixels along each side; None for waves.
        low: of the image's range; its upper end is 1.
    """

    spec: Spec
    offset: float
    columns_first: bool = False
    size: int | None = None
    low: float = 0.0


_IMAGE = architectures.mlp([2, 32, 32, 1], "sin", omega=30.0)
CONVENTIONS = {
    "dws_mnist": Convention(_IMAGE, 0.5, True, 28),
    "dws_fashion": Convention(_IMAGE, 0.5, True, 28),
    "dws_sines": Convention(architectures.mlp([1, 32, 32, 1], "sin", omega=30.0), 0.5),
    "nfn_mnist": Convention(_IMAGE, 0.0, False, 28, -1.0),
    "nfn_fashion": Convention(_IMAGE, 0.0, False, 28, -1.0),
    "nfn_cifar": Convention(
        architectures.mlp([2, 32, 32, 3], "sin", omega=30.0), 0.0, False, 32, -1.0
    ),
}
POINTS = (45_000, 50_000)  # NFN: where validation and test images begin
LAYER = r"(?P<network>seq|net)\.(?P<layer>\d)\.(?:linear\.)?(?P<role>weight|bias)"
BESIDE = {"label", "coef", "x", "y"}  # what is saved beside the weights
SPLITS = {"train": "train", "val": "validation", "test": "test"}  # theirs -> ours
JSON_BYTES = 64 << 20


def coordinates(convention: Convention) -> np.ndarray:
    """The points that a network is evaluated on, [row, column, 2]."""
    u = np.linspace(-1, 1, convention.size, dtype=np.float32)
    grid = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1)
    return grid[..., ::-1] if convention.columns_first else grid


def pixels(params: Params, convention: Convention) -> jax.Array:
    """The image [row, column, channel] of one network; `jax.vmap` for several."""
    output = architectures.forward(params, coordinates(convention), convention.spec)
    return output + convention.offset


def read_mnist(folder: str | os.PathLike, splits: str | os.PathLike | None = None) -> Published:
    """DWSNets' INRs of MNIST.

    Labels are `label`, the digit, and `image`, the number in the folder's name.

    Args:
        folder: with the folders mnist_png_*.
        splits: DWSNets' JSON; by default "train" and "test" by the names of the folders.

    Raises:
        FileNotFoundError: a file, or what the JSON names, is missing.
        ValueError: a file is damaged or not of this layout.
    """
    folder = pathlib.Path(folder)
    files = []
    for path in sorted(folder.glob("mnist_png_*")):
        match = re.fullmatch(r"mnist_png_(training|testing)_(\d)_(\d+)", path.name)
        if match is None:
            raise ValueError(
                f"{printable(path)}: expected a name mnist_png_training_LABEL_ID, or testing"
            )
        facts = {"label": int(match[2]), "image": int(match[3])}
        files.append((path / "checkpoints" / "model_final.pth", match[1], facts))
    keys = [path.parent.parent.name for path, _, _ in files]
    zoo = _zoo("dws_mnist", folder, files)
    if splits is None:
        half = np.array([h for _, h, _ in files])
        parts = {"train": half == "training", "test": half == "testing"}
        parts = {k: np.flatnonzero(v) for k, v in parts.items()}
    else:
        parts = _splits(splits, keys, -3, zoo.labels["label"])
    return dataclasses.replace(zoo, splits=parts)


def read_fashion(folder: str | os.PathLike, splits: str | os.PathLike | None = None) -> Published:
    """DWSNets' INRs of Fashion-MNIST; labels as for `read_mnist`.

    Args:
        folder: with train, test and splits.json.
        splits: another JSON than the folder's.

    Raises:
        FileNotFoundError: as for `read_mnist`.
        ValueError: as for `read_mnist`; or a JSON's label is not the one in the file.
    """
    folder = pathlib.Path(folder)
    files = [
        (path, half, {"image": _number(path, "model_")})
        for half in ("train", "test")
        for path in sorted((folder / half).glob("*.pth"))
    ]
    keys = [f"{half}/{path.name}" for path, half, _ in files]
    zoo = _zoo("dws_fashion", folder, files)
    parts = _splits(splits or folder / "splits.json", keys, -2, zoo.labels["label"])
    return dataclasses.replace(zoo, splits=parts)


def read_sines(folder: str | os.PathLike, splits: str | os.PathLike | None = None) -> Published:
    """DWSNets' INRs of waves a sin(b x); labels are `amplitude` and `frequency`.

    Args:
        folder: with the files, or folders of them.
        splits: DWSNets' JSON; by default there are none, see `zoos.split`.

    Raises:
        FileNotFoundError: as for `read_mnist`.
        ValueError: as for `read_mnist`; or the y in a file is not a sin(b x).
    """
    folder = pathlib.Path(folder)
    files = [(p, "", {"image": _number(p, "model_")}) for p in sorted(folder.rglob("*.pth"))]
    keys = [path.name for path, _, _ in files]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{folder}: expected files of different names, got two of one")
    zoo = _zoo("dws_sines", folder, files)
    labels = {k: v for k, v in zoo.labels.items() if k != "image"}
    parts = {} if splits is None else _splits(splits, keys, -1, None)
    return dataclasses.replace(zoo, labels=labels, splits=parts)


def read_nfn(
    folder: str | os.PathLike,
    data: str,
    views: Sequence[int] = (0,),
    points: tuple[int, int] = POINTS,
) -> Published:
    """NFN's INRs; labels are `label`, `image` and `view`.

    Args:
        folder: siren_mnist_wts or the like.
        data: "mnist", "fashion" or "cifar".
        views: 0 is the image itself, k + 1 its augmentation `augK`. All views of an image
            share its number in `runs`; those from 1 on are in no split but "train".
        points: the first image of validation and of test. As published for all three data
            sets; Zhou et al. (2023b) have (55 000, 60 000) for the MNISTs (unconfirmed).

    Raises:
        FileNotFoundError: a view is missing.
        ValueError: as for `read_mnist`; or an image is there twice.
    """
    if f"nfn_{data}" not in CONVENTIONS:
        raise ValueError(f"expected data 'mnist', 'fashion' or 'cifar', got {data!r}")
    folder, files = pathlib.Path(folder), []
    for view in views:
        middle = f"_aug{view - 1}" if view else ""
        here = [
            (path, "", {"label": label, "image": _number(path, "net"), "view": view})
            for label in range(10)
            for path in sorted((folder / f"randinit_smaller{middle}_{label}s").glob("*.pth"))
        ]
        if not here:
            raise FileNotFoundError(f"expected {folder}/randinit_smaller{middle}_0s/net0.pth, ...")
        if len({facts["image"] for *_, facts in here}) < len(here):
            raise ValueError(f"{folder}: view {view} has an image twice, under two labels")
        files += here
    zoo = _zoo(f"nfn_{data}", folder, files)
    image, view = zoo.labels["image"], zoo.labels["view"]
    parts = {
        "train": image < points[0],
        "validation": (image >= points[0]) & (image < points[1]) & (view == 0),
        "test": (image >= points[1]) & (view == 0),
    }
    return dataclasses.replace(zoo, splits={k: np.flatnonzero(v) for k, v in parts.items()})


def _zoo(name, folder, files):
    """The networks of (path, half, facts), without splits; a run is an image of a half."""
    if not files:
        raise FileNotFoundError(f"expected networks of the layout {name} in {folder}, found none")
    spec = CONVENTIONS[name].spec
    order, table = published.torch_order(spec), []
    vectors = np.empty((len(files), spec.count), np.float32)
    for i, (path, _, facts) in enumerate(files):
        where = printable(path)
        arrays, beside = published.layers(torch_files.state(path), LAYER, where)
        if odd := [k for k in beside if k not in BESIDE]:
            raise ValueError(
                f"{where}: expected seq.0.weight or net.0.linear.weight, got {odd[0]!r:.200}"
            )
        vectors[i] = published.flat(arrays, spec, where)[order]
        table.append(facts | _facts(beside, name, where))
    if any(facts.keys() != table[0].keys() for facts in table):
        raise ValueError(
            f"{folder}: expected files with the same labels, got {table[0]} and others"
        )
    labels = {k: np.array([facts[k] for facts in table], np.float32) for k in table[0]}
    if "label" in labels:
        published.check_range("label", labels["label"], 0, 9, folder)
    runs = published.numbered([f"{half} {facts['image']}" for _, half, facts in files])
    return Published(vectors, (spec,), np.zeros(len(files), int), labels, runs)


def _facts(beside, name, path):
    """The labels that a file states itself."""
    if name == "dws_fashion":
        label = beside.get("label")
        number = _array(label, path)
        if number.shape not in ((), (1,)) or number.dtype.kind not in "iu":
            raise ValueError(f"{path}: expected an integer label inside, got {label!r:.80}")
        return {"label": int(number.item())}
    if name != "dws_sines":
        return {}
    coef = _array(beside.get("coef", ()), path)
    if coef.size not in (1, 2) or coef.dtype.kind != "f":
        raise ValueError(f"{path}: expected coef, an amplitude and a frequency, got {coef!r:.80}")
    amplitude, frequency = ([1.0] if coef.size == 1 else []) + coef.ravel().tolist()
    if {"x", "y"} <= set(beside):
        x, y = (_array(beside[k], path, np.float64) for k in ("x", "y"))
        error = (
            np.abs(y - amplitude * np.sin(frequency * x)).max() if x.shape == y.shape else math.inf
        )
        if not error < 1e-4:
            raise ValueError(
                f"{path}: expected y = {amplitude:.4g} sin({frequency:.4g} x), off by {error:.3g}"
            )
    return {"amplitude": amplitude, "frequency": frequency}


def _array(x, path, kind=None):
    try:
        return np.asarray(x, kind)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected numbers beside the weights ({error})") from error


def _splits(path, keys, depth, labels):
    """Ours from a JSON of theirs: lists of paths, or {"path": [...], "label": [...]}.

    Paths are those of the authors' machine; of each only the last components count, from
    `depth` on, and for MNIST (-3) the first of these.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected the splits {path}, found no file")
    if path.stat().st_size > JSON_BYTES:
        raise ValueError(f"{path}: expected at most {JSON_BYTES} bytes")
    try:
        data = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON ({error!r:.80})") from error
    if not isinstance(data, dict) or not {"train", "test"} <= set(data) <= set(SPLITS):
        raise ValueError(f"{path}: expected a JSON object of {[*SPLITS]}")
    place, parts = {key: i for i, key in enumerate(keys)}, {}
    for name, part in data.items():
        listed = part.get("path") if isinstance(part, dict) else part
        if not isinstance(listed, list) or not all(isinstance(p, str) for p in listed):
            raise ValueError(f"{path}: expected paths as {name!r}")
        ends = [pathlib.PurePosixPath(p).parts[depth:] for p in listed]
        ends = [e[0] if depth == -3 and e else "/".join(e) for e in ends]
        absent = [e for e in ends if e not in place]
        if absent:
            raise FileNotFoundError(
                f"{path}: {len(absent)} networks of {name!r} are not in the folder: {absent[:3]}"
            )
        parts[SPLITS[name]] = np.array([place[e] for e in ends], int)
        if isinstance(part, dict) and labels is not None:
            _agree(part.get("label"), labels[parts[SPLITS[name]]], ends, path)
    return parts


def _agree(listed, labels, names, path):
    try:
        listed = np.array(listed, float)  # DWSNets' script writes them as strings
    except (TypeError, ValueError):
        listed = np.zeros(0)
    if listed.shape != labels.shape:
        raise ValueError(f"{path}: expected a label for each of {len(labels)} networks")
    wrong = np.flatnonzero(listed != labels)
    if len(wrong):
        raise ValueError(
            f"{path}: {len(wrong)} labels differ from the files', first that of "
            f"{printable(names[wrong[0]])}: {listed[wrong[0]]:g}, in the file {labels[wrong[0]]:g}"
        )


def _number(path, prefix):
    match = re.fullmatch(rf"{prefix}(\d{{1,9}})\.pth", path.name)
    if match is None:
        raise ValueError(f"{printable(path)}: expected a name {prefix}NUMBER.pth")
    return int(match[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks a folder and prints what is in it."""
    options = {
        "--layout": {"choices": [*CONVENTIONS], "required": True, "help": "whose, of what"},
        "--splits": {"help": "a JSON file of splits"},
    }
    published.command(__doc__, _check, options, arguments)


def _check(parsed: argparse.Namespace) -> Published:
    family, _, data = parsed.layout.partition("_")
    if family == "nfn":
        return read_nfn(parsed.folder, data)
    read = {"mnist": read_mnist, "fashion": read_fashion, "sines": read_sines}[data]
    return read(parsed.folder, parsed.splits)


if __name__ == "__main__":
    main()

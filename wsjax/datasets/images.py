"""Images that the classifiers and INRs of a zoo are trained on.

    load("digits")                   scikit-learn's, 8 x 8; nothing to download
    load("mnist")                    tensorflow-datasets, prepared on first use
    load("mnist", folder="FOLDER")   the original files; `image_files` lists their names

    Images(train [n, row, col, channel] uint8, train_labels [n], test, test_labels)
        --prepare-->  float32 in [0, 1] or [-1, 1], gray or resized as a zoo's recipe has it

tensorflow-datasets shuffles when it prepares: its MNIST has the images of the original
files in another order. `Images.fingerprint` differs; a recipe should keep it.
"""

import dataclasses
import functools
import hashlib
import io
import json
import math
import os
import pathlib
import warnings
import zipfile
from typing import Any

import numpy as np

from wsjax import checks, storage
from wsjax.datasets import image_files
from wsjax.summaries import summary

DIGITS = tuple("0123456789")
CLASSES = {
    "digits": DIGITS,
    "mnist": DIGITS,
    "svhn": DIGITS,
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
NAMES = tuple(CLASSES)
TFDS = {"svhn": "svhn_cropped"} | {name: name for name in ("mnist", "fashion_mnist", "cifar10")}
DIGITS_TEST = 500  # the last of scikit-learn's 1,797

FORMAT = 1
ABOUT_BYTES = 64 << 10
ARRAY_BYTES = 1 << 30
MEMBERS = {  # of a kept .npz: type and rank
    "about": ("|u1", 1),
    **{part: ("|u1", 4) for part in ("train", "test")},
    **{f"{part}_labels": ("<i4", 1) for part in ("train", "test")},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images with classes, of training and of the test.

    Attributes:
        name: of the data set.
        train: [n, row, col, channel] uint8; one channel, or red, green and blue.
        train_labels: [n] int32, positions in `classes`.
        test: as `train`; its n may differ.
        test_labels: as `train_labels`.
        classes: the name of each class.
        source: where they are from, such as "tfds" or "files-" and a digest.

    Raises:
        ValueError: a shape, a type or a label is not as above; every mistake is listed.
    """

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    source: str = ""

    __repr__ = summary

    def __post_init__(self):
        wrong = []
        for part in ("train", "test"):
            images, labels = getattr(self, part), getattr(self, f"{part}_labels")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3:] not in ((1,), (3,)):
                wrong.append(f"{part}: expected uint8 [n, row, col, 1 or 3], got {_of(images)}")
            elif not images.size:
                wrong.append(f"{part}: expected at least one image, got {_of(images)}")
            if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
                wrong.append(f"{part}_labels: expected int32 [{len(images)}], got {_of(labels)}")
            elif (odd := np.flatnonzero((labels < 0) | (labels >= len(self.classes)))).size:
                wrong.append(
                    f"{part}_labels: label {labels[odd[0]]} of image {odd[0]} is not one of 0 to "
                    f"{len(self.classes) - 1}"
                )
        if self.train.shape[1:] != self.test.shape[1:]:
            wrong.append(
                f"test: expected images of the shape in train, {self.train.shape[1:]}, got "
                f"{self.test.shape[1:]}"
            )
        if len(set(self.classes)) < len(self.classes) or len(self.classes) < 2:
            wrong.append(f"classes: expected two or more different names, got {self.classes}")
        checks.raise_all(f"images of {self.name!r} make no sense", wrong)

    def fingerprint(self) -> str:
        """sha256 of the name, the classes and all numbers, in their order."""
        arrays = [np.ascontiguousarray(getattr(self, a)) for a in MEMBERS if a != "about"]
        head = [self.name, list(self.classes), [a.shape for a in arrays]]
        total = hashlib.sha256(json.dumps(head).encode())
        for array in arrays:
            total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        return total.hexdigest()


def load(
    name: str, folder: str | os.PathLike | None = None, cache: str | os.PathLike | None = None
) -> Images:
    """The images of a data set, always from the source that is named.

    Without a folder they are tensorflow-datasets', kept in TFDS_DATA_DIR and made
    there on first use: that downloads (1.5 GB for svhn) and needs TensorFlow; offline it
    finds MNIST's and Fashion-MNIST's original files in TFDS_DATA_DIR/downloads/manual. SVHN
    is always the cropped digits, digit 0 as class 0.

    Args:
        name: one of `NAMES`.
        folder: holds the original files, see `image_files`, or a folder with the name of the
            data set that does. Not for "digits".
        cache: a folder where a small .npz of what was read is kept, one for each data set
            and source, and read the next time: `mnist-tfds.npz` serves a machine that
            lacks tensorflow-datasets. One that is damaged is made anew, with a warning.

    Raises:
        ValueError: an unknown name, or a file that is damaged, altered or too large.
        FileNotFoundError: the folder lacks files.
        ImportError: tensorflow-datasets is absent, or TensorFlow where it must prepare.
        RuntimeError: tensorflow-datasets could not prepare the data set.
    """
    if name not in NAMES:
        raise ValueError(f"expected images of one of {NAMES}, got {name!r}")
    if name == "digits":
        if folder is not None:
            raise ValueError(f"digits come with scikit-learn: expected no folder, got {folder}")
        return _digits()
    if folder is None:
        source, make = "tfds", functools.partial(_prepared, name)
    else:
        inside = pathlib.Path(folder) / name
        files = image_files.find(name, inside if inside.is_dir() else folder)
        source = f"files-{image_files.digest(files)[:16]}"
        make = functools.partial(image_files.read, name, files)
    path = None if cache is None else pathlib.Path(cache) / f"{name}-{source}.npz"
    if path is not None and os.path.lexists(path):
        try:
            kept = read(path)
            if (kept.name, kept.source) == (name, source):
                return kept
            reason = f"it holds {kept.name} of {kept.source}"
        except ValueError as error:
            reason = error
        warnings.warn(f"{path} is not used, and made anew: {reason}", stacklevel=2)
    images = Images(name, *make(), CLASSES[name], source)
    if path is not None:
        save(path, images)
    return images


def save(path: str | os.PathLike, images: Images) -> None:
    """Keeps images as one compressed .npz, in place of any at `path`; undone by `read`."""
    path = pathlib.Path(path)
    about = {
        "format": FORMAT,
        **{k: getattr(images, k) for k in ("name", "classes", "source")},
        "sha256": images.fingerprint(),
    }
    arrays: dict[str, Any] = {k: getattr(images, k) for k in MEMBERS if k != "about"}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    out = io.BytesIO()
    arrays = {k: np.ascontiguousarray(v, MEMBERS[k][0]) for k, v in arrays.items()}
    np.savez_compressed(out, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(path, out.getvalue())


def read(path: str | os.PathLike) -> Images:
    """The images that `save` kept, all of them inspected.

    Raises:
        ValueError: there is no such file, or it is damaged, altered, too large, or not one
            that `save` wrote; the message says which.
    """
    path = pathlib.Path(path)
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"expected images kept in a plain file {path}, found none")
    if (size := path.stat().st_size) > ARRAY_BYTES:
        raise ValueError(f"{path} has {size} bytes, expected at most {ARRAY_BYTES}")
    data = io.BytesIO(path.read_bytes())
    try:
        about, arrays = _members(data)
        rest = {"classes": tuple(about["classes"]), "source": about["source"]}
        images = Images(about["name"], **arrays, **rest)
        if (digest := images.fingerprint()) != about["sha256"]:
            raise ValueError(f"expected numbers of sha256 {about['sha256']}, got {digest}")
    except Exception as error:  # of a damaged .npz, zipfile and NumPy raise nearly anything
        raise ValueError(f"{path} is damaged, or no .npz file: {error}") from error
    return images


def subset(images: Images, seed: int, train: int | None = None, test: int | None = None) -> Images:
    """Some of the images, drawn without replacement; all of a part where its count is None.

    Of one seed, the images of a smaller count are the first of a larger one.

    Raises:
        ValueError: a count is below 1 or more than there are.
    """
    chosen = {}
    for stream, (part, count) in enumerate((("train", train), ("test", test))):
        total = len(getattr(images, part))
        if count is None:
            continue
        if not 1 <= count <= total:
            raise ValueError(f"expected 1 to {total} {part} images, got {count}")
        rows = np.random.default_rng((seed, stream)).permutation(total)[:count]
        chosen |= {k: getattr(images, k)[rows] for k in (part, f"{part}_labels")}
    return dataclasses.replace(images, **chosen)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a zoo's recipe turns images into inputs.

    Attributes:
        gray: whether to average red, green and blue, as the small CNN zoo does
            (Unterthiner et al., 2020).
        size: rows and columns to resize to; None leaves them.
        low: what black becomes, 0 or -1; white becomes 1.

    Raises:
        ValueError: a setting is none of these.
    """

    gray: bool = False
    size: int | None = None
    low: float = 0.0

    def __post_init__(self):
        if self.low not in (0, -1):
            raise ValueError(f"low: expected 0 or -1, got {self.low}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size: expected 1 or more, or None, got {self.size}")


def prepare(images: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Images [n, row, col, channel] uint8 as inputs [n, row, col, channel] float32.

    Gray first, then the size, then the range; all on the CPU, so that every device trains
    on the same numbers.

    Raises:
        ValueError: the images are no uint8 of rank four.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"expected uint8 [n, row, col, channel], got {_of(images)}")
    if preparation.gray:
        values = images.mean(axis=-1, dtype=np.float32, keepdims=True)
    else:
        values = images.astype(np.float32)
    if preparation.size is not None:
        values = resize(values, preparation.size)
    values /= 255
    if preparation.low:
        values *= 2
        values -= 1
    return values


def resize(values: np.ndarray, size: int) -> np.ndarray:
    """Bilinear resizing of [n, row, col, channel] float32 to `size` rows and columns.

    Where it shrinks, a pixel averages all it covers (a triangle as wide as the scale), as
    Pillow's BILINEAR and `jax.image.resize(..., "linear")` do.
    """
    rows, cols = (_triangles(n, size) for n in values.shape[1:3])
    out = np.empty((len(values), size, size, values.shape[3]), np.float32)
    for i, image in enumerate(values):  # one by one: what lies between fits the cache
        np.einsum("pr,rcx,qc->pqx", rows, image, cols, out=out[i], optimize=True)
    return np.clip(out, values.min(), values.max(), out=out)  # rounding may lead out


def _triangles(before, after):
    """[after, before] weights; each row adds up to 1."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    away = np.abs(np.arange(before) - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - away)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _digits():
    """scikit-learn's handwritten digits: 1,297 to train on, the last 500 to test on.

    Of the optical recognition set's test part (Alpaydin and Kaynak, 1998), 8 x 8, one
    channel, 0..16 stretched to 0..255. The order is the file's.
    """
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError("digits need scikit-learn: pip install scikit-learn") from error
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    images = ((np.asarray(pixels, np.int32) * 255 + 8) // 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = np.asarray(labels, np.int32)
    n = len(images) - DIGITS_TEST
    return Images("digits", images[:n], labels[:n], images[n:], labels[n:], DIGITS, "sklearn")


def _prepared(name):
    """Arrays from tensorflow-datasets, which reads its array_record files without TensorFlow."""
    instead = f"or name a folder with the original files: load({name!r}, folder=...)"
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"images of {name} need tensorflow-datasets ({error}): pip install "
            f"tensorflow-datasets, {instead}"
        ) from error
    # Its bucket holds other formats only.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        parts: Any = tfds.data_source(
            TFDS[name],
            split=["train", "test"],
            download_and_prepare_kwargs={"download_config": config},
        )
    except ImportError as error:
        raise ImportError(
            f"tensorflow-datasets has not prepared {TFDS[name]} yet and cannot ({error}): "
            f"pip install 'wsjax[tensorflow]', {instead}"
        ) from error
    except Exception as error:  # of a failed download it raises nearly anything
        raise RuntimeError(
            f"tensorflow-datasets could not prepare {TFDS[name]} "
            f"({type(error).__name__}: {error}); try again, {instead}"
        ) from error
    arrays = []
    for part in parts:
        rows = [(row["image"], row["label"]) for row in part]
        images, labels = zip(*rows, strict=True)
        arrays += [np.stack(images), np.array(labels, np.int32)]
    return image_files.Arrays(*arrays)


def _members(data):
    """Facts and arrays of a kept .npz: sizes first, before any is allocated."""
    with zipfile.ZipFile(data) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if set(members) != set(MEMBERS):
            raise ValueError(f"expected {sorted(MEMBERS)} in it, found {sorted(members)}")
        for name, member in members.items():
            dtype, rank = np.dtype(MEMBERS[name][0]), MEMBERS[name][1]
            most = ABOUT_BYTES if name == "about" else ARRAY_BYTES
            if member.file_size > most:
                raise ValueError(f"{name} has {member.file_size} bytes, expected at most {most}")
            with archive.open(member) as file:
                np.lib.format.read_magic(file)
                shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
                size = file.tell() + math.prod(shape) * dtype.itemsize
            if (kind, fortran, len(shape), size) != (dtype, False, rank, member.file_size):
                raise ValueError(
                    f"{name} is {kind}{list(shape)} in {member.file_size} bytes, expected {dtype} "
                    f"of {rank} axes"
                )
    data.seek(0)
    with np.load(data, allow_pickle=False) as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in MEMBERS}
    about = json.loads(arrays.pop("about").tobytes())
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"expected facts with the format {FORMAT}, got {about}")
    return about, arrays


def _of(array):
    return f"{array.dtype}{list(array.shape)}"

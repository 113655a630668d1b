r"""Images as networks: fitted, and rendered again.

    folder = read_folder("FOLDER")                       a user's own PNG and JPEG files
    zoo, manifest = fit(folder.images, folder.labels)    a SIREN for each
    render(zoo.params(7), zoo.spec, grid(28, 28, "xy"), offset=0.5)     [row, col, channel]

    [row, col, 2] --network--> [row, col, channel] --+ offset--> the image, in its range

Weights alone do not give the points that a network is evaluated on, or the range of its image:
`grid` and `offset` do, and `inr_recipe.Recipe` names them for each of two published conventions.
"""

import collections
import hashlib
import json
import os
import pathlib
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from wsjax import architectures, checks
from wsjax.networks import Params, Spec
from wsjax.summaries import summary
from wsjax.zoos import Zoo
from wsjax.zoos.inrs import inr_factory
from wsjax.zoos.inrs.inr_factory import ImageSet
from wsjax.zoos.inrs.inr_recipe import DWS, Recipe, grid
from wsjax.zoos.store import Manifest

__all__ = ["Folder", "fit", "grid", "image_set", "read_folder", "render"]

ENDINGS = (".png", ".jpg", ".jpeg")
CHANNELS = {"L": 1, "RGB": 3}  # of Pillow's modes
PNG = b"\x89PNG\r\n\x1a\n"  # how one begins
FILE_BYTES = 16 << 20
SIDE = 1024  # no image has more rows or columns
RESIZED_SIDE = 8192  # nor has one that is resized
ORIENTATION = 0x0112  # EXIF's tag
TOTAL_BYTES = 1 << 30  # of all pixels
FILES = 200_000
LISTED = 20  # offenders that an error names


class Folder(NamedTuple):
    """A folder of images.

    Attributes:
        images: [n, row, col, channel] uint8.
        labels: [n] int32, positions in `classes`; None where there are no sub-folders.
        classes: the names of the sub-folders, escaped where they do not print.
        names: of the files, from the folder on, escaped likewise; what `images` follow.
    """

    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    names: tuple[str, ...]

    __repr__ = summary


def render(params: Params, spec: Spec, points: np.ndarray, offset: float) -> jax.Array:
    """The image [row, col, channel] of one network; `jax.vmap` over params for several.

    At the recipe's own points it is what was fitted, in the recipe's range; points may be more.

    Args:
        params: the network.
        spec: of the network.
        points: [row, col, 2], such as `grid(rows, cols, recipe.indexing)`.
        offset: the recipe's.

    Raises:
        ValueError: points have other coordinates than the network's input.

    >>> spec = architectures.mlp([2, 4, 1], "sin", omega=30.0)
    >>> params = {a.name: np.zeros(spec.shape(a), np.float32) for a in spec.arrays}
    >>> image = render(params, spec, grid(3, 5, "xy"), offset=0.5)
    >>> image.shape, float(image.min()), float(image.max())
    ((3, 5, 1), 0.5, 0.5)
    """
    reads = spec.shape(spec.layers[0].arrays[0])[0]
    if np.ndim(points) != 3 or np.shape(points)[-1] != reads:
        raise ValueError(f"expected points [row, col, {reads}], got {list(np.shape(points))}")
    return architectures.forward(params, points, spec) + offset


def image_set(images: np.ndarray, labels: np.ndarray | None = None) -> ImageSet:
    """A user's own images as what the factory takes, named by their content.

    Args:
        images: [n, row, col, 1 or 3] uint8.
        labels: [n] int.

    Raises:
        ValueError: the images or labels are no such arrays; all that is wrong is listed.
    """
    images, wrong = np.asarray(images), []
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3:] not in ((1,), (3,)):
        wrong.append(
            f"images: expected uint8 [n, row, col, 1 or 3], got {images.dtype} {[*images.shape]}"
        )
    elif not images.size:
        wrong.append(f"images: expected at least one pixel, got {[*images.shape]}")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            wrong.append(
                f"labels: expected int [{len(images)}], got {labels.dtype} {[*labels.shape]}"
            )
    checks.raise_all("cannot fit", wrong)
    digest = hashlib.sha256(json.dumps([images.shape, labels is not None]).encode())
    digest.update(np.ascontiguousarray(images).data)
    if labels is not None:
        digest.update(labels.astype("<i8").data)
    name = f"own-{digest.hexdigest()[:8]}"
    return ImageSet(name, "an array", digest.hexdigest(), {"all": (images, labels)})


def fit(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    recipe: Recipe = DWS,
    cache: str | os.PathLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Zoo, Manifest]:
    """Fits SIRENs to a user's own images; shows progress on standard error.

    The views of an image are one run, so that no split separates them. The zoo has no splits
    yet: see `zoos.split`.
    Its labels are those of `inr_factory.make`, "class" only where labels are given.

    Args:
        images: [n, row, col, 1 or 3] uint8.
        labels: [n] int.
        recipe: its counts of images play no part.
        cache: as for `inr_factory.make`.
        devices: share the networks out; by default all there are.

    Raises:
        ValueError: the images or labels are no such arrays; or no network stayed finite.
    """
    return inr_factory.make(recipe, image_set(images, labels), cache, devices=devices)


def read_folder(folder: str | os.PathLike, size: int | None = None, gray: bool = False) -> Folder:
    """Reads a user's PNG and JPEG files, all gray or all red, green and blue, and of one size.

    They lie in the folder itself, or in sub-folders whose names are their classes. Names
    that begin with a dot are passed over. Photographs are rotated as viewers display them, by
    their EXIF orientation. Nothing else is changed unless `size` or `gray` has it so: what does
    not fit is listed, all of it in one error, before any image is fitted.

    Args:
        folder: of the images.
        size: rows and columns that the middle square of each image is resized to (Pillow's
            BILINEAR); None leaves them.
        gray: whether red, green and blue are averaged, as in `images.Preparation`.

    Raises:
        ValueError: a file is no image, damaged, a link, too large, or unlike most others; or
            there is none; or the size is not from 1 to `SIDE`.
        FileNotFoundError: there is no such folder.
        ImportError: Pillow is not installed.
    """
    try:
        import PIL.Image
    except ImportError as error:
        raise ImportError("images of a folder need Pillow: pip install pillow") from error
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of images at {folder}, found none")
    if size is not None and not 1 <= size <= SIDE:
        raise ValueError(f"size: expected 1 to {SIDE}, or None, got {size}")
    paths, wrong = _files(folder)
    kinds, orientations = {}, {}
    for path in paths:
        try:
            kind, orientations[path] = _kind(PIL.Image, path, RESIZED_SIDE if size else SIDE)
            kinds[path] = (size or kind[0], size or kind[1], "L" if gray else kind[2])
        except Exception as error:  # of a damaged image Pillow raises nearly anything
            wrong[path] = str(error)
    if not kinds:
        nothing = "holds no image: expected .png or .jpg files, or sub-folders of them"
        _expect_none(folder, wrong or {folder: nothing})
    usual, _ = collections.Counter(kinds.values()).most_common(1)[0]
    words = lambda kind: f"{kind[0]} x {kind[1]} {kind[2]}"
    for path, kind in kinds.items():
        if kind != usual:
            wrong[path] = f"is {words(kind)}, most are {words(usual)}"
            wrong[path] += "; size=N, --resize N makes them one size" * (kind[:2] != usual[:2])
            wrong[path] += "; gray=True, --gray makes them all gray" * (kind[2] != usual[2])
    each = usual[0] * usual[1] * CHANNELS[usual[2]]
    if each * len(kinds) > TOTAL_BYTES:
        wrong[folder] = f"has {each * len(kinds)} bytes of pixels, of at most {TOTAL_BYTES}"
    _expect_none(folder, wrong)
    images = np.empty((len(paths), *usual[:2], CHANNELS[usual[2]]), np.uint8)
    for i, path in enumerate(paths):
        try:
            with PIL.Image.open(path, formats=("PNG", "JPEG")) as image:
                pixels = np.asarray(_square(PIL.Image, image, size) if size else image)
                _expect_whole(path.read_bytes(), image.size)
            pixels = _upright(pixels.reshape(*pixels.shape[:2], -1), orientations[path])
            images[i] = np.rint(pixels.mean(-1, keepdims=True)) if gray else pixels
        except Exception as error:
            wrong[path] = f"is damaged ({type(error).__name__})"
    _expect_none(folder, wrong)
    names = tuple(_name(folder, path) for path in paths)
    classes = sorted({p.parent.name for p in paths if p.parent != folder})
    place = {name: i for i, name in enumerate(classes)}
    labels = np.array([place[p.parent.name] for p in paths], np.int32) if classes else None
    return Folder(images, labels, tuple(map(checks.printable, classes)), names)


def _expect_whole(data, size):
    """Raises where a PNG has an altered chunk or too few pixels, for which Pillow has black."""
    if not data.startswith(PNG):
        return
    place, kind, packed = len(PNG), b"", b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place + 4 : place + 8 + length]
        if struct.unpack_from(">I", data, place + 8 + length) != (zlib.crc32(chunk),):
            raise ValueError(f"altered chunk {kind!r}")
        packed += chunk[4:] if kind == b"IDAT" else b""
        place += 12 + length
    cols, rows, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if (cols, rows) != size:
        raise ValueError("two heads")
    count = rows * (1 + -(-cols * bits * (3 if color == 2 else 1) // 8))
    if not interlaced and len(zlib.decompressobj().decompress(packed, count)) < count:
        raise ValueError("too few pixels")


def _square(pillow, image, size):
    """The middle square of an image, resized."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    middle = image.crop((left, top, left + side, top + side))
    return middle.resize((size, size), pillow.Resampling.BILINEAR)


def _upright(pixels, orientation):
    """[row, col, channel] as EXIF has it displayed: 2 is mirrored, 6 a quarter to the right."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _expect_none(folder, wrong):
    reasons = sorted(wrong.items())
    lines = [f"{_name(folder, p)} {checks.printable(reason)}" for p, reason in reasons]
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    headline = f"images of {checks.printable(folder)} cannot be used"
    checks.raise_all(headline, lines[:LISTED] + more)


def _files(folder):
    """The images' paths, in order, and path -> what is wrong with others."""
    paths, wrong = [], {}
    visible = lambda place: sorted(p for p in place.iterdir() if not p.name.startswith("."))
    for top in visible(folder):
        nested = top.is_dir() and not top.is_symlink()
        inner = visible(top) if nested else [top]
        if not inner:
            wrong[top] = "is an empty folder"
        for path in inner:
            if path.is_symlink():
                wrong[path] = "is a link, which could lead out of the folder"
            elif not path.is_file():
                wrong[path] = "is no file: images lie one folder deep at most"
            elif path.suffix.lower() not in ENDINGS:
                wrong[path] = f"is no image: expected one of {', '.join(ENDINGS)}"
            elif path.stat().st_size > FILE_BYTES:
                wrong[path] = f"has {path.stat().st_size} bytes, of at most {FILE_BYTES}"
            else:
                paths.append(path)
    if len(paths) > FILES:
        return [], {folder: f"holds {len(paths)} images, of at most {FILES}"}
    if any(p.parent == folder for p in paths) and any(p.parent != folder for p in paths):
        for path in paths:
            if path.parent == folder:
                wrong[path] = "lies beside sub-folders of images: which class is it?"
    return paths, wrong


def _kind(pillow, path, most):
    """(rows, columns, mode) as displayed, and EXIF's orientation; decodes nothing too large."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of images that are too large
        try:
            image = pillow.open(path, formats=("PNG", "JPEG"))
        except Exception as error:
            raise ValueError(f"is no PNG or JPEG, or damaged ({type(error).__name__})") from error
        with image:
            (cols, rows), mode = image.size, image.mode
            if max(rows, cols) > most:
                more = "" if most == RESIZED_SIDE else ", unless with size=N, --resize N"
                raise ValueError(f"is {rows} x {cols}, of at most {most} x {most}{more}")
            if mode not in CHANNELS:
                raise ValueError(
                    f"is of mode {mode}: expected one of {', '.join(CHANNELS)}, 8 bits a channel "
                    "and no transparency: save it so"
                )
            try:
                orientation = image.getexif().get(ORIENTATION)  # of a PNG it may come last
            except Exception as error:
                raise ValueError(f"is damaged, or its EXIF is ({type(error).__name__})") from error
    return ((cols, rows) if orientation in (5, 6, 7, 8) else (rows, cols)) + (mode,), orientation


def _name(folder, path):
    return checks.printable(path.relative_to(folder).as_posix()) if path != folder else "it"

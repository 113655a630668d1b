"""The factory of image INRs: recipe and images in, a `Zoo` and a manifest out.

    zoo, manifest = make(RECIPES["dws"], images.load("mnist"), cache)
    make(recipe, images, cache, share=(0, 2))      every other block; another process has
                                                   share (1, 2) of the same folder

    part "train" --permuted by the seed--> image 7, 2, ... --views 0, 1, ...--> blocks

Each block is on disk as soon as it is done: an interrupted zoo goes on at the next one. A
network is the same in whatever zoo of its recipe it is made, on the same device with the
same versions. All views of an image are one run, in the part of the image.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from wsjax import storage
from wsjax.datasets.images import Images, Preparation, prepare
from wsjax.storage import versions
from wsjax.zoos import Zoo, blocks
from wsjax.zoos.classifiers.classifier_factory import PACKAGES, UnfinishedError, progress
from wsjax.zoos.inrs import inr_fitting, inr_statistics
from wsjax.zoos.inrs.inr_recipe import Recipe
from wsjax.zoos.store import Manifest

RULE = "a weight or the error was NaN or infinite"
LABELS = ("class", "image", "mse", "psnr", "steps", "view")


class Pictures(NamedTuple):
    """Images in parts; `pictures` makes them of a data set.

    Attributes:
        name: of the data set, a word for file names.
        source: where they are from.
        sha256: of all they are.
        parts: name -> [n, row, col, channel] uint8 and classes [n], or None.
    """

    name: str
    source: str
    sha256: str
    parts: Mapping[str, tuple[np.ndarray, np.ndarray | None]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """[row, col, channel] of every image."""
        return next(iter(self.parts.values()))[0].shape[1:]

    def start(self, part: str) -> int:
        """The run of a part's image 0: runs count through all parts."""
        names = list(self.parts)
        return sum(len(self.parts[p][0]) for p in names[: names.index(part)])


class Block(NamedTuple):
    """Networks that are fitted in one call: a view of images of a part."""

    part: str
    view: int
    start: int
    images: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        digest = hashlib.sha256(json.dumps(self.images).encode()).hexdigest()
        return f"block-{self.part}-{self.view:02d}-{self.start:06d}-{digest[:8]}"


def pictures(images: Images) -> Pictures:
    """A data set as what the factory takes."""
    parts = {p: (getattr(images, p), getattr(images, f"{p}_labels")) for p in ("train", "test")}
    return Pictures(images.name, images.source, images.fingerprint(), parts)


def make(
    recipe: Recipe,
    images: Images | Pictures,
    cache: str | os.PathLike,
    share: tuple[int, int] = (0, 1),
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Zoo, Manifest]:
    """The zoo of a recipe; blocks that are not in the cache are fitted first.

    Labels are "class", where images have one, "image", its number in its part of the data
    set, "view", "steps", "mse" in the recipe's range and "psnr" in decibels. `runs` number
    the images, those of the test part behind the others. Splits are the parts.

    Args:
        recipe: what to make. Each has a folder of its own, whatever number of images and views.
        images: to fit.
        cache: where the folders lie.
        share: (k, n): of n processes this is number k, from 0, and makes every n-th block.
        devices: share each block out; by default all there are.

    Raises:
        ValueError: there are fewer images than the recipe takes, or other ones than those
            that the folder was begun with; or no network at all was finite.
        UnfinishedError: this share is done, others are not.
    """
    if isinstance(images, Images):
        images = pictures(images)
    return read(generate(recipe, images, cache, share, devices), recipe, images)


def generate(
    recipe: Recipe,
    images: Pictures,
    cache: str | os.PathLike,
    share: tuple[int, int] = (0, 1),
    devices: Sequence[jax.Device] | None = None,
) -> pathlib.Path:
    """Fits a share of the blocks that are missing or damaged; gives the zoo's folder.

    Arguments and errors are those of `make`.
    """
    part, parts = share
    if not 0 <= part < parts:
        raise ValueError(f"expected a share (k, n) with k from 0 to n - 1, got {share}")
    mine = partition(recipe, images)[part::parts]
    folder = begin(recipe, images, cache)
    todo = [b for b in mine if blocks.missing(folder, b.name)]
    if not todo:
        return folder
    devices = tuple(jax.devices() if devices is None else devices)
    count = inr_fitting.padded(recipe.block, devices)
    _, compiling = inr_fitting.compiled(recipe, images.shape, count, devices=devices)
    with progress(sum(len(b.images) for b in todo)) as tell:
        for block in todo:
            chosen = images.parts[block.part][0][list(block.images)]
            values = prepare(chosen, Preparation(low=recipe.low))
            keys = inr_fitting.keys(recipe.seed, block.part, block.images, block.view)
            began = time.perf_counter()
            fit = inr_fitting.run(recipe, values, keys, count, devices=devices)
            facts = {
                **block._asdict(),
                "seconds": round(time.perf_counter() - began, 3),
                "compile_seconds": round(compiling, 3),
                "device": f"{len(devices)} x {devices[0].device_kind}",
                "versions": versions(*PACKAGES),
            }
            blocks.write(folder, block.name, fit._asdict(), facts)
            tell(len(block.images))
    return folder


def read(folder: pathlib.Path, recipe: Recipe, images: Pictures) -> tuple[Zoo, Manifest]:
    """The zoo whose blocks lie in a folder, and its manifest, which is written there.

    Raises:
        UnfinishedError: blocks are missing.
        DamagedError: one is damaged; names the file.
        ValueError: no network at all was finite.
    """
    begun, found, missing = storage.read_sealed(folder / "begun.json"), [], []
    for block in partition(recipe, images):
        try:
            found.append((block, *blocks.read(folder, block.name)))
        except FileNotFoundError:
            missing.append(block.name)
    if missing:
        total = len(missing) + len(found)
        raise UnfinishedError(
            f"{len(missing)} of {total} blocks in {folder} are not finished: {missing[:3]}"
        )
    zoo, excluded = collect(recipe, images, found)
    about = [x for _, _, x in found]
    seconds = sum(x["seconds"] for x in about)
    total = len(zoo) + excluded["count"]
    manifest = {
        "format": blocks.FORMAT,
        "recipe": dataclasses.asdict(recipe),
        "images": begun["images"],
        "networks": len(zoo),
        "runs": len(np.unique(zoo.runs)),
        "splits": {k: len(v) for k, v in zoo.splits.items()},
        "labels": sorted(zoo.labels),
        "excluded": excluded,
        "psnr": inr_statistics.percentiles(zoo.labels["psnr"]),
        "within_tolerance": int((zoo.labels["mse"] <= np.float32(recipe.tolerance)).sum()),
        "layers": inr_statistics.layers(zoo.vectors, zoo.specs[0]),
        "files": {
            f"{b.name}.safetensors": {"sha256": x["sha256"], "bytes": x["bytes"]}
            for b, _, x in found
        },
        "versions": blocks.distinct(x["versions"] for x in about),
        "made_on": blocks.distinct(x["device"] for x in about),
        "seconds": round(seconds, 2),
        "networks_per_minute": round(60 * total / max(seconds, 1e-9), 2),
        "licence": "MIT; generated by wsjax.zoos.inrs.inr_factory. Images are under their own.",
    }
    return zoo, storage.write_sealed(folder / "manifest.json", manifest)


def begin(recipe: Recipe, images: Pictures, cache: str | os.PathLike) -> pathlib.Path:
    """The folder of a recipe, made if it is not there; it names recipe and images.

    Raises:
        ValueError: the folder was begun with other images.
    """
    folder, same = _place(recipe, images, cache)
    mine = {
        "recipe": same,
        "images": {
            "name": images.name,
            "source": images.source,
            "sha256": images.sha256,
            "parts": {k: len(x) for k, (x, _) in images.parts.items()},
            "shape": list(images.shape),
        },
    }
    path = folder / "begun.json"
    if path.exists():
        begun = storage.read_sealed(path)
        if begun["images"]["sha256"] != images.sha256:
            raise ValueError(
                f"{folder} was begun with other images: expected sha256 "
                f"{begun['images']['sha256']} ({begun['images']['source']}), got "
                f"{images.sha256} ({images.source})"
            )
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_sealed(path, mine)
    return folder


def _place(recipe, images, cache):
    """The folder of a recipe, and what it shares with all others there."""
    counts = ("train_images", "test_images", "views", "test_views")
    same = json.loads(json.dumps(dataclasses.asdict(recipe)))
    same = {k: v for k, v in same.items() if k not in counts}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    return pathlib.Path(cache) / f"inr-{images.name}-seed{recipe.seed}-{digest[:8]}", same


def unfinished(recipe: Recipe, images: Pictures, cache: str | os.PathLike) -> int:
    """How many networks of a zoo are not on disk yet; damaged ones count as there."""
    folder, _ = _place(recipe, images, cache)
    missing = lambda block: not (folder / f"{block.name}.json").exists()
    return sum(len(b.images) for b in partition(recipe, images) if missing(b))


def partition(recipe: Recipe, images: Pictures) -> list[Block]:
    """The blocks of a recipe in the order they are made: view by view, part by part.

    Raises:
        ValueError: the recipe takes more images than there are.
    """
    counts = {"train": recipe.train_images, "test": recipe.test_images}
    few = [
        f"{counts[part]} {part} images, got {len(array)}"
        for part, (array, _) in images.parts.items()
        if counts.get(part, 0) > len(array)
    ]
    if few:
        raise ValueError(f"expected at least {', '.join(few)}")
    found = []
    for view in range(max(recipe.views, recipe.test_views)):
        for stream, (part, (array, _)) in enumerate(images.parts.items()):
            if view >= (recipe.test_views if part == "test" else recipe.views):
                continue
            order = np.random.default_rng((recipe.seed, stream)).permutation(len(array))
            order = order[: counts.get(part, 0) or len(array)].tolist()
            for at in range(0, len(order), recipe.block):
                found.append(Block(part, view, at, tuple(order[at : at + recipe.block])))
    return found


def collect(
    recipe: Recipe,
    images: Pictures,
    found: Sequence[tuple[Block, Mapping[str, np.ndarray], Mapping]],
) -> tuple[Zoo, dict[str, Any]]:
    """The zoo of those networks that stayed finite, and a note on the others.

    Raises:
        ValueError: none did.
    """
    names = list(images.parts)
    columns = {k: [] for k in (*LABELS, "part", "run", "vectors")}
    for block, arrays, _ in found:
        numbers, classes = np.array(block.images), images.parts[block.part][1]
        values = {
            "class": np.zeros(len(numbers)) if classes is None else classes[numbers],
            "image": numbers,
            "mse": arrays["mse"],
            "psnr": 10 * np.log10((1 - recipe.low) ** 2 / np.maximum(arrays["mse"], 1e-30)),
            "steps": arrays["steps"],
            "view": np.full(len(numbers), block.view),
            "part": np.full(len(numbers), names.index(block.part)),
            "run": numbers + images.start(block.part),
            "vectors": arrays["vectors"],
        }
        for name, column in columns.items():
            column.append(values[name])
    table = {k: np.concatenate(v) for k, v in columns.items()}
    whole = np.isfinite(table["vectors"]).all(1) & np.isfinite(table["mse"])
    if not whole.any():
        raise ValueError(f"expected at least one network to stay finite, got 0 of {len(whole)}")
    note = {
        "rule": RULE,
        "count": int((~whole).sum()),
        "networks": [
            {"part": names[table["part"][i]], **{k: int(table[k][i]) for k in ("image", "view")}}
            for i in np.flatnonzero(~whole)
        ],
    }
    table = {k: v[whole] for k, v in table.items()}
    kept = [k for k in LABELS if k != "class" or images.parts[names[0]][1] is not None]
    labels = {k: table[k].astype(np.float32) for k in kept}
    parts = {name: np.flatnonzero(table["part"] == i) for i, name in enumerate(names)}
    splits = parts if len(parts) > 1 else {}
    spec, which = recipe.spec(images.shape[2]), np.zeros(whole.sum(), int)
    return Zoo(table["vectors"], (spec,), which, labels, table["run"], splits), note

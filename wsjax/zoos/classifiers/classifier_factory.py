"""The factory of classifier zoos: recipe and images in, a `Zoo` and a manifest out.

    zoo, manifest = make(recipe, images.load("mnist"), cache)
    make(recipe, images, cache, share=(0, 2))      every other block; another process has
                                                   share (1, 2) of the same folder

Networks are trained in blocks of one shape and of like cost, and each block is on disk as
soon as it is done: an interrupted zoo goes on at the next one. A network is the same in
whatever zoo of its recipe it is made, on the same device with the same versions.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import storage
from wsjax.datasets.images import Images, Preparation, prepare, subset
from wsjax.networks import Spec
from wsjax.storage import versions
from wsjax.training.progress import bar
from wsjax.zoos import Zoo, blocks
from wsjax.zoos.classifiers import classifier_families, classifier_recipe, classifier_routes
from wsjax.zoos.classifiers.classifier_recipe import SHAPE, Recipe
from wsjax.zoos.classifiers.classifier_training import Data, Plan, Settings
from wsjax.zoos.store import Manifest

FIGURES = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")
PACKAGES = ("wsjax", "jax", "jaxlib", "numpy", "optax")
RULE = (
    "a loss, a weight or a figure was NaN or infinite at some step or checkpoint; the whole "
    "training run is left out"
)


class UnfinishedError(RuntimeError):
    """Blocks of the zoo are not there yet; another process has them as its share."""


class Block(NamedTuple):
    """Networks of one shape that are trained in one call: their numbers, by cost."""

    kind: int
    shape: tuple[int, ...]
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        digest = hashlib.sha256(json.dumps(self.numbers).encode()).hexdigest()
        return f"block-{min(self.numbers):06d}-{digest[:8]}"


def make(
    recipe: Recipe,
    images: Images,
    cache: pathlib.Path,
    share: tuple[int, int] = (0, 1),
    route: str | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Zoo, Manifest]:
    """The zoo of a recipe; blocks that are not in the cache are trained first.

    Labels are what each network drew (`classifier_recipe.hyperparameters`, norms and words as
    positions in their lists), "epoch" and "steps" of the checkpoint, the `FIGURES`, and
    "generalization_gap", train less test accuracy. `runs` are the networks' numbers.

    Args:
        recipe: what to make. Each has a folder of its own, whatever number of networks.
        images: of the recipe's data set.
        cache: where the folders lie.
        share: (k, n): of n processes this is number k, from 0, and makes every n-th block.
        route: see `classifier_routes.run`.
        devices: share each block out; by default all there are.

    Raises:
        ValueError: the images are not those of the recipe, or of what was made before; or
            no network at all was finite.
        UnfinishedError: this share is done, others are not.
    """
    folder = generate(recipe, images, cache, share, route, devices)
    return read(folder, recipe)


def generate(
    recipe: Recipe,
    images: Images,
    cache: pathlib.Path,
    share: tuple[int, int] = (0, 1),
    route: str | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> pathlib.Path:
    """Trains a share of the blocks that are missing or damaged; gives the zoo's folder.

    Arguments and errors are those of `make`.
    """
    part, parts = share
    if not 0 <= part < parts:
        raise ValueError(f"expected a share (k, n) with k from 0 to n - 1, got {share}")
    folder = begin(recipe, images, cache)
    drawn = classifier_recipe.hyperparameters(recipe)
    todo = [b for b in partition(recipe, drawn)[part::parts] if blocks.missing(folder, b.name)]
    if not todo:
        return folder
    devices = tuple(jax.devices() if devices is None else devices)
    data = classifier_routes.put(inputs(recipe, images), devices)
    keys = classifier_recipe.keys(recipe)
    with progress(sum(len(b.numbers) for b in todo)) as tell:
        for block in todo:
            plan = plan_of(recipe, block, data, len(images.classes))
            count = math.ceil(recipe.block / len(devices)) * len(devices)
            settings = settings_of(drawn, keys, block, len(data.train), count)
            _, compiling = classifier_routes.compiled(plan, data, count, route, devices)
            began = time.perf_counter()
            trained = classifier_routes.run(plan, data, settings, route, devices)
            seconds = time.perf_counter() - began
            arrays = {k: v[: len(block.numbers)] for k, v in trained._asdict().items()}
            facts = {
                "networks": list(block.numbers),
                "route": route or classifier_routes.fastest(plan, devices),
                "seconds": round(seconds, 3),
                "compile_seconds": round(compiling, 3),
                "device": f"{len(devices)} x {devices[0].device_kind}",
                "versions": versions(*PACKAGES),
            }
            blocks.write(folder, block.name, arrays, facts)
            tell(len(block.numbers))
    return folder


def read(folder: pathlib.Path, recipe: Recipe) -> tuple[Zoo, Manifest]:
    """The zoo whose blocks lie in a folder, and its manifest, which is written there.

    Raises:
        UnfinishedError: blocks are missing.
        DamagedError: one is damaged; names the file.
        ValueError: no network at all was finite.
    """
    begun = storage.read_sealed(folder / "begun.json")
    drawn = classifier_recipe.hyperparameters(recipe)
    found, missing = [], []
    for block in partition(recipe, drawn):
        try:
            found.append((block, *blocks.read(folder, block.name)))
        except FileNotFoundError:
            missing.append(block.name)
    if missing:
        total = len(missing) + len(found)
        raise UnfinishedError(
            f"expected {total} blocks in {folder}, {len(missing)} are not finished, such as "
            f"{missing[0]}; run again when the other shares are done, or without a share"
        )
    zoo, excluded = collect(recipe, drawn, begun["images"], found)
    about = [x for _, _, x in found]
    seconds = sum(x["seconds"] for x in about)
    manifest = {
        "format": blocks.FORMAT,
        "recipe": dataclasses.asdict(recipe),
        "images": begun["images"],
        "networks": len(zoo),
        "runs": len(np.unique(zoo.runs)),
        "labels": sorted(zoo.labels),
        "excluded": excluded,
        "files": {
            f"{b.name}.safetensors": {"sha256": x["sha256"], "bytes": x["bytes"]}
            for b, _, x in found
        },
        "versions": blocks.distinct(x["versions"] for x in about),
        "made_on": blocks.distinct(x["device"] for x in about),
        "routes": blocks.distinct(x.get("route", "not recorded") for x in about),
        "seconds": round(seconds, 2),
        "networks_per_minute": round(60 * recipe.networks / max(seconds, 1e-9), 2),
        "licence": "MIT; generated by wsjax.zoos.classifiers. Images are under their own.",
    }
    return zoo, storage.write_sealed(folder / "manifest.json", manifest)


def begin(recipe: Recipe, images: Images, cache: pathlib.Path) -> pathlib.Path:
    """The folder of a recipe, made if it is not there; it names recipe and images.

    Raises:
        ValueError: images of another data set, too few for the recipe, or not those that
            the folder was begun with.
    """
    if images.name != recipe.data:
        raise ValueError(f"expected images of {recipe.data!r}, got {images.name!r}")
    total = recipe.train_images or len(images.train)
    least = int(min(recipe.fraction[1:]) * total)
    if least < recipe.batch:
        raise ValueError(
            f"expected a batch of at most {least} images, the smallest fraction of {total} that "
            f"a network trains on, got {recipe.batch}"
        )
    same = _same(recipe)
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    name = f"{recipe.family}-{recipe.data}-seed{recipe.seed}-{digest[:8]}"
    folder = pathlib.Path(cache) / name
    mine = {
        "recipe": same,
        "images": {
            "name": images.name,
            "source": images.source,
            "sha256": images.fingerprint(),
            "train": len(images.train),
            "shape": list(images.train.shape[1:]),
            "classes": len(images.classes),
        },
    }
    path = folder / "begun.json"
    if path.exists():
        begun = storage.read_sealed(path)
        if begun["images"]["sha256"] != mine["images"]["sha256"]:
            raise ValueError(
                f"{folder} was begun with other images: expected sha256 "
                f"{begun['images']['sha256']} ({begun['images']['source']}), got "
                f"{mine['images']['sha256']} ({images.source})"
            )
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_sealed(path, mine)
    return folder


def inputs(recipe: Recipe, images: Images) -> Data:
    """What networks of a recipe read: the images it takes, gray, resized and ranged."""
    images = subset(images, recipe.seed, recipe.train_images or None, recipe.test_images or None)
    how = Preparation(recipe.gray, recipe.side or None, float(recipe.low))
    train, test = prepare(images.train, how), prepare(images.test, how)
    return Data(train, images.train_labels, test, images.test_labels)


def partition(recipe: Recipe, drawn: dict[str, np.ndarray]) -> list[Block]:
    """The blocks of a recipe in the order they are made: by window, costly ones first."""
    cost = drawn["epochs"] * drawn["fraction"]
    found = []
    for start in range(0, recipe.networks, recipe.window):
        groups = collections.defaultdict(list)
        for i in range(start, min(start + recipe.window, recipe.networks)):
            groups[tuple(int(drawn[name][i]) for name in SHAPE)].append(i)
        here = []
        for shape, numbers in groups.items():
            numbers.sort(key=lambda i: (-cost[i], i))
            for at in range(0, len(numbers), recipe.block):
                here.append(Block(shape[0], shape[1:], tuple(numbers[at : at + recipe.block])))
        found += sorted(here, key=lambda b: (-cost[list(b.numbers)].sum(), b.numbers))
    return found


def plan_of(recipe: Recipe, block: Block, data: Data, classes: int) -> Plan:
    """The program that trains a block."""
    own = ("layout", "spec", "measured")
    names = [f.name for f in dataclasses.fields(Plan) if f.name not in own]
    shared = {name: getattr(recipe, name) for name in names}
    spec = spec_of(recipe, block.kind, block.shape, 0, *data.train.shape[2:], classes)
    layout = classifier_families.layout(recipe, block.kind)
    return Plan(spec=spec, layout=layout, measured=recipe.measured_images, **shared)


def settings_of(
    drawn: dict[str, np.ndarray], keys: jax.Array, block: Block, images: int, count: int
) -> Settings:
    """What the networks of a block have drawn, with idle ones behind them up to a count."""
    numbers = np.array(block.numbers)
    rows = np.concatenate([numbers, np.full(count - len(numbers), numbers[0])])
    own = ("keys", "images")
    values = {name: jnp.asarray(drawn[name][rows]) for name in Settings._fields if name not in own}
    values["epochs"] = values["epochs"].at[len(numbers) :].set(0)
    share = _share(drawn["fraction"][rows], images)
    return Settings(keys=keys[rows], images=jnp.asarray(share), **values)


def collect(recipe: Recipe, drawn: dict, images: dict, found: Sequence) -> tuple[Zoo, dict]:
    """The zoo of those networks that stayed finite, and a note on the others.

    Raises:
        ValueError: none did.
    """
    per_epoch = _share(drawn["fraction"], recipe.train_images or images["train"]) // recipe.batch
    side = recipe.side or images["shape"][0]
    channels = 1 if recipe.gray else images["shape"][2]
    rows, lost = [], []
    for block, arrays, _ in found:
        for place, number in enumerate(block.numbers):
            epochs = drawn["epochs"][number]
            kept = [j for j, c in enumerate(recipe.checkpoints) if c < epochs]
            kept.append(len(recipe.checkpoints))
            vectors, figures, steps = (
                arrays[k][place][kept] for k in ("vectors", "figures", "steps")
            )
            ends = np.array([*recipe.checkpoints, epochs])[kept]
            whole = bool(np.isfinite(vectors).all() and np.isfinite(figures).all())
            if not whole or (steps != ends * per_epoch[number]).any():
                lost.append(number)
                continue
            labels = {k: np.full(len(kept), v[number]) for k, v in drawn.items()}
            labels |= dict(zip(FIGURES, figures.T, strict=True))
            labels["generalization_gap"] = labels["train_accuracy"] - labels["test_accuracy"]
            labels |= {"epoch": ends, "steps": steps}
            key = (block.kind, block.shape, int(drawn["activation"][number]))
            rows.append((number, key, vectors, labels))
    note = {
        "rule": RULE,
        "count": len(lost),
        "networks": [
            {"number": i} | {k: float(f"{v[i]:.6g}") for k, v in drawn.items()}
            for i in sorted(lost)
        ],
    }
    if not rows:
        raise ValueError(f"expected at least one network to stay finite, got 0 of {len(lost)}")
    rows.sort(key=lambda row: row[0])
    which, specs, names = [], [], {}
    for _, key, vectors, _ in rows:
        if key not in names:
            spec = spec_of(recipe, *key, side, channels, images["classes"])
            if spec not in specs:
                specs.append(spec)
            names[key] = specs.index(spec)
        which.append(np.full(len(vectors), names[key]))
    longest = max(s.count for s in specs)
    out = [np.pad(v, [(0, 0), (0, longest - v.shape[1])]) for _, _, v, _ in rows]
    labels = {k: np.concatenate([row[3][k] for row in rows]).astype(np.float32) for k in rows[0][3]}
    runs = np.concatenate([np.full(len(v), number) for number, _, v, _ in rows])
    zoo = Zoo(np.concatenate(out), tuple(specs), np.concatenate(which), labels, runs)
    return zoo, note


@functools.lru_cache(maxsize=1024)
def spec_of(
    recipe: Recipe, kind: int, shape: tuple[int, ...], activation: int, side: int, channels: int,
    classes: int,
) -> Spec:  # fmt: skip
    """The spec of networks of one shape and activation, on images of a side."""
    width, depth, dense, norm = shape
    norm = recipe.kinds[kind].norms[norm]
    return classifier_families.spec(
        recipe, kind, recipe.activations[activation], width=width, depth=depth, dense=dense,
        norm=norm, side=side, channels=channels, classes=classes,
    )  # fmt: skip


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shows networks trained, networks per minute and time left, on standard error.

    Yields the function to report by: networks done since the last report.
    """
    began, done = time.monotonic(), 0
    with bar("training", total, out=sys.stderr) as shown:

        def tell(more):
            nonlocal done
            done += more
            rate = 60 * done / max(time.monotonic() - began, 1e-9)
            if shown:
                shown.show(done, "training", f"{rate:.1f} networks/min")
                return
            left = f"{(total - done) / rate:.1f} min left"
            words = f"trained {done} of {total} networks, {rate:.1f} networks/min, {left}"
            print(words, file=sys.stderr, flush=True)

        yield tell


def _share(fraction, images):
    """How many of the training images are a fraction of them."""
    return (np.asarray(fraction, np.float64) * images).astype(np.int32)


def _same(recipe):
    """The recipe, as JSON, without what leaves its networks as they are."""
    data = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return {k: v for k, v in data.items() if k != "networks"}

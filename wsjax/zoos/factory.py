"""The factory of zoos: networks are made in blocks, and each block is on disk when it is done.

    recipe --its module--> Job(name, recipe, blocks, start, collect)
    zoo, manifest = make(job, cache)
    make(job, cache, shard=(0, 2))     every other block; another process makes shard (1, 2)

    CACHE/NAME-seed0-1f2e3d4c/begun.json        the recipe, and of which images
        block-000016-1f2e3d4c.safetensors       arrays [network, ...] of a finished block
        block-000016-1f2e3d4c.json              facts about it and its sha256, written last
        manifest.json                           of the whole zoo, once all blocks are there

Ctrl-C and SIGTERM end it after the block that is being made, and the same call resumes at the
next; a damaged block is set aside and made again. A
network is the same in whatever zoo of its recipe it is made, on the same device with the same
versions. `sines`, `inrs` and `classifiers` state what a recipe's blocks are, and how one is made.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import jax
import numpy as np

from wsjax import storage
from wsjax.storage import DamagedError
from wsjax.training.progress import Interrupted, interruptible, progress
from wsjax.zoos import store
from wsjax.zoos.store import Arrays, Manifest
from wsjax.zoos.zoo import Zoo

FORMAT = 1
PACKAGES = ("wsjax", "jax", "jaxlib", "numpy", "optax")

Devices = tuple[jax.Device, ...]


class UnfinishedError(RuntimeError):
    """Blocks of the zoo are not there yet; other processes make them, as their shards."""


class Block(Protocol):
    """Networks that are made in one call."""

    @property
    def name(self) -> str:
        """Of its files; one for these very networks."""
        ...

    @property
    def size(self) -> int:
        """Networks in it."""
        ...


B = TypeVar("B", bound=Block)
# seconds it took to compile, the call that makes the networks, facts to keep beside them
Run = tuple[float, Callable[[], Arrays], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Job(Generic[B]):
    """A zoo to be made.

    Attributes:
        name: the first word of its folder's.
        recipe: a dataclass with a `seed`.
        free: settings of the recipe that leave its networks as they are, such as how many
            there are; zoos that differ in these alone have one folder.
        blocks: all of them, in the order they are made.
        start: called once, before the first block: devices -> (block -> `Run`).
        collect: arrays of all blocks -> the zoo, and facts for its manifest.
        licence: of the networks.
        images: what they are made of: JSON, with the images' "sha256" and "source".
        devices: each block is divided among them.
    """

    name: str
    recipe: Any
    free: tuple[str, ...]
    blocks: Sequence[B]
    start: Callable[[Devices], Callable[[B], Run]]
    collect: Callable[[Sequence[tuple[B, Arrays]]], tuple[Zoo, dict[str, Any]]]
    licence: str
    images: Mapping[str, Any] | None = None
    devices: Devices = dataclasses.field(default_factory=lambda: tuple(jax.devices()))

    @property
    def begun(self) -> dict[str, Any]:
        """The settings and images that all zoos of one folder have in common."""
        recipe = storage.plain(dataclasses.asdict(self.recipe))
        data = {"recipe": {k: v for k, v in recipe.items() if k not in self.free}}
        return data if self.images is None else data | {"images": storage.plain(dict(self.images))}

    def folder(self, cache: str | os.PathLike) -> pathlib.Path:
        """Where its blocks lie."""
        text = json.dumps(self.begun["recipe"], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return pathlib.Path(cache) / f"{self.name}-seed{self.recipe.seed}-{digest[:8]}"


def make(
    job: Job[Any], cache: str | os.PathLike | None = None, shard: tuple[int, int] = (0, 1)
) -> tuple[Zoo, Manifest]:
    """The zoo of a job and its manifest; blocks that are not in the cache are made first.

    Args:
        job: what to make.
        cache: where the folders lie; if None, a temporary folder, removed afterwards.
        shard: (k, n): of n processes this is number k, from 0, and makes every n-th block.

    Raises:
        DamagedError: the folder was begun with another recipe or other images.
        ValueError: no network at all may stay in the zoo.
        UnfinishedError: this shard is done, others are not.
        Interrupted: after Ctrl-C or SIGTERM, with the finished blocks on disk.
    """
    if cache is None:
        with tempfile.TemporaryDirectory() as folder:
            return make(job, folder, shard)
    return read(job, generate(job, cache, shard))


def generate(
    job: Job[Any], cache: str | os.PathLike, shard: tuple[int, int] = (0, 1)
) -> pathlib.Path:
    """Makes a shard of the blocks that are missing or damaged; gives the zoo's folder.

    Arguments and errors are those of `make`.
    """
    part, parts = shard if isinstance(shard, list | tuple) and len(shard) == 2 else (0, 0)
    if not 0 <= part < parts:
        raise ValueError(f"expected a shard (k, n) with k from 0 to n - 1, got {shard}")
    folder = begin(job, cache)
    todo = [b for b in job.blocks[part::parts] if _missing(folder, b.name)]
    if not todo:
        return folder
    one = job.start(job.devices)
    done, clock = 0, time.perf_counter()
    with progress(sum(b.size for b in todo)) as report, interruptible() as stop:
        for block in itertools.takewhile(lambda _: not stop, todo):
            compiling, run, facts = one(block)
            if stop:  # since it compiles
                break
            began = time.perf_counter()
            arrays = run()
            seconds = time.perf_counter() - began
            about = {
                **facts,
                "seconds": round(seconds, 3),
                "compile_seconds": round(compiling, 3),
                "device": f"{len(job.devices)} x {job.devices[0].device_kind}",
                "versions": storage.versions(*PACKAGES),
            }
            store.write(folder / block.name, arrays, about)
            done += block.size
            report(done, time.perf_counter() - clock)
    if stop.signal:
        raise Interrupted(
            f"stopped with {unfinished(job, cache)} networks of {folder} to be made, the others "
            "are kept; the same command continues",
            stop.signal,
        )
    return folder


def begin(job: Job[Any], cache: str | os.PathLike) -> pathlib.Path:
    """The folder of a job, made if it is not there; it names recipe and images.

    Raises:
        DamagedError: it was begun with another recipe or other images, or the file that names
            them is damaged.
    """
    folder, expected = job.folder(cache), job.begun
    path = folder / "begun.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        storage.write_sealed(path, expected)
        return folder
    begun = storage.read_sealed(path)
    if differ := _differences(begun["recipe"], expected["recipe"]):
        raise DamagedError(f"{folder} was begun with another recipe: " + "; ".join(differ))
    before, now = (x.get("images", {}) for x in (begun, expected))
    if before.get("sha256") != now.get("sha256"):
        raise DamagedError(
            f"{folder} was begun with other images: expected sha256 {before.get('sha256')} "
            f"({before.get('source')}), got {now.get('sha256')} ({now.get('source')})"
        )
    return folder


def read(job: Job[Any], folder: pathlib.Path) -> tuple[Zoo, Manifest]:
    """The zoo whose blocks lie in a folder, and its manifest, which is written there.

    Raises:
        UnfinishedError: blocks are missing.
        DamagedError: one is damaged; names the file.
        ValueError: no network at all may stay in the zoo.
    """
    blocks, facts, missing = [], {}, []
    for block in job.blocks:
        try:
            arrays, facts[block.name] = store.read(folder / block.name)
        except FileNotFoundError:
            missing.append(block.name)
        else:
            blocks.append((block, arrays))
    if missing:
        raise UnfinishedError(
            f"{len(missing)} of {len(job.blocks)} blocks in {folder} are not finished, such as "
            f"{missing[0]}; run again when the other shards are done, or without a shard"
        )
    zoo, more = job.collect(blocks)
    seconds = sum(x["seconds"] for x in facts.values())
    manifest = {
        "format": FORMAT,
        **storage.plain(job.begun),
        "recipe": dataclasses.asdict(job.recipe),
        "networks": len(zoo),
        "runs": len(np.unique(zoo.runs)),
        "splits": {k: len(v) for k, v in zoo.splits.items()},
        "labels": sorted(zoo.labels),
        "files": {
            f"{name}.safetensors": {k: about[k] for k in ("sha256", "bytes")}
            for name, about in facts.items()
        },
        "versions": _distinct(x["versions"] for x in facts.values()),
        "made_on": _distinct(x["device"] for x in facts.values()),
        "seconds": round(seconds, 2),
        "compile_seconds": max(x["compile_seconds"] for x in facts.values()),
        "networks_per_minute": round(60 * sum(b.size for b in job.blocks) / max(seconds, 1e-9), 2),
        "licence": job.licence,
        **more,
    }
    if routes := _distinct(x["route"] for x in facts.values() if "route" in x):
        manifest["routes"] = routes
    return zoo, storage.write_sealed(folder / "manifest.json", manifest)


def unfinished(job: Job[Any], cache: str | os.PathLike) -> int:
    """The number of networks that are not on disk yet; damaged ones count as there."""
    folder = job.folder(cache)
    return sum(b.size for b in job.blocks if not (folder / f"{b.name}.json").exists())


def block_name(words: str, numbers: Sequence[int]) -> str:
    """The name of a block: in words, and by a digest of its networks' numbers."""
    digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
    return f"block-{words}-{digest[:8]}"


def padded(count: int, devices: Sequence[jax.Device]) -> int:
    """The least number of networks, from `count` on, that devices can share equally."""
    return -(-count // len(devices)) * len(devices)


def _missing(folder, name):
    """True if a block must be made; one that is damaged is set aside, with a warning."""
    try:
        store.read(folder / name)
    except FileNotFoundError:
        return True
    except DamagedError as reason:
        aside = store.set_aside(folder / name)
        warnings.warn(
            f"in {folder}, {reason}. It is kept as {name}*{aside}, and made again.", stacklevel=4
        )
        return True
    return False


def _differences(before, now):
    names = sorted({*before, *now})
    values = [(k, before.get(k, "absent"), now.get(k, "absent")) for k in names]
    return [f"{k} is {b!r}, expected {n!r}" for k, b, n in values if b != n]


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in order; that is, one where all agree."""
    distinct = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct

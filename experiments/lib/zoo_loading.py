"""The zoos of experiments: packed, made, or published.

    zoo, manifest = sine_zoo(preset, options)         of sines
    zoos, described = open_zoos(options, preset)      of classifiers, name -> Zoo with splits

A zoo of classifiers is taken from the repository where it holds one of the very recipe, else
made and kept below the folder of all runs; or, by the flag `--published`, read from its
authors' files, with the splits that were published for it: NFN's of the small CNN zoo (Zhou et
al., 2023; those of SNE's table 13), and those in the files of Schuerholt et al.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.lib import cli, workers
from experiments.lib.methods import Preset
from experiments.lib.zoo_recipes import BLOCK, ZOOS, sized
from third_party import schuerholt_zoos, small_cnn_zoo
from wsjax import zoos
from wsjax.architectures import ACTIVATIONS
from wsjax.datasets import images
from wsjax.networks import FORMS
from wsjax.zoos import Zoo, factory, store
from wsjax.zoos.classifiers import classifier_factory, classifier_recipe
from wsjax.zoos.classifiers.classifier_recipe import Recipe
from wsjax.zoos.classifiers.classifier_training import OPTIMIZERS
from wsjax.zoos.classifiers.initializers import INITIALIZERS
from wsjax.zoos.sines import sine
from wsjax.zoos.store import Manifest

LABEL = "test_accuracy"
WORDS = {
    "initializer": INITIALIZERS,
    "activation": [a for a in ACTIVATIONS if a not in FORMS],
    "optimizer": OPTIMIZERS,
}
SIZES = {"train": 0.5, "validation": 0.1, "test": 0.4}  # shares of the runs, if not otherwise
READERS = {"conv3-gap": small_cnn_zoo.read, "conv3-linear2": schuerholt_zoos.read}
NFN_SPLITS = ("conv3-gap",)  # families that NFN's files split; others have splits of their own


class Source(NamedTuple):
    """Where a published zoo lies.

    Attributes:
        path: what `READERS` have for it.
        splits: the folder of NFN's files, DATA_split.csv; that of the zoo if None.
        resplit: whether its runs are shuffled into splits of the preset's sizes instead.
    """

    path: pathlib.Path
    splits: pathlib.Path | None = None
    resplit: bool = False


def sine_zoo(preset: Preset, options: argparse.Namespace) -> tuple[Zoo, Manifest]:
    """The preset's zoo of sines with its splits, from the cache below the folder of all runs.

    What is not there is made now, in shards by as many processes as there are jobs.
    """
    recipe, cache = preset.zoos["sines"], options.folder / "cache" / "zoos"
    missing = factory.unfinished(sine.job(recipe), cache)
    cores = workers.job_cores(options.jobs, missing // sine.BLOCK)
    if len(cores) > 1:
        shards = [
            workers.start(_shard, core, recipe, cache, (i, len(cores)))
            for i, core in enumerate(cores)
        ]
        try:
            for process in shards:
                process.join()
        except KeyboardInterrupt:
            workers.stop(shards)
            words = "stopped; the zoo's finished blocks are in"
            raise KeyboardInterrupt(f"{words} {cache}, the same command continues") from None
    return _sines(recipe, preset.sizes, options.folder)


def _shard(recipe, cache, shard):
    """Makes a shard of a zoo; what it leaves undone the parent makes, and meets its error."""
    with contextlib.suppress(factory.UnfinishedError, OSError, ValueError):
        sine.make(recipe, cache, shard)


def sine_facts(preset: Preset) -> dict[str, Any]:
    """The part of a run's config that `zoo_of` needs."""
    return {"zoo": dataclasses.asdict(preset.zoos["sines"]), "sizes": dict(preset.sizes)}


def zoo_of(config: Mapping[str, Any], path: pathlib.Path) -> Zoo:
    """The zoo of sines of a run, given its config and its folder.

    It is the one that lies beside the run, or is made anew by the run's recipe.

    Raises:
        ValueError: the run is on another kind of zoo.
    """
    try:
        recipe = {k: tuple(v) if isinstance(v, list) else v for k, v in config["zoo"].items()}
        recipe, sizes = sine.Recipe(**recipe), config["sizes"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a run on a zoo of sines, it has {error}") from error
    return _sines(recipe, sizes, path.resolve().parents[2])[0]


def _sines(recipe, sizes, folder):
    zoo, manifest = sine.make(recipe, folder / "cache" / "zoos")
    return zoos.split(zoo, sizes, recipe.seed, sort=False), manifest


def flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of zoos: where images and zoos come from, and how those not there are made."""
    parser.add_argument(
        "--files", type=pathlib.Path, help="original files, or a folder for each data set"
    )
    parser.add_argument(
        "--published", action="append", default=[], metavar="ZOO=PATH",
        help="take this zoo from its authors' files, see third_party/README.md; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--splits", type=pathlib.Path, metavar="FOLDER",
        help="of NFN's DATA_split.csv for published zoos; beside the zoo's own files if not given",
    )  # fmt: skip
    words = "shuffle published zoos into splits of the preset's sizes, not those published"
    parser.add_argument("--resplit", action="store_true", help=words)
    parser.add_argument(
        "--networks", type=cli.positive, default=0, help="of each zoo; the preset's if not given"
    )
    parser.add_argument("--block", type=cli.positive, default=0, help=BLOCK)


def open_zoos(
    options: argparse.Namespace, preset: Preset
) -> tuple[dict[str, Zoo], dict[str, dict[str, Any]]]:
    """A preset's zoos by name, with splits, and their descriptions for records.

    Raises:
        SystemExit: a zoo that the preset does not have is to be published.
        ValueError: a split is empty.
    """
    given = dict(entry.partition("=")[::2] for entry in options.published)
    if strange := sorted(set(given) - set(preset.zoos)):
        raise SystemExit(f"expected --published of zoos {list(preset.zoos)}, got {strange}")
    plans = {k: sized(plan, options.networks) for k, plan in preset.zoos.items()}
    preset, zoos, described = dataclasses.replace(preset, zoos=plans), {}, {}
    for name, plan in plans.items():
        source = None
        if name in given:
            source = Source(pathlib.Path(given[name]), options.splits, options.resplit)
        where = (options.folder, options.files, source)
        zoo = zoos[name] = load(name, preset, *where, options.block)
        facts = {"published": plan.family, "data": plan.data, "networks": len(zoo)}
        facts["splits"] = "shuffled" if options.resplit else "published"
        about = facts if source else dataclasses.asdict(plan)
        described[name] = about | {"content": content(zoo)}
        low, high = zoo.labels[LABEL].min(), zoo.labels[LABEL].max()
        print(f"{name}: {len(zoo)} networks, test accuracy {low:.2f}..{high:.2f}", flush=True)
    expect_splits(zoos)
    return zoos, described


def load(
    name: str,
    preset: Preset,
    folder: pathlib.Path,
    images_: pathlib.Path | None,
    published: Source | None = None,
    block: int = 0,
) -> Zoo:
    """A preset's zoo with splits, each network as its training left it.

    It is the packed one of the repository, in half precision, where that has the preset's very
    recipe; else it is made, block by block, and kept below the folder of all runs. Records
    hold `content` of what was taken.

    Args:
        name: of one of the preset's zoos.
        preset: whose.
        folder: of all runs.
        images_: see `images.load`; tensorflow-datasets' if None.
        published: the published zoo of this family and data set, to take in place of one of
            ours.
        block: networks that are made at once; the recipe's if 0.

    Raises:
        SystemExit: no zoo of this family was published; or this one or the images cannot be
            read.
    """
    recipe = preset.zoos[name]
    if published is not None:
        if recipe.family not in READERS:
            raise SystemExit(
                f"zoo {name!r}: expected a family with a published zoo, {sorted(READERS)}, got "
                f"{recipe.family!r}"
            )
        zoo = _published(name, recipe, published)
        if not published.resplit:
            return zoo
    else:
        zoo = _ours(recipe, folder, images_, block)
        zoo = zoo.select(zoo.labels["epoch"] == zoo.labels["epochs"])
    count = len(np.unique(zoo.runs))
    sizes = {k: int(share * count) for k, share in preset.sizes.items()}
    return zoos.split(zoo, sizes, recipe.seed)


def _published(name, recipe, source):
    """A published zoo with its splits, if it is to have them, and the labels of ours."""
    more = {}
    if recipe.family in NFN_SPLITS and not source.resplit:
        more["split"] = split = (source.splits or source.path) / f"{recipe.data}_split.csv"
        if not split.is_file():
            raise SystemExit(
                f"zoo {name!r}: expected NFN's splits at {split}, see third_party/README.md; name "
                "their folder by --splits, or shuffle anew by --resplit"
            )
    with cli.reading(f"--published {name}={source.path}"):
        zoo = READERS[recipe.family](source.path, **more).zoo("exclude")
    shape = {"kind": 0, "norm": 0, "width": recipe.kinds[0].widths[0]}  # one for all
    labels = {k: np.full(len(zoo), v, np.float32) for k, v in shape.items()}
    drawn = np.array([s.layers[0].activation for s in zoo.specs])[zoo.which]
    labels |= {f"activation_{a}": (drawn == a).astype(np.float32) for a in WORDS["activation"]}
    return dataclasses.replace(zoo, labels={**labels, **zoo.labels})


def _ours(recipe, folder, images_, block):
    path = ZOOS / f"{recipe.family}.{recipe.data}"
    if path.with_name(path.name + ".json").exists():
        packed, manifest = store.load(path)
        if classifier_recipe.from_json(manifest["facts"]["recipe"]) == recipe:
            return spelled(packed, recipe)
    source = None if recipe.data == "digits" else images_
    with cli.reading(f"images of {recipe.data}"):
        data = images.load(recipe.data, source, folder / "cache" / "images")
    plan = sized(recipe, block=block)
    return spelled(classifier_factory.make(plan, data, folder / "cache" / "zoos")[0], recipe)


def spelled(zoo: Zoo, recipe: Recipe) -> Zoo:
    """The zoo with a label, 0 or 1, for each word that a network may have drawn.

    "optimizer_adam" means the same in all zoos; "optimizer", a position in a recipe's list,
    does not. "activation_gelu" is of both its forms.
    """
    labels = {k: v for k, v in zoo.labels.items() if k not in WORDS}
    for name, words in WORDS.items():
        choices = [FORMS.get(w, w) for w in getattr(recipe, classifier_recipe.WORDS[name])]
        drawn = np.array(choices)[zoo.labels[name].astype(int)]
        labels |= {f"{name}_{word}": (drawn == word).astype(np.float32) for word in words}
    return dataclasses.replace(zoo, labels=labels)


def content(zoo: Zoo) -> str:
    """Sixteen letters that tell one set of networks and labels from another."""
    arrays = [zoo.vectors, zoo.which, zoo.runs, *(zoo.labels[k] for k in sorted(zoo.labels))]
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]


def expect_splits(zoos: Mapping[str, Zoo]) -> None:
    """Checks that there are networks in all splits; `Zoo` checks that no run is in two.

    Raises:
        ValueError: a split is absent or empty.
    """
    for name, zoo in zoos.items():
        for split in ("train", "validation", "test"):
            if not len(zoo.splits.get(split, ())):
                raise ValueError(f"zoo {name!r}: expected networks in split {split!r}, got none")


def tiny(recipe: Recipe, seed: int = 0) -> Recipe:
    """The recipe of twenty networks, hardly trained: for smoke tests."""
    few = {"train_images": 320, "test_images": 100, "measured_images": 100}
    return dataclasses.replace(recipe, networks=20, epochs=("choice", 1, 2), seed=seed, **few)

"""Zoos of image INRs with their images, for the experiments that classify and edit them.

    images --a recipe--> INRs, split by image --> Source(zoo, originals, ...)

Images are a data set's, or a user's own: `--images FOLDER`, of PNG or JPEG files with a
sub-folder for each class, of one size, or made so by `--resize N` and `--gray`. Mistakes in a
folder, in a method and in the number of networks are reported before the first network is fitted.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from experiments.lib import cli, records, runs
from experiments.lib.inr_recipes import WHOLE, estimate, title
from experiments.lib.inr_recipes import recipe as zoo_recipe
from experiments.lib.methods import Method
from wsjax import checks
from wsjax.datasets import images
from wsjax.networks import Spec
from wsjax.zoos import Zoo, factory
from wsjax.zoos.inrs import image_folders, inr_factory
from wsjax.zoos.inrs.inr_factory import ImageSet
from wsjax.zoos.inrs.inr_recipe import RECIPES, Recipe

TEST, VALIDATION = 0.25, 0.15  # shares of images: of a folder without a test part; of the rest
PAPER_VALIDATION = 5_000  # images of training, in all data sets


@dataclasses.dataclass(frozen=True)
class Source:
    """A zoo of INRs and what they were fitted to.

    Attributes:
        name: for tables, such as "mnist.dws".
        zoo: with the splits "train", "validation" (one view of each image) and "test".
        originals: [network, row, col, channel] uint8, the image of each.
        classes: the names of the values of the label "class"; empty if there are none.
        plan: the recipe.
        sha256: of the pictures.
    """

    name: str
    zoo: Zoo
    originals: np.ndarray
    classes: tuple[str, ...]
    plan: Recipe
    sha256: str = ""

    @property
    def images(self) -> np.ndarray:
        """The originals as float32, in the recipe's range."""
        return self.originals.astype(np.float32) / 255 * (1 - self.plan.low) + self.plan.low


class Subject(NamedTuple):
    """Images that are to become a zoo, with a recipe; nothing is fitted yet."""

    name: str
    pictures: ImageSet
    classes: tuple[str, ...]
    plan: Recipe

    @property
    def spec(self) -> Spec:
        """The architecture of its networks."""
        return self.plan.spec(self.pictures.shape[2])


def flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a zoo."""
    group = parser.add_argument_group("the zoo")
    group.add_argument("--data", choices=images.NAMES, help="digits, in small and larger mnist")
    group.add_argument("--files", type=pathlib.Path, help="folder of a data set's original files")
    group.add_argument("--images", type=pathlib.Path, help="a folder of your own images instead")
    group.add_argument(
        "--resize", type=int, metavar="N", help="their middle squares to N x N; not if not given"
    )
    group.add_argument("--gray", action="store_true", help="averages their red, green and blue")
    group.add_argument("--recipe", choices=list(RECIPES), default="dws")
    group.add_argument("--views", type=int, help="networks for each training image")
    group.add_argument("--fit-steps", type=int, help="of each network; the recipe's if not given")
    group.add_argument("--fit-rate", type=float, help="learning rate of the same")


def subject(options: argparse.Namespace) -> Subject:
    """Reads the images of the flags; with `--dry-run` none of a data set.

    Raises:
        SystemExit: both a data set and a folder are given, or neither can be used; or
            --resize or --gray without a folder.
    """
    if options.images and (options.data or options.files):
        raise SystemExit("expected --images with a folder of your own, or --data, not both")
    if not options.images and (options.gray or options.resize is not None):
        raise SystemExit("expected --resize and --gray with --images, a folder of your own")
    data = options.data or ("mnist" if options.preset in ("small", *WHOLE) else "digits")
    changes = {
        "views": options.views,
        "steps": options.fit_steps,
        "learning_rate": options.fit_rate,
    }
    changes = {k: v for k, v in changes.items() if v is not None}
    try:
        if options.images:
            plan = dataclasses.replace(RECIPES[options.recipe], views=1)
            name, pictures, classes = _own(options.images, options.resize, options.gray)
        else:
            # digits are fitted in seconds: a laptop has as many as the small preset
            size = options.preset
            size = "small" if (data, size) == ("digits", "laptop") else size
            plan = zoo_recipe(options.recipe, data, size)
            name, pictures, classes = data, ImageSet(data, "", "", {}), images.CLASSES[data]
            if not options.dry_run:
                loaded = images.load(data, options.files, options.folder / "cache" / "images")
                pictures = inr_factory.image_set(loaded)
        plan = dataclasses.replace(plan, **changes)
        if pictures.parts:
            inr_factory.partition(plan, pictures)  # are there as many?
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        raise SystemExit(str(error)) from None
    return Subject(title(name, options.recipe, changes), pictures, classes, plan)


def _own(folder, size, gray):
    """A user's pictures: a name, the pictures, and the names of the classes."""
    own = image_folders.read_folder(folder, size, gray)
    changes = f"-resize{size}" * (size is not None) + "-gray" * gray
    # `image_folders.fit` names its folder so too: a zoo that it made is found again
    return (
        f"own-{checks.printable(folder.resolve().name)}{changes}",
        image_folders.image_set(own.images, own.labels),
        own.classes,
    )


def expect_classes(subject: Subject) -> None:
    """Checks that there are networks of every class in all splits.

    Raises:
        SystemExit: there are not two classes, or one has too few pictures for three splits.
    """
    if len(subject.classes) < 2:
        raise SystemExit(
            f"expected pictures in a sub-folder for each of two or more classes, got "
            f"{list(subject.classes) or 'no sub-folders'}"
        )
    need = 3 if len(subject.pictures.parts) == 1 else 1
    for part, (_, labels) in subject.pictures.parts.items():
        counts = np.bincount(labels, minlength=len(subject.classes))
        few = [f"{c} {n}" for c, n in zip(subject.classes, counts, strict=True) if n < need]
        if few:
            raise SystemExit(
                f"expected at least {need} pictures of each class for training, validation and "
                f"test, got in {part!r}: {', '.join(few)}"
            )


def supported(
    methods: Mapping[str, Method],
    subject: Subject,
    task: Callable[[Method], Any],
    sizes: Sequence[int] = (),
) -> dict[str, Method]:
    """Those methods that support the networks; lists the others with the reason.

    Args:
        methods: by name.
        subject: whose networks.
        task: of a method, see `wsjax.tasks.fit`.
        sizes: numbers of training networks, beside all of them.

    Raises:
        SystemExit: no method does, or one has batches of more networks than there are; or
            there are fewer networks than a size.
    """
    spec, kept = subject.spec, {}
    whole = len(split_images(subject)["train"]) * subject.plan.views
    count = min([whole, *sizes])
    if not 1 <= count <= max([whole, *sizes]) <= whole:
        raise SystemExit(f"expected --sizes of 1 to {whole} training networks, got {list(sizes)}")
    for name, method in methods.items():
        if method.encoder:
            try:
                module = task(method).module(method.build(), method.head)
                view = module.encoder.view(spec)
                start = lambda m=module, v=view: m.init(
                    jax.random.key(0), jnp.zeros((1, spec.count)), v
                )
                jax.eval_shape(start)
            except ValueError as error:
                print(f"{name}: these networks are not supported: {error}", flush=True)
                continue
            if method.training.batch > count:
                raise SystemExit(
                    f"{name} is trained on batches of {method.training.batch} networks, got "
                    f"{count} to train on: give more images, --views or --set training.batch=..."
                )
        kept[name] = method
    if not kept:
        raise SystemExit("no method supports these networks")
    return kept


def make(subject: Subject, folder: pathlib.Path) -> Source:
    """Fits the networks, or finds them fitted, and splits them; prints the time that it takes.

    Raises:
        SystemExit: hardly any network stayed finite, so that a split is empty.
        UnfinishedError: other processes have shards of the zoo, and are not done.
    """
    plan, pictures = subject.plan, subject.pictures
    cache = folder / "cache" / "zoos"
    count = factory.unfinished(inr_factory.job(plan, pictures), cache)
    if count * np.prod(pictures.shape) > 2e6:
        hours = estimate(plan, pictures, count)
        print(f"{count} networks to fit, at most {hours:.1f} device-hours", flush=True)
    zoo, manifest = inr_factory.make(plan, pictures, cache)
    zoo = split(zoo, split_images(subject))
    if empty := [k for k, rows in zoo.splits.items() if not len(rows)]:
        raise SystemExit(f"expected networks in all splits, got none in {empty}")
    counts = ", ".join(f"{len(rows)} {k}" for k, rows in zoo.splits.items())
    psnr = np.median(zoo.labels["psnr"])
    lost = manifest["excluded"]["count"]
    print(f"{subject.name}: {counts} networks, {psnr:.1f} dB (median), {lost} excluded", flush=True)
    every = np.concatenate([x for x, _ in pictures.parts.values()])
    return Source(subject.name, zoo, every[zoo.runs], subject.classes, plan, pictures.sha256)


def split_images(subject: Subject) -> dict[str, np.ndarray]:
    """Which images are for what, by their runs: split -> [image].

    Validation, and without a test part the test too, has its share of each class, and one image
    of each at least.
    """
    pictures, plan = subject.pictures, subject.plan
    parts = {part: [] for part in pictures.parts}
    for block in inr_factory.partition(plan, pictures):
        if block.view == 0:
            parts[block.part] += [pictures.start(block.part) + i for i in block.images]
    parts = {part: np.array(runs) for part, runs in parts.items()}
    labels = [np.zeros(len(x), int) if y is None else y for x, y in pictures.parts.values()]
    classes = np.concatenate(labels)
    if "test" in parts:
        train, test = parts["train"], parts["test"]
    else:
        (train,) = parts.values()
        train, test = _hold_out(train, classes, int(TEST * len(train)), plan.seed)
    everything = "test" in parts and not plan.train_images and len(train) > 20_000
    count = PAPER_VALIDATION if everything else int(VALIDATION * len(train))
    train, validation = _hold_out(train, classes, count, plan.seed + 1)
    return {"train": train, "validation": validation, "test": test}


def _hold_out(runs, classes, count, seed):
    """Of runs, those kept and those held out: about `count`, of each class its share."""
    order, parts = np.random.default_rng(seed).permutation(np.sort(runs)), []
    for c in np.unique(classes[order]):
        group = order[classes[order] == c]
        parts.append(group[: max(1, round(count * len(group) / len(order)))])
    chosen = np.concatenate(parts)
    return np.setdiff1d(runs, chosen), np.sort(chosen)


def split(zoo: Zoo, runs: Mapping[str, np.ndarray]) -> Zoo:
    """The zoo split by image; of images not to train on the first view alone."""
    splits = {k: np.flatnonzero(np.isin(zoo.runs, images)) for k, images in runs.items()}
    first = {k: v[zoo.labels["view"][v] == 0] for k, v in splits.items()}
    return dataclasses.replace(zoo, splits=first | {"train": splits["train"]})


def dilation(pixels: np.ndarray) -> np.ndarray:
    """Each pixel the largest of the 3 x 3 around it, [n, row, col, channel]."""
    return scipy.ndimage.grey_dilation(pixels, size=(1, 3, 3, 1))


def shorter(source: Source, count: int) -> Source:
    """The source with the first `count` of its training networks, in an order of its own.

    Raises:
        SystemExit: there are fewer.
    """
    rows = source.zoo.splits["train"]
    if not 1 <= count <= len(rows):
        raise SystemExit(f"expected sizes of 1 to {len(rows)} training networks, got {count}")
    order = np.random.default_rng(source.plan.seed).permutation(rows)
    splits = {**source.zoo.splits, "train": np.sort(order[:count])}
    return dataclasses.replace(source, zoo=dataclasses.replace(source.zoo, splits=splits))


def facts(source: Source) -> dict[str, Any]:
    """The part of a run's config that identifies its source."""
    return {
        "train_zoo": source.name,
        "zoo": dataclasses.asdict(source.plan),
        "pictures": source.sha256,
        "sizes": {k: len(rows) for k, rows in source.zoo.splits.items()},
    }


def publish(
    options: argparse.Namespace,
    zoo: str,
    score: str,
    names: Sequence[str],
    pictures: Mapping[str, pathlib.Path],
) -> None:
    """Puts pictures beside records that are published: some, and those of the best trained run.

    Args:
        options: the command line.
        zoo: the "train_zoo" of the records.
        score: the metric that is smallest for the best.
        names: of pictures in the folder of a run, without their ending.
        pictures: name -> others.
    """
    preset, chosen = cli.preset_name(options), dict(pictures)
    match = {"preset": preset, "train_zoo": zoo}
    recorded = records.latest(records.read(options.experiment, options.results, **match))
    # of those trained; probing is a ceiling, no competitor
    if trained := [r for r in recorded if r["steps"] and r["config"]["encoder"] != "probing"]:
        best = min(trained, key=lambda r: r["metrics"][score])
        home = runs.place(options.folder, best["config"])
        chosen |= {f"best_{k}": home / f"{k}.png" for k in names}
    named = {f"{zoo}_{k}": path for k, path in chosen.items()}
    records.publish_pictures(options.experiment, preset, named, options.results)

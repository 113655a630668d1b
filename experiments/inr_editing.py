"""Edits of images, by the weights of their INRs alone.

GMN, table 2 (Lim et al., ICLR 2024), after Zhou et al. (2023): an editor reads the weights of an
INR of an image, and gives theta + gamma * delta, the weights of an INR of the edited image; mean
squared error of that INR's rendering, on INRs of test images. GMN .0197 and .0603 (contrast of
CIFAR-10 and dilation of MNIST), NFT .0200 and .0510, NFN-NP .0203 and .0693; of another zoo
ScaleGMN .0256, ScaleGMN-B .0189 (dilation of MNIST; Kalogeropoulos et al., 2024; from memory).

    python -m experiments.inr_editing                              digits, on 2 CPU cores
    python -m experiments.inr_editing --task contrast --methods identity,gmn
    python -m experiments.inr_editing --preset small --data mnist --files FOLDER
    python -m experiments.inr_editing --images FOLDER              a folder of your own
    python -m experiments.inr_editing --preset h100 --task dilation     8 minutes of one H100 each
    python -m experiments.inr_editing --preset paper --recipe nfn --task dilation       as in GMN
    python -m experiments.inr_editing --preset paper --recipe nfn --data cifar10 --task contrast
    python -m experiments.inr_editing --preset paper --task dilation               as in ScaleGMN

    dilation   every pixel becomes the brightest of the 3 x 3 around it, channel by channel, at
               the border of those that are there
    contrast   CLAHE on the lightness, clip limit 1, 3 x 3 tiles, of a gray image on itself:
               `wsjax.datasets.clahe`, equal to OpenCV's and so to the authors' code, red and
               blue exchanged as there. Records of zoos "....contrast" are older: twice as
               far from the mean gray value. Those of CLAHE are "....clahe"

Both are of the image an INR was fitted to, not of its rendering: an editor may improve a fit.
Errors are in the range of a recipe's images. GMN's table has networks of NFN, `--recipe nfn`:
images on [-1, 1], where squared errors are four times as large; ScaleGMN's has DWSNets', the
default, on [0, 1]. Published errors stand beside those of their own recipe alone.

`paper` has each method's published encoder and training (`experiments.lib.inr_published`):
Adam at 1e-3, warm-up of 1,000 steps, 50,000 steps of 32 without clipping of NFN and GMN; AdamW,
300 epochs of 64 of ScaleGMN; 200 epochs of 128 of DWSNet, as Neural Graphs trained it, whose own
editor is not here. GMN's, of four layers of 512, has 8,975,879 parameters, 59 x 512 more than
the paper's 8,945,671, and means of messages, not sums. Differences besides: the zoos are our own;
NFN has the last 10,000 of MNIST's training images for the test and 45,000 for training, where
we have the test images and 55,000. `own` is the same with a cosine and an average of the
variables; `h100` too, shorter.

`gmn_product` sends products of nodes and edges and adds updates to the states. `scalegmn_probes`
receives the activations of each neuron for 64 learned inputs. `identity` leaves networks as
they are; `refit`, for comparison, renders each, edits the image and goes on fitting: it learns
nothing, and takes hundreds of steps for every network. Methods with `_expansion` give eight
changes and take their mean (`wsjax.encoders.editors`). In the folder of a run `edits.png` has
originals, targets, renderings before and after; beside the runs lies `curves.png`. Any run can
be killed; the same command goes on where it stopped. Images of your own need no sub-folders.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import cli, inr_methods, inr_published, inr_tasks, plots, runs
from experiments.lib.inr_tasks import Source
from experiments.lib.methods import Method, Preset
from wsjax.datasets import clahe, images
from wsjax.tasks import editing
from wsjax.tasks.editing import Canvas, Editing, Objective
from wsjax.training import Settings
from wsjax.zoos.inrs import inr_fitting

DRAWN, EXPANSION, REFITTED = 8, 8, 300
COLUMNS = {"test MSE": "test_mse", "median": "test_mse_median"}
NAMES = (
    *("mlp", "mlp_aug", "nfn_pt", "nfn_hnp", "nfn_np", "nft", "dwsnet", "unf"),
    *("gmn", "gmn_product", "scalegmn", "scalegmn_b", "scalegmn_probes"),
)
EXPANDED = {f"{name}_expansion": name for name in ("gmn_product", "scalegmn", "scalegmn_b")}
DEFAULT = (
    *("identity", "refit", "mlp", "nfn_pt", "nfn_np", "unf"),
    *("gmn", "gmn_product", "scalegmn", "scalegmn_b"),
)
WORDS = {
    **{f"{name}_expansion": f"mean of {EXPANSION} changes" for name in EXPANDED.values()},
    "identity": "no edit",
    "refit": f"{REFITTED} steps of Adam on the edited image",
    "mlp_aug": "permuted copies",
    "gmn_product": "products, residuals, norms",
    "scalegmn_probes": "receives activations at 64 probes",
}
STEPS = {  # one to two minutes a method on 2 CPU cores, up to eight on an H100
    **dict.fromkeys(("mlp", "mlp_aug"), (2000, 40_000)),
    **{"nfn_pt": (1500, 20_000), "nfn_np": (600, 20_000), "nfn_hnp": (600, 20_000)},
    **{"nft": (300, 8_000), "dwsnet": (500, 10_000), "unf": (1000, 20_000)},
    **{"gmn": (500, 15_000), "gmn_product": (500, 15_000), "scalegmn": (400, 8_000)},
    **{"scalegmn_b": (300, 5_000), "scalegmn_probes": (400, 8_000)},
}
STEPS |= {name: STEPS[base] for name, base in EXPANDED.items()}


TASKS = {"contrast": clahe.enhance, "dilation": inr_tasks.dilation}
ZOOS = {"contrast": "clahe", "dilation": "dilation"}  # in names of zoos, by which tables are cut


def targets(source: Source, task: str) -> np.ndarray:
    """The image each network is to render, [network, row, col, channel] float32, in its range."""
    return _edited(source.originals, task, source.plan.low)


def _edited(pixels, task, low):
    """uint8 [n, row, col, channel] edited, in a range that begins at `low`."""
    return images.prepare(TASKS[task](pixels), images.Preparation(low=low))


def identity(source: Source, canvas: Canvas, task: str) -> np.ndarray:
    """The test networks as they are."""
    return source.zoo.vectors[source.zoo.splits["test"]]


def refit(source: Source, canvas: Canvas, task: str) -> np.ndarray:
    """The test networks, fitted on to the edited image of each one's rendering."""
    vectors, plan = identity(source, canvas, task), source.plan
    rendered = editing.images(vectors, source.zoo.spec, canvas)
    pixels = np.round((rendered - plan.low) / (1 - plan.low) * 255)
    target = _edited(np.clip(pixels, 0, 255).astype(np.uint8), task, plan.low)
    return inr_fitting.refine(plan, vectors, target, REFITTED).vectors


def _methods(size: str, zoo: str, task: str, training: Settings) -> dict[str, Method]:
    """Every method, at a size of `inr_methods.settings`."""
    encoders = inr_methods.settings(size, zoo, edit=True)
    encoders["mlp_aug"] = encoders["mlp"]
    methods = {
        "identity": Method(compute=identity, words=WORDS["identity"]),
        "refit": Method(compute=refit, words=WORDS["refit"]),
    }
    for name in (*NAMES, *EXPANDED):
        encoder, settings = encoders[EXPANDED.get(name, name)]
        note = inr_published.NOTES.get(name, "") if size == "paper" else ""
        methods[name] = Method(
            encoder,
            {k: v for k, v in settings.items() if k != "readout"},
            (),
            Objective(permute=name == "mlp_aug"),
            training,
            "; ".join(filter(None, (WORDS.get(name), note))),
            inr_published.editing(zoo, task, name),
        )
    return methods


def presets(zoo: str = "mnist.dws", task: str = "dilation") -> dict[str, Preset]:
    """The presets for a zoo, by its name, and a task."""
    quick = Settings(batch=32, learning_rate=2e-3, warmup=20)
    costs = {
        "smoke": "40 digits; a minute on 2 CPU cores, most of it compilation",
        "laptop": "1,400 digits; ten minutes on 2 CPU cores",
        "small": "12,000 INRs of MNIST or 6,000 of others; two to four minutes a method on a CPU "
        "core",
        "h100": "all images; at most eight minutes a method on an H100, by estimate",
        "own": "all images; hours a method on a GPU",
        "paper": "all images; hours a method on a GPU",
    }
    methods = lambda size, training: _methods(size, zoo, task, training)
    published = lambda name: inr_published.training(name, zoo, edit=True)
    return inr_methods.presets(methods, quick, published, STEPS, 1, costs, DEFAULT)


PRESETS = presets()


def edit(
    source: Source, task: str, method: Method, config: Mapping[str, Any], home: pathlib.Path
) -> list[runs.Facts]:
    """Work of `runs.Run`: trains an editor or computes; tests; draws."""
    zoo, target = source.zoo, targets(source, task)
    canvas = Canvas.of(source.plan, *source.originals.shape[1:3])
    render, test = lambda v: editing.images(v, zoo.spec, canvas), zoo.splits["test"]
    if method.compute:
        edited, facts = runs.compute(method, source, canvas, task)
    else:
        editor = Editing(target, canvas, method.objective, config["expansion"])
        trained, facts = runs.learn(method, config, home, zoo, editor)
        edited = trained.edit(zoo.vectors[test])
    errors = editing.squared_errors(render(edited), target[test])
    scores = {"test_mse": float(errors.mean()), "test_mse_median": float(np.median(errors))}
    some = test[:DRAWN]
    rows = {
        "original": source.images[some],
        "INR": render(zoo.vectors[some]),
        "target": target[some],
        "edited": render(edited[:DRAWN]),
    }
    error = f"test MSE {scores['test_mse']:.4f} on [{source.plan.low:.0f}, 1]"
    title = f"{config['row']}, {source.name}, {task}: {error}"
    plots.pictures(home / "edits.png", rows, title, source.plan.low)
    return [{**facts, "metrics": {**scores, **facts["metrics"]}}]


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    """The command line; returns the records of its runs."""
    parser = cli.parser("inr_editing", __doc__, PRESETS)
    inr_tasks.flags(parser)
    parser.add_argument("--task", choices=[*TASKS, "both"], default="both")
    options = cli.prepare(parser.parse_args(arguments))
    tasks = list(TASKS) if options.task == "both" else [options.task]
    subject = inr_tasks.subject(options)
    methods: dict[str, dict[str, Method]] = {}
    for task in tasks:
        methods[task] = cli.choose(options, presets(subject.name, task)[options.preset])
    canvas = Canvas.of(subject.plan, *subject.pictures.shape[:2])
    editor = lambda m: Editing(np.zeros(0), canvas, m.objective)  # reads no images to be built
    names = inr_tasks.supported(methods[tasks[0]], subject, editor)
    source, plan = inr_tasks.make(subject, options.folder), []
    for task in tasks:
        zoo = f"{source.name}.{ZOOS[task]}"
        about = inr_tasks.facts(source) | {"task": task, "train_zoo": zoo}
        for name in names:
            more = {"expansion": EXPANSION if name in EXPANDED else 1}
            more |= {"refitted": REFITTED} if name == "refit" else {}
            one = {name: methods[task][name]}
            preset = PRESETS[options.preset]
            plan += runs.plan(
                options, preset, one, functools.partial(edit, source, task), **about, **more
            )
    table = functools.partial(runs.columns, named=COLUMNS)
    finished = runs.execute(plan, options, table, curves="MSE of images")
    for task in tasks:
        zoo = f"{source.name}.{ZOOS[task]}"
        curves = {"curves": cli.home(options) / f"curves.{zoo}.png"}
        inr_tasks.publish(options, zoo, "test_mse", ("edits",), curves)
    return finished


if __name__ == "__main__":
    cli.run(main)

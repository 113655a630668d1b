"""Edits of images, by the weights of their INRs alone.

GMN, table 2 (Lim et al., ICLR 2024), after Zhou et al. (2023): an editor reads the weights of an
INR of an image, and gives theta + gamma * delta, the weights of an INR of the edited image; mean
squared error of that INR's rendering, on INRs of test images. GMN .0197 and .0603 (contrast and
dilation), NFT .0200 and .0510, NFN-NP .0203 and .0693; ScaleGMN's own dilation of MNIST
.0256, ScaleGMN-B .0189 (Kalogeropoulos et al., 2024; from memory).

    python -m experiments.inr_editing                              digits, on 2 CPU cores
    python -m experiments.inr_editing --task contrast --methods identity,gmn
    python -m experiments.inr_editing --preset small --data mnist --files FOLDER
    python -m experiments.inr_editing --images FOLDER              a folder of your own
    python -m experiments.inr_editing --preset paper --recipe nfn --data cifar10 --task contrast

    dilation   every pixel becomes the brightest of the 3 x 3 around it, channel by channel, at
               the border of those that are there
    contrast   x -> m + 2 (x - m), clipped to the range of images, m the mean gray value of the
               image (0.299 red, 0.587 green, 0.114 blue). The published text states that
               contrast is increased, not how: this is ours, torchvision's `adjust_contrast`
               by a factor of 2, and its errors stand beside the paper's for orientation alone

Both are of the image an INR was fitted to, not of its rendering: an editor may improve a fit.
Errors are in the range of a recipe's images: [0, 1] of "dws", [-1, 1] of "nfn", where they are
four times as large; the paper's are of the latter, ScaleGMN's of the former.

`scalegmn_probes` receives the activations of each neuron for 64 learned inputs. `identity`
leaves networks as they are; `refit`, for comparison, renders each, edits the image and goes on
fitting: it learns nothing, and takes hundreds of steps for every network. Methods with
`_expansion` give eight changes and take their mean (`wsjax.encoders.editors`). In the folder of a
run `edits.png` has originals, targets, renderings before and after; beside the runs lies
`curves.png`. Any run can be killed; the same command goes on where it stopped. Images of your own
need no sub-folders.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.ndimage

from experiments.lib import cli, inr_methods, inr_tasks, plots, runs
from experiments.lib.inr_tasks import Source
from experiments.lib.methods import Method, Preset
from wsjax.datasets import images
from wsjax.tasks import editing
from wsjax.tasks.editing import Canvas, Editing, Objective
from wsjax.training import Settings
from wsjax.zoos.inrs import inr_fitting

DRAWN, EXPANSION, REFITTED = 8, 8, 300
COLUMNS = {"test MSE": "test_mse", "median": "test_mse_median"}
GRAY = {1: np.ones(1), 3: np.array([0.299, 0.587, 0.114])}  # ITU-R BT.601
NAMES = (
    *("mlp", "nfn_pt", "nfn_hnp", "nfn_np", "nft", "dwsnet", "unf"),
    *("gmn", "scalegmn", "scalegmn_b", "scalegmn_probes"),
)
EXPANDED = {f"{name}_expansion": name for name in ("gmn", "scalegmn", "scalegmn_b")}
DEFAULT = ("identity", "refit", "mlp", "nfn_pt", "nfn_np", "unf", "gmn", "scalegmn", "scalegmn_b")
WORDS = {
    **{f"{name}_expansion": f"mean of {EXPANSION} changes" for name in EXPANDED.values()},
    "identity": "no edit",
    "refit": f"{REFITTED} steps of Adam on the edited image",
    "scalegmn_probes": "receives activations at 64 probes",
}
PAPER = {  # GMN, table 2: of CIFAR-10 and of MNIST
    ("cifar10", "contrast"): {
        **{"mlp": ".031", "mlp_aug": ".029", "nfn_pt": ".029", "nfn_hnp": ".0204"},
        **{"nfn_np": ".0203", "nft": ".0200", "gmn": ".0197"},
    },
    ("mnist", "dilation"): {
        **{"mlp": ".306", "mlp_aug": ".307", "nfn_pt": ".197", "nfn_hnp": ".0706"},
        **{"nfn_np": ".0693", "nft": ".0510", "gmn": ".0603"},
        # another table, on [0, 1], from memory
        **{"scalegmn": ".0256 ± .0003*", "scalegmn_b": ".0189*", "dwsnet": ".0258*"},
    },
}
QUICK = {  # steps of the laptop: one to two minutes a method on 2 CPU cores
    **{"mlp": 2000, "mlp_aug": 2000, "nfn_pt": 1500, "nfn_np": 600, "nfn_hnp": 600},
    **{"nft": 300, "dwsnet": 500, "unf": 1000, "gmn": 500, "scalegmn": 400, "scalegmn_b": 300},
    **{"gmn_expansion": 500, "scalegmn_expansion": 400, "scalegmn_b_expansion": 300},
    "scalegmn_probes": 400,
}


def dilation(pixels: np.ndarray) -> np.ndarray:
    """Each pixel the largest of the 3 x 3 around it, [n, row, col, channel]."""
    return scipy.ndimage.grey_dilation(pixels, size=(1, 3, 3, 1))


def contrast(pixels: np.ndarray) -> np.ndarray:
    """Twice as far from an image's mean gray value, clipped; uint8 [n, row, col, channel]."""
    shades = pixels.astype(np.float64)
    mean = (shades @ GRAY[pixels.shape[-1]]).mean((1, 2))[:, None, None, None]
    return np.clip(np.round(mean + 2 * (shades - mean)), 0, 255).astype(np.uint8)


TASKS = {"contrast": contrast, "dilation": dilation}


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


def _methods(size: str, data: str, task: str, training: Settings) -> dict[str, Method]:
    """Every method, at a size of `inr_methods.settings`."""
    encoders = inr_methods.settings(size, data, edit=True)
    encoders["mlp_aug"] = encoders["mlp"]
    paper = PAPER.get((data.split(".")[0], task), {})
    methods = {
        "identity": Method(compute=identity, words=WORDS["identity"]),
        "refit": Method(compute=refit, words=WORDS["refit"]),
    }
    for name in (*NAMES[:1], "mlp_aug", *NAMES[1:], *EXPANDED):
        encoder, settings = encoders[EXPANDED.get(name, name)]
        methods[name] = Method(
            encoder,
            {k: v for k, v in settings.items() if k != "readout"},
            (),
            Objective(permute=name == "mlp_aug"),
            training,
            WORDS.get(name, ""),
            paper.get(name, "–"),
        )
    return methods


def presets(data: str = "mnist", task: str = "dilation") -> dict[str, Preset]:
    """The presets for a data set and a task."""
    quick = Settings(batch=32, learning_rate=2e-3, warmup=20)
    published = Settings(batch=32, learning_rate=1e-3, schedule="constant", optimizer="adam")
    costs = {
        "smoke": "40 digits; a minute on 2 CPU cores, most of it compilation",
        "laptop": "1,400 digits; ten minutes on 2 CPU cores",
        "small": "12,000 INRs of MNIST or 6,000 of others; two to four minutes a method on a CPU "
        "core",
        "paper": "all images; hours a method on a GPU",
    }

    def paper(name, method):
        if not name.startswith("scalegmn"):
            return method.train(50_000, 50)
        more = {"batch": 64, "warmup": 1000, "optimizer": "adamw", "weight_decay": 0.001}
        return method.train(258_000, 100, clip=10.0, **more)

    methods = lambda size, training: _methods(size, data, task, training)
    return inr_methods.presets(methods, quick, published, QUICK, 1, paper, costs, DEFAULT)


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
    title = f"{config['row']}, {source.name}, {task}: test MSE {scores['test_mse']:.4f}"
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
        about = inr_tasks.facts(source) | {"task": task, "train_zoo": f"{source.name}.{task}"}
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
        zoo = f"{source.name}.{task}"
        curves = {"curves": cli.home(options) / f"curves.{zoo}.png"}
        inr_tasks.publish(options, zoo, "test_mse", ("edits",), curves)
    return finished


if __name__ == "__main__":
    cli.run(main)

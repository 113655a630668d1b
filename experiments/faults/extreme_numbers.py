"""Networks, labels and inputs at the ends of the range of float32, and uses nobody meant.

    finite networks -> finite results, or a refusal that names the network
    NaN, infinity   -> a refusal that names the array

A batch has three networks, one of them extreme; the results of the other two must not change.
"""

import functools
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments.faults.attacks import Attack, Verdict, cases, verdict
from experiments.faults.launcher import COMMAND, launcher
from experiments.lib import baselines
from wsjax import architectures, encoders, metrics, networks, tasks, training
from wsjax.architectures import trigonometry
from wsjax.networks import Spec
from wsjax.predictors.features import statistics
from wsjax.symmetries import matching, scalings
from wsjax.tasks import InputScale
from wsjax.tasks.base import views
from wsjax.tasks.classification import Classification
from wsjax.tasks.editing import Canvas, Editing
from wsjax.tasks.regression import Objective, Regression
from wsjax.zoos import Zoo

SPEC = architectures.mlp([1, 6, 5, 1], "sin", 30.0)
SPECS = {"inr2vec": architectures.mlp([1, 6, 6, 1], "sin", 30.0)}  # where `SPEC` is unsupported
SMALL = {  # settings of every encoder; those that compile soonest first
    "mlp": {"widths": (8,)},
    "stat_nn": {"widths": (8,)},
    "probing": {"probes": 4, "widths": (8,)},
    "deepsets": {"widths": (8, 8)},
    "unf": {"width": 8, "layers": 2},
    "transformer": {"width": 8, "depth": 1, "heads": 2},
    "sne": {"chunk": 4, "width": 8, "heads": 2, "chunk_depth": 1, "depth": 1},
    "gmn": {"width": 8, "layers": 2},
    "grit": {"width": 16, "layers": 2, "heads": 2, "steps": 4},
    "neural_graph": {
        "width": 12, "edge_width": 12, "layers": 2, "attention": 8, "hidden": 8,
        "edge_hidden": 8, "heads": 2, "head": (8,), "frequencies": 16,
    },
    "scalegmn": {"width": 8, "layers": 2},
    "inr2vec": {"widths": (8, 8), "pooled": 8},
    "dwsnet": {"width": 8, "layers": 2, "heads": 2},
    "nfn": {"widths": (8, 8), "head": (8,)},
    "nft": {"frequencies": 4, "blocks": 1, "heads": 2},
    "dmc": {"stages": ((4,), (8,)), "widths": (8,)},
    "hyperrep": {"width": 8, "depth": 1, "heads": 2, "hidden": 8},
}  # fmt: skip
if set(SMALL) != set(encoders.ENCODERS):
    raise ValueError(f"expected settings of all encoders: {set(SMALL) ^ set(encoders.ENCODERS)}")

Change = Callable[[np.ndarray, slice, np.random.Generator], object]  # of a network, and an array


def _entry(value: float) -> Change:
    def change(network, array, draw):
        network[draw.integers(array.start, array.stop)] = value

    return change


def _times(factor: float, whole: bool = True) -> Change:
    def change(network, array, draw):
        network[slice(None) if whole else array] *= np.float32(factor)

    return change


EXTREMES: dict[str, Change] = {
    "times 1e19": _times(1e19),
    "NaN in an array": _entry(np.nan),
    "times 1e30": _times(1e30),
    "infinity in an array": _entry(np.inf),
    "an entry of 3e38": _entry(3e38),
    "times 1e37": _times(1e37),
    "denormal numbers": _times(1e-40),
    "-infinity in an array": _entry(-np.inf),
    "all zero": _times(0.0),
    "an array times 1e25": _times(1e25, whole=False),
    "times 1e-25": _times(1e-25),
}


def extreme(
    number: int, spec: Spec, draw: np.random.Generator, batch: int = 3
) -> tuple[np.ndarray, list[str], int]:
    """Networks [batch, entry], one of them changed as the number says.

    Returns:
        They, what a refusal names (a pattern for the network, or the array), and which network.
    """
    vectors = ordinary(spec, batch)
    change, where = list(EXTREMES.values())[number % len(EXTREMES)], int(draw.integers(batch))
    places = networks.offsets(spec)
    name = sorted(places)[draw.integers(len(places))]
    change(vectors[where], slice(places[name].min(), places[name].max() + 1), draw)
    finite = np.isfinite(vectors).all()
    return vectors, [rf"\bnetworks?\b[^:]{{0,30}}\b{where}\b" if finite else re.escape(name)], where


def ordinary(spec: Spec, count: int) -> np.ndarray:
    """Networks as PyTorch would begin them, [count, entry]."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.4, (count, spec.count)).astype(np.float32)


def case(
    words: str, compute: Callable[[], Any], patterns: Sequence[str],
    right: Callable[[Any], bool] | None = None,
) -> Verdict:  # fmt: skip
    """The verdict on a result that must be finite, and right if that can be known.

    Args:
        words: about the case, for the log.
        compute: gives the result.
        patterns: a refusal matches one of these.
        right: result -> whether it is.
    """
    messages = []

    def run():
        with warnings.catch_warnings():  # NumPy's of an overflow: results are inspected here
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                return compute()
            except ValueError as error:
                messages.append(str(error))
                raise

    fine = lambda result, _: _finite(result) and (right is None or right(result))
    found = verdict(run, [None], [""], (ValueError,), fine)
    if messages and not any(re.search(p, messages[0], re.DOTALL) for p in patterns):
        expected = f"expected a message with {' or '.join(patterns) or 'nothing'}"
        found = found._replace(outcome="crashed", words=f"{expected}: {found.words}")
    return found._replace(words=f"{words}: {found.words}")


def _finite(result) -> bool:
    return all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(result))


def predictions(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Predictions and embeddings of extreme networks, by each encoder in turn."""
    for number, draw in cases(rng, count):
        name = list(SMALL)[number // len(EXTREMES) % len(SMALL)]
        yield predicted(predictor(name), f"{name}, {_words(number)}", number, draw)


def predicted(trained: Any, words: str, number: int, draw: np.random.Generator) -> Verdict:
    """The verdict on predictions or embeddings of three networks, one of them extreme."""
    spec = trained.specs[0]
    vectors, patterns, where = extreme(number, spec, draw)
    apply = (trained.predict, trained.encode)[draw.integers(2)]
    give = (
        lambda x: x,
        lambda x: networks.unravel(x, spec),
        lambda x: Zoo.of_spec(x, spec, {}),
    )[draw.integers(3)]
    others = np.arange(len(vectors)) != where
    expected = apply(ordinary(spec, len(vectors)))[others]
    right = lambda result: np.allclose(result[others], expected, rtol=1e-4, atol=1e-5)
    return case(words, lambda: apply(give(vectors)), patterns, right)


@functools.cache
def predictor(name: str) -> Any:
    """A predictor as it is before its first step of training."""
    spec = SPECS.get(name, SPEC)
    vectors = ordinary(spec, 8)
    task, scale = Regression("size"), InputScale.fit(Zoo.of_spec(vectors, spec, {}))
    module = task.module(encoders.build(name, {**SMALL[name], "code": 4}), (8,))
    view, normalised = views(module.encoder, [spec]).view, scale.apply(vectors, spec)
    statistics = module.encoder.calibrate(normalised, view, scale.scales)
    variables = dict(jax.jit(module.init)(jax.random.key(0), normalised, view))
    variables |= {"statistics": {"encoder": statistics}} if statistics else {}
    constants = {"mean": 0.0, "deviation": 1.0}
    return task.trained(task, module, variables, scale, (spec,), constants, {}, (8,))


def _words(number):
    return list(EXTREMES)[number % len(EXTREMES)]


FORMS: dict[str, Callable[[dict, Spec], Any]] = {
    "canonical": scalings.canonical,
    "canonical_scale": scalings.canonical_scale,
    "canonical_sign": scalings.canonical_sign,
    "canonical_phase": scalings.canonical_phase,
    "align": lambda params, spec: matching.align(
        networks.ravel(params, spec), ordinary(spec, 1)[0], spec
    ),
}


def canonical_forms(
    rng: np.random.Generator, count: int, folder: pathlib.Path
) -> Iterator[Verdict]:
    """Canonical forms and matchings of extreme networks."""
    activations, forms = ("relu", "sin", "tanh"), list(FORMS)
    for number, draw in cases(rng, count):
        form = forms[number // len(EXTREMES) % len(forms)]
        spec = architectures.mlp([2, 4, 3, 1], activations[draw.integers(3)], 1.0)
        vectors, patterns, _ = extreme(number, spec, draw)
        patterns += [re.escape(a.name) for a in spec.arrays]
        compute = lambda f=FORMS[form], x=vectors, s=spec: f(networks.unravel(x, s), s)
        yield case(f"{form}, {spec.layers[0].activation}, {_words(number)}", compute, patterns)


def boosted_trees(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Boosted trees on a test network that is extreme, by itself or since it was checked."""
    for number, draw in cases(rng, count):
        vectors, patterns, where = extreme(number, SPEC, draw, batch=60)
        labels = {"size": np.linalg.norm(ordinary(SPEC, 60), axis=1)}
        others = np.flatnonzero(np.arange(60) != where)
        parts = {"train": others[:40], "validation": others[40:], "test": np.array([where])}

        def compute(vectors=vectors, labels=labels, parts=parts, where=where):
            zoo = Zoo.of_spec(ordinary(SPEC, 60), SPEC, labels, parts)
            zoo.vectors[where] = vectors[where]
            outcome = baselines.boosted_trees(zoo, {"test": zoo}, "size", 0)["test"]
            if isinstance(outcome, str):
                raise ValueError(outcome)
            # a number for statistics that are none would be a guess
            return outcome, statistics(zoo.select(parts["test"]))

        yield case(_words(number), compute, [*patterns, r"\bnetworks?\b"])


VALUES = (1e19, 1e30, 3e38, 1e200, 1e308, 1e-320, 0.0, np.nan, np.inf)
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "mse": metrics.mse,
    "mae": metrics.mae,
    "r2": metrics.r2,
    "kendall_tau": metrics.kendall_tau,
    "bootstrap": lambda p, t: metrics.bootstrap(p, t, samples=5),
    "classification": lambda p, t: metrics.classification(np.stack([p, 1 - p], 1), (t > 0) * 1),
}


def measures(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Measures of extreme predictions or targets."""
    for number, draw in cases(rng, count):
        value, name = VALUES[number % len(VALUES)], list(MEASURES)[number % len(MEASURES)]
        pair, which = draw.uniform(0, 1, (2, 8)), draw.integers(2)
        some = slice(None) if draw.integers(2) else slice(1)
        pair[which, some] = value * draw.choice([-1, 1], pair[which, some].shape)
        words = f"{name}, {('predictions', 'targets')[which]} of {value:g}"
        patterns = ["predictions", "targets", "probabilities", "classes"]
        yield case(words, lambda f=MEASURES[name], x=pair: f(*x), patterns)


def sines(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """The library's own sine and cosine of large numbers."""
    pairs = ((trigonometry.sin, np.sin), (trigonometry.cos, np.cos))
    for number, draw in cases(rng, count):
        ours, exact = pairs[number % 2]
        x = np.float32(draw.choice([-1, 1]) * 10 ** draw.uniform(3, 38))
        near = lambda y, x=x, exact=exact: abs(float(y) - exact(np.float64(x))) < 1e-5
        yield case(f"{exact.__name__}({x})", lambda f=ours, x=x: np.asarray(f(x)), [], near)


def misuse(rng: np.random.Generator, count: int, folder: pathlib.Path) -> Iterator[Verdict]:
    """Labels that are no numbers, empty splits, networks and folders of another kind."""
    for number, _ in cases(rng, count):
        words, (compute, names) = list(MISUSES.items())[number % len(MISUSES)]
        place = folder / str(number)
        found = case(words, lambda f=compute, x=place: _none(f(x)), [rf"\b{x}\b" for x in names])
        wrong = found.outcome == "survived"
        yield found._replace(outcome="silent") if wrong else found


def _none(result):
    return None


LABELLED = architectures.mlp([1, 4, 1], "tanh")


def labelled(split: str = "", value: float = 0.5, empty: str = "") -> Zoo:
    """A zoo of 40 networks; the first label of a split has this value, or a split is empty."""
    vectors, labels = ordinary(LABELLED, 40), np.tile(np.float32([0, 1]), 20)
    parts = {"train": np.arange(24), "validation": np.arange(24, 32), "test": np.arange(32, 40)}
    if split:
        labels[parts[split][0]] = value
    if empty:
        parts[empty] = np.array([], int)
    return Zoo.of_spec(vectors, LABELLED, {"quality": labels}, parts)


def _fit(zoo, task, place, encoder="mlp", head=(4,)):
    settings = training.Settings(steps=2, batch=8, evaluate_every=2, checkpoint_every=2)
    module = encoders.build(encoder, {**SMALL[encoder], "code": 4})
    return tasks.fit(
        zoo, task, module, head=head, settings=settings, folder=place, progress=False
    )  # fmt: skip


def _trees(zoo, place):
    outcome = baselines.boosted_trees(zoo, {"test": zoo}, "quality", 0)["test"]
    if isinstance(outcome, str):
        raise ValueError(outcome)


@functools.cache
def _run(kind):
    """The folder of a finished run of a task."""
    place = launcher().folder / kind
    _fit(labelled(), {"regression": QUALITY, "classification": CLASSES}[kind], place)
    return place


def _edit(place):
    spec, other = (architectures.mlp(x, "sin", 30.0) for x in ([2, 8, 8, 1], [2, 16, 16, 3]))
    zoo = Zoo.of_spec(ordinary(spec, 16), spec, {}, {"train": np.arange(8),
                      "validation": np.arange(8, 16)})  # fmt: skip
    images = np.zeros((16, 4, 4, 1), np.float32)
    trained = _fit(zoo, Editing(images, Canvas(4, 4, "ij", 0.5)), place, "gmn", ())
    trained.edit(ordinary(other, 2), other)


def _evaluate(place, run):
    """The command line that measures a run of a regression on sines."""
    ended = launcher().run("command", COMMAND, "--folder", place, "--evaluate", run)
    if ended.fault or not ended.code:
        raise RuntimeError(ended.fault or "no refusal")
    raise ValueError(ended.sentence)


QUALITY, CLASSES = Regression("quality"), Classification("quality", ("bad", "good"))
SHARE = Regression("quality", Objective(loss="bce"))
MISUSES: dict[str, tuple[Callable[[pathlib.Path], Any], list[str]]] = {
    "NaN label": (lambda x: _fit(labelled("train", np.nan), QUALITY, x), ["quality"]),
    "infinite label of validation": (
        lambda x: _fit(labelled("validation", np.inf), QUALITY, x), ["quality"]),
    "NaN share": (lambda x: _fit(labelled("train", np.nan), SHARE, x), ["quality"]),
    "NaN class": (lambda x: _fit(labelled("train", np.nan), CLASSES, x), ["quality"]),
    "trees of a NaN label": (lambda x: _trees(labelled("train", np.nan), x), ["quality"]),
    "trees of a NaN label of validation": (
        lambda x: _trees(labelled("validation", np.nan), x), ["quality"]),
    "no training networks": (lambda x: _fit(labelled(empty="train"), QUALITY, x), ["train"]),
    "no validation": (lambda x: _fit(labelled(empty="validation"), QUALITY, x), ["validation"]),
    "trees without training networks": (lambda x: _trees(labelled(empty="train"), x), ["train"]),
    "trees without a test": (lambda x: _trees(labelled(empty="test"), x), ["test"]),
    "no test": (lambda x: labelled(empty="test").part("test", "quality"), ["test"]),
    "classes of a run of a regression": (
        lambda x: tasks.restore(_run("regression"), Classification), ["regression"]),
    "a regression of a run of classes": (
        lambda x: tasks.restore(_run("classification"), Regression), ["classification"]),
    "an editor's run in a regression's place": (
        lambda x: tasks.restore(_run("regression"), Editing), ["regression"]),
    "another task into the folder": (
        lambda x: _fit(labelled(), CLASSES, _run("regression")), ["regression"]),
    "an editor of other networks": (_edit, ["16", "3 outputs"]),
    "--evaluate of a run of classes": (
        lambda x: _evaluate(x, _run("classification")), ["classification"]),
    "--evaluate of a folder without a run": (lambda x: _evaluate(x, x / "absent"), ["absent"]),
}  # fmt: skip
ATTACKS = (
    Attack("predictions", "networks at the ends of float32, by all encoders", 187, 22, predictions),
    Attack("canonical_forms", "their canonical forms and matchings", 110, 33, canonical_forms),
    Attack("boosted_trees", "boosted trees on their statistics", 11, 2, boosted_trees),
    Attack("measures", "measures of extreme predictions and targets", 108, 54, measures),
    Attack("sines", "the fast sine and cosine of up to 1e38", 200, 50, sines),
    Attack("misuse", "labels, splits, networks, folders of another kind", len(MISUSES), 7, misuse),
)

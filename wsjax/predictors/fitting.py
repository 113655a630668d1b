"""`fit`: a predictor of a label from a zoo, chosen, calibrated, with its domain.

    runs --shuffled--> train 50 %, validation 20 %, calibration 30 %

    candidates learn from train and validation, and are compared there by R2:
        fewer than 100 such runs    out of fold, in five folds of runs
        more                        on validation
    the simplest within one standard error of the best is chosen   (Breiman et al., 1984)
    calibration gives its intervals and its domain, and nothing else

All checkpoints of a run, and copies of one network up to permutations, are in one split.
Encoders are tried from 100 runs to learn from; given by name, always.
"""

import collections
import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from wsjax import checks, metrics
from wsjax.encoders import Encoder
from wsjax.predictors import candidates, conformal
from wsjax.predictors.candidates import Data, Model, grown, learn
from wsjax.predictors.child import SkippedError
from wsjax.predictors.conformal import Calibration
from wsjax.predictors.domain import Domain
from wsjax.predictors.predictor import Predictor, embedded, features_of
from wsjax.predictors.ridge import standardised, standards
from wsjax.zoos import Zoo

FEWEST = 20  # networks
FEWEST_LEARN = 6  # runs to learn from, beside those of calibration
MANY = 100  # runs to learn from, from which one validation split serves, and encoders are tried
FOLDS = 5
RESAMPLES = 500  # of the bootstrap intervals of measures
CALIBRATION, VALIDATION = 0.3, 0.2 / 0.7  # of all runs; of the others
SAME = 1e-5  # distance of standardised features up to which networks are one
SIMPLE = ("mean", "ridge", "trees")
FAST = SIMPLE[:2]  # take no time worth measuring, so that there is always a model
MEASURED = re.compile(  # names of columns that are known after training alone
    r"(^|[-_. ])(val|valid|validation|test|eval|dev|loss|nll|acc|accuracy|err|error|score|auc|f1|"
    r"ece|r2|mse|mae|rmse|gap|perplexity|top|time|seconds|minutes|hours|duration|runtime)"
    r"([-_. @]|[0-9]*$)",
    re.IGNORECASE,
)


class UnfitDataError(ValueError):
    """Networks or labels from which no predictor can be had.

    Attributes:
        code: the exit code of the command line: refused.
    """

    code = 3


def fit(
    zoo: Zoo,
    label: str,
    *,
    names: Sequence[str] | None = None,
    minutes: float = 5.0,
    seed: int = 0,
    confidence: float = 0.9,
    encoders: Mapping[str, Encoder] | None = None,
    recipe: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Predictor:
    """Trains candidates on a zoo, chooses one and calibrates it.

    Args:
        zoo: networks of one architecture, which may differ in activations; each with the label.
            Its splits do not count.
        label: a number of each network.
        names: of the networks, for the record of the splits.
        minutes: for all candidates together; each has an equal part of what is left, and an
            encoder that has not been trained by then is ended.
        seed: of splits and training.
        confidence: of the intervals.
        encoders: name -> encoder, those to be tried; `candidates.ENCODERS` if None.
        recipe: labels that were chosen before training, for the control `recipe_only`; if None
            all other labels, without those whose names are of measures (`MEASURED`).
        progress: called with the name of each candidate when it begins.

    Returns:
        The predictor. Its `facts` have the candidates with their measures or the reasons why they
        were left out, the control, the splits by name and the seconds.

    Raises:
        UnfitDataError: there are too few networks or runs, architectures are mixed, or labels are
            NaN or all the same.
        ValueError: there is no such label, names are not those of the networks, or a number makes
            no sense.
        TypeError: this is no zoo.
    """
    checks.expect("zoo", zoo, Zoo)
    names = tuple(names or (f"network {i}" for i in range(len(zoo))))
    _check(zoo, label, names, minutes, confidence, seed)
    start = time.monotonic()
    features = features_of(zoo.vectors, zoo.specs[0])
    groups = _groups(zoo.runs, features.values)
    development, calibration = _splits(groups, confidence, seed)
    y = np.asarray(zoo.labels[label], np.float64)
    shares = bool(y.min() >= 0 and y.max() <= 1)
    data = Data(zoo, features.values, label, seed, shares)
    train, validation = development
    columns, measured = _recipe(zoo, label, recipe)
    tried = dict(candidates.ENCODERS if encoders is None else encoders)
    clock = _Clock(start + 60 * minutes)
    folds, whole = _folds(groups, train, validation, seed), np.concatenate([train, validation])
    few = len(np.unique(groups[whole])) < MANY
    results: dict[str, _Result] = {}
    for i, name in enumerate([*SIMPLE, *tried]):
        encoder = tried.get(name)
        if encoder is not None and few and encoders is None:
            runs = len(np.unique(groups[whole]))
            results[name] = _Result(note=f"{runs} runs to learn from, tried from {MANY}")
            continue
        seconds = clock.left() / (len(SIMPLE) + len(tried) - i)
        progress(f"{name} ({i + 1} of {len(SIMPLE) + len(tried)}), {clock.left():.0f} s left")
        results[name] = _try(name, data, folds, development, encoder, seconds)
    chosen = _chosen(results, groups)
    model = results[chosen].model
    if chosen not in tried:  # an encoder has learned from train, and stopped on validation
        model, _ = learn(chosen, data, train, validation, None, 0.0)
    assert model is not None
    rows = calibration[conformal.one_of_each(groups[calibration], seed)]
    bounds = (0.0, 1.0) if shares else (-np.inf, np.inf)
    clip = Calibration(np.zeros(1), confidence, *bounds).clip
    errors = y[rows] - clip(model.predict(zoo.select(rows), features.values[rows]))
    learned = whole[conformal.one_of_each(groups[whole], seed)]
    described = embedded(model, zoo, features).values
    domain = Domain.of(zoo.specs, zoo.vectors[learned], described[learned], described[rows])
    parts = {"train": train, "validation": validation, "calibration": calibration}
    calibrated = Calibration(errors, confidence, *bounds)
    width = float(np.subtract(*calibrated.intervals(np.array([y.mean()]))[0, ::-1]))
    facts = {
        "chosen": chosen,
        "measure": "out of fold, in five folds of runs" if few else "on validation",
        "candidates": [_line(name, r, groups) for name, r in results.items()],
        "control": _control(data, columns, measured, folds, groups),
        "splits": {k: [names[i] for i in v] for k, v in parts.items()},
        "runs": {k: len(np.unique(groups[v])) for k, v in parts.items()},
        "labels": {"lowest": float(y.min()), "mean": float(y.mean()), "highest": float(y.max())},
        "confidence": confidence,
        "interval": width,
        "calibration_mae": float(np.abs(errors).mean()),
        "seed": seed,
        "minutes": minutes,
        "seconds": round(time.monotonic() - start, 1),
    }
    return Predictor(label, model, domain, calibrated, facts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Result:
    """Predictions of a candidate on the networks it was compared on, or why there are none."""

    note: str = ""
    rows: np.ndarray | None = None
    predicted: np.ndarray | None = None
    truth: np.ndarray | None = None
    model: Model | None = None  # of an encoder: learned from train, stopped on validation
    seconds: float = 0.0


class _Clock:
    """The seconds that are left."""

    def __init__(self, end: float):
        self.end = end

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())


def _check(zoo, label, names, minutes, confidence, seed):
    """All that can be wrong before any work."""
    if label not in zoo.labels:
        raise ValueError(f"expected a label of {sorted(zoo.labels)}, got {label!r}")
    if not 0 < minutes < np.inf or not 0.5 <= confidence < 1 or seed < 0:
        raise ValueError(
            "expected finite minutes above 0, a confidence from 0.5 to below 1 and a seed from 0, "
            f"got {minutes}, {confidence} and {seed}"
        )
    if len(names) != len(zoo):
        raise ValueError(f"expected {len(zoo)} names of networks, got {len(names)}")
    if twice := sorted(k for k, n in collections.Counter(names).items() if n > 1):
        raise UnfitDataError(f"expected different names, got twice: {', '.join(twice[:5])}")
    y = zoo.labels[label]
    if len(zoo) < FEWEST:
        raise UnfitDataError(f"expected at least {FEWEST} networks to learn from, got {len(zoo)}")
    if bad := [names[i] for i in np.flatnonzero(~np.isfinite(y))]:
        raise UnfitDataError(
            f"label {label!r} is NaN or infinite of {checks.some('network', bad)}; expected a "
            "number for each"
        )
    if np.ptp(y) == 0:
        raise UnfitDataError(f"label {label!r} is {y[0]:g} of all {len(zoo)} networks: constant")
    shapes = {tuple((a.name, s.shape(a)) for a in s.arrays) for s in zoo.compact().specs}
    if len(shapes) > 1:
        sizes = [f"{(zoo.which == i).sum()} of {s.count:,}" for i, s in enumerate(zoo.specs)]
        raise UnfitDataError(
            f"expected networks of one architecture, got {len(shapes)}: {', '.join(sizes)} "
            "weights; fit one predictor for each"
        )
    _expect_runs(len(np.unique(zoo.runs)), confidence, "")


def _expect_runs(runs, confidence, more):
    least = conformal.fewest(confidence) + FEWEST_LEARN
    if runs < least:
        raise UnfitDataError(
            f"expected networks of at least {least} runs, got {runs}{more}: intervals of "
            f"{confidence:.0%} need {least - FEWEST_LEARN} runs that nothing was learned from, and "
            "checkpoints of one run are not independent"
        )


def _groups(runs: np.ndarray, features: np.ndarray) -> np.ndarray:
    """A number for each run, [network]; runs that share a network up to permutations are one."""
    z = standardised(features, *standards(features), 20.0).astype(np.float32)
    squares = np.square(z).sum(1)
    pairs = [np.zeros((0, 2), int)]
    for i in range(0, len(z), 500):
        distances = squares[i : i + 500, None] + squares - 2 * z[i : i + 500] @ z.T
        # in float32 up to rounding; compared exactly next
        near = np.argwhere(distances < 1e-3 * z.shape[1]) + np.array([[i, 0]])
        gaps = np.square(z[near[:, 0]] - z[near[:, 1]]).mean(1)
        pairs.append(near[gaps < SAME**2])
    _, own = np.unique(runs, return_inverse=True)
    one, other = own[np.concatenate(pairs)].T
    count = own.max() + 1
    graph = scipy.sparse.coo_array((np.ones(len(one)), (one, other)), (count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1][own]


def _splits(groups, confidence, seed):
    """((train, validation), calibration): rows of networks in whole groups."""
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    _expect_runs(len(order), confidence, ", copies of one network counted once")
    held_out = max(conformal.fewest(confidence), round(CALIBRATION * len(order)))
    rest = len(order) - held_out
    chosen = max(2, round(VALIDATION * rest))
    parts = order[: rest - chosen], order[rest - chosen : rest], order[rest:]
    train, validation, calibration = (np.flatnonzero(np.isin(groups, p)) for p in parts)
    return (train, validation), calibration


def _folds(groups, train, validation, seed):
    """(rows to learn from, rows to stop on, rows to measure on) of each fold."""
    whole = np.concatenate([train, validation])
    runs = np.unique(groups[whole])
    if len(runs) >= MANY:
        return [(train, validation, validation)]
    parts = np.array_split(np.random.default_rng(seed + 1).permutation(runs), FOLDS)
    rows = [whole[np.isin(groups[whole], p)] for p in parts]
    out = []
    for i in range(FOLDS):
        j = (i + 1) % FOLDS
        rest = [rows[k] for k in range(FOLDS) if k not in (i, j)]
        out.append((np.concatenate(rest), rows[j], rows[i]))
    return out


def _try(name, data, folds, development, encoder, seconds) -> _Result:
    """A candidate's predictions on the rows of all folds."""
    start, predicted, rows = time.monotonic(), [], []
    model, note = None, ""
    final = encoder is not None and len(folds) > 1  # one more to be learned
    count = len(folds) + final
    for i, (train, stop, measured) in enumerate(folds):
        if stop is measured and name in FAST:
            stop = stop[:0]
        spent = time.monotonic() - start
        if i and name not in FAST and spent / i * (count - i) > seconds - spent:
            return _Result(f"one of {len(folds)} folds takes {spent / i:.0f} s, {seconds:.0f} s "
                           "were left for it")  # fmt: skip
        try:
            model, note = learn(name, data, train, stop, encoder, (seconds - spent) / (count - i))
        except SkippedError as error:
            return _Result(str(error))
        predicted.append(model.predict(data.zoo.select(measured), data.features[measured]))
        rows.append(measured)
    if final:
        try:
            left = seconds - (time.monotonic() - start)
            model, note = learn(name, data, development[0], development[1], encoder, left)
        except SkippedError as error:
            return _Result(str(error))
    places = np.concatenate(rows)
    values = np.concatenate(predicted)
    spent = time.monotonic() - start
    if not np.isfinite(values).all():
        return _Result("its predictions are NaN or infinite")
    return _Result(note, places, values, data.y(places), model, spent)


def _errors(result, groups):
    """Mean squared error of each run, in the order of runs."""
    own = groups[result.rows]
    squares = np.square(result.predicted - result.truth)
    return np.array([squares[own == g].mean() for g in np.unique(own)])


def _chosen(results, groups) -> str:
    """The simplest candidate whose error is within one standard error of the least."""
    errors = {k: _errors(r, groups) for k, r in results.items() if r.rows is not None}
    best = min(errors, key=lambda k: errors[k].mean())
    for name, own in errors.items():
        excess = own - errors[best]
        if excess.mean() <= excess.std(ddof=1) / np.sqrt(len(excess)):
            return name
    return best


def _measures(predicted, truth, runs) -> dict[str, Any]:
    scores = metrics.evaluate(predicted, truth)
    spans = metrics.bootstrap(predicted, truth, runs, RESAMPLES)
    return {k: scores[k] for k in ("r2", "tau", "mae")} | {
        f"{k}_interval": list(spans[k]) for k in ("r2", "tau", "mae")
    }


def _line(name, result, groups) -> dict[str, Any]:
    line = {"name": name, "seconds": round(result.seconds, 1), "note": result.note}
    if result.rows is None:
        return line
    return {**line, **_measures(result.predicted, result.truth, groups[result.rows])}


def _recipe(zoo, label, recipe) -> tuple[list[str], list[str]]:
    """The labels that the control receives, and those it does not as they seem to be measured."""
    others = sorted(set(zoo.labels) - {label})
    if recipe is not None:
        if absent := sorted(set(recipe) - set(others)):
            raise ValueError(f"recipe: expected labels of {others}, got {absent}")
        return sorted(set(recipe)), []
    spaced = lambda name: re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)  # as of trainLoss
    measured = [k for k in others if MEASURED.search(spaced(k))]
    return [k for k in others if k not in measured], measured


def _control(data, columns, measured, folds, groups) -> dict[str, Any]:
    """Boosted trees on the recipe: no weights. Never chosen, as files have no recipe."""
    own = {k: np.asarray(data.zoo.labels[k], np.float64) for k in columns}
    rows = np.concatenate([x for fold in folds for x in fold])
    own = {k: v for k, v in own.items() if np.isfinite(v[rows]).all() and np.ptp(v[rows]) > 0}
    line = {"name": "recipe_only", "columns": sorted(own), "measured": measured}
    if not own:
        return {**line, "note": "no columns of a recipe among the labels"}
    x = np.stack([own[k] for k in sorted(own)], axis=1)
    predicted, places, notes = [], [], set()
    for train, stop, measured in folds:
        held_out = x[stop], data.y(stop)
        trees, note = grown(x[train], data.y(train), held_out, data.seed)
        predicted.append(trees.predict(x[measured]))
        places.append(measured)
        notes.add(note)
    places = np.concatenate(places)
    scores = _measures(np.concatenate(predicted), data.y(places), groups[places])
    return {**line, "note": "".join(notes), **scores}

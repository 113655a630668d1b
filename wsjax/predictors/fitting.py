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
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from wsjax import checks, metrics
from wsjax.encoders import Encoder
from wsjax.predictors import candidates, conformal
from wsjax.predictors.candidates import Data, Model, SkippedError, grown, learn
from wsjax.predictors.conformal import Calibration
from wsjax.predictors.domain import Domain
from wsjax.predictors.predictor import Predictor, embedded, features_of
from wsjax.predictors.ridge import standardised, standards
from wsjax.zoos import Zoo

FEWEST = 20  # networks
FEWEST_LEARN = 6  # runs to learn from, beside those of calibration
MANY = 100  # runs to learn from, from which one validation split serves, and encoders are tried
FOLDS = 5
CALIBRATION, VALIDATION = 0.3, 0.2 / 0.7  # of all runs; of the others
SAME = 1e-5  # distance of standardised features up to which networks are one
SIMPLE = ("mean", "ridge", "trees")
FAST = SIMPLE[:2]  # take no time worth measuring, so that there is always a model
_LOG = logging.getLogger(__name__)


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
) -> Predictor:
    """Trains candidates on a zoo, chooses one and calibrates it.

    Args:
        zoo: networks of one architecture, which may differ in activations; each with the label.
            Its splits do not count.
        label: a number of each network.
        names: of the networks, for the record of the splits.
        minutes: for all candidates together; each has an equal part of what is left.
        seed: of splits and training.
        confidence: of the intervals.
        encoders: name -> encoder, those to be tried; `candidates.ENCODERS` if None.
        recipe: labels that were chosen before training, for the control `recipe_only`; all other
            labels if None.

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
    _check(zoo, label, names, minutes, confidence)
    start = time.monotonic()
    features = features_of(zoo.vectors, zoo.specs[0])
    groups = _groups(zoo.runs, features.values)
    development, calibration = _splits(groups, confidence, seed)
    y = np.asarray(zoo.labels[label], np.float64)
    shares = bool(y.min() >= 0 and y.max() <= 1)
    data = Data(zoo, features.values, label, seed, shares)
    train, validation = development
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
        results[name] = _try(name, data, folds, whole, encoder, seconds)
        _LOG.info("%s: %s", name, results[name].note or "done")
    chosen = _chosen(results, groups)
    model = results[chosen].model
    if few or chosen not in tried:  # else it has learned from train, and stopped on validation
        seconds = max(clock.left(), 60.0)
        model, _ = learn(chosen, data, train, validation, tried.get(chosen), seconds)
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
        "control": _control(data, label, recipe, folds, groups),
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
    model: Model | None = None  # of the last fold
    seconds: float = 0.0


class _Clock:
    """The seconds that are left."""

    def __init__(self, end: float):
        self.end = end

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())


def _check(zoo, label, names, minutes, confidence):
    """All that can be wrong before any work."""
    if label not in zoo.labels:
        raise ValueError(f"expected a label of {sorted(zoo.labels)}, got {label!r}")
    if not minutes > 0 or not 0.5 <= confidence < 1:
        raise ValueError(
            f"expected minutes above 0 and a confidence from 0.5 to below 1, got {minutes} and "
            f"{confidence}"
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


def _try(name, data, folds, whole, encoder, seconds) -> _Result:
    """A candidate's predictions on the rows of all folds."""
    if encoder is not None and seconds < 1:  # compilation alone takes seconds
        return _Result(f"{seconds:.1f} s were left for it")
    start, predicted, rows = time.monotonic(), [], []
    model, note = None, ""
    for i, (train, stop, measured) in enumerate(folds):
        if stop is measured and name in FAST:
            stop = stop[:0]
        spent = time.monotonic() - start
        if i and name not in FAST and spent / i * (len(folds) + 1 - i) > seconds - spent:
            return _Result(f"one of {len(folds)} folds takes {spent / i:.0f} s, {seconds:.0f} s "
                           "were left for it")  # fmt: skip
        part = (seconds - spent) / (len(folds) + (len(folds) > 1) - i)
        try:
            model, note = learn(name, data, train, stop, encoder, part)
        except SkippedError as error:
            return _Result(str(error))
        predicted.append(model.predict(data.zoo.select(measured), data.features[measured]))
        rows.append(measured)
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
    spans = metrics.bootstrap(predicted, truth, runs)
    return {k: scores[k] for k in ("r2", "tau", "mae")} | {
        f"{k}_interval": list(spans[k]) for k in ("r2", "tau", "mae")
    }


def _line(name, result, groups) -> dict[str, Any]:
    line = {"name": name, "seconds": round(result.seconds, 1), "note": result.note}
    if result.rows is None:
        return line
    return {**line, **_measures(result.predicted, result.truth, groups[result.rows])}


def _control(data, label, recipe, folds, groups) -> dict[str, Any]:
    """Boosted trees on the other labels: no weights. Never chosen, as files have no recipe."""
    own = {k: np.asarray(v, np.float64) for k, v in data.zoo.labels.items() if k != label}
    if recipe is not None:
        if absent := sorted(set(recipe) - set(own)):
            raise ValueError(f"recipe: expected labels of {sorted(own)}, got {absent}")
        own = {k: own[k] for k in recipe}
    rows = np.concatenate([x for fold in folds for x in fold])
    own = {k: v for k, v in own.items() if np.isfinite(v[rows]).all() and np.ptp(v[rows]) > 0}
    line = {"name": "recipe_only", "columns": sorted(own)}
    if not own:
        return {**line, "note": "no other columns of numbers among the labels"}
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

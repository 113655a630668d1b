"""Intervals of predicted accuracy: what they cover, how wide they are, and what is refused.

    python -m experiments.prediction_intervals                  four zoos, five splits each; minutes
    python -m experiments.prediction_intervals --zoos conv3-gap.mnist --seeds 2
    python -m experiments.prediction_intervals --minutes 5      encoders compete with the trees
    python -m experiments.prediction_intervals --publish        splits on record are not run again

A predictor (`wsjax.predictors.fit`) is fitted to 70 % of a zoo's training runs, of which it puts
aside those that choose and calibrate it; the other runs are the test. Another seed is another
split. The parts:

    coverage    of nominal 90 % intervals of split conformal prediction, the share that holds the
                true accuracy, and their mean width. Over splits the share must be near 90 %; its
                spread is that of some hundred test networks and of the calibration's. Beside it
                Kendall's tau of the predictions, of the recipe alone (boosted trees on what was
                chosen before training, no weights) and of trees on StatNN's statistics
    domain      the share of networks that are put out of domain, and at its edge, as a collection
                of 99 and alone: the test networks themselves, zoos of other data, another
                architecture, initial weights (He et al., 2015; biases zero), test networks with
                one weight NaN, and with all weights times 10

Marginal coverage is of networks like those of calibration, and says nothing on others: that is what
the domain is for.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lib import (
    baselines,
    cli,
    interval_tables,
    intervals,
    records,
    runs,
    zoo_loading,
)
from experiments.lib.zoo_loading import LABEL
from experiments.lib.zoo_recipes import ZOOS
from wsjax import metrics, networks, predictors, storage
from wsjax.networks import Params, Spec
from wsjax.zoos import Zoo, split, store
from wsjax.zoos.classifiers import classifier_recipe

NAMES = ("conv3-gap.mnist", "conv3-gap.fashion_mnist", "conv3-gap.cifar10", "conv3-linear2.mnist")
HELD_OUT, VALIDATION = 0.3, 0.15  # shares of runs; of the controls' for early stopping
SOME = 99  # networks of a set that the domain is measured on
FEW = 9  # networks that are not compared with training as a collection

Network = tuple[Params, Spec]


def load(name: str) -> Zoo:
    """A zoo of the repository, with a label for each word of its recipe."""
    zoo, manifest = store.load(ZOOS / name)
    return zoo_loading.spelled(zoo, classifier_recipe.from_json(manifest["facts"]["recipe"]))


def divide(zoo: Zoo, seed: int) -> tuple[Zoo, Zoo]:
    """The networks to fit, and the test networks, of other runs."""
    count = len(np.unique(zoo.runs))
    held_out = round(HELD_OUT * count)
    parts = split(zoo, {"fit": count - held_out, "test": held_out}, seed).splits
    one, other = (zoo.select(parts[k]) for k in ("fit", "test"))
    return dataclasses.replace(one, splits={}), dataclasses.replace(other, splits={})


def controls(fitted: Zoo, test: Zoo, seed: int) -> dict[str, float]:
    """Kendall's tau of what knows less: the recipe, and trees on StatNN's statistics."""
    count = len(np.unique(fitted.runs))
    aside = round(VALIDATION * count)
    train = split(fitted, {"train": count - aside, "validation": aside}, seed)
    tested = dataclasses.replace(test, splits={"test": np.arange(len(test))})
    scores = {}
    for name in ("recipe_only", "boosted_trees"):
        predicted = baselines.METHODS[name](train, {"": tested}, LABEL, seed)[""]
        assert not isinstance(predicted, str), predicted
        scores[f"tau_{name}"] = metrics.kendall_tau(predicted, test.labels[LABEL])
    return scores


def initial(zoo: Zoo, seed: int) -> Zoo:
    """Networks of the same architectures before training: He's normal kernels, biases zero."""
    rng, vectors = np.random.default_rng(seed), np.zeros_like(zoo.vectors)
    for s in np.unique(zoo.which).tolist():
        spec, members = zoo.specs[s], np.flatnonzero(zoo.which == s)
        for array, at in _places(spec):
            if array.role == "kernel":
                deviation = np.sqrt(2 / np.prod(spec.shape(array)[:-1]))
                size = (len(members), len(at))
                vectors[members[:, None], at] = rng.normal(0, deviation, size)
    return dataclasses.replace(zoo, vectors=vectors)


def _places(spec: Spec):
    """Each array of a spec with its entries."""
    offsets = networks.offsets(spec)
    return [(a, np.ravel(offsets[a.name])) for layer in spec.layers for a in layer.arrays]


def pairs(zoo: Zoo) -> list[Network]:
    """The arrays by name and the spec of each of `SOME` networks of a zoo."""
    rows = np.linspace(0, len(zoo) - 1, min(SOME, len(zoo))).astype(int)
    specs = [zoo.specs[s] for s in zoo.which[rows]]
    ravelled = zip(zoo.vectors[rows], specs, strict=True)
    return [(networks.unravel(v[: s.count], s), s) for v, s in ravelled]


def broken(some: Sequence[Network], seed: int) -> list[Network]:
    """The networks with one weight NaN each."""
    rng, out = np.random.default_rng(seed), []
    for params, spec in some:
        vector = np.array(networks.ravel(params, spec))
        vector[rng.integers(0, spec.count)] = np.nan
        out.append((networks.unravel(vector, spec), spec))
    return out


def sets(name: str, test: Zoo, others: Mapping[str, Zoo], seed: int) -> dict[str, list[Network]]:
    """The sets that the domain is measured on."""
    same = name.partition(".")[0]
    out = {"test networks": pairs(test)}
    for other, zoo in others.items():
        family, _, data = other.partition(".")
        if other != name:
            out[data if family == same else f"{family}, {data}"] = pairs(zoo)
    out["initial weights"] = pairs(initial(test, seed))
    out["one weight NaN"] = broken(out["test networks"], seed)
    return out | {"times 10": pairs(dataclasses.replace(test, vectors=10 * test.vectors))}


def domains(predictor: predictors.Predictor, some: Sequence[Network]) -> dict[str, float]:
    """Shares of networks out of domain and at its edge, together and alone.

    Alone is in groups that are too small to be compared with training as a collection.
    """
    together = predictor.predict(some).domain
    pieces = [some[i : i + FEW] for i in range(0, len(some), FEW)]
    alone = [verdict for piece in pieces for verdict in predictor.predict(piece).domain]
    share = lambda verdicts, kind: float(np.mean([v == kind for v in verdicts]))
    return {
        **{k: share(together, k) for k in ("out", "edge")},
        **{f"{k}_alone": share(alone, k) for k in ("out", "edge")},
        "networks": len(some),
    }


def measure(name: str, zoos: Mapping[str, Zoo], seed: int, minutes: float) -> Iterator[dict]:
    """The records of one split of a zoo, not stamped."""
    fitted, test = divide(zoos[name], seed)
    begin = time.monotonic()
    recipe = sorted(set(fitted.labels) - baselines.MEASURED)
    how = {"minutes": minutes} if minutes else {"encoders": {}}
    predictor = predictors.fit(fitted, LABEL, seed=seed, recipe=recipe, **how)
    seconds = round(time.monotonic() - begin, 1)
    scores = intervals.coverage(predictor, test) | controls(fitted, test, seed)
    scores["nominal"] = predictor.calibration.confidence
    about = {"experiment": "prediction_intervals", "preset": "laptop", "seed": seed, "row": name}
    about |= {"train_zoo": name, "seconds": seconds, "chosen": predictor.facts["chosen"]}
    about |= {"config": configuration(name, minutes), "parameters": 0, "steps": 0}
    yield {**about, "part": "coverage", "metrics": scores}
    for tested, some in sets(name, test, zoos, seed).items():
        rates = domains(predictor, some)
        yield {**about, "test_zoo": tested, "part": "domain", "metrics": rates}


def configuration(name: str, minutes: float) -> dict[str, Any]:
    """The settings that determine the records of a zoo, but for the seed."""
    return {"zoo": name, "minutes": minutes, "held_out": HELD_OUT, "some": SOME}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("prediction_intervals", __doc__))
    parser.add_argument("--zoos", default="", help=f"of {', '.join(NAMES)}; all if not given")
    parser.add_argument("--seeds", type=cli.positive, default=5, help="splits of each zoo")
    parser.add_argument("--minutes", type=float, default=0.0, help="for encoders, of each fit")
    options = cli.prepare(parser.parse_args(arguments))
    zoos = {name: load(name) for name in NAMES}
    for name in cli.select(options.zoos, NAMES, NAMES):
        config = runs.fingerprint(configuration(name, options.minutes))
        for seed in range(options.seeds):
            home = options.folder / "prediction_intervals" / f"{name}-{seed}-{config}"
            if (done := runs.finished(home)) is None:
                each = measure(name, zoos, seed, options.minutes)
                done = [records.stamp(record) for record in each]
                home.mkdir(parents=True, exist_ok=True)
                storage.write_sealed(home / "record.json", {"records": done})
            records.add(done, options.results)
            print("\n".join(map(interval_tables.line, done)), flush=True)


if __name__ == "__main__":
    cli.run(main)

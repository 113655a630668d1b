"""Judges of classifiers that need no gradient: what every encoder must beat.

(train, tests, label, seed) -> {test zoo: predictions of its "test" split, or why not}
"""

from collections.abc import Callable, Mapping

import numpy as np

from wsjax.encoders import stat_nn
from wsjax.zoos import factory
from wsjax.zoos.mixture import Mixture

# measured of a network, as opposed to chosen for it
MEASURED = {*factory.FIGURES, "generalization_gap"}

Tests = Mapping[str, Mixture]
Answers = dict[str, np.ndarray | str]  # test zoo -> predictions, or why there are none
Method = Callable[[Mixture, Tests, str, int], Answers]


def mean(train: Mixture, tests: Tests, label: str, seed: int) -> Answers:
    """Predicts the mean label of the training networks for everyone."""
    value = train.part("train", label)[1].mean()
    return {name: np.full(len(zoo.splits["test"]), value) for name, zoo in tests.items()}


def boosted_trees(train: Mixture, tests: Tests, label: str, seed: int) -> Answers:
    """Boosted trees on StatNN's statistics; reads networks with as many arrays as in training."""

    def features(zoo):
        found = np.zeros((len(zoo), 0))
        for s in np.unique(zoo.which).tolist():
            mine = zoo.of(s)
            x = np.asarray(stat_nn.statistics(mine.vectors, stat_nn.bounds(mine.spec)))
            if not found.size:
                found = np.zeros((len(zoo), x.shape[1]))
            if x.shape[1] != found.shape[1]:
                raise ValueError(
                    f"expected as many arrays in all networks, got {found.shape[1] // 7} "
                    f"and {x.shape[1] // 7}"
                )
            found[zoo.which == s] = x
        return found

    return _trees(features, train, tests, label, seed)


def recipe_only(train: Mixture, tests: Tests, label: str, seed: int) -> Answers:
    """Boosted trees on what was chosen for each network before its training: no weights.

    Words are labels of 0 and 1, see `judging.spelled`.
    """
    names = sorted(set(train.labels) - MEASURED)
    if not names:
        raise ValueError(f"expected chosen settings among the labels, got {sorted(train.labels)}")

    def features(zoo):
        if absent := sorted(set(names) - set(zoo.labels)):
            raise ValueError(f"expected the settings {names}, absent: {absent}")
        return np.stack([zoo.labels[k] for k in names], axis=1)

    return _trees(features, train, tests, label, seed)


def _trees(features, train, tests, label, seed):
    (x, y), (held, wanted) = (train.part(s, label) for s in ("train", "validation"))
    try:
        known, checked = features(x), features(held)
    except ValueError as error:
        return dict.fromkeys(tests, str(error))
    fit, found = stat_nn.fit_trees((known, y), (checked, wanted), seed), {}
    for name, zoo in tests.items():
        try:
            asked = features(zoo.part("test", label)[0])
        except ValueError as error:  # of `features`: what they cannot be made of
            found[name] = str(error)
            continue
        same = asked.shape[1] == known.shape[1]
        found[name] = (
            fit(asked)
            if same
            else (f"expected {known.shape[1]} features as in training, got {asked.shape[1]}")
        )
    return found


METHODS: Mapping[str, Method] = {
    "mean": mean,
    "boosted_trees": boosted_trees,
    "recipe_only": recipe_only,
}

"""Verdicts, cases that can be repeated alone, and the process that they run in."""

import dataclasses
import os
import time

import numpy as np
import pytest

from experiments.faults.attacks import Verdict, Workshop, cases, generator, same, verdict
from wsjax.storage import DamagedError


@dataclasses.dataclass
class Pair:
    name: str
    array: np.ndarray


def test_same_means_bit_for_bit():
    nan = np.array([np.nan, 0.0], np.float32)
    for x in (nan, {"a": [nan, (1, None)]}, Pair("a", nan), float("nan"), [True, "é"]):
        assert same(x, x)
    for a, b in [
        (nan, nan[::-1]), (nan, nan.astype(np.float64)), (nan, nan[None]), (1, True), (1, 1.0),
        (np.float32([0.0]), np.float32([-0.0])), ({"a": 1}, {"a": 1, "b": 2}), ([1], (1,)),
        (Pair("a", nan), Pair("b", nan)), ([1, 2], [1]),
    ]:  # fmt: skip
        assert not same(a, b), (a, b)


def raising(error):
    def read():
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda: [1.0], "survived"),
        (lambda: [2.0], "survived"),
        (lambda: [3.0], "silent"),
        (raising(DamagedError("a/zoo.json was altered")), "refused"),
        (raising(ValueError("line 3 is no JSON")), "crashed"),  # which file?
        (raising(KeyError("zoo.json")), "crashed"),
        (raising(MemoryError()), "crashed"),
    ],
)
def test_verdicts(read, outcome):
    found = verdict(read, [[1.0], [2.0]], ["zoo.json"])
    assert found.outcome == outcome
    assert (found.words == "") == (outcome == "survived")


def test_a_case_can_be_repeated_alone():
    whole = [(k, rng.integers(1 << 30)) for k, rng in cases(generator(7, "metrics"), 5)]
    assert [k for k, _ in whole] == [0, 1, 2, 3, 4]
    assert len({x for _, x in whole}) == 5
    alone = [(k, rng.integers(1 << 30)) for k, rng in cases(generator(7, "metrics", 3), 1)]
    assert alone == whole[3:4]
    (other,) = cases(generator(7, "records"), 1)
    assert other[1].integers(1 << 30) != whole[0][1]


@pytest.mark.parametrize("forks", [False, True])
def test_a_case_that_dies_or_hangs_has_crashed_and_the_next_one_runs(forks):
    fine = Verdict("survived", "", 0.5)
    with Workshop(forks=forks, killed=2.0) as workshop:
        assert workshop.run(Verdict, *fine)._replace(megabytes=0.0) == fine
        dead = workshop.run(os._exit, 3)
        assert (dead.outcome, dead.words) == ("crashed", "the process ended with code 3")
        hanging = workshop.run(time.sleep, 60)
        assert (hanging.outcome, hanging.words) == ("crashed", "no end after 2 s")
        assert workshop.run(Verdict, "refused", "a").outcome == "refused"
        workshop.seconds = 0.25
        assert workshop.run(Verdict, *fine).outcome == "crashed"
        workshop.seconds, workshop.megabytes = 1.0, -1.0
        assert workshop.run(Verdict, *fine).outcome == "crashed"

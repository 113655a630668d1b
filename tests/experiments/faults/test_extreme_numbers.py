"""The quick part of attacks by numbers; and what counts as a fault there."""

import numpy as np
import pytest

from experiments.faults import extreme_numbers
from experiments.faults.__main__ import carry_out
from experiments.faults.attacks import cases, generator

ATTACKS = [pytest.param(a, id=a.name) for a in extreme_numbers.ATTACKS]
SPEC = extreme_numbers.SPEC


@pytest.mark.trains
@pytest.mark.parametrize("attack", ATTACKS)
def test_results_are_finite_or_refused(attack, tmp_path):
    figures = carry_out(attack, attack.quick, 0, tmp_path)
    assert figures["silent"] == figures["crashed"] == 0, (tmp_path / "log.jsonl").read_text()
    assert figures["count"] == attack.quick


class Stub:
    """A predictor that gives the sum of each network, or what a test has it give."""

    specs = (SPEC,)

    def __init__(self, change=lambda sums, vectors: sums):
        self.change = change

    def predict(self, given):
        vectors = getattr(given, "vectors", given)
        if isinstance(given, dict):
            vectors = extreme_numbers.networks.ravel(given, SPEC)
        sums = np.nan_to_num(np.tanh(vectors.astype(np.float64)).sum(axis=1))
        return self.change(sums, vectors)

    encode = predict


def outcomes(stub):
    """Outcomes of finite and of other extremes."""
    count = len(extreme_numbers.EXTREMES)
    finite, other = set(), set()
    for number, draw in cases(generator(0, "stub"), count):
        words = list(extreme_numbers.EXTREMES)[number]
        found = extreme_numbers.predicted(stub, words, number, draw)
        (other if "NaN" in words or "infinity" in words else finite).add(found.outcome)
    return finite, other


def test_finite_results_survive_for_finite_networks():
    finite, other = outcomes(Stub())
    assert finite == {"survived"}
    assert other <= {"survived", "refused"}  # a zoo refuses, this stub does not


def test_a_result_that_is_nan_is_silent():
    extreme = lambda x: (np.abs(x).max(axis=1) > 1e18) | (np.abs(x).max(axis=1) < 1e-18)
    finite, _ = outcomes(Stub(lambda sums, x: np.where(extreme(x), np.nan, sums)))
    assert finite == {"silent"}


def test_a_result_that_an_extreme_neighbour_changes_is_silent():
    finite, _ = outcomes(Stub(lambda sums, x: sums + (np.abs(x).max() > 1e18)))
    assert "silent" in finite


def test_a_refusal_that_names_nothing_is_a_crash():
    def refuse(sums, vectors):
        if not 1e-18 < np.abs(vectors).max(axis=1).min() <= np.abs(vectors).max() < 1e18:
            raise ValueError("bad input")
        return sums

    finite, other = outcomes(Stub(refuse))
    assert finite == {"crashed"}
    assert "crashed" in other

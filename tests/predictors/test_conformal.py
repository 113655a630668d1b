"""Coverage of intervals: nominal on exchangeable errors, and not on others."""

import numpy as np
import pytest

from wsjax.predictors import conformal
from wsjax.predictors.conformal import Calibration


@pytest.mark.parametrize(("n", "confidence"), [(9, 0.9), (12, 0.9), (60, 0.9), (24, 0.8)])
def test_coverage_is_nominal_over_calibrations(n, confidence):
    """k / (n + 1) exactly, for errors that do not tie; 4 standard errors of 4,000 draws."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(4000):
        errors = rng.standard_cauchy(n + 1)
        low, high = Calibration(errors[:n], confidence).intervals(np.zeros(1))[0]
        covered.append(low <= errors[n] <= high)
    exact = np.ceil(confidence * (n + 1) - 1e-9) / (n + 1)
    assert exact >= confidence
    assert abs(np.mean(covered) - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)


def test_shifted_errors_are_not_covered():
    rng = np.random.default_rng(0)
    low, high = Calibration(rng.standard_normal(50), 0.9).intervals(np.zeros(1))[0]
    shifted = rng.standard_normal(2000) + 3
    assert np.mean((low <= shifted) & (shifted <= high)) < 0.3


def test_intervals_are_finite_from_as_many_runs_as_needed():
    for confidence in (0.8, 0.9, 0.95):
        n = conformal.fewest(confidence)
        errors = np.arange(1.0, n + 1)
        ends = Calibration(errors, confidence).intervals(np.zeros(1))
        assert ends.tolist() == [[-n, n]]
        fewer = Calibration(errors[1:], confidence, 0.0, 1.0).intervals(np.zeros(1))
        assert fewer.tolist() == [[0.0, 1.0]]


def test_intervals_stay_within_the_bounds_of_labels():
    calibration = Calibration(np.linspace(-0.3, 0.3, 30), 0.9, 0.0, 1.0)
    ends = calibration.intervals(np.array([0.1, 0.5, 0.95]))
    assert ends[0, 0] == 0
    assert ends[2, 1] == 1
    assert 0 < ends[1, 0] < ends[1, 1] < 1
    assert calibration.clip(np.array([-1.0, 2.0])).tolist() == [0, 1]


def test_one_checkpoint_of_each_run_counts():
    runs = np.repeat([7, 3, 5], [4, 1, 6])
    drawn = [conformal.one_of_each(runs, seed) for seed in range(40)]
    assert all(sorted(runs[x]) == [3, 5, 7] for x in drawn)
    assert {int(i) for x in drawn for i in x} == set(range(11))


def test_orders_beyond_the_margin_are_wrong_as_rarely_as_promised():
    rng = np.random.default_rng(0)
    margin = Calibration(rng.standard_normal(300), 0.9).margin
    truth = rng.uniform(0, 6, 20_000).reshape(-1, 2)
    predicted = truth - rng.standard_normal(truth.shape)
    apart = predicted[:, 1] - predicted[:, 0]
    at = (apart > margin) & (apart < margin + 0.3)  # where most beyond it are wrong
    wrong = (truth[at, 1] < truth[at, 0]).mean()
    assert 0.02 < wrong < 0.13


def test_ranks_have_ties_and_are_between_first_and_last():
    calibration = Calibration(np.array([-0.5, 0.5, 0.0]), 0.9)
    first, last = calibration.ranks(np.array([1.0, 9.0, 1.5, 5.0]))
    assert calibration.margin == 1
    assert first.tolist() == [3, 1, 3, 2]
    assert last.tolist() == [4, 1, 4, 2]

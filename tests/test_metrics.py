import re

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from wsjax import metrics


def pair(n=50):
    rng = np.random.default_rng(0)
    targets = rng.normal(size=n).round(1)  # rounded: tau-b differs from tau-a under ties
    return targets + rng.normal(size=n), targets


def test_measures_equal_scikit_learn_and_scipy():
    p, t = pair()
    got = metrics.evaluate(p, t)
    assert got == pytest.approx(
        {
            "mse": sklearn.metrics.mean_squared_error(t, p),
            "mae": sklearn.metrics.mean_absolute_error(t, p),
            "r2": sklearn.metrics.r2_score(t, p),
            "tau": scipy.stats.kendalltau(p, t, variant="b").statistic,
        }
    )
    assert all(type(v) is float for v in got.values())
    assert 0.1 < got["tau"] < 0.9  # not a trivial pair


def test_perfect_reversed_and_constant():
    t = np.arange(5.0)
    perfect = {"mse": 0.0, "mae": 0.0, "r2": 1.0, "tau": 1.0}
    assert metrics.evaluate(t, t) == pytest.approx(perfect)
    assert metrics.kendall_tau(-t, t) == pytest.approx(-1)
    assert metrics.kendall_tau(np.ones(5), t) == 0
    assert metrics.r2(np.full(5, t.mean()), t) == pytest.approx(0)
    assert metrics.r2(t, np.ones(5)) == sklearn.metrics.r2_score(np.ones(5), t) == 0


def test_bootstrap_intervals_cover_as_often_as_they_say():
    """Of the mean absolute error of 40 draws, of a known truth."""
    rng, truth, inside = np.random.default_rng(0), np.sqrt(2 / np.pi), 0
    for i in range(60):
        noise = rng.normal(size=40)
        low, high = metrics.bootstrap(noise, np.zeros(40), samples=60, level=0.8, seed=i)["mae"]
        assert low < np.abs(noise).mean() < high
        inside += low < truth < high
    assert 0.6 < inside / 60 < 0.95


def test_bootstrap_draws_whole_groups():
    """Copies of an example are no new data: in groups, they do not narrow the interval."""
    p, t = pair(30)
    width = lambda *a: np.subtract(*metrics.bootstrap(*a, samples=200)["tau"][::-1])
    copies, runs = (np.repeat(p, 9), np.repeat(t, 9)), np.repeat(np.arange(30), 9)
    assert width(*copies, runs) == pytest.approx(width(p, t), rel=0.15)
    assert width(*copies) < 0.5 * width(p, t)
    with pytest.raises(ValueError, match="expected two or more groups of 30 examples"):
        metrics.bootstrap(p, t, np.zeros(30))
    with pytest.raises(ValueError, match="expected two or more groups of 30 examples"):
        metrics.bootstrap(p, t, np.arange(29))


def test_float32_is_summed_in_float64():
    t = np.full(10, 1e4, np.float32) + np.arange(10, dtype=np.float32)
    assert metrics.r2(t + np.float32(0.5), t) == pytest.approx(1 - 2.5 / 82.5, rel=1e-9)


@pytest.mark.parametrize(
    ("predictions", "targets", "words"),
    [
        ([np.nan, 1, np.inf], [0, 1, 2], "2 of 3 predictions are NaN or infinite"),
        ([0, 1, 2], [0, np.nan, 2], "1 of 3 targets are NaN or infinite"),
        ([[0], [1]], [0, 1], r"expected predictions of shape \(2,\), got \(2, 1\)"),
        ([], [], r"expected predictions of shape \[example\], got \(0,\)"),
        ([1e200, 0], [0, 1], r"expected predictions within 1e\+150, got 1e\+200"),
        ([[0], [1]], [[0], [1]], r"shape \[example\], got \(2, 1\)"),
    ],
    ids=["nan predictions", "nan targets", "would broadcast", "empty", "too large", "columns"],
)
def test_errors(predictions, targets, words):
    with pytest.raises(ValueError, match=words):
        metrics.evaluate(predictions, targets)


def test_measures_of_classes_equal_scikit_learn():
    rng = np.random.default_rng(0)
    p, t = rng.dirichlet([0.5] * 4, 50), rng.integers(0, 4, 50)
    found = metrics.classification(p, t)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(t, p.argmax(1)))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    assert found["loss"] == pytest.approx(sklearn.metrics.log_loss(t, p, labels=range(4)))
    want = sklearn.metrics.confusion_matrix(t, p.argmax(1), labels=range(4))
    np.testing.assert_array_equal(metrics.confusion(p, t), want)
    sure = metrics.classification(np.array([[1.0, 0.0]]), np.array([1]))
    assert sure["loss"] == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize(
    ("p", "t", "message"),
    [
        (np.ones((2, 2)) / 2, np.zeros(3, int), "got (2, 2) and int64 (3,)"),
        (np.ones((2, 2)) / 2, np.zeros(2), "and float64"),
        (np.ones((2, 2)), np.zeros(2, int), "that add up to 1"),
        (np.full((2, 2), np.nan), np.zeros(2, int), "that add up to 1"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "expected classes 0..1, got 0..2"),
    ],
)
def test_errors_of_classes(p, t, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metrics.classification(p, t)


def test_the_calibration_error_is_that_of_bins_by_hand():
    p = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [0.35, 0.65], [1.0, 0.0]])
    t = np.array([0, 1, 1, 1, 0])
    # bins of a tenth: [.9, 1] has .9, .95 and 1 with two of three right; [.6, .7) .6 and .65, both
    high, low = abs(2.85 / 3 - 2 / 3), abs(1.25 / 2 - 1)
    assert metrics.calibration_error(p, t, 10) == pytest.approx(0.6 * high + 0.4 * low)
    assert metrics.calibration_error(np.eye(2)[t], t) == 0
    with pytest.raises(ValueError, match="add up to 1"):
        metrics.calibration_error(p * 2, t)

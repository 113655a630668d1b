"""Ridge regression: its closed form, and what it does with extreme networks."""

import numpy as np
import pytest

from wsjax.predictors import ridge
from wsjax.predictors.ridge import Ridge


def linear(n=40, width=60, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + 200, width))
    y = x[:, 0] - 2 * x[:, 1] + noise * rng.standard_normal(n + 200)
    return x[:n], y[:n], x[n:], y[n:]


def test_a_linear_label_is_predicted_from_fewer_networks_than_features():
    x, y, test_x, test_y = linear()
    predicted = Ridge.fit(x, y).predict(test_x)
    assert np.corrcoef(predicted, test_y)[0, 1] > 0.55
    assert np.corrcoef(predicted, np.roll(test_y, 1))[0, 1] < 0.3


def test_the_penalty_is_that_of_the_least_leave_one_out_error():
    """Of labels that are noise, the largest: the mean. By leaving networks out one by one."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((30, 50)), rng.standard_normal(30)
    assert np.ptp(Ridge.fit(x, noise).predict(x)) < 0.2 * np.ptp(noise)
    x, y, _, _ = linear(noise=0.0)
    assert np.ptp(Ridge.fit(x, y).predict(x)) > 0.8 * np.ptp(y)


def test_extreme_networks_neither_bend_the_fit_nor_are_predicted_far_off():
    x, y, test_x, _ = linear()
    bent = x.copy()
    bent[0] *= 1e6
    function = Ridge.fit(bent, y)
    assert np.abs(function.predict(test_x * 1e6)).max() < 10 * np.abs(y).max()
    assert np.corrcoef(function.predict(test_x), Ridge.fit(x, y).predict(test_x))[0, 1] > 0.95


def test_constant_features_count_for_nothing():
    x, y, test_x, _ = linear()
    constant = [np.concatenate([a, np.full((len(a), 3), 7.0)], axis=1) for a in (x, test_x)]
    moved = constant[1] + np.r_[np.zeros(x.shape[1]), np.ones(3)]
    function = Ridge.fit(constant[0], y)
    np.testing.assert_allclose(function.predict(moved), Ridge.fit(x, y).predict(test_x), rtol=1e-6)


def test_arrays_come_back():
    x, y, test_x, _ = linear()
    function = Ridge.fit(x, y)
    again = Ridge.from_arrays(function.arrays())
    np.testing.assert_array_equal(again.predict(test_x), function.predict(test_x))
    with pytest.raises(ValueError, match="of one width"):
        Ridge.from_arrays({**function.arrays(), "weights": np.zeros(3)})
    with pytest.raises(ValueError, match="absent: \\['spread'\\]"):
        Ridge.from_arrays({k: v for k, v in function.arrays().items() if k != "spread"})


def test_standards_withstand_outliers():
    x = np.random.default_rng(0).standard_normal((1000, 1))
    x[:100] = 1e6
    centre, spread = ridge.standards(x)
    assert abs(centre[0]) < 0.3
    assert 0.8 < spread[0] < 1.6

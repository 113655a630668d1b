import ml_dtypes
import numpy as np
import pytest

from wsjax.inspection.array_statistics import DENSE
from wsjax.inspection.array_statistics import statistics as of_array


def matrix(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8"])
def test_they_are_those_of_numpy(dtype):
    array = (4 * matrix(7, 5)).astype(dtype)
    array[0, 0] = 0
    wide, stats = array.astype(np.float64), of_array(array, (0,))
    assert stats.count == 35
    assert stats.nonfinite == 0
    expected = wide.mean(), wide.std(), wide.min(), wide.max(), np.abs(wide).max()
    found = stats.mean, stats.std, stats.smallest, stats.largest, stats.magnitude
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert stats.zeros == np.mean(wide == 0) > 0
    singular = np.linalg.svd(wide)[1]
    np.testing.assert_allclose(stats.norm, np.sqrt((singular**2).sum()), rtol=1e-12)
    np.testing.assert_allclose(stats.spectral, singular[0], rtol=1e-5)
    rank = (singular**2).sum() / singular[0] ** 2
    np.testing.assert_allclose(stats.stable_rank, rank, rtol=1e-5)


def test_pieces_are_joined_exactly():
    array = 1 + 1e-9 * matrix(3, 1 << 17, dtype=np.float64)
    stats = of_array(array)
    np.testing.assert_allclose(stats.std, array.std(), rtol=1e-6)
    np.testing.assert_allclose(stats.mean, array.mean(), rtol=1e-15)
    assert stats.spectral is None


def test_numbers_whose_squares_overflow_are_no_nan():
    stats = of_array(np.full((3, 4), -1e300), (0,))
    np.testing.assert_allclose(stats.mean, -1e300)
    assert not np.isnan([stats.std, stats.norm, stats.spectral, stats.stable_rank]).any()
    even = of_array(np.full((2, 2), 2.0**1000), (0,))
    assert (even.std, even.norm, even.spectral) == (0.0, 2.0**1001, 2.0**1001)


def test_wide_matrices_have_the_same_singular_value():
    kernel = matrix(DENSE + 44, 3, 3, 40)
    expected = np.linalg.norm(kernel.reshape(len(kernel), -1).astype(np.float64), 2)
    np.testing.assert_allclose(of_array(kernel, (0,)).spectral, expected, rtol=2e-4)
    moved = np.moveaxis(kernel, 0, -1)
    np.testing.assert_allclose(of_array(moved, (3,)).spectral, expected, rtol=2e-4)
    assert abs(of_array(kernel, (3,)).spectral / expected - 1) > 0.05


def test_larger_matrices_have_none(monkeypatch):
    monkeypatch.setattr("wsjax.inspection.array_statistics.WIDE", 8)
    assert of_array(matrix(4, 16), (0,)).spectral > 0
    assert of_array(matrix(4, 17), (0,)).spectral is None


def test_numbers_that_are_not_finite_are_counted_and_left_out():
    array = matrix(4, 4)
    array[1, 2], array[3] = np.nan, -np.inf
    stats = of_array(array, (0,))
    assert stats.nonfinite == 5
    fine = array[np.isfinite(array)].astype(np.float64)
    np.testing.assert_allclose(
        (stats.mean, stats.std, stats.norm), (fine.mean(), fine.std(), np.linalg.norm(fine))
    )
    assert stats.spectral is None
    none = of_array(np.full((2, 2), np.nan), (0,))
    assert (none.count, none.nonfinite, none.norm) == (4, 4, 0)
    assert np.isnan(none.mean)


def test_edges_have_no_rank():
    zero = of_array(np.zeros((3, 3)), (0,))
    assert (zero.zeros, zero.norm, zero.spectral, zero.stable_rank) == (1, 0, 0, None)
    empty = of_array(np.zeros((2, 0)), (0,))
    assert (empty.count, empty.spectral) == (0, None)
    scalar = of_array(np.array(-3.0))
    assert (scalar.mean, scalar.std, scalar.magnitude, scalar.spectral) == (-3, 0, 3, None)
    assert of_array(np.full((3, 3), 1e300), (0,)).spectral == pytest.approx(3e300)
    assert of_array(np.full((3, 3), 1e30, ml_dtypes.bfloat16), (0,)).stable_rank == pytest.approx(1)
    assert of_array(np.array([[3 + 4j, 0]])).largest == 5

"""Padding: few sizes, little waste, and numbers that stay as they are."""

import numpy as np
import pytest

from wsjax.views import padding


def test_few_sizes_hold_any_number_and_waste_little():
    sizes = {n: padding.rounded(n) for n in range(1, 5000)}
    assert all(n <= size <= 1.25 * n for n, size in sizes.items())
    assert len(set(sizes.values())) < 50
    assert [padding.multiple(n, 8) for n in (1, 8, 9)] == [8, 8, 16]


def test_vectors_of_several_lengths_are_padded_with_zeros():
    batch = padding.vectors([np.arange(1.0, 4.0), np.arange(1.0, 12.0)])
    assert batch.shape == (2, padding.rounded(11))
    np.testing.assert_array_equal(batch[0], [1, 2, 3] + [0] * (batch.shape[1] - 3))
    np.testing.assert_array_equal(batch[1, :11], np.arange(1.0, 12.0))


def test_rows_are_added_behind():
    x = np.arange(6).reshape(3, 2)
    padded = padding.rows(x, 5, padding.NONE)
    np.testing.assert_array_equal(padded[:3], x)
    np.testing.assert_array_equal(padded[3:], padding.NONE)


def test_networks_that_are_not_finite_are_rejected_by_number():
    broken = np.array([0.0, np.nan, np.inf, 1.0])
    with pytest.raises(ValueError, match="network 1: 2 of 4 values are NaN or infinite"):
        padding.vectors([np.zeros(3), broken])

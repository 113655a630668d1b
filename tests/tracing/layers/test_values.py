"""Axes of values keep the stored axes that they come from through reshapes."""

import pytest

from wsjax.tracing.layers.values import Atom, Source, aligned, origins, reshaped, size, stored

KERNEL = stored(Source(0), (4, 6))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((24,), [{0, 1}]),
        ((2, 2, 6), [{0}, {0}, {1}]),
        ((4, 1, 6), [{0}, set(), {1}]),
        ((8, 3), [{0, 1}, {1}]),
        ((4, 2, 3), [{0}, {1}, {1}]),
    ],
)
def test_reshapes_split_and_merge_axes(shape, axes):
    found = reshaped(KERNEL, shape)
    assert [size(a) for a in found] == list(shape)
    assert [{o.axis for o in origins(a)} for a in found] == axes


def test_atoms_are_aligned_by_common_factors():
    pairs = aligned((Atom(4), Atom(3)), (Atom(2), Atom(6)))
    assert [(a.size, b.size) for a, b in pairs] == [(2, 2), (2, 2), (3, 3)]


def test_a_reshape_of_another_size_has_all_origins():
    found = reshaped(KERNEL, (5, 7))
    assert [size(a) for a in found] == [5, 7]
    assert [{o.axis for o in origins(a)} for a in found] == [{0, 1}] * 2

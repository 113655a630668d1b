"""Specs in the making, from parts of stored arrays."""

import numpy as np
import pytest

from wsjax.recognition.drafting import StoredDraft
from wsjax.recognition.names import UnfitError


def test_parts_of_a_stored_array_are_arrays_of_the_spec():
    draft = StoredDraft(stored={"qk": (12, 4)})
    s, (h, d) = draft.fixed("s", 4), draft.neurons("h", 6, 3)
    for i, part in enumerate("qk"):
        rows = (0, 6 * i, 6 * (i + 1))
        array = draft.kernel("qk", "wr", s, (h, d), part=part, cut=(rows,))
        draft.layer("dense", [array], name=part)
    spec, packing = draft.result()
    assert [a.name for a in spec.arrays] == ["qk/q", "qk/k"]
    assert [(a.reads, a.writes) for a in spec.arrays] == [((2,), (0, 1))] * 2
    stored = {"qk": np.arange(48.0).reshape(12, 4)}
    packed = packing.pack(stored)
    np.testing.assert_array_equal(packed["qk/k"].reshape(6, 4), stored["qk"][6:])
    np.testing.assert_array_equal(packing.unpack(packed)["qk"], stored["qk"])
    assert packing.pieces[0].origins == (0, 0, 1)


def test_arrays_that_do_not_fit_are_named():
    draft = StoredDraft(stored={"w": (3, 4), "rest": (2,)})
    x, y = draft.fixed("x", 4), draft.fixed("y", 3)
    with pytest.raises(UnfitError, match="absent: expected, absent"):
        draft.vector("absent", "bias", y)
    with pytest.raises(UnfitError, match=r"w: expected \[4, 3\]"):
        draft.kernel("w", "rw", x, y)
    draft.layer("dense", [draft.kernel("w", "wr", x, y)], name="w")
    with pytest.raises(UnfitError, match="rest: no place"):
        draft.result()


def test_a_block_diagonal_reads_and_writes_its_axis():
    draft = StoredDraft(stored={"depthwise": (5, 1, 3, 3)})
    c, taps = draft.neurons("c", 5), draft.fixed("row", 3) + draft.fixed("col", 3)
    array = draft.kernel("depthwise", "bt", (), (), taps, both=c)
    assert (array.axes, array.reads, array.writes) == (("c", "row", "col"), (0,), (0,))

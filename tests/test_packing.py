"""Stored arrays and those of a Spec: there and back, to the bit."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.packing import Packing, Piece


def fused():
    """Queries, keys and values of two heads in one kernel [4, 12], and a stored scalar."""
    parts = [
        Piece(
            f"qkv[{i}]", "qkv", (4, 3, 2, 2), (0, i, 0, 0), (4, i + 1, 2, 2), (4, 2, 2), (0, 1, 1)
        )
        for i in range(3)
    ]
    whole = Piece("scale", "scale", (), (), (), (), ())
    return Packing((("qkv", (4, 12)), ("scale", ())), (*parts, whole))


def uneven():
    """The channels [5] of two layers, concatenated, in one array [5, 2]."""
    ends = itertools.pairwise((0, 2, 5))
    parts = [
        Piece(f"k[{i}]", "k", (5, 2), (a, 0), (b, 2), (b - a, 2), (0, 1))
        for i, (a, b) in enumerate(ends)
    ]
    return Packing((("k", (5, 2)),), tuple(parts))


@pytest.mark.parametrize("make", [fused, uneven])
@pytest.mark.parametrize("xp", [np, jnp])
def test_unpack_undoes_pack_to_the_bit(make, xp):
    packing, seed = make(), np.random.default_rng(0)
    stored = {n: xp.asarray(seed.standard_normal(s), np.float32) for n, s in packing.stored}
    params = packing.pack(stored)
    back = packing.unpack(params)
    for name, array in stored.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    changed = {n: x + 1 for n, x in params.items()}
    assert all((packing.unpack(changed)[n] == x + 1).all() for n, x in stored.items())


def test_parts_are_where_they_are_said_to_be():
    x = np.arange(48).reshape(4, 12)
    params = fused().pack({"qkv": x, "scale": np.float32(3)})
    np.testing.assert_array_equal(params["qkv[1]"], x[:, 4:8].reshape(4, 2, 2))
    assert params["scale"] == 3


def test_numbers_in_no_part_or_in_two_are_mistakes():
    piece = Piece("a", "x", (4,), (0,), (3,), (3,), (0,))
    twice = Piece("b", "x", (4,), (2,), (4,), (2,), (0,))
    with pytest.raises(ValueError, match="x: 1 of 4 numbers in no, or two, parts"):
        Packing((("x", (4,)),), (piece,))
    with pytest.raises(ValueError, match="x: 1 of 4"):
        Packing((("x", (4,)),), (piece, twice))


def test_every_mistake_is_listed():
    pieces = (
        Piece("a", "y", (4,), (0,), (4,), (4,), (0,)),
        Piece("b", "x", (5,), (0,), (5,), (5,), (0,)),
        Piece("c", "x", (4,), (0,), (4,), (3,), (0,)),
        Piece("d", "x", (4,), (2,), (6,), (4,), (0,)),
        Piece("d", "x", (4,), (0,), (4,), (4,), (0,)),
    )
    with pytest.raises(ValueError, match="packing is inconsistent") as error:
        Packing((("x", (4,)),), pieces)
    assert [line.strip()[:2] for line in str(error.value).splitlines()[1:]] == [
        *("d:", "a:", "b:", "c:", "d:"),
    ]


def test_stored_arrays_and_parameters_are_checked_by_name():
    packing = uneven()
    with pytest.raises(ValueError, match=r"k: expected shape \[5, 2\], got \[2, 5\]"):
        packing.pack({"k": np.zeros((2, 5))})
    with pytest.raises(ValueError, match=r"(?s)k\[1\]: expected, absent.*other: not expected"):
        packing.unpack({"k[0]": np.zeros((2, 2)), "other": np.zeros(3)})

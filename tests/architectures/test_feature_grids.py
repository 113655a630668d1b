"""Spatial grids against plain loops over corners, and against SciPy."""

import itertools

import jax
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from wsjax import architectures, testing
from wsjax.architectures import feature_grids, grid, hash_grid, triplane

KEY = jax.random.key(9)


def points(coordinates, number=40):
    return jax.random.uniform(KEY, (number, coordinates), minval=-1.0)


def decode(p, x, *features):
    """The dense layers, on coordinates and features as Flax would concatenate them."""
    p = {k: np.asarray(v, np.float64) for k, v in p.items()}
    kernels = [v for k, v in p.items() if k.startswith("Dense_0/kernel")]
    y = np.concatenate([x, *features], -1) @ np.concatenate(kernels) + p["Dense_0/bias"]
    return np.tanh(y) @ p["Dense_1/kernel"] + p["Dense_1/bias"]


def run(spec, p, x):
    return jax.jit(lambda p, x: architectures.forward(p, x, spec))(p, x)


@pytest.mark.parametrize("cells", [(4, 3), (5,), (2, 3, 4)], ids=str)
def test_grid_interpolates_linearly(cells):
    spec = grid(cells, 5, [6, 2], activation="tanh")
    p, x = testing.draw(KEY, spec), points(len(cells))
    axes = [np.linspace(-1, 1, n) for n in cells]
    features = RegularGridInterpolator(axes, np.asarray(p["Grid_0/embedding"], np.float64))(x)
    np.testing.assert_allclose(run(spec, p, x), decode(p, x, features), rtol=1e-4, atol=1e-5)


def test_entries_lie_at_their_coordinates():
    table = np.arange(12.0, dtype=np.float32).reshape(4, 3, 1)
    where = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1], [-1 / 3, 0], [-9, 9]], np.float32)
    got = feature_grids.grid(table, jax.numpy.asarray(where))[:, 0]
    np.testing.assert_allclose(got, [0, 2, 9, 11, 4, 2], atol=1e-5)  # outside is the border


def test_an_axis_of_one_entry_is_constant():
    table = np.array([[[1.0], [3.0]]], np.float32)  # [1, 2, feature]
    got = feature_grids.grid(table, jax.numpy.array([[-1.0, 0.0], [0.7, 0.0], [1.0, 1.0]]))[:, 0]
    np.testing.assert_allclose(got, [2, 2, 3])


def test_triplane_sums_three_planes():
    spec = triplane(4, 5, [6, 2], activation="tanh")
    p, x = testing.draw(KEY, spec), points(3)
    axes, features = [np.linspace(-1, 1, 4)] * 2, 0
    for plane, (i, j) in zip(p["Triplane_0/embedding"], ((0, 1), (0, 2), (1, 2)), strict=True):
        look_up = RegularGridInterpolator(axes, np.asarray(plane, np.float64))
        features = features + look_up(np.stack([x[:, i], x[:, j]], -1))
    np.testing.assert_allclose(run(spec, p, x), decode(p, x, features), rtol=1e-4, atol=1e-5)


def hashed_by_loops(table, x, resolution):
    """Mueller et al. (2022), section 3 and eq. 4, one point and one corner at a time."""
    d, size, out = len(x), len(table), 0
    u = (np.asarray(x, np.float64) + 1) / 2 * resolution
    low = np.minimum(np.floor(u).astype(int), resolution - 1)
    for corner in itertools.product((0, 1), repeat=d):
        cell, weight, place = [int(a) + b for a, b in zip(low, corner, strict=True)], 1.0, 0
        for c, i, v in zip(corner, low, u, strict=True):
            weight *= (v - i) if c else 1 - (v - i)
        if (resolution + 1) ** d <= size:
            for c in cell:
                place = place * (resolution + 1) + c
        else:
            for c, prime in zip(cell, (1, 2654435761, 805459861), strict=False):
                place ^= (c * prime) % 2**32
            place %= size
        out = out + weight * np.asarray(table[place], np.float64)
    return out


@pytest.mark.parametrize(
    ("coordinates", "table", "sizes"),
    [(2, 30, [9, 25, 30]), (3, 27, [27, 27, 27]), (1, 99, [3, 5, 9])],
    ids=["plane", "space", "line"],
)
def test_hash_grid_against_loops(coordinates, table, sizes):
    spec = hash_grid(
        coordinates, 3, [5, 1], levels=3, coarsest=2, finest=8, table=table, activation="tanh"
    )
    p, x = testing.draw(KEY, spec), points(coordinates, 20)
    tables = [p[f"HashGrid_{i}/embedding"] for i in range(3)]
    assert [len(t) for t in tables] == sizes
    features = [
        np.stack([hashed_by_loops(t, row, n) for row in x])
        for t, n in zip(tables, (2, 4, 8), strict=True)
    ]
    np.testing.assert_allclose(run(spec, p, x), decode(p, x, *features), rtol=1e-4, atol=1e-5)


def test_levels_of_a_hash_grid_are_permuted_apart():
    spec = hash_grid(2, 4, [3, 1], levels=2, coarsest=2, finest=4, table=9)
    assert spec.hidden == ("f0", "f1", "h0")
    assert [layer.level for layer in spec.layers] == [0, 0, 1, 2]

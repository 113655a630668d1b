import ml_dtypes
import numpy as np
from cases.pairs_of_networks import copy, network, noisy

from wsjax.comparison import distances

rng = np.random.default_rng(0)


def test_distances_of_two_vectors():
    a, b = np.array([3.0, 4.0]), np.array([3.0, 0.0])
    found = distances.sums(a, b).distance
    assert np.allclose(found, (0.8, 0.6))
    both = distances.sums(a, b).plus(distances.sums(a, a)).distance
    assert np.allclose(both.relative, 4 / 50**0.5)


def test_rounding_is_within_half_an_epsilon():
    x = rng.standard_normal(1000).astype(np.float32)
    assert 0.2 < distances.ulps(x, x.astype(ml_dtypes.bfloat16)) <= 0.5
    assert distances.ulps(x, x) == 0
    assert distances.ulps(x, (x * 1.01).astype(ml_dtypes.bfloat16)) > 1


def test_identical_is_bits_and_type():
    x = np.array([0.0, np.nan], np.float32)
    assert distances.identical(x, x.copy())
    assert not distances.identical(np.zeros(1), -np.zeros(1))
    assert not distances.identical(x, x.astype(np.float64))


def test_unrelated_networks_are_within_chance_and_related_ones_far_outside():
    params, spec = network("tanh")
    standard = distances.standard
    z = lambda b: distances.permuted(standard(params), standard(b), spec).z
    others = [z(network("tanh", seed)[0]) for seed in range(20, 28)]
    assert np.abs(others).max() < 4
    assert np.std(others) > 0.2
    assert z(noisy(params, 1.0)) > 10
    assert abs(z(copy(params, spec))) < 5  # in another order: what alignment is for


def test_misaligned_arrays_keep_their_entries():
    params, spec = network("tanh")
    moved = distances.misaligned(params, spec, rng)
    for name, x in params.items():
        assert np.array_equal(np.sort(moved[name], axis=None), np.sort(x, axis=None))
    assert not np.array_equal(moved["Dense_1/kernel"], params["Dense_1/kernel"])


def test_constant_arrays_do_not_count():
    arrays = {"w": rng.standard_normal((3, 4)), "ones": np.ones(5), "zeros": np.zeros(5)}
    assert set(distances.standard(arrays)) == {"w"}
    assert np.isclose(distances.correlation(*[distances.standard(arrays)] * 2), 1)

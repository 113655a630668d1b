"""Duplicates up to symmetry: copies are found, near networks are not."""

import jax
import numpy as np
import pytest

from wsjax import architectures, networks, testing
from wsjax.symmetries import permutations, scalings
from wsjax.symmetries.duplicates import duplicates, matchable, symmetries

CASES = {
    "relu": (architectures.mlp([3, 8, 8, 2], "relu"), ("permutation", "scale")),
    "tanh": (architectures.mlp([3, 8, 8, 2], "tanh"), ("permutation", "sign")),
    "siren": (architectures.mlp([3, 8, 8, 2], "sin"), ("permutation", "sign", "phase")),
    "gelu": (architectures.mlp([3, 8, 2], "gelu"), ("permutation",)),
}


def nets(spec, count=12):
    params = testing.draw(jax.random.key(0), spec, (count,))
    return np.array(networks.ravel(params, spec))


def moved(vector, spec, seed):
    """The same function, its neurons in another order, with other factors and phases."""
    params = networks.unravel(vector, spec)
    g = permutations.sample(jax.random.key(seed), spec)
    factors = scalings.sample(jax.random.key(seed + 1), spec)
    copy = permutations.act(g, scalings.act(factors, params, spec), spec)
    out = np.asarray(networks.ravel(copy, spec))
    assert np.abs(out - vector).max() > 0.1
    return out


@pytest.mark.parametrize("name", CASES)
def test_copies_are_found_and_near_networks_are_not(name, monkeypatch):
    spec, kinds = CASES[name]
    vectors = nets(spec)
    vectors[5], vectors[9] = (moved(vectors[2], spec, seed) for seed in (1, 3))
    vectors[7] = vectors[0]
    noise = np.random.default_rng(0).normal(size=vectors[1].shape).astype("f4")
    vectors[8] = moved(vectors[1] * (1 + 1e-3 * noise), spec, 5)
    monkeypatch.setattr("wsjax.symmetries.duplicates._ENTRIES", 6 * spec.count)  # two parts
    assert duplicates(vectors, spec) == [[0, 7], [2, 5, 9]]
    assert symmetries(spec) == kinds


def test_what_no_symmetry_explains_is_no_duplicate():
    """The same numbers in each array, connected otherwise: all statistics agree."""
    spec = CASES["tanh"][0]
    vectors = nets(spec, 2)
    params = networks.unravel(vectors[0].copy(), spec)
    params["Dense_1/kernel"] = params["Dense_1/kernel"][::-1]
    vectors[1] = networks.ravel(params, spec)
    assert duplicates(vectors, spec) == []


def test_zeros_are_equal_whatever_their_sign():
    spec = CASES["gelu"][0]
    vectors = np.zeros((2, spec.count), np.float32)
    vectors[1] *= -1
    assert duplicates(vectors, spec) == [[0, 1]]


def test_a_network_without_canonical_form_is_compared_as_it_is():
    spec = architectures.mlp([2, 4, 1], "relu")
    vectors = nets(spec, 3)
    vectors[1] *= 1e30  # the products of its norms are beyond float32
    vectors[2] = moved(vectors[0], spec, 1)
    with pytest.raises(ValueError, match="beyond"):
        scalings.canonical(networks.unravel(vectors[1], spec), spec)
    assert duplicates(vectors, spec) == [[0, 2]]


def test_a_bag_of_arrays_has_no_symmetry():
    array = networks.Array("a", "kernel", ("x", "y"), (), ())
    layer = networks.Layer("a", "dense", 0, (array,))
    spec = networks.Spec((layer,), (("x", 3), ("y", 3)), ())
    vectors = np.random.default_rng(0).normal(size=(3, 9)).astype("f4")
    vectors[2] = vectors[0]
    vectors[1] = vectors[0].reshape(3, 3)[::-1].ravel()
    assert duplicates(vectors, spec) == [[0, 2]]
    assert symmetries(spec) == ()


def test_an_axis_twice_is_not_matched():
    array = networks.Array("a", "kernel", ("x", "x"), (0,), (1,))
    layer = networks.Layer("a", "dense", 0, (array,))
    spec = networks.Spec((layer,), (("x", 3),), ("x",))
    assert not matchable(spec)
    vectors = np.random.default_rng(0).normal(size=(3, 9)).astype("f4")
    vectors[2] = vectors[0]
    assert duplicates(vectors, spec) == [[0, 2]]
    assert "permutation" not in symmetries(spec)


def test_vectors_must_match_the_spec():
    with pytest.raises(ValueError, match="expected 50 parameters, got a vector"):
        duplicates(np.zeros((2, 3), np.float32), CASES["gelu"][0])

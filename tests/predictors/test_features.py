"""Statistics of networks, each by its own architecture."""

import dataclasses

import jax
import numpy as np
import pytest
from cases.classifier_zoos import SMALL, TANH, classifiers

from wsjax.encoders import stat_nn
from wsjax.predictors import features
from wsjax.symmetries import permutations


def test_statistics_are_of_each_network_by_its_own_architecture():
    zoo = classifiers([SMALL, TANH], 8)
    found = features.statistics(zoo.select(np.random.default_rng(0).permutation(16)))
    order = np.random.default_rng(0).permutation(16)
    expected = stat_nn.statistics(zoo.vectors[order], stat_nn.bounds(SMALL))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_networks_without_finite_statistics_are_named():
    zoo = classifiers([SMALL, TANH], 8)
    large = zoo.vectors.copy()
    large[[3, 12], 0] = 1e30
    name = SMALL.arrays[0].name
    with pytest.raises(ValueError, match=f"smaller weights in:\n  {name} of network 3\n.*12"):
        features.statistics(dataclasses.replace(zoo, vectors=large))


def test_described_moments_are_statnns():
    zoo = classifiers([SMALL], 12)
    described = features.describe(zoo.vectors, SMALL)
    moments = [i for i, k in enumerate(described.names) if k.split(": ")[1] in MOMENTS]
    expected = stat_nn.statistics(zoo.vectors, stat_nn.bounds(SMALL))
    np.testing.assert_allclose(described.values[:, moments], expected, rtol=1e-4, atol=1e-6)
    assert len(set(described.names)) == len(described.names) == described.values.shape[1]


MOMENTS = {"mean", "variance", *(f"{q}% quantile" for q in (0, 25, 50, 75, 100))}


def test_descriptions_are_invariant_to_permutations_alone():
    zoo = classifiers([SMALL], 6)
    moves = permutations.moves(SMALL)
    keys = jax.random.split(jax.random.key(0), 6)
    shuffle = jax.vmap(permutations.shuffle, (0, 0, None))
    permuted = np.asarray(shuffle(keys, zoo.vectors, moves))
    assert not np.array_equal(permuted, zoo.vectors)
    one, other, third = (
        features.describe(v, SMALL).values for v in (zoo.vectors, permuted, zoo.vectors[:, ::-1])
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert np.abs(one - third).max() > 0.1


def test_constant_and_large_networks_have_finite_descriptions():
    vectors = np.zeros((3, SMALL.count), np.float32)
    vectors[1:] = [[1.0], [1e30]]
    assert np.isfinite(features.describe(vectors, SMALL).values).all()

"""Statistics of networks, each by its own architecture."""

import dataclasses

import numpy as np
import pytest
from cases.classifier_zoos import SMALL, TANH, classifiers

from wsjax.encoders import stat_nn
from wsjax.predictors import features


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

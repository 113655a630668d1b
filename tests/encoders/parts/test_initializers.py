"""Uniform weights within the bound of PyTorch's linear layers."""

import jax
import numpy as np

from wsjax.encoders.parts.initializers import uniform


def test_bounds_are_the_root_of_the_fan_in_of_each_column():
    weights = np.abs(uniform(np.array([4.0, 100.0]))(jax.random.key(0), (500, 2)))
    assert (weights.max(0) <= [0.5, 0.1]).all()
    assert (weights.max(0) > [0.45, 0.09]).all()

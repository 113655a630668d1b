"""The MLP baseline: its equations, and the size of SNE's table 1."""

import numpy as np
from cases.encoders import EXAMPLES, SIREN, parameter_count, start

from wsjax import architectures
from wsjax.encoders import MLP


def test_it_is_two_linear_maps_of_the_vector():
    encoder = EXAMPLES["mlp"]
    variables, vectors, view = start(encoder, SIREN)
    first, second = (variables["params"][f"Dense_{i}"] for i in (0, 1))
    hidden = np.maximum(vectors @ first["kernel"] + first["bias"], 0)
    want = hidden @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(encoder.apply(variables, vectors, view), want, atol=1e-5)


def test_it_has_the_size_of_the_paper():
    spec = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
    assert parameter_count(MLP(), spec) == 1153 * 12 + 12 + 12 * 32 + 32

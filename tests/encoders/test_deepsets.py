"""DeepSets: a mean over parameters, of networks alone and padded."""

import numpy as np
from cases.encoders import EXAMPLES, SIREN, parameter_count, start

from wsjax import architectures
from wsjax.encoders import DeepSets


def test_it_is_the_mean_of_a_map_of_each_parameter():
    encoder = EXAMPLES["deepsets"]
    variables, vectors, view = start(encoder, SIREN)
    dense = [variables["params"][f"Dense_{i}"] for i in range(4)]
    maps = lambda x, i: x @ dense[i]["kernel"] + dense[i]["bias"]
    x = np.maximum(maps(np.maximum(maps(vectors[..., None], 0), 0), 1), 0)
    want = maps(np.maximum(maps(x.mean(1), 3), 0), 2)
    np.testing.assert_allclose(encoder.apply(variables, vectors, view), want, atol=1e-5)


def test_stacked_views_mark_padding():
    encoder = EXAMPLES["deepsets"]
    other = architectures.mlp([1, 3, 1])
    stacked = encoder.stack([encoder.view(SIREN), encoder.view(other)])
    np.testing.assert_array_equal(stacked.sum(1), [SIREN.count, other.count])
    assert stacked[1, : other.count].all()


def test_its_size_does_not_depend_on_the_network():
    wide = architectures.mlp([1, 32, 32, 1])
    assert parameter_count(DeepSets(), wide) == parameter_count(DeepSets(), SIREN) == 37_408

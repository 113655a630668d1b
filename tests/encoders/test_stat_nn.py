"""StatNN: its statistics against NumPy, their standardisation, and boosted trees on them."""

import numpy as np
from cases.encoders import EXAMPLES, SIREN, network, start

from wsjax import architectures, networks
from wsjax.encoders import stat_nn


def test_statistics_against_numpy():
    vectors = np.stack([network(SIREN, s) for s in range(4)])
    found = np.asarray(stat_nn.statistics(vectors, stat_nn.bounds(SIREN)))
    params, want = networks.unravel(vectors, SIREN), []
    for a in SIREN.arrays:
        x = params[a.name].reshape(4, -1)
        variance = x.var(1, ddof=1) if x.shape[1] > 1 else np.zeros(4)
        want += [x.mean(1), variance, *np.quantile(x, [0, 0.25, 0.5, 0.75, 1], axis=1)]
    np.testing.assert_allclose(found, np.stack(want, 1), rtol=1e-5, atol=1e-6)


def test_stat_nn_is_standardised_by_the_training_networks():
    encoder = EXAMPLES["stat_nn"]
    variables, vectors, view = start(encoder, SIREN)
    constants = encoder.calibrate(vectors, view, {})
    x = np.asarray(stat_nn.statistics(vectors, view))
    np.testing.assert_allclose(constants["mean"], x.mean(0), rtol=1e-5, atol=1e-6)
    other = encoder.apply({**variables, "statistics": constants}, vectors, view)
    assert np.abs(other - encoder.apply(variables, vectors, view)).max() > 1e-3


def test_trees_learn_from_the_statistics():
    rng = np.random.default_rng(0)
    spec = architectures.mlp([1, 4, 1])
    scale = rng.uniform(1, 3, 300)
    vectors = (scale[:, None] * rng.standard_normal((300, spec.count))).astype(np.float32)
    part = lambda a, b: (vectors[a:b], scale[a:b])
    predicted = stat_nn.boosted_trees(part(0, 200), part(200, 250), vectors[250:], spec, 0)
    error = np.mean((predicted - scale[250:]) ** 2)
    assert error < 0.5 * np.var(scale[250:])

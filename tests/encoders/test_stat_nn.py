"""StatNN: its statistics against NumPy, their standardisation, and boosted trees on them."""

import numpy as np
from cases.encoders import EXAMPLES, SIREN, network, start

from wsjax import networks
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

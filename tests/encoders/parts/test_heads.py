"""The regressor: its equations, and predictions that start small; or none."""

import jax
import numpy as np

from wsjax.encoders import Regressor


def test_it_is_linear_maps_with_relu_between():
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    out, variables = Regressor((4, 3)).init_with_output(jax.random.key(0), x)
    dense = [variables["params"][f"Dense_{i}"] for i in range(3)]
    for layer in dense[:-1]:
        x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    want = (x @ dense[-1]["kernel"] + dense[-1]["bias"])[:, 0]
    np.testing.assert_allclose(out, want, atol=1e-6)
    assert np.abs(dense[-1]["kernel"]).max() < 0.3


def test_without_layers_an_embedding_of_one_number_is_the_prediction():
    x = np.random.default_rng(0).standard_normal((5, 1)).astype(np.float32)
    out, variables = Regressor(()).init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(out, x[:, 0])
    assert not variables
    _, variables = Regressor(()).init_with_output(jax.random.key(0), np.ones((5, 2), np.float32))
    assert variables["params"]["Dense_0"]["kernel"].shape == (2, 1)

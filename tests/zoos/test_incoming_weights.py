"""Norms and signs of a zoo, against networks written down by hand, and their picture."""

import dataclasses

import numpy as np
import pytest

from experiments.lib import plots
from wsjax import zoos
from wsjax.architectures import cnn, mlp
from wsjax.zoos.incoming_weights import incoming


@pytest.fixture
def zoo():
    spec = mlp([2, 2, 1])
    params = {
        "Dense_0/kernel": np.array([[[3, 0], [-4, 2]], [[1, -5], [0, -12]]]),
        "Dense_0/bias": np.array([[-1, 7], [-2, -3]]),
        "Dense_1/kernel": np.array([[[8], [15]], [[-6], [8]]]),
        "Dense_1/bias": np.array([[0], [-9]]),
    }
    return zoos.from_params(params, spec, {})


def test_norms_and_signs_of_a_known_zoo(zoo):
    found = incoming(zoo)
    want = {  # norms [network, neuron], shares of positive and negative [network]
        "Dense_0/kernel": ([[5, 2], [1, 13]], [0.5, 0.25], [0.25, 0.5]),
        "Dense_0/bias": ([[1, 7], [2, 3]], [0.5, 0], [0.5, 1]),
        "Dense_1/kernel": ([[17], [10]], [1, 0.5], [0, 0.5]),
        "Dense_1/bias": ([[0], [9]], [0, 0], [0, 1]),
    }
    assert list(found) == list(want)
    for name, (norms, positive, negative) in want.items():
        x = found[name]
        assert (x.layer, x.role) == tuple(name.split("/"))
        np.testing.assert_array_equal(x.norms, norms, err_msg=name)
        np.testing.assert_array_equal(x.positive, positive, err_msg=name)
        np.testing.assert_array_equal(x.negative, negative, err_msg=name)


def test_a_convolutions_neuron_sums_over_taps_and_channels():
    spec = cnn([2, 4, 5], [3], kernel=[(3, 2), (1, 3)], norm="batch")
    vectors = np.random.default_rng(0).normal(size=(3, spec.count)).astype(np.float32)
    zoo = zoos.Zoo.of_spec(vectors, spec, {})
    found = incoming(zoo)
    kernel = np.asarray(zoo.params(slice(None))["Conv_1/kernel"], np.float64)  # [3, 1, 3, 4, 5]
    rows = np.moveaxis(kernel, -1, 1).reshape(3, 5, 12)
    np.testing.assert_allclose(found["Conv_1/kernel"].norms, np.linalg.norm(rows, axis=-1))
    assert {x.role for x in found.values()} == {"kernel", "scale", "bias"}


def test_large_weights_do_not_overflow(zoo):
    huge = dataclasses.replace(zoo, vectors=zoo.vectors * np.float32(1e30))
    np.testing.assert_allclose(incoming(huge)["Dense_0/kernel"].norms[0], [5e30, 2e30])


def test_nan_is_not_hidden(zoo, tmp_path):
    found = incoming(zoo)
    zoo.vectors[1, -1] = np.nan
    with pytest.raises(ValueError, match="Dense_1/bias: 1 of 2 values are NaN"):
        incoming(zoo)
    found["Dense_0/bias"].norms[0, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in \['Dense_0/bias'\]"):
        plots.norms_and_signs(tmp_path / "nan.png", found, "broken")
    assert not list(tmp_path.iterdir())


def test_the_picture_shows_norms_and_signs(zoo, tmp_path):
    drawn = {}
    for name, factor in {"same": 1, "again": 1, "flipped": -1, "doubled": 2}.items():
        other = dataclasses.replace(zoo, vectors=factor * zoo.vectors)
        plots.norms_and_signs(tmp_path / name, incoming(other), "hand-made")
        drawn[name] = (tmp_path / f"{name}.png").read_bytes()
        assert drawn[name].startswith(b"\x89PNG")
    assert drawn["same"] == drawn["again"]
    assert len({drawn[name] for name in ("same", "flipped", "doubled")}) == 3

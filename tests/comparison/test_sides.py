import ml_dtypes
import numpy as np
import pytest
from cases.pairs_of_networks import network, saved, torch_mlp

from wsjax import recognition
from wsjax.comparison.sides import inputs, side


def test_arrays_keep_the_types_of_the_file(tmp_path):
    state = {n: x.astype(ml_dtypes.bfloat16) for n, x in torch_mlp().items()}
    path = saved(tmp_path / "a.safetensors", state)
    found = side(path)
    assert {x.dtype for x in found.params.values()} == {np.dtype(ml_dtypes.bfloat16)}
    doubles = {n: np.asarray(x, np.float64) for n, x in found.params.items()}
    back = found.unpacked(doubles)
    assert all(np.array_equal(back[n], x) and back[n].dtype == x.dtype for n, x in state.items())


def test_a_network_that_was_read_is_the_same_side(tmp_path):
    path = saved(tmp_path / "a.safetensors", torch_mlp())
    one, other = side(path), side(recognition.read(path))
    assert one.spec == other.spec
    assert all(np.array_equal(x, other.params[n]) for n, x in one.params.items())


def test_params_must_be_those_of_their_spec():
    params, spec = network("relu")
    assert side((params, spec)).forward is not None
    with pytest.raises(ValueError, match="Dense_0/bias"):
        side(({**params, "Dense_0/bias": params["Dense_0/bias"][1:]}, spec))
    with pytest.raises(TypeError, match="expected a path"):
        side(3)


def test_random_inputs_fit_the_network():
    params, spec = network("batch norm")
    x = inputs(params, spec)
    assert (x.ndim, x.shape[-1]) == (4, 1)

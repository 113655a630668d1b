"""A network from a file: stored arrays, those of its Spec, and the facts of both."""

import numpy as np
import pytest
from cases import weight_folders

from wsjax.recognition import stored


def test_a_file_is_a_network_in_float32(tmp_path):
    arrays = {name: array.astype("f8") for name, array in weight_folders.mlp(0).items()}
    weight_folders.write(tmp_path / "net.pt", arrays)
    network = stored.read(tmp_path / "net.pt", config={"activation": "tanh"})
    assert network.recognition.level == "exact"
    assert network.spec.layers[0].activation == "tanh"
    assert network.facts.branch == "state_dict"
    assert network.stored.keys() == arrays.keys()
    assert {a.dtype for a in network.params.values()} == {np.dtype("f4")}
    back = network.recognition.packing.unpack(network.params)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array.astype("f4"))


def test_errors_are_those_of_the_file_and_of_the_config(tmp_path):
    with pytest.raises(FileNotFoundError):
        stored.read(tmp_path / "absent.pt")
    weight_folders.write(tmp_path / "net.pt", weight_folders.mlp(0))
    with pytest.raises(ValueError, match="branch"):
        stored.read(tmp_path / "net.pt", "ema")
    with pytest.raises(ValueError, match="config makes no sense"):
        stored.read(tmp_path / "net.pt", config={"heads": 0})

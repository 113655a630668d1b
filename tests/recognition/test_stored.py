"""Networks in files: arrays by a Spec that was recognised."""

import numpy as np
import pytest
from cases import weight_files

from wsjax.files import ContentError
from wsjax.recognition.stored import read

NET = {
    "net.0.weight": np.arange(15, dtype="f4").reshape(5, 3),
    "net.0.bias": np.ones(5, "f4"),
    "net.2.weight": np.arange(10, dtype="f2").reshape(2, 5),
    "steps": np.array(7, "i8"),
}


@pytest.fixture(name="path")
def _path(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(weight_files.safetensors_bytes(NET))
    return path


def test_arrays_are_those_of_the_spec(path):
    net = read(path, config={"activation": "relu"})
    assert net.recognition.level == "exact"
    assert {a.name for a in net.spec.arrays} == set(net.params) == set(NET) - {"steps"}
    for name, array in net.params.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, NET[name])
    assert net.stored["net.2.weight"].dtype == np.float16
    assert list(net.facts.buffers) == ["steps"]
    assert net.path == str(path)


def test_files_that_cannot_be_loaded_are_refused(path):
    path.write_bytes(path.read_bytes()[:-16])
    with pytest.raises(ContentError, match="is not loaded"):
        read(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read(path.with_name("absent"))
    with pytest.raises(ValueError, match="ema"):
        read(path, "ema")

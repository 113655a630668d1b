"""Keras's files: layers in their order, optimizers apart, and nothing outside the file."""

import json
import zipfile

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, hdf5, outcome

from wsjax.files import keras_files
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened

h5py = pytest.importorskip("h5py")
W = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.mark.parametrize("kind", ["hdf5", "keras"])
def test_keras_3(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == (kind, ())
        for i, (a, array) in enumerate(zip(checkpoint.arrays, ARRAYS.values(), strict=True)):
            assert a.path == ("layers", "dense", "vars", str(i))
            assert (a.shape, a.dtype, a.nbytes) == (array.shape, array.dtype.name, array.nbytes)
            np.testing.assert_array_equal(a.read(), array)
        config = {"config": {"class_name": "Sequential"}} if kind == "keras" else {}
        assert checkpoint.metadata == config
        last = checkpoint.arrays[0]
    with pytest.raises(FileFormatError, match=r"array .*: the file is closed"):
        last.read()


def test_keras_2_keeps_the_order_of_its_layers(tmp_path):
    layers = ["input", "first", "dense_10", "dense_9"]
    tree = {f"model_weights/{k}/{k}/{v}:0": W for k in layers[1:] for v in ("bias", "kernel")}
    tree |= {"optimizer_weights/Adam/m:0": W}
    attributes = {"/": {"keras_version": "2.15.0", "model_config": '{"a": 1}'}}
    attributes |= {"model_weights": {"layer_names": layers}}
    for k in layers[1:]:
        attributes[f"model_weights/{k}"] = {"weight_names": [f"{k}/kernel:0", f"{k}/bias:0"]}
    with opened(hdf5(tmp_path / "net.h5", tree, attributes)) as checkpoint:
        names = [a.path[1] for a in checkpoint.arrays if a.path[0] == "model_weights"]
        assert names[::2] == ["first", "dense_10", "dense_9"]
        assert checkpoint.arrays[-1].path == ("optimizer_weights", "Adam", "m:0")
        assert checkpoint.metadata["keras_version"] == "2.15.0"
        assert json.loads(checkpoint.metadata["model_config"]) == {"a": 1}
        assert checkpoint.metadata["layer_names"] == layers


def test_without_a_stated_order_numbers_in_names_count(tmp_path):
    tree = {f"layers/dense{k}/vars/0": W for k in ("", "_1", "_2", "_10")}
    with opened(hdf5(tmp_path / "net.h5", tree)) as checkpoint:
        names = [a.path[1] for a in checkpoint.arrays]
    assert names == ["dense", "dense_1", "dense_2", "dense_10"]


def test_every_type_is_read_or_refused_by_name(tmp_path):
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file["big"] = W.astype(">f8")
        file["flags"] = W > 2
        file["wave"] = W.astype("c8")
        half = file.create_dataset("half", data=W.astype(ml_dtypes.bfloat16).view("V2"))
        half.attrs["dtype"] = "bfloat16"
        file["texts"] = np.array(["a", "b"], h5py.string_dtype())
        file["record"] = np.zeros(2, [("x", "f4"), ("y", "i8")])
        file["null"] = h5py.Empty("f4")
    with opened(path) as checkpoint:
        arrays = {a.name: a for a in checkpoint.arrays}
        np.testing.assert_array_equal(arrays["big"].read(), W)
        assert arrays["big"].read().dtype == np.float64
        np.testing.assert_array_equal(arrays["flags"].read(), W > 2)
        np.testing.assert_array_equal(arrays["wave"].read(), W.astype("c8"))
        np.testing.assert_array_equal(arrays["half"].read(), W.astype(ml_dtypes.bfloat16))
        for name in ("texts", "record", "null"):
            with pytest.raises(FileFormatError, match=f"'{name}': its type .* is listed but not"):
                arrays[name].read()


def test_nothing_outside_the_file_is_read(tmp_path):
    hdf5(tmp_path / "secret.h5", {"w": W})
    (tmp_path / "raw").write_bytes(W.tobytes())
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file["w"] = W
        file["soft"] = h5py.SoftLink("/w")
        file["away"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/w")
        file["twin"] = file["w"]
        file["group/self"] = file["/"]
        raw = [(str(tmp_path / "raw"), 0, 24)]
        file.create_dataset("raw", (2, 3), "f4", external=raw)
        layout = h5py.VirtualLayout((2, 3), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "w", (2, 3))
        file.create_virtual_dataset("virtual", layout)
    with opened(path) as checkpoint:
        arrays = {a.name: a for a in checkpoint.arrays}
        assert set(arrays) == {"w", "twin", "raw", "virtual"}
        assert arrays["w"].storage == arrays["twin"].storage != arrays["raw"].storage
        for name in ("raw", "virtual"):
            with pytest.raises(FileFormatError, match="its numbers lie in another place"):
                arrays[name].read()
        texts = [f.text for f in checkpoint.findings]
    assert texts == [
        f"away is a link to '/w' of '{tmp_path}/secret.h5', which is not followed",
        "group/self is the same group as the root",
        "soft is a link to '/w', which is not followed",
    ]


def test_numbers_that_were_never_written_are_errors(tmp_path):
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("plain", (4, 4), "f4")
        chunked = file.create_dataset("chunked", (4, 4), "f4", chunks=(2, 2))
        chunked[:2, :2] = 1
    with opened(path) as checkpoint:
        chunked, plain = checkpoint.arrays
        with pytest.raises(FileFormatError, match="3 of its 4 chunks are missing"):
            chunked.read()
        with pytest.raises(FileFormatError, match="never written"):
            plain.read()


def test_a_bomb_is_listed_and_not_unpacked(tmp_path):
    path = hdf5(tmp_path / "net.h5", {"w": np.zeros(3 << 20, "u1")}, compression="gzip")
    assert path.stat().st_size < 50_000
    (error,) = outcome(path, Limits(unpacked_bytes=1 << 20))[1]
    assert "it unpacks to 3145728 bytes, expected at most 1048576" in error
    (error,) = outcome(path, Limits(array_bytes=9))[1]
    assert "limits=Limits(array_bytes" in error
    (error,) = outcome(hdf5(path, {"a": W, "b": W}), Limits(members=1))[1]
    assert "it has more than 2 entries" in error


def test_an_archive_may_be_compressed_and_its_configuration_damaged(tmp_path):
    path = weight_files.keras(tmp_path)
    with zipfile.ZipFile(path) as file:
        weights = file.read(keras_files.WEIGHTS)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(keras_files.WEIGHTS, weights)
    arrays, errors = outcome(path)
    assert (len(arrays), errors) == (len(ARRAYS), [])
    assert "expected at most 9" in outcome(path, Limits(unpacked_bytes=9))[1][0]
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", "[")
    assert "config.json is not JSON" in outcome(path)[1][0]


@pytest.mark.parametrize("error", [AttributeError, NameError, TypeError])
@pytest.mark.parametrize("part", ["natural", "plain_dtype"])
def test_an_error_of_the_program_is_no_damage(part, error, tmp_path, monkeypatch):
    def wrong(*_):
        raise error("wrong")

    path = hdf5(tmp_path / "net.h5", {"a": W, "b": W})
    monkeypatch.setattr(keras_files, part, wrong)
    with pytest.raises(error, match="wrong"):
        outcome(path)


def test_a_type_that_numpy_lacks_is_one_error(tmp_path):
    path = hdf5(tmp_path / "net.h5", {"w": W})
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, space)
    (error,) = outcome(path)[1]
    assert "No NumPy equivalent" in error


@pytest.mark.parametrize("kind", ["hdf5", "keras"])
def test_a_damaged_file_is_right_or_one_error(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert errors > 3

"""The format is read off the contents; what is none says so, and what to do."""

import json
import os

import numpy as np
import pytest
from cases import torch_by_hand, weight_files
from cases.weight_files import ARRAYS, outcome

from wsjax import files
from wsjax.files import json_text
from wsjax.files.checkpoint import FileFormatError, Limits

EXPECTED = {  # of the table -> what is detected; the key itself where it is not here
    **{"safetensors index": "safetensors", "npz compressed": "npz"},
}


def example(name, folder):
    if name in ("hdf5", "keras"):
        pytest.importorskip("h5py")
    return weight_files.FORMATS[name](folder)


@pytest.mark.parametrize("name", weight_files.FORMATS)
def test_every_format_is_known_whatever_its_name(name, tmp_path):
    path = example(name, tmp_path)
    if path.is_file() and name != "safetensors index":
        path = path.rename(tmp_path / "weights.bin")
    with files.opened(path) as checkpoint:
        assert checkpoint.format == EXPECTED.get(name, name)
        assert checkpoint.path == str(path)
        sizes = sorted(a.size for a in checkpoint.arrays)
        assert set(sizes) <= {a.size for a in ARRAYS.values()} | {64}
        assert len(sizes) == 1 or len(sizes) >= 4
        assert len({a.storage for a in checkpoint.arrays}) == len(sizes)
        assert len({a.path for a in checkpoint.arrays}) == len(sizes)
        json.dumps(checkpoint.metadata)  # plain values
        assert not [f for f in checkpoint.findings if f.severity == "error"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (bytes(5000), "begins with zeros: it was never filled"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "`git lfs pull`"),
        (b"<!doctype html><html>", "a web page: the download failed"),
        (b"\x1f\x8b\x08" + bytes(9), "compressed by gzip"),
        (b"\x80\x04\x95\x00", "a pickle, which is a program and is not run"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6"),
        (b"hello, world", "begins with b'hello, w'"),
        (b'{"a": 1}', "expected an index of shards"),
        (b"PK\x03\x04" + bytes(50), "cut short"),
    ],
)
def test_what_holds_no_weights(data, message, tmp_path):
    (tmp_path / "net.pt").write_bytes(data)
    arrays, (error,) = outcome(tmp_path / "net.pt")
    assert not arrays
    assert message in error


def test_what_is_not_there_or_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a file or folder of weights at .*none"):
        files.opened(tmp_path / "absent").__enter__()
    os.mkfifo(tmp_path / "pipe")
    assert "it is neither" in outcome(tmp_path / "pipe")[1][0]
    assert issubclass(FileFormatError, ValueError)


def test_shards_of_pytorch_follow_their_index(tmp_path):
    w = np.arange(6, dtype="f4").reshape(2, 3)
    for i in (1, 2):
        torch_by_hand.write(tmp_path / f"part-{i}.bin", {f"layers.{i}.w": w + i})
    places = {f"layers.{i}.w": f"part-{i}.bin" for i in (1, 2)}
    index = {"metadata": {"total_size": 48}, "weight_map": places}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with files.opened(tmp_path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("torch", ())
        for i, a in enumerate(checkpoint.arrays, 1):
            assert a.path == (f"layers.{i}.w",)
            np.testing.assert_array_equal(a.read(), w + i)
    (tmp_path / "part-2.bin").write_bytes(weight_files.safetensors_bytes({"layers.2.w": w}))
    assert (
        "shard part-2.bin is a file of safetensors, the first of torch" in outcome(tmp_path)[1][0]
    )


def test_names_in_messages_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m.pt"
    path.write_bytes(b"hello")
    with pytest.raises(FileFormatError, match=r"a\\x1b\[31m\.pt: expected a file of"):
        files.opened(path).__enter__()


def test_an_index_of_json_is_bounded():
    limits = Limits(header_bytes=40, members=1)
    assert json_text.json_object(b'{"a": 1}', "it", limits) == {"a": 1}
    for text, message in (
        (b'{"a": "' + 50 * b"x" + b'"}', "header_bytes"),
        (b'{"a": [' + 25 * b"," + b"]}", "more values than its arrays need"),
        (b"[1]", "expected it as a JSON object, got a list"),
        (b'{"a": Infinity}', "its JSON has Infinity"),
    ):
        with pytest.raises(FileFormatError, match=message):
            json_text.json_object(text, "it", limits)

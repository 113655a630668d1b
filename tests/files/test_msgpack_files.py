"""Flax's files: what `flax.serialization` writes is read, array by array."""

import ml_dtypes
import msgpack
import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, outcome
from flax import serialization

from wsjax.files import disk, msgpack_files
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)


def written(path, tree):
    path.write_bytes(serialization.msgpack_serialize(tree))
    return path


def packed(kind, *fields):
    return msgpack.ExtType(kind, msgpack.packb(fields))


def test_a_tree_is_listed_with_its_paths(tmp_path):
    path = weight_files.msgpack(tmp_path)
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("msgpack", ())
        assert {a.path for a in checkpoint.arrays} == {("params", "enc", k) for k in ARRAYS}
        for a in checkpoint.arrays:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.path[2]])
            assert a.nbytes == ARRAYS[a.path[2]].nbytes
        assert checkpoint.metadata == {"step": 7, "names": ["a", None, True, 1.5]}
        last = checkpoint.arrays[0]
    with pytest.raises(FileFormatError, match="the file is closed"):
        last.read()


def test_every_kind_of_value_is_what_flax_restores(tmp_path):
    rest = {
        **{"small": -3, "negative": -(1 << 40), "large": (1 << 64) - 1, "real": 0.1},
        **{"text": "x" * 300, "bytes": b"ab", "no": False, "nothing": None, "complex": 1 + 2j},
        "list": list(range(40)),
    }
    arrays = {
        **{str(i): W + i for i in range(70_000 // 1000)},
        **{"half": W.astype(ml_dtypes.bfloat16), "scalar": np.float32(2.5), "flags": W > 2},
        "long": np.arange(70_000, dtype="i8"),
    }
    path = written(tmp_path / "x", {"a": arrays, "b": rest})
    with opened(path) as checkpoint:
        assert checkpoint.metadata == {"b": rest}
        assert {a.path for a in checkpoint.arrays} == {("a", k) for k in arrays}
        for a in checkpoint.arrays:
            np.testing.assert_array_equal(a.read(), arrays[a.path[1]])
            assert a.read().dtype == arrays[a.path[1]].dtype


def test_an_array_in_chunks_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 16)
    path = written(tmp_path / "x", serialization._chunk_array_leaves_in_place({"w": W}))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    with opened(path) as checkpoint:
        (a,) = checkpoint.arrays
        assert (a.path, a.nbytes) == (("w",), 24)
        np.testing.assert_array_equal(a.read(), W)
    array = serialization.msgpack_serialize(W)
    path.write_bytes(array)
    with opened(path) as checkpoint:
        assert checkpoint.arrays[0].path == ("x",)


def test_the_numbers_are_passed_over(tmp_path, monkeypatch):
    path = written(tmp_path / "x", {"a": np.ones(100_000, "f4"), "b": W})
    taken = []
    take = disk.BytesOf.bytes
    monkeypatch.setattr(disk.BytesOf, "bytes", lambda *a: taken.append(a[2]) or take(*a))
    with opened(path) as checkpoint:
        assert sum(taken) < 40_000
        np.testing.assert_array_equal(checkpoint.arrays[1].read(), W)
        assert checkpoint.arrays[0].read().sum() == 100_000


BAD = [
    (msgpack.packb({"a": packed(1, [2, 3], "float32", bytes(23))}), "23 bytes, expected 24"),
    (msgpack.packb({"a": packed(1, [2, -3], "float32", bytes(24))}), "at most 32 counts"),
    (msgpack.packb({"a": packed(1, [1] * 33, "uint8", b"1")}), "at most 32 counts"),
    (msgpack.packb({"a": packed(1, [2], 3, bytes(24))}), "shape, type and bytes"),
    (msgpack.packb({"a": packed(1, [2], "float32", "text")}), "shape, type and bytes"),
    (msgpack.packb({"a": packed(1, [2])}), "shape, type and bytes"),
    (msgpack.packb({"a": 1})[:-1], "cut short"),
    (msgpack.packb({"a": 1}) + b"x", "1 bytes follow the tree"),
    (b"\x82\xa1a\x01\xa1a\x01", "unique names, got the key 'a'"),
    (b"\x81\x90\x01", "unique names, got the key []"),
    (b"\x81\xa1a\xc1", "byte 0xc1 at 3 begins no value"),
    (b"\x81\xa1\xff\x01", "a text in it is damaged"),
    (b"\x81\xa1a" + b"\x91" * 200, "at most 100 deep"),
    (b"\xdf\xff\xff\xff\xff\xa1a\x01", "cut short"),
    (b"\x81\xa1a\xc6\xff\xff\xff\xff", "bytes of texts, expected at most"),
    (b"\x81\xa1a\xdd\x00\x00\xff\xff" + b"\xc0" * 0xFFFF, "more than 501 values"),
    (msgpack.packb({"a": {msgpack_files.CHUNKED: True, "shape": {}, "chunks": {}}}), "by number"),
    (msgpack.packb({"a": {msgpack_files.CHUNKED: True, "shape": 1, "chunks": 2}}), "by number"),
]


@pytest.mark.parametrize(("data", "message"), BAD)
def test_a_damaged_tree_is_one_error(data, message, tmp_path):
    (tmp_path / "bad").write_bytes(data)
    arrays, (error,) = outcome(tmp_path / "bad", Limits(members=100), memory=1 << 20)
    assert not arrays
    assert message in error


def test_what_is_no_array_of_numbers_is_refused_by_name(tmp_path):
    data = msgpack.packb({"x": msgpack.ExtType(9, b"abc"), "w": packed(1, [2], "V2", bytes(4))})
    (tmp_path / "x").write_bytes(data)
    with opened(tmp_path / "x") as checkpoint:
        assert "extension type 9 of MessagePack is not read, at x" in checkpoint.findings[0].text
        with pytest.raises(FileFormatError, match="'w': its type V2 is listed but not read"):
            checkpoint.arrays[0].read()


def test_a_damaged_file_is_right_or_one_error(tmp_path):
    path = weight_files.msgpack(tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert 5 < errors < 24

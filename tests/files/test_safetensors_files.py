"""Safetensors: what the format's own library writes is read; what contradicts itself is not."""

import json

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, outcome, safetensors_bytes, safetensors_of
from safetensors.numpy import save_file

from wsjax.files import safetensors_files
from wsjax.files.checkpoint import NUMBERS, FileFormatError, Limits
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)


def written(path, data):
    path.write_bytes(data)
    return path


def entry(code, shape, begin, end):
    return {"dtype": code, "shape": shape, "data_offsets": [begin, end]}


def test_a_file_of_the_library_is_read_whatever_its_name(tmp_path):
    path = tmp_path / "net.pt"
    arrays = {k: v for k, v in ARRAYS.items()} | {"b": W.astype(ml_dtypes.bfloat16), "t": W > 2}
    save_file(arrays, path, {"format": "pt"})
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.metadata) == ("safetensors", {"format": "pt"})
        assert checkpoint.findings == ()
        read = {a.name: a.read() for a in checkpoint.arrays}
        assert {a.name: a.dtype for a in checkpoint.arrays} == {
            k: v.dtype.name for k, v in arrays.items()
        }
        last = checkpoint.arrays[0]
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    with pytest.raises(FileFormatError, match=r"net\.pt: array .*: the file is closed"):
        last.read()


def test_every_type_of_the_format_is_read_or_refused_by_name(tmp_path):
    header, end = {}, 0
    for code, name in safetensors_files.DTYPES.items():
        header[code] = entry(code, [2], end, end := end + 2 * NUMBERS[name].itemsize)
    for code in ("F4", "F6_E2M3", "Q9_NEW"):
        header[code] = entry(code, [4, 2], end, end := end + {"F4": 4}.get(code, 6))
    path = written(tmp_path / "x", safetensors_of(json.dumps(header), bytes(end)))
    with opened(path) as checkpoint:
        assert len(checkpoint.arrays) == len(header)
        for a in checkpoint.arrays:
            if a.name in safetensors_files.DTYPES:
                assert a.read().dtype == NUMBERS[a.dtype]
            else:
                assert (a.dtype, a.shape) == (a.name, (4, 2))
                with pytest.raises(
                    FileFormatError, match=f"array '{a.name}': its type {a.name} is"
                ):
                    a.read()


def test_a_cut_file_is_listed_with_what_it_lacks(tmp_path):
    data = safetensors_bytes({"a": W, "b": W, "c": W})
    path = written(tmp_path / "cut", data[:-30])
    with opened(path) as checkpoint:
        (finding,) = checkpoint.findings
        assert (finding.kind, finding.severity) == ("truncated", "error")
        assert f"promises {len(data)} bytes, the file has {len(data) - 30}" in finding.text
        assert "2 of 3 arrays are cut (b, c)" in finding.text
        np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)
        with pytest.raises(FileFormatError, match="'b': expected 24 bytes"):
            checkpoint.arrays[1].read()


def test_names_of_the_same_bytes_are_tied(tmp_path):
    head = entry("F32", [2, 3], 0, 24)
    path = written(tmp_path / "x", safetensors_bytes({"embed": W}, head=head) + b"end")
    with opened(path) as checkpoint:
        a, b = checkpoint.arrays
        assert a.storage == b.storage
        assert [f.kind for f in checkpoint.findings] == ["stray", "tied"]
        assert "embed, head are the same bytes" in checkpoint.findings[1].text
        assert "3 bytes after the last array" in checkpoint.findings[0].text


F = entry("F32", [2, 3], 0, 24)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors_of("{}")[:9], "expected 2 bytes at 8"),
        (safetensors_of("[1]"), "begins with"),
        (safetensors_of("{]"), "its header is not JSON"),
        (safetensors_of('{"a": NaN}'), "has NaN"),
        (safetensors_of('{"a": ' + 3000 * "[" + "}"), "is not JSON"),
        (safetensors_of('{"a": ' + 5000 * "9" + "}"), "is not JSON"),
        (safetensors_of('{"a": 1, "a": 1}'), "unique keys in its JSON, got 'a' twice"),
        (safetensors_of('{"a": [' + 300 * "[]," + "1]}"), "more values than its arrays need"),
        (b"\xff\xff\xff\xff\0\0\0\0{", "its header has 4294967295 bytes"),
        (safetensors_bytes({"a": W}, b=entry("F32", [2], 20, 28)), "'b' overlaps"),
        (safetensors_bytes({"a": W}, b=entry("F32", [3], 0, 12)), "overlaps"),
        (
            safetensors_bytes({"a": W}, b=entry("U8", [1], 30, 31)),
            "6 bytes before array 'b' are un",
        ),
        (safetensors_bytes({"a": W}, b=entry("U8", [0], 90, 90)), "66 bytes before array 'b'"),
        (safetensors_bytes({"a": W}, a=entry("F32", [2, 4], 0, 24)), "has 24 bytes, expected 32"),
        (safetensors_bytes({"a": W}, a=entry("F4", [2, 3], 0, 24)), "has 24 bytes, expected 3 of"),
        (safetensors_bytes({"a": W}, a=entry("F32", [-2, -3], 0, 24)), "as at most 32 counts"),
        (safetensors_bytes({"a": W}, a=entry("F32", [2.0, 3], 0, 24)), "as at most 32 counts"),
        (safetensors_bytes({"a": W}, a=entry("U8", [1] * 33, 0, 1)), "as at most 32 counts"),
        (safetensors_bytes({"a": W}, a=entry("F32", [6], 24, 0)), "end before they begin"),
        (safetensors_bytes({"a": W}, a=entry("F32", [6], 0, True)), "two counts"),
        (safetensors_bytes({"a": W}, a=entry(["F32"], [6], 0, 24)), "dtype as a text"),
        (safetensors_bytes({"a": W}, a=F | {"place": "b"}), "shape and data_offsets alone in the"),
        (safetensors_bytes({"a": W}, a=[1]), "alone in the header's entry 'a'"),
        (safetensors_bytes({"a": W}, {"x": 1}), "__metadata__ as texts by name"),
        (safetensors_bytes({str(i): W[:0] for i in range(21)}), "it has 21 arrays"),
    ],
)
def test_a_header_that_contradicts_itself_is_an_error(data, message, tmp_path):
    path = written(tmp_path / "bad", data)
    arrays, (error,) = outcome(path, Limits(members=1200 if "[[[" in str(data) else 20))
    assert not arrays
    assert message in error


def test_a_boolean_is_zero_or_one(tmp_path):
    head = json.dumps({"a": entry("BOOL", [2], 0, 2)})
    path = written(tmp_path / "x", safetensors_of(head, b"\x01\x02"))
    with opened(path) as checkpoint, pytest.raises(FileFormatError, match="booleans"):
        checkpoint.arrays[0].read()
    (error,) = outcome(path, Limits(array_bytes=1))[1]
    assert "array 'a': an array has 2 bytes, expected at most 1; limits=Limits(array_bytes" in error


def test_a_damaged_file_is_right_or_one_error(tmp_path):
    path = weight_files.safetensors(tmp_path)
    good = path.read_bytes()
    errors = 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert 5 < errors < 24


def test_a_file_of_ten_gigabytes_is_listed_from_its_header(tmp_path):
    """Sparse: nearly all of it is a hole on disk, which reads as zeros."""
    count, size = 100, 100 << 20
    header = {
        f"layers.{i}.w": entry("F32", [size // 4], i * size, (i + 1) * size) for i in range(count)
    }
    path = written(tmp_path / "large", safetensors_of(json.dumps(header)))
    try:
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size + count * size)
    except OSError:
        pytest.skip("no sparse files here")
    import tracemalloc

    tracemalloc.start()
    with opened(path) as checkpoint:
        assert (len(checkpoint.arrays), checkpoint.findings) == (count, ())
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
        tracemalloc.reset_peak()
        assert not checkpoint.arrays[99].read().any()
        assert size <= tracemalloc.get_traced_memory()[1] < size + (1 << 20)
    tracemalloc.stop()

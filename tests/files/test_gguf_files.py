"""GGUF: settings and tensors of any type are listed, plain numbers are read."""

import struct

import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, gguf_bytes, gguf_text, outcome

from wsjax.files import gguf_files
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)
TENSOR = ("w", (2, 3), 0, W.tobytes())


def written(path, *args, **options):
    path.write_bytes(gguf_bytes(*args, **options))
    return path


def test_plain_numbers_are_read_and_quantised_ones_listed(tmp_path):
    path = weight_files.gguf(tmp_path)
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("gguf", ())
        assert checkpoint.metadata == {"general.name": "net", "tokens": ["a", "b"]}
        *plain, packed = checkpoint.arrays
        assert [a.name for a in plain] == list(ARRAYS)
        for a in plain:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.name])
            assert (a.dtype, a.nbytes) == (ARRAYS[a.name].dtype.name, ARRAYS[a.name].nbytes)
        assert (packed.dtype, packed.shape, packed.nbytes) == ("Q4_0", (2, 32), 36)
        with pytest.raises(FileFormatError, match=r"'packed': its type Q4_0 .* to f16 or f32"):
            packed.read()
    with pytest.raises(FileFormatError, match="the file is closed"):
        plain[0].read()


def test_every_type_of_setting(tmp_path):
    scalars = [(f"s{k}", k, struct.pack(fmt, 1)) for k, fmt in gguf_files.SCALARS.items()]
    long = struct.pack("<IQ", 5, 101) + bytes(404)
    nested = struct.pack("<IQ", 9, 2) + 2 * (struct.pack("<IQ", 0, 2) + b"\1\2")
    settings = [*scalars, ("long", 9, long), ("nested", 9, nested)]
    settings.append(("general.alignment", 4, struct.pack("<I", 64)))
    with opened(written(tmp_path / "x", [TENSOR], settings, pad=64)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)
        assert checkpoint.metadata == {
            **{f"s{k}": 1 for k in gguf_files.SCALARS},
            **{"nested": [[1, 2], [1, 2]], "general.alignment": 64},
        }


def test_a_cut_file_is_listed_with_what_it_lacks(tmp_path):
    data = gguf_bytes([TENSOR, ("b", (2, 3), 0, W.tobytes())])
    (tmp_path / "x").write_bytes(data[:-20])
    with opened(tmp_path / "x") as checkpoint:
        (finding,) = checkpoint.findings
        assert (finding.kind, finding.severity) == ("truncated", "error")
        assert finding.text.endswith("1 of 2 tensors are cut (b)")
        np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)
        with pytest.raises(FileFormatError, match="expected 24 bytes"):
            checkpoint.arrays[1].read()


def patched(data, old, new):
    assert old in data
    return data.replace(old, new, 1)


GOOD = gguf_bytes([TENSOR, ("b", (2, 3), 0, W.tobytes())], [("key", 8, gguf_text("x"))])
NEST = b"".join(struct.pack("<IQ", 9, 1) for _ in range(20))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF\1\0\0\0", "version 2 or 3, got 1"),
        (b"GGUF\0\0\0\3", "of big-endian numbers"),
        (GOOD[:20], "cut short or damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "limits=Limits(members"),
        (patched(GOOD, gguf_text("key"), struct.pack("<Q", 1 << 62) + b"key"), "bytes of texts"),
        (gguf_bytes([TENSOR], [("a", 7, b"\1"), ("a", 7, b"\1")]), "unique settings"),
        (gguf_bytes([TENSOR], [("a", 13, b"\1")]), "type 13, which is not known"),
        (gguf_bytes([TENSOR], [("a", 9, NEST)]), "lists at most 8 deep"),
        (gguf_bytes([TENSOR], [("a", 9, struct.pack("<IQ", 5, 1 << 61))]), "cut short or damaged"),
        (gguf_bytes([TENSOR], [("a", 9, struct.pack("<IQ", 8, 1 << 61))]), "limits=Limits(members"),
        (gguf_bytes([TENSOR], [("general.alignment", 4, bytes(4))]), "alignment in bytes, got 0"),
        (gguf_bytes([TENSOR], [("general.alignment", 8, gguf_text("a"))]), "alignment in bytes"),
        (gguf_bytes([("w", (1,) * 9, 0, b"")]), "has 9 axes, expected at most 8"),
        (gguf_bytes([("w", (1 << 40, 1 << 40), 0, b"")]), "of too many numbers"),
        (gguf_bytes([("w", (2, 3), 2, b"")]), "not made of blocks of 32"),
        (gguf_bytes([TENSOR, TENSOR]), "unique names, got 'w' twice"),
        (patched(GOOD, struct.pack("<IQ", 0, 32), struct.pack("<IQ", 0, 8)), "'w' and 'b' overlap"),
    ],
)
def test_a_header_that_contradicts_itself_is_an_error(data, message, tmp_path):
    (tmp_path / "bad").write_bytes(data)
    arrays, errors = outcome(tmp_path / "bad", memory=1 << 20)
    assert not arrays
    assert message in errors[0]


def test_sizes_of_blocks_are_those_of_the_library():
    gguf = pytest.importorskip("gguf")
    for code, (name, *sizes) in gguf_files.BLOCKS.items():
        kind = gguf.GGMLQuantizationType(code)
        assert kind.name == name
        assert tuple(sizes) == tuple(gguf.GGML_QUANT_SIZES[kind])


def test_types_that_are_not_known_are_listed(tmp_path):
    path = written(tmp_path / "x", [("w", (2, 3), 99, b"")])
    with opened(path, Limits(members=1)) as checkpoint:
        assert checkpoint.arrays[0].dtype == "ggml type 99"
    assert "is listed but not read" in outcome(path)[1][0]


def test_a_damaged_file_is_right_or_one_error(tmp_path):
    path = weight_files.gguf(tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += len(outcome(path)[1]) > 1 or len(outcome(path)[0]) < len(ARRAYS)
    assert errors > 3

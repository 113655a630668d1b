"""ONNX models: every tensor, wherever its numbers lie, and none from outside the folder."""

import struct

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, onnx_model, onnx_node, onnx_tensor, outcome, proto

from experiments.foreign_files import writers
from wsjax.files import onnx_files, onnx_tensors, protobuf
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)


def written(path, *fields):
    path.write_bytes(onnx_model(*fields))
    return path


def beside(**pairs):
    return (*((13, proto((1, k), (2, v))) for k, v in pairs.items()), (14, 1))


def test_initialisers_constants_and_files_beside(tmp_path):
    path = weight_files.onnx(tmp_path)
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("onnx", ())
        assert {a.path for a in checkpoint.arrays} == {(k,) for k in ARRAYS}
        for a in checkpoint.arrays:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.name])
            assert (a.shape, a.dtype) == (ARRAYS[a.name].shape, ARRAYS[a.name].dtype.name)
            assert a.nbytes == ARRAYS[a.name].nbytes
        assert checkpoint.metadata["producer"] == "by hand"
        assert checkpoint.metadata["nodes"] == [["Constant", [], ["steps"]]]
        last = checkpoint.arrays[-2]
        assert last.name == "enc.1.weight"
    with pytest.raises(FileFormatError, match="the file is closed"):
        last.read()


def test_missing_and_cut_files_beside_are_said(tmp_path):
    path = weight_files.onnx(tmp_path)
    for change, said in (
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), "the file net.data beside the model is cut"),
        (lambda p: p.unlink(), "the file net.data beside the model is missing"),
    ):
        change(tmp_path / "net.data")
        with opened(path) as checkpoint:
            (finding,) = checkpoint.findings
            assert (finding.kind, finding.severity) == ("missing", "error")
            assert finding.text.startswith(said)
            assert finding.text.endswith("1 arrays (enc.1.weight)")
        arrays, (error,) = outcome(path)
        assert len(arrays) == 4
        assert "array 'enc.1.weight': " in error


@pytest.mark.parametrize(
    "place", ["../secret", "/etc/passwd", "", ".", "a/../../secret", "link", "a//b", "a\0b"]
)
def test_files_beside_are_in_the_models_folder(place, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    path = written(tmp_path / "in" / "net.onnx", (5, onnx_tensor("w", W, *beside(location=place))))
    arrays, (error,) = outcome(path)
    assert not arrays
    assert "outside the folder" in error or "a link to elsewhere" in error


def test_a_cache_of_links_is_followed_to_where_the_model_is(tmp_path):
    for folder in ("blobs", "snapshot"):
        (tmp_path / folder).mkdir()
    written(tmp_path / "blobs" / "1", (5, onnx_tensor("w", W, *beside(location="net.data"))))
    (tmp_path / "blobs" / "2").write_bytes(W.tobytes())
    (tmp_path / "snapshot" / "net.onnx").symlink_to("../blobs/1")
    (tmp_path / "snapshot" / "net.data").symlink_to("../blobs/2")
    arrays, errors = outcome(tmp_path / "snapshot" / "net.onnx")
    assert not errors
    np.testing.assert_array_equal(arrays["w"], W)


def varints(*numbers):
    return b"".join(writers.varint(n % (1 << 64)) for n in numbers)


TYPED = [
    (1, 4, struct.pack("<2f", 1.5, -2), np.array([1.5, -2], "f4")),
    (11, 10, struct.pack("<2d", 1.5, -2), np.array([1.5, -2])),
    (14, 4, struct.pack("<4f", 1, 2, 3, 4), np.array([1 + 2j, 3 + 4j], "c8")),
    (7, 7, varints(-3, 1 << 40), np.array([-3, 1 << 40])),
    (13, 11, varints(1, (1 << 64) - 1), np.array([1, (1 << 64) - 1], "u8")),
    (12, 11, varints(1, (1 << 32) - 1), np.array([1, (1 << 32) - 1], "u4")),
    (6, 5, varints(-3, 300), np.array([-3, 300], "i4")),
    (3, 5, varints(-3, 100), np.array([-3, 100], "i1")),
    (9, 5, varints(0, 1), np.array([False, True])),
    (10, 5, varints(0x3E00, 0xC000), np.array([1.5, -2], "f2")),
    (16, 5, varints(0x3FC0, 0xC000), np.array([1.5, -2]).astype(ml_dtypes.bfloat16)),
    (17, 5, varints(0x3C, 0xC0), np.array([1.5, -2]).astype(ml_dtypes.float8_e4m3fn)),
]


@pytest.mark.parametrize(("code", "field", "data", "expected"), TYPED)
def test_numbers_in_a_field_of_their_type(code, field, data, expected, tmp_path):
    tensor = proto((1, 2), (2, code), (8, "w"), (field, data))
    arrays, errors = outcome(written(tmp_path / "net.onnx", (5, tensor)))
    assert not errors
    np.testing.assert_array_equal(arrays["w"], expected)
    assert arrays["w"].dtype == expected.dtype


def test_every_way_to_write_a_constant(tmp_path):
    floats = proto((1, "value_floats")) + b"\x3d" + struct.pack("<f", 1.5)
    floats += b"\x3d" + struct.pack("<f", 2)
    one = proto((1, "value_float")) + b"\x15" + struct.pack("<f", 2.5)
    branch = proto((1, "then_branch"), (6, proto((5, onnx_tensor("w", W)))))
    sparse = proto((1, "sparse_value"), (22, b""))
    function = proto((1, "Block"), (7, onnx_node("Constant", ["c"], one)))
    nodes = [
        onnx_node("Constant", ["a"], floats),
        onnx_node("Constant", ["b"], one),
        onnx_node("Constant", ["i"], proto((1, "value_ints"), (8, -3), (8, 4))),
        onnx_node("Constant", ["s"], sparse),
        onnx_node("If", ["out"], branch),
    ]
    path = written(tmp_path / "net.onnx", *((1, n) for n in nodes))
    path.write_bytes(path.read_bytes() + proto((25, function)))
    with opened(path) as checkpoint:
        read = {a.name: a.read() for a in checkpoint.arrays}
        assert [f.kind for f in checkpoint.findings] == ["refused"]
    expected = {"a": np.array([1.5, 2], "f4"), "b": np.float32(2.5), "i": np.array([-3, 4])}
    expected |= {"out/then_branch/w": W, "Block/c": np.float32(2.5)}
    assert set(read) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


BAD = [
    ((5, onnx_tensor("w", W)[:-4] + b"\x08"), "the file is cut short or damaged"),
    ((5, proto((1, 5), (2, 1), (8, "w"), (9, bytes(24)))), "24 bytes, expected 20"),
    ((5, proto((1, -5), (2, 1), (8, "w"))), "at most 32 counts"),
    ((5, proto(*[(1, 1)] * 33, (2, 1), (8, "w"))), "at most 32 counts"),
    ((5, proto((1, 1), (2, 1), (9, bytes(4)), (4, bytes(4)))), "more than one field"),
    ((5, proto((1, 1), (2, 7), (4, bytes(4)))), "numbers of another type"),
    ((5, proto((1, 1), (2, 1), (3, b""))), "a segment of a larger one"),
    ((5, proto((1, 1), (2, 1), (8, b"\xff"))), "a text in it is damaged"),
    ((5, proto((1, b"\x80"))), "its last number is cut short"),
    ((5, proto((1, b"\x80" * 10 + b"\x01"))), "more than ten bytes"),
    ((5, b"\x0b"), "wire type 3"),
    ((5, b"\x00\x00"), "number 0"),
    ((5, 3), "expected bytes in a field"),
    ((5, proto((2, b"x"))), "expected a whole number"),
    ((5, onnx_tensor("w", W, *beside(location="x", offset="-1"))), "expected a count in the place"),
    ((5, onnx_tensor("w", W, *beside(location="x", length="7"))), "has 7 bytes in 'x', not 24"),
]


@pytest.mark.parametrize(("field", "message"), BAD)
def test_a_damaged_model_is_one_error(field, message, tmp_path):
    arrays, (error,) = outcome(written(tmp_path / "net.onnx", field), memory=1 << 20)
    assert not arrays
    assert message in error


def test_limits(tmp_path):
    path = written(tmp_path / "net.onnx", *[(5, onnx_tensor(str(i), W)) for i in range(40)])
    assert "limits=Limits(members" in outcome(path, Limits(members=10))[1][0]
    assert "limits=Limits(header_bytes" in outcome(path, Limits(header_bytes=9))[1][0]
    assert "limits=Limits(array_bytes" in outcome(path, Limits(array_bytes=9))[1][0]
    deep = onnx_tensor("w", W)
    deep = proto((5, deep))
    for _ in range(onnx_files.GRAPHS + 1):
        deep = proto((1, onnx_node("If", ["o"], proto((1, "then"), (6, deep)))))
    path.write_bytes(proto((1, 8), (7, deep)))
    assert "at most 20 deep" in outcome(path)[1][0]
    path.write_bytes(proto((1, 8), (2, "nothing")))
    assert "one graph, found 0" in outcome(path)[1][0]
    tensor = proto((1, 2), (2, 22), (8, "packed"), (9, b"a"))
    with opened(written(path, (5, tensor), (5, proto((1, 2), (2, 1), (8, "none"))))) as checkpoint:
        assert (checkpoint.arrays[0].dtype, checkpoint.arrays[0].nbytes) == ("INT4", 1)
        with pytest.raises(FileFormatError, match="its type INT4 is listed"):
            checkpoint.arrays[0].read()
        with pytest.raises(FileFormatError, match="does not hold its numbers"):
            checkpoint.arrays[1].read()
        assert onnx_tensors.TYPES[1] == "float32"


def test_numbers_in_a_row():
    numbers = [0, 127, 128, 300, (1 << 64) - 1, 1 << 62]
    found = protobuf.varints(np.frombuffer(varints(*numbers), np.uint8))
    assert found.tolist() == numbers
    assert protobuf.varints(np.zeros(0, np.uint8)).tolist() == []


def test_a_model_as_the_library_writes_it(tmp_path):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    kinds = ["f4", "f8", "f2", "i8", "i4", "u1", "b1", "c8"]
    tensors = [onnx.numpy_helper.from_array(W.astype(k), k) for k in kinds]
    typed = make.make_tensor("typed", onnx.TensorProto.FLOAT16, [2], [1.5, -2.0])
    value = onnx.numpy_helper.from_array(W, "value")
    nodes = [
        make.make_node("Constant", [], ["c"], value=value),
        make.make_node("Relu", ["c"], ["y"]),
    ]
    output = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])
    graph = make.make_graph(nodes, "net", [], [output], [*tensors, typed])
    model = make.make_model(graph)
    onnx.save(model, tmp_path / "net.onnx")
    onnx.save(
        model,
        tmp_path / "outside.onnx",
        save_as_external_data=True,
        location="outside.data",
        size_threshold=0,
    )
    for name in ("net.onnx", "outside.onnx"):
        arrays, errors = outcome(tmp_path / name)
        assert not errors
        assert set(arrays) == {*kinds, "typed", "c"}
        for k in kinds:
            np.testing.assert_array_equal(arrays[k], W.astype(k))
        np.testing.assert_array_equal(arrays["typed"], np.array([1.5, -2], "f2"))
        np.testing.assert_array_equal(arrays["c"], W)


def test_a_damaged_file_is_right_or_one_error(tmp_path):
    path = weight_files.onnx(tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert errors > 3

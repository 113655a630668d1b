"""NumPy's files: read as NumPy reads them, without its pickles, and no larger than they say."""

import zipfile

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.weight_files import ARRAYS, outcome

from wsjax.files import numpy_files, zips
from wsjax.files.checkpoint import FileFormatError, Limits
from wsjax.files.detection import opened
from wsjax.files.disk import BytesOf

W = np.arange(6, dtype="f4").reshape(2, 3)


DATA = W.tobytes()


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def npy(descr="'<f4'", shape="(2, 3)", rest="", data=DATA):
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{rest}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize("kind", ["npz", "npz compressed"])
def test_what_numpy_saves_is_read(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    with opened(path) as checkpoint:
        assert (checkpoint.format, checkpoint.findings) == ("npz", ())
        assert [a.name for a in checkpoint.arrays] == list(ARRAYS)
        for a in checkpoint.arrays:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.name])
            assert (a.dtype, a.shape) == (ARRAYS[a.name].dtype.name, ARRAYS[a.name].shape)
            assert a.nbytes == ARRAYS[a.name].nbytes
        assert len({a.storage for a in checkpoint.arrays}) == len(ARRAYS)
        last = checkpoint.arrays[0]
    with pytest.raises(FileFormatError, match=r"net\.npz: array .*: the file is closed"):
        last.read()


@pytest.mark.parametrize(
    "array",
    [W, np.asfortranarray(W), W.astype(">f8"), W > 2, W.astype("c8"), np.float32(2), W[:0]],
    ids=lambda a: f"{a.dtype.str}{a.shape}",
)
def test_one_array_is_read_whatever_its_order(array, tmp_path):
    np.save(tmp_path / "w.npy", array)
    with opened(tmp_path / "w.npy") as checkpoint:
        (a,) = checkpoint.arrays
        assert (checkpoint.format, a.path) == ("npy", ("w",))
        read = a.read()
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative
    assert read.dtype.name == a.dtype


def test_objects_records_texts_and_nameless_types_are_listed_only(tmp_path):
    arrays = {
        "objects": np.array([{"a": 1}, None], object),
        "records": np.zeros(2, [("x", "f4"), ("y", "i8")]),
        "texts": np.array(["a", "bc"]),
        "brain": W.astype(ml_dtypes.bfloat16),
    }
    np.savez(tmp_path / "net.npz", w=W, **arrays)
    with opened(tmp_path / "net.npz") as checkpoint:
        types = {a.name: a.dtype for a in checkpoint.arrays}
        for a in checkpoint.arrays[1:]:
            with pytest.raises(FileFormatError, match=f"'{a.name}': its type .*save it again as"):
                a.read()
        np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)
    assert types == {
        **{"w": "float32", "objects": "|O", "texts": "<U2", "brain": "<V2"},
        "records": "[('x', '<f4'), ('y', '<i8')]",
    }


def test_a_bomb_is_listed_and_not_unpacked(tmp_path):
    size = 3 << 20
    path = npz(tmp_path / "bomb.npz", w=npy("'|u1'", f"({size},)", data=bytes(size)))
    assert path.stat().st_size < size // 500
    arrays, errors = outcome(path, Limits(unpacked_bytes=size - 1), memory=1 << 20)
    assert not arrays
    assert f"become {size}, expected at most {size - 1}; limits=Limits(unpacked_b" in errors[0]
    assert f"it has {size} bytes, exp" in outcome(path, Limits(array_bytes=9))[1][0]
    assert not outcome(path)[0]["w"].any()


def test_a_cut_array_is_listed_with_what_it_lacks(tmp_path):
    np.save(tmp_path / "w.npy", W)
    data = (tmp_path / "w.npy").read_bytes()
    for change, kind, severity in (
        (data[:-4], "truncated", "error"),
        (data + b"x", "stray", "warning"),
    ):
        (tmp_path / "w.npy").write_bytes(change)
        with opened(tmp_path / "w.npy") as checkpoint:
            assert [(f.kind, f.severity) for f in checkpoint.findings] == [(kind, severity)]
            if kind == "truncated":
                with pytest.raises(FileFormatError, match="expected 24 bytes at 128"):
                    checkpoint.arrays[0].read()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "begins otherwise"),
        (b"\x93NUMPY", "cut short"),
        (b"\x93NUMPY\x09\x00" + bytes(90), "of another version"),
        (npy()[:30], "cut short"),
        (npy("__import__('os')"), "an array's header is damaged"),
        (npy("-" * 9000), "an array's header is damaged"),
        (npy(rest=" " * 11_000), "too large"),
        (npy("(" * 200), "an array's header is damaged"),
        (npy(rest=", 'more': 1"), "expected descr, fortran_order and shape in"),
        (npy(shape="(2, -3)"), "at most 32 counts"),
        (npy(shape="(2, 3.0)"), "at most 32 counts"),
        (npy(shape="(1,) * 2"), "damaged"),
        (npy(shape="(1,)").replace(b"False", b"12345"), "True or False"),
        (npy(shape="(2, 4)"), "expected 32 bytes of numbers of shape"),
        (npy(shape="(1 << 40, 1)"), "damaged"),
        (npy(shape="(1000000000000,)"), "expected 4000000000000 bytes of numbers"),
    ],
)
def test_a_header_that_contradicts_itself_is_an_error(data, message, tmp_path):
    arrays, (error,) = outcome(npz(tmp_path / "bad.npz", w=data))
    assert not arrays
    assert message in error
    assert "member 'w.npy'" in error


def test_other_members_are_reported(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, w=W)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("notes.txt", "hello")
    with opened(path) as checkpoint:
        assert [f.text for f in checkpoint.findings] == [
            "1 members are no arrays and are not read (notes.txt)"
        ]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "hello")
    assert "its members are notes.txt" in outcome(path)[1][0]


def test_a_header_states_how_numbers_lie():
    about = numpy_files.header(npy("'>i2'", "(3,)"))
    assert (about.dtype, about.order, about.shape, about.nbytes) == ("int16", ">", (3,), 6)
    assert numpy_files.header(npy("'|O'")).nbytes is None


@pytest.mark.parametrize("error", [AttributeError, NameError, TypeError])
def test_an_error_of_the_program_is_no_damage(error, tmp_path, monkeypatch):
    def wrong(_):
        raise error("wrong")

    monkeypatch.setattr(zips, "_directory_bytes", wrong)
    with pytest.raises(error, match="wrong"):
        outcome(weight_files.npz(tmp_path))


def test_a_member_lies_where_the_directory_says(tmp_path):
    path = weight_files.npz(tmp_path)
    with BytesOf(path) as file:
        members = zips.Zip(file, Limits())
        name = "enc.0.bias.npy"
        size = members.members[name].file_size
        assert file.bytes(members.place(name), size) == members.read(name, size)
        with pytest.raises(FileFormatError, match="expected at most 9"):
            members.read(name, 9)
        with pytest.raises(FileFormatError, match=r"member 'no\.npy', it is missing"):
            members.read("no.npy", 9)
        members.members[name].header_offset += 1
        with pytest.raises(FileFormatError, match="is not there"):
            members.place(name)


@pytest.mark.parametrize("kind", ["npz", "npz compressed", "npy"])
def test_a_damaged_file_is_right_or_one_error(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        arrays, failed = outcome(path)
        errors += bool(failed)
        if kind != "npy":  # which has no checksum
            for name, array in arrays.items():
                if name in ARRAYS:
                    np.testing.assert_array_equal(array, ARRAYS[name])
    assert errors > 5

"""Files of PyTorch: what it writes is read as it is, and no file takes more than it has."""

import hashlib
import io
import struct
import zipfile

import numpy as np
import pytest
from cases import torch_by_hand
from cases.torch_by_hand import Inline, Instance, Path, State

from wsjax.files import pickles, torch_files
from wsjax.files.torch_files import Limits, TorchFileError


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def nothing(key, most):
    raise AssertionError(f"a storage {key} was read")


def file_of(program, path):
    torch_by_hand.archive(path, program)
    return path


def test_compressed_members_are_errors(tmp_path):
    path = tmp_path / "bomb.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", [bytes(1 << 20)], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(TorchFileError, match="it has compressed or encrypted members"):
        torch_files.state(path)


def test_overlapping_members_are_errors(tmp_path):
    path = tmp_path / "bomb.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", [bytes(5000)])
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        offset = file.getinfo("bomb/data/0").header_offset
    at = data.index(b"PK\x01\x02")
    entry = lambda n: data.index(n, at)  # of the directory: two members take the same bytes
    for member in (b"bomb/version", b"bomb/.data/serialization_id"):
        end = entry(member)
        data[end - 4 : end] = struct.pack("<I", offset)
        data[end - 26 : end - 18] = struct.pack("<II", 5000, 5000)
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match="its members overlap: together"):
        torch_files.state(path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=100), "bytes, expected at most 100"),
        (Limits(pickle_bytes=10), "'data.pkl' has [0-9]+ bytes, expected at most 10"),
        (Limits(members=3), "at most 3 members"),
        (Limits(members=1), "at most 1 members, it has room for more"),
    ],
)
def test_limits(limits, message, tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.write(path, {"a": np.ones(3, "f4")})
    assert set(torch_files.state(path)) == {"a"}
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path, limits)


def storage(key, count, shape, strides, offset=0, kind="Float"):
    p = torch_by_hand.Program()
    p.name("torch._utils._rebuild_tensor_v2")

    def stored():
        p.tuple(["storage", lambda: p.name(f"torch.{kind}Storage"), key, "cpu", count])
        p.out.append(b"Q")

    p.tuple([stored, offset, shape, strides, False, p.ordered])
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"".join(p.out[1:]) + b"Rs."


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (storage("../../secret", 3, (3,), (1,)), r"member 'bad/data/../../secret', it is missing"),
        (storage("7", 3, (3,), (1,)), "missing"),
        (storage("0", 2, (2,), (1,)), "12 bytes, expected at most 8"),
        (storage("0", 4, (4,), (1,)), "has 12 bytes, expected 16"),
        (storage("0", 3, (4,), (1,)), "within its storage of 3"),
        (storage("0", 3, (2, 2), (1, 1), 2), "within its storage"),
        (storage("0", 3, (3,), (1,), 1), "within its storage"),
        (storage("0", 3, (1 << 30, 1 << 30), (0, 0)), "within its storage"),
        (storage("0", 3, (3,), (1, 1)), "stride each"),
        (storage("0", 3, (1,) * 20, (1,) * 20), "at most 8 axes"),
        (storage("0", 3, (-1,), (1,)), "counts"),
        (storage("0", 3, (2,), (-1,), 1), "counts"),
        (storage("0", 3, (2.0,), (1,)), "counts"),
        (storage("0", True, (2,), (1,)), "name and length"),
        (storage("0", 3, (3,), (1,), kind="ComplexFloat"), "torch.ComplexFloatStorage"),
        (b"\x80\x02K\x01Q.", "reference to a storage"),
    ],
)
def test_tensors_that_are_not_in_the_file(program, message, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    path = tmp_path / "bad.pth"
    torch_by_hand.archive(path, program, [np.arange(3, dtype="<f4").tobytes()])
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path)


def test_a_damaged_file_is_one_error_wherever_it_ends_or_differs(tmp_path):
    path = tmp_path / "net.pth"
    kinds = {"coef": [1.5, 2.5], "x": Inline(np.arange(4.0)), "a": np.ones((2, 3), "f4")}
    torch_by_hand.write(path, State(kinds, ("", "seq")))
    good, rng = path.read_bytes(), np.random.default_rng(0)
    for end in rng.integers(0, len(good), 60):
        path.write_bytes(good[:end])
        with pytest.raises(TorchFileError, match=r"net\.pth: "):
            torch_files.state(path)
    program, _ = torch_by_hand.program(State(kinds, ("", "seq")))
    errors = 0
    for _ in range(600):
        bad = bytearray(program)
        for at in rng.integers(0, len(bad), rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        try:
            pickles.rebuild(bytes(bad), nothing)
        except TorchFileError:
            errors += 1
    assert errors > 200
    at = good.index(np.ones((2, 3), "f4").tobytes())
    path.write_bytes(good[:at] + b"\x01" + good[at + 1 :])
    with pytest.raises(TorchFileError, match="CRC"):
        torch_files.state(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins otherwise"),
        (b"hello", "begins otherwise"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6"),
        (b"PK\x03\x04", "cut short"),
    ],
)
def test_what_is_no_file_of_pytorch(data, message, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match=message):
        torch_files.state(path)
    with pytest.raises(FileNotFoundError, match=r"PyTorch file at .*absent\.pth, found none"):
        torch_files.state(tmp_path / "absent.pth")


def test_what_the_zip_must_hold(tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", more=[("other/data.pkl", b"\x80\x02N.")])
    with pytest.raises(TorchFileError, match=r"one member NAME/data\.pkl, found 2"):
        torch_files.state(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        torch_by_hand.archive(path, b"\x80\x02N.", more=[("net/version", b"4\n")])
    with pytest.raises(TorchFileError, match="different names"):
        torch_files.state(path)
    torch_by_hand.archive(path, b"\x80\x02K\x01.")
    with pytest.raises(TorchFileError, match="arrays by name, got a int"):
        torch_files.state(path)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {m: file.read(m) for m in file.namelist()} | {"net/byteorder": b"big"}
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    with pytest.raises(TorchFileError, match="big-endian"):
        torch_files.state(path)


# What is read


def test_a_state_dict_as_pytorch_writes_it(tmp_path):
    """The pickle of a network 2-32-32-1 is PyTorch 2.15's, to the byte."""
    shapes = {"0.weight": (32, 2), "0.bias": (32,), "1.weight": (32, 32), "1.bias": (32,)}
    shapes |= {"2.weight": (1, 32), "2.bias": (1,)}
    rng = np.random.default_rng(0)
    arrays = {f"seq.{k}": rng.normal(size=s).astype("f4") for k, s in shapes.items()}
    saved = State(arrays, ("", "seq", "seq.0", "seq.1", "seq.2"))
    program, _ = torch_by_hand.program(saved)
    digest = hashlib.sha256(program).hexdigest()
    assert digest == "dffe2ada15348386c12276f08ebb70b0165847ff42169c7bb6bd1ac76bfbf38e"
    torch_by_hand.write(tmp_path / "model_final.pth", saved)
    found = torch_files.state(tmp_path / "model_final.pth")
    assert list(found) == list(arrays)
    for k, array in arrays.items():
        np.testing.assert_array_equal(found[k], array)
        assert found[k].dtype == np.float32


def test_other_kinds_of_things(tmp_path):
    path = tmp_path / "kinds.pth"
    arrays = {k: np.arange(6).reshape(2, 3).astype(k) for k in ("f8", "i8", "f2", "u1", "b1")}
    arrays |= {"scalar": np.array(2.5, "f4"), "empty": np.zeros((0, 3), "f4")}
    rest = {"inline": Inline(np.arange(6.0).reshape(2, 3)), "path": Path("/a/b"), "none": None}
    rest |= {"record": Instance("zoo.Dataset", {"epochs": [1, 2], "large": 70_000})}
    torch_by_hand.write(path, {**arrays, **rest})
    with torch_files.opened(path, ["zoo.Dataset"]) as found:
        for k, array in arrays.items():
            np.testing.assert_array_equal(found[k].array(), array)
        np.testing.assert_array_equal(found["inline"].array(), np.arange(6.0).reshape(2, 3))
        assert (found["path"], found["none"]) == ("/a/b", None)
        assert found["record"].fields == {"epochs": [1, 2], "large": 70_000}
    with pytest.raises(TorchFileError, match=r"names 'zoo\.Dataset'"):
        torch_files.state(path)


def test_a_view_of_a_storage(tmp_path):
    path = tmp_path / "view.pth"
    torch_by_hand.archive(path, storage("0", 6, (2, 2), (1, 3), 1), [np.arange(6, dtype="<f4")])
    np.testing.assert_array_equal(torch_files.state(path)["a"], [[1, 4], [2, 5]])
    bfloat = np.array([1.5, -2.0], "<f4").view("<u2")[1::2].tobytes()
    torch_by_hand.archive(path, storage("0", 2, (2,), (1,), kind="BFloat16"), [bfloat])
    np.testing.assert_array_equal(torch_files.state(path)["a"], np.array([1.5, -2.0], "f4"))


def test_files_that_pytorch_itself_writes(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(4, 2))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    found = torch_files.state(tmp_path / "net.pth")
    for k, array in net.state_dict().items():
        np.testing.assert_array_equal(found[k], array.numpy())
    old = tmp_path / "old.pth"
    torch.save(net.state_dict(), old, _use_new_zipfile_serialization=False)
    with pytest.raises(TorchFileError, match=r"before version 1\.6"):
        torch_files.state(old)

"""Files of PyTorch: what it writes is read as it is, and no file takes more than it has."""

import errno
import hashlib
import io
import struct
import zipfile

import numpy as np
import pytest
from cases import torch_by_hand
from cases.torch_by_hand import Inline, Instance, Path, State

from wsjax.files import pickles, torch_files
from wsjax.files.torch_files import FileFormatError, Limits


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def file_of(program, path):
    torch_by_hand.archive(path, program)
    return path


def test_compressed_members_are_errors(tmp_path):
    path = tmp_path / "bomb.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", [bytes(1 << 20)], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(FileFormatError, match="it has compressed members"):
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
    with pytest.raises(FileFormatError, match="its members overlap: together"):
        torch_files.state(path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=100), r"at most 100; limits=Limits\(file_bytes=...\) allows more"),
        (Limits(pickle_bytes=10), r"'data.pkl' has [0-9]+ bytes, .* 10; limits=Limits\(pickle_b"),
        (Limits(members=3), r"it has 7 members, expected at most 3; limits=Limits\(members="),
        (Limits(members=1), r"it has room for [0-9]+ members, expected at most 1;"),
        (Limits(total_bytes=11), r"too large in all, .* at most 11; limits=Limits\(total_bytes="),
    ],
)
def test_limits(limits, message, tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.write(path, {"a": np.ones(3, "f4")})
    assert set(torch_files.state(path)) == {"a"}
    with pytest.raises(FileFormatError, match=message):
        torch_files.state(path, limits)


def numbers(key, count, shape, strides, offset=0, kind="Float"):
    p = torch_by_hand.Program()
    p.name("torch._utils._rebuild_tensor_v2")

    def stored():
        p.tuple(["storage", lambda: p.name(f"torch.{kind}Storage"), key, "cpu", count])
        p.out.append(b"Q")

    p.tuple([stored, offset, shape, strides, False, p.ordered])
    return b"".join(p.out[1:]) + b"R"


def storage(*arguments, **options):
    return b"\x80\x02}" + text("a") + numbers(*arguments, **options) + b"s."


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
        (storage("0", 3, (1 << 30, 1 << 30), (0, 0)), "too large in all"),
        (storage("0", 3, (0, 1 << 59, 1 << 59), (1, 1, 1)), "too large in all"),
        (storage("0", 12, (2,), (1,), kind="Bool"), "booleans has bytes other than 0 and 1"),
        (storage("0", 3, (3,), (1, 1)), "stride each"),
        (storage("0", 3, (1,) * 20, (1,) * 20), "at most 8 axes"),
        (storage("0", 3, (-1,), (1,)), "counts"),
        (storage("0", 3, (2,), (-1,), 1), "counts"),
        (storage("0", 3, (2.0,), (1,)), "counts"),
        (storage("0", True, (2,), (1,)), "name and length"),
        (
            storage("0", 3, (3,), (1,), kind="QInt8"),
            "names 'torch.QInt8Storage'",
        ),
        (b"\x80\x02K\x01Q.", "reference to a storage"),
    ],
)
def test_tensors_that_are_not_in_the_file(program, message, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    path = tmp_path / "bad.pth"
    torch_by_hand.archive(path, program, [np.arange(3, dtype="<f4").tobytes()])
    with pytest.raises(FileFormatError, match=message):
        torch_files.state(path)


def test_a_damaged_file_is_one_error_wherever_it_ends_or_differs(tmp_path):
    path = tmp_path / "net.pth"
    kinds = {"coef": [1.5, 2.5], "x": Inline(np.arange(4.0)), "a": np.ones((2, 3), "f4")}
    torch_by_hand.write(path, State(kinds, ("", "seq")))
    good, rng = path.read_bytes(), np.random.default_rng(0)
    for end in rng.integers(0, len(good), 60):
        path.write_bytes(good[:end])
        with pytest.raises(FileFormatError, match=r"net\.pth: "):
            torch_files.state(path)
    program, _ = torch_by_hand.program(State(kinds, ("", "seq")))
    errors = 0
    for _ in range(600):
        bad = bytearray(program)
        for at in rng.integers(0, len(bad), rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        try:
            pickles.rebuild(bytes(bad), None)
        except FileFormatError:
            errors += 1
    assert errors > 200
    at = good.index(np.ones((2, 3), "f4").tobytes())
    path.write_bytes(good[:at] + b"\x01" + good[at + 1 :])
    with pytest.raises(FileFormatError, match="CRC"):
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
    with pytest.raises(FileFormatError, match=message):
        torch_files.state(path)
    with pytest.raises(FileNotFoundError, match=r"PyTorch file at .*absent\.pth, found none"):
        torch_files.state(tmp_path / "absent.pth")


def test_what_the_zip_must_hold(tmp_path):
    path = tmp_path / "net.pth"
    torch_by_hand.archive(path, b"\x80\x02N.", more=[("other/data.pkl", b"\x80\x02N.")])
    with pytest.raises(FileFormatError, match=r"one member NAME/data\.pkl, found 2"):
        torch_files.state(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        torch_by_hand.archive(path, b"\x80\x02N.", more=[("net/version", b"4\n")])
    with pytest.raises(FileFormatError, match="different names"):
        torch_files.state(path)
    torch_by_hand.archive(path, b"\x80\x02K\x01.")
    with pytest.raises(FileFormatError, match="arrays by name, got a int"):
        torch_files.state(path)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {m: file.read(m) for m in file.namelist()} | {"net/byteorder": b"big"}
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    with pytest.raises(FileFormatError, match="big-endian"):
        torch_files.state(path)


def without(path, *members):
    """Drops members of a file."""
    data = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if not name.endswith(members):
                new.writestr(name, old.read(name))


@pytest.mark.parametrize("dropped", [(), ("byteorder",)])
def test_a_file_altered_anywhere_is_right_or_one_error(dropped, tmp_path):
    """Holes, cuts, insertions and flips: `zipfile` raises nearly anything of them."""
    path = tmp_path / "net.pth"
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(4, "f8")}
    torch_by_hand.write(path, {"model": State(arrays), "epoch": 3})
    without(path, "serialization_id", *dropped)
    good, rng, right, messages = path.read_bytes(), np.random.default_rng(0), 0, []
    for i in range(400):
        at, count = rng.integers(len(good)), rng.choice([1, 4, 40, 400])
        head, taken, tail = good[:at], good[at : at + count], good[at + count :]
        bad = (bytes(len(taken)), b"", taken + rng.bytes(count), rng.bytes(len(taken)))[i % 4]
        path.write_bytes(head + bad + tail)
        try:
            found = torch_files.state(path)
        except FileFormatError as error:
            messages.append(str(error))
        else:
            right += 1
            assert found["epoch"] == 3
            for k, array in arrays.items():
                np.testing.assert_array_equal(found["model"][k], array)
    assert 10 < right < 200
    assert all(message.startswith(f"{path}: ") for message in messages)


def test_a_directory_is_as_large_as_zipfile_takes_it_to_be(tmp_path):
    """A zip64 record is where its locator says, or before the locator: the larger one counts."""
    path = tmp_path / "net.pth"
    torch_by_hand.archive(path, b"\x80\x02}.")
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    record = lambda size: b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 7, 7, size, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    path.write_bytes(data[:end] + record(9) + record(1 << 40) + locator + data[end:])
    with pytest.raises(FileFormatError, match=r"it has room for 23902\d+ members"):
        torch_files.state(path)


def test_what_a_disk_raises_stays_what_it_is(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    torch_by_hand.write(path, {"a": np.ones(3, "f4")})

    def fails(self, member):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "read", fails)
    with pytest.raises(OSError, match=r"Input/output error: '.*net\.pth'") as error:
        torch_files.state(path)
    assert error.value.errno == errno.EIO
    monkeypatch.setattr(
        "builtins.open", lambda *a, **b: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    with pytest.raises(PermissionError):
        torch_files.state(path)


# What a file may take


def test_many_names_of_one_array_are_one_array_or_an_error(tmp_path):
    """196 kB with 20,000 names of 40 kB took 0.8 GB."""
    path = tmp_path / "net.pth"
    p = torch_by_hand.Program()
    p.out.append(b"}(")
    p.add("0")
    p.tensor(np.ones(10_000, "f4"))
    shared = b"j" + struct.pack("<I", p.count - 1)
    for i in range(1, 20_000):
        p.out += [b"\x8c" + bytes([len(str(i))]) + str(i).encode(), shared]
    torch_by_hand.archive(path, b"".join(p.out) + b"u.", [a.tobytes() for a in p.arrays])
    with pytest.raises(
        FileFormatError, match=r"expected at most 67108864; limits=Limits\(total_byt"
    ):
        torch_files.state(path)
    found = torch_files.state(path, Limits(total_bytes=1 << 30))
    assert len(found) == 20_000
    assert len({x.ctypes.data for x in found.values()}) == 1


def test_lists_of_each_other_and_of_themselves_are_errors(tmp_path):
    path = tmp_path / "net.pth"
    lists = b"]q\x00" + b"".join(
        b"](" + 10 * (b"h" + bytes([i])) + b"eq" + bytes([i + 1]) for i in range(30)
    )
    for nested in (b"](" + lists + b"e", b"]q\x00h\x00a", b")" + 200 * b"\x85"):
        torch_by_hand.archive(path, b"\x80\x02}" + text("a") + nested + b"s.")
        with pytest.raises(FileFormatError, match="expected at most 2000 items, nested 100 deep"):
            torch_files.state(path, Limits(pickle_bytes=2000))


@pytest.mark.parametrize("token", [name("torch", "FloatStorage"), name("torch", "Size")])
def test_what_is_no_value_is_an_error(token, tmp_path):
    torch_by_hand.archive(tmp_path / "net.pth", b"\x80\x02}" + text("a") + token + b"s.")
    with pytest.raises(FileFormatError, match=r"arrays and plain values, got 'torch\."):
        torch_files.state(tmp_path / "net.pth")


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
    with pytest.raises(FileFormatError, match=r"names 'zoo\.Dataset'"):
        torch_files.state(path)


def test_a_checkpoint_is_read_as_it_is_nested(tmp_path):
    path = tmp_path / "checkpoint.pth"
    w = np.arange(6, dtype="f4").reshape(2, 3)
    optimizer = {"state": {0: {"step": 5, "exp_avg": w}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    torch_by_hand.write(path, {"model": State({"0.weight": w}), "optimizer": optimizer, "epoch": 3})
    found = torch_files.state(path)
    np.testing.assert_array_equal(found["model"]["0.weight"], w)
    np.testing.assert_array_equal(found["optimizer"]["state"][0]["exp_avg"], w)
    assert found["optimizer"]["param_groups"] == [{"betas": (0.9, 0.99)}]
    with torch_files.opened(path) as saved:
        kept = saved["model"]["0.weight"]
    with pytest.raises(FileFormatError, match=r"checkpoint\.pth: the file is closed: read its"):
        kept.array()


def test_arrays_of_one_storage_share_it_read_only(tmp_path):
    path = tmp_path / "tied.pth"
    p = torch_by_hand.Program()
    p.out.append(b"}(")
    for key, shape, strides, offset in (
        ("a", (2, 3), (3, 1), 0),
        ("t", (3, 2), (1, 3), 0),
        ("s", (), (), 4),
    ):
        p.add(key)
        p.out.append(numbers("0", 6, shape, strides, offset))
    torch_by_hand.archive(path, b"".join(p.out) + b"u.", [np.arange(6, dtype="<f4").tobytes()])
    found = torch_files.state(path)
    np.testing.assert_array_equal(found["t"], found["a"].T)
    assert found["s"] == 4
    assert np.shares_memory(found["a"], found["t"])
    assert not any(x.flags.writeable for x in found.values())
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0, 0] = 1
    assert found["a"].copy().flags.writeable


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
    w = torch.randn(6, 5)
    kinds = (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
    )
    arrays = {k: (9 * w).to(getattr(torch, k)) for k in kinds} | {"bool": w > 0}
    arrays |= {
        "tied": w,
        "transposed": w.T,
        "slice": w[1:4, ::2],
        "expanded": w[:, :1].expand(6, 9),
    }
    arrays |= {"scalar": torch.tensor(2.5), "empty": w[:0], "parameter": torch.nn.Parameter(w + 1)}
    torch.save(net.state_dict() | arrays, tmp_path / "net.pth")
    found = torch_files.state(tmp_path / "net.pth")
    saved = torch.load(tmp_path / "net.pth")
    assert list(found) == list(saved)
    for k, array in saved.items():
        array = array.detach()
        assert (str(found[k].dtype), found[k].shape) == (str(array.dtype)[6:], tuple(array.shape))
        array = array.float() if array.dtype == torch.bfloat16 else array
        np.testing.assert_array_equal(found[k].astype(array.numpy().dtype), array.numpy())
    assert np.shares_memory(found["tied"], found["transposed"])
    old = tmp_path / "old.pth"
    torch.save(net.state_dict(), old, _use_new_zipfile_serialization=False)
    with pytest.raises(FileFormatError, match=r"before version 1\.6"):
        torch_files.state(old)

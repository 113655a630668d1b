"""PyTorch files from elsewhere: every tensor is listed, every object refused by name."""

import struct

import numpy as np
import pytest
from cases import torch_by_hand, weight_files
from cases.torch_by_hand import Inline, Instance, State
from cases.weight_files import ARRAYS, outcome

from wsjax.files import salvage, storages, torch_checkpoint, trees
from wsjax.files.checkpoint import NUMBERS, FileFormatError, Limits
from wsjax.files.detection import opened

W = np.arange(6, dtype="f4").reshape(2, 3)


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def name(full):
    return "c{}\n{}\n".format(*full.rsplit(".", 1)).encode()


class Raw:
    """Instructions of a pickle."""

    def __init__(self, *instructions):
        self.instructions = instructions


def write(path, tree):
    """As `torch_by_hand.write`, with `Raw` instructions at any place."""
    made = torch_by_hand.Program()
    plain = made.add
    made.add = lambda x: made.out.extend(x.instructions) if isinstance(x, Raw) else plain(x)
    made.add(tree)
    torch_by_hand.archive(path, b"".join(made.out) + b".", [a.tobytes() for a in made.arrays])
    return path


def kinds(checkpoint):
    return [(f.kind, f.severity) for f in checkpoint.findings]


def test_a_training_run_is_listed_with_its_paths(tmp_path):
    optimizer = {"state": {0: {"step": 5, "exp_avg": W}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    saved = {"state_dict": State(ARRAYS), "optimizer_states": [optimizer], "epoch": 3}
    path = write(tmp_path / "run.ckpt", saved)
    with opened(path) as checkpoint:
        assert checkpoint.format == "torch"
        names = [a.path for a in checkpoint.arrays]
        assert names[: len(ARRAYS)] == [("state_dict", k) for k in ARRAYS]
        assert names[len(ARRAYS) :] == [("optimizer_states", "0", "state", "0", "exp_avg")]
        rest = {"state": {"0": {"step": 5}}, "param_groups": [{"betas": [0.9, 0.99]}]}
        assert checkpoint.metadata == {"optimizer_states": [rest], "epoch": 3}
        assert checkpoint.findings == ()
        for a in checkpoint.arrays[: len(ARRAYS)]:
            np.testing.assert_array_equal(a.read(), ARRAYS[a.path[1]])
            assert (a.dtype, a.shape) == (ARRAYS[a.path[1]].dtype.name, ARRAYS[a.path[1]].shape)


def test_objects_beside_the_arrays_are_refused_by_name_and_nothing_runs(tmp_path):
    canary = tmp_path / "canary"
    ran = name("posix.system") + text(f"touch {canary}") + b"\x85R"
    beside = {
        "args": Instance("argparse.Namespace", {"lr": 0.1, "nested": [1]}),
        "schedule": Raw(name("train.loops.cosine")),
        "shell": Raw(ran),
        "called": Raw(ran + b")R"),
        "list": Raw(name("some.List") + b")\x81" + b"(K\x01K\x02e" + b"}" + text("a") + b"K\x01sb"),
        "dict": Raw(name("some.Dict") + b")\x81" + text("k") + b"K\x01s"),
        "objects": Raw(
            name("numpy._core.multiarray._reconstruct")
            + name("numpy.ndarray")
            + b")C\x01b\x87R(K\x01)NNNtb"
        ),
        "quantised": Raw(
            b"("
            + text("storage")
            + name("torch.QInt8Storage")
            + text("9")
            + text("cpu")
            + b"K\x01tQ"
        ),
        "dtype": Raw(name("torch.bfloat16")),
        "default": Raw(
            name("collections.defaultdict")
            + name("__builtin__.list")
            + b"\x85R"
            + text("k")
            + b"K\x01s"
        ),
    }
    path = write(tmp_path / "net.pth", {"model": State({"w": W}), **beside})
    with opened(path) as checkpoint:
        (array,) = checkpoint.arrays
        np.testing.assert_array_equal(array.read(), W)
        assert checkpoint.metadata == {"dtype": "torch.bfloat16", "default": {"k": 1}}
        texts = "\n".join(f.text for f in checkpoint.findings)
        assert set(kinds(checkpoint)) == {("refused", "note")}
    assert not canary.exists()
    for said in (
        "argparse.Namespace is not read, at args: nothing of it was run",
        "train.loops.cosine is not read, at schedule",
        "posix.system is not read, at shell, called",
        "some.List is not read, at list",
        "some.Dict is not read, at dict",
        "an array of objects is not read, at objects",
        "torch.QInt8Storage is not read, at quantised",
    ):
        assert said in texts


def test_entries_by_other_keys_are_dropped_and_counted(tmp_path):
    odd = Raw(b"}(", b"G?\xf0\0\0\0\0\0\0", b"K\x01", text("a"), b"K\x02", b")", b"K\x03", b"u")
    path = write(tmp_path / "net.pth", {"w": W, "odd": odd})
    with opened(path) as checkpoint:
        assert checkpoint.metadata == {"odd": {"a": 2}}
        (finding,) = checkpoint.findings
    assert finding.text.startswith(f"2 times {salvage.KEYS}")


def module(tensor):
    """A pickled module whose state is one tensor."""
    return Instance("torch.nn.modules.linear.Linear", {"_parameters": {"weight": tensor}})


@pytest.mark.parametrize("whole", [module(W), {"model": module(W)}])
def test_a_whole_module_is_refused_with_advice(whole, tmp_path):
    (error,) = outcome(write(tmp_path / "net.pt", whole))[1]
    assert "torch.nn.modules.linear.Linear" in error
    assert "torch.save(model.state_dict(), path)" in error


def test_tensors_inside_objects_are_counted_beside_others(tmp_path):
    path = write(tmp_path / "net.pt", {"model": module(W), "ema": {"w": W}})
    with opened(path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["ema/w"]
        assert kinds(checkpoint) == [("refused", "note"), ("refused", "warning")]
        assert "1 of 2 tensors are inside objects" in checkpoint.findings[1].text


def test_a_file_without_arrays_says_what_it_holds(tmp_path):
    path = write(tmp_path / "x.pt", {"args": {"lr": 0.1}, "loss": 0.3})
    with opened(path) as checkpoint:
        (finding,) = checkpoint.findings
        assert (finding.kind, finding.severity) == ("empty", "error")
        assert finding.text == "it holds no arrays, but args, loss"
    write(path, Inline(W))
    with opened(path) as checkpoint:
        (a,) = checkpoint.arrays
        assert a.path == ("x",)
        np.testing.assert_array_equal(a.read(), W)


def test_views_of_the_same_numbers_are_tied(tmp_path):
    def view(shape, strides, offset):
        p = torch_by_hand.Program()
        p.name("torch._utils._rebuild_tensor_v2")

        def stored():
            p.tuple(["storage", lambda: p.name("torch.FloatStorage"), "0", "cpu", 6])
            p.out.append(b"Q")

        p.tuple([stored, offset, shape, strides, False, p.ordered])
        # the memo of one program at a time
        return Raw(b"".join(x for x in p.out[1:] if x[:1] not in b"qh") + b"R")

    tree = {"base": W, "t": view((3, 2), (1, 3), 0), "row": view((3,), (1,), 3)}
    path = write(tmp_path / "net.pt", tree)
    with opened(path) as checkpoint:
        base, t, row = checkpoint.arrays
        assert base.storage == t.storage != row.storage
        assert kinds(checkpoint) == [("tied", "note")]
        np.testing.assert_array_equal(t.read(), W.T)
        np.testing.assert_array_equal(row.read(), W[1])
        assert (row.nbytes, row.dtype) == (12, "float32")


def test_arrays_are_read_within_limits_and_while_the_file_is_open(tmp_path):
    path = write(tmp_path / "net.pt", {"w": W})
    with opened(path, Limits(array_bytes=23)) as checkpoint:
        (array,) = checkpoint.arrays
        with pytest.raises(FileFormatError, match=r"'w': it has 24 bytes, .*Limits\(array_bytes="):
            array.read()
    with pytest.raises(FileFormatError, match=r"net\.pt: array 'w': the file is closed"):
        array.read()
    with opened(path, Limits(total_bytes=24)) as checkpoint:
        for _ in range(3):  # one after the other
            np.testing.assert_array_equal(checkpoint.arrays[0].read(), W)


def test_a_tree_is_finite():
    deep = leaf = []
    for _ in range(trees.DEPTH + 1):
        leaf.append([])
        leaf = leaf[0]
    cyclic = []
    cyclic.append(cyclic)
    for tree in (deep, cyclic, [[0] * 30] * 30):
        with pytest.raises(FileFormatError, match="expected at most 500 items, nested 100 deep"):
            trees.apart(tree, lambda path, x: x, 500)


def test_types_that_have_no_storage_of_their_own(tmp_path):
    torch = pytest.importorskip("torch")
    kinds = [k for k in NUMBERS if hasattr(torch, k)]
    assert {"bfloat16", "float8_e4m3fn", "uint16", "complex64", "bool"} <= {*kinds}
    source = torch.tensor([[0.0, 1.0, 2.0], [4.0, 8.0, 0.5]])
    arrays = {k: source.to(getattr(torch, k)) for k in kinds}
    beside = {
        "buffer": torch.nn.Buffer(source),
        "parameter": torch.nn.Parameter(source),
        "conj": arrays["complex64"].conj(),
        "sparse": source.to_sparse(),
        "device": torch.device("cpu"),
        "size": source.shape,
    }
    torch.save(arrays | beside, tmp_path / "net.pt")
    with opened(tmp_path / "net.pt") as checkpoint:
        read = {a.name: a.read() for a in checkpoint.arrays}
        texts = "\n".join(f.text for f in checkpoint.findings)
    assert set(read) == {*kinds, "buffer", "parameter"}
    for k in kinds:
        assert read[k].dtype == NUMBERS[k]
        wide = "complex64" if "complex" in k else "float32"
        expected = arrays[k].to(getattr(torch, wide)).numpy()
        np.testing.assert_array_equal(read[k].astype(wide), expected)
    assert "conjugated" in texts
    assert "sparse is a tensor that is not read (torch._utils._rebuild_sparse_tensor" in texts
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    assert "a whole 'torch.nn.modules.linear.Linear'" in outcome(tmp_path / "module.pt")[1][0]
    torch.save({"w": source}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "before version 1.6" in outcome(tmp_path / "old.pt")[1][0]


def test_sets_of_later_protocols_and_arrays_by_columns(tmp_path):
    beside = {
        "set": Raw(b"\x8f(K\x01K\x02\x90"),
        "frozen": Raw(b"(K\x01\x91"),
    }
    path = write(tmp_path / "net.pt", {"w": W, **beside})
    with opened(path) as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["w"]
        texts = [f.text.split(":")[0] for f in checkpoint.findings]
    assert texts == [
        "builtins.set is not read, at set",
        "builtins.frozenset is not read, at frozen",
    ]


def test_what_numpy_and_torchscript_pickle(tmp_path):
    torch = pytest.importorskip("torch")
    columns = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    torch.save({"columns": columns, "s": {1, 2}}, tmp_path / "net.pt")
    arrays, errors = outcome(tmp_path / "net.pt")
    assert not errors
    np.testing.assert_array_equal(arrays["columns"], columns)
    members = [("net/constants.pkl", b""), ("net/code/__torch__.py", b"")]
    torch_by_hand.archive(tmp_path / "script.pt", b"\x80\x02}.", root="net", more=members)
    assert "it is a TorchScript program" in outcome(tmp_path / "script.pt")[1][0]


def test_a_damaged_file_is_right_or_one_error(tmp_path):
    path = weight_files.torch(tmp_path)
    good, errors = path.read_bytes(), 0
    for bad in weight_files.mutations(good, 0, 24):
        path.write_bytes(bad)
        errors += bool(outcome(path)[1])
    assert 5 < errors < 24


def test_a_damaged_pickle_is_right_or_one_error(tmp_path):
    """In a whole zip: its checksums are right, what it says is not."""
    tree = {"model": State({"w": W, "b": W[0]}), "args": Instance("a.B", {"x": Inline(W)})}
    program, arrays = torch_by_hand.program(tree)
    path, errors = tmp_path / "net.pt", 0
    for bad in weight_files.mutations(program, 1, 40):
        torch_by_hand.archive(path, bad, [a.tobytes() for a in arrays])
        read, failed = outcome(path)
        errors += bool(failed)
        assert all(x.size <= 6 for x in read.values())
    assert 5 < errors < 40


def test_a_large_file_is_listed_from_its_pickle_alone(tmp_path, monkeypatch):
    path = write(tmp_path / "net.pt", {"a": W, "b": W})
    reads = []
    take = torch_checkpoint.Archive.read
    monkeypatch.setattr(torch_checkpoint.Archive, "read", lambda *a: reads.append(a[1]) or take(*a))
    with opened(path, Limits(file_bytes=1)) as checkpoint:
        assert reads == []
        checkpoint.arrays[1].read()
    assert reads == ["1"]


def test_a_storage_of_bytes_is_seen_as_the_type_that_an_array_states():
    class Source:
        def read(self, key, most):
            return W.tobytes() + b"end"

        def spend(self, size):
            pass

    row = storages.Storage("torch.storage.UntypedStorage", 27, Source(), "0")
    array = storages.Numbers(row, 1, (5,), (1,), np.dtype("f4"))
    np.testing.assert_array_equal(array.array(), W.ravel()[1:])
    with pytest.raises(FileFormatError, match="within its storage of 6 numbers"):
        storages.Numbers(row, 2, (5,), (1,), np.dtype("f4")).array()


def test_tensors_that_are_not_read_are_errors_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    sparse = torch.eye(2).to_sparse()
    saved = {"fc.weight": torch.nn.Parameter(sparse), "fc.bias": torch.ones(2)}
    torch.save(saved, tmp_path / "net.pt")
    with opened(tmp_path / "net.pt") as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["fc.bias"]
        errors = [f for f in checkpoint.findings if f.severity == "error"]
    assert [(f.kind, f.array) for f in errors] == [("refused", "fc.weight")]
    assert "fc.weight is a tensor that is not read (torch._utils._rebuild_" in errors[0].text


def test_arrays_of_numpy_are_not_counted_as_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2), "a": np.ones(3), "b": np.ones(4)}, tmp_path / "net.pt")
    with opened(tmp_path / "net.pt") as checkpoint:
        assert [a.name for a in checkpoint.arrays] == ["w", "a", "b"]
        assert checkpoint.findings == ()

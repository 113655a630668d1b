"""Whatever names, types and bytes a file has, `describe` gives facts, and no array is lost."""

import json
import random
import struct
import sys

import ml_dtypes
import numpy as np
import pytest
from cases import weight_files
from cases.checkpoints import checkpoint, numbers, stored

from wsjax.files import (
    ContentError,
    FileFormatError,
    Limits,
    describe,
    load,
    loading,
    names,
)
from wsjax.files.branches import branches
from wsjax.files.loading import contents

WORDS = (
    *("module", "_orig_mod", "model", "ema", "ema_model", "params", "state_dict", "optimizer"),
    *("batch_stats", "state", "0", "10", "fc", "weight", "bias", "step", "exp_avg", "shadow", ""),
)
ROLES = (
    *("weight", "weight_g", "weight_v", "weight_orig", "weight_u", "weight_mask", "kernel"),
    *(f"parametrizations.weight.{x}" for x in ("original", "original0", "original1", "0._u")),
    *("weight_scale", "weight_scale_inv", "scale", "scales", "biases", "qzeros", "qweight"),
    *("input_scale", "lora_A.weight", "lora_B.weight", "lora_a", "lora_b", "alpha"),
)
TYPES = ("f2", "f4", "f8", "i4", "i8", "u1", "c8", "bool", ml_dtypes.float8_e4m3fn)


def trees(seed, count):
    """Dicts of arrays whose names are made of the words above."""
    rnd = random.Random(seed)
    for _ in range(count):
        arrays = {}
        for _ in range(rnd.randint(0, 8)):
            words = [rnd.choice(WORDS) for _ in range(rnd.randint(1, 4))]
            name = "".join(word + rnd.choice("./") for word in words)[:-1]
            if rnd.random() < 0.7:
                name = rnd.choice(["fc.", "module.fc.", "ema/fc.", "params/fc/"]) + rnd.choice(
                    ROLES
                )
            shape = [rnd.choice([0, 1, 1, 2, 2, 4, 32]) for _ in range(rnd.randint(0, 3))]
            arrays[name] = np.ones(shape, rnd.choice(TYPES))
        yield arrays


@pytest.mark.parametrize("seed", range(4))
def test_names_of_any_kind(seed):
    for arrays in trees(seed, 300):
        all_stored = [stored(n, a) for n, a in arrays.items()]
        sorted_out = {id(s) for b in branches(all_stored) for _, s in b.arrays}
        assert sorted_out == set(map(id, all_stored)), list(arrays)
        params, facts = contents(checkpoint(all_stored))
        assert str(facts).startswith("test: ")
        assert len(params) <= facts.arrays
        assert all(a.dtype.kind not in "biu" for a in params.values()), list(arrays)
        loaded = sum(a.size for n, a in params.items() if not any(n in t[1:] for t in facts.copies))
        assert loaded <= facts.parameters, list(arrays)


@pytest.mark.parametrize("seed", range(2))
def test_new_names_are_different_and_orders_permutations(seed):
    for arrays in trees(seed, 300):
        new, taken = names.unwrapped(list(arrays))
        assert len(set(new)) == len(arrays), list(arrays)
        assert set(taken) <= {*names.ANYWHERE, *names.WRAPPERS, *names.ENDS}
        assert sorted(names.natural(new)) == list(range(len(new)))


@pytest.mark.parametrize("kind", weight_files.FORMATS)
def test_every_format_gives_the_same_network(kind, tmp_path):
    params, facts = load(weight_files.FORMATS[kind](tmp_path))
    known = ["enc.0.weight", "enc.0.bias", "enc.1.weight"][: 1 if kind == "npy" else None]
    keras = [f"layers/dense/vars/{i}" for i in range(3)]
    own = {"msgpack": [f"enc/{n}" for n in known], "hdf5": keras, "keras": keras}.get(kind, known)
    assert sorted(params) == sorted(own)
    for name, place in zip(known, own, strict=True):
        np.testing.assert_array_equal(params[place], weight_files.ARRAYS[name], strict=True)
    assert not any(f.severity == "error" for f in facts.findings)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_files_with_any_damage(kind, tmp_path):
    path = weight_files.FORMATS[kind](tmp_path)
    data, outcomes = path.read_bytes(), set()
    assert "ERROR" not in str(describe(path))
    for bad in weight_files.mutations(data, 0, 100):
        path.write_bytes(bad)
        outcomes.add(str(describe(path)))
    assert any("ERROR" in text for text in outcomes)


def test_names_of_the_same_bytes_are_one_array_whatever_their_shapes(tmp_path):
    w = np.arange(64, dtype="f4")
    entry = {"dtype": "F32", "data_offsets": [0, 256]}
    header = json.dumps({f"a{i}": entry | {"shape": [1] * i + [64]} for i in range(9)}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + w.tobytes())
    params, facts = load(path, limits=Limits(total_bytes=256))
    assert facts.parameters == 64
    assert {n: a.shape for n, a in params.items()} == {f"a{i}": (1,) * i + (64,) for i in range(9)}
    assert all(np.shares_memory(a, params["a0"]) for a in params.values())


def test_a_transpose_of_the_same_bytes_keeps_its_own_order():
    w = np.arange(6, dtype="f4").reshape(2, 3)
    arrays = [stored("a.weight", w, storage=0), stored("b.weight", w.T, storage=0)]
    params, facts = contents(checkpoint(arrays))
    np.testing.assert_array_equal(params["b.weight"], w.T)
    assert (facts.parameters, facts.tied) == (6, (("a.weight", "b.weight"),))


def test_what_is_kept_in_all_is_limited(tmp_path):
    arrays = {f"a{i}": np.full((250, 1000), i + 1.5, "f4") for i in range(4)}
    np.savez_compressed(tmp_path / "net.npz", **arrays)
    few = Limits(unpacked_bytes=1 << 20, total_bytes=3 << 20)
    match = r"net\.npz: its arrays are too large in all, at a3, .*Limits\(total_bytes"
    with pytest.raises(FileFormatError, match=match):
        load(tmp_path / "net.npz", limits=few)
    assert describe(tmp_path / "net.npz", limits=few).parameters == 1_000_000
    assert len(load(tmp_path / "net.npz")[0]) == 4
    assert len(load(tmp_path / "net.npz", limits=Limits(unpacked_bytes=1 << 20))[0]) == 4


def test_without_h5py_there_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    path = weight_files.FORMATS["hdf5"](tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    (finding,) = describe(path).findings
    assert finding.severity == "error"
    assert finding.text.startswith(f"{path}: Keras's files and HDF5 need h5py: pip install")
    with pytest.raises(ImportError, match="need h5py"):
        load(path)


def test_only_the_word_lora_makes_an_adapter():
    pairs = {f"exploration.lora_{x}.weight": np.ones((2, 2), "f4") for x in "AB"}
    assert contents(checkpoint(pairs))[1].adapter is not None
    assert not loading._of_adapter("exploration.weight")
    words = ("lora_unet_q.alpha", "q.lora.down.weight", "q/lora_a", "q.lora_A.default.weight")
    assert all(map(loading._of_adapter, words))


@pytest.mark.parametrize("keep", [True, False])
def test_what_lies_beside_an_adapters_pairs_is_a_warning(keep):
    names = {"q.lora_A.weight": (2, 6), "q.lora_B.weight": (4, 2), "score.weight": (3, 4)}
    arrays = {n: numbers(*shape) for n, shape in names.items()}
    _, facts = contents(checkpoint(arrays), keep=keep)
    assert facts.adapter.others == ("score.weight",)
    assert [f.severity for f in facts.findings if f.kind == "adapter"] == ["warning"]
    assert "1 array beside its factors, which `effective` does not add (score.w" in str(facts)


def test_branches_that_are_left_out_are_named():
    names = ("model/fc.weight", "classifier/weight", "optimizer/x", "log/step")
    made = [stored(n, numbers(3, 3) if "log" not in n else np.int64([1, 2])) for n in names]
    params, facts = contents(checkpoint(made))
    assert list(params) == ["fc.weight"]
    (warning,) = [f for f in facts.findings if f.severity == "warning"]
    assert warning.text == (
        "classifier (other, 1 array, 9 numbers): left out, beside branch 'model'; branch= takes one"
    )
    assert contents(checkpoint(made), "model")[1].findings == ()


def test_a_tensor_that_is_not_read_is_an_error_where_it_is_of_the_network(tmp_path):
    torch = pytest.importorskip("torch")
    path, sparse = tmp_path / "net.pt", torch.eye(2).to_sparse()
    weight = {"fc.weight": torch.ones(2, 2)}
    torch.save({"model": weight | {"head.weight": sparse}}, path)
    with pytest.raises(ContentError, match=r"model/head\.weight is a tensor that is not read"):
        load(path)
    assert "ERROR model/head.weight is a tensor that is not read" in str(describe(path))
    torch.save({"model": weight, "optimizer": {"exp_avg": sparse, "x": torch.ones(2)}}, path)
    params, facts = load(path)
    assert list(params) == ["fc.weight"]
    assert "note: optimizer/exp_avg is a tensor that is not read" in str(facts)
    torch.save({"model": weight, "optimizer": {"x": torch.ones(2)}, "graph": sparse}, path)
    assert "warning: graph is a tensor that is not read" in str(load(path)[1])

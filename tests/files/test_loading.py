"""Whole files through `load`: real ones of many kinds, rebuilt small, each with its answer."""

import dataclasses
import json
import weakref

import ml_dtypes
import numpy as np
import pytest
from cases.checkpoints import checkpoint, listed, numbers, stored
from cases.torch_by_hand import Instance, State
from cases.torch_by_hand import write as write_torch
from cases.weight_files import safetensors_bytes

import wsjax
from wsjax.files import ContentError, describe, effective
from wsjax.files.checkpoint import Finding
from wsjax.files.loading import contents

W = numbers(4, 3)
NAN = np.full((4, 3), np.nan, "f2")
LIST = ("error", "warning", "note")


def kinds(facts, *severities):
    return [f.kind for f in facts.findings if f.severity in (severities or LIST)]


def texts(facts):
    return "\n".join(f.text for f in facts.findings)


def saved(path, arrays, **options):
    path.write_bytes(safetensors_bytes(arrays, **options))
    return path


def test_load_gives_arrays_and_facts(tmp_path):
    arrays = {"module.fc.weight": W, "module.fc.bias": W[:, 0].copy(), "module.n": np.int64(3)}
    path = saved(tmp_path / "net.safetensors", arrays)
    params, facts = wsjax.load(path)
    assert list(params) == ["fc.weight", "fc.bias"]
    np.testing.assert_array_equal(params["fc.weight"], W)
    assert (facts.path, facts.format, facts.branch) == (str(path), "safetensors", "")
    assert (facts.arrays, facts.parameters) == (2, 16)
    assert (facts.dtypes, facts.stripped) == ((("float32", 16),), ("module",))
    assert facts.buffers == {"n": 3}
    assert str(facts) == (
        "safetensors: 2 arrays, 16 parameters (float32); 1 buffer; without module"
    )


def test_twelve_layers_of_one_width_in_the_order_of_text():
    shapes = {f"net.{i}.weight": (32, 32 if i else 2) for i in range(12)}
    arrays = {n: numbers(*shapes[n], seed=i) for i, n in enumerate(sorted(shapes))}
    params, facts = contents(checkpoint(arrays))
    assert list(params) == list(shapes) != list(arrays)
    assert kinds(facts) == []


def test_a_warning_where_shapes_contradict_the_numbers():
    arrays = {"0.weight": numbers(8, 2), "10.weight": numbers(16, 8), "2.weight": numbers(4, 16)}
    params, facts = contents(checkpoint(arrays))
    assert list(params) == ["0.weight", "2.weight", "10.weight"]
    assert kinds(facts, "warning") == ["order"]


def test_a_checkpoint_of_training():
    arrays = {
        "state_dict/model.enc.0.weight": numbers(64, 32),
        "optimizer_states/0/state/0/exp_avg": numbers(64, 32, seed=1),
    }
    params, facts = contents(checkpoint(arrays, {"epoch": 3, "hyper_parameters": {"lr": 0.1}}))
    np.testing.assert_array_equal(params["enc.0.weight"], numbers(64, 32))
    assert (facts.branch, facts.parameters) == ("state_dict", 2048)
    assert facts.metadata["epoch"] == 3
    assert [(b.name, b.kind) for b in facts.branches] == [
        ("state_dict", "model"),
        ("optimizer_states", "optimiser"),
    ]


@pytest.mark.parametrize(
    "prefixes",
    [
        ("module.features.0.", "features.module.0."),
        ("_orig_mod.module.stem.", "module._orig_mod.stem."),
        ("model._orig_mod.stem.", "stem."),
    ],
)
def test_wrappers_do_not_make_another_network(prefixes):
    one, other = (contents(checkpoint({f"{p}weight": W}))[0] for p in prefixes)
    assert list(one) == list(other)
    np.testing.assert_array_equal(*one.values(), *other.values())


def test_a_name_within_another_is_an_array_of_its_own():
    arrays = {"fc1.weight": numbers(10, 5), "fc1.weight.extra": np.float32([7])}
    params, facts = contents(checkpoint(arrays))
    assert {n: a.shape for n, a in params.items()} == {n: a.shape for n, a in arrays.items()}
    assert facts.parameters == 51


def test_a_file_without_arrays_says_what_it_holds():
    params, facts = contents(checkpoint({}, {"args": {"lr": 1, "b": 2}, "loss": 0.3}))
    assert params == {}
    assert str(facts) == (
        "test: ERROR it holds no arrays of a network; found args = a dict of 2, loss = 0.3"
    )
    _, facts = contents(checkpoint({"optimizer/state/0/exp_avg": W}))
    assert "found optimizer (optimiser, 1 array, 12 numbers)" in str(facts)


def test_pytorchs_files(tmp_path):
    """A trainer's checkpoint with objects beside the weights; a state dict behind wrappers."""
    path = tmp_path / "last.ckpt"
    inside = {
        "epoch": 3,
        "args": Instance("argparse.Namespace", {"lr": 0.1}),
        "state_dict": State({"model.module.fc.weight": W, "model.module.fc.bias": W[:, 0]}),
        "optimizer_states": [{"state": {0: {"exp_avg": W, "step": 5}}}],
    }
    write_torch(path, inside)
    params, facts = wsjax.load(path)
    assert list(params) == ["fc.weight", "fc.bias"]
    np.testing.assert_array_equal(params["fc.weight"], W)
    assert (facts.format, facts.branch, facts.parameters) == ("torch", "state_dict", 16)
    assert facts.branches[-1].kind == "optimiser"
    assert "argparse.Namespace is not read, at args" in str(facts)
    write_torch(path, {"loss": 0.3, "args": {"lr": 0.1}})
    with pytest.raises(ContentError, match=r"holds no arrays of a network; found loss = 0\.3"):
        wsjax.load(path)
    assert kinds(describe(path)) == ["empty"]


def test_a_file_of_packed_weights_alone():
    params, facts = contents(checkpoint([listed("blk.0.weight", (4, 256), "Q4_K")]))
    assert params == {}
    assert (facts.parameters, kinds(facts, "error")) == (1024, ["empty"])
    assert "none of its 1 arrays holds weights that are read as numbers" in str(facts)


def test_an_object_that_was_refused_is_listed_before_the_rest():
    refused = Finding("refused", "warning", None, "args: 'argparse.Namespace' is not rebuilt")
    params, facts = contents(checkpoint({"model/fc.weight": W}, findings=[refused]))
    assert list(params) == ["fc.weight"]
    assert "warning: args: 'argparse.Namespace' is not rebuilt" in str(facts)


@pytest.mark.parametrize("flat", [False, True])
def test_average_and_raw_weights(flat):
    names = ("model.fc.weight", "ema_model.module.fc.weight") if flat else ()
    names = names or ("model/fc.weight", "ema/fc.weight")
    average = "ema_model" if flat else "ema"
    both = checkpoint(
        {names[0]: W, names[1]: 2 * W, "optimizer/0/exp_avg": W}
        if not flat
        else {names[0]: W, names[1]: 2 * W}
    )
    params, facts = contents(both)
    assert facts.branch == average
    np.testing.assert_array_equal(params["fc.weight"], 2 * W)
    assert f"branch {average!r} is the default; branch= takes 'model' instead" in str(facts)
    params, facts = contents(both, "model")
    np.testing.assert_array_equal(params["fc.weight"], W)
    assert kinds(facts) == []
    with pytest.raises(ValueError, match=r"got 'other'; found model \(model, 1 arr"):
        contents(both, "other")


def test_an_average_of_nan_is_an_error_that_offers_the_other_branch(tmp_path):
    arrays = {"model.fc.weight": W.astype("f2"), "ema_model.fc.weight": NAN}
    path = saved(tmp_path / "net.safetensors", arrays | {"model.b": W, "ema_model.b": W + 1})
    with pytest.raises(ContentError) as error:
        wsjax.load(path)
    message = str(error.value)
    assert "fc.weight: 12 of 12 numbers are not finite, the first at [0, 0]" in message
    assert "branch 'model' has the same arrays, all sound: branch='model'" in message
    assert error.value.facts.branch == "ema_model"
    params, _ = wsjax.load(path, branch="model")
    np.testing.assert_array_equal(params["fc.weight"], W.astype("f2"))


def test_no_branch_is_offered_that_is_no_better():
    _, facts = contents(checkpoint({"model/fc.weight": NAN, "ema/fc.weight": NAN}))
    assert kinds(facts) == ["nonfinite", "branch"]
    assert "all sound" not in texts(facts)


def test_an_index_is_followed_and_a_stray_reported(tmp_path):
    saved(tmp_path / "model-00001-of-00002.safetensors", {"layers.0.weight": W})
    saved(tmp_path / "model-00002-of-00002.safetensors", {"layers.1.weight": 2 * W})
    saved(tmp_path / "model.safetensors", {"layers.0.weight": np.ones((4, 3), "u1")})
    where = {f"layers.{i}.weight": f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)}
    index = {"metadata": {"total_parameters": 333312}, "weight_map": where}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    params, facts = wsjax.load(tmp_path)
    assert list(params) == ["layers.0.weight", "layers.1.weight"]
    assert kinds(facts) == ["stray", "total"]
    assert facts.parameters == 24
    assert "its metadata says 333,312 parameters, which is not used" in texts(facts)


def test_shards_that_count_from_zero_are_one_network(tmp_path):
    for i in range(3):
        arrays = {f"layers.{j}.weight": numbers(4, 3, seed=2 * i + j) for j in range(2)}
        saved(tmp_path / f"net-0000{i + 1}-of-00003.safetensors", arrays)
    params, facts = wsjax.load(tmp_path)
    assert list(params) == [f"layers.{i}.weight" for i in range(6)]
    for i in range(6):
        np.testing.assert_array_equal(params[f"layers.{i}.weight"], numbers(4, 3, seed=i))
    assert "note: layers.* are numbered anew in each of 3 shards: numbered through" in str(facts)
    for i in range(3):  # slices of one network
        arrays = {"embed.weight": numbers(4, 3, seed=i), "layers.0.weight": numbers(4, 3)}
        saved(tmp_path / f"net-0000{i + 1}-of-00003.safetensors", arrays)
    with pytest.raises(ContentError, match="names are in several of 3 shards, and are no layers"):
        wsjax.load(tmp_path)


def test_arrays_are_read_once_and_one_at_a_time():
    reads = []
    arrays = {f"{i}.weight": numbers(4, 3, seed=i) for i in range(3)}
    _, facts = contents(checkpoint(arrays, reads=reads), keep=False)
    assert (reads, facts.parameters) == (list(arrays), 36)
    reads = []
    both = {"model/fc.weight": W, "ema/fc.weight": 2 * W, "optimizer/exp_avg": W}
    contents(checkpoint(both, reads=reads))
    assert reads == ["ema/fc.weight"]


def test_describing_has_one_array_in_memory():
    made = []

    def read():
        assert [ref() for ref in made] == [None] * len(made)
        array = numbers(4, 3, seed=len(made))
        made.append(weakref.ref(array))
        return array

    arrays = [stored(f"{i}.weight", W) for i in range(3)]
    arrays = [dataclasses.replace(a, read=read) for a in arrays]
    _, facts = contents(checkpoint(arrays), keep=False)
    assert (len(made), facts.parameters) == (3, 36)


def test_a_truncated_file_names_what_it_lacks(tmp_path):
    arrays = {f"{i}.weight": numbers(16, 16, seed=i) for i in range(4)}
    path = saved(tmp_path / "net.safetensors", arrays)
    path.write_bytes(path.read_bytes()[: -1024 - 512])
    with pytest.raises(ContentError) as error:
        wsjax.load(path)
    assert "2.weight" in str(error.value)
    assert "3.weight" in str(error.value)
    facts = describe(path)
    assert facts.parameters == 1024
    assert str(facts).startswith("safetensors: ERROR ")


def test_a_file_of_zeros():
    arrays = {f"{i}.weight": np.zeros((8, 8), "f4") for i in range(5)} | {"5.weight": W}
    _, facts = contents(checkpoint(arrays))
    assert str(facts).startswith("test: ERROR 5 of 6 arrays are zero (0.weight, 1.weight, 2.w")


def test_a_shard_of_random_bytes():
    rng = np.random.default_rng(0)
    arrays = {f"{i}.weight": numbers(8, 8, seed=i).astype(ml_dtypes.bfloat16) for i in range(9)}
    noise = rng.integers(0, 1 << 16, (8, 8), dtype=np.uint16) & 0xFF7F
    arrays["4.weight"] = noise.view(ml_dtypes.bfloat16)
    _, facts = contents(checkpoint(arrays))
    assert [(f.kind, f.severity, f.array) for f in facts.findings] == [
        ("scale", "error", "4.weight")
    ]


def test_errors_come_first():
    arrays = {f"{i}.weight": numbers(8, 8, seed=i) for i in range(4)}
    arrays |= {"0.weight": np.zeros((8, 8)), "3.weight": 1e30 * arrays["3.weight"]}
    _, facts = contents(checkpoint(arrays))
    assert [(f.severity, f.array) for f in facts.findings] == [
        ("error", "3.weight"),
        ("warning", "0.weight"),
    ]


def test_nan_beside_packed_weights():
    arrays = {
        "q.weight": np.ones((16, 8), "u4"),
        "q.scales": np.array([[1], [np.nan]] * 8, "f2"),
        "q.biases": np.full((16, 1), np.inf, "f2"),
        "norm.weight": np.array([1, 1, np.nan], "f2"),
        "other.weight": numbers(4, 4),
    }
    params, facts = contents(checkpoint(arrays))
    assert list(params) == ["norm.weight", "other.weight"]
    errors = [f for f in facts.findings if f.severity == "error"]
    assert [f.array for f in errors] == ["norm.weight", "q.scales", "q.biases"]
    assert errors[1].text == "q.scales: 8 of 16 numbers are not finite, the first at [1, 0]"
    assert facts.packed == {"q.weight": 1024}
    assert facts.parameters == 1024 + 3 + 16


def test_eight_bits_with_and_without_their_scale():
    w = numbers(256, 128).astype(ml_dtypes.float8_e4m3fn)
    scale = np.array([[0.5], [2]], "f4")
    arrays = {"gate.weight": w, "gate.weight_scale_inv": scale, "gate.input_scale": np.float32(1)}
    params, facts = contents(checkpoint(arrays))
    assert list(params) == ["gate.weight"]
    expected = w.astype("f4") * scale.repeat(128, 0)
    np.testing.assert_array_equal(params["gate.weight"], expected)
    assert facts.computed["gate.weight"].startswith("multiplied by gate.weight_scale_inv, one for")
    assert (facts.parameters, facts.dtypes) == (32768, (("float8_e4m3fn", 32768),))
    for more in ({}, {"norm.weight": W}):
        params, facts = contents(checkpoint({"gate.weight": w} | more))
        assert list(params) == list(more)
        assert kinds(facts, "error") == ["refused"]


def test_types_without_numbers():
    arrays = [listed("w", (4, 64), "F4"), stored("n.weight", W)]
    arrays += [listed("w_scales", (4, 2), "F8_E8M0"), listed("s", (4, 2), "float8_e8m0fnu")]
    params, facts = contents(checkpoint(arrays))
    assert list(params) == ["n.weight"]
    assert facts.parameters == 4 * 64 + 8 + 12
    assert kinds(facts) == ["packed", "refused"]


def test_empty_and_single_numbers_and_complex_ones():
    arrays = {
        "a.weight": np.zeros((2, 0), "f4"),
        "logit_scale": np.array(2, "f4"),
        "bn.num_batches_tracked": np.int64(5),
        "spectral.weight": (numbers(3, 4) * (1 + 2j)).astype("c8"),
    }
    params, facts = contents(checkpoint(arrays))
    assert list(params) == ["logit_scale", "spectral.weight"]
    assert params["spectral.weight"].dtype == np.complex64
    assert set(facts.buffers) == {"a.weight", "bn.num_batches_tracked"}
    assert (facts.parameters, kinds(facts)) == (13, [])


def test_tied_weights_are_counted_once():
    big = numbers(6, 4)
    shared = [stored(n, big, storage="one") for n in ("embed_tokens.weight", "lm_head.weight")]
    params, facts = contents(checkpoint(shared))
    assert params["embed_tokens.weight"] is params["lm_head.weight"]
    assert facts.tied == (("embed_tokens.weight", "lm_head.weight"),)
    assert (facts.parameters, facts.copies) == (24, ())
    assert "tied: embed_tokens.weight = lm_head.weight" in str(facts)
    zeros = {"a.weight": np.ones((4, 4), "f4"), "b.weight": np.ones((4, 4), "f4")}
    equal = {"embed_tokens.weight": big, "lm_head.weight": big.copy()}
    _, facts = contents(checkpoint(equal | zeros), keep=False)
    assert (facts.tied, facts.copies) == ((), (("embed_tokens.weight", "lm_head.weight"),))
    assert facts.parameters == 24 + 32
    assert "equal by value: embed_tokens.weight = lm_head.weight" in str(facts)


def test_equal_layers_are_layers_that_were_not_trained():
    arrays = {f"layers.{i}.{n}": numbers(4, 4, seed=len(n)) for i in range(5) for n in ("q", "out")}
    _, facts = contents(checkpoint(arrays))
    assert (facts.parameters, facts.copies) == (160, ())
    assert texts(facts) == (
        "layers.0.q = layers.1.q = layers.2.q = 2 more are equal, as layers that were not trained"
        "; so are 1 more groups"
    )


def test_reparametrised_weights_are_folded():
    g, v = np.ones((4, 1), "f4"), numbers(4, 3)
    params, facts = contents(checkpoint({"fc.weight_g": g, "fc.weight_v": v, "fc.bias": g[:, 0]}))
    assert list(params) == ["fc.weight", "fc.bias"]
    np.testing.assert_allclose(np.linalg.norm(params["fc.weight"], axis=1), 1, rtol=1e-6)
    assert facts.parameters == 16
    assert "folded into the effective weight (weight norm)" in str(facts)


def test_an_adapter_and_a_base_that_it_does_not_fit(tmp_path):
    arrays = {
        "base_model.model.lm_head.lora_A.weight": numbers(2, 8),
        "base_model.model.lm_head.lora_B.weight": numbers(36, 2),
    }
    path = saved(tmp_path / "adapter_model.safetensors", arrays)
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 16, "r": 2}')
    for facts in (wsjax.load(path)[1], describe(path)):
        assert "an adapter of 1 layer, rank 2, alpha 16" in str(facts)
        with pytest.raises(ValueError, match="lm_head: changes a weight \\[36, 8\\], the base's"):
            effective(facts.adapter, {"lm_head.weight": np.zeros((32, 8), "f4")})
    (tmp_path / "adapter_config.json").write_text("[]")
    facts = describe(path)
    assert "alpha unknown" in str(facts)
    assert kinds(facts, "warning") == ["refused"]


def test_two_arrays_of_one_name_are_an_error():
    arrays = [stored(("a/b",), W), stored(("a", "b"), 2 * W)]
    params, facts = contents(checkpoint(arrays))
    np.testing.assert_array_equal(params["a/b"], W)
    assert kinds(facts, "error") == ["names"]


def test_describe_never_fails_for_what_a_file_holds(tmp_path):
    (tmp_path / "notes.pt").write_text("no weights")
    facts = describe(tmp_path / "notes.pt")
    assert kinds(facts) == ["refused"]
    assert str(facts).startswith("not opened: ERROR ")
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "absent.pt")


def test_texts_of_a_file_do_not_reach_the_terminal_as_they_are():
    _, facts = contents(checkpoint({"a\x1b[31m.weight": NAN}))
    assert "\x1b" not in str(facts)
    assert "\x1b" not in str(ContentError(facts))

import ml_dtypes
import numpy as np
import pytest
from cases.pairs_of_networks import (
    SPECS,
    copy,
    flax_mlp,
    network,
    noisy,
    permuted_mlp,
    saved,
    torch_mlp,
)

from wsjax.comparison import TooLargeError, verdicts
from wsjax.comparison.comparing import compare
from wsjax.comparison.distances import misaligned
from wsjax.networks import check_shapes

RELU = {"activation": "relu"}


def files(tmp_path, *states):
    return [saved(tmp_path / f"{i}.safetensors", x) for i, x in enumerate(states)]


@pytest.mark.parametrize("name", SPECS)
def test_the_same_function_up_to_symmetry(name):
    params, spec = network(name)
    found = compare((params, spec), (copy(params, spec), spec))
    assert found.verdict.name == "same function up to symmetry"
    assert found.verdict.number <= found.verdict.threshold
    assert found.matched.relative < 1e-6 < 0.1 < found.raw.relative
    assert found.function_error < 1e-4
    assert found.outputs < 1e-4
    check_shapes(found.alignment.params, spec)


@pytest.mark.parametrize("name", ["relu", "batch norm"])
def test_a_misaligned_copy_is_another_function(name):
    params, spec = network(name)
    wrong = misaligned(params, spec, np.random.default_rng(0))  # of the same numbers
    assert compare((params, spec), (wrong, spec)).verdict.name not in verdicts.SAME


def test_one_number_that_differs_is_no_rounding():
    params, spec = network("relu")
    moved = copy(params, spec)
    moved["Dense_1/kernel"][3, 4] += 1e-3
    found = compare((params, spec), (moved, spec))
    assert found.verdict.name == "fine-tuned"
    assert found.outputs > 1e-6


def test_identical_and_the_same_to_rounding(tmp_path):
    state = torch_mlp()
    half = {n: x.astype(ml_dtypes.bfloat16) for n, x in state.items()}
    a, b, c, d = files(tmp_path, state, state, half, flax_mlp(state))
    assert compare(a, b).verdict.name == "identical"
    found = compare(a, c)
    assert found.verdict.name == "same weights"
    assert 0 < found.verdict.number <= 0.5
    assert compare(a, d).verdict.name == "same weights"


def test_a_permuted_file_in_half_precision_of_another_framework(tmp_path):
    state = torch_mlp()
    half = {n: x.astype(np.float16) for n, x in flax_mlp(permuted_mlp(state)).items()}
    found = compare(*files(tmp_path, state, half))
    assert found.verdict.name == "same function up to symmetry"


@pytest.mark.parametrize("keeps_order", [True, False])
def test_related_networks(keeps_order):
    params, spec = network("tanh")
    moved = noisy(params, 0.3)
    found = compare((params, spec), (moved if keeps_order else copy(moved, spec), spec))
    assert found.verdict.name == "fine-tuned"
    assert (found.matched_chance is None) == keeps_order
    assert found.matched.relative < 0.4


def test_networks_of_independent_draws_are_unrelated():
    params, spec = network("tanh")
    found = compare((params, spec), (network("tanh", seed=3)[0], spec))
    assert found.verdict.name == "unrelated"
    assert found.matched.cosine > found.raw.cosine + 0.1  # matching always finds something


def test_without_matching_order_counts(tmp_path):
    state = torch_mlp()
    found = compare(*files(tmp_path, state, permuted_mlp(state)), matching=False)
    assert found.verdict.name == "undecided"
    assert "another order of neurons that was not matched" in found.verdict.reason
    assert found.matched is None
    moved = noisy(permuted_mlp(state), 0.01)
    assert compare(*files(tmp_path, state, moved), matching=False).verdict.name == "unrelated"


def norms(seed=0, **changes):
    rng = np.random.default_rng(seed)
    out = {f"layer{i}.weight": rng.standard_normal((8, 8)).astype(np.float32) for i in range(3)}
    scale = rng.uniform(0.5, 2, 8).astype(np.float32)
    return out | {"input_layernorm.weight": changes.get("scale", lambda x: x)(scale)}


def test_norms_stored_less_one_are_the_same_weights(tmp_path):
    found = compare(*files(tmp_path, norms(), norms(scale=lambda x: x - 1)))
    assert found.verdict.name == "same weights"
    assert any("less one" in note for note in found.notes)


def test_norms_that_differ_by_factors_are_named(tmp_path):
    factors = np.linspace(0.3, 9.5, 8, dtype=np.float32)
    found = compare(*files(tmp_path, norms(), norms(scale=lambda x: x * factors)))
    assert found.verdict.name not in ("same weights", "identical")
    (note,) = [x for x in found.notes if "differ" in x]
    assert "input_layernorm.weight" in note
    assert "0.3 to 9.5 times" in note


def test_fused_queries_are_the_same_weights(tmp_path):
    rng = np.random.default_rng(0)
    fused = {"attn.qkv.weight": rng.standard_normal((12, 4)).astype(np.float32)}
    parts = np.split(fused["attn.qkv.weight"], 3)
    parts = {f"attn.{n}.weight": x for n, x in zip("qkv", parts, strict=True)}
    for pair in ((fused, parts), (parts, fused)):
        found = compare(*files(tmp_path, *pair))
        assert found.verdict.name == "same weights"
        assert len(found.pairs.split) == 3


def test_a_new_head_is_no_new_network(tmp_path):
    state, other = torch_mlp(), torch_mlp(1, widths=(6, 24, 24, 7))
    tuned = noisy(state, 0.1) | {n: other[n] for n in ("4.weight", "4.bias")}
    found = compare(*files(tmp_path, state, tuned))
    assert found.verdict.name == "fine-tuned"
    assert any("4.weight: [3, 24] in A, [7, 24] in B" in note for note in found.notes)
    assert found.verdict.reason.startswith("on the 8")
    found = compare(*files(tmp_path, state, other))
    assert found.verdict.name == "unrelated"


def test_nothing_in_common(tmp_path):
    found = compare(*files(tmp_path, torch_mlp(), {"x": np.ones((3, 3), np.float32)}))
    assert found.verdict.name == "not comparable"


def test_a_recurrence_is_compared_as_stored(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"rnn.weight_ih_l0": (8, 3), "rnn.weight_hh_l0": (8, 8), "rnn.bias_ih_l0": (8,),
              "rnn.bias_hh_l0": (8,), "fc.weight": (2, 8)}  # fmt: skip
    a = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    found = compare(*files(tmp_path, a, noisy(a, 0.1)))
    assert found.matched is None
    assert any("no linear assignment" in note for note in found.notes)
    flipped = {n: x.copy() for n, x in a.items()}
    for n in ("rnn.weight_ih_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"):
        flipped[n] = flipped[n][::-1]
    flipped["rnn.weight_hh_l0"] = flipped["rnn.weight_hh_l0"][::-1, ::-1]
    flipped["fc.weight"] = flipped["fc.weight"][:, ::-1]
    found = compare(*files(tmp_path, a, flipped))  # the same function
    assert found.verdict.name == "undecided"
    assert "cannot be matched" in found.verdict.reason


def test_too_large_to_match(tmp_path):
    paths = files(tmp_path, torch_mlp(), torch_mlp(1))
    with pytest.raises(TooLargeError):
        compare(*paths, gigabytes=1e-9)
    assert compare(*paths, gigabytes=1e-9, matching=False).verdict.name == "unrelated"


def batch_normed(names):
    shapes = ((4, 1, 3, 3), (4,), (4,), (4,), (4,), (2, 4), (2,))
    arrays = (np.random.default_rng(i).uniform(0.5, 1, s) for i, s in enumerate(shapes))
    return {n: x.astype(np.float32) for n, x in zip(names, arrays, strict=True)}


def test_settings_known_of_one_network_alone_are_no_difference(tmp_path):
    leaves = ("weight", "bias", "running_mean", "running_var")
    torch = batch_normed(["0.weight", *(f"1.{x}" for x in leaves), "5.weight", "5.bias"])
    names = ("scale", "bias", "mean", "var")
    flax = batch_normed(
        ["Conv_0/kernel", *(f"BatchNorm_0/{x}" for x in names), "Dense_0/kernel", "Dense_0/bias"]
    )
    flax["Conv_0/kernel"] = flax["Conv_0/kernel"].transpose(2, 3, 1, 0)
    flax["Dense_0/kernel"] = flax["Dense_0/kernel"].T
    found = compare(*files(tmp_path, torch, flax), config=RELU)
    assert found.verdict.name == "same weights"
    notes = "\n".join(found.notes)
    assert "functions differ" not in notes
    assert "known of one of A and B alone" in notes
    assert "B: BatchNorm_0: before or after the activation? --set norm_first=true" in notes
    assert "A and B: outputs are not computed: config lacks stride, padding" in notes


def test_signs_of_activations_that_are_not_known_are_guessed(tmp_path):
    state = torch_mlp()
    moved = permuted_mlp(state)
    signs = np.where(np.arange(24) % 2, 1, -1).astype(np.float32)
    for i in (0, 2):
        moved[f"{i}.weight"], moved[f"{i}.bias"] = (
            signs[:, None] * moved[f"{i}.weight"], signs * moved[f"{i}.bias"],
        )  # fmt: skip
        moved[f"{i + 2}.weight"] = moved[f"{i + 2}.weight"] * signs
    paths = files(tmp_path, state, moved)
    found = compare(*paths)
    assert found.verdict.name == "undecided"
    assert "--set activation=tanh" in found.verdict.reason
    assert compare(*paths, config={"activation": "tanh"}).verdict.name == verdicts.SAME[2]


def test_neurons_that_do_not_differ_decide_nothing(tmp_path):
    ones = {n: np.ones_like(x) for n, x in torch_mlp().items()}
    found = compare(*files(tmp_path, ones, {n: 2 * x for n, x in ones.items()}))
    assert found.verdict.name == "undecided"
    one, other = torch_mlp(), torch_mlp(1)
    for state in (one, other):  # all neurons but the first are dead
        for i in (0, 2):
            state[f"{i}.weight"][1:] = state[f"{i}.bias"][1:] = 0
            state[f"{i + 2}.weight"][:, 1:] = 0
    found = compare(*files(tmp_path, one, other))
    assert found.verdict.name == "undecided"
    assert "too few neurons" in found.verdict.reason


def test_an_adapter_is_named(tmp_path):
    base = {"model.q_proj.weight": np.ones((8, 8), np.float32)}
    name = "base_model.model.model.q_proj.lora"
    factors = {f"{name}_A.weight": (2, 8), f"{name}_B.weight": (8, 2)}
    adapter = {n: np.ones(s, np.float32) for n, s in factors.items()}
    found = compare(*files(tmp_path, base, adapter))
    assert found.verdict.name == "not comparable"
    assert any("B: an adapter of 1 layer, rank 2" in note for note in found.notes)

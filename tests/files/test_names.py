"""Names: wrappers go in any order and only where names stay different; numbers are numbers."""

import itertools

import pytest

from wsjax.files import names

WRAPPERS = ("module", "_orig_mod", "model")


@pytest.mark.parametrize("order", list(itertools.permutations(WRAPPERS)))
def test_wrappers_go_in_any_order(order):
    prefix = ".".join(order)
    new, taken = names.unwrapped([f"{prefix}.stem.conv.weight", f"{prefix}.stem.conv.bias"])
    assert new == ["stem.conv.weight", "stem.conv.bias"]
    assert set(taken) == set(WRAPPERS)


def test_one_network_in_two_files_has_the_same_names():
    one = names.unwrapped(["module.features.0.weight", "module.classifier.weight"])[0]
    other = names.unwrapped(["features.module.0.weight", "classifier.weight"])[0]
    assert one == other == ["features.0.weight", "classifier.weight"]


@pytest.mark.parametrize(
    "kept",
    [
        ["fc1.weight", "fc1.weight.extra"],
        ["model.layers.0.weight", "lm_head.weight"],  # not all agree
        ["a.module.weight", "a.weight"],  # would be one name
        ["module.weight", "weight"],
        ["module", "model"],  # an array's own name
        ["modules.weight", "my_module.weight", "amodule.weight"],
    ],
)
def test_names_that_would_be_lost_or_are_no_wrappers_stay(kept):
    assert names.unwrapped(kept) == (kept, ())


def test_a_word_in_the_middle_goes_from_every_place():
    assert names.unwrapped(["a/module/b/module/w", "c/w"])[0] == ["a/b/w", "c/w"]


def test_ends_that_all_names_have():
    assert names.unwrapped(["fc/kernel/value", "fc/bias/value"])[0] == ["fc/kernel", "fc/bias"]
    assert names.unwrapped(["fc/kernel:0", "fc/bias:0"]) == (["fc/kernel", "fc/bias"], (":0",))
    assert names.unwrapped(["attn/query", "attn/value"]) == (["attn/query", "attn/value"], ())


def test_a_counter_beside_the_network_has_no_vote():
    both = ["ema_model.fc.weight", "initted"]
    assert names.unwrapped(both)[0] == both
    assert names.unwrapped(both, [True, False])[0] == ["fc.weight", "initted"]


def test_layer_10_comes_after_layer_9_whatever_surrounds_them():
    for pattern in ("net.{}.weight", "Dense_{}/kernel", "block{}.0.w"):
        right = [pattern.format(i) for i in range(12)]
        text = sorted(right)
        assert text != right
        assert [text[i] for i in names.natural(text)] == right


def test_a_rising_order_is_that_of_computation_and_stays():
    order = ["stem.w", "layer1.0.w", "layer1.1.w", "fc.w", "layer1.0.b", "aux.w"]
    assert names.natural(order) == list(range(6))


def test_natural_order_is_a_permutation_of_all_names_even_of_unruly_ones():
    unruly = ["", "..", "10", "9", "a.10", "a.9", "a", "a." * 200 + "2", "x" * 10 + "9" * 5000]
    assert sorted(names.natural(unruly)) == list(range(len(unruly)))


@pytest.mark.parametrize("flax", [False, True])
def test_only_shapes_that_fit_in_the_files_order_alone_contradict(flax):
    chain = [(8, 2), (16, 8), (4, 16)]
    chain = [s[::-1] for s in chain] if flax else chain
    text = ["0.weight", "0.bias", "10.weight", "2.weight"]
    shape = lambda a, b, c: [a, (8,), b, c]
    assert len(names.contradictions(text, shape(*chain))) == 1
    assert names.contradictions(text, shape(chain[0], chain[2], chain[1])) == []
    equal = [(8, 8)] * 3
    assert names.contradictions(text, shape(*equal)) == []
    rising = ["0.weight", "0.bias", "1.weight", "2.weight"]
    assert names.contradictions(rising, shape(*chain)) == []


def test_shards_that_count_from_zero_are_numbered_through():
    shard = ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b"]
    new, stems = names.joined([["embed", *shard], shard, [*shard, "head"]])
    numbers = [int(n.split(".")[1]) for n in itertools.chain(*new) if "." in n]
    assert numbers == [n for n in range(6) for _ in "wb"]
    assert stems == ("layers.",)
    assert (new[0][0], new[2][-1]) == ("embed", "head")


def test_shards_that_go_on_and_slices_for_devices_keep_their_names():
    going_on = [["layers.0.w"], ["layers.1.w", "head"]]
    assert names.joined(going_on) == (going_on, ())
    slices = [["embed", "layers.0.w"], ["embed", "layers.0.w"]]
    assert names.joined(slices) == (slices, ())


def test_names_of_shards():
    assert names.shard("model-00001-of-00003.safetensors")
    assert names.shard("mp_rank_00_model_states.pt")
    assert not any(map(names.shard, ("features", "0", "params", "encoder.weight")))

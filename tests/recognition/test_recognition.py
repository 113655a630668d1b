"""The levels of recognition, and what is said of each."""

import random

import numpy as np
import pytest
from cases.families import FAMILIES

from wsjax import Spec, recognize
from wsjax.recognition import recognition
from wsjax.symmetries import permutations

MLP = {"0.weight": (32, 2), "0.bias": (32,), "2.weight": (1, 32), "2.bias": (1,)}


class Header:
    """The shape and dtype of an array in a file, without its values."""

    def __init__(self, shape, dtype="float32"):
        self.shape, self.dtype = shape, dtype


def test_headers_are_enough():
    found = recognize({n: Header(s) for n, s in MLP.items()}, {"activation": "relu"})
    assert str(found) == "exact: PyTorch MLP, 1 hidden axis, group 10^35, coverage 100 %"
    assert isinstance(found, recognition.Recognition)
    assert isinstance(found.spec, Spec)
    assert found.digits == pytest.approx(35.42, abs=0.01)


def test_an_activation_that_is_not_known_is_no_activation():
    found = recognize({n: Header(s) for n, s in MLP.items()}, {"activation": "quick_gelu"})
    assert (found.level, found.forward) == ("chained", None)
    assert permutations.shapes(found.spec) == {"h0": (32,)}
    assert any("quick_gelu" in note for note in found.notes)


def test_packed_and_complex_arrays_lie_beside():
    net = {n: Header(s) for n, s in MLP.items()}
    net |= {"codes": Header((4, 4), "int32"), "spectrum": Header((4,), "complex64")}
    net |= {"packed": Header((4,), "Q4_K"), "none": Header((2, 0))}
    found = recognize(net)
    assert found.level == "chained"
    assert found.beside == {
        **{"codes": "int32", "spectrum": "complex64", "packed": "Q4_K", "none": "empty"}
    }


def test_arrays_are_packed_without_what_lies_beside():
    state = {n: np.zeros(s, np.float32) for n, s in MLP.items()}
    found = recognize(state | {"steps": np.zeros((), np.int64)})
    assert set(found.pack(state | {"steps": np.zeros((), np.int64)})) == set(MLP)
    with pytest.raises(ValueError, match=r"2\.bias: expected, absent"):
        found.pack({n: a for n, a in state.items() if n != "2.bias"})


def test_a_grouped_convolution_alone_has_no_neurons():
    """A positional convolution of speech models, whose input and output are the stream."""
    found = recognize(
        {"pos_conv.0.weight": Header((768, 48, 128)), "pos_conv.0.bias": Header((768,))}
    )
    assert (found.level, found.spec.hidden) == ("chained", ())


def test_nothing_to_recognise():
    with pytest.raises(ValueError, match="got 1 others"):
        recognize({"steps": Header((), "int64")})
    with pytest.raises(TypeError, match="with shape and dtype"):
        recognize({"loss": 0.3})
    with pytest.raises(TypeError, match="arrays by name"):
        recognize([Header((2,))])


def test_hostile_names_are_opaque():
    deep = ".".join("a" * 3000)
    net = {f"{deep}.{i}.weight": Header((4, 4)) for i in "xy"} | {"": Header((3,))}
    assert recognize(net).level == "opaque"
    many = {f"m{i}.{chr(97 + j)}.weight": Header((2, 2)) for i in range(200) for j in range(8)}
    assert recognize(many).level in recognition.LEVELS


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"heads": "many"}, "heads: expected a whole number of 1 or more, got 'many'"),
        ({"activation": ["relu"]}, r"activation: expected a text, got \['relu'\]"),
        ({"omega": float("inf")}, "omega: expected a finite number, got inf"),
        ({"order": "fc1"}, "order: expected a list of texts, got 'fc1'"),
    ],
)
def test_settings_of_another_type_are_named(config, text):
    with pytest.raises(ValueError, match=text):
        recognize({n: Header(s) for n, s in MLP.items()}, config)
    with pytest.raises(TypeError, match="config"):
        recognize({n: Header(s) for n, s in MLP.items()}, ["relu"])


def test_settings_of_hugging_face_for_other_networks_are_ignored():
    config = {"model_type": "segformer", "num_attention_heads": [1, 2, 5, 8], "hidden_act": ["a"]}
    found = recognize({n: Header(s) for n, s in MLP.items()}, config)
    assert str(found).startswith("chained: PyTorch MLP")
    assert any("num_attention_heads: expected a whole number" in note for note in found.notes)
    stage = {"segformer.encoder.block.0.0.attention.self.query.weight": Header((4, 4))}
    found = recognize(stage, config)
    assert found.level == "opaque"
    assert any("so it is ignored" in note for note in found.notes)
    gpt = {n: Header(s) for n, s in GPT.items()}
    assert recognize(gpt, config | {"activation_function": 3}).level == "chained"
    with pytest.raises(ValueError, match="num_attention_heads: expected"):
        recognize(stage, {"num_attention_heads": [1, 2]})


GPT = {
    **{"wte.weight": (7, 8), "wpe.weight": (5, 8), "ln_f.weight": (8,), "h.0.ln_1.weight": (8,)},
    **{"h.0.ln_2.weight": (8,), "h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_attn.bias": (24,)},
    **{"h.0.attn.c_proj.weight": (8, 8), "h.0.mlp.c_fc.weight": (8, 6)},
    "h.0.mlp.c_proj.weight": (6, 8),
}
LSTM = {
    **{"rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4), "rnn.bias_ih_l0": (16,)},
    **{"emb.weight": (7, 3), "fc.weight": (2, 4), "fc.bias": (2,)},
}
NETS = [GPT, LSTM, *({a.name: s.shape(a) for a in s.arrays} for s, _ in FAMILIES.values())]


def mutated(rng, net):
    """The shapes with an array dropped, renamed, added, or of another shape."""
    net = dict(net)
    name = rng.choice(sorted(net))
    shape = net.pop(name)
    changes = [
        {},
        {name: shape[::-1]},
        {name: shape[1:]},
        {name: (*shape, 2)},
        {name: tuple(n + 1 for n in shape)},
        {name: shape, f"{name}.weight": shape},
        {f"{name}2": shape},
        {name: shape, "extra.weight": (3, 2)},
    ]
    return net | rng.choice(changes)


@pytest.mark.parametrize("seed", range(5))
def test_altered_networks_are_recognised_or_opaque(seed):
    rng = random.Random(seed)
    configs = [{}, {"activation": "tanh", "heads": 2}, {"chain": True, "activation": "relu"}]
    for _ in range(100):
        net = mutated(rng, rng.choice(NETS))
        found = recognize({n: Header(s) for n, s in net.items()}, rng.choice(configs))
        assert found.level in recognition.LEVELS
        assert (found.level == "opaque") <= (found.spec.hidden == ())
        assert found.spec.count == sum(int(np.prod(s)) for s in net.values())

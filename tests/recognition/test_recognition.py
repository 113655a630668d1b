"""The levels of recognition, and what is said of each."""

import numpy as np
import pytest

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

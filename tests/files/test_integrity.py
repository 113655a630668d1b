"""Numbers that cannot be a network's are found, by name and place."""

import ml_dtypes
import numpy as np
import pytest
from cases.checkpoints import numbers

from wsjax.files import integrity

PIECE = integrity._PIECE


def verdicts(arrays, beside=None):
    measures = lambda x: {n: integrity.measured(a) for n, a in x.items()}
    return integrity.verdicts(measures(arrays), measures(beside or {}))


def layers(count=4, **more):
    return {f"{i}.weight": numbers(8, 8, seed=i) for i in range(count)} | more


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", ml_dtypes.bfloat16])
def test_the_first_place_of_nan(dtype):
    array = numbers(4, 4, 3, 3).astype(dtype)
    array[2, 1, 0, 2] = np.nan
    array[3, 0, 0, 0] = np.inf
    (finding,) = verdicts({"conv.weight": array})
    assert (finding.kind, finding.severity, finding.array) == ("nonfinite", "error", "conv.weight")
    text = "conv.weight: 2 of 144 numbers are not finite, the first at [2, 1, 0, 2]"
    assert finding.text == text


def test_arrays_of_many_pieces():
    array = numbers(2 * PIECE + 5)
    m = integrity.measured(array)
    assert m.rms == pytest.approx(np.sqrt(np.mean(array.astype("f8") ** 2)), rel=1e-6)
    assert m.largest == np.abs(array).max()
    assert (m.nonfinite, m.zero_tail, m.constant) == (0, 0, False)
    array[PIECE + 7 :] = 0
    assert integrity.measured(array).zero_tail == PIECE - 2
    array[PIECE + 3] = np.nan
    m = integrity.measured(array)
    assert (m.place, m.nonfinite, m.zero_tail) == ((PIECE + 3,), 1, PIECE - 2)
    array[-1] = -np.inf
    assert integrity.measured(array).zero_tail == 0
    other = array.copy()
    assert integrity.measured(other).digest == integrity.measured(array).digest
    other[2 * PIECE] = 1
    assert integrity.measured(other).digest != integrity.measured(array).digest


@pytest.mark.parametrize(("value", "shape"), [(0, (3, 4)), (-2, (3, 4)), (1, ()), (0, (2, 0))])
def test_constants(value, shape):
    m = integrity.measured(np.full(shape, value, "f4"))
    assert m.constant
    assert m.zero == (value == 0 and m.size > 0)
    assert m.rms == (abs(value) if m.size else 0)


def test_a_sound_network_has_no_findings():
    fresh = {"bias": np.zeros(8, "f4"), "scale": np.ones(8, "f4"), "mean": np.zeros(8, "f4")}
    assert verdicts(layers(**fresh)) == []
    assert verdicts({}) == []


def test_a_network_that_was_never_written():
    arrays = {n: np.zeros_like(a) for n, a in layers(6, bias=np.zeros(8, "f4")).items()}
    arrays["0.weight"] = numbers(8, 8)
    (finding,) = verdicts(arrays)
    assert (finding.kind, finding.severity) == ("zeros", "error")
    assert finding.text == "6 of 7 arrays are zero (1.weight, 2.weight, 3.weight, ...)"


def test_one_kernel_of_zeros_is_a_warning():
    arrays = layers() | {"3.weight": np.zeros((8, 8), "f4")}
    (finding,) = verdicts(arrays)
    assert (finding.kind, finding.severity, finding.array) == ("zeros", "warning", "3.weight")


def test_an_array_that_was_written_in_part():
    array = numbers(100, 8)
    array[60:] = 0
    (finding,) = verdicts(layers(embedding=array))
    assert (finding.kind, finding.severity) == ("zeros", "warning")
    assert finding.text == "embedding: the last 320 of its 800 numbers are zero"
    array[60:] = 1
    array[90:] = 0  # as rows that pad a vocabulary
    assert verdicts(layers(embedding=array)) == []


def test_random_bytes_are_named_against_their_siblings():
    rng = np.random.default_rng(0)
    arrays = layers(8)
    for n in ("5.weight", "6.weight"):
        bits = rng.integers(0, 1 << 16, (8, 8), dtype=np.uint16) & 0xFF7F  # none of them NaN
        arrays[n] = bits.view(ml_dtypes.bfloat16)
    found = verdicts(arrays)
    assert {(f.kind, f.severity) for f in found} == {("scale", "error")}
    assert {f.array for f in found} == {"5.weight", "6.weight"}
    assert "7 others of its kind have 0.9" in found[0].text


@pytest.mark.parametrize(
    ("factor", "severity"), [(1e3, None), (1e-3, None), (1e5, "warning"), (1e-6, "warning")]
)
def test_scales_far_from_those_of_the_same_kind(factor, severity):
    arrays = layers() | {"3.weight": factor * numbers(8, 8), "3.bias": 1e6 * numbers(8)}
    found = {f.array: f.severity for f in verdicts(arrays)}
    assert found == ({"3.weight": severity} if severity else {})


def test_absurd_numbers_need_no_siblings():
    (finding,) = verdicts({"weight": np.array([1e200, 1.0])})
    assert (finding.kind, finding.severity) == ("scale", "error")
    (finding,) = verdicts({"weight": np.array([3e38, 1.0], "f4")})
    assert finding.text == "weight: numbers of size 2.1e+38 (root mean square)"


def test_arrays_beside_are_checked_for_nan_alone():
    scales = np.zeros((4, 2), "f2")
    assert verdicts(layers(), {"q.scales": scales}) == []
    scales[1, 1] = np.nan
    (finding,) = verdicts(layers(), {"q.scales": scales})
    assert finding.text == "q.scales: 1 of 8 numbers are not finite, the first at [1, 1]"

"""Weights of eight bits: multiplied by the scale that is theirs, or not read."""

import ml_dtypes
import numpy as np
import pytest
from cases.checkpoints import numbers, stored

from wsjax.files import scales

F8 = np.dtype(ml_dtypes.float8_e4m3fn)
W = numbers(4, 64).astype(F8)


def scaled(arrays):
    found, beside, findings = scales.scaled({n: stored(n, a) for n, a in arrays.items()})
    return {d.name: d.compute(*(arrays[n] for n in d.sources)) for d in found}, beside, findings


@pytest.mark.parametrize(
    "spelling", ["weight_scale_inv", "weight_scale", "scale_weight", "scale", "weight.scale"]
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_every_spelling_multiplies(spelling, shape):
    arrays = {
        "up.weight": W,
        f"up.{spelling}": np.full(shape, 0.5, "f4"),
        "up.input_scale": np.float32(9),
    }
    out, beside, findings = scaled(arrays)
    np.testing.assert_array_equal(out["up.weight"], 0.5 * W.astype("f4"))
    assert out["up.weight"].dtype == np.float32
    assert beside == {f"up.{spelling}", "up.input_scale"}
    assert [(f.severity, f.array) for f in findings] == [("note", "up.weight")]
    assert findings[0].text.endswith("up.input_scale not used")


@pytest.mark.parametrize(
    ("name", "shape", "scale", "expanded"),
    [
        ("w.weight", (4, 6), (4,), lambda s: s[:, None]),
        ("w.weight", (4, 4), (4,), lambda s: s[:, None]),  # rows are outputs
        ("w/kernel", (4, 4), (4,), lambda s: s[None]),  # of Flax they are inputs
        ("w.weight", (4, 6), (4, 1), lambda s: s),
        ("w.weight", (4, 6), (1, 6), lambda s: s),
        ("w.weight", (4, 6, 3), (4,), lambda s: s[:, None, None]),
        ("w.weight", (200, 130), (2, 2), lambda s: s.repeat(128, 0).repeat(128, 1)[:200, :130]),
        ("w.weight", (4, 64), (4, 2), lambda s: s.repeat(32, 1)),
        ("w.weight", (64,), (), lambda s: s),
        ("w.weight", (64,), (2,), lambda s: s.repeat(32)),
    ],
)
def test_the_shapes_say_what_shares_a_scale(name, shape, scale, expanded):
    w, s = numbers(*shape).astype(F8), np.exp(numbers(*scale, seed=1))
    key = f"{name}_scale" if name.endswith("kernel") else "w.weight_scale"
    out, _, findings = scaled({name: w, key: s})
    np.testing.assert_allclose(out[name], w.astype("f4") * expanded(s), rtol=1e-6)
    assert findings == []


def test_exponents_are_powers_of_two():
    exponents = np.array([[127, 128], [126, 0], [130, 127], [255, 127]], "u1")
    out, _, findings = scaled({"up.weight": W, "up.weight_scale": exponents})
    powers = np.array([[1, 2], [0.5, 2.0**-127], [8, 1], [np.nan, 1]], "f4")
    np.testing.assert_array_equal(out["up.weight"], W.astype("f4") * powers.repeat(32, 1))
    assert findings == []
    e8 = exponents.view(ml_dtypes.float8_e8m0fnu)
    same, _, _ = scaled({"up.weight": W, "up.weight_scale": e8})
    np.testing.assert_array_equal(same["up.weight"], out["up.weight"])


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({}, "up.weight of float8_e4m3fn has no scale: it is not read as numbers"),
        ({"up.input_scale": np.ones((), "f4")}, "has no scale: "),
        ({"up.weight_scale": np.ones((3, 5), "f4")}, "which fits neither it, its rows nor its"),
        ({"up.weight_scale": np.ones((0,), "f4")}, "which fits neither"),
        ({"up.weight_scale": np.ones((4, 64), "u1")}, "of uint8, which fits neither"),
        ({"up.weight_scale": np.ones((4, 2), "i4")}, "of int32, which fits neither"),
    ],
)
def test_without_a_scale_that_fits_nothing_is_read(beside, message):
    out, _, findings = scaled({"up.weight": W, "norm.weight": np.ones(4, "f4"), **beside})
    assert out == {}
    assert [(f.kind, f.severity, f.array) for f in findings] == [("refused", "error", "up.weight")]
    assert message in findings[0].text


def test_exponents_of_blocks_and_the_marker_of_scaled_files():
    w = numbers(256, 128).astype(F8)
    e8 = np.array([[1], [4]], "f4").astype(ml_dtypes.float8_e8m0fnu)
    marker = np.zeros(2, F8)
    out, _, findings = scaled({"up.weight": w, "up.scale": e8, "scaled_fp8": marker})
    expected = w.astype("f4") * np.float32([[1], [4]]).repeat(128, 0)
    np.testing.assert_array_equal(out["up.weight"], expected)
    assert findings == []


def test_of_two_scales_the_blocks_is_used_and_the_other_listed():
    arrays = {
        "up.weight": W,
        "up.scale": np.float32(3),
        "up.weight_scale_inv": np.float32(2),
    }
    out, _, findings = scaled(arrays)
    np.testing.assert_array_equal(out["up.weight"], 2 * W.astype("f4"))
    assert findings[0].text == "up.weight: multiplied by up.weight_scale_inv; up.scale not used"

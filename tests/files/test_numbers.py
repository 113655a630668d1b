"""Weights, buffers, packed and auxiliary arrays; no type is changed."""

import ml_dtypes
import numpy as np
import pytest
from cases.checkpoints import listed, numbers, stored

from wsjax.files import derived
from wsjax.files.checkpoint import FileFormatError
from wsjax.files.numbers import entries


def sorted_out(arrays):
    made = {n: a if hasattr(a, "storage") else stored(n, a) for n, a in arrays.items()}
    found, findings = entries(made)
    return {e.name: e for e in found}, findings


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", ml_dtypes.bfloat16, "complex64", "complex128"]
)
def test_numbers_are_read_as_they_are(dtype):
    array = (numbers(3, 4) * (1 + 1j) if "complex" in str(dtype) else numbers(3, 4)).astype(dtype)
    found, findings = sorted_out({"fc.weight": array})
    out = found["fc.weight"].read()
    assert out.dtype == array.dtype
    np.testing.assert_array_equal(out, array)
    assert (found["fc.weight"].kind, found["fc.weight"].count, findings) == ("weight", 12, [])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("bn.num_batches_tracked", np.int64(7)),
        ("embeddings.position_ids", np.arange(8)[None]),
        ("attn.mask", np.ones((4, 4), bool)),
        ("attn.bias", np.tri(4, dtype="f4")[None, None]),
        ("attn.masked_bias", np.float32(-1e4)),
        ("tgt_mask", np.triu(np.full((4, 4), -np.inf, "f4"), 1)),
        ("word_ids.weight", np.ones((4, 4), "i8")),
        ("rotary.inv_freq", np.ones(4, "f4")),
        ("fc.weight", np.zeros((2, 0), "f4")),
        ("scaled_fp8", np.zeros(2, ml_dtypes.float8_e4m3fn)),
    ],
)
def test_buffers(name, array):
    found, findings = sorted_out({name: array})
    assert (found[name].kind, found[name].count, findings) == ("buffer", 0, [])
    np.testing.assert_array_equal(found[name].read(), array)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("logit_scale", np.float32(2)),  # a number that is learned
        ("attn.bias", np.ones((4, 4), "f4")),
        ("bn.running_mean", np.zeros(4, "f4")),
        ("edge_mask", np.ones((4, 4), "f4")),
        ("edge_mask", np.where(np.eye(4) > 0, -np.inf, 2).astype("f4")),
    ],
)
def test_weights_that_look_like_buffers(name, array):
    assert sorted_out({name: array})[0][name].kind == "weight"


def test_types_without_numbers_are_counted_and_not_read():
    f4 = listed("w", (4, 64), "F4")
    e8 = [listed("w_scales", (4, 2), "F8_E8M0"), listed("s", (4, 2), "float8_e8m0fnu")]
    found, findings = sorted_out({"w": f4, "w_scales": e8[0], "s": e8[1]})
    assert (found["w"].kind, found["w"].count) == ("packed", 256)
    assert (found["w_scales"].kind, found["s"].kind) == ("auxiliary", "refused")
    with pytest.raises(FileFormatError, match="w of F4 is not read"):
        found["w"].read()
    assert [(f.severity, f.array) for f in findings] == [("warning", "w"), ("warning", "s")]


def test_computed_weights_stand_where_their_first_source_does():
    v, g = numbers(4, 3), np.ones((4, 1), "f4")
    f8 = numbers(2, 4).astype(ml_dtypes.float8_e4m3fn)
    arrays = {"a.weight": g, "b.weight_g": g, "b.weight_v": v, "b.bias": g[:, 0]}
    found, findings = sorted_out(arrays | {"c.weight": f8, "c.scale": np.float32(2)})
    weights = [e.name for e in found.values() if e.kind == "weight"]
    assert weights == ["a.weight", "b.weight", "b.bias", "c.weight"]
    auxiliary = [e.name for e in found.values() if e.kind == "auxiliary"]
    assert auxiliary == ["b.weight_g", "b.weight_v", "c.scale"]
    assert found["b.weight"].count == 12
    assert found["c.weight"].how == "multiplied by c.scale, one for 2 x 4"
    norms = np.linalg.norm(found["b.weight"].read(), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)
    assert [f.kind for f in findings] == ["reparametrised"]


def test_unknown_reparametrisations_are_named():
    names = [f"fc.parametrizations.weight.{x}" for x in ("original", "0.base")]
    found, findings = sorted_out({n: numbers(3, 3) for n in names})
    assert [found[n].kind for n in names] == ["weight", "weight"]
    (finding,) = findings
    assert (finding.kind, finding.severity) == ("reparametrised", "warning")
    assert "reparametrised in a way that is not known here" in finding.text


def test_a_weight_norm_of_zero_is_nan_and_no_warning():
    arrays = {"weight_g": np.ones((2, 1), "f4"), "weight_v": np.zeros((2, 3), "f4")}
    assert np.isnan(sorted_out(arrays)[0]["weight"].read()).all()


def test_a_computed_weight_has_the_shape_that_was_listed():
    lying = stored("weight_v", np.ones((2, 4), "f4"))
    object.__setattr__(lying, "shape", (2, 3))
    found, _ = sorted_out({"weight_g": np.ones((2, 1), "f4"), "weight_v": lying})
    with pytest.raises(FileFormatError, match=r"expected weight \[2, 3\], computed \[2, 4\]"):
        found["weight"].read()


def test_split():
    assert derived.split("a.b/c.weight") == ("a.b/c.", "weight")

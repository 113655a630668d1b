"""Quantised weights are counted from shapes and never read as numbers."""

import numpy as np
import pytest
from cases.checkpoints import listed, stored

from wsjax.files import packed

F = lambda *shape: np.ones(shape, "f2")
I32 = lambda *shape: np.ones(shape, "i4")
GPTQ = {
    "q.qweight": I32(8, 16),  # 64 inputs, 16 outputs, 4 bits
    "q.qzeros": I32(2, 2),
    "q.scales": F(2, 16),
    "q.g_idx": I32(64),
    "q.bias": F(16),
}


@pytest.mark.parametrize(
    ("arrays", "counts", "beside"),
    [
        (GPTQ, {"q.qweight": 64 * 16}, {"q.qzeros", "q.scales", "q.g_idx"}),
        (
            GPTQ | {"q.qweight": I32(16, 16), "q.qzeros": I32(2, 4)},  # 8 bits
            {"q.qweight": 64 * 16},
            {"q.qzeros", "q.scales", "q.g_idx"},
        ),
        (
            {"q.weight": np.ones((16, 8), "u4"), "q.scales": F(16, 1), "q.biases": F(16, 1)},
            {"q.weight": 16 * 64},
            {"q.scales", "q.biases"},
        ),
        (
            {
                "q.weight": np.ones((8, 1), "u1"),
                "q.weight.absmax": F(1),
                "q.weight.quant_map": F(16),
            },
            {"q.weight": 16},
            {"q.weight.absmax", "q.weight.quant_map"},
        ),
        (
            {"q.weight": np.ones((4, 8), "i1"), "q.SCB": F(4)},
            {"q.weight": 32},
            {"q.SCB"},
        ),
        (
            {"x_blocks": np.ones((2, 3, 16), "u1"), "x_scales": np.ones((2, 3), "u1")},
            {"x_blocks": 192},
            {"x_scales"},
        ),
        (
            {
                "q.weight": np.ones((4, 8), "u1"),
                "q.weight_scale": F(4, 1),
                "q.weight_scale_2": F(),
                "q.input_scale": F(),
            },
            {"q.weight": 64},
            {"q.weight_scale", "q.weight_scale_2", "q.input_scale"},
        ),
        (
            {"q.weight_packed": I32(4, 2), "q.weight_scale": F(4, 1), "q.weight_shape": I32(2)},
            {"q.weight_packed": 64},
            {"q.weight_scale", "q.weight_shape"},
        ),
    ],
)
def test_counts_follow_from_shapes(arrays, counts, beside):
    arrays = {n: a.view() for n, a in arrays.items()}
    found, near, findings = packed.packed({n: stored(n, a) for n, a in arrays.items()})
    assert (found, near) == (counts, beside)
    assert [(f.kind, f.severity) for f in findings] == [("packed", "warning")]
    assert f"{sum(counts.values()):,} packed weights" in findings[0].text


def test_types_of_formats_are_listed_with_their_elements():
    arrays = {"w": listed("w", (4, 64), "F4"), "q": listed("q", (2, 256), "Q4_K")}
    found, _, findings = packed.packed(arrays)
    assert found == {"w": 256, "q": 512}
    assert "768 packed weights as F4, Q4_K" in findings[0].text


def test_buffers_and_weights_are_not_packed():
    arrays = {
        "bn.num_batches_tracked": np.int64(3),
        "position_ids": np.ones((1, 8), "i8"),
        "attn.bias": np.ones((1, 1, 4, 4), "u1"),
        "fc.weight": F(4, 4),
        "norm.scales": F(4),
        "weight": np.ones(3, "i4"),
        "ids.weight": np.ones((4, 4), "i8"),
        "embedding": np.ones((4, 4), "u8"),
    }
    assert packed.packed({n: stored(n, a) for n, a in arrays.items()}) == ({}, set(), [])

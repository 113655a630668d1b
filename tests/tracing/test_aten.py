"""Every operator against PyTorch's own."""

import jax.numpy as jnp
import numpy as np
import pytest

from wsjax.tracing.aten import OPERATORS

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.trains  # as in use: PyTorch promotes types

RANDOM = torch.Generator().manual_seed(0)
draw = lambda *shape: torch.rand(shape, generator=RANDOM) * 0.8 + 0.1
signed = lambda *shape: torch.randn(shape, generator=RANDOM) * 2
whole = lambda high, *shape: torch.randint(0, high, shape, generator=RANDOM)

X, Y, Z = signed(2, 3, 4), signed(2, 3, 4), signed(2, 6, 7, 8)
POSITIVE, WHOLE, ROWS = draw(2, 3, 4), whole(5, 2, 3), whole(3, 2)
TRUE = X > 0
LINE, BOX = signed(2, 4, 9), signed(2, 2, 5, 4, 6)
W, B = signed(6), signed(6)

UNARY = (
    *("abs", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "floor", "round", "sign", "sin"),
    *("sinh", "square", "tan", "tanh", "trunc", "isinf", "isnan", "asinh", "atan", "neg"),
    *("erf", "sigmoid", "relu", "silu", "clone", "alias", "detach", "lift_fresh_copy", "elu"),
    *("leaky_relu", "gelu", "softplus", "zeros_like", "ones_like", "hardtanh", "isfinite"),
)
POSITIVES = (
    "log",
    "log10",
    "log1p",
    "log2",
    "reciprocal",
    "sqrt",
    "rsqrt",
    "acos",
    "asin",
    "atanh",
)
BINARY = (
    *("maximum", "minimum", "remainder", "fmod", "floor_divide", "atan2", "mul", "eq", "ne"),
    *("lt", "le", "gt", "ge", "add", "sub", "div", "rsub"),
)
LOGICAL = ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor")
CASES = [  # name, arguments, settings
    *((name, (X,), {}) for name in UNARY),
    *((name, (POSITIVE,), {}) for name in POSITIVES),
    *((name, (X, Y), {}) for name in BINARY),
    *((name, (TRUE, Y > 0), {}) for name in LOGICAL),
    *((name, (TRUE,), {}) for name in ("logical_not", "bitwise_not", "any", "all")),
    *((name, (X, 2.5), {}) for name in ("add", "sub", "div", "rsub", "mul", "remainder")),
    *[("acosh", (1 + POSITIVE,), {}), ("pow", (POSITIVE, Y), {}), ("pow", (X, 2), {})],
    *[("add", (X, Y), {"alpha": 3}), ("sub", (X, Y), {"alpha": 3}), ("where", (TRUE, X, Y), {})],
    *[("div", (X, Y), {"rounding_mode": mode}) for mode in ("floor", "trunc")],
    *[("clamp", (X, -0.5, 0.7), {}), ("clamp", (X, None, 0.7), {}), ("elu", (X, 2.0, 3.0), {})],
    *[("gelu", (X,), {"approximate": "tanh"}), ("leaky_relu", (X, 0.3), {})],
    *[(name, (X, -1, False), {}) for name in ("_softmax", "_log_softmax")],
    ("_safe_softmax", (X, 1), {}),
    *[(name, (X, [0, 2], True), {}) for name in ("sum", "mean", "amax", "amin")],
    *[("sum", (X,), {}), ("mean", (X, [1]), {}), ("prod", (X, 1), {}), ("prod", (X,), {})],
    *[("any", (TRUE, 1, True), {}), ("all", (TRUE, 0), {}), ("max", (X,), {}), ("min", (X,), {})],
    *[("max", (X, 1, True), {}), ("min", (X, -1), {}), ("argmax", (X, 1), {})],
    ("argmin", (X, 0), {}),
    *[("var", (X, [1, 2]), {"correction": 0}), ("var_mean", (X, [0, 2]), {"keepdim": True})],
    *[("linalg_vector_norm", (X, p, [1]), {}) for p in (1, 2, 3, float("inf"))],
    *[("cumsum", (X, 1), {}), ("cumprod", (X, 2), {}), ("flip", (X, [0, 2]), {})],
    *[("tril", (X,), {}), ("triu", (X, 1), {}), ("roll", (X, [1, 2], [0, 2]), {})],
    *[("roll", (X, [5]), {}), ("constant_pad_nd", (X, [1, 2, 0, 1], 3.0), {})],
    *[("_to_copy", (WHOLE,), {"dtype": torch.float32}), ("full", ([2, 3], 4.5), {})],
    *[("full_like", (X, 2.5), {}), ("arange", (2, 9, 3), {}), ("scalar_tensor", (2.5,), {})],
    *[("zeros", ([2, 3],), {}), ("ones", ([2],), {}), ("repeat", (X, [2, 1, 1, 2]), {})],
    *[(name, (X, [6, -1]), {}) for name in ("view", "reshape", "_unsafe_view")],
    *[("permute", (X, [2, 0, 1]), {}), ("transpose", (X, 0, -1), {}), ("t", (X[0],), {})],
    *[("expand", (X[:, :1], [5, 2, -1, 4]), {}), ("unsqueeze", (X, -1), {})],
    *[("squeeze", (X[:1, :, :1],), {}), ("squeeze", (X[:1, :, :1], 0), {})],
    *[("squeeze", (X[:1], [0, 1]), {}), ("slice", (X, 2, 1, 9, 2), {}), ("slice", (X, -1, -3), {})],
    *[("select", (X, 1, -1), {}), ("cat", ([X, Y], 1), {}), ("stack", ([X, Y], -1), {})],
    *[("unbind", (X, 1), {}), ("split_with_sizes", (X, [1, 3], 2), {}), ("split", (X, 3, -1), {})],
    *[("index", (X, [None, ROWS]), {}), ("index_put", (X, [ROWS[:1]], Y[:1]), {})],
    ("index_put", (X, [ROWS.clamp(max=1)], Y[:2], True), {}),
    *[("scatter", (X, 2, whole(4, 2, 3, 1), Y[..., :1]), {}), ("index_select", (X, 1, ROWS), {})],
    *[("gather", (X, 1, whole(3, 2, 2, 4)), {}), ("embedding", (X[0], ROWS), {})],
    *[("sort", (X, 1, True), {}), ("topk", (X, 2), {}), ("topk", (X, 2, 1, False), {})],
    *[("linear", (X, Y[0]), {}), ("linear", (X, Y[0], B[:3]), {}), ("mm", (X[0], Y[0].T), {})],
    *[("bmm", (X, Y.mT), {}), ("matmul", (X, Y[0].T), {}), ("mv", (X[0], Y[0, 0]), {})],
    *[("dot", (X[0, 0], Y[0, 0]), {}), ("addmm", (B[:3], X[0], Y[0].T), {"alpha": 2, "beta": 3})],
    *[("baddbmm", (B[:3], X, Y.mT), {}), ("unfold", (X, 2, 2, 1), {})],
    *[("convolution", (Z, w, b, s, p, d, False, [0, 0], g), {}) for w, b, s, p, d, g in (
        (signed(4, 6, 3, 3), None, [1, 1], [1, 1], [1, 1], 1),
        (signed(4, 3, 3, 2), B[:4], [2, 1], [1, 0], [1, 2], 2),
    )],
    *[("convolution", (Z, w, B[:4], [2, 3], [1, 0], [1, 1], True, [1, 2], g), {}) for w, g in (
        (signed(6, 4, 3, 3), 1), (signed(6, 2, 3, 3), 2),
    )],
    ("convolution", (LINE, signed(3, 4, 3), None, [1], [1], [1], False, [0], 1), {}),
    *[("max_pool2d_with_indices", (Z, [3, 3], [2, 2], [1, 1], [1, 1], c), {}) for c in (0, 1)],
    ("max_pool2d_with_indices", (Z, [2, 2]), {}),
    ("max_pool3d_with_indices", (BOX, [2, 2, 2]), {}),
    *[("avg_pool1d", (LINE, [2]), {}), ("avg_pool3d", (BOX, [2, 2, 2]), {})],
    *[("avg_pool2d", (Z, [3, 3], [2, 2], [1, 1], c, i), {}) for c in (0, 1) for i in (0, 1)],
    ("avg_pool2d", (Z, [2, 2], [2, 2], [0, 0], False, True, 3), {}),
    *[("_adaptive_avg_pool2d", (Z, [1, 1]), {}), ("_adaptive_avg_pool2d", (Z, [3, 5]), {})],
    *[("adaptive_avg_pool1d", (LINE, [4]), {}), ("_adaptive_avg_pool3d", (BOX, [1, 2, 3]), {})],
    *[("native_layer_norm", (X, [4], w, w, 1e-5), {}) for w in (None, B[:4])],
    *[("native_group_norm", (Z, w, w, 2, 6, 56, 3, 1e-5), {}) for w in (None, B)],
    ("_native_batch_norm_legit_no_training", (Z, W, B, B, W.abs(), 0.1, 1e-5), {}),
    ("_native_batch_norm_legit", (Z, W, B, True, 0.1, 1e-5), {}),
    *[("_scaled_dot_product_flash_attention_for_cpu", (Z, Z.flip(0), Z), s) for s in (
        {}, {"is_causal": True}, {"scale": 0.7, "attn_mask": signed(7, 7)},
    )],
    ("upsample_nearest1d", (LINE, [13], None), {}),
    ("upsample_nearest2d", (Z, None, [2.0, 1.5]), {}),
    ("upsample_nearest2d", (Z, [3, 5], None), {}),
    ("upsample_nearest3d", (BOX, [7, 8, 9], None), {}),
    *[("upsample_bilinear2d", (Z, [9, 5], corners, None), {}) for corners in (True, False)],
    ("upsample_linear1d", (LINE, None, False, [1.5]), {}),
    ("upsample_trilinear3d", (BOX, [7, 8, 9], True, None), {}),
    *[(name, (torch.complex(X, Y),), {}) for name in ("real", "imag")],
]  # fmt: skip


def translated(x):
    """Arguments of PyTorch as the operators take them."""
    if isinstance(x, torch.Tensor):
        return jnp.asarray(x.numpy())
    if isinstance(x, torch.dtype):
        return jnp.dtype(str(x).removeprefix("torch."))
    return [translated(item) for item in x] if isinstance(x, list) else x


@pytest.mark.parametrize(
    ("name", "arguments", "settings"),
    [pytest.param(*case, id=f"{case[0]}-{i}") for i, case in enumerate(CASES)],
)
def test_an_operator_computes_what_pytorch_does(name, arguments, settings):
    want = getattr(torch.ops.aten, name)(*arguments, **settings)
    got = OPERATORS[f"aten.{name}"](
        *map(translated, arguments), **{k: translated(v) for k, v in settings.items()}
    )
    want = want if isinstance(want, tuple | list) else (want,)
    got = got if isinstance(got, tuple) else (got,)
    assert len(got) <= len(want)  # without indices and statistics
    for a, b in zip(got, want, strict=False):
        np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=2e-5, atol=2e-5)
        assert a.shape == tuple(b.shape)


def test_every_operator_has_a_case():
    assert {f"aten.{name}" for name, *_ in CASES} == set(OPERATORS)

"""Reparametrised weights: folded as PyTorch folds them."""

import numpy as np
import pytest
from cases.checkpoints import numbers, stored

from wsjax.files import reparametrisation


def folded(arrays):
    found, unknown = reparametrisation.folded({n: stored(n, a) for n, a in arrays.items()})
    return {d.name: d.compute(*(arrays[n] for n in d.sources)) for d in found}, unknown


V, G = numbers(4, 3, 2), np.abs(numbers(4, 1, 1, seed=1))


@pytest.mark.parametrize(
    "names",
    [
        ("fc.weight_g", "fc.weight_v"),
        ("fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"),
    ],
)
def test_weight_norm_has_rows_of_length_g(names):
    out, unknown = folded(dict(zip(names, (G, V), strict=True)))
    assert list(out) == ["fc.weight"]
    lengths = np.sqrt((out["fc.weight"] ** 2).sum((1, 2)))
    np.testing.assert_allclose(lengths, G.ravel(), rtol=1e-5)
    np.testing.assert_allclose(out["fc.weight"] / out["fc.weight"][:, :1], V / V[:, :1], rtol=1e-4)
    assert unknown == []


def test_the_axes_of_a_weight_norm_are_those_of_g():
    out, _ = folded({"weight_g": np.ones((1, 3, 1), "f4"), "weight_v": V})
    np.testing.assert_allclose((out["weight"] ** 2).sum((0, 2)), 1, rtol=1e-5)
    out, _ = folded({"weight_g": np.float32(2), "weight_v": V})
    np.testing.assert_allclose((out["weight"] ** 2).sum(), 4, rtol=1e-5)


def test_arrays_that_only_sound_like_a_weight_norm_stay():
    assert folded({"weight_g": np.ones((5, 1), "f4"), "weight_v": V[..., 0]}) == ({}, [])
    assert folded({"weight_g": G, "weight_v": V, "weight": V}) == ({}, [])
    assert folded({"weight_g": G}) == ({}, [])
    both = ["weight_g", "weight_v"]
    assert folded({"weight_g": V, "weight_v": V}) == ({}, both)  # over which axes?
    assert folded({"weight_g": V, "weight_v": V, "weight": V}) == ({}, [])
    assert folded({"w_g": G, "w_v": V}) == ({}, [])  # of a gate and values


def singular(w):
    u, s, v = np.linalg.svd(w)
    return u[:, 0], v[0], s[0]


@pytest.mark.parametrize(
    "names",
    [
        ("fc.weight_orig", "fc.weight_u", "fc.weight_v"),
        (
            "fc.parametrizations.weight.original",
            "fc.parametrizations.weight.0._u",
            "fc.parametrizations.weight.0._v",
        ),
    ],
)
def test_spectral_norm_divides_by_the_stored_singular_value(names):
    w = numbers(4, 6)
    u, v, s = singular(w)
    out, unknown = folded(dict(zip(names, (w, u, v), strict=True)))
    np.testing.assert_allclose(out["fc.weight"], w / s, rtol=1e-5)
    assert unknown == []


def test_spectral_norm_of_transposed_convolutions_is_over_the_second_axis():
    w = numbers(4, 3, 5)
    u, v, s = singular(np.moveaxis(w, 1, 0).reshape(3, 20))
    out, _ = folded({"weight_orig": w, "weight_u": u, "weight_v": v})
    np.testing.assert_allclose(out["weight"], w / s, rtol=1e-5)


def test_pruned_weights_are_masked():
    w, mask = numbers(4, 3), numbers(4, 3, seed=1) > 0
    out, _ = folded({"weight_orig": w, "weight_mask": mask.astype("f4")})
    np.testing.assert_array_equal(out["weight"], np.where(mask, w, 0))
    out, _ = folded({"weight_orig": w, "weight_mask": mask})
    np.testing.assert_array_equal(out["weight"], np.where(mask, w, 0))


def test_complex_weights_are_not_folded():
    assert folded({"weight_g": G.astype("c8"), "weight_v": V}) == ({}, [])
    assert folded({"weight_orig": V, "weight_mask": V.astype("c8")}) == ({}, ["weight_orig"])


def test_parametrisations_of_another_kind_are_named():
    names = ["fc.parametrizations.weight.original", "fc.parametrizations.weight.0.base"]
    out, unknown = folded({n: numbers(4, 4) for n in names})
    assert out == {}
    assert unknown == names
    assert folded({"fc.weight_orig": numbers(4, 4)}) == ({}, ["fc.weight_orig"])


def test_as_pytorch_computes_them():
    torch = pytest.importorskip("torch")
    from torch.nn.utils import parametrizations, spectral_norm

    torch.manual_seed(0)
    for layer in (
        torch.nn.Linear(5, 4),
        torch.nn.Conv1d(6, 4, 3),
        torch.nn.ConvTranspose1d(6, 4, 3),
    ):
        shape = list(layer.weight.shape)
        shape[:2] = sorted(shape[:2])  # [out, in] of each, whatever the layout
        for make in (parametrizations.weight_norm, parametrizations.spectral_norm, spectral_norm):
            module = type(layer)(shape[1], shape[0], *shape[2:])
            module = make(module).eval()
            if make is spectral_norm:  # which computes the weight as the module runs
                module(torch.zeros(1, shape[1], *shape[2:]))
            state = {n: a.detach().numpy() for n, a in module.state_dict().items()}
            out, _ = folded(state)
            expected = module.weight.detach().numpy()
            np.testing.assert_allclose(out["weight"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 1), (4, 1, 1), (1, 4), (1, 1), (4,)])
@pytest.mark.parametrize("dim", [0, -1])
def test_a_weight_norm_of_single_numbers_is_as_pytorch_computes_it(shape, dim):
    torch = pytest.importorskip("torch")
    dim %= len(shape)
    weight = torch.from_numpy(numbers(*shape))
    v, g = weight.numpy(), np.abs(numbers(*(n if i == dim else 1 for i, n in enumerate(shape))))
    expected = torch._weight_norm(weight, torch.from_numpy(g), dim).numpy()
    out, unknown = folded({"weight_g": g, "weight_v": v})
    np.testing.assert_allclose(out["weight"], expected, rtol=1e-5)
    assert unknown == []

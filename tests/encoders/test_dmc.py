"""DMC: its signal, what padding must not do, and the published code's sizes."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.encoders import dmc
from wsjax.encoders.dmc import DMC, PUBLISHED_SMALL
from wsjax.views import padding

KEY = jax.random.key(0)
TINY = DMC(stages=((3,), (4, 2)), window=3, widths=(5,), code=3)
DEEP = DMC(stages=((4,), (4,), (6,), (6,)), widths=(8,), code=4)
MLP = architectures.mlp([2, 5, 4, 1], "tanh")
CNN = FAMILIES["cnn"][0]


def drawn(encoder, spec, dtype=np.float32):
    """Variables that are nowhere 0 or 1."""
    vectors = jnp.zeros((1, spec.count), jnp.float32)
    shapes = jax.eval_shape(encoder.init, KEY, vectors, encoder.view(spec))
    rng = np.random.default_rng(0)
    draw = lambda x: rng.standard_normal(x.shape) / math.sqrt(max(1, math.prod(x.shape[:-1])))
    return jax.tree.map(lambda x: (draw(x) + 0.1).astype(dtype), shapes)


def network(spec, seed=0, dtype=np.float32):
    params = testing.draw(jax.random.key(seed), spec)
    return np.asarray(networks.ravel(params, spec), dtype)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(lambda encoder, *x: encoder.apply(*x), static_argnums=0)


def by_hand(variables, x):
    """TINY on one signal [position], position by position."""
    p = variables["params"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * p[name]["scale"] + p[name]["bias"]

    def conv(x, name):
        kernel, out = p[f"conv_{name}"]["kernel"].reshape(3, x.shape[1], -1), []
        for i in range(len(x)):
            near = [(k, x[i + k - 1]) for k in range(3) if 0 <= i + k - 1 < len(x)]
            out.append(p[f"conv_{name}"]["bias"] + sum(v @ kernel[k] for k, v in near))
        return norm(np.maximum(out, 0), f"norm_{name}")

    halves = lambda x: np.stack([x[i : i + 2].max(0) for i in range(0, len(x), 2)])
    x = halves(conv(x[:, None], "0_0"))
    x = halves(conv(conv(x, "1_0"), "1_1"))
    x = np.concatenate([x.mean(0), x.max(0)]) @ p["map_0"]["kernel"] + p["map_0"]["bias"]
    x = norm(np.maximum(x, 0), "map_norm_0")
    return x @ p["code_map"]["kernel"] + p["code_map"]["bias"]


def test_it_is_given_by_its_equations(apply):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Flax's norms need it
        variables = drawn(TINY, MLP, np.float64)
        vectors = np.stack([network(MLP, seed, np.float64) for seed in range(2)])
        code = apply(TINY, variables, vectors, TINY.view(MLP))
        want = [by_hand(variables, x[TINY.view(MLP).order]) for x in vectors]
        assert code.dtype == np.float64
        np.testing.assert_allclose(code, want, rtol=1e-10)


def test_the_signal_is_laid_out_as_in_the_published_code():
    """By output, then input, the window last: W[:, :, j, i] of a kernel [row, col, in, out]."""
    params = {n: np.asarray(x) for n, x in testing.draw(KEY, CNN).items()}
    signal, want = np.asarray(networks.ravel(params, CNN))[DMC().view(CNN).order], []
    for a in CNN.arrays:
        x = params[a.name]
        if x.ndim == 4:
            want += [x[:, :, j, i].ravel() for i in range(x.shape[3]) for j in range(x.shape[2])]
        else:
            want += [x.T.ravel()]
    np.testing.assert_array_equal(signal, np.concatenate(want))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_and_company_change_no_number(apply, dtype):
    """Also of networks much shorter than their company, and than the pools halve."""
    specs = [MLP, architectures.mlp([1, 1, 1]), CNN, architectures.mlp([3, 1, 2])]
    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("standard"):
        variables, tight = drawn(DEEP, MLP, dtype), 1e-10 if dtype == np.float64 else 2e-5
        vectors = [network(spec, dtype=dtype) for spec in specs]
        padded = np.full((4, padding.rounded(max(map(len, vectors))) + 3), 99.0, dtype)
        for row, vector in zip(padded, vectors, strict=True):
            row[: len(vector)] = vector
        together = apply(DEEP, variables, padded, DEEP.stack([DEEP.view(s) for s in specs]))
        for spec, vector, code in zip(specs, vectors, together, strict=True):
            alone = apply(DEEP, variables, vector[None], DEEP.view(spec))[0]
            np.testing.assert_allclose(code, alone, rtol=tight, atol=tight)


def test_every_gradient_is_finite_behind_padding_too():
    specs = [MLP, architectures.mlp([1, 1, 1])]
    view, variables = DEEP.stack([DEEP.view(s) for s in specs]), drawn(DEEP, MLP)
    vectors = padding.vectors([network(s) for s in specs])
    loss = lambda v, x: (DEEP.apply(v, x, view) ** 2).sum()
    slope, by_entry = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, vectors)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 1e-6, path
    assert np.abs(by_entry[1, :4]).max() > 1e-6
    np.testing.assert_array_equal(by_entry[1, 4:], 0)


def test_it_reads_the_order_of_neurons_and_every_array(apply):
    variables, view, vector = drawn(DEEP, MLP), DEEP.view(MLP), network(MLP)
    encode = lambda p: apply(DEEP, variables, networks.ravel(p, MLP)[None], view)[0]
    params = networks.unravel(vector, MLP)
    with pytest.raises(AssertionError, match="depends on the order"):
        testing.assert_invariant(encode, params, MLP, jax.random.key(1))
    code = encode(params)
    for name, _, misaligned in testing.misalignments(params, MLP):
        assert np.abs(encode(misaligned) - code).max() > 1e-5, name


CHANGES = [{"norm": "none"}, {"pool": "mean"}, {"pool": "max"}, {"window": 4}, {"code": 3}]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_setting_changes_what_it_names(change):
    one, other = (str(jax.tree.map(jnp.shape, drawn(e, MLP))) for e in (DEEP, DEEP.clone(**change)))
    assert one != other
    assert ("norm" in other) == ("norm" not in change)


def test_dropout_needs_training(apply):
    encoder = DEEP.clone(dropout=0.5)
    variables, x, view = drawn(encoder, MLP), network(MLP)[None], encoder.view(MLP)
    np.testing.assert_array_equal(
        apply(encoder, variables, x, view), apply(DEEP, variables, x, view)
    )
    train = jax.jit(lambda k: encoder.apply(variables, x, view, True, rngs={"dropout": k}))
    assert np.abs(train(jax.random.key(1)) - train(jax.random.key(2))).max() > 1e-2


def count(encoder, spec):
    shapes = jax.eval_shape(encoder.init, KEY, jnp.zeros((1, spec.count)), encoder.view(spec))
    found = {}
    for path, x in jax.tree_util.tree_leaves_with_path(shapes["params"]):
        part = path[0].key.split("_")[0]
        found[part] = found.get(part, 0) + math.prod(x.shape)
    return found


def test_the_small_preset_has_the_layers_of_the_published_code():
    """But for the first map, which there reads 19 positions of 256 channels, here 2 of 256."""
    convs = [1, 8, 16, 32, 64, 128, 256, 256, 256, 256, 256, 256, 256]
    found = count(DMC(**PUBLISHED_SMALL), architectures.mlp([1, 50, 1]))
    assert found["conv"] == sum(5 * a * b + b for a, b in itertools.pairwise(convs))
    assert found["norm"] == 2 * sum(convs[1:])
    assert found["code"] == 1024 * 64 + 64
    assert found["map"] == (512 + 1 + 2) * 1024 + 3 * (1024 + 1 + 2) * 1024
    assert sum(found.values()) == 5_938_384
    length, lengths = 5000, []
    for _ in PUBLISHED_SMALL["stages"]:
        lengths, length = [*lengths, length], length // 2
    assert lengths == [5000, 2500, 1250, 625, 312, 156, 78, 39]  # a pool where more than 50
    assert length == 19


def test_the_default_has_about_a_hundred_thousand_parameters():
    spec = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
    assert sum(count(DMC(), spec).values()) == 96_752


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"norm": "batch"}, r"norm: expected one of \('layer', 'none'\), got 'batch'"),
        ({"pool": "last"}, "pool: expected one of .* got 'last'"),
        ({"stages": ((1,), (4,))}, "stages: expected channels of at least 2, got"),
        ({"stages": ()}, "stages: expected channels of at least 2, got"),
        ({"window": 0, "dropout": 1.0}, r"(?s)dropout: .*got 1.*window: .*got 0"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_named(settings, wrong):
    with pytest.raises(ValueError, match=wrong):
        DMC(**settings)


def test_one_channel_is_fine_without_a_norm():
    encoder = DMC(stages=((1,),), norm="none", widths=(), code=1)
    assert set(count(encoder, MLP)) == {"conv", "code"}


def test_what_does_not_fit_is_an_error():
    view = DEEP.view(MLP)
    read = lambda x, view: jax.eval_shape(lambda: DEEP.init(KEY, x, view))
    with pytest.raises(ValueError, match=r"expected networks \[batch, 44 or more\], got \[1, 43\]"):
        read(jnp.zeros((1, 43)), view)
    with pytest.raises(ValueError, match="got 3 networks and 2 views"):
        read(jnp.zeros((3, 44)), DEEP.stack([view, view]))
    with pytest.raises(ValueError, match="at least one array, got none"):
        DEEP.view(networks.Spec((), (), ()))


def test_pairs_of_positions():
    x = jnp.asarray([[[-1.0], [-2.0], [-3.0], [-4.0], [5.0]]])
    mask = jnp.asarray([[True, True, True, False, False]])
    y, left = dmc.halved(x, mask)
    np.testing.assert_array_equal(y[0, :2, 0], [-1, -3])
    np.testing.assert_array_equal(left, [[True, True, False]])
    np.testing.assert_array_equal(dmc.windows(x[:, :3], 4)[0, 1], [-1, -2, -3, 0])

"""Widening, in float64: a share that should not be there must not pass for rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.scaling_cases import CASES, FAMILIES, MORE

from wsjax import architectures, networks, testing
from wsjax.architectures import cnn, mlp
from wsjax.symmetries import widening

KEY = jax.random.key(7)
RUNS = FAMILIES | MORE
WIDE = {name: case for name, case in RUNS.items() if widening.widenable(case[0])}
CLOSED = {  # a norm over all hidden neurons
    *("cnn layer norm", "cnn one group", "cnn groups of one", "cnn flattened groups"),
    *("deepsets group norm", "resnet group norm", "resnet layer norm"),
    "residual of sines, layer norm",
}
SOME = [  # each another case in which an array has a hidden axis
    *("mlp", "cnn flattened", "cnn batch norm", "cyclic", "resnet without norm", "vit"),
    *("triplane", "hash grid", "cnn of one channel"),
]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def outputs(params, spec, shape):
    dtype = next(iter(params.values())).dtype
    x = jax.random.normal(jax.random.key(1), (6, *shape), dtype)
    return jax.jit(architectures.forward, static_argnums=2)(params, x, spec)


@pytest.mark.parametrize("name", SOME)
def test_the_function_is_preserved_by_one_more_neuron(name):
    spec, shape = RUNS[name]
    params = testing.draw(KEY, spec)
    wide, wider = widening.widen(params, spec, jax.random.key(3))
    networks.check(wide, wider)
    before = dict(spec.sizes)
    grown = {h for h, size in wider.sizes if size == before[h] + 1}
    assert grown == set(widening.widenable(spec))
    assert grown
    assert all(size == before[h] for h, size in wider.sizes if h not in grown)
    assert dataclasses.replace(wider, sizes=spec.sizes) == spec
    y, wide_y = outputs(params, spec, shape), outputs(wide, wider, shape)
    np.testing.assert_allclose(wide_y, y, rtol=1e-9, atol=1e-12)
    a = next(a for a in wider.arrays if {a.axes[i] for i in a.reads} & grown)
    axis = next(i for i in a.reads if a.axes[i] in grown)
    without = np.array(wide[a.name])
    np.moveaxis(without, axis, 0)[-1] = 0
    other = outputs({**wide, a.name: jnp.asarray(without)}, wider, shape)
    assert np.abs(other - y).max() > 1e-4 * np.abs(y).max(), "the copy's share counts"


def test_what_cannot_be_widened_is_known():
    assert {name for name in RUNS if name not in WIDE} == CLOSED
    assert widening.widenable(CASES["dimensions within heads"][0]) == ("s",)
    assert widening.widenable(CASES["attention of two reads and writes"][0]) == ("s",)
    assert widening.widenable(FAMILIES["cnn group norm"][0]) == ("h0",)
    assert widening.widenable(FAMILIES["vit"][0]) == ("h0", "h1")


def test_what_is_closed_would_move_the_function():
    """The copy of a channel changes what a LayerNorm divides by."""
    spec = cnn([2, 4], [3], norm="layer", activation="tanh")
    plain = cnn([2, 4], [3], norm="batch", activation="tanh")
    params = testing.draw(KEY, spec)
    extra = {f"BatchNorm_0/{p}": jnp.ones(4) for p in ("mean", "var")}
    same = {n.replace("Layer", "Batch"): x for n, x in params.items()} | extra
    wide, wider = widening.widen(same, plain, jax.random.key(3))
    wide = {n.replace("Batch", "Layer"): x for n, x in wide.items()}
    wide = {n: x for n, x in wide.items() if n.rpartition("/")[2] not in ("mean", "var")}
    forced = dataclasses.replace(spec, sizes=wider.sizes)
    y, other = outputs(params, spec, (5, 5, 2)), outputs(wide, forced, (5, 5, 2))
    assert np.abs(other - y).max() > 1e-3 * np.abs(y).max()


def test_an_axis_that_an_array_reads_and_writes():
    spec = CASES["one axis twice in an array"][0]
    params = testing.draw(KEY, spec)
    wide, wider = widening.widen(params, spec, jax.random.key(3))
    networks.check(wide, wider)

    def state(p):
        h = jnp.tanh(jnp.ones(2) @ p["In/kernel"] + p["In/bias"])
        h = jnp.tanh(h @ p["Recurrent/kernel"] + p["Recurrent/bias"])
        return h, h @ p["Out/kernel"]

    (h, y), (wide_h, wide_y) = state(params), state(wide)
    np.testing.assert_allclose(wide_y, y, rtol=1e-12)
    np.testing.assert_allclose(wide_h[:-1], h, rtol=1e-12)
    assert np.abs(h - wide_h[-1]).min() < 1e-12  # a copy of one of them


def test_the_key_says_which_neuron_and_how_it_is_shared():
    spec = mlp([2, 8, 1], "tanh")
    params = testing.draw(KEY, spec)
    copied, shares = set(), set()
    for seed in range(12):
        wide, _ = widening.widen(params, spec, jax.random.key(seed))
        (which,) = np.flatnonzero(params["Dense_0/bias"] == wide["Dense_0/bias"][-1])
        share = float(wide["Dense_1/kernel"][which, 0] / params["Dense_1/kernel"][which, 0])
        low, high = widening.SHARE
        assert low <= share <= high
        copied.add(int(which))
        shares.add(share)
    assert len(copied) > 3
    assert len(shares) == 12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_and_dtypes_are_kept(dtype):
    spec = mlp([2, 5, 4, 1], "tanh")
    zoo = {n: x.astype(dtype) for n, x in testing.draw(KEY, spec, (3,)).items()}
    wide, wider = widening.widen(zoo, spec, jax.random.key(3))
    assert {x.dtype for x in wide.values()} == {jnp.dtype(dtype)}
    for i in range(3):
        y = outputs({n: x[i] for n, x in zoo.items()}, spec, (2,))
        other = outputs({n: x[i] for n, x in wide.items()}, wider, (2,))
        np.testing.assert_allclose(other, y, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (mlp([3, 2]), "no hidden axis can be widened: there is none"),
        (cnn([2, 4], [3], norm="layer"), r"'c0': LayerNorm_0 normalises over it \(layer norm\)"),
        (cnn([2, 4], [3], norm="group", groups=2), "'c0_group': GroupNorm_0 normalises over it"),
        (
            dataclasses.replace(
                CASES["attention of two reads and writes"][0], hidden=("head", "qk", "v")
            ),
            r"'qk': Attention_0 has it inside its attention\n.*'v': .*attention",
        ),
        (dataclasses.replace(mlp([3, 2]), hidden=("y",)), "'y': the output consists of it"),
    ],
    ids=["none", "layer norm", "group norm", "attention", "output"],
)
def test_networks_that_cannot_be_widened_are_rejected(spec, message):
    with pytest.raises(ValueError, match=message):
        widening.widen(testing.draw(KEY, spec), spec, KEY)

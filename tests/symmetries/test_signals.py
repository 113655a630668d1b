"""Factors of signals against the function itself: none too many, none too few."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import FORWARDS, SPECS, attend, attention, dense, kernel, norm, spec, vector
from cases.families import FAMILIES
from cases.scaling_cases import CASES, MIXED, MORE, chain_of, draw, moved, runs, setting, stacked

from wsjax import networks
from wsjax.architectures import ACTIVATIONS, cnn, deepsets, grid, mlp, resnet, vit
from wsjax.networks import Layer
from wsjax.symmetries.signals import scaling_group
from wsjax.views.wiring import wiring


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def layer_norm(level, *roles, activation="tanh"):
    arrays = tuple(vector("Norm_0", r, "h") for r in roles)
    return Layer("Norm_0", "norm", level, arrays, activation, settings=(("norm", "layer"),))


def words(network):
    have = scaling_group(network)
    out = {
        n: ["sign"] * f.sign + ["scale"] * f.scale + list(f.axes) for n, f in have.factors.items()
    }
    for n in have.phases:
        out[n] = [*out.get(n, []), "phase"]
    return {n: " ".join(x) for n, x in out.items()}


def test_what_admits_what():
    assert words(MIXED) == {
        "Dense_0": "scale h0",  # relu
        "Dense_1": "sign h1 phase",  # sine
        "Dense_2": "sign scale h2",  # linear
        "Dense_3": "sign h3",  # tanh
        "Dense_4": "scale h4",  # leaky relu
        "Dense_6": "sign h6 phase",  # after a gelu, which admits nothing
    }
    assert words(MORE["residual of relu without norm"][0]) == {
        **{"Conv_0": "scale s", "Conv_1": "scale c0", "Conv_3": "scale c1"}
    }
    assert words(MORE["residual of sines"][0])["Residual_0"] == "phase"
    assert words(MORE["sine and maxima"][0]) == {"Dense_0": "sign h0 phase"}
    assert words(MORE["sine after batch norm"][0]) == {
        **{"Conv_0": "sign scale c0", "BatchNorm_0": "sign c0 phase", "Dense_0": "sign h0 phase"}
    }
    assert words(MORE["transformer of relu"][0])["Dense_0"] == "scale h0"
    assert words(FAMILIES["vit of one head"][0]) == {
        "Conv_0": "sign",  # the whole stream, which LayerNorms read
        "LayerNorm_0": "sign scale s",
        "MultiHeadDotProductAttention_0/query": "sign scale head0 qk0",
        "MultiHeadDotProductAttention_0/value": "sign scale head0 v0",
        "LayerNorm_1": "sign scale s",
        "LayerNorm_2": "sign scale s",
    }
    assert words(FAMILIES["cnn group norm"][0])["Conv_0"] == "sign c0_group"
    for name in ("one axis twice in an array", "recurrence of sines"):
        assert words(CASES[name][0]) == {"In": "sign h0"}


# Nothing is missed: every pattern of signs of a small network is tried, and exponents of
# factors are solved for.

BOTH = dict(x=2, h=3, y=1)
SMALL = {  # spec, its forward pass if not ours, how many patterns preserve the function
    "tanh": (mlp([1, 2, 1], "tanh"), None, 4),
    "sine": (mlp([1, 2, 1], "sin"), None, 4),
    "linear": (mlp([1, 2, 1], "none"), None, 4),
    "relu": (mlp([1, 2, 1], "relu"), None, 1),
    "gelu": (mlp([1, 2, 1], "gelu"), None, 1),
    "gelu of tanh": (mlp([1, 2, 1], "gelu_tanh"), None, 1),
    "sigmoid": (mlp([1, 2, 1], "sigmoid"), None, 1),
    "mean": (cnn([1, 2], [1], kernel=1, activation="tanh"), None, 4),
    "maximum": (cnn([1, 2], [1], kernel=1, pool="max", activation="tanh"), None, 1),
    "batch norm": (cnn([1, 1], [1], kernel=1, norm="batch", activation="tanh"), None, 4),
    "batch norm, relu": (cnn([1, 1], [1], kernel=1, norm="batch"), None, 2),
    "layer norm": (
        spec(
            Layer("Dense_0", "dense", 0, (kernel("Dense_0", "x", "h", reads=(0,), writes=(1,)),)),
            layer_norm(1, "scale"),
            Layer("Dense_1", "dense", 2, (kernel("Dense_1", "h", "y", reads=(0,), writes=(1,)),)),
            hidden=("h",),
            **BOTH,
        ),
        None,
        2 * 8,
    ),
    "residual": (dataclasses.replace(
        SPECS["residual without arrays"], sizes=(("x", 2), ("h0", 1), ("h1", 1), ("y", 1))
    ), FORWARDS["residual without arrays"], 4),
    "attention": (dataclasses.replace(
        SPECS["attention of two reads and writes"],
        sizes=(("x", 3), ("s", 1), ("head", 1), ("qk", 1), ("v", 1), ("y", 1)),
    ), attend, 8),
}  # fmt: skip
POSITIONS = {"mean": (3, 3), "maximum": (3, 3), "batch norm": (3, 3), "batch norm, relu": (3, 3)}


@pytest.mark.parametrize("name", SMALL)
def test_no_sign_is_missed(name):
    network, forward, want = SMALL[name]
    shape = (60,) if forward else (*POSITIONS.get(name, ()), dict(network.sizes)["x"])
    x = 2 * jax.random.normal(jax.random.key(1), (40, *shape))
    vector = networks.ravel(draw(network, seed=0), network)  # no relu of these is dead
    patterns = np.indices((2,) * network.count, np.int8).reshape(network.count, -1).T
    run = lambda v: jax.vmap(forward or runs(network), (None, 0))(networks.unravel(v, network), x)
    out = jax.jit(jax.vmap(lambda s: run(vector * (1.0 - 2.0 * s))))(jnp.asarray(patterns, float))
    same = np.abs(out - out[0]).reshape(len(patterns), -1).max(1) < 1e-9
    sizes, have = dict(network.sizes), scaling_group(network)
    signs = sum(math.prod(sizes[a] for a in f.axes) for f in have.factors.values() if f.sign)
    assert same.sum() == want == 2**signs


EXPONENTS = {  # with an epsilon so large that nearly a symmetry is clearly none
    "mixed": (MIXED, (2,)),
    "relu": (mlp([2, 3, 3, 1]), (2,)),
    "tanh": (mlp([2, 3, 3, 1], "tanh"), (2,)),
    "maxima": (cnn([1, 2, 3], [2, 1], kernel=2, max_pool=2), (6, 6, 1)),
    "batch norm": (cnn([1, 2], [2, 1], kernel=2, norm="batch", epsilon=0.3), (4, 4, 1)),
    "group norm": (deepsets([2, 4], [3, 1], norm="group", groups=2, epsilon=0.3), (4, 2)),
    "layer norm": (deepsets([2, 3], [3, 1], norm="layer", epsilon=0.3), (4, 2)),
    "residual": (resnet(1, [2], 2, blocks=1, kernel=2, epsilon=0.3), (4, 4, 1)),
    "attention": (
        vit(1, 3, 2, size=(6,), patch=2, blocks=1, heads=1, mlp_width=3, activation="relu",
            key_bias=False, epsilon=0.3),
        (6, 1),
    ),
    "grid": (grid([3], 2, [3, 1]), (1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPONENTS)
def test_no_scale_is_missed(name):
    """Exponents u with f(p exp(t u)) = f(p) for all p and t are the null space of df / dlog p."""
    network, shape = EXPONENTS[name]
    x = jax.random.normal(jax.random.key(1), (24, *shape))

    def run(logs, vector):
        params = networks.unravel(vector * jnp.exp(logs), network)
        return jax.vmap(runs(network), (None, 0))(params, x)

    vectors = networks.ravel(draw(network, (24,)), network)
    slopes = jax.jit(jax.vmap(jax.jacfwd(run), (None, 0)))(jnp.zeros(network.count), vectors)
    values = np.linalg.svd(np.asarray(slopes).reshape(-1, network.count), compute_uv=False)
    sizes, have = dict(network.sizes), scaling_group(network)
    want = sum(math.prod(sizes[a] for a in f.axes) for f in have.factors.values() if f.scale)
    assert (values < 1e-9 * values[0]).sum() == want
    assert (values < 1e-5 * values[0]).sum() == want  # none is in between


def scaled_by_hand(params, network, place, factor):
    """Multiplies what writes the first neuron of a place, and divides what reads it."""
    out = {name: np.array(array) for name, array in params.items()}
    for j in wiring(network).joins:
        for axes, own, f in (
            (j.write_axes, j.writes, factor),
            (j.read_axes, j.reads, 1 / factor),
        ):
            if own == place and j.array.role not in ("mean", "variance"):
                index = tuple(0 if i in axes else slice(None) for i in range(len(j.array.axes)))
                out[j.array.name][index] *= f
    return {name: jnp.asarray(array) for name, array in out.items()}


@functools.partial(jax.jit, static_argnums=0)
def run_chain(network, copies):
    x = jnp.asarray(np.random.default_rng(1).standard_normal((9, 2)))
    return jax.vmap(lambda p: runs(network)(p, x))(copies)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("kind", "factor"), [("sign", -1.0), ("scale", 2.0)])
def test_an_activation_admits_what_it_lets_pass(activation, kind, factor):
    network = chain_of(activation)
    params = draw(network)
    other = scaled_by_hand(params, network, 1, factor)
    here, there = run_chain(network, stacked(params, other))
    same = moved(there, here) < 1e-9
    have = scaling_group(network).factors.get("Dense_0")
    assert same == bool(have and getattr(have, kind))


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("vit of one head", ("s",)),
        ("vit of one head", ("h0",)),
        ("cnn layer norm", ("c0",)),
        ("cnn batch norm", ("c0",)),
        ("cnn one group", ("c0_group", "c0_member")),
        ("resnet without norm", ("s",)),
        ("mlp", ("y",)),
        ("sine and maxima", ("c0",)),
        ("residual of relu", ("s",)),
    ],
)
@pytest.mark.parametrize("factor", [-1.0, 2.0])
def test_a_factor_that_is_not_admitted_changes_the_function(name, axes, factor):
    network, params, run = setting(name)
    place = next(i for i, p in enumerate(wiring(network).places) if p.axes == axes)
    other = scaled_by_hand(params, network, place, factor)
    here, there = run(stacked(params, other))
    assert moved(there, here) > 1e-4


def test_queries_and_keys_are_scaled_against_each_other():
    network, params, run = setting("vit of one head")
    other = scaled_by_hand(params, network, 2, 2.0)  # both alike: their product grows
    here, there = run(stacked(params, other))
    assert moved(there, here) > 1e-4


def test_a_layer_that_is_not_understood_admits_nothing_around_it():
    strange = Layer("Norm_0", "norm", 1, (vector("Norm_0", "bias", "h"),), "tanh")
    network = spec(
        dense("Dense_0", 0, "x", "h"), strange, dense("Dense_1", 2, "h", "y"), hidden=("h",), **BOTH
    )
    assert scaling_group(network).factors == {}
    three = tuple(a for a in attention().arrays if not a.name.startswith("Out"))
    odd = Layer("Attention_0", "attention", 1, three)
    embed = Layer("Embed", "embedding", 0, (kernel("Embed", "x", "s", reads=(0,), writes=(1,)),))
    last = Layer("Last", "dense", 2, (kernel("Last", "head", "v", "y", reads=(0, 1), writes=(2,)),))
    sizes = dict(x=3, s=6, head=2, qk=4, v=3, y=2)
    network = spec(embed, odd, last, hidden=("s", "head", "qk", "v"), **sizes)
    assert scaling_group(network).factors == {}
    biases = tuple(a for a in attention().arrays if a.role == "bias")
    kernels = tuple(a for a in attention().arrays if a.role == "kernel")
    for arrays in (kernels + biases, biases + kernels):  # whose bias is whose?
        layers = (embed, Layer("Attention_0", "attention", 1, arrays), dense("Last", 2, "s", "y"))
        network = spec(*layers, hidden=("s", "head", "qk", "v"), **sizes)
        assert scaling_group(network).factors == {}
    normed = spec(
        dense("Dense_0", 0, "x", "h"), norm("Norm_0", 1, "h"), dense("Dense_1", 2, "h", "y"),
        hidden=("h",), **BOTH,
    )  # fmt: skip
    assert set(scaling_group(normed).factors) == {"Dense_0", "Norm_0"}

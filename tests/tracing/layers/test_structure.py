"""Layers read off programs: those of our own families are the handwritten Specs'."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cases.families import FAMILIES
from tests.cases.tracing import axes_of, jaxpr_of
from wsjax.symmetries.signals import scaling_group
from wsjax.tracing.axes import axes
from wsjax.tracing.layers import Structure, spec_of, structure
from wsjax.views.graphs import parameter_graph


def traced(spec, shape):
    jaxpr, names = jaxpr_of(spec, shape)
    return spec_of(structure(jaxpr, names), names, axes_of(spec))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_layers_of_its_spec(name):
    spec, shape = FAMILIES[name]
    found = traced(spec, shape)
    for layer, want in zip(found.layers, spec.layers, strict=True):
        omega = want.omega if want.activation != "none" else 1.0
        same = dataclasses.replace(want, settings=layer.settings, omega=omega)
        assert layer == same


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_graph_and_the_scalings_of_its_spec(name):
    spec, shape = FAMILIES[name]
    found = traced(spec, shape)
    graph, want = parameter_graph(found), parameter_graph(spec)
    for field in dataclasses.fields(graph):
        got, expected = getattr(graph, field.name), getattr(want, field.name)
        np.testing.assert_array_equal(got, expected, field.name)
    assert scaling_group(found) == scaling_group(spec)


def layers_of(function, params, *inputs):
    """The Spec of a function of a dict of shapes, without running it."""
    names = list(params)
    arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in params.values()]
    run = lambda arrays, *x: function(dict(zip(names, arrays, strict=True)), *x)
    jaxpr = jax.make_jaxpr(run)(arrays, *inputs)
    return spec_of(structure(jaxpr, names), names, axes(jaxpr, names))


def rows(spec):
    return [(x.kind, x.level, x.activation, [a.role for a in x.arrays]) for x in spec.layers]


X = jax.ShapeDtypeStruct((4, 3), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)


def test_kernels_are_read_in_any_order_of_axes():
    params = {"w": (6, 3), "b": (6,), "v": (2, 6)}
    model = lambda p, x: jnp.einsum("oh,bh->bo", p["v"], jax.nn.relu(x @ p["w"].T + p["b"]))
    spec = layers_of(model, params, X)
    want = [("dense", 0, "relu", ["kernel", "bias"]), ("dense", 1, "none", ["kernel"])]
    assert rows(spec) == want
    assert [a.reads for a in spec.arrays] == [(1,), (), (1,)]
    assert [f.scale for f in scaling_group(spec).factors.values()] == [True]


def test_a_batch_norm_is_recognised_folded_into_a_factor_and_an_offset():
    params = {"w": (3, 6), "scale": (6,), "bias": (6,), "mean": (6,), "var": (6,), "v": (6, 2)}

    def model(p, x):
        factor = p["scale"] * jax.lax.rsqrt(p["var"] + 1e-5)
        return jax.nn.relu((x @ p["w"]) * factor + (p["bias"] - p["mean"] * factor)) @ p["v"]

    norm = layers_of(model, params, X).layers[1]
    assert norm.kind == "norm"
    assert dict(norm.settings) == {"norm": "batch"}
    assert [(a.name, a.role) for a in norm.arrays] == [
        ("scale", "scale"), ("bias", "bias"), ("mean", "mean"), ("var", "variance")
    ]  # fmt: skip


def test_norms_differ_by_their_invariances():
    params = {"w": (3, 6), "scale": (6,), "v": (6, 2)}
    centred = lambda x: x - x.mean(-1, keepdims=True)
    over = lambda x, c: x / jnp.sqrt(jnp.square(c).mean(-1, keepdims=True) + 1e-6)
    kinds = {}
    for name, f in {
        "layer": lambda x: over(centred(x), centred(x)),
        "rms": lambda x: over(x, x),
        "neither": jax.nn.softmax,
    }.items():
        model = lambda p, x, f=f: (f(x @ p["w"]) * p["scale"]) @ p["v"]
        spec = layers_of(model, params, X)
        kinds[name] = dict(spec.layers[1].settings).get("norm"), spec.layers[0].activation
    assert kinds == {
        "layer": ("layer", "none"), "rms": ("rms", "none"), "neither": (None, "other")
    }  # fmt: skip


@pytest.mark.parametrize("activation", [jax.nn.silu, jax.nn.relu, jnp.square, lambda x: x])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_a_scaled_norm_without_bias_is_activated_after_its_scale(kind, folded, activation):
    params = {"w": (3, 6), "scale": (6,), "v": (6, 2)}

    def model(p, x):
        x = x @ p["w"]
        x = x - x.mean(-1, keepdims=True) if kind == "layer" else x
        by = jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)
        return activation(x * (by * p["scale"]) if folded else x * by * p["scale"]) @ p["v"]

    spec = layers_of(model, params, X)
    name = {jax.nn.silu: "silu", jax.nn.relu: "relu", jnp.square: "other"}.get(activation, "none")
    assert [(x.kind, x.activation) for x in spec.layers] == [
        ("dense", "none"), ("norm", name), ("dense", "none")
    ]  # fmt: skip
    assert dict(spec.layers[1].settings)["norm"] == kind
    own = [f.scale for n, f in scaling_group(spec).factors.items() if n == spec.layers[1].name]
    assert own == ([True] if name in ("relu", "none") else [])


def test_a_gate_is_a_residual_that_nothing_commutes_with():
    params = {"gate": (3, 6), "up": (3, 6), "down": (6, 2)}
    spec = layers_of(
        lambda p, x: (jax.nn.relu(x @ p["gate"]) * (x @ p["up"])) @ p["down"], params, X
    )
    assert [(x.kind, x.activation) for x in spec.layers] == [
        ("dense", "relu"), ("dense", "none"), ("residual", "other"), ("dense", "none")
    ]  # fmt: skip
    assert not scaling_group(spec).factors


@pytest.mark.parametrize("rotated", [False, True])
def test_an_attention_is_found_fused_and_loses_its_scales_when_rotated(rotated):
    params = {"qkv": (8, 24), "bias": (24,), "out": (8, 8), "head": (8, 2)}
    turn = lambda x: jnp.concatenate([x[..., 2:] * 0.6, x[..., :2] * 0.8], -1) + x * 0.5

    def model(p, x):
        q, k, v = jnp.split((x @ p["qkv"] + p["bias"]).reshape(2, 5, 6, 4), 3, axis=-2)
        q, k = (turn(q), turn(k)) if rotated else (q, k)
        weights = jax.nn.softmax(jnp.einsum("bthd,buhd->bhtu", q, k) / 2)
        y = jnp.einsum("bhtu,buhd->bthd", weights, v).reshape(2, 5, 8)
        return (x + y @ p["out"]) @ p["head"]

    spec = layers_of(model, params, TOKENS)
    attention = spec.layers[0]
    assert attention.kind == "attention"
    if not rotated:
        assert [a.role for a in attention.arrays] == ["kernel", "bias"] * 3 + ["kernel"]
    scaled = [n for n in scaling_group(spec).factors if n.startswith(attention.name)]
    assert len(scaled) == (0 if rotated else 2)


def test_the_steps_of_a_scan_are_layers():
    params = {"i": (3, 6), "w": (4, 6, 5), "b": (4, 5), "v": (4, 5, 6), "o": (6, 2)}

    def model(p, x):
        step = lambda h, q: (h + jax.nn.relu(h @ q[0] + q[1]) @ q[2], None)
        return jax.lax.scan(step, x @ p["i"], (p["w"], p["b"], p["v"]))[0] @ p["o"]

    spec = layers_of(model, params, X)
    assert [x.kind for x in spec.layers] == ["dense", *["dense", "dense", "residual"] * 4, "dense"]
    assert [x.activation for x in spec.layers].count("relu") == 4
    parameter_graph(spec)


@pytest.mark.parametrize("joined", [jnp.add, jnp.multiply])
def test_a_loop_whose_result_meets_its_start(joined):
    params = {"b": (3, 6), "steps": (3, 6, 6), "o": (6, 2)}

    def model(p, x):
        start = x @ p["b"]
        step = lambda h, w: (h + jax.nn.relu(h @ w), None)
        return joined(jax.lax.scan(step, start, p["steps"])[0], start) @ p["o"]

    spec = layers_of(model, params, X)
    assert {a.name for a in spec.arrays} == set(params)
    claimed = [f.scale for f in scaling_group(spec).factors.values()]
    assert claimed == ([True] if joined is jnp.add else [])  # a product is of degree two


@pytest.mark.parametrize(
    "features",
    [
        lambda p, t: jnp.sin(t * jnp.arange(8.0)),
        lambda p, t: jnp.arange(8.0) * p["number"],
        lambda p, t: jnp.arange(8.0) + t,
        lambda p, t: t * p["vector"] + p["vector"],
    ],
)
def test_numbers_meet_arrays(features):
    params = {"number": (), "vector": (8,), "a": (8, 6), "o": (6, 2)}
    model = lambda p, t: jax.nn.relu(features(p, t) @ p["a"] + t * 0) @ p["o"]
    spec = layers_of(model, params, jax.ShapeDtypeStruct((), jnp.float32))
    assert {a.name for a in spec.arrays} == set(params)
    read = {a.name: a.axes for a in spec.arrays}
    assert read["a"][1] == read["o"][0]


def test_a_recurrence_reads_what_it_writes():
    params = {"wx": (3, 6), "wh": (6, 6), "o": (6, 2)}

    def model(p, x):
        step = lambda h, x: (jax.nn.relu(x @ p["wx"] + h @ p["wh"]), None)
        return jax.lax.scan(step, jnp.zeros((4, 6)), x)[0] @ p["o"]

    spec = layers_of(model, params, jax.ShapeDtypeStruct((7, 4, 3), jnp.float32))
    assert rows(spec)[0] == ("dense", 0, "relu", ["kernel", "kernel"])
    (factor,) = scaling_group(spec).factors.values()
    assert (factor.scale, factor.sign) == (True, False)


def test_grouped_and_depthwise_kernels_are_block_diagonals():
    params = {"a": (1, 1, 3, 6), "deep": (3, 3, 1, 6), "group": (1, 1, 3, 8), "o": (8, 2)}

    def model(p, x):
        conv = lambda x, w, n: jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=n
        )
        x = conv(jax.nn.relu(conv(conv(x, p["a"], 1), p["deep"], 6)), p["group"], 2)
        return x.mean((1, 2)) @ p["o"]

    spec = layers_of(model, params, jax.ShapeDtypeStruct((2, 5, 7, 3), jnp.float32))
    arrays = {a.name: a for a in spec.arrays}
    both = {n: [a.axes[i] for i in a.reads if i in a.writes] for n, a in arrays.items()}
    sizes = dict(spec.sizes)
    assert [sizes[x] for x in both["group"]] == [2]
    assert int(np.prod([sizes[x] for x in both["deep"]])) == 6
    parameter_graph(spec)


@pytest.mark.parametrize(
    "model",
    [
        lambda p, x: jnp.sin(x @ p["a"]) @ p["o"] + x @ p["a"] @ p["o"],  # the signal itself too
        lambda p, x: (x @ p["a"] + 1) @ p["o"],
        lambda p, x: (x @ (p["a"] / jnp.linalg.norm(p["a"], axis=0))) @ p["o"],
        lambda p, x: jnp.square(jax.nn.relu(x @ p["a"])).sum(-1),
        lambda p, x: jax.nn.softmax(x @ p["a"]) @ p["o"],
        lambda p, x: jnp.sort(x @ p["a"], axis=0) @ p["o"] + jnp.exp(x @ p["a"]) @ p["o"],
    ],
)
def test_no_scale_is_claimed_of_what_does_not_commute(model):
    spec = layers_of(model, {"a": (3, 6), "o": (6, 2)}, X)
    assert not scaling_group(spec).factors
    assert not scaling_group(spec).phases


def test_numbers_of_their_own_and_unused_arrays_lie_beside_the_network():
    params = {"a": (3, 6), "scale": (), "unused": (5,), "o": (6, 2)}
    spec = layers_of(lambda p, x: jax.nn.relu(x @ p["a"]) * p["scale"] @ p["o"], params, X)
    assert {a.name for a in spec.arrays} == set(params)
    assert [f.scale for f in scaling_group(spec).factors.values()] == [True]
    assert parameter_graph(spec).parameter.max() + 1 == spec.count


def test_what_is_not_understood_is_no_error():
    params = {"a": (3, 4), "b": (4, 4), "o": (4, 2)}
    model = lambda p, x: (jnp.fft.fft(x @ p["a"]).real @ jnp.linalg.inv(p["b"])) @ p["o"]
    spec = layers_of(model, params, X)
    assert {a.name for a in spec.arrays} == set(params)
    assert spec.layers[0].activation == "other"


def test_blocks_that_take_in_each_other_have_levels_in_order():
    spec, shape = FAMILIES["mlp"]
    jaxpr, names = jaxpr_of(spec, shape)
    first, second, *rest = structure(jaxpr, names).blocks
    circle = Structure((dataclasses.replace(first, inputs=(1,)), second, *rest))
    found = spec_of(circle, names, axes_of(spec))
    assert {x.activation for x in found.layers} == {"other"}
    assert [x.level for x in found.layers] == list(range(len(found.layers)))

"""The axes of small functions, one for each way in which neurons are told apart.

A case is a function of (parameters by name, input [2, 3]) and the names it gives to the axes of
each array; the battery acts on the parameters by those names and runs the function.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from wsjax.networks import Array, Layer, Spec
from wsjax.symmetries import permutations
from wsjax.tracing.axes import axes

RNG = np.random.default_rng(0)


def arrays(**shapes):
    return {n: RNG.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def scan_of_layers(p, x):
    step = lambda h, w: (h + jnp.tanh(h @ w["in"]) @ w["out"], None)
    return jax.lax.scan(step, x @ p["stem"], {"in": p["in"], "out": p["out"]})[0] @ p["head"]


def attention(q, k, v):
    scores = jnp.einsum("qhd,khd->hqk", q, k)
    return jnp.einsum("hqk,khd->qhd", jax.nn.softmax(scores), v)


def fused_by_split(p, x):
    q, k, v = (t.reshape(2, 2, 4) for t in jnp.split(x @ p["qkv"], 3, axis=-1))
    return attention(q, k, v).reshape(2, 8) @ p["out"]


def fused_by_index(p, x):
    q, k, v = jnp.moveaxis((x @ p["qkv"]).reshape(2, 3, 2, 4), 1, 0)
    return attention(q, k, v).reshape(2, 8) @ p["out"]


def grouped(p, x):
    """Six neurons as three positions of two."""
    return jnp.tanh(x @ p["a"]).reshape(2, 3, 2)


def gates(p, x):
    i, f, o, g = jnp.split(x @ p["w"] + p["b"], 4, axis=-1)
    return (jnp.tanh(jax.nn.sigmoid(f) + jax.nn.sigmoid(i) * jnp.tanh(g)) * o) @ p["out"]


def experts(p, x):
    _, chosen = jax.lax.top_k(x @ p["router"], 1)
    hidden = jnp.tanh(jnp.einsum("bi,eih->beh", x, p["in"]))
    each = jnp.einsum("beh,eho->beo", hidden, p["out"])
    return jnp.take_along_axis(each, chosen[..., None], 1)[:, 0]


CASES = {  # name -> function, shapes, (hidden axis, size, within) of all hidden axes in order
    "chain": (
        lambda p, x: jnp.tanh(x @ p["a"] + p["b"]) @ p["c"],
        {"a": (3, 5), "b": (5,), "c": (5, 2)},
        [(5, None)],
    ),
    "transposed storage": (
        lambda p, x: jnp.tanh(x @ p["a"].T) @ p["c"].T,
        {"a": (5, 3), "c": (2, 5)},
        [(5, None)],
    ),
    "concatenated": (
        lambda p, x: jnp.concatenate([x @ p["a"], jnp.sin(x @ p["b"])], -1) @ p["c"],
        {"a": (3, 4), "b": (3, 5), "c": (9, 2)},
        [(4, None), (5, None)],
    ),
    "a skip of the input": (
        lambda p, x: jnp.concatenate([jnp.sin(x @ p["a"]), x], -1) @ p["c"],
        {"a": (3, 4), "c": (7, 2)},
        [(4, None)],
    ),
    "padded channels": (
        lambda p, x: (jnp.pad(x @ p["a"], ((0, 0), (0, 2))) + x @ p["b"]) @ p["c"],
        {"a": (3, 4), "b": (3, 6), "c": (6, 2)},
        [(4, None), (2, None)],
    ),
    "one neuron apart": (
        lambda p, x: ((h := x @ p["a"])[:, :1] * h[:, 1:]) @ p["c"],
        {"a": (3, 6), "c": (5, 2)},
        [(5, None)],
    ),
    "gates": (gates, {"w": (3, 20), "b": (20,), "out": (5, 2)}, [(5, None)]),
    "heads, fused, split": (
        fused_by_split,
        {"qkv": (3, 24), "out": (8, 2)},
        [(2, None), (4, 0), (4, 0)],
    ),
    "heads, fused, index": (
        fused_by_index,
        {"qkv": (3, 24), "out": (8, 2)},
        [(2, None), (4, 0), (4, 0)],
    ),
    "layers of a scan": (
        scan_of_layers,
        {"stem": (3, 6), "in": (3, 6, 5), "out": (3, 5, 6), "head": (6, 2)},
        [(6, None), (5, None), (5, None), (5, None)],
    ),
    "experts of top_k": (
        experts,
        {"router": (3, 4), "in": (4, 3, 5), "out": (4, 5, 2)},
        [(5, None)] * 4,
    ),
    "experts, soft": (
        lambda p, x: jnp.einsum(
            "be,beo->bo",
            jax.nn.softmax(x @ p["router"]),
            jnp.einsum("beh,eho->beo", jnp.tanh(jnp.einsum("bi,eih->beh", x, p["in"])), p["out"]),
        ),
        {"router": (3, 4), "in": (4, 3, 5), "out": (4, 5, 2)},
        [(4, None), (5, 0)],
    ),
    "tied": (
        lambda p, x: jnp.tanh(x @ p["a"]) @ p["a"].T,
        {"a": (3, 5)},
        [(5, None)],
    ),
    "recurrent": (
        lambda p, x: (
            jax.lax.fori_loop(0, 3, lambda _, h: jnp.tanh(h @ p["w"]), x @ p["a"]) @ p["c"]
        ),
        {"a": (3, 5), "w": (5, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "a branch": (
        lambda p, x: jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.tanh, x @ p["a"]) @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "every second": (
        lambda p, x: ((h := x @ p["a"])[:, ::2] * h[:, 1::2]) @ p["c"],
        {"a": (3, 8), "c": (4, 2)},
        [(4, None)],
    ),
    "interleaved rotation": (  # frequencies tell pairs apart
        lambda p, x: ((h := x @ p["a"])[:, ::2] * jnp.arange(4.0) + h[:, 1::2]) @ p["c"],
        {"a": (3, 8), "c": (4, 2)},
        [],
    ),
    "sorted": (
        lambda p, x: jnp.sort(x @ p["a"], -1) @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "the largest": (
        lambda p, x: jax.lax.top_k(x @ p["a"], 2)[0] @ p["c"],
        {"a": (3, 5), "c": (2, 2)},
        [(5, None)],
    ),
    "places of the largest": (
        lambda p, x: (h := x @ p["a"]) @ p["c"] + jax.lax.top_k(h, 2)[1].astype(jnp.float32),
        {"a": (3, 5), "c": (5, 2)},
        [],
    ),
    "cumulated": (
        lambda p, x: jnp.cumsum(x @ p["a"], -1) @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [],
    ),
    "cumulated over positions": (
        lambda p, x: jnp.cumsum(x @ p["a"], 0) @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "Fourier": (
        lambda p, x: jnp.fft.fft(x @ p["a"], axis=0).real @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "cumulated between reshapes": (  # positions meet: the channels of all have one order
        lambda p, x: jnp.cumsum(grouped(p, x), 1).reshape(2, 6) @ p["c"],
        {"a": (3, 6), "c": (6, 2)},
        [(2, None)],
    ),
    "shifted between reshapes": (
        lambda p, x: (
            ((h := grouped(p, x)) + jnp.pad(h[:, :-1], ((0, 0), (1, 0), (0, 0)))).reshape(2, 6)
            @ p["c"]
        ),
        {"a": (3, 6), "c": (6, 2)},
        [(2, None)],
    ),
    "Fourier between reshapes": (
        lambda p, x: ((h := grouped(p, x)) + jnp.fft.fft(h, axis=1).real).reshape(2, 6) @ p["c"],
        {"a": (3, 6), "c": (6, 2)},
        [(2, None)],
    ),
    "pooled between reshapes": (
        lambda p, x: (
            (
                (h := grouped(p, x))
                + jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 3, 1), (1, 1, 1), "SAME")
            ).reshape(2, 6)
            @ p["c"]
        ),
        {"a": (3, 6), "c": (6, 2)},
        [(2, None)],
    ),
    "reversed between reshapes": (
        lambda p, x: ((h := grouped(p, x)) + h[:, ::-1]).reshape(2, 6) @ p["c"],
        {"a": (3, 6), "c": (6, 2)},
        [(2, None)],
    ),
    "sorted with others": (  # equal keys keep the order they came in
        lambda p, x: jax.lax.sort((jnp.sign(h := x @ p["a"]), h), num_keys=1)[1] @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [],
    ),
    "a barrier": (
        lambda p, x: (
            ((q := jax.lax.optimization_barrier(p)) and jnp.tanh(jnp.tanh(x @ q["a"]) @ q["b"]))
            @ q["c"]
        ),
        {"a": (3, 5), "b": (5, 5), "c": (5, 2)},
        [(5, None), (5, None)],
    ),
    "a name of a checkpoint": (
        lambda p, x: checkpoint_name(jnp.tanh(x @ p["a"]), "hidden") @ p["c"],
        {"a": (3, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "a table longer than its use": (
        lambda p, x: jnp.tanh(x @ p["a"] + p["table"][:2]) @ p["c"],
        {"a": (3, 5), "table": (9, 5), "c": (5, 2)},
        [(5, None)],
    ),
    "a rule that is missing": (
        lambda p, x: jnp.linalg.solve(p["s"] + 9 * jnp.eye(5), (x @ p["a"]).T).T @ p["c"],
        {"a": (3, 5), "s": (5, 5), "c": (5, 2)},
        [],
    ),
    "not used": (
        lambda p, x: jnp.tanh(x @ p["a"]) @ p["c"],
        {"a": (3, 5), "c": (5, 2), "idle": (4, 4)},
        [(5, None)],
    ),
    "mixed sizes": (
        lambda p, x: (x @ p["a"]).reshape(3, 4) @ p["c"],
        {"a": (3, 6), "c": (4, 2)},
        [],
    ),
}


def traced(name):
    function, shapes, want = CASES[name]
    params = arrays(**shapes)
    x = jnp.asarray(RNG.standard_normal((2, 3)), jnp.float32)
    jaxpr = jax.make_jaxpr(lambda a, x: function(dict(zip(shapes, a, strict=True)), x))(
        list(params.values()), x
    )
    return function, params, x, axes(jaxpr, list(shapes)), want


def spec_of(found):
    """A Spec with the axes alone, so that `permutations` can act."""
    layers = tuple(
        Layer(n, "dense", i, (Array(n, "kernel", a, (), tuple(range(len(a)))),))
        for i, (n, a) in enumerate(found.names.items())
    )
    return Spec(layers, tuple(found.sizes.items()), found.hidden, found.nested)


@pytest.mark.parametrize("name", CASES)
def test_hidden_axes_are_those_expected(name):
    *_, found, want = traced(name)
    within = dict(found.nested)
    order = {h: i for i, h in enumerate(found.hidden)}
    got = [
        (found.sizes[h], order[within[h]] if h in within else None)
        for h in found.hidden
        if found.sizes[h] > 1
    ]
    assert sorted(got, key=str) == sorted(want, key=str)


@pytest.mark.parametrize("name", [n for n, (*_, want) in CASES.items() if want])
def test_permutations_of_hidden_axes_preserve_the_function(name):
    function, params, x, found, _ = traced(name)
    spec, before = spec_of(found), function(params, x)
    packed = found.packing.pack(params)
    element = permutations.derange(jax.random.key(1), packed, spec)
    for axis in element:  # each alone: swaps of two neurons could make up for each other
        moved = permutations.act({axis: element[axis]}, packed, spec)
        after = function(found.packing.unpack(dict(moved)), x)
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    moved = permutations.act(element, packed, spec)
    changed = [n for n in packed if not np.array_equal(moved[n], packed[n])]
    alone = {n: moved[n] if len(changed) > 1 else jnp.roll(packed[n], 1, 0) for n in changed}
    wrong = [function(found.packing.unpack({**packed, n: a}), x) for n, a in alone.items()]
    assert max(np.abs(y - before).max() for y in wrong) > 1e-2  # one array alone: misaligned


def test_a_primitive_without_a_rule_is_noted_once():
    *_, found, _ = traced("a rule that is missing")
    assert [n for n in found.notes if "no rule for" in n]
    assert len(set(found.notes)) == len(found.notes)


def test_parameters_that_are_not_used_are_noted():
    *_, found, _ = traced("not used")
    assert found.notes == ("not used: parameter idle",)

"""GRIT: its walks, its attention in a plain loop, its symmetries, its size."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS

from wsjax import architectures, networks, testing
from wsjax.encoders import Regressor, grit
from wsjax.encoders.grit import GRIT
from wsjax.views import padding

CHAIN = architectures.mlp([2, 3, 2, 1], "tanh")
SMALL = GRIT(width=8, layers=2, heads=2, code=4, steps=4)


def network(spec, seed=0):
    return np.asarray(networks.ravel(testing.draw(jax.random.key(seed), spec), spec))


def start(encoder, spec, vectors=None):
    vectors = network(spec)[None] if vectors is None else vectors
    view = encoder.view(spec)
    return jax.jit(encoder.init)(jax.random.key(1), vectors, view), vectors, view


@functools.cache
def together():
    """Every hard network in one bucket, so that one program reads them all."""
    encoder = SMALL.clone(width=16, layers=3)
    rows = dict(zip(SPECS.values(), range(len(SPECS)), strict=True))
    stacked = grit.stack([encoder.view(s) for s in rows])
    variables, _, _ = start(encoder, CHAIN)
    encode = jax.jit(encoder.apply)
    length = max(s.count for s in rows)

    def code(params, spec):
        vector = networks.ravel(params, spec)
        view = jax.tree.map(lambda x: x[rows[spec]][None], stacked)
        return encode(variables, jnp.pad(vector, (0, length - spec.count))[None], view)

    return code


def test_the_embedding_is_invariant_and_reads_the_wiring(movable):
    """Every corner case is supported.

    Every neuron attends to all others, so one misaligned array moves little: 1e-4 of the
    embedding and more, where a permutation moves 1e-7.
    """
    params = testing.draw(jax.random.key(0), movable)
    encode = lambda p: together()(p, movable)
    testing.assert_invariant(encode, params, movable, jax.random.key(2), rtol=5e-6)


def test_heads_distinguished_by_index_cannot_be_permuted():
    spec = SPECS["attention of two reads and writes"]
    encoder = SMALL.clone(index=True)
    variables, _, view = start(encoder, spec)
    encode = jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, spec)[None], view))
    params = testing.draw(jax.random.key(0), spec)
    with pytest.raises(AssertionError, match=r"depends on the order of \['head'\]"):
        testing.assert_invariant(encode, params, spec, jax.random.key(2), rtol=5e-6)


def test_walks_of_a_graph_with_parallel_edges():
    spec = SPECS["taps in one dimension"]
    view = grit.make_view(spec, 4)
    graph, nodes = view.graph, view.graph.sizes[0]
    adjacency, carries = np.zeros((nodes, nodes)), np.zeros((nodes, nodes), bool)
    for s, r, p in zip(graph.sender, graph.receiver, graph.parameter, strict=True):
        adjacency[s, r] += 1
        adjacency[r, s] += 1
        carries[s, r] |= p >= 0
        carries[r, s] |= p >= 0
    assert adjacency.max() == 3  # a window of three
    step = adjacency / adjacency.sum(1, keepdims=True)
    assert view.walks.dtype == view.degree.dtype == np.float32
    np.testing.assert_array_equal(view.degree, adjacency.sum(1))
    np.testing.assert_array_equal(view.carries, carries)
    for k in range(4):
        want = np.linalg.matrix_power(step, k)
        np.testing.assert_allclose(view.walks[..., k], want, atol=1e-6)
    np.testing.assert_allclose(view.walks.sum(1), 1, atol=1e-6)


def test_a_pair_joined_without_a_parameter_carries_none():
    spec = SPECS["residual without arrays"]
    view = grit.make_view(spec, 2)
    graph, free = view.graph, view.graph.parameter < 0
    assert not view.carries[graph.sender[free], graph.receiver[free]].any()
    assert view.carries[graph.sender[~free], graph.receiver[~free]].all()
    assert view.carries.sum() == 2 * (~free).sum()


def test_views_are_computed_once():
    assert SMALL.view(CHAIN) is SMALL.view(architectures.mlp([2, 3, 2, 1], "tanh"))


def test_attention_is_a_loop_over_pairs():
    """Against the equations, one pair and one head after another; one node is padding."""
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((1, 4, 6)), rng.standard_normal((1, 4, 4, 6))
    x, e, real = x.astype(np.float32), e.astype(np.float32), np.array([[True, True, True, False]])
    module = grit.Attention(width=6, heads=2, clamp=0.5)
    variables = module.init(jax.random.key(0), x, e, real)
    nodes, pairs = module.apply(variables, x, e, real)
    p = jax.tree.map(np.asarray, variables["params"])
    rho = lambda a: np.sign(a) * np.sqrt(np.abs(a))
    bounded = 0
    for i in range(3):
        for h in range(2):
            at = slice(3 * h, 3 * h + 3)
            query = (x[0, i] @ p["query"]["kernel"] + p["query"]["bias"])[at]
            logits, sent = [], []
            for j in range(3):
                key = (x[0, j] @ p["key"]["kernel"])[at]
                both = (e[0, i, j] @ p["pair"]["kernel"] + p["pair"]["bias"]).reshape(2, 6)[h]
                state = np.maximum(rho((query + key) * both[:3]) + both[3:], 0)
                np.testing.assert_allclose(pairs[0, i, j, at], state, atol=2e-2)  # rho is smoothed
                state = np.asarray(pairs[0, i, j, at])
                logits.append(np.clip(state @ p["weight"][h], -0.5, 0.5))
                bounded += abs(state @ p["weight"][h]) > 0.5
                sent.append((x[0, j] @ p["value"]["kernel"])[at] + state @ p["pair_value"][h])
            shares = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(nodes[0, i, at], shares @ sent, rtol=1e-4, atol=1e-5)
    assert bounded > 0


def test_the_signed_root_is_a_root_with_a_finite_slope_at_zero():
    x = jnp.array([-4.0, -0.25, 0.25, 9.0])
    want = jnp.array([-2.0, -0.5, 0.5, 3.0])
    np.testing.assert_allclose(grit.signed_root(x), want, rtol=1e-3)
    assert grit.signed_root(jnp.float32(0)) == 0
    np.testing.assert_allclose(jax.grad(grit.signed_root)(0.0), 1 / math.sqrt(grit.SMOOTH))


class Joined(GRIT):
    """The states of pairs before any attention."""

    @nn.compact
    def __call__(self, vectors, graph):
        return self._joined(vectors, graph)


def test_what_joins_a_pair_is_summed_in_both_directions():
    spec = SPECS["taps in one dimension"]
    vectors = network(spec)[None]
    view = SMALL.view(spec)
    module, graph = Joined(width=8), view.graph
    variables = jax.jit(module.init)(jax.random.key(1), vectors, graph)
    joined = jax.jit(lambda x: module.apply(variables, x, graph)[0])
    out = np.asarray(joined(vectors))
    assert out.shape == (*view.carries.shape, 8)
    apart = ~(view.walks[..., 1] > 0)
    np.testing.assert_array_equal(out[apart], 0)
    assert np.abs(out[~apart]).max(-1).min() > 1e-3
    assert np.abs(out - out.swapaxes(0, 1))[~apart].max(-1).min() > 1e-3  # they know the way
    edge = int(np.flatnonzero(graph.tap[:, 0] == 2)[0])  # the last of three parallel ones
    moved = vectors.copy()
    moved[0, graph.parameter[edge]] += 1
    where = np.argwhere(np.abs(np.asarray(joined(moved)) - out).max(-1) > 1e-5)
    s, r = int(graph.sender[edge]), int(graph.receiver[edge])
    assert sorted(map(tuple, where.tolist())) == sorted([(s, r), (r, s)])


def test_padding_and_stacking_change_no_number():
    names = "attention of two reads and writes", "ones everywhere"
    specs = [SPECS[n] for n in names]
    alone = [network(s, i) for i, s in enumerate(specs)]
    variables, _, _ = start(SMALL, specs[0])
    vectors = padding.vectors(alone)
    for row, vector in zip(vectors, alone, strict=True):
        row[len(vector) :] = 99.0  # what lies behind a network must not be read
    stacked = SMALL.stack([SMALL.view(s) for s in specs])
    embeddings = jax.jit(SMALL.apply)(variables, vectors, stacked)
    for spec, vector, code in zip(specs, alone, embeddings, strict=True):
        view = SMALL.view(spec)
        single = jax.jit(lambda x, v=view: SMALL.apply(variables, x, v)[0])(vector[None])
        np.testing.assert_allclose(code, single, rtol=1e-5, atol=1e-5)


def test_other_architectures_in_the_same_bucket_do_not_recompile():
    variables, _, _ = start(SMALL, CHAIN)
    encode, embeddings = jax.jit(SMALL.apply), []
    for hidden in ([8, 4], [7, 5]):
        spec = architectures.mlp([2, *hidden, 1], "tanh")
        vectors = padding.vectors([network(spec)])
        embeddings.append(encode(variables, vectors, grit.stack([SMALL.view(spec)])))
    assert encode._cache_size() == 1
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-5


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_gradients_are_finite(scale):
    """Also of a network of zeros."""
    variables, vectors, view = start(SMALL, CHAIN)
    loss = lambda v, x: (SMALL.apply(v, x, view) ** 2).sum()
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, scale * vectors)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(slopes))
    assert max(np.abs(g).max() for g in jax.tree.leaves(slopes[0])) > 0


def test_a_zero_weight_is_an_edge():
    """Structure is the spec's: two networks of zeros that are wired differently differ."""
    variables, _, _ = start(SMALL, CHAIN)
    specs = CHAIN, architectures.mlp([2, 2, 3, 1], "tanh")
    zeros = np.zeros((2, CHAIN.count), np.float32)
    embeddings = jax.jit(SMALL.apply)(variables, zeros, SMALL.stack([SMALL.view(s) for s in specs]))
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-5


def test_the_degree_scaler_is_the_only_one_to_read_degrees():
    variables, vectors, view = start(SMALL, CHAIN)
    encode, other = jax.jit(SMALL.apply), view.replace(degree=view.degree * 3)
    difference = lambda v: np.abs(encode(v, vectors, other) - encode(v, vectors, view)).max()
    without = jax.tree_util.tree_map_with_path(
        lambda path, x: x * 0 if "scaled" in jax.tree_util.keystr(path) else x, variables
    )
    assert difference(variables) > 1e-4
    assert difference(without) == 0


def test_the_size_is_that_of_lim_et_al():
    """Their head and their embedding of edges are not published; a layer is the original's."""
    spec, encoder = SPECS["taps in two dimensions"], GRIT(width=256, layers=4, heads=16, code=256)
    count = lambda tree: sum(math.prod(x.shape) for x in jax.tree.leaves(tree))
    params = jax.eval_shape(
        encoder.init, jax.random.key(0), jnp.zeros((1, spec.count)), encoder.view(spec)
    )["params"]
    head = jax.eval_shape(Regressor().init, jax.random.key(0), jnp.zeros((1, 256)))
    total = count(params) + count(head)
    print(f"GRIT: {total:,} parameters with its head, {count(params):,} without")
    assert count(params["layer_0"]) == 729_344
    assert total == 3_540_737
    assert abs(total / 3_652_865 - 1) < 0.05


@pytest.mark.parametrize(
    "wrong", [{"heads": 3}, {"waves": 3}, {"steps": 0}, {"layers": 0}], ids=str
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected "):
        SMALL.clone(**wrong)

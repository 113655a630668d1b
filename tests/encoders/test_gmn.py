"""GMN: its equations against loops, its options, its editor, several architectures at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS

from experiments.benchmarks import graph_routes
from wsjax import architectures, networks, testing
from wsjax.encoders import GMN, Editor
from wsjax.encoders.gmn import GraphLayer
from wsjax.encoders.parts import message_passing
from wsjax.symmetries import permutations
from wsjax.views import graphs, padding

KEY = jax.random.key(7)
SIREN = architectures.mlp([2, 32, 32, 1], "sin", 30.0)
HEADS, GROUPS = SPECS["dimensions within heads"], SPECS["channels within groups"]
OPTIONS = {
    "directed": {"reverse": False},
    "mean": {"aggregate": "mean"},
    "global feature": {"share": True},
    "products": {"product": True},
    "two layers": {"depth": 2, "lift": 2},
    "edges in the last round": {"edges": "last", "receiver": False},
    "no norm": {"norm": "none", "residual": False},
}


def raveled(spec, seed=0):
    return np.asarray(networks.ravel(testing.draw(jax.random.key(seed), spec), spec))


def start(module, spec):
    view = (module.encoder if isinstance(module, Editor) else module).view(spec)
    variables = jax.jit(module.init)(KEY, raveled(spec)[None], view)
    return variables, view


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_invariant_and_reads_the_wiring(option):
    spec = HEADS
    encoder = GMN(width=16, layers=3, code=8, **OPTIONS[option])
    variables, view = start(encoder, spec)
    encode = jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, spec)[None], view)[0])
    params = testing.draw(KEY, spec)
    testing.assert_invariant(encode, params, spec, jax.random.key(1), rtol=1e-5)


def test_heads_distinguished_by_index_cannot_be_permuted_but_their_dimensions_can():
    encoder = GMN(width=16, layers=3, code=8, heads="index")
    variables, view = start(encoder, HEADS)
    encode = jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, HEADS)[None], view)[0])
    params, element = testing.draw(KEY, HEADS), permutations.sample(KEY, HEADS)
    within = {k: v for k, v in element.items() if k != "head"}
    code, scale = encode(params), np.abs(encode(params)).max()
    moved = lambda g: np.abs(encode(permutations.act(g, params, HEADS)) - code).max() / scale
    assert moved(within) < 1e-5
    assert moved({"head": jnp.array([1, 2, 0])}) > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reverse": False, "receiver": False},
        {"aggregate": "mean", "product": True},
        {"share": True, "depth": 2},
    ],
    ids=str,
)
def test_a_round_is_equations_1_to_3(settings):
    spec, width, rng = SPECS["taps in one dimension"], 6, np.random.default_rng(0)
    graph = graphs.parameter_graph(spec)
    flat = message_passing.flatten(graph, 1)
    nodes, edges = (rng.standard_normal((n, width)) for n in (flat.nodes, graph.sender.size))
    shared = rng.standard_normal((1, width)) if settings.get("share") else None
    f32 = lambda x: None if x is None else jnp.asarray(x, jnp.float32)
    layer = GraphLayer(width, **settings)
    args = f32(nodes), f32(edges), f32(shared), flat
    params = layer.init(KEY, *args)["params"]
    tree = jax.tree.map(lambda x: np.asarray(rng.standard_normal(x.shape) / 2, np.float32), params)
    got = layer.apply({"params": tree}, *args)
    want = loops(tree, nodes, edges, shared, graph, settings)
    for ours, theirs in zip(got, want, strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def loops(tree, nodes, edges, shared, graph, settings):
    """One round of Lim et al., eqs. 1-3, edge by edge."""
    on = {"reverse": True, "receiver": True, **settings}
    u = 0 if shared is None else shared[0]

    def dense(name, x):
        return x @ tree[name]["kernel"] + tree[name].get("bias", 0)

    def finish(name, x):
        x = np.maximum(x, 0)
        return dense_in(tree[name], x) if settings.get("depth") == 2 else x

    def dense_in(part, x):
        return x @ part["Dense_1"]["kernel"] + part["Dense_1"]["bias"]

    def message(start, end, edge, way):
        x = dense("message_sender", nodes[start]) + dense("message_edge", edge) + way
        if on["receiver"]:
            x = x + dense("message_receiver", nodes[end])
        if on.get("product"):
            x = x + dense("product_sender", nodes[start]) * dense("product_edge", edge)
        if shared is not None:
            x = x + dense("message_shared", u)
        return finish("message", x)

    arriving = [[] for _ in nodes]
    for e, (s, r) in enumerate(zip(graph.sender, graph.receiver, strict=True)):
        arriving[r].append(message(s, r, edges[e], 0))
        if on["reverse"]:
            arriving[s].append(message(r, s, edges[e], tree["backward"]))
    new = []
    for v, came in zip(nodes, arriving, strict=True):
        total = np.sum(came, axis=0) if came else np.zeros_like(v)
        if on.get("aggregate") == "mean":
            total = total / max(len(came), 1)
        x = dense("node_self", v) + dense("node_messages", total)
        new.append(finish("node", x + (dense("node_shared", u) if shared is not None else 0)))
    new = np.array(new)
    fresh = []
    for e, (s, r) in enumerate(zip(graph.sender, graph.receiver, strict=True)):
        x = dense("edge_self", edges[e]) + dense("edge_sender", new[s])
        x = x + dense("edge_receiver", new[r])
        fresh.append(finish("edge", x + (dense("edge_shared", u) if shared is not None else 0)))
    fresh = np.array(fresh)
    if shared is None:
        return new, fresh, None
    x = dense("shared_self", u) + dense("shared_nodes", new.sum(0))
    return new, fresh, finish("shared", x + dense("shared_edges", fresh.sum(0)))[None]


def mixed(*specs):
    vectors = [raveled(s, seed) for seed, s in enumerate(specs)]
    stacked = graphs.stack([graphs.parameter_graph(s) for s in specs])
    return vectors, (padding.vectors(vectors), stacked)


def test_several_architectures_in_one_batch_and_no_second_program():
    """Masked equals sliced, and what lies behind a network is not read."""
    encoder = GMN(width=8, layers=2, code=4, share=True)
    batches = [(HEADS, SPECS["ordinary"]), (GROUPS, HEADS)]
    _, (vectors, view) = mixed(*batches[0])
    variables = jax.jit(encoder.init)(KEY, vectors, view)
    encode = jax.jit(encoder.apply)
    for specs in batches:
        alone, (vectors, view) = mixed(*specs)
        for i, vector in enumerate(alone):
            vectors[i, len(vector) :] = 99.0
        together = encode(variables, vectors, view)
        for spec, vector, code in zip(specs, alone, together, strict=True):
            single = encode(variables, vector[None], encoder.view(spec))[0]
            np.testing.assert_allclose(code, single, rtol=1e-4, atol=1e-5)
    assert encode._cache_size() == 1 + 3  # and one for each network alone


@pytest.mark.parametrize(
    "spec",
    [HEADS, GROUPS, SPECS["taps in two dimensions"], SPECS["one axis twice in an array"]],
    ids=["heads", "groups", "taps", "recurrent"],
)
def test_an_editor_commutes_with_permutations_and_reads_the_wiring(spec):
    editor = Editor(GMN(width=16, layers=3), initial=1.0)
    variables, view = start(editor, spec)
    run = jax.jit(lambda v: editor.apply(variables, v[None], view)[0])
    edit = lambda p: networks.unravel(run(networks.ravel(p, spec)), spec)
    params = testing.draw(KEY, spec)
    testing.assert_equivariant(edit, params, spec, jax.random.key(1), rtol=1e-4)
    testing.assert_reads_wiring(edit, params, spec, rtol=1e-5)


def test_an_editor_begins_with_small_edits_and_edits_mixed_batches():
    editor, specs = Editor(GMN(width=8, layers=2), arrays=16), (HEADS, GROUPS)
    alone, (vectors, view) = mixed(*specs)
    variables = jax.jit(editor.init)(KEY, vectors, view)
    assert variables["params"]["gamma"].shape == (16,)
    np.testing.assert_array_equal(variables["params"]["gamma"], np.float32(0.01))
    together = jax.jit(editor.apply)(variables, vectors, view)
    for spec, vector, edited in zip(specs, alone, together, strict=True):
        single = jax.jit(editor.apply)(variables, vector[None], editor.encoder.view(spec))[0]
        np.testing.assert_allclose(edited[: len(vector)], single, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(edited[len(vector) :], 0)
        assert 0 < np.abs(single - vector).max() < 0.2
    # as many scales as arrays: edges without a parameter have none, and no gradient of NaN
    exact = Editor(GMN(width=8, layers=2), arrays=10)
    start_of = jax.jit(exact.init)(KEY, vectors, view)
    loss = lambda v: (exact.apply(v, vectors, view) ** 2).sum()
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.jit(jax.grad(loss))(start_of)))
    few = Editor(GMN(width=8, layers=2), arrays=2)
    with pytest.raises(ValueError, match="expected networks of at most 2 arrays, got 10"):
        few.init(KEY, vectors[:1], GMN().view(HEADS))


def count(module, spec):
    view = (module.encoder if isinstance(module, Editor) else module).view(spec)
    shapes = jax.eval_shape(lambda: module.init(KEY, jnp.zeros((1, spec.count)), view))
    return sum(x.size for x in jax.tree.leaves(shapes))


def test_parameter_counts_of_the_paper():
    """Appendix E: editing 8 945 671 at 512 x 4, self-supervision about 100K at 76 x 3, and
    accuracy prediction about 750K; within 5 %."""  # fmt: skip
    plain = {"norm": "none", "residual": False}
    editing = count(Editor(GMN(width=512, layers=4, lift=2, **plain)), SIREN)
    assert editing == 8_975_879
    assert editing == pytest.approx(8_945_671, rel=0.05)
    ssl = GMN(width=76, layers=3, code=16, edges="last", receiver=False)
    assert count(ssl, SIREN) == pytest.approx(100_000, rel=0.05)
    accuracy = GMN(width=144, layers=4, lift=2)
    assert count(accuracy, SIREN) == pytest.approx(750_000, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregate": "max"}, "aggregate: expected one of"),
        ({"edges": "none"}, "edges: expected one of"),
        ({"norm": "batch"}, "norm: expected one of"),
        ({"lift": 3}, "lift: expected 1 or 2, got 3"),
        ({"waves": 3}, "waves: expected an even number above 0, got 3"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        GMN(**settings)


def test_an_unknown_treatment_of_heads_is_an_error():
    with pytest.raises(ValueError, match="expected heads as one of"):
        GMN(heads="names").view(HEADS)


@pytest.mark.parametrize("spec", [SPECS["ordinary"], SPECS["taps in two dimensions"]],
                         ids=["dense", "taps"])  # fmt: skip
def test_three_routes_to_one_result(spec):
    """One edge list for the batch, one for each network, and none at all."""
    vectors = np.stack([raveled(spec, seed) for seed in range(3)])
    routes = (graph_routes.flat, graph_routes.vmapped, graph_routes.dense)
    encoder = graph_routes.GNN
    variables = jax.jit(encoder.init)(KEY, vectors, encoder.view(spec))
    flat, *others = (jax.jit(route, static_argnums=2)(variables, vectors, spec) for route in routes)
    assert np.abs(flat[0] - flat[1]) > 1e-3
    for other in others:
        np.testing.assert_allclose(other, flat, rtol=1e-4, atol=1e-5)

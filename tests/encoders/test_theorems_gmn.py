"""Functions that graph metanetworks express (Lim et al., propositions 3 and 4, appendix D), run.

Variables are written by hand so that a `GraphLayer` computes, for any network: the sums
behind StatNN, a linear layer of NP-NFN, and the network's own forward pass. A ReLU stands
for every MLP, so signed numbers travel as two channels, positive and negative part, and an
indicator times a number is relu(number - K (1 - indicator)) for a large K.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import automorphisms

from wsjax import architectures, networks, testing
from wsjax.encoders.gmn import GraphLayer
from wsjax.encoders.parts import message_passing
from wsjax.views import graphs
from wsjax.views.graphs import NODE_ROLES

K = 64.0  # above every number here, and a power of two, so that little is rounded
WIDTH = 32


def layer_with(flat, nodes, edges, shared, weights, settings):
    """Runs a layer whose variables are zero but for `weights`: (Dense, from, to) -> number."""
    layer = GraphLayer(WIDTH, **settings)
    variables = layer.init(jax.random.key(0), nodes, edges, shared, flat)
    tree = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables["params"])
    for (name, source, to), number in weights.items():
        if source == "bias":
            tree[name]["bias"][to] = number
        elif name == "backward":
            tree[name][to] = number
        else:
            tree[name]["kernel"][source, to] = number
    return layer.apply({"params": tree}, nodes, edges, shared, flat)


def columns(*parts):
    """Features side by side, filled up to the width with zeros."""
    x = np.concatenate([np.atleast_2d(p.T).T for p in parts], axis=1).astype(np.float32)
    return jnp.asarray(np.pad(x, ((0, 0), (0, WIDTH - x.shape[1]))))


SPEC = architectures.mlp([2, 5, 4, 3], "relu")
ARRAYS = len(SPEC.arrays)
GRAPH = graphs.parameter_graph(SPEC)
FLAT = message_passing.flatten(GRAPH, 1)
# Channels of edges at first: the value, then which array; later: its two parts, which
# array, and for each array its two parts there and zero elsewhere.
VALUE, ARRAY = 0, 1
POSITIVE, NEGATIVE, WHICH, SPLIT = 0, 1, 2, 2 + ARRAYS


def start(vector):
    values = np.asarray(graphs.weights(GRAPH, vector))
    return columns(values, np.eye(ARRAYS)[GRAPH.relation])


def by_array():
    """Eqs. 28-31, 42 and 55-57: edges keep apart what belongs to which array; u adds it up."""
    out = {}
    for sign, to in ((1, POSITIVE), (-1, NEGATIVE)):
        out["edge_self", VALUE, to] = sign
    for a in range(ARRAYS):
        out["edge_self", ARRAY + a, WHICH + a] = 1
        for k, sign in enumerate((1, -1)):
            to = SPLIT + 2 * a + k
            out["edge_self", VALUE, to] = sign
            for b in range(ARRAYS):
                out["edge_self", ARRAY + b, to] = 0 if a == b else -K
            out["shared_edges", to, 2 * a + k] = 1
    return out


@pytest.mark.parametrize("seed", range(3))
def test_statnn_sums(seed):
    """Proposition 9, with phi(w) = (max(w, 0), max(-w, 0)): sums, and sums of magnitudes."""
    params = testing.draw(jax.random.key(seed), SPEC)
    edges = start(networks.ravel(params, SPEC))
    nodes, shared = jnp.zeros((FLAT.nodes, WIDTH)), jnp.zeros((1, WIDTH))
    _, _, u = layer_with(FLAT, nodes, edges, shared, by_array(), {"share": True})
    for i, a in enumerate(SPEC.arrays):
        array = np.asarray(params[a.name])
        np.testing.assert_allclose(u[0, 2 * i] - u[0, 2 * i + 1], array.sum(), atol=1e-5)
        np.testing.assert_allclose(u[0, 2 * i] + u[0, 2 * i + 1], np.abs(array).sum(), rtol=1e-5)


OUT, IN, BIAS = 0, 2, 4  # channels of nodes: sums over what leaves, what enters, its bias


def by_neuron():
    """Eqs. 58-61: nodes add up weights that leave them, weights that enter, and biases."""
    out = {}
    for channel, backward, kind in (
        (OUT, True, "kernel"),
        (IN, False, "kernel"),
        (BIAS, False, "bias"),
    ):
        for k, sign in enumerate((1, -1)):
            to = channel + k
            out["message_edge", VALUE, to] = sign
            for b, a in enumerate(SPEC.arrays):
                out["message_edge", ARRAY + b, to] = 0 if a.role == kind else -K
            if backward:
                out["message_edge", "bias", to] = -K
            out["backward", None, to] = K if backward else -K
            out["node_messages", to, to] = 1
    return out


def np_nfn(params, a, c):
    """The linear layer of NP-NFN, eqs. 50-54, in NumPy; W is [out, in]."""
    depth = ARRAYS // 2
    w = [None, *(np.asarray(params[f"Dense_{i}/kernel"], np.float64).T for i in range(depth))]
    b = [None, *(np.asarray(params[f"Dense_{i}/bias"], np.float64) for i in range(depth))]
    totals = np.array([w[s].sum() for s in range(1, depth + 1)])
    biases = np.array([b[s].sum() for s in range(1, depth + 1)])
    out = {}
    for n in range(1, depth + 1):
        rows, cols = w[n].shape
        before = w[n - 1].sum(1) if n > 1 else np.zeros(cols)  # W_{j,*}^{(l-1)}
        after = w[n + 1].sum(0) if n < depth else np.zeros(rows)  # W_{*,i}^{(l+1)}
        b_before = b[n - 1] if n > 1 else np.zeros(cols)
        new = (
            a[1][n] @ totals + a[2][n] * w[n].sum(0) + a[3][n] * before
            + (a[4][n] * w[n].sum(1) + a[5][n] * after)[:, None] + a[6][n] * w[n]
            + a[7][n] @ biases + (a[8][n] * b[n])[:, None] + a[9][n] * b_before
        )  # fmt: skip
        out[f"Dense_{n - 1}/kernel"] = new.T
        out[f"Dense_{n - 1}/bias"] = (
            c[1][n] @ totals + c[2][n] * w[n].sum(1) + c[3][n] * after
            + c[4][n] @ biases + c[5][n] * b[n]
        )  # fmt: skip
    return out


def nfn_weights(a, c):
    """Eqs. 62-67: an edge of array t adds up its terms in two channels of its own."""
    out, depth = {}, ARRAYS // 2
    for t, array in enumerate(SPEC.arrays):
        n = t // 2 + 1
        for k, sign in enumerate((1, -1)):
            to = 2 * t + k
            terms = {}

            def term(dense, channel, number, terms=terms):
                terms[dense, channel] = number
                terms[dense, channel + 1] = -number

            kernel = array.role == "kernel"
            for s in range(depth):
                term("edge_shared", 4 * s, (a[1] if kernel else c[1])[n][s])
                term("edge_shared", 4 * s + 2, (a[7] if kernel else c[4])[n][s])
            if kernel:
                term("edge_sender", OUT, a[2][n])
                term("edge_sender", IN, a[3][n])
                term("edge_sender", BIAS, a[9][n])
            term("edge_receiver", IN, a[4][n] if kernel else c[2][n])
            term("edge_receiver", OUT, a[5][n] if kernel else c[3][n])
            if kernel:
                term("edge_receiver", BIAS, a[8][n])
            term("edge_self", POSITIVE, a[6][n] if kernel else c[5][n])
            out |= {(dense, channel, to): sign * x for (dense, channel), x in terms.items()}
            for other in range(ARRAYS):
                out["edge_self", WHICH + other, to] = 0 if other == t else -1024.0
    out |= {("node_self", i, i): 1 for i in range(BIAS + 2)}
    return out


@pytest.mark.parametrize("seed", range(3))
def test_np_nfn_linear_layer(seed):
    """Proposition 10, with biases: two rounds, the global feature first."""
    rng, depth = np.random.default_rng(seed), ARRAYS // 2
    a = {
        i: rng.standard_normal((depth + 1, depth) if i in (1, 7) else depth + 1)
        for i in range(1, 10)
    }
    c = {
        i: rng.standard_normal((depth + 1, depth) if i in (1, 4) else depth + 1)
        for i in range(1, 6)
    }
    params = testing.draw(jax.random.key(seed), SPEC)
    edges = start(networks.ravel(params, SPEC))
    nodes, shared = jnp.zeros((FLAT.nodes, WIDTH)), jnp.zeros((1, WIDTH))
    first = by_array() | by_neuron()
    nodes, edges, shared = layer_with(FLAT, nodes, edges, shared, first, {"share": True})
    _, edges, _ = layer_with(FLAT, nodes, edges, shared, nfn_weights(a, c), {})
    total = edges[:, 0 : 2 * ARRAYS : 2].sum(1) - edges[:, 1 : 2 * ARRAYS : 2].sum(1)
    got = networks.unravel(np.asarray(graphs.parameters(GRAPH, total, SPEC.count)), SPEC)
    for name, want in np_nfn(params, a, c).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-3, err_msg=name)


IMAGE = (5, 4)
RUNS = {
    "mlp": (architectures.mlp([3, 12, 12, 2], "relu"), (), (3,)),
    "cnn": (
        architectures.cnn([1, 6, 5], [8, 2], kernel=2, stride=2, pool="flatten", size=IMAGE),
        IMAGE,
        (*IMAGE, 1),
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_the_forward_pass_of_the_network_that_is_read(case):
    """Proposition 11: as many rounds as layers; messages are products of node and edge."""
    spec, positions, shape = RUNS[case]
    params = testing.draw(jax.random.key(1), spec)
    x = np.asarray(jax.random.normal(jax.random.key(5), shape))
    graph = automorphisms.computation_graph(spec, positions)
    flat = message_passing.flatten(graph, 1)
    role = np.array(NODE_ROLES)[graph.place_role[graph.place]]
    known = np.where(role == "bias", 1.0, 0.0)
    known[role == "input"] = x.ravel()[graph.number[role == "input"]]
    plus, minus = np.maximum(known, 0), np.maximum(-known, 0)
    # h+, h-, then what never changes: inputs and biases, and which are hidden
    nodes = columns(plus, minus, plus, minus, role == "hidden")
    edges = columns(np.asarray(graphs.weights(graph, networks.ravel(params, spec))))
    weights = {("node_self", i, i): 1 for i in (2, 3, 4)}
    for to, sign in ((0, 1), (1, -1)):
        weights["product_sender", 0, to] = 1
        weights["product_sender", 1, to] = -1
        weights["product_edge", 0, to] = sign
        weights["node_messages", 0, to] = sign
        weights["node_messages", 1, to] = -sign
        weights["node_self", 2, to] = sign
        weights["node_self", 3, to] = -sign
    weights["node_self", 4, 1] = -1024.0  # hidden neurons have no negative part: a ReLU
    out = role == "output"
    wanted = np.ravel(architectures.forward(params, x, spec))
    order = np.argsort(graph.number[out])
    for _ in spec.layers:
        assert not np.allclose((nodes[:, 0] - nodes[:, 1])[out][order], wanted, atol=1e-3)
        settings = dict(reverse=False, edges=False, product=True)
        nodes, _, _ = layer_with(flat, nodes, edges, None, weights, settings)
    np.testing.assert_allclose(
        (nodes[:, 0] - nodes[:, 1])[out][order], wanted, rtol=1e-4, atol=1e-5
    )

"""Graphs of networks: their function, and the permutations of nodes that preserve it."""

import jax
import numpy as np
import pytest
from cases import automorphisms
from cases.corner_cases import MOVABLE, SPECS

from wsjax import architectures, networks, testing
from wsjax.networks import Array, Layer, Spec
from wsjax.symmetries import permutations
from wsjax.views import graphs
from wsjax.views.graphs import NODE_ROLES

KEY = jax.random.key(3)
MLP = architectures.mlp([2, 4, 3, 2], "tanh")
IMAGE = (5, 4)
CNN = architectures.cnn(
    [1, 3, 2], [2], kernel=2, stride=2, pool="flatten", size=IMAGE, activation="tanh"
)
CASES = {"mlp": (MLP, (), (2,)), "cnn": (CNN, IMAGE, (*IMAGE, 1))}


def run(graph, theta, x):
    """Eq. 7, node by node in the order of depth."""
    role = np.array(NODE_ROLES)[graph.place_role[graph.place]]
    value = np.where(role == "bias", 1.0, 0.0)
    value[role == "input"] = x.ravel()[graph.number[role == "input"]]
    level = graph.place_level[graph.place]
    for depth in range(level.max() + 1):
        for i in np.flatnonzero((level == depth) & np.isin(role, ["hidden", "output"])):
            into = graph.receiver == i
            total = theta[graph.parameter[into]] @ value[graph.sender[into]]
            value[i] = np.tanh(total) if role[i] == "hidden" else total
    out = role == "output"
    return value[out][np.argsort(graph.number[out])]


@pytest.mark.parametrize("case", CASES)
def test_a_computation_graph_computes_the_networks_function(case):
    spec, positions, shape = CASES[case]
    params = testing.draw(KEY, spec)
    x = np.asarray(jax.random.normal(jax.random.key(1), shape))
    graph = automorphisms.computation_graph(spec, positions)
    theta = np.asarray(networks.ravel(params, spec), np.float64)
    wanted = np.ravel(architectures.forward(params, x, spec))
    np.testing.assert_allclose(run(graph, theta, x), wanted, rtol=1e-4, atol=1e-5)
    assert not np.allclose(run(graph, theta[::-1], x), wanted, atol=1e-2)


def test_the_computation_graph_of_an_mlp_is_its_parameter_graph():
    """Up to the numbers of the bias nodes (Lim et al., 2.1.2)."""
    one, other = automorphisms.computation_graph(MLP), graphs.parameter_graph(MLP)
    assert one.sizes == other.sizes

    def described(g):
        ends = [(g.place_role, g.place_level, g.number)]
        names = [tuple(int(c[p]) for c in ends[0][:2]) for p in g.place]
        pairs = zip(g.sender, g.receiver, g.parameter, strict=True)
        return sorted((int(p), names[s], names[r]) for s, r, p in pairs)

    assert described(one) == described(other)


def test_a_convolution_shares_its_weights():
    """The example of figure 2: a 2x2 kernel, stride 2, on a 4x4 image: 16 edges, 4 weights."""
    kernel = Array("Conv_0/kernel", "kernel", ("row", "col", "x", "y"), (2,), (3,))
    layer = Layer("Conv_0", "conv", 0, (kernel,), settings=(("stride", (2, 2)),))
    spec = Spec((layer,), (("row", 2), ("col", 2), ("x", 1), ("y", 1)), ())
    graph = automorphisms.computation_graph(spec, (4, 4))
    assert spec.count == 4
    assert graph.sender.size == 16
    assert (np.bincount(graph.parameter) == 4).all()


@pytest.mark.parametrize("case", CASES)
def test_permuting_hidden_neurons_is_an_automorphism(case):
    """Propositions 5 and 6; and the parameters it moves are those `act` moves."""
    spec, positions, _ = CASES[case]
    graph = automorphisms.computation_graph(spec, positions)
    element = permutations.sample(KEY, spec)
    phi = automorphisms.permute_nodes(element, spec, graph)
    assert (phi != np.arange(phi.size)).any()
    assert automorphisms.violations(phi, graph) == []
    theta = testing.draw(KEY, spec)
    moved = np.asarray(networks.ravel(theta, spec))[automorphisms.move_parameters(phi, graph)]
    acted = networks.ravel(permutations.act(element, theta, spec), spec)
    np.testing.assert_array_equal(moved, acted)


def test_no_automorphism_has_a_reason():
    graph = automorphisms.computation_graph(CNN, IMAGE)

    def swapped(i, j):
        phi = np.arange(graph.place.size)
        phi[[i, j]] = phi[[j, i]]
        return automorphisms.violations(phi, graph)

    role = np.array(NODE_ROLES)[graph.place_role[graph.place]]
    inputs, hidden = np.flatnonzero(role == "input"), np.flatnonzero(role == "hidden")
    assert "labels" in swapped(*inputs[:2])
    # one position of two channels alone: the kernel would no longer be shared
    assert swapped(*hidden[:2]) == ["weight sharing"]
    assert "edges" in swapped(hidden[0], hidden[-1])
    assert automorphisms.violations(np.zeros(graph.place.size, int), graph) == ["bijection"]


@pytest.mark.parametrize(
    "name", [n for n, s in MOVABLE.items() if not any(len(p.axes) > 1 for p in
             graphs.wiring(s).places if set(p.axes) & set(s.hidden))]
)  # fmt: skip
def test_permutations_are_automorphisms_of_parameter_graphs(name):
    """Appendix C.5's conjecture holds on every construction without blocks."""
    spec = SPECS[name]
    graph, element = graphs.parameter_graph(spec), permutations.sample(KEY, spec)
    phi = automorphisms.permute_nodes(element, spec, graph)
    assert automorphisms.violations(phi, graph) == []
    theta = np.arange(spec.count)
    acted = networks.ravel(permutations.act(element, networks.unravel(theta, spec), spec), spec)
    np.testing.assert_array_equal(automorphisms.move_parameters(phi, graph), acted)


def test_a_network_that_pools_is_rejected():
    spec = architectures.cnn([1, 3], [2], kernel=2)
    with pytest.raises(ValueError, match="Conv_0: expected a dense .* without pooling, got"):  # noqa: RUF043
        automorphisms.computation_graph(spec, (4, 4))
    with pytest.raises(ValueError, match=r"Dense_0: expected an image \(2, 1\), got \(3, 2\)"):
        automorphisms.computation_graph(CNN, (9, 8))
    tiny = architectures.cnn([1, 3], [2], kernel=3, stride=2, pool="flatten", size=(2, 2))
    with pytest.raises(ValueError, match="Conv_0: expected an image that all of the window meets"):
        automorphisms.computation_graph(tiny, (2, 2))

"""Every construction of Lim et al., appendix B, edge by edge; and what holds for all."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from cases.corner_cases import SPECS, conv, dense, kernel, spec, vector
from cases.families import FAMILIES

from wsjax import architectures, networks
from wsjax.networks import Array, Layer, Spec
from wsjax.views import graphs
from wsjax.views.graphs import EDGE_ROLES, NODE_ROLES

ALL = SPECS | {name: family[0] for name, family in FAMILIES.items()}


def each(specs):
    return [pytest.param(s, id=name.replace(" ", "_")) for name, s in specs.items()]


def node_names(graph):
    """Such as "hidden0.2", the third hidden neuron of level 0; parameter nodes likewise."""
    seen, names = {}, []
    for p in graph.place:
        inside = "qkvo"[graph.place_slot[p]] if graph.place_slot[p] > 0 else ""
        key = f"{NODE_ROLES[graph.place_role[p]]}{inside}{graph.place_level[p]}"
        seen[key] = seen.get(key, -1) + 1
        names.append(f"{key}.{seen[key]}")
    return names


def edges_of(graph, role, level=None):
    """{(sender, receiver, tap): parameter} of the edges of a role."""
    names, out = node_names(graph), {}
    for i in range(graph.sender.size):
        r = graph.relation[i]
        if EDGE_ROLES[graph.relation_role[r]] == role and level in (None, graph.relation_level[r]):
            tap = tuple(int(t) for t in graph.tap[i] if t >= 0)
            key = (names[graph.sender[i]], names[graph.receiver[i]], *([tap] if tap else []))
            assert key not in out, f"two edges {key}"
            out[key] = int(graph.parameter[i])
    return out


@pytest.mark.parametrize("spec", each(ALL))
def test_every_parameter_has_one_edge_and_comes_back(spec):
    graph = graphs.parameter_graph(spec)
    own = graph.parameter[graph.parameter >= 0]
    np.testing.assert_array_equal(np.sort(own), np.arange(spec.count))
    vectors = np.arange(2.0 * spec.count).reshape(2, spec.count) + 2
    on_edges = graphs.weights(graph, vectors)
    assert (on_edges[:, graph.parameter < 0] == 1).all()
    np.testing.assert_array_equal(graphs.parameters(graph, on_edges, spec.count), vectors)


@pytest.mark.parametrize("spec", each(ALL))
def test_graphs_are_connected_and_without_cycles(spec):
    from scipy.sparse import coo_array, csgraph

    graph = graphs.parameter_graph(spec)
    n = graph.place.size
    ends = (graph.sender, graph.receiver)
    assert csgraph.connected_components(coo_array((np.ones(len(ends[0])), ends), (n, n)))[0] == 1
    alive = np.ones(n, bool)
    for _ in range(n):  # take away nodes that nothing alive feeds, until none is left
        fed = np.bincount(graph.receiver[alive[graph.sender]], minlength=n) > 0
        if not (alive & ~fed).any():
            break
        alive &= fed
    assert not alive.any()


def test_a_linear_layer():
    graph = graphs.parameter_graph(architectures.mlp([2, 3], "none"))
    pairs = itertools.product(range(2), range(3))
    want = {(f"input-1.{i}", f"output0.{j}"): 3 * i + j for i, j in pairs}
    assert edges_of(graph, "kernel") == want
    assert edges_of(graph, "bias") == {("bias0.0", f"output0.{j}"): 6 + j for j in range(3)}
    np.testing.assert_array_equal(graph.number, [0, 1, 0, 1, 2, -1])


def test_a_convolution_has_parallel_edges_with_taps():
    graph = graphs.parameter_graph(SPECS["taps in two dimensions"])
    found = edges_of(graph, "kernel", level=0)
    assert len(found) == 3 * 2 * 2 * 4
    for row, col, i, j in itertools.product(range(3), range(2), range(2), range(4)):
        parameter = ((row * 2 + col) * 2 + i) * 4 + j
        assert found[f"input-1.{i}", f"hidden0.{j}", (row, col)] == parameter


def test_an_equivariant_layer_has_an_edge_for_each_basis_map():
    """Figure 6: permutations of a set, two maps, from two channels to three."""
    basis = architectures.deepsets([2, 3], [1])
    found = edges_of(graphs.parameter_graph(basis), "kernel", level=0)
    assert sorted(k[2] for k in found) == [(0,)] * 6 + [(1,)] * 6
    assert found["input-1.1", "hidden0.2", (1,)] == 1 * 6 + 1 * 3 + 2


def test_a_flattened_image_keeps_its_positions():
    found = edges_of(graphs.parameter_graph(SPECS["a kernel that reads flattened images"]),
                     "kernel", level=1)  # fmt: skip
    assert len(found) == 3 * 3 * 4 * 2
    start = 2 * 2 * 4 + 4
    assert found["hidden0.3", "output1.1", (2, 1)] == start + ((2 * 3 + 1) * 4 + 3) * 2 + 1


def test_a_norm_has_a_node_for_each_of_its_vectors():
    """Figure 7, middle; a BatchNorm's stored statistics are two more."""
    graph = graphs.parameter_graph(SPECS["norm without a kernel"])
    for k, role in enumerate(("scale", "bias", "mean", "variance")):
        start = 2 * 5 + 5 + 5 * k
        want = {(f"{role}1.0", f"hidden0.{j}"): start + j for j in range(5)}
        assert edges_of(graph, role, level=1) == want


def test_norms_differ_by_their_nodes():
    def with_norm(kind):
        return architectures.cnn([1, 4], [2], norm=kind, groups=2 if kind == "group" else None)

    roles = [
        {NODE_ROLES[r] for r in graphs.parameter_graph(with_norm(kind)).place_role}
        for kind in ("batch", "layer", "group")
    ]
    assert roles[0] - roles[1] == {"mean", "variance"}
    assert roles[2] - roles[1] == {"block"}


def test_a_residual_is_an_edge_of_weight_one_from_neuron_to_neuron():
    graph = graphs.parameter_graph(SPECS["residual without arrays"])
    want = {(f"hidden0.{j}", f"hidden2.{j}"): -1 for j in range(4)}
    assert edges_of(graph, "residual") == want
    free = graphs.weights(graph, np.zeros(48))[graph.parameter < 0]
    np.testing.assert_array_equal(free, 1)


def test_attention_joins_queries_and_values_by_their_heads():
    graph = graphs.parameter_graph(SPECS["dimensions within heads"])
    names = np.array(node_names(graph))
    slot = graph.relation_slot[graph.relation]
    kernels = EDGE_ROLES[0] == np.array(EDGE_ROLES)[graph.relation_role[graph.relation]]
    kernels &= graph.relation_level[graph.relation] == 1
    ends = {s: set(names[graph.receiver[kernels & (slot == s)]]) for s in range(4)}
    assert ends[0] == ends[1]  # query and key of one dimension share a neuron
    assert not ends[2] & ends[0]
    joins = edges_of(graph, "block")
    heads = {n for n in names if n.startswith("block")}
    assert len(heads) == 3
    assert len(joins) == 3 * 4 + 3 * 2
    assert sum(k[1] in heads for k in joins) == 12
    assert sum(k[0] in heads for k in joins) == 6


def test_heads_distinguished_by_index_have_no_node():
    graph = graphs.parameter_graph(SPECS["dimensions within heads"], heads="index")
    assert "block" not in {NODE_ROLES[r] for r in graph.place_role}
    assert sorted(set(graph.head)) == [-1, 0, 1, 2]
    assert (graph.head >= 0).sum() == 3 * 4 + 3 * 2


def test_a_grid_hangs_on_one_node_by_its_coordinates():
    """Figure 7, right: a grid of four entries with two features."""
    found = graphs.parameter_graph(architectures.grid((2, 2), 2, [4, 1]))
    edges = edges_of(found, "kernel", level=0)
    assert set(edges) == {
        ("kernel0.0", f"hidden0.{f}", (r, c))
        for f, r, c in itertools.product(range(2), range(2), range(2))
    }
    readers = {k[0] for k in edges_of(found, "kernel", level=1)}
    assert readers == {"input-1.0", "input-1.1", "hidden0.0", "hidden0.1"}


def test_recurrent_neurons_are_tied():
    found = edges_of(graphs.parameter_graph(SPECS["one axis twice in an array"]), "tie")
    assert found == {(f"hidden0.{j}", f"hidden1.{j}"): -1 for j in range(5)}


def test_padding_is_marked_and_the_rest_stays():
    one, other = (graphs.parameter_graph(ALL[n]) for n in ("ordinary", "dimensions within heads"))
    both = graphs.stack([one, other])
    for i, graph in enumerate((one, other)):
        row = jax.tree.map(lambda x, i=i: x[i], both)
        nodes, edges, *_ = graph.sizes
        assert (row.relation[edges:] == -1).all()
        assert (row.place[nodes:] == -1).all()
        assert (row.parameter[edges:] == -1).all()
        for f in dataclasses.fields(graph):
            was = getattr(graph, f.name)
            np.testing.assert_array_equal(getattr(row, f.name)[: len(was)], was)
        padded = graphs.weights(row, np.ones(400))
        assert (padded[:edges] == 1).all()
        assert (padded[edges:] == 0).all()


def test_a_bucket_that_cannot_hold_a_graph_says_so():
    graph = graphs.parameter_graph(SPECS["ordinary"])
    with pytest.raises(ValueError, match=r"\(15, 44, 7, 6\) does not fit Bucket\(nodes=14"):
        graphs.pad(graph, graphs.Bucket(14, 44, 16, 16))


def test_summary_counts():
    found = graphs.summary(architectures.mlp([2, 3, 1]))
    assert found.nodes == {"input": 2, "hidden": 3, "output": 1, "bias": 2}
    assert found.edges == {"kernel": 9, "bias": 4}
    assert found.permutations["h0"] == pytest.approx(np.log10(6))
    nested = graphs.summary(SPECS["dimensions within heads"])
    assert nested.permutations["qk"] == pytest.approx(3 * np.log10(24))
    assert str(found).splitlines()[1] == "edges  13: 9 kernel, 4 bias"


def test_where_a_residual_starts_is_in_the_graph():
    """From before a norm or from after it: the same neurons, another network."""

    def block(source):
        return spec(
            dense("Dense_0", 0, "x", "h0"),
            Layer("Norm_0", "norm", 1, (vector("Norm_0", "scale", "h0"),)),
            dense("Dense_1", 2, "h0", "h0"),
            Layer("Add_0", "residual", 2, source=source),
            dense("Dense_2", 3, "h0", "y"),
            hidden=("h0",),
            **dict(x=2, h0=3, y=1),
        )

    one, other = (graphs.parameter_graph(block(source)) for source in (0, 1))
    np.testing.assert_array_equal(one.sender, other.sender)
    assert (one.relation_slot != other.relation_slot).any()


BROKEN = {
    "Dense_1: adds to neurons ('h0',) of level 0 with activation 'relu'": spec(
        dense("Dense_0", 0, "x", "h0", "tanh"),
        dense("Dense_1", 0, "x", "h0", "relu"),
        dense("Dense_2", 1, "h0", "y"),
        hidden=("h0",),
        **dict(x=2, h0=3, y=1),
    ),
    "Dense_1: Dense_1/kernel reads neurons ['h9']": spec(
        dense("Dense_0", 0, "x", "h0"),
        dense("Dense_1", 1, "h9", "y"),
        hidden=("h0", "h9"),
        **dict(x=2, h0=3, h9=4, y=1),
    ),
    "Dense_0: nothing reads its neurons ('h0',)": spec(
        dense("Dense_0", 0, "x", "h0"),
        dense("Dense_1", 1, "x", "y"),
        hidden=("h0",),
        **dict(x=2, h0=3, y=1),
    ),
    "Add_0: cannot add neurons [('h0',)] of level 0 to [('h1',)]": spec(
        dense("Dense_0", 0, "x", "h0"),
        dense("Dense_1", 1, "h0", "h1"),
        Layer("Add_0", "residual", 1, source=0),
        dense("Dense_2", 2, "h1", "y"),
        hidden=("h0", "h1"),
        **dict(x=2, h0=3, h1=4, y=1),
    ),
    "Add_0: adds the neurons ('h0',) of level 0 to themselves": spec(
        dense("Dense_0", 0, "x", "h0"),
        Layer("Norm_0", "norm", 1, (vector("Norm_0", "scale", "h0"),)),
        Layer("Add_0", "residual", 1, source=0),
        dense("Dense_2", 2, "h0", "y"),
        hidden=("h0",),
        **dict(x=2, h0=3, y=1),
    ),
    "Norm_0: Norm_0/scale acts on neurons ('h1',)": spec(
        dense("Dense_0", 0, "x", "h0"),
        Layer("Norm_0", "norm", 1, (vector("Norm_0", "scale", "h1"),)),
        dense("Dense_1", 2, "h0", "y"),
        hidden=("h0", "h1"),
        **dict(x=2, h0=3, h1=3, y=1),
    ),
    "Dense_0: Dense_0/kernel reads ('x', 'y') and writes no neurons": spec(
        Layer("Dense_0", "dense", 0, (kernel("Dense_0", "x", "y", reads=(0, 1), writes=()),)),
        hidden=(),
        **dict(x=2, y=3),
    ),
    "Conv_0: expected at most 3 coordinates for Conv_0/kernel": spec(
        conv("Conv_0", 0, "a", "b", "c", "d", "x", "y"),
        hidden=(),
        **dict(a=2, b=1, c=1, d=1, x=1, y=1),
    ),
    "Dense_1: not connected to Dense_0": spec(
        dense("Dense_0", 0, "x", "y"),
        dense("Dense_1", 0, "x2", "y2"),
        hidden=(),
        **dict(x=2, y=1, x2=2, y2=1),
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_network_that_makes_no_graph_is_rejected_by_its_layer(message):
    with pytest.raises(ValueError, match=message.translate({ord(c): f"\\{c}" for c in "[]()"})):
        graphs.parameter_graph(BROKEN[message])


def test_a_spec_survives_json_with_its_settings():
    for s in ALL.values():
        assert networks.from_json(networks.to_json(s)) == s
        assert isinstance(s, Spec)


def test_slots_tell_apart_what_stands_side_by_side():
    """A block's convolution and its shortcut; the tables of a hash grid."""
    found = graphs.wiring(FAMILIES["resnet"][0])
    joins = [j for j in found.joins if j.array.role == "kernel"]
    beside = {}
    for j in joins:
        level = FAMILIES["resnet"][0].layers[j.layer].level
        beside.setdefault(level, []).append(j.slot)
    assert [0, 1] in beside.values()
    graph = graphs.parameter_graph(FAMILIES["hash grid"][0])
    tables = graph.place_level == 0
    tables &= np.array([NODE_ROLES[r] == "hidden" for r in graph.place_role])
    assert sorted(graph.place_slot[tables]) == [0, 1, 2]


def test_a_hidden_axis_is_no_coordinate():
    """Values of a head that a kernel reads for each of several groups, as in LLaMA."""
    sizes = (("x", 3), ("head", 2), ("v", 4), ("group", 3), ("y", 2))
    values = Array("values", "kernel", ("x", "head", "v"), (0,), (1, 2))
    out = Array("out", "kernel", ("head", "group", "v", "y"), (0, 1, 2), (3,))
    layers = (Layer("a", "dense", 0, (values,)), Layer("b", "dense", 1, (out,)))
    spec = Spec(layers, sizes, ("head", "v", "group"), (("v", "head"), ("group", "head")))
    with pytest.raises(ValueError, match=r"b: out .* has the hidden axes \['group'\] as positions"):
        graphs.parameter_graph(spec)

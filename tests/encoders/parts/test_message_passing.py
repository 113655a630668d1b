"""Flat batches of graphs against loops over edges."""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures
from wsjax.encoders.parts import message_passing
from wsjax.networks import ACTIVATIONS
from wsjax.views.graphs import parameter_graph, stack

SPECS = architectures.mlp([2, 3, 1]), architectures.mlp([1, 2, 2, 1])


def test_messages_are_summed_at_their_ends_and_padding_is_left_out():
    graphs = [parameter_graph(s) for s in SPECS]
    view = stack(graphs)
    flat = message_passing.flatten(view, 2)
    nodes, edges = view.place.shape[-1], view.sender.shape[-1]
    messages = np.random.default_rng(0).standard_normal((2 * edges, 3)).astype(np.float32)
    sums = np.asarray(message_passing.collect(messages, flat.receiver, flat))
    want = np.zeros((2 * nodes, 3))
    for b, graph in enumerate(graphs):
        for e, end in enumerate(graph.receiver):
            want[b * nodes + end] += messages[b * edges + e]
    np.testing.assert_allclose(sums, want, atol=1e-5)
    count = message_passing.arrivals(flat.receiver, flat)
    assert count.sum() == sum(len(g.receiver) for g in graphs)


def test_both_forms_of_gelu_are_one_feature():
    """So that variables trained before there were two keep their shape and their meaning."""
    assert (ACTIVATIONS[3], ACTIVATIONS[8]) == ("gelu", "gelu_tanh")
    assert message_passing.FEATURE.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 3, -1]


def test_positions_of_nodes_begin_as_normal_as_a_table():
    """Each with variance 1, whether they have a level and a number or not."""
    view = stack([parameter_graph(s) for s in SPECS])
    size = lambda **how: np.asarray(
        jnp.square(
            message_passing.NodeFeatures(2000, **how).init_with_output(jax.random.key(0), view)[0]
        ).mean(-1)
    )
    np.testing.assert_allclose(size(unit=True), 1, rtol=0.15)
    assert (size() < 0.6).all()


def test_means_leave_padding_out():
    view = stack([parameter_graph(s) for s in SPECS])
    flat = message_passing.flatten(view, 2)
    x = np.arange(2 * view.sender.shape[-1], dtype=np.float32)[:, None]
    means = np.asarray(message_passing.pool(x, flat.edge, 2, "mean"))[:, 0]
    real = np.asarray(flat.edge).reshape(2, -1)
    want = [x.reshape(2, -1)[b][real[b]].mean() for b in (0, 1)]
    np.testing.assert_allclose(means, want, rtol=1e-5)

"""Message passing over batches of graphs: one flat edge list, projected before gathered.

    nodes [batch * node, width]    edges [batch * edge, width]

Node i of graph b is row b * nodes + i, so one `segment_sum` serves the whole batch, equal
or mixed architectures alike; a `vmap` over graphs would cost several times as much in the
backward pass. A linear map of [v_i, v_j, e] is the sum of three: nodes are multiplied once
per node, not once per edge, and then gathered.

`NodeFeatures` and `EdgeFeatures` are features that the graph alone gives a node or an edge.
"""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts.positions import sinusoid
from wsjax.networks import ACTIVATIONS, FORMS, KINDS, check_vectors
from wsjax.summaries import summary
from wsjax.views.graphs import EDGE_ROLES, NODE_ROLES, TAPS, Graph, weights

SLOTS = 4  # sinusoids for a slot
FEATURE = np.array(  # "other" has no feature, all zeros
    [-1 if a == "other" else ACTIVATIONS.index(FORMS.get(a, a)) for a in ACTIVATIONS]
)


@flax.struct.dataclass
class Flat:
    """The graphs of a batch as one graph.

    Attributes:
        sender: [batch * edge] row of the node an edge starts from.
        receiver: [batch * edge] row of the node it ends at.
        edge: [batch * edge] False on padding; None where there is none.
        node: [batch * node] likewise.
        batch: number of graphs (static).
        nodes: number of rows of nodes (static).
    """

    sender: jax.Array
    receiver: jax.Array
    edge: jax.Array | None
    node: jax.Array | None
    batch: int = flax.struct.field(pytree_node=False)

    nodes: int = flax.struct.field(pytree_node=False)

    __repr__ = summary


def flatten(graph: Graph, batch: int) -> Flat:
    """One flat graph of `batch` copies of a graph, or of a stack of that many graphs."""
    nodes = graph.place.shape[-1]
    first = jnp.arange(batch, dtype=jnp.int32)[:, None] * nodes
    rows = lambda x: (first + jnp.asarray(x, jnp.int32)).reshape(-1)
    mixed = graph.sender.ndim == 2
    return Flat(
        sender=rows(graph.sender),
        receiver=rows(graph.receiver),
        edge=jnp.asarray(graph.relation >= 0).reshape(-1) if mixed else None,
        node=jnp.asarray(graph.place >= 0).reshape(-1) if mixed else None,
        batch=batch,
        nodes=batch * nodes,
    )


def masked(x: jax.Array, real: jax.Array | None) -> jax.Array:
    """X [row, width] with zeros on padding."""
    return x if real is None else jnp.where(real[:, None], x, 0)


def collect(messages: jax.Array, ends: jax.Array, flat: Flat) -> jax.Array:
    """Sums messages [batch * edge, width] at the nodes they end at, padding left out."""
    return jax.ops.segment_sum(masked(messages, flat.edge), ends, flat.nodes)


def arrivals(ends: jax.Array, flat: Flat) -> jax.Array:
    """Number of edges that end at each node, [batch * node, 1]."""
    return collect(jnp.ones((ends.shape[0], 1)), ends, flat)


def spread(shared: jax.Array, rows: int) -> jax.Array:
    """Repeats the shared state of graphs [batch, width] for their rows [batch * row, width]."""
    batch = shared.shape[0]
    return jnp.repeat(shared, rows // batch, axis=0, total_repeat_length=rows)


def pool(x: jax.Array, real: jax.Array | None, batch: int, how: str) -> jax.Array:
    """The sum or mean over each graph's rows, [batch * row, width] -> [batch, width]."""
    total = masked(x, real).reshape(batch, -1, x.shape[-1]).sum(1)
    if how == "sum":
        return total
    if real is None:
        return total * batch / x.shape[0]
    return total / jnp.maximum(real.reshape(batch, -1).sum(1), 1)[:, None].astype(x.dtype)


class NodeFeatures(nn.Module):
    """Features of nodes from the graph alone: role, kind, level, activation, which input or output.

    Attributes:
        width: of the result.
        waves: sinusoids for each of level, number and head; even.
        unit: they begin normal with variance 1, as entries of a learned table do; else with
            about a quarter of that.
    """

    width: int
    waves: int = 8
    unit: bool = False

    @nn.compact
    def __call__(self, graph: Graph) -> jax.Array:
        """[node, width] or, of a stack of graphs, [batch, node, width]."""
        place = [
            jax.nn.one_hot(graph.place_role, len(NODE_ROLES)),
            jax.nn.one_hot(graph.place_kind, len(KINDS)),
            sinusoid(jnp.asarray(graph.place_slot), SLOTS, 100.0),
            jax.nn.one_hot(jnp.asarray(FEATURE)[graph.place_activation], FEATURE.max() + 1),
            sinusoid(jnp.asarray(graph.place_level), self.waves, 100.0),
        ]
        init = nn.initializers.normal(1.0) if self.unit else nn.initializers.lecun_normal()
        of_node = lambda x: jnp.take_along_axis(x, jnp.maximum(graph.place, 0)[..., None], axis=-2)
        place = jnp.concatenate(place, axis=-1)
        x = of_node(nn.Dense(self.width, kernel_init=init, name="place")(place))
        which = [sinusoid(jnp.asarray(n), self.waves, 100.0) for n in (graph.number, graph.head)]
        which = jnp.concatenate(which, axis=-1)
        x = x + nn.Dense(self.width, False, kernel_init=init, name="number")(which)
        if not self.unit:
            return x
        square = lambda x: jnp.square(x).sum(-1, keepdims=True)
        return x / jnp.sqrt(of_node(square(place)) + square(which))


class EdgeFeatures(nn.Module):
    """Features of edges from the graph alone: role, kind, slot, level, coordinates.

    Attributes:
        width: of the result.
        waves: sinusoids for the level and for each coordinate; even.
    """

    width: int
    waves: int = 8

    @nn.compact
    def __call__(self, graph: Graph) -> jax.Array:
        """[edge, width] or, of a stack of graphs, [batch, edge, width]."""
        relation = [
            jax.nn.one_hot(graph.relation_role, len(EDGE_ROLES)),
            jax.nn.one_hot(graph.relation_kind, len(KINDS)),
            sinusoid(jnp.asarray(graph.relation_slot), SLOTS, 100.0),
            sinusoid(jnp.asarray(graph.relation_level), self.waves, 100.0),
        ]
        x = nn.Dense(self.width, name="relation")(jnp.concatenate(relation, axis=-1))
        x = jnp.take_along_axis(x, jnp.maximum(graph.relation, 0)[..., None], axis=-2)
        tap = sinusoid(jnp.asarray(graph.tap), self.waves, 100.0)
        tap = tap.reshape(*tap.shape[:-2], TAPS * self.waves)
        return x + nn.Dense(self.width, use_bias=False, name="tap")(tap)


def edge_values(graph: Graph, vectors: jax.Array) -> jax.Array:
    """The weight on every edge of a batch, [batch, edge]; see `graphs.weights`.

    Raises:
        ValueError: networks are shorter than their graph, or another number of them came.
    """
    least = int(graph.parameter.max()) + 1 if isinstance(graph.parameter, np.ndarray) else 0
    check_vectors(vectors, least, exactly=False)
    if graph.sender.ndim == 2 and len(graph.sender) != len(vectors):
        raise ValueError(
            f"expected as many networks as stacked graphs, got {len(vectors)} networks and "
            f"{len(graph.sender)} graphs"
        )
    if graph.sender.ndim == 2:
        return jax.vmap(weights)(graph, vectors)
    return weights(graph, vectors)

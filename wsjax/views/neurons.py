"""Networks as neurons: the parameter graph with parameter nodes folded into neurons.

    node i      the parameters that only feed neuron i: bias, scale, mean, ...
    pair (i,j)  the weights from neuron i to neuron j: one, or one channel for each tap

    kernel ("x", "h0")           [x_i, h0_j] = w_ij            channel 0
    kernel ("row", "x", "h0")    [x_i, h0_j] = w_0ij, w_1ij    channels by rank in the pair
    bias ("h0",)                 h0_j = b_j
    residual, tie, block         1 in a channel of its own; heads and groups are nodes

`NeuralGraph` and `ScaleGMN` read this view.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import ROLES, Spec, check_vectors
from wsjax.summaries import summary
from wsjax.views import graphs, padding
from wsjax.views.graphs import EDGE_ROLES, NODE_ROLES, Graph
from wsjax.views.padding import NONE

FREE = ("residual", "tie", "block")  # joined without a parameter
ONE = -2  # in place of a parameter's position: the weight is 1


@flax.struct.dataclass
class View:
    """Neurons, the parameters at each of them, and those that join each pair.

    A stack has a batch axis in front of all arrays.

    Attributes:
        graph: its nodes are neurons and blocks, its edges the pairs that something joins.
        weight: [pair, channel] position in `ravel`'s vector; -1 for none, -2 for a 1.
        own: [node, feature] likewise.
        omega: [node] float32, the factor inside the activation; only probes need it.
        depth: levels that probes go through, or 0 (static).
    """

    graph: Graph
    weight: np.ndarray
    own: np.ndarray
    omega: np.ndarray
    depth: int = flax.struct.field(pytree_node=False, default=0)

    __repr__ = summary


@functools.lru_cache(maxsize=64)
def neurons(spec: Spec, channels: int, features: int) -> View:
    """The view of an architecture.

    Args:
        spec: the architecture.
        channels: the most weights that join one pair.
        features: the most parameters of one role at one neuron.

    Raises:
        ValueError: there are more; the layer is named.
    """
    graph = graphs.parameter_graph(spec)
    kept = ~np.isin(graph.place_role[graph.place], [NODE_ROLES.index(r) for r in ROLES])
    number, count = np.cumsum(kept) - 1, int(kept.sum())
    role = graph.relation_role[graph.relation]
    order = (graph.relation, *graph.tap.T)  # of parallel edges

    from_node = ~kept[graph.sender]
    to, which = number[graph.receiver[from_node]], role[from_node]
    rank = _ranks(to * len(ROLES) + which, *(x[from_node] for x in order))
    _assert_most(spec, graph.relation[from_node], rank, "features", features)
    own = np.full((count, len(ROLES) * features), NONE, np.int32)
    own[to, which * features + rank] = graph.parameter[from_node]

    keys = number[graph.sender] * count + number[graph.receiver]
    pairs, row = np.unique(keys[~from_node], return_inverse=True)
    relation, role, parameter = (x[~from_node] for x in (graph.relation, role, graph.parameter))
    free = parameter < 0
    rank = _ranks(row[~free], *(x[~from_node][~free] for x in order))
    _assert_most(spec, relation[~free], rank, "channels", channels)
    weight = np.full((len(pairs), channels + len(FREE)), NONE, np.int32)
    weight[row[~free], rank] = parameter[~free]
    weight[row[free], channels + role[free] - EDGE_ROLES.index(FREE[0])] = ONE

    none = np.full(len(pairs), NONE, np.int32)
    joined = dataclasses.replace(
        graph,
        sender=(pairs // count).astype(np.int32),
        receiver=(pairs % count).astype(np.int32),
        parameter=none,  # they are in `weight`
        tap=np.full((len(pairs), graph.tap.shape[1]), NONE, np.int32),
        relation=np.zeros_like(none),
        **{k: getattr(graph, k)[kept] for k in ("place", "number", "head")},
    )
    return View(joined, weight, own, np.ones(count, np.float32))


def _ranks(group: np.ndarray, *order: np.ndarray) -> np.ndarray:
    """The number of each entry among those of its group, in the order of the other arrays."""
    sort = np.lexsort((*reversed(order), group))
    _, count = np.unique(group, return_counts=True)
    rank = np.empty(len(group), np.int64)
    rank[sort] = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
    return rank


def _assert_most(spec, relation, rank, setting, allowed):
    if not len(rank) or (most := int(rank.max()) + 1) <= allowed:
        return
    name = spec.arrays[relation[np.argmax(rank)]].name
    layer = next(x.name for x in spec.layers if name in [a.name for a in x.arrays])
    noun = {"channels": "weights join two neurons", "features": "parameters of a role feed one"}
    raise ValueError(
        f"{layer}: {most} {noun[setting]}, those of {name} among them; expected at most "
        f"{setting} = {allowed}"
    )


def stack(views: Sequence[View]) -> View:
    """Views of several architectures, padded to a common bucket, with a batch axis."""
    graph = graphs.stack([v.graph for v in views])
    nodes, pairs = graph.sizes[:2]
    return View(
        graph,
        np.stack([padding.rows(v.weight, pairs, NONE) for v in views]),
        np.stack([padding.rows(v.own, nodes, NONE) for v in views]),
        np.stack([padding.rows(v.omega, nodes, 1.0) for v in views]),
        depths(v.depth for v in views),
    )


def depths(each: Iterable[int]) -> int:
    """Levels for chains of these depths: few different numbers, as spare levels do nothing."""
    return -4 * (-max(each) // 4)


def gather(vectors: jax.Array, index: np.ndarray | jax.Array) -> jax.Array:
    """Parameters by position: [batch, entry], [(batch,) row, channel] -> [batch, row, channel].

    Position -1 gives 0 and -2 gives 1.

    Raises:
        ValueError: networks are shorter than their view, or another number of them came.
    """
    if index.ndim == 3 and len(index) != len(vectors):
        raise ValueError(
            f"expected as many networks as stacked views, got {len(vectors)} networks and "
            f"{len(index)} views"
        )
    least = int(index.max(initial=-1)) + 1 if isinstance(index, np.ndarray) else 0
    check_vectors(vectors, least, exactly=False)
    vectors, at = jnp.asarray(vectors), jnp.asarray(index)
    if at.ndim == 3:  # a view for each network
        return jax.vmap(lambda v, i: gather(v[None], i)[0])(vectors, at)
    rest = jnp.where(at == ONE, 1.0, 0.0).astype(vectors.dtype)
    return jnp.where(at < 0, rest, vectors[:, jnp.maximum(at, 0)])


def ends(graph: Graph, batch: int, reverse: bool = False) -> tuple[jax.Array, jax.Array]:
    """Nodes that pairs join, each [batch, pair]: from which, to which.

    Padding is given the number of nodes, which is no node's. With `reverse`, the same pairs
    in the other direction come after them.
    """
    nodes, pairs = graph.sizes[:2]
    real = jnp.asarray(graph.relation) >= 0
    one, two = (
        jnp.broadcast_to(jnp.where(real, jnp.asarray(i, jnp.int32), nodes), (batch, pairs))
        for i in (graph.sender, graph.receiver)
    )
    if not reverse:
        return one, two
    return jnp.concatenate([one, two], axis=1), jnp.concatenate([two, one], axis=1)


def square(
    x: jax.Array, ends: tuple[jax.Array, jax.Array], nodes: int, fill: jax.Array | float = 0.0
) -> jax.Array:
    """Pairs [batch, pair, width] as [batch, node, node, width], `fill` where nothing joins."""
    batch, _, width = x.shape
    out = jnp.broadcast_to(jnp.asarray(fill, x.dtype), (batch, nodes, nodes, width))
    return out.at[jnp.arange(batch)[:, None], *ends].set(x, mode="drop")

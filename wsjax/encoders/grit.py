"""GRIT, a graph transformer without message passing, on parameter graphs (Ma et al., 2023).

    P_ij = [I, M, M^2, ..., M^(K-1)]_ij      M = D^-1 A      walks from neuron i to neuron j
    x_i  = features of the node  + P_ii
    e_ij = sum over the edges that join i and j of MLP(weight, relation, tap, direction) + P_ij

    e^_ij = relu( rho( (Q x_i + K x_j) * E_w e_ij ) + E_b e_ij )             section 3.2
    x^_i  = sum_j softmax_j( W_A e^_ij ) ( V x_j + E_v e^_ij )

Every neuron attends to all others; pairs carry which of them are joined, and by what.
Edges are taken as undirected, but a pair reads the direction of each of its edges. The
embedding is read off the mean of the pairs that parameters join, as Lim et al. (2024) read it,
who report this encoder on small CNNs (table 6).

A is counted in edges of the `Spec`: a weight that is zero is an edge all the same. Exactly
invariant to the permutations of hidden neurons. Memory grows with the square of neurons.

Deviations: LayerNorm where the original has BatchNorm, because an embedding must not depend on
the other networks of a batch; rho is smooth at 0, see `signed_root`; the degree scaler's
coefficients start at one, where the original draws them. Lim et al. do not describe how
edges are embedded, nor their head.
"""

import functools
from collections.abc import Sequence

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import message_passing, settings
from wsjax.encoders.parts.message_passing import EdgeFeatures, NodeFeatures
from wsjax.summaries import summary
from wsjax.views import graphs
from wsjax.views.graphs import Graph

SMOOTH = 1e-4  # below this, `signed_root` is a line
xavier = nn.initializers.glorot_normal()


@flax.struct.dataclass
class View:
    """A parameter graph and the random walks on it. A stack has a batch axis in front.

    Attributes:
        graph: as from `graphs.parameter_graph`.
        walks: [node, node, steps] float32: entry k is the probability that k steps along
            random edges lead from the first node to the second.
        degree: [node] float32: edges that start or end at a node.
        carries: [node, node] True where a parameter joins two nodes, in either direction.
    """

    graph: Graph
    walks: np.ndarray
    degree: np.ndarray
    carries: np.ndarray

    __repr__ = summary


@functools.lru_cache(maxsize=64)
def make_view(spec, steps: int, heads: str = "nodes") -> View:
    """The view of an architecture; `heads` as in `graphs.parameter_graph`."""
    graph = graphs.parameter_graph(spec, heads)
    nodes, ends = graph.sizes[0], (graph.sender, graph.receiver)
    adjacency, carries = np.zeros((nodes, nodes)), np.zeros((nodes, nodes), bool)
    np.add.at(adjacency, ends, 1.0)
    adjacency += adjacency.T
    degree = adjacency.sum(1)
    step = adjacency / np.maximum(degree, 1.0)[:, None]
    powers = [np.eye(nodes)]
    while len(powers) < steps:
        powers.append(powers[-1] @ step)
    np.logical_or.at(carries, ends, graph.parameter >= 0)
    return View(
        graph,
        np.stack(powers, axis=-1).astype(np.float32),
        degree.astype(np.float32),
        carries | carries.T,
    )


def stack(views: Sequence[View]) -> View:
    """Views of several architectures, padded to a common bucket, with a batch axis."""
    graph = graphs.stack([v.graph for v in views])
    nodes = graph.sizes[0]

    def padded(arrays, axes):
        grow = lambda x: [(0, nodes - n if i < axes else 0) for i, n in enumerate(x.shape)]
        return np.stack([np.pad(x, grow(x)) for x in arrays])

    return View(
        graph,
        padded([v.walks for v in views], 2),
        padded([v.degree for v in views], 1),
        padded([v.carries for v in views], 2),
    )


def signed_root(x: jax.Array) -> jax.Array:
    """The root of |x| with the sign of x, and a finite slope at 0: x / sqrt(|x| + SMOOTH)."""
    return x / jnp.sqrt(jnp.abs(x) + SMOOTH)


class Attention(nn.Module):
    """Attention in which pairs are queries' and keys' equals (section 3.2).

    Attributes:
        width: of nodes and pairs.
        heads: that share it.
        clamp: bound of the logits.
    """

    width: int
    heads: int
    clamp: float

    @nn.compact
    def __call__(
        self, x: jax.Array, e: jax.Array, real: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """One round.

        Args:
            x: [batch, node, width].
            e: [batch, node, node, width], of pairs (i, j) in which i attends to j.
            real: [batch, node], False on padding; None where there is none.

        Returns:
            What nodes receive and what pairs become, of the shapes of x and e.
        """
        size = self.width // self.heads
        split = lambda y: y.reshape(*y.shape[:-1], self.heads, -1)
        dense = functools.partial(nn.Dense, kernel_init=xavier)
        query = split(dense(self.width, name="query")(x))
        key = split(dense(self.width, use_bias=False, name="key")(x))
        value = split(dense(self.width, use_bias=False, name="value")(x))
        gate, shift = jnp.split(split(dense(2 * self.width, name="pair")(e)), 2, axis=-1)
        pairs = nn.relu(signed_root((query[:, :, None] + key[:, None]) * gate) + shift)

        weight = self.param("weight", xavier, (self.heads, size))  # W_A
        logits = jnp.einsum("bijhd,hd->bhij", pairs, weight)
        logits = jnp.clip(logits, -self.clamp, self.clamp)
        if real is not None:
            logits = jnp.where(real[:, None, None, :], logits, -jnp.inf)
        shares = jax.nn.softmax(logits, axis=-1)

        root = nn.initializers.variance_scaling(
            1.0, "fan_avg", "normal", in_axis=1, out_axis=2, batch_axis=0
        )
        lift = self.param("pair_value", root, (self.heads, size, size))  # E_v
        out = jnp.einsum("bhij,bjhd->bihd", shares, value)
        out = out + jnp.einsum("bhij,bijhd,hdc->bihc", shares, pairs, lift)
        return out.reshape(x.shape), pairs.reshape(e.shape)


class Layer(nn.Module):
    """Attention, degree scaler and a map of each node; attributes as in `Attention`."""

    width: int
    heads: int
    clamp: float

    @nn.compact
    def __call__(
        self, x: jax.Array, e: jax.Array, degree: jax.Array, real: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Nodes [batch, node, width] and pairs [batch, node, node, width], updated."""
        out, pairs = Attention(self.width, self.heads, self.clamp, name="attention")(x, e, real)
        ones = nn.initializers.ones
        plain = self.param("plain", ones, (self.width,))  # theta_1
        scaled = self.param("scaled", ones, (self.width,))  # theta_2
        out = out * plain + jnp.log1p(degree)[..., None] * out * scaled
        x = nn.LayerNorm(name="node_norm")(x + nn.Dense(self.width, name="node_out")(out))
        e = nn.LayerNorm(name="pair_norm")(e + nn.Dense(self.width, name="pair_out")(pairs))
        out = nn.relu(nn.Dense(2 * self.width, name="lift")(x))
        return nn.LayerNorm(name="norm")(x + nn.Dense(self.width, name="lower")(out)), e


class GRIT(Encoder):
    """Encodes networks of any architecture into embeddings, invariant to their symmetries.

    Lim et al. use width 256, 4 layers and 16 heads.

    Attributes:
        width: of nodes and pairs.
        layers: of attention.
        heads: of each, which divide the width.
        code: width of the embedding.
        steps: K, entries of each walk; the first is the identity.
        clamp: bound of the attention's logits.
        index: write the number of an attention head of the network under study on its
            neurons, see `graphs.parameter_graph`; heads can then not be permuted.
        waves: sinusoids for each integer of the graph.
    """

    width: int = 64
    layers: int = 4
    heads: int = 8
    code: int = 32
    steps: int = 8
    clamp: float = 5.0
    index: bool = False
    waves: int = 8

    reads_any = True
    mixes = True
    stack = staticmethod(stack)

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "heads": (
                settings.divides(self.heads, self.width),
                f"a divisor of the width {self.width}",
            ),
            "waves": (settings.divides(2, self.waves), "an even number above 0"),
        }
        settings.check(self, rules, sizes=("steps", "layers", "width", "code"))

    def view(self, spec) -> View:
        """The view of an architecture."""
        return make_view(spec, self.steps, "index" if self.index else "nodes")

    @nn.compact
    def __call__(self, vectors: jax.Array, view: View, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        batch, nodes = vectors.shape[0], view.graph.sizes[0]
        walks = jnp.asarray(view.walks)
        x = NodeFeatures(self.width, self.waves, name="node_features")(view.graph)
        home = jnp.diagonal(walks, axis1=-3, axis2=-2).swapaxes(-1, -2)
        x = x + nn.Dense(self.width, use_bias=False, name="node_walks")(home)
        x = jnp.broadcast_to(x, (batch, nodes, self.width))
        e = nn.Dense(self.width, use_bias=False, name="pair_walks")(walks)
        e = e + self._joined(vectors, view.graph)

        mixed = view.graph.place.ndim == 2
        real = jnp.asarray(view.graph.place) >= 0 if mixed else None
        degree = jnp.asarray(view.degree)
        for i in range(self.layers):
            x, e = Layer(self.width, self.heads, self.clamp, name=f"layer_{i}")(x, e, degree, real)

        carries = jnp.asarray(view.carries)
        total = jnp.where(carries[..., None], e, 0).sum((1, 2))
        count = jnp.maximum(carries.sum((-2, -1)), 1).astype(e.dtype)
        return nn.Dense(self.code, name="code")(total / count[..., None])

    def _joined(self, vectors, graph):
        """The sum of what joins each pair of nodes, [batch, node, node, width]."""
        batch, nodes, edges = vectors.shape[0], graph.sizes[0], graph.sizes[1]
        flat = message_passing.flatten(graph, batch)
        values = message_passing.edge_values(graph, vectors)[..., None]  # [batch, edge, 1]
        y = EdgeFeatures(self.width, self.waves, name="edge_features")(graph)
        y = y + nn.Dense(self.width, use_bias=False, name="value")(values)
        y = y.reshape(-1, self.width)
        direction = self.param("direction", nn.initializers.normal(0.3), (2, self.width))
        y = nn.relu(jnp.concatenate([y + direction[0], y + direction[1]]))
        y = nn.relu(nn.Dense(self.width, name="edge_hidden")(y))
        y = nn.Dense(self.width, name="edge_out")(y)
        if flat.edge is not None:
            y = message_passing.masked(y, jnp.concatenate([flat.edge, flat.edge]))
        start, end = (
            jnp.broadcast_to(jnp.asarray(x, jnp.int32), (batch, edges)).reshape(-1)
            for x in (graph.sender, graph.receiver)
        )
        rows = jnp.concatenate([flat.receiver * nodes + start, flat.sender * nodes + end])
        y = jax.ops.segment_sum(y, rows, batch * nodes * nodes)
        return y.reshape(batch, nodes, nodes, self.width)

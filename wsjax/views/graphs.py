"""Parameter graphs: a network as neurons and parameters as edges (Lim et al., 2.1, appendix B).

One edge for each parameter, from the neuron it reads to the neuron it writes:

    kernel ("x", "h0")            x_i   --w_ij-->  h0_j
    kernel ("row", "x", "h0")     as many parallel edges as taps, each with its tap
    bias ("h0",)                  one bias node of the layer, --b_j--> h0_j
    norm                          one node for each of scale, bias, mean, variance
    positions, grids              one node, parallel edges with the grid's coordinates
    residual                      s_i   --1-->     h_i, an edge without a parameter

Two more kinds of edges without parameters make the symmetries of the graph those of the
network, no more and no less. Where neurons have several axes (attention heads, groups of
channels), a *block* node for each head or group joins its neurons: without it, dimensions
of queries and of values could change heads apart from each other. Where two layers share
an axis without a residual between them (recurrence), a *tie* joins neuron to neuron.

    queries, keys of head i  --1-->  head i  --1-->  values of head i

The graph depends on the `Spec` alone: `parameter_graph` computes it once, in NumPy, and
encoders gather parameters onto its edges. Graphs of several architectures are padded to a
common `Bucket` and stacked.
"""

import dataclasses
import functools
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import ACTIVATIONS, KINDS, ROLES, Spec, offsets
from wsjax.summaries import summary
from wsjax.views import padding
from wsjax.views.padding import NONE
from wsjax.views.wiring import Place, Wiring, check_positions, wiring

TAPS = 3  # the most coordinates an edge can have
NODE_ROLES = ("input", "hidden", "output", "block", *ROLES)
EDGE_ROLES = (*ROLES, "residual", "tie", "block")
HEADS = ("nodes", "index")


@flax.struct.dataclass
class Graph:
    """A network's neurons, and the parameters that join them.

    All entries are integers; -1 stands for none, and marks padding where it stands for a place
    or a relation. A batch of several architectures has one more axis in front of all.

    Attributes:
        sender: [edge] node an edge starts from.
        receiver: [edge] node it ends at.
        parameter: [edge] its parameter's position in `ravel`'s vector; -1 for an edge
            without one, whose weight is 1.
        tap: [edge, TAPS] coordinates of the parameter in a window, a basis or a grid.
        relation: [edge] the array, or the set of edges without parameters, it belongs to.
        relation_role: [relation] index into `EDGE_ROLES`.
        relation_kind: [relation] its layer's, index into `KINDS`.
        relation_slot: [relation] as of `wiring.Join`, such as of queries and keys; the level a
            residual starts from, plus one.
        relation_level: [relation] its layer's.
        place: [node] the set of neurons it belongs to.
        number: [node] which input or output it is; -1 for hidden neurons.
        head: [node] number of its attention head, with `heads="index"`.
        place_role: [place] index into `NODE_ROLES`.
        place_kind: [place] kind of the layer that makes the neurons, index into `KINDS`.
        place_slot: [place] which of the layer's kernels makes them.
        place_level: [place] depth, from 0; inputs have none.
        place_activation: [place] index into `ACTIVATIONS`.
    """

    sender: np.ndarray
    receiver: np.ndarray
    parameter: np.ndarray
    tap: np.ndarray
    relation: np.ndarray
    relation_role: np.ndarray
    relation_kind: np.ndarray
    relation_slot: np.ndarray
    relation_level: np.ndarray
    place: np.ndarray
    number: np.ndarray
    head: np.ndarray
    place_role: np.ndarray
    place_kind: np.ndarray
    place_slot: np.ndarray
    place_level: np.ndarray
    place_activation: np.ndarray

    __repr__ = summary

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Numbers of nodes, edges, places and relations, padding included."""
        fields = (self.place, self.sender, self.place_role, self.relation_role)
        return tuple(x.shape[-1] for x in fields)


@functools.lru_cache(maxsize=64)
def parameter_graph(spec: Spec, heads: str = "nodes") -> Graph:
    """The parameter graph of an architecture.

    Args:
        spec: the architecture.
        heads: "nodes" joins the neurons of a head by a node, and keeps the symmetry of
            heads; "index" writes the head's number on its neurons (Lim et al., appendix
            B), and heads can then not be permuted.

    Raises:
        ValueError: an array has too many coordinates, or a hidden axis as one; or the arrays do
            not make one connected network, see `wiring`.
    """
    if heads not in HEADS:
        raise ValueError(f"expected heads as one of {HEADS}, got {heads!r}")
    wires = wiring(spec)
    check_positions(wires, spec)
    return Builder(spec, wires, heads).graph()


class Builder:
    """A parameter graph in the making: columns of nodes and edges, to be joined."""

    def __init__(self, spec: Spec, wires: Wiring, heads: str):
        self.spec, self.wiring, self.heads = spec, wires, heads
        self.sizes = dict(spec.sizes)
        self.nodes = {k: [] for k in ("place", "number", "head")}
        self.edges = {k: [] for k in ("sender", "receiver", "parameter", "tap", "relation")}
        self.places = {k: [] for k in ("role", "kind", "slot", "level", "activation")}
        self.relations = {k: [] for k in ("role", "kind", "slot", "level")}
        self.count = 0

    def graph(self) -> Graph:
        """Adds everything, and joins the columns."""
        self.at = [self._neurons(i) for i in range(len(self.wiring.places))]
        positions = offsets(self.spec)
        for join in self.wiring.joins:
            self._array(join, positions[join.array.name])
        for number, start, end in self.wiring.residuals:
            layer = self.spec.layers[number]
            start, end = self.at[start], self.at[end]
            slot = 0 if layer.source is None else layer.source + 1
            self._free("residual", layer.kind, layer.level, start, end, slot)
        self._ties()
        self._blocks()
        return self.join()

    def join(self) -> Graph:
        """The graph of all nodes and edges so far."""
        return Graph(
            **{k: np.concatenate(v) for k, v in self.edges.items()},
            **{f"relation_{k}": np.array(v, np.int32) for k, v in self.relations.items()},
            **{k: np.concatenate(v) for k, v in self.nodes.items()},
            **{f"place_{k}": np.array(v, np.int32) for k, v in self.places.items()},
        )

    def add_nodes(self, role, kind, slot, level, activation, number, head=None) -> np.ndarray:
        """New nodes, one for each entry of `number`; returns their numbers."""
        row = (
            NODE_ROLES.index(role),
            KINDS.index(kind) if kind in KINDS else NONE,
            slot,
            level,
            ACTIVATIONS.index(activation),
        )
        self.nodes["place"].append(np.full(number.size, len(self.places["role"]), np.int32))
        for column, value in zip(self.places.values(), row, strict=True):
            column.append(value)
        self.nodes["number"].append(number.ravel().astype(np.int32))
        head = np.full(number.size, NONE) if head is None else head
        self.nodes["head"].append(head.ravel().astype(np.int32))
        first, self.count = self.count, self.count + number.size
        return first + np.arange(number.size, dtype=np.int32).reshape(number.shape)

    def _neurons(self, i: int) -> np.ndarray:
        """Node numbers of a place, [*sizes of its axes]."""
        place = self.wiring.places[i]
        shape = [self.sizes[a] for a in place.axes]
        grid = np.indices(shape)
        # a neuron has its position along the fixed axes as identity
        fixed = [k for k, a in enumerate(place.axes) if a not in self.spec.hidden]
        number = np.full(shape, NONE)
        if fixed:
            number = np.ravel_multi_index([grid[k] for k in fixed], [shape[k] for k in fixed])
        head = None
        if self.heads == "index" and place.kind == "attention" and len(shape) > 1:
            head = grid[place.axes.index(self._head(place))]
        role = "input" if place.level < 0 else "hidden"
        if i in self.wiring.outputs:
            role = "output"
        return self.add_nodes(
            role, place.kind, place.slot, place.level, place.activation, number, head
        )

    def add_edges(self, role, kind, slot, level, sender, receiver, parameter, tap) -> None:
        """A new relation of edges, from arrays of any one shape; `tap` is [edge, TAPS]."""
        row = (EDGE_ROLES.index(role), KINDS.index(kind), slot, level)
        relation = np.full(sender.size, len(self.relations["role"]), np.int16)
        for column, value in zip(self.relations.values(), row, strict=True):
            column.append(value)
        fields = (sender.ravel(), receiver.ravel(), parameter.ravel(), tap, relation)
        for column, value in zip(self.edges.values(), fields, strict=True):
            column.append(value)

    def _array(self, join, parameter: np.ndarray) -> None:
        """One edge for each entry of an array."""
        a, layer, shape = join.array, self.spec.layers[join.layer], parameter.shape
        if len(join.positions) > TAPS:
            axes = [a.axes[i] for i in join.positions]
            raise ValueError(
                f"{layer.name}: expected at most {TAPS} coordinates for {a.name}, got {axes}"
            )
        along = lambda nodes, axes: np.broadcast_to(
            _align(nodes, axes, len(shape)), shape
        )  # node numbers, laid along the array's own axes
        if join.reads is None:
            node = self.add_nodes(
                a.role, layer.kind, join.slot, layer.level, "none", np.array([NONE])
            )
            sender = np.broadcast_to(node[0], shape)
        else:
            sender = along(self.at[join.reads], join.read_axes)
        tap = np.full(
            (parameter.size, TAPS), NONE, np.int16 if max(shape, default=0) < 2**15 else np.int32
        )
        for k, i in enumerate(join.positions):
            line = np.arange(shape[i]).reshape([-1 if j == i else 1 for j in range(len(shape))])
            tap[:, k] = np.broadcast_to(line, shape).ravel()
        receiver = along(self.at[join.writes], join.write_axes)
        parameter = parameter.astype(np.int32)
        self.add_edges(a.role, layer.kind, join.slot, layer.level, sender, receiver, parameter, tap)

    def _free(self, role, kind, level, sender, receiver, slot=0) -> None:
        """Edges without parameters."""
        sender, receiver = np.broadcast_arrays(sender, receiver)
        none = np.full(sender.size, NONE, np.int32)
        tap = np.full((sender.size, TAPS), NONE, np.int16)
        self.add_edges(role, kind, slot, level, sender, receiver, none, tap)

    def _ties(self) -> None:
        """Joins neurons of one axis that no chain of residuals joins."""
        places, joined = self.wiring.places, list(range(len(self.wiring.places)))

        def root(p):
            while joined[p] != p:
                p = joined[p]
            return p

        for _, start, end in self.wiring.residuals:
            joined[root(start)] = root(end)
        for later, place in enumerate(places):
            if not set(place.axes) <= set(self.spec.hidden):
                continue
            for earlier in range(later):
                if places[earlier].axes == place.axes and root(earlier) != root(later):
                    start, end = self.at[earlier], self.at[later]
                    self._free("tie", place.kind, place.level, start, end)
                    joined[root(earlier)] = root(later)

    def _blocks(self) -> None:
        """Joins neurons that share a coordinate on an axis which is only a part of theirs."""
        places, inner = self.wiring.places, dict(self.spec.nested)
        heads = [self._head(p) for p in places if p.kind == "attention" and len(p.axes) > 1]
        for axis in self.spec.hidden:
            if axis in inner or (self.heads == "index" and axis in heads):
                continue
            indexed = [i for i, p in enumerate(places) if axis in p.axes]
            if not any(len(places[i].axes) > 1 for i in indexed):
                continue
            first, *rest = indexed
            kind, level = places[first].kind, places[first].level
            number = np.full(self.sizes[axis], NONE)
            node = self.add_nodes("block", kind, places[first].slot, level, "none", number)
            blocks = []  # for each place, the block node of each neuron
            for i in indexed:
                shape = self.at[i].shape
                blocks.append(
                    np.broadcast_to(_align(node, (places[i].axes.index(axis),), len(shape)), shape)
                )
            if rest:
                self._free("block", kind, level, self.at[first], blocks[0])
            for i, block in list(zip(indexed, blocks, strict=True))[1 if rest else 0 :]:
                self._free("block", places[i].kind, places[i].level, block, self.at[i])

    def _head(self, place: Place) -> str:
        """The axis of an attention place that counts heads."""
        outer = dict(self.spec.nested).values()
        return next((a for a in place.axes if a in outer), place.axes[0])


@dataclasses.dataclass(frozen=True)
class Summary:
    """Sizes of a graph; prints as a table.

    Attributes:
        nodes: role -> number of nodes.
        edges: role -> number of edges.
        bytes: of the graph's arrays.
        permutations: hidden axis -> log10 of the number of its permutations.
    """

    nodes: dict[str, int]
    edges: dict[str, int]
    bytes: int
    permutations: dict[str, float]

    def __str__(self) -> str:
        words = lambda table: ", ".join(f"{n:,} {role}" for role, n in table.items())
        order = sum(self.permutations.values())
        lines = [
            f"nodes  {sum(self.nodes.values()):,}: {words(self.nodes)}",
            f"edges  {sum(self.edges.values()):,}: {words(self.edges)}",
            f"memory {self.bytes / 2**20:.1f} MiB",
            f"group  10^{order:.1f} permutations of {len(self.permutations)} hidden axes",
        ]
        return "\n".join(lines)


def summary(spec: Spec) -> Summary:
    """Counts nodes, edges and symmetries of the parameter graph of an architecture.

    >>> from wsjax import architectures
    >>> print(summary(architectures.mlp([2, 32, 32, 1])))
    nodes  70: 2 input, 64 hidden, 1 output, 3 bias
    edges  1,185: 1,120 kernel, 65 bias
    memory 0.0 MiB
    group  10^70.8 permutations of 2 hidden axes
    """
    graph = parameter_graph(spec)

    def table(roles, members, names):
        counts = np.bincount(roles[members], minlength=len(names))
        return {name: int(n) for name, n in zip(names, counts, strict=True) if n}

    return Summary(
        table(graph.place_role, graph.place, NODE_ROLES),
        table(graph.relation_role, graph.relation, EDGE_ROLES),
        sum(getattr(graph, f.name).nbytes for f in dataclasses.fields(graph)),
        spec.orders,
    )


def _align(nodes: np.ndarray, axes: Sequence[int], ndim: int) -> np.ndarray:
    """Nodes [...], whose k-th axis is axis `axes[k]` of an array, with `ndim` axes."""
    order = np.argsort(axes)
    shape = [1] * ndim
    for k in order:
        shape[axes[k]] = nodes.shape[k]
    return nodes.transpose(order).reshape(shape)


def weights(graph: Graph, vectors: jax.Array) -> jax.Array:
    """The weight of every edge: its parameter, or 1 if it has none.

    Args:
        graph: of the networks, without a batch axis.
        vectors: [..., entry], as `networks.ravel` lays them out.

    Returns:
        [..., edge]; 0 on padding.
    """
    own = jnp.take(vectors, jnp.maximum(graph.parameter, 0), axis=-1)
    rest = jnp.where(jnp.asarray(graph.relation) < 0, 0.0, 1.0).astype(own.dtype)
    return jnp.where(jnp.asarray(graph.parameter) < 0, rest, own)


def parameters(graph: Graph, values: jax.Array, count: int) -> jax.Array:
    """Puts values of the edges back into vectors; undoes `weights`.

    Args:
        graph: without a batch axis.
        values: [..., edge].
        count: of parameters.

    Returns:
        [..., count]; edges without a parameter are left out.
    """
    where = jnp.where(jnp.asarray(graph.parameter) < 0, count, graph.parameter)
    out = jnp.zeros((*values.shape[:-1], count), values.dtype)
    return out.at[..., where].set(values, mode="drop")


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Numbers of nodes, edges, places and relations of a padded graph."""

    nodes: int
    edges: int
    places: int
    relations: int


def bucket(graphs: Sequence[Graph]) -> Bucket:
    """A bucket that holds every graph, rounded up so that few different ones occur.

    Nodes and edges are rounded up to 1, 1.25, 1.5 or 1.75 times a power of two, places and
    relations to multiples of sixteen.
    """
    nodes, edges, places, relations = (max(x) for x in zip(*(g.sizes for g in graphs), strict=True))
    nodes, edges = padding.rounded(nodes), padding.rounded(edges)
    return Bucket(nodes, edges, padding.multiple(places, 16), padding.multiple(relations, 16))


def pad(graph: Graph, size: Bucket) -> Graph:
    """The same graph with masked nodes, edges, places and relations up to the bucket's size.

    Raises:
        ValueError: the graph does not fit.
    """
    rows = {
        "nodes": ("place", "number", "head"),
        "edges": ("sender", "receiver", "parameter", "tap", "relation"),
        "places": [f"place_{k}" for k in ("role", "kind", "slot", "level", "activation")],
        "relations": [f"relation_{k}" for k in ("role", "kind", "slot", "level")],
    }
    graph = jax.tree.map(lambda x: np.asarray(x, np.int32), graph)
    return padding.view(graph, size, rows, zero=("sender", "receiver"))


def stack(views: Sequence[Graph]) -> Graph:
    """Graphs of several networks, padded to their common bucket, with a batch axis."""
    size = bucket(views)
    return padding.stack([pad(g, size) for g in views])

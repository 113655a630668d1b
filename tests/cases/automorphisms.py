"""Computation graphs and their automorphisms (Lim et al., appendix C).

A computation graph has a node for each neuron *and position*, an edge for each use of a
parameter; a convolution's kernel is used at every position, and its edges share weights.

    h_i = sigma( sum over edges (j -> i) of theta_ij h_j )         eq. 7

An automorphism is a permutation of nodes that keeps edges, labels and weight sharing. It
moves parameters along, and leaves the network's function as it is (proposition 1).
"""

import itertools

import jax
import numpy as np

from wsjax.networks import Array, Layer, Spec, offsets
from wsjax.symmetries import permutations
from wsjax.views import graphs
from wsjax.views.graphs import NODE_ROLES, NONE, TAPS, Graph
from wsjax.views.wiring import wiring


def computation_graph(spec: Spec, positions: tuple[int, ...] = ()) -> Graph:
    """The computation graph of a network of dense layers and convolutions.

    Without positions it is the parameter graph. Its size grows with the image: use it for
    small ones.

    Args:
        spec: dense and convolutional layers, in a chain; a dense layer after a convolution
            reads the flattened image, or every position alike.
        positions: shape of the input, without channels.

    Raises:
        ValueError: a layer is of another kind, pools, or does not fit the image.
    """
    return _Unrolled(spec, positions).graph()


class _Unrolled(graphs.Builder):
    """A computation graph in the making; `at` holds [*positions, *axes] nodes of places."""

    def __init__(self, spec: Spec, positions: tuple[int, ...]):
        super().__init__(spec, wiring(spec), "nodes")
        self.at, self.positions = {}, positions

    def graph(self) -> Graph:
        """Adds everything, and joins the columns."""
        for layer in self.spec.layers:
            settings = dict(layer.settings)
            strange = [k for k in settings if k not in ("stride", "padding", "pool")]
            if (
                layer.kind not in ("dense", "conv")
                or strange
                or settings.get("pool", "tokens") != "tokens"
            ):
                raise ValueError(
                    f"{layer.name}: expected a dense layer or a convolution without pooling, "
                    f"got {layer.kind!r} with {settings}"
                )
        where = offsets(self.spec)
        # kernels first: they make the neurons that vectors act on
        for join in sorted(self.wiring.joins, key=lambda j: (j.layer, j.reads is None)):
            layer, parameter = self.spec.layers[join.layer], where[join.array.name]
            if join.reads is None:
                self._bias(join, layer, parameter)
            else:
                self._kernel(join, layer, parameter)
        return self.join()

    def _nodes(self, place: int, positions: tuple[int, ...]) -> np.ndarray:
        if place not in self.at:
            wired = self.wiring.places[place]
            shape = (*positions, *(self.sizes[a] for a in wired.axes))
            role = "input" if wired.level < 0 else "hidden"
            role = "output" if place in self.wiring.outputs else role
            number = np.full(shape, NONE)
            if role != "hidden":
                number = np.arange(number.size).reshape(shape)
            self.at[place] = self.add_nodes(
                role, wired.kind, wired.slot, wired.level, wired.activation, number
            )
        return self.at[place]

    def _bias(self, join, layer, parameter) -> None:
        receiver = self.at[join.writes]
        number = np.array([NONE])
        node = self.add_nodes(join.array.role, layer.kind, join.slot, layer.level, "none", number)
        parameter = np.broadcast_to(
            parameter.transpose(np.argsort(join.write_axes)), receiver.shape
        )
        self._add(join, layer, [(np.broadcast_to(node[0], receiver.shape), receiver, parameter)])

    def _kernel(self, join, layer, parameter) -> None:
        """The kernel's uses, [*window, read, write] each time."""
        order = (*join.positions, *join.read_axes, *join.write_axes)
        parameter = parameter.transpose(order)
        window = parameter.shape[: len(join.positions)]
        sender = self._nodes(join.reads, self.positions)
        here = sender.shape[: sender.ndim - len(join.read_axes)]
        if layer.kind == "dense" and window:  # reads the flattened image
            if window != here:
                raise ValueError(f"{layer.name}: expected an image {window}, got {here}")
            receiver = self._nodes(join.writes, ())
            uses = [(sender[w], receiver, parameter[w]) for w in np.ndindex(*window)]
        elif layer.kind == "dense":
            receiver = self._nodes(join.writes, here)
            uses = [(sender[p], receiver[p], parameter) for p in np.ndindex(*here)]
        else:
            uses = self._convolution(join, layer, parameter, sender, window, here)
        reads, writes = len(join.read_axes), len(join.write_axes)
        spread = lambda x, before, after: x.reshape((1,) * before + x.shape + (1,) * after)
        self._add(
            join,
            layer,
            [(spread(s, 0, writes), spread(r, reads, 0), p) for s, r, p in uses],
        )

    def _convolution(self, join, layer, parameter, sender, window, here):
        settings = dict(layer.settings)
        stride = settings.get("stride", (1,) * len(window))
        pads = settings.get("padding", "VALID")
        if isinstance(pads, str) and len(here) == len(window):
            pads = jax.lax.padtype_to_pads(here, window, stride, pads)
        spans = [
            (n + sum(p) - w) // s + 1
            for n, w, s, p in zip(here, window, stride, pads, strict=False)
        ]
        if len(here) != len(window) or min(spans, default=0) < 1:
            raise ValueError(f"{layer.name}: expected an image that {window} fits, got {here}")
        receiver, uses = self._nodes(join.writes, tuple(spans)), []
        met = set()
        for out, tap in itertools.product(np.ndindex(*spans), np.ndindex(*window)):
            at = tuple(o * s + t - p[0] for o, s, t, p in zip(out, stride, tap, pads, strict=True))
            if all(0 <= a < n for a, n in zip(at, here, strict=True)):
                uses.append((sender[at], receiver[out], parameter[tap]))
                met.add(tap)
        if blind := sorted(set(np.ndindex(*window)) - met):
            raise ValueError(
                f"{layer.name}: expected an image that all of the window meets, got {here}: "
                f"taps {blind} read nothing but padding"
            )
        return uses

    def _add(self, join, layer, uses) -> None:
        columns = zip(*(np.broadcast_arrays(*use) for use in uses), strict=True)
        sender, receiver, parameter = (
            np.concatenate([x.ravel() for x in column]).astype(np.int32) for column in columns
        )
        tap = np.full((sender.size, TAPS), NONE, np.int16)
        self.add_edges(
            join.array.role, layer.kind, join.slot, layer.level, sender, receiver, parameter, tap
        )


def permute_nodes(element: permutations.Element, spec: Spec, graph: Graph) -> np.ndarray:
    """The permutation of a graph's nodes by a permutation of hidden neurons.

    Args:
        element: of the hidden axes.
        spec: of the network.
        graph: its parameter graph or computation graph.

    Returns:
        [node], the new number of each node: the map phi of appendix C.2.
    """
    # places as the arrays of a network, which `permutations.act` then permutes
    places, sizes = wiring(spec).places, dict(spec.sizes)
    nodes, arrays, extra = {}, [], dict(sizes)
    made = [i for i in range(graph.place_role.size) if _is_neuron(graph, i)]
    for i in made:
        nodes_of = np.flatnonzero(graph.place == i)
        place = _place_of(graph, i, places)
        channels = int(np.prod([sizes[a] for a in place.axes]))
        extra[f"positions {i}"] = nodes_of.size // channels
        axes = (f"positions {i}", *place.axes)
        nodes[str(i)] = nodes_of.reshape([extra[a] for a in axes])
        arrays.append(Array(str(i), "kernel", axes))
    for i in range(graph.place_role.size):
        if NODE_ROLES[graph.place_role[i]] == "block":
            raise ValueError("expected a graph without block nodes")
    shadow = Spec(
        (Layer("places", "embedding", 0, tuple(arrays)),),
        tuple(extra.items()),
        spec.hidden,
        spec.nested,
    )
    moved = permutations.act(element, nodes, shadow)
    out = np.arange(graph.place.size)
    for name, came_from in moved.items():
        out[np.asarray(came_from).ravel()] = nodes[name].ravel()
    return out


def _is_neuron(graph, i):
    return NODE_ROLES[graph.place_role[i]] in ("input", "hidden", "output")


def _place_of(graph, i, places):
    """The wiring's place that the graph's i-th place is: they come in one order."""
    number = sum(_is_neuron(graph, k) for k in range(i))
    return places[number]


def move_parameters(permutation: np.ndarray, graph: Graph) -> np.ndarray:
    """The places of parameters after a permutation of nodes: Phi of section 2.2.

    Args:
        permutation: [node], an automorphism.
        graph: its graph.

    Returns:
        [parameter] such that theta[result] is Phi(theta).
    """
    edge = _edge_map(permutation, graph)
    out = np.zeros(int(graph.parameter.max()) + 1, np.int64)
    own = graph.parameter >= 0
    out[graph.parameter[edge[own]]] = graph.parameter[own]
    return out


def violations(permutation: np.ndarray, graph: Graph) -> list[str]:
    """The properties of an automorphism that a permutation of nodes lacks (appendix C.2).

    Parallel edges of a parameter graph are distinguished by relation and tap.

    Args:
        permutation: [node], the new number of each node.
        graph: of a network.

    Returns:
        The properties it lacks, of "bijection", "edges", "labels" and "weight sharing";
        none for an automorphism.
    """
    if sorted(permutation) != list(range(graph.place.size)):
        return ["bijection"]
    wrong = []
    fixed = graph.number >= 0  # inputs and outputs, and then bias nodes and their like
    fixed |= np.array([not _is_neuron(graph, p) for p in graph.place])
    if (permutation[fixed] != np.flatnonzero(fixed)).any():
        wrong.append("labels")
    edge = _edge_map(permutation, graph)
    if edge is None:
        return ["edges", *wrong]
    shared = {}
    for old, new in zip(graph.parameter, graph.parameter[edge], strict=True):
        if old != NONE and shared.setdefault(old, new) != new:
            return [*wrong, "weight sharing"]
    return wrong


def _edge_map(permutation, graph):
    """For each edge, the edge it becomes; None if some edge becomes none."""
    plain = np.stack([graph.sender, graph.receiver], axis=1)
    labels = np.zeros((len(plain), 0), int)
    if len(np.unique(plain, axis=0)) < len(plain):
        labels = np.concatenate([graph.relation[:, None], graph.tap], axis=1)
    rows = np.concatenate([plain, labels], axis=1)
    moved = np.concatenate([permutation[plain], labels], axis=1)
    old, new = (np.lexsort(x.T) for x in (rows, moved))
    if (rows[old] != moved[new]).any():
        return None
    out = np.empty(len(rows), np.int64)
    out[new] = old
    return out

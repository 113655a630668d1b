"""The view of ScaleGMN: neurons, pairs of them, and their factors.

    neuron i of factor s_i       its parameters carry  s_i
    pair (i, j)                  its weights carry     s_j / s_i

Neurons are sorted by kind (`scale_blocks.KINDS`), pairs by the kinds they join, so that what
is done to one kind is done to a slice and to nothing else. In a batch of several
architectures every slice is padded to its largest.

That parameters carry these factors and no others is checked array by array against
`signals.scaling_group`. Networks where they do not, such as those with norms or attention, are not
supported.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.scalegmn.scale_blocks import KINDS, READS
from wsjax.networks import Spec, offsets
from wsjax.summaries import summary
from wsjax.symmetries import signals
from wsjax.views import graphs, padding
from wsjax.views import neurons as plain
from wsjax.views.arrays import array_numbers
from wsjax.views.graphs import NODE_ROLES, NONE, Graph
from wsjax.views.wiring import wiring

Slice = tuple[str, str, int]  # kinds of senders and receivers, number of pairs


@flax.struct.dataclass
class ScaleView:
    """Neurons and pairs; a stack has a batch axis in front of all arrays.

    Attributes:
        graph: as of `neurons.View`, its nodes and edges sorted.
        weight: [pair, channel] position in `ravel`'s vector; -1 for none, -2 for a 1.
        own: [node, feature] likewise.
        node_type: [node] row of the table of positions; zeros without a table.
        pair_type: [pair] likewise.
        array: [entry] the array an entry of the vector belongs to.
        nodes: number of nodes of each of `KINDS` (static).
        pairs: slices of the pairs, in order (static).
        depth: pairs of the longest path; where pairs go round, number of places (static).
        omega: [node] float32, the factor inside the activation; only probes need it.
        levels: that probes go through, or 0 (static).
    """

    graph: Graph
    weight: np.ndarray
    own: np.ndarray
    node_type: np.ndarray
    pair_type: np.ndarray
    array: np.ndarray
    omega: np.ndarray
    nodes: tuple[int, ...] = flax.struct.field(pytree_node=False)
    pairs: tuple[Slice, ...] = flax.struct.field(pytree_node=False)
    depth: int = flax.struct.field(pytree_node=False)
    levels: int = flax.struct.field(pytree_node=False, default=0)

    __repr__ = summary


@functools.lru_cache(maxsize=64)
def scale_view(
    spec: Spec, symmetry: str, channels: int, features: int, links: bool, layout: tuple[int, ...]
) -> ScaleView:
    """The view of an architecture.

    Args:
        spec: the architecture.
        symmetry: key of `scale_blocks.READS`.
        channels: room for weights that join one pair.
        features: room for parameters that feed one neuron alone.
        links: room for pairs joined without a parameter, by a residual.
        layout: (inputs, hidden levels, outputs) of a table of positions; () without one.

    Raises:
        ValueError: there is no room; a parameter does not carry the factors of the neurons
            it joins; neurons have factors that the symmetry does not cover; or the layout is
            too small.
    """
    view = plain.neurons(spec, channels, features)
    weight = view.weight if links else view.weight[:, :channels]
    bare = int((view.weight[:, channels:] == plain.ONE).any(1).sum())
    if bare and not links:
        names = [x.name for x in spec.layers if x.kind == "residual"] or ["a recurrence or heads"]
        raise ValueError(
            f"{', '.join(names)}: {bare} pairs of neurons are joined without a parameter; "
            "expected links=True"
        )
    own = np.take_along_axis(view.own, np.argsort(view.own < 0, axis=1, kind="stable"), axis=1)
    count = (own >= 0).sum(1)
    if (most := int(count.max())) > features:
        where, first = offsets(spec), own[np.argmax(count), 0]
        name = next(name for name, places in where.items() if first in places)
        raise ValueError(
            f"{name}: {most} parameters feed one neuron alone, its own among them; expected at "
            f"most features = {features}"
        )
    own, graph = own[:, :features], view.graph
    kinds, blocks = _kinds(spec, symmetry), NODE_ROLES.index("block")
    kind = np.array(
        [KINDS.index("free") if graph.place_role[p] == blocks else kinds[p] for p in graph.place]
    )
    order = np.argsort(kind, kind="stable")
    rank = np.argsort(order, kind="stable")
    ends = kind[graph.sender] * len(KINDS) + kind[graph.receiver]
    by = np.argsort(ends, kind="stable")
    node_columns = {k: getattr(graph, k)[order] for k in ("place", "number", "head")}
    pair_columns = {k: getattr(graph, k)[by] for k in ("parameter", "tap", "relation")}
    present, counts = np.unique(ends[by], return_counts=True)
    graph = dataclasses.replace(
        graph,
        sender=rank[graph.sender][by].astype(np.int32),
        receiver=rank[graph.receiver][by].astype(np.int32),
        **node_columns,
        **pair_columns,
    )
    node_type, pair_type = _types(graph, np.sort(kind), layout)
    return ScaleView(
        graph,
        weight[by],
        own[order],
        node_type,
        pair_type,
        array_numbers(spec),
        np.ones(len(order), np.float32),
        tuple(np.bincount(kind, minlength=len(KINDS)).tolist()),
        tuple(
            (KINDS[e // len(KINDS)], KINDS[e % len(KINDS)], int(n))
            for e, n in zip(present, counts, strict=True)
        ),
        _depth(graph),
    )


def _depth(graph: Graph) -> int:
    places = graph.place[graph.sender], graph.place[graph.receiver]
    pairs, level = np.unique(places, axis=1), np.zeros(len(graph.place_role), np.int64)
    for step in range(len(level)):
        before = level.copy()
        np.maximum.at(level, pairs[1], before[pairs[0]] + 1)
        if np.array_equal(level, before):
            return step
    return len(level)


def _kinds(spec: Spec, symmetry: str) -> list[int]:
    """For each place, the kind of its neurons.

    The factor of a place is that of the arrays that feed it; every array must carry it, and
    the inverse of that of the place it reads.
    """
    have, wired = signals.scaling_group(spec), wiring(spec)
    factor: dict[int, tuple | None] = {}

    def settle(place, value, owner):
        if factor.setdefault(place, value) != value:
            raise ValueError(
                f"{owner}: does not carry the factor of the neurons {wired.places[place].axes}; "
                "expected every parameter to carry that of the neuron it feeds over that of the "
                "neuron it reads (no norms, no attention)"
            )

    if symmetry != "permutation":
        for j in wired.joins:
            terms = [t for t in have.terms[j.array.name] if t.power]
            writes = [(t.name, t.power) for t in terms if t.at == j.write_axes]
            reads = [(t.name, -t.power) for t in terms if t.at == j.read_axes and j.read_axes]
            owner = f"{spec.layers[j.layer].name}: {j.array.name}"
            if len(writes) + len(reads) < len(terms) or max(len(writes), len(reads)) > 1:
                raise ValueError(
                    f"{owner} carries the factors {[t.name for t in terms]}; expected one of the "
                    f"neurons it feeds and one of those it reads, each with all of {j.array.axes}"
                )
            settle(j.writes, writes[0] if writes else None, owner)
            if j.reads is not None:
                settle(j.reads, reads[0] if reads else None, owner)
        for n, start, end in wired.residuals:
            settle(start, factor.get(end), spec.layers[n].name)
            settle(end, factor.get(start), spec.layers[n].name)
        _check_blocks(spec, wired, factor)
    kinds = []
    for p, place in enumerate(wired.places):
        which = factor.get(p)
        kind = "input" if place.level < 0 else "output" if p in wired.outputs else "free"
        if which:
            x = have.factors[which[0]]
            kind = "both" if x.sign and x.scale else "sign" if x.sign else "scale"
        if kind not in READS[symmetry]:
            layer = next(j.layer for j in wired.joins if j.writes == p)
            raise ValueError(
                f"{spec.layers[layer].name}: neurons {place.axes} are of kind {kind!r} (activation "
                f"{place.activation!r}); symmetry={symmetry!r} reads {READS[symmetry]}, "
                "expected symmetry='hetero'"
            )
        kinds.append(KINDS.index(kind))
    return kinds


def _check_blocks(spec, wired, factor) -> None:
    """Neurons that heads or groups join have no factor: the joint would carry one."""
    for p, place in enumerate(wired.places):
        if factor.get(p) and len(place.axes) > 1 and set(place.axes) & set(spec.hidden):
            raise ValueError(
                f"level {place.level}: neurons {place.axes} have factors and are joined in heads "
                "or groups; expected no attention"
            )


def _types(graph: Graph, kind: np.ndarray, layout: tuple[int, ...]):
    """Rows of the tables of positions: one for each input, hidden level and output.

    Of pairs: one for each input they read, middle level, and output they feed.
    """
    if not layout:
        return np.zeros(len(kind), np.int32), np.zeros(len(graph.sender), np.int32)
    inputs, levels, _ = layout
    is_input, is_output = (kind == KINDS.index(k) for k in ("input", "output"))
    level = graph.place_level[graph.place]
    hidden = ~is_input & ~is_output
    number = np.where(is_input, np.cumsum(is_input), np.cumsum(is_output)) - 1
    have = int(is_input.sum()), int(level[hidden].max(initial=-1)) + 1, int(is_output.sum())
    if any(h > room for h, room in zip(have, layout, strict=True)):
        raise ValueError(
            f"(inputs, hidden levels, outputs) are {have}; expected at most layout = {layout}"
        )
    node = np.where(is_input, number, inputs + level)
    node = np.where(is_output, inputs + levels + number, node)
    reads, feeds = is_input[graph.sender], is_output[graph.receiver]
    middle = inputs + np.maximum(level[graph.receiver] - 1, 0)
    last = inputs + max(levels - 1, 0) + number[graph.receiver]
    pair = np.where(feeds, last, np.where(reads, number[graph.sender], middle))
    return node.astype(np.int32), pair.astype(np.int32)


def types(inputs: int, levels: int, outputs: int) -> tuple[int, int]:
    """Rows of the tables of positions of neurons and of pairs."""
    return inputs + levels + outputs, inputs + max(levels - 1, 0) + outputs


def stack(views: Sequence[ScaleView]) -> ScaleView:
    """Views of several architectures in one, every slice padded to its largest."""
    most = [max(n) for n in zip(*(v.nodes for v in views), strict=True)]
    nodes = tuple(padding.rounded(n) if n else 0 for n in most)
    sizes: dict[tuple[str, str], int] = {}
    for view in views:
        for a, b, n in view.pairs:
            sizes[a, b] = max(sizes.get((a, b), 0), padding.rounded(n))
    rank = lambda ends: (KINDS.index(ends[0]), KINDS.index(ends[1]))
    pairs = tuple((*ends, sizes[ends]) for ends in sorted(sizes, key=rank))
    room = graphs.bucket([v.graph for v in views])
    entries = padding.rounded(max(len(v.array) for v in views))
    depth, levels = max(v.depth for v in views), plain.depths(v.levels for v in views)
    out = [_pad(v, nodes, pairs, room, entries) for v in views]
    out = [dataclasses.replace(v, depth=depth, levels=levels) for v in out]
    return jax.tree.map(lambda *x: np.stack(x), *out)


def _pad(view: ScaleView, nodes, pairs, room: graphs.Bucket, entries: int) -> ScaleView:
    """A view whose slices have the sizes given; `room` has that of its tables."""
    node = _places(dict(zip(KINDS, view.nodes, strict=True)), dict(zip(KINDS, nodes, strict=True)))
    have = {(a, b): n for a, b, n in view.pairs}
    pair = _places(have, {(a, b): n for a, b, n in pairs})
    to = np.argsort(node, kind="stable")[(node < 0).sum() :]  # where each old node went

    def spread(x, where):
        shape = (-1,) + (1,) * (x.ndim - 1)
        return np.where((where < 0).reshape(shape), NONE, x[np.maximum(where, 0)])

    graph = view.graph
    one = {k: spread(getattr(graph, k), node) for k in ("place", "number", "head")}
    two = {k: spread(getattr(graph, k), pair) for k in ("parameter", "tap", "relation")}
    ends = {
        k: np.where(pair < 0, 0, to[getattr(graph, k)[np.maximum(pair, 0)]])
        for k in ("sender", "receiver")
    }
    tables = graphs.pad(
        graph,
        graphs.Bucket(
            max(room.nodes, graph.sizes[0]),
            max(room.edges, graph.sizes[1]),
            room.places,
            room.relations,
        ),
    )
    columns = {k: x.astype(np.int32) for k, x in {**one, **two, **ends}.items()}
    return ScaleView(
        dataclasses.replace(tables, **columns),
        spread(view.weight, pair),
        spread(view.own, node),
        np.maximum(spread(view.node_type, node), 0),
        np.maximum(spread(view.pair_type, pair), 0),
        np.pad(view.array, (0, entries - len(view.array)), constant_values=NONE),
        np.where(node < 0, 1, view.omega[np.maximum(node, 0)]),
        nodes,
        pairs,
        view.depth,
    )


def _places(have: Mapping, want: Mapping) -> np.ndarray:
    """For each new row, the old one it holds; -1 for padding."""
    out, first = [], 0
    for key, size in want.items():
        n = have.get(key, 0)
        out.append(np.append(first + np.arange(n), np.full(size - n, NONE)))
        first += n
    return np.concatenate(out).astype(np.int64)


@flax.struct.dataclass
class Rows:
    """Neurons and pairs of a batch as rows, [row, lane, width].

    Networks of one architecture are lanes of the same rows; of several, each has rows of its
    own, and there is one lane. Either way the rows of a kind are one slice.

    Attributes:
        sender: [pair row] row of the neuron it starts from.
        receiver: [pair row] row of the neuron it ends at.
        real: [node row, 1, 1] False on padding; None without.
        real_pair: [pair row, 1, 1] likewise.
        graphs: number of networks (static).
        mixed: they have rows of their own (static).
        nodes: (kind, first row, end) (static).
        pairs: (kind of senders, of receivers, first row, end) (static).
    """

    sender: jax.Array
    receiver: jax.Array
    real: jax.Array | None
    real_pair: jax.Array | None
    graphs: int = flax.struct.field(pytree_node=False)
    mixed: bool = flax.struct.field(pytree_node=False)
    nodes: tuple[tuple[str, int, int], ...] = flax.struct.field(pytree_node=False)
    pairs: tuple[tuple[str, str, int, int], ...] = flax.struct.field(pytree_node=False)

    def slice_of(self, kind: str) -> tuple[int, int]:
        """First row and end of the neurons of a kind."""
        return next((first, last) for k, first, last in self.nodes if k == kind)

    def of_nodes(self, x: jax.Array, kind: str) -> jax.Array:
        """The rows of neurons of a kind."""
        first, last = self.slice_of(kind)
        return x[first:last]

    def of_pairs(self, kind: str, end: str) -> list[tuple[int, int]]:
        """First rows and ends of the pairs whose "sender" or "receiver" is of a kind."""
        merged = []
        for a, b, first, last in self.pairs:
            if (a if end == "sender" else b) == kind:
                if merged and merged[-1][1] == first:
                    first = merged.pop()[0]
                merged.append((first, last))
        return merged

    def spread(self, x: jax.Array, what: str) -> jax.Array:
        """States of neurons or pairs as rows; `gathered` undoes it.

        Args:
            x: [(batch,) row, width] of a view; [batch, row, width] of networks.
            what: "nodes" or "pairs".

        Returns:
            [row, lane, width]; one lane for what all networks share.
        """
        if not self.mixed:
            return x[:, None] if x.ndim == 2 else x.swapaxes(0, 1)
        ends = [s[-1] // self.graphs for s in getattr(self, what)]
        pieces = jnp.split(x, ends[:-1], axis=1)
        return jnp.concatenate([p.reshape(-1, 1, x.shape[-1]) for p in pieces])

    def gathered(self, x: jax.Array, what: str) -> jax.Array:
        """Rows [row, lane, width] as [batch, row, width], in the order of the view."""
        if not self.mixed:
            return x.swapaxes(0, 1)
        pieces = jnp.split(x, [s[-1] for s in getattr(self, what)][:-1])
        return jnp.concatenate([p.reshape(self.graphs, -1, x.shape[-1]) for p in pieces], axis=1)

    def by_graph(self, x: jax.Array, kind: str) -> jax.Array:
        """Rows of a kind, [row, lane, width] -> [batch, row of each, width]; padding is 0."""
        if self.real is None:
            return x.swapaxes(0, 1)
        x = jnp.where(self.of_nodes(self.real, kind), x, 0)
        return x.reshape(self.graphs, -1, x.shape[-1])

    def count(self, kind: str) -> jax.Array:
        """Number of neurons of a kind in each network, [batch, 1] or [1, 1]."""
        if self.real is not None:
            real = self.of_nodes(self.real, kind).reshape(self.graphs, -1)
            return real.sum(1, keepdims=True)
        first, last = self.slice_of(kind)
        return jnp.full((1, 1), last - first)


def take(x: jax.Array, slices: Sequence[tuple[int, int]]) -> jax.Array:
    """Some slices of rows, one after the other."""
    pieces = [x[first:last] for first, last in slices]
    return pieces[0] if len(pieces) == 1 else jnp.concatenate([x[:0], *pieces])


def start_rows(view: ScaleView, batch: int) -> Rows:
    """The rows of a batch of networks.

    Raises:
        ValueError: there are more or fewer networks than stacked views.
    """
    graph, mixed = view.graph, view.graph.place.ndim == 2
    if mixed and len(graph.place) != batch:
        raise ValueError(
            f"expected as many networks as stacked views, got {batch} networks and "
            f"{len(graph.place)} views"
        )
    times = batch if mixed else 1
    first, nodes = 0, []
    for kind, n in zip(KINDS, view.nodes, strict=True):
        nodes.append((kind, first * times, (first + n) * times))
        first += n
    first, pairs = 0, []
    for a, b, n in view.pairs:
        pairs.append((a, b, first * times, (first + n) * times))
        first += n
    out = Rows(
        jnp.asarray(graph.sender),
        jnp.asarray(graph.receiver),
        None,
        None,
        batch,
        mixed,
        tuple(nodes),
        tuple(pairs),
    )
    if not mixed:
        return out
    # row of node i of graph b: the slice's first, then graphs one after the other
    starts = np.cumsum(view.nodes) - view.nodes
    begin, own = (jnp.asarray(np.repeat(x, view.nodes)) for x in (starts, np.array(view.nodes)))
    row = lambda i: begin[i] * batch + jnp.arange(batch)[:, None] * own[i] + i - begin[i]
    at = lambda i: out.spread(row(i)[..., None], "pairs")[:, 0, 0]
    mask = lambda x, what: out.spread(jnp.asarray(x)[..., None] >= 0, what)
    real = dict(real=mask(graph.place, "nodes"), real_pair=mask(graph.relation, "pairs"))
    return dataclasses.replace(out, sender=at(out.sender), receiver=at(out.receiver), **real)

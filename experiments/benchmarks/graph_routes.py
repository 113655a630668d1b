"""Time of message passing on parameter graphs: routes, PyTorch Geometric, construction.

    python -m experiments.benchmarks.graph_routes      ten minutes on 2 CPU cores; PyTorch's part
                                                       needs `pip install torch torch_geometric`

A training step (loss, gradient, AdamW) of GMN, width 64 and three rounds, on 64 networks:

    flat            one segment-sum over the edges of the whole batch: the library's
    vmapped         a segment-sum for each network, under `jax.vmap`
    dense           broadcasts and sums over the axes of each array, no edge list
    PyTorch         the same layers in PyTorch Geometric, [v_i, v_j, e] concatenated

The routes in JAX are checked to be equal before they are timed; PyTorch has weights of its own.
"""

import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing, torch_networks
from experiments.lib import cli
from wsjax import architectures, networks
from wsjax.encoders import GMN
from wsjax.networks import Spec
from wsjax.views import graphs
from wsjax.views.wiring import wiring

BATCH, WIDTH, ROUNDS = 64, 64, 3
SPECS = {
    "siren 1-32-32-1": architectures.mlp([1, 32, 32, 1], "sin", 30.0),
    "cnn of 4,970": architectures.cnn([1, 16, 16, 16], [10], stride=2, padding="VALID"),
}
LARGE = {
    "vit of a million": lambda: architectures.vit(
        3, 128, 10, size=(32, 32), patch=4, blocks=5, heads=4, mlp_width=512
    ),
    "resnet of 25 million": lambda: architectures.resnet(3, [192, 384, 768], 10, blocks=(2, 2, 2)),
}
GNN = GMN(width=WIDTH, layers=ROUNDS, code=1, norm="none", residual=False)


def networks_of(spec: Spec) -> np.ndarray:
    """Random networks [batch, entry]."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((BATCH, spec.count)) / 4).astype(np.float32)


def flat(variables, vectors, spec: Spec) -> jax.Array:
    """The library's route, [batch]."""
    return GNN.apply(variables, vectors, GNN.view(spec))[:, 0]


def vmapped(variables, vectors, spec: Spec) -> jax.Array:
    """One network at a time under `vmap`, [batch]."""
    one = lambda v: GNN.apply(variables, v[None], GNN.view(spec))[0, 0]
    return jax.vmap(one)(vectors)


def dense(variables, vectors, spec: Spec) -> jax.Array:
    """Blocks [batch, *array, width] instead of edges, for chains of layers; [batch]."""
    graph, wires, params = GNN.view(spec), wiring(spec), variables["params"]
    apply = lambda name, x: _affine(params[name], x)
    blank = GMN(width=WIDTH, layers=ROUNDS, code=1).bind(variables)
    features, nodes = blank.edge_features(graph), blank.node_features(graph)
    nodes = jnp.broadcast_to(nodes, (len(vectors), *nodes.shape))
    arrays = networks.unravel(vectors, spec)
    ends = np.cumsum([0, *(math.prod(spec.shape(a)) for a in spec.arrays)])
    edges, at = [], []
    sizes = np.bincount(graph.place)
    first = np.concatenate([[0], np.cumsum(sizes)])
    vector_place = len(wires.places)
    for k, join in enumerate(wires.joins):
        shape = spec.shape(join.array)
        own = features[ends[k] : ends[k + 1]].reshape(*shape, WIDTH)
        edges.append(own + apply("value", arrays[join.array.name][..., None]))
        sender = join.reads
        if sender is None:
            sender, vector_place = vector_place, vector_place + 1
        at.append((sender, join.read_axes, join.writes, join.write_axes, len(shape)))
    # nodes of place p, laid along some of an array's axes
    rows = lambda x, p: x[:, first[p] : first[p + 1]]

    def lay(x, axes, ndim):
        shape = [1] * ndim
        for i in axes:
            shape[i] = x.shape[1]
        return x.reshape(len(x), *shape, WIDTH)

    for r in range(ROUNDS):
        layer = params[f"rounds_{r}"]
        sent = _affine(layer["message_sender"], nodes)
        received = _affine(layer["message_receiver"], nodes)
        total = jnp.zeros_like(nodes)
        for e, (s, read, w, write, ndim) in zip(edges, at, strict=True):
            along = _affine(layer["message_edge"], e)
            for start, start_axes, end, end_axes, back in (
                (s, read, w, write, 0.0),
                (w, write, s, read, layer["backward"]),
            ):
                x = along + lay(rows(sent, start), start_axes, ndim) + back
                m = jax.nn.relu(x + lay(rows(received, end), end_axes, ndim))
                kept = tuple(i + 1 for i in range(ndim) if i not in end_axes)
                arrived = m.sum(kept).reshape(len(m), -1, WIDTH)
                total = total.at[:, first[end] : first[end + 1]].add(arrived)
        nodes = jax.nn.relu(
            _affine(layer["node_self"], nodes) + _affine(layer["node_messages"], total)
        )
        before, after = (_affine(layer[f"edge_{n}"], nodes) for n in ("sender", "receiver"))
        edges = [
            jax.nn.relu(
                _affine(layer["edge_self"], e)
                + lay(rows(before, s), read, n)
                + lay(rows(after, w), write, n)
            )
            for e, (s, read, w, write, n) in zip(edges, at, strict=True)
        ]
    total = sum(e.sum(tuple(range(1, e.ndim - 1))) for e in edges)
    return apply("project", total / float(ends[-1]))[:, 0]


def _affine(dense, x):
    return x @ dense["kernel"] + dense.get("bias", 0.0)


def jax_step(route: Callable, variables, vectors, spec: Spec, microbatch: int = 0) -> Callable:
    """A compiled step on a regression to the first weight."""

    def loss(params, key, batch):
        out = route({"params": params}, batch["vectors"], spec)
        return ((out - batch["target"]) ** 2).mean(), {}

    data = {"vectors": vectors, "target": vectors[:, 0]}
    return timing.training_step(loss, variables["params"], data, microbatch)[0]


def torch_step(spec: Spec, vectors: np.ndarray) -> Callable | None:
    """The same step in PyTorch Geometric; None where it is not installed."""
    if (torch := torch_networks.load(("torch", "torch_geometric"))) is None:
        return None
    from torch_geometric.nn import MessagePassing

    graph = GNN.view(spec)
    nodes, count = graph.place.size, len(graph.sender)
    shift = torch.arange(BATCH)[:, None] * nodes
    ends = [(shift + torch.as_tensor(x).long()).reshape(-1) for x in (graph.sender, graph.receiver)]
    index = torch.stack([torch.cat(ends), torch.cat(ends[::-1])])
    relu, linear = torch.relu, torch.nn.Linear

    class Round(MessagePassing):
        def __init__(self):
            super().__init__(aggr="sum")
            self.one, self.two = linear(3 * WIDTH + 1, WIDTH), linear(2 * WIDTH, WIDTH)
            self.three = linear(3 * WIDTH, WIDTH)

        def forward(self, v, e, direction):
            double = torch.cat([torch.cat([e, e]), direction], dim=1)
            v = relu(self.two(torch.cat([v, self.propagate(index, v=v, e=double)], dim=1)))
            return v, relu(self.three(torch.cat([v[ends[0]], v[ends[1]], e], dim=1)))

        def message(self, v_i, v_j, e):
            return relu(self.one(torch.cat([v_i, v_j, e], dim=1)))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rounds = torch.nn.ModuleList(Round() for _ in range(ROUNDS))
            self.value, self.node = linear(1, WIDTH), torch.nn.Parameter(torch.randn(nodes, WIDTH))
            self.edge = torch.nn.Parameter(torch.randn(count, WIDTH))
            self.out = linear(WIDTH, 1)

        def forward(self, values):
            e = self.value(values) + self.edge.repeat(BATCH, 1)
            v = self.node.repeat(BATCH, 1)
            direction = torch.ones(2 * len(e), 1)
            direction[len(e) :] = -1
            for layer in self.rounds:
                v, e = layer(v, e, direction)
            return self.out(e.reshape(BATCH, count, WIDTH).mean(1))[:, 0]

    values = torch.as_tensor(np.array(graphs.weights(graph, vectors))).reshape(-1, 1)
    return torch_networks.regression_step(Net(), values, vectors[:, 0])


def steps(rounds: int) -> dict[str, float]:
    """Milliseconds of every route on every network, and ratios to the library's."""
    figures = {}
    for name, spec in SPECS.items():
        vectors = networks_of(spec)
        view = GNN.view(spec)
        variables = jax.jit(GNN.init)(jax.random.key(0), vectors[:1], view)
        routes = {"flat": flat, "vmapped": vmapped, "dense": dense}
        outs = {
            k: jax.jit(f, static_argnums=2)(variables, vectors, spec) for k, f in routes.items()
        }
        for k, out in outs.items():
            np.testing.assert_allclose(out, outs["flat"], rtol=1e-3, atol=1e-4, err_msg=k)
        runs = {k: jax_step(f, variables, vectors, spec) for k, f in routes.items()}
        runs["flat, microbatch 4"] = jax_step(flat, variables, vectors, spec, 4)
        runs["dense, microbatch 4"] = jax_step(dense, variables, vectors, spec, 4)
        if step := torch_step(spec, vectors):
            runs["PyTorch Geometric"] = step
        took = timing.in_turn(runs, rounds, name)
        for k, milliseconds in took.items():
            figures[f"{name}, {k}: ms"] = round(milliseconds, 1)
            figures[f"{name}, {k}: times flat"] = round(milliseconds / took["flat"], 2)
    return figures


def construction() -> dict[str, float]:
    """Seconds and MiB of the graphs of large networks."""
    import tracemalloc

    figures = {}
    for name, make in LARGE.items():
        spec = make()
        start = time.perf_counter()
        graphs.parameter_graph(spec)
        seconds = time.perf_counter() - start
        graphs.parameter_graph.cache_clear()
        tracemalloc.start()
        summary = graphs.summary(spec)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        graphs.parameter_graph.cache_clear()
        print(f"{name}: {spec.count:,} parameters\n{summary}", flush=True)
        figures[f"{name}: parameters"] = spec.count
        figures[f"{name}: seconds"] = round(seconds, 2)
        figures[f"{name}: MiB"] = round(summary.bytes / 2**20, 1)
        figures[f"{name}: MiB at most while built"] = round(peak / 2**20, 1)
    return figures


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    measures = {"gmn_step": lambda: steps(options.rounds), "graph_construction": construction}
    parser = timing.parser("benchmarks.graph_routes", __doc__, 4)
    parser.add_argument("--groups", default="", help=", ".join(measures))
    options = cli.prepare(parser.parse_args(arguments))
    config = {"batch": BATCH, "width": WIDTH, "layers": ROUNDS}
    for group in cli.select(options.groups, measures, measures):
        timing.record(group, measures[group], config, options.results)


if __name__ == "__main__":
    cli.run(main)

"""Neural graphs: neurons with biases, pairs of neurons with weights (Kofinas et al., 2024).

The graph is `neurons`: parameters at neurons and between pairs of them, exactly as symmetric
as the network. Values become random Fourier features. A relational transformer (Diao & Loynd,
2023), in which pairs take part in queries, keys and values, or a PNA (Corso et al., 2020) reads
the graph.

Deviations: positions of neurons are sinusoids of depth and number, with role, kind and
activation, under one Dense, where the original has a table that fits one architecture;
outputs are averaged, not concatenated; probes share one projection, not one per layer; PNA
normalises each node, not the whole batch, and measures degrees by the network at hand;
weights are not standardised here; taps are channels by their rank in the window, where the
original pads windows to one size, so windows of several sizes do not line up. Fourier
frequencies are constants of the class, so that neither weight decay nor checkpoints touch
them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import probes, settings
from wsjax.encoders.parts.backbones import LayerNorm, PNALayer, RelationalLayer
from wsjax.encoders.parts.initializers import INITIAL, dense
from wsjax.encoders.parts.message_passing import NodeFeatures
from wsjax.networks import ROLES, Spec
from wsjax.views.graphs import NODE_ROLES
from wsjax.views.neurons import View, ends, gather, neurons, square, stack

BACKBONES = ("transformer", "pna")
POOLS = ("output", "all")
_INR = {"channels": 1, "features": 1, "dropout": 0.2, "initial": "published"}
_GNN = {"backbone": "pna", "width": 32, "edge_width": 32, "head": (32, 32), "reverse": True}
# classifiers of INRs in the authors' code (github.com/mkofinas/neural-graphs), from its
# configuration files and scripts; those that are probed have probes=64 besides
SETTINGS: Mapping[str, Mapping] = {
    "ng_t": {**_INR, "code": 10},
    "ng_gnn": {**_INR, **_GNN, "sigma": 3.0, "code": 10},
}


def fourier(values: jax.Array, count: int, sigma: float) -> jax.Array:
    """Gaussian random Fourier features (Tancik et al., 2020), [..., n] -> [..., 2 * count].

    Frequencies are normal with deviation `sigma`, drawn once from a fixed seed.
    """
    normal = np.random.default_rng(0).standard_normal((values.shape[-1], count))
    angle = values @ jnp.asarray(2 * math.pi * sigma * normal, values.dtype)
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class NeuralGraph(Encoder):
    """Encodes networks into embeddings, invariant to their symmetries.

    Sizes are by default those of NG-T on INRs. The published configurations are `SETTINGS`.

    Attributes:
        backbone: "transformer" or "pna".
        width: of nodes.
        edge_width: of pairs.
        layers: of the backbone.
        attention, hidden, edge_hidden, heads: as in `RelationalLayer`.
        head: widths of the layers between the pooled nodes and the embedding.
        code: width of the embedding.
        frequencies: of the Fourier features.
        sigma: their deviation.
        channels: the most weights that may join two neurons: 25 for windows of 5 by 5.
        features: the most parameters of one role that one neuron may have.
        reverse: pairs also hold the weights of the opposite direction.
        pool: "output" or "all", the nodes whose mean is read. A PNA without `reverse`
            sends what it reads `layers` levels forward and no further.
        probes: learned inputs, sent through the networks; 0 for none.
        inputs: of the networks, if they are probed.
        waves: sinusoids for each integer of the graph.
        dropout: of nodes after each layer of the PNA but the last; of whatever the transformer
            adds to nodes and pairs.
        initial: of linear maps, one of `initializers.INITIAL`. "published" is the authors', with
            positions of unit root mean square; "lecun" is ours, with maps 1.7 to 2.4 times as
            large, no biases, and positions half as large. Maps of the transformer's layers
            begin as published in both.
    """

    backbone: str = "transformer"
    width: int = 64
    edge_width: int = 32
    layers: int = 4
    attention: int = 128
    hidden: int = 128
    edge_hidden: int = 64
    heads: int = 8
    head: Sequence[int] = (128,)
    code: int = 32
    frequencies: int = 128
    sigma: float = 1.0
    channels: int = 25
    features: int = 16
    reverse: bool = False
    pool: str = "output"
    probes: int = 0
    inputs: int = 0
    waves: int = 8
    dropout: float = 0.0
    initial: str = "lecun"

    reads_any = True
    mixes = True
    stack = staticmethod(stack)

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "heads": (
                settings.divides(self.heads, self.attention),
                f"a divisor of {self.attention}",
            ),
            "probes": (self.probes >= 0, "at least 0"),
            "waves": (settings.divides(2, self.waves), "an even number above 0"),
        }
        choices = {"backbone": BACKBONES, "pool": POOLS, "initial": INITIAL}
        sizes = "width", "edge_width", "attention", "hidden", "edge_hidden", "head", "code"
        sizes += "frequencies", "channels", "features"
        settings.check(self, rules, choices=choices, sizes=sizes, rates=["dropout"])

    def view(self, spec: Spec) -> View:
        """The view of an architecture.

        Raises:
            ValueError: more weights join two neurons, or more parameters of a role feed
                one, than there is room for; or the network cannot be probed.
        """
        view = neurons(spec, self.channels, self.features)
        if not self.probes:
            return view
        probes.assert_chain(spec, self.inputs)
        omega = probes.omegas(spec, view.graph)
        return dataclasses.replace(view, omega=omega, depth=len(spec.layers))

    def calibrate(
        self, vectors: np.ndarray, view: View, scales: Mapping[str, float]
    ) -> dict[str, jax.Array]:
        """Factors by which probed networks are multiplied to undo the normalisation.

        Raises:
            ValueError: networks are probed, and the scales are not given.
        """
        return probes.scales_by_level(scales) if self.probes else {}

    @nn.compact
    def __call__(self, vectors: jax.Array, view: View, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        graph = view.graph
        mixed = graph.place.ndim == 2
        real = jnp.asarray(graph.place) >= 0 if mixed else None
        weights = gather(vectors, view.weight)
        if self.reverse:
            none = jnp.zeros_like(weights)
            ways = [weights, none, weights], [none, weights, weights]
            weights = jnp.concatenate([jnp.concatenate(w, axis=-1) for w in ways], axis=1)
        joined = ends(graph, vectors.shape[0], self.reverse)
        run = self._transformer if self.backbone == "transformer" else self._pna
        x = run(self._nodes(vectors, view), weights, joined, real, train)  # [batch, node, width]

        read = jnp.asarray(graph.place) >= 0
        if self.pool == "output":
            role = jnp.take_along_axis(
                jnp.asarray(graph.place_role), jnp.maximum(graph.place, 0), axis=-1
            )
            read = read & (role == NODE_ROLES.index("output"))
        x = jnp.where(read[..., None], x, 0).sum(1) / read.sum(-1)[..., None].astype(x.dtype)
        for i, width in enumerate(self.head):
            x = nn.relu(self._dense(x, width, f"head_{i}"))
        return self._dense(x, self.code, "code")

    def _dense(self, x, width, name):
        return dense(x, width, self.initial, name)

    def _nodes(self, vectors, view):
        """First states of nodes, [batch, node, width]."""
        own = gather(vectors, view.own)
        x = self._dense(fourier(own, self.frequencies, self.sigma), self.width, "parameters")
        if self.probes:
            kernel = gather(vectors, view.weight)[..., 0]
            bias = own[..., self.features * ROLES.index("bias")]
            chain = probes.Chain(kernel, bias, view.graph, view.omega, view.depth)
            points = probes.variables(self, self.probes, self.inputs, view.depth)
            activations = self._dense(chain.activations(*points), self.width, "answers")
            x = x + LayerNorm(name="answer_norm")(activations)
        x = self._dense(x, self.width, "node_in")
        position = NodeFeatures(
            self.width, self.waves, self.initial == "published", name="position"
        )
        return x + position(view.graph)

    def _pairs(self, weights):
        """First states of pairs [..., edge_width] from what joins them [..., channel]."""
        e = fourier(weights, self.frequencies, self.sigma)
        e = self._dense(e, self.edge_width, "weights")
        return self._dense(e, self.edge_width, "pair_in")

    def _transformer(self, x, weights, joined, real, train):
        # pairs that nothing joins all start alike: encoded once, in one more row
        none = jnp.zeros_like(weights[:, :1])
        e = self._pairs(jnp.concatenate([weights, none], axis=1))
        e = square(e[:, :-1], joined, x.shape[1], e[:, -1, None, None])
        for i in range(self.layers):
            edge_hidden = self.edge_hidden if i < self.layers - 1 else 0
            sizes = self.attention, self.hidden, edge_hidden, self.heads
            x, e = RelationalLayer(*sizes, self.dropout, name=f"layer_{i}")(x, e, real, train)
        return x

    def _pna(self, x, weights, joined, real, train):
        e = self._pairs(weights).reshape(-1, self.edge_width)
        for i in range(self.layers):
            how = i == self.layers - 1, self.initial, self.dropout
            x, e = PNALayer(*how, name=f"layer_{i}")(x, e, joined, real, train)
        return x

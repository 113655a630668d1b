"""ScaleGMN: messages that keep the factors of neurons (Kalogeropoulos et al., NeurIPS 2024).

Hidden neurons of tanh and sine can change sign, those of ReLU their scale. The state of a
neuron then carries its factor s_i, and that of a pair of neurons s_i / s_j:

    m_i  = sum_j  M( (Gamma x_j) * (Gamma' e_ij) )            carries  s_j (s_i / s_j) = s_i
    x_i <- U( [x_i, m_i] )                                             s_i
    e_ij <- (Gamma e_ij) * phi( c(x_j), c(x_i) )                       s_i / s_j

with M and U of `scale_blocks.Equivariant` and c a canonical form. Read-outs read canonical
forms of hidden neurons alone. Inputs and outputs have no factors, and nets of their own.

In both directions (ScaleGMN-B) neuron j also receives messages from those that read it. In
networks of signs the same e_ij suffices, as s = 1 / s. With scales it would carry s_i (s_i / s_j):

    as_published    it does: not equivariant. In models of scales a second state of pairs begins
                    with w; in all others, those of signs included, messages back have the first
                    e_ij in every round, as the authors' code updates no second state there.
                    Messages read `positions` of their senders, in all others of their targets
    reciprocal      a second state of pairs begins with 1 / w. Exact; weights near zero overflow
    gated           (Gamma x_j) * phi( c[ x_i, (Gamma x_j) * (Gamma' e_ij) ] )
                    both in the brackets carry s_i, so c reads one beside the other, and the
                    gate gives s_j. Exact and finite
    balanced        a second state of pairs begins with w (r_j / r_i)^2 and path norms r, which
                    carry |s|. Exact, finite, and ours

In models of signs the last three are one: messages back have the e_ij of the round.

"Exact" is up to rounding, and as long as a row's largest entry is above 1e-30 (in double
precision 1e-246): below, it counts as zero, so that gradients do not overflow.

Deviations: x / |x| has no epsilon, so that it is exact; inputs and outputs enter the update
of pairs as they are; rows whose squares would overflow are made smaller; taps of windows are
channels by their rank, and weights of dense layers in the first, so that windows of several
sizes do not line up. Without a `layout`, positions are `NodeFeatures` and outputs are averaged,
so that any architecture is supported. The factor inside an activation (omega) is not read.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import probes, settings
from wsjax.encoders.parts.initializers import INITIAL, dense
from wsjax.encoders.parts.message_passing import NodeFeatures
from wsjax.encoders.scalegmn.path_norms import path_norms, reciprocals
from wsjax.encoders.scalegmn.scale_blocks import FACTORS, READS, Nets
from wsjax.encoders.scalegmn.scale_layers import BACKWARD, Layer, Readout
from wsjax.encoders.scalegmn.scale_view import ScaleView, scale_view, stack, start_rows, types
from wsjax.networks import Spec
from wsjax.views.neurons import gather

READOUTS = ("last", "full", "edit")


class ScaleGMN(Encoder):
    """Encodes networks into embeddings, invariant to permutations and to factors of neurons.

    The published configurations are in `scalegmn_settings`.

    Attributes:
        width: of states.
        layers: rounds of messages.
        code: width of the embedding.
        symmetry: "sign" or "scale" reads networks whose hidden neurons all have such factors;
            "hetero" any mixture, and neurons without; "permutation" has no factors, nor
            `symmetrise`, `plain`, `apart`, `positions`, `add` and `depth`.
        backward: messages in both directions, see above; "none" for forward alone.
        readout: "last" reads outputs (and inputs, if messages go back), "full" all neurons;
            "edit" gives every parameter a change, [batch, entry], with the factors it has.
        expansion: how many maps (Gamma x) * s(x) give a change, which is their mean, see `editors`.
        hidden: width within MLPs; `width` if 0.
        symmetrise: signs by rho(x) + rho(-x); else by |x|.
        norm: LayerNorm within MLPs.
        dropout: of neurons after every round.
        dropout_all: within MLPs as well.
        plain: inputs and outputs go through MLPs; else through (Gamma x) * MLP(x).
        apart: with an MLP for inputs and one for outputs.
        skip: add a linear map of what neurons were.
        node_positions, pair_positions: positions of neurons and pairs are features.
        positions: what else reads positions of neurons, of "message", "update".
        add: positions of neurons without factors are added; else multiplied like all others.
        layout: (inputs, hidden levels, outputs) that tables of positions have room for, with
            inputs and outputs concatenated in read-outs; () reads any number.
        channels: the most weights that may join two neurons.
        features: the most parameters that may feed one neuron alone.
        links: read pairs without a parameter, such as residuals.
        inputs: what an input neuron begins with.
        depth: layers in the nets of messages and updates; gated messages have one.
        probes: learned inputs, sent through the networks; 0 for none. Neurons read their
            activations, which carry their factors: `probes` (Kofinas et al., 2024). Not in the
            paper; of dense chains alone.
        coordinates: inputs of the networks, if they are probed.
        waves: sinusoids for each integer, without a layout.
        initial: of linear maps, one of `initializers.INITIAL`: "lecun" is ours, kernels sqrt(3)
            times as large as "published", PyTorch's, which all of `scalegmn_settings` have.
    """

    width: int = 64
    layers: int = 3
    code: int = 32
    symmetry: str = "hetero"
    backward: str = "balanced"
    readout: str = "full"
    expansion: int = 1
    hidden: int = 0
    symmetrise: bool = True
    norm: bool = True
    dropout: float = 0.0
    dropout_all: bool = False
    plain: bool = False
    apart: bool = True
    skip: bool = True
    node_positions: bool = True
    pair_positions: bool = True
    positions: Sequence[str] = ()
    add: bool = True
    layout: Sequence[int] = ()
    channels: int = 25
    features: int = 16
    links: bool = True
    inputs: float = 1.0
    depth: int = 1
    probes: int = 0
    coordinates: int = 2
    waves: int = 8
    initial: str = "lecun"

    reads_any = True
    mixes = True
    edits = True
    stack = staticmethod(stack)

    def __post_init__(self):
        super().__post_init__()
        words = not isinstance(self.positions, str)
        rules = {
            "positions": (
                words and not set(self.positions) - {"message", "update"},
                "some of ('message', 'update')",
            ),
            "layout": (len(self.layout) in (0, 3), "(inputs, hidden levels, outputs) or ()"),
            "waves": (settings.divides(2, self.waves), "an even number above 0"),
            "hidden": (self.hidden >= 0, "at least 0"),
            "probes": (self.probes >= 0, "at least 0"),
        }
        every = "width", "layers", "code", "channels", "features", "depth"
        choices = {"symmetry": tuple(READS), "backward": BACKWARD, "readout": READOUTS}
        choices["initial"] = INITIAL
        settings.check(self, rules, choices=choices, sizes=every, rates=["dropout"])

    def view(self, spec: Spec) -> ScaleView:
        """The view of an architecture.

        Raises:
            ValueError: see `scale_view.scale_view`; or the network cannot be probed.
        """
        room = self.channels, self.features, self.links
        view = scale_view(spec, self.symmetry, *room, tuple(self.layout))
        if not self.probes:
            return view
        probes.assert_chain(spec, self.coordinates)
        omega = probes.omegas(spec, view.graph)
        return dataclasses.replace(view, omega=omega, levels=len(spec.layers))

    def calibrate(
        self, vectors: np.ndarray, view: ScaleView, scales: Mapping[str, float]
    ) -> dict[str, jax.Array]:
        """Factors that undo the normalisation of probed networks: `probes.scales_by_level`.

        Raises:
            ValueError: networks are probed, and the scales are not given.
        """
        return probes.scales_by_level(scales) if self.probes else {}

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ScaleView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        edit = self.readout == "edit"
        rows = start_rows(view, vectors.shape[0])
        cast = lambda p: None if p is None else p.astype(vectors.dtype)
        where = [cast(p) for p in self._positions(view, rows)]
        nodes, streams = self._begin(vectors, view, rows, where)
        nets = Nets(
            self.symmetry,
            self.hidden or self.width,
            self.symmetrise,
            self.norm,
            self.dropout if self.dropout_all else 0.0,
            self.plain,
            self.apart,
            self.depth,
            self.initial,
        )
        for i in range(self.layers):
            last = i == self.layers - 1
            out = (self.width, 0 if last else self.width)
            if last and edit:
                out = self.features * self.expansion, view.weight.shape[-1] * self.expansion
            layer = Layer(
                nets,
                self.width,
                out,
                self.backward,
                tuple(self.positions),
                self.skip and not (last and edit),
                self.dropout,
                name=f"layer_{i}",
            )
            nodes, streams = layer(nodes, streams, where[0], rows, train)
        if edit:
            return self._change(vectors, view, rows, nodes, streams[0])
        both = self.backward != "none"
        readout = Readout(nets, self.code, self.readout, both, tuple(self.layout), name="readout")
        return readout(nodes, rows, train)

    def _positions(self, view, rows):
        """Positions of neurons and of pairs, [row, lane or 1, width]; None for either without."""
        graph, table = view.graph, nn.initializers.normal(1.0)
        positions = []
        counts = types(*self.layout) if self.layout else (0, 0)
        for what, wanted, index, count in (
            ("nodes", self.node_positions, view.node_type, counts[0]),
            ("pairs", self.pair_positions, view.pair_type, counts[1]),
        ):
            x = None
            if wanted and self.layout:
                x = self.param(f"{what}_positions", table, (count, self.width), jnp.float32)
                x = rows.spread(x[jnp.asarray(index)], what)
            elif wanted and what == "nodes":
                x = rows.spread(NodeFeatures(self.width, self.waves, name="position")(graph), what)
            elif wanted:
                names = (("from", rows.sender), ("to", rows.receiver))
                x = sum(
                    rows.spread(NodeFeatures(self.width, self.waves, name=n)(graph), "nodes")[at]
                    for n, at in names
                )
            positions.append(x)
        return positions

    def _begin(self, vectors, view, rows, where):
        """First states of neurons and of pairs, [row, lane, width]."""
        own = rows.spread(gather(vectors, view.own), "nodes")
        first, last = rows.slice_of("input")
        begin = own.at[first:last, :, 0].add(self.inputs)
        linear = functools.partial(dense, width=self.width, initial=self.initial, use_bias=False)
        nodes = linear(begin, name="own")
        weight = gather(vectors, view.weight)
        if self.probes:
            bias = gather(vectors, view.own[..., :1])[..., 0]
            chain = probes.Chain(weight[..., 0], bias, view.graph, view.omega, view.levels)
            points = probes.variables(self, self.probes, self.coordinates, view.levels)
            activations = rows.spread(chain.activations(*points), "nodes").astype(nodes.dtype)
            nodes = nodes + linear(activations, name="answers")
        p, plain = where[0], self.symmetry == "permutation"
        # a position of a table multiplies as it is; of features, by a factor that begins near one
        times = lambda x, p: x * (p if self.layout else 1 + p)
        if p is not None:
            pieces = []
            for kind in READS[self.symmetry]:
                x, q = rows.of_nodes(nodes, kind), rows.of_nodes(p, kind)
                added = plain or (self.add and kind not in FACTORS)
                pieces.append(x + q if added else times(x, q))
            nodes = jnp.concatenate(pieces)
        weight = rows.spread(weight, "pairs")
        streams = [weight]
        scaled = "scale" in READS[self.symmetry]
        if self.backward == "reciprocal" and scaled:
            some = weight != 0
            streams.append(jnp.where(some, 1 / jnp.where(some, weight, 1), 0))
        elif self.backward == "balanced" and scaled:
            ends = rows.sender, rows.receiver
            norms = path_norms(own.at[first:last, :, 0].set(1), weight, *ends, view.depth)
            streams.append(reciprocals(norms, weight, *ends))
        streams = jnp.split(linear(jnp.concatenate(streams), name="weight"), len(streams))
        if (p := where[1]) is not None:
            streams = [x + p if plain else times(x, p) for x in streams]
        return nodes, 2 * streams if self.backward == "as_published" else streams

    def _change(self, vectors, view, rows, nodes, pairs):
        """The change of each parameter, from its neuron or pair, [batch, entry]."""
        count = vectors.shape[-1]
        out = jnp.zeros_like(vectors)
        for x, index, what in ((nodes, view.own, "nodes"), (pairs, view.weight, "pairs")):
            x = rows.gathered(x, what)  # [batch, row, channel * expansion]
            x = x.reshape(*x.shape[:-1], -1, self.expansion).mean(-1)
            index = jnp.where(jnp.asarray(index) < 0, count, jnp.asarray(index))
            put = lambda v, i, x: v.at[i].set(x, mode="drop")
            out = jax.vmap(put, (0, 0 if index.ndim == 3 else None, 0))(out, index, x)
        return out

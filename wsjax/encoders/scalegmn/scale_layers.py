"""Rounds of messages and read-outs of ScaleGMN; `scalegmn` has the equations."""

import functools
import operator
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.encoders.parts.initializers import dense
from wsjax.encoders.scalegmn.scale_blocks import (
    FACTORS,
    READ_BY,
    Canonical,
    Equivariant,
    Features,
    Invariant,
    Linear,
    Nets,
    Part,
    part,
    steady,
)
from wsjax.encoders.scalegmn.scale_view import Rows, take

BACKWARD = ("none", "as_published", "reciprocal", "gated", "balanced")


class Messages(nn.Module):
    """Messages to neurons along pairs, summed.

    Attributes:
        nets: their settings.
        width: of all states.
        against: messages go against the direction of pairs.
        gated: by the neuron they go to; with `against`.
        of_senders: they read positions of the neurons they come from; else of their targets.
    """

    nets: Nets
    width: int
    against: bool = False
    gated: bool = False
    of_senders: bool = False

    @nn.compact
    def __call__(
        self,
        nodes: jax.Array,
        pairs: jax.Array,
        positions: jax.Array | None,
        rows: Rows,
        train: bool,
    ) -> jax.Array:
        """[row, lane, width] of nodes and pairs -> [node row, lane, width].

        Args:
            nodes: states of neurons.
            pairs: states of pairs, with the factors of the direction.
            positions: [row, lane or 1, width] of neurons, that messages read.
            rows: which pair joins which neurons.
            train: drop out.
        """
        back = self.against and not self.gated
        start, end = (rows.receiver, rows.sender) if back else (rows.sender, rows.receiver)
        linear = functools.partial(
            dense, width=self.width, initial=self.nets.initial, use_bias=False
        )
        sent = linear(nodes, name="sender")[start] * linear(pairs, name="pair")
        features, ends, real = {}, {}, {}
        for kind in self.nets.kinds:
            at = rows.of_pairs(kind, "sender" if back else "receiver")
            to, parts, gate = take(end, at), [part(take(sent, at))], None
            if self.gated:
                parts, to = [part(nodes, to), *parts], take(rows.sender, at)
                gate = [part(nodes, to)]
            place = take(start, at) if self.of_senders else to
            extras = [] if positions is None else [part(positions, place)]
            features[kind], ends[kind] = Features(parts, extras, gate), to
            real[kind] = None if rows.real_pair is None else take(rows.real_pair, at)
        total = jnp.zeros((*nodes.shape[:-1], self.width), nodes.dtype)
        for kind, x in Equivariant(self.nets, self.width, name="message")(features, train).items():
            if x.shape[0]:
                x = x if real[kind] is None else jnp.where(real[kind], x, 0)
                total = total + jax.ops.segment_sum(x, ends[kind], total.shape[0])
        return total


class PairUpdate(nn.Module):
    """States of pairs, updated: (Gamma e_ij) * phi([c(x_j), c(x_i)]).

    Attributes:
        nets: their settings.
        out: width of the result.
    """

    nets: Nets
    out: int

    @nn.compact
    def __call__(
        self,
        nodes: jax.Array,
        pairs: jax.Array,
        start: jax.Array,
        end: jax.Array,
        rows: Rows,
        train: bool,
    ) -> jax.Array:
        """[row, lane, width] of nodes and pairs -> [pair row, lane, out].

        Args:
            nodes: states of neurons.
            pairs: states of pairs, with the factor of `end` over that of `start`.
            start: [pair row] row of a neuron.
            end: likewise.
            rows: which rows are of which kind.
            train: drop out.
        """
        forms = {k: Canonical(self.nets, name=f"canonical_{k}") for k in self.nets.groups}
        pieces = []
        for kind in self.nets.kinds:
            x = part(rows.of_nodes(nodes, kind))
            if kind in FACTORS:
                (x,) = forms[READ_BY[kind]]([x], kind, train)
            (piece,) = x.pieces
            for n in x.over:
                piece = Linear(piece.x / n)
            pieces.append(piece)
        phi = self.nets.mlp(self.out, "phi")
        ratio = phi([Part(tuple(pieces), start), Part(tuple(pieces), end)], train).value()
        new = dense(pairs, self.out, self.nets.initial, "gamma", use_bias=False) * ratio
        bounded = self.nets.norm or "scale" in self.nets.groups
        return new if bounded else steady(new)


class PlainMessages(nn.Module):
    """`Messages` without factors: an MLP of [e_ij, x_j]. Arguments as there."""

    nets: Nets
    width: int
    against: bool = False
    gated: bool = False
    of_senders: bool = False

    @nn.compact
    def __call__(self, nodes, pairs, positions, rows, train):
        """[row, lane, width] of nodes and pairs -> [node row, lane, width]."""
        start, end = rows.sender, rows.receiver
        start, end = (end, start) if self.against else (start, end)
        net = self.nets.mlp(self.width, "message")
        x = net([part(pairs), part(nodes, start)], train).value()
        x = x if rows.real_pair is None else jnp.where(rows.real_pair, x, 0)
        return jax.ops.segment_sum(x, end, nodes.shape[0])


class PlainPairUpdate(nn.Module):
    """`PairUpdate` without factors: an MLP of [e_ij, x_j, x_i]. Arguments as there."""

    nets: Nets
    out: int

    @nn.compact
    def __call__(self, nodes, pairs, start, end, rows, train):
        """[row, lane, width] of nodes and pairs -> [pair row, lane, out]."""
        net = self.nets.mlp(self.out, "phi")
        return net([part(pairs), part(nodes, start), part(nodes, end)], train).value()


class Layer(nn.Module):
    """One round: messages in one direction or both, then neurons and pairs.

    Attributes:
        nets: their settings.
        width: of states.
        out: widths of the results, of neurons and of pairs; no update of pairs if 0.
        backward: one of `BACKWARD`.
        positions: where positions are read: "message", "update".
        skip: add a linear map of what neurons were.
        dropout: of neurons.
    """

    nets: Nets
    width: int
    out: tuple[int, int]
    backward: str
    positions: tuple[str, ...] = ()
    skip: bool = True
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        nodes: jax.Array,
        streams: Sequence[jax.Array],
        positions: jax.Array | None,
        rows: Rows,
        train: bool,
    ) -> tuple[jax.Array, list[jax.Array]]:
        """[node row, lane, width] and one or two [pair row, lane, width], updated.

        Args:
            nodes: states of neurons.
            streams: states of pairs; the second, if there is one, for the other direction.
            positions: [row, lane or 1, width] of neurons.
            rows: which pair joins which neurons.
            train: drop out.
        """
        plain = self.nets.symmetry == "permutation"
        message, update = (PlainMessages, PlainPairUpdate) if plain else (Messages, PairUpdate)
        read = lambda what: positions if what in self.positions else None
        as_published = self.backward == "as_published"
        net = functools.partial(message, self.nets, self.width, of_senders=as_published)
        sent = net(name="forward")(nodes, streams[0], read("message"), rows, train)
        parts = [nodes, sent]
        if self.backward != "none":
            gated = self.backward == "gated" and "scale" in self.nets.groups
            back = net(True, gated, name="backward")
            parts.append(back(nodes, streams[-1], read("message"), rows, train))
        if plain:
            new = self.nets.mlp(self.out[0], "update")([part(x) for x in parts], train).value()
        else:
            features = {}
            for kind in self.nets.kinds:
                of = lambda x, kind=kind: part(rows.of_nodes(x, kind))
                extras = [] if read("update") is None else [of(positions)]
                features[kind] = Features([of(x) for x in parts], extras)
            new = Equivariant(self.nets, self.out[0], name="update")(features, train)
            scaled = [k for k in new if "scale" in FACTORS.get(k, ())]  # must stay as they are
            new = jnp.concatenate([x if k in scaled else steady(x) for k, x in new.items()])
        if self.skip:
            new = new + dense(nodes, self.out[0], self.nets.initial, "skip", use_bias=False)
        new = nn.Dropout(self.dropout, deterministic=not train)(new)
        if self.out[1]:
            ways = [(rows.sender, rows.receiver), (rows.receiver, rows.sender)]
            if as_published and self.nets.symmetry != "scale":
                ways.pop()  # the second stays as it began
            updated = [
                update(self.nets, self.out[1], name=f"pairs_{i}")(nodes, x, *ends, rows, train)
                for i, (x, ends) in enumerate(zip(streams, ways, strict=False))
            ]
            streams = [*updated, *streams[len(updated) :]]
        return new, list(streams)


class Readout(nn.Module):
    """An embedding that reads hidden neurons up to their factors, inputs and outputs as they are.

    Attributes:
        nets: their settings.
        code: width of the result.
        how: "last" reads outputs (and inputs, if messages went back), "full" all neurons.
        both: messages went back.
        layout: most (inputs, hidden levels, outputs), whose states are concatenated; () for
            any number, averaged.
    """

    nets: Nets
    code: int
    how: str
    both: bool
    layout: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, nodes: jax.Array, rows: Rows, train: bool) -> jax.Array:
        """[node row, lane, width] -> [batch, code]."""
        width = nodes.shape[-1]
        out = self._ends(nodes, rows, "output", self.layout[2:])
        if self.how == "last" and self.both:
            first = self._ends(nodes, rows, "input", self.layout[:1])
            ends = {"last": out, "first": first}
            out = [dense(x, width, self.nets.initial, name) for name, x in ends.items()]
        elif self.how == "last":
            out = [out]
        elif self.nets.symmetry == "permutation":
            x = self.nets.mlp(width, "local")([part(nodes)], train).value()
            sums = [self._sum(rows.of_nodes(x, kind), rows, kind) for kind in self.nets.kinds]
            out = [functools.reduce(operator.add, sums)]
        else:
            total = jnp.zeros((), nodes.dtype)
            s = {k: Invariant(self.nets, width, name=k) for k in self.nets.groups}
            for kind in self.nets.kinds:
                x = [part(rows.of_nodes(nodes, kind))]
                if kind in FACTORS:
                    x = s[READ_BY[kind]](x, kind, (), train)
                elif kind == "free":
                    x = self.nets.mlp(width, "free")(x, train).value()
                else:
                    continue
                total = total + self._sum(x, rows, kind)
            out = [total, self._ends(nodes, rows, "input", self.layout[:1]), out]
        return self.nets.mlp(self.code, "code")([part(x) for x in out], train).value()

    def _sum(self, x, rows, kind):
        return rows.by_graph(x, kind).sum(1)

    def _ends(self, nodes, rows, kind, room):
        """Inputs or outputs of each network [batch, n]: concatenated, or their mean."""
        x = rows.by_graph(rows.of_nodes(nodes, kind), kind)  # [batch, neuron, width]
        if room:
            x = jnp.pad(x[:, : room[0]], ((0, 0), (0, max(0, room[0] - x.shape[1])), (0, 0)))
            return x.reshape(x.shape[0], -1)
        return x.sum(1) / jnp.maximum(rows.count(kind), 1).astype(x.dtype)

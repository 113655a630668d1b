"""Backbones of neural graphs: a relational transformer and a PNA.

    q_ij = Q x_i + Q' e_ij      k_ij = K x_j + K' e_ij      v_ij = V x_j * V'' e_ij + V' e_ij
    x_i <- sum_j softmax_j( q_ij . k_ij ) v_ij               all pairs, joined or not

    m_ij = scale(e_ij) * MLP(x_i, x_j) + shift(e_ij)         pairs that are joined
    x_j <- MLP( x_j, [1, log-degree] x [mean, min, max, std] of m_ij over i )

The transformer is Diao & Loynd's (2023), the PNA Corso et al.'s (2020), both as Kofinas et
al. (2024) use them: pairs modulate what is sent and are updated from both their ends, but
not after the last layer. With the settings of `NeuralGraph` the counts are theirs. Maps of the
transformer begin as theirs (Xavier, uniform, without biases), those of the PNA as `initial` says.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsjax.encoders.parts.initializers import dense

LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5)  # PyTorch's
xavier = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())


class RelationalLayer(nn.Module):
    """A layer of the relational transformer, on nodes [batch, node, ...] and all pairs.

    Attributes:
        attention: width of queries, keys and values.
        hidden: of the nodes' map.
        edge_hidden: of the pairs' maps; 0 leaves pairs as they are.
        heads: of the attention.
        dropout: of whatever is added to nodes and pairs.
    """

    attention: int
    hidden: int
    edge_hidden: int
    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, e: jax.Array, real: jax.Array | None, train: bool = False):
        """X [batch, node, width], e [batch, node, node, edge width], updated."""
        width, drop = x.shape[-1], nn.Dropout(self.dropout, deterministic=not train)
        out = xavier(width, name="node_out")(self.attend(x, e, real))
        x = LayerNorm(name="attention_norm")(x + drop(out))
        out = nn.gelu(xavier(self.hidden, use_bias=False, name="lift")(x), approximate=False)
        x = LayerNorm(name="norm")(x + drop(xavier(width, name="lower")(out)))
        return x, self._pairs(x, e, drop) if self.edge_hidden else e

    @nn.compact
    def attend(self, x: jax.Array, e: jax.Array, real: jax.Array | None) -> jax.Array:
        """Messages to nodes, [batch, node, width]."""
        split = lambda y: y.reshape(*y.shape[:-1], self.heads, -1)
        of_nodes = split(xavier(3 * self.attention, use_bias=False, name="qkv")(x))
        of_pairs = split(xavier(4 * self.attention, use_bias=False, name="pair_qkv")(e))
        query, key, value = jnp.split(of_nodes, 3, axis=-1)
        query_e, key_e, value_e, modulation = jnp.split(of_pairs, 4, axis=-1)
        value = value[:, None] * modulation + value_e
        logits = jnp.einsum("bijhd,bijhd->bhij", query[:, :, None] + query_e, key[:, None] + key_e)
        logits = logits / math.sqrt(self.attention)
        if real is not None:
            logits = jnp.where(real[:, None, None, :], logits, -jnp.inf)
        out = jnp.einsum("bhij,bijhd->bihd", jax.nn.softmax(logits, axis=-1), value)
        return xavier(x.shape[-1], name="out")(out.reshape(*x.shape[:-1], -1))

    def _pairs(self, x, e, drop):
        width = e.shape[-1]
        both = jnp.concatenate([e, e.swapaxes(1, 2)], axis=-1)
        out = xavier(self.edge_hidden, name="pair_both")(both)
        out = out + xavier(self.edge_hidden, name="pair_sender")(x)[:, :, None]
        out = out + xavier(self.edge_hidden, name="pair_receiver")(x)[:, None]
        out = xavier(width, name="pair_out")(nn.gelu(out, approximate=False))
        e = LayerNorm(name="pair_attention_norm")(e + drop(out))
        out = xavier(self.edge_hidden, use_bias=False, name="pair_lift")(e)
        out = xavier(width, name="pair_lower")(nn.gelu(out, approximate=False))
        return LayerNorm(name="pair_norm")(e + drop(out))


def aggregate(x: jax.Array, ends: jax.Array, nodes: int) -> tuple[jax.Array, jax.Array]:
    """Mean, least, greatest and standard deviation of the messages at each node.

    Args:
        x: [message, width].
        ends: [message] the node each ends at; `nodes` for messages to be dropped.
        nodes: their number.

    Returns:
        [node, 4 * width], zeros where no message ends, and how many end there [node, 1].
        Deviations whose square is at most 1e-5 are 0, so that gradients are finite (PyTorch
        Geometric's `StdAggregation`, which the published PNA has).
    """
    total = functools.partial(jax.ops.segment_sum, segment_ids=ends, num_segments=nodes)
    count = total(jnp.ones((x.shape[0], 1), x.dtype))
    mean = total(x) / jnp.maximum(count, 1)
    spread = total(jnp.square(x - mean.at[ends].get(mode="clip"))) / jnp.maximum(count, 1)
    least, most = (f(x, ends, nodes) for f in (jax.ops.segment_min, jax.ops.segment_max))
    some = spread > 1e-5
    deviation = jnp.where(some, jnp.sqrt(jnp.where(some, spread, 1)), 0)
    moments = jnp.concatenate([mean, least, most, deviation], axis=-1)
    return jnp.where(count > 0, moments, 0), count


class PNALayer(nn.Module):
    """A layer of PNA: four aggregators, two scalers, messages that pairs modulate.

    Attributes:
        last: leave out norm, activation, dropout and the update of pairs.
        initial: of linear maps, one of `initializers.INITIAL`. As "published" those of both
            ends of a pair begin as parts of one.
        dropout: of nodes.
    """

    last: bool
    initial: str = "lecun"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        e: jax.Array,
        ends: tuple[jax.Array, jax.Array],
        real: jax.Array | None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """One round.

        Args:
            x: [batch, node, width].
            e: [batch * pair, edge width].
            ends: from which node and to which, each [batch, pair]; padding has the number
                of nodes.
            real: [batch, node], False on padding; None where there is none.
            train: drop out.

        Returns:
            Nodes and pairs, of the shapes of x and e.
        """
        batch, nodes, width = x.shape
        rows = x.reshape(-1, width)
        first = nodes * jnp.arange(batch, dtype=jnp.int32)[:, None]
        sender, receiver = (
            jnp.where(i < nodes, first + i, batch * nodes).reshape(-1) for i in ends
        )
        at = lambda y, i: y.at[i].get(mode="clip")
        linear = functools.partial(dense, initial=self.initial)
        sent = at(linear(rows, width, name="sender", fan_in=2 * width, use_bias=False), sender)
        sent = sent + at(linear(rows, width, name="receiver", fan_in=2 * width), receiver)
        scale, shift = jnp.split(linear(e, 2 * width, name="pair"), 2, axis=-1)
        moments, count = aggregate(scale * sent + shift, receiver, batch * nodes)

        degree = jnp.log1p(count).reshape(batch, nodes, 1)
        present = jnp.ones_like(degree) if real is None else real[..., None].astype(x.dtype)
        typical = (degree * present).sum(1, keepdims=True) / present.sum(1, keepdims=True)
        moments = moments.reshape(batch, nodes, -1)
        amplified = moments * (degree / jnp.maximum(typical, 1e-6))
        x = linear(jnp.concatenate([x, moments, amplified], axis=-1), width, name="post")
        x = linear(x, width, name="out")
        if self.last:
            return x, e
        x = nn.silu(LayerNorm(name="norm")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        rows, size = x.reshape(-1, width), e.shape[-1]
        e = linear(e, size, name="pair_self")
        e = e + at(linear(rows, size, name="pair_sender"), sender)
        e = e + at(linear(rows, size, name="pair_receiver"), receiver)
        return x, linear(nn.silu(e), size, name="pair_out")

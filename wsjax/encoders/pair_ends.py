"""Which neuron each pair starts from, or ends at: states of neurons to pairs, and sums back.

    ends(nodes)            [node row, ...] -> [pair row, ...]          a gather
    ends.sum(x, count)     [pair row, ...] -> [node row, ...]          a segment sum

Where pairs come in blocks, every neuron of one run joined to every one of another, a gather is
a broadcast and a sum is over one axis of the block: no array of indices is read, and no gradient
scatters. Dense layers and convolutions are such blocks, if no residual lies between their
channels; where some pairs are in none, all are gathered.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

LEAST, MOST = 8, 32  # pairs in a block, and blocks: beyond, a gather is a smaller program


class Block(NamedTuple):
    """Pairs (i, j) of `senders` x `receivers` neurons in a row, j running fastest.

    Attributes:
        first: row of the first pair.
        sender: row of the first neuron they start from.
        senders: how many there are.
        receiver: row of the first neuron they end at.
        receivers: how many there are.
    """

    first: int
    sender: int
    senders: int
    receiver: int
    receivers: int

    @property
    def last(self) -> int:
        """Row behind the last pair."""
        return self.first + self.senders * self.receivers


def blocks(sender: np.ndarray, receiver: np.ndarray, slices: np.ndarray) -> tuple[Block, ...]:
    """The blocks that pairs come in; none if one is small, or they are many.

    Args:
        sender: [pair] row of the neuron it starts from; within a slice, not decreasing.
        receiver: [pair] row of the neuron it ends at; of one sender, increasing.
        slices: [pair] a number for the slice of each pair, which no block goes beyond.
    """
    if not len(sender):
        return ()
    found: list[Block] = []
    cuts = (np.diff(sender) != 0) | (np.diff(receiver) != 1) | (np.diff(slices) != 0)
    cuts = np.flatnonzero(cuts) + 1
    for first, last in zip([0, *cuts], [*cuts, len(sender)], strict=True):
        new = Block(int(first), int(sender[first]), 1, int(receiver[first]), int(last - first))
        old = found[-1] if found and slices[found[-1].first] == slices[first] else None
        if old and (new.sender, *new[3:]) == (old.sender + old.senders, *old[3:]):
            found[-1] = old._replace(senders=old.senders + 1)
        else:
            found.append(new)
    small = min(b.last - b.first for b in found) < LEAST
    return () if small or len(found) > MOST else tuple(found)


@flax.struct.dataclass
class Ends:
    """One end of each pair.

    Attributes:
        rows: [pair row] row of its neuron.
        side: "sender" or "receiver", which end it is (static).
        blocks: of all these pairs, in order; () if they come in none (static).
    """

    rows: jax.Array
    side: str = flax.struct.field(pytree_node=False)
    blocks: tuple[Block, ...] = flax.struct.field(pytree_node=False, default=())

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, x: jax.Array) -> jax.Array:
        """What neurons have, for each pair: [node row, ...] -> [pair row, ...]."""
        if not self.blocks:
            return x[self.rows]
        pieces = []
        for b in self.blocks:
            first, count = self._run(b)
            piece = jnp.expand_dims(x[first : first + count], 1 - self._axis)
            piece = jnp.broadcast_to(piece, (b.senders, b.receivers, *x.shape[1:]))
            pieces.append(piece.reshape(-1, *x.shape[1:]))
        return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)

    def sum(self, x: jax.Array, count: int) -> jax.Array:
        """What pairs have, summed for each neuron: [pair row, ...] -> [count, ...]."""
        if not self.blocks:
            return jax.ops.segment_sum(x, self.rows, count)
        total = jnp.zeros((count, *x.shape[1:]), x.dtype)
        for b in self.blocks:
            first, many = self._run(b)
            piece = x[b.first : b.last].reshape(b.senders, b.receivers, *x.shape[1:])
            total = total.at[first : first + many].add(piece.sum(1 - self._axis))
        return total

    def take(self, slices: Sequence[tuple[int, int]]) -> "Ends":
        """Those of some slices of pairs, one after the other; slices should hold whole blocks."""
        rows = [self.rows[first:last] for first, last in slices]
        rows = rows[0] if len(rows) == 1 else jnp.concatenate([self.rows[:0], *rows])
        inside, at = [], 0
        for first, last in slices:
            mine = [b for b in self.blocks if first <= b.first and b.last <= last]
            inside += [b._replace(first=b.first - first + at) for b in mine]
            at += last - first
        whole = sum(b.last - b.first for b in inside) == len(rows)
        return self.replace(rows=rows, blocks=tuple(inside) if whole else ())

    @property
    def _axis(self):
        return 0 if self.side == "sender" else 1

    def _run(self, block):
        if self.side == "sender":
            return block.sender, block.senders
        return block.receiver, block.receivers

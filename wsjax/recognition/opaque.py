"""A bag of arrays: every array one layer, no symmetry claimed.

    encoder.gate [3, 4, 5]    layer of kind "conv", axes (a0, a1, a2), none of them hidden

The kinds, reads and writes say how chunks and statistics are cut, and nothing about a function.
"""

import math

from wsjax.networks import TAPS, Array, Layer
from wsjax.packing import Piece
from wsjax.recognition.drafting import StoredDraft
from wsjax.recognition.names import leaves

KINDS = {"kernel": "dense", "bias": "dense"}  # of arrays of at most two axes; others are norms


def add(draft: StoredDraft, rest: dict[str, tuple[int, ...]]) -> None:
    """Adds a layer for each array, at a level of its own, none of whose axes is hidden."""
    for number, leaf in enumerate(leaves(rest), len(draft.pieces)):
        shape = leaf.shape or (1,)
        if len(shape) > 2 + TAPS:  # chunks have no more positions
            shape = (*shape[: 1 + TAPS], math.prod(shape[1 + TAPS :]))
        axes = tuple(f"a{number}_{i}" for i in range(len(shape)))
        draft.sizes |= dict(zip(axes, shape, strict=True))
        reads, writes = (), tuple(range(len(axes)))[-1:]
        if len(axes) > 1:
            reads, writes = (len(axes) - 2,), (len(axes) - 1,)
            if leaf.writes_first:
                reads, writes = (1,), (0,)
        kind = KINDS.get(leaf.role, "norm") if len(axes) < 3 else "conv"
        role = leaf.role or ("kernel" if len(axes) > 1 else "bias")
        array = Array(leaf.name, role, axes, reads, writes)
        full = (0,) * len(shape)
        draft.pieces.append(
            Piece(leaf.name, leaf.name, shape, full, shape, shape, tuple(range(len(shape))))
        )
        draft.layers.append(Layer(leaf.name, kind, draft.level + 1, (array,)))

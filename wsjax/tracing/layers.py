"""The layers of a function: what its parameters do, read off its jaxpr.

    x --dot kernel--> + bias --tanh--> dot kernel --> + bias        two dense layers
    x - mean(x)  * rsqrt(mean of squares)  * scale  + bias          a LayerNorm
    dot(queries, keys) --softmax--> dot(values) --> dot kernel      an attention

`structure` gives, for every parameter at its first use, its role and which of its stored axes
are read, written or taps, grouped into layers in order of computation. `spec_of` joins this
with the axes that are the same neurons (`wsjax.tracing.axes`).
"""

import dataclasses

from wsjax.networks import Setting

Part = tuple[tuple[int, int, int], ...]  # (stored axis, start, stop), of a stacked parameter


@dataclasses.dataclass(frozen=True)
class Use:
    """A parameter, or a part of it, at its first use.

    Attributes:
        parameter: its number.
        part: along these stored axes, only from start to stop: one step of a scan.
        role: one of `networks.ROLES`.
        reads: stored axes that are contracted with the data.
        writes: stored axes that go on to the output.
        blocks: (stored axis, n): its first n parts are both read and written, a block diagonal.
    """

    parameter: int
    part: Part
    role: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Block:
    """A layer, or an addition without parameters.

    Attributes:
        kind: one of `networks.KINDS`.
        uses: of parameters, in order.
        inputs: the layers whose outputs it takes in, by number; -1 for the network's input. Of a
            residual, the later one first.
        activation: as in `Layer`.
        omega: as in `Layer`.
        settings: as in `Layer`.
    """

    kind: str
    uses: tuple[Use, ...]
    inputs: tuple[int, ...]
    activation: str = "none"
    omega: float = 1.0
    settings: tuple[Setting, ...] = ()


@dataclasses.dataclass(frozen=True)
class Structure:
    """The layers of a function.

    Attributes:
        blocks: in order of computation.
        notes: on what is not understood, a line each.
    """

    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()

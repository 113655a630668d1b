"""The layers of a function: what its parameters do, read off its jaxpr.

    x --dot kernel--> + bias --tanh--> dot kernel --> + bias        two dense layers
    x - mean(x)  * rsqrt(mean of squares)  * scale  + bias          a LayerNorm
    dot(queries, keys) --softmax--> dot(values) --> dot kernel      an attention

`structure` gives, for every parameter at its first use, its role and which of its stored axes
are read, written or taps, grouped into layers in order of computation. `spec_of` joins this
with the axes that are the same neurons (`wsjax.tracing.axes`).
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Collection, Sequence

from jax.extend import core

from wsjax import checks
from wsjax.networks import Array, Layer, Spec
from wsjax.packing import Piece
from wsjax.tracing.axes import Axes
from wsjax.tracing.layers import assembly, dataflow
from wsjax.tracing.layers.drafts import Block
from wsjax.tracing.layers.values import Use
from wsjax.views.wiring import wired, wiring

NAMES = {"dense": "Dense", "conv": "Conv", "norm": "Norm", "attention": "Attention",
         "embedding": "Embedding", "residual": "Residual"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Structure:
    """The layers of a function.

    Attributes:
        blocks: in order of computation.
        notes: on what is not understood, a line each.
    """

    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def structure(jaxpr: core.ClosedJaxpr, names: Sequence[str]) -> Structure:
    """The layers of a function whose first arguments are the parameters of these names.

    >>> import jax, jax.numpy as jnp
    >>> function = lambda w, b, v, x: jnp.tanh(x @ w + b) @ v.T
    >>> arrays = jnp.ones((2, 5)), jnp.ones(5), jnp.ones((3, 5)), jnp.ones((7, 2))
    >>> first, last = structure(jax.make_jaxpr(function)(*arrays), "wbv").blocks
    >>> first.kind, first.activation, [u.role for u in first.uses]
    ('dense', 'tanh', ['kernel', 'bias'])
    >>> last.uses[0].reads, last.uses[0].writes
    ((1,), (0,))
    """
    nodes = dataflow.nodes(jaxpr, len(names))
    repeated = [names[i] for i in sorted(nodes.repeated)]
    notes = [f"used more than once: {checks.some('parameter', repeated)}"] if repeated else []
    return Structure(assembly.blocks(nodes), tuple(notes))


def spec_of(found: Structure, names: Sequence[str], axes: Axes) -> Spec:
    """The Spec of a function, from its layers and its axes.

    Levels are depths in the order of computation, branches beside each other; where that does not
    fit, every layer has a level of its own.

    Args:
        found: the layers.
        names: of the parameters, in order.
        axes: which axes are the same neurons.
    """
    drafts = _Drafts(found, names, axes)
    spec = drafts.spec(beside=True)
    return spec if spec is not None and wired(spec) else drafts.fitting() or drafts.plain()


@dataclasses.dataclass
class _Part:
    """A layer before it has a level: its block, names that may be its own, and its arrays."""

    block: int
    names: list[str]
    arrays: tuple[Array, ...]
    name: str = ""


class _Drafts:
    def __init__(self, found: Structure, names: Sequence[str], axes: Axes):
        self.blocks, self.axes = found.blocks, axes
        self.numbers = {n: i for i, n in enumerate(names)}
        self.stored = dict(axes.packing.stored)
        pieces = axes.packing.pieces
        uses = [(k, u) for k, b in enumerate(found.blocks) for u in b.uses]
        self.owned: dict[int, list[tuple[Use, Piece]]] = {k: [] for k in range(len(self.blocks))}
        self.spare = []
        by_parameter: dict[int, list[tuple[int, Use]]] = {}
        for k, u in uses:
            by_parameter.setdefault(u.parameter, []).append((k, u))
        place = {}
        for piece in pieces:
            options = by_parameter.get(self.numbers[piece.source], [])
            fits = [o for o in options if self._overlaps(piece, o[1])] or options
            if fits:
                place.setdefault((fits[0][0], fits[0][1]), []).append(piece)
            else:
                self.spare.append(piece)
        for (k, use), mine in place.items():
            self.owned[k] += [(use, piece) for piece in mine]
        for k, block in enumerate(self.blocks):
            order = {u: i for i, u in enumerate(block.uses)}
            self.owned[k].sort(key=lambda pair: order[pair[0]])
        self.same = self._repeated()
        self.parts = [
            p for k in range(len(self.blocks)) if k not in self.same for p in self._parts(k)
        ]
        self._unique()

    def _repeated(self) -> dict[int, int]:
        """Blocks that are another one again: the steps of a scan whose arrays are not cut."""
        holder: dict[int, int] = {}
        for k, pairs in self.owned.items():
            for use, _ in pairs:
                holder.setdefault(use.parameter, k)
        same: dict[int, int] = {}
        for k, block in enumerate(self.blocks):
            again = [same[i] for i in block.inputs if i in same]
            if block.uses and not self.owned[k]:
                same[k] = holder.get(block.uses[0].parameter, k)
            elif block.kind == "residual" and again:
                first = (
                    r for r in range(k)
                    if self.blocks[r].kind == "residual" and set(again) & set(self.blocks[r].inputs)
                    and self.blocks[r].activation == block.activation
                )  # fmt: skip
                same[k] = next(first, again[0] if block.activation == "none" else k)
        same = {k: h for k, h in same.items() if k != h}
        for k, h in same.items():
            seen = {k}
            while h in same and h not in seen:
                seen.add(h)
                h = same[h]
            same[k] = h
        return {k: h for k, h in same.items() if h not in same}

    def _inputs(self, block: Block) -> list[int]:
        return [self.same.get(i, i) for i in block.inputs] or [-1]

    def _overlaps(self, piece: Piece, use: Use) -> bool:
        """Whether a piece has numbers of the part that is used."""
        shape = self.stored[piece.source]
        for axis, start, stop in use.part:
            low, high = _range(piece, shape, axis)
            if high <= start or low >= stop:
                return False
        return True

    def _array(self, use: Use, piece: Piece) -> Array:
        """The array of a piece: reads and writes are those of the stored axes it comes from."""
        blocks = dict(use.blocks)
        reads, writes = [], []
        for i, axis in enumerate(piece.origins):
            if axis in use.writes:
                writes.append(i)
            if axis in use.reads:
                reads.append(i)
            elif axis in blocks:
                before = [piece.shape[k] for k in range(i) if piece.origins[k] == axis]
                if math.prod(before) * piece.shape[i] <= blocks[axis]:
                    reads.append(i)
        names = self.axes.names[piece.name]
        for i, n in enumerate(piece.shape):  # reshapes lose axes of one: they go with their pair
            if n == 1 and i not in reads + writes:
                near = {x for p in self.axes.nested if names[i] in p for x in p if x != names[i]}
                own = next((x for x in (reads, writes) if near & {names[k] for k in x}), [])
                own.append(i)
        return Array(piece.name, use.role, names, tuple(sorted(reads)), tuple(sorted(writes)))

    def _parts(self, k: int) -> list[_Part]:
        """The layers of a block: one, or one for each set of neurons where these lie apart."""
        block = self.blocks[k]
        arrays = [self._array(use, piece) for use, piece in self.owned[k]]
        sources = [piece.source for _, piece in self.owned[k]]
        names = [_common(sources), *(_common(sources[:1]), *sources[:1])]
        if block.kind == "attention":
            return [_Part(k, names, tuple(_paired(arrays)))]
        if block.kind == "norm":
            order = ("scale", "bias", "mean", "variance", "kernel")
            arrays.sort(key=lambda a: order.index(a.role))
        groups: dict[frozenset[str], list[Array]] = {}
        for a in arrays:
            groups.setdefault(frozenset(a.axes[i] for i in a.writes), []).append(a)
        written = set().union(*groups)
        inside = any(set(a.axes[i] for i in a.reads) & written for a in arrays)
        if len(groups) < 2 or inside or block.kind not in ("norm", "dense", "conv"):
            return [_Part(k, names, tuple(arrays))]
        of = lambda i: [f"{n}[{i}]" for n in names if n]
        return [_Part(k, of(i), tuple(group)) for i, group in enumerate(groups.values())]

    def _unique(self) -> None:
        """Gives every layer a name of its own: a folder that it has alone, or a kind and number."""
        folders = collections.Counter(f for p in self.parts for f in {*p.names[:2]})
        taken: set[str] = set()
        for part in self.parts:
            kind = NAMES[self.blocks[part.block].kind]
            own = [n for n in part.names if n and folders[n] < 2 and n not in taken]
            numbers = (f"{kind}_{i}" for i in itertools.count())
            part.name = own[0] if own else next(n for n in numbers if n not in taken)
            taken.add(part.name)

    def spec(self, beside: bool, dropped: Collection[str] = ()) -> Spec | None:
        """The Spec with branches beside each other, or with a level for every layer.

        None if two layers of one level write the same neurons, an addition fits none, or a layer
        takes in a later one.
        """
        out: dict[int, dict[frozenset[str], int]] = {-1: {frozenset(): -1}}
        layers, taken, top, closed = [], set(), -1, set()
        parts: dict[int, list[_Part]] = {}
        for p in self.parts:
            parts.setdefault(p.block, []).append(p)
        for k, block in enumerate(self.blocks):
            if k in self.same:
                continue
            inputs = self._inputs(block)
            if not all(i in out for i in inputs):  # it takes in what comes after it
                return None
            mine = parts.get(k, [])
            if block.kind == "residual":
                sides = [out[i] for i in inputs]
                out[k] = {n: max(s.get(n, -1) for s in sides) for s in sides for n in s}
                ends = [sorted(s[n] for s in sides) for n in sides[0] if n in sides[-1]]
                fits = len(sides) == 2 and len(ends) == 1 and ends[0][0] < ends[0][1]
                if fits and mine[0].name not in dropped:
                    layers.append(self._layer(block, mine[0], ends[0][1], ends[0][0]))
                elif beside and ends:
                    return None
                else:  # of positions, of different neurons, or of what one layer writes twice
                    closed |= {p.name for p in self.parts if p.block in inputs}
                continue
            before = max(level for i in inputs for level in out[i].values())
            level = before + 1 if beside else top + 1
            written = {frozenset(a.axes[i] for i in a.writes) for p in mine for a in p.arrays}
            written.discard(frozenset())
            if any((level, axes) in taken for axes in written):
                return None
            taken |= {(level, axes) for axes in written}
            out[k] = dict.fromkeys(written or {frozenset()}, level)
            top = max(top, level)
            for p in mine:
                source = before
                if len(mine) > 1:  # parts of a concatenation come from where each was made
                    own = frozenset(a.axes[i] for a in p.arrays for i in a.writes)
                    source = max([out[i][own] for i in inputs if own in out[i]], default=before)
                layers.append(self._layer(block, p, level, None if source == level - 1 else source))
        layers.sort(key=lambda x: (x.level, x.kind == "residual"))
        other = {"activation": "other", "omega": 1.0}
        return self._spec(
            [dataclasses.replace(x, **other) if x.name in closed else x for x in layers]
        )

    def fitting(self) -> Spec | None:
        """The Spec with a level for every layer, without additions that fit none."""
        dropped: set[str] = set()
        while (spec := self.spec(False, dropped)) is not None:
            try:
                wiring(spec)
            except ValueError as error:
                name = str(error).partition(": ")[0]
                if name not in {x.name for x in spec.layers if x.kind == "residual"}:
                    return None
                dropped.add(name)
            else:
                return spec
        return None

    def plain(self) -> Spec:
        """The Spec where no wiring fits: a level for every layer, no additions, no scales."""
        layers = []
        for p in self.parts:
            block = self.blocks[p.block]
            if block.kind != "residual":
                closed = dataclasses.replace(block, activation="other", omega=1.0)
                layers.append(self._layer(closed, p, len(layers), None))
        return self._spec(layers)

    def _layer(self, block: Block, part: _Part, level: int, source: int | None) -> Layer:
        return Layer(
            part.name,
            block.kind,
            level,
            part.arrays,
            block.activation,
            block.omega,
            source,
            block.settings,
        )

    def _spec(self, layers: list[Layer]) -> Spec:
        level = layers[-1].level if layers else -1
        for piece in self.spare:
            level += 1
            array = Array(piece.name, "bias", self.axes.names[piece.name])
            layers = [*layers, Layer(piece.name, "embedding", level, (array,), "other")]
        sizes = tuple(self.axes.sizes.items())
        return Spec(tuple(layers), sizes, self.axes.hidden, self.axes.nested)


def _range(piece: Piece, shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """The part of a stored axis that a piece spans."""
    inner = math.prod(shape[axis + 1 :])
    outer, low, high, stride = shape[axis] * inner, 0, 0, math.prod(shape)
    for n, start, stop in zip(piece.view, piece.start, piece.stop, strict=True):
        stride //= n
        if inner <= stride < outer:
            low += start * stride
            high += (stop - 1) * stride
    return low // inner, high // inner + 1


def _common(names: Sequence[str]) -> str:
    """The folders that names share.

    >>> _common(["params/Dense_0/kernel", "params/Dense_0/bias"])
    'params/Dense_0'
    """
    paths = [n.split("/")[:-1] for n in names]
    out = []
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        out.append(level[0])
    return "/".join(out)


def _paired(arrays: list[Array]) -> list[Array]:
    """The arrays of an attention, each bias after its kernel."""
    written = lambda a: tuple(a.axes[i] for i in a.writes)
    kernels = [a for a in arrays if a.role == "kernel" and a.reads]
    rest = [a for a in arrays if a not in kernels]
    out = []
    for kernel in kernels:
        out.append(kernel)
        bias = next((a for a in rest if a.role == "bias" and written(a) == written(kernel)), None)
        if bias is not None:
            out.append(bias)
            rest.remove(bias)
    return out + rest

"""The events of a forward pass: linear maps, additions, norms, activations, as a graph.

Nodes are numbered in order of computation; node 0 is the network's input. Two equal events are
one node, so that a network that runs twice, on two inputs, has each layer once.
"""

import copy
import dataclasses
import itertools
from collections.abc import Hashable, Sequence

import numpy as np

from wsjax.tracing.layers import elementwise
from wsjax.tracing.layers.elementwise import GRID
from wsjax.tracing.layers.values import (
    INPUT,
    Data,
    Dims,
    Part,
    Source,
    Stat,
    Use,
    Value,
    Weight,
    aligned,
    whole,
)


@dataclasses.dataclass(frozen=True)
class Node:
    """An event.

    Attributes:
        op: "input", "linear", "shift", "scale", "norm", "act", "pool", "add", "product", "scores",
            "attention", "token", "concat", "carry", or "other".
        inputs: numbers of earlier nodes.
        uses: of parameters, at their first use.
        kind: of a linear map: "dense", "conv", "embedding"; of a pool: "sum", "max".
        detail: name and factor of an activation; channels that a norm leaves apart and so on.
    """

    op: str
    inputs: tuple[int, ...]
    uses: tuple[Use, ...] = ()
    kind: str = ""
    detail: tuple[Hashable, ...] = ()


class Nodes:
    """Nodes so far, and which parameters they use."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]):
        self.shapes = shapes
        self._serial = itertools.count()
        self._views: dict[tuple[Hashable, ...], int] = {}
        self.all = [Node("input", ())]
        self.known: dict[Node, int] = {}
        self.owner: dict[Source, int] = {}
        self.limited: set[int] = set()  # nodes whose signal nothing is known to commute with
        self.outputs: list[int] = []
        self.repeated: dict[int, None] = {}  # parameters that are used more than once

    def copy(self) -> "Nodes":
        """A copy, for a trial."""
        out = copy.copy(self)
        for name in ("all", "known", "owner", "limited", "outputs", "repeated"):
            setattr(out, name, copy.copy(getattr(self, name)))
        return out

    def serial(self) -> int:
        """A number that was not given before."""
        return next(self._serial)

    def view(self, view: tuple[Hashable, ...]) -> int:
        """A number for a view, the same for equal ones."""
        return self._views.setdefault(view, len(self._views))

    def add(self, node: Node) -> int:
        """The number of a node; of its equal if there is one."""
        if node in self.known:
            return self.known[node]
        mine, alien = [], []
        for use in node.uses:
            source = Source(use.parameter, use.part)
            (alien if source in self.owner else mine).append((source, use))
        number = len(self.all)
        for source, _ in mine:
            self.owner[source] = number
        self.all.append(dataclasses.replace(node, uses=tuple(use for _, use in mine)))
        self.known[node] = number
        for source, _ in alien:
            if node.op in ("shift", "scale") and self.chain(number, self.owner[source]):
                continue  # a norm's arrays that enter both its factor and its offset
            first = self.owner[source]
            self.limited |= {first, number, *self.all[first].inputs, *node.inputs}
            self.repeated[source.parameter] = None
        return number

    def chain(self, number: int, first: int) -> bool:
        """Whether a node is computed from another by shifts and scales alone."""
        while number != first and self.all[number].op in ("shift", "scale"):
            number = self.all[number].inputs[0]
        return number == first

    def settle(self, value: Value) -> int:
        """The node whose entries are a value; of what inputs alone determine, the input's."""
        if not isinstance(value, Data) or value.free:
            return INPUT
        if value.stat is not None:
            return self._settled_stat(value.base, value.stat)
        return self.act(value.base, value.value)

    def act(self, base: int, value: np.ndarray | None) -> int:
        """The node of a function of the entries of a node."""
        name, omega = elementwise.recognised(value)
        return base if name == "none" else self.add(Node("act", (base,), detail=(name, omega)))

    def _settled_stat(self, base: int, stat: Stat) -> int:
        if stat.inner is not None and not any(channels for *_, channels in stat.reduced):
            before = self.act(base, stat.inner)
            node = self.add(Node("pool", (before,), kind=stat.kind))
            node = self.act(node, stat.outer)
        elif stat.known and stat.odd and stat.root:
            apart = max(n for n, *_ in stat.reduced)
            positions = any(p for _, p, _ in stat.reduced)
            channels = any(c for *_, c in stat.reduced)
            kind = "rms" if not stat.mean else "group" if positions or apart > 1 else "layer"
            node = self.add(Node("norm", (base,), kind=kind, detail=(apart, channels)))
        else:
            kind = "softmax" if self.all[base].op == "scores" else ""
            node = self.add(Node("other", (base,), kind=kind))
        for uses in stat.uses:
            node = self.add(Node("scale", (node,), uses))
        return node

    def limit(self, number: int, weight: Weight, uses: tuple[Use, ...]) -> None:
        """Limits a node that does not depend linearly on its parameters, nor its inputs."""
        for use in uses:
            flags = weight.terms[Source(use.parameter, use.part)]
            if use.role not in ("variance", "mean") and flags & {"bent", "root", "sum"}:
                self.limited |= {number, *self.all[number].inputs}

    def other(self, values: Sequence[Value], detail: tuple[Hashable, ...] = ()) -> int:
        """A node of which nothing is known but what it is computed from."""
        uses = tuple(
            u for v in values if isinstance(v, Weight) for u in self.vectors(v, v.dims, False)
        )
        inputs = tuple(dict.fromkeys(self.settle(v) for v in values if isinstance(v, Data)))
        return self.add(Node("other", inputs, uses, detail=detail))

    def vectors(self, weight: Weight, dims: Dims, factor: bool) -> tuple[Use, ...]:
        """Parameters that are added to data with the given axes, or multiply them.

        Their axes beside the data's positions are taps.
        """
        out = []
        for source, flags in weight.terms.items():
            writes, taps = set(), set()
            for own, other in zip(weight.dims, dims, strict=False):
                for a, b in aligned(own, other) or [(whole(own, 1)[0], whole(other, 1)[0])]:
                    axes = {o.axis for o in a.origins if o.source == source}
                    (writes if b.origins else taps).update(axes)
            role = "scale" if factor else "bias"
            if "root" in flags and "straight" not in flags:
                role = "variance"
            elif not factor and "times" in flags:
                role = "mean"
            kept = [i for i in range(len(self.shapes[source.parameter])) if _kept(i, source.part)]
            axes = tuple(sorted(writes - taps)) or tuple(kept)
            out.append(Use(*source, role, (), axes))
        order = ("scale", "bias", "mean", "variance")
        return tuple(sorted(out, key=lambda use: order.index(use.role)))


def _kept(axis: int, part: Part) -> bool:
    return all(i != axis or stop > start + 1 for i, start, stop in part)


def data(base: int, dims: Dims, view: tuple[Hashable, ...] = ()) -> Data:
    """The entries of a node."""
    return Data(dims, base, GRID, view)


def free(dims: Dims, whole: bool = False) -> Data:
    """A value that the inputs alone determine."""
    return Data(dims, INPUT, GRID, whole=whole)

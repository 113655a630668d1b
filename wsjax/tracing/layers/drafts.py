"""Layers in the making, and the activations that follow them.

A layer's value is held by some nodes; whatever reads these and belongs to no other layer, a
function of single numbers or a pool, is what happens after the layer.
"""

import dataclasses

from wsjax.networks import Setting
from wsjax.tracing.layers.nodes import Node, Nodes
from wsjax.tracing.layers.values import INPUT, Use

Effect = tuple[str, float]  # name of an activation, and the factor inside it
CLOSED = ("other", "scores", "attention")  # unless within an attention
COMMUTE = ("relu", "leaky_relu")  # twice is once, whatever is in between


@dataclasses.dataclass
class Draft:
    """A layer in the making.

    Attributes:
        kind: one of `networks.KINDS`.
        uses: of parameters.
        inputs: layers that it takes in; -1 for the network's input.
        ends: nodes that hold its output.
        settings: as in `Layer`.
        final: whether its activation cannot be known.
    """

    kind: str
    uses: list[Use]
    inputs: list[int]
    ends: list[int]
    settings: dict[str, object] = dataclasses.field(default_factory=dict)
    final: bool = False


@dataclasses.dataclass(frozen=True)
class Block:
    """A layer, or an addition without parameters.

    Attributes:
        kind: one of `networks.KINDS`.
        uses: of parameters, in order.
        inputs: the layers whose outputs it takes in, by number; -1 for the network's input.
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


class Drafts:
    """Drafts of layers, and which node belongs to which.

    Attributes:
        owner: node -> draft.
        merged: draft -> the one that it became part of.
        readers: node -> the nodes that it is an input of.
        limited: nodes whose signal nothing is known to commute with.
        aside: node -> draft of a number that all neurons have in common.
    """

    def __init__(self, nodes: Nodes):
        self.nodes, self.all = nodes, nodes.all
        self.drafts: list[Draft] = []
        self.owner: dict[int, int] = {}
        self.merged: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}
        self.limited = set(nodes.limited)
        self.aside: dict[int, int] = {}
        for number, node in enumerate(self.all):
            for i in dict.fromkeys(node.inputs):
                self.readers.setdefault(i, []).append(number)

    def draft(self, kind: str, uses, inputs, node: int, **settings) -> int:
        """A new draft, of a node."""
        self.drafts.append(Draft(kind, list(uses), list(inputs), [node], settings))
        self.owner[node] = len(self.drafts) - 1
        return len(self.drafts) - 1

    def at(self, node: int) -> int | None:
        """The draft that a node belongs to."""
        number = self.owner.get(node)
        while number in self.merged:
            number = self.merged[number]
        return number

    def layers(self, node: int) -> tuple[int, ...]:
        """The drafts that a node's value comes from; -1 for the network's input."""
        out: dict[int, None] = {}
        seen, stack = set(), [node]
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            if (own := self.at(n)) is not None:
                out[own] = None
            elif n == INPUT:
                out[-1] = None
            else:
                stack += reversed(self.all[n].inputs)
        return tuple(out)

    def absorb(self, number: int, into: int, node: Node) -> None:
        """Makes a node part of the draft that its input belongs to."""
        draft = self.drafts[into]
        draft.uses += node.uses
        draft.ends.append(number)
        self.owner[number] = into

    def effects(self, node: int, own: int, seen: frozenset[int] = frozenset()) -> set[Effect]:
        """The activations that a node's value goes through until another layer takes it in."""
        out: set[Effect] = set()
        if node in self.limited:
            out.add(("other", 1.0))
        if node in self.nodes.outputs:
            out.add(("none", 1.0))
        for reader in self.readers.get(node, ()):
            r = self.all[reader]
            if reader in seen:
                continue
            if self.at(reader) == own:
                continue
            if r.op == "act":
                later = self.effects(reader, own, seen | {reader})
                out.add(_through((str(r.detail[0]), float(str(r.detail[1]))), later))
            elif r.op == "pool":
                later = self.effects(reader, own, seen | {reader})
                out |= {("other", 1.0) if name == "sin" else (name, w) for name, w in later}
            elif r.op == "concat" or (reader in self.aside and r.op == "scale"):
                out |= self.effects(reader, own, seen | {reader})
            elif (
                r.op in CLOSED
                or reader in self.aside
                or (r.op == "linear" and self.at(reader) is None)
            ):
                out.add(("other", 1.0))
            else:
                out.add(("none", 1.0))
        return out

    def maximum(self, node: int, own: int, seen: frozenset[int] = frozenset()) -> bool:
        """Whether a node's value goes through a maximum until another layer takes it in."""
        for reader in self.readers.get(node, ()):
            r = self.all[reader]
            if reader in seen or not (r.op in ("act", "pool", "concat") or reader in self.aside):
                continue
            if r.kind == "max" or self.maximum(reader, own, seen | {reader}):
                return True
        return False

    def result(self) -> tuple[Block, ...]:
        """The layers, in an order in which each comes after those that it takes in."""
        kept = [d for d in range(len(self.drafts)) if d not in self.merged]
        top = lambda d: d if d < 0 or d not in self.merged else top(self.merged[d])
        before = {
            d: tuple(dict.fromkeys(t for i in self.drafts[d].inputs if (t := top(i)) != d))
            for d in kept
        }
        order: list[int] = []
        first = lambda d: min(self.drafts[d].ends)

        def visit(d, path):
            for i in before[d]:
                if i >= 0 and i not in order and i not in path:
                    visit(i, path | {i})
            if d not in order:
                order.append(d)

        for d in sorted(kept, key=first):
            visit(d, {d})
        dropped = {d for d in order if not self.drafts[d].uses and self.drafts[d].kind == "norm"}
        place = {d: k for k, d in enumerate(d for d in order if d not in dropped)}

        def through(i):
            if i in dropped:
                return [j for k in before[i] for j in through(k)]
            return [i if i < 0 else place[i]]

        out = []
        for d in order:
            if d in dropped:
                continue
            draft = self.drafts[d]
            activation, omega = self._activation(d, draft)
            settings = dict(draft.settings)
            if any(self.maximum(n, d) for n in draft.ends):
                settings["pool"] = "max"
            inputs = tuple(dict.fromkeys(j for i in before[d] for j in through(i)))
            out.append(
                Block(
                    draft.kind,
                    tuple(draft.uses),
                    inputs,
                    activation,
                    omega,
                    tuple(sorted(settings.items())),
                )
            )
        return tuple(out)

    def _activation(self, number: int, draft: Draft) -> Effect:
        found = {e for n in draft.ends for e in self.effects(n, number)}
        names = {e for e in found if e[0] != "none"}
        if draft.final or len(names) > 1:
            return "other", 1.0
        if not names:
            return "none", 1.0
        (one,) = names
        both = ("none", 1.0) in found
        return ("other", 1.0) if both and one[0] == "sin" else one


def _through(first: Effect, later: set[Effect]) -> Effect:
    """An activation, and those after it, as one."""
    names = {name for name, _ in later} - {"none"}
    if not names or (first[0] in COMMUTE and names == {first[0]}):
        return first
    return "other", 1.0

"""Events of a forward pass -> layers.

    linear, shift                            a dense layer, a convolution, an embedding
    shift -, scale root, scale, shift        a BatchNorm with stored statistics
    norm, scale, shift                       a LayerNorm, a GroupNorm
    linear x 3, scores, attention, linear    an attention
    add, product                             a residual; after a product nothing commutes

A shift or a scale that comes after anything else is a layer of its own.
"""

import dataclasses
import math

from wsjax.tracing.layers.drafts import Block, Draft, Drafts
from wsjax.tracing.layers.nodes import Node, Nodes
from wsjax.tracing.layers.values import Use

LINEAR = ("dense", "conv", "embedding", "attention")


def blocks(nodes: Nodes) -> tuple[Block, ...]:
    """The layers of a function, in order of computation."""
    return Assembly(nodes).result()


class Assembly(Drafts):
    """The drafts of all nodes, by the rule of each."""

    def __init__(self, nodes: Nodes):
        super().__init__(nodes)
        self.means = self._means()
        for number, node in enumerate(self.all):
            if node.op in RULES:
                RULES[node.op](self, number, node)
        for number, node in enumerate(self.all):
            if node.op in ("scores", "attention") and self.at(number) is None:
                self._meeting(number, node)

    def _means(self) -> set[int]:
        """Shifts by a stored mean: what a scale by a stored variance comes after."""
        out = set()
        for node in self.all:
            if node.op == "scale" and any(u.role == "variance" for u in node.uses):
                (before,) = node.inputs
                if self.all[before].op == "shift" and self.all[before].detail[:1] == ("minus",):
                    out.add(before)
        return out

    def _linear(self, number: int, node: Node) -> None:
        if not node.uses:  # a kernel that another layer has
            return
        own = self._attended(node.inputs[0])
        if own is not None:
            self.absorb(number, own, node)
            return
        settings = {}
        if node.kind == "embedding" and not any(u.reads for u in node.uses):
            settings["embedding"] = "grid"
        self.draft(node.kind, node.uses, self.layers(node.inputs[0]), number, **settings)

    def _attended(self, node: int) -> int | None:
        """The attention whose values, not yet put together, a linear map takes in."""
        found = self.layers(node)
        if len(found) != 1 or found[0] < 0 or self.drafts[found[0]].kind != "attention":
            return None
        draft = self.drafts[found[0]]
        if any(self.all[n].op == "linear" for n in draft.ends):
            return None
        if node != draft.ends[0] or len(self.readers[node]) != 1:
            draft.settings["scores"] = "other"
        return found[0]

    def _scalar(self, number: int, node: Node) -> bool:
        """Puts a factor or an offset that all neurons have in common beside the network."""
        if not node.uses or any(math.prod(self._shape(u)) > 1 for u in node.uses):
            return not node.uses
        if node.detail and node.detail[-1] == "one":  # of a signal of one neuron
            return False
        uses = [dataclasses.replace(u, writes=()) for u in node.uses]
        self.draft("embedding", uses, self.layers(node.inputs[0]), number)
        self.aside[number] = self.owner.pop(number)
        return True

    def _shift(self, number: int, node: Node) -> None:
        (before,) = node.inputs
        own = self.at(before)
        if number not in self.means and self._scalar(number, node):
            return
        if number in self.means:
            uses = [dataclasses.replace(u, role="mean") for u in node.uses]
            self.draft("norm", uses, self.layers(before), number, norm="batch")
        elif own is not None and (late := self._late_bias(before)) is not None:
            self.drafts[late].uses += node.uses
            self.owner[number] = own
            self.drafts[own].ends.append(number)
        elif own is None or not self._open(before, own) or self._along_positions(node):
            inputs = self.layers(before)
            self.draft("embedding", node.uses, inputs, number, embedding="positions")
        else:
            self.absorb(number, own, node)

    def _late_bias(self, before: int) -> int | None:
        """The linear map that a bias belongs to which comes after an addition."""
        node = self.all[before]
        if node.op != "add" or len(self.readers.get(before, ())) != 1:
            return None
        plain = [i for i in node.inputs if self.all[i].op == "linear" and self._raw(i)]
        return self.at(plain[0]) if len(plain) == 1 else None

    def _along_positions(self, node: Node) -> bool:
        written = lambda u: math.prod(self.nodes.shapes[u.parameter][i] for i in u.writes)
        return any(math.prod(self._shape(u)) > written(u) for u in node.uses)

    def _shape(self, use: Use) -> list[int]:
        """The shape of what a use takes of a parameter."""
        steps = {axis for axis, *_ in use.part}
        shape = self.nodes.shapes[use.parameter]
        return [n for i, n in enumerate(shape) if i not in steps]

    def _open(self, before: int, own: int) -> bool:
        """Whether a bias belongs to the draft of the node that it is added to."""
        draft, op = self.drafts[own], self.all[before].op
        vector = draft.kind == "norm" and op in ("norm", "scale")
        return vector or (draft.kind in LINEAR and op in ("linear", "add"))

    def _scale(self, number: int, node: Node) -> None:
        (before,) = node.inputs
        own, op = self.at(before), self.all[before].op
        if self._scalar(number, node):
            return
        begun = op in ("norm", "scale") or before in self.means
        if any(u.role == "variance" for u in node.uses) and before not in self.means:
            self.draft("norm", node.uses, self.layers(before), number, norm="batch")
        elif own is not None and self.drafts[own].kind == "norm" and begun:
            self.absorb(number, own, node)
        else:
            self.draft("norm", node.uses, self.layers(before), number)

    def _norm(self, number: int, node: Node) -> None:
        (before,) = node.inputs
        inputs = self.layers(before)
        affine = [r for r in self.readers.get(number, ()) if self.all[r].op in ("scale", "shift")]
        if len(inputs) != 1 or len(affine) != 1 or not self.all[affine[0]].uses:
            self.limited.add(before)
            if not affine:
                return
        settings: dict[str, object] = {"norm": node.kind}
        if node.kind == "group":
            settings["groups"] = node.detail[0]
        if len(inputs) != 1:  # of several signals together
            settings = {"norm": "joint"}
        self.draft("norm", (), inputs, number, **settings)

    def _token(self, number: int, node: Node) -> None:
        inputs = [n for i in node.inputs for n in self.layers(i)]
        self.draft("embedding", node.uses, dict.fromkeys(inputs), number, embedding="token")

    def _carry(self, number: int, node: Node) -> None:
        if node.uses:
            self.draft("embedding", node.uses, (), number, embedding="token")

    def _other(self, number: int, node: Node) -> None:
        if node.uses:
            inputs = [n for i in node.inputs for n in self.layers(i)]
            self.draft("embedding", node.uses, dict.fromkeys(inputs), number)
            self.drafts[-1].final = True

    def _add(self, number: int, node: Node) -> None:
        one, two = (self.at(i) for i in node.inputs)
        raw = [self._raw(i) for i in node.inputs]
        if one is not None and two is not None and one != two and all(raw):
            first, second = self.drafts[one], self.drafts[two]
            if first.kind == second.kind == "dense":
                merged = Draft(
                    "dense",
                    first.uses + second.uses,
                    list(dict.fromkeys(first.inputs + second.inputs)),
                    [*first.ends, *second.ends, number],
                )
                self.drafts.append(merged)
                self.merged[one] = self.merged[two] = len(self.drafts) - 1
                self.owner[number] = len(self.drafts) - 1
                return
        self._residual(number, node)

    def _raw(self, node: int) -> bool:
        """Whether a node is a linear map's output, used once."""
        once = len(self.readers.get(node, ())) == 1 and node not in self.nodes.outputs
        linear = self.all[node].op in ("linear", "shift", "add")
        return once and linear and self.at(node) is not None

    def _product(self, number: int, node: Node) -> None:
        self._residual(number, node, operation="product")

    def _residual(self, number: int, node: Node, **settings) -> None:
        sides = [self.layers(i) for i in node.inputs]
        if any(len(s) != 1 for s in sides) or sides[0] == sides[1]:
            self.limited |= set(node.inputs) | set(self._roots(number))
            return
        draft = self.draft("residual", (), (*sides[0], *sides[1]), number, **settings)
        self.drafts[draft].final = bool(settings)

    def _roots(self, node: int) -> list[int]:
        """The nodes with a layer that a node is computed from."""
        out, seen, stack = [], set(), list(self.all[node].inputs)
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            if self.at(n) is not None:
                out.append(n)
            else:
                stack += self.all[n].inputs
        return out

    def _attention(self, number: int, node: Node) -> None:
        scores, value = node.inputs
        extra: list[Use] = []
        exact = bool(node.detail[0])
        while len(self.all[scores].inputs) == 1:  # a bias of positions
            extra += self.all[scores].uses
            scores = self.all[scores].inputs[0]
        exact = exact and bool(self.all[scores].detail[0])
        parts, drafts = [*self.all[scores].inputs, value], []
        if node.detail[1]:
            parts[:2] = parts[1::-1]
        for part in parts:
            exact = exact and self.at(part) is not None and self.all[part].op in ("linear", "shift")
            found = self.layers(part)
            while len(found) == 1 and found[0] >= 0 and self.drafts[found[0]].kind == "norm":
                drafts += found  # queries or keys that are normalised
                found = tuple(self.drafts[found[0]].inputs)
                exact = False
            drafts += found
        drafts = list(dict.fromkeys(drafts))
        kinds = {self.drafts[d].kind for d in drafts if d >= 0}
        inside = {d for d in drafts if d >= 0}
        private = self._private(inside, number)
        if -1 in drafts or not kinds <= {"dense", "norm"} or private is None:
            self.limited |= set(self._roots(number))
            return
        exact = exact and private
        uses = [u for d in sorted(inside) for u in self.drafts[d].uses]
        order = [d for d in map(self.at, parts) if d is not None]
        if len(order) == len(parts) and inside <= set(order):
            uses = [u for d in dict.fromkeys(order) for u in self.drafts[d].uses]
        inputs = [i for d in drafts for i in self.drafts[d].inputs if i not in inside]
        own = self.draft("attention", uses + extra, dict.fromkeys(inputs), number)
        if not exact or extra:
            self.drafts[own].settings["scores"] = "other"
        for d in inside:
            self.merged[d] = own

    def _private(self, inside: set[int], attention: int) -> bool | None:
        """Whether nothing but one attention uses what some drafts compute.

        None if another layer does; False if they are used within the attention once more.
        """
        stack, once = [n for d in inside for n in self.drafts[d].ends], True
        seen = set(stack)
        while stack:
            n = stack.pop()
            if n in self.nodes.outputs:
                return None
            for r in self.readers.get(n, ()):
                if r == attention or r in seen or self.at(r) in inside:
                    continue
                node = self.all[r]
                if node.op in ("add", "product", "attention"):
                    if not set(self.layers(r)) <= inside:
                        return None
                    once = False
                elif self.at(r) is not None or node.op in ("linear", "norm", "shift", "scale"):
                    return None
                seen.add(r)
                stack.append(r)
        return once

    def _meeting(self, number: int, node: Node) -> None:
        """Makes one layer of maps whose outputs meet in a product that is no attention."""
        found = {d for i in node.inputs for d in self.layers(i)}
        plain = all(
            d >= 0 and (self.drafts[d].kind == "dense" or self.drafts[d].final) for d in found
        )
        if len(found) < 2 or not plain or any(self._after(d, found - {d}) for d in found):
            return
        parts = sorted(found)
        uses = [u for d in parts for u in self.drafts[d].uses]
        inputs = dict.fromkeys(i for d in parts for i in self.drafts[d].inputs)
        own = self.draft("attention", uses, inputs, number, scores="other")
        self.drafts[own].final = True
        for d in found:
            self.drafts[own].ends += self.drafts[d].ends
            self.merged[d] = own

    def _after(self, draft: int, others: set[int]) -> bool:
        """Whether a draft takes in, in the end, one of others."""
        seen, stack = set(), [draft]
        while stack:
            for i in self.drafts[stack.pop()].inputs:
                while i in self.merged:
                    i = self.merged[i]
                if i in others:
                    return True
                if i >= 0 and i not in seen:
                    seen.add(i)
                    stack.append(i)
        return False


RULES = {
    "linear": Assembly._linear,
    "shift": Assembly._shift,
    "scale": Assembly._scale,
    "norm": Assembly._norm,
    "token": Assembly._token,
    "carry": Assembly._carry,
    "other": Assembly._other,
    "add": Assembly._add,
    "product": Assembly._product,
    "attention": Assembly._attention,
}

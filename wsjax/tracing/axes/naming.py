"""The axes of a function's parameters: which are the same hidden neurons, and which are fixed.

    parameters     [4, 12]                 a kernel of queries, keys and values of two heads
    walk           [x] [3, h, d]           what the program does with it: one reshape, three slices
    independent    d beside the 3          so each of the three has dimensions of its own
    packing        3 arrays [x] [h, d_i]   d_0 and d_1 the same: their product is contracted

`interpreter` walks along the program; here the nodes that it leaves become names. An atom that
never occurs without another lies *within* it: its neurons have an order of their own for each
neuron of the other. If the other can be permuted, that is a nested axis of a `Spec`; if it is
fixed, as the layers of a scan are, the array is cut there into one for each of its positions.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

from jax.extend import core

from wsjax import checks
from wsjax.packing import Packing, Piece
from wsjax.tracing.axes import rules
from wsjax.tracing.axes.atoms import Axis, Node, expand, find, fix, fixed, kept, leaves, size
from wsjax.tracing.axes.interpreter import Interpreter, fresh

MOST = 64  # positions of a fixed axis along which arrays are cut
# reasons for fixed axes that need no note
EXPECTED = {"input", "output", "a window", "not used", "a scan"}
LETTERS = {"input": "x", "output": "y", "a window": "t"}  # of fixed axes, by reason


@dataclasses.dataclass(frozen=True)
class Axes:
    """Which axes of a function's parameters index the same neurons.

    Attributes:
        packing: how the parameters are cut and reshaped so that every axis is one set of neurons.
        names: for each packed array, the name of each axis. Equal names are the same neurons.
        sizes: (axis name, number of neurons).
        hidden: names of the axes whose neurons can be permuted.
        nested: (inner, outer) hidden axes, as in `Spec`.
        notes: why axes are fixed that might have been free, a line each.
    """

    packing: Packing
    names: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    hidden: tuple[str, ...]
    nested: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def axes(jaxpr: core.ClosedJaxpr, names: Sequence[str]) -> Axes:
    """The axes of a function's parameters.

    Args:
        jaxpr: of the function, its parameters first.
        names: of the parameters, in order; all further arguments are inputs.
    """
    walk = Interpreter(rules.apply)
    shapes = [v.aval.shape for v in jaxpr.jaxpr.invars]
    count = len(names)
    parameters = [fresh(s) for s in shapes[:count]]
    inputs = [fresh(s, "input") for s in shapes[count:]]
    for value in (*parameters, *inputs):
        walk.together(value.axes)
    outs = walk.run(jaxpr.jaxpr, jaxpr.consts, [*parameters, *inputs])
    for value in outs:
        walk.read += value.axes
        for a in value.axes:
            fix(a, "output")
    used = {id(v) for e in jaxpr.jaxpr.eqns for v in e.invars}
    idle = [i for i, v in enumerate(jaxpr.jaxpr.invars[:count]) if id(v) not in used]
    for i in idle:
        for a in parameters[i].axes:
            fix(a, "not used")
    if idle:
        walk.notes[f"not used: {checks.some('parameter', [names[i] for i in idle])}"] = None
    settled = _Settled(walk, [p.axes for p in parameters])
    reasons: dict[str, list[str]] = {}
    for name, value in zip(names, parameters, strict=True):
        found = {n.why for a in value.axes for n in leaves(a) if n.why}
        for why in sorted(found - EXPECTED):
            reasons.setdefault(why, []).append(name)
    for why, several in reasons.items():
        walk.notes[f"axes are fixed by {why}: {checks.some('parameter', several)}"] = None
    return settled.axes(dict(zip(names, shapes[:count], strict=True)))


class _Settled:
    """The nodes after the walk: which lie within which, and the pieces of each parameter."""

    def __init__(self, walk: Interpreter, parameters: list[list[Axis]]):
        self.walk, self.parameters = walk, parameters
        while self._fix_deep_cuts() or self._join_restrictions() or self._fix_dead_parts():
            pass
        self.beside, self.stored = self._beside(), self._stored()
        self.own = {
            (find(whole), find(outer), index): find(own)
            for (whole, outer, index), own in walk.atoms.restrictions.items()
        }
        self.selected = {(whole, outer) for whole, outer, _ in self.own}

    def _parts(self) -> list[Node]:
        """All nodes inside the parts of the parameters' direct sums."""
        totals = (n for p in self.parameters for a in p for n in expand(a) if n.parts)
        return [n for total in totals for part in total.parts for n in expand(part)]

    def _fix_deep_cuts(self) -> bool:
        """Fixes direct sums inside other parts; False if there are none."""
        deep = [n for n in self._parts() if n.parts and not fixed([n])]
        fix(deep, "a cut within a cut")
        return bool(deep)

    def _fix_dead_parts(self) -> bool:
        """Fixes parts of parameters that are only cut off; False if there are none."""
        alive = {n for a in self.walk.read for n in leaves(a)}
        dead = [n for n in self._parts() if n not in alive and not fixed([n])]
        fix(dead, "not used")
        return bool(dead)

    def _join_restrictions(self) -> bool:
        """Joins atoms at one index to those at all, unless they lie apart; False if none do."""
        self.beside, self.buried = self._beside(), set(self._parts())
        self.stored = self._stored()
        known, together, changed = {}, {}, False
        for (whole, outer, index), own in list(self.walk.atoms.restrictions.items()):
            whole, outer, own = find(whole), find(outer), find(own)
            if expand([whole]) == expand([own]) or fixed([whole, own]):
                continue
            mine = known.setdefault((whole, outer, index), own)
            deep = any(n.parts and not fixed([n]) for n in expand([own]))
            if deep or not self._apart(whole, outer):
                self.walk.unify([whole], [own], "an index")
                changed = True
            elif find(mine) is not own:
                self.walk.unify([mine], [own], "an index")
                changed = True
            together.setdefault((whole, outer), []).append(own)
        for (whole, _), own in together.items():  # where a cut has nothing to tell apart
            if fixed(own):
                changed = changed or not fixed([whole])
                fix([whole], _reason(own))
            elif len(set(map(find, own))) == 1:
                self.walk.unify([whole], own[:1], "an index")
                changed = True
        return changed

    def _apart(self, inner: Node, outer: Node) -> bool:
        """Whether an atom has neurons of its own at each position of a fixed node."""
        plain = inner.size > 1 and not inner.factors and not inner.parts
        if not plain or inner.why or outer not in self.beside.get(inner, ()):
            return False
        if inner not in self.stored:  # of values that no parameter has, as a state of zeros
            return not outer.factors and fixed([outer])
        cut = not outer.factors and outer not in self.buried and fixed([outer])
        return cut and 1 < outer.size <= MOST and outer in self.stored

    def _stored(self) -> set[Node]:
        """The nodes of the parameters; they are cut along none but these, so not along a batch."""
        axes = [list(itertools.chain(*p)) for p in self.parameters]
        return {n for a in axes for n in (*expand(a), *leaves(a))}

    def _beside(self) -> dict[Node, set[Node]]:
        """For each free atom, the nodes that it lies beside, once, wherever it occurs."""
        out: dict[Node, set[Node]] = {}
        for space in {tuple(tuple(kept(a)) for a in s) for s in self.walk.spaces}:
            entries = list(_entries(space))
            for node, chain in entries:
                if not node.parts and node.why is None:
                    near = [n for n, c in entries if n is not node and c == chain[: len(c)]]
                    once = {n for n, times in collections.Counter(near).items() if times == 1}
                    out[node] = out[node] & once if node in out else once
        for (whole, *_), own in self.walk.atoms.restrictions.items():  # outer ones come first
            near, mine = out.get(find(whole), set()), out.get(find(own), set())
            mine -= {n for n in mine if fixed([n]) and n not in near}
        return out

    def _cuts(self, node: Node) -> list[Node]:
        """The fixed nodes at each position of which an atom has neurons of its own."""
        near = (n for n in self.beside.get(node, ()) if self._apart(node, n))
        return sorted(near, key=lambda n: n.number)

    def axes(self, shapes: dict[str, tuple[int, ...]]) -> Axes:
        """Names and pieces of all parameters, from their shapes by name."""
        cuts = {
            c for p in self.parameters for n in leaves(itertools.chain(*p)) for c in self._cuts(n)
        }
        rows = [
            row
            for (source, shape), p in zip(shapes.items(), self.parameters, strict=True)
            for row in self._pieces(source, p, cuts)
        ]
        names, sizes, nodes = {}, {}, {}
        counts, alone = (
            collections.Counter(),
            collections.Counter(k for _, keys in rows for k in keys),
        )
        labels = {}
        for piece, keys in rows:
            for key, n in zip(keys, piece.shape, strict=True):
                if key in labels:
                    continue
                free = key[0] is None and (n > 1 or alone[key] > 1)
                letter = "h" if free else LETTERS.get(key[0] or "", "f")
                labels[key] = f"{letter}{counts[letter]}"
                counts[letter] += 1
                sizes[labels[key]] = n
                if free:
                    nodes[labels[key]] = key[1][0]
            names[piece.name] = tuple(labels[k] for k in keys)
        packing = Packing(tuple(shapes.items()), tuple(piece for piece, _ in rows))
        nested = self._nested(names, nodes)
        return Axes(packing, names, sizes, tuple(nodes), nested, tuple(self.walk.notes))

    def _pieces(self, source: str, parameter: list[Axis], cuts: set[Node]):
        """The pieces of one parameter, each with a key for every axis."""
        units = [(axis, *u) for axis, a in enumerate(parameter) for u in _units(a, cuts)]
        view = tuple(n for _, _, n, _ in units)
        choices = []  # for each unit: start, stop, what lies there
        for _, kind, n, content in units:
            ends = [(0, n)]
            if kind == "cut":
                ends, content = [(i, i + 1) for i in range(n)], [content] * n
            elif kind == "sum":
                points = itertools.accumulate(map(size, content), initial=0)
                ends = list(itertools.pairwise(points))
            else:
                content = [content]
            choices.append([(*e, c) for e, c in zip(ends, content, strict=True)])
        out, several = [], math.prod(map(len, choices)) > 1
        for number, chosen in enumerate(itertools.product(*choices)):
            at, rows = {}, []
            for (start, _, content), (_, kind, _, _) in zip(chosen, units, strict=True):
                if kind == "cut":
                    at[content[0]] = start
            for (_, _, content), (axis, kind, _, _) in zip(chosen, units, strict=True):
                if kind == "sum":
                    runs = _units(content, ())
                else:
                    runs = [(kind, 0, content)] if kind != "cut" else []
                rows += [(axis, n, key) for run in runs for n, key in self._keys(run, at)]
            keys = tuple(key for *_, key in rows)
            piece = Piece(
                f"{source}[{number}]" if several else source,
                source,
                view,
                tuple(start for start, _, _ in chosen),
                tuple(stop for _, stop, _ in chosen),
                tuple(n for _, n, _ in rows),
                tuple(axis for axis, *_ in rows),
            )
            out.append((piece, keys))
        return out

    def _keys(self, run, at: dict[Node, int]) -> list[tuple[int, tuple]]:
        """Size and key of a run of nodes, or of what lies there at the places along cuts.

        A key is (reason or None if free, nodes, places): equal keys are the same neurons.
        """
        kind, _, content = run
        if kind == "fixed":
            return [(size(content), (_reason(content), tuple(content), ()))]
        (node,) = content
        cuts = [c for c in self._cuts(node) if c in at]
        for c in cuts:
            own = self.own.get((node, c, at[c]))
            if own is None and (node, c) in self.selected:
                return [(node.size, ("not used", (node,), ((c.number, at[c]),)))]
            if own is not None and own is not node:
                return [x for inner in _units([own], ()) for x in self._keys(inner, at)]
        return [(node.size, (None, (node,), tuple((c.number, at[c]) for c in cuts)))]

    def _nested(self, names, nodes) -> tuple[tuple[str, str], ...]:
        """Pairs of inner and outer hidden axes, from the node of each."""
        around: dict[str, list[str]] = {}
        for own in names.values():
            for inner in set(own) & set(nodes):
                near = [
                    n for n in own
                    if n != inner and nodes.get(n) in self.beside.get(nodes[inner], ())
                    and own.count(n) == own.count(inner) == 1
                ]  # fmt: skip
                before = around.get(inner, near)
                around[inner] = [n for n in before if n in near]
        order = {n: i for i, n in enumerate(n for own in names.values() for n in own)}
        out = {}
        for inner in nodes:
            for outer in sorted(around.get(inner, ()), key=lambda n: len(around.get(n, ()))):
                mutual = inner in around.get(outer, ()) and order[inner] < order[outer]
                if outer not in out and inner not in out.values() and not mutual:
                    out.setdefault(inner, outer)
        return tuple(out.items())


def _entries(space):
    """All nodes of a space, each with the parts of direct sums it lies in."""

    def inside(axis, place, chain):
        for k, node in enumerate(axis):
            yield node, chain
            for i, part in enumerate(node.parts):
                yield from inside(kept(part), (*place, k, i), (*chain, (*place, k, i)))

    for number, axis in enumerate(space):
        yield from inside(axis, (number,), ())


def _units(axis: Axis, cuts) -> list[tuple[str, int, list[Any]]]:
    """The runs of an axis: (kind, size, nodes or parts); adjacent fixed nodes are one run."""
    nodes = expand(axis)
    if not nodes:
        node = find(axis[0]) if axis else Node(1, "one")
        return [("fixed" if node.why else "free", 1, [node])]
    out: list[tuple[str, int, list[Any]]] = []
    for node in nodes:
        if node in cuts:
            out.append(("cut", node.size, [node]))
        elif fixed([node]):
            if out and out[-1][0] == "fixed":
                out[-1] = ("fixed", out[-1][1] * node.size, [*out[-1][2], node])
            else:
                out.append(("fixed", node.size, [node]))
        elif node.parts:
            out.append(("sum", node.size, [list(p) for p in node.parts]))
        else:
            out.append(("free", node.size, [node]))
    return out


def _reason(content: Axis) -> str:
    return next((n.why for n in leaves(content) or content if n.why), "fixed")

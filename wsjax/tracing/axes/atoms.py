"""The algebra of axes: products and direct sums of sets of neurons, unified as they meet.

    [12]                    one atom: twelve neurons in an order of their own
    [3] x [4]               a product: a reshape tells three groups of four apart
    [4] + [8]               a direct sum: a concatenation, or a cut, tells two sets apart

An axis is a list of nodes whose sizes multiply, outermost first; a node is an atom, or was
refined into a product or into a direct sum. Two axes that a program aligns are unified: atoms of
one size become one, others are refined until they fit. Whatever does not fit is fixed: its
neurons keep their places. So refinement only ever makes the group of permutations smaller.

A part that is taken at one index of an axis may index other neurons than the part at the next:
the heads of queries and of values, the layers of a scan. `Atoms.restrict` gives the atoms of
such a part nodes of their own; `groups` later joins them again where that was not warranted.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

Axis = list["Node"]  # nodes whose sizes multiply, outermost first


class Node:
    """A set of neurons, or what it was refined into.

    Attributes:
        number: in order of creation.
        size: how many neurons.
        why: the reason for which they are fixed; None if they can be permuted.
        parent: the node it was unified with, or None.
        factors: of a product, outermost first; empty otherwise.
        parts: of a direct sum; empty otherwise.
    """

    __slots__ = ("factors", "number", "parent", "parts", "size", "why")
    _numbers = itertools.count()

    def __init__(self, size: int, why: str | None = None):
        self.number, self.size, self.why = next(Node._numbers), int(size), why
        self.parent: Node | None = None
        self.factors: Axis = []
        self.parts: list[Axis] = []

    def __repr__(self):
        return f"{self.number}:{self.size}{'!' if self.why else ''}"


def atom(size: int, why: str | None = None) -> Axis:
    """A new axis of one atom."""
    return [Node(size, why)]


def find(node: Node) -> Node:
    """The node that stands for all that were unified with this one."""
    while node.parent is not None:
        if node.parent.parent is not None:
            node.parent = node.parent.parent
        node = node.parent
    return node


def expand(axis: Iterable[Node]) -> Axis:
    """An axis as atoms and direct sums: products become their factors, and size one is left out."""
    out = []
    for node in axis:
        node = find(node)
        if node.factors:
            out += expand(node.factors)
        elif node.size != 1:
            out.append(node)
    return out


def kept(axis: Iterable[Node]) -> Axis:
    """As `expand`, with axes of size one: a single group, a single head."""
    out = []
    for node in map(find, axis):
        out += kept(node.factors) if node.factors else [node]
    return out


def leaves(axis: Iterable[Node]) -> Axis:
    """All atoms of an axis, those of direct sums included."""
    out = []
    for node in expand(axis):
        out += [node] if not node.parts else itertools.chain(*map(leaves, node.parts))
    return out


def size(axis: Iterable[Node]) -> int:
    """The number of positions along an axis."""
    return math.prod(n.size for n in axis)


def fixed(axis: Iterable[Node]) -> bool:
    """Whether all atoms of an axis keep their places."""
    return all(n.why is not None for n in leaves(axis))


def fix(axis: Iterable[Node], why: str) -> None:
    """Has all atoms of an axis keep their places."""
    for node in [*leaves(axis), *map(find, axis)]:
        node.why = node.why or why


class Atoms:
    """The nodes of one function, and the restrictions among them.

    Attributes:
        restrictions: (atom, axis node it lies beside, index) -> the atom at that index alone.
    """

    def __init__(self):
        self.restrictions: dict[tuple[Node, Node, int], Node] = {}

    def unify(self, one: Axis, two: Axis, why: str) -> None:
        """Makes two axes of one size the same neurons, refining both as far as needed."""
        mine, its = _ones(one), _ones(two)
        for place in mine.keys() & its.keys():
            for a, b in zip(mine[place], its[place], strict=False):
                self._join(a, b, why)
        one, two = expand(one), expand(two)
        while one and two:
            a, b = find(one[0]), find(two[0])
            if a.factors or b.factors:
                one, two = expand(one), expand(two)
            elif a.size == b.size:
                self._join(a, b, why)
                one, two = one[1:], two[1:]
            else:
                large, small = (one, two) if a.size > b.size else (two, one)
                refined = self._break(large, small[0].size, why)
                if not refined:
                    break
                one, two = (refined, two) if a.size > b.size else (one, refined)
        fix([*one, *two], f"mixed by {why}")

    def _break(self, axis: Axis, first: int, why: str) -> Axis:
        """An axis whose first node was refined into a product of so many and the rest.

        Empty, with all of it fixed, where that cannot be.
        """
        node = axis[0]
        if node.size % first:
            fix(axis, f"mixed by {why}")
            return []
        if not node.parts:
            node.factors = [Node(first, node.why), Node(node.size // first, node.why)]
        else:
            self._join(node, _product([Node(first), Node(node.size // first)]), why)
        if not find(node).factors:
            fix(axis, f"mixed by {why}")
            return []
        return [*expand([node]), *axis[1:]]

    def _join(self, a: Node, b: Node, why: str) -> None:
        """Makes two nodes of one size one."""
        a, b = find(a), find(b)
        if a is b:
            return
        if not a.factors and not a.parts:
            a, b = b, a  # b is an atom, if one of them is
        if not b.factors and not b.parts:
            b.parent = a
            if b.why is not None:
                fix([a], b.why)
        elif a.factors and b.factors:
            b.parent = a
            self.unify(a.factors, b.factors, why)
        elif a.parts and b.parts:
            for point in _points(b):
                self._cut(a, point)
            for point in _points(a):
                self._cut(b, point)
            b.parent = a
            for x, y in zip(list(a.parts), list(b.parts), strict=True):
                self.unify(x, y, why)
        else:
            product, total = (a, b) if a.factors else (b, a)
            self._distribute(product, total, why)

    def _distribute(self, product: Node, total: Node, why: str) -> None:
        """Joins a direct sum to a product whose outermost factor is cut as the sum is."""
        parts, points = total.parts, [0, *_points(total), total.size]
        outer, *inner = expand(product.factors)
        if any(p % size(inner) for p in points):
            fix([product, total], f"mixed by {why}")
            return
        total.parts, total.parent = [], product
        for part, (start, stop) in zip(parts, itertools.pairwise(points), strict=True):
            self.unify(part, self.slice([outer, *inner], start, stop, why), why)

    def _cut(self, node: Node, point: int) -> None:
        """Has a node be a direct sum with a boundary after so many positions."""
        node = find(node)
        if not node.parts:
            node.parts = [atom(point, node.why), atom(node.size - point, node.why)]
            return
        start = 0
        for i, part in enumerate(node.parts):
            stop = start + size(part)
            if start < point < stop:
                left = self.slice(part, 0, point - start, "cut")
                right = self.slice(part, point - start, stop - start, "cut")
                node.parts[i : i + 1] = [left, right]
                return
            start = stop

    def slice(self, axis: Iterable[Node], start: int, stop: int, why: str) -> Axis:
        """The positions of an axis from `start` to `stop`."""
        nodes = expand(axis)
        if (start, stop) == (0, size(nodes)):
            return nodes
        first, *rest = nodes
        inner = size(rest)
        if rest and start // inner == (stop - 1) // inner:  # at one index of the outermost
            index = start // inner
            self.select(first, index)
            rest = self.restrict(rest, first, index)
            return self.slice(rest, start - index * inner, stop - index * inner, why)
        if rest and (start % inner or stop % inner):
            fix(nodes, f"mixed by {why}")
            return atom(stop - start, f"mixed by {why}")
        if rest:
            return [*self.slice([first], start // inner, stop // inner, why), *rest]
        if not first.parts and first.why is not None:
            return atom(stop - start, first.why)
        for point in (start, stop):
            if 0 < point < first.size:
                self._cut(first, point)
        inside, at = [], 0
        for part in first.parts:
            if start <= at and at + size(part) <= stop:
                inside.append(part)
            at += size(part)
        return self.sum(inside)

    def select(self, node: Node, index: int) -> None:
        """Tells one position of a node apart from all others."""
        if node.why is None:
            for point in (index, index + 1):
                if 0 < point < node.size:
                    self._cut(node, point)

    def restrict(self, axis: Iterable[Node], beside: Node, index: int) -> Axis:
        """The atoms of an axis at one index of the axis node beside it."""
        out = []
        for node in expand(axis):
            if not fixed([node]):
                key = (node, beside, index)
                node = self.restrictions.setdefault(key, Node(node.size, node.why))
            out.append(node)
        return out

    def sum(self, parts: Sequence[Axis]) -> Axis:
        """The direct sum of axes, in their order."""
        flat = []
        for part in map(expand, parts):
            whole = len(part) == 1 and part[0].parts
            flat += part[0].parts if whole else [part]
        total = sum(map(size, flat))
        if len(flat) == 1 or total == 1:
            return flat[0] if flat else []
        if all(map(fixed, flat)):
            return atom(total, next((n.why for p in flat for n in leaves(p)), "concatenate"))
        node = Node(total)
        node.parts = [list(p) for p in flat]
        return [node]

    def regroup(self, axis: Iterable[Node], shape: Sequence[int], why: str) -> list[Axis]:
        """Nodes that follow each other, row by row, as axes of a shape."""
        ones, done = _ones(axis), 1
        nodes, out = expand(axis), []
        for n in shape:
            group, left = [], n
            if n == 1 and ones.get(done):
                group = [ones[done].pop(0)]
            while left > 1 and nodes:
                if left % nodes[0].size == 0:
                    group.append(nodes[0])
                    left //= nodes[0].size
                    nodes = nodes[1:]
                    continue
                common = math.gcd(left, nodes[0].size)
                refined = self._break(nodes, common, why) if common > 1 else []
                if not refined:
                    fix([*group, *nodes], f"mixed by {why}")
                nodes = refined
            if left > 1:  # the rest was fixed
                group = atom(n, f"mixed by {why}")
            done *= n
            out.append(group or atom(n))
        return out


def _ones(axis: Iterable[Node]) -> dict[int, Axis]:
    """The nodes of size one in an axis, by the number of positions before them."""
    out: dict[int, Axis] = {}
    before = 1
    for node in kept(axis):
        if node.size == 1:
            out.setdefault(before, []).append(node)
        before *= node.size
    return out


def _product(factors: Axis) -> Node:
    node = Node(size(factors))
    node.factors = factors
    return node


def _points(node: Node) -> list[int]:
    """Boundaries within a direct sum."""
    return list(itertools.accumulate(size(p) for p in node.parts))[:-1]

"""A walk along a jaxpr that finds the events of its forward pass.

Calls are walked in place; the steps of a loop over stacked parameters one after the other, those
of another loop once. What is not understood gives a node "other": never an error.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jax.extend import core

from wsjax.tracing.axes.rules import ELEMENTWISE
from wsjax.tracing.layers import elementwise_rules, linear_rules, shape_rules
from wsjax.tracing.layers.nodes import Node, Nodes, data, free
from wsjax.tracing.layers.values import (
    Atom,
    Const,
    Data,
    Source,
    Value,
    Weight,
    fresh,
    stored,
)
from wsjax.tracing.loops import scan_counts

MOST = 64  # steps of a loop that are walked one by one
SMALL = 4096  # numbers in a constant that is compared with itself


def nodes(jaxpr: core.ClosedJaxpr, count: int) -> Nodes:
    """The events of a function, whose first arguments are so many parameters."""
    shapes = [v.aval.shape for v in jaxpr.jaxpr.invars]
    out = Nodes(shapes[:count])
    walk = Walk(out)
    args: list[Value] = [
        Weight(stored(Source(i), s), {Source(i): frozenset(["straight"])})
        for i, s in enumerate(shapes[:count])
    ]
    args += [
        free(fresh(v.aval.shape), whole=np.issubdtype(_kind(v), np.integer))
        for v in jaxpr.jaxpr.invars[count:]
    ]
    for value in walk.run(jaxpr.jaxpr, jaxpr.consts, args):
        if isinstance(value, Data) and not value.free:
            out.outputs.append(out.settle(value))
    return out


class Walk:
    """A walk along jaxprs."""

    def __init__(self, nodes: Nodes):
        self.nodes = nodes

    def run(self, jaxpr: core.Jaxpr, consts: Sequence, args: Sequence[Value]) -> list[Value]:
        """The results of a jaxpr."""
        values: dict = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))
        read = lambda v: constant(v.val) if isinstance(v, core.Literal) else values[v]
        for eqn in jaxpr.eqns:
            outs = self.equation(eqn, [read(v) for v in eqn.invars])
            values |= dict(zip(eqn.outvars, outs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def equation(self, eqn: core.JaxprEqn, values: list[Value]) -> list[Value]:
        """The results of one equation."""
        name = eqn.primitive.name
        if name in _LOOPS:
            return _LOOPS[name](self, eqn, values)
        inner = _inner(eqn, len(values))
        if inner is not None:
            return self.run(inner[0], inner[1], values)
        shapes = [getattr(v.aval, "shape", ()) for v in eqn.outvars]
        if name == "optimization_barrier":
            return values
        if name in ELEMENTWISE:
            return [elementwise_rules.apply(name, eqn.params, values, shapes[0], self.nodes)]
        rule = shape_rules.RULES.get(name) or linear_rules.RULES.get(name)
        out = rule(eqn, values, self.nodes) if rule else None
        return self.unknown(eqn, values) if out is None else out

    def unknown(self, eqn: core.JaxprEqn, values: list[Value]) -> list[Value]:
        """The results of an operation of which nothing is known."""
        name, shapes = eqn.primitive.name, [getattr(v.aval, "shape", ()) for v in eqn.outvars]
        weights = [v for v in values if isinstance(v, Weight)]
        some = [v for v in values if isinstance(v, Data)]
        if any(not v.free for v in some) or (some and weights):
            node = self.nodes.other(values, (name, self.nodes.serial()))
            return [data(node, _same_sizes(some + weights, s)) for s in shapes]
        if some:
            return [free(fresh(s)) for s in shapes]
        if weights:
            terms = {k: f for w in weights for k, f in w.terms.items()}
            return [Weight(_same_sizes(weights, s), terms) for s in shapes]
        return [Const(None) for _ in shapes]

    def scan(self, eqn, values: list[Value]) -> list[Value]:
        """A loop: step by step where it runs over stacked parameters, else once."""
        p = eqn.params
        (first, carried), body = scan_counts(p), p["jaxpr"]
        consts, carry, xs = (
            values[:first],
            values[first : first + carried],
            values[first + carried :],
        )
        steps = 1
        if any(isinstance(x, Weight) for x in xs) and p["length"] <= MOST:
            steps = p["length"]
        carry = self.carried(lambda c: self.step(body, consts, c, xs, None)[:carried], carry)
        ys = []
        for i in range(steps) if not p["reverse"] else reversed(range(steps)):
            at = i if steps > 1 or p["length"] == 1 else None
            outs = self.step(body, consts, carry, xs, at)
            carry, ys = outs[:carried], outs[carried:]
        if steps == 1 and p["length"] > 1:
            self.feed_back(carry)
        long = lambda y: (
            y if isinstance(y, Const) else _replaced(y, ((Atom(p["length"]),), *y.dims))
        )
        return [*carry, *map(long, ys)]

    def step(self, body, consts, carry, xs, at: int | None) -> list[Value]:
        """One step of a scan, at a number or at any."""
        return self.run(body.jaxpr, body.consts, [*consts, *carry, *(_item(x, at) for x in xs)])

    def carried(self, body: Callable, carry: list[Value]) -> list[Value]:
        """The values that a loop carries: data where a step makes them depend on data."""
        while True:
            kept, self.nodes = self.nodes, self.nodes.copy()
            after = body(carry)
            self.nodes = kept
            new = [self._carry(i, a, b) for i, (a, b) in enumerate(zip(carry, after, strict=True))]
            if [type(a) for a in new] == [type(a) for a in carry] and all(
                a.free == b.free
                for a, b in zip(new, carry, strict=True)
                if isinstance(a, Data) and isinstance(b, Data)
            ):
                return carry
            carry = new

    def _carry(self, number, before: Value, after: Value) -> Value:
        if isinstance(after, Data) and not (isinstance(before, Data) and not before.free):
            if after.free:
                return free(after.dims)
            uses = ()
            if isinstance(before, Weight):
                uses = self.nodes.vectors(before, after.dims, False)
            node = self.nodes.add(Node("carry", (), uses, detail=(number, len(self.nodes.all))))
            return data(node, after.dims)
        if isinstance(before, Const) and isinstance(after, Weight):
            return after
        return Const(None) if isinstance(before, Const) else before

    def feed_back(self, carry: Sequence[Value]) -> None:
        """Notes that the next step reads what a step leaves."""
        for value in carry:
            if isinstance(value, Data) and not value.free:
                self.nodes.outputs.append(self.nodes.settle(value))

    def loop(self, eqn, values: list[Value]) -> list[Value]:
        """A `while`: its body once."""
        p = eqn.params
        tests, consts = p["cond_nconsts"], p["body_nconsts"]
        own, carry = values[tests : tests + consts], values[tests + consts :]
        body = p["body_jaxpr"]
        once = lambda c: self.run(body.jaxpr, body.consts, [*own, *c])
        carry = once(self.carried(once, carry))
        self.feed_back(carry)
        return carry

    def branches(self, eqn, values: list[Value]) -> list[Value]:
        """A choice: what all branches give, where they are one function."""
        which, args = values[0], values[1:]
        outs = [self.run(b.jaxpr, b.consts, args) for b in eqn.params["branches"]]
        return [self._either(which, each) for each in zip(*outs, strict=True)]

    def _either(self, which: Value, each: Sequence[Value]) -> Value:
        first, *rest = each
        if all(_same(first, other) for other in rest):
            return first
        some = [v for v in each if isinstance(v, Data)]
        weights = [v for v in each if isinstance(v, Weight)]
        if any(not v.free for v in some) or (some and weights):
            most = max(some + weights, key=lambda v: len(v.dims))
            return data(self.nodes.other([which, *each], ("cond", self.nodes.serial())), most.dims)
        if some:
            return free(some[0].dims)
        if weights:
            terms = {k: f for w in weights for k, f in w.terms.items()}
            return Weight(weights[0].dims, terms)
        return Const(None)


_LOOPS = {"scan": Walk.scan, "while": Walk.loop, "cond": Walk.branches}


def constant(x) -> Const:
    """A constant; a number if all of its entries are equal."""
    try:
        if np.size(x) > SMALL or not np.size(x):
            return Const(None)
        x = np.asarray(x)
        if x.dtype.kind == "c":
            return Const(None)
        x = x.astype(np.float64) if x.dtype.kind not in "biu" else x
    except (TypeError, ValueError):  # a key, or another type of its own
        return Const(None)
    first = x.reshape(-1)[0]
    return Const(first if bool((x == first).all() or np.isnan(x).all()) else None)


def _kind(var) -> np.dtype:
    try:
        return np.dtype(var.aval.dtype)
    except (TypeError, AttributeError):
        return np.dtype(object)


def _inner(eqn, count: int):
    """The jaxpr that an equation calls with its operands, and its constants."""
    for value in eqn.params.values():
        inner, consts = getattr(value, "jaxpr", value), getattr(value, "consts", ())
        if not hasattr(inner, "eqns") or len(inner.constvars) != len(consts):
            continue
        if (len(inner.invars), len(inner.outvars)) == (count, len(eqn.outvars)):
            return inner, consts
    return None


def _item(x: Value, at: int | None) -> Value:
    """One step of what a scan runs over."""
    if isinstance(x, Const):
        return x
    if isinstance(x, Weight) and at is not None:
        return shape_rules.cut(x, 0, at, at + 1, drop=True)
    return _replaced(x, x.dims[1:])


def _replaced(value, dims):
    return type(value)(**{**vars(value), "dims": dims})


def _same(one: Value, two: Value) -> bool:
    if isinstance(one, Const) and isinstance(two, Const):
        return one.value is not None and two.value is not None and bool(one.value == two.value)
    if isinstance(one, Data) and isinstance(two, Data) and one.stat is None and two.stat is None:
        if (one.base, one.view) != (two.base, two.view) or one.value is None or two.value is None:
            return False
        return bool(np.allclose(one.value, two.value, rtol=1e-5, atol=1e-6))
    return False


def _same_sizes(values, shape):
    """Axes of the given sizes, with the origins of all axes of that size."""
    found: dict[int, frozenset] = {}
    for v in values:
        for axis in v.dims:
            size = int(np.prod([a.size for a in axis]))
            found[size] = found.get(size, frozenset()).union(*(a.origins for a in axis))
    return tuple((Atom(n, found.get(n, frozenset())),) for n in shape)

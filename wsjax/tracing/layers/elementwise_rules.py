"""Elementwise operations on constants, weights and data.

data + weight           a shift            data1 + data2     an addition
data * weight           a scale            data1 * data2     a product
f(data)                 still a function of one number, recognised once it is used otherwise
data, mean(data)        a statistic: a norm, a softmax, or neither
"""

import dataclasses
import math

import numpy as np

from wsjax.tracing.layers import elementwise
from wsjax.tracing.layers.elementwise import GRID
from wsjax.tracing.layers.nodes import Node, Nodes, data, free
from wsjax.tracing.layers.values import (
    Const,
    Data,
    Dims,
    Stat,
    Value,
    Weight,
    fresh,
    size,
    together,
)

SUMS, PRODUCTS = ("add", "sub", "add_any"), ("mul", "div")


def apply(name: str, params: dict, values: list[Value], shape, nodes: Nodes) -> Value:
    """The result of an elementwise operation, of the given shape."""
    if name == "select_n" and isinstance(values[0], Const) and values[0].value is not None:
        values = [values[1 + int(values[0].value)]]  # as of a variance of more than no numbers
        name = "copy"
    values = _scaled(name, _rebased(values, nodes), nodes)
    some = [v for v in values if isinstance(v, Data)]
    weights = [v for v in values if isinstance(v, Weight)]
    if not some and not weights:
        numbers = [v.value for v in values if isinstance(v, Const)]
        return Const(elementwise.evaluated(name, params, *numbers))
    dims = _dims(values, shape)
    if not some:
        return Weight(dims, _terms(name, values), frozenset().union(*(w.inner for w in weights)))
    if name in elementwise.SAME and name not in elementwise.OPERATIONS:
        return dataclasses.replace(some[0], dims=dims)
    signals = [v for v in some if not v.free]
    if weights:
        return _with_weight(name, values, some, weights, dims, nodes)
    if not signals:
        return free(dims, _whole(name, params, some))
    if any(nodes.all[v.base].op == "scores" for v in signals):
        one = next(v for v in signals if nodes.all[v.base].op == "scores")
        if all(v.base == one.base for v in signals):  # masked, scaled, normalised: still scores
            return data(one.base, dims)
    if len(signals) < len(some) or any(isinstance(v, Const) and v.value is None for v in values):
        return _with_array(name, params, values, signals, dims, nodes)
    if len({v.base for v in signals}) == 1:
        return _of_one(name, params, values, signals, dims, nodes)
    return _of_several(name, values, signals, dims, nodes)


def _rebased(values: list[Value], nodes: Nodes) -> list[Value]:
    """Pools and scaled norms as entries of nodes of their own, where another value is already."""
    bases = {v.base for v in values if isinstance(v, Data)}
    out = []
    for v in values:
        if isinstance(v, Data) and v.stat is not None and len(bases) > 1:
            pool = _pool(v, nodes)
            if pool in bases:
                v = Data(v.dims, pool, v.stat.outer, v.view)
            elif v.stat.uses and (number := nodes.copy().settle(v)) in bases:
                v = data(number, v.dims, v.view)
        out.append(v)
    return out


def _scaled(name: str, values: list[Value], nodes: Nodes) -> list[Value]:
    """Scaled norms as entries of nodes of their own, where an operation does not scale with them.

    Until then a scale may belong to a norm's statistic alone: `x * (rsqrt(variance) * scale)`.
    """
    uses = [v.stat.uses if isinstance(v, Data) and v.stat is not None else () for v in values]
    alone = sum(map(bool, uses)) == 1 and (name == "mul" or (name == "div" and bool(uses[0])))
    equal = name in SUMS and len(set(uses)) == 1  # of the signal and of its mean
    if alone or equal or name in ("neg", *elementwise.SAME):
        return values
    return [
        data(nodes.settle(v), v.dims, v.view) if isinstance(v, Data) and of else v
        for v, of in zip(values, uses, strict=True)
    ]


def _pool(value: Data, nodes: Nodes, new: bool = False) -> int | None:
    """The node of a plain reduction over positions; None if there is none, unless `new`."""
    stat = value.stat
    if stat is None or stat.inner is None or any(channels for *_, channels in stat.reduced):
        return None
    act, name = value.base, elementwise.recognised(stat.inner)
    if name[0] != "none":
        node = Node("act", (value.base,), detail=name)
        act = nodes.add(node) if new else nodes.known.get(node, -1)
    node = Node("pool", (act,), kind=stat.kind)
    return nodes.add(node) if new else nodes.known.get(node)


def _dims(values, shape) -> Dims:
    parts = [v.dims for v in values if not isinstance(v, Const) and len(v.dims) == len(shape)]
    return together(parts) if parts else fresh(shape)


def _whole(name, params, some) -> bool:
    """Whether a function of inputs is one of whole numbers, to whole numbers."""
    real = name == "convert_element_type" and np.dtype(params["new_dtype"]).kind == "f"
    return not real and all(v.whole for v in some)


def _terms(name, values) -> dict:
    """How parameters enter a function of several."""
    several, out = sum(isinstance(v, Weight) for v in values) > 1, {}
    for k, v in enumerate(values):
        for source, flags in v.terms.items() if isinstance(v, Weight) else ():
            new = set(flags)
            if name in ("sqrt", "rsqrt", "pow") or (name == "div" and k == 1):
                new = new - {"straight"} | {"root"}
            if name == "neg" or (name == "sub" and k == 1):
                new ^= {"minus"}
            if name in PRODUCTS and several:
                new |= {"times"}
            if not _linear(name, k, values) or source in out:
                new |= {"bent"}
            out[source] = out.get(source, frozenset()) | new
    return out


def _linear(name, position, values) -> bool:
    """Whether an operation is linear in the operand at a position."""
    if name in SUMS:
        return not any(isinstance(v, Const) and (v.value is None or v.value != 0) for v in values)
    if name in ("mul", "neg", *elementwise.SAME):
        return True
    return position == 0 and name == "div"


def _with_weight(name, values, some, weights, dims, nodes) -> Value:
    """Data and a weight: a shift or a scale of neurons."""
    first_is_data = isinstance(values[0], Data)
    plain = len(some) == len(weights) == 1 and len(values) == 2
    if plain and nodes.all[some[0].base].op == "scores":
        return data(
            nodes.add(Node("scores", (some[0].base,), nodes.vectors(weights[0], dims, False))),
            (),
            dims,
        )
    if not plain or not (name in SUMS or name == "mul" or (name == "div" and first_is_data)):
        return data(nodes.other(values, (name,)), dims)
    one, weight = some[0], weights[0]
    if len(one.dims) < len(dims):  # a number
        one = dataclasses.replace(one, dims=fresh([size(axis) for axis in dims]))
    dims = tuple(  # the data's, but where it is broadcast
        b if size(b) > size(a) else a for a, b in zip(one.dims, dims, strict=True)
    )
    factor = name in PRODUCTS
    uses = nodes.vectors(weight, one.dims, factor)
    if factor and one.stat is not None:
        stat = dataclasses.replace(one.stat, inner=None, outer=None, uses=(*one.stat.uses, uses))
        if one.stat.inner is None or (one.stat.reduced and _statistic(one)):
            return dataclasses.replace(one, dims=dims, stat=stat)
    minus = any("minus" in flags for flags in weight.terms.values())
    away = ("minus",) if minus != (name == "sub" and first_is_data) else ()
    if math.prod(a.size for axis in one.dims for a in axis if a.origins) == 1:
        away = (*away, "one")
    node = Node("scale" if factor else "shift", (nodes.settle(one),), uses, detail=away)
    number = nodes.add(node)
    nodes.limit(number, weight, uses)
    return data(number, dims, one.view)


def _statistic(one: Data) -> bool:
    """Whether a reduction is one that a norm would divide by."""
    return one.stat is not None and one.stat.odd is False


def _with_array(name, params, values, signals, dims, nodes) -> Value:
    """A signal, and an array that is no parameter: a mask, positions, interpolation weights."""
    one = signals[0]
    if len(signals) == 1 and name in PRODUCTS and (name == "mul" or values[0] is one):
        if one.stat is not None:
            return dataclasses.replace(one, dims=dims)
        view = (*one.view, ("times", nodes.serial()))
        if elementwise.linear(one.value):
            return Data(dims, one.base, GRID, view)
        return data(nodes.settle(one), dims, view)
    if (
        name == "select_n"
        and len(signals) == 1
        and not (isinstance(values[0], Data) and not values[0].free)
    ):
        rest = [v for v in values[1:] if v is not one]
        if all(isinstance(v, Const) and v.value is not None and not v.value for v in rest):
            return data(nodes.settle(one), dims, (*one.view, ("mask", nodes.serial())))
    return data(nodes.other(values, (name, nodes.serial())), dims)


def _of_one(name, params, values, signals, dims, nodes) -> Value:
    """Functions of one node's entries: one by one, or with statistics of all of them."""
    base = signals[0].base
    if all(v.stat is None for v in signals):
        if len({v.view for v in signals}) == 1:
            numbers = [v.value for v in values]
            return Data(dims, base, elementwise.evaluated(name, params, *numbers), signals[0].view)
        return _of_views(name, values, signals, dims, nodes)
    stats = [as_stat(v) if isinstance(v, Data) else None for v in values]
    return Data(dims, base, None, (), combined(name, params, values, stats))


def _of_views(name, values, signals, dims, nodes) -> Value:
    """Different entries of one node, such as shifted ones: a linear map, a maximum, a product."""
    base, mixed = signals[0].base, any("channel" in v.view for v in signals)
    view = (name, *(nodes.view(v.view) for v in signals))
    if name in SUMS and all(elementwise.linear(v.value) for v in signals) and not mixed:
        return Data(dims, base, GRID, (*view, "linear"))
    same = len({None if v.value is None else v.value.tobytes() for v in signals}) == 1
    if name == "max" and same and not mixed:
        node = nodes.add(Node("pool", (nodes.settle(signals[0]),), kind="max"))
        return data(node, dims, view)
    return _of_several(name, values, signals, dims, nodes)


def _of_several(name, values, signals, dims, nodes) -> Value:
    inputs = tuple(nodes.settle(v) for v in signals)
    if name == "max" and len(signals) == len(values):
        pooled = {_pooled(n, nodes) for n in inputs}  # a maximum of more and more entries
        if len(pooled) == 1 and not any("channel" in v.view for v in signals):
            node = nodes.add(Node("pool", tuple(pooled), kind="max"))
            return data(node, dims, (name, *(nodes.view(v.view) for v in signals)))
    views = tuple(nodes.view(v.view) for v in signals)
    op = "add" if name in SUMS else "product" if name in PRODUCTS else None
    if op == "add" and inputs[0] == inputs[-1]:
        op = None
    if op and len(signals) == len(values) == 2:
        return data(nodes.add(Node(op, inputs, detail=views)), dims)
    return data(nodes.other(values, (name, *views)), dims)


def _pooled(number: int, nodes: Nodes) -> int:
    node = nodes.all[number]
    return node.inputs[0] if (node.op, node.kind) == ("pool", "max") else number


def as_stat(value: Data) -> Stat:
    """A function of single entries as a statistic, to combine with others."""
    if value.stat is not None:
        return value.stat
    known = elementwise.parity(value.value) is not None
    return Stat(None, None, "", elementwise.parity(value.value), known=known)


def combined(name, params, values, stats) -> Stat:
    """The statistic that an elementwise operation gives."""
    have = [s for s in stats if s is not None]
    first = have[0]
    if len(have) == 1 and first.outer is not None:  # a function of one reduction
        numbers = [
            first.outer if s is not None else v.value for v, s in zip(values, stats, strict=True)
        ]
        outer = elementwise.evaluated(name, params, *numbers)
    else:
        outer = None
    odd = _parity(name, params, values, stats)
    root = any(s.root for s in have) or name in ("sqrt", "rsqrt") or name == "pow"
    root = root or (name == "integer_pow" and params["y"] < 0)
    mean = any(s.mean for s in have)
    if name in SUMS and len(have) == 2 and all(s.odd for s in have):
        mean = mean or any(s.inner is not None and s.kind == "sum" for s in have)
    known = all(s.known for s in have) and odd is not None
    kinds = {s.kind for s in have if s.kind}
    return Stat(
        first.inner if outer is not None else None,
        outer,
        next(iter(kinds)) if len(kinds) == 1 else "",
        odd,
        root,
        mean,
        known and kinds <= {"sum"},
        frozenset().union(*(s.reduced for s in have)),
        sum((s.uses for s in have), ()),
    )


def _parity(name, params, values, stats) -> bool | None:
    of = [False if s is None else s.odd for s in stats]
    if None in of:
        return None
    if name in PRODUCTS:
        return of[0] != of[1]
    if name in ("square", "abs") or (name == "integer_pow" and params["y"] % 2 == 0):
        return False
    if name in ("neg", "integer_pow", *elementwise.SAME):
        return of[0]
    if name in SUMS and of[0] == of[1]:
        return of[0]
    if name == "select_n" and not of[0] and len(set(of[1:])) == 1:
        return of[1]
    return None if any(of) else False


def reduced(name: str, value: Data, axes, dims: Dims, nodes: Nodes) -> Value:
    """The reduction of data over some of its axes."""
    kind = {"reduce_sum": "sum", "reduce_max": "max"}.get(name, name)
    gone = [value.dims[i] for i in axes]
    over = any(a.origins and a.size > 1 for axis in gone for a in axis)
    if value.stat is not None and value.stat.uses:
        value = data(nodes.settle(value), value.dims, value.view)
    if value.stat is not None and over and (pool := _pool(value, nodes, new=True)) is not None:
        value = Data(value.dims, pool, value.stat.outer, value.view)  # pooled, then normalised
    if value.free:
        return free(dims)
    if nodes.all[value.base].op == "scores":
        return data(value.base, dims)
    apart = [a.size for axis in dims for a in axis if a.origins]
    channels = any(a.origins and a.size > 1 for axis in gone for a in axis)
    positions = any(not a.origins and a.size > 1 for axis in gone for a in axis)
    now = (int(np.prod(apart, dtype=int)), positions, channels)
    if value.stat is None:
        odd = elementwise.parity(value.value)
        stat = Stat(
            value.value, GRID, kind, odd if kind == "sum" else None, reduced=frozenset([now])
        )
        stat = dataclasses.replace(stat, known=kind == "sum" and odd is not None)
    else:
        one = value.stat
        again = one.inner is not None and one.kind == kind and elementwise.linear(one.outer)
        stat = dataclasses.replace(
            one,
            inner=one.inner if again else None,
            outer=GRID if again else None,
            kind=kind if one.kind in ("", kind) else "",
            odd=one.odd if kind == "sum" else None,
            known=one.known and kind == "sum",
            reduced=one.reduced | {now},
        )
    return Data(dims, value.base, None, (), stat)

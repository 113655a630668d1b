"""Operations that move numbers about: reshapes, slices, concatenations, reductions."""

from typing import Any

from wsjax.tracing.layers import elementwise_rules
from wsjax.tracing.layers.nodes import Node, data, free
from wsjax.tracing.layers.values import (
    Atom,
    Axis,
    Const,
    Data,
    Origin,
    Source,
    Value,
    Weight,
    channel,
    fresh,
    joined,
    origins,
    reshaped,
    whole,
)


def with_dims(value, dims, *view):
    """The value with other axes; of data, another view if one is given."""
    fields = {**vars(value), "dims": dims}
    if view and isinstance(value, Data):
        fields["view"] = (*value.view, *view)
    return type(value)(**fields)


def _shape(eqn, k=0):
    return eqn.outvars[k].aval.shape


def reshape(eqn, values, nodes):
    """`lax.reshape`."""
    if eqn.params.get("dimensions") is not None:
        return None
    x = values[0]
    return [x if isinstance(x, Const) else with_dims(x, reshaped(x.dims, _shape(eqn)))]


def broadcast_in_dim(eqn, values, nodes):
    """`lax.broadcast_in_dim`."""
    x = values[0]
    if isinstance(x, Const):
        return [x]
    dims = list(fresh(_shape(eqn)))
    for k, i in enumerate(eqn.params["broadcast_dimensions"]):
        if eqn.invars[0].aval.shape[k] == dims[i][0].size:
            dims[i] = x.dims[k]
    return [with_dims(x, tuple(dims))]


def _permuted(order):
    def rule(eqn, values, nodes):
        x = values[0]
        if isinstance(x, Const):
            return [x]
        return [with_dims(x, tuple(x.dims[i] for i in order(eqn, len(x.dims))))]

    return rule


def expand_dims(eqn, values, nodes):
    """`lax.expand_dims`."""
    x = values[0]
    return [x if isinstance(x, Const) else with_dims(x, reshaped(x.dims, _shape(eqn)))]


def cut(x: Weight, axis: int, start: int, stop: int, drop: bool = False) -> Weight:
    """A part of a weight along one of its axes."""
    dims, terms, inner = list(x.dims), x.terms, x.inner
    old, found = dims[axis], origins(dims[axis])
    if len(old) == 1 and stop == start + 1 and {o.source for o in found} == set(terms):
        # a step of a stack: a parameter of its own
        new = {o.source: Source(o.source.parameter, (*o.source.part, (o.axis, start, stop)))
               for o in found}  # fmt: skip
        dims = [_renamed(a, new) for a in dims]
        terms = {new[s]: f for s, f in terms.items()}
        inner = frozenset(o._replace(source=new[o.source]) for o in inner)
        dims[axis] = (Atom(1),)
    else:
        dims[axis] = whole(old, stop - start)
    return Weight(tuple(dims[:axis] + dims[axis + 1 :] if drop else dims), terms, inner)


def _renamed(axis: Axis, new) -> Axis:
    rename = lambda o: Origin(new.get(o.source, o.source), o.axis)
    return tuple(a._replace(origins=frozenset(map(rename, a.origins))) for a in axis)


def _sliced(eqn, x: Value, starts, detail) -> list[Value]:
    """A part of a value, from known starts or others (None)."""
    if isinstance(x, Const):
        return [x]
    before, after = eqn.invars[0].aval.shape, _shape(eqn)
    if isinstance(x, Weight):
        for i, (m, n) in enumerate(zip(before, after, strict=True)):
            if m == n:
                continue
            if starts[i] is not None:
                x = cut(x, i, starts[i], starts[i] + n)
            else:
                dims = list(x.dims)
                dims[i] = whole(x.dims[i], n)
                x = with_dims(x, tuple(dims))
        return [x]
    dims = [a if m == n else whole(a, n) for a, m, n in zip(x.dims, before, after, strict=True)]
    moved = [i for i, (m, n) in enumerate(zip(before, after, strict=True)) if m != n]
    mark = ("channel",) if any(channel(x.dims[i]) for i in moved) else ()
    return [with_dims(x, tuple(dims), *mark, detail) if moved else x]


def slice_(eqn, values, nodes):
    """`lax.slice`."""
    p = eqn.params
    strides = p["strides"] or [1] * len(p["start_indices"])
    starts = [s if k == 1 else None for s, k in zip(p["start_indices"], strides, strict=True)]
    detail = ("slice", tuple(p["start_indices"]), tuple(p["limit_indices"]), tuple(strides))
    return _sliced(eqn, values[0], starts, detail)


def dynamic_slice(eqn, values, nodes):
    """`lax.dynamic_slice`, its starts known or not."""
    x, *starts = values
    known = [int(s.value) if isinstance(s, Const) and s.value is not None else None for s in starts]
    if any(isinstance(s, Data) for s in starts) and isinstance(x, Weight):
        return None
    shapes = eqn.invars[0].aval.shape, _shape(eqn)
    known = [
        None if k is None else max(0, min(k + m if k < 0 else k, m - n))
        for k, m, n in zip(known, *shapes, strict=True)
    ]
    return _sliced(
        eqn, x, known, ("slice", nodes.serial() if None in known else tuple(known), shapes[1])
    )


def split(eqn, values, nodes):
    """`lax.split`."""
    (x,), p, start, out = values, eqn.params, 0, []
    for k, n in enumerate(p["sizes"]):
        axis = p["axis"]
        if isinstance(x, Const):
            out.append(x)
        elif isinstance(x, Weight):
            out.append(cut(x, axis, start, start + n))
        else:
            dims = list(x.dims)
            dims[axis] = whole(x.dims[axis], n)
            mark = ("channel",) if channel(x.dims[axis]) else ()
            out.append(with_dims(x, tuple(dims), *mark, ("split", axis, k, start)))
        start += n
    return out


def _moved(eqn, values, nodes):
    """Operations along some axes: reversal, padding, cumulated sums, sorting."""
    x, p, name = values[0], eqn.params, eqn.primitive.name
    if isinstance(x, Const) or len(eqn.outvars) != 1:
        return None
    before, after = eqn.invars[0].aval.shape, _shape(eqn)
    along = p.get("dimensions", (p.get("axis", p.get("dimension")),))
    if name == "pad":
        along = [i for i, c in enumerate(p["padding_config"]) if tuple(c) != (0, 0, 0)]
    dims = tuple(
        a if m == n else whole(a, n) for a, m, n in zip(x.dims, before, after, strict=True)
    )
    if isinstance(x, Weight):
        return (
            None if len([v for v in values if isinstance(v, Weight)]) > 1 else [with_dims(x, dims)]
        )
    if len([v for v in values if not isinstance(v, Const)]) > 1 or name in ("sort", "cumprod"):
        return None
    mixing = any(channel(x.dims[i]) for i in along) and name not in ("rev", "pad")
    if mixing or (name in ("cummax", "cummin", "cumlogsumexp") and not x.free):
        return None
    mark = ("channel",) if any(channel(x.dims[i]) for i in along) else ()
    return [
        with_dims(x, dims, *mark, (name, tuple(map(str, (tuple(along), p.get("padding_config"))))))
    ]


def concatenate(eqn, values, nodes):
    """`lax.concatenate`: of copies side by side, of tokens, of channels."""
    axis, size = eqn.params["dimension"], _shape(eqn)
    stack = all(v.aval.shape[axis] == 1 for v in eqn.invars)
    return _side_by_side(values, axis, size, stack, nodes)


def _side_by_side(values, axis, size, stack, nodes):
    some = [v for v in values if isinstance(v, Data)]
    weights = [v for v in values if isinstance(v, Weight)]
    if not some and not weights:
        return [Const(None)]
    parts = [v.dims for v in values if not isinstance(v, Const)]
    dims = []
    for i, n in enumerate(size):
        if i != axis:
            one = parts[0][i]
            for other in parts[1:]:
                one = joined(one, other[i])
            dims.append(one)
        else:
            every = frozenset().union(*(origins(p[i]) for p in parts))
            dims.append((Atom(n, every, stack and not every),))
    dims = tuple(dims)
    if not some:
        terms: dict = {}
        for w in weights:
            for source, flags in w.terms.items():
                terms[source] = terms.get(source, frozenset()) | flags
        return [Weight(dims, terms, frozenset().union(*(w.inner for w in weights)))]
    if weights:
        uses = tuple(u for w in weights for u in nodes.vectors(w, _apart(dims, axis), False))
        inputs = tuple(dict.fromkeys(nodes.settle(v) for v in some))
        return [data(nodes.add(Node("token", inputs, uses)), dims)]
    signals = [v for v in some if not v.free]
    if not signals:
        return [free(dims, all(v.whole for v in some))]
    first, mixed = signals[0], any(channel(p[axis]) for p in parts)
    same = all(v.base == first.base and _equal(v, first) for v in signals)
    if same and len(signals) == len(some) and (not mixed or "channel" in first.view):
        view = ("concatenate", axis, *(nodes.view(v.view) for v in signals))
        return [Data(dims, first.base, first.value, ("channel", *view) if mixed else view)]
    inputs = tuple(dict.fromkeys(nodes.settle(v) for v in some))
    view = tuple(nodes.view(v.view) for v in some)
    return [data(nodes.add(Node("concat", inputs, detail=(axis, *view))), dims)]


def stack(eqn, values, nodes):
    """`lax.stack`: as a concatenation along a new axis."""
    axis, size = eqn.params["axis"], _shape(eqn)
    wide = (*size[:axis], 1, *size[axis + 1 :])
    long = [v if isinstance(v, Const) else with_dims(v, reshaped(v.dims, wide)) for v in values]
    return _side_by_side(long, axis, size, True, nodes)


def unstack(eqn, values, nodes):
    """`lax.unstack`: its parts along an axis, which goes."""
    (x,), axis = values, eqn.params["axis"]
    if isinstance(x, Const):
        return [x for _ in eqn.outvars]
    if isinstance(x, Weight):
        return [cut(x, axis, i, i + 1, drop=True) for i in range(len(eqn.outvars))]
    dims = x.dims[:axis] + x.dims[axis + 1 :]
    mark = ("channel",) if channel(x.dims[axis]) else ()
    return [with_dims(x, dims, *mark, ("unstack", axis, i)) for i in range(len(eqn.outvars))]


def _apart(dims, axis):
    return tuple((Atom(1),) if i == axis else a for i, a in enumerate(dims))


def _equal(one: Data, two: Data) -> bool:
    if one.stat is not None or two.stat is not None or one.value is None or two.value is None:
        return False
    return one.value.tobytes() == two.value.tobytes()


def reduce(eqn, values, nodes):
    """Reductions over axes."""
    x, axes = values[0], eqn.params["axes"]
    if isinstance(x, Const):
        return None
    dims = tuple(a for i, a in enumerate(x.dims) if i not in axes)
    if isinstance(x, Weight):
        drop = lambda flags: flags - {"straight"} or frozenset(["sum"])
        gone = frozenset().union(*(origins(x.dims[i]) for i in axes))
        return [Weight(dims, {s: drop(f) for s, f in x.terms.items()}, x.inner | gone)]
    return [elementwise_rules.reduced(eqn.primitive.name, x, axes, dims, nodes)]


def reduce_window(eqn, values, nodes):
    """Pooling of windows."""
    x, p, name = values[0], eqn.params, eqn.primitive.name
    if not isinstance(x, Data) or any(isinstance(v, Weight | Data) for v in values[1:]):
        return None
    sizes = zip(p["window_dimensions"], eqn.invars[0].aval.shape, _shape(eqn), strict=True)
    wide = [w > 1 or m != n for w, m, n in sizes]
    if any(w and channel(a) for w, a in zip(wide, x.dims, strict=True)) or name not in _POOLS:
        return None
    dims = tuple(whole(a, n) if w else a for a, n, w in zip(x.dims, _shape(eqn), wide, strict=True))
    if x.free:
        return [free(dims)]
    node = Node("pool", (nodes.settle(x),), kind=_POOLS[name])
    return [data(nodes.add(node), dims)]


_POOLS = {"reduce_window_max": "max", "reduce_window_sum": "sum"}


def _const(eqn, values, nodes):
    return [Const(None) for _ in eqn.outvars]


RULES: dict[str, Any] = {
    "reshape": reshape,
    "broadcast_in_dim": broadcast_in_dim,
    "transpose": _permuted(lambda e, n: e.params["permutation"]),
    "squeeze": _permuted(lambda e, n: [i for i in range(n) if i not in e.params["dimensions"]]),
    "expand_dims": expand_dims,
    "slice": slice_,
    "dynamic_slice": dynamic_slice,
    "split": split,
    "concatenate": concatenate,
    "stack": stack,
    "unstack": unstack,
    "reduce_window_max": reduce_window,
    "reduce_window_sum": reduce_window,
    "iota": _const,
    "platform_index": _const,
}
RULES |= {f"reduce_{n}": reduce for n in ("sum", "max", "min", "prod", "and", "or", "xor")}
RULES |= {n: _moved for n in ("rev", "pad", "cumsum", "cummax", "cummin", "cumlogsumexp")}

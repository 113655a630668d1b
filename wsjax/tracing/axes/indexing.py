"""The axes of parts: slices, splits, gathers, scatters.

x[2:5]        the third to fifth neurons: the axis is a direct sum from now on
x[0]          one position of an axis; what lies beside it may have neurons of its own there
x[..., ::2]   the same, after the axis was regrouped in twos
x[i]          a row at an unknown place: the axis is fixed, what lies beside it passes
"""

from wsjax.tracing.axes.atoms import atom, expand, fix, fixed, size
from wsjax.tracing.axes.interpreter import Interpreter, Value, fresh


def slice(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """Parts of axes, or every so many of their positions."""
    p = eqn.params
    strides = p["strides"] or (1,) * len(ins[0].axes)
    starts, stops = p["start_indices"], p["limit_indices"]
    value, shape = ins[0], eqn.invars[0].aval.shape
    for i in range(len(shape)):
        if strides[i] == 1:
            value = part(walk, value, i, starts[i], stops[i], shape[i])
        else:
            value = _every(walk, value, i, starts[i], stops[i], strides[i], shape[i])
    return [value]


def part(walk: Interpreter, value: Value, along: int, start: int, stop: int, whole: int) -> Value:
    """The positions of one axis from `start` to `stop`; other axes are those beside them."""
    axes = list(value.axes)
    if (start, stop) == (0, whole):
        return value
    if stop == start:
        fix(axes[along], "a slice")
        axes[along] = atom(0, "a slice")
        return Value(axes)
    if stop - start > 1:
        still = fixed(axes[along])
        axes[along] = walk.atoms.slice(axes[along], start, stop, "a slice")
        if still:  # its positions may meet others, as after a shift
            walk.together([a for a in axes if not fixed(a)])
        return Value(axes)
    return _at(walk, axes, along, start)


def _at(walk, axes, along, index):
    """The value at one index of an axis, which is kept with size one."""
    nodes, left = expand(axes[along]), index
    for k, node in enumerate(nodes):
        place, left = divmod(left, size(nodes[k + 1 :]))
        walk.atoms.select(node, place)
        axes = [
            a if i == along else walk.atoms.restrict(a, node, place) for i, a in enumerate(axes)
        ]
    axes[along] = []
    return Value(axes)


def _every(walk, value, along, start, stop, stride, whole):
    """Every so many positions of an axis."""
    axes, last = list(value.axes), start + (stop - start - 1) // stride * stride
    if whole % stride or start >= stride or last != whole - stride + start:
        fix(axes[along], "a strided slice")
        axes[along] = atom((stop - start - 1) // stride + 1, "a strided slice")
        walk.together([a for a in axes if not fixed(a)])
        return Value(axes)
    outer, inner = walk.atoms.regroup(axes[along], (whole // stride, stride), "a strided slice")
    axes[along : along + 1] = [outer, inner]
    value = _at(walk, axes, along + 1, start)
    return Value([a for i, a in enumerate(value.axes) if i != along + 1])


def split(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """An axis as several parts."""
    along, start, outs = eqn.params["axis"], 0, []
    for n in map(int, eqn.params["sizes"]):
        whole = eqn.invars[0].aval.shape[along]
        outs.append(part(walk, ins[0], along, start, start + n, whole))
        start += n
    return outs


def dynamic_slice(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """Parts of axes at places that are known, or not."""
    value, starts = ins[0], [x.known for x in ins[1:]]
    shape, to = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    for i, (n, m, start) in enumerate(zip(shape, to, starts, strict=True)):
        if m == n:
            continue
        if start is not None:
            first = min(max(int(start), 0), n - m)
            value = part(walk, value, i, first, first + m, n)
        else:
            fix(value.axes[i], "an index")
            axes = list(value.axes)
            axes[i] = atom(m, "an index")
            value = Value(axes)
    return [value]


def dynamic_update_slice(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """An array with a part replaced."""
    whole, new = ins[:2]
    for a, b, n, m in zip(
        whole.axes, new.axes, eqn.invars[0].aval.shape, eqn.invars[1].aval.shape, strict=True
    ):
        if n == m:
            walk.unify(a, b, "an update")
        else:
            fix(a, "an update")
            fix(b, "an update")
    return [Value(whole.axes)]


def gather(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """Parts at known places, or rows at unknown ones."""
    dims, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    value, index = ins
    shape, to = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    collapsed, batching = dims.collapsed_slice_dims, dims.operand_batching_dims
    if index.known is not None and index.known.size == len(dims.start_index_map) and not batching:
        starts = dict(zip(dims.start_index_map, index.known.ravel().tolist(), strict=True))
        for i, start in starts.items():
            first = min(max(start, 0), shape[i] - sizes[i])
            value = part(walk, value, i, first, first + sizes[i], shape[i])
        offset = [a for i, a in enumerate(value.axes) if i not in collapsed]
        out = fresh(to).axes
        for place, a in zip(dims.offset_dims, offset, strict=True):
            out[place] = a
        return [Value(out)]
    out, batch = fresh(to).axes, iter(index.axes[:-1])
    for i in range(len(to)):
        if i not in dims.offset_dims:
            out[i] = next(batch)
    for mine, its in zip(batching, dims.start_indices_batching_dims, strict=True):
        walk.unify(value.axes[mine], index.axes[its], "a gather")
    kept = [i for i in range(len(sizes)) if i not in (*collapsed, *batching)]
    for place, i in zip(dims.offset_dims, kept, strict=True):
        if sizes[i] == shape[i]:
            out[place] = value.axes[i]
        else:
            fix(value.axes[i], "a gather")
            fix(out[place], "a gather")
    for i in collapsed:
        fix(value.axes[i], "an index")
    return [Value(out)]


def scatter(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """An array with rows replaced or added to."""
    dims = eqn.params["dimension_numbers"]
    whole, index, new = ins[:3]
    batching = dims.operand_batching_dims
    for mine, its in zip(batching, dims.scatter_indices_batching_dims, strict=True):
        walk.unify(whole.axes[mine], index.axes[its], "a scatter")
    kept = [i for i in range(len(whole.axes)) if i not in (*dims.inserted_window_dims, *batching)]
    for i, j in zip(kept, dims.update_window_dims, strict=True):
        if eqn.invars[0].aval.shape[i] == eqn.invars[2].aval.shape[j]:
            walk.unify(whole.axes[i], new.axes[j], "a scatter")
        else:
            fix(whole.axes[i], "a scatter")
            fix(new.axes[j], "a scatter")
    batch = [a for j, a in enumerate(new.axes) if j not in dims.update_window_dims]
    for a, b in zip(batch, index.axes[:-1], strict=True):
        walk.unify(a, b, "a scatter")
    for i in dims.inserted_window_dims:
        fix(whole.axes[i], "an index")
    return [Value(whole.axes)]


def top_k(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """The largest along an axis, and where they are."""
    along = eqn.params.get("axis", len(ins[0].axes) - 1)
    if not all(walk.idle[1:]):
        fix(ins[0].axes[along], "top_k")  # where they were is used
    outs = []
    for v in eqn.outvars:
        axes = list(ins[0].axes)
        axes[along] = atom(v.aval.shape[along], "top_k")
        outs.append(Value(axes))
    return outs

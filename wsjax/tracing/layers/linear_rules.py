"""Linear maps of data by weights, and products of data with data."""

from wsjax.tracing.layers import elementwise
from wsjax.tracing.layers.elementwise import GRID
from wsjax.tracing.layers.nodes import Node, Nodes, data, free
from wsjax.tracing.layers.values import (
    Atom,
    Axis,
    Const,
    Data,
    Dims,
    Origin,
    Source,
    Use,
    Value,
    Weight,
    aligned,
    channel,
    joined,
    origins,
    size,
    whole,
)

LEFT, RIGHT = Source(-1), Source(-2)  # mark which axes of scores come from which operand


def dot_general(eqn, values: list[Value], nodes: Nodes) -> list[Value] | None:
    """`lax.dot_general`."""
    (contract, batch), (one, two) = eqn.params["dimension_numbers"], values
    if isinstance(one, Const) and isinstance(two, Const):
        return [Const(None)]
    sides = [
        [i for i in range(v.aval.ndim) if i not in (*c, *b)]
        for v, c, b in zip(eqn.invars, contract, batch, strict=True)
    ]
    dims_of = lambda v, k: v.dims if not isinstance(v, Const) else _plain(eqn.invars[k].aval.shape)
    left, right = dims_of(one, 0), dims_of(two, 1)
    dims = (
        *(joined(left[i], right[j]) for i, j in zip(*batch, strict=True)),
        *(left[i] for i in sides[0]),
        *(right[i] for i in sides[1]),
    )
    if isinstance(one, Weight) and isinstance(two, Weight):
        one, two = (_token(w, c, nodes) for w, c in zip((one, two), contract, strict=True))
    if isinstance(one, Weight) and isinstance(two, Weight):
        return [_product(one, two, dims, [*zip(*contract, strict=True)])]
    for k, (x, w) in enumerate(((one, two), (two, one))):
        if not isinstance(w, Weight) or isinstance(x, Weight):
            continue
        if isinstance(x, Const):
            gone = frozenset().union(*(origins(w.dims[i]) for i in contract[1 - k]))
            return [Weight(dims, w.terms, w.inner | gone)]
        pairs = [(x.dims[i], w.dims[j]) for i, j in zip(contract[k], contract[1 - k], strict=True)]
        both = [(x.dims[i], w.dims[j]) for i, j in zip(batch[k], batch[1 - k], strict=True)]
        outs = [w.dims[j] for j in sides[1 - k]]
        return [_linear("dense", x, w, pairs, both, outs, dims, nodes)]
    return [_of_data(eqn, one, two, contract, dims, nodes)]


def _plain(shape) -> Dims:
    return tuple((Atom(n),) for n in shape)


def _token(weight: Weight, contract, nodes: Nodes) -> Value:
    """A weight that stands once for every example, as data: learnt queries, latents."""
    rest = [a for i, axis in enumerate(weight.dims) if i not in contract for a in axis]
    if not any(a.size > 1 and not a.origins for a in rest):
        return weight
    taken = tuple(a if i in contract else tuple(b._replace(origins=frozenset()) for b in a)
                  for i, a in enumerate(weight.dims))  # fmt: skip
    node = Node("token", (), nodes.vectors(weight, taken, False))
    return data(nodes.add(node), taken)


def _product(one: Weight, two: Weight, dims: Dims, contract) -> Weight:
    """A product of weights, such as the two factors of a low rank."""
    terms: dict = {}
    for w in (one, two):
        for source, flags in w.terms.items():
            terms[source] = terms.get(source, frozenset()) | flags
    inner = one.inner | two.inner
    for i, j in contract:
        inner |= origins(one.dims[i]) | origins(two.dims[j])
    return Weight(dims, terms, inner)


def _linear(kind, x: Data, weight: Weight, pairs, both, outs, dims, nodes, blocks=()) -> Data:
    """Data times a weight.

    Args:
        kind: of the layer.
        x: the data.
        weight: the weight.
        pairs: (axis of data, axis of weight) that are contracted.
        both: likewise, that are not.
        outs: further axes of the weight that are in the result.
        dims: of the result.
        nodes: so far.
        blocks: (axis of the weight, n) that are block diagonals.
    """
    reads, writes, shared = set(), set(), set()
    for a, b in pairs:
        atoms = aligned(a, b)
        if not atoms:
            reads |= origins(b)
        for mine, its in atoms:
            reads |= frozenset() if mine.stack else its.origins
    for axis in outs:
        writes |= origins(axis)
    for a, b in both:
        (shared if channel(a) else writes).update(origins(b))
    fixed = {(o, n) for axis, n in blocks for o in origins(axis)}
    uses = []
    for source in sorted(weight.terms, key=lambda s: -len({*reads} & _axes(s, weight))):
        of = lambda origins, source=source: {o.axis for o in origins if o.source == source}
        own_reads, own_writes, inner = of(reads), of(writes), of(weight.inner)
        diagonal = of(shared)
        flags = weight.terms[source]
        if inner and own_reads and not own_writes:
            own_writes = inner - own_reads
        elif inner and own_writes and not own_reads and "straight" in flags:
            own_reads = inner - own_writes
        role = "kernel"
        if "root" in flags and "straight" not in flags:
            role = "variance"
        elif uses and not own_reads and not diagonal and "times" in flags:
            role = "scale"
        if not own_reads | own_writes | diagonal:
            own_writes = set(range(len(nodes.shapes[source.parameter])))
        both_ways = own_reads & own_writes
        if both_ways:
            own_reads, own_writes = own_reads - both_ways, own_writes
        own = tuple((o.axis, n) for o, n in sorted(fixed) if o.source == source)
        shapes = nodes.shapes[source.parameter]
        own += tuple((i, shapes[i]) for i in sorted(diagonal))
        writing = tuple(sorted(own_writes | diagonal))
        uses.append(Use(*source, role, tuple(sorted(own_reads)), writing, own))
    node = Node("linear", (nodes.settle(x),), tuple(uses), kind)
    number = nodes.add(node)
    nodes.limit(number, weight, node.uses)
    kernels = [f for f in weight.terms.values() if "root" not in f]
    if len(kernels) > 1 and any("times" in f for f in kernels):
        nodes.limited |= {number, *node.inputs}
    return data(number, dims, x.view)


def _axes(source, weight: Weight) -> set[Origin]:
    return {o for axis in weight.dims for o in origins(axis) if o.source == source}


def _of_data(eqn, one: Value, two: Value, contract, dims, nodes) -> Value:
    """A product of data with data, or with an array that is no parameter."""
    signals = [v for v in (one, two) if isinstance(v, Data) and not v.free]
    if not signals:
        return free(dims)
    if len(signals) == 1:
        x = signals[0]
        mine = contract[0] if x is one else contract[1]
        if nodes.all[x.base].op == "scores":
            return data(x.base, dims)
        if any(channel(x.dims[i]) for i in mine) or x.stat is not None:
            return data(nodes.other([one, two], ("dot", nodes.serial())), dims)
        if elementwise.linear(x.value):
            return Data(dims, x.base, GRID, (*x.view, ("dot", nodes.serial())))
        return data(nodes.settle(x), dims, (*x.view, ("dot", nodes.serial())))
    one, two = signals
    scores = [v for v in signals if nodes.all[v.base].op == "scores"]
    if len(scores) == 1:
        (other,) = (v for v in signals if v is not scores[0])
        inputs = (scores[0].base, nodes.settle(other))
        mine = contract[0] if other is one else contract[1]
        exact = not any(channel(other.dims[i]) for i in mine)
        theirs = contract[1] if other is one else contract[0]
        turned = any(LEFT in _sides(scores[0].dims[i]) for i in theirs)  # keys came first
        node = Node("attention", inputs, detail=(exact, turned, nodes.serial()))
        return data(nodes.add(node), tuple(map(_unmarked, dims)))
    inputs = (nodes.settle(one), nodes.settle(two))
    plain = all(
        channel(v.dims[i]) for v, axes in zip((one, two), contract, strict=True) for i in axes
    )
    out = [(Atom(size(a)),) for a in dims]
    shared = len(eqn.params["dimension_numbers"][1][0])
    for i in range(shared, len(out)):
        first = i - shared < len(one.dims) - shared - len(contract[0])
        mark = Origin(LEFT if first else RIGHT, 0)
        out[i] = (Atom(size(dims[i]), frozenset([mark])),)
    return data(nodes.add(Node("scores", inputs, detail=(plain, nodes.serial()))), tuple(out))


def _sides(axis: Axis) -> set[Source]:
    return {o.source for o in origins(axis)}


def _unmarked(axis: Axis) -> Axis:
    keep = lambda atom: frozenset(o for o in atom.origins if o.source not in (LEFT, RIGHT))
    return tuple(a._replace(origins=keep(a)) for a in axis)


def conv_general_dilated(eqn, values: list[Value], nodes: Nodes) -> list[Value] | None:
    """`lax.conv_general_dilated`."""
    (x, w), p = values, eqn.params
    lhs, rhs, out = p["dimension_numbers"]
    if not isinstance(x, Data) or not isinstance(w, Weight) or p["batch_group_count"] != 1:
        return None
    shape = eqn.outvars[0].aval.shape
    dims: list[Axis] = [()] * len(lhs)
    dims[out[0]] = x.dims[lhs[0]]
    dims[out[1]] = w.dims[rhs[0]]
    for i, j in zip(lhs[2:], out[2:], strict=True):
        dims[j] = whole(x.dims[i], shape[j])
    groups = p["feature_group_count"]
    blocks = [(w.dims[rhs[0]], groups)] if groups > 1 else []
    pairs = [(x.dims[lhs[1]], w.dims[rhs[1]])]
    if groups > 1:
        pairs = [(w.dims[rhs[1]], w.dims[rhs[1]])]
    return [_linear("conv", x, w, pairs, (), [w.dims[rhs[0]]], tuple(dims), nodes, blocks)]


def gather(eqn, values: list[Value], nodes: Nodes) -> list[Value] | None:
    """`lax.gather`: rows of a table, at places that the data gives or not."""
    (table, index), p = values, eqn.params
    if isinstance(table, Const):
        return None if not isinstance(index, Const) else [Const(None)]
    numbers, sizes = p["dimension_numbers"], p["slice_sizes"]
    shape, before = eqn.outvars[0].aval.shape, eqn.invars[0].aval.shape
    batching = tuple(getattr(numbers, "operand_batching_dims", ()))
    kept = [i for i in range(len(sizes)) if i not in (*numbers.collapsed_slice_dims, *batching)]
    at = _plain(eqn.invars[1].aval.shape) if isinstance(index, Const) else index.dims
    places, gone = at[:-1], numbers.collapsed_slice_dims
    indexed = [i for i in range(len(sizes)) if sizes[i] != before[i] or i in gone]
    dims, lead = [], iter(places)
    parts = dict(zip(numbers.offset_dims, kept, strict=True))
    for i, n in enumerate(shape):
        if i in parts:
            axis = table.dims[parts[i]]
            dims.append(axis if sizes[parts[i]] == before[parts[i]] else whole(axis, n))
        else:
            dims.append(next(lead))
    if isinstance(table, Data):
        if isinstance(index, Data) and not index.free:
            return None
        if table.free or any(channel(table.dims[i]) for i in indexed) or table.stat is not None:
            return [free(tuple(dims))] if table.free else None
        return [
            Data(tuple(dims), table.base, table.value, (*table.view, ("gather", nodes.serial())))
        ]
    if isinstance(index, Weight):
        return None
    if isinstance(index, Const):  # positions: rows at fixed places
        gone = frozenset().union(*(origins(table.dims[i]) for i in indexed))
        out = [(a[0]._replace(origins=gone),) if i not in parts and k == 0 else a
               for k, (i, a) in enumerate(zip(range(len(shape)), dims, strict=True))]  # fmt: skip
        return [Weight(tuple(out), table.terms, table.inner)]
    outs = [table.dims[i] for i in range(len(sizes)) if i not in indexed]
    pairs = [(table.dims[i], table.dims[i]) for i in indexed] if index.whole else []
    whole_table = Weight(
        tuple(_bare(a) for a in table.dims),
        {s._replace(part=()): f for s, f in table.terms.items()},
        table.inner,
    )
    bare = lambda axes: [_bare(a) for a in axes]
    source = index if index.free else Data(index.dims, 0, GRID)
    inputs = [(_bare(a), _bare(b)) for a, b in pairs]
    made = _linear("embedding", source, whole_table, inputs, (), bare(outs), tuple(dims), nodes)
    mark = () if index.whole else (("gather", nodes.serial()),)
    return [data(made.base, tuple(map(_bare, dims)), mark)]


def _bare(axis: Axis) -> Axis:
    """An axis whose origins are whole parameters."""
    strip = lambda o: Origin(o.source._replace(part=()), o.axis)
    return tuple(a._replace(origins=frozenset(map(strip, a.origins))) for a in axis)


RULES = {
    "dot_general": dot_general,
    "conv_general_dilated": conv_general_dilated,
    "gather": gather,
}

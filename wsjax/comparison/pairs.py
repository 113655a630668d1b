"""Pairs: the arrays of one network and those of another that mean the same.

    PyTorch 0.weight [out, in]       Flax Dense_0/kernel [in, out]        transposed
    attn.qkv.weight [3 d, d]         attn.q, .k, .v [d, d]                split

Two networks whose Specs have the same layers are paired layer by layer, whatever the names and
storage orders, and what one file stores in three arrays and the other in one is in as many arrays
of the Spec in both. All others are paired by name, and where three arrays are q, k and v
of one, by their parts.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

from wsjax import checks
from wsjax.comparison.sides import Side
from wsjax.networks import Array, Layer, Spec

QKV = (  # the words of separate queries, keys and values, and those of the fused array
    ("q", "k", "v"),
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
)
FUSED = ("qkv", "in_proj", "in_proj_weight", "in_proj_bias", "c_attn", "qkv_proj", "to_qkv", "wqkv",
         "query_key_value")  # fmt: skip
LINES = 6  # differences that are named


@dataclasses.dataclass(frozen=True)
class Pair:
    """An array of A and the same of B.

    Attributes:
        a: its name in A.
        b: its name in B.
        order: of B's axes that makes them A's.
        part: rows of B's array that are A's; None for all.
        part_a: rows of A's array that are B's; None for all.
    """

    a: str
    b: str
    order: tuple[int, ...]
    part: tuple[int, int] | None = None
    part_a: tuple[int, int] | None = None

    @property
    def transposed(self) -> bool:
        """Whether the axes are in another order."""
        return self.order != tuple(range(len(self.order)))


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The arrays that two networks have in common.

    Attributes:
        a: arrays of A by name, [*shape]; of its Spec, or the stored ones.
        b: the same of B, under A's names and in A's layout.
        pairs: where they come from.
        spec: of both, if neurons of hidden axes can be matched; its arrays are those of `a`.
        factors: whether the spec is that of whole networks, so that signals can be scaled too.
        by_structure: whether the Specs have the same layers; otherwise names were compared.
        same: stored names in both, of one shape.
        reshaped: (stored name, shape in A, shape in B).
        only_a: stored names.
        only_b: stored names.
        renamed: (name in A, name in B) of arrays that are paired under different names.
        transposed: the same of those whose axes are in another order.
        split: the same of those that are a part of one array in one of the files.
        differences: of the architectures, a line each; none if the Specs have the same layers.
    """

    a: Mapping[str, np.ndarray]
    b: Mapping[str, np.ndarray]
    pairs: tuple[Pair, ...]
    spec: Spec | None
    factors: bool
    by_structure: bool
    same: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    transposed: tuple[tuple[str, str], ...]
    split: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]


def pairs(one: Side, other: Side) -> Pairs:
    """Pairs the arrays of two networks.

    Args:
        one: A.
        other: B.
    """
    shapes = [{n: x.shape for n, x in s.stored.items()} for s in (one, other)]
    alike = [n for n in shapes[0] if shapes[1].get(n) == shapes[0][n]]
    found = _by_structure(one, other) if "opaque" not in (one.level, other.level) else None
    spec, differences = None, ()
    if found is not None:
        spec = _shared(one.spec, other.spec, found)
        a, b = one.params, {p.a: other.params[p.b].transpose(p.order) for p in found}
    else:
        differences = tuple(_differences(one, other))
        a, b, found, spec = _by_name(one, other)
    behaviours = [[_behaviour(x) for x in s.spec.layers] for s in (one, other)]
    whole = spec is not None and not differences and behaviours[0] == behaviours[1]
    sources = [_sources(s) for s in (one, other)]
    links = [(sources[0].get(p.a, p.a), sources[1].get(p.b, p.b), p) for p in found]
    parts = [(x, y) for x, y, p in links if _splits(p, x, y, links)]
    crossed = [(x, y) for x, y, p in links if p.transposed and (x, y) not in parts]
    paired = [{link[i] for link in links} for i in range(2)]
    return Pairs(
        a, b, tuple(found), spec, whole, not differences,
        same=tuple(alike),
        reshaped=tuple(
            (n, s, shapes[1][n]) for n, s in shapes[0].items() if shapes[1].get(n, s) != s
        ),
        only_a=tuple(n for n in shapes[0] if n not in shapes[1] and n not in paired[0]),
        only_b=tuple(n for n in shapes[1] if n not in shapes[0] and n not in paired[1]),
        renamed=tuple(dict.fromkeys((x, y) for x, y, _ in links if x != y and (x, y) not in parts)),
        transposed=tuple(dict.fromkeys(crossed)),
        split=tuple(dict.fromkeys(parts)),
        differences=differences,
    )  # fmt: skip


def conflict(one: Spec, other: Spec) -> bool:
    """Whether layers of two specs of one structure are known to behave differently."""
    for x, y in zip(one.layers, other.layers, strict=True):
        known, theirs = "other" not in (x.activation, y.activation), dict(y.settings)
        if known and (x.activation, x.omega) != (y.activation, y.omega):
            return True
        if x.source != y.source or any(theirs.get(k, v) != v for k, v in x.settings):
            return True
    return False


def _behaviour(layer: Layer) -> tuple:
    return layer.activation, layer.omega, layer.source, layer.settings


def _splits(p: Pair, x: str, y: str, links) -> bool:
    """Whether stored arrays hold different parts of the network."""
    several = lambda names: len(set(names)) > 1
    return (
        bool(p.part or p.part_a)
        or several(b for a, b, _ in links if a == x)
        or several(a for a, b, _ in links if b == y)
    )


def _sources(s: Side) -> dict[str, str]:
    """Array of the Spec -> stored array."""
    return {p.name: p.source for p in s.packing.pieces} if s.packing else {}


def _groups(a: Array) -> tuple[tuple[int, ...], ...]:
    """Positions of an array's axes: of neurons read, of those written, and taps."""
    return a.reads, a.writes, a.taps


def _by_structure(one: Side, other: Side) -> list[Pair] | None:
    """Pairs layer by layer; None if the layers differ."""
    layers = [s.spec.layers for s in (one, other)]
    if len(layers[0]) != len(layers[1]):
        return None
    there, back, out = {}, {}, []
    for x, y in zip(*layers, strict=True):
        theirs = _by_role(x, y)
        if (x.kind, x.level) != (y.kind, y.level) or theirs is None:
            return None
        for a, b in zip(x.arrays, theirs, strict=True):
            if [*map(len, _groups(a))] != [*map(len, _groups(b))]:
                return None
            order = [0] * len(a.axes)
            for mine, theirs in zip(_groups(a), _groups(b), strict=True):
                for i, j in _positions(a, b, mine, theirs, there):
                    order[i] = j
                    p, q = a.axes[i], b.axes[j]
                    if there.setdefault(p, q) != q or back.setdefault(q, p) != p:
                        return None
            if one.spec.shape(a) != tuple(other.spec.shape(b)[j] for j in order):
                return None
            out.append(Pair(a.name, b.name, tuple(order)))
    return out


def _by_role(x: Layer, y: Layer) -> tuple[Array, ...] | None:
    """The arrays of a layer in the order of another's roles; None if the roles differ.

    Formats list a norm's scale, bias, mean and variance in orders of their own.
    """
    roles = [[a.role for a in layer.arrays] for layer in (x, y)]
    if roles[0] == roles[1]:
        return y.arrays
    if sorted(roles[0]) != sorted(roles[1]) or len(set(roles[0])) < len(roles[0]):
        return None
    return tuple(y.arrays[roles[1].index(role)] for role in roles[0])


def _positions(a: Array, b: Array, mine, theirs, there) -> Iterator[tuple[int, int]]:
    """Pairs of positions in a group of axes: those known to be one axis, others in order.

    Channels of a flattened image may come before or after its rows and columns.
    """
    rest = list(theirs)
    for i in (i for i in mine if a.axes[i] in there):
        j = next((j for j in rest if b.axes[j] == there[a.axes[i]]), rest[0])
        rest.remove(j)
        yield i, j
    yield from zip((i for i in mine if a.axes[i] not in there), list(rest), strict=True)


def _axes(one: Spec, other: Spec, found: list[Pair]) -> dict[str, str]:
    """Axis of A -> axis of B, of those that are one in all pairs."""
    arrays = [{a.name: a for a in s.arrays} for s in (one, other)]
    there, back = {}, {}
    for p in found:
        theirs = arrays[1][p.b].axes
        for x, y in zip(arrays[0][p.a].axes, (theirs[j] for j in p.order), strict=True):
            there.setdefault(x, set()).add(y)
            back.setdefault(y, set()).add(x)
    only = lambda x: len(there[x]) == 1 and back[min(there[x])] == {x}
    return {x: min(ys) for x, ys in there.items() if only(x)}


def _shared(one: Spec, other: Spec, found: list[Pair]) -> Spec:
    """A's spec of the paired arrays, with the hidden axes that B has too."""
    axes, outer = _axes(one, other, found), dict(other.nested)
    hidden = [h for h in one.hidden if h in axes and axes[h] in other.hidden]
    around = dict(one.nested)

    def same(h):
        mine, theirs = around.get(h), outer.get(axes[h])
        return (mine is None and theirs is None) or (
            mine in hidden and axes.get(mine) == theirs  # pyrefly: ignore
        )

    hidden = [h for h in hidden if same(h)]
    names = {p.a for p in found}
    kept = [
        dataclasses.replace(x, arrays=tuple(a for a in x.arrays if a.name in names))
        for x in one.layers
    ]
    whole = names == {a.name for a in one.arrays}
    layers: tuple[Layer, ...] = one.layers if whole else tuple(x for x in kept if x.arrays)
    nested = tuple((x, y) for x, y in one.nested if x in hidden and y in hidden)
    return dataclasses.replace(one, layers=layers, hidden=tuple(hidden), nested=nested)


def _by_name(one: Side, other: Side):
    """Arrays of both under one name, their pairs, and the spec if hidden axes are shared."""
    if "opaque" not in (one.level, other.level):
        arrays = [{a.name: a for a in s.spec.arrays} for s in (one, other)]
        shape = lambda i, n: (one, other)[i].spec.shape(arrays[i][n])
        names = [n for n in arrays[0] if n in arrays[1] and shape(0, n) == shape(1, n)]
        if names:
            found = [Pair(n, n, tuple(range(len(arrays[0][n].axes)))) for n in names]
            spec = _shared(one.spec, other.spec, found)
            pick = lambda s: {n: s.params[n] for n in names}
            return pick(one), pick(other), found, spec
    a, b, found = {}, {}, []
    plain = lambda s: {n: x for n, x in s.stored.items() if n not in s.beside}
    ours, theirs = plain(one), plain(other)
    for n, x in ours.items():
        if n not in theirs:
            continue
        order = tuple(range(x.ndim))
        if x.shape != theirs[n].shape:
            order = order[::-1]  # by their values, for shapes alone would be a guess
            y = theirs[n].transpose()
            if x.ndim != 2 or y.shape != x.shape or not np.allclose(x, y, rtol=1e-2):
                continue
        a[n], b[n] = x, theirs[n].transpose(order)
        found.append(Pair(n, n, order))
    for fused, parts in _fused(ours, theirs):
        for name, start, stop in parts:
            a[name], b[name] = ours[fused][start:stop], theirs[name]
            order = tuple(range(ours[fused].ndim))
            found.append(Pair(fused, name, order, part_a=(start, stop)))
    for fused, parts in _fused(theirs, ours):
        for name, start, stop in parts:
            a[name], b[name] = ours[name], theirs[fused][start:stop]
            found.append(Pair(name, fused, tuple(range(ours[name].ndim)), part=(start, stop)))
    return a, b, found, None


def _fused(ours, theirs) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Arrays of ours that hold three of theirs: the name, and (name, first row, last) of each."""
    for name, x in ours.items():
        words = re.split(r"([./])", name)
        at = [i for i, w in enumerate(words) if w in FUSED]
        if name in theirs or not at or not x.ndim:
            continue
        head, last = "".join(words[: at[-1]]), words[at[-1]]
        leaf = last.removeprefix("in_proj_") if last.startswith("in_proj_") else ""
        tail = f".{leaf}" if leaf else "".join(words[at[-1] + 1 :])
        for qkv in QKV:
            parts = [head + w + tail for w in qkv]
            if not all(p in theirs and p not in ours for p in parts):
                continue
            shapes = [theirs[p].shape for p in parts]
            stops = np.cumsum([s[0] for s in shapes]).tolist()
            if stops[-1] == len(x) and all(s[1:] == x.shape[1:] for s in shapes):
                yield name, list(zip(parts, [0, *stops[:-1]], stops, strict=True))
                break


def _differences(one: Side, other: Side) -> Iterator[str]:
    """Differences between two architectures, a line each."""
    if one.level == "opaque" or other.level == "opaque":
        opaque = " and ".join(x for x, s in (("A", one), ("B", other)) if s.level == "opaque")
        yield f"the structure of {opaque} is not known, so arrays are compared by name"
        return
    if one.family != other.family:
        yield f"A is a {one.family}, B a {other.family}"
    x, y = one.spec.layers, other.spec.layers
    if len(x) != len(y):
        yield f"A has {checks.counted(len(x), 'layer')}, B {len(y)}"
    lines = []
    for a, b in zip(x, y, strict=False):
        if a.kind != b.kind:
            lines.append(f"{a.name}: {a.kind} in A, {b.name}: {b.kind} in B")
            break
        theirs = _by_role(a, b)
        if theirs is None:
            roles = [", ".join(z.role for z in layer.arrays) for layer in (a, b)]
            lines.append(f"{a.name}: {roles[0]} in A, {roles[1]} in B")
            continue
        for p, q in zip(a.arrays, theirs, strict=True):
            shapes = one.spec.shape(p), other.spec.shape(q)
            if sorted(shapes[0]) != sorted(shapes[1]):
                lines.append(f"{p.name}: {list(shapes[0])} in A, {list(shapes[1])} in B")
                break
    yield from lines[:LINES]
    if lines[LINES:]:
        yield f"and {len(lines) - LINES} more layers"


def size(arrays: Mapping[str, np.ndarray]) -> int:
    """How many numbers arrays have in all."""
    return sum(math.prod(x.shape) for x in arrays.values())

"""Signals, and which of them can be scaled.

A *signal* is the values of the neurons of a place between two layers. It can be multiplied by a
factor, one for each neuron, if all arrays that write it are multiplied and all that read it
divided by that factor, and if the activations and norms in between commute with it (Godfrey et
al., 2022; Kalogeropoulos et al., 2024):

    z = W x + b,  y = f(z),  y' = V y        W, b, V  ->  s W, s b, V / s

    f                      s         because
    tanh, sin              -1, 1     f(-z) = -f(z)
    relu, leaky_relu       s > 0     f(s z) = s f(z)
    none                   s != 0
    gelu, gelu_tanh, silu  1
    other                  1          (an activation that is not known)
    sigmoid                1         (1 - sigmoid(z) = sigmoid(-z) would move the next bias)
    sin, with a bias       1, -1     b + k pi / omega gives y the sign (-1)^k, and leaves z's

    convolution   a channel has one factor, whatever the taps and positions
    maximum       over positions or in a window: s > 0
    residual      signals that are added have one factor, which all of them must admit
    one axis      so have places of the same axes without a residual: a recurrence
    BatchNorm     one factor before it (kernel, bias, mean; its scale is divided) and one after
                  it (scale, bias). The variance keeps its value: epsilon is added to it
    LayerNorm     before it only one sign for all that is normalised together, for the mean
    GroupNorm     depends on all of it and on its size; after it one factor each (scale, bias)
    attention     values have one; queries have one, and keys its inverse
    grids         features have one

Inputs, outputs and neurons with an identity have none; the signals that a layer of unknown
settings reads and writes have none either. Not here: symmetries that are no factors (a mean and
the bias before it can move together, the bias of keys at will), and the phase shifts that remain
to a sine whose output must keep its sign, before a maximum or in a recurrence (even ones, or odd
with a flip).
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from wsjax.networks import Array, Layer, Spec
from wsjax.views.wiring import Join, wiring

ODD, HOMOGENEOUS = ("tanh", "sin"), ("relu", "leaky_relu")
TABLES = ("grid", "triplane", "hash")


@dataclasses.dataclass(frozen=True)
class Factor:
    """The factors of a signal.

    Attributes:
        axes: along which they differ; none if all its neurons have one in common.
        sign: whether -1 is one of them.
        scale: whether all positive numbers are among them.
    """

    axes: tuple[str, ...]
    sign: bool
    scale: bool


@dataclasses.dataclass(frozen=True)
class Phase:
    """Phase shifts of a sine.

    Attributes:
        axes: of its neurons.
        step: added to the bias by one shift, pi / omega.
    """

    axes: tuple[str, ...]
    step: float


@dataclasses.dataclass(frozen=True)
class Term:
    """A factor of an array.

    Attributes:
        name: of a factor or, with power 0, of phase shifts k, for (-1)^k.
        power: 1, -1 or 0.
        at: for each of its axes, the position in the array.
    """

    name: str
    power: int
    at: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ScalingGroup:
    """The scaling symmetries of a Spec, in order of computation. A signal has its layer's name.

    Attributes:
        factors: signal -> its factors; signals without factors are left out.
        phases: sine layer -> its phase shifts.
        terms: array -> its factors.
        shifts: bias -> the phase shifts that move it, after it was multiplied.
        incoming: signal -> the arrays that write it, with its factor's place in each, but not
            those that read a signal settled later.
    """

    factors: Mapping[str, Factor]
    phases: Mapping[str, Phase]
    terms: Mapping[str, tuple[Term, ...]]
    shifts: Mapping[str, Term]
    incoming: Mapping[str, tuple[tuple[Array, Term], ...]]


@functools.lru_cache(maxsize=256)
def scaling_group(spec: Spec) -> ScalingGroup:
    """The factors of a network's signals, and the phase shifts of its sines.

    Raises:
        ValueError: two layers have one name, or the spec has no `wiring`.

    >>> from wsjax import architectures
    >>> scaling_group(architectures.mlp([2, 8, 1], "relu")).factors
    {'Dense_0': Factor(axes=('h0',), sign=False, scale=True)}
    """
    names = collections.Counter(layer.name for layer in spec.layers)
    if twice := [n for n, count in names.items() if count > 1]:
        raise ValueError(f"expected layers of different names, got {twice} more than once")
    without = frozenset()
    while (search := _Search(spec, without)).clash:
        without |= search.clash
    return search.result()


class _Signal(NamedTuple):
    node: int
    shift: Join | None = None  # the bias that moves it and nothing else


class _Search:
    """A walk along the forward pass. Nodes are factors; equal ones are joined.

    A node is equal to its parent but for the phase shifts in `parity`; a root is the first node
    of all that are equal. Sines that would need phase shifts to be even are in `clash`.
    """

    def __init__(self, spec: Spec, without: frozenset[str]):
        self.spec, self.wiring, self.without = spec, wiring(spec), without
        self.nodes, self.parent, self.parity = [], [], []
        self.limits = []  # (node, sign, scale, axes or None for all)
        self.terms = {a.name: [] for a in spec.arrays}  # (node, power, positions)
        self.shifts: dict[str, tuple[Join, Phase]] = {}
        self.clash = frozenset()
        self.at = {-1: {}}  # level -> place -> signal
        for p, place in enumerate(self.wiring.places):
            if place.level < 0:
                self.at[-1][p] = self.new("input", p)
        joins = {}
        for j in self.wiring.joins:
            joins.setdefault(j.layer, []).append(j)
        for level, layers in itertools.groupby(enumerate(spec.layers), lambda x: x[1].level):
            self.level(level, [(layer, n, joins.get(n, [])) for n, layer in layers])
        for p in self.wiring.outputs:
            self.limit(self.read(p, max(self.at)))
        self.tie()
        self.free = self.solve()

    def level(self, level, layers) -> None:
        before = dict(self.at[max(self.at)])
        here = self.at.setdefault(level, {})
        for layer, _, joins in layers:
            if joins:
                place, signal = self.layer(layer, joins, here)
                here[place] = self.plus(here[place], signal) if self.adds(joins, here) else signal
            elif layer.kind != "residual":  # acts on a signal that is not known
                for signal in (before | here).values():
                    self.limit(signal)
        for layer, number, _ in layers:
            for n, start, end in self.wiring.residuals:
                if n == number:
                    own = here.get(end) or self.read(end, level)._replace(shift=None)
                    start = self.read(start, layer.source)._replace(shift=None)
                    here[end] = self.finish(layer, self.plus(own, start), end)

    def adds(self, joins, here) -> bool:
        kernels = [j for j in joins if j.reads is not None]
        return bool(kernels) and kernels[-1].writes in here

    def layer(self, layer: Layer, joins: list[Join], here) -> tuple[int, _Signal]:
        """The place that a layer writes or acts on, and the signal that it leaves."""
        top = layer.level - 1 if layer.source is None else layer.source
        kernels = [j for j in joins if j.reads is not None]
        target = (kernels or joins)[-1].writes
        kind = dict(layer.settings).get("embedding")
        if layer.kind == "attention":
            signal = self.attention(layer, joins, target, top)
        elif kernels or (layer.kind == "embedding" and kind in TABLES):
            signal = self.linear(layer, joins, target, top)
        elif target not in here | self.latest(top):  # it makes the neurons that it acts on
            signal = self.unknown(layer, joins, target, top)
        else:
            signal = here.get(target) or self.read(target, top)
            if layer.kind == "norm":
                signal = self.norm(layer, joins, target, signal)
            elif layer.kind == "embedding" and kind in ("token", "positions"):
                self.write(joins, signal.node)
                signal = signal._replace(shift=None)
            else:
                self.limit(signal)
        return target, self.finish(layer, signal, target)

    def linear(self, layer, joins, target, top) -> _Signal:
        roles, before = {j.array.role for j in joins}, self.latest(top)
        inside = any(j.reads is not None and j.reads not in before for j in joins)  # a recurrence
        if inside or {j.writes for j in joins} != {target} or not roles <= {"kernel", "bias"}:
            return self.unknown(layer, joins, target, top)
        signal = self.new(layer.name, target)
        self.write(joins, signal.node)
        again = any(j.reads == target for j in joins)  # a recurrence within one layer
        for j in joins:
            if j.reads is not None:
                read = signal if j.reads == target else self.read(j.reads, top)
                self.terms[j.array.name].append((read.node, -1, j.read_axes))
        return signal if again else signal._replace(shift=_bias(joins))

    def attention(self, layer, joins, target, top) -> _Signal:
        parts = []  # of queries, keys, values, output: a kernel and the bias after it
        for j in joins:
            parts += [[]] if j.reads is not None or not parts else []
            parts[-1].append(j)
        writes = [{j.writes for j in part} for part in parts]
        apart = any(len(w) > 1 or len(part) > 2 for w, part in zip(writes, parts, strict=True))
        if len(parts) != 4 or apart or writes[0] != writes[1]:
            return self.unknown(layer, joins, target, top)
        query, key, value, last = parts
        dots = self.new(f"{layer.name}/query", query[0].writes)
        values = self.new(f"{layer.name}/value", value[0].writes)
        out = self.new(layer.name, target)
        self.write(query, dots.node)
        self.write(key, dots.node, -1)
        self.write(value, values.node)
        self.write(last, out.node)
        for (j, *_), read in ((query, None), (key, None), (value, None), (last, values)):
            signal = read or self.read(j.reads, top)
            self.terms[j.array.name].append((signal.node, -1, j.read_axes))
        return out._replace(shift=_bias(last))

    def norm(self, layer, joins, target, before) -> _Signal:
        settings, roles = dict(layer.settings), {j.array.role for j in joins}
        stored = roles & {"mean", "variance"}
        kind = settings.get("norm", "batch" if stored else "unknown")
        after = self.new(layer.name, target) if "scale" in roles else before
        if kind != "batch":
            axes = self.wiring.places[target].axes
            whole = settings.get("groups") == dict(self.spec.sizes)[axes[0]]
            common = axes[:1] if kind == "group" and whole else ()
            self.limit(before, sign=kind in ("layer", "group"), axes=common)
        for j in joins:
            if j.array.role == "mean":
                self.write([j], before.node)
            elif j.array.role != "variance":
                self.write([j], after.node)
            if j.array.role == "scale":
                self.terms[j.array.name].append((before.node, -1, j.write_axes))
        return after._replace(shift=_bias(joins))

    def unknown(self, layer, joins, target, top) -> _Signal:
        """Fixes all that a layer reads and writes, places inside it included."""
        signals = self.latest(top)
        for j in joins:
            if j.reads in signals:
                self.limit(signals[j.reads])
        here = self.at.setdefault(layer.level, {})
        for place in {j.writes for j in joins} | {target}:
            here[place] = self.new(layer.name, place)
            self.limit(here[place])
        return here[target]

    def finish(self, layer: Layer, signal: _Signal, place: int) -> _Signal:
        """The signal after a layer's activation and pooling."""
        settings, f = dict(layer.settings), layer.activation
        if f in ODD:
            self.limit(signal, sign=True)
        elif f in HOMOGENEOUS:
            self.limit(signal, scale=True)
        elif f != "none":
            self.limit(signal)
        axes = self.wiring.places[place].axes
        shifts = f == "sin" and layer.omega and layer.name not in self.without
        if shifts and signal.shift and set(axes) & set(self.spec.hidden):
            self.shifts[layer.name] = signal.shift, Phase(axes, math.pi / layer.omega)
            out = self.new(layer.name, place)
            self.join(out.node, signal.node, frozenset([layer.name]))
            signal = out
        if "max_pool" in settings or settings.get("pool") == "max":
            self.limit(signal, scale=True)
        moved = f != "none" or "max_pool" in settings or "pool" in settings
        return signal._replace(shift=None) if moved else signal

    def plus(self, one: _Signal, two: _Signal) -> _Signal:
        self.join(one.node, two.node)
        return _Signal(one.node, one.shift or two.shift)

    def new(self, name: str, place: int) -> _Signal:
        self.nodes.append((name, place))
        self.parent.append(len(self.parent))
        self.parity.append(frozenset())
        signal = _Signal(len(self.parent) - 1)
        if not set(self.wiring.places[place].axes) & set(self.spec.hidden):
            self.limit(signal)
        return signal

    def latest(self, top: int) -> dict[int, _Signal]:
        """The latest signal of every place, up to a level."""
        return {p: s for k in sorted(self.at) if k <= top for p, s in self.at[k].items()}

    def read(self, place: int, top: int) -> _Signal:
        return self.latest(top)[place]

    def write(self, joins, node: int, power: int = 1) -> None:
        for j in joins:
            self.terms[j.array.name].append((node, power, j.write_axes))

    def limit(self, signal, *, sign=False, scale=False, axes=None) -> None:
        """Restricts a signal to signs, to positive scales, and to factors along some axes."""
        self.limits.append((signal.node, sign, scale, axes))

    def find(self, node: int) -> tuple[int, frozenset[str]]:
        parity = frozenset()
        while self.parent[node] != node:
            parity ^= self.parity[node]
            node = self.parent[node]
        return node, parity

    def join(self, one: int, two: int, phases: frozenset[str] = frozenset()) -> None:
        """Makes two factors equal, but for the signs of phase shifts."""
        (one, a), (two, b) = self.find(one), self.find(two)
        phases = phases ^ a ^ b
        if one == two:
            self.clash |= phases
        first, later = min(one, two), max(one, two)
        if first != later:
            self.parent[later], self.parity[later] = first, phases

    def tie(self) -> None:
        """Joins the signals of places that have the same axes and no residual in between."""
        places, group = self.wiring.places, list(range(len(self.wiring.places)))
        for _, start, end in self.wiring.residuals:
            old, new = group[start], group[end]
            group = [new if g == old else g for g in group]
        for p, q in itertools.combinations(range(len(places)), 2):
            if set(places[p].axes) != set(places[q].axes) or group[p] == group[q]:
                continue
            nodes = [n for n, (_, place) in enumerate(self.nodes) if place in (p, q)]
            for node in nodes:
                self.join(nodes[0], node)
                if places[p].axes != places[q].axes:
                    self.limit(_Signal(node))

    def solve(self) -> dict[int, tuple[bool, bool, tuple[str, ...]]]:
        """For each root, the kinds of its factors and the axes along which they differ."""
        axes = lambda node: self.wiring.places[self.nodes[node][1]].axes
        free = {n: (True, True, axes(n)) for n, p in enumerate(self.parent) if n == p}
        for node, sign, scale, along in self.limits:
            root, parity = self.find(node)
            may_sign, may_scale, may_along = free[root]
            common = along is not None and set(along) != set(axes(node))
            if common:
                may_along = tuple(a for a in may_along if a in along)
            free[root] = may_sign and sign, may_scale and scale, may_along
            if common or not sign:
                self.clash |= parity
        return {n: f for n, f in free.items() if f[0] or f[1]}

    def result(self) -> ScalingGroup:
        name = lambda root: self.nodes[root][0]
        terms, incoming = {}, {name(root): [] for root in self.free}
        for a in self.spec.arrays:
            powers, signs = collections.Counter(), collections.Counter()
            for node, power, at in self.terms[a.name]:
                root, parity = self.find(node)
                for phase in parity:
                    signs[phase, at] += 1
                if root in self.free:
                    powers[name(root), self.along(root, at)] += power
            out = [Term(n, power, at) for (n, at), power in powers.items() if power]
            terms[a.name] = (*out, *(Term(n, 0, at) for (n, at), odd in signs.items() if odd % 2))
            roots = [(self.find(n)[0], power, at) for n, power, at in self.terms[a.name]]
            read = [root for root, power, _ in roots if power < 0 and root in self.free]
            for root, power, at in roots:
                settled = power > 0 and root in self.free and all(r < root for r in read)
                if settled and a.role in ("kernel", "bias", "scale"):
                    incoming[name(root)].append((a, Term(name(root), 1, self.along(root, at))))
        order = sorted(self.free)
        return ScalingGroup(
            {name(r): Factor(self.free[r][2], *self.free[r][:2]) for r in order},
            {n: phase for n, (_, phase) in self.shifts.items()},
            terms,
            {j.array.name: Term(n, 0, j.write_axes) for n, (j, _) in self.shifts.items()},
            {name(r): tuple(incoming[name(r)]) for r in order},
        )

    def along(self, root: int, at: tuple[int, ...]) -> tuple[int, ...]:
        """Of positions for each axis of a place, those along which its factors differ."""
        axes = self.wiring.places[self.nodes[root][1]].axes
        return tuple(i for i, a in zip(at, axes, strict=True) if a in self.free[root][2])


def _bias(joins: list[Join]) -> Join | None:
    """The bias that adds one number to each neuron of a signal."""
    biases = [j for j in joins if j.array.role == "bias" and not j.positions]
    return biases[-1] if biases else None

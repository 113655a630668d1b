"""The wiring of a `Spec`: the neurons that each array joins.

A *place* is a set of neurons at one depth, named by the axes that index them. Every array
feeds one place, and a kernel also reads one:

    Dense_0/kernel ("x", "h0")              reads place 0 = ("x",)    writes place 1 = ("h0",)
    Dense_0/bias   ("h0",)                                            feeds  place 1
    Dense_1/kernel ("h0", "y")              reads place 1             writes place 2 = ("y",)

A kernel reads the latest earlier place whose axes are among those it reads; its other axes
(rows and columns of a flattened image) are positions, like a convolution's taps. A layer
without such a kernel (norms, positional embeddings) acts on the neurons of an earlier one.
"""

import dataclasses
import functools
import itertools
import math

from wsjax.networks import Array, Layer, Spec


@dataclasses.dataclass(frozen=True)
class Place:
    """Neurons at one depth.

    Attributes:
        axes: that index them; several for attention heads and groups of channels.
        level: of the layer that makes them; -1 for the network's inputs.
        kind: of that layer; "input" for inputs.
        slot: of the kernel that makes them, as in `Join`: queries 0, values 2.
        activation: that they go through; "none" inside a layer.
    """

    axes: tuple[str, ...]
    level: int
    kind: str
    slot: int
    activation: str


@dataclasses.dataclass(frozen=True)
class Join:
    """The places that one array joins.

    Attributes:
        array: the array.
        layer: position of its layer in the spec.
        slot: its number among the arrays of its role, in layers of its kind at its level:
            of queries and keys, of a block's last convolution and its shortcut, of the tables
            of a hash grid.
        reads: number of the place it reads; None if it reads nothing.
        read_axes: for each axis of that place, its position in the array.
        writes: number of the place it feeds.
        write_axes: likewise.
    """

    array: Array
    layer: int
    slot: int
    reads: int | None
    read_axes: tuple[int, ...]
    writes: int
    write_axes: tuple[int, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Axes of the array that index no neuron: taps, rows of a flattened image."""
        neurons = {*self.read_axes, *self.write_axes}
        return tuple(i for i in range(len(self.array.axes)) if i not in neurons)


@dataclasses.dataclass(frozen=True)
class Wiring:
    """Places and the arrays that join them.

    Attributes:
        places: in order of computation, inputs first.
        joins: one for each of `spec.arrays`, in that order.
        residuals: (layer, place it starts from, place it ends at).
        outputs: the places the network's output consists of.
    """

    places: tuple[Place, ...]
    joins: tuple[Join, ...]
    residuals: tuple[tuple[int, int, int], ...]
    outputs: tuple[int, ...]


@functools.lru_cache(maxsize=256)
def wiring(spec: Spec) -> Wiring:
    """The places of a network, and the arrays that join them.

    Raises:
        ValueError: a kernel reads neurons that no earlier layer writes, or feeds none; a
            vector has nothing to act on; a residual adds different neurons, or neurons to
            themselves; a part of the network is connected to nothing. The layer is named.
    """
    search = _Search(spec)
    for level, layers in itertools.groupby(enumerate(spec.layers), lambda x: x[1].level):
        search.level(level, list(layers))
    return search.result()


def wired(spec: Spec) -> bool:
    """Whether a Spec has a `wiring`."""
    try:
        wiring(spec)
    except ValueError:
        return False
    return True


def ends(spec: Spec) -> tuple[int, int]:
    """The numbers of a network's inputs and outputs."""
    wires, sizes = wiring(spec), dict(spec.sizes)
    count = lambda places: sum(math.prod(sizes[a] for a in p.axes) for p in places)
    inputs = [p for p in wires.places if p.level == -1]
    return count(inputs), count(wires.places[i] for i in wires.outputs)


class _Search:
    """Places so far; `out` has, by level, the numbers of the places it gives out."""

    def __init__(self, spec: Spec):
        self.spec, self.places, self.joins, self.residuals = spec, [], {}, []
        self.out: dict[int, list[int]] = {-1: []}

    def level(self, level: int, layers: list[tuple[int, Layer]]) -> None:
        made: dict[tuple[str, ...], int] = {}  # by axes, at this level
        slots: dict[tuple[str, str], int] = {}  # arrays so far at this level, by kind and role
        inside: set[int] = set()  # places within one layer
        for number, layer in layers:
            if layer.kind != "residual":
                own = {}
                for a in layer.arrays:
                    own[a.name] = slots.get((layer.kind, a.role), 0)
                    slots[layer.kind, a.role] = own[a.name] + 1
                self._layer(number, layer, own, made, inside)
        outer = [p for p in made.values() if p not in inside]
        self.out[level] = outer or self._at(level - 1)
        for number, layer in layers:
            if layer.kind == "residual":
                self._residual(number, layer)

    def _at(self, level: int) -> list[int]:
        """The places that the deepest level up to this one gives out."""
        return self.out[max(k for k in self.out if k <= level)]

    def _layer(self, number, layer, slots, made, inside) -> None:
        top = layer.level - 1 if layer.source is None else layer.source
        own: dict[tuple[str, ...], int] = {}
        later = []
        for a in layer.arrays:
            if a.reads and (place := self._find(a, top)) is None:
                later.append(a)
            elif a.reads:
                self._kernel(number, layer, a, slots[a.name], place, own, made)
        for a in later:
            place = self._within(a, own)
            if place is None:
                axes = [a.axes[i] for i in a.reads]
                raise ValueError(
                    f"{layer.name}: {a.name} reads neurons {axes} that no layer up to level "
                    f"{top} writes; expected one of {[self.places[p].axes for p in self._at(top)]}"
                )
            inside.update(own.values())
            self._kernel(number, layer, a, slots[a.name], place, own, made)
        if later:
            written = {self.joins[a.name].writes for a in later}
            inside.difference_update(written)
            for p in set(own.values()) - written:
                self.places[p] = dataclasses.replace(self.places[p], activation="none")
        for a in layer.arrays:
            if not a.reads:
                self._vector(number, layer, a, slots[a.name], top, own, made)

    def _find(self, a: Array, top: int) -> int | None:
        """The latest place, up to a level, whose axes are among those the array reads."""
        axes = {a.axes[i] for i in a.reads}
        for level in sorted((k for k in self.out if k <= top), reverse=True):
            fits = [p for p in self.out[level] if set(self.places[p].axes) <= axes]
            if fits:
                return max(fits, key=lambda p: len(self.places[p].axes))
        if axes & set(self.spec.hidden):
            return None
        inputs = tuple(a.axes[i] for i in a.reads)
        self.out[-1].append(self._new(Place(inputs, -1, "input", 0, "none")))
        return self.out[-1][-1]

    def _within(self, a: Array, own) -> int | None:
        axes = {a.axes[i] for i in a.reads}
        fits = [p for p in own.values() if set(self.places[p].axes) <= axes]
        return fits[-1] if fits else None

    def _new(self, place: Place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def _kernel(self, number, layer, a, slot, place, own, made) -> None:
        axes = tuple(a.axes[i] for i in a.writes)
        if not axes:
            raise ValueError(f"{layer.name}: {a.name} reads {a.axes} and writes no neurons")
        if axes in made and self.places[made[axes]].activation != layer.activation:
            raise ValueError(
                f"{layer.name}: adds to neurons {axes} of level {layer.level} with activation "
                f"{layer.activation!r}, where another layer has "
                f"{self.places[made[axes]].activation!r}; expected one, or levels of their own"
            )
        if axes not in made:
            made[axes] = self._new(Place(axes, layer.level, layer.kind, slot, layer.activation))
        own[axes] = made[axes]
        read_axes = _positions(a, a.reads, self.places[place].axes)
        self.joins[a.name] = Join(a, number, slot, place, read_axes, made[axes], a.writes)

    def _vector(self, number, layer, a, slot, top, own, made) -> None:
        axes = tuple(a.axes[i] for i in a.writes)
        match = lambda places: [p for p in places if set(self.places[p].axes) == set(axes)]
        place = next(iter([*match(own.values()), *match(made.values())]), None)
        if place is None:
            levels = sorted((k for k in self.out if k <= top), reverse=True)
            place = next((p for k in levels for p in match(self.out[k])), None)
        plain = not axes or layer.kind != "embedding"
        if place is None and not set(axes) & set(self.spec.hidden) and plain:
            self.out[-1].append(self._new(Place(axes, -1, "input", 0, "none")))
            place = self.out[-1][-1]
        if place is None and layer.kind == "embedding" and axes:
            made[axes] = place = self._new(
                Place(axes, layer.level, layer.kind, slot, layer.activation)
            )
        if place is None:
            raise ValueError(
                f"{layer.name}: {a.name} acts on neurons {axes} that no layer up to level {top} "
                f"writes; expected one of {[self.places[p].axes for p in self._at(top)]}"
            )
        write_axes = _positions(a, a.writes, self.places[place].axes)
        self.joins[a.name] = Join(a, number, slot, None, (), place, write_axes)
        if place not in own.values():
            self._activate(place, layer)

    def _activate(self, place, layer) -> None:
        """Neurons that a layer acts on go through its activation."""
        if layer.activation != "none":
            self.places[place] = dataclasses.replace(
                self.places[place], activation=layer.activation
            )

    def _residual(self, number, layer) -> None:
        start, end = self._at(layer.source), self.out[layer.level]
        pairs = [(s, e) for s in start for e in end if self.places[s].axes == self.places[e].axes]
        if not pairs:
            raise ValueError(
                f"{layer.name}: cannot add neurons {[self.places[p].axes for p in start]} of "
                f"level {layer.source} to {[self.places[p].axes for p in end]}"
            )
        if alone := set(end) - {e for _, e in pairs}:
            raise ValueError(
                f"{layer.name}: adds nothing to {[self.places[p].axes for p in alone]} of level "
                f"{layer.level}; expected all neurons of the level to be added to"
            )
        for s, e in pairs:
            if s == e:
                raise ValueError(
                    f"{layer.name}: adds the neurons {self.places[s].axes} of level "
                    f"{layer.source} to themselves, a cycle; expected a kernel in between"
                )
            self.residuals.append((number, s, e))
            self._activate(e, layer)

    def result(self) -> Wiring:
        # inputs are added when they are first read; they come first
        order = sorted(range(len(self.places)), key=lambda p: self.places[p].level)
        new = {old: i for i, old in enumerate(order)}
        joins = [
            dataclasses.replace(
                j,
                reads=None if j.reads is None else new[j.reads],
                writes=new[j.writes],
            )
            for j in (self.joins[a.name] for a in self.spec.arrays)
        ]
        out = Wiring(
            tuple(self.places[p] for p in order),
            tuple(joins),
            tuple((n, new[s], new[e]) for n, s, e in self.residuals),
            tuple(new[p] for p in self.out[max(self.out)]),
        )
        _assert_connected(out, self.spec)
        return out


def _positions(a: Array, among: tuple[int, ...], axes: tuple[str, ...]) -> tuple[int, ...]:
    """For each axis name, its position in the array."""
    return tuple(next(i for i in among if a.axes[i] == x) for x in axes)


def _assert_connected(wires: Wiring, spec: Spec) -> None:
    """Every hidden place is reached from every other, and used.

    Fixed neurons may be an output beside the last, or numbers that no neuron has alone. Those
    whose axes another place has too are joined to it: by a tie, as in a recurrence, or by the
    block that they weight, such as an expert.
    """
    hidden, axes = set(spec.hidden), [set(p.axes) for p in wires.places]
    fixed = {p for p, own in enumerate(axes) if not own & hidden}
    group = list(range(len(wires.places)))

    def root(p):
        while group[p] != p:
            p = group[p]
        return p

    used = {*wires.outputs, *fixed, *(s for _, s, _ in wires.residuals)}
    elsewhere = lambda p: any(axes[p] <= own for q, own in enumerate(axes) if q != p)
    used |= {p for p in range(len(axes)) if elsewhere(p)}
    used |= {j.reads for j in wires.joins}
    by_layer = {}
    for j in wires.joins:
        by_layer.setdefault(j.layer, []).append(j)
    for joins in by_layer.values():
        places = [p for j in joins for p in (j.reads, j.writes) if p is not None]
        for p in places:
            group[root(p)] = root(places[0])
        if spec.layers[joins[0].layer].kind == "attention":  # queries and keys feed a softmax
            used.update(places)
    for _, s, e in wires.residuals:
        group[root(s)] = root(e)
    names = {}
    for j in wires.joins:
        names.setdefault(j.writes, spec.layers[j.layer].name)
    groups: dict[int, list[int]] = {}
    for p in range(len(wires.places)):
        groups.setdefault(root(p), []).append(p)
    for own in groups.values():
        ends = [wires.places[p] for p in own if p in fixed]
        inputs = {p.axes for p in ends if p.level < 0}
        # numbers that no neuron has alone, and maps of positions, are beside the network
        if {p.axes for p in ends} == inputs and (len(own) == 1 or len(ends) > 1):
            names = {p: n for p, n in names.items() if p not in own}
    if lost := [p for p in names if p not in used]:
        raise ValueError(
            f"{names[lost[0]]}: nothing reads its neurons {wires.places[lost[0]].axes}; expected "
            "a later layer to, or the network's output to consist of them"
        )
    if parts := [p for p in names if root(p) != root(next(iter(names)))]:
        raise ValueError(
            f"{names[parts[0]]}: not connected to {names[next(iter(names))]}; expected one network"
        )


def check_positions(wires: Wiring, spec: Spec) -> None:
    """Raises a ValueError if a hidden axis is a position of an array.

    Positions have numbers in graphs, which a permutation would change: the groups of queries that
    share a head of keys, where a kernel reads values by heads alone.
    """
    for j in wires.joins:
        lost = [j.array.axes[i] for i in j.positions if j.array.axes[i] in spec.hidden]
        if lost := [a for a in lost if dict(spec.sizes)[a] > 1]:
            places = [wires.places[p].axes for p in (j.reads, j.writes) if p is not None]
            raise ValueError(
                f"{spec.layers[j.layer].name}: {j.array.name} {j.array.axes} has the hidden axes "
                f"{lost} as positions; expected them among the neurons that it joins, {places}"
            )

"""Networks as data.

A network is a flat dict of arrays. A `Spec` states once what the arrays mean:
the layers in order of computation, and for each array of a layer the names of
its axes. Axes that share a name index the same neurons.

    params = {"Dense_0/kernel": [1, 32],     "Dense_0/bias": [32],  ...}
    axes   = {"Dense_0/kernel": ("x", "h0"), "Dense_0/bias": ("h0",), ...}

A kernel *reads* the neurons of some axes and *writes* those of others; what
it neither reads nor writes is a tap (a position of a convolution's window):

    dense          ("x", "h0")                 reads x        writes h0
    convolution    ("row", "col", "c0", "c1")  reads c0       writes c1    taps row, col
    bias, scale    ("h0",)                                    writes h0

Everything else in this library is derived from a Spec: symmetries, chunks,
graphs, statistics. Leading axes of a params array are batch axes: a zoo of n
networks is the same dict with every array [n, ...].
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks

Params = Mapping[str, jax.Array]
AnyArray = TypeVar("AnyArray", jax.Array, np.ndarray)

KINDS = ("dense", "conv", "norm", "attention", "embedding", "residual")
ROLES = ("kernel", "bias", "scale", "mean", "variance")
ACTIVATIONS = ("none", "relu", "tanh", "gelu", "sin", "leaky_relu", "silu", "sigmoid")

Setting = tuple[str, object]  # name and hashable value: ("stride", (2, 2))


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a layer.

    Attributes:
        name: its key in `Params`.
        role: one of `ROLES`.
        axes: the name of each axis, in storage order.
        reads: positions in `axes` of the neurons it takes in.
        writes: positions in `axes` of the neurons it feeds.
    """

    name: str
    role: str
    axes: tuple[str, ...]
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()

    @property
    def taps(self) -> tuple[int, ...]:
        """Positions of the axes that are neither read nor written."""
        return tuple(i for i in range(len(self.axes)) if i not in self.reads + self.writes)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer: the arrays that are applied together, and the activation after them.

    Attributes:
        name: as in the params' keys.
        kind: one of `KINDS`. A "residual" has no arrays: it adds the output of level
            `source` to that of its own.
        level: depth in the order of computation, from 0; layers at one depth share it,
            and their outputs are added.
        arrays: what it stores.
        activation: one of `ACTIVATIONS`, after the layer.
        omega: factor inside the activation, `sin(omega * x)`.
        source: the level whose output it takes in; the one before its own if None. The
            network's input is level -1.
        settings: how it computes, beyond its arrays: ("stride", (2, 2)), ("pool", "mean").
            `architectures` lists those that exist.
    """

    name: str
    kind: str
    level: int
    arrays: tuple[Array, ...] = ()
    activation: str = "none"
    omega: float = 1.0
    source: int | None = None
    settings: tuple[Setting, ...] = ()


@dataclasses.dataclass(frozen=True)
class Spec:
    """The meaning of a network's arrays. Hashable, so static under `jit`.

    Attributes:
        layers: in order of computation.
        sizes: (axis name, number of neurons).
        hidden: the axes whose neurons can be permuted without a change of the function.
            All others (inputs, outputs, taps) are fixed.
        nested: (inner, outer) hidden axes. Within each neuron of `outer`, the neurons of
            `inner` have a permutation of their own: the dimensions within each attention
            head, the channels within each group of a GroupNorm.

    Raises:
        ValueError: the layers name an axis without a size, an unknown kind or role, one
            array twice, or an axis as read and written, or are not in the order of their
            levels; every mistake is listed.
    """

    layers: tuple[Layer, ...]
    sizes: tuple[tuple[str, int], ...]
    hidden: tuple[str, ...]
    nested: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        sizes, seen, wrong, depth = dict(self.sizes), set(), [], 0
        for layer in self.layers:
            if layer.kind not in KINDS:
                wrong.append(f"{layer.name}: kind {layer.kind!r} is not one of {KINDS}")
            if layer.activation not in ACTIVATIONS:
                wrong.append(
                    f"{layer.name}: activation {layer.activation!r} is not one of {ACTIVATIONS}"
                )
            if layer.kind == "residual" and (layer.source is None or layer.arrays):
                wrong.append(f"{layer.name}: a residual has a source and no arrays")
            if layer.source is not None and not -1 <= layer.source < layer.level:
                wrong.append(
                    f"{layer.name}: source {layer.source} is not a level from -1 to "
                    f"{layer.level - 1}"
                )
            if layer.level < depth:
                wrong.append(f"{layer.name}: level {layer.level} comes after level {depth}")
            depth = layer.level
            for a in layer.arrays:
                if a.role not in ROLES:
                    wrong.append(f"{a.name}: role {a.role!r} is not one of {ROLES}")
                if a.name in seen:
                    wrong.append(f"{a.name}: listed twice")
                seen.add(a.name)
                wrong += [f"{a.name}: axis {x!r} has no size" for x in a.axes if x not in sizes]
                used = a.reads + a.writes
                if len(set(used)) < len(used) or not set(used) <= set(range(len(a.axes))):
                    wrong.append(
                        f"{a.name}: reads {a.reads} and writes {a.writes} are not distinct "
                        f"positions in {a.axes}"
                    )
        wrong += [f"hidden axis {h!r} has no size" for h in self.hidden if h not in sizes]
        wrong += [f"axis {n!r}: size {s} < 1" for n, s in self.sizes if s < 1]
        wrong += self._nested_mistakes()
        names = [n for n, _ in self.sizes]
        wrong += [f"axis {n!r}: two sizes" for n in sizes if names.count(n) > 1]
        checks.raise_all("spec is inconsistent", wrong)

    def _nested_mistakes(self):
        outer, wrong = dict(self.nested), []
        if len(outer) < len(self.nested):
            wrong.append(f"nested {self.nested}: an axis lies within two")
        for inner, around in self.nested:
            if not {inner, around} <= set(self.hidden) or around in outer:
                wrong.append(
                    f"{inner!r} within {around!r}: expected two hidden axes, the outer of "
                    "them not nested itself"
                )
            for a in self.arrays:
                if a.axes.count(inner) > 1 or (inner in a.axes and a.axes.count(around) != 1):
                    wrong.append(f"{a.name}: expected {inner!r} once, beside {around!r} once")
        return wrong

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All arrays, in the order in which `ravel` lays them out."""
        return tuple(a for layer in self.layers for a in layer.arrays)

    def shape(self, array: Array) -> tuple[int, ...]:
        """The array's shape without batch axes."""
        sizes = dict(self.sizes)
        return tuple(sizes[a] for a in array.axes)

    @property
    def count(self) -> int:
        """The number of parameters."""
        return sum(math.prod(self.shape(a)) for a in self.arrays)


def to_json(spec: Spec) -> dict:
    """The spec as plain lists and dicts; `from_json` undoes it."""
    return dataclasses.asdict(spec)


def from_json(data: Mapping) -> Spec:
    """The spec of what `to_json` gave."""

    def layer(x: Mapping[str, Any]) -> Layer:
        fields: dict[str, Any] = {k: frozen(v) for k, v in x.items() if k != "arrays"}
        arrays = (Array(**{k: frozen(v) for k, v in a.items()}) for a in x["arrays"])
        return Layer(arrays=tuple(arrays), **fields)

    layers = tuple(map(layer, data["layers"]))
    sizes = tuple((name, int(size)) for name, size in data["sizes"])
    return Spec(layers, sizes, tuple(data["hidden"]), frozen(data.get("nested", ())))


def frozen(x: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(frozen, x)) if isinstance(x, list | tuple) else x


def check(params: Mapping[str, jax.Array | np.ndarray], spec: Spec) -> None:
    """Raises `ValueError` naming every array that does not match the spec, all at once.

    Arrays may have batch axes in front, the same ones for all. A NaN or an infinity is
    reported by array and network; traced arrays are checked for shape alone.
    """
    checks.raise_all("network does not match its spec", mistakes(params, spec))


def mistakes(
    params: Mapping[str, jax.Array | np.ndarray], spec: Spec, members: np.ndarray | None = None
) -> list[str]:
    """What `check` lists.

    Args:
        params: arrays [..., *axes of the spec].
        spec: what they mean.
        members: [network], the numbers by which networks of one batch axis are named; their
            positions if None.
    """
    wrong, batches = [], {}
    names = {a.name for a in spec.arrays}
    wrong += [f"{a.name}: expected, absent" for a in spec.arrays if a.name not in params]
    wrong += [f"{name}: not in the spec" for name in params if name not in names]
    for a in spec.arrays:
        if a.name not in params:
            continue
        array, want = params[a.name], spec.shape(a)
        if not hasattr(array, "shape"):
            wrong.append(f"{a.name}: expected an array, got {type(array).__name__}")
            continue
        batch = tuple(array.shape[: array.ndim - len(want)])
        if tuple(array.shape[array.ndim - len(want) :]) != want or array.ndim < len(want):
            wanted = f"[..., {', '.join(map(str, want))}] {a.axes}"
            wrong.append(f"{a.name}: expected shape {wanted}, got {array.shape}")
            continue
        batches.setdefault(batch, a.name)
        if not isinstance(array, jax.core.Tracer):
            bad = ~np.isfinite(np.asarray(array))
            if bad.any():
                wrong.append(
                    f"{a.name}: {bad.sum()} of {bad.size} values are NaN or infinite"
                    + _bearers(bad.reshape(*batch, -1), members)
                )
    if len(batches) > 1:
        axes = ", ".join(f"{list(b)} ({name})" for b, name in batches.items())
        wrong.append(f"batch axes differ: {axes}")
    return wrong


def _bearers(bad: np.ndarray, members: np.ndarray | None) -> str:
    """Names the networks of a batch in which a value is bad, [..., value]."""
    places = np.argwhere(bad.any(-1)).tolist()
    if bad.ndim == 1:
        return ""
    if bad.ndim == 2:
        places = [i if members is None else int(members[i]) for (i,) in places]
    return f", in {checks.some('network', places)}"


def ravel(params: Mapping[str, AnyArray], spec: Spec) -> AnyArray:
    """Lays a network out as one vector.

    Args:
        params: arrays [..., *shape].
        spec: gives the order.

    Returns:
        [..., spec.count]. `unravel` undoes it.
    """
    parts = []
    for a in spec.arrays:
        array, n = params[a.name], len(a.axes)
        parts.append(array.reshape(*array.shape[: array.ndim - n], math.prod(spec.shape(a))))
    xp: Any = np if all(isinstance(p, np.ndarray) for p in parts) else jnp
    return xp.concatenate(parts, axis=-1)


def unravel(vector: AnyArray, spec: Spec) -> dict[str, AnyArray]:
    """Takes a vector [..., spec.count] apart into arrays [..., *shape]; undoes `ravel`.

    Raises:
        ValueError: the vector is of another length.
    """
    if vector.shape[-1] != spec.count:
        raise ValueError(f"expected {spec.count} parameters, got a vector {vector.shape}")
    out, start = {}, 0
    for a in spec.arrays:
        size = math.prod(spec.shape(a))
        part = vector[..., start : start + size]
        out[a.name] = part.reshape(*vector.shape[:-1], *spec.shape(a))
        start += size
    return out


def kinds(spec: Spec) -> dict[str, str]:
    """For each array "kind/role/level": of its layer, of itself, and of its layer."""
    return {a.name: f"{x.kind}/{a.role}/{x.level}" for x in spec.layers for a in x.arrays}


def nearest(kind: str, others: Iterable[str]) -> str | None:
    """Of others "kind/role/level", that of the same kind and role at the nearest level.

    Of two as near, the shallower; None where there is none of that kind and role.

    >>> nearest("dense/bias/3", ["dense/bias/0", "dense/bias/1", "dense/kernel/3"])
    'dense/bias/1'
    """
    name, level = kind.rsplit("/", 1)
    levels = [int(k.rsplit("/", 1)[1]) for k in others if k.rsplit("/", 1)[0] == name]
    if not levels:
        return None
    return f"{name}/{min(levels, key=lambda n: (abs(n - int(level)), n))}"


def offsets(spec: Spec) -> dict[str, np.ndarray]:
    """For each array, the position in `ravel`'s vector of each of its entries, [*shape]."""
    return unravel(np.arange(spec.count), spec)

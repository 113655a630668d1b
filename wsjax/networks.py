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
    depthwise      ("row", "col", "c0")        reads c0       writes c0    taps row, col

An axis that is read and written is a block diagonal: output neuron i reads neuron i alone, as
in a depthwise convolution; of several axes, as in a grouped one, the shared axis is the group.

Everything else in this library is derived from a Spec: symmetries, chunks,
graphs, statistics. Leading axes of a params array are batch axes: a zoo of n
networks is the same dict with every array [n, ...].
"""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks

Params = Mapping[str, jax.Array]
AnyArray = TypeVar("AnyArray", jax.Array, np.ndarray)

KINDS = ("dense", "conv", "norm", "attention", "embedding", "residual")
ROLES = ("kernel", "bias", "scale", "mean", "variance")
TAPS = 3  # the most tap axes a convolution can have
ACTIVATIONS = (
    *("none", "relu", "tanh", "gelu", "sin", "leaky_relu", "silu", "sigmoid"),
    "gelu_tanh",  # Flax's default; "gelu" is the exact one, PyTorch's
    "other",  # none of these: no scale or sign is known to commute with it
)
FORMS = {"gelu_tanh": "gelu"}  # activations that are one as a feature and as a label

MISMATCH = "network does not match its spec"

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
        wrong = [
            f"{f.name}: expected a tuple, got {type(value).__name__}"
            for f in dataclasses.fields(self)
            if not isinstance(value := getattr(self, f.name), tuple)
        ]
        sizes, seen, depth = dict(self.sizes), set(), 0
        for layer in self.layers:
            if layer.kind not in KINDS:
                wrong.append(f"{layer.name}: kind {layer.kind!r} is not one of {KINDS}")
            if layer.activation not in ACTIVATIONS:
                wrong.append(
                    f"{layer.name}: activation {layer.activation!r} is not one of {ACTIVATIONS}"
                )
            if not isinstance(layer.omega, numbers.Real) or not math.isfinite(layer.omega):
                wrong.append(f"{layer.name}: expected a finite omega, got {layer.omega!r}")
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
                twice = any(len(set(x)) < len(x) for x in (a.reads, a.writes))
                if twice or not {*a.reads, *a.writes} <= set(range(len(a.axes))):
                    wrong.append(
                        f"{a.name}: reads {a.reads} and writes {a.writes} are not distinct "
                        f"positions in {a.axes}"
                    )
        wrong += [f"hidden axis {h!r} has no size" for h in self.hidden if h not in sizes]
        whole = lambda size: isinstance(size, int | np.integer) and not isinstance(size, bool)
        wrong += [
            f"axis {n!r}: expected a size of 1 or more, got {s!r}"
            for n, s in self.sizes
            if not whole(s) or s < 1
        ]
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

    @property
    def orders(self) -> dict[str, float]:
        """For each hidden axis, log10 of the number of permutations of its neurons.

        A nested axis has as many for every neuron of the one around it.
        """
        sizes, outer = dict(self.sizes), dict(self.nested)
        times = {h: sizes[outer[h]] if h in outer else 1 for h in self.hidden}
        return {h: n * math.lgamma(sizes[h] + 1) / math.log(10) for h, n in times.items()}


def to_json(spec: Spec) -> dict:
    """The spec as plain lists and dicts; `from_json` undoes it."""
    return dataclasses.asdict(spec)


def from_json(data: Mapping) -> Spec:
    """The spec of what `to_json` gave; a ValueError of anything else."""

    def layer(x: Mapping[str, Any]) -> Layer:
        fields: dict[str, Any] = {k: frozen(v) for k, v in x.items() if k != "arrays"}
        arrays = (Array(**{k: frozen(v) for k, v in a.items()}) for a in x["arrays"])
        return Layer(arrays=tuple(arrays), **fields)

    try:
        layers = tuple(map(layer, data["layers"]))
        sizes = tuple((name, int(size)) for name, size in data["sizes"])
        return Spec(layers, sizes, tuple(data["hidden"]), frozen(data.get("nested", ())))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"expected a Spec as JSON, as of `to_json`: {error!r}") from error


def frozen(x: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(frozen, x)) if isinstance(x, list | tuple) else x


def check(params: Mapping[str, jax.Array | np.ndarray], spec: Spec) -> None:
    """Raises `ValueError` naming every array that does not match the spec, all at once.

    Arrays may have batch axes in front, the same ones for all. A NaN or an infinity is
    reported by array and network; traced arrays are checked for shape alone. What is no mapping,
    or no spec, is a `TypeError`.
    """
    checks.raise_all(MISMATCH, mistakes(params, spec))


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
    return [*_misshapen(params, spec), *_not_finite(params, spec, members)]


def check_shapes(params: Mapping[str, Any], spec: Spec, batched: bool = True) -> None:
    """As `check`, of names and shapes alone; unless `batched`, of one network."""
    wrong = _misshapen(params, spec)
    for a in () if wrong or batched else spec.arrays[:1]:
        if extra := params[a.name].ndim - len(a.axes):
            shape = list(params[a.name].shape[:extra])
            wrong = [f"expected one network, `jax.vmap` for several; got batch axes {shape}"]
    checks.raise_all(MISMATCH, wrong)


def expect_spec(spec: object) -> None:
    """Raises a `TypeError` if this is anything but a `Spec`, such as a list of them."""
    checks.expect("spec", spec, Spec)


def _misshapen(params, spec) -> list[str]:
    expect_spec(spec)
    if not isinstance(params, Mapping):
        raise TypeError(
            f"expected a network's named arrays, as of `unravel`, got {type(params).__name__}"
        )
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
        if tuple(array.shape[array.ndim - len(want) :]) != want or array.ndim < len(want):
            wanted = f"[..., {', '.join(map(str, want))}] {a.axes}"
            wrong.append(f"{a.name}: expected shape {wanted}, got {array.shape}")
            continue
        batches.setdefault(tuple(array.shape[: array.ndim - len(want)]), a.name)
    if len(batches) > 1:
        axes = ", ".join(f"{list(b)} ({name})" for b, name in batches.items())
        wrong.append(f"batch axes differ: {axes}")
    return wrong


def _not_finite(params, spec, members) -> Iterator[str]:
    for a in spec.arrays:
        array = params.get(a.name)
        if not hasattr(array, "shape") or isinstance(array, jax.core.Tracer):
            continue
        if not real(array):
            yield f"{a.name}: expected real numbers, got {array.dtype}"
        elif (bad := ~np.isfinite(np.asarray(array))).any():
            batch = bad.shape[: max(bad.ndim - len(a.axes), 0)]
            yield (
                f"{a.name}: {bad.sum()} of {bad.size} values are NaN or infinite"
                + _bearers(bad.reshape(*batch, -1), members)
            )


def real(array: jax.Array | np.ndarray) -> bool:
    """True of integers and floating point, JAX's half precisions included."""
    return any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer))


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

    Raises:
        ValueError, TypeError: as `check_shapes`.
    """
    check_shapes(params, spec)
    parts = []
    for a in spec.arrays:
        array, n = params[a.name], len(a.axes)
        parts.append(array.reshape(*array.shape[: array.ndim - n], math.prod(spec.shape(a))))
    xp: Any = np if all(isinstance(p, np.ndarray) for p in parts) else jnp
    return xp.concatenate(parts, axis=-1)


def unravel(vector: AnyArray, spec: Spec) -> dict[str, AnyArray]:
    """Takes a vector [..., spec.count] apart into arrays [..., *shape]; undoes `ravel`.

    Raises:
        ValueError: the vector is of another length, or no array.
        TypeError: this is no spec.
    """
    check_length(vector, spec)
    out, start = {}, 0
    for a in spec.arrays:
        size = math.prod(spec.shape(a))
        part = vector[..., start : start + size]
        out[a.name] = part.reshape((*vector.shape[:-1], *spec.shape(a)))
        start += size
    return out


def check_length(vector: Any, spec: Spec) -> None:
    """Raises a `ValueError` unless this is an array [..., spec.count], or a `TypeError`."""
    expect_spec(spec)
    shape = getattr(vector, "shape", None)
    if not shape or shape[-1] != spec.count:
        came = f"a vector {shape}" if shape else type(vector).__name__
        raise ValueError(f"expected {spec.count} parameters, got {came}")


def check_vectors(vectors: jax.Array | np.ndarray, entries: int, exactly: bool = True) -> None:
    """Raises a `ValueError` unless these are networks [batch, entry] of so many entries.

    Unless `exactly`, of more too: behind networks of a batch of several architectures is padding.
    """
    shape = np.shape(vectors)
    if len(shape) != 2 or (shape[1] != entries if exactly else shape[1] < entries):
        want = f"[batch, {entries}]" if exactly else f"[batch, {entries} or more]"
        raise ValueError(f"expected networks {want}, got {list(shape)}")


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

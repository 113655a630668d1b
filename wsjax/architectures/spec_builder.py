"""A Spec in the making: layers one after another, axes with their sizes as they appear."""

import dataclasses
from collections.abc import Sequence

from wsjax.networks import Array, Layer, Spec

Axes = tuple[str, ...]  # that index the neurons of one stream: one name, or group and member

_TAPS = {1: ("t",), 2: ("row", "col"), 3: ("depth", "row", "col")}
_NORMS = {
    "batch": ("BatchNorm", ("scale", "bias", "mean", "var")),
    "group": ("GroupNorm", ("scale", "bias")),
    "layer": ("LayerNorm", ("scale", "bias")),
}
_ROLES = {"var": "variance"}


@dataclasses.dataclass
class Draft:
    """Collects the parts of a `Spec`.

    A method adds one layer at the next level, or `beside` the latest one at its level, and
    names it by Flax's rule: kind and number. `spec` is the result.
    """

    layers: list[Layer] = dataclasses.field(default_factory=list)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    hidden: list[str] = dataclasses.field(default_factory=list)
    nested: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def level(self) -> int:
        """Of the latest layer; -1 before the first."""
        return self.layers[-1].level if self.layers else -1

    def fixed(self, name: str, size: int) -> Axes:
        """Neurons with an identity, or taps."""
        self.sizes[name] = size
        return (name,)

    def neurons(self, name: str, width: int, groups: int | None = None) -> Axes:
        """Hidden neurons; with groups, they are permuted by whole groups and within each.

        Raises:
            ValueError: the groups are not equal.
        """
        if groups is None:
            self.sizes[name] = width
            self.hidden.append(name)
            return (name,)
        if groups < 1 or width % groups:
            raise ValueError(f"{name!r}: expected a width in {groups} equal groups, got {width}")
        group, member = f"{name}_group", f"{name}_member"
        self.sizes |= {group: groups, member: width // groups}
        self.hidden += [group, member]
        self.nested.append((member, group))
        return group, member

    def heads(self, number: int, heads: int, queries: int, values: int) -> tuple[Axes, Axes]:
        """The axes (head, query dimension) and (head, value dimension) of an attention."""
        head, qk, v = (f"{n}{number}" for n in ("head", "qk", "v"))
        self.sizes |= {head: heads, qk: queries, v: values}
        self.hidden += [head, qk, v]
        self.nested += [(qk, head), (v, head)]
        return (head, qk), (head, v)

    def layer(
        self,
        kind: str,
        arrays: Sequence[Array] = (),
        *,
        name: str,
        beside: bool = False,
        settings: dict | None = None,
        **fields,
    ) -> int:
        """Adds a layer, and gives its level. `fields` are those of `Layer`."""
        level = self.level if beside else self.level + 1
        pairs = tuple(sorted((settings or {}).items()))
        self.layers.append(Layer(name, kind, level, tuple(arrays), settings=pairs, **fields))
        return level

    def name(self, kind: str) -> str:
        """The next layer's name among those of its kind: "Conv_0", "Conv_1"."""
        return f"{kind}_{sum(x.name.rpartition('_')[0] == kind for x in self.layers)}"

    def dense(self, *reads: Axes, writes: Axes, bias: bool = True, **fields) -> int:
        """Adds a dense layer; of several streams that it reads, each has a kernel."""
        name = self.name("Dense")
        label = [""] if len(reads) == 1 else [f"_{r[-1]}" for r in reads]
        arrays = [kernel(f"{name}/kernel{s}", r, writes) for r, s in zip(reads, label, strict=True)]
        arrays += [vector(f"{name}/bias", "bias", writes)] if bias else []
        return self.layer("dense", arrays, name=name, **fields)

    def conv(
        self, reads: Axes, writes: Axes, window: Sequence[int], bias: bool = True, **fields
    ) -> int:
        """Adds a convolution with a window of the given shape."""
        name = self.name("Conv")
        number, taps = name.rpartition("_")[2], _TAPS[len(window)]
        taps = sum((self.fixed(t + number, n) for t, n in zip(taps, window, strict=True)), ())
        arrays = [kernel(f"{name}/kernel", reads, writes, taps)]
        arrays += [vector(f"{name}/bias", "bias", writes)] if bias else []
        return self.layer("conv", arrays, name=name, **fields)

    def norm(self, kind: str, axes: Axes, epsilon: float, settings: dict, **fields) -> int:
        """Adds a normalisation: "batch", "group" (of the axes' groups) or "layer"."""
        flax, parts = _NORMS[kind]
        name = self.name(flax)
        arrays = [vector(f"{name}/{p}", _ROLES.get(p, p), axes) for p in parts]
        own = {"norm": kind, "epsilon": epsilon}
        if kind == "group":
            own["groups"] = self.sizes[axes[0]]
        return self.layer("norm", arrays, name=name, settings=own | settings, **fields)

    def residual(self, source: int, **fields) -> int:
        """Adds the output of level `source` to that of the latest level."""
        return self.layer(
            "residual", name=self.name("Residual"), beside=True, source=source, **fields
        )

    def spec(self) -> Spec:
        """The spec of all layers so far."""
        return Spec(
            tuple(self.layers), tuple(self.sizes.items()), tuple(self.hidden), tuple(self.nested)
        )


def kernel(name: str, reads: Axes, writes: Axes, taps: Axes = ()) -> Array:
    """A kernel stored [*taps, *reads, *writes]."""
    t, r, w = len(taps), len(reads), len(writes)
    axes = (*taps, *reads, *writes)
    return Array(name, "kernel", axes, tuple(range(t, t + r)), tuple(range(t + r, t + r + w)))


def vector(name: str, role: str, writes: Axes, taps: Axes = ()) -> Array:
    """An array that reads nothing, stored [*taps, *writes]."""
    t = len(taps)
    return Array(name, role, (*taps, *writes), (), tuple(range(t, t + len(writes))))


def check_norm(norm: str, groups: int | None) -> None:
    """Raises `ValueError` unless this is "none", or a norm with the groups it needs."""
    if norm not in ("none", *_NORMS):
        raise ValueError(f"expected a norm of {['none', *_NORMS]}, got {norm!r}")
    if (norm == "group") != (groups is not None):
        raise ValueError(f"expected groups with norm 'group' alone, got {norm!r} and {groups}")

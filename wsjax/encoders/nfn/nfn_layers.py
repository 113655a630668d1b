"""Equivariant maps between the arrays of a network, derived from the names of their axes.

Each array keeps the axes whose neurons are permuted; all else (taps, and for HNP inputs
and outputs) are channels. Array t reads every array s, for each set P of axes that both
keep:

    y_t = bias_t + sum over P, s of  A_{t,s,P}  mean of x_s over its kept axes outside P,
                                                spread over the kept axes of t outside P

On a perceptron x -> g -> h -> y this is the NF-layer of Zhou et al. (2023, NeurIPS), "NP" with
all axes kept and "HNP" with the hidden ones; its inner kernel, for one,

    P = {g, h}   W_gh                          P = {h}   mean_g W_gh, b_h, mean_y W_hy
    P = {g}      mean_h W_gh, b_g, mean_x W_xg   P = {}    the mean of every array

Where no array has an axis twice, these are all linear maps that commute with permutations of
each kept axis on its own.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks
from wsjax.encoders.parts.initializers import uniform
from wsjax.networks import Array, Spec, offsets
from wsjax.views.arrays import variable
from wsjax.views.wiring import wiring

Arrays = Mapping[str, jax.Array]  # [batch, *kept axes, channels of all else * channel]


@dataclasses.dataclass(frozen=True)
class Reading:
    """The axes of each array that stay axes; all others become channels.

    Attributes:
        spec: the architecture.
        neurons: axes that index neurons; taps and rows of a flattened image do not.
        keep: those that remain axes.
    """

    spec: Spec
    neurons: tuple[str, ...]
    keep: tuple[str, ...]

    def kept(self, a: Array) -> tuple[str, ...]:
        """Axes of an array that remain, in storage order."""
        return tuple(x for x in a.axes if x in self.keep)

    def rest(self, a: Array) -> tuple[str, ...]:
        """Axes of an array that become channels, in storage order."""
        return tuple(x for x in a.axes if x not in self.keep)

    def ends(self, a: Array) -> tuple[str, ...]:
        """Axes of an array that index inputs or outputs, which have an identity."""
        return tuple(x for x in a.axes if x in self.neurons and x not in self.spec.hidden)

    def channels(self, a: Array) -> int:
        """Number of entries that become the channels of one."""
        sizes = dict(self.spec.sizes)
        return int(np.prod([sizes[x] for x in self.rest(a)], dtype=int))


@functools.lru_cache(maxsize=256)
def reading(spec: Spec, reader: str, hidden_only: bool) -> Reading:
    """Decides which axes of an architecture are kept.

    Args:
        spec: the architecture.
        reader: the encoder's name, for errors.
        hidden_only: keep hidden axes; else all that index neurons.

    Raises:
        ValueError: an axis is nested within another, or an array has one axis twice; all at
            once.
    """
    wrong = [
        f"axis {inner!r}: expected neurons that are permuted on their own, got them nested "
        f"within {outer!r}"
        for inner, outer in spec.nested
    ]
    wrong += [
        f"{a.name}: expected distinct axes, got {a.axes}"
        for a in spec.arrays
        if len(set(a.axes)) < len(a.axes)
    ]
    if not spec.arrays:
        wrong.append("expected a network with arrays, got none")
    checks.raise_all(f"{reader} does not support the network", wrong)
    index = {x for place in wiring(spec).places for x in place.axes}
    neurons = tuple(name for name, _ in spec.sizes if name in index)
    keep = tuple(x for x in neurons if x in spec.hidden) if hidden_only else neurons
    return Reading(spec, neurons, keep)


def end_positions(read: Reading) -> dict[str, np.ndarray]:
    """For each axis of inputs or outputs, where along it an entry stands, [entry] or -1."""
    positions = {x: np.full(read.spec.count, -1) for x in read.neurons if x not in read.spec.hidden}
    where = offsets(read.spec)
    for a in read.spec.arrays:
        for x in read.ends(a):
            index = np.indices(where[a.name].shape)[a.axes.index(x)]
            positions[x][where[a.name]] = index
    return positions


def end_waves(read: Reading, bands: int, highest: float) -> np.ndarray:
    """Sinusoids of which input and which output an entry belongs to, [entry, 2 * bands + 1].

    Positions run from -1 to 1; entries of inner arrays are zero, and what is both the input's
    and the output's is added (the published package's `IOSinusoidalEncoding`).

    Args:
        read: the architecture.
        bands: number of frequencies, from 1 to `highest / 2`, in phase shifts by pi.
        highest: frequency.
    """
    sizes, out = dict(read.spec.sizes), np.zeros((read.spec.count, 2 * bands + 1))
    for x, index in end_positions(read).items():
        place = np.linspace(-1.0, 1.0, sizes[x])[:, None]
        angle = np.pi * place * np.linspace(1.0, highest / 2, bands)
        table = np.concatenate([np.sin(angle), np.cos(angle), place], axis=1)
        out += np.where(index[:, None] < 0, 0.0, table[index])
    return out


@dataclasses.dataclass(frozen=True)
class Group:
    """Means that go through one matrix.

    Attributes:
        name: of the matrix.
        along: the set P, in the order of `Reading.keep`.
        sources: (array, also averaged over its inputs and outputs).
        targets: arrays that read them.
    """

    name: str
    along: tuple[str, ...]
    sources: tuple[tuple[str, bool], ...]
    targets: tuple[str, ...]


@functools.lru_cache(maxsize=256)
def groups(read: Reading, pointwise: bool, as_published: bool) -> tuple[Group, ...]:
    """The groups of arrays that read the same sources, see above.

    Args:
        read: the architecture.
        pointwise: no array reads another.
        as_published: as the published package has it, which differs for arrays whose inputs or
            outputs are channels (HNP). Other layers, and all arrays where P is
            empty, read them twice, by channel and averaged over those; and they do not read
            by vectors of other layers, the last kernel by the last hidden bias. The first adds
            weights and no maps; the second leaves out maps that are equivariant.
    """
    readers: dict[tuple, list[str]] = {}
    for t in read.spec.arrays:
        kept = [x for x in read.keep if x in t.axes]
        if pointwise:
            readers[tuple(kept), ((t.name, False),)] = [t.name]
            continue
        for size in range(len(kept), -1, -1):
            for along in itertools.combinations(kept, size):
                sources = _sources(read, t, along, as_published)
                readers.setdefault((along, sources), []).append(t.name)
    axes = {a.name: a.axes for a in read.spec.arrays}
    out = []
    for (along, sources), targets in readers.items():
        first = targets[0]
        name = "_".join([variable(first), *(str(axes[first].index(x)) for x in along)])
        out.append(Group(name, along, sources, tuple(targets)))
    return tuple(out)


def _sources(read, target, along, as_published):
    """Arrays that a target reads, and whether averaged over inputs and outputs."""
    layer = {a.name: x.name for x in read.spec.layers for a in x.arrays}
    folded = lambda a: set(read.ends(a)) & set(read.rest(a))
    out = []
    for s in read.spec.arrays:
        if not set(along) <= set(s.axes):
            continue
        apart = layer[s.name] != layer[target.name]
        if as_published and along and apart and folded(target) and not s.reads:
            continue
        out.append((s.name, False))
        if as_published and folded(s) and (apart or not along):
            out.append((s.name, True))
    return tuple(out)


def spread(x: jax.Array, have: Sequence[str], want: Sequence[str]) -> jax.Array:
    """[batch, *have, channel] -> [batch, *want, channel]; axes that are new have size one."""
    order = [have.index(a) + 1 for a in want if a in have]
    x = x.transpose(0, *order, x.ndim - 1)
    return jnp.expand_dims(x, [i + 1 for i, a in enumerate(want) if a not in have])


def opened(x: jax.Array, a: Array, read: Reading) -> jax.Array:
    """[..., channels] -> [..., *axes that are channels, channel]."""
    sizes = dict(read.spec.sizes)
    return x.reshape(*x.shape[:-1], *(sizes[n] for n in read.rest(a)), -1)


def without_ends(x: jax.Array, a: Array, read: Reading) -> jax.Array:
    """Averages channels [..., channels] over the inputs and outputs among them."""
    ends = [i for i, n in enumerate(read.rest(a)) if n in read.ends(a)]
    if not ends:
        return x
    lead = x.ndim - 1
    return opened(x, a, read).mean([lead + i for i in ends]).reshape(*x.shape[:-1], -1)


def pooled(arrays: Arrays, read: Reading, ends: bool) -> jax.Array:
    """Means of all arrays side by side, [batch, channels].

    Args:
        arrays: of features.
        read: the architecture.
        ends: means over inputs and outputs too (the published `NPPool`), which are distinguished
            otherwise (`HNPPool`).
    """
    parts = []
    for a in read.spec.arrays:
        x, kept = arrays[a.name], read.kept(a)
        x = x.mean([i + 1 for i, n in enumerate(kept) if ends or n in read.spec.hidden])
        x = without_ends(x, a, read) if ends else x
        parts.append(x.reshape(len(x), -1))
    return jnp.concatenate(parts, axis=-1)


class Linear(nn.Module):
    """An equivariant linear layer; variables begin within 1 / sqrt(inputs of an array).

    Attributes:
        read: the architecture.
        channels: of the result.
        pointwise: see `groups`.
        as_published: see `groups`; a bias for each set P, which are added. Maps to kernels whose
            inputs are channels (HNP's first) begin within 1 / sqrt(inputs of the set P), which is
            more: the published package leaves them as PyTorch begins them.
        embed: adds learned numbers of its inputs and outputs to each array first.
    """

    read: Reading
    channels: int
    pointwise: bool = False
    as_published: bool = True
    embed: bool = False

    @nn.compact
    def __call__(self, arrays: Arrays) -> dict[str, jax.Array]:
        """Features of arrays -> features of arrays."""
        if self.embed:
            arrays = {a.name: self._embedded(arrays[a.name], a) for a in self.read.spec.arrays}
        sets = groups(self.read, self.pointwise, self.as_published)
        means = _Means(self.read, arrays)
        features = [
            jnp.concatenate([means(s, g.along, ends) for s, ends in g.sources], axis=-1)
            for g in sets
        ]
        fans = {a: [x.shape[-1] for g, x in zip(sets, features, strict=True) if a in g.targets]
                for a in arrays}  # fmt: skip
        apart = {
            a.name for a in self.read.spec.arrays if self.as_published
            and {a.axes[i] for i in a.reads} & set(self.read.ends(a)) & set(self.read.rest(a))
        }  # fmt: skip
        width = {a.name: self.channels * self.read.channels(a) for a in self.read.spec.arrays}
        out = {}
        for a in self.read.spec.arrays:
            fan = fans[a.name]
            shape = (len(fan) if self.as_published else 1, width[a.name])
            init = uniform(np.array(fan)[:, None] if a.name in apart else sum(fan))
            bias = self.param(f"{variable(a.name)}_bias", init, shape, jnp.float32).sum(0)
            out[a.name] = bias.astype(arrays[a.name].dtype)
        kept = {a.name: self.read.kept(a) for a in self.read.spec.arrays}
        for g, x in reversed(list(zip(sets, features, strict=True))):  # the small ones first
            fan_in = lambda t, x=x: x.shape[-1] if t in apart else sum(fans[t])
            columns = np.concatenate([np.full(width[t], float(fan_in(t))) for t in g.targets])
            shape = (x.shape[-1], columns.size)
            y = x @ self.param(g.name, uniform(columns), shape, jnp.float32).astype(x.dtype)
            stops = np.cumsum([width[t] for t in g.targets])[:-1]
            for t, part in zip(g.targets, jnp.split(y, stops, axis=-1), strict=True):
                out[t] = out[t] + spread(part, g.along, kept[t])
        return out

    def _embedded(self, x, a):
        for end in self.read.ends(a):
            shape = (dict(self.read.spec.sizes)[end], x.shape[-1])
            name = f"{variable(a.name)}_embed_{a.axes.index(end)}"
            table = self.param(name, nn.initializers.normal(1.0), shape, jnp.float32)
            x = x + spread(table[None].astype(x.dtype), (end,), self.read.kept(a))
        return x


class _Means:
    """Means of each array, computed when first read, larger sets of axes first."""

    def __init__(self, read: Reading, arrays: Arrays):
        self.read, self.means = read, {}
        self.arrays = {a.name: a for a in read.spec.arrays}
        for a in read.spec.arrays:
            have = tuple(x for x in read.keep if x in a.axes)
            self.means[a.name, have] = spread(arrays[a.name], read.kept(a), have)

    def __call__(self, name: str, along: tuple[str, ...], ends: bool) -> jax.Array:
        """[batch, *along, channels]."""
        x = self._over(name, along)
        return without_ends(x, self.arrays[name], self.read) if ends else x

    def _over(self, name, along):
        if (name, along) not in self.means:
            axes = self.arrays[name].axes
            more = next(x for x in self.read.keep if x in axes and x not in along)
            wider = tuple(x for x in self.read.keep if x in along or x == more)
            x = self._over(name, wider)
            self.means[name, along] = x.mean(wider.index(more) + 1)
        return self.means[name, along]


class Dropout(nn.Module):
    """Drops whole channels of kernels, single numbers of vectors, as published.

    Attributes:
        read: the architecture.
        rate: of what is dropped.
    """

    read: Reading
    rate: float

    @nn.compact
    def __call__(self, arrays: Arrays, train: bool) -> dict[str, jax.Array]:
        """Features of arrays -> features of arrays; takes an rng "dropout" if `train`."""
        out = {}
        for a in self.read.spec.arrays:
            names = (*self.read.kept(a), *self.read.rest(a))
            axes = [i + 1 for i, n in enumerate(names) if n in self.read.neurons]
            x = arrays[a.name]
            drop = nn.Dropout(self.rate, broadcast_dims=axes if len(axes) > 1 else ())
            whole = opened(x, a, self.read)
            out[a.name] = drop(whole, deterministic=not train).reshape(x.shape)
        return out


class Head(nn.Module):
    """Dense layers with ReLU and dropout between, begun within 1 / sqrt(inputs).

    Attributes:
        widths: of the hidden layers.
        out: of the result.
        dropout: after every ReLU.
    """

    widths: Sequence[int]
    out: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[batch, channels] -> [batch, out]."""
        for i, width in enumerate((*self.widths, self.out)):
            if i:
                x = nn.Dropout(self.dropout)(nn.relu(x), deterministic=not train)
            init = uniform(x.shape[-1])
            how = {"kernel_init": init, "bias_init": init, "dtype": x.dtype}
            x = nn.Dense(width, **how, name=f"head_{i}")(x)
        return x

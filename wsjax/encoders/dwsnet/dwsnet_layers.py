"""Equivariant layers from arrays to arrays; `dwsnet` has the equations."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.parts.pooling import largest
from wsjax.networks import Spec
from wsjax.views.arrays import fold, unfold, variable

ZEROS = nn.initializers.zeros
REDUCTIONS = {"max": largest, "mean": jnp.mean, "sum": jnp.sum}

Pattern = tuple[str, ...]  # hidden axes along which entries differ


@dataclasses.dataclass(frozen=True)
class Term:
    """A linear map from one array.

    Attributes:
        source: name of the array.
        weight: that multiplies the map.
        bias: whether it has one.
    """

    source: str
    weight: float
    bias: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """The parts that each array reads of each other.

    Attributes:
        axes: for each array, its hidden axes.
        folded: for each array, the product of the sizes of its other axes.
        linear: for each array and pattern, the terms that are summed.
        sets: for each hidden axis, (source, target) of the attention along it.
        alike: (source, target) of which all outputs read the same.
    """

    axes: Mapping[str, Pattern]
    folded: Mapping[str, int]
    linear: Mapping[str, Mapping[Pattern, Sequence[Term]]]
    sets: Mapping[str, Sequence[tuple[str, str]]]
    alike: Collection[tuple[str, str]]


@functools.lru_cache(maxsize=64)
def plan(spec: Spec, attention: bool, diagonal: bool, as_published: bool) -> Plan:
    """Derives the blocks of a layer from the axes that arrays share.

    Args:
        spec: the architecture.
        attention: along an axis, where it is the only one shared.
        diagonal: only between arrays that share neurons, inputs and outputs included.
        as_published: all outputs of the last kernel read the inner kernel before it alike.
    """
    axes = {a.name: tuple(x for x in a.axes if x in spec.hidden) for a in spec.arrays}
    neurons = {a.name: {a.axes[i] for i in a.reads + a.writes} for a in spec.arrays}
    sizes = dict(spec.sizes)
    folded = {
        a.name: math.prod(sizes[x] for x in a.axes if x not in spec.hidden) for a in spec.arrays
    }
    linear: dict[str, dict] = {name: {} for name in axes}
    sets: dict[str, list] = {}
    for source, target in itertools.product(axes, axes):
        if diagonal and not neurons[source] & neurons[target]:
            continue
        shared = tuple(x for x in axes[target] if x in axes[source])
        one, many = len(shared) == 1, len(shared) > 1
        if one and attention:
            sets.setdefault(shared[0], []).append((source, target))
            continue
        for count in range(len(shared) + 1):
            for pattern in itertools.combinations(shared, count):
                term = Term(source, 0.5 ** len(shared) if many else 1.0, not one or bool(pattern))
                linear[target].setdefault(pattern, []).append(term)
    hidden, alike = set(spec.hidden), set()
    ends = lambda a, at: {a.axes[i] for i in at}
    for s, t in itertools.product(spec.arrays, spec.arrays) if as_published else ():
        inner, last = s.reads and ends(s, s.reads) <= hidden, not ends(t, t.writes) & hidden
        if inner and last and folded[t.name] > 1 and ends(s, s.writes) == ends(t, t.reads):
            alike.add((s.name, t.name))
    return Plan(axes, folded, linear, sets, alike)


def pooled(x: jax.Array, axes: Pattern, pattern: Pattern, reduction: str) -> jax.Array:
    """Pools what is not in a pattern: [batch, *axes, channel] -> [batch, *pattern, channel]."""
    over = tuple(1 + i for i, axis in enumerate(axes) if axis not in pattern)
    if over:
        x = REDUCTIONS[reduction](x, axis=over)
    left = [axis for axis in axes if axis in pattern]
    return x.transpose(0, *(1 + left.index(axis) for axis in pattern), x.ndim - 1)


def spread(fan_in: float, fan_out: float) -> float:
    """Deviation of first weights: Xavier's, times sqrt(2 fan_in / fan_out), as published."""
    return math.sqrt(2 / (fan_in + fan_out)) * math.sqrt(2 * fan_in / fan_out)


def _scaled(deviations):
    """Initialiser: normal, with deviations that broadcast to the shape."""
    return lambda key, shape, dtype=jnp.float32: (
        jax.random.normal(key, shape, dtype) * jnp.asarray(deviations, dtype)
    )


class Sum(nn.Module):
    """A weighted sum of linear maps, as one product.

    Attributes:
        out: channels of the result.
        weights: of each map.
        biased: whether each has a bias of its own.
    """

    out: int
    weights: Sequence[float]
    biased: Sequence[bool]

    @nn.compact
    def __call__(self, parts: Sequence[jax.Array]) -> jax.Array:
        """One [..., channel] for each map -> [..., out]."""
        dtype, fans = parts[0].dtype, [x.shape[-1] for x in parts]
        rows = np.repeat([spread(fan, self.out) for fan in fans], fans)[:, None]
        kernel = self.param("kernel", _scaled(rows), (len(rows), self.out), jnp.float32)
        parts = [x if w == 1 else w * x for w, x in zip(self.weights, parts, strict=True)]
        y = jnp.concatenate(parts, -1) @ kernel.astype(dtype)
        weights = [w for w, has in zip(self.weights, self.biased, strict=True) if has]
        if weights:
            bias = self.param("bias", ZEROS, (len(weights), self.out), jnp.float32)
            y = y + jnp.asarray(weights, dtype) @ bias.astype(dtype)
        return y


class Attention(nn.Module):
    """Sets that read sets along one axis: a SAB for each pair, summed over sources.

        o = Q + softmax(Q K^T / sqrt(width)) V        SAB = o + relu(o M + b)

    Set Transformer's (Lee et al., 2019) without LayerNorm, as published; the root is of the
    width, not of that of a head. Pairs of equal width go through one attention.

    Attributes:
        pairs: (source, target).
        widths: channels of each target.
        heads: of each attention.
    """

    pairs: Sequence[tuple[str, str]]
    widths: Mapping[str, int]
    heads: int

    @nn.compact
    def __call__(self, sets: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """For each source [batch, neuron, channel] -> for each target likewise."""
        readers: dict[tuple[str, int], list] = {}  # by source and width, for one slice each
        for source, target in self.pairs:
            readers.setdefault((source, self.widths[target]), []).append(target)
        groups: dict[int, list] = {}
        for source in dict(self.pairs):
            own = {w: targets for (s, w), targets in readers.items() if s == source}
            y, start = self._begin(source, sets[source], own), 0
            for w, targets in own.items():
                stop = start + 3 * w * len(targets)
                x = y[..., start:stop].reshape(*y.shape[:2], len(targets), 3, w)
                groups.setdefault(w, []).append((x, [(source, t) for t in targets]))
                start = stop
        out = {}
        for parts in groups.values():
            pairs = [pair for _, some in parts for pair in some]
            out |= self._blocks(jnp.concatenate([x for x, _ in parts], 2), pairs)
        return out

    def _begin(self, source, x, own):
        """Queries, keys and values for every target of a source, side by side."""
        fan, name = x.shape[-1], variable(source)
        columns = np.concatenate([np.full(3 * w * len(t), spread(fan, w)) for w, t in own.items()])
        kernel = self.param(f"{name}_in", _scaled(columns), (fan, len(columns)), jnp.float32)
        bias = self.param(f"{name}_in_bias", ZEROS, (len(columns),), jnp.float32)
        return x @ kernel.astype(x.dtype) + bias.astype(x.dtype)

    def _blocks(self, x, pairs):
        """[batch, neuron, pair, 3, width] -> for each target, the sum over its sources."""
        batch, n, count, _, w = x.shape
        targets = list(dict.fromkeys(t for _, t in pairs))
        split = x.reshape(batch, n, count, 3, self.heads, w // self.heads)
        q, k, v = (split[..., i, :, :] for i in range(3))
        score = jnp.einsum("bnghd,bmghd->bghnm", q, k) / math.sqrt(w)
        o = q + jnp.einsum("bghnm,bmghd->bnghd", jax.nn.softmax(score), v)
        o = o.reshape(batch, n, count, w)
        by_target = [pair for t in targets for pair in pairs if pair[1] == t]
        order = np.array([by_target.index(pair) for pair in pairs])
        matrix, bias = self._mix(targets, pairs, w, x.dtype)
        o = o + nn.relu(jnp.einsum("bngc,gcd->bngd", o, matrix[order]) + bias[order])
        member = np.array([[pair[1] == t for t in targets] for pair in pairs])
        o = jnp.einsum("bngd,gt->tbnd", o, jnp.asarray(member, x.dtype))
        return dict(zip(targets, o, strict=True))

    def _mix(self, targets, pairs, w, dtype):
        """The maps after attention, target by target, [pair, width, width] and [pair, width]."""
        count = lambda t: sum(pair[1] == t for pair in pairs)
        get = lambda t, suffix, init, *shape: self.param(
            f"{variable(t)}_out{suffix}", init, (count(t), *shape), jnp.float32
        )
        matrices = [get(t, "", _scaled(spread(w, w)), w, w) for t in targets]
        biases = [get(t, "_bias", ZEROS, w) for t in targets]
        return (jnp.concatenate(x).astype(dtype) for x in (matrices, biases))


class Layer(nn.Module):
    """Every array reads every array; commutes with permutations of hidden neurons.

    Attributes:
        spec: the architecture.
        out: channels of the result.
        attention: along an axis that is the only one shared; else DeepSets.
        heads: of the attention.
        reduction: how axes are pooled, one of `REDUCTIONS`.
        diagonal: only arrays that share neurons.
        as_published: see `plan`.
    """

    spec: Spec
    out: int
    attention: bool
    heads: int
    reduction: str
    diagonal: bool
    as_published: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, entry, channel] -> [batch, entry, out]."""
        spec = self.spec
        layout = plan(spec, self.attention, self.diagonal, self.as_published)
        arrays = fold(x, spec, spec.hidden)
        widths = {name: self.out * count for name, count in layout.folded.items()}
        pools: dict[tuple[str, Pattern], jax.Array] = {}

        def pool(name, pattern):
            if (name, pattern) not in pools:
                pool = pooled(arrays[name], layout.axes[name], pattern, self.reduction)
                pools[name, pattern] = pool
            return pools[name, pattern]

        parts: dict[str, list] = {name: [] for name in arrays}

        def put(y, target, pattern):
            y = jnp.tile(y, widths[target] // y.shape[-1])  # for outputs that read alike
            parts[target].append(_placed(y, pattern, layout.axes[target]))

        one = dict.fromkeys(widths, self.out)
        kinds = (False, widths, ""), (True, one, "_alike")
        for (target, patterns), (alike, width, end) in itertools.product(
            layout.linear.items(), kinds
        ):
            for pattern, terms in patterns.items():
                terms = [t for t in terms if ((t.source, target) in layout.alike) == alike]
                if not terms:
                    continue
                name = "_".join((variable(target), "along", *(pattern or ("none",))))
                weights, biased = zip(*((t.weight, t.bias) for t in terms), strict=True)
                linear = Sum(width[target], weights, biased, name=name + end)
                put(linear([pool(t.source, pattern) for t in terms]), target, pattern)
        for (axis, pairs), (alike, width, end) in itertools.product(layout.sets.items(), kinds):
            pairs = tuple(p for p in pairs if (p in layout.alike) == alike)
            sets = {source: pool(source, (axis,)) for source, _ in pairs}
            if sets:
                read = Attention(pairs, width, self.heads, name=f"along_{axis}{end}")
                for target, y in read(sets).items():
                    put(y, target, (axis,))
        sizes = dict(spec.sizes)
        full = lambda y, name: jnp.broadcast_to(
            y, (len(y), *(sizes[h] for h in layout.axes[name]), widths[name])
        )
        sums = {name: full(sum(some), name) for name, some in parts.items()}
        return unfold(sums, spec, spec.hidden) / len(sums)


def _placed(y, pattern, axes):
    """[batch, *pattern, channel] -> the same with axes of one where `axes` has more."""
    sizes = dict(zip(pattern, y.shape[1:-1], strict=True))
    return y.reshape(len(y), *(sizes.get(axis, 1) for axis in axes), y.shape[-1])

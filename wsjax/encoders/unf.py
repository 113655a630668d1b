"""Universal neural functionals: layers derived from the axes of any architecture.

Zhou, Finn and Harrison (2024). One layer maps every array A of a network to every array B
by all linear maps that commute with permutations of hidden neurons (`partitions`), each
with a matrix Theta of its own from the channels of A to those of B:

    B <- relu( sum over A and over partitions P of both arrays' axes  Theta_P E_P(A)  + bias )

    embedding = linear map of the means of every array over its hidden axes

Inputs, outputs, taps and positions are channels of the first layer, and of the last one if
it edits. E_P takes means, and Theta starts with variance 1 / (channels that feed B), as in
the published code.

All arrays that are read along one name, say h0, are laid side by side and mapped by one
product to all that are written along it; arrays of the same axes are one with more channels.
So the program grows with the number of arrays, and only the number of parameters with its
square. With `near` it is the number of arrays that share a hidden axis: what is read along
none, the means over whole arrays, goes through one vector for all targets. (Arrays without a
hidden axis have a matrix among themselves besides.)

Deviations: hidden layers have `width` channels for each array, however many taps or inputs
it has; what is constant may differ on diagonals; a hidden axis of a single neuron counts as
no axis, where the published basis has maps that are equal. The default size is ours.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.encoders.parts.equivariant_maps import Names, Pattern, readings, writings
from wsjax.networks import Spec
from wsjax.views.arrays import ArraysView, arrays_view, fold, unfold


def permuted(spec: Spec) -> tuple[str, ...]:
    """The hidden axes of two neurons or more."""
    sizes = dict(spec.sizes)
    return tuple(h for h in spec.hidden if sizes[h] > 1)


@functools.lru_cache(maxsize=256)
def groups(spec: Spec) -> dict[Names, tuple[str, ...]]:
    """Arrays that have the same permuted axes, which are treated as one with more channels.

    >>> from wsjax import architectures
    >>> groups(architectures.mlp([1, 8, 1]))[("h0",)]
    ('Dense_0/kernel', 'Dense_0/bias', 'Dense_1/kernel')
    """
    keep, out = permuted(spec), {}
    for a in spec.arrays:
        out.setdefault(tuple(x for x in a.axes if x in keep), []).append(a.name)
    return {axes: tuple(names) for axes, names in out.items()}


def _nested(spec: Spec) -> tuple[tuple[str, str], ...]:
    """Pairs of permuted axes, the first of which is nested within the second."""
    keep = permuted(spec)
    return tuple(pair for pair in spec.nested if set(pair) <= set(keep))


def read(x: jax.Array, pattern: Pattern, cache: dict) -> jax.Array:
    """Takes diagonals along blocks of axes, and means over the blocks that are not kept.

    Args:
        x: [batch, *axes, channel].
        pattern: a reading of these axes.
        cache: readings of this array so far; more are added.

    Returns:
        [batch, *axes that are kept, channel].
    """
    order = tuple(sorted(pattern.kept))
    x = _mean(x, pattern.blocks, order, cache)
    return x.transpose(0, *(1 + order.index(k) for k in pattern.kept), x.ndim - 1)


def _mean(x, blocks, kept, cache):
    if (blocks, kept) not in cache:
        lost = [k for k in range(len(blocks)) if k not in kept]
        if lost:  # one more mean of what is read along one more block
            more = tuple(sorted((*kept, lost[0])))
            reading = _mean(x, blocks, more, cache).mean(1 + more.index(lost[0]))
        else:
            reading = _diagonal(x, blocks)
        cache[blocks, kept] = reading
    return cache[blocks, kept]


def _diagonal(x, blocks):
    """[batch, *axes, channel] -> [batch, *blocks, channel]."""
    if all(len(block) == 1 for block in blocks):
        return x
    letters = {i: chr(ord("a") + k) for k, block in enumerate(blocks) for i in block}
    axes = "".join(letters[i] for i in range(len(letters)))
    return jnp.einsum(f"Y{axes}Z->Y{''.join(letters[b[0]] for b in blocks)}Z", x)


def write(x: jax.Array, pattern: Pattern, shape: tuple[int, ...]) -> jax.Array:
    """Puts axes on blocks of axes of an array, on diagonals along those of several.

    Args:
        x: [batch, *axes, channel].
        pattern: a writing of an array that has these axes.
        shape: of the array.

    Returns:
        [batch, *shape, channel], where axes of size 1 are to be repeated.
    """
    first = [pattern.blocks[k][0] for k in pattern.kept]
    order, room = np.argsort(first), [1] * len(shape)
    for i in first:
        room[i] = shape[i]
    x = x.transpose(0, *(1 + int(i) for i in order), x.ndim - 1)
    x = x.reshape(x.shape[0], *room, x.shape[-1])
    for block in pattern.blocks:
        for i in block[1:]:
            ones = [shape[j] if j in (block[0], i) else 1 for j in range(len(shape))]
            x = x * np.eye(shape[i]).reshape(1, *ones, 1).astype(x.dtype)
    return x


def side_by_side(
    arrays: dict[Names, jax.Array], spec: Spec, only: Names | None = None
) -> dict[Names, jax.Array]:
    """All readings of all groups, side by side by the names they lie along.

    Args:
        arrays: for each of `groups`, [batch, *axes, channel].
        spec: of the arrays.
        only: those along these names; all if None.

    Returns:
        For each tuple of names, [batch, *axes, channel of any reading].
    """
    bank = {}
    for axes in groups(spec):  # in this order, not in that of the dict, which `jit` sorts
        cache, x = {}, arrays[axes]
        for names, patterns in readings(axes, _nested(spec)).items():
            if only is None or only == names:
                bank.setdefault(names, []).extend(read(x, p, cache) for p in patterns)
    return {names: jnp.concatenate(parts, axis=-1) for names, parts in bank.items()}


class Layer(nn.Module):
    """An affine map of all arrays to all arrays that commutes with permutations.

    Attributes:
        spec: of the arrays.
        widths: channels of each of `groups`, in their order.
        near: see `UNF`; numbers of the vector that all arrays share, or 0.
    """

    spec: Spec
    widths: tuple[int, ...]
    near: int = 0

    @nn.compact
    def __call__(self, arrays: dict[Names, jax.Array]) -> dict[Names, jax.Array]:
        """[batch, *axes, channel] of each group -> the same, new channels."""
        spec, sizes = self.spec, dict(self.spec.sizes)
        bank = side_by_side(arrays, spec)
        weight = lambda name, fan_in, width: self.param(
            name, nn.initializers.normal(fan_in**-0.5), (fan_in, width), jnp.float32
        )
        cast = lambda x: x.astype(bank[()].dtype)
        if self.near:
            bank[()] = bank[()] @ cast(weight("common", bank[()].shape[-1], self.near))
        jobs = {names: [] for names in bank}  # names -> (target, pattern, weights)
        for axes, width in zip(groups(spec), self.widths, strict=True):
            todo = [(n, p) for n, ps in writings(axes, _nested(spec)).items() for p in ps]
            parts = [bank[names].shape[-1] for names, _ in todo]
            theta = cast(weight(f"to_{'.'.join(axes)}", sum(parts), width))
            rows = jnp.split(theta, np.cumsum(parts)[:-1].tolist())
            for (names, pattern), w in zip(todo, rows, strict=True):
                jobs[names].append((axes, pattern, w))
        out = {}
        for names, targets in jobs.items():
            y = bank[names] @ jnp.concatenate([w for _, _, w in targets], axis=1)
            if not names:
                y = y + cast(self.param("bias", nn.initializers.zeros, y.shape[-1:], jnp.float32))
            ends = np.cumsum([w.shape[1] for _, _, w in targets])[:-1].tolist()
            for (axes, pattern, _), part in zip(targets, jnp.split(y, ends, -1), strict=True):
                part = write(part, pattern, tuple(sizes[x] for x in axes))
                out[axes] = out[axes] + part if axes in out else part
        if self.near and () in out:  # the values of these arrays are means over them
            x = arrays[()]
            out[()] += x @ cast(weight("own", x.shape[-1], out[()].shape[-1]))
        return out


def join(arrays: dict[str, jax.Array], spec: Spec) -> dict[Names, jax.Array]:
    """Lays the channels of arrays that are a group side by side; `part` undoes it."""
    return {
        axes: jnp.concatenate([arrays[name] for name in names], axis=-1)
        for axes, names in groups(spec).items()
    }


def part(
    joined: dict[Names, jax.Array], spec: Spec, channels: dict[str, int]
) -> dict[str, jax.Array]:
    """Takes groups apart into arrays of so many channels."""
    out = {}
    for axes, names in groups(spec).items():
        ends = np.cumsum([channels[name] for name in names])[:-1].tolist()
        out.update(zip(names, jnp.split(joined[axes], ends, axis=-1), strict=True))
    return out


class UNF(Encoder):
    """Layers of all maps that commute with permutations, with ReLU between, and means.

    Attributes:
        width: channels of each array.
        layers: equivariant layers.
        code: width of the embedding.
        readout: "code", or "edit": every parameter's change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editors`.
        near: means over whole arrays go through one vector of `width` numbers to all arrays,
            and only arrays that share a hidden axis have matrices for each pair; else every
            pair has, as published. For networks of many arrays.
    """

    width: int = 31
    layers: int = 3
    code: int = 32
    readout: str = "code"
    expansion: int = 1
    near: bool = False

    edits = True

    def __post_init__(self):
        super().__post_init__()
        choices = {"readout": settings.READOUTS}
        settings.check(self, choices=choices, sizes=("width", "layers", "code"))

    def view(self, spec: Spec) -> ArraysView:
        """The view of an architecture.

        Raises:
            ValueError: it has no arrays.
        """
        if not spec.arrays:
            raise ValueError(
                f"UNF does not support the network: expected arrays, got layers "
                f"{[x.name for x in spec.layers]} without any"
            )
        return arrays_view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        spec, keep = view.spec, permuted(view.spec)
        arrays, edit = fold(jnp.asarray(vectors), spec, keep), self.readout == "edit"
        channels = {name: x.shape[-1] * self.expansion for name, x in arrays.items()}
        x = join(arrays, spec)
        for i in range(self.layers):
            last = edit and i == self.layers - 1
            widths = tuple(
                sum(channels[n] if last else self.width for n in names)
                for names in groups(spec).values()
            )
            near = self.width if self.near else 0
            x = Layer(spec, widths, near, name=f"layer_{i}")(x)
            if not last:
                x = {axes: nn.relu(y) for axes, y in x.items()}
        if edit:
            return unfold(part(x, spec, channels), spec, keep).mean(-1)
        pooled = side_by_side(x, spec, ())[()]
        return nn.Dense(self.code, dtype=pooled.dtype, name="code_map")(pooled)

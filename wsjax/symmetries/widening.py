"""Widening: a network with one more neuron in its hidden axes, and the same function.

A hidden neuron is duplicated and what leaves it shared between the two (Chen et al., 2016,
Net2Net; the duplicates of Simsek et al., 2021):

    y = V f(W x + b)        W, b: row j once more        V: column j -> a V_j, (1 - a) V_j

So a function has networks of every larger width. Unlike a renumbering or a scaling this is
no action of a group on one architecture: the Spec changes, in its sizes alone.

Copies must carry the same, and nothing but weights may see that there are two. Not so for
what is normalised together (LayerNorm, GroupNorm), inside an attention, where a softmax sees
products over all dimensions, and for axes nested within others; `widenable` leaves them out.
"""

import dataclasses
import zlib

import jax
import jax.numpy as jnp

from wsjax.networks import Layer, Params, Spec
from wsjax.views.wiring import wiring

SHARE = (0.2, 0.8)  # what one of two copies keeps of a weight; the other has the rest


def widenable(spec: Spec) -> tuple[str, ...]:
    """The hidden axes whose neurons can be duplicated.

    Raises:
        ValueError: `wiring` cannot follow the spec.

    >>> from wsjax import architectures
    >>> widenable(architectures.vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=2, mlp_width=5))
    ('h0',)
    """
    against = _obstacles(spec)
    return tuple(h for h in spec.hidden if h not in against)


def widen(params: Params, spec: Spec, key: jax.Array) -> tuple[Params, Spec]:
    """Duplicates one neuron of each hidden axis that can be; the function is unchanged.

    Every weight that leaves the neuron is shared in a random proportion, by `SHARE`. The
    copy is the last neuron of its axis.

    Args:
        params: arrays [..., *axes of the spec].
        spec: what they mean.
        key: which neurons, and the proportions; for a batch of networks the neurons are the
            same in all.

    Returns:
        Arrays [..., *axes of the wider spec], in the dtypes they had, and that spec.

    Raises:
        ValueError: no hidden axis can be widened; for each it is said why.

    >>> from wsjax import architectures, testing
    >>> spec = architectures.mlp([2, 8, 1])
    >>> wide, wider = widen(testing.draw(jax.random.key(0), spec), spec, jax.random.key(1))
    >>> wider == architectures.mlp([2, 9, 1]), wide["Dense_1/kernel"].shape
    (True, (9, 1))
    """
    if not (axes := widenable(spec)):
        why = "".join(f"\n  {h!r}: {reason}" for h, reason in _obstacles(spec).items())
        raise ValueError(f"no hidden axis can be widened:{why or ' there is none'}")
    sizes, out = dict(spec.sizes), dict(params)
    for h in axes:
        mine = jax.random.fold_in(key, zlib.crc32(h.encode()))
        neuron = jax.random.randint(mine, (), 0, sizes[h])
        for n, a in enumerate(spec.arrays):
            for i, axis in enumerate(a.axes):
                if axis == h:
                    shares = jax.random.fold_in(mine, n) if i in a.reads else None
                    out[a.name] = _grown(out[a.name], i - len(a.axes), neuron, shares)
    grown = tuple((name, size + (name in axes)) for name, size in spec.sizes)
    return out, dataclasses.replace(spec, sizes=grown)


def _grown(array, axis: int, neuron, shares: jax.Array | None) -> jax.Array:
    """The array with a copy of a neuron behind the last; with a key, the two share it."""
    array = jnp.asarray(array)
    copy = jnp.take(array, neuron[None], axis=axis)
    if shares is None:
        return jnp.concatenate([array, copy], axis=axis)
    low, high = SHARE
    kept = copy * jax.random.uniform(shares, copy.shape, array.dtype, low, high)
    shape = [1] * array.ndim
    shape[axis] = array.shape[axis]
    here = (jnp.arange(array.shape[axis]) == neuron).reshape(shape)
    return jnp.concatenate([jnp.where(here, kept, array), copy - kept], axis=axis)


def _obstacles(spec: Spec) -> dict[str, str]:
    """Hidden axis -> why its neurons cannot be duplicated; those that can be are left out."""
    against = {}
    for inner, outer in spec.nested:
        against[inner] = f"is nested within {outer!r}"
        against[outer] = f"{inner!r} is nested within it"
    found = wiring(spec)
    for p in found.outputs:
        against |= dict.fromkeys(found.places[p].axes, "the output consists of it")
    for layer in spec.layers:
        for axes, why in _closed(layer, spec):
            against |= dict.fromkeys(axes, f"{layer.name} {why}")
        for a in layer.arrays:
            idle = [a.axes[i] for i in a.taps]
            against |= dict.fromkeys(idle, f"{a.name} neither reads nor writes it")
    return {h: against[h] for h in spec.hidden if h in against}


def _closed(layer: Layer, spec: Spec):
    """(axes, why) of what a layer does not treat neuron by neuron."""
    if layer.kind == "norm":
        stored = {"mean", "variance"} & {a.role for a in layer.arrays}
        kind = dict(layer.settings).get("norm", "batch" if stored else "unknown")
        if not layer.arrays:
            yield spec.hidden, "normalises we do not know what: it has no arrays"
        elif kind != "batch":
            axes = tuple(x for a in layer.arrays for x in a.axes)
            yield axes, f"normalises over it ({kind} norm)"
    if layer.kind == "attention":
        inside = [a for a in layer.arrays if a.reads][:-1]
        axes = tuple(a.axes[i] for a in inside for i in a.writes)
        yield axes, "has it inside its attention"

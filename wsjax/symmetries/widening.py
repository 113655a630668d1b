"""Widening: a network with one more neuron in its hidden axes, and the same function.

A hidden neuron is duplicated and its outgoing weights shared between the two (Chen et al., 2016,
Net2Net; the duplicates of Simsek et al., 2021):

    y = V f(W x + b)        W, b: row j once more        V: column j -> a V_j, (1 - a) V_j

So a function has networks of every larger width. Unlike a permutation or a scaling this is
no action of a group on one architecture: the Spec changes, in its sizes alone.

Nothing but outgoing weights may depend on the number of copies. Not widenable are neurons that
are normalised together (LayerNorm, GroupNorm), dimensions inside an attention, whose softmax
takes products over all of them, and axes nested within others.
"""

import dataclasses
import zlib

import jax
import jax.numpy as jnp

from wsjax.networks import Layer, Params, Spec, check_shapes
from wsjax.views.wiring import wiring

SHARE = (0.2, 0.8)  # the part of a weight that one of two copies has; the other has the rest


def widenable(spec: Spec) -> tuple[str, ...]:
    """The hidden axes whose neurons can be duplicated.

    Raises:
        ValueError: the spec has no `wiring`.

    >>> from wsjax import architectures
    >>> widenable(architectures.vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=2, mlp_width=5))
    ('h0',)
    """
    obstacles = _obstacles(spec)
    return tuple(h for h in spec.hidden if h not in obstacles)


def widen(params: Params, spec: Spec, key: jax.Array) -> tuple[Params, Spec]:
    """Duplicates one neuron of each hidden axis that can be; the function is unchanged.

    Every weight that leaves the neuron is shared in a random proportion, by `SHARE`. The
    copy is the last neuron of its axis.

    Args:
        params: arrays [..., *axes of the spec].
        spec: their meaning.
        key: of the neurons and the proportions; a batch of networks has the same neurons.

    Returns:
        Arrays [..., *axes of the wider spec], in the dtypes they had, and that spec.

    Raises:
        ValueError: no hidden axis can be widened, with the reason of each; or the network does
            not match its spec.

    >>> from wsjax import architectures, testing
    >>> spec = architectures.mlp([2, 8, 1])
    >>> wide, wider = widen(testing.draw(jax.random.key(0), spec), spec, jax.random.key(1))
    >>> wider == architectures.mlp([2, 9, 1]), wide["Dense_1/kernel"].shape
    (True, (9, 1))
    """
    check_shapes(params, spec)
    if not (axes := widenable(spec)):
        why = "".join(f"\n  {h!r}: {reason}" for h, reason in _obstacles(spec).items())
        raise ValueError(f"no hidden axis can be widened:{why or ' there is none'}")
    sizes, out = dict(spec.sizes), dict(params)
    for h in axes:
        own = jax.random.fold_in(key, zlib.crc32(h.encode()))
        neuron = jax.random.randint(own, (), 0, sizes[h])
        for n, a in enumerate(spec.arrays):
            for i, axis in enumerate(a.axes):
                if axis == h:
                    shares = jax.random.fold_in(own, n) if i in a.reads else None
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
    """Hidden axis -> why its neurons cannot be duplicated; widenable axes are left out."""
    obstacles = {}
    for inner, outer in spec.nested:
        obstacles[inner] = f"is nested within {outer!r}"
        obstacles[outer] = f"{inner!r} is nested within it"
    wires = wiring(spec)
    for p in wires.outputs:
        obstacles |= dict.fromkeys(wires.places[p].axes, "the output consists of it")
    for layer in spec.layers:
        for axes, why in _closed(layer, spec):
            obstacles |= dict.fromkeys(axes, f"{layer.name} {why}")
        for a in layer.arrays:
            idle = [a.axes[i] for i in a.taps]
            obstacles |= dict.fromkeys(idle, f"{a.name} neither reads nor writes it")
    return {h: obstacles[h] for h in spec.hidden if h in obstacles}


def _closed(layer: Layer, spec: Spec):
    """(axes, reason) of the neurons that a layer does not process one by one."""
    if layer.kind == "norm":
        stored = {"mean", "variance"} & {a.role for a in layer.arrays}
        kind = dict(layer.settings).get("norm", "batch" if stored else "unknown")
        if not layer.arrays:
            yield spec.hidden, "normalises neurons that it does not name: it has no arrays"
        elif kind != "batch":
            axes = tuple(x for a in layer.arrays for x in a.axes)
            yield axes, f"normalises over it ({kind} norm)"
    if layer.kind == "attention":
        inside = [a for a in layer.arrays if a.reads][:-1]
        axes = tuple(a.axes[i] for a in inside for i in a.writes)
        yield axes, "has it inside its attention"

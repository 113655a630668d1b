"""The families of `tests/cases/families.py` as functions to trace, and their axes."""

import functools

import jax
import jax.numpy as jnp

from wsjax.architectures import forward
from wsjax.networks import Spec
from wsjax.packing import Packing, Piece
from wsjax.tracing.axes import Axes


def axes_of(spec: Spec) -> Axes:
    """The axes of a Spec as of a trace: every array is stored as it is."""
    shapes = {a.name: spec.shape(a) for a in spec.arrays}
    pieces = tuple(
        Piece(n, n, s, (0,) * len(s), s, s, tuple(range(len(s)))) for n, s in shapes.items()
    )
    names = {a.name: a.axes for a in spec.arrays}
    packing = Packing(tuple(shapes.items()), pieces)
    return Axes(packing, names, dict(spec.sizes), spec.hidden, spec.nested, ())


def jaxpr_of(spec: Spec, shape: tuple[int, ...], batch: int = 2):
    """The program of a Spec's forward pass on inputs [batch, *shape]; its names, in order."""
    names = [a.name for a in spec.arrays]
    arrays = [jax.ShapeDtypeStruct(spec.shape(a), jnp.float32) for a in spec.arrays]
    run = functools.partial(forward, spec=spec)
    function = lambda arrays, x: run(dict(zip(names, arrays, strict=True)), x)
    x = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    return jax.make_jaxpr(function)(arrays, x), names

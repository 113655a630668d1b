"""Verification of a traced Spec: its group acts, and the outputs are compared.

    parameters made generic    a bias of zeros hides that it is permuted
    permutations               of all hidden axes at once, two elements; if they fail, one by one
    scales, signs, phases      of all signals at once; if they fail, one by one
    a misaligned permutation   of one array alone: an error must be small against its effect

What fails in single precision is tried in double, where a SIREN's rounding, omega times larger
after every layer, is no error. What fails there is given up: a hidden axis becomes a fixed one, a
layer's activation "other".
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Spec
from wsjax.packing import Packing
from wsjax.symmetries import permutations, scalings
from wsjax.tracing.axes import Axes
from wsjax.tracing.layers import Structure, spec_of
from wsjax.views.wiring import wired

EXACT = 1e-6  # relative changes that pass whatever a misaligned permutation does
SHARE = 0.05  # of the change by a misaligned permutation, which pass
STEPS = 5000  # of the outputs' precision, which pass
NOISE = 0.3  # added to parameters, of their size
SPREAD = 0.3  # of the logarithm of scales
FAR = 4  # of their power of two, once more
SCALED = 5e-5  # relative changes by scales that pass: products round twice


class Verification:
    """A function, generic parameters and their outputs.

    Args:
        function: (arrays, *inputs) -> outputs.
        abstract: shape and type of each array.
        numbers: of each array, or None where they are drawn.
        inputs: of the function, arrays or `jax.ShapeDtypeStruct`s.
        key: randomness.
        double: whether to run it in double precision.

    Raises:
        ValueError: the outputs are not finite, for the given parameters as for generic ones.
    """

    def __init__(
        self,
        function: Callable,
        abstract: Sequence[jax.ShapeDtypeStruct],
        numbers: Sequence[np.ndarray | None],
        inputs: Sequence,
        key: jax.Array,
        double: bool = False,
    ):
        self.double = double
        self.again = lambda: Verification(function, abstract, numbers, inputs, key, True)
        self.seeds = np.asarray(jax.random.key_data(key)).ravel()
        seed = np.random.default_rng(self.seeds)
        leaves, tree = jax.tree.flatten(inputs)
        widened = _widened if double else lambda x: x
        examples = jax.tree.unflatten(tree, [widened(_example(x, seed)) for x in leaves])
        real = lambda y: not jnp.issubdtype(y.dtype, jax.dtypes.extended)  # keys are left out
        outputs = jax.jit(
            lambda arrays: [y for y in jax.tree.leaves(function(arrays, *examples)) if real(y)]
        )
        self.run = lambda arrays: [np.asarray(y) for y in outputs(arrays)]
        given = [
            widened(_drawn(like, seed) if x is None else x)
            for like, x in zip(abstract, numbers, strict=True)
        ]
        self.arrays = [_generic(x, seed) for x in given]
        self.outputs = self.run(self.arrays)
        self.notes: list[str] = []
        if not _finite(self.outputs):
            self.notes = ["verified with the parameters as they are: noise made outputs infinite"]
            self.arrays, self.outputs = given, self.run(given)
        if not _finite(self.outputs):
            raise ValueError("expected finite outputs of the example inputs, got NaN or infinity")

    def verified(self, layers: Structure, names: Sequence[str], found: Axes) -> "Verified":
        """The Spec of a structure and its axes, less what fails.

        Raises:
            ValueError: it still fails.
        """
        notes = list(self.notes)
        trial = Trial(self, spec_of(layers, names, found), found.packing)
        if not (trial.permutes() and trial.scales()) and not self.double:
            with jax.enable_x64(True):
                try:
                    return self.again().verified(layers, names, found)
                except TypeError as error:
                    notes.append(f"double precision was not possible: {error!s:.80}")
        if not trial.permutes():
            failing = [h for h in trial.spec.hidden if not trial.permutes(h)]
            notes += [f"{h}: its permutations change the outputs" for h in failing]
            found = dataclasses.replace(
                found,
                hidden=tuple(h for h in found.hidden if h not in failing),
                nested=tuple(p for p in found.nested if not set(p) & set(failing)),
            )
            trial = Trial(self, spec_of(layers, names, found), found.packing)
            if not trial.permutes():
                raise ValueError(
                    "the traced Spec does not preserve the function: expected changes of at most "
                    f"{trial.tolerance:.0e} by permutations of its hidden axes, got "
                    f"{trial.error:.0e}; please report the model"
                )
        if not trial.scales():
            failing = [x for x in trial.signals if not trial.scales(x)] or trial.signals
            notes += [f"{x}: its scales or signs change the outputs" for x in sorted(failing)]
            trial = Trial(self, _without(trial.spec, set(failing)), found.packing)
            if not trial.scales():
                every = {x.name for x in trial.spec.layers}
                trial = Trial(self, _without(trial.spec, every), found.packing)
            if not trial.scales():
                raise ValueError(
                    "the traced Spec does not preserve the function: expected no scales or signs "
                    f"of {trial.signals}, which change it; please report the model"
                )
        return Verified(trial.spec, found, notes, trial.error, trial.misaligned)


class Verified(NamedTuple):
    """A Spec that preserves its function.

    Attributes:
        spec: of the function.
        axes: it was made of.
        notes: on what was given up.
        error: the largest change of the outputs by its permutations.
        misaligned: the change by the permutation of a single array.
    """

    spec: Spec
    axes: Axes
    notes: list[str]
    error: float
    misaligned: float


class Trial:
    """A Spec under test: everything about it is computed once."""

    def __init__(self, of: Verification, spec: Spec, packing: Packing):
        self.of, self.spec, self.packing = of, spec, packing
        stored = dict(zip((n for n, _ in packing.stored), of.arrays, strict=True))
        self.params = packing.pack(stored)

    def change(self, params) -> float:
        """The largest change of an output, relative to the largest output."""
        after = self.of.run(list(self.packing.unpack(dict(params)).values()))
        return max(map(_difference, self.of.outputs, after), default=0.0)

    @functools.cached_property
    def elements(self) -> list[dict[str, np.ndarray]]:
        """Elements of the group: uniform, cycles of all neurons, and cycles of half of the axes.

        All axes at once are not enough: swaps of two neurons that depend on each other would pass.
        Drawn by NumPy: `permutations.sample` would compile a program for every shape.
        """
        seed, out = np.random.default_rng(self.of.seeds), [{}, {}, {}, {}]
        for h, shape in permutations.shapes(self.spec).items():
            rows = np.broadcast_to(np.arange(shape[-1]), shape)
            drawn = seed.permuted(rows, axis=-1)
            cycle = np.take_along_axis(np.roll(drawn, 1, -1), np.argsort(drawn, -1), -1)
            half = seed.integers(2)
            out[0][h], out[1][h] = drawn, cycle
            out[2][h], out[3][h] = (cycle, rows) if half else (rows, cycle)
        return out

    def permuted(self, element):
        """The parameters after an element acted."""
        return _permute(element, self.params, self.spec)

    @functools.cached_property
    def error(self) -> float:
        """The largest change of the outputs by the elements."""
        return max(self.change(self.permuted(g)) for g in self.elements)

    @functools.cached_property
    def misaligned(self) -> float:
        """The change by the permutation of a single array, the largest of a few arrays."""
        hidden = set(permutations.movable(self.spec))
        able = [a.name for a in self.spec.arrays if hidden & set(a.axes)]
        if not able:
            return 0.0
        moved = self.permuted(self.elements[1])
        few = able[:: max(1, len(able) // 3)][:3]
        return max(self.change({**self.params, n: moved[n]}) for n in few)

    @functools.cached_property
    def tolerance(self) -> float:
        """The largest change that passes."""
        types = [y.dtype for y in self.of.outputs if jnp.issubdtype(y.dtype, jnp.inexact)]
        precision = max([float(jnp.finfo(t).eps) for t in types], default=0.0)
        return max(EXACT, min(SHARE * self.misaligned, STEPS * precision, 0.1))

    def permutes(self, axis: str | None = None) -> bool:
        """Whether permutations, of all hidden axes or of one, preserve the outputs."""
        if axis is None:
            return self.error <= self.tolerance
        still = {  # beside it, so that no new program is compiled
            h: np.broadcast_to(np.arange(g.shape[-1]), g.shape) for h, g in self.elements[0].items()
        }
        moves = (still | {axis: g[axis]} for g in self.elements[:2])
        return all(self.change(self.permuted(g)) <= self.tolerance for g in moves)

    @functools.cached_property
    def rescalings(self) -> tuple[scalings.Element, ...]:
        """Two elements: factors near one, and powers of two, as far as a line may be clipped."""
        if not wired(self.spec):
            return ()  # nothing is known to scale
        group, sizes = scalings.scaling_group(self.spec), dict(self.spec.sizes)
        if not group.factors and not group.phases:
            return ()
        seed, near, far, phases = np.random.default_rng(self.of.seeds), {}, {}, {}
        for name, x in group.factors.items():
            shape = tuple(sizes[a] for a in x.axes)
            drawn = seed.standard_normal(shape) if x.scale else np.zeros(shape)
            sign = seed.choice([-1, 1], shape) if x.sign else 1
            near[name] = np.asarray(sign * np.exp(SPREAD * drawn), np.float32)
            far[name] = np.asarray(sign * 2.0 ** np.round(FAR * drawn), np.float32)
        for name, x in group.phases.items():
            phases[name] = seed.integers(-1, 2, [sizes[a] for a in x.axes])
        return scalings.Element(near, phases), scalings.Element(far, phases)

    @property
    def signals(self) -> list[str]:
        """Names of all that is claimed to scale or shift."""
        return sorted(
            {*self.rescalings[0].factors, *self.rescalings[0].phases} if self.rescalings else ()
        )

    def scales(self, signal: str | None = None) -> bool:
        """Whether scales, signs and phase shifts, of all signals or of one, do."""
        tolerance = max(self.tolerance, SCALED)
        for element in self.rescalings:
            if signal is not None:  # ones beside it, so that no new program is compiled
                own = lambda x, still: {n: v if n == signal else still(v) for n, v in x.items()}
                element = scalings.Element(
                    own(element.factors, np.ones_like), own(element.phases, np.zeros_like)
                )
            if self.change(_scale(element, self.params, self.spec)) > tolerance:
                return False
        return True


# one program each: a take for every array alone would be compiled for each of their shapes
_permute = jax.jit(permutations.act, static_argnums=2)
_scale = jax.jit(scalings.act, static_argnums=2)


def _without(spec: Spec, signals: set[str]) -> Spec:
    """The spec with activations that nothing commutes with, of the layers of some signals."""
    names = {s.partition("/query")[0].partition("/value")[0] for s in signals} | signals
    layers = [
        dataclasses.replace(x, activation="other") if x.name in names else x for x in spec.layers
    ]
    return dataclasses.replace(spec, layers=tuple(layers))


def _difference(before: np.ndarray, after: np.ndarray) -> float:
    """The largest change, relative to the largest output of its place along the last axis."""
    if not jnp.issubdtype(before.dtype, jnp.inexact):
        return float(np.mean(before != after)) if before.size else 0.0
    if not before.size:
        return 0.0
    wide = np.complex128 if jnp.issubdtype(before.dtype, jnp.complexfloating) else np.float64
    before, after = before.astype(wide), after.astype(wide)
    rows = lambda x: x.reshape(-1, x.shape[-1] if x.ndim else 1)
    largest = np.abs(rows(before)).max(0)
    change = np.abs(rows(after - before)).max(0)
    largest = np.where(largest > 0, largest, np.abs(before).max() or 1.0)
    return float(np.max(change / largest))


def _finite(outputs) -> bool:
    real = (y for y in outputs if jnp.issubdtype(y.dtype, jnp.inexact))
    return all(np.isfinite(y.astype(np.complex128)).all() for y in real)


def _generic(x: np.ndarray, seed: np.random.Generator) -> np.ndarray:
    """Parameters with positive noise, so that no two neurons are equal and variances stay so."""
    size = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0
    noise = np.abs(seed.standard_normal(x.shape, np.float32)) * NOISE * (size or NOISE)
    return (x + noise).astype(x.dtype)


def _drawn(like: jax.ShapeDtypeStruct, seed: np.random.Generator) -> np.ndarray:
    """Random parameters of a shape: matrices by their inputs, vectors about one."""
    x = seed.standard_normal(like.shape, np.float32)
    fan_in = int(np.prod(like.shape[:-1])) if len(like.shape) > 1 else 0
    return (x / np.sqrt(fan_in) if fan_in else 1 + NOISE * np.abs(x)).astype(like.dtype)


def _widened(x):
    """Floating point in double precision."""
    if not jnp.issubdtype(getattr(x, "dtype", np.int32), jnp.floating):
        return x
    return np.asarray(x).astype(np.float64)


def _example(x, seed: np.random.Generator):
    if not isinstance(x, jax.ShapeDtypeStruct):
        return x
    if jnp.issubdtype(x.dtype, jnp.floating):
        return seed.standard_normal(x.shape, np.float32).astype(x.dtype)
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == np.bool_:
        return seed.integers(0, 2, x.shape).astype(x.dtype)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        parts = seed.standard_normal((*x.shape, 2), np.float32)
        return (parts[..., 0] + 1j * parts[..., 1]).astype(x.dtype)
    raise ValueError(f"expected an example input, got only the shape of one of {x.dtype}")

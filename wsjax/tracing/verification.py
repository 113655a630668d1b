"""Verification of a traced Spec: its group acts, and the outputs are compared.

    parameters made generic    a bias of zeros hides that it is permuted
    permutations               of all hidden axes at once, two elements; if they fail, one by one
    scales, signs, phases      of all signals at once; if they fail, one by one
    a misaligned permutation   of one array alone: an error must be small against its effect

What fails in single precision is tried in double, where a SIREN's rounding, thirty times larger
after every layer, is no error. What fails there is given up: a hidden axis becomes a fixed one, a
layer's activation "other".
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Spec
from wsjax.packing import Packing
from wsjax.symmetries import permutations, scalings
from wsjax.tracing.axes import Axes
from wsjax.tracing.layers import Structure, spec_of, wired

EXACT = 1e-6  # relative changes that pass whatever a misaligned permutation does
SHARE = 0.05  # of the change by a misaligned permutation, which pass
STEPS = 5000  # of the outputs' precision, which pass
NOISE = 0.3  # added to parameters, of their size
SPREAD = 0.3  # of the logarithm of scales
FAR = 4  # likewise of their power of two, once more


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
            _drawn(like, seed) if x is None else x
            for like, x in zip(abstract, numbers, strict=True)
        ]
        self.arrays = [widened(_generic(x, seed)) for x in given]
        self.outputs = self.run(self.arrays)
        self.notes: list[str] = []
        if not _finite(self.outputs):
            self.notes = ["verified with the parameters as they are: noise made outputs infinite"]
            self.arrays, self.outputs = given, self.run(given)
        if not _finite(self.outputs):
            raise ValueError("expected finite outputs of the example inputs, got NaN or infinity")

    def verified(
        self, layers: Structure, names: Sequence[str], found: Axes
    ) -> tuple[Spec, Axes, list[str]]:
        """The Spec of a structure and its axes, less what fails; and a note for all that does.

        Raises:
            ValueError: it still fails.
        """
        notes = list(self.notes)
        spec = spec_of(layers, names, found)
        passes = self._permutes(spec, found.packing) and self._scales(spec, found.packing)
        if not passes and not self.double:
            with jax.enable_x64(True):
                try:
                    return self.again().verified(layers, names, found)
                except TypeError as error:
                    notes.append(f"double precision was not possible: {error!s:.80}")
        if not self._permutes(spec, found.packing):
            failing = [h for h in spec.hidden if not self._permutes(spec, found.packing, h)]
            notes += [f"{h}: its permutations change the outputs" for h in failing]
            found = dataclasses.replace(
                found,
                hidden=tuple(h for h in found.hidden if h not in failing),
                nested=tuple(p for p in found.nested if not set(p) & set(failing)),
            )
            spec = spec_of(layers, names, found)
            if not failing or not self._permutes(spec, found.packing):
                came = self.errors(spec, found.packing)[0]
                raise ValueError(
                    "the traced Spec does not preserve the function: expected changes of at most "
                    f"{self._tolerance(spec, found.packing):.0e} by permutations of its hidden "
                    f"axes, got {came:.0e}; please report the model"
                )
        if not self._scales(spec, found.packing):
            group = scalings.scaling_group(spec)
            signals = {*group.factors, *group.phases}
            failing = {s for s in signals if not self._scales(spec, found.packing, s)} or signals
            notes += [f"{s}: its scales or signs change the outputs" for s in sorted(failing)]
            spec = _without(spec, failing)
            if not self._scales(spec, found.packing):
                spec = _without(spec, {x.name for x in spec.layers})
        return spec, found, notes

    def errors(self, spec: Spec, packing: Packing) -> tuple[float, float]:
        """The change of the outputs by the group, and by a misaligned permutation."""
        changes = [
            self._change(self._permuted(g, spec, packing), packing) for g in self._elements(spec)
        ]
        return max(changes), self._misaligned(spec, packing)

    def _packed(self, packing):
        stored = dict(zip((n for n, _ in packing.stored), self.arrays, strict=True))
        return packing.pack(stored)

    def _permuted(self, element, spec, packing):
        return _permute(element, self._packed(packing), spec)

    def _change(self, params, packing) -> float:
        """The largest change of an output, relative to the largest output."""
        after = self.run(list(packing.unpack(dict(params)).values()))
        return max(map(_difference, self.outputs, after), default=0.0)

    def _elements(self, spec) -> list[dict[str, np.ndarray]]:
        """Elements of the group: uniform, cycles of all neurons, and cycles of half of the axes.

        All axes at once are not enough: swaps of two neurons that depend on each other would pass.
        Drawn by NumPy: `permutations.sample` would compile a program for every shape.
        """
        seed, out = np.random.default_rng(self.seeds), [{}, {}, {}, {}]
        for h, shape in permutations.shapes(spec).items():
            rows = np.broadcast_to(np.arange(shape[-1]), shape)
            drawn = seed.permuted(rows, axis=-1)
            cycle = np.take_along_axis(np.roll(drawn, 1, -1), np.argsort(drawn, -1), -1)
            half = seed.integers(2)
            out[0][h], out[1][h] = drawn, cycle
            out[2][h], out[3][h] = (cycle, rows) if half else (rows, cycle)
        return out

    def _misaligned(self, spec, packing) -> float:
        """The change by the permutation of a single array, the largest of a few arrays."""
        params, hidden = self._packed(packing), set(permutations.movable(spec))
        able = [a.name for a in spec.arrays if hidden & set(a.axes)]
        if not able:
            return 0.0
        moved = self._permuted(self._elements(spec)[1], spec, packing)
        few = able[:: max(1, len(able) // 3)][:3]
        return max(self._change({**params, n: moved[n]}, packing) for n in few)

    def _tolerance(self, spec, packing) -> float:
        types = [y.dtype for y in self.outputs if jnp.issubdtype(y.dtype, jnp.inexact)]
        precision = max([float(jnp.finfo(t).eps) for t in types], default=0.0)
        return max(EXACT, min(SHARE * self._misaligned(spec, packing), STEPS * precision, 0.1))

    def _permutes(self, spec, packing, axis: str | None = None) -> bool:
        """Whether permutations, of all hidden axes or of one, preserve the outputs."""
        elements = self._elements(spec)
        if axis is not None:  # identities beside it, so that no new program is compiled
            still = {
                h: np.broadcast_to(np.arange(g.shape[-1]), g.shape) for h, g in elements[0].items()
            }
            elements = [still | {axis: g[axis]} for g in elements]
        changes = [self._change(self._permuted(g, spec, packing), packing) for g in elements]
        return max(changes, default=0.0) <= self._tolerance(spec, packing)

    def _scales(self, spec, packing, signal: str | None = None) -> bool:
        """Whether scales, signs and phase shifts, of all signals or of one, do."""
        if not wired(spec):
            return True  # nothing is known to scale
        group = scalings.scaling_group(spec)
        if not group.factors and not group.phases:
            return True
        seed, sizes, factors, phases = np.random.default_rng(self.seeds), dict(spec.sizes), {}, {}
        for name, x in group.factors.items():
            shape = tuple(sizes[a] for a in x.axes)
            scale = np.exp(SPREAD * seed.standard_normal(shape)) if x.scale else np.ones(shape)
            sign = seed.choice([-1, 1], shape) if x.sign else 1
            factors[name] = np.asarray(scale * sign, np.float32)
        for name, x in group.phases.items():
            phases[name] = seed.integers(-1, 2, [sizes[a] for a in x.axes])
        if signal is not None:
            factors = {n: x if n == signal else np.ones_like(x) for n, x in factors.items()}
            phases = {n: x if n == signal else np.zeros_like(x) for n, x in phases.items()}
        element = scalings.Element(factors, phases)
        far = {  # as far as a clipped activation may follow a line
            n: np.sign(x) * 2.0 ** np.round(FAR * np.log2(np.abs(x)) / SPREAD)
            for n, x in factors.items()
        }
        elements = (
            element,
            scalings.Element({n: x.astype(np.float32) for n, x in far.items()}, phases),
        )
        tolerance = max(self._tolerance(spec, packing), STEPS * 1e-8)
        scaled = (_scale(g, self._packed(packing), spec) for g in elements)
        return all(self._change(x, packing) <= tolerance for x in scaled)


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

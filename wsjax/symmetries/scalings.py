"""Scalings of hidden neurons: sample, act, compose, invert, canonical forms.

The diagonal symmetries of a network, beside the permutations of `wsjax.symmetries.permutations`:
the signals of hidden neurons are multiplied by factors, and the arrays that read them divided by
these (Godfrey et al., 2022; Kalogeropoulos et al., 2024). `signals.scaling_group` derives from a
Spec which signals have which factors. An element names signals by layer:

    g = Element(factors={"Dense_0": [-1., 1., 1.]}, phases={"Dense_0": [0, 2, 1]})

    factors    s    W, b, next W  ->  s W, s b, next W / s
    phases     k    b, next W     ->  b + k pi / omega, (-1)^k next W       of a sine

Factors first: neuron 0 above is flipped, neuron 2 is shifted by one phase. Factors commute;
a sign reverses phase shifts, so that a sine has the infinite dihedral group.

Two forms of the one action. By name, on `Params`: `act`. By position, on `ravel`'s vector:
`factors` gives what each entry is multiplied by and what is added to it.
"""

import functools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, networks
from wsjax.networks import Array, Params, Spec, offsets
from wsjax.summaries import summary
from wsjax.symmetries.signals import ScalingGroup, Term, scaling_group

KINDS = ("sign", "scale", "phase")


class Element(NamedTuple):
    """A scaling; signals that it does not name stay as they are.

    Attributes:
        factors: signal -> [..., *axes], the factors of its neurons.
        phases: sine layer -> [..., *axes], phase shifts, whole numbers.
    """

    factors: Mapping[str, jax.Array]
    phases: Mapping[str, jax.Array]

    __repr__ = summary


def identity(spec: Spec) -> Element:
    """The scaling that changes nothing."""
    group, sizes = scaling_group(spec), dict(spec.sizes)
    shape = lambda x: tuple(sizes[a] for a in x.axes)
    return Element(
        {name: jnp.ones(shape(x)) for name, x in group.factors.items()},
        {name: jnp.zeros(shape(x), jnp.int32) for name, x in group.phases.items()},
    )


def sample(
    key: jax.Array, spec: Spec, kinds: Sequence[str] = KINDS, spread: float = 1.0
) -> Element:
    """A random scaling.

    Args:
        key: randomness.
        spec: of the network.
        kinds: of `KINDS`, what to draw: signs are -1 or 1, scales exp(spread * normal), phase
            shifts round(spread * normal).
        spread: see `kinds`.

    Raises:
        ValueError: a kind is unknown.
    """
    networks.expect_spec(spec)
    if isinstance(kinds, str) or set(kinds) - set(KINDS):
        raise ValueError(f"expected several kinds of {KINDS}, got {kinds!r}")
    factors, phases = map(dict, identity(spec))
    key_of = lambda name, kind: jax.random.fold_in(key, zlib.crc32(f"{name} {kind}".encode()))
    for name, x in scaling_group(spec).factors.items():
        one = factors[name]
        if x.scale and "scale" in kinds:
            drawn = jax.random.normal(key_of(name, "scale"), one.shape, one.dtype)
            factors[name] = jnp.exp(spread * drawn)
        if x.sign and "sign" in kinds:
            factors[name] *= jax.random.rademacher(key_of(name, "sign"), one.shape, one.dtype)
    for name in phases if "phase" in kinds else ():
        drawn = jax.random.normal(key_of(name, "phase"), phases[name].shape)
        phases[name] = jnp.round(spread * drawn).astype(jnp.int32)
    return Element(factors, phases)


def act(element: Element, params: Params, spec: Spec) -> Params:
    """Scales a network's hidden neurons; its function is unchanged.

    Args:
        element: as from `sample`. If it has batch axes, they are the network's.
        params: arrays [..., *axes of the spec].
        spec: what the arrays mean.

    Returns:
        Another network of the same function.

    Raises:
        ValueError: the network does not match its spec; or the element names a signal without
            factors, or an array of it has another shape; every mistake is listed. Values are not
            checked: -1 where only positive factors preserve the function gives another function.
        TypeError: these are no named arrays, no spec or no element.
    """
    networks.check_shapes(params, spec)
    group, out = _checked(element, spec), {}
    for a in spec.arrays:
        array, shift = params[a.name], group.shifts.get(a.name)
        for x in _multipliers(element, group, a):
            array = array * x.astype(array.dtype)
        if shift and shift.name in element.phases:
            k = _along(element.phases[shift.name], shift.at, len(a.axes))
            array = array + group.phases[shift.name].step * k.astype(array.dtype)
        out[a.name] = array
    return out


def compose(second: Element, first: Element, spec: Spec) -> Element:
    """The scaling that does `first`, then `second`.

    `act(compose(g, f, spec), p, spec) == act(g, act(f, p, spec), spec)`.

    Raises:
        ValueError: the two do not name the same, or one does not fit the spec.
    """
    names = [sorted([*e.factors, *(f"{t} (phases)" for t in e.phases)]) for e in (first, second)]
    if names[0] != names[1]:
        raise ValueError(f"expected the same signals, got {names[0]} and {names[1]}")
    _checked(first, spec)
    shifted = _signed(second, first.phases, spec)
    return Element(
        {name: second.factors[name] * x for name, x in first.factors.items()},
        {name: second.phases[name] + k for name, k in shifted.items()},
    )


def inverse(element: Element, spec: Spec) -> Element:
    """The scaling that undoes `element`."""
    shifted = _signed(element, element.phases, spec)
    return Element(
        {name: 1 / x for name, x in element.factors.items()},
        {name: -k for name, k in shifted.items()},
    )


def factors(element: Element, spec: Spec) -> tuple[jax.Array, jax.Array]:
    """`act` on `ravel`'s vector: vector * multiply + add, entry by entry.

    For jitted steps: where an entry finds its factors is computed once for a spec, in NumPy.

    Args:
        element: arrays [..., *axes]; their batch axes are broadcast against each other.
        spec: of the network.

    Returns:
        multiply [..., entry], add [..., entry].

    Raises:
        ValueError: as in `act`.
    """
    _checked(element, spec)
    layout, whole = _layout(spec), identity(spec)
    scales, phases = ({**w, **e} for w, e in zip(whole, element, strict=True))
    dtype = jnp.result_type(*scales.values()) if scales else jnp.result_type(float)
    lead = jnp.broadcast_shapes(
        *(x.shape[: x.ndim - w[n].ndim] for e, w in zip((scales, phases), whole, strict=True)
          for n, x in e.items())
    )  # fmt: skip

    def row(values, first, like):
        parts = [jnp.full((*lead, 1), first, dtype)]  # for entries without a factor
        for name, one in like.items():
            x = jnp.broadcast_to(values[name], (*lead, *one.shape)).astype(dtype)
            parts.append(x.reshape(*lead, -1))
        return jnp.concatenate(parts, axis=-1)

    scale, shift = row(scales, 1, whole.factors), row(phases, 0, whole.phases)
    table = jnp.concatenate([scale, 1 / scale, 1 - 2 * jnp.mod(shift, 2)], axis=-1)
    add = jnp.take(shift, layout.shift, axis=-1) * jnp.asarray(layout.step, dtype)
    return jnp.take(table, layout.index, axis=-1).prod(-1), add


def canonical(params: Params, spec: Spec) -> Params:
    """The same network for all that differ by a scaling: scales, phases, then signs.

    Here and in each of the three:

    Raises:
        ValueError: a weight is NaN or infinite, or one of the form would be: neurons too large
            for the products of norms, or for shifts by multiples of pi, in the arrays' precision.
            Arrays and networks are named. Under `jit` nothing is raised: such weights are NaN or
            infinite in the form too.
    """
    return canonical_sign(canonical_phase(canonical_scale(params, spec), spec), spec)


def canonical_scale(params: Params, spec: Spec) -> Params:
    """Scales neurons so that the incoming weights of each have norm one, by the same function.

    Incoming are the kernels, biases and scales that write a signal and read none whose factors
    are settled later: of the stream of a residual network, the first. All networks that differ
    by positive factors become one, up to rounding. A neuron whose incoming weights are all zero
    stays as it is.

    Args:
        params: arrays [..., *axes of the spec].
        spec: what they mean.
    """
    params = _finite(params, spec)
    for name, x in scaling_group(spec).factors.items():
        if x.scale:
            size = _size(params, spec, name)
            square = _incoming(params, spec, name, lambda a, w: w * w, size)
            some = square > 0
            factor = jnp.where(some, jax.lax.rsqrt(jnp.where(some, square, 1)) / size, 1)
            params = act(Element({name: factor}, {}), params, spec)
    return _finite(params, spec, "canonical scales")


def canonical_sign(params: Params, spec: Spec) -> Params:
    """Flips neurons so that the incoming weights of each are positive, by the same function.

    Positive is the first of these sums that is not zero: of the incoming biases (see
    `canonical_scale`; most neurons have one), of the weights, of the weights' cubes. Permuting
    neurons changes them by rounding alone. A neuron whose sums are all zero stays as it is, as
    for two weights that are each other's negative: it equals its flip. All other networks that
    differ by signs become one; with phases settled before, those that differ by both.

    Args:
        params: arrays [..., *axes of the spec].
        spec: what they mean.
    """
    params = _finite(params, spec)
    sums = (
        lambda a, w: w if a.role == "bias" else jnp.zeros_like(w),
        lambda a, w: w if a.role != "bias" else jnp.zeros_like(w),
        lambda a, w: w**3 if a.role != "bias" else jnp.zeros_like(w),
    )
    for name, x in scaling_group(spec).factors.items():
        if x.sign:
            size = _size(params, spec, name)
            first, *others = (_incoming(params, spec, name, of, size) for of in sums)
            for other in others:
                first = jnp.where(first == 0, other, first)
            flip = jnp.where(first < 0, -jnp.ones_like(first), jnp.ones_like(first))
            params = act(Element({name: flip}, {}), params, spec)
    return params


def canonical_phase(params: Params, spec: Spec) -> Params:
    """Shifts sines to biases in [-pi / 2 omega, pi / 2 omega); the function is unchanged.

    All networks that differ by phase shifts become one. A flip of sign maps the interval to
    itself. The published procedure (Kalogeropoulos et al., 2024, algorithm 1) is for omega 1.

    Args:
        params: arrays [..., *axes of the spec].
        spec: what they mean.
    """
    group, params = scaling_group(spec), _finite(params, spec)
    axes = {a.name: len(a.axes) for a in spec.arrays}
    for name, shift in group.shifts.items():
        bias = _onto(params[name], shift.at, len(shift.at))
        k = -jnp.floor(bias / group.phases[shift.name].step + 0.5)
        # larger ones round by more than a hundredth of a shift, and lose their last digit at last
        known = jnp.abs(k) < min(0.01 / float(jnp.finfo(k.dtype).eps), 2.0**31)
        k = jnp.where(known, k, 0).astype(jnp.int32)
        kept = jnp.where(_along(known, shift.at, axes[name]), params[name], jnp.nan)
        params = act(Element({}, {shift.name: k}), {**params, name: kept}, spec)
    return _finite(params, spec, "canonical phases")


def _finite(params: Params, spec: Spec, form: str = "") -> dict[str, jax.Array]:
    """The network, as JAX's arrays; raises unless it is finite, of no form or of this one."""
    if wrong := networks.mistakes(params, spec):
        beyond = f"{form} are beyond the arrays' precision, use float64 or leave the network out"
        checks.raise_all(beyond if form else "network does not match its spec", wrong)
    return {a.name: jnp.asarray(params[a.name]) for a in spec.arrays}


def _size(params, spec, name) -> jax.Array:
    """The power of two just below the largest weight that writes a signal; 1 where all are 0.

    Divided by it, weights keep their digits, and their squares and cubes are within range.
    """
    parts = [
        _onto(jnp.abs(params[a.name]), term.at, len(a.axes), jnp.max)
        for a, term in scaling_group(spec).incoming[name]
    ]
    most = jax.lax.stop_gradient(functools.reduce(jnp.maximum, parts))
    _, exponent = jnp.frexp(most)
    return jnp.where(most > 0, jnp.ldexp(jnp.ones_like(most), exponent - 1), 1)


def _incoming(
    params, spec, name, of: Callable[[Array, jax.Array], jax.Array], size: jax.Array
) -> jax.Array:
    """The sum over the weights that write a signal, divided by `size`, [..., *its axes]."""
    parts = [
        _onto(of(a, params[a.name] / _along(size, term.at, len(a.axes))), term.at, len(a.axes))
        for a, term in scaling_group(spec).incoming[name]
    ]
    return functools.reduce(jnp.add, parts)


def _along(values, at, ndim):
    """Values [..., *axes] laid along the positions `at` of an array with `ndim` axes."""
    lead, shape = values.ndim - len(at), [1] * ndim
    for k, i in enumerate(at):
        shape[i] = values.shape[lead + k]
    order = (lead + k for k in sorted(range(len(at)), key=lambda k: at[k]))
    return values.transpose(*range(lead), *order).reshape(*values.shape[:lead], *shape)


def _onto(array, at, ndim, reduce=jnp.sum):
    """An array [..., *axes] reduced over all of its `ndim` axes but `at`; [..., *at]."""
    array = reduce(array, tuple(i - ndim for i in range(ndim) if i not in at)).astype(array.dtype)
    lead = array.ndim - len(at)
    return array.transpose(*range(lead), *(lead + sorted(at).index(i) for i in at))


def _multipliers(element: Element, group: ScalingGroup, a: Array) -> Iterator[jax.Array]:
    """The factors of an array, each laid along its axes."""
    for term in group.terms[a.name]:
        values = element.factors if term.power else element.phases
        if term.name in values:
            x = _along(values[term.name], term.at, len(a.axes))
            yield x if term.power == 1 else 1 / x if term.power == -1 else 1 - 2 * (x % 2)


def _signed(element: Element, phases, spec: Spec) -> dict[str, jax.Array]:
    """Phase shifts with the signs that an element gives the biases they move."""
    group, out = _checked(element, spec), {}
    for a in spec.arrays:
        shift = group.shifts.get(a.name)
        if shift and shift.name in phases:
            k = _along(phases[shift.name], shift.at, len(a.axes))
            for x in _multipliers(element, group, a):
                k = jnp.where(x < 0, -k, k)
            out[shift.name] = _onto(k, shift.at, len(a.axes))
    return out


def _checked(element: Element, spec: Spec) -> ScalingGroup:
    if not isinstance(element, Element):
        came = type(element).__name__
        raise TypeError(f"expected an Element of factors and phases, as of `sample`, got {came}")
    group, sizes, wrong = scaling_group(spec), dict(spec.sizes), []
    for word, values in zip(("factors", "phases"), element, strict=True):
        signals = getattr(group, word)
        for name, x in values.items():
            if name not in signals:
                wrong.append(f"{name!r}: expected {word} for {list(signals)}")
                continue
            want = tuple(sizes[a] for a in signals[name].axes)
            if x.ndim < len(want) or x.shape[x.ndim - len(want) :] != want:
                wanted = f"[..., {', '.join(map(str, want))}] {signals[name].axes}"
                wrong.append(f"{name!r}: expected {word} {wanted}, got {x.shape}")
    checks.raise_all("element does not fit its spec", wrong)
    return group


class _Layout(NamedTuple):
    """For each entry of the vector, the places of its factors and of its phase shift.

    Attributes:
        index: [entry, k] row of the table of factors, their inverses, and signs of phases.
        shift: [entry] row of the table of phases.
        step: [entry] added by one phase shift.
    """

    index: np.ndarray
    shift: np.ndarray
    step: np.ndarray


@functools.lru_cache(maxsize=256)
def _layout(spec: Spec) -> _Layout:
    group, places, sizes = scaling_group(spec), offsets(spec), dict(spec.sizes)
    starts, counts = [{}, {}], [1, 1]  # of factors and of phases, after one row for none
    for i, signals in enumerate((group.factors, group.phases)):
        for name, x in signals.items():
            starts[i][name] = counts[i]
            counts[i] += math.prod(sizes[a] for a in x.axes)
    index = np.zeros((spec.count, max([1, *map(len, group.terms.values())])), np.int32)
    shift, step = np.zeros(spec.count, np.int32), np.zeros(spec.count)

    def rows(a: Array, term: Term):
        shape, row = spec.shape(a), 0
        grid = np.indices(shape).reshape(len(shape), -1)
        for i in term.at:
            row = row * shape[i] + grid[i]
        return starts[term.power == 0][term.name] + row

    for a in spec.arrays:
        at = places[a.name].ravel()
        for k, term in enumerate(group.terms[a.name]):
            block = {1: 0, -1: counts[0], 0: 2 * counts[0]}[term.power]
            index[at, k] = block + rows(a, term)
        if term := group.shifts.get(a.name):
            shift[at], step[at] = rows(a, term), group.phases[term.name].step
    return _Layout(index, shift, step)

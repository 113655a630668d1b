"""Alignment: the network of the same function that is nearest to a reference.

    A' = scale(permute(B))       of A's neurons: their order, scales, signs and phase shifts

Permutations are found by `symmetries.matching` where no factor is in the way: on a form whose
neurons have incoming weights of norm one and phases within one shift, and on absolute values, as
signs are not known yet. Factors then follow neuron by neuron, for all else held: a sign and a
phase shift by trial, a scale s as the minimum of

    |s W - W'|^2 + |V / s - V'|^2        W incoming, V outgoing weights, of A with a prime

Permutations and factors take turns until the distance to A does not fall.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wsjax.networks import Array, Spec
from wsjax.symmetries import matching, permutations, scalings
from wsjax.symmetries.signals import ScalingGroup, Term, scaling_group
from wsjax.views.wiring import wired

Arrays = Mapping[str, np.ndarray]
ROUNDS = 4  # of permutations and factors in turn, at most
PASSES = 3  # over all signals, for their factors
NEWTON = 30  # steps to the best scale


class Alignment(NamedTuple):
    """A network aligned with a reference.

    Attributes:
        params: the aligned network, arrays [*shape], float64.
        permutation: hidden axis -> permutation, as of `permutations.act`.
        scaling: what follows it, as of `scalings.act`; None of networks without factors.
    """

    params: dict[str, np.ndarray]
    permutation: permutations.Element
    scaling: scalings.Element | None


def align(params: Arrays, reference: Arrays, spec: Spec, factors: bool = True) -> Alignment:
    """Brings a network near a reference by the symmetries of their spec; its function stays.

    Args:
        params: one network, arrays [*shape].
        reference: another of the same spec.
        spec: meaning of the arrays.
        factors: whether signs, scales and phase shifts are sought, beside permutations.

    Returns:
        The aligned network and the symmetries that were applied. A local optimum; a permuted and
        rescaled copy is aligned exactly, up to rounding, if its neurons differ.

    Raises:
        ValueError: as `matching.match`.

    >>> from wsjax import architectures, testing
    >>> import jax
    >>> spec = architectures.mlp([2, 4, 1], "relu")
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> scaling = scalings.sample(jax.random.key(1), spec)
    >>> found = align(scalings.act(scaling, params, spec), params, spec)
    >>> bool(np.allclose(found.params["Dense_0/kernel"], params["Dense_0/kernel"]))
    True
    """
    double = lambda p: {a.name: np.asarray(p[a.name], np.float64) for a in spec.arrays}
    ours, theirs, outer = double(params), double(reference), dict(spec.nested)
    group = scaling_group(spec) if factors and wired(spec) else None
    if group is None or not (group.factors or group.phases):
        element = _match(ours, theirs, spec)
        moved = _permuted(ours, element, spec, outer)
        return Alignment(moved, element, None)
    signed = any(x.sign for x in group.factors.values()) or bool(group.phases)
    form = lambda p, phases: _form(p, spec, group, phases)
    if signed:
        absolute = lambda p: {n: np.abs(x) for n, x in form(p, True).items()}
        element = _match(absolute(ours), absolute(theirs), spec)
    else:
        element = _match(form(ours, False), form(theirs, False), spec)
    best = None
    for _ in range(ROUNDS):
        moved = _permuted(ours, element, spec, outer)
        scaling = _factors(moved, theirs, spec, group)
        aligned = _scaled(moved, spec, group, *scaling)
        distance = _square(aligned, theirs)
        if best is not None and distance >= best[0]:
            break
        best = distance, Alignment(aligned, element, _element(scaling, spec))
        more = _match(form(aligned, False), form(theirs, False), spec)
        if all((p == np.arange(p.shape[-1])).all() for p in map(np.asarray, more.values())):
            break
        element = permutations.compose(more, element, spec)
    assert best is not None
    return best[1]


def _match(ours: Arrays, theirs: Arrays, spec: Spec) -> permutations.Element:
    """The permutation of most similar arrays, each of the weight of its number of entries."""

    def balanced(params):
        out = {}
        for name, x in params.items():
            norm = np.linalg.norm(x)
            out[name] = x * (np.sqrt(x.size) / norm) if norm else x
        return out

    return matching.match(balanced(ours), balanced(theirs), spec)


def _permuted(params: Arrays, element, spec: Spec, outer) -> dict[str, np.ndarray]:
    tables = {h: np.asarray(p) for h, p in element.items()}
    return {a.name: matching.permute(params[a.name], a.axes, tables, outer) for a in spec.arrays}


def _square(one: Arrays, other: Arrays) -> float:
    return sum(float(np.sum((x - other[name]) ** 2)) for name, x in one.items())


def _element(scaling, spec: Spec) -> scalings.Element:
    whole = scalings.identity(spec)
    factors, phases = scaling
    return scalings.Element(
        {n: jnp.asarray(factors.get(n, x), x.dtype) for n, x in whole.factors.items()},
        {n: jnp.asarray(phases.get(n, x), x.dtype) for n, x in whole.phases.items()},
    )


def _along(values: np.ndarray, at: tuple[int, ...], ndim: int) -> np.ndarray:
    """Values [*axes] laid along the positions `at` of an array with `ndim` axes."""
    order = sorted(range(len(at)), key=lambda k: at[k])
    shape = [1] * ndim
    for k, i in enumerate(at):
        shape[i] = values.shape[k]
    return values.transpose(order).reshape(shape)


def _onto(array: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
    """An array summed over all axes but those at `at`; [*at]."""
    summed = array.sum(tuple(i for i in range(array.ndim) if i not in at))
    return summed.transpose([sorted(at).index(i) for i in at])


def _one(x: np.ndarray, a: Array, group: ScalingGroup, factors, phases) -> np.ndarray:
    """One array of `scalings.act`, in NumPy and its double precision."""
    for term in group.terms[a.name]:
        if term.power and term.name in factors:
            x = x * _along(factors[term.name], term.at, x.ndim) ** float(term.power)
        elif not term.power and term.name in phases:
            x = x * (1 - 2 * (_along(phases[term.name], term.at, x.ndim) % 2))
    shift = group.shifts.get(a.name)
    if shift and shift.name in phases:
        x = x + group.phases[shift.name].step * _along(phases[shift.name], shift.at, x.ndim)
    return x


def _scaled(params: Arrays, spec: Spec, group: ScalingGroup, factors, phases):
    return {a.name: _one(params[a.name], a, group, factors, phases) for a in spec.arrays}


def _norms(params: Arrays, group: ScalingGroup, name: str) -> np.ndarray:
    """The norm of the incoming weights of each neuron of a signal."""
    parts = [_onto(params[a.name] ** 2, term.at) for a, term in group.incoming[name]]
    return np.sqrt(sum(parts[1:], parts[0]))


def _form(params: Arrays, spec: Spec, group: ScalingGroup, phases: bool) -> dict[str, np.ndarray]:
    """Incoming weights of norm one and, if wished, biases of sines within half a shift of zero."""
    out = dict(params)
    for name, x in group.factors.items():
        if x.scale and group.incoming[name]:
            norm = _norms(out, group, name)
            out = _scaled(out, spec, group, {name: 1 / np.where(norm > 0, norm, 1)}, {})
    for bias, term in group.shifts.items() if phases else ():
        k = -np.floor(_onto(out[bias], term.at) / group.phases[term.name].step + 0.5)
        out = _scaled(out, spec, group, {}, {term.name: k})
    return out


def _factors(ours: Arrays, theirs: Arrays, spec: Spec, group: ScalingGroup):
    """Factors and phase shifts that bring a network near a reference whose order it has."""
    now, sizes = dict(ours), dict(spec.sizes)
    shape = lambda x: tuple(sizes[a] for a in x.axes)
    factors = {name: np.ones(shape(x)) for name, x in group.factors.items()}
    phases = {name: np.zeros(shape(x)) for name, x in group.phases.items()}

    def apply(name, s, k):
        nonlocal now
        if s is not None:
            factors[name] = factors[name] * s
            # a flip comes after the shifts that were made, and reverses those of its own bias
            for bias, term in group.shifts.items():
                for t in group.terms[bias]:
                    if t.name == name and t.power:
                        sign = np.sign(_along(s, t.at, now[bias].ndim))
                        phases[term.name] = phases[term.name] * _onto_common(
                            sign, term.at, now[bias].shape
                        )
        now = _scaled(now, spec, group, {} if s is None else {name: s}, {})
        if k is not None:
            phases[name] = phases[name] + k
            now = _scaled(now, spec, group, {}, {name: k})

    for turn in range(PASSES):
        for name in dict.fromkeys((*group.factors, *group.phases)):
            x, arrays = group.factors.get(name), _arrays(spec, group, name, turn == 0)
            if x is not None and x.scale and group.incoming[name]:
                apply(name, _scale(now, theirs, group, name, arrays, turn == 0), None)
            if (x is not None and x.sign) or name in group.phases:
                apply(name, *_signs(now, theirs, group, name, arrays))
    return factors, phases


def _onto_common(sign: np.ndarray, at: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Signs that are constant along an array's other axes, along those at `at`."""
    whole = np.broadcast_to(sign, shape)
    index = tuple(slice(None) if i in at else 0 for i in range(len(shape)))
    return whole[index].transpose([sorted(at).index(i) for i in at])


def _arrays(spec: Spec, group: ScalingGroup, name: str, first: bool) -> list[Array]:
    """The arrays by which a signal's factors are found; at first those that write it.

    Arrays in which a factor occurs twice are left out: it would be no choice neuron by neuron.
    """
    if first and group.incoming.get(name):
        return [a for a, _ in group.incoming[name]]
    out = []
    for a in spec.arrays:
        terms = [t for t in group.terms[a.name] if t.name == name and t.power]
        even = [t for t in group.terms[a.name] if t.name == name and not t.power]
        shifts = a.name in group.shifts and group.shifts[a.name].name == name
        if len(terms) < 2 and len(even) < 2 and (terms or even or shifts):
            out.append(a)
    return out


def _term(group: ScalingGroup, a: Array, name: str) -> Term:
    terms = [t for t in group.terms[a.name] if t.name == name]
    return (terms or [group.shifts[a.name]])[0]


def _scale(ours, theirs, group: ScalingGroup, name: str, arrays, first: bool) -> np.ndarray:
    """The best positive factor of each neuron."""
    own, wanted = _norms(ours, group, name), _norms(theirs, group, name)
    start = np.where((own > 0) & (wanted > 0), wanted / np.where(own > 0, own, 1), 1.0)
    if first:
        return start
    zero = np.zeros_like(start)
    sums = {1: (zero, zero), -1: (zero, zero)}
    for a in arrays:
        term = _term(group, a, name)
        if term.power in sums:
            x, y = ours[a.name], theirs[a.name]
            square, both = sums[term.power]
            sums[term.power] = square + _onto(x * x, term.at), both + _onto(x * y, term.at)
    (p, q), (t, r) = sums[1], sums[-1]
    cost = lambda u: p * np.exp(2 * u) - 2 * q * np.exp(u) + t * np.exp(-2 * u) - 2 * r * np.exp(-u)
    u = np.where(cost(np.log(start)) < cost(np.zeros_like(start)), np.log(start), 0.0)
    for _ in range(NEWTON):
        up, down = np.exp(u), np.exp(-u)
        slope = 2 * p * up**2 - 2 * q * up - 2 * t * down**2 + 2 * r * down
        bend = np.abs(4 * p * up**2 - 2 * q * up + 4 * t * down**2 - 2 * r * down)
        step = np.clip(slope / np.where(bend > 0, bend, 1), -0.5, 0.5)
        new = u - step
        u = np.where(cost(new) <= cost(u), new, u)
    return np.exp(u)


def _signs(ours, theirs, group: ScalingGroup, name: str, arrays):
    """The best sign and phase shift of each neuron; None for what the signal does not have."""
    x, phase = group.factors.get(name), group.phases.get(name)
    signs = (1.0, -1.0) if x is not None and x.sign else (1.0,)
    if x is not None and x.sign and phase is not None and x.axes != phase.axes:
        signs = (1.0,)  # one sign for neurons whose shifts differ: left as it is
    shape, shifts, step, wanted, own = None, (0,), 1.0, 0.0, 0.0
    if phase is not None:
        bias = next(b for b, t in group.shifts.items() if t.name == name)
        wanted = _onto(theirs[bias], group.shifts[bias].at)
        own = _onto(ours[bias], group.shifts[bias].at)
        shifts, shape, step = (-1, 0, 1), own.shape, phase.step
    costs, choices = [], []
    for s, more in itertools.product(signs, shifts):
        k = None
        if phase is not None:
            k = np.round((wanted - s * own) / step) + more
        flip = np.full(shape or _shape(ours, group, arrays, name), s)
        factors = {name: flip} if len(signs) == 2 else {}
        total = 0.0
        for a in arrays:
            term = _term(group, a, name)
            moved = _one(ours[a.name], a, group, factors, {} if k is None else {name: k})
            total = total + _onto((moved - theirs[a.name]) ** 2, term.at)
        costs.append(np.broadcast_to(total, flip.shape))
        choices.append((flip, k))
    best = np.argmin(np.stack(costs), axis=0)[None]
    pick = lambda values: np.take_along_axis(np.stack(values), best, 0)[0]
    sign = pick([c[0] for c in choices]) if len(signs) == 2 else None
    return sign, pick([c[1] for c in choices]) if phase is not None else None


def _shape(ours, group, arrays, name) -> tuple[int, ...]:
    term = _term(group, arrays[0], name)
    return tuple(ours[arrays[0].name].shape[i] for i in term.at)

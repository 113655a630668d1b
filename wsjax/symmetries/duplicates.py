"""Duplicates up to symmetry: networks whose weights become equal, up to rounding.

    net    W, b, V            equal weights
    copy   P W, P b, V P^-1   a permutation P of hidden neurons; signs, scales and phase shifts too

Pairs are found by numbers that no symmetry changes: sizes and quantiles of the absolute weights of
each array, in the form of scales and phases that `scalings` calls canonical. Every pair is then
verified: of both canonical forms, one is matched with the other (`matching`) and compared.
"""

import hashlib
from collections.abc import Iterator
from typing import cast

import numpy as np
from scipy.spatial import KDTree

from wsjax import networks
from wsjax.networks import Params, Spec
from wsjax.symmetries import matching, permutations, scalings
from wsjax.symmetries.signals import scaling_group
from wsjax.views.wiring import wired

TOLERANCE = 1e-4  # of an array's norm; float32 rounds the canonical form by some 1e-6
QUANTILES = np.linspace(0, 1, 9)
_ENTRIES = 1 << 24  # of networks that are computed with at once


def duplicates(vectors: np.ndarray, spec: Spec, tolerance: float = TOLERANCE) -> list[list[int]]:
    """Groups of networks that are equal up to symmetry and rounding.

    The symmetries are those that the spec states: permutations of hidden neurons, and the factors
    of `scaling_group` where it has a wiring. Permutations are not sought where an array has a
    hidden axis twice, as `matching` does not support it.

    Args:
        vectors: [network, entry], as `ravel` gives, finite.
        spec: meaning of the entries.
        tolerance: the largest distance of two arrays, relative to their norm.

    Returns:
        Positions of the networks of each group, two or more, in order.

    Raises:
        ValueError, TypeError: the vectors do not match the spec.

    >>> import jax
    >>> from wsjax import architectures, testing
    >>> spec = architectures.mlp([2, 5, 1], "tanh")
    >>> nets = testing.draw(jax.random.key(0), spec, (2,))
    >>> first = {name: array[0] for name, array in nets.items()}
    >>> g = scalings.sample(jax.random.key(1), spec, ("sign",))
    >>> copy = scalings.act(g, first, spec)
    >>> rows = [networks.ravel(p, spec) for p in (first, {k: x[1] for k, x in nets.items()}, copy)]
    >>> duplicates(np.stack(rows), spec)
    [[0, 2]]
    """
    networks.check(networks.unravel(vectors, spec), spec)
    vectors = np.asarray(vectors) + 0.0  # -0 equals 0
    seen: dict[bytes, int] = {}
    # of each network one that it equals, itself or an earlier one
    parent = [seen.setdefault(hashlib.sha256(v).digest(), i) for i, v in enumerate(vectors)]
    first = sorted(seen.values())
    forms = canonical(vectors, spec)
    invariants = np.concatenate([_invariants(part, spec) for part in _parts(forms)])
    pairs = KDTree(invariants[first]).query_pairs(tolerance, p=np.inf)
    for i, j in sorted((first[min(pair)], first[max(pair)]) for pair in pairs):
        a, b = _root(parent, i), _root(parent, j)
        if a != b and _same(forms[i], forms[j], spec, tolerance):
            parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(len(vectors)):
        groups.setdefault(_root(parent, i), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def symmetries(spec: Spec) -> tuple[str, ...]:
    """The kinds of symmetries up to which `duplicates` compares networks of a spec."""
    kinds = ["permutation"] if spec.hidden and matchable(spec) else []
    if wired(spec):
        group = scaling_group(spec)
        kinds += ["sign"] if any(x.sign for x in group.factors.values()) else []
        kinds += ["scale"] if any(x.scale for x in group.factors.values()) else []
        kinds += ["phase"] if group.phases else []
    return tuple(kinds)


def matchable(spec: Spec) -> bool:
    """Whether `matching` supports a spec: no array has a hidden axis twice."""
    return all(a.axes.count(h) < 2 for a in spec.arrays for h in spec.hidden)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        i = parent[i]
    return i


def canonical(vectors: np.ndarray, spec: Spec) -> np.ndarray:
    """The canonical form of each network, see `scalings`; itself where float32 has none for it.

    Args:
        vectors: [network, entry], as `ravel` gives, finite.
        spec: meaning of the entries. Of one without factors, networks are their own form.
    """
    if not set(symmetries(spec)) - {"permutation"}:
        return vectors
    return np.concatenate([_form(part, spec) for part in _parts(vectors)])


def _parts(vectors: np.ndarray) -> Iterator[np.ndarray]:
    size = max(1, _ENTRIES // vectors.shape[1])
    yield from (vectors[i : i + size] for i in range(0, len(vectors), size))


def _form(vectors, spec):
    try:
        params = scalings.canonical(networks.unravel(vectors, spec), spec)
    except ValueError:  # of one of them
        return (
            np.concatenate([_form(v[None], spec) for v in vectors]) if len(vectors) > 1 else vectors
        )
    return np.asarray(networks.ravel(params, spec))


def _invariants(forms: np.ndarray, spec: Spec) -> np.ndarray:
    """Numbers that agree for duplicates, [network, number]; relative to each array's size."""
    columns = []
    for array in networks.unravel(np.abs(forms), spec).values():
        flat = array.reshape(len(forms), -1).astype(np.float64)
        size = np.sqrt((flat**2).mean(1, keepdims=True))
        size[size == 0] = 1
        columns += [np.log(size), np.quantile(flat, QUANTILES, axis=1).T / size]
    return np.concatenate(columns, axis=1)


def _same(one: np.ndarray, other: np.ndarray, spec: Spec, tolerance: float) -> bool:
    a, b = (cast(Params, networks.unravel(v, spec)) for v in (one, other))
    if spec.hidden and matchable(spec):
        b = permutations.act(matching.match(b, a, spec), b, spec)
    norm = lambda x: float(np.linalg.norm(np.asarray(x, np.float64)))
    return all(norm(np.asarray(x) - np.asarray(b[n])) <= tolerance * norm(x) for n, x in a.items())

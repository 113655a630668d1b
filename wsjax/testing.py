"""Assertions about forward passes, encoders and editors, for tests of yours as well.

Every assertion has two halves, because a constant satisfies the first one alone.

    the law       encode(act(g, p))     == encode(p)    for a permutation g that moves p
    the control   encode(misaligned(p)) != encode(p)    for a misalignment of any one array

A *misalignment* rolls one array along one hidden axis and leaves its neighbours as they are:
the same numbers, connected differently, hence another network. Sums over all weights satisfy
the law and fail the control; an encoder that passes it depends on how neurons are connected.

A control must move the output `MARGIN` times further than a permutation may. Functions under
test receive one network, without batch axes; pass them jitted where they are slow.
"""

import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.networks import Array, Params, Spec
from wsjax.symmetries import permutations
from wsjax.symmetries.audit import audit
from wsjax.symmetries.permutations import derange, movable

__all__ = [
    "MARGIN",
    "assert_equivariant",
    "assert_function_preserved",
    "assert_invariant",
    "assert_reads_wiring",
    "audit",
    "derange",
    "draw",
    "invariance_error",
    "misalignments",
]

MARGIN = 10.0  # a control must move the output so many times further than `rtol` allows


def draw(key: jax.Array, spec: Spec, batch: tuple[int, ...] = ()) -> Params:
    """A random network: every entry is normal, with variance 1 / fan-in.

    Biases and scales are random too, so that no array has equal entries, which would hide it
    from a test. Variances are positive.

    Args:
        key: randomness.
        spec: of the network.
        batch: leading axes, for several networks.

    Returns:
        Arrays [*batch, *shape].

    >>> from wsjax import architectures
    >>> draw(jax.random.key(0), architectures.mlp([2, 8, 1]), (5,))["Dense_0/bias"].shape
    (5, 8)
    """
    out = {}
    for i, a in enumerate(spec.arrays):
        shape = spec.shape(a)
        fan_in = math.prod(shape[k] for k in (*a.reads, *a.taps))
        array = jax.random.normal(jax.random.fold_in(key, i), (*batch, *shape))
        out[a.name] = (jnp.abs(array) if a.role == "variance" else array) / math.sqrt(fan_in)
    return out


def assert_function_preserved(
    forward: Callable[[Params, jax.Array], jax.Array],
    params: Params,
    spec: Spec,
    key: jax.Array,
    inputs: jax.Array,
    *,
    rtol: float = 1e-5,
) -> None:
    """Asserts that permutations of hidden neurons preserve a network's function.

    And that the spec is no finer than the function: misaligning any one array changes it.

    Args:
        forward: params, inputs -> outputs.
        params: one network.
        spec: meaning of its arrays.
        key: for the permutation.
        inputs: as `forward` takes them; enough that every neuron is active on some.
        rtol: of the largest output.

    Raises:
        AssertionError: naming the axis, or the array and the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    run = lambda p: forward(p, inputs)
    _assert_same(run, params, spec, key, rtol, "the function")
    for name, axis, misaligned in misalignments(params, spec):
        if not _moved(run(misaligned), run(params)) > MARGIN * rtol:
            raise AssertionError(f"the function is blind to {name} along {axis!r}")


def assert_invariant(
    encode: Callable[[Params], jax.Array],
    params: Params,
    spec: Spec,
    key: jax.Array,
    *,
    rtol: float = 1e-4,
) -> None:
    """Asserts that `encode` is invariant to permutations of hidden neurons, and to no more.

    Args:
        encode: params -> embedding, an array of any shape.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        key: for the permutation.
        rtol: of the largest entry of the embedding.

    Raises:
        AssertionError: the embedding depends on the order of an axis, or not on how an array
            is connected; each is named.
        ValueError: no permutation moves the network: it has no hidden axis of two neurons, or
            an array with equal entries along one.

    >>> from wsjax import architectures
    >>> spec = architectures.mlp([2, 8, 1], "tanh")
    >>> params, x = draw(jax.random.key(0), spec), jnp.ones((3, 2))
    >>> encode = lambda p: architectures.forward(p, x, spec)
    >>> assert_invariant(encode, params, spec, jax.random.key(1))
    """
    _assert_same(encode, params, spec, key, rtol, "the embedding")
    embedding = encode(params)
    for name, axis, misaligned in misalignments(params, spec):
        if not (moved := _moved(encode(misaligned), embedding)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_equivariant(
    edit: Callable[[Params], Params],
    params: Params,
    spec: Spec,
    key: jax.Array,
    *,
    rtol: float = 1e-4,
) -> None:
    """Asserts that `edit` commutes with permutations: edit(act(g, p)) == act(g, edit(p)).

    A constant commutes if it is the same for all neurons of an axis. So the edited network
    must itself move when any hidden axis is permuted, and must change with every misalignment
    of `params`. An edit of each entry by itself, the identity included, is equivariant and
    passes; `assert_reads_wiring` is for editors that promise more.

    Args:
        edit: params -> arrays of the same names and shapes.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        key: for the permutation.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array or the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    element, edited = derange(key, params, spec), edit(params)
    want = {a.name: spec.shape(a) for a in spec.arrays}
    got = {name: tuple(array.shape) for name, array in edited.items()}
    if want != got:
        wrong = [f"{n}: {want.get(n)} and {got.get(n)}" for n in sorted({*want, *got})
                 if want.get(n) != got.get(n)]  # fmt: skip
        raise AssertionError("expected and edited shapes differ: " + "; ".join(wrong))

    def broken(element):
        here = edit(permutations.act(element, params, spec))
        there = permutations.act(element, edited, spec)
        return [name for name in want if not _moved(here[name], there[name]) <= rtol]

    if names := broken(element):
        axes = [h for h in element if broken({h: element[h]})]
        raise AssertionError(
            f"the edit does not commute with permutations of {axes}: {', '.join(names)} differ"
        )
    for h in movable(spec):
        moved = permutations.act({h: element[h]}, edited, spec)
        if not _furthest(moved, edited) > MARGIN * rtol:
            raise AssertionError(f"the edited network is constant along {h!r}")
    for name, axis, misaligned in misalignments(params, spec):
        if not (moved := _furthest(edit(misaligned), edited)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_reads_wiring(
    edit: Callable[[Params], Params], params: Params, spec: Spec, *, rtol: float = 1e-4
) -> None:
    """Asserts that an equivariant `edit` depends on how the arrays of a network are connected.

    An edit of each array or entry by itself gives for a misaligned network the misaligned
    edit. One that depends on the wiring must not, for a misalignment of any array.

    Args:
        edit: params -> arrays of the same names and shapes.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array and the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    edited = edit(params)
    for a, i, misaligned in _misaligned(params, spec):
        same = {**edited, a.name: _roll(edited[a.name], i)}
        if not (moved := _furthest(edit(misaligned), same)) > MARGIN * rtol:
            raise AssertionError(
                f"ignores the wiring of {a.name} along {a.axes[i]!r}: moved {moved:.1e}"
            )


def invariance_error(
    encode: Callable[[Params], jax.Array],
    params: Params,
    spec: Spec,
    key: jax.Array,
    samples: int = 5,
) -> float:
    """Mean relative change of an embedding under permutations of hidden neurons.

    For encoders that are invariant only approximately, such as set-based ones with
    positions (SNE), or after training with augmentation.

    Args:
        encode: params -> embedding, an array of any shape.
        params: one network.
        spec: meaning of its arrays.
        key: for the permutations.
        samples: number of permutations.

    Returns:
        The mean of |encode(act(g, p)) - encode(p)| / |encode(p)|, Euclidean norms.

    Raises:
        ValueError: the embedding is zero, and nothing is relative to it.
    """
    embedding = np.asarray(encode(params), np.float64)
    if not (norm := np.linalg.norm(embedding)) > 0:
        raise ValueError(f"expected an embedding that is not zero, got one of norm {norm}")
    errors = []
    for i in range(samples):
        element = permutations.sample(jax.random.fold_in(key, i), spec)
        other = np.asarray(encode(permutations.act(element, params, spec)), np.float64)
        errors.append(np.linalg.norm(other - embedding) / norm)
    return float(np.mean(errors))


def _assert_same(encode, params, spec, key, rtol, noun):
    element, embedding = derange(key, params, spec), encode(params)

    def moved(element):
        return _moved(encode(permutations.act(element, params, spec)), embedding)

    if not (error := moved(element)) <= rtol:
        axes = [h for h in element if not moved({h: element[h]}) <= rtol]
        raise AssertionError(
            f"{noun} depends on the order of {axes}: moved {error:.1e}, allowed {rtol:.1e}"
        )


def misalignments(params: Params, spec: Spec) -> Iterator[tuple[str, str, Params]]:
    """Every array rolled along every hidden axis it has, one at a time.

    Yields:
        The array's name, the axis, and the misaligned network.

    Raises:
        ValueError: an array has equal entries along an axis: rolled, it is the same.
    """
    for a, i, misaligned in _misaligned(params, spec):
        yield a.name, a.axes[i], misaligned


def _misaligned(params, spec) -> Iterator[tuple[Array, int, Params]]:
    """As `misalignments`, with the array and the position of the axis."""
    axes = movable(spec)
    for a in spec.arrays:
        for i, axis in enumerate(a.axes):
            if axis in axes:
                rolled = _roll(params[a.name], i)
                if np.array_equal(rolled, params[a.name]):
                    raise ValueError(f"{a.name}: entries are equal along {axis!r}; use `draw`")
                yield a, i, {**params, a.name: rolled}


def _roll(array, i):
    return jnp.roll(array, array.shape[i] // 2, axis=i)


def _moved(array, reference) -> float:
    """The largest difference, relative to the largest entry of the reference."""
    array, reference = np.asarray(array, np.float64), np.asarray(reference, np.float64)
    difference, scale = np.abs(array - reference).max(), np.abs(reference).max()
    return float(difference if difference == 0 else difference / max(scale, 1e-30))


def _furthest(params, reference) -> float:
    return max(_moved(params[name], reference[name]) for name in reference)

"""What a forward pass, an encoder and an editor must satisfy. Public: hold yours to it.

Every assertion has two halves, because a constant satisfies the first one alone.

    the law     encode(act(g, p)) == encode(p)      for a renumbering g that moves p
    the tear    encode(tear(p))   != encode(p)      for a tear of any one array

A *tear* rolls one array along one hidden axis and leaves its neighbours as they are:
the same numbers, wired differently, hence another network. Sums over all weights keep
the law and do not feel a tear; whoever feels every tear reads how neurons are connected.

A tear must show `MARGIN` times more clearly than a renumbering may. Functions under test
see one network, without batch axes; pass them jitted where they are slow.
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
    "tears",
]

MARGIN = 10.0  # a tear must move the output so many times further than `rtol` allows


def draw(key: jax.Array, spec: Spec, batch: tuple[int, ...] = ()) -> Params:
    """Draws a network: every entry is normal, with variance 1 / fan-in.

    Biases and scales are random too, so that no array is left out of a test because its
    entries are equal. Variances are positive.

    Args:
        key: randomness.
        spec: what to draw.
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
    """Asserts that renumbering hidden neurons leaves a network's function as it is.

    And that the spec is no finer than the function: tearing any one array changes it.

    Args:
        forward: params, inputs -> outputs.
        params: one network.
        spec: what its arrays mean.
        key: for the renumbering.
        inputs: as `forward` takes them; enough that every neuron is active on some.
        rtol: of the largest output.

    Raises:
        AssertionError: naming the axis, or the array and the axis.
        ValueError: the network cannot show a difference, see `assert_invariant`.
    """
    code = lambda p: forward(p, inputs)
    _assert_same(code, params, spec, key, rtol, "the function")
    for name, axis, torn in tears(params, spec):
        if not _moved(code(torn), code(params)) > MARGIN * rtol:
            raise AssertionError(f"the function is blind to {name} along {axis!r}")


def assert_invariant(
    encode: Callable[[Params], jax.Array],
    params: Params,
    spec: Spec,
    key: jax.Array,
    *,
    rtol: float = 1e-4,
) -> None:
    """Asserts that `encode` is blind to the numbering of hidden neurons, and only to that.

    Args:
        encode: params -> code, an array of any shape.
        params: one network, best from `draw`.
        spec: what its arrays mean.
        key: for the renumbering.
        rtol: of the largest entry of the code.

    Raises:
        AssertionError: the code depends on the numbering of an axis, or not on how an
            array is wired; each is named.
        ValueError: the network cannot show a difference: it has no hidden axis of two
            neurons, or an array with equal entries along one.

    >>> from wsjax import architectures
    >>> spec = architectures.mlp([2, 8, 1], "tanh")
    >>> params, x = draw(jax.random.key(0), spec), jnp.ones((3, 2))
    >>> encode = lambda p: architectures.forward(p, x, spec)
    >>> assert_invariant(encode, params, spec, jax.random.key(1))
    """
    _assert_same(encode, params, spec, key, rtol, "the code")
    code = encode(params)
    for name, axis, torn in tears(params, spec):
        if not (moved := _moved(encode(torn), code)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_equivariant(
    edit: Callable[[Params], Params],
    params: Params,
    spec: Spec,
    key: jax.Array,
    *,
    rtol: float = 1e-4,
) -> None:
    """Asserts that `edit` commutes with renumbering: edit(act(g, p)) == act(g, edit(p)).

    A constant commutes if it is the same for all neurons of an axis. So the edited
    network must itself move when any hidden axis is renumbered, and must feel every
    tear of `params`. What works entry by entry, the identity included, is equivariant
    and passes; `assert_reads_wiring` is for editors that promise more.

    Args:
        edit: params -> arrays of the same names and shapes.
        params: one network, best from `draw`.
        spec: what its arrays mean.
        key: for the renumbering.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array or the axis.
        ValueError: the network cannot show a difference, see `assert_invariant`.
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
            f"the edit does not commute with renumbering {axes}: {', '.join(names)} differ"
        )
    for h in movable(spec):
        moved = permutations.act({h: element[h]}, edited, spec)
        if not _furthest(moved, edited) > MARGIN * rtol:
            raise AssertionError(f"the edited network is constant along {h!r}")
    for name, axis, torn in tears(params, spec):
        if not (moved := _furthest(edit(torn), edited)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_reads_wiring(
    edit: Callable[[Params], Params], params: Params, spec: Spec, *, rtol: float = 1e-4
) -> None:
    """Asserts that an equivariant `edit` sees how the arrays of a network are connected.

    An edit that treats every array on its own, or entry by entry, gives for a torn
    network the torn edit. One that reads the wiring must not, for a tear of any array.

    Args:
        edit: params -> arrays of the same names and shapes.
        params: one network, best from `draw`.
        spec: what its arrays mean.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array and the axis.
        ValueError: the network cannot show a difference, see `assert_invariant`.
    """
    edited = edit(params)
    for a, i, torn in _tears_of(params, spec):
        same = {**edited, a.name: _roll(edited[a.name], a, i)}
        if not (moved := _furthest(edit(torn), same)) > MARGIN * rtol:
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
    """Measures how far renumbering hidden neurons moves a code.

    For encoders that are invariant only approximately, such as set-based ones with
    positions (SNE), or after training with augmentation.

    Args:
        encode: params -> code, an array of any shape.
        params: one network.
        spec: what its arrays mean.
        key: for the renumberings.
        samples: how many renumberings.

    Returns:
        The mean of |encode(act(g, p)) - encode(p)| / |encode(p)|, Euclidean norms.

    Raises:
        ValueError: the code is zero, and nothing is relative to it.
    """
    code = np.asarray(encode(params), np.float64)
    if not (norm := np.linalg.norm(code)) > 0:
        raise ValueError(f"expected a code that is not zero, got one of norm {norm}")
    errors = []
    for i in range(samples):
        element = permutations.sample(jax.random.fold_in(key, i), spec)
        other = np.asarray(encode(permutations.act(element, params, spec)), np.float64)
        errors.append(np.linalg.norm(other - code) / norm)
    return float(np.mean(errors))


def _assert_same(encode, params, spec, key, rtol, what):
    element, code = derange(key, params, spec), encode(params)

    def moved(element):
        return _moved(encode(permutations.act(element, params, spec)), code)

    if not (error := moved(element)) <= rtol:
        axes = [h for h in element if not moved({h: element[h]}) <= rtol]
        raise AssertionError(
            f"{what} depends on the numbering of {axes}: moved {error:.1e}, allowed {rtol:.1e}"
        )


def tears(params: Params, spec: Spec) -> Iterator[tuple[str, str, Params]]:
    """Every array rolled along every hidden axis it has, one at a time.

    Yields:
        The array's name, the axis, and the torn network.

    Raises:
        ValueError: an array has equal entries along an axis, and its tear is no other
            network.
    """
    for a, i, torn in _tears_of(params, spec):
        yield a.name, a.axes[i], torn


def _tears_of(params, spec) -> Iterator[tuple[Array, int, Params]]:
    """Every array rolled along every hidden axis, one at a time."""
    axes = movable(spec)
    for a in spec.arrays:
        for i, axis in enumerate(a.axes):
            if axis in axes:
                torn = {**params, a.name: _roll(params[a.name], a, i)}
                if np.array_equal(torn[a.name], params[a.name]):
                    raise ValueError(f"{a.name}: entries are equal along {axis!r}; use `draw`")
                yield a, i, torn


def _roll(array, a, i):
    return jnp.roll(array, array.shape[i] // 2, axis=i)


def _moved(array, reference) -> float:
    """The largest difference, relative to the largest entry of the reference."""
    array, reference = np.asarray(array, np.float64), np.asarray(reference, np.float64)
    difference, scale = np.abs(array - reference).max(), np.abs(reference).max()
    return float(difference if difference == 0 else difference / max(scale, 1e-30))


def _furthest(params, reference) -> float:
    return max(_moved(params[name], reference[name]) for name in reference)

"""Assertions about forward passes, encoders and editors, for tests of yours as well.

Every assertion has two halves, because a constant satisfies the first one alone.

    the law       encode(act(g, p))     == encode(p)    for a permutation g that moves p
    the control   encode(misaligned(p)) != encode(p)    for a misalignment of any one array

A *misalignment* rolls one array along one hidden axis and leaves its neighbours as they are:
the same numbers, connected differently, hence another network. Sums over all weights satisfy
the law and fail the control; an encoder that passes it depends on how neurons are connected.

A control must move the output `MARGIN` times further than a permutation may. Functions under
test receive one network, without batch axes, and its spec if they take one more argument; pass
them jitted where they are slow. In their place may stand an encoder or editor with its variables,
or the `Trained` of a task (`wsjax.tasks.functions`):

    assert_invariant(wsjax.restore("runs/mine"), params, spec, key)
    print(audit(encoder.bind(variables), params, spec, key))
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks
from wsjax.encoders.base import Encoder, expect_encoder
from wsjax.networks import Array, Params, Spec
from wsjax.symmetries import audit as symmetry_audit
from wsjax.symmetries import permutations
from wsjax.symmetries.audit import Audit
from wsjax.symmetries.permutations import derange, movable
from wsjax.tasks import functions
from wsjax.tasks.functions import Edit, Embed
from wsjax.views import padding

__all__ = [
    "MARGIN",
    "assert_encoder",
    "assert_equivariant",
    "assert_function_preserved",
    "assert_invariant",
    "assert_reads_wiring",
    "audit",
    "audit_encoder",
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
    networks.expect_spec(spec)
    out = {}
    for i, a in enumerate(spec.arrays):
        shape = spec.shape(a)
        fan_in = math.prod(shape[k] for k in (*a.reads, *a.taps))
        array = jax.random.normal(jax.random.fold_in(key, i), (*batch, *shape))
        out[a.name] = (jnp.abs(array) if a.role == "variance" else array) / math.sqrt(fan_in)
    return out


def assert_function_preserved(
    forward: Callable[..., jax.Array],
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
        forward: params, inputs -> outputs, or params, inputs, spec -> outputs.
        params: one network.
        spec: meaning of its arrays.
        key: for the permutation.
        inputs: as `forward` takes them; enough that every neuron is active on some.
        rtol: of the largest output.

    Raises:
        AssertionError: naming the axis, or the array and the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    networks.check_shapes(params, spec, batched=False)
    more = (spec,) if len(functions.required(forward)) > 2 else ()
    run = lambda p: forward(p, inputs, *more)
    _assert_same(run, params, spec, key, rtol, "the function")
    for name, axis, misaligned in misalignments(params, spec):
        if not _moved(run(misaligned), run(params)) > MARGIN * rtol:
            raise AssertionError(f"the function is blind to {name} along {axis!r}")


def assert_invariant(
    encode: Embed, params: Params, spec: Spec, key: jax.Array, *, rtol: float = 1e-4
) -> None:
    """Asserts that `encode` is invariant to permutations of hidden neurons, and to no more.

    Args:
        encode: params -> embedding, an array of any shape; a bound module; or a `Trained`.
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
    run = _embedding(encode, params, spec)
    _assert_same(run, params, spec, key, rtol, "the embedding")
    embedding = run(params)
    for name, axis, misaligned in misalignments(params, spec):
        if not (moved := _moved(run(misaligned), embedding)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_equivariant(
    edit: Edit, params: Params, spec: Spec, key: jax.Array, *, rtol: float = 1e-4
) -> None:
    """Asserts that `edit` commutes with permutations: edit(act(g, p)) == act(g, edit(p)).

    A constant commutes if it is the same for all neurons of an axis. So the edited network
    must itself move when any hidden axis is permuted, and must change with every misalignment
    of `params`. An edit of each entry by itself, the identity included, is equivariant and
    passes; `assert_reads_wiring` is for editors that promise more.

    Args:
        edit: params -> arrays of the same names and shapes; a bound module; or a `Trained`.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        key: for the permutation.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array or the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    run, edited = _edited(edit, params, spec)
    element = derange(key, params, spec)

    def broken(element):
        here = run(permutations.act(element, params, spec))
        there = permutations.act(element, edited, spec)
        return [name for name in edited if not _moved(here[name], there[name]) <= rtol]

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
        if not (moved := _furthest(run(misaligned), edited)) > MARGIN * rtol:
            raise AssertionError(f"blind to {name} along {axis!r}: moved {moved:.1e}")


def assert_reads_wiring(edit: Edit, params: Params, spec: Spec, *, rtol: float = 1e-4) -> None:
    """Asserts that an equivariant `edit` depends on how the arrays of a network are connected.

    An edit of each array or entry by itself gives for a misaligned network the misaligned
    edit. One that depends on the wiring must not, for a misalignment of any array.

    Args:
        edit: params -> arrays of the same names and shapes; a bound module; or a `Trained`.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        rtol: of the largest entry of each array.

    Raises:
        AssertionError: naming the array and the axis.
        ValueError: no permutation moves the network, see `assert_invariant`.
    """
    run, edited = _edited(edit, params, spec)
    for a, i, misaligned in _misaligned(params, spec):
        same = {**edited, a.name: _roll(edited[a.name], i)}
        if not (moved := _furthest(run(misaligned), same)) > MARGIN * rtol:
            raise AssertionError(
                f"ignores the wiring of {a.name} along {a.axes[i]!r}: moved {moved:.1e}"
            )


def invariance_error(
    encode: Embed, params: Params, spec: Spec, key: jax.Array, samples: int = 5
) -> float:
    """Mean relative change of an embedding under permutations of hidden neurons.

    For encoders that are invariant only approximately, such as set-based ones with
    positions (SNE), or after training with augmentation.

    Args:
        encode: params -> embedding, an array of any shape; a bound module; or a `Trained`.
        params: one network.
        spec: meaning of its arrays.
        key: for the permutations.
        samples: number of permutations.

    Returns:
        The mean of |encode(act(g, p)) - encode(p)| / |encode(p)|, Euclidean norms.

    Raises:
        ValueError: the embedding is zero, one is not finite, or there are no samples.
    """
    if samples < 1:
        raise ValueError(f"expected at least one sample, got {samples}")
    run = _embedding(encode, params, spec)
    embedding = np.asarray(run(params), np.float64)
    if not (norm := np.linalg.norm(embedding)) > 0:
        raise ValueError(f"expected an embedding that is not zero, got one of norm {norm}")
    errors = []
    for i in range(samples):
        element = permutations.sample(jax.random.fold_in(key, i), spec)
        other = np.asarray(run(permutations.act(element, params, spec)), np.float64)
        errors.append(np.linalg.norm(other - embedding) / norm)
    if not np.isfinite(errors).all():
        raise ValueError("expected finite embeddings of permuted networks, got NaN or infinity")
    return float(np.mean(errors))


def noisy_variables(encoder: Encoder, vectors: jax.Array, view, key: jax.Array, noise: float = 0.1):
    """Initial variables of an encoder with noise on its params, float32.

    What begins at zero, such as a bias, would hide a defect. Statistics stay as they are.

    Args:
        encoder: any.
        vectors: [batch, entry].
        view: of their architecture.
        key: randomness.
        noise: standard deviation.

    Raises:
        ValueError: the architecture is not supported.
    """
    first = jax.jit(lambda key, vectors: encoder.init(key, vectors, view))(key, vectors)
    leaves, tree = jax.tree.flatten(first.get("params", {}))
    for i, leaf in enumerate(leaves):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            sample = jax.random.normal(jax.random.fold_in(key, i), leaf.shape, leaf.dtype)
            leaves[i] = leaf + noise * sample
    return {**first, "params": jax.tree.unflatten(tree, leaves)}


def audit(encode: Embed, params: Params, spec: Spec, key: jax.Array, **settings: Any) -> Audit:
    """Measures which symmetries of networks an encoder respects.

    Args:
        encode: params, spec -> embedding, an array of any shape; a bound module; or a `Trained`. A
            function of params alone, or of one architecture, has no verdict on widening.
        params: one network, best from `draw`.
        spec: meaning of its arrays.
        key: for the symmetries.
        settings: `forward`, `inputs`, `samples`; they, and errors, as of `symmetries.audit.audit`.
    >>> from wsjax.architectures import forward, mlp
    >>> spec, x = mlp([2, 8, 1], "tanh"), jnp.ones((3, 2))
    >>> encode = lambda p: forward(p, x, spec)
    >>> audit(encode, draw(jax.random.key(0), spec), spec, jax.random.key(1))["sign"].verdict
    'exact'
    """
    return symmetry_audit.audit(functions.embedding(encode, spec), params, spec, key, **settings)


def audit_encoder(encoder: Encoder, spec: Spec, key: jax.Array, *, samples: int = 3) -> Audit:
    """Measures which symmetries an encoder respects before training: `audit` in one call.

    Args:
        encoder: any, of this library or your own.
        spec: an architecture that it supports.
        key: for a network, variables and symmetries.
        samples: how many of each symmetry.

    Raises:
        ValueError: the architecture is not supported, or this is no encoder.
    """
    expect_encoder(encoder)
    params = draw(jax.random.fold_in(key, 0), spec)
    vectors, view = networks.ravel(params, spec)[None], encoder.view(spec)
    variables = noisy_variables(encoder, vectors, view, jax.random.fold_in(key, 1))
    return audit(encoder.bind(variables), params, spec, jax.random.fold_in(key, 2), samples=samples)


def assert_encoder(
    encoder: Encoder, specs: Sequence[Spec], key: jax.Array, *, rtol: float = 1e-5
) -> None:
    """Asserts what `wsjax.encoders.Encoder` promises, of an encoder before training.

    Embeddings are finite and [batch, code]; that of a network depends on the network, not on the
    others of its batch; a second batch does not recompile. If the encoder `reads_any`, the same
    variables embed networks of all specs; if it `mixes`, in one batch with the same embeddings,
    whatever lies behind a network.

    Args:
        encoder: any, of this library or your own.
        specs: architectures that it supports; the first is that of training.
        key: for networks and variables.
        rtol: of the largest entry of an embedding.

    Raises:
        AssertionError: naming every promise that is broken.
        ValueError: there is no architecture, or this is no encoder.
    """
    expect_encoder(encoder)
    if isinstance(specs, Spec) or not specs:
        raise ValueError(f"expected one or more specs, as [spec], got {type(specs).__name__}")
    specs = tuple(specs) if encoder.reads_any else tuple(specs[:1])
    batches = [
        networks.ravel(draw(jax.random.fold_in(key, i), s, (3,)), s) for i, s in enumerate(specs)
    ]
    views = [encoder.view(s) for s in specs]
    variables = noisy_variables(encoder, batches[0], views[0], key)
    wrong, alone = [], []
    for i, (vectors, view) in enumerate(zip(batches, views, strict=True)):
        traces = []

        def traced(variables, vectors, view=view, traces=traces):
            traces.append(vectors.shape)
            return encoder.apply(variables, vectors, view)

        run = jax.jit(traced)
        embeddings = np.asarray(run(variables, vectors), np.float64)
        company = np.asarray(run(variables, vectors.at[1:].multiply(-2)), np.float64)
        alone.append(embeddings[0])
        if len(traces) != 1:
            wrong.append(f"specs[{i}]: a second batch recompiles")
        if embeddings.ndim != 2 or len(embeddings) != 3:
            wrong.append(f"specs[{i}]: expected embeddings [3, code], got {embeddings.shape}")
        elif not np.isfinite(embeddings).all():
            wrong.append(f"specs[{i}]: embeddings are not finite")
        elif not _moved(company[0], embeddings[0]) <= rtol:
            wrong.append(f"specs[{i}]: an embedding depends on the others of its batch")
        elif not _moved(embeddings[1:], embeddings[:-1]) > MARGIN * rtol:
            wrong.append(f"specs[{i}]: networks have the same embedding")
    if encoder.mixes and not wrong:
        width = padding.rounded(max(s.count for s in specs))
        rows = [jnp.pad(x[0], (0, width - x.shape[1]), constant_values=99.0) for x in batches]
        both = jax.jit(encoder.apply)(variables, jnp.stack(rows), encoder.stack(views))
        for i, (mixed, single) in enumerate(zip(np.asarray(both), alone, strict=True)):
            if not (moved := _moved(mixed, single)) <= MARGIN * rtol:
                wrong.append(f"specs[{i}]: a mixed batch moves the embedding {moved:.1e}")
    if wrong:
        raise AssertionError(f"{type(encoder).__name__}:\n  " + "\n  ".join(wrong))


def _embedding(encode: Embed, params: Params, spec: Spec) -> Callable[[Params], jax.Array]:
    networks.check_shapes(params, spec, batched=False)
    one = functions.embedding(encode, spec)
    return lambda p: one(p, spec)


def _edited(edit: Edit, params: Params, spec: Spec) -> tuple[Callable[[Params], Params], Params]:
    """The edit as a function of params alone, and its result, whose shapes are asserted."""
    networks.check_shapes(params, spec, batched=False)
    one = functions.edit(edit, spec)
    edited = one(params, spec)
    try:
        networks.check_shapes(edited, spec, batched=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"expected an edited network like the given one: {error}") from error
    return lambda p: one(p, spec), edited


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
    return float(np.max([_moved(params[name], reference[name]) for name in reference]))  # NaN is

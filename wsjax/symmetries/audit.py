"""Measures which symmetries of networks an encoder respects.

    permutation   hidden neurons are permuted              `wsjax.symmetries.permutations`
    sign          neurons flip, W, V -> s W, V / s         `wsjax.symmetries.scalings`
    scale         the same with positive s
    phase         the phase of a sine shifts by pi
    widening      a neuron is duplicated                   `wsjax.symmetries.widening`

All of them preserve a network's function, which is measured too. A constant encoder is invariant
to all of them. So every symmetry has a *control*: as large a change of every array (Euclidean
distance) of the same kind, but misaligned between arrays, which gives another function:

    permutation   every second kernel has the inverse permutation
    scalings      each array has factors and phase shifts of its own
    widening      the outgoing weights of the copy have the wrong sign
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, checks, networks
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations, scalings, signals, widening
from wsjax.views.wiring import wiring

SYMMETRIES = ("permutation", "sign", "scale", "phase", "widening")
SPREADS = {"sign": 1.0, "scale": 0.7, "phase": 2.0}  # of `scalings.sample`
VERDICTS = ("not applicable", "exact", "approximate", "blind", "broken")  # best first
MARGIN = 10.0  # a control is clear if it moves the embedding so many times further
ULPS = 100.0  # rounding grows through an encoder; so many times is still no more than that
TRIES = 8  # draws that may leave an array as it is, before its mirror image is taken
POINTS, SIDES = 32, (6, 8, 7, 12, 16, 28, 32, 5, 4)  # random inputs: how many, image sizes

_FORWARD = jax.jit(architectures.forward, static_argnums=2)
_ACT = jax.jit(scalings.act, static_argnums=2)
Encode = Callable[[Params, Spec], jax.Array]


@dataclasses.dataclass(frozen=True)
class Finding:
    """The effect of one symmetry on an embedding.

    Changes are the largest of all samples; those of controls the median, since a few are very
    large.

    Attributes:
        symmetry: one of `SYMMETRIES`.
        verdict: one of `VERDICTS`.
        change: of the embedding under the symmetry, its largest entry being 1; None if not
            applicable, like all that follows where it is unknown.
        control: change of the embedding under the control.
        function: change of the network's outputs under the symmetry, the largest being 1.
        function_control: of the outputs under the control.
        rounding: the largest change that counts as rounding.
        reason: of "not applicable"; else "".
    """

    symmetry: str
    verdict: str
    change: float | None = None
    control: float | None = None
    function: float | None = None
    function_control: float | None = None
    rounding: float | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Audit:
    """The findings of `audit`; `str` makes a table of them.

    Attributes:
        findings: one for each of `SYMMETRIES`, in that order.
        dtype: of the network.
        embedding_dtype: of its embedding.
        samples: number of each symmetry.
    """

    findings: tuple[Finding, ...]
    dtype: str
    embedding_dtype: str
    samples: int

    def __getitem__(self, symmetry: str) -> Finding:
        if symmetry not in SYMMETRIES:
            raise ValueError(f"expected one of {SYMMETRIES}, got {symmetry!r}")
        return self.findings[SYMMETRIES.index(symmetry)]

    def __str__(self) -> str:
        cells: list[tuple[str, ...]] = [
            ("symmetry", "embedding moved", "control", "function moved", "control", "verdict")
        ]
        for f in self.findings:
            figures = map(figure, (f.change, f.control, f.function, f.function_control))
            cells.append((f.symmetry, *figures, f.verdict + (f.reason and f": {f.reason}")))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        precisions = f"{self.dtype} network, {self.embedding_dtype} embedding"
        lines = [f"{precisions}; worst of {self.samples} samples"]
        for first, *figures, last in cells:
            middle = (x.rjust(w) for x, w in zip(figures, widths[1:-1], strict=True))
            lines.append("  ".join([first.ljust(widths[0]), *middle, last]))
        return "\n".join(lines)


def figure(x: float | None) -> str:
    """A change with two digits; a dash if there is none."""
    return "–" if x is None else "0" if x == 0 else f"{x:.2g}" if x >= 0.01 else f"{x:.1e}"


def audit(
    encode: Encode,
    params: Params,
    spec: Spec,
    key: jax.Array,
    *,
    forward: Callable[[Params, jax.Array, Spec], jax.Array] | None = None,
    inputs: jax.Array | None = None,
    samples: int = 3,
) -> Audit:
    """Measures which symmetries of networks an encoder respects.

    The verdicts, by the changes of the embedding under a symmetry and under its control:

        exact            within rounding, and the control moves it clearly
        approximate      more than rounding, less than a tenth of the control and of the embedding
        broken           more than that
        blind            within rounding, and so does the control
        not applicable   the network has no such symmetry, the wider network is not supported
                         by the encoder, or the function changes after all

    Rounding is measured: every weight of the moved network is changed by one unit in its last
    place, and the embedding may move `ULPS` times as far, or `ULPS` units in its own last place,
    but by no more than half of its digits. Float64 detects small defects.

    Args:
        encode: params, spec -> embedding, an array of any shape; jitted with a static spec
            where it is slow. The spec is another one where the network was widened; an encoder
            that does not support it raises `ValueError`.
        params: one network, in the dtype that the encoder receives, best from `draw`: few
            symmetries move zeros. Nothing is cast.
        spec: meaning of the arrays.
        key: for the samples.
        forward: params, inputs, spec -> outputs; `architectures.forward` if None. Figures
            of the function are left out where that cannot run the spec.
        inputs: as `forward` takes them; random if None.
        samples: of each symmetry.

    Raises:
        ValueError: the network does not fit its spec or JAX's precision, there is no hidden
            axis, an embedding or an output is not finite (the symmetry is named), there is a
            `forward` without inputs, or less than one sample.

    >>> from wsjax import testing
    >>> spec, x = architectures.mlp([2, 8, 1], "tanh"), jnp.ones((3, 2))
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> encode = lambda p, spec: architectures.forward(p, x, spec)
    >>> result = audit(encode, params, spec, jax.random.key(1))
    >>> result["sign"].verdict, result["widening"].verdict, result["scale"].reason
    ('exact', 'exact', 'the network admits no scale')
    """
    params = _checked(params, spec, samples)
    if forward is not None and inputs is None:
        raise ValueError("expected inputs for the forward pass that was given, got none")
    if inputs is None:
        inputs = random_inputs(params, spec, jax.random.fold_in(key, len(SYMMETRIES)))
    forward = forward or _FORWARD
    embedding = _Measured(encode, params, spec, "embedding")
    outputs = None
    if (x := inputs) is not None:
        run = lambda p, s: forward(p, x, s)
        outputs = _Measured(run, params, spec, "output")
    findings = []
    for n, symmetry in enumerate(SYMMETRIES):
        own = jax.random.fold_in(key, n)
        try:
            pairs = [_pair(symmetry, params, spec, own, i) for i in range(samples)]
        except ValueError as error:
            reason = " ".join(str(error).split())
            findings.append(Finding(symmetry, "not applicable", reason=reason))
            continue
        findings.append(_finding(symmetry, pairs, embedding, outputs))
    return Audit(tuple(findings), _coarsest(params), str(embedding.dtype), samples)


def _coarsest(params: Params) -> str:
    return str(max((x.dtype for x in params.values()), key=lambda d: jnp.finfo(d).eps))


def _is_float(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _checked(params: Params, spec: Spec, samples: int) -> Params:
    """The network as JAX's arrays, in their own dtypes."""
    networks.check(params, spec)
    wrong = []
    for a in spec.arrays:
        array = params[a.name]
        if array.shape != spec.shape(a):
            wrong.append(f"{a.name}: expected one network, got batch axes: {array.shape}")
        if not _is_float(array):
            wrong.append(f"{a.name}: expected floating point, got {array.dtype}")
        elif jnp.asarray(array[..., :0]).dtype != array.dtype:
            wrong.append(f"{a.name}: {array.dtype} needs `with jax.enable_x64(True)`")
    checks.raise_all("the network cannot be audited", wrong)
    if not spec.hidden or samples < 1:
        need = "a network with a hidden axis" if not spec.hidden else "at least one sample"
        raise ValueError(f"expected {need}, got none")
    return {a.name: jnp.asarray(params[a.name]) for a in spec.arrays}


class _Pair(NamedTuple):
    """A network of the same function, and one as far away of another function."""

    moved: Params
    misaligned: Params
    near: Params  # `moved`, rounded otherwise
    spec: Spec


def _pair(symmetry: str, params: Params, spec: Spec, key: jax.Array, sample: int) -> _Pair:
    """One sample of a symmetry; `ValueError` with the reason if the network does not have it."""
    if symmetry in SPREADS:
        group = signals.scaling_group(spec)
        phases = group.phases if symmetry == "phase" else ()
        if not phases and not any(getattr(x, symmetry, False) for x in group.factors.values()):
            raise ValueError(f"the network admits no {symmetry}")
    for attempt in range(TRIES):  # one neuron may stay as it is by chance
        own = jax.random.fold_in(key, TRIES * sample + attempt)
        move, misalign, last = (jax.random.fold_in(own, i) for i in range(3))
        wider = spec
        if symmetry == "permutation":
            moved, misaligned = _permuted(params, spec, move, misalign)
        elif symmetry == "widening":
            moved, wider = widening.widen(params, spec, move)
            misaligned = _shared_wrongly(moved, wider, spec)
        else:
            moved = _scaled(move, params, spec, symmetry)
            misaligned = _scaled_apart(symmetry, moved, params, spec, misalign)
        if wider != spec or any(_distance(moved[n], x) for n, x in params.items()):
            return _Pair(moved, misaligned, _rounded(moved, wider, last), wider)
    raise ValueError(f"no {symmetry} moves an entry of this network")


def _scaled(key, params, spec, symmetry) -> Params:
    element = scalings.sample(key, spec, (symmetry,), SPREADS[symmetry])
    return _ACT(element, params, spec)


def _permuted(params, spec, key, misalign) -> tuple[Params, Params]:
    """All arrays by one permutation; and every second kernel by its inverse.

    Both move an array by the same distance. They are one on an axis of two neurons, along
    which every second kernel then stays as it is. Of other arrays, chance chooses.
    """
    element = permutations.derange(key, params, spec)
    pairs = {h for h, size in spec.sizes if size == 2}
    back = permutations.inverse(element, spec)
    back = {h: p for h, p in back.items() if h not in pairs}
    moved, other = (permutations.act(e, params, spec) for e in (element, back))
    coins = _numpy(misalign).integers(2, size=len(spec.arrays))
    misaligned, kernels = {}, 0
    for a, coin in zip(spec.arrays, coins, strict=True):
        kernels += a.role == "kernel"
        inverse = kernels % 2 == 0 if a.role == "kernel" else coin
        misaligned[a.name] = (other if inverse else moved)[a.name]
    return moved, misaligned


def _scaled_apart(symmetry, moved, params, spec, key) -> Params:
    """Each array as far from where it was as in `moved`, by a scaling of its own."""
    misaligned = {}
    for n, a in enumerate(spec.arrays):
        array, own_key = params[a.name], jax.random.fold_in(key, n)
        distance, step = _distance(moved[a.name], array), array - moved[a.name]
        for attempt in range(TRIES if distance else 0):
            own = _scaled(jax.random.fold_in(own_key, attempt), params, spec, symmetry)[a.name]
            if length := _distance(own, array):
                step = (own - array) * (distance / length)
                break
        misaligned[a.name] = array + step
    return misaligned


def _shared_wrongly(moved, wider, spec) -> Params:
    """The outgoing weights of a copy, the last neuron of its axis, with the wrong sign."""
    before, after, misaligned = dict(spec.sizes), dict(wider.sizes), dict(moved)
    for a in wider.arrays:
        for i in a.reads:
            if after[a.axes[i]] > before[a.axes[i]]:
                last = (slice(None),) * i + (-1,)
                misaligned[a.name] = misaligned[a.name].at[last].multiply(-1)
    return misaligned


def _rounded(params, spec, key) -> Params:
    """Every weight up or down by about one unit in its last place."""
    random, out = _numpy(key), {}
    for a in spec.arrays:
        array = np.asarray(params[a.name])
        ulp = random.choice(np.array([-1, 1]), array.shape) * float(jnp.finfo(array.dtype).eps)
        out[a.name] = jnp.asarray(array * (1 + ulp).astype(array.dtype))
    return out


def _numpy(key) -> np.random.Generator:
    """Randomness without a program to compile."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _distance(one, other) -> float:
    return float(np.linalg.norm(np.asarray(one, np.float64) - np.asarray(other, np.float64)))


class _UnsupportedError(ValueError):
    """A wider network that an encoder or a forward pass does not support."""


class _Figures(NamedTuple):
    change: float
    control: float
    floor: float  # change by one unit in the last place


class _Measured:
    """Embeddings, or outputs, of networks, compared with those of one of them."""

    def __init__(self, run: Callable[[Params, Spec], jax.Array], params, spec: Spec, noun: str):
        self.run, self.spec, self.noun = run, spec, noun
        first = run(params, spec)
        self.dtype = first.dtype
        self.values = self._finite(first, "the network itself")
        self.size = np.abs(self.values).max(initial=0) or 1.0
        floats = [x.dtype for x in (*params.values(), first) if _is_float(x)]
        self.eps = max(float(jnp.finfo(d).eps) for d in floats)

    def figures(self, symmetry: str, pairs: list[_Pair]) -> _Figures:
        """Changes of the values under a symmetry, its control and rounding."""
        changes, controls, floor = [], [], [self.eps]
        apart = lambda x, y: float(np.abs(x - y).max(initial=0) / self.size)
        for pair in pairs:
            moved, misaligned, near = self._runs(symmetry, pair)
            changes.append(apart(moved, self.values))
            controls.append(apart(misaligned, self.values))
            floor.append(apart(near, moved))
        return _Figures(max(changes), float(np.median(controls)), max(floor))

    def _runs(self, symmetry, pair) -> Iterator[np.ndarray]:
        about = ("under ", "under the control of ", "near ")
        for params, where in zip(pair[:3], about, strict=True):
            try:
                values = self.run(params, pair.spec)
            except ValueError as error:
                if pair.spec == self.spec:
                    raise
                raise _UnsupportedError(" ".join(str(error).split())) from error
            if values.shape != self.values.shape:
                raise _UnsupportedError(
                    f"its {self.noun} is {values.shape}, not {self.values.shape}"
                )
            yield self._finite(values, where + symmetry)

    def _finite(self, values, where) -> np.ndarray:
        values = np.asarray(values, np.float64)
        if bad := values.size - int(np.isfinite(values).sum()):
            raise ValueError(f"{self.noun} {where}: {bad} of {values.size} entries are not finite")
        return values


def _finding(
    symmetry: str, pairs: list[_Pair], embedding: _Measured, outputs: _Measured | None
) -> Finding:
    f = None
    if outputs is not None:
        with contextlib.suppress(_UnsupportedError):  # a forward pass for one architecture
            f = outputs.figures(symmetry, pairs)
    function: dict[str, Any] = {}
    if f:
        function = {"function": f.change, "function_control": f.control}
    if f and f.change > ULPS * f.floor and f.change * MARGIN > f.control:
        why = f"the function itself moves by {figure(f.change)}"
        return Finding(symmetry, "not applicable", **function, reason=why)
    try:
        change, control, floor = embedding.figures(symmetry, pairs)
    except _UnsupportedError as error:
        return Finding(symmetry, "not applicable", **function, reason=f"the wider network: {error}")
    rounding = min(ULPS * floor, math.sqrt(embedding.eps))
    if change <= rounding:
        verdict = "exact" if control > MARGIN * max(change, floor) else "blind"
    else:
        verdict = "approximate" if change * MARGIN < min(control, 1.0) else "broken"
    return Finding(symmetry, verdict, change, control, **function, rounding=rounding)


def random_inputs(params: Params, spec: Spec, key: jax.Array) -> jax.Array | None:
    """Random inputs of a network, [POINTS, *positions, inputs]; None if it cannot be run."""
    sizes = dict(spec.sizes)
    for side in SIDES:
        with contextlib.suppress(ValueError, StopIteration):
            places, joins = wiring(spec).places, wiring(spec).joins
            place, array = next(
                (places[j.reads], j.array)
                for j in joins
                if j.reads is not None and places[j.reads].level < 0
            )
            channels = math.prod(sizes[a] for a in place.axes)
            shape = (POINTS, *[side] * len(array.taps), channels)
            x = jax.random.normal(key, shape, _coarsest(params))
            jax.eval_shape(lambda p, x: architectures.forward(p, x, spec), params, x)
            return x
    return None

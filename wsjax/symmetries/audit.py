"""Which symmetries of networks an encoder respects, measured.

    permutation   hidden neurons are renumbered            `wsjax.symmetries.permutations`
    sign          neurons flip, W, V -> s W, V / s         `wsjax.symmetries.scalings`
    scale         the same with positive s
    phase         the phase of a sine shifts by pi
    widening      a neuron is duplicated                   `wsjax.symmetries.widening`

All of them leave a network's function as it is, which is measured too. That a code does not
move is no merit where nothing moves it: next to every symmetry stands its *control*, as large
a change of every array (Euclidean distance) of the same kind, but torn, to another network:

    permutation   every second kernel is renumbered the other way round
    scalings      each array gets factors and turns of its own
    widening      what leaves the copy has the wrong sign
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, checks, networks
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations, scalings, widening
from wsjax.views.wiring import wiring

SYMMETRIES = ("permutation", "sign", "scale", "phase", "widening")
SPREADS = {"sign": 1.0, "scale": 0.7, "phase": 2.0}  # of `scalings.sample`
VERDICTS = ("not applicable", "exact", "approximate", "blind", "broken")  # best first
MARGIN = 10.0  # a control is clear if it moves the code so many times further
ULPS = 100.0  # rounding grows through an encoder; so many times is still no more than that
TRIES = 8  # draws of what moves an array, before its mirror image is taken
POINTS, SIDES = 32, (6, 8, 7, 12, 16, 28, 32, 5, 4)  # random inputs: how many, image sizes

_FORWARD = jax.jit(architectures.forward, static_argnums=2)
_ACT = jax.jit(scalings.act, static_argnums=2)
Encode = Callable[[Params, Spec], jax.Array]


@dataclasses.dataclass(frozen=True)
class Row:
    """What one symmetry does to a code.

    Changes are the largest of all samples; those of controls the median, for a few are so
    large that anything would be small beside them.

    Attributes:
        symmetry: one of `SYMMETRIES`.
        verdict: one of `VERDICTS`.
        change: of the code under the symmetry, its largest entry being 1; None if not
            applicable, like all that follows where it is unknown.
        control: of the code under the control.
        function: change of the network's outputs under the symmetry, the largest being 1.
        function_control: of the outputs under the control.
        rounding: the change that is put down to rounding.
        reason: why it is not applicable; else "".
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
    """What `audit` found; `str` makes a table of it.

    Attributes:
        rows: one for each of `SYMMETRIES`, in that order.
        dtype: of the network.
        code_dtype: of its code.
        samples: how many of each symmetry were drawn.
    """

    rows: tuple[Row, ...]
    dtype: str
    code_dtype: str
    samples: int

    def __getitem__(self, symmetry: str) -> Row:
        return self.rows[SYMMETRIES.index(symmetry)]

    def __str__(self) -> str:
        cells = [("symmetry", "code moved", "control", "function moved", "control", "verdict")]
        for r in self.rows:
            figures = map(figure, (r.change, r.control, r.function, r.function_control))
            cells.append((r.symmetry, *figures, r.verdict + (r.reason and f": {r.reason}")))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [f"{self.dtype} network, {self.code_dtype} code; worst of {self.samples} samples"]
        for first, *figures, last in cells:
            middle = (x.rjust(w) for x, w in zip(figures, widths[1:-1], strict=True))
            lines.append("  ".join([first.ljust(widths[0]), *middle, last]))
        return "\n".join(lines)


def figure(x: float | None) -> str:
    """A change with two digits; a dash if there is none."""
    return "–" if x is None else "0" if x == 0 else f"{x:.2g}" if x >= 0.01 else f"{x:.1e}"


def audit(
    encode: Encode,
    spec: Spec,
    params: Params,
    key: jax.Array,
    *,
    forward: Callable[[Params, jax.Array, Spec], jax.Array] | None = None,
    inputs: jax.Array | None = None,
    samples: int = 3,
) -> Audit:
    """Measures which symmetries of networks an encoder respects.

    The verdicts, by how far a symmetry and its control move the code:

        exact            within rounding, and the control moves it clearly
        approximate      more than rounding, less than a tenth of the control and of the code
        broken           more than that
        blind            within rounding, and so does the control: no merit
        not applicable   the network has no such symmetry, the encoder does not read the
                         wider network, or the function moves after all

    Rounding is measured: every weight of the moved network is changed by one unit in its last
    place, and the code may move `ULPS` times as far, or `ULPS` units in its own last place, but
    by no more than half of its digits. Small defects are found in float64.

    Args:
        encode: params, spec -> code, an array of any shape; jitted with a static spec where
            it is slow. The spec is another one where the network was widened; an encoder
            that cannot read that raises `ValueError`.
        spec: what the arrays mean.
        params: one network, in the dtype in which it is to be read, best from `draw`: what
            is zero is moved by few symmetries. Nothing is cast.
        key: for the samples.
        forward: params, inputs, spec -> outputs; `architectures.forward` if None. Figures
            of the function are left out where that cannot run the spec.
        inputs: as `forward` takes them; random if None.
        samples: of each symmetry.

    Raises:
        ValueError: the network does not fit its spec or JAX's precision, there is no hidden
            axis, a code or an output is not finite (the symmetry is named), there is a
            `forward` without inputs, or less than one sample.

    >>> from wsjax import architectures, testing
    >>> spec, x = architectures.mlp([2, 8, 1], "tanh"), jnp.ones((3, 2))
    >>> params = testing.draw(jax.random.key(0), spec)
    >>> encode = lambda p, spec: architectures.forward(p, x, spec)
    >>> found = testing.audit(encode, spec, params, jax.random.key(1))
    >>> found["sign"].verdict, found["widening"].verdict, found["scale"].reason
    ('exact', 'exact', 'the network admits no scale')
    """
    params = _checked(spec, params, samples)
    if forward is not None and inputs is None:
        raise ValueError("expected inputs for the forward pass that was given, got none")
    if inputs is None:
        inputs = _inputs(spec, params, jax.random.fold_in(key, len(SYMMETRIES)))
    forward = forward or _FORWARD
    code = _Reader(encode, spec, params, "code")
    run = lambda p, s: forward(p, inputs, s)
    outputs = None if inputs is None else _Reader(run, spec, params, "output")
    rows = []
    for n, symmetry in enumerate(SYMMETRIES):
        mine = jax.random.fold_in(key, n)
        try:
            pairs = [_pair(symmetry, params, spec, mine, i) for i in range(samples)]
        except ValueError as error:
            rows.append(Row(symmetry, "not applicable", reason=" ".join(str(error).split())))
            continue
        rows.append(_row(symmetry, pairs, code, outputs))
    return Audit(tuple(rows), _coarsest(params), str(code.dtype), samples)


def _coarsest(params: Params) -> str:
    return str(max((x.dtype for x in params.values()), key=lambda d: jnp.finfo(d).eps))


def _is_float(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _checked(spec: Spec, params: Params, samples: int) -> Params:
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
    """A network that computes the same, and one that was changed as much and does not."""

    moved: Params
    torn: Params
    near: Params  # `moved`, rounded otherwise
    spec: Spec


def _pair(symmetry: str, params: Params, spec: Spec, key: jax.Array, sample: int) -> _Pair:
    """One sample of a symmetry; a `ValueError` says why the network does not have it."""
    if symmetry in SPREADS:
        have = scalings.admits(spec)
        phases = have.phases if symmetry == "phase" else ()
        if not phases and not any(getattr(x, symmetry, False) for x in have.factors.values()):
            raise ValueError(f"the network admits no {symmetry}")
    for attempt in range(TRIES):  # one neuron may stay as it is by chance
        mine = jax.random.fold_in(key, TRIES * sample + attempt)
        move, tear, last = (jax.random.fold_in(mine, i) for i in range(3))
        wider = spec
        if symmetry == "permutation":
            moved, torn = _renumbered(params, spec, move, tear)
        elif symmetry == "widening":
            moved, wider = widening.widen(params, spec, move)
            torn = _shared_wrongly(moved, wider, spec)
        else:
            moved = _scaled(move, params, spec, symmetry)
            torn = _scaled_apart(symmetry, moved, params, spec, tear)
        if wider != spec or any(_distance(moved[n], x) for n, x in params.items()):
            return _Pair(moved, torn, _rounded(moved, wider, last), wider)
    raise ValueError(f"no {symmetry} moves an entry of this network")


def _scaled(key, params, spec, symmetry) -> Params:
    element = scalings.sample(key, spec, (symmetry,), SPREADS[symmetry])
    return _ACT(element, params, spec)


def _renumbered(params, spec, key, tear) -> tuple[Params, Params]:
    """All arrays by one renumbering; and every second kernel by its inverse.

    Both move an array by the same distance. They are one on an axis of two neurons, along
    which every second kernel then stays as it is. What is no kernel goes either way.
    """
    element = permutations.derange(key, params, spec)
    pairs = {h for h, size in spec.sizes if size == 2}
    back = permutations.inverse(element, spec)
    back = {h: p for h, p in back.items() if h not in pairs}
    moved, other = (permutations.act(e, params, spec) for e in (element, back))
    coins = _numpy(tear).integers(2, size=len(spec.arrays))
    torn, kernels = {}, 0
    for a, coin in zip(spec.arrays, coins, strict=True):
        kernels += a.role == "kernel"
        turned = kernels % 2 == 0 if a.role == "kernel" else coin
        torn[a.name] = (other if turned else moved)[a.name]
    return moved, torn


def _scaled_apart(symmetry, moved, params, spec, key) -> Params:
    """Each array as far from where it was as in `moved`, by a scaling of its own."""
    torn = {}
    for n, a in enumerate(spec.arrays):
        array, mine = params[a.name], jax.random.fold_in(key, n)
        distance, step = _distance(moved[a.name], array), array - moved[a.name]
        for attempt in range(TRIES if distance else 0):
            own = _scaled(jax.random.fold_in(mine, attempt), params, spec, symmetry)[a.name]
            if gone := _distance(own, array):
                step = (own - array) * (distance / gone)
                break
        torn[a.name] = array + step
    return torn


def _shared_wrongly(moved, wider, spec) -> Params:
    """What leaves a copy, the last neuron of its axis, has the wrong sign."""
    before, after, torn = dict(spec.sizes), dict(wider.sizes), dict(moved)
    for a in wider.arrays:
        for i in a.reads:
            if after[a.axes[i]] > before[a.axes[i]]:
                torn[a.name] = torn[a.name].at[(slice(None),) * i + (-1,)].multiply(-1)
    return torn


def _rounded(params, spec, key) -> Params:
    """Every weight up or down by about one unit in its last place."""
    random, out = _numpy(key), {}
    for a in spec.arrays:
        array = np.asarray(params[a.name])
        way = random.choice(np.array([-1, 1]), array.shape) * float(jnp.finfo(array.dtype).eps)
        out[a.name] = jnp.asarray(array * (1 + way).astype(array.dtype))
    return out


def _numpy(key) -> np.random.Generator:
    """Randomness without a program to compile."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _distance(one, other) -> float:
    return float(np.linalg.norm(np.asarray(one, np.float64) - np.asarray(other, np.float64)))


class _UnreadableError(ValueError):
    """A wider network that an encoder or a forward pass does not take."""


class _Figures(NamedTuple):
    change: float
    control: float
    floor: float  # what one unit in the last place does


class _Reader:
    """Codes, or outputs, of networks, compared with those of one of them."""

    def __init__(self, read: Callable[[Params, Spec], jax.Array], spec: Spec, params, noun: str):
        self.read, self.spec, self.noun = read, spec, noun
        first = read(params, spec)
        self.dtype = first.dtype
        self.code = self._finite(first, "the network itself")
        self.size = np.abs(self.code).max(initial=0) or 1.0
        floats = [x.dtype for x in (*params.values(), first) if _is_float(x)]
        self.eps = max(float(jnp.finfo(d).eps) for d in floats)

    def figures(self, symmetry: str, pairs: list[_Pair]) -> _Figures:
        """How far a symmetry, its control and rounding move the code."""
        changes, controls, floor = [], [], [self.eps]
        apart = lambda x, y: float(np.abs(x - y).max(initial=0) / self.size)
        for pair in pairs:
            here, torn, near = self._codes(symmetry, pair)
            changes.append(apart(here, self.code))
            controls.append(apart(torn, self.code))
            floor.append(apart(near, here))
        return _Figures(max(changes), float(np.median(controls)), max(floor))

    def _codes(self, symmetry, pair) -> Iterator[np.ndarray]:
        about = ("under ", "under the control of ", "near ")
        for params, where in zip(pair[:3], about, strict=True):
            try:
                code = self.read(params, pair.spec)
            except ValueError as error:
                if pair.spec == self.spec:
                    raise
                raise _UnreadableError(" ".join(str(error).split())) from error
            if code.shape != self.code.shape:
                raise _UnreadableError(f"its {self.noun} is {code.shape}, not {self.code.shape}")
            yield self._finite(code, where + symmetry)

    def _finite(self, code, where) -> np.ndarray:
        code = np.asarray(code, np.float64)
        if bad := code.size - int(np.isfinite(code).sum()):
            raise ValueError(f"{self.noun} {where}: {bad} of {code.size} entries are not finite")
        return code


def _row(symmetry: str, pairs: list[_Pair], code: _Reader, outputs: _Reader | None) -> Row:
    f = None
    if outputs is not None:
        with contextlib.suppress(_UnreadableError):  # a forward pass for one architecture
            f = outputs.figures(symmetry, pairs)
    known = dict(function=f and f.change, function_control=f and f.control)
    if f and f.change > ULPS * f.floor and f.change * MARGIN > f.control:
        why = f"the function itself moves by {figure(f.change)}"
        return Row(symmetry, "not applicable", **known, reason=why)
    try:
        change, control, floor = code.figures(symmetry, pairs)
    except _UnreadableError as error:
        return Row(symmetry, "not applicable", **known, reason=f"the wider network: {error}")
    rounding = min(ULPS * floor, math.sqrt(code.eps))
    if change <= rounding:
        verdict = "exact" if control > MARGIN * max(change, floor) else "blind"
    else:
        verdict = "approximate" if change * MARGIN < min(control, 1.0) else "broken"
    return Row(symmetry, verdict, change, control, **known, rounding=rounding)


def _inputs(spec: Spec, params: Params, key: jax.Array) -> jax.Array | None:
    """Random inputs of a network, [POINTS, *positions, inputs]; None if it cannot be run."""
    sizes = dict(spec.sizes)
    for side in SIDES:
        with contextlib.suppress(ValueError, StopIteration):
            places, joins = wiring(spec).places, wiring(spec).joins
            first = next(j for j in joins if j.reads is not None and places[j.reads].level < 0)
            channels = math.prod(sizes[a] for a in places[first.reads].axes)
            shape = (POINTS, *[side] * len(first.array.taps), channels)
            x = jax.random.normal(key, shape, _coarsest(params))
            jax.eval_shape(lambda p, x: architectures.forward(p, x, spec), params, x)
            return x
    return None

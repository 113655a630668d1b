"""One forward pass for every Spec.

    level      -1          0           1         2            3
    signals    x  --conv--> c0 --norm--> c0 --conv--> c1 ...  y

A *signal* is the values of the neurons of a place, [..., *positions, channels], neurons of
several axes flattened into channels. Every level leaves the signals of the places that
its layers write or act on, see `wsjax.views.wiring`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks
from wsjax.architectures import convolution, feature_grids, layer_settings
from wsjax.architectures.activations import ACTIVATIONS
from wsjax.architectures.equivariant_bases import BASES
from wsjax.networks import Layer, Params, Spec
from wsjax.views.wiring import Join, wiring


class Signal(NamedTuple):
    """Values [..., *positions, channels], and how many axes of positions they have."""

    values: jax.Array
    positions: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the positions."""
        return self.values.shape[-1 - self.positions : -1]


class Step(NamedTuple):
    """A layer and where it sits.

    Attributes:
        layer: of the spec.
        settings: of the layer, as a dict.
        joins: of its arrays, in order.
        target: the place it writes or acts on; None for a residual.
        residuals: (place it starts from, place it ends at), of a residual.
    """

    layer: Layer
    settings: dict
    joins: tuple[Join, ...]
    target: int | None
    residuals: tuple[tuple[int, int], ...]

    @property
    def top(self) -> int:
        """The deepest level it takes signals from."""
        return self.layer.level - 1 if self.layer.source is None else self.layer.source

    def kernels(self) -> list[Join]:
        """Of the arrays that read."""
        return [j for j in self.joins if j.array.reads]


class Plan(NamedTuple):
    """The steps of `forward` for a spec.

    Attributes:
        steps: by level, residuals last.
        first: name of the layer that reads the network's input.
        inputs: places of the input.
        channels: of the input.
        positions: how many axes of positions the input has.
        outputs: places of the network's output.
    """

    steps: tuple[Step, ...]
    first: str
    inputs: tuple[int, ...]
    channels: int
    positions: int
    outputs: tuple[int, ...]


class Mode(NamedTuple):
    """The operations that differ between training and use; the defaults are those of use.

    Attributes:
        activate: layer, its values [..., channels] -> its activations.
        drop: layer, its activations -> the same after dropout.
        normalise: layer, signal, stored mean and variance -> those that a BatchNorm
            subtracts and divides by.
    """

    activate: Callable = lambda layer, x: ACTIVATIONS[layer.activation](layer.omega * x)
    drop: Callable = lambda layer, x: x
    normalise: Callable = lambda layer, signal, mean, variance: (mean, variance)


USE = Mode()


def forward(
    params: Params,
    x: jax.Array | np.ndarray,
    spec: Spec,
    convolve: convolution.Convolve = convolution.by_xla,
    mode: Mode = USE,
) -> jax.Array:
    """Runs a network.

    Args:
        params: one network, no batch axes; `vmap` for a zoo.
        x: [..., *positions, inputs]: no positions for chains and grids, (set) for
            equivariant networks, (time) or (row, column) for convolutions and
            transformers.
        spec: from a function of this package.
        convolve: the route of convolutions, see `convolution`.
        mode: of use; `training_forward` has that of training.

    Returns:
        [..., outputs].

    Raises:
        ValueError: the network does not match its spec (each array is named), x does not fit, or
            the spec has a setting that does not exist; the layer is named.
        TypeError: these are no named arrays, or no spec.
    """
    networks.check_shapes(params, spec, batched=False)
    plan, x = _plan(spec), jnp.asarray(x)
    _check_input(x, plan)
    signals = {-1: {p: Signal(x, plan.positions) for p in plan.inputs}}

    def read(place: int, top: int) -> Signal:
        return next(
            signals[k][place] for k in reversed(signals) if k <= top and place in signals[k]
        )

    for step in plan.steps:
        layer, target = step.layer, step.target
        here = signals.setdefault(layer.level, {})
        for start, end in step.residuals:
            total = _add(step, read(end, layer.level), read(start, step.top))
            here[end] = _finish(mode, step, total)
        if target is None:
            continue
        if step.kernels():
            inputs = functools.partial(read, top=step.top)
            signal = _READERS[layer.kind](step, params, inputs, convolve)
            signal = _finish(mode, step, signal)
            here[target] = _add(step, here[target], signal) if target in here else signal
        elif step.settings.get("embedding") in ("grid", "triplane", "hash"):
            here[target] = _finish(mode, step, _features(step, params, x))
        else:
            signal = here[target] if target in here else read(target, step.top)
            here[target] = _finish(mode, step, _ACTORS[layer.kind](step, params, signal, mode))
    return read(plan.outputs[0], plan.steps[-1].layer.level).values


@functools.lru_cache(maxsize=256)
def _plan(spec: Spec) -> Plan:
    layer_settings.check(spec)
    wires, joins = wiring(spec), {}
    for join in wires.joins:
        joins.setdefault(join.layer, []).append(join)
    steps = []
    for number, layer in enumerate(spec.layers):
        own = tuple(joins.get(number, ()))
        ends = tuple((s, e) for n, s, e in wires.residuals if n == number)
        steps.append(Step(layer, dict(layer.settings), own, _target(layer, own), ends))
    steps.sort(key=lambda s: (s.layer.level, s.target is None))
    if len(wires.outputs) != 1:
        places = [wires.places[p].axes for p in wires.outputs]
        raise ValueError(f"{spec.layers[-1].name}: expected one output, got neurons {places}")
    inputs = tuple(i for i, p in enumerate(wires.places) if p.level == -1)
    if len({wires.places[i].axes for i in inputs}) > 1:
        axes = [wires.places[i].axes for i in inputs]
        raise ValueError(f"{spec.layers[0].name}: expected one input, got neurons {axes}")
    readers = [(s, j) for s in steps for j in s.kernels() if j.reads in inputs]
    if not readers:
        raise ValueError(f"{spec.layers[0].name}: expected a kernel that reads the input, got none")
    first, join = readers[0]
    sizes = dict(spec.sizes)
    channels = math.prod(sizes[a] for a in wires.places[inputs[0]].axes)
    return Plan(
        tuple(steps), first.layer.name, inputs, channels, len(join.array.taps), wires.outputs
    )


def _target(layer, joins):
    """The place a layer writes; the last kernel's, for attention has places inside."""
    if layer.kind == "residual":
        return None
    if layer.kind not in _READERS | _ACTORS:
        raise ValueError(f"{layer.name}: cannot run a layer of kind {layer.kind!r}")
    return ([j for j in joins if j.array.reads] or joins)[-1].writes


def _check_input(x, plan):
    if x.ndim <= plan.positions or x.shape[-1] != plan.channels:
        raise ValueError(
            f"{plan.first}: expected an input [..., "
            f"{'position, ' * plan.positions}{plan.channels}], got {x.shape}"
        )


def _add(step, one, two):
    if one.values.shape != two.values.shape:
        raise ValueError(
            f"{step.layer.name}: expected to add signals of one shape, got {one.values.shape} "
            f"and {two.values.shape}"
        )
    return Signal(one.values + two.values, one.positions)


def _finish(mode: Mode, step: Step, signal: Signal) -> Signal:
    """The operations after a layer: activation, pooling of windows, pooling of positions."""
    x, positions = signal
    if step.layer.activation != "none":
        x = mode.activate(step.layer, x)
    if "max_pool" in step.settings:
        window, stride, padding = step.settings["max_pool"]
        _check_windows(step, Signal(x, positions), window, stride, padding)
        x = convolution.max_pool(x, window, stride, padding)
    if step.layer.activation != "none":
        x = mode.drop(step.layer, x)
    if pool := step.settings.get("pool"):
        if not positions:
            raise ValueError(f"{step.layer.name}: expected positions to pool, got {x.shape}")
        axes = tuple(range(-1 - positions, -1))
        if pool in ("first", "tokens"):
            x = x.reshape(*x.shape[: axes[0]], -1, x.shape[-1])
            return Signal(x[..., 0, :], 0) if pool == "first" else Signal(x, 1)
        return Signal({"mean": jnp.mean, "sum": jnp.sum, "max": jnp.max}[pool](x, axes), 0)
    return Signal(x, positions)


def _check_windows(step, signal, window, stride, padding):
    if (
        signal.positions != len(window)
        or min(convolution.positions(signal.shape, window, stride, padding)) < 1
    ):
        raise ValueError(
            f"{step.layer.name}: expected an image that a window {window} fits into, padding "
            f"{padding}, got {signal.shape}"
        )


def _matrix(array: jax.Array, *groups: tuple[int, ...]) -> jax.Array:
    """An array with its axes in the order of the groups, each group as one axis."""
    order = sum(groups, ())
    if order != tuple(range(array.ndim)):
        array = array.transpose(order)
    if len(groups) < array.ndim or () in groups:
        sizes, shape = iter(array.shape), []
        for group in groups:
            shape.append(math.prod(next(sizes) for _ in group))
        array = array.reshape(shape)
    return array


def _biased(step, params, y):
    for join in step.joins:
        if join.array.role == "bias":
            y = y + _matrix(params[join.array.name], join.write_axes)
    return y


def _dense(step: Step, params: Params, read: Callable, convolve) -> Signal:
    outputs = []
    for join in step.kernels():
        array, signal = join.array, read(join.reads)
        weights = params[array.name]
        if array.taps:
            y = _equivariant(step, weights, array, signal)
        else:
            flat = tuple(i for i in array.reads if i not in join.read_axes)
            if flat:
                signal = _flattened(step, signal, tuple(weights.shape[i] for i in flat))
            y = signal.values @ _matrix(weights, flat + join.read_axes, array.writes)
        outputs.append(Signal(y, signal.positions))
    total = functools.reduce(functools.partial(_add, step), outputs)
    return Signal(_biased(step, params, total.values), total.positions)


def _flattened(step, signal, shape):
    if signal.shape != shape:
        raise ValueError(f"{step.layer.name}: expected positions {shape}, got {signal.shape}")
    x = signal.values
    return Signal(x.reshape(*x.shape[: -1 - len(shape)], -1), 0)


def _equivariant(step, weights, array, signal):
    """Lim et al., eq. 5: sum_i B_i X W_i."""
    if "basis" not in step.settings:
        raise ValueError(f"{step.layer.name}: expected a setting 'basis', for taps {array.axes}")
    basis = BASES[step.settings["basis"]]
    weights = _matrix(weights, array.taps, array.reads, array.writes)
    if signal.positions != 1 or basis.count(signal.shape[0]) != len(weights):
        raise ValueError(
            f"{step.layer.name}: expected a set on which {step.settings['basis']!r} has "
            f"{len(weights)} maps, got positions {signal.shape}"
        )
    return jnp.einsum("...inc,icd->...nd", basis.apply(signal.values), weights)


def _conv(step: Step, params: Params, read: Callable, convolve) -> Signal:
    if len(step.kernels()) != 1:
        raise ValueError(f"{step.layer.name}: expected one kernel, got {len(step.kernels())}")
    join = step.kernels()[0]
    array, signal, d = join.array, read(join.reads), len(join.array.taps)
    weights = _matrix(params[array.name], *((i,) for i in array.taps), join.read_axes, array.writes)
    stride = step.settings.get("stride", (1,) * d)
    padding = step.settings.get("padding", "VALID")
    if not d or len(stride) != d:
        raise ValueError(
            f"{step.layer.name}: expected a window with a stride by axis, got a kernel "
            f"{array.axes} and stride {stride}"
        )
    _check_windows(step, signal, weights.shape[:-2], stride, padding)
    y = convolve(signal.values, weights, stride, padding)
    return Signal(_biased(step, params, y), d)


def _attention(step: Step, params: Params, read: Callable, convolve) -> Signal:
    """`flax.linen.MultiHeadDotProductAttention` of the tokens with themselves."""
    parts, last = [], None
    for join in step.joins:  # a bias follows its kernel
        array = params[join.array.name]
        if join.array.reads:
            last = len(parts)
            parts.append([join, array, None])
        elif last is None or parts[last][2] is not None:
            raise ValueError(
                f"{step.layer.name}: expected every bias right after its kernel, got "
                f"{[j.array.name for j in step.joins]}"
            )
        else:
            parts[last][2] = array
    if len(parts) != 4:
        raise ValueError(
            f"{step.layer.name}: expected kernels of queries, keys, values and output, got "
            f"{len(parts)}"
        )
    signal = read(parts[0][0].reads)
    if signal.positions != 1:
        raise ValueError(f"{step.layer.name}: expected one axis of tokens, got {signal.shape}")
    q, k, v = (_heads(signal.values, *part) for part in parts[:3])
    weights = jnp.einsum("...thd,...uhd->...htu", q / math.sqrt(q.shape[-1]), k)
    y = jnp.einsum("...htu,...uhd->...thd", jax.nn.softmax(weights), v)
    join, kernel, bias = parts[3]
    y = y.reshape(*y.shape[:-2], -1) @ _matrix(kernel, join.read_axes, join.array.writes)
    return Signal(y if bias is None else y + _matrix(bias, step.joins[-1].write_axes), 1)


def _heads(x, join, kernel, bias):
    """[..., token, stream] to [..., token, head, dimension]."""
    y = jnp.einsum("...ts,shd->...thd", x, _matrix(kernel, join.read_axes, *_apart(join)))
    return y if bias is None else y + bias


def _apart(join):
    return tuple((i,) for i in join.array.writes)


def _norm(step: Step, params: Params, signal: Signal, mode: Mode) -> Signal:
    """Normalises, as Flax does: a layer's channels, groups over positions too, or by batch.

    A batch's mean and variance are the stored ones, unless the mode has others.
    """
    parts = {j.array.role: _matrix(params[j.array.name], j.write_axes) for j in step.joins}
    x, kind = signal.values, step.settings.get("norm", "batch")
    epsilon = step.settings.get("epsilon", 1e-5)
    if kind == "batch":
        mean, variance = mode.normalise(step.layer, signal, parts["mean"], parts["variance"])
        y = (x - mean) * jax.lax.rsqrt(variance + epsilon)
    elif kind == "layer":
        y = _standardised(x, (-1,), epsilon)
    else:
        groups = step.settings["groups"]
        y = x.reshape(*x.shape[:-1], groups, -1)
        axes = (*range(-2 - signal.positions, -2), -1)
        y = _standardised(y, axes, epsilon).reshape(x.shape)
    if "scale" in parts:
        y = y * parts["scale"]
    return Signal(y + parts["bias"] if "bias" in parts else y, signal.positions)


def _standardised(x, axes, epsilon):
    x = x - x.mean(axes, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + epsilon)


def _embedding(step: Step, params: Params, signal: Signal, mode: Mode) -> Signal:
    """Puts a token in front of the others, or adds the learnt embedding of each position."""
    (join,) = step.joins
    x, array, kind = signal.values, params[join.array.name], step.settings.get("embedding")
    if kind == "token" and signal.positions == 1:
        token = jnp.broadcast_to(_matrix(array, join.write_axes), (*x.shape[:-2], 1, x.shape[-1]))
        return Signal(jnp.concatenate([token, x], axis=-2), 1)
    table = _matrix(array, *((i,) for i in join.array.taps), join.write_axes)
    if kind != "positions" or table.shape[:-1] != signal.shape:
        raise ValueError(
            f"{step.layer.name}: expected positions {table.shape[:-1]} for embedding {kind!r}, "
            f"got {signal.shape}"
        )
    return Signal(x + table, signal.positions)


def _features(step: Step, params: Params, x: jax.Array) -> Signal:
    """The features of a grid at the coordinates."""
    (join,) = step.joins
    table = _matrix(params[join.array.name], *((i,) for i in join.array.taps), join.write_axes)
    resolution = step.settings.get("resolution")
    return Signal(feature_grids.look_up(step.settings["embedding"], table, x, resolution), 0)


_READERS = {"dense": _dense, "embedding": _dense, "conv": _conv, "attention": _attention}
_ACTORS = {"norm": _norm, "embedding": _embedding}

"""Networks fitted to a tolerance, many in one program; `sine` and `inr_fitting` fit by it.

    fit(error, params, spec, optimizer, tolerance, limit)   error: params -> mean squared error
    compiled(local, count, devices, ...)                    `local` on each device's networks
    run(program, arrays, order, devices)                    shares networks out, keeps their order

Full batch: an error has no key and no data of its own. `initial` draws the networks.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax.networks import Params, Spec, ravel
from wsjax.summaries import summary

Error = Callable[[Params], jax.Array]
Program = Callable[..., "Fit"]
INITIALIZATIONS = ("dws", "siren")


class State(NamedTuple):
    """A network in training: its `mse` is that of the weights before the last step."""

    params: Params
    memory: optax.OptState
    steps: jax.Array
    mse: jax.Array


class Fit(NamedTuple):
    """Networks after training.

    Attributes:
        vectors: [network, entry], as `ravel` lays them out.
        mse: [network], of these very weights, over all points.
        steps: [network], Adam's.
    """

    vectors: jax.Array | np.ndarray
    mse: jax.Array | np.ndarray
    steps: jax.Array | np.ndarray

    __repr__ = summary


def initial(spec: Spec, key: jax.Array, how: str = "dws") -> Params:
    """A chain of dense layers before training, by one of `INITIALIZATIONS`.

    "dws", as DWSNets' code: sine layers, the first too, are U(-1, 1) sqrt(6 / fan in) / omega
    with biases 0; others are PyTorch's `Linear`, U(-1, 1) / sqrt(fan in), bias included.
    "siren" (Sitzmann et al., 2020): the first layer is U(-1, 1) / fan in, all others
    U(-1, 1) sqrt(6 / fan in) / omega; biases are PyTorch's everywhere.
    """
    params, omega = {}, spec.layers[0].omega
    for i, layer in enumerate(spec.layers):
        for j, a in enumerate(layer.arrays):
            fan_in = spec.shape(layer.arrays[0])[0]
            narrow, bound = math.sqrt(6 / fan_in) / omega, 1 / math.sqrt(fan_in)
            if how == "siren" and a.role == "kernel":
                bound = narrow if i else 1 / fan_in
            elif how == "dws" and layer.activation == "sin":
                bound = narrow if a.role == "kernel" else 0.0
            draw = jax.random.fold_in(jax.random.fold_in(key, i), j)
            params[a.name] = jax.random.uniform(draw, spec.shape(a), minval=-1) * bound
    return params


def begin(params: Params, optimizer: optax.GradientTransformation) -> State:
    """A network about to be trained."""
    memory = optimizer.init(params)
    return State(params, memory, jnp.zeros((), jnp.int32), jnp.array(jnp.inf))


def step(
    state: State, error: Error, optimizer: optax.GradientTransformation, tolerance: float
) -> State:
    """One step of the optimiser, or none if the network is within the tolerance."""
    mse, gradient = jax.value_and_grad(error)(state.params)
    change, memory = optimizer.update(gradient, state.memory, state.params)
    done = mse <= tolerance
    params = jax.tree.map(lambda p, c: jnp.where(done, p, p + c), state.params, change)
    return State(params, memory, state.steps + ~done, mse)


def fit(
    error: Error,
    params: Params,
    spec: Spec,
    optimizer: optax.GradientTransformation,
    tolerance: float,
    limit: jax.Array | int,
) -> Fit:
    """Trains one network until its error is at most `tolerance`, or for `limit` steps.

    For use under `jit`, `vmap` and `lax.map`.
    """
    state = jax.lax.while_loop(  # NaN, no more above than below, ends it too
        lambda s: (s.mse > tolerance) & (s.steps < limit),
        lambda s: step(s, error, optimizer, tolerance),
        begin(params, optimizer),
    )
    # The loop's own figure stands where it stopped the loop: measured anew, the last digit
    # may differ and put a network that is done above the tolerance.
    mse = jnp.where(state.mse <= tolerance, state.mse, error(state.params))
    return Fit(ravel(state.params, spec), mse, state.steps)


def compiled(
    local: Program, count: int, devices: Sequence[jax.Device], *arguments: tuple[Any, ...]
) -> tuple[Program, float]:
    """The program that fits `count` networks on these devices, and the seconds to compile it.

    Each device runs its own loops. Left to the partitioner, the devices would agree after
    every step on whether to go on.

    Args:
        local: of arrays [network, ...], the networks of one device.
        count: of networks, a multiple of the number of devices.
        devices: which share them out.
        *arguments: of `local`, each as its dtype and its shape behind the axis of networks.
    """
    rows = PartitionSpec("network")
    mesh = Mesh(np.array(devices), ("network",))
    shared = jax.shard_map(local, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    sharding = NamedSharding(mesh, rows)
    shapes = [
        jax.ShapeDtypeStruct((count, *rest), dtype, sharding=sharding) for dtype, *rest in arguments
    ]
    began = time.perf_counter()
    return jax.jit(shared).lower(*shapes).compile(), time.perf_counter() - began


def run(
    program: Program,
    arrays: Sequence[np.ndarray | jax.Array],
    order: np.ndarray,
    devices: Sequence[jax.Device],
) -> Fit:
    """Fits the networks of arrays [network, ...]; gives NumPy arrays in their order.

    Args:
        program: from `compiled`, for `len(order)` networks.
        arrays: its arguments.
        order: [slot], the network that each slot of the program fits; each network in one or
            more. Slots go to the devices in turn, so that a device has as many of the first as
            the next.
        devices: of the program.
    """
    slots = order.reshape(-1, len(devices)).T.ravel()
    place = np.empty(len(arrays[0]), int)
    place[slots] = np.arange(len(slots))
    rows = NamedSharding(Mesh(np.array(devices), ("network",)), PartitionSpec("network"))
    out = program(*(jax.device_put(array[slots], rows) for array in arrays))
    return jax.tree.map(lambda array: np.asarray(array)[place], out)

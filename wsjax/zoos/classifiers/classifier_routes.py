"""Training classifiers, many in one call, on whatever device.

    run(plan, data, settings) -> Trained: weights and figures [network, checkpoint, ...]

On a CPU networks come one after another, each for as many steps as it has: in one program
(`lax.map`), or if they have large convolutions by one program for a step, since XLA has a fast
convolution for CPUs that it does not use within loops. On an accelerator all come at once
(`vmap`), or as many as there is memory for, for as many steps as the longest has, the others
standing still. Images lie on the device once, for all.
"""

import functools
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from wsjax import architectures
from wsjax.architectures.convolution import Convolve
from wsjax.zoos.classifiers.classifier_training import (
    MEASURED,
    Data,
    Plan,
    Settings,
    Trained,
    begin,
    counted,
    measure,
    measured_on,
    right_and_loss,
    step,
)

ROUTES = {
    "map": architectures.by_slices,
    "steps": architectures.by_xla,
    "vmap": architectures.by_xla,
}
# Executables kept at once, by each of two caches: each takes hundreds of mappings of memory or
# more, of which a process has 65,530 on Linux; zoos of many architectures have hundreds of them.
EXECUTABLES = 32
HELD = 4  # a compiled step holds less than one in so many bytes of its `appetite`, by trials
CHECK = 50  # steps between two checks that a network is still finite, on the route "steps"


def run(
    plan: Plan,
    data: Data,
    settings: Settings,
    route: str | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Trained:
    """Trains networks.

    Args:
        plan: of all of them.
        data: on which; see `put`.
        settings: of each; devices must divide their number.
        route: one of `ROUTES`; by default `fastest`.
        devices: share the networks out; by default all there are.

    Returns:
        NumPy arrays.

    Raises:
        ValueError: the route is "steps", and there are several devices.
    """
    devices = tuple(jax.devices() if devices is None else devices)
    program, _ = compiled(plan, data, len(settings.epochs), route, devices)
    rows = NamedSharding(_mesh(devices), PartitionSpec("network"))
    out = program(data, jax.device_put(settings, rows))
    return jax.tree.map(np.asarray, out)


def put(data: Data, devices: Sequence[jax.Device] | None = None) -> Data:
    """The images on every device, ready for `run`."""
    devices = tuple(jax.devices() if devices is None else devices)
    return jax.device_put(data, NamedSharding(_mesh(devices), PartitionSpec()))


def compiled(plan: Plan, data: Data, count: int, route: str | None, devices: tuple) -> tuple:
    """The program for so many networks, and the seconds that compiling it took."""
    shapes = jax.tree.map(lambda a: (a.shape, str(a.dtype)), tuple(data), is_leaf=_is_array)
    if (route := route or fastest(plan, devices)) == "steps":
        return _stepwise(plan, shapes, devices)
    return _compiled(plan, shapes, count, route, devices)


def fastest(plan: Plan, devices: Sequence[jax.Device]) -> str:
    """The route for networks on devices.

    On a CPU core "steps" is the faster where convolutions read 5 x 5 x 8, 9 x 32 or 3 x 3 x 32
    numbers at a place, and not at 3 x 3 x 16; `experiments.make.classifier_zoo --benchmark`
    times both.
    """
    if devices[0].platform != "cpu":
        return "vmap"
    spec = plan.spec
    kernels = [a for x in spec.layers if x.kind == "conv" for a in x.arrays if a.role == "kernel"]
    reads = max((np.prod(spec.shape(a)[:-1]) for a in kernels), default=0)
    return "steps" if reads > 150 and len(devices) == 1 else "map"


def train_one(plan: Plan, data: Data, settings: Settings, convolve: Convolve) -> Trained:
    """Trains one network; arrays without the axis of networks. For use under `jit`."""
    ends = jnp.array([*plan.checkpoints, np.iinfo(np.int32).max], jnp.int32)
    ends = jnp.minimum(ends, settings.epochs) * (settings.images // plan.batch)

    def stretch(state, end):
        state = jax.lax.while_loop(
            lambda s: (s.steps < end) & s.finite,
            lambda s: step(plan, data, settings, s, convolve),
            state,
        )
        figures = jax.lax.cond(
            settings.epochs > 0,
            lambda v: measure(plan, data, settings, v, convolve),
            lambda v: jnp.zeros(4),
            state.vector,
        )
        return state, Trained(state.vector, figures, state.steps)

    return jax.lax.scan(stretch, begin(plan, settings), ends)[1]


def _mesh(devices):
    return Mesh(np.array(devices), ("network",))


def _is_array(x):
    return hasattr(x, "dtype")


@functools.lru_cache(maxsize=EXECUTABLES // 4)
def _stepwise(plan, shapes, devices):
    if len(devices) > 1:
        raise ValueError(f"expected one device for the route 'steps', got {len(devices)}")

    def advance(state, data, settings):
        new = step(plan, data, settings, state, ROUTES["steps"])
        return jax.tree.map(lambda new, old: jnp.where(state.finite, new, old), new, state)

    def score(vector, data, settings, start, part):
        return right_and_loss(plan, data, settings, vector, ROUTES["steps"], part, start)

    began = time.perf_counter()
    here = SingleDeviceSharding(devices[0])
    data = Data(*(jax.ShapeDtypeStruct(s, d, sharding=here) for s, d in shapes))
    one = _described(sharding=here)
    first = jax.ShapeDtypeStruct((), jnp.int32, sharding=here)
    start = jax.jit(functools.partial(begin, plan)).lower(one).compile()
    state = jax.eval_shape(functools.partial(begin, plan), one)
    advance = jax.jit(advance, donate_argnums=0).lower(state, data, one).compile()
    score = jax.jit(score, static_argnames="part")
    scores = {
        part: score.lower(state.vector, data, one, first, part=part).compile()
        for part in ("test", "train")
    }
    sizes = {part: measured_on(plan, data, part) for part in scores}

    def figures(vector, data, settings):
        means = []
        for part, size in sizes.items():
            starts = range(0, size, MEASURED)
            total = sum(scores[part](vector, data, settings, jnp.int32(s)) for s in starts)
            means.append(np.asarray(total) / np.float32(counted(plan, data, settings, part)))
        return np.concatenate(means)

    def train(data, settings):
        state, trained, taken = start(settings), [], 0
        epochs, each = int(settings.epochs), int(settings.images) // plan.batch
        for checkpoint in (*plan.checkpoints, epochs):
            while taken < min(checkpoint, epochs) * each:
                if taken % CHECK == 0 and not state.finite:
                    break
                state, taken = advance(state, data, settings), taken + 1
            own = figures(state.vector, data, settings) if epochs else np.zeros(4, np.float32)
            # a copy: the next step may write where the vector lies
            trained.append(Trained(np.array(state.vector), np.array(own), np.array(state.steps)))
        return jax.tree.map(lambda *parts: np.stack(parts), *trained)

    def program(data, settings):
        own = jax.tree.map(lambda x: jax.device_put(x, devices[0]), (data, settings))
        count = len(settings.epochs)
        nets = [train(own[0], jax.tree.map(lambda x, i=i: x[i], own[1])) for i in range(count)]
        return jax.tree.map(lambda *parts: np.stack(parts), *nets)

    return program, time.perf_counter() - began


def _described(*axes, **more):
    """The settings of networks as shapes."""
    integers = ("initializer", "activation", "optimizer", "images", "epochs")
    types = {name: jnp.int32 if name in integers else jnp.float32 for name in Settings._fields}
    types["keys"] = jax.random.key(0).dtype
    return Settings(**{k: jax.ShapeDtypeStruct(axes, d, **more) for k, d in types.items()})


def appetite(plan: Plan, data: Data, settings: Settings, convolve: Convolve) -> int:
    """Bytes of all arrays of a network's step, or of a measurement, were none overwritten.

    Compiled steps hold much less at once, see `HELD`.

    Args:
        plan: of the network.
        data: on which, as shapes.
        settings: of one network, as shapes.
        convolve: how.
    """

    def size(jaxpr):
        total = 0
        for equation in jaxpr.eqns:
            inner = [getattr(x, "jaxpr", x) for x in jax.tree.leaves(
                list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
            ) if hasattr(getattr(x, "jaxpr", x), "eqns")]  # fmt: skip
            if inner:
                total += sum(map(size, inner))
            else:
                total += sum(v.aval.size * v.aval.dtype.itemsize for v in equation.outvars)
        return total

    def train(data, settings):
        return step(plan, data, settings, begin(plan, settings), convolve)

    def score(data, settings):
        vector = begin(plan, settings).vector
        return right_and_loss(plan, data, settings, vector, convolve, "train", 0)

    return max(size(jax.make_jaxpr(f)(data, settings).jaxpr) for f in (train, score))


def _memory(device):
    """Bytes that a device has for us; a CPU states none, and swaps in the end."""
    return (device.memory_stats() or {}).get("bytes_limit", 1 << 62)


@functools.lru_cache(maxsize=EXECUTABLES)
def _compiled(plan, shapes, count, route, devices):
    convolve = ROUTES[route]
    batch, local_count = None, count // len(devices)
    if route == "vmap":
        whole = Data(*(jax.ShapeDtypeStruct(s, d) for s, d in shapes))
        each = appetite(plan, whole, _described(), convolve)
        most = min(max(HELD * _memory(devices[0]) // each, 1), local_count)
        # as equal as can be: a remainder is compiled as a program of its own
        least = -(-local_count // most)
        parts = next(n for n in range(least, local_count + 1) if local_count % n == 0)
        batch = local_count // parts if local_count // parts > most // 2 else most

    def local(data, settings):
        one = functools.partial(train_one, plan, data, convolve=convolve)
        return jax.lax.map(lambda s: one(settings=s), settings, batch_size=batch)

    mesh, rows, whole = _mesh(devices), PartitionSpec("network"), PartitionSpec()
    shared = jax.shard_map(
        local, mesh=mesh, in_specs=(whole, rows), out_specs=rows, check_vma=False
    )
    began = time.perf_counter()
    data = Data(
        *(jax.ShapeDtypeStruct(s, d, sharding=NamedSharding(mesh, whole)) for s, d in shapes)
    )
    settings = _described(count, sharding=NamedSharding(mesh, rows))
    program = jax.jit(shared).lower(data, settings).compile()
    return program, time.perf_counter() - began

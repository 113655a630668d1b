"""Training classifiers, each by its own settings, all by one compiled program.

    Plan      what the program is: a Spec, how images enter, batches, checkpoints
    Settings  what each network has of its own: numbers, traced
    run(plan, data, settings) -> Trained: weights and figures [network, checkpoint, ...]

On a CPU networks come one after another, each for as many steps as it has: in one program
(`lax.map`), or if they have large convolutions by one program for a step, since XLA has a fast
convolution for CPUs that it does not use within loops. On an accelerator all come at once
(`vmap`), or as many as there is memory for, for as many steps as the longest has, the others
standing still. Images lie on the device once, for all.
"""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsjax import architectures
from wsjax.architectures.convolution import Convolve
from wsjax.architectures.training_forward import moved, picking, training_forward
from wsjax.networks import Spec, ravel, unravel
from wsjax.zoos import augmenting, initializers, shuffling

MEASURED = 250  # images in one forward pass of a measurement: what a CPU's cache holds
ROUTES = {
    "map": architectures.by_slices,
    "steps": architectures.by_xla,
    "vmap": architectures.by_xla,
}
LOOK = 50  # steps between two looks at whether a network is still finite, on the route "steps"

# learning rate and decay are applied by `step`
OPTIMIZERS = {
    "adam": lambda momentum: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-7),
    "rmsprop": lambda momentum: optax.scale_by_rms(decay=0.9, eps=1e-7, eps_in_sqrt=False),
    "sgd": lambda momentum: optax.trace(momentum) if momentum else optax.identity(),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What networks of one compiled program have in common.

    Attributes:
        spec: of all of them; `activations` stand in for its own.
        layout: how an image is read: a key of `LAYOUTS`.
        activations: to pick from.
        initializers: to pick from.
        optimizers: to pick from, Keras's defaults where not said otherwise.
        momentum: of SGD.
        decay_kind: "penalty", l2 times the sum of squared kernels in the loss (Keras);
            "gradient", the decay times all weights in the gradient (PyTorch); "decoupled",
            the same in the update (AdamW).
        bias: initial.
        batch: images a step.
        checkpoints: epochs, beside its last, after which a network is kept.
        warmup: share of the steps in which the learning rate rises from zero, before it
            falls to zero; 0 for a constant one.
        flip: whether images are mirrored at random.
        translate: pixels that they are shifted by, at most.
        cutout: side of the square that is blanked out.
        measured: training images, at most, that the training figures are taken on.
    """

    spec: Spec
    layout: str
    activations: tuple[str, ...]
    initializers: tuple[str, ...]
    optimizers: tuple[str, ...]
    momentum: float
    decay_kind: str
    bias: float
    batch: int
    checkpoints: tuple[int, ...]
    warmup: float
    flip: bool
    translate: int
    cutout: int
    measured: int


class Settings(NamedTuple):
    """What a network has of its own; each [network].

    `images` is how many it trains on, `keys` its random numbers'; `initializer`,
    `activation` and `optimizer` are positions in the plan's lists. With no epochs it is
    neither trained nor measured.
    """

    keys: jax.Array
    learning_rate: jax.Array
    decay: jax.Array
    dropout: jax.Array
    smoothing: jax.Array
    deviation: jax.Array
    initializer: jax.Array
    activation: jax.Array
    optimizer: jax.Array
    images: jax.Array
    epochs: jax.Array


class Data(NamedTuple):
    """Images [n, row, col, channel] float32 with their labels [n] int32."""

    train: jax.Array
    train_labels: jax.Array
    test: jax.Array
    test_labels: jax.Array


class Trained(NamedTuple):
    """Networks after training, at each checkpoint and, last, at their end.

    Attributes:
        vectors: [network, checkpoint, entry].
        figures: [network, checkpoint, 4]: accuracy and cross-entropy on the test images,
            then on its training images, without dropout, smoothing or decay.
        steps: [network, checkpoint] int32; fewer than planned where a loss was not finite,
            which ends a training.
    """

    vectors: jax.Array
    figures: jax.Array
    steps: jax.Array


class State(NamedTuple):
    """A network in training: its weights, what its optimisers remember, steps taken."""

    vector: jax.Array
    memory: tuple[optax.OptState, ...]
    steps: jax.Array
    finite: jax.Array


def as_is(images: jax.Array) -> jax.Array:
    """[..., row, col, channel], for convolutions over both."""
    return images


def as_sequence(images: jax.Array) -> jax.Array:
    """[..., position, channel]: pixels in raster order, as GMN's 1-D CNNs read them."""
    return images.reshape(*images.shape[:-3], -1, images.shape[-1])


def as_set(images: jax.Array) -> jax.Array:
    """[..., position, channel + 2]: each pixel with its row and column, both in [-1, 1].

    GMN feeds DeepSets "pixel sets" with "positional encodings" and does not say which.
    """
    rows, cols = images.shape[-3:-1]
    grid = jnp.meshgrid(jnp.linspace(-1, 1, rows), jnp.linspace(-1, 1, cols), indexing="ij")
    places = jnp.broadcast_to(jnp.stack(grid, -1), (*images.shape[:-1], 2))
    return as_sequence(jnp.concatenate([images, places], -1))


LAYOUTS = {"image": as_is, "sequence": as_sequence, "set": as_set}


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

    On a CPU core "steps" trains 1.9 times as many networks as "map" whose convolutions read
    5 x 5 x 8 or 9 x 32 numbers at a place, 1.3 times as many at 3 x 3 x 32, and 0.9 at 3 x 3 x 16.
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


def begin(plan: Plan, settings: Settings) -> State:
    """A network about to be trained."""
    params = initializers.initial(
        plan.spec, _key(settings, "weights"), plan.initializers,
        settings.initializer, settings.deviation, plan.bias,
    )  # fmt: skip
    vector = ravel(params, plan.spec)
    memory = tuple(OPTIMIZERS[name](plan.momentum).init(vector) for name in plan.optimizers)
    return State(vector, memory, jnp.zeros((), jnp.int32), jnp.array(True))


def step(plan: Plan, data: Data, settings: Settings, state: State, convolve: Convolve) -> State:
    """One step on the next batch of the epoch's shuffle of the network's own images."""
    per_epoch = settings.images // plan.batch
    epoch, turn = jnp.divmod(state.steps, per_epoch)
    places = turn * plan.batch + jnp.arange(plan.batch)
    order = shuffling.deal(jax.random.fold_in(_key(settings, "order"), epoch))
    chosen = own(data, settings, shuffling.drawn(order, places, settings.images))
    one, two = jax.random.split(jax.random.fold_in(_key(settings, "noise"), state.steps))
    images = augmenting.augment(data.train[chosen], one, plan.flip, plan.translate, plan.cutout)
    inputs, labels = LAYOUTS[plan.layout](images), data.train_labels[chosen]

    def loss(vector):
        params = unravel(vector, plan.spec)
        logits, batch = training_forward(
            params, inputs, plan.spec, two, dropout=settings.dropout,
            activations=plan.activations, activation=settings.activation, convolve=convolve,
        )  # fmt: skip
        wanted = jax.nn.one_hot(labels, logits.shape[-1])
        wanted = optax.smooth_labels(wanted, settings.smoothing)
        total = optax.softmax_cross_entropy(logits, wanted).mean()
        return total, ravel(moved(params, batch, 0.9), plan.spec)

    (value, kept), gradient = jax.value_and_grad(loss, has_aux=True)(state.vector)
    kernels, learnt = masks(plan.spec)
    pull = settings.decay * state.vector
    if plan.decay_kind == "penalty":
        gradient += 2 * pull * kernels
    elif plan.decay_kind == "gradient":
        gradient += pull * learnt
    updates, memory = [], []
    for name, before in zip(plan.optimizers, state.memory, strict=True):
        update, after = OPTIMIZERS[name](plan.momentum).update(gradient, before)
        updates.append(update)
        memory.append(after)
    update = jax.lax.select_n(settings.optimizer, *updates)
    if plan.decay_kind == "decoupled":
        update += pull * learnt
    finite = jnp.isfinite(value)
    rate = settings.learning_rate * schedule(plan, state.steps, settings.epochs * per_epoch)
    vector = jnp.where(learnt > 0, state.vector - rate * update, kept)
    return State(vector, tuple(memory), state.steps + finite, finite)


def schedule(plan: Plan, taken: jax.Array, total: jax.Array) -> jax.Array:
    """The share of the learning rate at a step: constant, or linearly up and down."""
    if not plan.warmup:
        return jnp.ones(())
    taken, total = taken.astype(jnp.float32), total.astype(jnp.float32)
    peak = plan.warmup * total
    return jnp.minimum((taken + 1) / (peak + 1), (total - taken) / (total - peak))


def own(data: Data, settings: Settings, places: jax.Array) -> jax.Array:
    """Which training images are at these places of the network's own; below `images`."""
    deck = shuffling.deal(_key(settings, "images"))
    return shuffling.drawn(deck, places, data.train.shape[0])


def measure(
    plan: Plan, data: Data, settings: Settings, vector: jax.Array, convolve: Convolve
) -> jax.Array:
    """Accuracy and cross-entropy on test and own training images, [4]."""

    def mean(part):
        def add(total, start):
            more = right_and_loss(plan, data, settings, vector, convolve, part, start)
            return total + more, None

        starts = jnp.arange(0, looked_at(plan, data, part), MEASURED)
        total, _ = jax.lax.scan(add, jnp.zeros(2), starts)
        return total / counted(plan, data, settings, part)

    return jnp.concatenate([mean("test"), mean("train")])


def looked_at(plan: Plan, data: Data, part: str) -> int:
    """How many images of a part, "test" or "train", the largest measurement takes."""
    return len(data.test) if part == "test" else min(plan.measured, len(data.train))


def counted(plan: Plan, data: Data, settings: Settings, part: str) -> jax.Array | int:
    """Of those, how many count for a network: of the training images its own."""
    most = looked_at(plan, data, part)
    return most if part == "test" else jnp.minimum(most, settings.images)


def right_and_loss(
    plan: Plan,
    data: Data,
    settings: Settings,
    vector: jax.Array,
    convolve: Convolve,
    part: str,
    start: jax.Array,
) -> jax.Array:
    """Right answers and sum of cross-entropies for `MEASURED` images of a part from one on, [2]."""
    mode = picking(plan.activations, settings.activation)
    places = start + jnp.arange(MEASURED)
    rows = jnp.minimum(places, looked_at(plan, data, part) - 1)
    if part == "train":
        rows = own(data, settings, rows)
    images, labels = getattr(data, part), getattr(data, f"{part}_labels")
    x, y = LAYOUTS[plan.layout](images[rows]), labels[rows]
    logits = architectures.forward(unravel(vector, plan.spec), x, plan.spec, convolve, mode)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    both = jnp.stack([(logits.argmax(-1) == y).astype(jnp.float32), loss])
    return jnp.where(places < counted(plan, data, settings, part), both, 0.0).sum(-1)


@functools.lru_cache(maxsize=256)
def masks(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """[entry] float32, one where an entry is of a kernel; and where it is learnt at all."""
    roles = {a.name: np.full(spec.shape(a), a.role) for a in spec.arrays}
    role = np.asarray(ravel(roles, spec))
    learnt = ~np.isin(role, ("mean", "variance"))
    return (role == "kernel").astype(np.float32), learnt.astype(np.float32)


def _key(settings: Settings, use: str) -> jax.Array:
    uses = ("weights", "images", "order", "noise")
    return jax.random.fold_in(settings.keys, uses.index(use) + 1)  # 0 drew the settings


def _mesh(devices):
    return Mesh(np.array(devices), ("network",))


def _is_array(x):
    return hasattr(x, "dtype")


@functools.lru_cache(maxsize=32)
def _stepwise(plan, shapes, devices):
    if len(devices) > 1:
        raise ValueError(f"expected one device for the route 'steps', got {len(devices)}")

    def advance(state, data, settings):
        new = step(plan, data, settings, state, ROUTES["steps"])
        return jax.tree.map(lambda new, old: jnp.where(state.finite, new, old), new, state)

    def score(vector, data, settings, start, part):
        return right_and_loss(plan, data, settings, vector, ROUTES["steps"], part, start)

    began = time.perf_counter()
    data, one = Data(*(jax.ShapeDtypeStruct(s, d) for s, d in shapes)), _described()
    first = jax.ShapeDtypeStruct((), jnp.int32)
    start = jax.jit(functools.partial(begin, plan)).lower(one).compile()
    state = jax.eval_shape(functools.partial(begin, plan), one)
    advance = jax.jit(advance, donate_argnums=0).lower(state, data, one).compile()
    score = jax.jit(score, static_argnames="part")
    scores = {
        part: score.lower(state.vector, data, one, first, part=part).compile()
        for part in ("test", "train")
    }
    sizes = {part: looked_at(plan, data, part) for part in scores}

    def figures(vector, data, settings):
        found = []
        for part, size in sizes.items():
            starts = range(0, size, MEASURED)
            total = sum(scores[part](vector, data, settings, jnp.int32(s)) for s in starts)
            found.append(np.asarray(total) / np.float32(counted(plan, data, settings, part)))
        return np.concatenate(found)

    def train(data, settings):
        state, found, taken = start(settings), [], 0
        epochs, each = int(settings.epochs), int(settings.images) // plan.batch
        for checkpoint in (*plan.checkpoints, epochs):
            while taken < min(checkpoint, epochs) * each:
                if taken % LOOK == 0 and not state.finite:
                    break
                state, taken = advance(state, data, settings), taken + 1
            seen = figures(state.vector, data, settings) if epochs else np.zeros(4, np.float32)
            # a copy: the next step may write where the vector lies
            found.append(Trained(np.array(state.vector), np.array(seen), np.array(state.steps)))
        return jax.tree.map(lambda *parts: np.stack(parts), *found)

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
    """Bytes that all arrays of one network's step take together, were none overwritten.

    Compiled steps hold a twentieth (DeepSets on an H100) to a fifth (a CNN on a CPU) of it.

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

    def one(data, settings):
        return step(plan, data, settings, begin(plan, settings), convolve)

    return size(jax.make_jaxpr(one)(data, settings).jaxpr)


def _memory(device):
    """Bytes that a device has for us; a CPU tells of none, and swaps in the end."""
    return (device.memory_stats() or {}).get("bytes_limit", 1 << 62)


# Not more programs than this at once: each takes thousands of mappings of memory, of which a
# process has 65,530, and zoos of many architectures have hundreds of programs.
@functools.lru_cache(maxsize=32)
def _compiled(plan, shapes, count, route, devices):
    convolve = ROUTES[route]
    batch, mine = None, count // len(devices)
    if route == "vmap":
        whole = Data(*(jax.ShapeDtypeStruct(s, d) for s, d in shapes))
        each = appetite(plan, whole, _described(), convolve)
        batch = min(max(4 * _memory(devices[0]) // each, 1), mine)

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

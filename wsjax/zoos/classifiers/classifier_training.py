"""Training classifiers, each by its own settings, all by one compiled program.

    Plan      what the program is: a Spec, how images enter, batches, checkpoints
    Settings  what each network has of its own: numbers, traced
    step(plan, data, settings, state) -> state          measure(...) -> accuracies, losses

`classifier_routes` makes whole trainings of these parts.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import architectures
from wsjax.architectures.convolution import Convolve
from wsjax.architectures.training_forward import moved, picking, training_forward
from wsjax.networks import Spec, ravel, unravel
from wsjax.zoos.classifiers import image_augmentation, initializers, shuffling

Leaf = Any  # an array, on a device or not, or the shape of one

MEASURED = 250  # images in one forward pass of a measurement: what a CPU's cache holds

# learning rate and decay are applied by `step`
OPTIMIZERS = {
    "adam": lambda momentum: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-7),
    "rmsprop": lambda momentum: optax.scale_by_rms(decay=0.9, eps=1e-7, eps_in_sqrt=False),
    "sgd": lambda momentum: optax.trace(momentum) if momentum else optax.identity(),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings that networks of one compiled program have in common.

    Attributes:
        spec: of all of them; `activations` stand in for its own.
        layout: how an image is read: a key of `LAYOUTS`.
        activations: to pick from.
        initializers: to pick from.
        optimizers: to pick from, Keras's defaults unless stated otherwise.
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
    """The settings that a network has of its own; each [network].

    `images` is how many it trains on, `keys` its random numbers'; `initializer`,
    `activation` and `optimizer` are positions in the plan's lists. With no epochs it is
    neither trained nor measured.
    """

    keys: Leaf
    learning_rate: Leaf
    decay: Leaf
    dropout: Leaf
    smoothing: Leaf
    deviation: Leaf
    initializer: Leaf
    activation: Leaf
    optimizer: Leaf
    images: Leaf
    epochs: Leaf


class Data(NamedTuple):
    """Images [n, row, col, channel] float32 with their labels [n] int32."""

    train: Leaf
    train_labels: Leaf
    test: Leaf
    test_labels: Leaf


class Trained(NamedTuple):
    """Networks after training, at each checkpoint and, last, at their end.

    Attributes:
        vectors: [network, checkpoint, entry].
        figures: [network, checkpoint, 4]: accuracy and cross-entropy on the test images,
            then on its training images, without dropout, smoothing or decay.
        steps: [network, checkpoint] int32; fewer than planned where a loss was not finite,
            which ends a training.
    """

    vectors: Leaf
    figures: Leaf
    steps: Leaf


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

    GMN feeds DeepSets "pixel sets" with "positional encodings" without details.
    """
    rows, cols = images.shape[-3:-1]
    grid = jnp.meshgrid(jnp.linspace(-1, 1, rows), jnp.linspace(-1, 1, cols), indexing="ij")
    places = jnp.broadcast_to(jnp.stack(grid, -1), (*images.shape[:-1], 2))
    return as_sequence(jnp.concatenate([images, places], -1))


LAYOUTS = {"image": as_is, "sequence": as_sequence, "set": as_set}


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
    order = shuffling.shuffle(jax.random.fold_in(_key(settings, "order"), epoch))
    chosen = own(data, settings, shuffling.shuffled(order, places, settings.images))
    one, two = jax.random.split(jax.random.fold_in(_key(settings, "noise"), state.steps))
    images = image_augmentation.augment(
        data.train[chosen], one, plan.flip, plan.translate, plan.cutout
    )
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
    deck = shuffling.shuffle(_key(settings, "images"))
    return shuffling.shuffled(deck, places, data.train.shape[0])


def measure(
    plan: Plan, data: Data, settings: Settings, vector: jax.Array, convolve: Convolve
) -> jax.Array:
    """Accuracy and cross-entropy on test and own training images, [4]."""

    def mean(part):
        def add(total, start):
            more = right_and_loss(plan, data, settings, vector, convolve, part, start)
            return total + more, None

        starts = jnp.arange(0, measured_on(plan, data, part), MEASURED)
        total, _ = jax.lax.scan(add, jnp.zeros(2), starts)
        return total / counted(plan, data, settings, part)

    return jnp.concatenate([mean("test"), mean("train")])


def measured_on(plan: Plan, data: Data, part: str) -> int:
    """How many images of a part, "test" or "train", the largest measurement takes."""
    return len(data.test) if part == "test" else min(plan.measured, len(data.train))


def counted(plan: Plan, data: Data, settings: Settings, part: str) -> jax.Array | int:
    """Of those, how many count for a network: of the training images its own."""
    most = measured_on(plan, data, part)
    return most if part == "test" else jnp.minimum(most, settings.images)


def right_and_loss(
    plan: Plan,
    data: Data,
    settings: Settings,
    vector: jax.Array,
    convolve: Convolve,
    part: str,
    start: jax.Array | int,
) -> jax.Array:
    """Right classes and sum of cross-entropies, [2], of `MEASURED` images of a part from one on."""
    mode = picking(plan.activations, settings.activation)
    places = start + jnp.arange(MEASURED)
    rows = jnp.minimum(places, measured_on(plan, data, part) - 1)
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
    role = np.concatenate([np.full(math.prod(spec.shape(a)), a.role) for a in spec.arrays])
    learnt = ~np.isin(role, ("mean", "variance"))
    return (role == "kernel").astype(np.float32), learnt.astype(np.float32)


def _key(settings: Settings, use: str) -> jax.Array:
    uses = ("weights", "images", "order", "noise")
    return jax.random.fold_in(settings.keys, uses.index(use) + 1)  # 0 drew the settings

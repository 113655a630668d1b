"""Fits SIRENs to images, a block of them in one call.

    images [network, row, col, channel]  --Adam, full image-->  Fit(vectors, mse, steps)

On a CPU networks are fitted one after another, each until it is done: its activations,
[feature, point], stay in the cache and no network waits for a slower one. On an
accelerator all of a block go through one vectorised loop. Devices have blocks of their own.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax.architectures import trigonometry
from wsjax.networks import Params, unravel
from wsjax.zoos import factory, fitting
from wsjax.zoos.fitting import Fit, Program
from wsjax.zoos.inrs.inr_recipe import Recipe, grid

PRECISION = "float32"  # of products; an accelerator's own would not reach 40 dB
BLOCK = 1000  # networks in one loop of `refine` on an accelerator
STREAMS = {"train": 0, "test": 1}  # of keys; images of no part have those of "train"

Sine = Callable[[jax.Array], jax.Array]


def keys(seed: int, part: str, images: Sequence[int], view: int) -> jax.Array:
    """[image]: a key for each image, its number's and the view's own whatever others there are."""
    stream = jax.random.fold_in(jax.random.key(seed), STREAMS.get(part, 0))
    own = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(stream, i), view))
    return own(jnp.asarray(images, jnp.int32))


def fit_one(
    recipe: Recipe,
    points: jax.Array | np.ndarray,
    image: jax.Array,
    params: Params,
    limit: jax.Array | int,
    sine: Sine = trigonometry.fast_sin,
) -> Fit:
    """Trains one network to the tolerance, or for `limit` steps; for use under `jit`.

    Args:
        recipe: of the network.
        points: [2, point].
        image: [channel, point], in the recipe's range.
        params: to begin with.
        limit: steps.
        sine: its activation.
    """
    error = functools.partial(_error, points=points, image=image, recipe=recipe, sine=sine)
    adam = optax.adam(recipe.learning_rate)
    return fitting.fit(error, params, recipe.spec(len(image)), adam, recipe.tolerance, limit)


def run(
    recipe: Recipe,
    images: np.ndarray,
    keys: jax.Array,
    count: int | None = None,
    sine: Sine = trigonometry.fast_sin,
    batch: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Fit:
    """Fits a network to each image, all of them in one call.

    Args:
        recipe: its counts and seed play no part.
        images: [network, row, col, channel] float32, in the recipe's range.
        keys: [network], of the initial weights.
        count: of networks that the program is for; idle ones fill it up. By default as
            many as there are images.
        sine: the networks' activation; `jnp.sin` where the library's own is on trial.
        batch: networks in one vectorised loop; by default what suits the device.
        devices: share the networks out; by default all there are.

    Returns:
        The networks as NumPy arrays, in the order of the images.
    """
    devices = tuple(jax.devices() if devices is None else devices)
    n = len(images)
    size = factory.padded(count or n, devices)
    program, _ = compiled(recipe, images.shape[1:], size, sine, batch, devices)
    slots = np.arange(size)
    limits = np.where(slots < n, recipe.steps, 0).astype(np.int32)  # idle ones take no steps
    flat = np.moveaxis(images.reshape(n, -1, images.shape[-1]), 1, 2)
    fit = fitting.run(program, (flat[slots % n], keys[slots % n], limits), slots, devices)
    return Fit(*(array[:n] for array in fit))


def refine(
    recipe: Recipe, vectors: np.ndarray, images: np.ndarray, steps: int, batch: int | None = None
) -> Fit:
    """Goes on fitting networks, to images that may be other ones; on the first device.

    Args:
        recipe: of the networks; its steps, counts and seed play no part.
        vectors: [network, entry], as `ravel` lays them out.
        images: [network, row, col, channel] float32, in the recipe's range.
        steps: of Adam, whose memory is new; fewer where the tolerance is met.
        batch: networks in one vectorised loop; by default what suits the device.

    Returns:
        The networks as NumPy arrays, in the order given.

    Raises:
        ValueError: there are more or fewer images than networks, or networks are of another
            length than those of such images.
    """
    n, shape = len(images), images.shape[1:]
    count = recipe.spec(shape[2]).count
    if np.shape(vectors) != (n, count):
        raise ValueError(
            f"expected a network of {count} entries for each of {n} images, got vectors "
            f"{list(np.shape(vectors))}"
        )
    if batch is None:
        batch = 1 if jax.default_backend() == "cpu" else min(BLOCK, n)
    flat = np.moveaxis(images.reshape(n, -1, shape[2]), 1, 2)
    with jax.default_matmul_precision(PRECISION):
        fit = _refining(_program(recipe), shape, batch)(flat, vectors, steps)
    return jax.tree.map(np.asarray, fit)


@functools.lru_cache(maxsize=16)
def _refining(recipe, shape, batch):
    points, spec = _points(recipe, shape), recipe.spec(shape[2])

    @jax.jit
    def fitted(images, vectors, steps):
        one = lambda own: fit_one(recipe, points, own[0], unravel(own[1], spec), steps)
        return _each(one, (images, vectors), batch)

    return fitted


def _program(recipe):
    """The recipe without what plays no part in a program."""
    same = (recipe.hidden, recipe.omega, recipe.initialization, recipe.offset, recipe.low)
    return Recipe(*same, recipe.indexing, recipe.learning_rate, psnr=recipe.psnr)


def _points(recipe, shape):
    """[2, point] of images [row, col, channel]."""
    rows, cols = shape[:2]
    return grid(rows, cols, recipe.indexing).reshape(-1, 2).T


def _each(one, rows, batch):
    """`one` of each row, `batch` in one vectorised loop."""
    # batch_size=1 would leave an axis of one in every array, at half the speed
    return jax.lax.map(one, rows, batch_size=batch if batch > 1 else None)


def compiled(
    recipe: Recipe,
    shape: tuple[int, ...],
    count: int,
    sine: Sine = trigonometry.fast_sin,
    batch: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Program, float]:
    """The program for `count` images of a shape [row, col, channel], and seconds to compile it."""
    devices = tuple(jax.devices() if devices is None else devices)
    return _compiled(_program(recipe), tuple(shape), count, sine, batch, devices)


@functools.lru_cache(maxsize=16)
def _compiled(recipe, shape, count, sine, batch, devices):
    rows, cols, channels = shape
    points, spec = _points(recipe, shape), recipe.spec(channels)
    if batch is None:
        batch = 1 if devices[0].platform == "cpu" else count // len(devices)

    def local(images, keys, limits):
        def one(own):
            image, key, limit = own
            params = fitting.initial(spec, key, recipe.initialization)
            return fit_one(recipe, points, image, params, limit, sine)

        return _each(one, (images, keys, limits), batch)

    types = (jnp.float32, channels, rows * cols), (jax.random.key(0).dtype,), (jnp.int32,)
    with jax.default_matmul_precision(PRECISION):
        return fitting.compiled(local, count, devices, *types)


def _error(params, points, image, recipe, sine):
    out = _forward(params, points, recipe.spec(len(image)), sine) + recipe.offset
    return jnp.mean((out - image) ** 2)


def _forward(params, x, spec, sine):
    """[channel, point] from [2, point]; this way round, a tenth faster than rows of points."""
    for layer in spec.layers:
        x = params[f"{layer.name}/kernel"].T @ x + params[f"{layer.name}/bias"][:, None]
        x = sine(layer.omega * x) if layer.activation == "sin" else x
    return x

"""The sine zoo: small SIRENs, each fitted to one wave.

    a sin(b x) on [-pi, pi)  --Adam-->  1-32-32-1 network  with labels frequency b, amplitude a

    zoo, manifest = make(Recipe(networks=6000), cache)

The task is to predict b (and a) from the weights (Navon et al., 2023). The frequency zoo of
the papers comes without the code that made it, so it is made here as the code for its
twin makes that one, the self-supervised zoo; `Recipe` holds the settings of both, and
`sine_datasheet` lists where a zoo departs from what was published.

Networks stop at a mean squared error, low frequencies long before high ones. They are
fitted a block at a time, by one vectorised loop that runs until its slowest network is
done; blocks of similar waves waste little. Devices each take blocks of their own.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wsjax import architectures, checks
from wsjax.architectures import trigonometry
from wsjax.architectures.interpreter import USE
from wsjax.summaries import summary
from wsjax.zoos import Zoo, factory, fitting
from wsjax.zoos.factory import Job
from wsjax.zoos.fitting import Fit, State
from wsjax.zoos.sines import sine_datasheet
from wsjax.zoos.sines.sine_recipe import Recipe
from wsjax.zoos.store import Manifest

BLOCK = 512  # networks in one file, and between two reports of progress

Sine = Callable[[jax.Array], jax.Array]


class Waves(NamedTuple):
    """The signal of each network: `frequencies`, `amplitudes` and `keys`, each [network]."""

    frequencies: np.ndarray
    amplitudes: np.ndarray
    keys: jax.Array

    __repr__ = summary


class Block(NamedTuple):
    """Networks that are fitted in one call: their numbers."""

    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        return factory.block_name(f"{self.numbers[0]:06d}", self.numbers)

    @property
    def size(self) -> int:
        """Networks in it."""
        return len(self.numbers)


def waves(recipe: Recipe) -> Waves:
    """Draws the waves and the seeds of a recipe's networks, each from its own number."""

    def wave(i):
        one, two, weights = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), i), 3)
        frequency = jax.random.uniform(one, minval=recipe.low, maxval=recipe.high)
        amplitude = jax.random.uniform(
            two, minval=recipe.amplitude_low, maxval=recipe.amplitude_high
        )
        return frequency, amplitude, weights

    frequencies, amplitudes, keys = jax.jit(jax.vmap(wave))(jnp.arange(recipe.networks))
    return Waves(np.asarray(frequencies), np.asarray(amplitudes), keys)


def target(
    recipe: Recipe, frequency: jax.Array, amplitude: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The grid x [points, 1] and the wave on it [points, 1]."""
    x = jnp.linspace(-math.pi, math.pi, recipe.points, endpoint=False)[:, None]
    return x, amplitude * jnp.sin(frequency * x)


def begin(recipe: Recipe, key: jax.Array) -> State:
    """A network about to be trained."""
    return fitting.begin(fitting.initial(recipe.spec, key), _adam(recipe))


def step(
    state: State,
    x: jax.Array,
    y: jax.Array,
    recipe: Recipe,
    sine: Sine = trigonometry.fast_sin,
) -> State:
    """One step of Adam on the full grid, or none if the network is within the tolerance."""
    error = functools.partial(_error, x=x, y=y, recipe=recipe, sine=sine)
    return fitting.step(state, error, _adam(recipe), recipe.tolerance)


def fit_one(
    recipe: Recipe,
    frequency: jax.Array,
    amplitude: jax.Array,
    key: jax.Array,
    sine: Sine = trigonometry.fast_sin,
) -> Fit:
    """Trains one network to the tolerance, or for the recipe's steps; for use under `jit`."""
    x, y = target(recipe, frequency, amplitude)
    error = functools.partial(_error, x=x, y=y, recipe=recipe, sine=sine)
    params, limits = fitting.initial(recipe.spec, key), (recipe.tolerance, recipe.steps)
    return fitting.fit(error, params, recipe.spec, _adam(recipe), *limits)


def fit_with(
    recipe: Recipe,
    frequencies: np.ndarray,
    amplitudes: np.ndarray,
    keys: jax.Array,
    sine: Sine = trigonometry.fast_sin,
    block: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Fit:
    """Trains networks, one for each of the waves, all of them in one call.

    Args:
        recipe: its `networks`, `seed` and ranges play no part.
        frequencies: [network].
        amplitudes: [network].
        keys: [network], of the initial weights.
        sine: the networks' activation; `jnp.sin` where the library's own is on trial.
        block: networks in one vectorised loop; by default what suits the device.
        devices: share the networks out; by default all there are.

    Returns:
        The networks as NumPy arrays, in the order of the arguments.
    """
    devices = tuple(jax.devices() if devices is None else devices)
    count = len(frequencies)
    size = factory.padded(count, devices)
    program, _ = _compiled(_program(recipe), size, sine, block, devices)
    return _run(program, Waves(frequencies, amplitudes, keys), size, devices)


def make(
    recipe: Recipe,
    cache: str | os.PathLike | None = None,
    shard: tuple[int, int] = (0, 1),
    block: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Zoo, Manifest]:
    """The zoo of a recipe, and its manifest; blocks that are not in the cache are fitted first.

    Labels are `frequency` (radians per unit of x), `amplitude` (units of y), `fit_mse` (squared
    units of y) and `fit_steps`. A network whose mean squared error is above the tolerance after
    all steps is no sample of its wave: unless the recipe keeps it, it is excluded, and the
    manifest's `excluded` counts it and gives its wave.

    Args:
        recipe: what to make. Each has a folder of its own, whatever number of networks.
        cache: as for `factory.make`, which lists the errors too.
        shard: as for `factory.make`.
        block: as for `fit_with`.
        devices: as for `fit_with`.
    """
    return factory.make(job(recipe, block, devices), cache, shard)


def job(
    recipe: Recipe, block: int | None = None, devices: Sequence[jax.Device] | None = None
) -> Job[Block]:
    """The blocks of a recipe, and how the factory makes one; arguments as for `make`."""
    checks.expect("recipe", recipe, Recipe)
    devices = tuple(jax.devices() if devices is None else devices)
    block = block or _block(devices)
    # Blocks are of one size, so that one program serves all, and in the order of the draw:
    # each is a fair sample of waves, which makes the time left a fair guess.
    count = -(-recipe.networks // BLOCK)
    unit = len(devices) * (block if count > 1 else 1)
    size = -(-recipe.networks // (count * unit)) * unit
    numbers = range(recipe.networks)
    blocks = [Block(tuple(numbers[i : i + size])) for i in numbers[::size]]
    every = functools.cache(lambda: waves(recipe))

    def start(devices):
        wave = trigonometry.fast_sin
        program, compiling = _compiled(_program(recipe), size, wave, block, devices)

        def one(own):
            some = jax.tree.map(lambda w: w[np.array(own.numbers)], every())
            run = lambda: _run(program, some, size, devices)._asdict()
            return compiling, run, {"networks": list(own.numbers)}

        return one

    def gather(blocks):
        parts = [Fit(**arrays) for _, arrays in blocks]
        fit = Fit(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        zoo, excluded = collect(recipe, every(), fit)
        return zoo, {"excluded": excluded, "statistics": sine_datasheet.statistics(zoo)}

    licence = "MIT; generated by wsjax.zoos.sines.sine"
    return Job("sine", recipe, ("networks",), blocks, start, gather, licence, devices=devices)


def collect(recipe: Recipe, waves: Waves, fit: Fit) -> tuple[Zoo, dict[str, Any]]:
    """The zoo of those networks that the recipe lets in, and a note on the others.

    Raises:
        ValueError: none did.
    """
    limit = math.inf if recipe.keep_unfit else recipe.tolerance
    fitted = np.asarray(fit.mse) <= limit  # False for NaN
    if not fitted.any():
        raise ValueError(
            f"expected at least one network with a mean squared error <= {limit} "
            f"after {recipe.steps} steps, got none of {len(fitted)}; the best has "
            f"{np.min(fit.mse):.3g}"
        )
    labels = {
        "frequency": waves.frequencies,
        "amplitude": waves.amplitudes,
        "fit_mse": fit.mse,
        "fit_steps": fit.steps,
    }
    labels = {k: np.asarray(v, np.float32)[fitted] for k, v in labels.items()}
    zoo = Zoo.of_spec(np.asarray(fit.vectors)[fitted], recipe.spec, labels)
    note = {
        "rule": f"fit_mse is NaN or above {limit} after {recipe.steps} steps",
        "count": int((~fitted).sum()),
        "frequencies": np.asarray(waves.frequencies)[~fitted].tolist(),
        "amplitudes": np.asarray(waves.amplitudes)[~fitted].tolist(),
    }
    return zoo, note


def _adam(recipe):
    decay = optax.add_decayed_weights(recipe.weight_decay)
    return optax.chain(decay, optax.adam(recipe.learning_rate))


def _error(params, x, y, recipe, sine):
    out = _forward(params, x, recipe.spec, sine) + recipe.offset
    return jnp.mean((out - y) ** 2)


def _forward(params, x, spec, sine):
    def activate(layer, x):
        return sine(layer.omega * x) if layer.activation == "sin" else USE.activate(layer, x)

    return architectures.forward(params, x, spec, mode=USE._replace(activate=activate))


def _program(recipe):
    """The recipe without what leaves the compiled program as it is: one serves all seeds."""
    same = {"networks": 1, "seed": 0, "keep_unfit": False}
    ranges = {"low": 0.0, "high": 0.0, "amplitude_low": 0.0, "amplitude_high": 0.0}
    return dataclasses.replace(recipe, **same, **ranges)


def _block(devices):
    # On a CPU, 32 networks' activations stay in the cache; an accelerator wants them all.
    return 32 if devices[0].platform == "cpu" else BLOCK


@functools.lru_cache(maxsize=16)
def _compiled(recipe, count, sine, block, devices):
    """The program that fits `count` waves on these devices, and the seconds to compile it."""
    block = min(block or _block(devices), count // len(devices))

    def local(frequencies, amplitudes, keys):
        one = lambda wave: fit_one(recipe, *wave, sine=sine)
        return jax.lax.map(one, (frequencies, amplitudes, keys), batch_size=block)

    types = (jnp.float32,), (jnp.float32,), (jax.random.key(0).dtype,)
    return fitting.compiled(local, count, devices, *types)


def _run(program, waves, size, devices):
    """Fits waves with a program for `size` of them, steep ones together; keeps their order."""
    frequencies, amplitudes = np.asarray(waves.frequencies), np.asarray(waves.amplitudes)
    order = np.argsort(frequencies * amplitudes, kind="stable")
    # The gentlest wave pads: it is done soonest.
    order = np.concatenate([np.repeat(order[:1], size - len(order)), order])
    return fitting.run(program, (frequencies, amplitudes, waves.keys), order, devices)

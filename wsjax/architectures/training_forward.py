"""The forward pass while a network is trained: dropout, and BatchNorm by the batch.

    y, batch = training_forward(params, x, spec, key, dropout=0.3)
    params = moved(params, batch, momentum=0.9)      # after the optimiser's step

Dropout follows every activation, and the pooling of windows after it, but not the end of
positions (Srivastava et al., 2014; where Unterthiner et al., 2020, have it). A spec's
activations may be replaced by one of several that a traced number picks, so that networks
which differ in nothing else share a compiled program.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from wsjax.architectures import convolution, random_bits
from wsjax.architectures.activations import ACTIVATIONS
from wsjax.architectures.interpreter import USE, Mode, forward
from wsjax.networks import Params, Spec

Statistics = Mapping[str, jax.Array]  # arrays of role mean and variance, by name


def training_forward(
    params: Params,
    x: jax.Array,
    spec: Spec,
    key: jax.Array,
    *,
    dropout: float | jax.Array = 0.0,
    activations: Sequence[str] = (),
    activation: int | jax.Array = 0,
    convolve: convolution.Convolve = convolution.by_xla,
) -> tuple[jax.Array, Statistics]:
    """Runs a network in training.

    Args:
        params: one network, no batch axes.
        x: [batch, *positions, inputs].
        spec: from a function of `wsjax.architectures`.
        key: of dropout.
        dropout: probability that a neuron's value is set to zero, below 1; the others are
            divided by one minus it. May be traced.
        activations: names to pick from in place of the spec's; none to keep the spec's.
        activation: which of them; may be traced.
        convolve: the route of convolutions.

    Returns:
        [batch, outputs], and the batch's mean and variance of every BatchNorm, without
        Bessel's correction (as Flax).
    """
    numbers = {layer.name: i for i, layer in enumerate(spec.layers)}
    statistics = {}

    def drop(layer, value):
        words = random_bits.scrambled(jax.random.fold_in(key, numbers[layer.name]), value.shape)
        limit = jnp.asarray(dropout * 2.0**31).astype(jnp.uint32)
        return jnp.where((words >> 1) >= limit, value / (1 - dropout), 0.0)

    def normalise(layer, signal, mean, variance):
        axes = tuple(range(signal.values.ndim - 1))
        names = {a.role: a.name for a in layer.arrays}
        mean = signal.values.mean(axes)
        variance = jnp.square(signal.values - mean).mean(axes)
        statistics.update({names["mean"]: mean, names["variance"]: variance})
        return mean, variance

    mode = Mode(_activate(activations, activation), drop, normalise)
    return forward(params, x, spec, convolve, mode), statistics


def picking(activations: Sequence[str], activation: int | jax.Array) -> Mode:
    """The mode of use with one of several activations, as in `training_forward`."""
    return USE._replace(activate=_activate(activations, activation))


def moved(params: Params, batch: Statistics, momentum: float) -> Params:
    """The params with stored statistics m a + (1 - m) b of themselves and the batch's.

    Means and variances are stored as [*axes of the spec], the batch's are [channels].
    """
    new = {
        name: momentum * params[name] + (1 - momentum) * value.reshape(params[name].shape)
        for name, value in batch.items()
    }
    return {**params, **new}


def _activate(activations, activation):
    if not activations:
        return USE.activate
    if len(activations) == 1:
        return lambda layer, x: ACTIVATIONS[activations[0]](layer.omega * x)
    branches = [ACTIVATIONS[name] for name in activations]
    return lambda layer, x: jax.lax.switch(activation, branches, layer.omega * x)

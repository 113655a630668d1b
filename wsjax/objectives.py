"""Losses, per example: the mean is taken once, by whoever knows the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """(prediction - target)^2, elementwise."""
    return (prediction - target) ** 2


def binary_cross_entropy(logit: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of sigmoid(logit) against a share in [0, 1], elementwise."""
    return optax.sigmoid_binary_cross_entropy(logit, target)


def logit_invariance(
    predict: Callable[[jax.Array], jax.Array], prediction: jax.Array, renumbered: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Half the squared change under renumbering (Moskalev et al., 2023; SNE, eq. 16).

    Args:
        predict: networks [batch, entry] -> predictions [batch].
        prediction: [batch], of the networks as they are.
        renumbered: [samples, batch, entry], the same networks with hidden neurons
            renumbered.

    Returns:
        The loss [batch], a mean over samples, and the predictions [samples, batch].
    """
    others = jax.vmap(predict)(renumbered)
    return 0.5 * jnp.mean((others - prediction) ** 2, axis=0), others

"""Losses per example, supervised and contrastive, and the loss of regression."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from wsjax.symmetries import permutations

# networks [n, entry], and the position in the batch of each [n] -> predictions [n]
Predict = Callable[[jax.Array, jax.Array], jax.Array]


def squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """(prediction - target)^2, elementwise."""
    return (prediction - target) ** 2


def binary_cross_entropy(logit: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of sigmoid(logit) against a share in [0, 1], elementwise."""
    return optax.sigmoid_binary_cross_entropy(logit, target)


def brier(logit: jax.Array, target: jax.Array) -> jax.Array:
    """The squared error of sigmoid(logit) against a share in [0, 1], elementwise (Brier, 1950)."""
    return squared_error(jax.nn.sigmoid(logit), target)


def logit_invariance(logit: jax.Array, permuted: jax.Array) -> jax.Array:
    """Half the squared change under permutations (Moskalev et al., 2023; SNE, eq. 16).

    Args:
        logit: [batch], of networks as they are.
        permuted: [samples, batch], of the same with hidden neurons permuted.

    Returns:
        [batch], the mean over samples.
    """
    return 0.5 * jnp.mean((permuted - logit) ** 2, axis=0)


def nt_xent(one: jax.Array, other: jax.Array, temperature: float) -> jax.Array:
    """The normalised temperature-scaled cross-entropy (Chen et al., 2020, eq. 1).

    Each of the 2 n views must be matched with its partner, among the 2 (n - 1) views of other
    examples, by the cosine over the temperature. Examples are each other's negatives: the loss
    of one depends on its batch.

    Args:
        one: [batch, width], a view of each example.
        other: [batch, width], another view of each.
        temperature: above 0.

    Returns:
        [batch], the mean over an example's two views.

    Raises:
        ValueError: the shapes differ, there are fewer than two examples (the loss of one
            would be 0 whatever its views are), or the temperature is not above 0.
    """
    if one.ndim != 2 or one.shape != other.shape or len(one) < 2:
        raise ValueError(
            "expected two views [batch, width] of at least 2 examples, got "
            f"{one.shape} and {other.shape}"
        )
    if temperature <= 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    count = len(one)
    views = jnp.concatenate([one, other])
    # the bound keeps the gradient at a view of zeros finite
    views = views * jax.lax.rsqrt(jnp.maximum((views**2).sum(-1, keepdims=True), 1e-12))
    cosines = jnp.where(jnp.eye(2 * count, dtype=bool), -jnp.inf, views @ views.T / temperature)
    partner = (jnp.arange(2 * count) + count) % (2 * count)
    losses = optax.softmax_cross_entropy_with_integer_labels(cosines, partner)
    return losses.reshape(2, count).mean(0)


def regression(
    predict: Predict,
    error: Callable[[jax.Array, jax.Array], jax.Array],
    vectors: jax.Array,
    target: jax.Array,
    key: jax.Array,
    moves: permutations.Moves,
    *,
    permute: bool,
    invariance: float,
    samples: int,
    share: float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The task loss plus v times the logit invariance loss (SNE, eq. 10), batch means.

    Without `permute` the task loss is that of the networks as they are, and copies serve the
    invariance alone (eq. 10). With it, copies are data too, since their predictions are there.

    Args:
        predict: the model; it receives the position in the batch of the network that a copy is
            of, since networks of several architectures have several views.
        error: of a prediction, elementwise.
        vectors: [batch, entry].
        target: [batch].
        key: of the permutations.
        moves: of the networks: without a batch axis, or of each.
        permute: replace each network by a permuted copy first, and take the task loss over the
            copies of the invariance loss too.
        invariance: the weight v; at 0 no copies are made.
        samples: copies of each network that has any.
        share: of the batch's networks that have copies, rounded up.
    """
    count, every = len(vectors), jnp.arange(len(vectors))
    keys = jax.random.split(key, (samples + 1, count))
    shuffle = jax.vmap(permutations.shuffle, in_axes=(0, 0, 0 if moves.axis.ndim == 3 else None))
    if permute:
        vectors = shuffle(keys[0], vectors, moves)
    if not invariance:
        task = error(predict(vectors, every), target).mean()
        return task, {"task": task}
    some = math.ceil(share * count)
    if moves.axis.ndim == 3:
        moves = jax.tree.map(lambda x: x[:some], moves)
    copies = jax.vmap(shuffle, in_axes=(0, None, None))(keys[1:, :some], vectors[:some], moves)
    # one call for all: half the program to compile
    both = predict(
        jnp.concatenate([vectors, copies.reshape(-1, copies.shape[-1])]),
        jnp.concatenate([every, jnp.tile(every[:some], samples)]),
    )
    out, others = both[:count], both[count:].reshape(samples, some)
    change = logit_invariance(out[:some], others).mean()
    task = error(out, target).mean()
    if permute:
        total = error(out, target).sum() + error(others, target[:some]).sum()
        task = total / len(both)
    return task + invariance * change, {"task": task, "invariance": change}

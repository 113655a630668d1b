"""The pretext of HyperRep's auto-encoder: contrast of two views and their reconstruction.

gamma * NT-Xent + (1 - gamma) * squared error       (Schürholt et al., 2021)
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wsjax.encoders.hyperrep import Tokens
from wsjax.symmetries import permutations
from wsjax.tasks import losses

TARGETS = ("view", "network")


@dataclasses.dataclass(frozen=True)
class Pretext:
    """What an auto-encoder learns from.

    Attributes:
        gamma: weight of NT-Xent; 1 - gamma is that of the error of decoded views.
        temperature: of NT-Xent.
        permute: the views' hidden neurons, each at random.
        probability: of a view to have a block erased.
        share: (least, most) of the entries that a block has.
        target: what is to be decoded: "view" as encoded, or "network", the renumbered one
            before a block of it was erased.
    """

    gamma: float = 0.85
    temperature: float = 0.1
    permute: bool = True
    probability: float = 0.5
    share: tuple[float, float] = (0.02, 0.33)
    target: str = "view"

    def __post_init__(self):
        fine = 0 <= self.gamma <= 1 and self.temperature > 0 and 0 <= self.probability <= 1
        fine = fine and 0 <= self.share[0] <= self.share[1] < 1 and self.target in TARGETS
        if not fine:
            raise ValueError(
                "expected gamma and probability in [0, 1], a temperature above 0, a share of "
                f"0 <= least <= most < 1 and a target of {TARGETS}, got {self}"
            )


def erase(
    key: jax.Array,
    vectors: jax.Array,
    rank: jax.Array,
    probability: float,
    share: tuple[float, float],
) -> jax.Array:
    """Sets a block of entries to zero by chance; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [batch, entry]; each draws for itself.
        rank: [entry] where an entry stands in what blocks are blocks of.
        probability: of a network to lose a block.
        share: (least, most) of the entries that a block has, uniform.

    Returns:
        [batch, entry].
    """
    batch, count = vectors.shape
    chance, size, start = jax.random.uniform(key, (3, batch, 1))
    length = (count * (share[0] + (share[1] - share[0]) * size)).astype(jnp.int32)
    first = (start * (count - length).astype(start.dtype)).astype(jnp.int32)
    rank = jnp.asarray(rank)
    gone = (rank >= first) & (rank < first + length) & (chance < probability)
    return jnp.where(gone, 0, vectors)


def loss(
    run: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    key: jax.Array,
    vectors: jax.Array,
    view: Tokens,
    moves: permutations.Moves,
    pretext: Pretext,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """What the auto-encoder minimises: gamma * NT-Xent + (1 - gamma) * squared error.

    Args:
        run: views [2 * batch, entry] -> projected codes and decoded networks, as
            `HyperRep.autoencode`.
        key: of renumberings and erased blocks.
        vectors: [batch, entry], of at least two networks.
        view: of their architecture.
        moves: of their architecture, without a batch axis.
        pretext: says how.

    Returns:
        The loss, and its parts "contrast" and "reconstruction", means over the batch.
    """
    orders, blocks = jax.random.split(key)
    whole = jnp.concatenate([vectors, vectors])
    if pretext.permute:
        keys = jax.random.split(orders, len(whole))
        whole = jax.vmap(permutations.shuffle, in_axes=(0, 0, None))(keys, whole, moves)
    views = erase(blocks, whole, view.rank, pretext.probability, pretext.share)
    codes, decoded = run(views)
    contrast = losses.nt_xent(*jnp.split(codes, 2), pretext.temperature).mean()
    target = views if pretext.target == "view" else whole
    error = losses.squared_error(decoded, target).mean()
    total = pretext.gamma * contrast + (1 - pretext.gamma) * error
    return total, {"contrast": contrast, "reconstruction": error}

"""Reconstruction: HyperRep's auto-encoder, trained without labels (Schürholt et al., 2021).

trained = fit(zoo, Reconstruction(), HyperRep())
trained.encode(params), trained.reconstruct(params)

gamma * NT-Xent of two views of each network + (1 - gamma) * squared error of decoded views
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, metrics
from wsjax.encoders import Encoder, HyperRep
from wsjax.networks import Params, Spec
from wsjax.tasks import losses
from wsjax.tasks.base import Loss, Part, Step, Task, Trained

TARGETS = ("view", "network")


@dataclasses.dataclass(frozen=True)
class Objective:
    """The two parts of the loss, and the views.

    Attributes:
        gamma: weight of NT-Xent; 1 - gamma is that of the error of decoded views.
        temperature: of NT-Xent.
        permute: the views' hidden neurons, each at random.
        probability: of a view to have a block erased.
        share: (least, most) of the entries that a block has.
        target: of the decoder: "view" as encoded, or "network", the permuted one before a
            block of it was erased.
    """

    gamma: float = 0.85
    temperature: float = 0.1
    permute: bool = True
    probability: float = 0.5
    share: tuple[float, float] = (0.02, 0.33)
    target: str = "view"

    def __post_init__(self):
        checks.fields("objective makes no sense", self)
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
        vectors: [batch, entry]; each has a block of its own.
        rank: [entry] the position of an entry in the order that blocks are cut from.
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
    erased = (rank >= first) & (rank < first + length) & (chance < probability)
    return jnp.where(erased, 0, vectors)


class AutoEncoder(nn.Module):
    """`HyperRep` with its decoder."""

    encoder: HyperRep

    def __call__(self, vectors, view, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[batch, entry] -> projected embeddings [batch, width], networks [batch, entry]."""
        return self.encoder.autoencode(vectors, view, train)

    def encode(self, vectors, view) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        return self.encoder(vectors, view)

    def reconstruct(self, vectors, view) -> jax.Array:
        """[batch, entry] -> [batch, entry]."""
        return self.encoder.decode(self.encoder(vectors, view), view)


@dataclasses.dataclass(frozen=True)
class TrainedAutoEncoder(Trained):
    """A trained auto-encoder."""

    def reconstruct(self, given: Params | np.ndarray, spec: Spec | None = None) -> Any:
        """Networks decoded from their embeddings, in the form given; errors as of `encode`."""
        return self._transform(given, spec, "reconstruct")


@dataclasses.dataclass(frozen=True)
class Reconstruction(Task[TrainedAutoEncoder]):
    """Embeds networks so that they can be decoded; selected by the error of decoded networks.

    Attributes:
        objective: what is minimised.
    """

    objective: Objective = Objective()

    kind: ClassVar[str] = "reconstruction"
    trained: ClassVar[type[Trained]] = TrainedAutoEncoder

    def module(self, encoder: Encoder, head: Sequence[int]) -> AutoEncoder:
        """The encoder with its decoder, which has a `head` of its own; a ValueError for others."""
        if not isinstance(encoder, HyperRep):
            raise ValueError(f"expected HyperRep, which decodes, got {type(encoder).__name__}")
        return AutoEncoder(encoder)

    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """The sum of the two, weighted; parts "contrast", "reconstruction"."""
        aim, (orders, blocks) = self.objective, jax.random.split(key)
        which = jnp.concatenate([batch["which"]] * 2)
        whole = jnp.concatenate([batch["vectors"]] * 2)
        if aim.permute:
            whole = step.views.permute(orders, whole, which)
        views = erase(blocks, whole, step.views.view.rank, aim.probability, aim.share)
        embeddings, decoded = step.apply(views, which, jax.random.fold_in(key, 1))
        one, other = jnp.split(embeddings, 2)
        contrast = losses.nt_xent(one, other, aim.temperature).mean()
        target = views if aim.target == "view" else whole
        error = losses.squared_error(decoded, target).mean()
        total = aim.gamma * contrast + (1 - aim.gamma) * error
        return total, {"contrast": contrast, "reconstruction": error}

    def evaluate(
        self, trained: TrainedAutoEncoder, train: Part, validation: Part
    ) -> dict[str, float]:
        """The mean squared error of normalised networks, whole and in their own order."""
        zoo, pairs = validation.networks, []
        for s in np.unique(zoo.which).tolist():  # such as CNNs of ReLU and of tanh
            part = zoo.of(s)
            both = trained.reconstruct(part.vectors, part.spec), part.vectors
            pairs.append([trained.scale.apply(x, part.spec).ravel() for x in both])
        return {"mse": metrics.mse(*map(np.concatenate, zip(*pairs, strict=True)))}

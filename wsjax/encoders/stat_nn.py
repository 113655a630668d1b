"""StatNN: seven numbers per array (Unterthiner et al., 2020).

Mean, unbiased variance and the quantiles 0, 25, 50, 75, 100 % of every array, laid side by
side; invariant to the order of neurons, and to which weight meets which. A small MLP
reads these features.
"""

from collections.abc import Mapping, Sequence

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors, offsets

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@flax.struct.dataclass
class Bounds:
    """Begin and end of each array in `ravel`'s vector (static)."""

    spans: tuple[tuple[int, int], ...] = flax.struct.field(pytree_node=False)


def bounds(spec: Spec) -> Bounds:
    """The `Bounds` of a spec."""
    places = offsets(spec)
    spans = [(int(places[a.name].min()), int(places[a.name].max()) + 1) for a in spec.arrays]
    return Bounds(tuple(spans))


def statistics(vectors: jax.Array, where: Bounds) -> jax.Array:
    """[..., entry] -> [..., 7 * arrays]; the variance of a single number is 0."""
    parts = []
    for start, stop in where.spans:
        x = vectors[..., start:stop]
        variance = x.var(-1, ddof=1) if stop - start > 1 else jnp.zeros_like(x[..., 0])
        quantiles = jnp.quantile(x, jnp.array(QUANTILES, x.dtype), axis=-1)
        parts += [x.mean(-1)[..., None], variance[..., None], jnp.moveaxis(quantiles, 0, -1)]
    return jnp.concatenate(parts, axis=-1)


class StatNN(Encoder):
    """An MLP on the statistics, standardised with those of the training networks.

    Attributes:
        widths: of the hidden layers. SNE's table 1 has 44K parameters on INRs.
        code: width of the embedding.
    """

    widths: Sequence[int] = (176,)
    code: int = 176

    def __post_init__(self):
        super().__post_init__()
        settings.check(self, sizes=["widths", "code"])

    def view(self, spec: Spec) -> Bounds:
        """Begin and end of each array."""
        return bounds(spec)

    def calibrate(
        self, vectors: np.ndarray, view: Bounds, scales: Mapping[str, float]
    ) -> dict[str, jax.Array]:
        """Mean and deviation of each statistic over training networks [network, entry].

        They do not depend on `scales`.
        """
        x = np.asarray(statistics(jnp.asarray(vectors), view), np.float64)
        spread = np.maximum(x.std(0), 1e-6)
        return {
            "mean": jnp.asarray(x.mean(0), jnp.float32),
            "spread": jnp.asarray(spread, jnp.float32),
        }

    @nn.compact
    def __call__(self, vectors: jax.Array, view: Bounds, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]."""
        check_vectors(vectors, view.spans[-1][1])
        x = statistics(vectors, view)
        mean = self.variable("statistics", "mean", jnp.zeros, x.shape[-1])
        spread = self.variable("statistics", "spread", jnp.ones, x.shape[-1])
        x = (x - mean.value) / spread.value
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.relu(nn.Dense(self.code)(x))

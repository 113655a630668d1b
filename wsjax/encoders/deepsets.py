"""DeepSets: the mean of a map of every parameter (Zaheer et al., 2017).

It supports any network, and does not read where a number stands: a lower reference.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors
from wsjax.views import padding


def stack(views: Sequence[np.ndarray]) -> np.ndarray:
    """Masks of parameters in networks of several lengths, padded to one, [network, entry]."""
    width = padding.rounded(max(map(len, views)))
    return np.stack([np.pad(v, (0, width - len(v))) for v in views])


class DeepSets(Encoder):
    """The mean of a map of every single parameter.

    Attributes:
        widths: of the map's layers.
        code: width of the embedding.
    """

    widths: Sequence[int] = (128, 128)
    code: int = 32

    reads_any = True
    mixes = True
    stack = staticmethod(stack)

    def __post_init__(self):
        super().__post_init__()
        rules = {"widths": (min(self.widths, default=0) >= 1, "one or more, each at least 1")}
        settings.check(self, rules, sizes=["code"])

    def view(self, spec: Spec) -> np.ndarray:
        """[entry] True where a parameter sits."""
        return np.ones(spec.count, bool)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: np.ndarray, train: bool = False) -> jax.Array:
        """[batch, entry], view [entry] or [batch, entry] -> [batch, code]."""
        check_vectors(vectors, view.shape[-1])
        x = vectors[..., None]
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        mask = jnp.asarray(view)[..., None]
        mean = jnp.where(mask, x, 0).sum(-2) / jnp.maximum(mask.sum(-2), 1).astype(x.dtype)
        return nn.Dense(self.code)(nn.relu(nn.Dense(self.widths[-1])(mean)))

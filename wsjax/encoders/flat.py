"""Encoders that see a network as a vector or a bag of numbers.

They are the floor of every table: `MLP` is tied to one architecture and to one
numbering of its neurons; `DeepSets` (Zaheer et al., 2017) reads any network but does not
know which number stands where.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import padding
from wsjax.encoders import settings
from wsjax.encoders.arrays import ArraysView, arrays_view
from wsjax.networks import Spec

READOUTS = ("code", "edit")


def stack(views: Sequence[np.ndarray]) -> np.ndarray:
    """Where parameters sit in networks of several lengths, padded to one: [network, entry]."""
    width = padding.room(max(map(len, views)))
    return np.stack([np.pad(v, (0, width - len(v))) for v in views])


class MLP(nn.Module):
    """Linear layers on the flattened network.

    Attributes:
        widths: of the hidden layers. SNE's table 1 has 14K parameters on 1 153 inputs.
        code: of the result.
        readout: "edit" gives every parameter a change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editing`.
    """

    widths: Sequence[int] = (12,)
    code: int = 32
    readout: str = "code"
    expansion: int = 1

    fixed = True  # one architecture per model

    def __post_init__(self):
        super().__post_init__()
        rules = {"readout": (self.readout in READOUTS, f"one of {READOUTS}")}
        settings.check(self, rules | settings.sizes(self, "code") | settings.expansion(self))

    def view(self, spec: Spec) -> ArraysView:
        """The architecture, for editors; the vector is taken as it is."""
        return arrays_view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        x = vectors
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        if self.readout == "edit":
            x = nn.Dense(vectors.shape[-1] * self.expansion)(x)
            return x.reshape(*vectors.shape, self.expansion).mean(-1)
        return nn.Dense(self.code)(x)


class DeepSets(nn.Module):
    """The mean of a map of every single parameter.

    Attributes:
        widths: of the map's layers.
        code: of the result.
    """

    widths: Sequence[int] = (128, 128)
    code: int = 32

    fixed = False
    stack = staticmethod(stack)

    def view(self, spec: Spec) -> np.ndarray:
        """[entry] True where a parameter sits."""
        return np.ones(spec.count, bool)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: np.ndarray, train: bool = False) -> jax.Array:
        """[batch, entry], view [entry] or [batch, entry] -> [batch, code]."""
        x = vectors[..., None]
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        mask = jnp.asarray(view)[..., None]
        mean = jnp.where(mask, x, 0).sum(-2) / jnp.maximum(mask.sum(-2), 1).astype(x.dtype)
        return nn.Dense(self.code)(nn.relu(nn.Dense(self.widths[-1])(mean)))

"""MLP on the flattened network: for one architecture and one order of its neurons.

A lower reference of every table.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from wsjax.encoders.base import Encoder
from wsjax.encoders.parts import settings
from wsjax.networks import Spec, check_vectors
from wsjax.views.arrays import ArraysView, arrays_view


class MLP(Encoder):
    """Linear layers on the flattened network.

    Attributes:
        widths: of the hidden layers. SNE's table 1 has 14K parameters on 1 153 inputs.
        code: width of the embedding.
        readout: "edit" gives every parameter a change, [batch, entry].
        expansion: how many maps give a change, which is their mean, see `editors`.
    """

    widths: Sequence[int] = (12,)
    code: int = 32
    readout: str = "code"
    expansion: int = 1

    edits = True

    def __post_init__(self):
        super().__post_init__()
        settings.check(self, choices={"readout": settings.READOUTS}, sizes=["widths", "code"])

    def view(self, spec: Spec) -> ArraysView:
        """The architecture, for editors."""
        return arrays_view(spec)

    @nn.compact
    def __call__(self, vectors: jax.Array, view: ArraysView, train: bool = False) -> jax.Array:
        """[batch, entry] -> [batch, code]; [batch, entry] if the read-out is "edit"."""
        check_vectors(vectors, view.spec.count)
        x = vectors
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        if self.readout == "edit":
            x = nn.Dense(vectors.shape[-1] * self.expansion)(x)
            return x.reshape(*vectors.shape, self.expansion).mean(-1)
        return nn.Dense(self.code)(x)

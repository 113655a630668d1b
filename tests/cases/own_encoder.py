"""An encoder as a user of the library writes one."""

import flax.linen as nn

from wsjax.encoders import Encoder


class Mine(Encoder):
    """One layer on raveled weights.

    Attributes:
        width: of the embedding.
    """

    width: int = 4

    def view(self, spec):
        """Nothing is to be known."""
        return ()

    @nn.compact
    def __call__(self, vectors, view, train=False):
        """[batch, entry] -> [batch, width]."""
        return nn.Dense(self.width)(vectors)

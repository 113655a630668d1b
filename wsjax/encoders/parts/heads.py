"""Heads: from an embedding to a property of the network."""

from collections.abc import Sequence

import flax.linen as nn
import jax


class Regressor(nn.Module):
    """Linear layers with ReLU between, one number out (Andreis et al., 4.1 and table 15).

    Attributes:
        widths: of the hidden layers; 512, 512 for INRs, 1000, 1000 for classifiers. With none,
            an embedding of width 1 is the prediction: some encoders have a published head.
    """

    widths: Sequence[int] = (512, 512)

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """[batch, code] -> [batch]."""
        if not self.widths and code.shape[-1] == 1:
            return code[..., 0]
        he = nn.initializers.he_normal()
        for width in self.widths:
            code = nn.relu(nn.Dense(width, kernel_init=he)(code))
        small = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        return nn.Dense(1, kernel_init=small)(code)[..., 0]

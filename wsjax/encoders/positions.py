"""Sinusoidal encodings of integers (Vaswani et al., 2017) with a learned scale."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoid(position: jax.Array, width: int, longest: float) -> jax.Array:
    """Sines and cosines of a position at `width / 2` wavelengths.

    Args:
        position: [...] integers; negative ones mean "none" and become zeros.
        width: even.
        longest: longest wavelength, in units of 2 pi; the shortest is one.

    Returns:
        [..., width].
    """
    rates = longest ** (-jnp.arange(width // 2) / (width // 2))
    angle = position[..., None].astype(jnp.float32) * rates
    waves = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return jnp.where(position[..., None] < 0, 0.0, waves)


class Position(nn.Module):
    """An encoding of integers [...] as [..., width], scaled by one learned number.

    Attributes:
        width: even.
        longest: as in `sinusoid`.
        scale: the learned number's start.
    """

    width: int
    longest: float = 100.0
    scale: float = 0.3

    @nn.compact
    def __call__(self, position: jax.Array) -> jax.Array:
        """Encodes; negative positions become zeros."""
        scale = self.param("scale", nn.initializers.constant(self.scale), ())
        return scale * sinusoid(position, self.width, self.longest)

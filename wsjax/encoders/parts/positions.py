"""Encodings of integers: sinusoids, their scale learned or not, and learned tables."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoid(position: jax.Array, width: int, longest: float) -> jax.Array:
    """Sines and cosines of a position at `width / 2` wavelengths.

    Args:
        position: [...] integers; negative ones mean "none" and become zeros.
        width: even.
        longest: longest wavelength, in multiples of 2 pi; the shortest is one.

    Returns:
        [..., width].
    """
    rates = longest ** (-jnp.arange(width // 2) / (width // 2))
    angle = position[..., None].astype(jnp.float32) * rates
    waves = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return jnp.where(position[..., None] < 0, 0.0, waves)


class Position(nn.Module):
    """An encoding of integers [...] as [..., width], times one number.

    Attributes:
        width: even.
        longest: as in `sinusoid`.
        scale: the number, or its start.
        learned: whether the number is learned; Vaswani et al. (2017) have none.
    """

    width: int
    longest: float = 100.0
    scale: float = 0.3
    learned: bool = True

    @nn.compact
    def __call__(self, position: jax.Array) -> jax.Array:
        """Encodes; negative positions become zeros."""
        scale: jax.Array | float = self.scale
        if self.learned:
            scale = self.param("scale", nn.initializers.constant(self.scale), ())
        return scale * sinusoid(position, self.width, self.longest)


class Category(nn.Module):
    """A learned encoding of one of `count` categories [...] as [..., width].

    Attributes:
        count: number of categories.
        width: of the encoding.
        scale: standard deviation of its start.
    """

    count: int
    width: int
    scale: float = 0.3

    @nn.compact
    def __call__(self, category: jax.Array) -> jax.Array:
        """Encodes; negative categories become zeros."""
        init = nn.initializers.normal(self.scale)
        table = self.param("table", init, (self.count, self.width))
        rows = table[jnp.maximum(category, 0)]
        return jnp.where(jnp.asarray(category)[..., None] < 0, 0.0, rows)

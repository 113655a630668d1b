"""Random changes to training images that leave their class: pure functions of a key.

GMN (Lim et al., 2024, E.1) trains its classifiers with flips, translations and Cutout
(DeVries and Taylor, 2017); the sizes, which it does not give, are the recipe's.
"""

import jax
import jax.numpy as jnp


def augment(
    images: jax.Array, key: jax.Array, flip: bool, translate: int, cutout: int
) -> jax.Array:
    """Changes each image of a batch on its own.

    Args:
        images: [batch, row, col, channel].
        key: of all that is random.
        flip: mirror every other image, left to right.
        translate: shift by up to as many pixels, rows and columns each; zeros come in.
        cutout: side of a square of zeros, its centre anywhere in the image.

    Returns:
        The same shape.
    """
    one, two, three = jax.random.split(key, 3)
    if flip:
        images = mirror(images, jax.random.bernoulli(one, shape=images.shape[:1]))
    if translate:
        by = jax.random.randint(two, (len(images), 2), -translate, translate + 1)
        images = shift(images, by, translate)
    if cutout:
        most = jnp.array(images.shape[1:3])
        centres = jax.random.randint(three, (len(images), 2), 0, most)
        images = cut(images, centres, cutout)
    return images


def mirror(images: jax.Array, which: jax.Array) -> jax.Array:
    """Images with those in `which` [batch] bool mirrored."""
    return jnp.where(which[:, None, None, None], images[:, :, ::-1], images)


def shift(images: jax.Array, by: jax.Array, most: int) -> jax.Array:
    """Images moved down and right by `by` [batch, 2], each within -most..most."""
    wide = jnp.pad(images, [(0, 0), (most, most), (most, most), (0, 0)])

    def one(image, way):
        start = (most - way[0], most - way[1], jnp.zeros((), way.dtype))
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(one)(wide, by)


def cut(images: jax.Array, centres: jax.Array, side: int) -> jax.Array:
    """Images with a square of zeros around `centres` [batch, 2], clipped at the border."""
    start = centres - side // 2
    inside = []
    for axis in (0, 1):
        places = jnp.arange(images.shape[1 + axis])[None]
        first = start[:, axis, None]
        inside.append((places >= first) & (places < first + side))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return jnp.where(hole[..., None], 0.0, images)

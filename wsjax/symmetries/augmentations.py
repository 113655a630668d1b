"""Augmentations: random changes of raveled networks inside a jitted step.

    changed                              the function               the functions
    order of hidden neurons              preserved                  permute
    signs, phases, scales of neurons     preserved                  flip, phase, rescale
    coordinates of the input             moved                      translate, rotate, zoom
    entries                              another                    noise, mask, dropout

Copies of the last two rows are other functions; a learner that gives them the label of the
original must take this into account. Vectors are [entry] or have axes in front; each network
has random numbers of its own, and in the last row each entry. All run under `jit` and `vmap`.
`Augmentation` is all of them as one setting.

Published code (Navon et al., 2023; Shamsian et al., 2024) differs: its noise adds the same
number to all entries of an array, and a translation may enter at the bias of a later layer.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wsjax import checks, networks
from wsjax.networks import Spec
from wsjax.symmetries import coordinates, permutations, scalings, signals
from wsjax.symmetries.scalings import Element


def permute(key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Permutes hidden neurons uniformly at random; preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: their meaning.
    """
    networks.check_length(vectors, spec)
    moves = permutations.moves(spec)
    return _each(lambda k, v: permutations.shuffle(k, v, moves), key, vectors)


def flip(key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Flips the signs of random neurons; preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: their meaning.

    Raises:
        ValueError: no neuron of the network can change its sign.
    """
    _assert_any(spec, "signs", any(x.sign for x in signals.scaling_group(spec).factors.values()))
    return _scaled(lambda k: scalings.sample(k, spec, ("sign",)), key, vectors, spec)


def rescale(key: jax.Array, vectors: jax.Array, spec: Spec, spread: float) -> jax.Array:
    """Scales neurons by exp(spread * normal); preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: their meaning.
        spread: see above.

    Raises:
        ValueError: no neuron of the network can change its scale.
    """
    _assert_any(spec, "scales", any(x.scale for x in signals.scaling_group(spec).factors.values()))
    return _scaled(lambda k: scalings.sample(k, spec, ("scale",), spread), key, vectors, spec)


def phase(key: jax.Array, vectors: jax.Array, spec: Spec, most: int) -> jax.Array:
    """Shifts phases of sines by k pi, k from -most to most; preserves the network's function.

    b -> b + k pi / omega, and the next kernel times (-1)^k, with omega of the sine's layer.
    Weights must not be normalised: of normalised arrays the step is another.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: their meaning.
        most: phase shifts in either direction; all are equally likely.

    Raises:
        ValueError: no neuron of the network is a sine with a bias.
    """
    zeros = scalings.identity(spec).phases
    _assert_any(spec, "phase shifts", bool(zeros))

    def draw(key):
        keys = jax.random.split(key, len(zeros))
        draws = (jax.random.randint(k, x.shape, -most, most + 1, x.dtype)
                 for k, x in zip(keys, zeros.values(), strict=True))  # fmt: skip
        return Element({}, dict(zip(zeros, draws, strict=True)))

    return _scaled(draw, key, vectors, spec)


def translate(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Changes f(x) to f(x + t), a moved image; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose coordinates a dense layer reads.
        spec: their meaning.
        most: t of every coordinate is uniform from -most to most.

    Raises:
        ValueError: see `coordinates.move`.
    """
    shape = (*vectors.shape[:-1], coordinates.dimensions(spec))
    shift = jax.random.uniform(key, shape, vectors.dtype, -most, most)
    return coordinates.move(vectors, spec, shift=shift)


def rotate(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Changes f(x) to f(R x), a rotated image; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose two coordinates a dense layer reads.
        spec: their meaning.
        most: the angle is uniform from -most to most, in radians, about the origin.

    Raises:
        ValueError: see `coordinates.move`; or there are not two coordinates.
    """
    if (inputs := coordinates.dimensions(spec)) != 2:
        raise ValueError(f"expected a network of two coordinates to rotate, got {inputs}")
    angle = jax.random.uniform(key, vectors.shape[:-1], vectors.dtype, -most, most)
    return coordinates.move(vectors, spec, coordinates.rotation(angle))


def zoom(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Changes f(x) to f(a x), a zoomed image; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose coordinates a dense layer reads.
        spec: their meaning.
        most: a is uniform from 1 - most to 1 + most, the same for all coordinates.

    Raises:
        ValueError: see `coordinates.move`.
    """
    factor = jax.random.uniform(key, vectors.shape[:-1], vectors.dtype, 1 - most, 1 + most)
    eye = jnp.eye(coordinates.dimensions(spec), dtype=vectors.dtype)
    return coordinates.move(vectors, spec, factor[..., None, None] * eye)


def noise(
    key: jax.Array, vectors: jax.Array, deviation: float, scale: jax.Array | float = 1.0
) -> jax.Array:
    """Adds Gaussian noise to every entry; does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        deviation: of the noise, relative to `scale`.
        scale: of the entries, [..., entry] or one for all. The default suits networks whose
            arrays were divided by their root mean square; `sizes` any other.

    Returns:
        [..., entry].
    """
    return vectors + deviation * scale * jax.random.normal(key, vectors.shape, vectors.dtype)


def sizes(vectors: jax.Array, spec: Spec) -> jax.Array:
    """For each entry, the root mean square of its array.

    Args:
        vectors: [..., entry].
        spec: their meaning.

    Returns:
        [..., entry]; invariant to permutations and signs of neurons.
    """
    arrays, out = networks.unravel(vectors, spec), {}
    for a in spec.arrays:
        x = arrays[a.name]
        square = jnp.square(x).mean(tuple(range(x.ndim - len(a.axes), x.ndim)), keepdims=True)
        out[a.name] = jnp.broadcast_to(jnp.sqrt(square), x.shape)
    return networks.ravel(out, spec)


def mask(key: jax.Array, vectors: jax.Array, probability: float) -> jax.Array:
    """Sets entries to zero by chance; does not preserve the network's function.

    The others stay as they are; `dropout` divides them by `1 - probability`.

    Args:
        key: randomness.
        vectors: [..., entry].
        probability: of each entry to become zero.

    Returns:
        [..., entry].
    """
    masked = jax.random.bernoulli(key, probability, vectors.shape)
    return jnp.where(masked, jnp.zeros_like(vectors), vectors)


def dropout(key: jax.Array, vectors: jax.Array, probability: float) -> jax.Array:
    """Sets entries to zero by chance and rescales the others; the mean of each is preserved.

    Does not preserve the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        probability: of each entry to become zero, below 1; all others are divided by
            `1 - probability`.

    Returns:
        [..., entry].
    """
    return mask(key, vectors, probability) / (1 - probability)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The strengths of all augmentations; none by default.

    Applied in this order, with independent random numbers. A strength is that of the function
    of the same name.

    Attributes:
        translate: of every coordinate.
        rotate: radians in either direction.
        zoom: about 1.
        permute: whether hidden neurons are permuted.
        flip: whether signs are flipped.
        phase: shifts by pi in either direction.
        rescale: spread of logarithms.
        noise: relative to the root mean square of each array of the network.
        dropout: probability.
        mask: probability.

    Raises:
        ValueError: a strength is negative or not finite, or a probability no probability; all
            of them.
    """

    translate: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    permute: bool = False
    flip: bool = False
    phase: int = 0
    rescale: float = 0.0
    noise: float = 0.0
    dropout: float = 0.0
    mask: float = 0.0

    def __post_init__(self):
        checks.fields("strengths make no sense", self)
        wrong = []
        for name, x in dataclasses.asdict(self).items():
            below = {"dropout": 1.0, "zoom": 1.0}.get(name, math.inf)
            if not 0 <= x < below or (name == "mask" and x > 1):
                wrong.append(f"{name}: {x}")
        checks.raise_all(
            "expected finite strengths of at least 0, zoom and dropout below 1, and a mask of at "
            "most 1, got",
            wrong,
        )

    def apply(
        self, key: jax.Array, vectors: jax.Array, spec: Spec, scale: jax.Array | float = 1.0
    ) -> jax.Array:
        """Changes every network at random.

        Args:
            key: randomness.
            vectors: [..., entry].
            spec: their meaning.
            scale: [entry] by which `vectors` were divided (`InputScale`), or one number for
                all: translations and phase shifts need the weights themselves.

        Returns:
            [..., entry], divided by the same scale.

        Raises:
            ValueError: the network has no such symmetry.
        """
        if self == Augmentation():
            return vectors
        own = vectors * jnp.asarray(scale, vectors.dtype)
        steps: tuple[tuple[bool, Callable], ...] = (
            (self.translate > 0, lambda k, v: translate(k, v, spec, self.translate)),
            (self.rotate > 0, lambda k, v: rotate(k, v, spec, self.rotate)),
            (self.zoom > 0, lambda k, v: zoom(k, v, spec, self.zoom)),
            (self.permute, lambda k, v: permute(k, v, spec)),
            (self.flip, lambda k, v: flip(k, v, spec)),
            (self.phase > 0, lambda k, v: phase(k, v, spec, self.phase)),
            (self.rescale > 0, lambda k, v: rescale(k, v, spec, self.rescale)),
            (self.noise > 0, lambda k, v: noise(k, v, self.noise, sizes(v, spec))),
            (self.dropout > 0, lambda k, v: dropout(k, v, self.dropout)),
            (self.mask > 0, lambda k, v: mask(k, v, self.mask)),
        )
        for i, (active, step) in enumerate(steps):
            if active:
                own = step(jax.random.fold_in(key, i), own)
        return own / jnp.asarray(scale, vectors.dtype)


def _each(change: Callable, key: jax.Array, vectors: jax.Array) -> jax.Array:
    """One network [entry] at a time, each with a key of its own."""
    if vectors.ndim == 1:
        return change(key, vectors)
    return jax.vmap(lambda k, v: _each(change, k, v))(jax.random.split(key, len(vectors)), vectors)


def _scaled(draw: Callable, key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Networks under a random scaling each."""
    networks.check_length(vectors, spec)

    def change(key, vector):
        multiply, add = scalings.factors(draw(key), spec)
        return vector * multiply.astype(vector.dtype) + add.astype(vector.dtype)

    return _each(change, key, vectors)


def _assert_any(spec: Spec, noun: str, some: bool) -> None:
    if not some:
        layers = [f"{x.name} ({x.activation})" for x in spec.layers]
        raise ValueError(f"expected neurons that admit {noun}, got {layers}")

"""Augmentations: other copies of raveled networks, drawn inside a jitted step.

    what is drawn                        the copy's function        the functions
    other numbers of hidden neurons      the same                   permute
    signs, phases, scales of them    the same                   flip, phase, rescale
    coordinates of what it reads         moved, in a known way      translate, rotate, zoom
    entries                              another                    noise, mask, dropout

A learner that treats copies as the network they were made of must know which row it draws
from: those of the last are other functions before long. Vectors are [entry] or have axes in
front; every network has draws of its own, and of the last row every entry. All run under `jit`
and `vmap`. `Augmentation` is all of them as one setting.

Those of Navon et al. (2023) and Shamsian et al. (2024) differ in their code: noise adds the same
number to all entries of an array, and a translation may enter at the bias of a later layer.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wsjax import checks, networks
from wsjax.networks import Spec
from wsjax.symmetries import coordinates, permutations, scalings
from wsjax.symmetries.scalings import Element


def permute(key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Renumbers hidden neurons uniformly at random; preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: what they mean.
    """
    moves = permutations.moves(spec)
    return _each(lambda k, v: permutations.shuffle(k, v, moves), key, vectors)


def flip(key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Changes the sign of every other neuron, by chance; preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: what they mean.

    Raises:
        ValueError: no neuron of the network can change its sign.
    """
    _admitted(spec, "signs", any(x.sign for x in scalings.admits(spec).factors.values()))
    return _scaled(lambda k: scalings.sample(k, spec, ("sign",)), key, vectors, spec)


def rescale(key: jax.Array, vectors: jax.Array, spec: Spec, spread: float) -> jax.Array:
    """Scales neurons by exp(spread * normal); preserves the network's function.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: what they mean.
        spread: see above.

    Raises:
        ValueError: no neuron of the network can change its scale.
    """
    _admitted(spec, "scales", any(x.scale for x in scalings.admits(spec).factors.values()))
    return _scaled(lambda k: scalings.sample(k, spec, ("scale",), spread), key, vectors, spec)


def phase(key: jax.Array, vectors: jax.Array, spec: Spec, most: int) -> jax.Array:
    """Shifts phases of sines by k pi, k from -most to most; preserves the network's function.

    b -> b + k pi / omega, and what reads the sine times (-1)^k, with omega of its layer. In
    numbers of the network itself: arrays in other units have another step.

    Args:
        key: randomness.
        vectors: [..., entry].
        spec: what they mean.
        most: phase shifts in either direction; all are equally likely.

    Raises:
        ValueError: no neuron of the network is a sine with a bias.
    """
    known = scalings.identity(spec).phases
    _admitted(spec, "phase shifts", bool(known))

    def draw(key):
        keys = jax.random.split(key, len(known))
        draws = (jax.random.randint(k, x.shape, -most, most + 1, x.dtype)
                 for k, x in zip(keys, known.values(), strict=True))  # fmt: skip
        return Element({}, dict(zip(known, draws, strict=True)))

    return _scaled(draw, key, vectors, spec)


def translate(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Gives x -> f(x + t); does not preserve the network's function, but moves what it shows.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose coordinates a dense layer reads.
        spec: what they mean.
        most: t of every coordinate is uniform from -most to most, in units of the input.

    Raises:
        ValueError: see `coordinates.move`.
    """
    shape = (*vectors.shape[:-1], coordinates.dimensions(spec))
    shift = jax.random.uniform(key, shape, vectors.dtype, -most, most)
    return coordinates.move(vectors, spec, shift=shift)


def rotate(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Gives x -> f(R x); does not preserve the network's function, but turns what it shows.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose two coordinates a dense layer reads.
        spec: what they mean.
        most: the angle is uniform from -most to most, in radians, about the origin.

    Raises:
        ValueError: see `coordinates.move`; or there are not two coordinates.
    """
    if (inputs := coordinates.dimensions(spec)) != 2:
        raise ValueError(f"expected a network of two coordinates to rotate, got {inputs}")
    angle = jax.random.uniform(key, vectors.shape[:-1], vectors.dtype, -most, most)
    return coordinates.move(vectors, spec, coordinates.rotation(angle))


def zoom(key: jax.Array, vectors: jax.Array, spec: Spec, most: float) -> jax.Array:
    """Gives x -> f(a x); does not preserve the network's function, but zooms what it shows.

    Args:
        key: randomness.
        vectors: [..., entry], of networks whose coordinates a dense layer reads.
        spec: what they mean.
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
    """The root mean square of the array that an entry belongs to, of its own network.

    Args:
        vectors: [..., entry].
        spec: what they mean.

    Returns:
        [..., entry]; the same for all numberings and signs of neurons.
    """
    arrays, out = networks.unravel(vectors, spec), {}
    for a in spec.arrays:
        x = arrays[a.name]
        square = jnp.square(x).mean(tuple(range(x.ndim - len(a.axes), x.ndim)), keepdims=True)
        out[a.name] = jnp.broadcast_to(jnp.sqrt(square), x.shape)
    return networks.ravel(out, spec)


def mask(key: jax.Array, vectors: jax.Array, probability: float) -> jax.Array:
    """Sets entries to zero by chance; does not preserve the network's function.

    What is left keeps its size: `dropout` divides it by `1 - probability`.

    Args:
        key: randomness.
        vectors: [..., entry].
        probability: of each entry to become zero.

    Returns:
        [..., entry].
    """
    gone = jax.random.bernoulli(key, probability, vectors.shape)
    return jnp.where(gone, jnp.zeros_like(vectors), vectors)


def dropout(key: jax.Array, vectors: jax.Array, probability: float) -> jax.Array:
    """Drops entries, and makes up for it: a copy is on average the network that was given.

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
    """Which augmentations there are, and how strong; none by default.

    In this order, each with draws of its own, whatever the others are. See the function of
    the same name for what a strength means.

    Attributes:
        translate: of every coordinate, in units of the input.
        rotate: radians in either direction.
        zoom: about 1.
        permute: whether neurons are.
        flip: whether signs are.
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

    @property
    def preserves(self) -> bool:
        """Whether copies have the function of the network that they were made of."""
        return not any((
            *(self.translate, self.rotate, self.zoom),
            *(self.noise, self.dropout, self.mask),
        ))  # fmt: skip

    def apply(
        self, key: jax.Array, vectors: jax.Array, spec: Spec, units: jax.Array | float = 1.0
    ) -> jax.Array:
        """Copies of networks, one of each.

        Args:
            key: randomness.
            vectors: [..., entry].
            spec: what they mean.
            units: [entry] what 1 stands for in `vectors`, or one number for all: shifts and
                phase shifts are in numbers of the network itself.

        Returns:
            [..., entry], in the same units.

        Raises:
            ValueError: the network does not admit what is asked for.
        """
        if self == Augmentation():
            return vectors
        own = vectors * jnp.asarray(units, vectors.dtype)
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
        for i, (wanted, step) in enumerate(steps):
            if wanted:
                own = step(jax.random.fold_in(key, i), own)
        return own / jnp.asarray(units, vectors.dtype)


def _each(change: Callable, key: jax.Array, vectors: jax.Array) -> jax.Array:
    """One network [entry] at a time, each with a key of its own."""
    if vectors.ndim == 1:
        return change(key, vectors)
    return jax.vmap(lambda k, v: _each(change, k, v))(jax.random.split(key, len(vectors)), vectors)


def _scaled(draw: Callable, key: jax.Array, vectors: jax.Array, spec: Spec) -> jax.Array:
    """Networks under scalings that are drawn for each."""

    def change(key, vector):
        multiply, add = scalings.factors(draw(key), spec)
        return vector * multiply.astype(vector.dtype) + add.astype(vector.dtype)

    return _each(change, key, vectors)


def _admitted(spec: Spec, what: str, some: bool) -> None:
    if not some:
        found = [f"{x.name} ({x.activation})" for x in spec.layers]
        raise ValueError(f"expected neurons that admit {what}, got {found}")

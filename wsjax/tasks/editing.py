"""Editing: change networks so that the images they represent change as wanted.

    trained = fit(zoo, Editing(target_images, Canvas.of(recipe, 28, 28)), ScaleGMN())
    edited = trained.edit(params)         # named arrays in, named arrays out
    trained.render(edited)                # [row, col, channel]

    theta --editor--> theta + gamma * delta --rendered on a canvas--> image
                                                                       | squared error
    what the original image should become ------------------------ target image

The editor receives no image: images are the loss of its edits. The error is squared, averaged
over pixels and channels (Zhou et al., 2023), in the range of the recipe's images: on [-1, 1], as
NFN's and GMN's, it is four times that on [0, 1], as DWSNets' and ScaleGMN's. Editors work on
normalised arrays (`scaling.InputScale`): there a change of 1 is as large as the weights of its
array.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import checks, networks, training
from wsjax.encoders import Encoder
from wsjax.encoders.editors import editor
from wsjax.networks import Params, Spec
from wsjax.symmetries.augmentations import Augmentation
from wsjax.tasks.base import Loss, Part, Step, Task, Trained, in_pieces
from wsjax.zoos import Zoo
from wsjax.zoos.inrs import image_folders
from wsjax.zoos.inrs.inr_recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Canvas:
    """The points that networks are rendered on; a recipe's convention for images of one size.

    Attributes:
        rows: of the image.
        cols: of the image.
        indexing: "xy" or "ij", see `image_folders.grid`.
        offset: added to a network's output.
    """

    rows: int
    cols: int
    indexing: str
    offset: float

    def __post_init__(self):
        checks.fields("canvas makes no sense", self)
        image_folders.grid(self.rows, self.cols, self.indexing)  # raises for none

    @classmethod
    def of(cls, recipe: Recipe, rows: int, cols: int) -> "Canvas":
        """The canvas on which a recipe's networks were fitted."""
        return cls(rows, cols, recipe.indexing, recipe.offset)

    def render(self, vectors: jax.Array, spec: Spec) -> jax.Array:
        """Networks [batch, entry] as images [batch, row, col, channel]."""
        points = image_folders.grid(self.rows, self.cols, self.indexing)
        one = lambda v: image_folders.render(networks.unravel(v, spec), spec, points, self.offset)
        return jax.vmap(one)(vectors)


@dataclasses.dataclass(frozen=True)
class Objective:
    """The squared error of edited networks, rendered.

    Attributes:
        permute: edit copies with hidden neurons permuted at random, anew in every step.
        flip: edit copies whose neurons changed signs.
        phase: edit copies whose sines were shifted, by up to so many times pi.
    """

    permute: bool = False
    flip: bool = False
    phase: int = 0

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation; all copies represent the network's image."""
        return Augmentation(**dataclasses.asdict(self))


def images(vectors: np.ndarray, spec: Spec, canvas: Canvas) -> np.ndarray:
    """Networks [entry] or [batch, entry] as images [..., row, col, channel]."""
    rendered = in_pieces(_renderer(spec, canvas), {}, np.atleast_2d(vectors), size=64)
    return rendered if vectors.ndim == 2 else rendered[0]


@functools.lru_cache(maxsize=16)
def _renderer(spec, canvas):
    return jax.jit(lambda _, vectors: canvas.render(vectors, spec))


def squared_errors(rendered: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mean squared error of each image [n, row, col, channel], [n], in float64.

    Of images on [-1, 1] it is four times that of the same images on [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    if rendered.shape != target.shape:
        raise ValueError(f"expected images {target.shape}, got {rendered.shape}")
    return np.mean((rendered.astype(np.float64) - target) ** 2, axis=(1, 2, 3))


@dataclasses.dataclass(frozen=True)
class TrainedEditor(Trained):
    """A trained editor: receives raw networks, and returns raw networks."""

    def encode(self, networks: Params | np.ndarray | Zoo, spec: Spec | None = None) -> np.ndarray:
        """Editors have no embedding; always a ValueError."""
        raise ValueError("an editor changes networks and has no embedding: expected `edit`")

    def edit(self, given: Params | np.ndarray, spec: Spec | None = None) -> Params | np.ndarray:
        """Edits networks.

        An encoder that `reads_any` edits networks of other widths as well, of as many inputs and
        outputs as those of training; how well, nothing in training measures.

        Args:
            given: named arrays of one network or, with a batch axis, of several; or raveled
                vectors [entry] or [batch, entry].
            spec: their architecture; the training architecture if None.

        Returns:
            The edited networks, in the form given.

        Raises:
            ValueError: as `Trained.encode`.
        """
        return self._transform(given, spec)

    def render(self, given: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """The images of networks, [row, col, channel] or [batch, row, col, channel].

        Raises:
            ValueError: as `Trained.encode`.
        """
        zoo, single = self._zoo(given, spec)
        rendered = images(zoo.vectors, zoo.spec, self.task.canvas)
        self.expect_finite(zoo, rendered)
        return rendered[0] if single else rendered

    def errors(self, vectors: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The mean squared error of each network's edit, [network].

        Args:
            vectors: [network, entry], raw.
            target: [network, row, col, channel].
        """
        return squared_errors(self.render(self.edit(vectors)), target)


@dataclasses.dataclass(frozen=True)
class Editing(Task[TrainedEditor]):
    """Edits INRs towards target images.

    Attributes:
        target_images: [network, row, col, channel] float32, of every network of the zoo; None
            in a restored task.
        canvas: on which networks are rendered.
        objective: what is minimised.
        expansion: how many changes of each parameter are averaged, see `encoders.editors`.
    """

    target_images: np.ndarray | None = dataclasses.field(compare=False, repr=False)
    canvas: Canvas
    objective: Objective = Objective()
    expansion: int = 1

    kind: ClassVar[str] = "editing"
    trained: ClassVar[type[Trained]] = TrainedEditor

    def module(self, encoder: Encoder, head: Sequence[int]) -> nn.Module:
        """The encoder's editor; it has no head."""
        return editor(encoder, self.expansion)

    def check(self, zoo: Zoo, settings: training.Settings) -> None:
        """Raises a ValueError without one architecture, or a finite target image for each."""
        spec, target = zoo.spec, np.asarray(self.target_images, np.float32)
        image = jax.eval_shape(lambda v: self.canvas.render(v, spec), jnp.zeros((1, spec.count)))
        shape = (len(zoo), *image.shape[1:])
        if target.shape != shape or not np.isfinite(target).all():
            raise ValueError(
                f"expected finite images {shape}, one for each network, got {target.shape}"
            )

    def targets(self, train: Part, constants: Mapping[str, float]) -> dict[str, np.ndarray]:
        """The target images."""
        return {"target": self._target(train)}

    def _target(self, part):
        return np.asarray(self.target_images, np.float32)[part.members]

    def loss(self, step: Step, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        """The squared error of pixels."""
        draws, drops = jax.random.split(key)
        spec = step.views.specs[0]
        copies = self.objective.augmentation.apply(
            draws, batch["vectors"], spec, jnp.asarray(step.scale.divisors(spec))
        )
        edited = step.scale.invert(step.apply(copies, batch["which"], drops), spec)
        return jnp.mean((self.canvas.render(edited, spec) - batch["target"]) ** 2), {}

    def evaluate(self, trained: TrainedEditor, train: Part, validation: Part) -> dict[str, float]:
        """The mean squared error "mse" of all pixels."""
        vectors = validation.networks.vectors[:, : validation.networks.spec.count]
        return {"mse": float(trained.errors(vectors, self._target(validation)).mean())}

    def to_json(self) -> dict[str, Any]:
        """The fields, without images."""
        fields = dataclasses.asdict(dataclasses.replace(self, target_images=None))
        return {k: x for k, x in fields.items() if k != "target_images"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Editing":
        """The task without images."""
        canvas, objective = Canvas(**data["canvas"]), Objective(**data["objective"])
        return cls(None, canvas, objective, data["expansion"])

"""Edit networks so that what they show is changed as wanted: train an editor, restore it.

    model = editing.restore("runs/inr_editing/laptop/scalegmn-0-...")
    edited = model.edit(params)          # named arrays in, named arrays out
    model.render(edited)                 # [row, col, channel]

    theta --editor--> theta + gamma * delta --rendered on a canvas--> image
                                                                       | squared error
    what the original image should become ------------------------ wanted image

No image enters the editor: images are what its edits are judged by, in training. The error is
in the units of images, squared, averaged over pixels and channels (Zhou et al., 2023).
Editors work on arrays in units of the training networks (`wsjax.tasks.reading`): there a change of
1 is as large as the weights of its array.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsjax import encoders, networks, training
from wsjax.networks import Params, Spec
from wsjax.symmetries.augmentations import Augmentation
from wsjax.tasks import reading
from wsjax.zoos import Zoo
from wsjax.zoos.inrs import image_folders
from wsjax.zoos.inrs.inr_recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Canvas:
    """What networks are rendered on; a recipe's convention for images of one size.

    Attributes:
        rows: of the image.
        cols: of the image.
        indexing: "xy" or "ij", see `image_folders.grid`.
        offset: added to what a network says.
    """

    rows: int
    cols: int
    indexing: str
    offset: float

    @classmethod
    def of(cls, recipe: Recipe, rows: int, cols: int) -> "Canvas":
        """The canvas on which a recipe's networks were fitted."""
        return cls(rows, cols, recipe.indexing, recipe.offset)

    def render(self, vectors: jax.Array, spec: Spec) -> jax.Array:
        """Networks [batch, entry] as images [batch, row, col, channel]."""
        points = image_folders.grid(self.rows, self.cols, self.indexing)
        show = lambda v: image_folders.render(networks.unravel(v, spec), spec, points, self.offset)
        return jax.vmap(show)(vectors)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised: the squared error of edited networks, rendered.

    Attributes:
        permute: edit renumbered copies, drawn in every step.
        flip: edit copies whose neurons changed signs.
        phase: edit copies with sines shifted by up to so many phases.
    """

    permute: bool = False
    flip: bool = False
    phase: int = 0

    @property
    def copies(self) -> Augmentation:
        """What makes copies; all show what the network shows."""
        return Augmentation(**dataclasses.asdict(self))


def build(config: Mapping) -> nn.Module:
    """The editor that a checkpoint's config describes.

    Raises:
        ValueError: the encoder does not edit, or one of its settings is unknown or makes no
            sense.
    """
    encoder = encoders.build(config["encoder"], config["encoder_settings"])
    return encoders.editor(encoder, config.get("expansion", 1))


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained editor: takes raw networks, and gives raw networks.

    Attributes:
        module: the editor.
        variables: its params, and its encoder's statistics if it has any.
        scales: as from `reading.measure_scales`.
        spec: the architecture it was trained on.
        canvas: where it was judged.
        config: everything the checkpoint says about the run.
    """

    module: nn.Module
    variables: Mapping
    scales: Mapping[str, float]
    spec: Spec
    canvas: Canvas
    config: Mapping

    def edit(self, given: Params | np.ndarray, spec: Spec | None = None) -> Params | np.ndarray:
        """Edits networks; arguments and errors as of `reading.Reader`.

        Returns:
            What was given, named arrays or vectors, one network or several.
        """
        spec = spec or self.spec
        reader = reading.Reader(self.module, self.variables, self.scales, self.spec)
        edited = reader(given, spec) * reading.units(spec, self.scales)
        return networks.unravel(edited, spec) if isinstance(given, Mapping) else edited

    def render(self, given: Params | np.ndarray, spec: Spec | None = None) -> np.ndarray:
        """What networks show on the canvas, [row, col, channel] or [batch, row, col, channel]."""
        spec = spec or self.spec
        if isinstance(given, Mapping):
            given = networks.ravel(given, spec)
        return images(np.asarray(given, np.float32), spec, self.canvas)

    def errors(self, vectors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The mean squared error of each network's edit, [network].

        Args:
            vectors: [network, entry], raw.
            wanted: [network, row, col, channel].
        """
        return squared_errors(self.render(self.edit(vectors)), wanted)


def images(vectors: np.ndarray, spec: Spec, canvas: Canvas) -> np.ndarray:
    """Networks [entry] or [batch, entry] as images [..., row, col, channel]."""
    shown = reading.in_pieces(_renderer(spec, canvas), {}, np.atleast_2d(vectors), size=64)
    return shown if vectors.ndim == 2 else shown[0]


@functools.lru_cache(maxsize=16)
def _renderer(spec, canvas):
    return jax.jit(lambda _, vectors: canvas.render(vectors, spec))


def squared_errors(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The mean squared error of each image [n, row, col, channel], [n], in float64.

    Raises:
        ValueError: the shapes differ.
    """
    if shown.shape != wanted.shape:
        raise ValueError(f"expected images {wanted.shape}, got {shown.shape}")
    return np.mean((shown.astype(np.float64) - wanted) ** 2, axis=(1, 2, 3))


def train(
    zoo: Zoo,
    wanted: np.ndarray,
    canvas: Canvas,
    config: Mapping,
    objective: Objective,
    settings: training.Settings,
    folder: str | pathlib.Path,
    progress: bool = True,
) -> tuple[Model, training.FitResult]:
    """Trains an editor on a zoo's "train" split, chosen on its "validation" split.

    Continues from the folder's newest checkpoint if there is one.

    Args:
        zoo: of one architecture, with both splits.
        wanted: [network, row, col, channel] float32, of every network of the zoo, what it
            should show when it is edited.
        canvas: on which.
        config: "encoder" (a key of `ENCODERS`), "encoder_settings" and, if not 1, "expansion"
            (see `encoders.editing`); whatever else it holds is kept in the checkpoint.
        objective: what is minimised.
        settings: how.
        folder: of checkpoints and metrics.
        progress: show it.

    Returns:
        The model with the best validation error, and what the run cost.

    Raises:
        ValueError: there are several architectures or no such split, images are not as wanted
            or not finite, or as `training.fit` says.
    """
    if len(zoo.specs) != 1:
        raise ValueError(f"expected networks of one architecture, got {len(zoo.specs)}")
    if missing := sorted({"train", "validation"} - set(zoo.splits)):
        raise ValueError(f"expected the splits {missing}, got {sorted(zoo.splits)}")
    spec, module = zoo.specs[0], build(config)
    shape = jax.eval_shape(lambda v: canvas.render(v, spec), jnp.zeros((1, spec.count))).shape
    if wanted.shape != (len(zoo), *shape[1:]) or not np.isfinite(wanted).all():
        raise ValueError(
            f"expected finite images {(len(zoo), *shape[1:])}, one for each network, got "
            f"{wanted.shape}"
        )
    rows, held = zoo.splits["train"], zoo.splits["validation"]
    vectors = zoo.vectors[rows][:, : spec.count]
    scales = reading.measure_scales((vectors, spec))
    units, view = reading.units(spec, scales), module.view(spec)
    data = {"vectors": vectors / units, "wanted": wanted[rows].astype(np.float32)}
    statistics = reading.calibrate(module.encoder, data["vectors"], view, scales)
    config = {
        **config,
        "canvas": dataclasses.asdict(canvas),
        "objective": dataclasses.asdict(objective),
        "scales": scales,
        **reading.described([spec], statistics),
    }

    def initial(key):
        return module.init(key, jnp.asarray(data["vectors"][:1]), view)["params"]

    def loss(params, key, batch):
        draws, drops = jax.random.split(key)
        copies = objective.copies.apply(draws, batch["vectors"], spec, units)
        variables, rngs = reading.bind(params, statistics), {"dropout": drops}
        edited = module.apply(variables, copies, view, True, rngs=rngs) * units
        return jnp.mean((canvas.render(edited, spec) - batch["wanted"]) ** 2), {}

    def model(params):
        return Model(module, reading.bind(params, statistics), scales, spec, canvas, config)

    def evaluate(params):
        found = model(params).errors(zoo.vectors[held][:, : spec.count], wanted[held])
        return {"mse": float(found.mean())}

    result = training.fit(
        initial, loss, data, evaluate, settings, folder, config, select="mse", progress=progress
    )
    return model(result.variables_best), result


def restore(folder: str | pathlib.Path) -> Model:
    """The model a training run left in `folder`; needs nothing but the path.

    Raises:
        FileNotFoundError, ValueError: no such folder, or no whole checkpoint in it.
    """
    module, variables, (spec,), config = reading.restored(folder, build)
    canvas = Canvas(**config["canvas"])
    return Model(module, variables, config["scales"], spec, canvas, config)

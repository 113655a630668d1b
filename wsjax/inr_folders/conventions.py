"""How the weights of an INR represent an image, and the same image by another convention.

factor in the sines       a factor of kernels and biases
coordinates on [0, 1]     an affine map of the first layer
order of coordinates      of the first kernel's two inputs
range, offset             an affine map of the last layer
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from wsjax import checks, tasks
from wsjax.networks import Array, Spec
from wsjax.tasks.editing import Canvas
from wsjax.zoos.inrs.inr_recipe import DWS, INDEXINGS, Recipe

Arrays = Mapping[str, np.ndarray]
SIDE = 28  # of the images, where nothing states it: MNIST's and Fashion-MNIST's


@dataclasses.dataclass(frozen=True)
class Convention:
    """How weights represent an image; the defaults are those of `inr_recipe.DWS`.

    Attributes:
        omega: factor inside each sine.
        first_omega: that of the first layer; as `omega` if None.
        indexing: "xy" where the first coordinate runs along a row of pixels, "ij" where it runs
            down a column.
        unit: whether coordinates run from 0 to 1; else from -1 to 1.
        offset: added to the network's output.
        low: the value of black, 0 or -1; that of white is 1.

    Raises:
        ValueError: a setting makes no sense; every one is listed.
    """

    omega: float = DWS.omega
    first_omega: float | None = None
    indexing: str = DWS.indexing
    unit: bool = False
    offset: float = DWS.offset
    low: float = DWS.low

    def __post_init__(self):
        checks.fields("convention makes no sense", self)
        rules = {
            "omega": (self.omega > 0, "above 0"),
            "first_omega": (self.first_omega is None or self.first_omega > 0, "above 0"),
            "indexing": (self.indexing in INDEXINGS, f"one of {INDEXINGS}"),
            "low": (self.low in (0, -1), "0 or -1"),
        }
        checks.attributes("convention makes no sense", self, rules)

    @classmethod
    def of(cls, recipe: Recipe) -> "Convention":
        """The convention of a recipe."""
        return cls(recipe.omega, None, recipe.indexing, False, recipe.offset, recipe.low)


def convert(params: Arrays, theirs: Convention, ours: Convention) -> dict[str, np.ndarray]:
    """The weights that represent, by our convention, the image that `params` do by theirs.

    Args:
        params: arrays [..., *shape] of `architectures.mlp(widths, "sin")`, kernels and biases.
        theirs: of `params`.
        ours: of the result. `convert(convert(p, a, b), b, a)` is `p`, up to rounding.

    Returns:
        The arrays, float32.

    >>> one = {"Dense_0/kernel": np.ones((2, 1)), "Dense_0/bias": np.zeros(1),
    ...        "Dense_1/kernel": np.ones((1, 1)), "Dense_1/bias": np.zeros(1)}
    >>> halved = convert(one, Convention(unit=True), Convention())
    >>> halved["Dense_0/kernel"].ravel().tolist(), halved["Dense_0/bias"].tolist()
    ([0.5, 0.5], [1.0])
    """
    out = {name: np.asarray(a, np.float64) for name, a in params.items()}
    last = len(out) // 2 - 1
    for i in range(last):
        now, then = theirs.omega, ours.omega
        if i == 0:
            now, then = theirs.first_omega or now, ours.first_omega or then
        for role in ("kernel", "bias"):
            out[f"Dense_{i}/{role}"] = out[f"Dense_{i}/{role}"] * (now / then)
    kernel, bias = out["Dense_0/kernel"], out["Dense_0/bias"]
    if theirs.indexing != ours.indexing:
        kernel = kernel[..., ::-1, :]
    if theirs.unit != ours.unit:
        middle = kernel.sum(-2)
        bias = bias + middle / 2 if theirs.unit else bias - middle
        kernel = kernel / 2 if theirs.unit else kernel * 2
    out |= {"Dense_0/kernel": kernel, "Dense_0/bias": bias}
    times = (1 - ours.low) / (1 - theirs.low)
    shift = times * (theirs.offset - theirs.low) + ours.low - ours.offset
    out[f"Dense_{last}/kernel"] = out[f"Dense_{last}/kernel"] * times
    out[f"Dense_{last}/bias"] = out[f"Dense_{last}/bias"] * times + shift
    return {name: a.astype(np.float32) for name, a in out.items()}


def aligned(params: Arrays, own: Spec, spec: Spec) -> dict[str, np.ndarray]:
    """A network's arrays by the names and in the layout of another spec of equal widths.

    Raises:
        ValueError: one of them is no chain of dense layers with biases, or widths differ.
    """
    pairs = _pairs(own, spec)
    return {a.name: np.transpose(np.asarray(params[b.name]), order) for a, b, order in pairs}


def restored(params: Arrays, own: Spec, spec: Spec) -> dict[str, np.ndarray]:
    """Undoes `aligned`."""
    return {
        b.name: np.transpose(np.asarray(params[a.name]), np.argsort(order))
        for a, b, order in _pairs(own, spec)
    }


def _pairs(own: Spec, spec: Spec) -> Iterator[tuple[Array, Array, tuple[int, ...]]]:
    """(array of `spec`, array of `own`, axes of the latter in the order of the former)."""
    if (widths := _widths(own)) != (expected := _widths(spec)):
        came = "other layers" if widths is None else f"widths {'-'.join(map(str, widths))}"
        raise ValueError(
            f"expected a SIREN of widths {'-'.join(map(str, expected or ()))}, got {came}"
        )
    for ours, layer in zip(spec.layers, own.layers, strict=True):
        roles = {b.role: b for b in layer.arrays}
        for a in ours.arrays:
            b = roles[a.role]
            yield a, b, (*b.reads, *b.writes)


def _widths(spec: Spec) -> tuple[int, ...] | None:
    """Widths of a chain of dense layers with biases; None of any other network."""
    widths: list[int] = []
    for layer in spec.layers:
        roles = {a.role: a for a in layer.arrays}
        if layer.kind != "dense" or set(roles) != {"kernel", "bias"} or layer.source is not None:
            return None
        kernel = roles["kernel"]
        if len(kernel.reads) != 1 or len(kernel.writes) != 1 or kernel.taps:
            return None
        reads, writes = (spec.shape(kernel)[k[0]] for k in (kernel.reads, kernel.writes))
        if widths and widths[-1] != reads:
            return None
        widths += [writes] if widths else [reads, writes]
    return tuple(widths)


def convention(trained: tasks.Trained) -> Convention:
    """The convention of a model's training networks.

    Of an editor, that of its canvas, where black is -1 without an offset and else 0; of another
    model, of the fields of a `Recipe` in `config["recipe"]`, which `fit` keeps; else of `DWS`.

    Raises:
        ValueError: its networks are no chains of dense layers with sines.
    """
    spec = trained.specs[0]
    omegas = {layer.omega for layer in spec.layers[:-1] if layer.activation == "sin"}
    if _widths(spec) is None or len(omegas) != 1:
        raise ValueError(f"expected a model of INRs with sines, got {trained!r}")
    recipe = trained.config.get("recipe")
    ours = Convention.of(DWS if recipe is None else Recipe(**recipe))
    if canvas := getattr(trained.task, "canvas", None):
        low = 0.0 if canvas.offset else -1.0
        ours = Convention(1.0, None, canvas.indexing, False, canvas.offset, low)
    return dataclasses.replace(ours, omega=omegas.pop())


def canvas(trained: tasks.Trained) -> Canvas:
    """An editor's canvas; else of MNIST's size."""
    ours = convention(trained)
    return getattr(trained.task, "canvas", Canvas(SIDE, SIDE, ours.indexing, ours.offset))

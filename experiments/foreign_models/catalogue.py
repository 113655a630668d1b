"""The models that `wsjax.trace` is tested on, each of which is built by a function of its name."""

import dataclasses
from collections.abc import Callable

from experiments.foreign_models import (
    large,
    linen_images,
    linen_others,
    linen_transformers,
    other_frameworks,
    torch_models,
)
from experiments.foreign_models.generic import Case


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the catalogue.

    Attributes:
        name: of the function that builds it.
        framework: that it is written in.
        needs: the package that must be installed, beside Flax.
        build: makes the function, its parameters and inputs.
    """

    name: str
    framework: str
    needs: str
    build: Callable[[], Case]


_ORIGINS = {  # (framework, package) -> functions
    ("Flax Linen", "flax"): (
        *linen_others.MODELS,
        *linen_images.MODELS,
        *linen_transformers.MODELS,
    ),
    ("Flax NNX", "flax"): other_frameworks.NNX,
    ("Equinox", "equinox"): other_frameworks.EQUINOX,
    ("Haiku", "haiku"): other_frameworks.HAIKU,
    ("JAX", "jax"): other_frameworks.PLAIN,
    ("PyTorch", "torch"): torch_models.MODELS,
}
MODELS: dict[str, Model] = {
    build.__name__: Model(build.__name__, framework, needs, build)
    for (framework, needs), functions in _ORIGINS.items()
    for build in functions
}
LARGE = {f.__name__: Model(f.__name__, "Flax Linen", "flax", f) for f in large.MODELS}

"""The settings of a zoo of image INRs, and the two published ones.

    RECIPES["dws"]    2-32-32-1 on [0, 1], output + 0.5, "xy"   (Navon et al., 2023)
    RECIPES["nfn"]    2-32-32-1 on [-1, 1], no offset, "ij"     (Zhou et al., 2023)

The two conventions do not mix: a network of one, rendered by the other, gives a transposed
image of another range. `Recipe` names every one of them, and a zoo's manifest keeps it.
"""

import dataclasses
import math

import numpy as np

from wsjax import architectures, checks
from wsjax.networks import Spec
from wsjax.zoos.fitting import INITIALIZATIONS

INDEXINGS = ("xy", "ij")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How image INRs are made; the defaults are DWSNets'.

    Attributes:
        hidden: widths of the SIREN's hidden layers.
        omega: factor inside every sine.
        initialization: "dws" or "siren", see `fitting.initial`.
        offset: added to the network's output.
        low: what black is, 0 or -1; white is 1.
        indexing: "xy" where the first coordinate runs along a row of pixels, "ij" where it
            runs down a column.
        learning_rate: of Adam.
        steps: the most that are taken, each on the full image.
        psnr: in decibels, at which a network is done; it then stays as it is.
        seed: of the choice of images and of the weights. The network of an image and a
            view is the same in a zoo of any size.
        views: networks for each image, each from initial weights of its own.
        test_views: as `views`, for images of the test part.
        train_images: how many of them; all if 0.
        test_images: how many of them; all if 0.
        block: networks that are fitted, and put on disk, in one go.

    Raises:
        ValueError: a setting makes no sense; every one is listed.
    """

    hidden: tuple[int, ...] = (32, 32)
    omega: float = 30.0
    initialization: str = "dws"
    offset: float = 0.5
    low: float = 0.0
    indexing: str = "xy"
    learning_rate: float = 5e-4
    steps: int = 1000
    psnr: float = 40.0
    seed: int = 0
    views: int = 1
    test_views: int = 1
    train_images: int = 0
    test_images: int = 0
    block: int = 250

    def __post_init__(self):
        checks.fields("recipe makes no sense", self, infinite=["psnr"])
        counts = ("steps", "views", "test_views", "block")
        rules = {name: (getattr(self, name) >= 1, "at least 1") for name in counts} | {
            "hidden": (bool(self.hidden) and min(self.hidden) >= 1, "widths of at least 1"),
            "omega": (0 < self.omega < math.inf, "above 0"),
            "initialization": (self.initialization in INITIALIZATIONS, f"one of {INITIALIZATIONS}"),
            "low": (self.low in (0, -1), "0 or -1"),
            "indexing": (self.indexing in INDEXINGS, f"one of {INDEXINGS}"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0"),
            "train_images": (self.train_images >= 0, "at least 0"),
            "test_images": (self.test_images >= 0, "at least 0"),
        }
        checks.attributes("recipe makes no sense", self, rules)

    def spec(self, channels: int) -> Spec:
        """The architecture of networks for images of so many channels."""
        return architectures.mlp([2, *self.hidden, channels], "sin", omega=self.omega)

    @property
    def tolerance(self) -> float:
        """The mean squared error at which a network is done."""
        return (1 - self.low) ** 2 * 10 ** (-self.psnr / 10)


# DWSNets' issue 6 has the optimizer, its code the rest. The published networks' statistics
# take more steps than that, see `experiments.make.inr_zoo`.
DWS = Recipe()
# Rate, steps and where to stop are those of DWSNets: NFN's code does not have them. Published
# are, of each training image, 11 views of the MNISTs and 21 of CIFAR-10.
NFN = dataclasses.replace(
    DWS, initialization="siren", offset=0.0, low=-1.0, indexing="ij", views=11
)
RECIPES = {"dws": DWS, "nfn": NFN}


def grid(rows: int, cols: int, indexing: str) -> np.ndarray:
    """The points that a network is evaluated on, [row, col, 2] float32, corners at -1 and 1.

    Args:
        rows: of the image.
        cols: of the image.
        indexing: "xy", (along the row, down the column), or "ij", the other way round.

    Raises:
        ValueError: the indexing is neither, or the image has no pixel.
    """
    if indexing not in INDEXINGS or min(rows, cols) < 1:
        raise ValueError(
            f"expected rows and columns and one of {INDEXINGS}, got {rows}, {cols}, {indexing!r}"
        )
    down, along = (np.linspace(-1, 1, n, dtype=np.float32) for n in (rows, cols))
    down, along = np.meshgrid(down, along, indexing="ij")
    return np.stack([along, down] if indexing == "xy" else [down, along], axis=-1)

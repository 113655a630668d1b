"""The settings of a sine zoo: Recipe(networks=6000, low=0.5, high=10.0, points=128, ...)."""

import dataclasses
from typing import Any

from wsjax import architectures, checks
from wsjax.architectures import ACTIVATIONS
from wsjax.networks import Spec


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a sine zoo is made; the defaults make the frequency zoo on a laptop.

    Attributes:
        networks: how many to fit.
        seed: of waves and weights. Network i of a seed is the same in a zoo of any size.
        widths: of the SIREN's layers.
        activation: of the hidden layers; anything but "sin" begins as PyTorch's `Linear` does.
        omega: factor inside every sine; other activations have none.
        low: smallest frequency; frequencies are uniform.
        high: largest frequency.
        amplitude_low: smallest amplitude; amplitudes are uniform.
        amplitude_high: largest amplitude.
        points: of the grid on [-pi, pi), end excluded. Published: 2,000.
        learning_rate: of Adam.
        weight_decay: times the weights, added to the gradient, as `torch.optim.Adam` does.
        steps: the most that are taken, each on the full grid.
        tolerance: mean squared error at which a network is done.
        offset: added to the network's output.
        keep_unfit: whether networks above the tolerance after all steps stay in the zoo.

    Raises:
        ValueError: a setting makes no sense; every one is listed.
    """

    networks: int = 6000
    seed: int = 0
    widths: tuple[int, ...] = (1, 32, 32, 1)
    activation: str = "sin"
    omega: float = 30.0
    low: float = 0.5
    high: float = 10.0
    amplitude_low: float = 1.0
    amplitude_high: float = 1.0
    points: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    steps: int = 1500
    tolerance: float = 1e-4
    offset: float = 0.5
    keep_unfit: bool = False

    def __post_init__(self):
        checks.fields("recipe makes no sense", self)
        rules = {
            "networks": (self.networks >= 1, "at least 1"),
            "widths": (
                len(self.widths) > 2 and self.widths[0] == self.widths[-1] == 1,
                "1, ..., 1",
            ),
            "activation": (self.activation in ACTIVATIONS, f"one of {tuple(ACTIVATIONS)}"),
            "low": (0 <= self.low <= self.high, f"from 0 to high = {self.high}"),
            "amplitude_low": (
                self.amplitude_low <= self.amplitude_high,
                f"at most amplitude_high = {self.amplitude_high}",
            ),
            "points": (self.points >= 2, "at least 2"),
            "steps": (self.steps >= 1, "at least 1"),
            "tolerance": (self.tolerance > 0, "above 0"),
        }
        checks.attributes("recipe makes no sense", self, rules)

    @classmethod
    def published(cls, **changes: Any) -> "Recipe":
        """The frequency zoo on the published grid, fifteen times the work of the default."""
        ours: dict[str, Any] = {"points": 2000}
        return cls(**ours | changes)

    @classmethod
    def self_supervised(cls, **changes: Any) -> "Recipe":
        """The zoo of a sin(b x) with a, b ~ U(0, 10) (Navon et al., 2023), on our grid.

        More than a quarter of these miss the tolerance, all of them high waves. They stay,
        as published: without them the labels would not be uniform.
        """
        ours: dict[str, Any] = {"low": 0.0, "amplitude_low": 0.0, "amplitude_high": 10.0}
        return cls(**ours | {"keep_unfit": True} | changes)

    @classmethod
    def relu(cls, **changes: Any) -> "Recipe":
        """Low waves in networks of ReLU, a zoo of scales where the others are of signs; ours.

        They stay however well they fit.
        """
        ours: dict[str, Any] = {"activation": "relu", "high": 3.0, "learning_rate": 5e-3}
        return cls(**ours | {"weight_decay": 0.0, "keep_unfit": True} | changes)

    @property
    def spec(self) -> Spec:
        """The architecture of the networks."""
        omega = self.omega if self.activation == "sin" else 1.0
        return architectures.mlp(self.widths, self.activation, omega=omega)

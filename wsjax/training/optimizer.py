"""How to train: the settings of a run, its learning rate and its optimiser.

Settings(steps=1000, warmup=100, schedule="cosine", optimizer="adamw")
make_schedule(settings): step -> learning rate
make_optimizer(settings): clip, then one of `OPTIMIZERS` on that rate
"""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from wsjax import checks

SCHEDULES = ("cosine", "constant", "multistep")
OPTIMIZERS = ("adamw", "adam", "amsgrad", "muon")
RMS = 0.2  # of Muon's updates, that of AdamW's (Liu et al., 2025, "Muon is scalable")
WRONG = "training settings are wrong"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: how many updates.
        batch: examples an update.
        microbatch: examples a gradient is computed of at a time, 0 for the whole batch; it
            bounds memory, and on a CPU a piece that fits the cache is faster.
        learning_rate: the highest one.
        warmup: steps of linear increase before it.
        schedule: one of `SCHEDULES`, after the warm-up: a cosine down to 0 at the last step,
            a constant, or a product with `decay` at each of `milestones`.
        milestones: for "multistep", as fractions of `steps`, increasing.
        decay: for "multistep", the factor.
        weight_decay: of all variables; added to the gradient with "adam", as in PyTorch; apart
            from it with all others (Loshchilov and Hutter, 2019).
        optimizer: one of `OPTIMIZERS`; "amsgrad" is AdamW that divides by the largest second
            moment so far (Reddi et al., 2018); "muon" makes the momentum of each matrix
            orthogonal (Jordan et al., 2024) and is NAdamW for all else, at the same rate.
        clip: largest global norm of a gradient, 0 for no limit.
        seed: of the initial variables, the order of the data and the loss's keys.
        evaluate_every: steps between evaluations; the last step has one too.
        checkpoint_every: steps between checkpoints; the last step has one too.
        ema: decay of the exponential moving average of the variables that is evaluated in
            their place, 0 for none.
        tensorboard: also write the metrics for TensorBoard.

    Raises:
        ValueError: a value is out of range; all are listed.
    """

    steps: int = 1000
    batch: int = 32
    microbatch: int = 0
    learning_rate: float = 1e-3
    warmup: int = 0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    clip: float = 1.0
    seed: int = 0
    evaluate_every: int = 100
    checkpoint_every: int = 500
    ema: float = 0.0
    tensorboard: bool = False

    def __post_init__(self):
        checks.fields(WRONG, self)
        rules = {
            name: (getattr(self, name) >= 1, "at least 1")
            for name in ("steps", "batch", "evaluate_every", "checkpoint_every")
        }
        rules |= {
            name: (getattr(self, name) >= 0, "at least 0") for name in ("weight_decay", "clip")
        }
        rules["seed"] = (0 <= self.seed < 1 << 63, "from 0 to below 2^63")
        divides = self.microbatch == 0 or (self.microbatch > 0 and not self.batch % self.microbatch)
        between = (0.0, *self.milestones, 1.0)
        rising = all(a < b for a, b in itertools.pairwise(between))
        rules |= {
            "microbatch": (divides, f"0 or a divisor of batch = {self.batch}"),
            "learning_rate": (self.learning_rate > 0, "more than 0"),
            "warmup": (0 <= self.warmup < self.steps, f"0 or more, below steps = {self.steps}"),
            "schedule": (self.schedule in SCHEDULES, f"one of {SCHEDULES}"),
            "milestones": (rising, "increasing fractions between 0 and 1"),
            "decay": (0 < self.decay <= 1, "a factor in (0, 1]"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}"),
            "ema": (0 <= self.ema < 1, "a decay in [0, 1)"),
        }
        checks.attributes(WRONG, self, rules)


def make_schedule(settings: Settings) -> optax.Schedule:
    """The learning rate as a function of the step, from 0."""
    rate, left = settings.learning_rate, settings.steps - settings.warmup
    if settings.schedule == "cosine":
        after = optax.cosine_decay_schedule(rate, left)
    elif settings.schedule == "constant":
        after = optax.constant_schedule(rate)
    else:
        at = [round(m * settings.steps) - settings.warmup for m in settings.milestones]
        # a milestone inside the warm-up counts from its end on
        factors = {max(a, 0): settings.decay ** (i + 1) for i, a in enumerate(at)}
        steps = sorted(factors)
        pieces = [optax.constant_schedule(rate * f) for f in (1.0, *(factors[s] for s in steps))]
        after = optax.join_schedules(pieces, steps)
    if not settings.warmup:
        return after
    # starts above 0: an update of size 0 would be wasted
    before = optax.linear_schedule(rate / settings.warmup, rate, settings.warmup)
    return optax.join_schedules([before, after], [settings.warmup])


class Moments(NamedTuple):
    """The state of `amsgrad`: steps, and moments like the variables."""

    count: jax.Array
    first: optax.Params
    second: optax.Params
    largest: optax.Params


def amsgrad(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam's step over the root of the largest second moment so far (Reddi et al., 2018).

    As in PyTorch the largest is that of the moments before their correction: with Optax's, of those
    after it, the first gradient's square would count for ever.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return Moments(jnp.zeros((), jnp.int32), zeros, zeros, zeros)

    def update(updates, state, params=None):
        count = state.count + 1
        first = optax.tree.update_moment(updates, state.first, b1, 1)
        second = optax.tree.update_moment(updates, state.second, b2, 2)
        largest = jax.tree.map(jnp.maximum, state.largest, second)
        mean = optax.tree.bias_correction(first, b1, count)
        square = optax.tree.bias_correction(largest, b2, count)
        step = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mean, square)
        return step, Moments(count, first, second, largest)

    return optax.GradientTransformation(init, update)


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Clipping, then the optimiser on the schedule."""
    rate, decay, parts = make_schedule(settings), settings.weight_decay, []
    if settings.clip:
        parts.append(optax.clip_by_global_norm(settings.clip))
    if settings.optimizer == "adamw":
        parts.append(optax.adamw(rate, weight_decay=decay))
    elif settings.optimizer == "amsgrad":
        parts += [amsgrad(), optax.add_decayed_weights(decay)]
        parts.append(optax.scale_by_learning_rate(rate))
    elif settings.optimizer == "muon":
        parts.append(
            optax.contrib.muon(
                rate, consistent_rms=RMS, weight_decay=decay, adam_weight_decay=decay
            )
        )
    else:
        parts += [optax.add_decayed_weights(decay), optax.adam(rate)]
    return optax.chain(*parts)

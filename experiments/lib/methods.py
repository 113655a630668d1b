"""Methods and presets: the lines of an experiment's tables, and how large it is.

Method("gmn", {"layers": 3}).sized(width=48).train(1500, microbatch=4)
Preset({"mean": Method(compute=mean), "gmn": ...}, "20 minutes on 2 CPU cores")
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments.lib import settings
from experiments.lib.settings import Setting
from wsjax import encoders
from wsjax.encoders import Encoder
from wsjax.encoders.registry import encoder_class
from wsjax.tasks.regression import Objective
from wsjax.training import Settings

RECORDED = {"permute": "renumber", "phase": "turn"}  # fields -> their keys in records

Objectives = Any  # a frozen dataclass of one of the tasks, such as `regression.Objective`


@dataclasses.dataclass(frozen=True)
class Method:
    """An encoder with its head and its training; or a computation without training.

    Attributes:
        encoder: a key of `ENCODERS`, or "module:Class"; None if there is a `compute` instead.
        settings: of the encoder, where they differ from its defaults.
        head: widths of the head's layers, see `wsjax.tasks.fit`.
        objective: minimised in training.
        training: its settings.
        words: difference from other methods, for tables.
        paper: the published figure, for tables.
        compute: in place of training, from arguments of the experiment, mostly those of
            `baselines.Compute`.
        epochs: passes over the training networks that replace the steps of `training`, see `over`;
            0 for none.
        rates: learning rates to choose from by the validation R2, see `sweeps`; that of `training`
            if empty.
    """

    encoder: str | None = None
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    head: tuple[int, ...] = (512, 512)
    objective: Objectives = Objective()
    training: Settings = Settings()
    words: str = ""
    paper: str = "–"
    compute: Callable | None = None
    epochs: int = 0
    rates: tuple[float, ...] = ()

    def train(self, steps: int, evaluations: int = 12, **changes: object) -> "Method":
        """The method trained for so many steps, whatever its epochs were.

        Args:
            steps: updates.
            evaluations: on the validation split, and as many checkpoints.
            changes: of other fields of `training`.
        """
        every = dict.fromkeys(("evaluate_every", "checkpoint_every"), max(1, steps // evaluations))
        training = dataclasses.replace(self.training, steps=steps, **every | changes)
        return dataclasses.replace(self, training=training, epochs=0)

    def over(self, networks: int) -> "Method":
        """The method with the steps of its epochs, if it has any: an evaluation after each.

        A warm-up of more than a tenth of them is cut to that.

        Args:
            networks: of the training split; those that do not fill a batch are left out.
        """
        if not self.epochs:
            return self
        epoch = max(1, networks // self.training.batch)
        every = {"evaluate_every": epoch, "checkpoint_every": epoch * max(1, self.epochs // 12)}
        steps = epoch * self.epochs
        warmup = min(self.training.warmup, steps // 10)
        training = dataclasses.replace(self.training, steps=steps, warmup=warmup, **every)
        return dataclasses.replace(self, training=training)

    def sized(self, **changes: object) -> "Method":
        """The method with other settings of its encoder."""
        return dataclasses.replace(self, settings={**self.settings, **changes})

    def aimed(self, **changes: object) -> "Method":
        """The method with other fields of its objective."""
        return dataclasses.replace(self, objective=dataclasses.replace(self.objective, **changes))

    def seeded(self, seed: int) -> "Method":
        """The method with the seed of its training, if it is trained."""
        training = dataclasses.replace(self.training, seed=seed)
        return dataclasses.replace(self, training=training) if self.encoder else self

    def available(self) -> dict[str, Setting]:
        """Its settings as "part.field"; of training without the seed, which `--seeds` gives."""
        if self.encoder is None:
            return {}
        parts = {"training": Settings, "objective": type(self.objective)}
        named = {k: settings.fields(v, ("seed",)) for k, v in parts.items()}
        named["encoder"] = settings.fields(encoder_class(self.encoder))
        return {f"{part}.{k}": v for part, fields in named.items() for k, v in fields.items()}

    def override(self, changes: Mapping[str, str]) -> "Method":
        """The method with those of the changes, "part.field" -> text, that it has a setting for.

        Raises:
            ValueError: a text is not of the setting's type, or a value is out of range.
        """
        parts: dict[str, dict] = {"training": {}, "objective": {}, "encoder": {}}
        for key, setting in self.available().items():
            if key in changes:
                part, field = key.split(".")
                try:
                    parts[part][field] = settings.parse(changes[key], setting.type)
                except ValueError as error:
                    raise ValueError(
                        f"{key}: expected {settings.name(setting.type)} such as "
                        f"{settings.show(setting.default)}, got {changes[key]!r} ({error})"
                    ) from None
        method = self.sized(**parts["encoder"]).aimed(**parts["objective"])
        return dataclasses.replace(
            method,
            training=dataclasses.replace(self.training, **parts["training"]),
            epochs=0 if "steps" in parts["training"] else self.epochs,
            rates=() if "learning_rate" in parts["training"] else self.rates,
        )

    def build(self) -> Encoder:
        """The encoder; raises as `wsjax.encoders.build`."""
        return encoders.build(self.encoder or "", self.settings)

    def config(self) -> dict:
        """As JSON, with the encoder's defaults written out, for records and checkpoints."""
        if self.encoder is None:
            return {}
        defaults = {k: v.default for k, v in settings.fields(encoder_class(self.encoder)).items()}
        if unknown := sorted(set(self.settings) - set(defaults)):
            raise ValueError(f"{self.encoder} has the settings {sorted(defaults)}, got {unknown}")
        objective = dataclasses.asdict(self.objective)
        return {
            "encoder": self.encoder,
            "encoder_settings": {**defaults, **self.settings},
            "head": list(self.head),
            "objective": {RECORDED.get(k, k): v for k, v in objective.items()},
            "training": dataclasses.asdict(self.training),
            **({"rates": list(self.rates)} if self.rates else {}),
        }


@dataclasses.dataclass(frozen=True)
class Preset:
    """How large an experiment is.

    Attributes:
        methods: all there are, by name.
        cost: in words.
        zoos: name -> recipe; none where the command line names them.
        sizes: split -> networks of a zoo of sines, or share of the runs of one of classifiers.
        seeds: runs of each method.
        learns: names of the zoos to learn from, one by one; all if empty.
        default: names of the methods that run if none is named; all if empty.
        directions: name of a direction -> its methods, where these differ from one direction to
            another; others are left out then.
    """

    methods: Mapping[str, Method]
    cost: str
    zoos: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sizes: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seeds: int = 1
    learns: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    directions: Mapping[str, Mapping[str, Method]] = dataclasses.field(default_factory=dict)

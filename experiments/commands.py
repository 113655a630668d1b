"""What the experiments' command lines share: flags made from dataclasses, and rows run once.

    --training.steps 100  --objective.invariance 0.1  --encoder.chunk 8

Each field of `training.Settings`, `prediction.Objective` and of every encoder is a flag; an
unknown one, or one that no selected row has, is an error.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping

from wsjax import prediction, training
from wsjax.encoders import ENCODERS
from wsjax.prediction import Objective
from wsjax.training import Settings

ROOTS = ("training", "objective", "encoder")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: an encoder with its head, and how they are trained.

    Attributes:
        encoder: a key of `ENCODERS`.
        settings: of the encoder, where they differ from its defaults.
        head: widths of the regressor's hidden layers.
        objective: what is minimised.
        training: how.
        words: what sets the row apart, for tables.
        paper: the paper's number, for tables.
    """

    encoder: str
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    head: tuple[int, ...] = (512, 512)
    objective: Objective = Objective()
    training: Settings = Settings()
    words: str = ""
    paper: str = "–"

    def override(self, changes: Mapping[str, object]) -> "Row":
        """The row with "part.field" settings replaced, where it has them."""
        row = self
        for flag, value in changes.items():
            part, field = flag.split(".")
            if part == "encoder":
                if field in ENCODERS[self.encoder].__dataclass_fields__:
                    row = dataclasses.replace(row, settings={**row.settings, field: value})
            else:
                new = dataclasses.replace(getattr(row, part), **{field: value})
                row = dataclasses.replace(row, **{part: new})
        return row

    def config(self) -> dict:
        """As JSON, with the encoder's defaults written out."""
        fields = ENCODERS[self.encoder].__dataclass_fields__.values()
        settings = {f.name: f.default for f in fields if f.name not in ("parent", "name")}
        if strange := sorted(set(self.settings) - set(settings)):
            raise ValueError(f"{self.encoder} has the settings {sorted(settings)}, got {strange}")
        return {
            "encoder": self.encoder,
            "encoder_settings": {**settings, **self.settings},
            "head": list(self.head),
            "objective": dataclasses.asdict(self.objective),
            "training": dataclasses.asdict(self.training),
        }


def _fields() -> dict[str, object]:
    """Every flag and its default."""
    found = {f"training.{f.name}": f.default for f in dataclasses.fields(Settings)}
    found |= {f"objective.{f.name}": f.default for f in dataclasses.fields(Objective)}
    for encoder in ENCODERS.values():
        for f in dataclasses.fields(encoder):
            if f.name not in ("parent", "name"):
                found[f"encoder.{f.name}"] = f.default
    return found


def _reader(default):
    """Reads a flag's text as the type of its default."""
    if isinstance(default, bool):
        words = {"true": True, "false": False}

        def boolean(text):
            if text not in words:
                raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
            return words[text]

        return boolean
    if isinstance(default, tuple):
        return lambda text: tuple(int(x) for x in text.split(","))
    return type(default)


def parser(name: str, about: str, presets: Iterable[str]) -> argparse.ArgumentParser:
    """A command line with the flags every experiment has."""
    shape = argparse.RawDescriptionHelpFormatter
    out = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=shape,
        allow_abbrev=False,
    )
    out.add_argument("--preset", choices=list(presets), default="laptop")
    out.add_argument("--rows", default="", help="comma-separated; all for every row there is")
    out.add_argument("--seeds", type=int, default=0, help="how many; the preset's if 0")
    out.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs"))
    out.add_argument("--results", type=pathlib.Path, help="where records go, if not the usual")
    group = out.add_argument_group("settings of the selected rows")
    for flag, default in _fields().items():
        group.add_argument(f"--{flag}", type=_reader(default), default=None, metavar="VALUE")
    return out


def changes(options: argparse.Namespace) -> dict[str, object]:
    """The "part.field" settings given on the command line."""
    return {k: v for k, v in vars(options).items() if "." in k and v is not None}


def select(names: str, default: Iterable[str], rows: Iterable[str]) -> list[str]:
    """The rows a `--rows` flag asks for.

    Raises:
        SystemExit: one of them does not exist.
    """
    rows = list(rows)
    chosen = list(default) if not names else rows if names == "all" else names.split(",")
    if strange := sorted(set(chosen) - set(rows)):
        raise SystemExit(f"expected rows of {rows}, got {strange}")
    return chosen


def apply(rows: Mapping[str, Row | None], given: Mapping[str, object]) -> dict[str, Row | None]:
    """The rows with the command line's settings; None stands for one without settings.

    Raises:
        SystemExit: a setting fits none of the rows, or has a value that none accepts.
    """
    for flag in given:
        part, field = flag.split(".")
        if not any(
            row and (part != "encoder" or field in ENCODERS[row.encoder].__dataclass_fields__)
            for row in rows.values()
        ):
            raise SystemExit(f"--{flag}: none of the rows {list(rows)} has this setting")
    try:
        return {name: row and row.override(given) for name, row in rows.items()}
    except ValueError as error:
        raise SystemExit(str(error)) from None


def fingerprint(config: Mapping) -> str:
    """Eight letters that tell one configuration from another."""
    text = json.dumps(config, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def finished(folder: pathlib.Path) -> dict | None:
    """The record of a run that was completed here before."""
    path = folder / "record.json"
    return json.loads(path.read_text()) if path.exists() else None


def finish(folder: pathlib.Path, record: Mapping) -> None:
    """Marks a run as completed; never half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "record.json.part"
    part.write_text(json.dumps(record, indent=1))
    os.replace(part, folder / "record.json")


def setup(folder: pathlib.Path) -> None:
    """Keeps compiled programs between runs, under `folder`."""
    training.compilation_cache(folder / "cache" / "xla")


def size(model: prediction.Model) -> tuple[int, int]:
    """Numbers of parameters: of the encoder, and with its head."""
    import jax

    count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))  # noqa: E731
    params = model.variables["params"]
    return count(params.get("encoder", {})), count(params)

"""How papers obtained their numbers, and the footnotes on how records differ.

    PROTOCOL = Protocol("the published zoos", networks=12_000, epochs=300, batch=64)
    of_data(PROTOCOL.of(record), record)     [("320 training networks", "12,000"), ...]
    notes.mark(both(...))                    " ¹", the number of the footnote that states them

Tables compare a protocol with the settings that a record holds, so that no footnote is typed for
a run.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
NEAR = 0.05  # relative difference of sizes that is none

Difference = tuple[str, str]  # ours, the paper's


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a paper obtained its numbers; 0 or "" where it is silent.

    Attributes:
        data: the networks that its models learn from and are tested on, in words.
        networks: for training.
        epochs: passes over them.
        steps: updates, where these are stated and not epochs.
        batch: networks in an update.
        parameters: of a model with its head.
        words: any other difference, in words.
        methods: method -> fields that are others for it, and for those named after it, such as
            "sne" for "sne_chunk_8".
        zoos: beginning of a training zoo's name -> fields that are others for it; its `methods`
            add to the others'.
    """

    data: str = ""
    networks: int = 0
    epochs: int = 0
    steps: int = 0
    batch: int = 0
    parameters: int = 0
    words: str = ""
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    zoos: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def of(self, run: Mapping) -> "Protocol":
        """The protocol of a record's method and training zoo."""
        here = self
        for beginning, changes in self.zoos.items():
            if run.get("train_zoo", "").startswith(beginning):
                more = changes.get("methods", {})
                methods = {k: {**here.methods.get(k, {}), **more.get(k, {})} for k in more}
                fields = {**changes, "methods": {**here.methods, **methods}}
                here = dataclasses.replace(here, **fields)
        named = [k for k in here.methods if f"{run['row']}_".startswith(f"{k}_")]
        return dataclasses.replace(here, **here.methods[max(named, key=len)] if named else {})


def of_data(theirs: Protocol, run: Mapping) -> list[Difference]:
    """How a record's networks differ from the paper's, by `Protocol.of` the record."""
    zoos, count = run["config"].get("zoos", {}), run["config"]["sizes"]["train"]
    published, found = [z for z in zoos.values() if "published" in z], []
    if theirs.data and len(published) < max(1, len(zoos)):
        found.append(("networks of our own", theirs.data))
    if any(z.get("splits") == "shuffled" for z in published):
        found.append(("other splits", "those published"))
    if theirs.networks and _differ(count, theirs.networks):
        found.append((f"{count:,} training networks", f"{theirs.networks:,}"))
    return found


def of_training(theirs: Protocol, runs: Sequence[Mapping]) -> list[Difference]:
    """How a method's records differ from the paper in training, by `Protocol.of` the first."""
    found, first = [], runs[0]
    if first["steps"]:
        steps, batch = first["steps"], first["config"]["training"]["batch"]
        passes = [r["steps"] * batch / r["config"]["sizes"]["train"] for r in runs]
        stated, done = (theirs.epochs, passes) if theirs.epochs else (theirs.steps, [steps])
        other = stated and any(_differ(x, stated) for x in done)
        if other or (theirs.batch and batch != theirs.batch):
            words = [f"{stated:,} {'epochs' if theirs.epochs else 'steps'}"] if stated else []
            words += [f"batches of {theirs.batch}"] if theirs.batch else []
            span = " to ".join(dict.fromkeys(_passes(f(passes)) for f in (min, max)))
            found.append((f"{steps:,} steps of {batch} networks, {span} epochs", ", ".join(words)))
    return found


def of_size(theirs: Protocol, run: Mapping) -> list[Difference]:
    """How a record's model differs from the paper's in size, by `Protocol.of` the record."""
    if theirs.parameters and _differ(run["parameters"], theirs.parameters):
        return [(f"{run['parameters']:,} parameters", f"{theirs.parameters:,}")]
    return []


def _passes(epochs):
    return f"{epochs:.0f}" if epochs >= 10 else f"{epochs:.1f}"


def _differ(ours, theirs):
    return abs(ours - theirs) > NEAR * theirs


class Footnotes:
    """The footnotes of a table, each text once, by number."""

    def __init__(self):
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The raised number of the footnote with this text; nothing for no text."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return " " + str(self.texts.index(text) + 1).translate(RAISED)

    def lines(self) -> str:
        """All footnotes, in one paragraph."""
        numbered = (f"{str(i + 1).translate(RAISED)} {t}." for i, t in enumerate(self.texts))
        return " ".join(numbered)


def both(differences: Sequence[Difference]) -> str:
    """Differences in words, with both sides."""
    return "; ".join(f"{ours}, the paper: {theirs}" for ours, theirs in differences)


def theirs_alone(differences: Sequence[Difference]) -> str:
    """Differences in words, with the paper's side, where other columns of a table have ours."""
    parts = []
    for ours, theirs in differences:
        noun = re.sub(r"^[\d,]+ ", "", ours)
        parts.append(f"{theirs} {noun}" if re.fullmatch(r"[\d,]+", theirs) else theirs)
    return f"the paper: {'; '.join(parts)}" if parts else ""

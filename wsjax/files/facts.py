"""The facts of a weights file: what it holds, what was left out, what is wrong with it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.checks import counted, printable
from wsjax.files.adapters import Adapter
from wsjax.files.branches import Branch
from wsjax.files.checkpoint import Finding

Counts = tuple[tuple[str, int], ...]


class ContentError(ValueError):
    """A weights file can be opened, but its numbers are no network's.

    Attributes:
        facts: what was found out.
    """

    def __init__(self, facts: "Facts"):
        self.facts = facts
        wrong = [f.text for f in facts.findings if f.severity == "error"]
        rest = [f.text for f in facts.findings if f.kind == "branch"]
        lines = [*wrong[:20], *([f"... and {len(wrong) - 20} more"] if wrong[20:] else []), *rest]
        lines = [f"{facts.path} is not loaded:", *lines]
        super().__init__("\n  ".join(map(printable, lines)))


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """The facts of a weights file beyond its arrays.

    Attributes:
        path: as it was given.
        format: by its contents, such as "safetensors"; "" if it cannot be opened.
        branch: name of the branch that was taken; "" is the whole file.
        branches: all of them, optimisers included.
        arrays: how many weights there are, packed ones included.
        parameters: how many numbers, from shapes; each of `tied` and `copies` counts once.
        dtypes: (dtype as stored, how many parameters), most first.
        buffers: name -> integers, masks and empty arrays, which are no weights.
        packed: name -> parameters, of arrays that are quantised and not read.
        computed: name -> how, of weights that were computed from several arrays.
        tied: names of one storage.
        copies: names of equal numbers, each stored for itself.
        stripped: words of wrappers that were taken off the names.
        adapter: if it is one, else None.
        metadata: plain values beside the arrays, such as an epoch.
        findings: errors, then warnings, then notes.
    """

    path: str
    format: str
    branch: str = ""
    branches: tuple[Branch, ...] = dataclasses.field(default=(), repr=False)
    arrays: int = 0
    parameters: int = 0
    dtypes: Counts = ()
    buffers: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    packed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    computed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tied: tuple[tuple[str, ...], ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()
    stripped: tuple[str, ...] = ()
    adapter: Adapter | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    findings: tuple[Finding, ...] = ()

    def __str__(self):
        wrong = [f.text for f in self.findings if f.severity == "error"]
        mentioned = ["tied"] if self.tied else []
        clauses = [f"ERROR {x}" for x in wrong[:2]]
        clauses += [f"and {len(wrong) - 2} more errors"] if wrong[2:] else []
        if self.branches:
            types = ", ".join(t for t, _ in self.dtypes)
            parameters = counted(self.parameters, "parameter")
            clauses.append(f"{counted(self.arrays, 'array')}, {parameters} ({types})")
        if len(self.branches) > 1:
            listed = ", ".join(map(str, self.branches))
            clauses.append(f"branch {self.branch or 'whole'!r} of {listed}")
        elif self.branch:
            clauses.append(f"branch {self.branch!r}")
        clauses += [str(self.adapter)] if self.adapter else []
        clauses += [counted(len(self.buffers), "buffer")] if self.buffers else []
        clauses += [f"without {', '.join(self.stripped)}"] if self.stripped else []
        scaled = [f"{n}: {how}" for n, how in self.computed.items() if "multiplied" in how]
        clauses += [f"{scaled[0]}{', and so on' * bool(scaled[1:])}"] if scaled else []
        clauses += [f"tied: {equated(same)}" for same in self.tied[:2]]
        clauses += [f"equal by value: {equated(same)}" for same in self.copies[:2]]
        rest = [f for f in self.findings if f.severity != "error" and f.kind not in mentioned]
        clauses += [f"{f.severity}: {f.text}" for f in rest[:4]]
        clauses += [f"and {len(rest) - 4} more findings"] if rest[4:] else []
        return printable(f"{self.format or 'not opened'}: {'; '.join(clauses)}")


def equated(names: Sequence[str]) -> str:
    """Names of one array, the first few of them.

    >>> equated(["a", "b"]), equated(["a", "b", "c", "d", "e"])
    ('a = b', 'a = b = c = 2 more')
    """
    return " = ".join(names[:3]) + f" = {len(names) - 3} more" * (len(names) > 3)

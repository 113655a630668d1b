"""`inspect` and `verify`: a file listed, its structure found, its numbers read once."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsjax.checks import counted
from wsjax.files.checkpoint import FileFormatError, Finding, Limits
from wsjax.files.detection import opened
from wsjax.files.disk import BytesOf
from wsjax.files.facts import Facts
from wsjax.files.json_text import json_file
from wsjax.files.listing import by_severity, listed
from wsjax.files.loading import completed, unopened
from wsjax.files.numbers import Entry
from wsjax.inspection import reports
from wsjax.inspection.reports import ArrayReport, AxisReport, Fact
from wsjax.settings import HUGGING_FACE

if TYPE_CHECKING:
    from wsjax.recognition import Recognition

CONFIG = "config.json"  # of Hugging Face


@dataclasses.dataclass(frozen=True, eq=False)
class Inspection:
    """A weights file, as far as it can be described.

    Attributes:
        path: as it was given.
        contents: its facts as `files.describe` gives them.
        header: facts of the header, one by one.
        structure: facts of names and shapes.
        numbers: facts of the numbers.
        recognition: the structure; None if there are no arrays to recognise.
        arrays: in order of computation, then those without a place in the structure.
        axes: the hidden ones.
        findings: errors, then warnings, then notes.
    """

    path: str
    contents: Facts
    header: tuple[Fact, ...] = ()
    structure: tuple[Fact, ...] = ()
    numbers: tuple[Fact, ...] = ()
    recognition: "Recognition | None" = None
    arrays: tuple[ArrayReport, ...] = ()
    axes: tuple[AxisReport, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All of them."""
        return (*self.header, *self.structure, *self.numbers)

    @property
    def level(self) -> str:
        """Of recognition: "exact", "chained" or "opaque"; "none" without arrays to recognise."""
        return self.recognition.level if self.recognition else "none"


@dataclasses.dataclass(frozen=True)
class Verification:
    """The integrity and the structure of a weights file.

    Attributes:
        path: as it was given.
        summary: format, counts and structure in one line.
        level: of recognition, as `Inspection.level`.
        findings: errors, then warnings, then notes.
    """

    path: str
    summary: str
    level: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """Severity of the worst finding; "" if there is none."""
        return self.findings[0].severity if self.findings else ""


def inspect(
    path: str | os.PathLike,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    early: Callable[[Inspection], None] | None = None,
) -> Inspection:
    """Describes a weights file, its structure and its numbers; a damaged one as far as it goes.

    One array is in memory at a time, whatever the size of the file, with those that it is computed
    from, and one matrix for its largest singular value.

    Args:
        path: of a file, an index of shards, or a folder.
        branch: as `files.load` takes it.
        config: as `recognize` takes it. By default the `config.json` of Hugging Face in the folder
            or beside the file, where it fits; a fact then says so.
        limits: as `files.load` takes them.
        early: receives the facts of the header before the rest is found.

    Raises:
        FileNotFoundError: there is nothing at the path.
        OSError: it cannot be opened or read.
        ValueError, TypeError: there is no such branch; or the config that was given makes no
            sense, as of `recognize`.

    >>> import tempfile, numpy as np
    >>> net = {"0.weight": np.eye(3, 2, dtype="f4"), "2.weight": np.ones((1, 3), "f4")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/net.npz", **net)
    ...     report = inspect(f"{folder}/net.npz", config={"activation": "relu"})
    >>> report.level, report.arrays[0].name, report.arrays[0].axes, report.arrays[0].hidden
    ('exact', '0.weight', ('h0', 'x'), ('h0',))
    >>> report.axes[0].neurons, report.axes[0].scale, report.arrays[0].statistics.spectral
    (3, True, 1.0)
    """
    try:
        with opened(path, limits) as checkpoint:
            rows, facts = listed(checkpoint, branch)
            header = tuple(reports.of_header(facts, branch))
            if early:
                early(Inspection(str(path), facts, header))
            recognition, used, notes = _structure(rows, path, config)
            structure = (*used, *reports.of_structure(recognition)) if recognition else ()
            places = reports.places(rows, recognition)
            arrays = {name: [p.report for p in parts] for name, parts in places.items()}

            def visit(name, stored):
                arrays[name] = [p.measured(stored) for p in places[name]]

            _, facts = completed(checkpoint, rows, facts, branch, limits=limits, visit=visit)
    except (FileFormatError, ImportError) as error:
        facts = unopened(path, error)
        return Inspection(str(path), facts, findings=facts.findings)
    every = tuple(a for parts in arrays.values() for a in parts)
    return Inspection(
        str(path),
        facts,
        header,
        structure,
        tuple(reports.of_numbers(facts, every)),
        recognition,
        every,
        reports.axes(recognition) if recognition else (),
        by_severity([*facts.findings, *notes]),
    )


def verify(
    path: str | os.PathLike,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Verification:
    """The integrity and the structure of a weights file; reads every array once.

    Args:
        path: see `inspect`.
        branch: see `inspect`.
        config: see `inspect`.
        limits: see `inspect`.

    Raises:
        FileNotFoundError, OSError, ValueError, TypeError: as `inspect`.
    """
    try:
        with opened(path, limits) as checkpoint:
            rows, facts = listed(checkpoint, branch)
            recognition, _, notes = _structure(rows, path, config)
            _, facts = completed(checkpoint, rows, facts, branch, limits=limits)
    except (FileFormatError, ImportError) as error:
        facts = unopened(path, error)
        return Verification(str(path), "not opened", "none", facts.findings)
    counts = counted(facts.arrays, "array"), counted(facts.parameters, "parameter")
    summary = ", ".join((facts.format, *counts, str(recognition or "no structure")))
    level = recognition.level if recognition else "none"
    return Verification(str(path), summary, level, by_severity([*facts.findings, *notes]))


@dataclasses.dataclass(frozen=True)
class _Shaped:
    shape: tuple[int, ...]
    dtype: str


def _structure(
    rows: Sequence[Entry], path: str | os.PathLike, config: Mapping[str, Any] | None
) -> "tuple[Recognition | None, list[Fact], list[Finding]]":
    """The structure of the weights by names and shapes; the config that was found; findings."""
    from wsjax.recognition import recognize
    from wsjax.recognition.names import shapes

    weights = {e.name: _Shaped(e.shape, e.dtype) for e in rows if e.kind == "weight"}
    if not shapes(weights)[0]:
        return None, [], []
    warn = lambda text: [Finding("structure", "warning", None, text)]
    if config is None:
        try:
            beside = _config_beside(pathlib.Path(path))
            if beside is not None:
                return recognize(weights, beside), [_config(CONFIG, "beside the weights")], []
        except (ValueError, OSError) as error:
            text = f"{CONFIG} lies beside it and is not used: {error}"
            return recognize(weights), [], warn(text)
    given = [_config(", ".join(config), "as given")] if config else []
    return recognize(weights, config), given, []


def _config(text, note):
    return Fact("config", text, "read", note)


def _config_beside(path: pathlib.Path) -> dict[str, Any] | None:
    """Hugging Face's `config.json` of a folder, or of a file's; None if there is none."""
    place = (path if path.is_dir() else path.parent) / CONFIG
    if not place.is_file():
        return None
    with BytesOf(place) as file:
        found = json_file(file, CONFIG, Limits())
    return found if HUGGING_FACE & set(found) else None

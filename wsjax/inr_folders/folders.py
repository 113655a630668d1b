"""Folders of INRs classified, and INRs edited in the layout that they came in."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import checks, networks, recognition, tasks
from wsjax.checks import printable
from wsjax.inr_folders.conventions import Arrays, Convention, aligned, convention, convert, restored
from wsjax.inr_folders.conventions import canvas as canvas_of
from wsjax.inr_folders.domains import Domain, domain
from wsjax.recognition import StoredNetwork
from wsjax.tasks.classification import TrainedClassifier
from wsjax.tasks.editing import TrainedEditor, images
from wsjax.zoos import from_files, label_files

LABELS = ("class", "label", "target", "digit")  # headings of the classes in a CSV


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of the INRs of a folder.

    Attributes:
        names: of the files.
        classes: all that there are.
        probabilities: [network, class], see `TrainedClassifier.calibrated`.
        domain: of a network that is out, the class means nothing.
        images: [network, row, col, channel], rendered.
        low: the value of black in them; that of white is 1.
        theirs: convention of the files.
        labels: [network] position in `classes`, -1 where there is none; None without labels.
        skipped: files that are not classified, and why.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    domain: Domain
    images: np.ndarray
    low: float
    theirs: Convention
    labels: np.ndarray | None
    skipped: tuple[tuple[str, str], ...]

    @property
    def predicted(self) -> np.ndarray:
        """[network], position of the likeliest class."""
        return self.probabilities.argmax(-1)

    @property
    def reliable(self) -> np.ndarray:
        """[network] bool, those that are not out of the domain."""
        return np.array([x != "out" for x in self.domain.verdicts], bool)

    def accuracy(self, unreliable: bool = False) -> tuple[float, int]:
        """Share of the labelled networks that are classified as labelled, and of how many.

        Args:
            unreliable: whether those out of the domain count, too.

        Returns:
            NaN and 0 of none.
        """
        if self.labels is None:
            return float("nan"), 0
        among = (self.reliable | unreliable) & (self.labels >= 0)
        right = (self.predicted == self.labels)[among]
        return (float(right.mean()) if right.size else float("nan")), int(among.sum())


def classify(
    folder: str | os.PathLike,
    trained: TrainedClassifier | str | os.PathLike,
    *,
    labels: str | os.PathLike | None = None,
    theirs: Convention | Callable[[Convention], Convention] | None = None,
    branch: str | None = None,
) -> Classes:
    """Classifies the INRs of a folder by their weights.

    Args:
        folder: of weights files of any format, see `zoos.from_files.read_folder`.
        trained: a classifier of INRs; or its folder, or the name of a pretrained one.
        labels: a CSV with a column "class" (or "label"): names of classes, or their positions.
        theirs: convention of the files, or a function that gives it from the classifier's; the
            classifier's own if None.
        branch: of all files, as `files.load` takes it.

    Raises:
        OSError: there is no such folder, or a file cannot be read.
        ValueError: no file can be classified; this is no classifier of INRs; or labels are wrong.
    """
    model: TrainedClassifier = _restored(trained, TrainedClassifier, "classifier")
    spec, classes = model.specs[0], model.task.classes
    ours, canvas = convention(model), canvas_of(model)
    theirs = ours if theirs is None else theirs(ours) if callable(theirs) else theirs
    table = None if labels is None else label_files.read(labels)
    config = {"activation": "sin", "omega": theirs.omega, "chain": True}
    read = from_files.read_folder(folder, config=config, branch=branch, mixed=True)
    vectors, names, skipped = [], [], list(read.skipped)
    for i, name in enumerate(read.names):
        own = read.zoo.specs[read.zoo.which[i]]
        try:
            params = aligned(networks.unravel(read.zoo.vectors[i, : own.count], own), own, spec)
        except ValueError as error:
            skipped.append((name, str(error)))
            continue
        vectors.append(networks.ravel(convert(params, theirs, ours), spec))
        names.append(name)
    if not names:
        name, why = skipped[0]
        raise ValueError(
            f"no INR in {printable(folder)} can be classified; {printable(name)}: {why}"
        )
    stack = np.stack(vectors)
    listed = [*names, *(name for name, _ in skipped)]
    numbers = None if table is None else _labels(table, listed, classes)[: len(names)]
    rendered = images(stack, spec, canvas)
    return Classes(
        tuple(names), tuple(classes), model.predict(stack, spec),
        domain(stack, rendered, model), rendered, ours.low, theirs, numbers, tuple(skipped),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Edited:
    """INRs changed by an editor.

    Attributes:
        names: of the files, as given.
        arrays: for each file, its arrays by the names, in the layout and dtype that they had.
        domain: of the networks before.
        before: [network, row, col, channel], rendered.
        after: likewise.
        low: the value of black in them; that of white is 1.
        theirs: convention of the files.
    """

    names: tuple[str, ...]
    arrays: tuple[Mapping[str, np.ndarray], ...]
    domain: Domain
    before: np.ndarray
    after: np.ndarray
    low: float
    theirs: Convention


def edit(
    files: Sequence[str | os.PathLike],
    editor: TrainedEditor | str | os.PathLike,
    *,
    theirs: Convention | Callable[[Convention], Convention] | None = None,
    branch: str | None = None,
) -> Edited:
    """Changes INRs by an editor, each in the layout and by the convention that it came in.

    Args:
        files: weights files of any format.
        editor: trained; or its folder, or the name of a pretrained one.
        theirs: convention of the files, or a function that gives it from the editor's; the
            editor's own if None.
        branch: of all files, as `files.load` takes it.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no file; one is no network of the editor's architecture; or this is no
            editor. Every file that is wrong is named.
    """
    model: TrainedEditor = _restored(editor, TrainedEditor, "editor")
    spec, ours, canvas = model.specs[0], convention(model), canvas_of(model)
    theirs = ours if theirs is None else theirs(ours) if callable(theirs) else theirs
    config = {"activation": "sin", "omega": theirs.omega, "chain": True}
    found: list[tuple[str, StoredNetwork, Arrays]] = []
    wrong = []
    for path in files:
        try:
            stored = recognition.read(path, branch, config)
            found.append((str(path), stored, aligned(stored.params, stored.spec, spec)))
        except ValueError as error:
            wrong.append(f"{printable(path)}: {str(error).removeprefix(f'{path}: ')}")
    checks.raise_all("cannot edit", wrong)
    if not found:
        raise ValueError("expected files to edit, got none")
    before = np.stack([networks.ravel(convert(p, theirs, ours), spec) for _, _, p in found])
    after = np.asarray(model.edit(before, spec))
    arrays = []
    for (_, stored, _), vector in zip(found, after, strict=True):
        params: Any = networks.unravel(np.asarray(vector), spec)
        params = convert(params, ours, theirs)
        own = stored.recognition.packing.unpack(restored(params, stored.spec, spec))
        arrays.append({
            name: own[name].astype(a.dtype) if name in own else a
            for name, a in stored.stored.items()
        })  # fmt: skip
    rendered = images(before, spec, canvas)
    return Edited(
        tuple(name for name, _, _ in found), tuple(arrays), domain(before, rendered, model),
        rendered, images(after, spec, canvas), ours.low, theirs,
    )  # fmt: skip


def _restored(trained: Any, kind: type, noun: str) -> Any:
    if not isinstance(trained, tasks.Trained):
        trained = tasks.restore(trained)
    if not isinstance(trained, kind):
        raise ValueError(f"expected a trained {noun} of INRs, got {trained!r}")
    return trained


def _labels(table: label_files.LabelTable, names: Sequence[str], classes: Sequence[str]):
    """[name] position of each label in `classes`, -1 without one."""
    wanted = [c for c in table.columns if c.lower() in LABELS] or list(table.columns)
    if len(wanted) != 1:
        columns = ", ".join(map(printable, table.columns)) or "none"
        raise ValueError(f"{printable(table.path)}: expected one column 'class', got {columns}")
    positions = {c: i for i, c in enumerate(classes)}
    positions |= {str(i): i for i in range(len(classes)) if str(i) not in positions}
    numbers, wrong = np.full(len(names), -1), []
    for place, line, text in zip(
        table.places(names).tolist(), table.lines, table.columns[wanted[0]], strict=True
    ):
        word = text.strip()
        if word.lower() in label_files.MISSING:
            continue
        if word in positions:
            numbers[place] = positions[word]
        else:
            wrong.append(f"line {line}: {printable(word)!r}")
    listed = ", ".join(map(printable, classes))
    checks.raise_all(
        f"{printable(table.path)}: expected classes of {listed}, got others", wrong[:5]
    )
    return numbers

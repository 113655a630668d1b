"""A folder of anybody's weights files as a zoo: `read_folder`.

sweep/lr0.1/epoch_1.pt   -+
sweep/lr0.1/epoch_2.pt   -+- one training run       labels.csv     file, accuracy, rate
sweep/b.safetensors                                                lr0.1/epoch_2.pt, 0.93, 0.1
sweep/c/100 (Orbax)

folder = read_folder("sweep", "labels.csv", target="accuracy")
folder.zoo.select(folder.labelled)       the networks with labels; `rank` predicts the rest
"""

import collections
import dataclasses
import math
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import networks
from wsjax.checks import counted, natural, printable
from wsjax.files import FileFormatError, folders, load, opened, orbax_folders
from wsjax.networks import Spec
from wsjax.recognition import Recognition, recognize
from wsjax.symmetries.duplicates import duplicates
from wsjax.training.progress import bar
from wsjax.zoos import label_files
from wsjax.zoos.label_files import RUN, LabelTable, stem
from wsjax.zoos.zoo import Zoo

FEWEST = 20  # labelled networks, below which nothing is learned from them
BYTES, FEW = 16 << 30, 8  # of all networks, at most; how many give an estimate of all
STEP = re.compile(
    r"(?:(?:^|(?<=/))|[-_.=])(?:(?:epoch|ep|step|iter|iteration|ckpt|checkpoint|global_?step)s?"
    r"[-_=.]?\d+|(?:best|last|latest|final|init)(?=$|/))(?=$|[-_.=/])",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<=/)\d+$")
ORBAX = "_CHECKPOINT_METADATA"
PICKLES = (".pkl", ".pickle")  # which are weights files to their authors
OTHERS = (  # suffixes of files that are not opened
    *(".png", ".jpg", ".jpeg", ".gif", ".pdf", ".svg", ".csv", ".tsv", ".json", ".jsonl", ".yaml"),
    *(".yml", ".toml", ".txt", ".md", ".log", ".py", ".ipynb", ".html", ".sh"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """Networks of a folder, with what is known about each.

    Attributes:
        path: of the folder.
        zoo: the networks, in the natural order of their names; labels are NaN where a network has
            none, columns of texts are labels of 0 and 1, see `LabelTable.labels`. No splits.
        names: paths relative to the folder, one for each network of the zoo.
        labelled: [network] bool, whether the labels have a row for it.
        table: the labels as read; None without.
        skipped: weights files that could not be loaded, and why, in one line.
        others: how many other files there are.
        duplicates: names of networks that are equal up to symmetry; each group is one run.
        grouping: how networks were grouped into runs, one sentence.
        families: of the zoo's specs, such as "PyTorch CNN".
    """

    path: str
    zoo: Zoo
    names: tuple[str, ...]
    labelled: np.ndarray
    table: LabelTable | None
    skipped: tuple[tuple[str, str], ...]
    others: int
    duplicates: tuple[tuple[str, ...], ...]
    grouping: str
    families: tuple[str, ...]

    def __str__(self) -> str:
        runs = len(np.unique(self.zoo.runs))
        clauses = [f"{counted(len(self.names), 'network')} of {counted(runs, 'run')}"]
        if self.table is not None:
            clauses.append(f"{int(self.labelled.sum()):,} labelled")
        clauses += [f"{counted(len(self.skipped), 'file')} skipped"] if self.skipped else []
        clauses += [f"{counted(self.others, 'other file')}"] if self.others else []
        if self.duplicates:
            clauses.append(f"{counted(len(self.duplicates), 'group')} equal up to symmetry")
        return f"{printable(self.path)}: {', '.join(clauses)}; {self.grouping}"


def read_folder(
    folder: str | os.PathLike,
    labels: str | os.PathLike | None = None,
    *,
    target: str | None = None,
    config: Mapping[str, Any] | None = None,
    branch: str | None = None,
    mixed: bool = False,
    unlabelled: bool = True,
) -> Folder:
    """Reads every weights file of a folder and below, and finds their structure.

    A file is a weights file by its contents, or by a suffix such as ".pt"; then, if it cannot be
    loaded, it is in `skipped`. A folder of Orbax, or one with an index or shards, is one network.
    Hidden files are left out. Labels are checked before weights are read.

    Runs: a column `run` of the labels says which networks are checkpoints of one training run.
    Without one, names that differ by a step alone are one run: "RUN/epoch_3.pt", "RUN-step100.pt",
    "RUN/best.pt", "RUN/100"; every other network is a run of its own. Networks that are equal up to
    symmetry (`symmetries.duplicates`) are one run in any case: copies must not sit in two splits.

    Args:
        folder: with the files.
        labels: a CSV, see `label_files.read`; a network without a row is not labelled.
        target: the label to be predicted. Then at least `FEWEST` networks of two runs must have
            it, each a finite number, not all the same.
        config: of all networks, as `recognize` takes it.
        branch: of all files, as `files.load` takes it.
        mixed: whether architectures may differ; the zoo then has several specs.
        unlabelled: whether networks may lack a row in the labels.

    Raises:
        OSError: there is no such folder, or the labels cannot be read.
        ValueError: there is no weights file, or none that can be loaded; the architectures differ;
            labels are wrong (`LabelTable.target`, `LabelTable.places`), or too few; a `config`
            makes no sense.
    """
    path = pathlib.Path(folder)
    if not path.is_dir():
        kind = NotADirectoryError if path.exists() else FileNotFoundError
        came = "it is a file" if path.exists() else "there is none"
        raise kind(f"expected a folder of weights files at {printable(path)}, {came}")
    if target is not None and labels is None:
        raise ValueError(f"expected labels for the target {target!r}: a CSV, see `label_files`")
    table = None if labels is None else label_files.read(labels)
    if table is not None and target is not None:
        table.target(target)
    listed, others = _listed(path)
    if not listed:
        found = f"{counted(others, 'other file')} alone" if others else "it is empty"
        raise ValueError(f"expected weights files in {printable(path)}: {found}")
    places = np.zeros(0, int) if table is None else table.places(listed)
    if table is not None and not unlabelled and len(places) < len(listed):
        rest = [printable(listed[i]) for i in np.setdiff1d(np.arange(len(listed)), places)]
        raise ValueError(
            f"{printable(table.path)}: files without labels: {label_files.first(rest)}; "
            f"expected a row for each of {counted(len(listed), 'network')}"
        )
    runs, grouping = _runs(listed, table, places)
    if target is not None:
        _expect_enough(path, runs[places], grouping)
    stored, skipped = _load(path, listed, config, branch)
    if not stored:
        name, why = next(iter(skipped.items()))
        raise ValueError(
            f"none of {counted(len(listed), 'weights file')} in {printable(path)} can be loaded; "
            f"{printable(name)}: {why}"
        )
    kept = [i for i, name in enumerate(listed) if name in stored]
    names = tuple(listed[i] for i in kept)
    found = [stored[n][0] for n in names]
    specs = tuple(dict.fromkeys(r.spec for r in found))
    if len(specs) > 1 and not mixed:
        raise ValueError(_differ(path, names, found))
    labelled, values = _spread(table, places, len(listed))
    labelled, values = labelled[kept], {k: x[kept] for k, x in values.items()}
    longest = max(s.count for s in specs)
    vectors = np.zeros((len(names), longest), np.float32)
    for i, name in enumerate(names):
        vector = stored.pop(name)[1]
        vectors[i, : len(vector)] = vector
    which = np.array([specs.index(r.spec) for r in found])
    same = _duplicates(vectors, specs, which)
    runs = _united(runs[kept], same)
    if target is not None:
        _expect_enough(path, runs[labelled], grouping)
    zoo = Zoo(vectors, specs, which, values, runs)
    families = tuple(next(r.family for r in found if r.spec == s) for s in specs)
    groups = tuple(tuple(names[i] for i in group) for group in same)
    return Folder(
        str(path), zoo, names, labelled, table, tuple(skipped.items()), others, groups, grouping,
        families,
    )  # fmt: skip


def _listed(root: pathlib.Path) -> tuple[list[str], int]:
    """The weights files of a folder, relative to it in natural order, and how many others."""
    names, others = [], 0
    if orbax_folders.is_item(root) or (root / ORBAX).is_file():
        raise ValueError(
            f"{printable(root)} is one checkpoint of Orbax: expected the folder that holds several"
        )
    stack, entries = [root], 0
    while stack:
        folder = stack.pop()
        inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        entries += len(inside)
        if entries > folders.ENTRIES:
            raise ValueError(
                f"expected a folder of at most {folders.ENTRIES:,} entries, {printable(root)} has "
                "more"
            )
        files = [p for p in inside if p.is_file()]
        for p in inside:
            if p.is_dir() and not p.is_symlink() and p.name != "__pycache__":
                if _one(p):
                    names.append(p)
                else:
                    stack.append(p)
        indexed = any(p.name.endswith(folders.INDEX) for p in files)
        for p in files:
            shard = folders.SHARD.fullmatch(p.name) and indexed
            if not shard and _is_weights(p):
                names.append(p)
            else:
                others += 1
    texts = [p.relative_to(root).as_posix() for p in names]
    return sorted(texts, key=natural), others


def _one(folder: pathlib.Path) -> bool:
    """Whether a folder is one network: of Orbax, or shards."""
    if orbax_folders.is_item(folder) or (folder / ORBAX).is_file():
        return True
    if folder.name.isdecimal() and orbax_folders.items(folder):
        return True  # a step of a training run
    return any(p.name.endswith(folders.INDEX) or folders.SHARD.fullmatch(p.name)
               for p in folder.iterdir())  # fmt: skip


def _is_weights(path: pathlib.Path) -> bool:
    name = path.name.lower()
    if name.endswith((*folders.SUFFIXES, folders.INDEX, *PICKLES)):
        return not folders.BESIDE.match(name)
    if name.endswith(OTHERS):
        return False
    try:
        with opened(path) as checkpoint:
            return bool(checkpoint.arrays)
    except (FileFormatError, ImportError, OSError):
        return False


def _load(path, names, config, branch):
    """Name -> (structure, vector) of each network, and name -> reason of the others."""
    stored: dict[str, tuple[Recognition, np.ndarray]] = {}
    skipped: dict[str, str] = {}
    known: dict[Any, Recognition] = {}  # structure is found once for each set of names and shapes
    total = 0
    with bar("reading", len(names), out=sys.stderr) as display:
        for i, name in enumerate(names):
            try:
                arrays, _ = load(path / name, branch)
                key = tuple((n, a.shape, a.dtype.str) for n, a in arrays.items())
                if key not in known:
                    known[key] = recognize(arrays, config)
                vector = _vector(arrays, known[key])
            except (ValueError, OSError, ImportError) as error:
                skipped[name] = _reason(error, path / name)
                continue
            stored[name] = known[key], vector
            total += vector.nbytes
            _expect_memory(path, total, len(stored), len(names))
            if display is not None:
                display.show(i + 1, "reading", "")
    return stored, skipped


def _expect_memory(path, total, read, count):
    """Raises before all are read, if networks like the first few will not fit."""
    most = min(BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 3)
    expected = total if read < FEW else total / read * count
    if expected > most:
        raise ValueError(
            f"{counted(count, 'network')} of {printable(path)} take about {expected / 2**30:.1f} "
            f"GiB, more than the {most / 2**30:.1f} GiB that are used here: expected fewer or "
            "smaller ones"
        )


def _vector(arrays, recognition: Recognition) -> np.ndarray:
    """A network in the layout of its spec, float32."""
    params = {n: np.asarray(a).astype(np.float32) for n, a in recognition.pack(arrays).items()}
    return networks.ravel(params, recognition.spec)


def _reason(error: Exception, path: pathlib.Path) -> str:
    """An error in one line, without the file's path."""
    text = str(error).replace(f"{printable(path)}", "it").removeprefix("it: ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    text = " ".join(lines[:2]) + f" (and {len(lines) - 2} more)" * (len(lines) > 2)
    text = text.removeprefix("it is not loaded: ")
    return text if len(text) <= 240 else f"{text[:240]}..."


def _runs(names, table: LabelTable | None, places) -> tuple[np.ndarray, str]:
    """[network] run of each, and how they were found."""
    keys: list[Any] = list(names)
    if table is not None and RUN in table.columns:
        for place, run in zip(places.tolist(), table.columns[RUN], strict=True):
            if run.strip().lower() in label_files.MISSING:
                raise ValueError(
                    f"{printable(table.path)}: no run is given for {printable(names[place])}: "
                    f"expected one in each row, as there is a column {RUN!r}"
                )
            keys[place] = (RUN, run.strip())
        grouping = f"runs are those of the column {RUN!r}"
    else:
        for i, name in enumerate(names):
            run = stem(name)
            run = NUMBER.sub("", STEP.sub("", run))
            keys[i] = name if run == stem(name) else (RUN, run.strip("/-_.="))
        times = collections.Counter(keys)
        several = sum(n > 1 for n in times.values())
        grouping = "each network is a run of its own"
        if several:
            grouping = (
                "networks whose names differ by a step alone are checkpoints of one run: "
                f"{counted(several, 'such run')}"
            )
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys]), grouping


def _expect_enough(path, runs, grouping):
    if len(runs) < FEWEST:
        raise ValueError(
            f"expected at least {FEWEST} labelled networks in {printable(path)}, got {len(runs)}"
        )
    if len(np.unique(runs)) < 2:
        raise ValueError(
            f"all {len(runs)} labelled networks in {printable(path)} are of one training run "
            f"({grouping}): expected several runs, so that one can be held out; if each network "
            f"was trained for itself, a column {RUN!r} with another value in each row says so"
        )


def _spread(table: LabelTable | None, places, count):
    """Labels of rows as those of networks, NaN where there is none."""
    labelled = np.zeros(count, bool)
    labelled[places] = True
    values = {}
    for name, rows in {}.items() if table is None else table.labels().items():
        values[name] = np.full(count, np.nan, np.float32)
        values[name][places] = rows
    return labelled, values


def _duplicates(vectors: np.ndarray, specs: Sequence[Spec], which: np.ndarray) -> list[list[int]]:
    """Networks that are equal up to symmetry, those of a group in order."""
    groups = []
    for s, spec in enumerate(specs):
        members = np.flatnonzero(which == s)
        found = duplicates(vectors[members, : spec.count], spec)
        groups += [members[group].tolist() for group in found]
    return sorted(groups)


def _united(runs: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Runs, of which those that share a group are one."""
    runs = runs.copy()
    for group in groups:
        own = np.unique(runs[list(group)])
        runs[np.isin(runs, own)] = own[0]
    return runs


def _differ(path, names, found: Sequence[Recognition]) -> str:
    """An error's text that lists architectures, those of most files first."""
    members: dict[Spec, list[int]] = collections.defaultdict(list)
    for i, recognition in enumerate(found):
        members[recognition.spec].append(i)
    ordered = sorted(members.items(), key=lambda item: -len(item[1]))
    lines = [
        f"{described(spec, found[own[0]].family)}: {counted(len(own), 'file')} "
        f"({label_files.first([printable(names[i]) for i in own], 3)})"
        for spec, own in ordered[:8]
    ]
    lines += [f"... and {len(ordered) - 8} more"] if ordered[8:] else []
    return "\n  ".join([
        f"mixed architectures in {printable(path)}: expected one, got {len(ordered)}:",
        *lines,
        "keep the files of one in a folder of their own; or mixed=True (--mixed) keeps all, for "
        "encoders that read several",
    ])  # fmt: skip


def described(spec: Spec, family: str) -> str:
    """An architecture in a few words.

    >>> from wsjax import architectures
    >>> described(architectures.mlp([2, 32, 1]), "PyTorch MLP")
    'PyTorch MLP of 129 weights, kernels 2x32 32x1'
    """
    shapes = list(_kernels(spec))
    more = f" and {len(shapes) - 4} more" if shapes[4:] else ""
    first = printable(spec.arrays[0].name)
    kernels = f", kernels {' '.join(shapes[:4])}{more}" if shapes else f", first {first}"
    return f"{family} of {spec.count:,} weights{kernels}"


def _kernels(spec: Spec) -> Iterator[str]:
    for a in spec.arrays:
        if a.role == "kernel" and math.prod(spec.shape(a)) > 1:
            yield "x".join(map(str, spec.shape(a)))

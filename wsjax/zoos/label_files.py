"""A CSV of labels: one row for each network, by the name of its file.

    file,accuracy,rate,optimizer         accuracy, rate         numbers
    sweep/a.pt,0.93,0.001,adam     ->    optimizer_adam,        0 or 1, one for each text
    sweep/b.pt,0.88,0.010,sgd            optimizer_sgd

Files of spreadsheets are read as they come: with a byte order mark, semicolons or tabs, quotes,
CRLF, and decimal commas where the columns are separated by semicolons.
"""

import collections
import csv
import dataclasses
import io
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from wsjax import checks
from wsjax.checks import counted, printable

FILE, RUN = "file", "run"
BYTES, ROWS = 64 << 20, 1_000_000  # at most
WORDS = 20  # a column of more texts, such as notes, is no label
MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
_TRUTH = {"true": 1.0, "false": 0.0}
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))
_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """The rows of a CSV as texts.

    Attributes:
        path: of the file.
        files: [row], the names of files as written, each once.
        lines: [row], line numbers in the CSV, from 1.
        columns: heading -> [row] texts, without that of files.
        comma: whether numbers have decimal commas.
    """

    path: str
    files: tuple[str, ...]
    lines: tuple[int, ...]
    columns: Mapping[str, tuple[str, ...]]
    comma: bool = False

    def numbers(self, column: str) -> np.ndarray | None:
        """A column as [row] float64, NaN where it is missing; None where a text is no number.

        "true" and "false" are 1 and 0.
        """
        texts = self.columns[column]
        values = [self._number(x) for x in texts]
        return None if None in values else np.array(values, np.float64)

    def _number(self, text: str) -> float | None:
        text = text.strip()
        if text.lower() in MISSING:
            return math.nan
        if text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        if self.comma and _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            return float(text) if "_" not in text else None
        except ValueError:
            return None

    def labels(self) -> dict[str, np.ndarray]:
        """Every column that is a label, name -> [row] float32, without that of runs.

        A column of texts is one label of 0 and 1 for each of its texts, "optimizer_adam"; NaN
        where it is missing. Columns of more than `WORDS` texts are none, nor are empty ones.

        Raises:
            ValueError: a text's label has the name of a column.
        """
        out: dict[str, np.ndarray] = {}
        for name, texts in self.columns.items():
            if name == RUN:
                continue
            values = self.numbers(name)
            if values is None:
                spelled = self._spelled(name, [x.strip() for x in texts])
                if both := sorted(spelled.keys() & {*self.columns, *out}):
                    raise ValueError(
                        f"{printable(self.path)}: the texts of the column {name!r} are labels of "
                        f"the names {_listed(both)}, which others have: expected another heading"
                    )
                out |= spelled
            elif not np.isnan(values).all():
                out[name] = _single(values)
        return out

    def _spelled(self, name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
        words = sorted({x for x in texts if x.lower() not in MISSING})
        if len(words) > min(WORDS, max(2, len(texts) // 2)):
            return {}
        absent = np.array([x.lower() in MISSING for x in texts])
        each = {w: np.array([x == w for x in texts], np.float32) for w in words}
        return {f"{name}_{w}": np.where(absent, np.float32("nan"), x) for w, x in each.items()}

    def target(self, name: str) -> np.ndarray:
        """The column that is to be predicted, [row] float64; finite and different in float32.

        Raises:
            ValueError: there is no such column, a row has no finite number there, or all have the
                same in float32; rows are named.
        """
        if name not in self.columns or name == RUN:
            rest = [c for c in self.columns if c != RUN and self.numbers(c) is not None]
            raise ValueError(
                f"{printable(self.path)}: expected a column {name!r} as the target, it has "
                f"{_listed(rest) or 'no column of numbers'}"
            )
        values = [self._number(x) for x in self.columns[name]]
        wrong = [
            f"line {line}, {printable(file)}: {repr(printable(text)) if text.strip() else 'empty'}"
            for line, file, text, x in zip(
                self.lines, self.files, self.columns[name], values, strict=True
            )
            if x is None or not np.isfinite(_single(x))
        ]
        headline = (
            f"{printable(self.path)}: expected a finite number as {name!r} in each row (leave out "
            f"the rows of networks without one), got {counted(len(wrong), 'other')}"
        )
        more = [f"... and {len(wrong) - 5} more"] if wrong[5:] else []
        checks.raise_all(headline, [*wrong[:5], *more])
        numbers = np.array(values, np.float64)
        if len(numbers) and (_single(numbers) == _single(numbers[0])).all():
            raise ValueError(
                f"{printable(self.path)}: {name!r} is {numbers[0]:g} in each of "
                f"{counted(len(numbers), 'row')}: expected a target that differs"
            )
        return numbers

    def places(self, names: Sequence[str]) -> np.ndarray:
        """The network of each row, [row] int.

        A row names a file by its path below the folder, with or without the suffix, or by the last
        part of it, or by the folder that holds it alone, where that is one network.

        Args:
            names: paths of the networks, relative to their folder.

        Raises:
            ValueError: rows name no network, several, or one that another row names; each row is
                listed.
        """
        index = _index(names)
        found = [_place(file, index) for file in self.files]
        at = lambda i: f"line {self.lines[i]}, {printable(self.files[i])}"
        several = [i for i, places in enumerate(found) if len(places) > 1]
        if several:
            texts = [f"{at(i)}: {_listed([names[j] for j in found[i]])}" for i in several[:5]]
            checks.raise_all(
                f"{printable(self.path)}: expected the path of one network in each row, got "
                f"{counted(len(several), 'name')} of several",
                texts,
            )
        if lost := [i for i, places in enumerate(found) if not places]:
            example = f", such as {printable(names[0])!r}" if names else ""
            raise ValueError(
                f"{printable(self.path)}: labels without files: {counted(len(lost), 'row')} of "
                f"{len(found)} name no weights file of the folder "
                f"({first([at(i) for i in lost])}); expected paths relative to it{example}"
            )
        places = np.array([p[0] for p in found], int)
        rows = collections.defaultdict(list)
        for i, place in enumerate(places.tolist()):
            rows[place].append(i)
        twice = [[at(i) for i in same] for same in rows.values() if len(same) > 1]
        if twice:
            raise ValueError(
                f"{printable(self.path)}: duplicate names: {counted(len(twice), 'network')} in "
                f"several rows ({' and '.join(twice[0][:3])}); expected one row for each"
            )
        return places


def read(path: str | os.PathLike) -> LabelTable:
    r"""Reads a CSV of labels.

    The column of files is the one headed "file", else the first.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, no text, has no rows or no second column, a heading twice,
            or rows of another length; lines are named.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.csv")
    ...     _ = path.write_text("file;accuracy\na.pt;0,93\n")
    ...     read(path).labels()
    {'accuracy': array([0.93], dtype=float32)}
    """
    path = pathlib.Path(path)
    name = printable(path)
    if path.is_dir():
        raise ValueError(f"{name}: expected a CSV of labels, it is a folder")
    with path.open("rb") as file:
        data = file.read(BYTES + 1)
    if len(data) > BYTES:
        raise ValueError(f"{name}: expected labels of at most {BYTES >> 20} MiB, it is larger")
    encoding = next(e for mark, e in _ENCODINGS if data.startswith(mark))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{name}: expected a CSV in UTF-8, byte {error.start} is not; save it as "CSV UTF-8"'
        ) from None
    if "\0" in text:
        raise ValueError(f"{name}: expected a CSV, it is a binary file")
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=re.sub(r'"[^"]*"', "", head).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(x.strip() for x in row):
                rows.append((reader.line_num, row))
            if len(rows) > ROWS + 1:
                raise ValueError(f"{name}: expected labels of at most {ROWS:,} rows, it has more")
    except csv.Error as error:
        raise ValueError(f"{name}: line {reader.line_num} is no CSV: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"{name}: expected a heading and a row for each network, it has no rows")
    return _table(path, rows[0][1], rows[1:], delimiter == ";")


def _table(path, heading, rows, comma):
    name, heading = printable(path), [x.strip() for x in heading]
    twice = [c for c, n in collections.Counter(heading).items() if c and n > 1]
    if twice:
        raise ValueError(f"{name}: expected different headings, got {_listed(twice)} several times")
    wrong = [f"line {n} has {len(row)}" for n, row in rows if len(row) != len(heading)]
    if wrong:
        raise ValueError(
            f"{name}: expected {len(heading)} columns in each row, as in the heading; "
            f"{first(wrong)}"
        )
    at = heading.index(FILE) if FILE in heading else 0
    columns = {c: tuple(row[i] for _, row in rows) for i, c in enumerate(heading) if c and i != at}
    if not set(columns) - {RUN}:
        raise ValueError(
            f"{name}: expected a column of files and one of labels, got {_listed(heading)}"
        )
    files = tuple(row[at].strip() for _, row in rows)
    lines = tuple(n for n, _ in rows)
    if empty := [n for n, file in zip(lines, files, strict=True) if not file]:
        raise ValueError(f"{name}: no file is named in {checks.some('line', empty)}")
    return LabelTable(str(path), files, lines, columns, comma)


def _index(names: Sequence[str]) -> list[dict[str, list[int]]]:
    """Ways to name a network, strictest first: the name -> the networks it may mean."""
    ways: list[dict[str, list[int]]] = [collections.defaultdict(list) for _ in range(3)]
    for i, name in enumerate(names):
        last, parent = name.rsplit("/", 1)[-1], name.rpartition("/")[0]
        ways[0][name].append(i)
        ways[1][stem(name)].append(i)
        for other in {last, stem(last), parent} - {"", name, stem(name)}:
            ways[2][other].append(i)
    return ways


def _place(file: str, index: list[dict[str, list[int]]]) -> list[int]:
    file = file.replace("\\", "/").rstrip("/")
    while file.startswith("./"):
        file = file[2:]
    return next((way[file] for way in index if file in way), [])


def stem(name: str) -> str:
    """A file's path without the suffix of its last part, if that has letters.

    >>> stem("a/net.weights.h5"), stem("a/lr0.01"), stem("a/lr0.01.pt")
    ('a/net', 'a/lr0.01', 'a/lr0.01')
    """
    return re.sub(r"(\.weights|\.safetensors\.index)?\.(?=[a-z0-9]*[a-z])[a-z0-9]{1,12}$", "", name)


def _single(values: float | np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)


def _listed(names: Sequence[str]) -> str:
    return first([repr(printable(n)) for n in names], 12)


def first(texts: Sequence[str], most: int = 5) -> str:
    """The first of many texts, and how many more there are."""
    more = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more

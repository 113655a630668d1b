"""Logs: files of JSON lines, one object a line, each with a seal.

log = JsonLines(folder / "metrics.jsonl")       of a run, in order of step
log.write({"step": 100, "loss": 0.5})           on disk when it returns
read_lines(folder / "metrics.jsonl")            of a run that is still going on, too
append_records(path, [{"seed": 0}])             records: in any order, so that git can merge them
read_records(path)

    {"step": 100, "loss": 0.5, "seal": "f0c5c1a44d3be0b8"}

A seal is sixteen hexadecimal digits of the sha256 of the rest of its line; in the log of a run
of the line before, too, so that none can go missing between two others. Writers take turns by
a lock on the file. Each appends by one write, after cutting off the half of a line that a
killed process left.
"""

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from wsjax import storage
from wsjax.storage import SEAL, DamagedError

_LOG = logging.getLogger(__name__)


class JsonLines:
    """Appends one JSON object a line to the log of a run, each on disk when `write` returns.

    Attributes:
        path: the file; its folder is created.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends an object.

        Raises:
            ValueError: a number is NaN or infinite, which is not JSON; there is a key "seal";
                or the line has a "step" that is not after that of the line before.
            DamagedError: the line before was altered.
            OSError: it cannot be written; the file is as it was before.
        """
        line = _plain(line)
        with _locked(self.path) as (file, data):
            number, texts = data.count(b"\n"), data.split(b"\n")[-3:-1]
            seals = [_parsed(self.path, number - 1, x, True)[SEAL] for x in texts[:-1]]
            last = [_checked(self.path, number, x, *(seals or [""])) for x in texts[-1:]]
            before = last[0] if last else {SEAL: ""}
            if line.get("step", math.inf) <= before.get("step", -math.inf):
                raise ValueError(
                    f"{self.path}: expected a step after {before['step']}, got {line['step']}; "
                    "is another process writing this log?"
                )
            _append(file, _text(line, before[SEAL]))

    def truncate_after(self, step: int, logged: Collection[int] = ()) -> None:
        """Drops the lines whose "step" is greater: a resumed run writes them again.

        Args:
            step: the last that may stay.
            logged: steps whose lines must be there; at the end of a file they can go missing.

        Raises:
            DamagedError: see `read_lines`; or such a line is missing.
        """
        with _locked(self.path) as (file, data):
            lines = _verified(self.path, data, chained=True)
            if missing := sorted(set(logged) - {line["step"] for line in lines}):
                reason = f"the lines of steps {missing} are missing"
                raise _damage(self.path, len(lines) + 1, reason, True)
            kept = sum(line["step"] <= step for line in lines)  # the first: steps rise
            file.truncate(sum(len(x) + 1 for x in data.split(b"\n")[:kept]))
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All lines, see `read_lines`."""
        return read_lines(self.path)


def read_lines(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The lines that `JsonLines` wrote, without seals; [] if there is no file.

    A half-written last line does not count; it does when its newline is there.

    Raises:
        DamagedError: a line was altered, or one before it is missing; names file and line.
    """
    path = pathlib.Path(path)
    return _verified(path, _content(path), chained=True)


def append_records(path: pathlib.Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Appends those objects that are not in the file yet.

    Raises:
        ValueError: a number is NaN or infinite, which is not JSON; or there is a key "seal".
        DamagedError: see `read_records`.
        OSError: they cannot be written; the file is as it was before.
    """
    lines = [_plain(record) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as (file, data):
        present = {_seal(line) for line in _verified(path, data, chained=False)}
        _append(file, b"".join(_text(line) for line in lines if _seal(line) not in present))


def read_records(path: pathlib.Path) -> list[dict[str, Any]]:
    """The objects that `append_records` wrote, without seals; [] if there is no file.

    Raises:
        DamagedError: a line was altered, is there twice, or is half a line; names file and line.
    """
    data = _content(path)
    if data and not data.endswith(b"\n"):
        number = data.count(b"\n") + 1
        raise _damage(path, number, "half a line, which the next append cuts off", False)
    return _verified(path, data, chained=False)


def _plain(line):
    if SEAL in line:
        raise ValueError(f"expected an object without the key {SEAL!r}, got one with it")
    return storage.plain(dict(line))


def _seal(line, before=None):
    return storage.seal(line if before is None else {"line": line, "after": before})[:16]


def _text(line, before=None):
    return json.dumps({**line, SEAL: _seal(line, before)}).encode() + b"\n"


def _verified(path, data, chained):
    """The whole lines of a file's bytes, without their seals."""
    lines, before, numbers = [], "" if chained else None, {}
    for number, text in enumerate(data.split(b"\n")[:-1], 1):
        line = _checked(path, number, text, before)
        seal = line.pop(SEAL)
        if (first := numbers.setdefault(seal, number)) != number:
            raise _damage(path, number, f"it is line {first} once more", chained)
        before = seal if chained else None
        lines.append(line)
    return lines


def _checked(path, number, text, before):
    """A line that agrees with its seal, and with that of the line before unless it is None."""
    chained = before is not None
    line = _parsed(path, number, text, chained)
    if line[SEAL] != _seal({k: v for k, v in line.items() if k != SEAL}, before):
        missing = ", or one before it is missing" if chained else ""
        raise _damage(path, number, f"it was altered{missing}", chained)
    return line


def _parsed(path, number, text, chained):
    try:
        line = json.loads(text.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _damage(path, number, f"expected JSON, got {text[:40]!r}", chained) from error
    if not isinstance(line, dict) or not isinstance(line.get(SEAL), str):
        raise _damage(
            path, number, f"expected an object with a {SEAL!r}, got {text[:40]!r}", chained
        )
    return line


def _refuse(name):
    raise ValueError(f"{name} is not JSON")


def _damage(path, number, reason, chained):
    remedy = "remove the folder to start the run again" if chained else "remove the line"
    return DamagedError(f"{path}, line {number}: {reason}; restore the file or {remedy}")


def _content(path):
    """The bytes of a file that nobody is writing at the moment; none if it is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return b""
    with file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return file.read()


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[tuple[Any, bytes]]:
    """A file open to append, which no other process reads or writes, and its whole lines."""
    while True:
        with path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _current(file, path):
                continue
            file.seek(0)
            data = file.read()
            if rest := len(data) - (data.rfind(b"\n") + 1):
                _LOG.warning("%s: cut off half a line, which a killed process left", path)
                data = data[:-rest]
                file.truncate(len(data))
            yield file, data
            return


def _current(file, path):
    """False if another file has taken the name while this process waited for the lock."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _append(file, data):
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError as error:
        if error.strerror:
            error.filename = os.fspath(file.name)
        file.truncate(end)
        raise

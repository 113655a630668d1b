"""The log of a run: a file of JSON lines, one object a line, in order of step.

log = JsonLines(folder / "metrics.jsonl")
log.write({"step": 100, "loss": 0.5})       on disk when it returns
read_lines(folder / "metrics.jsonl")        of a run that is still going on, too
"""

import json
import os
import pathlib
from collections.abc import Mapping

from wsjax import storage


class JsonLines:
    """Appends one JSON object a line to a file, each on disk when `write` returns.

    A process killed while writing leaves half a line; opening the file cuts it off.

    Attributes:
        path: the file; its folder is created.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)

    def write(self, line: Mapping) -> None:
        """Appends an object.

        Raises:
            ValueError: a number is NaN or infinite, which is not JSON.
        """
        text = json.dumps(dict(line), allow_nan=False)
        with self.path.open("a") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate_after(self, step: int) -> None:
        """Drops the lines whose "step" is greater: a resumed run writes them again."""
        kept = [line for line in self.read() if line["step"] <= step]
        storage.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def read(self) -> list[dict]:
        """All lines but a half-written last one; nothing if there is no file.

        Raises:
            ValueError: a line before the last is not JSON.
        """
        return read_lines(self.path)


def read_lines(path: str | pathlib.Path) -> list[dict]:
    """Reads a file that `JsonLines` wrote, without touching it; see `JsonLines.read`."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    # A line counts when its newline is there: half of `{"step": 12}` never parses, but half
    # a file system block may end in bytes that do.
    *whole, _ = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(whole, 1):
        try:
            lines.append(json.loads(text))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected JSON, got {text[:40]!r}") from error
    return lines

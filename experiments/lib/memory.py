"""The memory that a process has had at its peak, as Linux counts it.

`resource.getrusage` begins with the peak of the process that started this one.
"""

import contextlib
import pathlib


def peak(process: str | int = "self", reset: bool = False) -> float:
    """Mebibytes of a process's memory at their peak, since it began or was last reset."""
    home = pathlib.Path(f"/proc/{process}")
    if reset:
        with contextlib.suppress(PermissionError):  # of some containers; it ever rises there
            (home / "clear_refs").write_text("5")
    lines = (home / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))

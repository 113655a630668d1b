"""Damaged and hostile weights files, read in a process of its own under caps of memory and time.

    PYTHONPATH=.:tests python tests/cases/hostile_weights.py FOLDER 1000 [FORMAT ...]

prints one JSON object: format -> what was read, and whatever is no result and none of the two
errors of `wsjax.files`. Files are those of `FORMATS`; each of their files is damaged,
and each is replaced by what is no file. Every path that Python opens meanwhile is watched.
"""

import collections
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import sys
import time

import numpy as np
from cases import weight_files
from orbax import checkpoint

from wsjax.files import ContentError, Facts, FileFormatError, describe, load


def orbax_database(folder):
    """Arrays in the chunks of one database."""
    whole = {k: v for k, v in weight_files.ARRAYS.items() if v.size}
    checkpoint.PyTreeCheckpointer().save(folder / "net", {"params": whole})
    return folder / "net"


FORMATS = weight_files.FORMATS | {"orbax database": orbax_database}
SLOW = ("orbax", "orbax database", "hdf5", "keras")  # half as many each: two of one reader
SECONDS, MEMORY = 5, 1 << 30  # of one file; beyond what the process has when it begins
EXTREMES = [
    *(struct.pack(f, n) for f in ("<I", ">I") for n in (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
    *(struct.pack(f, n) for f in ("<Q", ">Q") for n in (1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63)),
    *(struct.pack("<H", n) for n in (0, 0x7FFF, 0xFFFF)),
    *(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"9999999999", b"-1", b"1e999", b"\x1b[31m"),
]
ENTRIES = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")  # headers in a zip
HEADERS = 46  # bytes of the longest of them
WATCHED = ("open", "os.", "shutil.", "subprocess.", "socket.", "pickle.", "ctypes.dlopen", "exec")


def damaged(data, seed, count):
    """Copies of a file's bytes: those of `weight_files.mutations`, and harder ones by turns.

    The others swap two blocks, or write a number that a length field should not have: anywhere,
    in the first bytes, or into a header of a zip's entry.
    """
    rng = np.random.default_rng([seed, 1, len(data)])
    entries = [i for i in range(len(data)) if data[i : i + 4] in ENTRIES] or [0]
    for i, bad in enumerate(weight_files.mutations(data, seed, count)):
        if i // 8 % 2:  # since those come in eights
            yield bad
            continue
        bad, extreme = bytearray(data), EXTREMES[rng.integers(len(EXTREMES))]
        at = int(rng.integers(len(data)))
        match i % 4:
            case 0:
                size = int(rng.integers(1, 65))
                other = int(rng.integers(len(data)))
                a, b = bad[at : at + size], bad[other : other + size]
                bad[at : at + size], bad[other : other + size] = b, a
            case 1:
                bad[at : at + len(extreme)] = extreme
            case 2:
                at = int(rng.integers(min(len(data), 64)))
                bad[at : at + len(extreme)] = extreme
            case 3:
                at = entries[rng.integers(len(entries))] + int(rng.integers(4, HEADERS))
                bad[at : at + len(extreme)] = extreme
        yield bytes(bad)


def replaced(path, outside):
    """Puts something else in a file's place, time and again; names each."""
    data = path.read_bytes()
    other = outside / path.name
    other.write_bytes(data)
    gone = path.with_name("gone")
    kinds = {
        "nothing": lambda: None,
        "an empty file": lambda: path.write_bytes(b""),
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a device": lambda: path.symlink_to("/dev/zero"),
        "a link to itself": lambda: path.symlink_to(path.name),
        "a link to nothing": lambda: path.symlink_to(gone),
        "a link to its folder": lambda: path.symlink_to("."),
        "a hole": lambda: _hole(path, 1 << 33),
        "another format": lambda: path.write_bytes(weight_files.safetensors_of("{}")),
    }
    for name, make in kinds.items():
        path.unlink()
        make()
        yield name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else None
        path.unlink(missing_ok=True)
        path.write_bytes(data)


def _hole(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


class Watch:
    """A record of all that Python opens and runs, by audit events, while it is on.

    Attributes:
        events: those that are not reading in `folder`, or in Python's own folders.
    """

    def __init__(self):
        self.folder, self.on, self.events = "", False, collections.Counter()
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if not self.on or not event.startswith(WATCHED):
            return
        path = arguments[0] if arguments else None
        if event == "open" and isinstance(path, str | bytes | os.PathLike):
            mode, flags = arguments[1], arguments[2] or 0
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            real = os.path.abspath(os.fsdecode(path))
            own = (self.folder, sys.prefix, sys.base_prefix, "/proc/self")
            if not writes and real.startswith(own) and "w" not in (mode or ""):
                return
        elif event in ("os.listdir", "os.scandir", "os.walk", "os.fwalk"):
            if os.path.abspath(os.fsdecode(path)).startswith(self.folder):
                return
        elif event == "open" or (event == "exec" and "site-packages" in str(path)):
            return  # a descriptor
        self.events[f"{event} {str(arguments)[:200]}"] += 1


class Slow(BaseException):
    """A file took longer than it may."""


@contextlib.contextmanager
def _capped(seconds):
    def stop(*_):
        raise Slow

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def wrong(path, watch):
    """Reads a path both ways; a sentence where that ends as it must not, and how it ended."""
    outcomes = []
    for read in (describe, load):
        watch.on = True
        try:
            with _capped(SECONDS):
                facts = read(path)
            facts = facts if isinstance(facts, Facts) else facts[1]
            text = str(facts)
            outcomes.append("ERROR" not in text)
        except (FileFormatError, ContentError) as error:
            if read is describe:
                return f"describe raised {error!r:.300}", None
            text = str(error)
            outcomes.append(False)
        except FileNotFoundError as error:
            if os.path.exists(path):
                return f"{read.__name__}: {error!r:.300}", None
            text = str(error)
            outcomes.append(False)
        except (Exception, Slow) as error:
            return f"{read.__name__}: {type(error).__name__} {error!s:.300}", None
        finally:
            watch.on = False
        if any(not c.isprintable() and c != "\n" for c in text):
            return f"{read.__name__}: unprintable {text!r:.300}", None
    if outcomes[0] != outcomes[1]:
        return f"describe and load disagree: {text:.300}", None
    return None, outcomes[0]


def battery(name, home, count, watch):
    """The figures of one format."""
    folder, outside = home / "inside", home / "outside"
    folder.mkdir(), outside.mkdir()
    path = FORMATS[name](folder)
    watch.folder = str(folder)
    counts, faults = collections.Counter(), {}
    begin, slowest = time.monotonic(), 0.0

    def run(what):
        nonlocal slowest
        start = time.monotonic()
        fault, sound = wrong(path, watch)
        slowest = max(slowest, time.monotonic() - start)
        counts["faults" if fault else "sound" if sound else "errors"] += 1
        if fault:
            faults.setdefault(fault[:80], f"{what}: {fault}")

    run("as written")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    for i, file in enumerate(files):
        data = file.read_bytes()
        share = count // len(files) + (i < count % len(files))
        for j, bad in enumerate(damaged(data, i, share)):
            file.write_bytes(bad)
            run(f"{file.name}, mutation {j}")
        file.write_bytes(data)
    for file in files:
        for what in replaced(file, outside):
            run(f"{file.name}, {what}")
    return {
        **{k: counts[k] for k in ("sound", "errors", "faults")},
        "messages": list(faults.values())[:10],
        "events": list(watch.events)[:10],
        "seconds": round(time.monotonic() - begin, 2),
        "slowest": round(slowest, 3),
        "intact": wrong(path, watch) == (None, True),
    }


def main(home, count, names):
    """All formats in this process."""
    watch = Watch()
    for name in names:  # libraries are loaded before memory is capped
        (folder := home / "first" / name).mkdir(parents=True)
        load(FORMATS[name](folder))
    size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    out = {}
    for name in names:
        (folder := home / name).mkdir()
        out[name] = battery(name, folder, count // 2 if name in SLOW else count, watch)
        print(f"{name}: {out[name]}", file=sys.stderr, flush=True)
        watch.events.clear()
    watch.on = True
    with contextlib.suppress(OSError):
        open(home / "beside", "rb")  # noqa: SIM115 - that it is seen is what matters
    watch.on = False
    used = resource.getrusage(resource.RUSAGE_SELF)
    # `ru_maxrss` of a new process begins with its parent's peak
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(x for x in status.splitlines() if x.startswith("VmHWM"))
    out["control"] = {
        "events": list(watch.events),
        "megabytes": int(peak.split()[1]) >> 10,
        "cpu": round(used.ru_utime + used.ru_stime, 1),
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(FORMATS))

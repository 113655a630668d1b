"""Runs packed into a few files of limited size, to be carried to another machine.

    runs/EXPERIMENT/PRESET/RUN, ...
      --write-->  FOLDER/export.json          what lies where; sealed
                  FOLDER/runs-1f2e....tar     one run or several
                  FOLDER/runs-3d4c....tar.0   parts of a larger one
                  FOLDER/records-1.jsonl      a line for each record
      --read-->   runs/EXPERIMENT/PRESET/RUN, those that are not there or not as far

Of a finished run the best variables are packed, of another its newest checkpoint, so that it
resumes; and in both cases metrics, predictions and pictures. `export.json` is written when all
that it names is on disk, and files that it does not name any more are removed thereafter: a kill
at any moment leaves a whole export. Archives are unpacked only as the export names them, with
the sha256 that it names, and nothing but plain files below the folders of their runs.
"""

import contextlib
import hashlib
import io
import itertools
import json
import pathlib
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from experiments.lib import runs, sweeps
from wsjax import storage
from wsjax.storage import DamagedError
from wsjax.training.log import append_records, read_records

FORMAT = 1
CAP = 16_000_000  # bytes of a file
MANIFEST = "export.json"
PARTS = re.compile(r"runs-[0-9a-f]{16}\.tar(\.\d{1,4})?")
RUN = re.compile(r"\w+/\w[\w.+-]*/\w[\w.+-]*")  # experiment/preset/run
STEP = re.compile(r"0|[1-9][0-9]*")  # a checkpoint's folder


def newest(home: pathlib.Path) -> pathlib.Path | None:
    """The folder of a run's newest checkpoint; its name is the step."""
    steps = [p for p in home.iterdir() if STEP.fullmatch(p.name)] if home.is_dir() else []
    return max(steps, key=lambda p: int(p.name), default=None)


def kept(home: pathlib.Path) -> list[pathlib.Path]:
    """The files of a run that are packed, in order; empty if it has nothing to go on from."""
    done, inside = (home / "record.json").exists(), home.iterdir() if home.is_dir() else ()
    trials = [p for p in inside if newest(p) is not None]  # a learning rate each, see `sweeps`
    if not done and not trials and newest(home) is None:
        return []
    return sorted([*_files(home, done), *(file for p in trials for file in _files(p, False))])


def _progress(home):
    """How far a run or a sweep is: whether it is finished, and the steps of its checkpoints."""
    done = any((home / name).exists() for name in ("record.json", sweeps.OUTCOMES))
    inside = [p for p in home.iterdir() if p.is_dir()] if home.is_dir() else []
    steps = [int(step.name) for step in map(newest, (home, *inside)) if step is not None]
    return done, sum(steps)


def _files(home, done):
    """Those of a folder itself, and of its newest checkpoint."""
    step = newest(home)
    files = [p for p in home.iterdir() if p.is_file() and not p.name.startswith(".")]
    if step is not None:
        part = [p for p in step.rglob("*") if p.is_file()]
        items = lambda p: p.relative_to(step).parts[:-1]
        files += [p for p in part if not done or items(p)[:1] in ((), ("best",))]
    return files


def write(
    homes: Iterable[pathlib.Path],
    folder: pathlib.Path,
    out: pathlib.Path,
    about: Mapping[str, Any],
    cap: int = CAP,
) -> None:
    """Packs runs, in place of what was packed before.

    Args:
        homes: the runs' folders, each EXPERIMENT/PRESET/RUN below `folder`.
        folder: of all runs.
        out: where to; created.
        about: JSON to be kept with them.
        cap: bytes of each file at most.

    Raises:
        DamagedError: a record was altered.
        OSError: something cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    homes = sorted({home for home in homes if kept(home)})
    archives = [_store(group, folder, out, cap) for group in _groups(homes, folder, cap)]
    records = [r for home in homes for r in runs.finished(home) or ()]
    _add_records(records, out, cap)
    data = {"format": FORMAT, "archives": archives, "about": dict(about)}
    storage.write_sealed(out / MANIFEST, data)
    named = {file["name"] for archive in archives for file in archive["files"]}
    for path in out.iterdir():
        if PARTS.fullmatch(path.name) and path.name not in named:
            path.unlink()


def _groups(homes, folder, cap) -> Iterator[list[pathlib.Path]]:
    """Runs whose archive is within the cap, or one alone that is not."""
    group: list[pathlib.Path] = []
    total = 0
    for home in homes:
        size = len(_archive([home], folder))
        if group and total + size > cap:
            yield group
            group, total = [], 0
        group.append(home)
        total += size
    if group:
        yield group


def _archive(homes, folder):
    """A tar of runs, the same bytes for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in itertools.chain.from_iterable(map(kept, homes)):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            data = path.read_bytes()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _store(homes, folder, out, cap):
    """Writes an archive that is not there yet, in parts; its line of the manifest."""
    data = _archive(homes, folder)
    stem = f"runs-{hashlib.sha256(data).hexdigest()[:16]}.tar"
    parts = [data[i : i + cap] for i in range(0, len(data), cap)]
    names = [stem] if len(parts) == 1 else [f"{stem}.{i}" for i in range(len(parts))]
    files = []
    for name, part in zip(names, parts, strict=True):
        files.append({"name": name, **storage.fingerprint(part)})
        if not _same(out / name, files[-1]):
            storage.write_bytes(out / name, part)
    return {"files": files, "runs": [home.relative_to(folder).as_posix() for home in homes]}


def _same(path, file):
    expected = {k: file[k] for k in ("sha256", "bytes")}
    return path.is_file() and not path.is_symlink() and storage.fingerprint(path) == expected


def _add_records(records, out, cap):
    """Appends those that no file has, each to the last file or to a new one."""
    present = [r for path in record_files(out) for r in read_records(path)]
    new, number = [r for r in records if r not in present], max(1, len(record_files(out)))
    for record in new:
        path, size = out / f"records-{number}.jsonl", len(json.dumps(record)) + 100
        if path.exists() and path.stat().st_size + size > cap:
            number += 1
            path = out / f"records-{number}.jsonl"
        append_records(path, [record])


def record_files(out: pathlib.Path) -> list[pathlib.Path]:
    """The files of records in an export, the oldest first."""
    numbered = (out / f"records-{n}.jsonl" for n in itertools.count(1))
    return list(itertools.takewhile(pathlib.Path.exists, numbered))


def read(out: pathlib.Path, folder: pathlib.Path) -> tuple[dict[str, Any], list[str]]:
    """Unpacks the runs of an export that are not below the folder of all runs.

    A run that is there and not finished is replaced by one that is, or that has more steps.

    Args:
        out: the export.
        folder: of all runs; created.

    Returns:
        What `write` was given as `about`, and the runs of the export, EXPERIMENT/PRESET/RUN;
        both empty if there is no export.

    Raises:
        DamagedError: a file is missing or was altered, or an archive holds something else than
            plain files of its runs; names it. Archives before it are unpacked.
        LockedError: a run to be replaced is under way.
    """
    try:
        manifest = storage.read_sealed(out / MANIFEST)
    except FileNotFoundError:
        return {}, []
    except DamagedError as error:
        raise DamagedError(f"{out}: {error}") from error
    if manifest.get("format") != FORMAT:
        raise DamagedError(f"{out / MANIFEST}: expected format {FORMAT}")
    names = []
    for archive in manifest["archives"]:
        if strange := [x for x in archive["runs"] if not RUN.fullmatch(x)]:
            raise DamagedError(f"{out / MANIFEST}: expected runs, got {strange[0]!r}")
        if not all(_progress(folder / x)[0] for x in archive["runs"]):
            _unpack(_joined(archive["files"], out), archive["runs"], folder)
        names += archive["runs"]
    return manifest["about"], names


def _joined(files, out):
    parts = []
    for file in files:
        path = out / file["name"]
        if not PARTS.fullmatch(file["name"]) or not _same(path, file):
            raise DamagedError(f"{path} is missing or was altered")
        parts.append(path.read_bytes())
    return b"".join(parts)


def _unpack(data, named, folder):
    """Unpacks beside their place, so that each run is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as aside:
        for name, content in _members(data, named):
            path = pathlib.Path(aside) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.write_bytes(path, content)
        for i, name in enumerate(named):
            source, home = pathlib.Path(aside) / name, folder / name
            if not home.exists() and source.exists():
                home.parent.mkdir(parents=True, exist_ok=True)
                source.rename(home)
            elif _progress(source) > _progress(home):
                with contextlib.ExitStack() as stack:
                    for path in (home, home / "record.json", home / sweeps.OUTCOMES):
                        stack.enter_context(storage.locked(path))
                    home.rename(pathlib.Path(aside) / f"replaced-{i}")
                source.rename(home)


def _members(data, named) -> Iterator[tuple[str, bytes]]:
    """The files of an archive.

    Raises:
        DamagedError: one lies elsewhere than below the folders named, or is no plain file.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                below = pathlib.PurePosixPath(member.name)
                plain = member.type == tarfile.REGTYPE and member.sparse is None
                inside = "/".join(below.parts[:3]) in named and len(below.parts) > 3
                if not (plain and inside and ".." not in below.parts):
                    raise DamagedError(
                        f"an archive holds {member.name!r}: expected plain files of {named}"
                    )
                yield below.as_posix(), tar.extractfile(member).read()
    except tarfile.TarError as error:
        raise DamagedError(f"an archive is damaged: {error}") from error

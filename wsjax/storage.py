"""Files that are whole or absent, and in which every change is noticed.

write_bytes, write_text, write_json     all of it or nothing: beside its place, then moved
write_sealed / read_sealed              JSON with the sha256 of all its other values
fingerprint, read_same                  sha256 and size of a file's bytes; the bytes that have it
locked                                  a folder or file, for one process at a time
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from typing import Any

SEAL = "seal"


class DamagedError(ValueError):
    """A stored file is incomplete, altered, or not the one that was expected."""


class LockedError(RuntimeError):
    """Another process, or another part of this one, is writing there."""


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a file, all of it or nothing; on disk when this returns.

    Of a process that is killed meanwhile `.NAME.HOST-PID-....partial` is left, which the next
    one to write the file removes.
    """
    _remove_partial(path)
    writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = path.with_name(f".{path.name}.{writer}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # lest a crash leave the name without the bytes
        os.replace(partial, path)
    except OSError as error:
        if error.strerror:
            error.filename = os.fspath(path)  # which that of a full disk lacks
        raise
    finally:
        partial.unlink(missing_ok=True)


def _remove_partial(path):
    """Removes what processes of this host left of a file that were killed while they wrote it."""
    host = re.escape(socket.gethostname())
    name = re.compile(rf"\.{re.escape(path.name)}\.{host}-(\d{{1,9}})-[0-9a-f]{{8}}\.partial")
    for partial in path.parent.iterdir():
        if match := name.fullmatch(partial.name):
            try:
                os.kill(int(match[1]), 0)  # sends nothing
            except ProcessLookupError:
                partial.unlink(missing_ok=True)
            except PermissionError:  # it is another user's
                continue


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file in UTF-8, all of it or nothing."""
    write_bytes(path, text.encode())


def write_json(path: pathlib.Path, data: Any) -> None:
    """Writes JSON, all of it or nothing.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for.
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_sealed(path: pathlib.Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Writes JSON with a seal, the sha256 of all its other values; returns it as written."""
    sealed = plain(dict(data))
    sealed[SEAL] = seal(sealed)
    write_json(path, sealed)
    return sealed


def read_sealed(path: pathlib.Path, limit: int | None = None) -> dict[str, Any]:
    """Reads what `write_sealed` wrote.

    Args:
        path: of a plain file, no link.
        limit: bytes that the file has at most.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedError: it is a link or no file, too large, no JSON, or not as it was sealed.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):  # a pipe would never end
        raise DamagedError(f"{path.name} is missing or no plain file")
    if limit is not None and path.stat().st_size > limit:
        raise DamagedError(f"{path.name} has {path.stat().st_size} bytes, expected at most {limit}")
    try:
        data = json.loads(path.read_text("utf-8"))
        sealed = isinstance(data, dict) and data.get(SEAL) == seal(data)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise DamagedError(f"{path.name} is not JSON: {error}") from error
    if not sealed:
        raise DamagedError(f"{path.name} was altered: it does not match its own {SEAL}")
    return data


def seal(data: Mapping[str, Any]) -> str:
    """sha256 of all values of JSON data but the seal itself; a ValueError if one is NaN."""
    rest = {k: v for k, v in data.items() if k != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def plain(value: Any) -> Any:
    """The value as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, allow_nan=False))


def fingerprint(data: bytes | pathlib.Path) -> dict[str, Any]:
    """The sha256 and the size of bytes, or of a file's, which is not read at once."""
    if isinstance(data, bytes):
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    with open(data, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": data.stat().st_size}


def read_same(path: pathlib.Path, expected: Mapping[str, Any], limit: int) -> bytes:
    """The bytes of a plain file whose fingerprint is the expected one.

    Args:
        path: of a plain file, no link.
        expected: its `fingerprint`.
        limit: bytes that it has at most.

    Raises:
        DamagedError: it is missing, a link, too large or altered; names it.
    """
    if path.is_symlink() or not path.is_file():
        raise DamagedError(f"{path} is missing or no plain file")
    size = path.stat().st_size
    if size != expected["bytes"] or size > limit:
        raise DamagedError(f"{path} has {size} bytes, expected {min(expected['bytes'], limit)}")
    data = path.read_bytes()
    if fingerprint(data) != expected:
        raise DamagedError(f"{path} was altered: its sha256 is not the one recorded")
    return data


def versions(*packages: str) -> dict[str, str]:
    """The version of each package; "not installed" of one that runs from its sources alone."""
    installed = {x.name.lower() for x in importlib.metadata.distributions() if x.name}
    version = importlib.metadata.version
    return {k: version(k) if k in installed else "not installed" for k in packages}


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Holds a folder or a file for this process alone, among those that lock it too.

    The lock file, `.lock` in the folder or `.NAME.lock` beside the file, states process, host
    and time as JSON. The system drops the lock of a process that ends, so what a killed one
    left behind holds nobody up.

    Raises:
        LockedError: it is held, by this process or another; names it.
        OSError: the lock file cannot be written.
    """
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _hold(file, path, lock)
            # The holder before removes its file when it is done, maybe after we opened it.
            if not (lock.exists() and os.path.samestat(os.fstat(file), os.stat(lock))):
                continue
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "time": now}
            try:
                os.truncate(file, 0)
                os.pwrite(file, json.dumps(owner).encode(), 0)
                yield
            finally:
                with contextlib.suppress(OSError):  # gone, with its folder
                    lock.unlink()
            return
        finally:
            os.close(file)


def _hold(file, path, lock):
    """Locks an open lock file, or raises `LockedError`."""
    try:
        owner = json.loads(os.pread(file, 1000, 0))
        pid, host = int(owner["pid"]), str(owner["host"])
        words = f"process {pid} on {host} since {owner['time']}"
    except (ValueError, TypeError, KeyError):  # being written, or by a holder that was killed
        pid, host, words = 0, "", "another process"
    error = LockedError(f"{path} is in use by {words}; wait until it has ended")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise error from None
    except OSError as reason:
        if reason.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        # A file system without locks: all that is known is whether the process is alive.
        if host == socket.gethostname() and pathlib.Path(f"/proc/{pid}").exists():
            raise error from None
        if host not in ("", socket.gethostname()):
            error.add_note(f"if it has, remove {lock}")
            raise error from None

"""Files that are whole or absent; an altered one is an error."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from wsjax import storage
from wsjax.storage import DamagedError, LockedError


def test_a_file_is_written_whole_in_place_of_any_other(tmp_path):
    path = tmp_path / "a.json"
    storage.write_text(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    storage.write_json(path, {"a": [1, 2.5, None]})
    assert path.read_text() == '{\n "a": [\n  1,\n  2.5,\n  null\n ]\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path, monkeypatch, stage):
    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    path = tmp_path / "a"
    storage.write_bytes(path, b"before")
    monkeypatch.setattr(os, stage, fail)
    with pytest.raises(OSError, match=f"disk full: '{path}'"):
        storage.write_bytes(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    program = "import os, pathlib, runpy, signal, sys\nstorage = runpy.run_path(sys.argv[1])\n"
    program += "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    program += "storage['write_text'](pathlib.Path(sys.argv[2]), 'text')"
    host, path = socket.gethostname(), tmp_path / "a.json"
    killed = subprocess.run([sys.executable, "-c", program, storage.__file__, path])
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert re.fullmatch(rf"\.a\.json\.{host}-\d+-\w{{8}}\.partial", left.name)
    none = 2**22 + 1  # more than any process has
    stay = {
        *(f".a.json.{host}-{pid}-0123abcd.partial" for pid in (os.getpid(), 1)),
        f".a.json.{host}-x-{none}-0123abcd.partial",  # of another host
        f".b.json.{host}-{none}-0123abcd.partial",
    }
    for name in stay:
        (tmp_path / name).touch()
    storage.write_text(path, "text")
    assert {x.name for x in tmp_path.iterdir()} == {"a.json", *stay}


def test_json_has_no_word_for_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_every_change_of_a_sealed_file_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    sealed = storage.write_sealed(path, {"a": (1, 2), "b": {"c": "d"}})
    assert storage.read_sealed(path) == sealed
    assert sealed["a"] == [1, 2]
    text = path.read_text()
    for i, letter in enumerate(text):
        other = "0" if letter.isspace() else chr(ord(letter) ^ 1)
        path.write_text(text[:i] + other + text[i + 1 :])
        with pytest.raises(DamagedError, match=r"a\.json (was altered|is not JSON)"):
            storage.read_sealed(path)
    path.write_text(json.dumps({k: v for k, v in sealed.items() if k != "seal"}))
    with pytest.raises(DamagedError, match="was altered"):
        storage.read_sealed(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DamagedError, match="is not JSON"):
        storage.read_sealed(path)
    path.write_text("[" * 100_000)
    with pytest.raises(DamagedError, match="is not JSON"):
        storage.read_sealed(path)


def test_links_large_files_and_absent_ones_are_not_read(tmp_path):
    path = tmp_path / "a.json"
    storage.write_sealed(path, {"a": 1})
    with pytest.raises(DamagedError, match=r"has \d+ bytes, expected at most 10"):
        storage.read_sealed(path, limit=10)
    (tmp_path / "b.json").symlink_to(path)
    with pytest.raises(DamagedError, match=r"b\.json is missing or no plain file"):
        storage.read_sealed(tmp_path / "b.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DamagedError, match=r"pipe\.json is missing or no plain file"):
        storage.read_sealed(tmp_path / "pipe.json")
    with pytest.raises(FileNotFoundError):
        storage.read_sealed(tmp_path / "c.json")
    with pytest.raises(FileNotFoundError):
        storage.read_sealed(tmp_path / "c.json", limit=10)


def test_fingerprints_of_bytes_and_of_a_file_agree(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.fingerprint(b"abc") == {"sha256": sha256, "bytes": 3}
    assert storage.fingerprint(tmp_path / "a") == storage.fingerprint(b"abc")


def test_versions_name_what_is_not_installed():
    versions = storage.versions("numpy", "no-such-package")
    assert versions["no-such-package"] == "not installed"
    assert versions["numpy"][0].isdigit()


def holder(path):
    hold = "with runpy.run_path(sys.argv[1])['locked'](pathlib.Path(sys.argv[2])):\n"
    program = f"import pathlib, runpy, sys\n{hold} print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, storage.__file__, path]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    with holder(tmp_path) as other:
        other.stdout.readline()
        owner = json.loads((tmp_path / ".lock").read_text())
        assert (owner["pid"], owner["host"]) == (other.pid, socket.gethostname())
        words = f"{tmp_path} is in use by process {other.pid} on {socket.gethostname()} since"
        with pytest.raises(LockedError, match=words), storage.locked(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    assert (tmp_path / ".lock").exists()  # stale
    with storage.locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(LockedError, match=f"process {os.getpid()}"), storage.locked(tmp_path):
            pass
        with storage.locked(tmp_path / "file"):  # another thing
            assert (tmp_path / ".file.lock").exists()
    assert not list(tmp_path.iterdir())


def test_a_lock_removed_between_opening_and_locking_is_taken_anew(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def late(file, how):
        flock(file, how)
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(file)

    monkeypatch.setattr(fcntl, "flock", late)
    with storage.locked(tmp_path):
        assert len(calls) == 2
        monkeypatch.undo()
        with pytest.raises(LockedError), storage.locked(tmp_path):
            pass


def test_without_locks_of_the_file_system_the_holder_must_be_alive(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with storage.locked(tmp_path), pytest.raises(LockedError), storage.locked(tmp_path):
        pass
    for pid, host, free in (
        (os.getpid(), socket.gethostname(), False),
        (2**22 + 1, socket.gethostname(), True),  # more than any process has
        (1, "elsewhere", False),
    ):
        owner = {"pid": pid, "host": host, "time": "2026-01-01T00:00:00+00:00"}
        (tmp_path / ".lock").write_text(json.dumps(owner))
        expected = contextlib.nullcontext() if free else pytest.raises(LockedError, match=host)
        with expected, storage.locked(tmp_path):
            pass
    (tmp_path / ".lock").write_text("{")
    with storage.locked(tmp_path):
        pass

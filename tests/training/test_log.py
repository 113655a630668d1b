"""Logs: whatever happens to a line is noticed, and no process loses another's."""

import errno
import fcntl
import json
import logging
import os
import resource
import threading

import pytest

from wsjax.storage import DamagedError
from wsjax.training.log import JsonLines, append_records, read_lines, read_records

LINES = [{"step": s, "loss": 0.1 * s} for s in (10, 20, 30)]


@pytest.fixture
def path(tmp_path):
    """The log of a run, of three lines."""
    lines = JsonLines(tmp_path / "a" / "metrics.jsonl")
    for line in LINES:
        lines.write(line)
    return lines.path


@pytest.fixture
def results(tmp_path):
    """Three records."""
    append_records(tmp_path / "b" / "x.jsonl", LINES)
    return tmp_path / "b" / "x.jsonl"


def test_lines_come_back(path):
    before = path.read_bytes()
    lines = JsonLines(path)
    assert path.read_bytes() == before  # opening writes nothing
    assert lines.read() == read_lines(path) == LINES
    lines.truncate_after(20)
    assert lines.read() == LINES[:2]
    lines.write(LINES[2])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["metrics.jsonl"]
    assert read_lines(path.with_name("none")) == []


def test_lines_that_must_be_there_are_missed_at_the_end_of_a_file(path):
    JsonLines(path).truncate_after(30, [10, 30])
    assert read_lines(path) == LINES
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    words = r"metrics\.jsonl, line 3: the lines of steps \[30\] are missing; restore the file or"
    with pytest.raises(DamagedError, match=words):
        JsonLines(path).truncate_after(30, [10, 30])
    assert len(read_lines(path)) == 2
    path.unlink()
    with pytest.raises(DamagedError, match=r"line 1: the lines of steps \[10, 30\] are missing"):
        JsonLines(path).truncate_after(30, [10, 30])


def test_records_are_appended_once(results):
    before = results.read_bytes()
    append_records(results, LINES[1:])
    assert results.read_bytes() == before
    append_records(results, [{"new": (1, 2)}, LINES[0]])
    assert results.read_bytes().startswith(before)
    assert read_records(results) == [*LINES, {"new": [1, 2]}]
    assert read_records(results.with_name("none")) == []


def test_a_line_ends_in_its_seal(path, results):
    for file in (path, results):
        for line in file.read_text().splitlines():
            key, seal = list(json.loads(line).items())[-1]
            assert key == "seal"
            assert len(bytes.fromhex(seal)) == 8
    with pytest.raises(ValueError, match="without the key 'seal'"):
        JsonLines(path).write({"step": 40, "seal": ""})


@pytest.mark.parametrize("half", ['{"step": 3', '{"step": 40}', "{", "\xff"])
def test_a_half_written_last_line_is_cut_off(path, results, half, caplog):
    for file in (path, results):
        with file.open("ab") as out:
            out.write(half.encode("latin-1"))  # killed before the newline
    assert read_lines(path) == LINES
    JsonLines(path).write({"step": 40})
    assert read_lines(path) == [*LINES, {"step": 40}]
    with pytest.raises(DamagedError, match=r"x\.jsonl, line 4: half a line"):
        read_records(results)
    append_records(results, [])
    assert read_records(results) == LINES
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert "cut off half a line" in caplog.text


@pytest.mark.parametrize("read", [read_lines, read_records])
def test_every_change_is_noticed(path, results, read):
    file = path if read is read_lines else results
    data, refusals = file.read_bytes(), []
    for i, byte in enumerate(data):
        for instead in (bytes([byte ^ 1]), b"0", b""):
            file.write_bytes(data[:i] + instead + data[i + 1 :])
            try:
                found = read(file)
            except DamagedError as error:
                refusals.append(str(error))
                continue
            # a space less, or of a run's log no newline at the end
            assert found == LINES or (read is read_lines and found == LINES[:2])
    assert len(refusals) > 2.8 * len(data)
    assert all(x.startswith(f"{file}, line ") for x in refusals)
    assert all("; restore the file or remove the " in x for x in refusals)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, got b''"),
        ("[" * 100_000, r"expected JSON, got b'\[\["),
        ('{"step": NaN, "seal": "0"}', 'expected JSON, got b\'{"step": NaN'),
        ('{"step": -Infinity, "seal": "0"}', "expected JSON"),
        ('{"step": ' + "9" * 5000 + "}", "expected JSON"),
        ('{"step": 40}', "expected an object with a 'seal'"),
        ('{"step": 40, "seal": 1}', "expected an object with a 'seal'"),
        ("[1]", "expected an object with a 'seal'"),
    ],
)
def test_what_is_no_sealed_object_is_named(path, results, text, message):
    for file, read, write in (
        (path, read_lines, lambda: JsonLines(path).write({"step": 50})),
        (results, read_records, lambda: append_records(results, [])),
    ):
        with file.open("a") as out:
            out.write(text + "\n")
        with pytest.raises(DamagedError, match=rf"{file.name}, line 4: {message}"):
            read(file)
        if text:
            with pytest.raises(DamagedError, match=rf"{file.name}, line 4: {message}"):
                write()


def test_lines_that_are_doubled_moved_or_missing_are_named(path, results):
    one, two, three = path.read_text().splitlines(keepends=True)
    for lines, number in (
        ((one, three), 2), ((two, three), 1), ((one, two, two, three), 3), ((two, one, three), 1)
    ):  # fmt: skip
        path.write_text("".join(lines))
        words = f"line {number}: it was altered, or one before it is missing"
        with pytest.raises(DamagedError, match=words):
            read_lines(path)
        with pytest.raises(DamagedError, match=words):
            JsonLines(path).truncate_after(20)
    one, two, three = results.read_text().splitlines(keepends=True)
    results.write_text(two + one + three)  # as git may merge them
    assert read_records(results) == [LINES[1], LINES[0], LINES[2]]
    results.write_text(one + two + three + two)
    with pytest.raises(DamagedError, match="line 4: it is line 2 once more"):
        read_records(results)


def test_steps_rise_and_numbers_are_finite(path):
    for step in (30, 20):
        with pytest.raises(ValueError, match=f"expected a step after 30, got {step}"):
            JsonLines(path).write({"step": step})
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonLines(path).write({"step": 40, "loss": float("nan")})
    assert read_lines(path) == LINES


@pytest.mark.parametrize("stage", ["write", "fsync"])
def test_a_full_disk_leaves_the_file_as_it_was(path, results, monkeypatch, stage):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before, limits = (path.read_bytes(), results.read_bytes()), None
    if stage == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:  # ten bytes of the line fit
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[0]) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            JsonLines(path).write({"step": 40})
        with pytest.raises(OSError, match=f"No space left on device: '{results}'"):
            append_records(results, [{"step": 40}])
    finally:
        if limits:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (path.read_bytes(), results.read_bytes()) == before


def test_writers_that_open_anew_each_time_lose_nothing(tmp_path):
    path = tmp_path / "x.jsonl"

    def write(name):
        for i in range(100):
            append_records(path, [{"writer": name, "line": i}])

    writers = [threading.Thread(target=write, args=(n,)) for n in "ab"]  # each open has its lock
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read_records(path)  # is whole at any moment
    for writer in writers:
        writer.join()
    found = read_records(path)
    assert len(found) == 200
    for name in "ab":
        assert [x["line"] for x in found if x["writer"] == name] == list(range(100))


def test_a_file_that_was_replaced_is_opened_again(path, monkeypatch):
    """Whoever waits for the lock of a file that is then replaced holds one without a name."""
    lock, waited = fcntl.flock, []

    def replaced(file, how):
        if not waited:
            waited.append(how)
            path.with_name("new").write_bytes(path.read_bytes())
            path.with_name("new").rename(path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", replaced)
    JsonLines(path).write({"step": 40})
    assert read_lines(path) == [*LINES, {"step": 40}]

"""The quick part of attacks by processes and disks; and what counts as a fault there."""

import signal
import time

import pytest

from experiments.faults import disks, processes
from experiments.faults.__main__ import carry_out
from experiments.faults.launcher import Ended, launcher
from experiments.faults.processes import concluded, interruption

ATTACKS = [pytest.param(a, id=a.name) for a in (*processes.ATTACKS, *disks.ATTACKS)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_lost_or_silent(attack, tmp_path):
    figures = carry_out(attack, attack.quick, 0, tmp_path)
    log = tmp_path / "log.jsonl"
    assert figures["silent"] == figures["crashed"] == 0, log.read_text()
    assert figures["count"] == attack.quick or attack in disks.ATTACKS[:2]  # may not be mountable


def ended(code=0, err="", seconds=1.0):
    return Ended(code, "", err, seconds, 0)


def test_a_command_that_does_not_end_or_prints_a_traceback_is_at_fault(tmp_path):
    waits = launcher().start("append_lines", tmp_path / "log.jsonl", 0, 1, time.time() + 60)
    assert "no end after 0 s" in waits.wait(0.1).fault
    fails = launcher().run("command", "experiments.absent")
    assert "a traceback, exit code 1" in fails.fault
    assert concluded(fails, dict, {}).outcome == "crashed"


def test_a_command_killed_at_a_write_leaves_what_it_had_written(tmp_path):
    path = tmp_path / "log.jsonl"
    killed = launcher().run("append_lines", path, 0, 9, die_at=6)
    assert killed.code == -signal.SIGKILL
    assert 0 < path.read_bytes().count(b"\n") < 9


def test_another_result_is_silent_and_none_is_a_crash():
    assert concluded(ended(), lambda: 1, 1).outcome == "survived"
    assert concluded(ended(), lambda: 1, 2).outcome == "silent"
    assert concluded(ended(), lambda: {}["a"], 1).outcome == "crashed"
    assert concluded(ended(1, "OSError: no"), lambda: 1, 1).outcome == "crashed"


@pytest.mark.parametrize(
    ("code", "err", "fine"),
    [
        (143, "stopped; the same command continues", True),
        (-15, "", False),  # where a sentence is expected
        (1, "stopped; the same command continues", False),
        (143, "Traceback (most recent call last):\nstopped; continues", False),
        (0, "", True),  # it had ended
    ],
)
def test_a_signal_ends_a_command_with_its_code_and_a_sentence(code, err, fine):
    assert (not interruption(ended(code, err), signal.SIGTERM, sentence=True)) == fine


@pytest.mark.parametrize(
    ("code", "err", "outcome"),
    [
        (1, "OSError: no room in FOLDER", "refused"),
        (1, "OSError: no room", "crashed"),
        (1, "Traceback (most recent call last):\nOSError: FOLDER", "crashed"),
        (None, "", "crashed"),
    ],
)
def test_a_bad_disk_is_named(code, err, outcome, tmp_path):
    class Again:
        def wait(self, limit):
            return ended()

    command = disks.Command(lambda place: Again(), lambda place: "right", "right", 0)
    first = ended(code, err.replace("FOLDER", str(tmp_path)))
    assert disks._then(command, first, tmp_path, tmp_path).outcome == outcome
    (tmp_path / ".x.partial").touch()
    assert disks._then(command, first, tmp_path, tmp_path).outcome == "crashed"

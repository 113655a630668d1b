"""Workers are interrupted once, whatever they are at."""

import signal
import time

import pytest
from cases import works

from experiments.lib import workers


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert workers.job_cores(0, 9) == [3, 5]
    assert workers.job_cores(0, 1) == [3]
    assert workers.job_cores(3, 9) == [3, 5, 3]
    assert workers.job_cores(2, 0) == []


@pytest.fixture
def core():
    return workers.job_cores(1, 1)[0]


def test_a_worker_stopped_while_it_starts_ends_without_a_word(core, tmp_path, capfd):
    process = workers.start(works.wait, core, tmp_path)
    workers.stop([process])
    assert process.exitcode == 0
    assert capfd.readouterr() == ("", "")


def test_a_second_interruption_kills(core, tmp_path, capfd):
    process = workers.start(works.stay, core, tmp_path)
    while not (tmp_path / "pid").exists():
        time.sleep(0.05)

    def again(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            workers.stop([process])
    finally:
        signal.signal(signal.SIGALRM, before)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert capfd.readouterr() == ("", "")

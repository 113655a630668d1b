import os
import re
import signal
import sys

import pytest

from wsjax.training import progress


def tell():
    with progress.progress(400) as report:
        report(100, 2.0)
        report(400, 8.0)


def test_a_log_has_a_line_for_each_piece_of_a_zoo(capsys):
    tell()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "fitted 100 of 400 networks, 50.0 networks/s, 6 s left",
        "fitted 400 of 400 networks, 50.0 networks/s, 0 s left",
    ]


def test_a_terminal_has_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tell()
    printed = capsys.readouterr()
    assert printed.out == ""
    plain = re.sub(r"\x1b\[.*?[A-Za-z]", "", printed.err)  # without colours
    assert re.search(r"fitting .* 0/400 ", plain)
    assert re.search(r"fitting .* 400/400 50\.0 networks/s", plain)


def test_a_quiet_run_shows_nothing(capsys):
    with progress.report(steps=2, batch=1, select="mse", quiet=True) as report:
        report(1, {})
        report(2, {}, finished=True)
    assert capsys.readouterr() == ("", "")


def test_means_rates_and_what_is_not_finite():
    recent = progress.Recent(batch=4)
    ok = {"gradient_norm": 1.0, "learning_rate": 0.5}
    assert recent.add(1, {"loss": 1.0, **ok}) == {}
    assert recent.add(2, {"loss": 3.0, **ok})["loss"] == 1
    means = recent.take()
    assert (means["loss"], means["learning_rate"]) == (2, 0.5)
    assert means["examples_per_second"] > 0
    recent.restart()
    recent.add(3, {"loss": float("nan"), **ok})  # seen once the next step is under way
    with pytest.raises(FloatingPointError, match=r"^loss is nan at step 3$"):
        recent.add(4, {"loss": 1.0, **ok})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_acts(number):
    assert issubclass(progress.Interrupted, KeyboardInterrupt)
    came = []
    before = {n: signal.signal(n, lambda n, _: came.append(n)) for n in (2, 15)}
    try:
        with progress.interruptible() as stop:
            assert not stop
            os.kill(os.getpid(), number)
            assert stop
            assert (stop.signal, came) == (number, [])
            os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.signal, came) == (number, [signal.SIGTERM])
        with progress.interruptible():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        assert came == [signal.SIGTERM, signal.SIGINT]
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)

"""Runs in order of their worth, within a time, from machine to machine."""

import os
import pathlib
import signal

import pytest

from experiments import __main__ as listing
from experiments import reproduce
from experiments.lib import exports, records, runs, schedule
from experiments.lib.schedule import Entry
from wsjax.storage import DamagedError, LockedError
from wsjax.tasks import restore
from wsjax.tasks.regression import Regression
from wsjax.training.progress import Recent

pytestmark = pytest.mark.trains
FEW = ("--set", "training.steps=12,training.evaluate_every=6,training.checkpoint_every=6")


def entry(method, minutes=1.0, more=(), **fields):
    names = dict(experiment="inr_frequency", preset="smoke", zoo="sines") | fields
    return Entry(method=method, seed=0, gpu=minutes, cpu=minutes, more=more, **names)


TREES, MEAN, NET = entry("boosted_trees"), entry("mean"), entry("stat_nn", more=FEW)


@pytest.fixture
def call(tmp_path, monkeypatch, folder):
    """The command on entries, in folders below `tmp_path`; zoos are those of the file's folder."""
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    monkeypatch.setitem(reproduce.ZOOS, "sines", (6.0, 6.0))
    monkeypatch.setattr(reproduce, "RESERVE", 0.0)
    monkeypatch.setattr(reproduce, "PACKING", -60.0)

    def call(entries, *more, where="here", minutes=9):
        cache = tmp_path / where / "cache"
        if not cache.exists():
            (folder / "zoos").mkdir(exist_ok=True)
            cache.mkdir(parents=True)
            (cache / "zoos").symlink_to(folder / "zoos")
        flags = ["--folder", tmp_path / where, "--minutes", minutes, *more]
        reproduce.main(list(map(str, flags)), entries)

    return call


def recorded(folder):
    return {r["row"]: r for r in records.read("inr_frequency", folder / "results")}


def at_step(monkeypatch, step, act):
    """Calls a function at a step of training, once."""
    add = Recent.add

    def at(self, number, metrics):
        if number == step:
            monkeypatch.setattr(Recent, "add", add)
            act()
        return add(self, number, metrics)

    monkeypatch.setattr(Recent, "add", at)


def send(signum):
    return lambda: os.kill(os.getpid(), signum)


def test_entries_run_in_order_and_not_again(call, tmp_path, capsys):
    call([TREES, MEAN])
    out = capsys.readouterr().out
    assert out.index(f"\n{TREES.name}: ") < out.index(f"\n{MEAN.name}: ")
    assert "2 of 2 runs of this call are finished; 0 wait, and 0 more need files" in out
    assert list(recorded(tmp_path / "here")) == ["boosted_trees", "mean"]
    call([TREES, MEAN])
    assert "0 of 0 runs of this call" in capsys.readouterr().out
    call([TREES, MEAN], "--list")
    assert capsys.readouterr().out.count(" done ") == 2
    call([MEAN], "--results", tmp_path / "here" / "results", where="other")
    assert "0 of 0 runs of this call" in capsys.readouterr().out


def test_what_does_not_fit_waits_and_goes_on_in_the_rest_of_the_time(call, tmp_path, capsys):
    large = entry("boosted_trees", minutes=50.0)
    call([large, MEAN], "--list", minutes=6)
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [c[1].strip() for c in cells] == ["56.0", "7.0"]  # with the zoo
    call([large, MEAN], minutes=1.5)
    assert "0 of 0 runs of this call are finished; 2 wait" in capsys.readouterr().out
    call([large, MEAN], minutes=9)
    assert list(recorded(tmp_path / "here")) == ["mean", "boosted_trees"]


def test_it_stops_in_time_and_goes_on_elsewhere_to_the_same_record(
    call, tmp_path, monkeypatch, capsys
):
    carried = ("--export", tmp_path / "carried")
    call([NET], where="whole")
    at_step(monkeypatch, 8, send(signal.SIGALRM))  # the time is over
    call([NET, MEAN], *carried)
    out = capsys.readouterr().out
    assert "stopped in time: stopped after step 8 of 12 with a checkpoint in" in out
    assert "1 of 2 runs of this call are finished; 1 wait" in out  # the time was not over
    call([NET, MEAN], "--list", *carried, where="there")
    out = capsys.readouterr().out
    assert "step 8 of 12" in out
    assert " done " in out
    call([NET, MEAN], *carried, where="there")
    assert "1 of 1 runs of this call are finished; 0 wait" in capsys.readouterr().out
    one, other = (recorded(tmp_path / k)["stat_nn"] for k in ("whole", "there"))
    assert one["metrics"] == other["metrics"]
    assert one["config"] == other["config"]
    assert set(recorded(tmp_path / "there")) == {"stat_nn", "mean"}
    assert max(p.stat().st_size for p in (tmp_path / "carried").iterdir()) <= 16e6
    call([NET, MEAN], *carried, where="third")
    assert "0 of 0 runs of this call" in capsys.readouterr().out
    call([NET, MEAN], *carried)  # back on the first machine, where it was stopped
    assert "0 of 0 runs of this call" in capsys.readouterr().out
    assert (runs.place(tmp_path / "here", other["config"]) / "record.json").exists()
    home = runs.place(tmp_path / "third", other["config"])
    assert restore(home, Regression).config["row"] == "stat_nn"  # the best variables


def test_a_kill_loses_the_last_steps_alone(call, tmp_path, monkeypatch, capsys):
    """Without notice: the export has the entries before, the folder the last checkpoint."""

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    carried = ("--export", tmp_path / "carried")
    at_step(monkeypatch, 10, kill)
    with pytest.raises(Killed):
        call([MEAN, NET], *carried)
    assert exports.read(tmp_path / "carried", tmp_path / "other")[1] == [
        runs.place(pathlib.Path(), recorded(tmp_path / "here")["mean"]["config"]).as_posix()
    ]
    call([MEAN, NET], "--list")
    assert "step 6 of 12" in capsys.readouterr().out
    call([MEAN, NET], *carried)
    assert set(recorded(tmp_path / "here")) == {"mean", "stat_nn"}
    assert len(exports.read(tmp_path / "carried", tmp_path / "other")[1]) == 2


def test_a_zoo_is_there_when_an_entry_has_trained_on_it(call, tmp_path, monkeypatch):
    """The folder of a run may have come from an export."""
    main = reproduce.MAINS["inr_frequency"]

    def make_the_zoo(arguments):
        if "--dry-run" in arguments:
            main(arguments)
        raise KeyboardInterrupt("stopped; the zoo's finished blocks are in the cache")

    target = schedule.target(NET, main)
    home = tmp_path / "here" / "inr_frequency" / "smoke-custom" / "stat_nn-0-12345678" / "6"
    home.mkdir(parents=True)
    about = {"step": 6, "config": {**target.config, **target.methods[0]}}
    reproduce.storage.write_sealed(home / "checkpoint.json", about)
    monkeypatch.setitem(reproduce.MAINS, "inr_frequency", make_the_zoo)
    with pytest.raises(KeyboardInterrupt, match="finished blocks"):
        call([NET])
    ledger = lambda: schedule.Ledger.read(tmp_path / "here" / "reproduce.json")
    assert (ledger().begun, ledger().zoos) == ([NET.name], [])
    monkeypatch.setitem(reproduce.MAINS, "inr_frequency", main)
    call([MEAN])
    assert (ledger().ended, ledger().zoos) == ([MEAN.name], ["sines"])


def test_what_takes_no_notice_is_ended_without_a_checkpoint(call, tmp_path, monkeypatch, capsys):
    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    def wait_for_ever(plan, entry, seconds):
        plan.give_up()

    monkeypatch.setattr(os, "_exit", end)
    call([MEAN], "--export", tmp_path / "carried")
    monkeypatch.setattr(reproduce.Plan, "run", wait_for_ever)
    with pytest.raises(Ended, match=r"^0$"):
        call([MEAN, NET], "--export", tmp_path / "carried")
    assert "stopped in time, without the steps since" in capsys.readouterr().out
    assert len(exports.read(tmp_path / "carried", tmp_path / "other")[1]) == 1


def test_sigterm_packs_what_is_done_and_ends_the_call(call, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `cli.run` has one
    try:
        at_step(monkeypatch, 7, send(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match="stopped after step 7 of 12"):
            call([NET, MEAN], "--export", tmp_path / "carried")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not recorded(tmp_path / "here")
    assert len(exports.read(tmp_path / "carried", tmp_path / "other")[1]) == 1


def test_a_failure_does_not_stop_the_others(call, tmp_path):
    broken = entry("mlp", more=("--set", "training.batch=1000"))
    with pytest.raises(SystemExit) as stopped:
        call([broken, MEAN])
    words = "mlp, seed 0 failed: ValueError: expected at least a batch of 1000 examples, got 96"
    assert str(stopped.value).startswith(f"{broken.name}: {words}")
    assert set(recorded(tmp_path / "here")) == {"mean"}


def test_entries_without_their_files_are_listed_with_the_reason(call, tmp_path, capsys):
    images = entry(
        *("mlp", 1.0, ("--data", "mnist")),
        experiment="inr_classification", zoo="mnist INRs", files=("mnist",),
    )  # fmt: skip
    call([images], "--list")
    assert "needs --files with mnist" in capsys.readouterr().out
    call([images], "--files", tmp_path)
    assert "0 wait, and 1 more need files" in capsys.readouterr().out


def test_mistakes_are_one_sentence(call, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"^--device gpu: JAX finds no GPU; pip install"):
        call([MEAN], "--device", "gpu")
    with pytest.raises(SystemExit, match=r"^--only: no command has 'grit'; --list prints them"):
        call([MEAN], "--only", "grit")
    for wrong in ("0", "-1", "nan", "inf", "x"):
        with pytest.raises(SystemExit):
            call([MEAN], minutes=wrong)
        assert "expected a positive number" in capsys.readouterr().err
    with reproduce.storage.locked(tmp_path / "here" / "reproduce.json"), pytest.raises(LockedError):
        call([MEAN])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "export.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"export\.json was altered"):
        call([MEAN], "--export", tmp_path / "bad")


def test_every_entry_is_a_command_that_exists(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = [e.name for e in reproduce.ENTRIES]
    assert len(names) == len(set(names)) > 300
    assert {e.experiment for e in reproduce.ENTRIES} == set(listing.EXPERIMENTS)
    for e in reproduce.ENTRIES:
        assert e.gpu > 0
        assert e.cpu > 0
        assert e.zoo in reproduce.ZOOS
    for e in {e.kind: e for e in reproduce.ENTRIES}.values():
        target = schedule.target(e, reproduce.MAINS[e.experiment])
        assert target.config["row"] == e.method
        assert e.seed < listing.EXPERIMENTS[e.experiment][1].PRESETS[e.preset].seeds
        if target.zoos:
            assert set(e.files) == {about["data"] for about in target.zoos.values()}
        elif all(target.learns):
            assert next(iter(target.learns)).startswith(e.files)
    assert not pathlib.Path(tmp_path / "runs").exists()

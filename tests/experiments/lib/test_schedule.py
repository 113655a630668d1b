"""How far entries are, what they will take, and the end of the time."""

import contextlib
import signal
import threading
import time

import pytest

from experiments import (
    accuracy_prediction,
    cross_dataset,
    embeddings,
    generalization,
    inr_classification,
    inr_editing,
    inr_frequency,
)
from experiments.lib import cli, schedule
from experiments.lib.schedule import DONE, MISSING, NEEDS, PARTLY, Entry, Ledger
from wsjax import storage
from wsjax.storage import DamagedError
from wsjax.training.progress import interruptible

SINE = Entry("inr_frequency", "smoke", "stat_nn", 2, gpu=2.0, cpu=10.0, zoo="sines")
ZOOS = {"sines": (1.0, 4.0)}


def whole(target):
    """The config of a run."""
    return {**target.config, **target.methods[0]}


def accuracy_run(target, method, **more):
    """The config of a run on zoos of classifiers."""
    zoos = {name: {**about, "content": "1f2e"} for name, about in target.zoos.items()}
    return {**storage.plain(method.config()), **target.config, "zoos": zoos, **more}


def test_an_entry_is_its_command():
    entry = SINE._replace(more=("--set", "training.steps=5"))
    words = "inr_frequency --preset smoke --set training.steps=5 --methods stat_nn --seed"
    assert entry.name == f"{words} 2"
    assert entry.kind == f"{words} 0"
    swept = [entry._replace(seed=seed, swept=True).kind for seed in (0, 1, 2)]
    assert swept == [f"{words} {seed}" for seed in (0, 1, 1)]


def test_runs_are_known_by_their_config(tmp_path, monkeypatch):
    """Of each kind of experiment, and nothing is made for it."""
    monkeypatch.chdir(tmp_path)
    sine = schedule.target(SINE._replace(more=("--set", "training.steps=7")), inr_frequency.main)
    assert sine.learns == {"": 7}
    assert sine.methods[0]["training"]["steps"] == 7
    assert sine.methods[0]["training"]["seed"] == sine.config["seed"] == 2
    assert sine.config["preset"] == "smoke-custom"
    assert sine.config["zoo"]["networks"] == 160
    more = ("--data", "mnist", "--fit-steps", "9")
    image = Entry("inr_classification", "paper", "mlp", 0, 1, 1, "", ("mnist",), more)
    image = schedule.target(image, inr_classification.main)
    assert list(image.learns) == ["mnist.dws-steps9"]
    assert image.config["zoo"]["steps"] == 9
    edit = Entry("inr_editing", "paper", "mlp", 0, 1, 1, "", (), (*more, "--task", "contrast"))
    edit = schedule.target(edit, inr_editing.main)
    assert (list(edit.learns), edit.config["task"]) == (["mnist.dws-steps9"], "contrast")
    run = {**whole(edit), "train_zoo": "mnist.dws-steps9.contrast"}
    assert edit.covered([run])
    assert not edit.covered([{**run, "train_zoo": "cifar10.dws-steps9.contrast"}])
    assert not edit.covered([{**run, "task": "dilation"}])
    zoos = Entry("cross_dataset", "smoke", "boosted_trees", 0, 1, 1)
    zoos = schedule.target(zoos, cross_dataset.main)
    assert zoos.learns == {"digits": 0, "other": 0}
    joined = Entry("embeddings", "smoke", "statistics", 0, 1, 1)
    assert schedule.target(joined, embeddings.main).learns == {"": 0}
    assert not list(tmp_path.iterdir())
    for wrong in (
        SINE._replace(method="gpt"),
        SINE._replace(preset="huge"),
        SINE._replace(more=("--no-such-flag", "1")),
        SINE._replace(more=("--set", "training.speed=1")),
    ):
        with pytest.raises(SystemExit) as error:
            schedule.target(wrong, inr_frequency.main)
        assert not isinstance(error.value, cli.Listed)


def test_a_record_counts_if_its_config_is_the_very_same():
    target = schedule.target(SINE, inr_frequency.main)
    config = whole(target) | {"extra": 1}
    assert target.covered([config])
    for key in ("seed", "preset", "training", "encoder_settings", "zoo"):
        assert not target.covered([{**config, key: {}}])
        assert not target.covered([{k: v for k, v in config.items() if k != key}])
    assert not target.covered([])


def test_records_from_every_zoo_to_learn_from_count():
    entry = Entry("cross_dataset", "smoke", "stat_nn", 0, 1, 1)
    target = schedule.target(entry, cross_dataset.main)
    zoos = {name: {**about, "content": "1f2e"} for name, about in target.zoos.items()}
    line = lambda name, zoos=zoos: {**whole(target), "zoos": zoos, "train_zoo": name}
    assert target.covered([line("digits"), line("other")])
    assert not target.covered([line("digits")])
    other = {**zoos, "other": {**zoos["other"], "networks": 7}}
    assert not target.covered([line("digits"), line("other", other)])
    assert not target.covered([line("digits", {}), line("other", {})])


def test_directions_have_methods_of_their_own_and_epochs_make_steps():
    entry = Entry("generalization", "paper", "scalegmn", 1, 1, 1)
    target = schedule.target(entry, generalization.main)
    preset = generalization.PRESETS["paper"]
    zoos = {name: {**about, "content": "1f2e"} for name, about in target.zoos.items()}
    configs = [
        {
            **target.config,
            **storage.plain(methods["scalegmn"].over(1000).seeded(1).config()),
            **{"train_zoo": way, "zoos": zoos},
        }
        for way, methods in preset.directions.items()
    ]
    assert len(configs) == 5
    assert target.covered(configs)
    assert not target.covered(configs[1:])
    assert not target.covered([{**c, "training": {**c["training"], "batch": 7}} for c in configs])


def test_a_seed_at_the_rate_that_was_chosen_is_found(tmp_path):
    entry = Entry("accuracy_prediction", "paper", "gmn", 1, 1, 1)
    target = schedule.target(entry, accuracy_prediction.main)
    method = accuracy_prediction.PRESETS["paper"].methods["gmn"].seeded(1)
    config = accuracy_run(target, method, train_zoo="diverse cifar10 50 %")
    chosen = {**config, "training": {**config["training"], "learning_rate": 5e-4}}
    home = tmp_path / "accuracy_prediction" / "paper" / "gmn-1-12345678"
    (home / "6").mkdir(parents=True)
    storage.write_sealed(home / "6" / "checkpoint.json", {"step": 6, "config": chosen})
    assert target.homes(tmp_path) == [home]
    assert target.matches(config)
    assert not target.matches({**chosen, "rates": [5e-4]})
    assert not target.matches({**chosen, "seed": 2})


def test_one_direction_does_not_count_for_all():
    entry = Entry("accuracy_prediction", "h100", "stat_nn", 0, 1, 1)
    target = schedule.target(entry, accuracy_prediction.main)
    zoos = {name: {**about, "content": "1f2e"} for name, about in target.zoos.items()}
    half, tenth = (
        {**whole(target), "zoos": zoos, "train_zoo": f"conv3-gap cifar10 {share} %"}
        for share in (50, 5)
    )
    assert target.covered([half, tenth])
    assert not target.covered([half])
    assert not target.covered([tenth])


def test_the_share_is_of_the_steps_that_a_run_has(tmp_path):
    """Those of its epochs over its own zoo, and at each of a sweep's rates."""
    preset = accuracy_prediction.PRESETS["paper"]
    entries = {k: Entry("accuracy_prediction", "paper", k, 0, 1, 1) for k in ("grit", "gmn")}
    of = lambda entry: schedule.target(entry, accuracy_prediction.main)
    look = lambda entry: schedule.state(entry, of(entry), (), tmp_path, tmp_path, False)
    folder = tmp_path / "accuracy_prediction" / "paper"
    target = of(entries["grit"])
    assert target.learns == {"conv3-gap cifar10 50 %": 93_750}
    method = preset.methods["grit"].over(16_000).seeded(0)
    for step in (90_000, 100_000):
        (home := folder / "grit-0-12345678" / str(step)).mkdir(parents=True)
        run = accuracy_run(target, method, train_zoo="conv3-gap cifar10 50 %")
        storage.write_sealed(home / "checkpoint.json", {"step": step, "config": run})
        assert look(entries["grit"]).share == step / 100_000
    target = of(entries["gmn"])
    in_all = sum(target.learns.values())
    assert (len(target.learns), target.tries) == (6, 5)
    method = preset.methods["gmn"].over(15_000).seeded(0)
    run = accuracy_run(target, method, train_zoo="diverse cifar10 50 %")
    sweep = folder / "gmn-rates-12345678"
    for rate, step in ((1e-4, 23_400), (5e-4, 600)):
        (home := sweep / f"{rate:g}" / str(step)).mkdir(parents=True)
        own = {**run, "training": {**run["training"], "learning_rate": rate}}
        storage.write_sealed(home / "checkpoint.json", {"step": step, "config": own})
    assert look(entries["gmn"]).words == f"step 24,000 of {5 * in_all:,}"
    storage.write_sealed(sweep / "rates.json", {})
    assert look(entries["gmn"]).words == f"step {5 * 23_400:,} of {5 * in_all:,}"
    second = entries["gmn"]._replace(seed=1)
    assert of(second).tries == 1
    assert look(second).status == MISSING


def test_the_state_is_by_records_folders_and_files(tmp_path):
    entry = SINE._replace(more=("--set", "training.steps=8"))
    target = schedule.target(entry, inr_frequency.main)
    look = lambda recorded=(), begun=False: schedule.state(
        entry, target, recorded, tmp_path, None, begun
    )
    assert look().status == MISSING
    assert look([whole(target)]).status == DONE
    assert look([whole(target)], begun=True).status == MISSING
    home = tmp_path / "inr_frequency" / "smoke-custom" / "stat_nn-2-12345678"
    (home / "6").mkdir(parents=True)
    assert look().status == MISSING  # whose it is nobody knows
    about = {"step": 6, "config": {**whole(target), "training": {"steps": 9}}}
    storage.write_sealed(home / "6" / "checkpoint.json", about)
    assert look().status == MISSING  # it is another run
    storage.write_sealed(home / "6" / "checkpoint.json", {"step": 6, "config": whole(target)})
    assert look() == (PARTLY, 0.75, "step 6 of 8")
    assert target.homes(tmp_path) == [home]
    pictures = entry._replace(files=("mnist",))
    without = schedule.state(pictures, target, (), tmp_path, None, False)
    assert without == (NEEDS, 0.0, "needs --files with mnist")
    lacking = schedule.state(pictures, target, (), tmp_path, tmp_path, False)
    assert lacking.status == NEEDS
    assert "mnist: expected train-images-idx3-ubyte" in lacking.words


def test_estimates_are_corrected_by_what_was_measured(tmp_path):
    ledger, other = Ledger(), SINE._replace(method="mlp", cpu=6.0)
    minutes = lambda entry, share=0.0, device="cpu": ledger.minutes(
        entry, share, device, device != "cpu", ZOOS
    )
    assert minutes(SINE) == 10 + 4
    assert minutes(SINE, 0.75) == 2.5 + 4
    assert minutes(SINE, device="H100") == 2 + 1
    ledger.note(SINE, 21.0, 0.5, "cpu", False, ZOOS)  # of 5 and 4 for the zoo
    ledger.zoos.append("sines")
    assert ledger.factor("cpu") == pytest.approx(21 / 9)
    assert minutes(other) == pytest.approx(6 * 21 / 9)
    assert minutes(other, device="H100") == 2.0
    ledger.note(SINE, 30.0, 1.0, "cpu", False, ZOOS)
    assert minutes(SINE._replace(seed=0)) == 30  # as another seed had
    assert minutes(other) == pytest.approx(6 * 51 / 19)
    ledger.note(other, 9.0, 0.01, "cpu", False, ZOOS)  # compilation, above all
    assert minutes(other) == pytest.approx(6 * 51 / 19)
    ledger.write(tmp_path / "ledger")
    assert Ledger.read(tmp_path / "ledger") == ledger
    there = Ledger()
    there.add(ledger.carried())
    there.add(ledger.carried())
    assert there == Ledger(ledger.measured, ledger.begun)  # without zoos
    assert Ledger.read(tmp_path / "none") == Ledger()
    (tmp_path / "ledger").write_text((tmp_path / "ledger").read_text().replace("30", "3"))
    with pytest.raises(DamagedError, match="remove it, it holds estimates alone"):
        Ledger.read(tmp_path / "ledger")
    storage.write_sealed(tmp_path / "ledger", {**ledger.carried(), "zoos": [], "format": 1})
    with pytest.raises(DamagedError, match=r"ledger: expected format 2; remove it"):
        Ledger.read(tmp_path / "ledger")


def test_what_another_machine_has_finished_is_not_begun(tmp_path):
    here, there, other = Ledger(), Ledger(), SINE._replace(seed=1)
    for entry in (SINE, other):
        here.begin(entry)
    there.add(here.carried())
    there.end(SINE)
    there.write(tmp_path / "ledger")
    here.add(Ledger.read(tmp_path / "ledger").carried())
    assert (here.begun, here.ended) == ([other.name], [SINE.name])
    here.begin(SINE)  # anew, say with another config
    assert (here.begun, here.ended) == ([other.name, SINE.name], [])


def test_records_say_what_runs_took():
    target, ledger = schedule.target(SINE, inr_frequency.main), Ledger()
    line = {"config": whole(target), "device": "1 x cpu", "seconds": 300.0}
    ledger.note_records(SINE, target, [line, {**line, "device": "1 x H100", "seconds": 90.0}])
    assert (ledger.factor("cpu"), ledger.factor("H100")) == (0.5, 0.75)
    assert not ledger.measured
    ledger.note(SINE, 10.0, 1.0, "cpu", False, {"sines": (0, 0)})
    ledger.recorded.clear()
    ledger.note_records(SINE, target, [line])  # the call says more
    assert ledger.factor("cpu") == 1
    ledger.note_records(SINE, target, [{**line, "config": {}}])
    assert not ledger.recorded
    tried = [{"seconds": 40.0}, {"diverged": "loss is nan"}, {"seconds": 80.0}]
    for tries, minutes in ((1, 5.0), (3, 2.0)):  # of a sweep, all rates
        ledger = Ledger()
        ledger.note_records(SINE, target._replace(tries=tries), [{**line, "rates": tried}])
        assert [m["minutes"] for m in ledger.recorded] == [minutes]


def test_a_deadline_is_an_interruption():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with schedule.deadline(0.05) as alarm, pytest.raises(KeyboardInterrupt):
        time.sleep(20)
    assert alarm.rang
    with schedule.deadline(0.05), interruptible() as stop:
        while not stop:  # a training loop, which saves
            time.sleep(0.01)
    assert stop.signal == signal.SIGTERM
    given_up = threading.Event()
    with schedule.deadline(0.02, 0.02, given_up.set):
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(20)
        assert given_up.wait(20)  # it has not ended
    given_up.clear()
    with schedule.deadline(20, -19.9, given_up.set) as alarm:
        pass
    assert not given_up.wait(0.2)
    assert not alarm.rang
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM))
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)

"""`fit` needs a zoo, a task and an encoder; `restore` needs the path."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from cases.tasks import STAT_NN, fit, ratio_zoo

from wsjax import encoders, storage, tasks, training, zoos
from wsjax.tasks import restore
from wsjax.tasks.classification import Classification
from wsjax.tasks.regression import Regression

pytestmark = pytest.mark.trains

MINE = '''
import flax.linen as nn
import jax.numpy as jnp
from wsjax.encoders import Encoder

class Mine(Encoder):
    """Sorted weights."""

    width: int = 8
    widths: tuple[int, ...] = ()

    def view(self, spec):
        return ()

    @nn.compact
    def __call__(self, vectors, view, train=False):
        return nn.Dense(self.width)(jnp.sort(vectors, axis=-1))
'''


def unsplit(count=40):
    return dataclasses.replace(ratio_zoo(count), splits={})


# Defaults


def test_a_zoo_a_label_and_an_encoder_are_enough(capsys, monkeypatch):
    monkeypatch.setattr(tasks.fitting, "default_settings", short(tasks.default_settings))
    zoo = unsplit(30)
    trained = tasks.fit(zoo, "ratio", encoders.StatNN(widths=(8,)), head=(8,))
    out = capsys.readouterr().out
    assert "batch 24: there are no more training networks" in out
    assert out.count("val_mse") == 12
    assert trained.predict(zoo).shape == (30,)
    assert not trained.result.history.exists()  # of a temporary folder


def short(defaults):
    return lambda count: dataclasses.replace(
        defaults(count), steps=24, evaluate_every=2, checkpoint_every=24
    )


def test_default_settings_have_twelve_evaluations():
    settings = tasks.default_settings(20)
    assert (settings.steps, settings.batch, settings.microbatch) == (1000, 20, 0)
    evaluations = [s for s in range(1, 1001) if s == 1000 or s % settings.evaluate_every == 0]
    assert len(evaluations) == 12
    assert tasks.default_settings(10_000).batch == training.Settings.batch


def test_default_splits_are_of_runs():
    zoo = dataclasses.replace(unsplit(60), runs=np.arange(60) // 3)
    split = tasks.default_splits(zoo)
    runs = {k: set(zoo.runs[v]) for k, v in split.splits.items()}
    assert {k: len(v) for k, v in runs.items()} == {"train": 16, "validation": 2, "test": 2}
    assert set.union(*runs.values()) == set(range(20))
    with pytest.raises(ValueError, match="at least 3 runs to make three splits, got 2"):
        tasks.default_splits(dataclasses.replace(zoo, runs=np.arange(60) % 2))


def test_lists_among_the_settings_of_an_encoder_become_tuples(tmp_path):
    trained = fit(unsplit(), "ratio", tmp_path, "deepsets", {"widths": [8], "code": 4})
    assert trained.module.encoder.widths == (8,)


# Restoring


def test_restore_needs_nothing_but_the_path(tmp_path):
    zoo = ratio_zoo()
    trained = fit(zoo, "ratio", tmp_path, "stat_nn", STAT_NN)
    again = restore(tmp_path)
    np.testing.assert_array_equal(again.predict(zoo), trained.predict(zoo))
    np.testing.assert_array_equal(again.encode(zoo), trained.encode(zoo))
    constants = again.variables["statistics"]["encoder"]["mean"]
    assert np.abs(np.asarray(constants)).max() > 0
    assert again.result is None
    for name in ("task", "module", "scale", "specs", "constants", "config"):
        assert getattr(again, name) == getattr(trained, name), name
    assert again.task == Regression("ratio")


def test_the_config_comes_back_and_an_equal_one_resumes(tmp_path):
    zoo = ratio_zoo()
    settings = training.Settings(steps=2, batch=16)
    call = lambda **config: tasks.fit(
        *(zoo, "ratio", encoders.DeepSets(widths=(4,), code=2)),
        settings=settings,
        folder=tmp_path,
        config=config,
        progress=False,
    )
    first = call(seed=3, sizes=(1, 2))
    assert first.result.resumed == 0
    assert restore(tmp_path).config == first.config
    assert first.config["sizes"] == [1, 2]
    assert first.config["training"]["batch"] == 16
    assert call(seed=3, sizes=(1, 2)).result.resumed == 2
    with pytest.raises(ValueError, match=r"(?s)another config.*seed: 3 in the folder, 4 now"):
        call(seed=4, sizes=(1, 2))
    with pytest.raises(ValueError, match="a config without the key 'wsjax', which is reserved"):
        call(wsjax={})


def test_an_encoder_of_your_own_comes_back_in_another_process(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    from own_encoders import Mine

    zoo, folder = ratio_zoo(), tmp_path / "run"
    settings = training.Settings(steps=3, batch=8)
    trained = tasks.fit(
        zoo, "ratio", Mine(5, [2]), settings=settings, folder=folder, progress=False
    )
    assert trained.encode(zoo).shape == (64, 5)
    np.save(tmp_path / "vectors.npy", zoo.vectors)
    program = (
        "import sys, numpy as np; from wsjax import restore; folder = sys.argv[1]\n"
        "trained = restore(folder + '/run'); print(trained.module.encoder)\n"
        "np.save(folder + '/out.npy', trained.predict(np.load(folder + '/vectors.npy')))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    paths = [str(tmp_path), *sys.path[1:]]
    run = lambda path: subprocess.run(
        command, env={"PYTHONPATH": ":".join(path)}, capture_output=True, text=True
    )
    done = run([p for p in paths if p])
    assert done.returncode == 0, done.stderr
    assert "width = 5" in done.stdout
    predicted = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(predicted, trained.predict(zoo), rtol=1e-4, atol=1e-5)
    failed = run([p for p in paths[1:] if p and p != str(tmp_path)])
    assert "'own_encoders:Mine': no module 'own_encoders' to import" in failed.stderr


def test_the_wrong_kind_of_run_is_named(tmp_path):
    fit(ratio_zoo(), "ratio", tmp_path, "stat_nn", STAT_NN)
    assert restore(tmp_path, Regression).task.label == "ratio"
    words = f"expected a run of the task classification in {tmp_path}, got a run of regression"
    with pytest.raises(ValueError, match=words):
        restore(tmp_path, Classification)


def test_folders_without_a_run_of_this_library_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere"):
        restore(tmp_path / "nowhere")
    evaluate = lambda variables: {"mse": 1.0}
    loss = lambda variables, key, batch: ((variables["w"] * batch["x"]).mean(), {})
    init = lambda key: {"w": jax.numpy.ones(())}
    data, settings = {"x": np.ones(4, np.float32)}, training.Settings(steps=1, batch=4)
    training.fit(init, loss, data, evaluate, settings, tmp_path, {}, progress=False)
    with pytest.raises(ValueError, match=r"a run of `wsjax\.tasks\.fit`, its config has no"):
        restore(tmp_path)


def test_a_folder_in_use_stays_as_it_is(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("of the other process")
    data, settings = {"x": np.ones(4, np.float32)}, training.Settings(steps=1, batch=4)
    with storage.locked(tmp_path):
        for start in (
            lambda: training.fit(None, None, data, None, settings, tmp_path, {}),
            lambda: fit(ratio_zoo(), "ratio", tmp_path, "stat_nn", STAT_NN),
        ):
            with pytest.raises(storage.LockedError, match=f"{tmp_path} is in use by process"):
                start()
    assert {p.name for p in tmp_path.iterdir()} == {"metrics.jsonl"}
    assert (tmp_path / "metrics.jsonl").read_text() == "of the other process"


# Bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_labels_that_are_not_finite_are_counted_by_name(bad, tmp_path):
    zoo = ratio_zoo()
    labels = zoo.labels["ratio"].copy()
    labels[zoo.splits["validation"][:3]] = bad
    broken = dataclasses.replace(zoo, labels={"ratio": labels})
    with pytest.raises(ValueError, match="'ratio': 3 of 16 values of the split 'validation'"):
        fit(broken, "ratio", tmp_path)
    none = dataclasses.replace(zoo, splits={**zoo.splits, "validation": np.array([], int)})
    with pytest.raises(ValueError, match="'validation' is empty: expected at least 1 network"):
        fit(none, "ratio", tmp_path)


def test_labels_and_splits_that_are_missing_are_named(tmp_path):
    zoo = ratio_zoo()
    with pytest.raises(ValueError, match=r"a label of \['ratio', 'share'\], got 'accuracy'"):
        fit(zoo, "accuracy", tmp_path)
    with pytest.raises(ValueError, match=r"expected the splits \['validation'\], got \['train'\]"):
        fit(zoos.split(zoo, {"train": 8}, 0), "ratio", tmp_path)


def test_encoders_are_instances_that_a_checkpoint_can_name(tmp_path):
    class Local(encoders.DeepSets):
        pass

    zoo = ratio_zoo()
    with pytest.raises(ValueError, match=r"an instance of wsjax.encoders.Encoder, got .*SNE"):
        tasks.fit(zoo, "ratio", encoders.SNE)
    with pytest.raises(ValueError, match=r"class at the top level of a module.*Local"):
        tasks.fit(zoo, "ratio", Local())


@pytest.mark.parametrize(
    ("encoder", "settings", "message"),
    [
        ("gpt", {}, r"encoder of \['deepsets', .*got 'gpt'"),
        ("sne", {"size": 3}, r"got \['size'\]"),
    ],
)
def test_unknown_encoders_and_settings(encoder, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(ratio_zoo(), "ratio", tmp_path, encoder, settings)

"""An export comes back to the bit, by path or by name; whatever was altered is named."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
import safetensors.numpy
from cases.tasks import SNE, ratio_zoo

from wsjax import encoders, storage, tasks
from wsjax.storage import DamagedError
from wsjax.tasks import base, exports, restore
from wsjax.tasks.classification import Classification
from wsjax.tasks.contrastive import Contrastive
from wsjax.tasks.editing import Canvas, Editing
from wsjax.tasks.regression import Regression
from wsjax.tasks.scaling import InputScale
from wsjax.zoos import Zoo
from wsjax.zoos.inrs.inr_recipe import Recipe

ZOO = ratio_zoo(16)
INR = Recipe(hidden=(4, 3)).spec(1)
CANVAS = Canvas(3, 4, "xy", 0.5)


def untrained(task, encoder, zoo=ZOO, head=(8,)):
    """A result of `fit` after no step."""
    module, scale = task.module(encoder, head), InputScale.fit(zoo)
    view, vectors = module.encoder.view(zoo.spec), scale.apply(zoo.vectors, zoo.spec)
    variables = dict(jax.jit(lambda v: module.init(jax.random.key(0), v, view))(vectors))
    if statistics := module.encoder.calibrate(vectors, view, scale.scales):
        variables["statistics"] = {"encoder": statistics}
    constants, config = task.constants(zoo), {"training": {"steps": 0}, "mine": [1, 2]}
    trained = task.trained(task, module, variables, scale, zoo.specs, constants, config, head)
    return task.finish(trained, base.Part(zoo, np.arange(len(zoo))))


def inrs():
    vectors = np.random.default_rng(0).normal(size=(6, INR.count)).astype(np.float32)
    return Zoo.of_spec(vectors, INR, {})


def same(one, other, use):
    np.testing.assert_array_equal(use(one), use(other))
    jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
    assert jax.tree.structure(one.variables) == jax.tree.structure(other.variables)
    for name in ("module", "scale", "specs", "constants", "config", "head"):
        assert getattr(one, name) == getattr(other, name), name


CASES = {
    "regression": (Regression("ratio"), encoders.StatNN(widths=(8,), code=4)),
    "classification": (Classification("half", ("a", "b")), encoders.MLP(widths=(8,), code=4)),
    "scalars": (Regression("ratio"), encoders.SNE(**SNE, types="learned", learned_scale=True)),
    "contrastive": (Contrastive(("ratio", "share")), encoders.DeepSets(widths=(4,), code=4)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_export_comes_back_to_the_bit(name, tmp_path):
    trained = untrained(*CASES[name])
    written = exports.export(trained, tmp_path / "model", facts={"test": {"mse": 0.5}})
    again = restore(tmp_path / "model")
    same(trained, again, lambda t: t.predict(ZOO))
    same(trained, again, lambda t: t.encode(ZOO))
    assert (type(again), again.task) == (type(trained), trained.task)
    assert exports.about(tmp_path / "model") == written
    assert written["facts"] == {"test": {"mse": 0.5}}
    # an export of an export is the same files
    assert exports.export(again, tmp_path / "again", facts={"test": {"mse": 0.5}}) == written


def test_an_editor_comes_back_to_the_bit(tmp_path):
    zoo, encoder = inrs(), encoders.UNF(width=4, layers=1)
    trained = untrained(Editing(None, CANVAS), encoder, zoo, ())
    exports.export(trained, tmp_path)
    same(trained, restore(tmp_path, Editing), lambda t: t.render(t.edit(zoo.vectors)))


@pytest.fixture(scope="module")
def contrastive():
    with jax.numpy_dtype_promotion("standard"):
        return untrained(*CASES["contrastive"])


@pytest.fixture
def model(tmp_path, contrastive):
    trained = contrastive
    exports.export(trained, tmp_path / "models" / "first", "# A card\n")
    return trained, tmp_path / "models" / "first"


def test_half_precision_rounds_and_is_half_as_large(model, tmp_path):
    trained, whole = model
    exports.export(trained, tmp_path / "half", dtype="float16")
    sizes = [(f / exports.MODEL).stat().st_size for f in (tmp_path / "half", whole)]
    count = sum(x.size for x in jax.tree.leaves(trained.variables))
    assert sizes[1] - sizes[0] == pytest.approx(2 * count, abs=8)  # headers are padded
    close = lambda a, b: np.testing.assert_array_equal(a.astype(np.float16).astype(np.float32), b)
    jax.tree.map(close, trained.variables, restore(tmp_path / "half").variables)
    large = jax.tree.map(lambda x: x + 1e6, trained.variables)
    with pytest.raises(ValueError, match=r"finite parameters, of float16's size, got .*kernel"):
        exports.export(dataclasses.replace(trained, variables=large), tmp_path, dtype="float16")
    with pytest.raises(ValueError, match="expected a dtype of"):
        exports.export(trained, tmp_path, dtype="int8")


@pytest.mark.trains
def test_a_training_run_and_its_export_are_restored_alike(tmp_path):
    settings = tasks.default_settings(16)
    settings = dataclasses.replace(settings, steps=2, batch=4, evaluate_every=2, checkpoint_every=2)
    how = {"head": (8,), "settings": settings, "progress": False, "folder": tmp_path / "run"}
    trained = tasks.fit(ZOO, "ratio", encoders.DeepSets(widths=(4,), code=2), **how)
    tasks.export(restore(tmp_path / "run"), tmp_path / "model")
    same(trained, restore(tmp_path / "model"), lambda t: t.predict(ZOO))
    card = (tmp_path / "model" / "README.md").read_text()
    assert "# DeepSets: regression of ratio" in card
    assert "trained: 2 steps" in card


# Names


def test_a_pretrained_model_is_found_by_its_name(model, monkeypatch, tmp_path):
    trained, folder = model
    monkeypatch.setenv(exports.VARIABLE, str(folder.parent))
    assert list(exports.pretrained()) == ["first"]
    same(trained, restore("first"), lambda t: t.predict(ZOO))
    words = (
        "no folder 'second' here, and no pretrained model of that name in "
        f"{folder.parent}, which has first; give .* {exports.VARIABLE}"
    )
    with pytest.raises(FileNotFoundError, match=words):
        restore("second")
    monkeypatch.setenv(exports.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"none, which does not exist; the models are in"):
        restore("first")  # as of an installed package


def test_a_path_that_exists_comes_before_a_name(model, monkeypatch, tmp_path):
    _, folder = model
    monkeypatch.setenv(exports.VARIABLE, str(folder.parent))
    monkeypatch.chdir(tmp_path)
    exports.export(untrained(*CASES["regression"]), "first")
    assert restore("first").task.kind == "regression"
    with pytest.raises(FileNotFoundError, match=r"there is no .*models/second"):
        restore("models/second")
    with pytest.raises(FileNotFoundError, match=r"an export in .*models, it has no config.json"):
        exports.about("models")


def test_a_predictor_has_a_name_and_another_reader(model, monkeypatch):
    _, folder = model
    monkeypatch.setenv(exports.VARIABLE, str(folder.parent))
    (folder.parent / "accuracy").mkdir()
    (folder.parent / "accuracy" / exports.PREDICTOR).write_text("{}")
    (folder.parent / "nothing").mkdir()
    assert list(exports.pretrained()) == ["accuracy", "first"]
    assert exports.locate("accuracy") == folder.parent / "accuracy"
    with pytest.raises(ValueError, match=r"accuracy is a predictor .* predictors\.load reads"):
        restore("accuracy")


# Damage


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


DAMAGE = {"flipped": flip, "missing": lambda p: p.unlink(), "link": link}
DAMAGE |= {"cut": lambda p: p.write_bytes(p.read_bytes()[:-9])}
DAMAGE |= {"longer": lambda p: p.write_bytes(p.read_bytes() + b" ")}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", ["model.safetensors", "README.md", "probe.json"])
def test_a_file_that_is_not_as_it_was_sealed_is_named(model, file, how):
    _, folder = model
    DAMAGE[how](folder / file)
    with pytest.raises(DamagedError, match=re.escape(f"{folder / file} ")):
        restore(folder)


@pytest.mark.parametrize("how", ["flipped", "link", "cut"])
def test_a_config_that_is_not_as_it_was_sealed_is_named(model, how):
    _, folder = model
    DAMAGE[how](folder / "config.json")
    with pytest.raises(DamagedError, match=f"{folder}: config.json "):
        restore(folder)


def test_files_that_are_too_large_are_not_read(model, monkeypatch):
    _, folder = model
    monkeypatch.setattr(exports, "FILE_BYTES", 100)
    with pytest.raises(DamagedError, match=r"has \d+ bytes, expected 100"):
        restore(folder)
    monkeypatch.setattr(exports, "CONFIG_BYTES", 100)
    with pytest.raises(DamagedError, match=r"config.json has \d+ bytes, expected at most 100"):
        restore(folder)


def sealed_anew(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    storage.write_sealed(folder / "config.json", config)


OTHERS = {
    "format": (lambda c: c.update(format=2), "expected format 1, got 2, of another version"),
    "task": (lambda c: c["wsjax"]["task"].update(kind="x"), "the task of|a task of .*got a run of"),
    "no encoder": (lambda c: c["wsjax"].pop("encoder"), "makes no sense: KeyError"),
    "encoder": (
        lambda c: c["wsjax"]["encoder"].update(name="antigravity:Encoder"),
        "its encoder is 'antigravity:Encoder', code .* import that module first",
    ),
    "settings": (
        lambda c: c["wsjax"]["encoder"]["settings"].update(widths=[5]),
        r"(?s)of another model:.*kernel: expected \(4, 5\), got \(4, 4\)|of another model",
    ),
    "path": (
        lambda c: c["files"].update({"../first/README.md": c["files"]["README.md"]}),
        "expected files beside config.json, got '../first/README.md'",
    ),
    "long path": (lambda c: c["files"].update({"a" * 5000: {}}), "expected files beside config"),
    "no encoder of ours": (
        lambda c: c["wsjax"].update(
            encoder={"name": "os:system", "settings": {"command": "false"}}
        ),
        "config.json makes no sense: .*expected a subclass of wsjax.encoders.Encoder",
    ),
    "large setting": (
        lambda c: c["wsjax"]["encoder"]["settings"].update(widths=[10**400]),
        "config.json makes no sense: OverflowError",
    ),
    "deep head": (
        lambda c: c["wsjax"].update(head=[1] * 500),
        "expected no more layers than its file has arrays, 8",
    ),
    "large network": (
        lambda c: c["wsjax"]["specs"][0].update(sizes=huge(c["wsjax"]["specs"][0]["sizes"])),
        "config.json makes no sense: expected networks of at most 268,435,456 weights, got",
    ),
    "scales": (
        lambda c: c["wsjax"]["scales"].update({"dense/kernel/0": 1e-320}),
        "config.json makes no sense: .*number above 0 in float32",
    ),
    "constants": (
        lambda c: c["wsjax"].update(constants={"mean": "x"}),
        "config.json makes no sense: could not convert",
    ),
}


def huge(sizes):
    return [[name, 1 << 27] for name, _ in sizes]


@pytest.mark.parametrize("name", OTHERS)
def test_a_sealed_config_that_does_not_fit_is_one_error(model, name):
    _, folder = model
    change, message = OTHERS[name]
    sealed_anew(folder, change)
    with pytest.raises(ValueError, match=message):
        restore(folder)


def test_a_config_with_nan_is_not_restored(model):
    _, folder = model
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 1, "constants": NaN'))
    with pytest.raises(DamagedError, match=r"config\.json is not JSON: Out of range float"):
        restore(folder)


ARRAYS = {
    "finite parameters, got NaN or infinity in 'encoder/": lambda x: np.full_like(x, np.nan),
    "'float32', 'float16'.*, got float64 in 'encoder/": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("message", ARRAYS)
def test_parameters_of_no_use_are_named(model, message):
    _, folder = model
    path = folder / exports.MODEL
    arrays = safetensors.numpy.load(path.read_bytes())
    path.write_bytes(safetensors.numpy.save({k: ARRAYS[message](x) for k, x in arrays.items()}))
    sealed_anew(folder, lambda c: c["files"].update({path.name: storage.fingerprint(path)}))
    with pytest.raises(DamagedError, match=f"{path}: expected .*{message}"):
        restore(folder)


def test_a_dtype_that_numpy_lacks_is_named(model):
    _, folder = model
    path = folder / exports.MODEL
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    sealed_anew(folder, lambda c: c["files"].update({path.name: storage.fingerprint(path)}))
    with pytest.raises(
        DamagedError, match=r"expected arrays of .*'float16'.*, got .*BF16|bfloat16"
    ):
        restore(folder)


def test_what_is_no_model_is_refused(model, tmp_path):
    trained, folder = model
    with pytest.raises(TypeError, match="trained: expected Trained, got str"):
        exports.export("model", tmp_path)
    with pytest.raises(ValueError, match="facts that are JSON values"):
        exports.export(trained, tmp_path, facts={"mse": float("nan")})
    with pytest.raises(ValueError, match="expected a run of the task regression"):
        restore(folder, Regression)
    bad = jax.tree.map(lambda x: x * np.nan, trained.variables)
    with pytest.raises(ValueError, match="expected finite parameters"):
        exports.export(dataclasses.replace(trained, variables=bad), folder)
    assert restore(folder).task == trained.task  # an export that fails replaces nothing

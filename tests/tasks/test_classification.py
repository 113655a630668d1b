"""A classifier learns what its majority cannot say, comes back from its path, refuses bad input."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import sklearn.metrics

from wsjax import architectures, metrics, networks, testing, training, zoos
from wsjax.tasks import classification, reading
from wsjax.tasks.classification import Objective

SPEC = architectures.mlp([1, 4, 1], "tanh")
CLASSES = ("first", "second")
TINY = {"widths": (16,), "code": 8}


def make_zoo(count=96, seed=0):
    """The class is which of two kernels is the larger."""
    params = testing.draw(jax.random.key(seed), SPEC, (count,))
    params = {k: np.array(v) for k, v in params.items()}
    which = np.arange(count) % 2
    for i, name in enumerate(("Dense_0/kernel", "Dense_1/kernel")):
        params[name] *= np.where(which == i, 2.0, 0.5)[:, None, None].astype(np.float32)
    zoo = zoos.from_params(params, SPEC, {"larger": which, "half": which / 2})
    return zoos.split(zoo, {"train": count // 2, "validation": count // 4, "test": count // 4}, 0)


def train(zoo, folder, encoder="stat_nn", settings=TINY, head=(8,), steps=8, **changes):
    config = {"encoder": encoder, "encoder_settings": settings, "head": list(head)}
    label, classes = changes.pop("label", "larger"), changes.pop("classes", CLASSES)
    how = training.Settings(
        steps=steps, batch=16, learning_rate=1e-2, evaluate_every=4, checkpoint_every=steps
    )
    objective = Objective(**changes)
    return classification.train(zoo, label, classes, config, objective, how, folder, progress=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, zoo = tmp_path_factory.mktemp("run"), make_zoo()
    model, result = train(zoo, folder, steps=60, smoothing=0.05, permute=True)
    return zoo, model, result, folder


@pytest.mark.trains
def test_it_learns_what_the_majority_cannot_say(trained):
    zoo, model, result, _ = trained
    vectors, labels = zoo.part("test", "larger")
    scores = metrics.classification(model.predict(vectors), labels.astype(int))
    assert scores["accuracy"] > 0.85  # the majority: about a half
    held, wanted = zoo.part("validation", "larger")
    error = np.mean(model.predict(held).argmax(1) != wanted)
    assert result.best_value == pytest.approx(error)


@pytest.mark.trains
def test_restore_needs_nothing_but_the_path(trained):
    zoo, model, _, folder = trained
    again, (vectors, _) = classification.restore(folder), zoo.part("test", "larger")
    np.testing.assert_array_equal(again.predict(vectors), model.predict(vectors))
    np.testing.assert_array_equal(again.encode(vectors), model.encode(vectors))
    assert (again.classes, again.specs) == (CLASSES, (SPEC,))
    assert again.config["objective"]["smoothing"] == 0.05


@pytest.mark.trains
def test_one_network_and_many_and_zoos_agree(trained):
    zoo, model, _, _ = trained
    many = model.predict(zoo.params(slice(0, 5)))
    np.testing.assert_allclose(many.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(model.predict(zoo.params(2)), many[2], rtol=1e-5)
    mixed = zoo.select(np.arange(5))
    np.testing.assert_allclose(model.predict(mixed), many, rtol=1e-5)
    names = model.classify(zoo.params(slice(0, 5)))
    assert names.tolist() == [CLASSES[i] for i in many.argmax(1)]
    assert model.classify(zoo.params(2)) == names[2]
    assert model.encode(zoo.params(2)).shape == (8,)
    vectors = zoo.vectors[:5] / reading.units(SPEC, model.scales)
    view = model.module.encoder.view(SPEC)
    logits = jax.jit(model.module.apply)(model.variables, vectors, view)
    np.testing.assert_allclose(many, jax.nn.softmax(logits), rtol=1e-5)


@pytest.mark.trains
def test_copies_are_drawn_in_the_step(tmp_path):
    """Of an encoder that sees everything, each kind of copy changes the loss of the first step."""
    zoo, found = make_zoo(), {}
    for i, changes in enumerate(({}, {"permute": True}, {"flip": True}, {"mask": 0.3})):
        flat = ("mlp", {"widths": (8,)}, (8,))
        _, result = train(zoo, tmp_path / str(i), *flat, steps=1, **changes)
        found[str(changes)] = metrics.read_lines(result.history)[0]["loss"]
    assert len({f"{x:.6f}" for x in found.values()}) == len(found)


def test_copies_but_renumbered_ones_are_apart():
    assert Objective(permute=True).changes == Objective().changes
    assert Objective(phase=2, permute=True).changes.phase == 2


def two_widths(count=48):
    flat, wide = make_zoo(count), architectures.mlp([1, 6, 1], "tanh")
    params = testing.draw(jax.random.key(9), wide, (count,))
    which = {"larger": np.arange(count) % 2, "half": np.zeros(count)}
    other = zoos.from_params({k: np.array(v) for k, v in params.items()}, wide, which)
    both = zoos.join([flat, other])
    return zoos.split(both, {"train": count, "validation": 24, "test": 24}, 0)


@pytest.mark.trains
def test_several_architectures_train_together(tmp_path):
    zoo = two_widths()
    sets = ("deepsets", {"widths": (8,), "code": 4})
    model, _ = train(zoo, tmp_path / "both", *sets, permute=True)
    held, _ = zoo.part("test", "larger")
    together = model.predict(held)
    for s, spec in enumerate(zoo.specs):
        alone = model.predict(held.of(s).vectors, spec)
        np.testing.assert_allclose(together[held.which == s], alone, rtol=1e-4)
    with pytest.raises(ValueError, match="trained on 2 architectures: expected the spec"):
        model.predict(held.of(0).vectors)
    with pytest.raises(ValueError, match="no copies but renumbered ones of 2 architectures"):
        train(zoo, tmp_path / "noise", *sets, noise=0.1)


def test_without_a_head_codes_are_logits():
    config = {"encoder": "mlp", "encoder_settings": {"widths": (4,), "code": 2}, "head": []}
    x = np.ones((3, SPEC.count), np.float32)
    for code, classes in ((2, CLASSES), (3, CLASSES)):
        settings = {**config["encoder_settings"], "code": code}
        module = classification.build(
            {**config, "encoder_settings": settings, "classes": list(classes)}
        )
        view = module.encoder.view(SPEC)
        start = lambda m=module, v=view: m.init_with_output(jax.random.key(0), x, v)
        if code == 2:
            out, variables = jax.eval_shape(start)
            assert out.shape == (3, 2)
            assert set(variables["params"]) == {"encoder"}
        else:
            with pytest.raises(ValueError, match="expected codes of 2, got 3"):
                jax.eval_shape(start)


# Measures


def test_measures_are_scikit_learns():
    rng = np.random.default_rng(0)
    p, t = rng.dirichlet([0.5] * 4, 50), rng.integers(0, 4, 50)
    found = metrics.classification(p, t)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(t, p.argmax(1)))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    assert found["loss"] == pytest.approx(sklearn.metrics.log_loss(t, p, labels=range(4)))
    want = sklearn.metrics.confusion_matrix(t, p.argmax(1), labels=range(4))
    np.testing.assert_array_equal(metrics.confusion(p, t), want)
    sure = metrics.classification(np.array([[1.0, 0.0]]), np.array([1]))
    assert sure["loss"] == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize(
    ("p", "t", "message"),
    [
        (np.ones((2, 2)) / 2, np.zeros(3, int), "got (2, 2) and int64 (3,)"),
        (np.ones((2, 2)) / 2, np.zeros(2), "and float64"),
        (np.ones((2, 2)), np.zeros(2, int), "that add up to 1"),
        (np.full((2, 2), np.nan), np.zeros(2, int), "that add up to 1"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "expected classes 0..1, got 0..2"),
    ],
)
def test_what_is_no_classification_is_refused(p, t, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metrics.classification(p, t)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "colour"}, "label of ['half', 'larger'], got 'colour'"),
        ({"label": "half"}, "labels 0..1 of 2 classes, got [0.5]"),
        ({"classes": ("one",)}, "at least two classes"),
        ({"encoder": "gpt"}, "got 'gpt'"),
        ({"smoothing": 1.0}, "smoothing in [0, 1)"),
        ({"noise": -1.0}, "noise: -1.0"),
        ({"phase": 1}, "admit phase shifts"),
    ],
    ids=str,
)
@pytest.mark.trains
def test_training_refuses(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(make_zoo(), tmp_path, **changes)


@pytest.mark.trains
def test_bad_networks_are_refused_by_name(trained):
    zoo, model, _, _ = trained
    broken = {**zoo.params(0), "Dense_0/bias": np.full(4, np.nan)}
    with pytest.raises(ValueError, match="Dense_0/bias: 4 of 4 values are NaN"):
        model.classify(broken)
    wide = architectures.mlp([1, 9, 1], "tanh")
    with pytest.raises(ValueError, match="StatNN reads only the architecture"):
        model.predict(testing.draw(jax.random.key(0), wide), wide)
    assert networks.ravel(zoo.params(0), SPEC).shape == (SPEC.count,)
    assert dataclasses.asdict(Objective())["smoothing"] == 0

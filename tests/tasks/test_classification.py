"""A classifier beats the majority, comes back from its path, and names bad input."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from cases.tasks import fit, thirds

from wsjax import architectures, encoders, metrics, testing, zoos
from wsjax.tasks import restore
from wsjax.tasks.classification import Classification, Objective
from wsjax.training.log import read_lines

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
    return thirds(zoos.from_params(params, SPEC, {"larger": which, "half": which / 2}))


def train(zoo, folder, encoder="stat_nn", settings=TINY, head=(8,), steps=8, **changes):
    label, classes = changes.pop("label", "larger"), changes.pop("classes", CLASSES)
    task = Classification(label, classes, Objective(**changes))
    return fit(zoo, task, folder, encoder, settings, head, steps=steps, evaluate_every=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, zoo = tmp_path_factory.mktemp("run"), make_zoo()
    return zoo, train(zoo, folder, steps=60, smoothing=0.05, permute=True), folder


@pytest.mark.trains
def test_it_learns_more_than_the_majority(trained):
    zoo, trained, _ = trained
    networks, labels = zoo.part("test", "larger")
    scores = metrics.classification(trained.predict(networks), labels.astype(int))
    assert scores["accuracy"] > 0.85  # the majority: about a half
    networks, labels = zoo.part("validation", "larger")
    error = np.mean(trained.predict(networks).argmax(1) != labels)
    assert trained.result.best_value == pytest.approx(error)


@pytest.mark.trains
def test_a_temperature_changes_probabilities_and_no_class(trained):
    zoo, trained, _ = trained
    validation, labels = zoo.part("validation", "larger")
    loud = {k: v for k, v in trained.variables["params"].items()}
    last = max(loud["head"])
    loud["head"] = {**loud["head"], last: jax.tree.map(lambda x: 40 * x, loud["head"][last])}
    loud = dataclasses.replace(trained, variables={**trained.variables, "params": loud})
    cooled = loud.calibrated(validation)
    loss = lambda t: metrics.classification(t.predict(validation), labels.astype(int))["loss"]
    assert loss(cooled) < loss(loud)
    assert loss(cooled) <= loss(trained) + 1e-6
    assert (cooled.classify(validation) == trained.classify(validation)).all()
    own = trained.calibrated(validation).constants["temperature"]
    assert cooled.constants["temperature"] == pytest.approx(40 * own, rel=0.02)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="expected a temperature above 0"):
            dataclasses.replace(trained, constants={"temperature": wrong})


@pytest.mark.trains
def test_restore_needs_nothing_but_the_path(trained):
    zoo, trained, folder = trained
    again, (networks, _) = restore(folder), zoo.part("test", "larger")
    np.testing.assert_array_equal(again.predict(networks), trained.predict(networks))
    np.testing.assert_array_equal(again.encode(networks), trained.encode(networks))
    assert again.specs == (SPEC,)
    assert again.task == trained.task
    assert again.task.objective.smoothing == 0.05


@pytest.mark.trains
def test_probabilities_and_names_of_one_network_and_of_many(trained):
    zoo, trained, _ = trained
    many = trained.predict(zoo.params(slice(0, 5)))
    np.testing.assert_allclose(many.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(trained.predict(zoo.params(2)), many[2], rtol=1e-5)
    np.testing.assert_allclose(many, jax.nn.softmax(trained.outputs(zoo.vectors[:5])), rtol=1e-5)
    names = trained.classify(zoo.select(np.arange(5)))
    assert names.tolist() == [CLASSES[i] for i in many.argmax(1)]
    assert trained.classify(zoo.params(2)) == names[2]
    assert trained.encode(zoo.params(2)).shape == (8,)


@pytest.mark.trains
def test_augmentations_are_drawn_in_the_step(tmp_path):
    """Of an encoder without symmetry, each augmentation changes the loss of the first step."""
    zoo, losses = make_zoo(), {}
    for i, changes in enumerate(({}, {"permute": True}, {"flip": True}, {"mask": 0.3})):
        flat = ("mlp", {"widths": (8,)}, (8,))
        result = train(zoo, tmp_path / str(i), *flat, steps=1, **changes).result
        losses[str(changes)] = read_lines(result.history)[0]["loss"]
    assert len({f"{x:.6f}" for x in losses.values()}) == len(losses)


def test_permutations_are_apart_from_other_augmentations():
    assert Objective(permute=True).others == Objective().others
    assert Objective(phase=2, permute=True).others.phase == 2


def two_widths(count=48):
    flat, wide = make_zoo(count), architectures.mlp([1, 6, 1], "tanh")
    params = testing.draw(jax.random.key(9), wide, (count,))
    which = {"larger": np.arange(count) % 2, "half": np.zeros(count)}
    other = zoos.from_params(params, wide, which)
    return thirds(zoos.join([flat, other]))


@pytest.mark.trains
def test_several_architectures_train_together(tmp_path):
    zoo = two_widths()
    sets = ("deepsets", {"widths": (8,), "code": 4})
    trained = train(zoo, tmp_path / "both", *sets, permute=True)
    networks, _ = zoo.part("test", "larger")
    together = trained.predict(networks)
    for s, spec in enumerate(zoo.specs):
        alone = trained.predict(networks.of(s).vectors, spec)
        np.testing.assert_allclose(together[networks.which == s], alone, rtol=1e-4)
    with pytest.raises(ValueError, match="trained on 2 architectures: expected the spec"):
        trained.predict(networks.of(0).vectors)
    with pytest.raises(ValueError, match="no augmentation but permutations of 2 architectures"):
        train(zoo, tmp_path / "noise", *sets, noise=0.1)


@pytest.mark.parametrize("code", [2, 3])
def test_without_a_head_embeddings_are_logits(code):
    module = Classification("larger", CLASSES).module(encoders.MLP(widths=(4,), code=code), ())
    x, view = np.ones((3, SPEC.count), np.float32), module.encoder.view(SPEC)
    start = lambda: module.init_with_output(jax.random.key(0), x, view)
    if code == 2:
        out, variables = jax.eval_shape(start)
        assert out.shape == (3, 2)
        assert set(variables["params"]) == {"encoder"}
    else:
        with pytest.raises(ValueError, match="expected embeddings of 2, got 3"):
            jax.eval_shape(start)


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
def test_bad_tasks_are_errors(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(make_zoo(), tmp_path, **changes)


@pytest.mark.trains
def test_bad_networks_are_named(trained):
    zoo, trained, _ = trained
    broken = {**zoo.params(0), "Dense_0/bias": np.full(4, np.nan)}
    with pytest.raises(ValueError, match="Dense_0/bias: 4 of 4 values are NaN"):
        trained.classify(broken)
    wide = architectures.mlp([1, 9, 1], "tanh")
    with pytest.raises(ValueError, match="StatNN supports only the architecture"):
        trained.predict(testing.draw(jax.random.key(0), wide), wide)
    assert dataclasses.asdict(Objective())["smoothing"] == 0

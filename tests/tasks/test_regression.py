"""A predictor learns what encoders blind to layers cannot."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.tasks import SPEC, STAT_NN, fit, ratio_zoo, two_depths

from wsjax import architectures, encoders, metrics, zoos
from wsjax.tasks import restore
from wsjax.tasks.base import Part
from wsjax.tasks.regression import Objective, Regression
from wsjax.training.log import read_lines

pytestmark = pytest.mark.trains


def test_it_learns_what_an_encoder_blind_to_layers_cannot(tmp_path):
    zoo = ratio_zoo(256)
    networks, labels = zoo.part("test", "ratio")
    error = {}
    for name, settings in (("sne", None), ("deepsets", {"widths": (16, 16)})):
        how = {"steps": 150, "learning_rate": 3e-3}
        trained = fit(zoo, "ratio", tmp_path / name, name, settings, **how)
        error[name] = np.mean((trained.predict(networks) - labels) ** 2) / labels.var()
    assert error["sne"] < 0.5
    assert error["deepsets"] > 0.8


def test_predictions_are_outputs_in_the_labels_units(tmp_path):
    zoo = ratio_zoo()
    trained = fit(zoo, "ratio", tmp_path, "stat_nn", STAT_NN)
    _, labels = zoo.part("train", "ratio")
    assert trained.constants == pytest.approx({"mean": labels.mean(), "deviation": labels.std()})
    networks, labels = zoo.part("validation", "ratio")
    predicted = trained.outputs(networks) * trained.constants["deviation"]
    np.testing.assert_allclose(trained.predict(networks), predicted + trained.constants["mean"])
    error = np.mean((trained.predict(networks) - labels) ** 2)
    assert error == pytest.approx(trained.result.best_value)


def test_constants_are_those_of_the_training_networks_alone(tmp_path):
    zoo = ratio_zoo()
    vectors = zoo.vectors.copy()
    vectors[zoo.splits["test"]] *= 100
    labels = {k: np.where(np.isin(np.arange(len(zoo)), zoo.splits["test"]), 9, v)
              for k, v in zoo.labels.items()}  # fmt: skip
    other = dataclasses.replace(zoo, vectors=vectors, labels=labels)
    one, two = (
        fit(z, "ratio", tmp_path / str(i), "stat_nn", STAT_NN) for i, z in enumerate((zoo, other))
    )
    assert (one.scale, one.constants) == (two.scale, two.constants)


@pytest.mark.parametrize(
    ("labels", "deviation"), [([1e38, 3e38, 1e38, 3e38], 1e38), ([0.1] * 4, 1.0)]
)
def test_constants_of_large_and_of_equal_labels(labels, deviation):
    vectors = np.ones((4, SPEC.count), np.float32)
    zoo = zoos.Zoo.of_spec(vectors, SPEC, {"label": np.array(labels, np.float32)})
    task = Regression("label")
    constants = task.constants(zoo)
    assert constants == pytest.approx({"mean": np.mean(labels), "deviation": deviation})
    target = task.targets(Part(zoo, np.arange(4)), constants)["target"]
    np.testing.assert_allclose(np.abs(target), deviation / 1e38, rtol=1e-6, atol=1e-6)


def test_several_architectures_train_in_one_program_and_predict_as_each_alone(tmp_path):
    zoo = two_depths()
    task = Regression("ratio", Objective(invariance=0.1, share=0.5))
    trained = fit(zoo, task, tmp_path, steps=20)
    networks, _ = zoo.part("test", "ratio")
    together = trained.predict(networks)
    for s, spec in enumerate(zoo.specs):
        alone = trained.predict(networks.of(s).vectors, spec)
        np.testing.assert_allclose(together[networks.which == s], alone, rtol=1e-4, atol=1e-5)
    again = restore(tmp_path)
    assert again.specs == zoo.specs
    np.testing.assert_array_equal(again.predict(networks), together)
    with pytest.raises(ValueError, match="trained on 2 architectures: expected the spec"):
        trained.predict(networks.of(0).vectors)


def test_encoders_of_one_architecture_support_zoos_whose_views_are_equal(tmp_path):
    zoo = ratio_zoo()
    half = np.arange(len(zoo)) >= len(zoo) // 2
    relu = architectures.mlp([1, 4, 1], "relu")
    both = dataclasses.replace(zoo, specs=(SPEC, relu), which=half.astype(int))
    trained = fit(both, "ratio", tmp_path / "both", "stat_nn", STAT_NN)
    one = fit(zoo, "ratio", tmp_path / "one", "stat_nn", STAT_NN)
    np.testing.assert_allclose(
        trained.predict(both.part("test", "ratio")[0]),
        one.predict(zoo.part("test", "ratio")[0]),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"StatNN .* one architecture .*, got 2"):
        fit(two_depths(), "ratio", tmp_path / "deep", "stat_nn", STAT_NN)


def test_the_published_stat_nn_has_its_number_of_parameters():
    """The zoo of small CNNs: 1 059 001, by the authors' code of NFN."""
    spec = architectures.cnn([1, 16, 16, 16], [10], stride=2, padding="VALID")
    module = Regression("accuracy").module(encoders.StatNN(widths=(1000,), code=1000), ())
    init = lambda key: module.init(key, jnp.zeros((1, spec.count)), module.encoder.view(spec))
    params = jax.eval_shape(init, jax.random.key(0))["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 1_059_001


def test_the_measure_that_is_reported_selects_the_checkpoint(tmp_path):
    zoo = ratio_zoo()
    task = Regression("share", Objective(loss="bce"), "tau")
    trained = fit(zoo, task, tmp_path, "stat_nn", STAT_NN, steps=40, evaluate_every=8)
    networks, labels = zoo.part("validation", "share")
    taus = [line["val_tau"] for line in read_lines(tmp_path / "metrics.jsonl")]
    assert trained.result.best_value == pytest.approx(max(taus))
    assert metrics.kendall_tau(trained.predict(networks), labels) == pytest.approx(max(taus))
    assert restore(tmp_path).task == task
    with pytest.raises(ValueError, match=r"a measure of \['mse', 'mae', 'r2', 'tau'\], got 'auc'"):
        Regression("share", measure="auc")


def test_constant_predictions_have_a_tau_that_selects(tmp_path):
    zoo = ratio_zoo()
    alike = dataclasses.replace(zoo, vectors=np.ones_like(zoo.vectors))
    trained = fit(alike, Regression("ratio", measure="tau"), tmp_path, "stat_nn", STAT_NN)
    assert trained.result.best_value == 0.0
    assert np.ptp(trained.predict(alike)) == 0


@pytest.mark.parametrize("loss", ["bce", "brier"])
def test_losses_of_shares_predict_shares(tmp_path, loss):
    zoo, bce = ratio_zoo(), Objective(loss=loss)
    trained = fit(zoo, Regression("share", bce), tmp_path, "stat_nn", STAT_NN)
    predicted = trained.predict(zoo.part("test", "share")[0])
    assert ((predicted > 0) & (predicted < 1)).all()
    with pytest.raises(ValueError, match=r"labels in \[0, 1\], got -.*of 'ratio'"):
        fit(zoo, Regression("ratio", bce), tmp_path / "other", "stat_nn", STAT_NN)


def test_fewer_networks_than_the_batch(tmp_path):
    with pytest.raises(ValueError, match="batch of 16 examples, got 8"):
        fit(zoos.split(ratio_zoo(16), {"train": 8, "validation": 4}, 0), "ratio", tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"loss": "mae"}, {"invariance": -1.0}, {"samples": 0}, {"share": 0.0}]
)
def test_objectives_are_checked(wrong):
    with pytest.raises(
        ValueError, match=r"loss of \['bce', 'brier', 'mse'\], invariance >= 0, samples"
    ):
        Objective(**wrong)

"""Embeddings learned without labels identify networks; the probe is least squares and no more."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from cases import tasks as cases
from cases.tasks import thirds

from wsjax import architectures, encoders, networks, testing, zoos
from wsjax.symmetries import permutations
from wsjax.tasks import base, contrastive, restore
from wsjax.tasks.contrastive import Contrastive, Objective
from wsjax.training.log import read_lines

pytestmark = pytest.mark.trains

SPEC = architectures.mlp([1, 6, 1], "tanh")
LABELS = ("gain", "offset")
MLP = {"widths": (16,), "code": 8}
MODULE = encoders.MLP(**MLP)


def make_zoo(count=128, seed=0):
    """Two labels that are the size of one array and the value of another."""
    params = {k: np.array(v) for k, v in testing.draw(jax.random.key(seed), SPEC, (count,)).items()}
    gain, offset = np.random.default_rng(seed).uniform(0.5, 2, (2, count))
    params["Dense_0/kernel"] *= gain[:, None, None]
    params["Dense_1/bias"] = offset[:, None]
    return thirds(zoos.from_params(params, SPEC, {"gain": gain, "offset": offset}))


def train(zoo, folder, encoder="mlp", settings=None, labels=LABELS, objective=None, **how):
    task = Contrastive(labels, objective or Objective(mask=0.2))
    how = {"steps": 8, "evaluate_every": 4} | how
    return cases.fit(zoo, task, folder, encoder, settings or MLP, (8, 8), **how)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with jax.numpy_dtype_promotion("standard"):
        zoo = make_zoo()
        trained = train(zoo, folder)
    return zoo, trained, folder


def recognised(trained, zoo):
    """The share of test networks whose permuted twin's embedding is nearer than any other."""
    vectors = zoo.vectors[zoo.splits["test"]]
    keys = jax.random.split(jax.random.key(3), len(vectors))
    shuffle = jax.vmap(permutations.shuffle, in_axes=(0, 0, None))
    twins = np.asarray(shuffle(keys, vectors, permutations.moves(SPEC)))
    both = [trained.encode(x) for x in (vectors, twins)]
    both = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in both]
    return np.mean((both[0] @ both[1].T).argmax(1) == np.arange(len(vectors)))


# Training


def test_training_teaches_what_copies_share(tmp_path):
    zoo = make_zoo(256)
    twins = Objective(noise=0.1, mask=0.0, permute=True)
    how = {"steps": 200, "evaluate_every": 200, "batch": 64}
    trained = train(zoo, tmp_path, objective=twins, **how)
    module = trained.module
    params = module.init(jax.random.key(5), zoo.vectors[:1], module.encoder.view(SPEC))["params"]
    untrained = dataclasses.replace(trained, variables={"params": params})
    assert recognised(untrained, zoo) < 0.15
    assert recognised(trained, zoo) > 0.25
    lines = read_lines(trained.result.history)
    assert lines[-1]["loss"] < np.log(2 * 64 - 1)  # what views all alike would give


def test_labels_do_not_reach_the_encoder(tmp_path):
    zoo = make_zoo()
    other = dataclasses.replace(zoo, labels={k: 7 - 3 * v for k, v in zoo.labels.items()})
    how = {"evaluate_every": 8}  # one evaluation: no choice among checkpoints
    one = train(zoo, tmp_path / "one", **how)
    two = train(other, tmp_path / "two", **how)
    jax.tree.map(np.testing.assert_array_equal, one.variables, two.variables)
    vectors = zoo.vectors[zoo.splits["test"]]
    np.testing.assert_allclose(two.predict(vectors), 7 - 3 * one.predict(vectors), atol=1e-4)


def test_the_checkpoint_is_selected_by_the_validation_error_of_a_probe(trained):
    zoo, trained, _ = trained
    result = trained.result
    lines = read_lines(result.history)
    assert result.best_value == pytest.approx(min(x["val_mse"] for x in lines), rel=1e-6)
    each = [lines[-1][f"val_mse_{k}"] for k in LABELS]
    assert lines[-1]["val_mse"] == pytest.approx(np.mean(each))
    vectors = zoo.vectors[zoo.splits["validation"]]
    targets = contrastive.targets(zoo, "validation", LABELS)
    # all training networks are within `probed`: the final probe is the one that was evaluated
    scores = contrastive.errors(trained.predict(vectors), targets, LABELS)
    assert scores["mse"] == pytest.approx(result.best_value, rel=1e-5)


def test_pieces_change_memory_and_not_the_numbers(tmp_path):
    zoo, how = make_zoo(), {"steps": 2, "evaluate_every": 2}
    whole = train(zoo, tmp_path / "whole", **how)
    pieces = train(zoo, tmp_path / "pieces", objective=Objective(mask=0.2, piece=4), **how)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, whole.variables, pieces.variables)


def test_restore_needs_nothing_but_the_path(trained):
    zoo, trained, folder = trained
    again = restore(folder)
    vectors = zoo.vectors[zoo.splits["test"]]
    np.testing.assert_array_equal(again.encode(vectors), trained.encode(vectors))
    np.testing.assert_array_equal(again.predict(vectors), trained.predict(vectors))
    assert again.encode(zoo.params(0)).shape == (8,)
    assert again.predict(zoo.params(0)).shape == (2,)
    assert again.task == trained.task
    assert again.specs == (SPEC,)


def test_a_statistics_encoder_comes_back_and_goes_on_after_a_stop(tmp_path):
    zoo = make_zoo()
    trained = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4})
    (tmp_path / "probe.json").unlink()  # as if killed between the last step and the probe
    with pytest.raises(FileNotFoundError, match="written when training ends"):
        restore(tmp_path)
    resumed = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4})
    assert resumed.result.resumed == 8
    vectors = zoo.vectors[zoo.splits["test"]]
    again = restore(tmp_path)
    np.testing.assert_allclose(again.predict(vectors), trained.predict(vectors), rtol=1e-4)


def test_copies_are_permuted_only_where_the_objective_says_so():
    zoo, x = make_zoo(), np.linspace(-1, 1, 5)[:, None]
    vectors, key, views = zoo.vectors[:6], jax.random.key(0), base.views(MODULE, [SPEC])
    still = Objective(noise=0.0, mask=0.0)
    np.testing.assert_array_equal(still.augment(key, vectors, views), vectors)
    moved = dataclasses.replace(still, permute=True).augment(key, vectors, views)
    assert (np.asarray(moved) != vectors).any(1).all()
    forward = jax.vmap(lambda v: architectures.forward(networks.unravel(v, SPEC), x, SPEC))
    np.testing.assert_allclose(forward(moved), forward(vectors), atol=1e-4)
    masked = Objective().augment(key, vectors, views)
    assert np.mean(np.asarray(masked) == 0) == pytest.approx(0.5, abs=0.15)


# The probe


def test_the_probe_is_least_squares():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 3)) * [1, 100, 0.01] + [0, 5, -2]
    targets = rng.normal(size=(50, 2)) + embeddings[:, :2]
    table = np.column_stack([embeddings, np.ones(50)])
    want = table @ np.linalg.solve(table.T @ table, table.T @ targets)
    probe = contrastive.fit_probe(embeddings, targets)
    np.testing.assert_allclose(probe.predict(embeddings), want, atol=1e-8)
    np.testing.assert_allclose(probe.predict(embeddings[3]), want[3], atol=1e-8)


def test_the_probe_predicts_what_is_linear_in_the_embedding_and_nothing_else():
    embeddings = np.random.default_rng(0).normal(size=(400, 4))
    targets = np.stack([2 * embeddings[:, 0] - embeddings[:, 3] + 1, embeddings[:, 1] ** 2], axis=1)
    probe = contrastive.fit_probe(embeddings[:200], targets[:200])
    scores = contrastive.errors(probe.predict(embeddings[200:]), targets[200:], ("line", "square"))
    assert scores["mse_line"] < 1e-20
    assert scores["mse_square"] > 0.9 * targets[200:, 1].var()


@pytest.mark.parametrize("count", [1, 20])
def test_equal_embeddings_give_the_mean(count):
    targets = np.arange(2.0 * count).reshape(count, 2)
    probe = contrastive.fit_probe(np.full((count, 3), 4.0), targets)
    np.testing.assert_allclose(probe.predict(np.full((2, 3), 9.0)), [targets.mean(0)] * 2)


def test_errors_are_those_of_each_label_and_of_all():
    scores = contrastive.errors(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), ("a", "b"))
    assert scores == {"mse": 2.5, "mse_a": 1.0, "mse_b": 4.0}


@pytest.mark.parametrize(
    ("embeddings", "targets", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "got (3, 2) and (4, 2)"),
        (np.ones((3, 2)), np.ones(3), "got (3, 2) and (3,)"),
        (np.ones((0, 2)), np.ones((0, 2)), "got (0, 2) and (0, 2)"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "6 of 6 embeddings are NaN"),
        (np.ones((3, 2)), np.full((3, 1), np.inf), "3 of 3 targets are NaN"),
    ],
)
def test_bad_arrays_of_a_probe_are_errors(embeddings, targets, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        contrastive.fit_probe(embeddings, targets)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch of at least 2"),
        ({"microbatch": 4}, "microbatch 4"),
        ({"objective": Objective(piece=5)}, "piece 5"),
        ({"labels": ("gain", "colour")}, "label of ['gain', 'offset'], got 'colour'"),
        ({"encoder": "gpt"}, "got 'gpt'"),
        ({"batch": 65}, "batch of 65 examples, got 64"),
        ({"labels": ()}, "at least one label"),
    ],
    ids=str,
)
def test_bad_tasks_are_errors(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(make_zoo(), tmp_path, **changes)


def test_networks_that_are_not_finite_are_errors(trained):
    zoo, trained, _ = trained
    broken = zoo.vectors[:2].copy()
    broken[1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 12 values are NaN"):
        trained.encode(broken)
    with pytest.raises(ValueError, match="NaN or infinite"):
        dataclasses.replace(zoo, vectors=np.where(zoo.vectors > 0, np.inf, zoo.vectors))


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"noise": -1.0}, {"mask": 1.0}, {"probed": 0}, {"piece": -1}]
)
def test_objectives_are_checked(wrong):
    with pytest.raises(ValueError, match=r"expected a temperature above 0"):
        Objective(**wrong)

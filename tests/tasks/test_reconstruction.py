"""An auto-encoder's loss is the sum of its parts; networks come back from their embeddings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.tasks import fit, ratio_zoo

from wsjax import architectures, networks
from wsjax.encoders import HyperRep
from wsjax.tasks import base, losses, reconstruction, restore
from wsjax.tasks.reconstruction import Objective, Reconstruction
from wsjax.training.log import read_lines

KEY = jax.random.key(0)
TINY = {"width": 8, "depth": 1, "heads": 2, "hidden": 6, "code": 4, "head": (6, 5)}
SPEC = architectures.mlp([2, 5, 4, 1], "tanh")
SMALL_CNN = architectures.cnn([1, 16, 16, 16], [10], kernel=3, stride=2)  # 4 970 parameters


def test_blocks_are_erased_in_one_piece():
    view, vectors = HyperRep(**TINY).view(SMALL_CNN), np.ones((400, 4970), np.float32)
    erase = jax.jit(lambda k: reconstruction.erase(k, vectors, view.rank, 0.5, (0.02, 0.33)))
    erased = np.asarray(erase(KEY))[:, np.argsort(view.rank)] == 0
    sizes = erased.sum(1)
    assert 0.4 < (sizes > 0).mean() < 0.6
    sizes = sizes[sizes > 0]
    assert 0.02 * 4970 - 1 <= sizes.min() < 0.04 * 4970
    assert 0.31 * 4970 < sizes.max() <= 0.33 * 4970
    edges = np.abs(np.diff(np.pad(erased.astype(int), ((0, 0), (1, 1))), axis=1)).sum(1)
    assert set(edges) == {0, 2}
    assert erased.any(0).mean() > 0.99  # blocks lie everywhere
    assert (reconstruction.erase(KEY, vectors[:3], view.rank, 0.0, (0.1, 0.2)) == 1).all()


def test_the_loss_is_made_of_its_parts():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((4, SPEC.count)).astype(np.float32)
    embeddings = jnp.asarray(rng.standard_normal((8, 5)), jnp.float32)
    views = base.views(HyperRep(**TINY), [SPEC])
    batch = {"vectors": vectors, "which": np.zeros(4, np.int32)}

    @functools.partial(jax.jit, static_argnums=0)
    def loss(objective):
        received = []

        def apply(copies, which, drops):
            received.append(copies)
            return embeddings, jnp.zeros_like(copies)

        total, parts = Reconstruction(objective).loss(base.Step(apply, views, None), batch, KEY)
        return total, parts["contrast"], parts["reconstruction"], received[0]

    plain = Objective(permute=False, probability=0.0, gamma=0.3, temperature=0.5)
    total, contrast, error, copies = loss(plain)
    np.testing.assert_array_equal(copies, np.concatenate([vectors, vectors]))
    want = losses.nt_xent(embeddings[:4], embeddings[4:], 0.5).mean()
    np.testing.assert_allclose(contrast, want, rtol=1e-6)
    np.testing.assert_allclose(error, (vectors**2).mean(), rtol=1e-6)
    np.testing.assert_allclose(total, 0.3 * want + 0.7 * (vectors**2).mean(), rtol=1e-6)
    _, _, error, copies = loss(Objective(probability=1.0))
    assert (copies == 0).any(1).all()
    assert not np.array_equal(copies[:4], copies[4:])
    np.testing.assert_allclose(error, (copies**2).mean(), rtol=1e-6)
    _, _, error, _ = loss(Objective(probability=1.0, target="network"))
    np.testing.assert_allclose(error, (vectors**2).mean(), rtol=1e-5)
    *_, copies = loss(Objective(probability=0.0))
    np.testing.assert_allclose(np.sort(copies[0]), np.sort(vectors[0]))
    assert not np.array_equal(copies[0], vectors[0])


@pytest.mark.trains
def test_it_learns_both_parts_and_comes_back_from_its_path(tmp_path):
    zoo = ratio_zoo()
    task = Reconstruction(Objective(gamma=0.5, temperature=0.5, share=(0.0, 0.1)))
    settings = {"width": 16, "depth": 1, "heads": 2, "hidden": 16, "code": 8, "head": (16, 8)}
    trained = fit(
        zoo, task, tmp_path, "hyperrep", settings | {"dropout": 0.0}, steps=150, evaluate_every=10
    )
    lines = read_lines(trained.result.history)
    for name in ("contrast", "reconstruction"):
        assert lines[-1][name] < 0.8 * lines[0][name], name
    again, params = restore(tmp_path), zoo.params(3)
    assert again.task == task
    decoded = again.reconstruct(params)
    vectors = trained.reconstruct(zoo.vectors[:5])
    np.testing.assert_allclose(networks.ravel(decoded, zoo.spec), vectors[3], rtol=1e-4, atol=1e-5)
    assert trained.encode(zoo).shape == (64, 8)
    validation = zoo.vectors[zoo.splits["validation"]]
    error = trained.scale.apply(trained.reconstruct(validation) - validation, zoo.spec)
    assert np.mean(error**2) == pytest.approx(trained.result.best_value, rel=1e-4)
    assert trained.result.best_value < lines[0]["val_mse"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.5}, r"gamma and probability in \[0, 1\].*gamma=1\.5"),
        ({"share": (0.5, 0.2)}, "0 <= least <= most < 1"),
        ({"target": "hole"}, r"target of \('view', 'network'\), got .*'hole'"),
    ],
)
def test_objectives_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Objective(**settings)


@pytest.mark.trains
def test_encoders_that_do_not_decode_are_named(tmp_path):
    with pytest.raises(ValueError, match="expected HyperRep, which decodes, got DeepSets"):
        fit(ratio_zoo(), Reconstruction(), tmp_path, "deepsets")

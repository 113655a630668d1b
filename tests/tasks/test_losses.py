import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, networks, testing
from wsjax.symmetries import permutations
from wsjax.tasks import losses

SPEC = architectures.mlp([2, 5, 3, 1], "tanh")
KEY = jax.random.key(0)
VECTORS = networks.ravel(testing.draw(KEY, SPEC, (6,)), SPEC)
TARGET = jnp.arange(6.0)
FIRST = lambda x: x[:, 0]  # depends on the order of neurons


def run(predict, **settings):
    how = {"permute": False, "invariance": 0.0, "samples": 1, "share": 1.0} | settings
    moves = permutations.moves(SPEC)
    return losses.regression(
        lambda x, rows: predict(x), losses.squared_error, VECTORS, TARGET, KEY, moves, **how
    )


def test_the_task_loss_is_the_mean_error():
    loss, parts = run(FIRST)
    np.testing.assert_allclose(loss, np.mean((VECTORS[:, 0] - TARGET) ** 2), rtol=1e-6)
    assert set(parts) == {"task"}


def test_briers_score_is_the_squared_error_of_a_share():
    logit, target = np.array([0.0, 2.0, -30.0]), np.array([0.5, 0.0, 1.0])
    want = (1 / (1 + np.exp(-logit)) - target) ** 2
    np.testing.assert_allclose(losses.brier(logit, target), want, rtol=1e-6, atol=1e-12)


def test_invariance_is_zero_for_an_invariant_predictor_and_only_then():
    _, parts = run(lambda x: x.sum(1), invariance=1.0, samples=3)
    assert parts["invariance"] < 1e-10
    _, parts = run(FIRST, invariance=1.0, samples=3)
    assert parts["invariance"] > 1e-3


def test_invariance_is_half_the_mean_square_change():
    a, b = jnp.array([1.0, 2.0]), jnp.array([[3.0, 2.0], [1.0, 5.0]])
    np.testing.assert_allclose(losses.logit_invariance(a, b), [1.0, 2.25])


def test_a_share_of_the_batch_is_copied():
    seen = []
    run(lambda x: (seen.append(len(x)), x[:, 0])[1], invariance=1.0, samples=2, share=0.4)
    assert seen == [6 + 2 * 3]


def test_copies_are_data_of_augmentation_alone():
    """For an invariant predictor a copy's error is its original's."""
    predict = lambda x: jnp.abs(x).sum(1)
    errors = (predict(VECTORS) - TARGET) ** 2
    settings = {"invariance": 1.0, "samples": 2, "share": 0.5}
    as_in_eq_10, _ = run(predict, **settings)
    np.testing.assert_allclose(as_in_eq_10, errors.mean(), rtol=1e-4)
    augmented, _ = run(predict, permute=True, **settings)
    want = (errors.sum() + 2 * errors[:3].sum()) / 12
    np.testing.assert_allclose(augmented, want, rtol=1e-4)


def test_its_weight_enters_the_loss():
    one, parts = run(FIRST, invariance=1.0)
    three, _ = run(FIRST, invariance=3.0)
    np.testing.assert_allclose(three - one, 2 * parts["invariance"], rtol=1e-5)


def test_permutations_keep_the_function():
    x = jax.random.normal(KEY, (4, 2))

    def outputs(vectors):
        forward = lambda v: architectures.forward(networks.unravel(v, SPEC), x, SPEC).sum()
        return jax.vmap(forward)(vectors)

    plain, moved = run(outputs)[0], run(outputs, permute=True)[0]
    np.testing.assert_allclose(moved, plain, rtol=1e-4)
    assert abs(run(FIRST)[0] - run(FIRST, permute=True)[0]) > 1e-3


def test_cross_entropy_against_numpy():
    logit = np.linspace(-3, 3, 7, dtype=np.float32)
    share = np.linspace(0, 1, 7, dtype=np.float32)
    p = 1 / (1 + np.exp(-logit))
    want = -(share * np.log(p) + (1 - share) * np.log(1 - p))
    np.testing.assert_allclose(losses.binary_cross_entropy(logit, share), want, rtol=1e-5)


def slow_nt_xent(one, other, temperature):
    """Chen et al. (2020), eq. 1, written out: a loop over anchors, and one over the others."""
    views = np.concatenate([one, other]).astype(np.float64)
    n = len(one)
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    losses = np.zeros(2 * n)
    for i in range(2 * n):
        total = 0.0
        for k in range(2 * n):
            if k != i:
                total += np.exp(cosine(views[i], views[k]) / temperature)
        losses[i] = -np.log(
            np.exp(cosine(views[i], views[(i + n) % (2 * n)]) / temperature) / total
        )
    return np.array([(losses[i] + losses[i + n]) / 2 for i in range(n)])


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_against_a_double_loop(temperature):
    one, other = jax.random.normal(KEY, (2, 7, 5)) * jnp.arange(1.0, 8.0)[:, None]
    found = losses.nt_xent(one, other, temperature)
    np.testing.assert_allclose(found, slow_nt_xent(one, other, temperature), rtol=1e-5)
    # both views are anchors, and lengths do not count
    np.testing.assert_allclose(losses.nt_xent(other, one, temperature), found, rtol=1e-5)
    np.testing.assert_allclose(losses.nt_xent(3 * one, other, temperature), found, rtol=1e-4)


def test_nt_xent_in_its_limits():
    """Views all alike tell nothing: log(2n - 1). Orthogonal pairs that agree: close to 0."""
    same = jnp.ones((6, 4))
    np.testing.assert_allclose(losses.nt_xent(same, same, 0.1), np.log(11), rtol=1e-5)
    apart = jnp.eye(6)
    np.testing.assert_allclose(losses.nt_xent(apart, apart, 0.05), 0, atol=1e-6)
    want = np.log(np.e + 10) - 1  # at temperature 1: the partner's e against ten times e^0
    np.testing.assert_allclose(losses.nt_xent(apart, apart, 1.0), want, rtol=1e-5)
    swapped = jnp.roll(apart, 1, axis=0)  # each pair's views belong to two other pairs
    assert losses.nt_xent(apart, swapped, 0.05).min() > 19


def test_nt_xent_has_a_gradient_at_views_of_zeros():
    slope = jax.grad(lambda x: losses.nt_xent(x, x, 0.1).sum())(jnp.zeros((3, 4)))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("shapes", "temperature", "message"),
    [
        (((1, 4), (1, 4)), 0.1, "at least 2 examples, got (1, 4)"),
        (((3, 4), (3, 5)), 0.1, "got (3, 4) and (3, 5)"),
        (((3,), (3,)), 0.1, "two views [batch, width]"),
        (((3, 4), (3, 4)), 0.0, "temperature above 0, got 0.0"),
    ],
)
def test_bad_views_are_errors(shapes, temperature, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        losses.nt_xent(*map(jnp.ones, shapes), temperature)

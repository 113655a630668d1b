import jax
import jax.numpy as jnp
import numpy as np

from wsjax import architectures, networks, objectives, symmetries, testing

SPEC = architectures.mlp([2, 5, 3, 1], "tanh")
KEY = jax.random.key(0)
VECTORS = networks.ravel(testing.draw(KEY, SPEC, (6,)), SPEC)
TARGET = jnp.arange(6.0)
FIRST = lambda x: x[:, 0]  # sees the numbering


def run(predict, **settings):
    how = {"renumber": False, "invariance": 0.0, "samples": 1, "share": 1.0} | settings
    moves = symmetries.moves(SPEC)
    return objectives.regression(
        predict, objectives.squared_error, VECTORS, TARGET, KEY, moves, **how
    )


def test_the_task_loss_is_the_mean_error():
    loss, parts = run(FIRST)
    np.testing.assert_allclose(loss, np.mean((VECTORS[:, 0] - TARGET) ** 2), rtol=1e-6)
    assert set(parts) == {"task"}


def test_invariance_is_zero_for_an_invariant_predictor_and_only_then():
    _, parts = run(lambda x: x.sum(1), invariance=1.0, samples=3)
    assert parts["invariance"] < 1e-10
    _, parts = run(FIRST, invariance=1.0, samples=3)
    assert parts["invariance"] > 1e-3


def test_invariance_is_half_the_mean_square_change():
    a, b = jnp.array([1.0, 2.0]), jnp.array([[3.0, 2.0], [1.0, 5.0]])
    np.testing.assert_allclose(objectives.logit_invariance(a, b), [1.0, 2.25])


def test_a_share_of_the_batch_is_copied():
    seen = []
    run(lambda x: (seen.append(len(x)), x[:, 0])[1], invariance=1.0, samples=2, share=0.4)
    assert seen == [6 + 2 * 3]


def test_copies_count_as_examples():
    """For an invariant predictor a copy's error is its original's."""
    predict = lambda x: jnp.abs(x).sum(1)
    errors = (predict(VECTORS) - TARGET) ** 2
    loss, _ = run(predict, invariance=1.0, samples=2, share=0.5)
    want = (errors.sum() + 2 * errors[:3].sum()) / 12
    np.testing.assert_allclose(loss, want, rtol=1e-4)


def test_its_weight_enters_the_loss():
    one, parts = run(FIRST, invariance=1.0)
    three, _ = run(FIRST, invariance=3.0)
    np.testing.assert_allclose(three - one, 2 * parts["invariance"], rtol=1e-5)


def test_renumbering_keeps_the_function():
    x = jax.random.normal(KEY, (4, 2))

    def outputs(vectors):
        forward = lambda v: architectures.forward(networks.unravel(v, SPEC), x, SPEC).sum()
        return jax.vmap(forward)(vectors)

    plain, moved = run(outputs)[0], run(outputs, renumber=True)[0]
    np.testing.assert_allclose(moved, plain, rtol=1e-4)
    assert abs(run(FIRST)[0] - run(FIRST, renumber=True)[0]) > 1e-3


def test_cross_entropy_against_numpy():
    logit = np.linspace(-3, 3, 7, dtype=np.float32)
    share = np.linspace(0, 1, 7, dtype=np.float32)
    p = 1 / (1 + np.exp(-logit))
    want = -(share * np.log(p) + (1 - share) * np.log(1 - p))
    np.testing.assert_allclose(objectives.binary_cross_entropy(logit, share), want, rtol=1e-5)

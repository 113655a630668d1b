"""Boosted trees: leaves that fit few networks, warnings, and their predictions as plain arrays."""

import numpy as np
import pytest
import safetensors.numpy
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from wsjax.predictors import trees
from wsjax.predictors.trees import Trees


@pytest.mark.parametrize(("n", "leaf"), [(4, 2), (39, 3), (199, 19), (200, 20), (900, 20)])
def test_leaves_hold_a_tenth_of_the_networks_and_at_most_twenty(n, leaf):
    x = np.random.default_rng(0).standard_normal((n, 1))
    model = trees.grow(HistGradientBoostingRegressor, x, x[:, 0], (x, x[:, 0]), max_iter=1)
    assert model.min_samples_leaf == leaf


def test_classes_have_constant_models_too():
    x, y = np.zeros((12, 1)), np.arange(12) % 2
    with pytest.warns(trees.ConstantWarning, match="12 training networks"):
        trees.grow(HistGradientBoostingClassifier, x, y, (x, y), max_iter=3)
    model = trees.grow(HistGradientBoostingClassifier, y[:, None], y, (y[:, None], y))
    assert (model.predict(y[:, None]) == y).all()


def grown(n=150, width=5, **settings):
    """A model of noisy data, and values on and between its thresholds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, width)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + 0.1 * rng.standard_normal(n)
    held_out = x[: n // 3], y[: n // 3]
    model = trees.grow(HistGradientBoostingRegressor, x, y, held_out, max_iter=60, **settings)
    return model, np.concatenate([x, rng.standard_normal((500, width)) * 3])


def test_plain_arrays_predict_as_scikit_learn():
    model, x = grown()
    plain = Trees.of(model)
    assert len(plain.root) == model.n_iter_ > 20
    on = plain.threshold[plain.left != np.arange(len(plain.left))]
    x = np.concatenate([x, np.tile(on[:40, None], x.shape[1])])  # values equal to a threshold
    assert np.ptp(plain.predict(x)) > 1
    np.testing.assert_array_equal(plain.predict(x), model.predict(x))


def test_arrays_come_back_from_a_file():
    model, x = grown()
    stored = safetensors.numpy.load(safetensors.numpy.save(Trees.of(model).arrays()))
    np.testing.assert_array_equal(Trees.from_arrays(stored).predict(x), model.predict(x))


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("left", lambda x: np.zeros_like(x), "lead to later ones"),  # walks that never end
        ("right", lambda x: x + 10**6, "lead to later ones"),
        ("value", lambda x: x[:-1], "nodes of trees in each array"),
        ("root", lambda x: x - 1, "expected roots among"),
    ],
)
def test_trees_that_lead_nowhere_are_an_error(field, change, message):
    arrays = Trees.of(grown()[0]).arrays()
    with pytest.raises(ValueError, match=message):
        Trees.from_arrays({**arrays, field: change(arrays[field])})
    with pytest.raises(ValueError, match=f"absent: \\['{field}'\\]"):
        Trees.from_arrays({k: x for k, x in arrays.items() if k != field})

"""A trained module applies to raw networks in any form, and names those it does not support."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from cases.tasks import SPEC, fit, ratio_zoo, two_depths

from wsjax import architectures, encoders, testing
from wsjax.tasks import InputScale, base, expect_supported
from wsjax.tasks.regression import Objective, Regression

pytestmark = pytest.mark.trains

WIDE = architectures.mlp([1, 9, 1], "tanh")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    zoo = ratio_zoo()
    task = Regression("ratio", Objective(invariance=0.1, samples=2))
    return zoo, fit(zoo, task, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return fit(ratio_zoo(), "ratio", tmp_path_factory.mktemp("flat"), "mlp", {"widths": (4,)})


def test_named_arrays_vectors_and_zoos_one_and_many_agree(trained):
    zoo, trained = trained
    some = np.arange(5)
    many = trained.predict(zoo.params(some))
    assert many.shape == (5,)
    assert np.ptp(many) > 0
    for one in (zoo.params(2), zoo.vectors[2]):
        np.testing.assert_allclose(trained.predict(one), many[2], rtol=1e-5)
    for given in (zoo.vectors[:5], zoo.select(some)):
        np.testing.assert_array_equal(trained.predict(given), many)
    assert trained.encode(zoo.params(2)).shape == (8,)
    np.testing.assert_allclose(trained.encode(zoo.params(2)), trained.encode(zoo)[2], rtol=1e-4)


def test_outputs_are_those_of_the_module(trained):
    zoo, trained = trained
    vectors = trained.scale.apply(zoo.vectors[:5], SPEC)
    view = trained.module.encoder.view(SPEC)
    want = jax.jit(trained.module.apply)(trained.variables, vectors, view)
    np.testing.assert_allclose(trained.outputs(zoo.vectors[:5]), want, rtol=1e-4)


def test_another_architecture_of_the_same_kinds_of_arrays_is_supported(trained):
    _, trained = trained
    assert np.isfinite(trained.predict(testing.draw(jax.random.key(0), WIDE), WIDE))


def test_bad_networks_are_named(trained):
    zoo, trained = trained
    params = dict(zoo.params(0))
    broken = {**params, "Dense_0/bias": np.full(4, np.nan)}
    with pytest.raises(ValueError, match="Dense_0/bias: 4 of 4 values are NaN"):
        trained.predict(broken)
    del params["Dense_1/bias"]
    with pytest.raises(ValueError, match="Dense_1/bias: expected, absent"):
        trained.predict(params)
    vectors = zoo.vectors[:2].copy()
    vectors[1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 8 values are NaN or infinite, in network 1"):
        trained.encode(vectors)
    with pytest.raises(ValueError, match=r"expected vectors \[network, 13\], got \(2, 12\)"):
        trained.encode(zoo.vectors[:2, :12])
    with pytest.raises(ValueError, match=r"\[batch, entry\] or a Zoo; got \[1, 64, 13\]"):
        trained.encode(zoo.vectors[None])
    with pytest.raises(ValueError, match="expected at least one network, got 0"):
        trained.encode(zoo.vectors[:0])


def untrained(variables=1.0, zoo=None):
    """A result without a program: what is checked is checked on the host."""
    zoo = zoo or two_depths(4)
    module = types.SimpleNamespace(encoder=encoders.MLP())
    scale, variables = InputScale.fit(zoo), {"params": np.array([variables])}
    return base.Trained(Regression("ratio"), module, variables, scale, zoo.specs, {}, {}, ()), zoo


def test_values_that_are_not_finite_name_their_networks():
    trained, zoo = untrained()
    values = np.ones((8, 2), np.float32)
    trained.expect_finite(zoo, values)
    values[[1, 6], 1] = np.nan, np.inf
    vectors = zoo.vectors.copy()
    last = zoo.specs[1].count - 1  # the output's bias
    vectors[6, last], vectors[7, 0] = -2e30, 3e30  # the one of network 7 is no reason
    large = dataclasses.replace(zoo, vectors=vectors)
    rms = trained.scale.scales["dense/bias/2"]
    message = (
        r"MLP gives NaN or infinity for networks 1, 6 of 8, float32 overflows: the largest weight, "
        rf"2e\+30 in Dense_2/bias of network 6, is {2e30 / rms:.3g}".replace("e+", "e.")
    )
    with pytest.raises(ValueError, match=message):
        trained.expect_finite(large, values)
    with pytest.raises(ValueError, match="1, 6 of 8: its own weights are; restore an earlier"):
        untrained(np.nan)[0].expect_finite(zoo, values)
    zoo.vectors[6, last] = np.nan  # after the zoo was checked
    with pytest.raises(ValueError, match=r"Dense_2/bias: 1 of 4 values .* in network 6"):
        trained.expect_finite(zoo, values)


@pytest.mark.parametrize("size", [1e-40, 1e10, 3e38])
def test_finite_networks_have_finite_predictions_or_are_named(flat, size):
    vectors = np.ones((2, SPEC.count), np.float32)
    vectors[1] = size
    try:
        assert np.isfinite(flat.predict(vectors)).all()
    except ValueError as error:
        assert "MLP gives NaN or infinity for network 1 of 2, float32" in str(error)  # noqa: PT017
        assert size == 3e38


def test_architectures_that_are_not_supported_are_named(trained, flat):
    _, trained = trained
    cnn = architectures.cnn([1, 4], [1])
    with pytest.raises(ValueError, match=r"trained on arrays .* got also .'conv/bias/0'"):
        trained.predict(testing.draw(jax.random.key(0), cnn), cnn)
    assert np.isfinite(trained.extend([cnn]).predict(testing.draw(jax.random.key(0), cnn), cnn))
    other = testing.draw(jax.random.key(0), WIDE)
    with pytest.raises(ValueError, match=r"MLP supports only the architecture .*'h0': 4.*'h0': 9"):
        flat.predict(other, WIDE)
    alike = architectures.mlp([4, 2, 1], "tanh")  # as many numbers
    assert alike.count == SPEC.count
    with pytest.raises(ValueError, match="MLP supports only the architecture"):
        flat.predict(testing.draw(jax.random.key(0), alike), alike)


def test_support_is_known_without_training(flat):
    mlp, sets = encoders.build("mlp"), encoders.build("deepsets")
    expect_supported(mlp, flat.scale, SPEC, [SPEC, architectures.mlp([1, 4, 1], "relu")])
    expect_supported(sets, flat.scale, SPEC, [SPEC, WIDE])
    with pytest.raises(ValueError, match=r"MLP .* one architecture .*, got 2"):
        expect_supported(mlp, flat.scale, SPEC, [SPEC, WIDE])


def test_pieces_change_no_result():
    rows = np.arange(10.0).reshape(5, 2)
    f = lambda variables, x: variables["scale"] * x
    for size in (0, 1, 2, 5, 9):
        out = base.in_pieces(f, {"scale": 3.0}, rows, size=size)
        np.testing.assert_array_equal(out, 3 * rows)


def test_a_task_comes_back_from_json():
    task = Regression("ratio", Objective(loss="bce", samples=3), measure="tau")
    data = task.to_json()
    objective = dataclasses.asdict(task.objective)
    assert data == {"label": "ratio", "objective": objective, "measure": "tau"}
    assert Regression.from_json(data) == task
    del data["measure"]  # as checkpoints had it before there was a choice
    assert Regression.from_json(data).measure == "mse"

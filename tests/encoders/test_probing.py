"""Probing: it evaluates the network itself, and reads nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.families import FAMILIES

from wsjax import architectures, networks, testing, training, zoos
from wsjax.encoders import ENCODERS, probing
from wsjax.encoders.probing import Probing
from wsjax.symmetries import scalings
from wsjax.tasks import InputScale, fit, restore
from wsjax.tasks.regression import Objective, Regression

KEY = jax.random.key(0)
SMALL = Probing(probes=6, widths=(8,), code=4)
SIREN = architectures.mlp([2, 6, 5, 3], "sin", 2.0)
RELU = architectures.mlp([2, 6, 5, 3])


def raveled(spec, seed=0, batch=2):
    """Networks [batch, entry] of normal entries, each with variance 1 / fan-in."""
    rng, parts = np.random.default_rng(seed), []
    for a in spec.arrays:
        shape = spec.shape(a)
        fan_in = np.prod([shape[i] for i in (*a.reads, *a.taps)])
        parts.append(rng.standard_normal((batch, int(np.prod(shape)))) / np.sqrt(fan_in))
    return np.concatenate(parts, axis=1).astype(np.float32)


@functools.cache
def start(encoder, spec):
    """Variables with no zeros among those that are learned."""
    view, vectors = encoder.view(spec), jnp.zeros((1, spec.count), jnp.float32)
    shapes = jax.eval_shape(lambda: encoder.init(KEY, vectors, view))
    rng = np.random.default_rng(0)
    draw = lambda x: rng.standard_normal(x.shape) / np.sqrt(x.shape[0])
    learned = jax.tree.map(lambda x: draw(x).astype(np.float32), shapes["params"])
    units = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes["statistics"])
    return {"params": learned, "statistics": units}


def reader(encoder, spec, variables=None):
    """params -> embedding."""
    view, variables = encoder.view(spec), variables or start(encoder, spec)
    return jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, spec)[None], view)[0])


def test_an_embedding_is_a_map_of_the_outputs_of_the_network():
    variables, vectors = start(SMALL, SIREN), raveled(SIREN)
    code = jax.jit(SMALL.apply)(variables, vectors, SMALL.view(SIREN))
    p, x = variables["params"], []
    for params in (networks.unravel(v, SIREN) for v in np.asarray(vectors)):
        y = np.asarray(p["probes"])
        for i in range(3):
            y = y @ params[f"Dense_{i}/kernel"] + params[f"Dense_{i}/bias"]
            y = np.sin(2.0 * y) if i < 2 else y
        x.append(y.ravel())
    x = np.maximum(np.stack(x) @ p["map_0"]["kernel"] + p["map_0"]["bias"], 0)
    x = x @ p["code_map"]["kernel"] + p["code_map"]["bias"]
    np.testing.assert_allclose(code, x, rtol=1e-4, atol=1e-5)


CASES = ("mlp", "cnn group norm", "grid")


@pytest.mark.parametrize("name", CASES)
def test_embeddings_are_invariant_to_permutations_and_read_every_array(name):
    spec, shape = FAMILIES[name]
    encoder = SMALL.clone(shape=shape if len(shape) > 1 and name != "grid" else ())
    params = testing.draw(jax.random.key(3), spec)
    testing.assert_invariant(reader(encoder, spec), params, spec, jax.random.key(1), rtol=1e-4)


def test_embeddings_are_invariant_to_permutations_in_double_precision():
    variables = start(SMALL, SIREN)
    with jax.enable_x64(True):
        double = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
        params = double(testing.draw(jax.random.key(3), SIREN))
        encode = reader(SMALL, SIREN, double(variables))
        assert encode(params).dtype == jnp.float64
        testing.assert_invariant(encode, params, SIREN, jax.random.key(1), rtol=1e-10)


@pytest.mark.parametrize("spec", [SIREN, RELU], ids=["sin", "relu"])
def test_embeddings_are_invariant_to_factors_too(spec):
    """Signs and scales, which nothing in the encoder is built for, follow from the function."""
    params, encode = testing.draw(jax.random.key(3), spec), reader(SMALL, spec)
    element = scalings.sample(jax.random.key(4), spec, ("sign", "scale"), 0.5)
    moved, code = scalings.act(element, params, spec), encode(params)
    assert max(np.abs(moved[n] - params[n]).max() for n in params) > 0.1
    np.testing.assert_allclose(encode(moved), code, rtol=1e-4, atol=1e-5)
    misaligned = {**params, "Dense_1/kernel": moved["Dense_1/kernel"]}
    assert np.abs(encode(misaligned) - code).max() > 1e-3


def test_narrow_networks_are_run():
    spec = architectures.mlp([1, 1, 1], "tanh")
    params, encode = testing.draw(KEY, spec), reader(SMALL, spec)
    for name in params:
        assert np.abs(encode({**params, name: params[name] + 1}) - encode(params)).max() > 1e-4


def zoo_of(spec, count=40):
    """Networks whose arrays have sizes far from one, and whose label is one of them."""
    vectors = np.asarray(raveled(spec, batch=count)) * np.float32(0.05)
    rows, labels = np.arange(count), {"bias": vectors[:, -1].copy()}
    splits = {"train": rows[:24], "validation": rows[24:32], "test": rows[32:]}
    return zoos.Zoo.of_spec(vectors, spec, labels, splits)


@pytest.mark.trains
def test_the_network_that_is_run_is_the_raw_one(tmp_path):
    zoo = zoo_of(SIREN)
    settings = training.Settings(steps=2, batch=8, evaluate_every=2, checkpoint_every=2)
    task, encoder = Regression("bias", Objective(permute=False)), SMALL.clone(probes=5)
    how = dict(head=(8,), settings=settings, folder=tmp_path, progress=False)
    trained = fit(zoo, task, encoder, **how)
    assert max(abs(np.log(x)) for x in trained.scale.scales.values()) > 1
    learned = {**start(encoder, SIREN), "params": trained.variables["params"]["encoder"]}
    run = jax.jit(lambda x, spec: encoder.apply(learned, x, encoder.view(spec)), static_argnums=1)
    raw = run(zoo.vectors, SIREN)
    np.testing.assert_allclose(trained.encode(zoo.vectors), raw, rtol=1e-4, atol=1e-6)
    again = restore(tmp_path)
    np.testing.assert_allclose(again.encode(zoo.vectors), raw, rtol=1e-4, atol=1e-6)
    wide = architectures.mlp([2, 7, 3, 3], "sin", 2.0)
    vectors = np.asarray(raveled(wide))
    np.testing.assert_allclose(trained.encode(vectors, wide), run(vectors, wide), rtol=1e-4)


def test_normalisation_is_undone():
    vectors, view = raveled(SIREN), SMALL.view(SIREN)
    scale = InputScale.fit(zoos.Zoo.of_spec(np.asarray(vectors) * 3, SIREN, {}))
    constants = SMALL.calibrate(vectors, view, scale.scales)
    variables, apply = start(SMALL, SIREN), jax.jit(SMALL.apply)
    plain = apply(variables, vectors, view)
    normalised = scale.apply(vectors, SIREN)
    assert np.abs(apply(variables, normalised, view) - plain).max() > 1e-2
    undone = apply({**variables, "statistics": constants}, normalised, view)
    np.testing.assert_allclose(undone, plain, rtol=1e-4, atol=1e-5)


def test_unknown_scales_are_errors():
    vectors, view = raveled(SIREN), SMALL.view(SIREN)
    with pytest.raises(ValueError, match=r"normalisation must be known.*dense/bias/0"):
        SMALL.calibrate(vectors, view, {})
    deep, variables = architectures.mlp([2, 4, 4, 4, 3], "sin", 2.0), start(SMALL, SIREN)
    with pytest.raises(ValueError, match=r"got also \['dense/bias/3', 'dense/kernel/3'\]"):
        SMALL.apply(variables, raveled(deep), SMALL.view(deep))


def test_networks_with_other_inputs_or_outputs_are_errors():
    for widths in ([2, 6, 5, 4], [3, 6, 5, 3]):
        spec = architectures.mlp(widths, "sin", 2.0)
        with pytest.raises(ValueError, match=r"from inputs \(2,\) to 3 numbers, as in training"):
            SMALL.apply(start(SMALL, SIREN), raveled(spec), SMALL.view(spec))


def test_an_output_that_is_not_finite_makes_its_embedding_nan_and_no_other():
    vectors = np.asarray(raveled(RELU, batch=3)).copy()
    vectors[1, -1] = np.inf
    vectors[2, -1] = -np.inf  # which a ReLU would make 0
    code = jax.jit(SMALL.apply)(start(SMALL, RELU), vectors, SMALL.view(RELU))
    np.testing.assert_array_equal(np.isnan(code).all(1), [False, True, True])
    assert np.isfinite(code[0]).all()


def test_probes_start_where_they_should_and_all_are_learned():
    encoder = Probing(probes=200, widths=(4,), low=0.5, high=2.0)
    begin = jax.jit(lambda: encoder.init(KEY, raveled(SIREN), encoder.view(SIREN)))()
    assert all(x == 1 for x in jax.tree.leaves(begin["statistics"]))
    probes = begin["params"]["probes"]
    assert probes.shape == (200, 2)
    assert 0.5 <= probes.min() < 0.6
    assert 1.9 < probes.max() <= 2.0
    variables, view = start(SMALL, SIREN), SMALL.view(SIREN)
    loss = lambda p: (SMALL.apply({**variables, "params": p}, raveled(SIREN), view) ** 2).sum()
    slope = jax.jit(jax.grad(loss))(variables["params"])
    assert (np.abs(slope["probes"]) > 1e-6).all()


def test_images_need_their_shape():
    spec, shape = FAMILIES["cnn"]
    assert SMALL.clone(shape=shape).view(spec) == probing.Runnable(spec, shape, 3)
    with pytest.raises(ValueError, match=r"(?s)inputs \(2,\): Conv_0: .*need the setting `shape`"):
        SMALL.view(spec)
    with pytest.raises(ValueError, match=r"inputs \(7, 6, 5\): Conv_0: expected an input"):
        SMALL.clone(shape=(7, 6, 5)).view(spec)


@pytest.mark.parametrize("settings", [{"probes": 0}, {"low": 2.0}, {"shape": (0, 3)}], ids=str)
def test_settings_that_mean_nothing_are_named(settings):
    with pytest.raises(ValueError, match=r"(probes|low|shape): expected .* (least|most) "):
        Probing(**settings)


def test_no_other_encoder_runs_networks():
    assert [name for name, e in ENCODERS.items() if e.runs_network] == ["probing"]

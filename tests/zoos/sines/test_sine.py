"""The sine zoo: its waves, how networks are fitted to them, and that it resumes."""

import dataclasses
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import zoos
from wsjax.zoos import store
from wsjax.zoos.sines import sine, sine_datasheet

pytestmark = pytest.mark.trains

SMALL = sine.Recipe(networks=8, high=3.0, points=32, steps=60, tolerance=1e-3)
STEP = jax.jit(lambda state, x, y: sine.step(state, x, y, SMALL))


@pytest.fixture(scope="module")
def generated():
    with jax.numpy_dtype_promotion("standard"):
        return sine.make(SMALL, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def beginnings():
    """The waves of 300 networks, `SMALL`'s eight in front, and their states before training."""
    waves = sine.waves(dataclasses.replace(SMALL, networks=300))
    return waves, jax.jit(jax.vmap(lambda key: sine.begin(SMALL, key)))(waves.keys)


def exact(params, x, omega):
    """The network in double precision, by NumPy's sine, written out."""
    p = {k: np.asarray(v, np.float64) for k, v in params.items()}
    x = np.sin(omega * (x @ p["Dense_0/kernel"] + p["Dense_0/bias"]))
    x = np.sin(omega * (x @ p["Dense_1/kernel"] + p["Dense_1/bias"]))
    return x @ p["Dense_2/kernel"] + p["Dense_2/bias"]


def test_networks_reach_the_tolerance_on_their_wave(generated):
    zoo, _ = generated
    assert len(zoo) == SMALL.networks
    x = -math.pi + 2 * math.pi / SMALL.points * np.arange(SMALL.points)[:, None]
    for i in range(len(zoo)):
        wave = np.sin(np.float64(zoo.labels["frequency"][i]) * x)
        error = np.mean((exact(zoo.params(i), x, SMALL.omega) + SMALL.offset - wave) ** 2)
        assert error <= SMALL.tolerance * 1.01
        assert error == pytest.approx(zoo.labels["fit_mse"][i], rel=0.01)


def test_a_seed_gives_the_same_bits_and_another_seed_other_networks(generated):
    zoo, _ = generated
    again, _ = sine.make(SMALL)
    np.testing.assert_array_equal(again.vectors, zoo.vectors)
    for label in zoo.labels:
        np.testing.assert_array_equal(again.labels[label], zoo.labels[label])
    other, _ = sine.make(dataclasses.replace(SMALL, seed=1))
    assert not np.intersect1d(other.labels["frequency"], zoo.labels["frequency"]).size
    assert np.mean(other.vectors == zoo.vectors) < 1e-3


def test_a_network_is_the_same_in_a_larger_zoo(beginnings):
    few, (many, _) = sine.waves(SMALL), beginnings
    np.testing.assert_array_equal(few.frequencies, many.frequencies[:8])
    assert (few.keys == many.keys[:8]).all()


def test_order_and_frequency_are_uncorrelated():
    frequencies = sine.waves(sine.Recipe(networks=2000)).frequencies
    assert abs(np.corrcoef(np.arange(2000), frequencies)[0, 1]) < 0.06
    assert frequencies.min() >= 0.5
    assert frequencies.max() < 10


def test_weights_rest_once_the_tolerance_is_reached(generated, beginnings):
    zoo, _ = generated
    steps = zoo.labels["fit_steps"]
    assert (steps < SMALL.steps).all()
    assert steps.min() < steps.max()  # so most of a block waited for its slowest
    w, states = beginnings
    i = int(steps.argmin())
    x, y = sine.target(SMALL, w.frequencies[i], w.amplitudes[i])
    state = jax.tree.map(lambda a: np.asarray(a)[i], states)
    while (state := STEP(before := state, x, y)).steps > before.steps:
        assert any(
            (a != b).any()
            for a, b in zip(*map(jax.tree.leaves, (before.params, state.params)), strict=True)
        )
    assert abs(int(state.steps) - int(steps[i])) <= 1  # not the batch's program
    for _ in range(5):
        rested = STEP(state, x, y)
        jax.tree.map(np.testing.assert_array_equal, rested.params, state.params)
        assert rested.steps == state.steps
        state = rested
    alone = zoos.from_params(jax.tree.map(lambda a: a[None], state.params), zoo.spec, {})
    atol = 1e-4 if state.steps == steps[i] else 2e-3
    np.testing.assert_allclose(alone.vectors[0], zoo.vectors[i], rtol=0, atol=atol)


def test_one_step_is_torchs_adam_with_weight_decay(beginnings):
    w, states = beginnings
    x, y = sine.target(SMALL, w.frequencies[0], w.amplitudes[0])
    state = jax.tree.map(lambda a: np.asarray(a)[0], states)
    loss = lambda p: jnp.mean(
        (sine.architectures.forward(p, x, SMALL.spec) + SMALL.offset - y) ** 2
    )
    grad = jax.jit(jax.grad(loss))
    params = {k: np.asarray(v, np.float64) for k, v in state.params.items()}
    first = {k: np.zeros_like(v) for k, v in params.items()}
    second = dict(first)
    for t in (1, 2, 3):
        gradient = grad(state.params)
        for k in params:
            g = np.asarray(gradient[k], np.float64) + SMALL.weight_decay * params[k]
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g**2
            root = np.sqrt(second[k] / (1 - 0.999**t)) + 1e-8
            params[k] = params[k] - SMALL.learning_rate * first[k] / (1 - 0.9**t) / root
        state = STEP(state, x, y)
        for k in params:
            np.testing.assert_allclose(state.params[k], params[k], rtol=0, atol=2e-6)


def test_initial_weights_are_the_published_generators(beginnings):
    params = beginnings[1].params
    bounds = {
        "Dense_0/kernel": 6**0.5 / 30,
        "Dense_0/bias": 0,
        "Dense_1/kernel": (6 / 32) ** 0.5 / 30,
        "Dense_1/bias": 0,
        "Dense_2/kernel": 32**-0.5,
        "Dense_2/bias": 32**-0.5,
    }
    for name, bound in bounds.items():
        values = np.asarray(params[name])
        assert np.abs(values).max() <= bound
        assert values.min() <= -0.97 * bound
        assert values.max() >= 0.97 * bound


def test_amplitude_zoo_is_a_setting_of_the_same_recipe():
    recipe = sine.Recipe.self_supervised(networks=2000)
    w = sine.waves(recipe)
    for values in (w.frequencies, w.amplitudes):
        assert 0 <= values.min() < 0.05
        assert 9.95 < values.max() < 10
    assert abs(np.corrcoef(w.frequencies, w.amplitudes)[0, 1]) < 0.06
    x, y = sine.target(recipe, 2.0, 3.0)
    np.testing.assert_allclose(y, 3 * np.sin(2 * np.asarray(x)), atol=1e-5)


def test_unfit_networks_are_excluded_and_counted():
    recipe = dataclasses.replace(SMALL, high=10.0)
    zoo, manifest = sine.make(recipe)
    excluded = manifest["excluded"]
    assert 0 < excluded["count"] == len(excluded["frequencies"]) < recipe.networks
    assert len(zoo) + excluded["count"] == recipe.networks
    assert (zoo.labels["fit_mse"] <= recipe.tolerance).all()
    assert sorted([*excluded["frequencies"], *zoo.labels["frequency"].tolist()]) == sorted(
        sine.waves(recipe).frequencies.tolist()
    )
    kept, manifest = sine.make(dataclasses.replace(recipe, keep_unfit=True))
    assert len(kept) == recipe.networks
    assert manifest["excluded"]["count"] == 0


def test_diverged_networks_are_excluded():
    w = sine.waves(SMALL)
    fit = sine.Fit(
        np.ones((8, SMALL.spec.count), np.float32),
        np.array([np.nan] + [1e-4] * 7),
        np.full(8, 3),
    )
    zoo, excluded = sine.collect(SMALL, w, fit)
    assert len(zoo) == 7
    assert excluded["frequencies"] == [w.frequencies[0]]


def test_a_zoo_of_unfit_networks_is_an_error():
    recipe = dataclasses.replace(SMALL, tolerance=1e-9)
    w = sine.waves(recipe)
    vectors = np.zeros((8, recipe.spec.count), np.float32)
    with pytest.raises(
        ValueError, match=r"<= 1e-09 after 60 steps, got none of 8; the best has 0.5"
    ):
        sine.collect(recipe, w, sine.Fit(vectors, np.full(8, 0.5), np.full(8, 60)))


def test_mistakes_in_a_recipe_are_all_named():
    with pytest.raises(ValueError, match=r"networks: expected at least 1, got 0\n.*low: .*got 3"):
        sine.Recipe(networks=0, low=3.0, high=2.0)


def test_four_devices_fit_the_same_networks(generated, tmp_path):
    program = f"""
import sys
import jax, numpy as np
from wsjax.zoos.sines import sine
assert jax.device_count() == 4
recipe = sine.{SMALL}
fit = sine.fit_with(recipe, *sine.waves(recipe))
np.savez(sys.argv[1], steps=fit.steps, vectors=fit.vectors)
"""
    flags = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "four.npz"],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (one, _), four = generated, np.load(tmp_path / "four.npz")
    np.testing.assert_allclose(four["steps"], one.labels["fit_steps"], rtol=0, atol=1)
    same = four["steps"] == one.labels["fit_steps"]
    same &= jax.default_backend() == "cpu"  # else the fixture's device is of another kind
    for i in range(len(one)):
        atol = 1e-5 if same[i] else 2e-3
        np.testing.assert_allclose(four["vectors"][i], one.vectors[i], rtol=0, atol=atol)


def test_the_library_sine_and_the_exact_one_train_alike(generated):
    zoo, _ = generated
    exactly = sine.fit_with(SMALL, *sine.waves(SMALL), sine=jnp.sin)
    np.testing.assert_allclose(exactly.steps, zoo.labels["fit_steps"], rtol=0, atol=1)
    np.testing.assert_allclose(exactly.vectors, zoo.vectors, rtol=0, atol=2e-3)


def test_an_interrupted_zoo_resumes_and_has_the_same_bits(tmp_path, monkeypatch):
    write, done = store.write, []

    def interrupted(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(write(*arguments))

    monkeypatch.setattr(sine, "BLOCK", 4)
    whole, _ = sine.make(SMALL, block=4)
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sine.make(SMALL, tmp_path, block=4)
    (folder,) = tmp_path.iterdir()
    (first,) = folder.glob("block-*.safetensors")
    before = first.stat().st_mtime_ns
    zoo, _ = sine.make(SMALL, tmp_path, block=4)
    assert first.stat().st_mtime_ns == before
    assert len(list(folder.glob("block-*.safetensors"))) == 2
    np.testing.assert_array_equal(zoo.vectors, whole.vectors)
    for label in zoo.labels:
        np.testing.assert_array_equal(zoo.labels[label], whole.labels[label])


def test_networks_are_those_of_earlier_versions(generated):
    """Golden values, written down before the factory made sine zoos too."""
    zoo, _ = generated
    frequencies = [1.206800, 1.947081, 0.672127, 2.884246, 2.516586, 1.779094, 0.876582, 1.194525]
    spreads = [0.019176, 0.02025, 0.018522, 0.020608, 0.019352, 0.020885, 0.020314, 0.019778]
    np.testing.assert_allclose(zoo.labels["frequency"], frequencies, rtol=2e-6)
    np.testing.assert_allclose(zoo.vectors.std(1), spreads, rtol=1e-3)


def test_a_recipe_is_fitted_once(tmp_path, monkeypatch):
    first, manifest = sine.make(SMALL, tmp_path)
    monkeypatch.setattr(sine, "_compiled", None)
    second, again = sine.make(SMALL, tmp_path)
    assert manifest == again
    np.testing.assert_array_equal(first.vectors, second.vectors)
    sheet = sine_datasheet.datasheet(second, again, reference=sine_datasheet.statistics(first))
    for words in ("8 of 8 fitted", "MIT", "points is 32 instead of 2000", "fit_mse 50 %"):
        assert words in sheet

import dataclasses
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import zoos
from wsjax.architectures import mlp
from wsjax.zoos import Zoo, store
from wsjax.zoos.sines import sine, sine_datasheet

pytestmark = pytest.mark.trains

SMALL = sine.Recipe(networks=8, high=3.0, points=32, steps=60, tolerance=1e-3)
SPEC = mlp([1, 2, 1])
RECIPE = {"seed": 0, "widths": [1, 2, 1]}
STEP = jax.jit(lambda state, x, y: sine.step(state, x, y, SMALL))


@pytest.fixture(scope="module")
def generated():
    with jax.numpy_dtype_promotion("standard"):
        return sine.generate(SMALL, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def beginnings():
    """The waves of 300 networks, `SMALL`'s eight in front, and their states before training."""
    waves = sine.waves(dataclasses.replace(SMALL, networks=300))
    return waves, jax.jit(jax.vmap(lambda key: sine.begin(SMALL, key)))(waves.keys)


@pytest.fixture
def zoo():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, SPEC.count)).astype(np.float32)
    return Zoo.of_spec(vectors, SPEC, {"frequency": np.arange(5, dtype=np.float32)})


class Maker:
    """Counts how often a zoo is made."""

    def __init__(self, zoo):
        self.zoo, self.calls = zoo, 0

    def __call__(self):
        self.calls += 1
        return self.zoo, {"note": "made here"}


def exact(params, x, omega):
    """The network in double precision, by NumPy's sine, written out."""
    p = {k: np.asarray(v, np.float64) for k, v in params.items()}
    x = np.sin(omega * (x @ p["Dense_0/kernel"] + p["Dense_0/bias"]))
    x = np.sin(omega * (x @ p["Dense_1/kernel"] + p["Dense_1/bias"]))
    return x @ p["Dense_2/kernel"] + p["Dense_2/bias"]


# The sine zoo


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
    again, _ = sine.generate(SMALL)
    np.testing.assert_array_equal(again.vectors, zoo.vectors)
    for label in zoo.labels:
        np.testing.assert_array_equal(again.labels[label], zoo.labels[label])
    other, _ = sine.generate(dataclasses.replace(SMALL, seed=1))
    assert not np.intersect1d(other.labels["frequency"], zoo.labels["frequency"]).size
    assert np.mean(other.vectors == zoo.vectors) < 1e-3


def test_a_network_is_the_same_in_a_larger_zoo(beginnings):
    few, (many, _) = sine.waves(SMALL), beginnings
    np.testing.assert_array_equal(few.frequencies, many.frequencies[:8])
    assert (few.keys == many.keys[:8]).all()


def test_order_tells_nothing_of_the_frequency():
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
    zoo, facts = sine.generate(recipe)
    excluded = facts["excluded"]
    assert 0 < excluded["count"] == len(excluded["frequencies"]) < recipe.networks
    assert len(zoo) + excluded["count"] == recipe.networks
    assert (zoo.labels["fit_mse"] <= recipe.tolerance).all()
    assert sorted([*excluded["frequencies"], *zoo.labels["frequency"].tolist()]) == sorted(
        sine.waves(recipe).frequencies.tolist()
    )
    kept, facts = sine.generate(dataclasses.replace(recipe, keep_unfit=True))
    assert len(kept) == recipe.networks
    assert facts["excluded"]["count"] == 0


def test_diverged_networks_are_excluded():
    w = sine.waves(SMALL)
    fit = sine.Fit(
        {a.name: np.ones((8, *SMALL.spec.shape(a)), np.float32) for a in SMALL.spec.arrays},
        np.array([np.nan] + [1e-4] * 7),
        np.full(8, 3),
    )
    zoo, excluded = sine.collect(SMALL, w, fit)
    assert len(zoo) == 7
    assert excluded["frequencies"] == [w.frequencies[0]]


def test_a_zoo_of_unfit_networks_is_refused():
    recipe = dataclasses.replace(SMALL, tolerance=1e-9)
    w = sine.waves(recipe)
    shapes = {a.name: np.zeros((8, *recipe.spec.shape(a)), np.float32) for a in recipe.spec.arrays}
    with pytest.raises(
        ValueError, match=r"<= 1e-09 after 60 steps, got none of 8; the best has 0.5"
    ):
        sine.collect(recipe, w, sine.Fit(shapes, np.full(8, 0.5), np.full(8, 60)))


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
np.savez(sys.argv[1], steps=fit.steps, **fit.params)
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
    for name, array in one.params(slice(None)).items():
        for i in range(len(one)):
            atol = 1e-5 if same[i] else 2e-3
            np.testing.assert_allclose(four[name][i], array[i], rtol=0, atol=atol)


def test_the_library_sine_and_the_exact_one_train_alike(generated):
    zoo, _ = generated
    exactly = sine.fit_with(SMALL, *sine.waves(SMALL), sine=jnp.sin)
    np.testing.assert_allclose(exactly.steps, zoo.labels["fit_steps"], rtol=0, atol=1)
    for k, ours in zoo.params(slice(None)).items():
        np.testing.assert_allclose(exactly.params[k], ours, rtol=0, atol=2e-3)


def test_a_recipe_is_fitted_once(generated, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(sine, "generate", lambda *_: calls.append(1) or generated)
    first, manifest = sine.make(SMALL, tmp_path)
    second, again = sine.make(SMALL, tmp_path)
    assert calls == [1]
    assert manifest == again
    np.testing.assert_array_equal(first.vectors, second.vectors)
    sheet = sine_datasheet.datasheet(second, again, reference=sine_datasheet.statistics(first))
    for words in ("8 of 8 fitted", "MIT", "points is 32 instead of 2000", "fit_mse 50 %"):
        assert words in sheet


# The store


def test_a_stored_zoo_comes_back_and_is_not_made_again(zoo, tmp_path):
    make = Maker(zoo)
    for _ in range(3):
        back, manifest = store.cached(tmp_path / "zoo", RECIPE, SPEC, make)
        np.testing.assert_array_equal(back.vectors, zoo.vectors)
        np.testing.assert_array_equal(back.labels["frequency"], zoo.labels["frequency"])
        assert manifest["note"] == "made here"
        assert manifest["networks"] == 5
    assert make.calls == 1


def truncate(folder):
    data = folder / store.DATA
    data.write_bytes(data.read_bytes()[:-100])


def flip(folder):
    data = folder / store.DATA
    content = bytearray(data.read_bytes())
    content[200] ^= 1
    data.write_bytes(content)


def edit(folder):
    text = (folder / store.MANIFEST).read_text()
    (folder / store.MANIFEST).write_text(text.replace("made here", "made there"))


def outdate(folder):
    manifest = json.loads((folder / store.MANIFEST).read_text())
    (folder / store.MANIFEST).write_text(json.dumps(manifest | {"format": 0}))


def link(folder):
    (folder / store.DATA).rename(folder.parent / "elsewhere")
    (folder / store.DATA).symlink_to(folder.parent / "elsewhere")


DAMAGE = {
    "cut short": (truncate, r"networks.npz has \d+ bytes, expected"),
    "one bit flipped": (flip, "networks.npz was altered"),
    "manifest edited": (edit, "manifest.json was altered"),
    "manifest missing": (lambda f: (f / store.MANIFEST).unlink(), "manifest.json is missing"),
    "manifest no JSON": (lambda f: (f / store.MANIFEST).write_text("{"), "is not JSON"),
    "other format": (outdate, "has format 0, expected 1"),
    "data missing": (lambda f: (f / store.DATA).unlink(), "networks.npz is missing"),
    "data a link": (link, "no plain file"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_zoo_is_kept_aside_and_made_anew(zoo, tmp_path, damage, reason):
    make, folder = Maker(zoo), tmp_path / "zoo"
    store.cached(folder, RECIPE, SPEC, make)
    damage(folder)
    left = sorted(p.name for p in folder.iterdir())
    with pytest.warns(UserWarning, match=rf"{reason}.*kept as zoo.damaged-1, and a new"):
        back, _ = store.cached(folder, RECIPE, SPEC, make)
    assert make.calls == 2
    np.testing.assert_array_equal(back.vectors, zoo.vectors)
    assert sorted(p.name for p in (tmp_path / "zoo.damaged-1").iterdir()) == left
    store.cached(folder, RECIPE, SPEC, make)
    assert make.calls == 2


def test_another_recipe_is_not_answered_with_this_zoo(zoo, tmp_path):
    make, folder = Maker(zoo), tmp_path / "zoo"
    store.cached(folder, RECIPE, SPEC, make)
    for n, seed in ((1, 1), (2, 2)):
        with pytest.warns(UserWarning, match=f"seed is {seed - 1}, expected {seed}.*damaged-{n}"):
            store.cached(folder, RECIPE | {"seed": seed}, SPEC, make)
    assert make.calls == 3
    kept = json.loads((tmp_path / "zoo.damaged-1" / store.MANIFEST).read_text())
    assert kept["recipe"] == RECIPE


def test_another_shape_is_refused(zoo, tmp_path):
    store.save(tmp_path / "zoo", zoo, RECIPE, {})
    with pytest.raises(store.DamagedError, match=r"Dense_0/kernel', \[1, 2\].*\[1, 3\]"):
        store.load(tmp_path / "zoo", mlp([1, 3, 1]))
    with pytest.raises(FileNotFoundError, match="found no folder"):
        store.load(tmp_path / "nothing", SPEC)


def test_an_array_beyond_the_limit_is_not_read(zoo, tmp_path, monkeypatch):
    store.save(tmp_path / "zoo", zoo, RECIPE, {})
    monkeypatch.setattr(store, "ARRAY_BYTES", 100)
    with pytest.raises(store.DamagedError, match=r"vectors has \d+ bytes, expected at most 100"):
        store.load(tmp_path / "zoo", SPEC)


@pytest.mark.parametrize("stage", ["savez", "manifest", "rename"])
def test_nothing_half_written_is_seen(zoo, tmp_path, monkeypatch, stage):
    def fail(*_, **__):
        assert not (tmp_path / "zoo").exists()
        raise OSError("disk full")

    where = {"savez": (np, "savez"), "manifest": (json, "dump"), "rename": (os, "rename")}[stage]
    with monkeypatch.context() as broken:
        broken.setattr(*where, fail)
        with pytest.raises(OSError, match="disk full"):
            store.save(tmp_path / "zoo", zoo, RECIPE, {})
    assert list(tmp_path.iterdir()) == []
    store.save(tmp_path / "zoo", zoo, RECIPE, {})
    with pytest.raises(FileExistsError, match="expected no zoo"):
        store.save(tmp_path / "zoo", zoo, RECIPE, {})
    assert [p.name for p in tmp_path.iterdir()] == ["zoo"]


def test_facts_may_not_replace_the_manifests_own(zoo, tmp_path):
    with pytest.raises(ValueError, match=r"\['networks'\] itself"):
        store.save(tmp_path / "zoo", zoo, RECIPE, {"networks": 9})
    assert list(tmp_path.iterdir()) == []


# The contract


def test_wrong_zoos_are_refused(zoo):
    with pytest.raises(ValueError, match="empty"):
        Zoo.of_spec(zoo.vectors[:0], SPEC, {})
    with pytest.raises(ValueError, match=r"expected vectors \[network, 7\], got \(5, 6\)"):
        Zoo.of_spec(zoo.vectors[:, 1:], SPEC, {})
    with pytest.raises(ValueError, match=r"expected 'a' of 5 networks, got \(4,\)"):
        Zoo.of_spec(zoo.vectors, SPEC, {"a": np.zeros(4)})
    vectors = zoo.vectors.copy()
    vectors[3, SPEC.count - 1] = np.nan
    with pytest.raises(ValueError, match="Dense_1/bias: 1 of 5 values are NaN"):
        Zoo.of_spec(vectors, SPEC, {})
    with pytest.raises(ValueError, match="two splits"):
        dataclasses.replace(zoo, splits={"train": np.array([0, 1]), "test": np.array([1])})
    with pytest.raises(ValueError, match=r"outside 0..4"):
        dataclasses.replace(zoo, splits={"train": np.array([5])})


def test_splits_are_disjoint_and_seeded(zoo):
    dealt = zoos.split(zoo, {"train": 2, "val": 1, "test": 2}, seed=0)
    members = np.concatenate(list(dealt.splits.values()))
    assert sorted(members) == [0, 1, 2, 3, 4]
    again, other = (zoos.split(zoo, {"train": 3}, seed=s).splits["train"] for s in (0, 1))
    np.testing.assert_array_equal(again[:2], dealt.splits["train"])
    assert other.tolist() != again.tolist()
    vectors, labels = dealt.part("test", "frequency")
    np.testing.assert_array_equal(vectors, zoo.vectors[labels.astype(int)])
    with pytest.raises(ValueError, match="at most 5"):
        zoos.split(zoo, {"train": 6}, seed=0)
    with pytest.raises(ValueError, match=r"expected a split of \['test', 'train', 'val'\]"):
        dealt.part("dev", "frequency")

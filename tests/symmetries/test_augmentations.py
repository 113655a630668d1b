"""Augmentations: preserved functions, moved images, and other functions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.drawing import draw

from wsjax import architectures, networks
from wsjax.symmetries import augmentations
from wsjax.symmetries.augmentations import Augmentation

KEY = jax.random.key(0)
SIREN = architectures.mlp([2, 6, 5, 1], "sin", 2.5)
RELU = architectures.mlp([2, 6, 5, 1], "relu")
GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 4)), -1).reshape(-1, 2)
GRID = GRID.astype(np.float32)
STRENGTHS = {  # field of `Augmentation` -> spec, strength
    "translate": (SIREN, 0.3),
    "rotate": (SIREN, 0.8),
    "zoom": (SIREN, 0.2),
    "permute": (SIREN, True),
    "flip": (SIREN, True),
    "phase": (SIREN, 3),
    "rescale": (RELU, 0.5),
    "noise": (SIREN, 0.2),
    "dropout": (SIREN, 0.5),
    "mask": (SIREN, 0.5),
}
KEEP = ("permute", "flip", "phase", "rescale")
MOVE = ("translate", "rotate", "zoom")
named = pytest.mark.parametrize("name", STRENGTHS)


def call(name, key, vectors):
    """The function of that name, as an augmentation alone."""
    spec, strength = STRENGTHS[name]
    if name in ("noise", "dropout", "mask"):
        return getattr(augmentations, name)(key, vectors, strength)
    more = () if strength is True else (strength,)
    return getattr(augmentations, name)(key, vectors, spec, *more)


def zoo(spec, count=4):
    """The same network, [count, entry]: what differs between copies was drawn."""
    return jnp.tile(networks.ravel(draw(spec), spec), (count, 1))


@functools.partial(jax.jit, static_argnums=1)
def outputs(vectors, spec, x=GRID):
    """The outputs of networks [network, entry] at points."""
    one = lambda v: architectures.forward(networks.unravel(v, spec), x, spec)
    return jax.vmap(one)(vectors)


@functools.cache
def copies(name):
    """Of four equal networks, by one jitted step: spec, networks, copies."""
    spec, _ = STRENGTHS[name]
    x = zoo(spec)
    return spec, x, jax.jit(functools.partial(call, name))(KEY, x)


def test_noise_has_the_given_deviation_about_every_entry():
    x = jnp.tile(jnp.array([5.0, -3.0]), (20000, 1))
    scale = jnp.array([1.0, 10.0])
    change = np.asarray(augmentations.noise(KEY, x, 0.2, scale) - x)
    np.testing.assert_allclose(change.std(0), [0.2, 2.0], rtol=0.03)
    np.testing.assert_allclose(change.mean(0), [0, 0], atol=0.05)
    assert abs(np.corrcoef(change.T)[0, 1]) < 0.03


def test_a_mask_zeroes_the_given_share_and_leaves_the_rest():
    x = jax.random.normal(KEY, (200, 100)) + 10
    out = np.asarray(augmentations.mask(KEY, x, 0.3))
    assert np.mean(out == 0) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(out[out != 0], np.asarray(x)[out != 0])
    # no entry and no network is spared or singled out
    assert np.ptp((out == 0).mean(0)) < 0.3
    assert np.ptp((out == 0).mean(1)) < 0.4


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_limits(size):
    x = jax.random.normal(KEY, (4, 7)) + 1
    np.testing.assert_array_equal(augmentations.noise(KEY, x, 0.0), x)
    np.testing.assert_array_equal(augmentations.mask(KEY, x, size), x * (1 - size))


def test_dropout_makes_up_for_what_it_drops():
    x = jnp.tile(jnp.array([5.0, -3.0]), (20000, 1))
    out = np.asarray(augmentations.dropout(KEY, x, 0.2))
    assert set(np.unique(out)) == {0, np.float32(5 / 0.8), np.float32(-3 / 0.8)}
    np.testing.assert_allclose(out.mean(0), [5, -3], rtol=0.02)


def test_sizes_are_those_of_each_array_of_each_network():
    p = {k: 3 * v if k == "Dense_1/bias" else v for k, v in draw(SIREN, (3,)).items()}
    found = networks.unravel(augmentations.sizes(networks.ravel(p, SIREN), SIREN), SIREN)
    for a in SIREN.arrays:
        want = np.sqrt(np.square(p[a.name]).mean(tuple(range(1, p[a.name].ndim)), keepdims=True))
        np.testing.assert_allclose(found[a.name], np.broadcast_to(want, p[a.name].shape), 1e-6)


@named
def test_a_key_gives_the_same_copy_and_every_network_another(name):
    _, x, out = copies(name)
    again, other = (jax.jit(functools.partial(call, name))(jax.random.key(k), x) for k in (0, 1))
    np.testing.assert_array_equal(again, out)
    assert (np.asarray(other) != out).any()
    assert len(np.unique(np.asarray(out), axis=0)) == len(x)


@named
def test_jit_vmap_and_one_network(name):
    _, x, _ = copies(name)
    keys = jax.random.split(KEY, len(x))
    one = jnp.stack([call(name, k, v) for k, v in zip(keys, x, strict=True)])
    mapped = jax.jit(jax.vmap(functools.partial(call, name)))(keys, x)
    np.testing.assert_allclose(mapped, one, rtol=1e-5, atol=1e-5)
    batch = call(name, KEY, x.reshape(2, 2, -1))
    assert batch.shape == (2, 2, x.shape[-1])


@named
def test_the_function_is_preserved_as_documented(name):
    spec, x, out = copies(name)
    size = abs(outputs(x, spec)).max()
    gaps = abs(outputs(out, spec) - outputs(x, spec)).max((1, 2)) / size
    text = " ".join(getattr(augmentations, name).__doc__.split())
    assert ("; preserves the network's function" in text) == (name in KEEP)
    assert ("oes not preserve the network's function" in text) == (name not in KEEP)
    if name not in KEEP:
        assert gaps.min() > 1e-2
        return
    assert gaps.max() < 1e-5
    assert (abs(out - x).max(1) > 1e-2).all()
    before, after = networks.unravel(x, spec), networks.unravel(out, spec)
    for a in spec.arrays:  # one array of the copy alone: another function
        if set(a.axes) & set(spec.hidden):
            misaligned = networks.ravel({**before, a.name: after[a.name]}, spec)
            if (misaligned != x).any():  # a phase shift leaves the first kernel
                assert abs(outputs(misaligned, spec) - outputs(x, spec)).max() > 1e-3 * size, a.name


def test_phase_shifts_are_those_of_omega():
    """As if omega were 1, which is what the published phase canonicalisation takes it for."""
    x, wrong = zoo(SIREN), architectures.mlp([2, 6, 5, 1], "sin", 1.0)
    ours = augmentations.phase(KEY, x, SIREN, 3)
    theirs = augmentations.phase(KEY, x, wrong, 3)
    step = np.asarray(networks.unravel(ours - x, SIREN)["Dense_0/bias"]) / (math.pi / 2.5)
    np.testing.assert_allclose(step, np.round(step), atol=1e-5)
    assert {-3, 3} < set(np.round(step).ravel().tolist()) <= set(range(-3, 4))
    other = networks.unravel(theirs - x, SIREN)["Dense_0/bias"] / math.pi
    np.testing.assert_allclose(other, step, atol=1e-5)
    assert abs(outputs(ours, SIREN) - outputs(x, SIREN)).max() < 1e-5
    assert abs(outputs(theirs, SIREN) - outputs(x, SIREN)).max() > 0.1
    assert abs(outputs(theirs, wrong) - outputs(x, wrong)).max() < 1e-5


@pytest.mark.parametrize("name", MOVE)
def test_what_is_shown_moves_in_a_known_way(name):
    spec, x, out = copies(name)
    _, most = STRENGTHS[name]
    for before, after in zip(x, out, strict=True):
        p, q = networks.unravel(before, spec), networks.unravel(after, spec)
        inverse = np.linalg.pinv(p["Dense_0/kernel"])
        matrix = (q["Dense_0/kernel"] @ inverse).T
        shift = (q["Dense_0/bias"] - p["Dense_0/bias"]) @ inverse
        assert all((q[k] == p[k]).all() for k in p if not k.startswith("Dense_0"))
        if name == "translate":
            assert 0 < abs(shift).max() <= most * (1 + 1e-5)
        elif name == "rotate":
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-5)
            assert np.linalg.det(matrix) > 0
            assert 0 < abs(np.arctan2(matrix[1, 0], matrix[0, 0])) <= most
        else:
            np.testing.assert_allclose(matrix, matrix[0, 0] * np.eye(2), atol=1e-5)
            assert 0 < abs(matrix[0, 0] - 1) <= most
        if name == "translate":
            np.testing.assert_allclose(matrix, np.eye(2), atol=1e-5)
        else:
            np.testing.assert_allclose(shift, 0, atol=1e-5)
        there = outputs(before[None], spec, GRID @ matrix.T + shift)
        np.testing.assert_allclose(outputs(after[None], spec), there, atol=1e-4)


EVERY = Augmentation(**{k: v for k, (spec, v) in STRENGTHS.items() if spec == SIREN})


def test_without_strengths_nothing_happens():
    x = zoo(SIREN)
    assert Augmentation().apply(KEY, x, SIREN) is x


def test_an_augmentation_is_all_that_it_lists_in_any_units():
    x, scale = zoo(SIREN), jnp.linspace(0.5, 2, SIREN.count)
    run = jax.jit(lambda a, x, u: a.apply(KEY, x, SIREN, u), static_argnums=0)
    preserving = Augmentation(permute=True, flip=True, phase=2)
    for a in (EVERY, preserving):
        out = run(a, x, 1.0)
        np.testing.assert_allclose(run(a, x / scale, scale) * scale, out, rtol=1e-4, atol=1e-5)
        keys = jax.random.split(KEY, len(x))
        assert jax.vmap(lambda k, v, a=a: a.apply(k, v, SIREN))(keys, x).shape == x.shape
    gap = abs(outputs(run(preserving, x / scale, scale) * scale, SIREN) - outputs(x, SIREN))
    assert gap.max() < 1e-5
    wrong = run(preserving, x / scale, 1.0) * scale  # phase shifts of normalised weights
    assert abs(outputs(wrong, SIREN) - outputs(x, SIREN)).max() > 1e-2


def test_a_strength_does_not_change_what_others_draw():
    x = zoo(SIREN)
    alone = Augmentation(noise=0.2).apply(KEY, x, SIREN)
    both = Augmentation(noise=0.2, mask=0.5).apply(KEY, x, SIREN)
    kept = np.asarray(both != 0)
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_array_equal(both[kept], alone[kept])


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("flip", RELU, r"admit signs, got \['Dense_0 \(relu\)'"),
        ("phase", RELU, "admit phase shifts"),
        ("rescale", SIREN, "admit scales"),
        ("rotate", architectures.mlp([3, 4, 1], "sin"), "two coordinates to rotate, got 3"),
        ("translate", architectures.mlp([2, 4, 1], "sin", bias=False), "a bias that takes"),
        ("zoom", architectures.cnn([2, 4], [3]), r"one dense layer reads, got \['Conv_0 \(conv"),
    ],
)
def test_networks_without_the_symmetry_are_rejected(name, spec, words):
    change = Augmentation(**{name: STRENGTHS[name][1]})
    with pytest.raises(ValueError, match=words):
        change.apply(KEY, jnp.zeros((2, spec.count)), spec)


def test_strengths_that_make_no_sense_are_rejected():
    message = "strengths of at least 0.*\n  rotate: -1\n  dropout: 1\n  mask: 2"
    with pytest.raises(ValueError, match=message):
        Augmentation(rotate=-1, dropout=1, mask=2, zoom=0.1)
    with pytest.raises(ValueError, match=r"noise: expected a finite number, got nan\n  mask.*'1'"):
        Augmentation(noise=math.nan, mask="1")

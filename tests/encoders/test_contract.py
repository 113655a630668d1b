"""One battery for all encoders, then what is particular to each."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.encoders import GOLDEN, ROWS, SIREN, SMALL, SPECS

from wsjax import architectures, networks, testing
from wsjax.encoders import (
    ENCODERS,
    SNE,
    stat_nn,
)
from wsjax.encoders.parts import positions, set_attention
from wsjax.symmetries import permutations
from wsjax.views import chunks


def network(spec, seed=0):
    return np.asarray(networks.ravel(testing.draw(jax.random.key(seed), spec), spec))


@functools.cache
def start(encoder, spec, batch=3):
    vectors = np.stack([network(spec, seed) for seed in range(batch)])
    view = encoder.view(spec)
    variables = jax.jit(encoder.init)(jax.random.key(0), vectors, view)
    return variables, vectors, view


@functools.cache
def applied(encoder):
    """`encoder.apply`, compiled once for all tests of this encoder."""
    return jax.jit(encoder.apply)


def names_of(encoder):
    """The paths of the variables that an encoder learns."""
    vectors = np.zeros((1, SIREN.count), np.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), vectors, encoder.view(SIREN))
    return " ".join(map(str, jax.tree_util.tree_leaves_with_path(shapes)))


def test_every_encoder_is_in_the_battery():
    assert set(ROWS) == set(ENCODERS) == set(GOLDEN)


@pytest.mark.parametrize("name", ROWS)
def test_golden_values(name):
    encoder = ROWS[name]
    variables, vectors, view = start(encoder, SPECS.get(name, SIREN))
    code = applied(encoder)(variables, vectors, view)
    assert code.shape == (3, 4)
    direction = np.random.default_rng(0).standard_normal(code.shape)
    np.testing.assert_allclose(np.sum(np.asarray(code) * direction), GOLDEN[name], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in SPECS])
@pytest.mark.parametrize("widths", [[1, 1, 1], [3, 2], [1, 7, 3, 2, 1]], ids=str)
def test_odd_widths_give_finite_codes_that_see_every_array(name, widths):
    encoder, spec = ROWS[name], architectures.mlp(widths, "tanh")
    variables, vectors, view = start(encoder, spec, batch=1)
    encode = jax.jit(lambda x: encoder.apply(variables, x, view))
    code = encode(vectors)
    assert np.isfinite(code).all()
    for a in spec.arrays:
        params = networks.unravel(vectors, spec)
        moved = networks.ravel({**params, a.name: params[a.name] + 1.0}, spec)
        assert np.abs(encode(moved) - code).max() > 1e-6, f"blind to {a.name}"


@pytest.mark.parametrize("name", ["dwsnet", "nfn", "nft", "unf", "hyperrep"])
@pytest.mark.parametrize("spare", [-1, 1])
def test_networks_of_another_size_are_refused(name, spare):
    view, x = ROWS[name].view(SIREN), np.zeros((2, SIREN.count + spare), np.float32)
    with pytest.raises(ValueError, match=f"expected {SIREN.count} entries, got networks"):
        jax.eval_shape(lambda: ROWS[name].init(jax.random.key(0), x, view))


@pytest.mark.parametrize("name", ROWS)
def test_the_second_batch_does_not_recompile(name):
    encoder = ROWS[name]
    variables, vectors, view = start(encoder, SPECS.get(name, SIREN))
    encode = jax.jit(lambda v, x: encoder.apply(v, x, view))
    encode(variables, vectors)
    encode(variables, vectors[::-1].copy())
    assert encode._cache_size() == 1


@pytest.mark.parametrize("name", ["stat_nn", "deepsets"])
def test_statistics_are_blind_to_numbering(name):
    encoder = ROWS[name]
    variables, vectors, view = start(encoder, SIREN)
    shuffled = permutations.shuffle(jax.random.key(5), vectors[0], permutations.moves(SIREN))
    assert not np.allclose(shuffled, vectors[0])
    encode = lambda x: encoder.apply(variables, x[None], view)[0]
    np.testing.assert_allclose(encode(shuffled), encode(vectors[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["stat_nn", "deepsets"])
def test_statistics_are_blind_to_wiring_and_the_assertion_says_so(name):
    encoder = ROWS[name]
    variables, vectors, view = start(encoder, SIREN)
    run = jax.jit(lambda x: encoder.apply(variables, x[None], view)[0])
    encode = lambda p: run(networks.ravel(p, SIREN))
    with pytest.raises(AssertionError, match="blind to"):
        testing.assert_invariant(
            encode, networks.unravel(vectors[0], SIREN), SIREN, jax.random.key(1)
        )


@pytest.mark.parametrize("name", ["sne", "mlp", "transformer", "inr2vec", "dmc", "hyperrep"])
def test_encoders_that_see_the_numbering_are_caught(name):
    encoder, spec = ROWS[name], SPECS.get(name, SIREN)
    variables, vectors, view = start(encoder, spec)
    run = jax.jit(lambda x: encoder.apply(variables, x[None], view)[0])
    encode = lambda p: run(networks.ravel(p, spec))
    with pytest.raises(AssertionError, match="depends on the order"):
        testing.assert_invariant(
            encode, networks.unravel(vectors[0], spec), spec, jax.random.key(1)
        )


# SNE


def test_padding_and_stacking_change_no_number():
    other = architectures.mlp([2, 3, 1], "relu")
    variables, vectors, view = start(SMALL, SIREN, batch=1)
    alone = applied(SMALL)(variables, vectors, view)
    short = network(other)[None]
    alone_other = applied(SMALL)(variables, short, SMALL.view(other))
    both = chunks.stack([view, SMALL.view(other)])
    padded = np.zeros((2, SIREN.count), np.float32)
    padded[0], padded[1, : other.count] = vectors[0], short[0]
    padded[1, other.count :] = 99.0  # what lies behind a network must not be read
    code = applied(SMALL)(variables, padded, both)
    np.testing.assert_allclose(code[0], alone[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code[1], alone_other[0], rtol=1e-5, atol=1e-6)


def test_padding_does_not_reach_a_layer_without_arrays():
    spec, large = architectures.mlp([1, 6, 1], "relu"), architectures.mlp([2, 9, 9, 9, 1])
    spec = dataclasses.replace(spec, layers=(*spec.layers, networks.Layer("N", "norm", 1)))
    variables, vectors, view = start(SMALL, spec, batch=1)
    both = chunks.stack([view, SMALL.view(large)])
    padded = np.zeros((2, large.count), np.float32)
    padded[0, : spec.count], padded[1] = vectors[0], network(large)
    alone, code = (applied(SMALL)(variables, *x) for x in ((vectors, view), (padded, both)))
    np.testing.assert_allclose(code[0], alone[0], rtol=1e-5, atol=1e-6)


def test_another_architecture_in_the_same_bucket_does_not_recompile():
    specs = [architectures.mlp([1, n, n, 1]) for n in (6, 5)]
    views = [SMALL.view(s) for s in specs]
    room = chunks.bucket(views)
    padded = [jax.tree.map(lambda x: x[None], chunks.pad(v, room)) for v in views]
    variables, vectors, _ = start(SMALL, specs[0], batch=1)
    encode = jax.jit(lambda x, view: SMALL.apply(variables, x, view))
    codes = [encode(vectors, view) for view in padded]
    assert encode._cache_size() == 1
    assert np.abs(codes[0] - codes[1]).max() > 1e-6


@pytest.mark.parametrize("mixed", [False, True])
def test_blocks_give_the_same_numbers_and_gradients(mixed):
    variables, vectors, view = start(SMALL, SIREN, batch=2)
    if mixed:
        view = chunks.stack([view, view])
    loss = lambda v, encoder: (encoder.apply(v, vectors, view) ** 2).sum()
    in_blocks = SMALL.clone(block=4)
    assert view.sizes[0] > 4
    a, b = (
        jax.jit(jax.value_and_grad(loss), static_argnums=1)(variables, e)
        for e in (SMALL, in_blocks)
    )
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
    total = lambda tree: jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])
    error = jnp.linalg.norm(total(a[1]) - total(b[1])) / jnp.linalg.norm(total(a[1]))
    assert error < 1e-5


def test_blocks_bound_memory():
    wide = architectures.mlp([4, 64, 64, 1])
    view = SMALL.view(wide)
    vectors = np.zeros((1, wide.count), np.float32)
    variables = jax.eval_shape(SMALL.init, jax.random.key(0), vectors, view)

    def bytes_needed(encoder):
        f = jax.jit(lambda v: encoder.apply(v, vectors, view))
        return f.lower(variables).compile().memory_analysis().temp_size_in_bytes

    assert bytes_needed(SMALL.clone(block=64)) < 0.3 * bytes_needed(SMALL)


@pytest.mark.parametrize("off", ["level", "type", "position", "attention"])
def test_each_switch_removes_what_it_names(off):
    """Without an encoding no code depends on it; without attention no attention is left."""
    encoder = SMALL.clone(**{off: False})
    names, whole = names_of(encoder), names_of(SMALL)
    words = {
        "level": ["_level"],
        "type": ["_type"],
        "position": ["position_"],
        "attention": ["key_value", "seed"],  # of query_key_value and of the pooling
    }[off]
    for word in words:
        assert word in whole
        assert word not in names


def test_without_position_no_neuron_is_told_from_another():
    """Any permutation of a kernel's outputs then leaves the code: the paper's 7.452."""
    encoder = SMALL.clone(position=False)
    variables, vectors, view = start(encoder, SIREN, batch=1)
    params = networks.unravel(vectors, SIREN)
    torn = {**params, "Dense_1/kernel": np.roll(params["Dense_1/kernel"], 1, axis=-1)}
    code, moved = (
        applied(encoder)(variables, networks.ravel(p, SIREN), view) for p in (params, torn)
    )
    assert np.abs(moved - code).max() < 1e-6
    variables, vectors, view = start(SMALL, SIREN, batch=1)
    code, moved = (
        applied(SMALL)(variables, networks.ravel(p, SIREN), view) for p in (params, torn)
    )
    assert np.abs(moved - code).max() > 1e-5


def test_the_inr_preset_has_the_papers_size():
    spec = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
    shapes = jax.eval_shape(
        SNE().init, jax.random.key(0), jnp.zeros((1, spec.count)), SNE().view(spec)
    )
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert count == 356_139
    assert abs(count / 358_000 - 1) < 0.05


@pytest.mark.parametrize("norm", set_attention.NORMS)
@pytest.mark.parametrize("residual", set_attention.RESIDUALS)
def test_norms_and_residuals_are_different_functions(norm, residual):
    encoder = SMALL.clone(norm=norm, residual=residual)
    variables, vectors, view = start(encoder, SIREN)
    code = np.asarray(applied(encoder)(variables, vectors, view))
    plain = np.asarray(applied(SMALL)(start(SMALL, SIREN)[0], vectors, view))
    assert np.isfinite(code).all()
    same = (norm, residual) == ("none", "identity")
    assert np.allclose(code, plain) == same


def test_a_wrong_setting_is_named():
    with pytest.raises(ValueError, match=r"norm of \('none', 'post', 'pre'\).*got 'batch'"):
        start(SMALL.clone(norm="batch"), SIREN)


def test_a_residual_is_seen():
    """Two networks that differ only in where a residual starts have different codes."""
    spec = architectures.mlp([1, 6, 6, 6, 1], "relu")
    skip = lambda source: dataclasses.replace(
        spec,
        layers=(
            *spec.layers[:-1],
            networks.Layer("skip", "residual", 2, source=source),
            spec.layers[-1],
        ),
    )
    vectors = network(spec)[None]
    variables = jax.jit(SMALL.init)(jax.random.key(0), vectors, SMALL.view(skip(0)))
    codes = [applied(SMALL)(variables, vectors, SMALL.view(s)) for s in (spec, skip(0), skip(1))]
    assert np.abs(codes[0] - codes[1]).max() > 1e-6
    assert np.abs(codes[1] - codes[2]).max() > 1e-6


# the parts


def test_attention_is_flaxs():
    key = jax.random.key(0)
    q, k, v = (
        jax.random.normal(jax.random.fold_in(key, i), (2, n, 8)) for i, n in enumerate((5, 7, 7))
    )
    mask = jax.random.bernoulli(key, 0.6, (2, 5, 7)).at[..., 0].set(True)
    ours = set_attention.attend(q, k, v, mask, heads=2)
    heads = lambda x: x.reshape(*x.shape[:-1], 2, 4)
    theirs = nn.dot_product_attention(heads(q), heads(k), heads(v), mask=mask[:, None])
    np.testing.assert_allclose(ours, theirs.reshape(2, 5, 8), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        set_attention.attend(q, k, v, mask, heads=2, block=2), ours, rtol=1e-5, atol=1e-6
    )


def test_pooling_ignores_what_is_masked():
    for attention in (True, False):
        pool = set_attention.SetToVector(seeds=1, attention=attention, heads=2)
        x = jax.random.normal(jax.random.key(0), (6, 8))
        mask = jnp.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], bool)
        variables = jax.jit(pool.init)(jax.random.key(1), x, mask)
        out = pool.apply(variables, x, mask)
        alone = pool.apply(variables, x[3:5], jnp.ones((1, 2), bool))
        np.testing.assert_allclose(out[1], alone[0], rtol=1e-5, atol=1e-6)
        changed = pool.apply(variables, x.at[5].set(100.0), mask)
        np.testing.assert_allclose(changed, out, rtol=1e-6)


def test_sinusoids():
    waves = positions.sinusoid(jnp.array([0, 3, -1]), 8, 100.0)
    np.testing.assert_allclose(waves[0], [0] * 4 + [1] * 4, atol=1e-7)
    np.testing.assert_allclose(waves[1, 1], np.sin(3 * 100 ** (-1 / 4)), rtol=1e-6)
    np.testing.assert_array_equal(waves[2], 0)


def test_statistics_against_numpy():
    vectors = np.stack([network(SIREN, s) for s in range(4)])
    found = np.asarray(stat_nn.statistics(vectors, stat_nn.bounds(SIREN)))
    params, want = networks.unravel(vectors, SIREN), []
    for a in SIREN.arrays:
        x = params[a.name].reshape(4, -1)
        variance = x.var(1, ddof=1) if x.shape[1] > 1 else np.zeros(4)
        want += [x.mean(1), variance, *np.quantile(x, [0, 0.25, 0.5, 0.75, 1], axis=1)]
    np.testing.assert_allclose(found, np.stack(want, 1), rtol=1e-5, atol=1e-6)


def test_stat_nn_is_standardised_by_the_training_networks():
    encoder = ROWS["stat_nn"]
    variables, vectors, view = start(encoder, SIREN)
    constants = encoder.calibrate(vectors, view)
    x = np.asarray(stat_nn.statistics(vectors, view))
    np.testing.assert_allclose(constants["mean"], x.mean(0), rtol=1e-5, atol=1e-6)
    other = encoder.apply({**variables, "statistics": constants}, vectors, view)
    assert np.abs(other - encoder.apply(variables, vectors, view)).max() > 1e-3


def test_trees_learn_what_the_statistics_say():
    rng = np.random.default_rng(0)
    spec = architectures.mlp([1, 4, 1])
    scale = rng.uniform(1, 3, 300)
    vectors = (scale[:, None] * rng.standard_normal((300, spec.count))).astype(np.float32)
    part = lambda a, b: (vectors[a:b], scale[a:b])
    predicted = stat_nn.boosted_trees(part(0, 200), part(200, 250), vectors[250:], spec, 0)
    error = np.mean((predicted - scale[250:]) ** 2)
    assert error < 0.5 * np.var(scale[250:])

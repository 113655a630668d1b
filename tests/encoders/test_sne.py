"""SNE: padding, blocks, the switches of table 6, sizes, and residuals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.encoders import EXAMPLES, SIREN, applied, network, start

from wsjax import architectures, networks
from wsjax.encoders import SNE, Regressor, sne
from wsjax.encoders.parts import set_attention
from wsjax.tasks.base import Predictor
from wsjax.views import chunks

SMALL = EXAMPLES["sne"]
LEARNED = SMALL.clone(types="learned", learned_scale=True)  # whose encodings have variables


def names_of(encoder):
    """The paths of the variables that an encoder learns."""
    vectors = np.zeros((1, SIREN.count), np.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), vectors, encoder.view(SIREN))
    return " ".join(map(str, jax.tree_util.tree_leaves_with_path(shapes)))


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
    embeddings = [encode(vectors, view) for view in padded]
    assert encode._cache_size() == 1
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-6


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
    """Without an encoding no embedding depends on it; without attention no attention is left."""
    names, whole = names_of(LEARNED.clone(**{off: False})), names_of(LEARNED)
    words = {
        "level": ["_level"],
        "type": ["_type"],
        "position": ["position_"],
        "attention": ["key_value", "seed"],  # of query_key_value and of the pooling
    }[off]
    for word in words:
        assert word in whole
        assert word not in names


def test_without_position_no_neuron_is_distinguished_from_another():
    """Any permutation of a kernel's outputs then leaves the code: the paper's 7.452."""
    moved = {}
    for position in (True, False):
        encoder = SMALL.clone(position=position)
        variables, vectors, view = start(encoder, SIREN, batch=1)
        params = networks.unravel(vectors, SIREN)
        misaligned = {**params, "Dense_1/kernel": np.roll(params["Dense_1/kernel"], 1, axis=-1)}
        codes = [
            applied(encoder)(variables, networks.ravel(p, SIREN), view)
            for p in (params, misaligned)
        ]
        moved[position] = np.abs(codes[1] - codes[0]).max()
    assert moved[False] < 1e-6
    assert moved[True] > 1e-5


@pytest.mark.parametrize(
    ("encoder", "count"), [(SNE(), 358_401), (SNE(**sne.WIDE), 356_139 + 280_065)]
)
def test_with_its_head_the_default_has_the_papers_size(encoder, count):
    """358K (Andreis et al., table 1); see the module's docstring."""
    spec = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
    module = Predictor(encoder, Regressor((512, 512)))
    shapes = jax.eval_shape(
        module.init, jax.random.key(0), jnp.zeros((1, spec.count)), encoder.view(spec)
    )
    assert sum(x.size for x in jax.tree.leaves(shapes)) == count


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


def test_a_residual_is_read():
    """Two networks that differ only in where a residual starts have different embeddings."""
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
    views = [SMALL.view(s) for s in (spec, skip(0), skip(1))]
    embeddings = [applied(SMALL)(variables, vectors, view) for view in views]
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-6
    assert np.abs(embeddings[1] - embeddings[2]).max() > 1e-6

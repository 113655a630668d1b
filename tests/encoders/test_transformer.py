"""The Transformer: which entries are in each token, what positions are for, and its size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS
from cases.encoders import moved, parameter_count, started

from wsjax import architectures, networks, testing
from wsjax.encoders import Transformer, transformer

SIREN = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
CHAIN = architectures.mlp([2, 4, 4, 4, 1], "sin", 30.0)
TOKENS = Transformer(width=8, depth=1, heads=2, code=4)
HARD = ["taps in two dimensions", "norm without a kernel", "residual without arrays",
        "attention of two reads and writes", "one axis twice in an array", "no bias"]  # fmt: skip


def test_every_parameter_is_in_exactly_one_token(spec):
    places = np.concatenate([x.ravel() for x in transformer.tokens(spec).places])
    assert sorted(places) == list(range(spec.count))


def test_a_token_is_what_a_layer_writes_to_a_neuron():
    params = testing.draw(jax.random.key(0), SIREN)
    view, vector = TOKENS.view(SIREN), np.asarray(networks.ravel(params, SIREN))
    assert view.names == ("Dense_0/h0", "Dense_1/h1", "Dense_2/y")
    kernel, bias = (params[f"Dense_1/{x}"] for x in ("kernel", "bias"))
    np.testing.assert_array_equal(
        vector[view.places[1]], [[*kernel[:, j], bias[j]] for j in range(32)]
    )


def test_pairs_of_written_axes_are_folded():
    spec = SPECS["attention of two reads and writes"]
    params = testing.draw(jax.random.key(0), spec)
    view, vector = TOKENS.view(spec), np.asarray(networks.ravel(params, spec))
    found = dict(zip(view.names, view.places, strict=True))
    assert list(found) == [
        *("Embed/s", "Attention_0/head/qk", "Attention_0/head/v", "Attention_0/s", "Dense_0/y")
    ]
    query, bias, key = (params[n] for n in ("Query/kernel", "Query/bias", "Key/kernel"))
    want = [[*query[:, h, i], bias[h, i], *key[:, h, i]] for h in range(2) for i in range(4)]
    np.testing.assert_array_equal(vector[found["Attention_0/head/qk"]], want)
    out = params["Out/kernel"].reshape(6, 6)  # [head and v, s]
    want = [[*out[:, j], params["Out/bias"][j]] for j in range(6)]
    np.testing.assert_array_equal(vector[found["Attention_0/s"]], want)


def test_norms_and_arrays_that_write_nothing_have_tokens():
    norm = transformer.tokens(SPECS["norm without a kernel"])
    assert dict(zip(norm.names, (x.shape for x in norm.places), strict=True))["Norm_0/h0"] == (5, 4)
    table = networks.Array("Table/kernel", "kernel", ("row", "column"))
    layers = (networks.Layer("Table", "embedding", 0, (table,)), *CHAIN.layers)
    spec = dataclasses.replace(
        CHAIN, layers=layers, sizes=(*CHAIN.sizes, ("row", 3), ("column", 2))
    )
    view = transformer.tokens(spec)
    assert view.names[0] == "Table"
    np.testing.assert_array_equal(view.places[0], [np.arange(6)])


@pytest.mark.parametrize("name", HARD)
def test_hard_networks_are_read_array_by_array(name):
    spec = SPECS[name]
    params, variables, encode = started(TOKENS, spec)
    code = encode(variables, params)
    assert np.isfinite(code).all()
    for a in spec.arrays:
        misaligned = {**params, a.name: params[a.name] + 1.0}
        assert moved(encode(variables, misaligned), code) > 1e-6, f"blind to {a.name}"


@pytest.mark.parametrize("pool", transformer.POOLS)
def test_only_positions_distinguish_neurons_of_the_last_layer(pool):
    """Tokens are a set but for their positions."""
    spec = architectures.mlp([2, 4, 6], "tanh")
    params, variables, encode = started(TOKENS.clone(pool=pool), spec)
    rolled = {n: jnp.roll(x, 1, -1) if "Dense_1" in n else x for n, x in params.items()}
    assert moved(encode(variables, rolled), encode(variables, params)) > 1e-4
    learned = variables["params"]
    assert learned["position"].shape == (10, 8)
    without = {"params": {**learned, "position": jnp.zeros_like(learned["position"])}}
    assert moved(encode(without, rolled), encode(without, params)) < 1e-5
    misaligned = {n: jnp.roll(x, 1, -1) if n == "Dense_1/kernel" else x for n, x in params.items()}
    assert moved(encode(without, misaligned), encode(without, params)) > 1e-4


@pytest.mark.parametrize("pool", transformer.POOLS)
def test_everything_learned_is_used(pool):
    params, variables, encode = started(TOKENS.clone(pool=pool), CHAIN)
    slope = jax.grad(lambda v: (encode(v, params) ** 2).sum())(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        name = jax.tree_util.keystr(path)
        if "'key']['bias'" not in name:  # which softmax cancels
            assert jnp.abs(leaf).max() > 1e-8, name


def test_the_pools_differ():
    embeddings = [started(TOKENS.clone(pool=pool), CHAIN) for pool in transformer.POOLS]
    assert moved(*(encode(v, params) for params, v, encode in embeddings)) > 1e-3


def test_the_transformer_has_about_a_hundred_thousand_parameters():
    assert parameter_count(Transformer(), SIREN) == 97_740


def test_a_wrong_setting_of_the_transformer_is_named():
    with pytest.raises(ValueError, match=r"pool: expected one of \('class', 'mean'\), got 'max'"):
        started(TOKENS.clone(pool="max"), CHAIN)
    with pytest.raises(ValueError, match="a divisor of the width 8, got 3"):
        started(TOKENS.clone(heads=3), CHAIN)
    with pytest.raises(ValueError, match="at least one array, got none"):
        TOKENS.view(networks.Spec((), (), ()))

"""Encoders that cut a network into tokens or rows: what is in each, and what they see."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS

from wsjax import architectures, networks, testing
from wsjax.encoders import INR2Vec, Transformer, inr2vec, transformer

SIREN = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
CHAIN = architectures.mlp([2, 4, 4, 4, 1], "sin", 30.0)
TOKENS = Transformer(width=8, depth=1, heads=2, code=4)
ROWS = INR2Vec(widths=(16, 16), pooled=16, code=4)
HARD = ["taps in two dimensions", "norm without a kernel", "residual without arrays",
        "attention of two reads and writes", "one axis twice in an array", "no bias"]  # fmt: skip


def start(encoder, spec):
    """Variables and a jitted function of params, on a network of its own."""
    params, view = testing.draw(jax.random.key(0), spec), encoder.view(spec)
    variables = jax.jit(encoder.init)(
        jax.random.key(1), networks.ravel(params, spec)[None], encoder.view(spec)
    )
    encode = jax.jit(lambda v, p: encoder.apply(v, networks.ravel(p, spec)[None], view)[0])
    return params, variables, encode


def size(encoder, spec):
    shapes = jax.eval_shape(
        encoder.init, jax.random.key(0), jnp.zeros((1, spec.count)), encoder.view(spec)
    )
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
    print(f"{type(encoder).__name__}: {count:,} parameters")
    return count


def moved(a, b):
    return float(jnp.abs(a - b).max())


# Transformer


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
def test_hard_networks_are_seen_array_by_array(name):
    spec = SPECS[name]
    params, variables, encode = start(TOKENS, spec)
    code = encode(variables, params)
    assert np.isfinite(code).all()
    for a in spec.arrays:
        torn = {**params, a.name: params[a.name] + 1.0}
        assert moved(encode(variables, torn), code) > 1e-6, f"blind to {a.name}"


@pytest.mark.parametrize("pool", transformer.POOLS)
def test_only_positions_tell_neurons_of_the_last_layer_apart(pool):
    """Tokens are a set but for their positions."""
    spec = architectures.mlp([2, 4, 6], "tanh")
    params, variables, encode = start(TOKENS.clone(pool=pool), spec)
    rolled = {n: jnp.roll(x, 1, -1) if "Dense_1" in n else x for n, x in params.items()}
    assert moved(encode(variables, rolled), encode(variables, params)) > 1e-4
    learned = variables["params"]
    assert learned["position"].shape == (10, 8)
    without = {"params": {**learned, "position": jnp.zeros_like(learned["position"])}}
    assert moved(encode(without, rolled), encode(without, params)) < 1e-5
    torn = {n: jnp.roll(x, 1, -1) if n == "Dense_1/kernel" else x for n, x in params.items()}
    assert moved(encode(without, torn), encode(without, params)) > 1e-4


@pytest.mark.parametrize("pool", transformer.POOLS)
def test_everything_learned_is_used(pool):
    params, variables, encode = start(TOKENS.clone(pool=pool), CHAIN)
    slope = jax.grad(lambda v: (encode(v, params) ** 2).sum())(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        name = jax.tree_util.keystr(path)
        if "'key']['bias'" not in name:  # which softmax cancels
            assert jnp.abs(leaf).max() > 1e-8, name


def test_the_pools_differ():
    codes = [start(TOKENS.clone(pool=pool), CHAIN) for pool in transformer.POOLS]
    assert moved(*(encode(v, params) for params, v, encode in codes)) > 1e-3


def test_the_transformer_has_about_a_hundred_thousand_parameters():
    assert size(Transformer(), SIREN) == 97_740


def test_a_wrong_setting_of_the_transformer_is_named():
    with pytest.raises(ValueError, match=r"pool of \('class', 'mean'\), got 'max'"):
        start(TOKENS.clone(pool="max"), CHAIN)
    with pytest.raises(ValueError, match="divide the width 8, got 3"):
        start(TOKENS.clone(heads=3), CHAIN)
    with pytest.raises(ValueError, match="at least one array, got none"):
        TOKENS.view(networks.Spec((), (), ()))


# INR2Vec


def test_rows_are_neurons_of_inner_layers_and_their_biases():
    params = testing.draw(jax.random.key(0), CHAIN)
    vector, want = np.asarray(networks.ravel(params, CHAIN)), []
    for i in (1, 2):
        kernel, bias = (np.asarray(params[f"Dense_{i}/{x}"]) for x in ("kernel", "bias"))
        want += [*kernel.T, bias]
    np.testing.assert_array_equal(vector[inr2vec.rows(CHAIN)], want)


def test_a_kernel_stored_the_other_way_round_gives_the_same_rows():
    spec = architectures.mlp([1, 3, 3, 1], bias=False)
    kernel = networks.Array("Dense_1/kernel", "kernel", ("h1", "h0"), (1,), (0,))
    middle = dataclasses.replace(spec.layers[1], arrays=(kernel,))
    turned = dataclasses.replace(spec, layers=(spec.layers[0], middle, spec.layers[2]))
    there, back = (inr2vec.rows(s) - 3 for s in (spec, turned))
    np.testing.assert_array_equal(there, np.arange(9).reshape(3, 3).T)
    np.testing.assert_array_equal(back, np.arange(9).reshape(3, 3))


def test_first_and_last_layer_are_not_read_and_the_scale_of_all_others_is():
    params, variables, encode = start(ROWS, CHAIN)
    code = encode(variables, params)
    for a in CHAIN.arrays:
        change = moved(encode(variables, {**params, a.name: params[a.name] * 3}), code)
        if a.name.startswith(("Dense_0", "Dense_3")):
            assert change == 0, a.name
        else:
            assert change > 1e-4, f"blind to {a.name}"


def test_rows_are_a_set_and_columns_are_not():
    params, variables, encode = start(ROWS, CHAIN)
    code = encode(variables, params)
    rolled = lambda axis: {**params, "Dense_2/kernel": jnp.roll(params["Dense_2/kernel"], 1, axis)}
    assert moved(encode(variables, rolled(1)), code) < 1e-6  # other neurons, same rows
    assert moved(encode(variables, rolled(0)), code) > 1e-4


def test_inr2vec_has_about_a_hundred_thousand_parameters_or_the_papers():
    assert size(INR2Vec(), SIREN) == 99_572
    paper = INR2Vec(widths=(512, 512, 1024, 1024), pooled=1024, code=1024)
    wide = architectures.mlp([3, 512, 512, 512, 1], "sin", 30.0)
    want, inputs = 0, 512
    for width in (512, 512, 1024, 1024):  # a map, and scale and bias of its norm
        want, inputs = want + (inputs + 3) * width, width
    assert size(paper, wide) == want + 2 * 1025 * 1024


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (architectures.mlp([3, 2]), r"hidden to hidden neurons, got .*'x', 'y'.*hidden are \(\)"),
        (architectures.mlp([1, 1, 1]), r"hidden to hidden neurons, got .*\('x', 'h0'\)"),
        (architectures.mlp([1, 7, 3, 2, 1]), r"one width .* got {'h0': 7, 'h1': 3, 'h2': 2}"),
        (SPECS["taps in two dimensions"], r"(?s)Conv_0: .*got 'conv'.*Conv_1.*got {'c0': 4, 'c1'"),
        (SPECS["norm without a kernel"], r"Norm_0: expected a dense layer .* got 'norm'"),
        (SPECS["residual without arrays"], r"Add_0: expected a dense layer .* got 'residual'"),
        (SPECS["attention of two reads and writes"], r"(?s)Embed: .*Attention_0: "),
        (networks.Spec((), (), ()), r"hidden to hidden neurons, got kernels along \[\]"),
    ],
    ids=["no hidden axis", "one hidden axis", "widths", "conv", "norm", "residual", "attention",
         "empty"],
)  # fmt: skip
def test_inr2vec_names_what_it_cannot_read(spec, wrong):
    with pytest.raises(ValueError, match=wrong):
        ROWS.view(spec)


def test_inr2vec_reads_a_recurrent_kernel():
    assert inr2vec.rows(SPECS["one axis twice in an array"]).shape == (6, 5)

"""INR2Vec: which rows it reads, of what they are a set, its sizes, and what is not supported."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS
from cases.encoders import moved, parameter_count, started

from wsjax import architectures, networks, testing
from wsjax.encoders import INR2Vec, inr2vec

SIREN = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
CHAIN = architectures.mlp([2, 4, 4, 4, 1], "sin", 30.0)
ROWS = INR2Vec(widths=(16, 16), pooled=16, code=4)


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
    params, variables, encode = started(ROWS, CHAIN)
    code = encode(variables, params)
    for a in CHAIN.arrays:
        change = moved(encode(variables, {**params, a.name: params[a.name] * 3}), code)
        if a.name.startswith(("Dense_0", "Dense_3")):
            assert change == 0, a.name
        else:
            assert change > 1e-4, f"blind to {a.name}"


def test_rows_are_a_set_and_columns_are_not():
    params, variables, encode = started(ROWS, CHAIN)
    code = encode(variables, params)
    rolled = lambda axis: {**params, "Dense_2/kernel": jnp.roll(params["Dense_2/kernel"], 1, axis)}
    assert moved(encode(variables, rolled(1)), code) < 1e-6  # other neurons, same rows
    assert moved(encode(variables, rolled(0)), code) > 1e-4


def test_inr2vec_has_about_a_hundred_thousand_parameters_or_the_papers():
    assert parameter_count(INR2Vec(), SIREN) == 99_572
    paper = INR2Vec(widths=(512, 512, 1024, 1024), pooled=1024, code=1024)
    wide = architectures.mlp([3, 512, 512, 512, 1], "sin", 30.0)
    want, inputs = 0, 512
    for width in (512, 512, 1024, 1024):  # a map, and scale and bias of its norm
        want, inputs = want + (inputs + 3) * width, width
    assert parameter_count(paper, wide) == want + 2 * 1025 * 1024


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
def test_inr2vec_names_what_is_not_supported(spec, wrong):
    with pytest.raises(ValueError, match=wrong):
        ROWS.view(spec)


def test_a_recurrent_kernel_is_supported():
    assert inr2vec.rows(SPECS["one axis twice in an array"]).shape == (6, 5)

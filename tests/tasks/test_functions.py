"""Functions, bound modules and trained results, each in place of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.tasks import SPEC, ratio_zoo

from wsjax import architectures, networks, testing
from wsjax.encoders import MLP, DeepSets, editor
from wsjax.tasks import functions
from wsjax.tasks.editing import Canvas, Editing, TrainedEditor
from wsjax.tasks.regression import Regression, TrainedRegression
from wsjax.tasks.scaling import InputScale

KEY = jax.random.key(0)
PARAMS = testing.draw(KEY, SPEC)
WIDER = architectures.mlp([1, 5, 1], "tanh")
MATRIX = jax.random.normal(KEY, (SPEC.count, 3))


def flat(params):
    return networks.ravel(params, SPEC) @ MATRIX


def bound(module, spec=SPEC):
    vectors = networks.ravel(testing.draw(KEY, spec), spec)[None]
    return module.bind(module.init(KEY, vectors, module.view(spec)))


def trained(kind, task):
    module = task.module(MLP(widths=(), code=3), ())
    variables = bound(module.encoder if kind is TrainedRegression else module).variables
    if kind is TrainedRegression:
        variables = {"params": {"encoder": variables["params"]}}
    return kind(task, module, variables, InputScale.fit(ratio_zoo(8)), (SPEC,), {}, {}, ())


def test_a_function_is_called_with_its_spec_if_it_takes_one():
    alone, both = (functions.embedding(f, SPEC) for f in (flat, lambda p, spec: flat(p)))
    np.testing.assert_array_equal(alone(PARAMS, SPEC), flat(PARAMS))
    np.testing.assert_array_equal(both(PARAMS, WIDER), flat(PARAMS))
    with pytest.raises(ValueError, match="a function of params alone"):
        alone(PARAMS, WIDER)
    assert functions.required(lambda p, e=1, *, spec: p) == ["p"]
    assert functions.required(jax.jit(lambda p, spec: p)) == ["p", "spec"]
    assert functions.required(dict.fromkeys) != []


def test_a_bound_encoder_embeds_networks():
    encoder = bound(MLP(widths=(), code=3))
    dense = encoder.variables["params"]["Dense_0"]
    vector = networks.ravel(PARAMS, SPEC)
    encode = functions.embedding(encoder, SPEC)
    np.testing.assert_allclose(
        encode(PARAMS, SPEC), vector @ dense["kernel"] + dense["bias"], rtol=1e-5
    )
    with pytest.raises(ValueError, match="fixed to one architecture"):
        encode(testing.draw(KEY, WIDER), WIDER)
    anything = functions.embedding(bound(DeepSets(widths=(4,), code=2)), SPEC)
    assert anything(testing.draw(KEY, WIDER), WIDER).shape == (2,)


def test_a_bound_editor_edits_networks():
    module = bound(editor(MLP(widths=(), code=3)))
    edited = functions.edit(module, SPEC)(PARAMS, SPEC)
    vector = networks.ravel(PARAMS, SPEC)[None]
    want = networks.unravel(module(vector, module.view(SPEC))[0], SPEC)
    for name in want:
        np.testing.assert_allclose(edited[name], want[name], rtol=1e-5, atol=1e-6)


def test_trained_results_stand_for_functions():
    result = trained(TrainedRegression, Regression("ratio"))
    np.testing.assert_array_equal(
        functions.embedding(result, SPEC)(PARAMS, SPEC), result.encode(PARAMS)
    )
    change = trained(TrainedEditor, Editing(None, Canvas(2, 2, "xy", 0.0)))
    for name, array in functions.edit(change, SPEC)(PARAMS, SPEC).items():
        np.testing.assert_array_equal(array, change.edit(PARAMS)[name])


@pytest.mark.parametrize(
    ("of", "make", "message"),
    [
        (MLP(), functions.embedding, r"expected a module with variables, `module\.bind.*, got MLP"),
        (editor(MLP()), functions.edit, r"`module\.bind\(variables\)`, got Editor"),
        (MLP, functions.embedding, r"encode\(params\), an encoder bound .*, got the class MLP"),
        ("mlp", functions.embedding, "a function encode.*, got str"),
        (MLP(), functions.edit, "a function edit.*, got MLP"),
        (None, functions.edit, "an editor bound to its variables or a TrainedEditor, got NoneType"),
    ],
    ids=["encoder", "editor", "class", "name", "no editor", "none"],
)
def test_what_is_no_function_is_an_error(of, make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(of, SPEC)


def test_an_embedding_is_an_array():
    with pytest.raises(TypeError, match="expected an embedding that is an array, got dict"):
        functions.embedding(lambda p: p, SPEC)(PARAMS, SPEC)


def test_assertions_take_all_of_them():
    x = jnp.linspace(-1, 1, 5)[:, None]
    result = trained(TrainedRegression, Regression("ratio"))
    for flat_one in (flat, bound(MLP(widths=(), code=3)), result):
        with pytest.raises(AssertionError, match=r"depends on the order of \['h0'\]"):
            testing.assert_invariant(flat_one, PARAMS, SPEC, KEY)
    testing.assert_function_preserved(architectures.forward, PARAMS, SPEC, KEY, x)
    found = testing.audit(flat, PARAMS, SPEC, KEY, samples=1)
    assert found["permutation"].verdict == "broken"
    assert "a function of params alone" in found["widening"].reason

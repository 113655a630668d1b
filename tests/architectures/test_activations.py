"""The two forms of GELU, by their definitions in double precision."""

import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures
from wsjax.architectures import activations
from wsjax.networks import ACTIVATIONS, FORMS

X = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
GELU = {  # x / 2 (1 + erf(x / sqrt 2)) is the default of `torch.nn.functional.gelu`
    "gelu": (
        *(-0.0040497, -0.0455003, -0.1586553, -0.1542688),
        *(0.3457312, 0.8413447, 1.9544997, 2.9959503),
    ),
    "gelu_tanh": (
        *(-0.0036374, -0.0454023, -0.1588080, -0.1542860),
        *(0.3457140, 0.8411920, 1.9545977, 2.9963626),
    ),
}


@pytest.mark.parametrize(("name", "other"), [("gelu", "gelu_tanh"), ("gelu_tanh", "gelu")])
def test_each_form_of_gelu_is_its_own(name, other):
    got = np.asarray(activations.ACTIVATIONS[name](jnp.array(X)))
    np.testing.assert_allclose(got, GELU[name], atol=1e-6)
    assert np.abs(got - GELU[other]).min() > 1e-5
    assert np.abs(got - GELU[other]).max() < 5e-4


def test_every_name_is_a_function_and_forms_are_names():
    assert {*activations.ACTIVATIONS, "other"} == set(ACTIVATIONS)
    assert {*FORMS, *FORMS.values()} <= set(ACTIVATIONS)


def test_a_transformer_has_the_exact_form_unless_named():
    vit = lambda **more: architectures.vit(1, 4, 2, size=(4,), patch=2, blocks=1, **more)
    of = lambda spec: {layer.activation for layer in spec.layers} - {"none"}
    assert (of(vit()), of(vit(activation="gelu_tanh"))) == ({"gelu"}, {"gelu_tanh"})

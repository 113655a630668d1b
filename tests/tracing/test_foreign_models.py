"""Every model of the catalogue: what tracing claims about it holds, and is not nothing."""

import jax
import numpy as np
import pytest

import wsjax
from experiments.foreign_models.catalogue import MODELS

pytestmark = pytest.mark.trains  # as in use: frameworks promote types


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_traced(name):
    model = MODELS[name]
    pytest.importorskip(model.needs)
    apply, params, inputs = model.build()
    traced = wsjax.trace(apply, params, *inputs)
    assert traced.spec.hidden
    assert traced.error < 1e-3 < 10 * traced.error + 1e-3 < traced.misaligned
    back = traced.unpack(traced.pack(params))
    jax.tree.map(np.testing.assert_array_equal, back, params)

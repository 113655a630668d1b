"""Bags of arrays: no symmetry, and still read by encoders that need none."""

import jax
import numpy as np
import pytest
from cases.encoders import EXAMPLES
from cases.recognised import filled

from wsjax import networks, recognize
from wsjax.recognition import opaque
from wsjax.recognition.drafting import StoredDraft

BAG = {
    "gate": (),
    "blocks.0.mystery": (3, 4),
    "blocks.0.norm.weight": (4,),
    "blocks.1.filters": (2, 3, 2, 2, 3, 2),
    "out.weight": (2, 5),
    "volume.kernel": (2, 3, 2, 4, 3),
}


def test_every_array_is_a_layer_and_nothing_is_permuted():
    draft = StoredDraft(stored=BAG)
    opaque.add(draft, BAG)
    spec, packing = draft.result()
    assert [layer.name for layer in spec.layers] == list(BAG)
    assert spec.hidden == ()
    state = filled(BAG)
    packed = packing.pack(state)
    networks.check(packed, spec)
    assert packed["blocks.1.filters"].shape == (2, 3, 2, 2, 6)
    for name, array in packing.unpack(packed).items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("name", ["sne", "dmc", "stat_nn", "deepsets"])
def test_encoders_that_read_any_network_read_a_bag(name):
    found = recognize(filled(BAG))
    assert (found.level, found.coverage) == ("opaque", 0)
    rows = [networks.ravel(found.pack(filled(BAG, seed)), found.spec) for seed in range(3)]
    encoder, vectors = EXAMPLES[name], np.stack(rows)
    view = encoder.view(found.spec)
    code, _ = jax.jit(lambda x: encoder.init_with_output(jax.random.key(0), x, view))(vectors)
    code = np.asarray(code)
    assert np.isfinite(code).all()
    assert np.ptp(code, axis=0).max() > 1e-6

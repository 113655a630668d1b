"""Every encoder that promises it is exactly invariant, on every architecture it reads."""

import jax
import numpy as np
import pytest
from cases import battery

from wsjax import architectures, networks, testing
from wsjax.testing import MARGIN

RTOL = 2e-5  # deep residual networks in float32


@pytest.fixture(scope="module", params=battery.EXACT)
def method(request):
    return request.param, battery.encodings(battery.EXAMPLES[request.param])


def test_exact_encoders_are_invariant_and_read_every_wire(method):
    name, encodings = method
    wrong = []
    for case, encode in encodings.encode.items():
        law, control = battery.errors(encode, battery.CASES[case][0])
        if not (law <= RTOL and control > MARGIN * law and control > 1e-6):
            wrong.append(f"{case}: permuting moves it {law:.0e}, a misalignment {control:.0e}")
    assert not wrong, f"{name}:\n" + "\n".join(wrong)


def test_they_support_every_architecture(method):
    name, encodings = method
    # three tables of 16 entries feed each neuron of the triplane
    unsupported = {"triplane"} if name in ("neural_graph", "scalegmn") else set()
    if name == "scalegmn":  # their parameters do not carry the factors of neurons alone
        for case, (spec, _) in battery.CASES.items():
            if {x.kind for x in spec.layers} & {"norm", "attention"}:
                unsupported.add(case)
    assert set(encodings.unsupported) == unsupported
    assert len(encodings.encode) > (30 if name == "scalegmn" else 50)


def test_the_battery_selects_encoders_by_name():
    assert list(battery.selected(["mlp", "gmn"])) == ["gmn", "mlp"]
    assert battery.selected([]) == battery.EXAMPLES
    with pytest.raises(ValueError, match=r"expected encoders of sne, .*; got nope, snee"):
        battery.selected(["gmn", "snee", "nope"])


@pytest.mark.parametrize("name", battery.EXACT)
def test_two_grids_of_a_hash_grid_are_not_one_another(name):
    """No misalignment of one array shows this: tables of one size, of different resolutions."""
    spec = architectures.hash_grid(2, 2, [3, 1], levels=6, coarsest=2, finest=32, table=8)
    params = testing.draw(jax.random.key(0), spec)
    encoder = battery.EXAMPLES[name]
    view = encoder.view(spec)
    vectors = networks.ravel(params, spec)[None]
    variables = jax.jit(encoder.init)(jax.random.key(1), vectors, view)
    encode = jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, spec)[None], view))
    swapped = dict(params)
    for one, other in (
        ("HashGrid_4/embedding", "HashGrid_5/embedding"),
        ("Dense_0/kernel_f4", "Dense_0/kernel_f5"),
    ):
        assert params[one].shape == params[other].shape
        swapped[one], swapped[other] = params[other], params[one]
    x = jax.random.uniform(jax.random.key(2), (9, 2), minval=-1)
    moved = architectures.forward(swapped, x, spec) - architectures.forward(params, x, spec)
    assert np.abs(moved).max() > 1e-2
    embedding = encode(params)
    change = np.abs(encode(swapped) - embedding).max()
    assert change > 1e-5 * np.abs(embedding).max()

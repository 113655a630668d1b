import jax.numpy as jnp
import numpy as np
import pytest
from cases.pairs_of_networks import SPECS, copy, network, noisy, numpy

from wsjax.comparison import alignment
from wsjax.symmetries import permutations, scalings


def far(aligned, params):
    norm = np.linalg.norm
    return max(norm(aligned[n] - x) / norm(x) for n, x in params.items() if norm(x))


@pytest.mark.parametrize("name", ["relu", "sin"])
def test_a_copy_of_the_same_function_is_aligned_exactly(name):
    params, spec = network(name)
    moved = copy(params, spec)
    assert far(moved, params) > 0.5
    found = alignment.align(moved, params, spec)
    assert far(found.params, params) < 1e-6
    again = permutations.act(found.permutation, moved, spec)
    again = numpy(scalings.act(found.scaling, again, spec))
    assert far(again, found.params) < 1e-6


@pytest.mark.parametrize("name", SPECS)
def test_a_noisy_copy_is_aligned_up_to_its_noise(name):
    params, spec = network(name)
    found = alignment.align(copy(noisy(params, 0.1), spec), params, spec)
    assert 0.05 < far(found.params, params) < 0.2


def test_permutations_alone_do_not_undo_scales():
    params, spec = network("relu")
    found = alignment.align(copy(params, spec), params, spec, factors=False)
    assert found.scaling is None
    assert far(found.params, params) > 0.1


def test_the_best_scale_is_a_minimum():
    params, spec = network("relu")
    other, _ = network("relu", seed=8)
    found = alignment.align(other, params, spec)
    distance = lambda p: sum(float(np.sum((p[n] - x) ** 2)) for n, x in params.items())
    for factor in (0.9, 1.1):
        for layer in found.scaling.factors:
            one = scalings.identity(spec)
            one.factors[layer] = one.factors[layer].at[0].set(factor)
            single = {n: jnp.asarray(x, jnp.float32) for n, x in found.params.items()}
            assert distance(numpy(scalings.act(one, single, spec))) > distance(found.params)

"""Networks of several architectures in one batch."""

import jax
import numpy as np

from wsjax import architectures, chunks, networks, testing
from wsjax.encoders import SNE

ENCODER = SNE(chunk=4, width=8, code=4, heads=2, chunk_depth=1, depth=1)
LARGE = architectures.mlp([1, 6, 5, 1], "sin", 30.0)
OTHERS = architectures.mlp([2, 3, 1], "relu"), architectures.mlp([1, 4, 4, 1], "tanh", bias=False)


def batch(*specs):
    vectors = [
        np.asarray(networks.ravel(testing.draw(jax.random.key(i), s), s))
        for i, s in enumerate(specs)
    ]
    return vectors, chunks.collate(vectors, [ENCODER.view(s) for s in specs])


def test_a_second_batch_of_other_architectures_does_not_recompile():
    """And each code is the one its network has alone, though the batch is padded."""
    batches = [(LARGE, OTHERS[0]), (OTHERS[1], LARGE)]
    _, (vectors, view) = batch(*batches[0])
    variables = jax.jit(ENCODER.init)(jax.random.key(0), vectors, view)
    encode = jax.jit(ENCODER.apply)
    codes = []
    for specs in batches:
        alone, (vectors, view) = batch(*specs)
        assert view.sizes[0] > ENCODER.view(OTHERS[0]).sizes[0]
        together = encode(variables, vectors, view)
        for spec, vector, code in zip(specs, alone, together, strict=True):
            single = encode(variables, vector[None], ENCODER.view(spec))[0]
            np.testing.assert_allclose(code, single, rtol=1e-5, atol=1e-6)
            codes.append(np.asarray(code))
    # one program for all mixed batches, and one for each of the three networks alone
    assert encode._cache_size() == 1 + 3
    assert min(np.abs(a - b).max() for a in codes for b in codes if a is not b) > 1e-6


def test_lengths_are_rounded_up_so_that_few_occur():
    lengths = {batch(architectures.mlp([1, n, n, 1]))[1][0].shape[1] for n in range(20, 40)}
    assert len(lengths) <= 8
    vectors, (padded, _) = batch(LARGE, OTHERS[0])
    assert padded.shape[1] <= 1.25 * len(vectors[0])
    np.testing.assert_array_equal(padded[1, len(vectors[1]) :], 0)

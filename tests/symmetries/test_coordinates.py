"""Coordinates of networks, against the networks seen elsewhere."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.drawing import draw, raveled

from wsjax import architectures, networks
from wsjax.symmetries import coordinates

X = np.random.default_rng(0).uniform(-1, 1, (20, 3))
MATRIX = np.random.default_rng(1).standard_normal((3, 3))
SHIFT = np.array([0.3, -0.5, 0.2])


def transposed(spec):
    """The same network, its first kernel stored [neuron, input], as PyTorch does."""
    one, *rest = spec.layers
    kernel, bias = one.arrays
    kernel = dataclasses.replace(kernel, axes=kernel.axes[::-1], reads=(1,), writes=(0,))
    return dataclasses.replace(
        spec, layers=(dataclasses.replace(one, arrays=(bias, kernel)), *rest)
    )


@pytest.mark.parametrize("activation", ["sin", "relu", "none"])
@pytest.mark.parametrize("stored", [lambda s: s, transposed], ids=["input first", "output first"])
def test_a_moved_network_is_the_network_seen_elsewhere(activation, stored):
    spec = stored(architectures.mlp([3, 7, 4, 2], activation, 5.0))
    with jax.enable_x64(True):
        vectors = raveled(draw(spec, (2,), float), spec, float)
        one = lambda v, x: architectures.forward(networks.unravel(v, spec), x, spec)
        run = jax.jit(jax.vmap(one, (0, None)))
        moved = coordinates.move(vectors, spec, jnp.asarray(MATRIX), jnp.asarray(SHIFT))
        there = run(vectors, X @ MATRIX.T + SHIFT)
        np.testing.assert_allclose(run(moved, X), there, rtol=1e-10, atol=1e-12)
        assert abs(there - run(vectors, X)).max() > 0.1
        assert abs(there - run(vectors, X @ MATRIX + SHIFT)).max() > 0.1
        back = np.linalg.inv(MATRIX)
        again = coordinates.move(moved, spec, jnp.asarray(back), jnp.asarray(-back @ SHIFT))
        np.testing.assert_allclose(again, vectors, rtol=1e-9, atol=1e-12)


def test_every_network_of_a_batch_has_a_change_of_its_own():
    spec = architectures.mlp([3, 4, 1], "sin")
    vectors = raveled(draw(spec, (2,)), spec)
    matrices = jnp.asarray(np.stack([MATRIX, 2 * MATRIX]), jnp.float32)
    shifts = jnp.asarray(np.stack([SHIFT, -SHIFT]), jnp.float32)
    together = jax.jit(lambda v: coordinates.move(v, spec, matrices, shifts))(vectors)
    for i in range(2):
        alone = coordinates.move(vectors[i], spec, matrices[i], shifts[i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


def test_rotations():
    quarter = coordinates.rotation(jnp.pi / 2)
    np.testing.assert_allclose(quarter @ jnp.array([1.0, 0]), [0, 1], atol=1e-6)
    assert coordinates.rotation(jnp.zeros((4, 3))).shape == (4, 3, 2, 2)


@pytest.mark.parametrize(
    "spec",
    [
        architectures.cnn([2, 4], [3]),
        architectures.grid([4, 4], 3, [4, 1]),
        architectures.deepsets([3, 4], [2]),
        architectures.vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=2),
        networks.Spec((), (), ()),
    ],
    ids=["cnn", "grid", "sets", "vit", "nothing"],
)
def test_networks_whose_coordinates_are_read_otherwise_are_rejected(spec):
    with pytest.raises(ValueError, match="expected coordinates that one dense layer reads, got"):
        coordinates.move(jnp.zeros(spec.count), spec)


def test_vectors_of_another_network_are_rejected():
    spec = architectures.mlp([2, 4, 1])
    with pytest.raises(ValueError, match=r"expected 17 parameters, got vectors \(3, 18\)"):
        coordinates.move(jnp.zeros((3, 18)), spec)

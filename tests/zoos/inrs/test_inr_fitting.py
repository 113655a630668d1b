"""Single INRs of images: how they are rendered, initialised and fitted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from third_party import inr_folders
from wsjax.datasets import images
from wsjax.networks import unravel
from wsjax.zoos import fitting
from wsjax.zoos.inrs import image_folders, inr_fitting
from wsjax.zoos.inrs.inr_recipe import DWS, NFN, RECIPES, grid

pytestmark = pytest.mark.trains

DIGITS = images.load("digits")


def by_hand(params, points, offset):
    """A SIREN of any depth, omega 30, in NumPy, in float64."""
    x, depth = points.astype(np.float64), len(params) // 2
    for i in range(depth):
        kernel, bias = (
            np.asarray(params[f"Dense_{i}/{n}"], np.float64) for n in ("kernel", "bias")
        )
        x = x @ kernel + bias
        x = np.sin(30 * x) if i < depth - 1 else x
    return x + offset


@pytest.mark.parametrize("channels", [1, 3])
def test_rendering_is_the_forward_pass_by_hand(channels):
    spec, points = DWS.spec(channels), grid(5, 7, "xy")
    params = jax.vmap(lambda k: fitting.initial(spec, k))(jax.random.split(jax.random.key(0), 3))
    render = jax.jit(jax.vmap(lambda p: image_folders.render(p, spec, points, DWS.offset)))
    out = render(params)
    assert out.shape == (3, 5, 7, channels)
    for i in range(3):
        one = {k: v[i] for k, v in params.items()}
        np.testing.assert_allclose(out[i], by_hand(one, points, 0.5), atol=2e-6)
    assert np.ptp(out) > 0.1
    with pytest.raises(ValueError, match=r"expected points \[row, col, 2\], got \[5, 7, 1\]"):
        image_folders.render({}, spec, points[..., :1], 0.0)


def test_the_first_coordinate_is_the_indexing():
    along, down = np.linspace(-1, 1, 4, dtype=np.float32), np.linspace(-1, 1, 3, dtype=np.float32)
    for indexing, place in (("xy", 0), ("ij", 1)):
        points = image_folders.grid(3, 4, indexing)
        assert points.shape == (3, 4, 2)
        np.testing.assert_array_equal(points[..., place], np.broadcast_to(along, (3, 4)))
        np.testing.assert_array_equal(points[..., 1 - place], np.repeat(down[:, None], 4, 1))
    with pytest.raises(ValueError, match="'yx'"):
        grid(3, 4, "yx")


@pytest.mark.parametrize("name", ["dws", "nfn"])
def test_conventions_are_those_of_the_published_files(name):
    """As the readers of the published folders have them."""
    recipe, published = RECIPES[name], inr_folders.CONVENTIONS[f"{name}_mnist"]
    assert recipe.spec(1) == published.spec
    assert (recipe.offset, recipe.low) == (published.offset, published.low)
    np.testing.assert_array_equal(grid(28, 28, recipe.indexing), inr_folders.coordinates(published))
    params = fitting.initial(recipe.spec(1), jax.random.key(1), recipe.initialization)
    ours = image_folders.render(
        params, recipe.spec(1), grid(28, 28, recipe.indexing), recipe.offset
    )
    np.testing.assert_allclose(ours, inr_folders.pixels(params, published), atol=1e-6)


BOUNDS = {  # of kernels and biases, layer by layer
    "dws": ([3**0.5 / 30, (6 / 32) ** 0.5 / 30, 32**-0.5], [0, 0, 32**-0.5]),
    "nfn": ([1 / 2, (6 / 32) ** 0.5 / 30, (6 / 32) ** 0.5 / 30], [2**-0.5, 32**-0.5, 32**-0.5]),
}


@pytest.mark.parametrize("name", list(BOUNDS))
def test_initial_weights_are_uniform_within_the_published_bounds(name):
    recipe = RECIPES[name]
    draw = jax.jit(jax.vmap(lambda k: fitting.initial(recipe.spec(1), k, recipe.initialization)))
    params = draw(jax.random.split(jax.random.key(0), 500))
    for role, bounds in zip(("kernel", "bias"), BOUNDS[name], strict=True):
        for i, bound in enumerate(bounds):
            found = np.asarray(params[f"Dense_{i}/{role}"])
            assert np.abs(found).max() <= bound * (1 + 1e-6)
            assert np.abs(found).max() >= 0.98 * bound
            assert found.std() == pytest.approx(bound / 3**0.5, rel=0.08)
            assert abs(found.mean()) <= 0.08 * bound


def test_fitted_networks_are_their_images():
    """To 25 decibels, both recipes; rendered by NumPy, so that no convention is ours alone."""
    for recipe in (DWS, NFN):
        recipe = dataclasses.replace(recipe, steps=600, psnr=25.0)
        values = images.prepare(DIGITS.train[:4], images.Preparation(low=recipe.low))
        fit = inr_fitting.run(recipe, values, inr_fitting.keys(0, "train", range(4), 0))
        for i in range(4):
            params = unravel(fit.vectors[i], recipe.spec(1))
            picture = by_hand(params, grid(8, 8, recipe.indexing), recipe.offset)
            mse = ((picture - values[i]) ** 2).mean()
            assert mse == pytest.approx(fit.mse[i], rel=1e-3)
            assert 10 * np.log10((1 - recipe.low) ** 2 / mse) >= 24.99
            turned = ((picture.swapaxes(0, 1) - values[i]) ** 2).mean()
            assert turned > 4 * mse
        assert (fit.steps < 600).all()
        assert len(set(fit.steps.tolist())) > 1  # each stops by itself


def test_both_sines_fit_alike():
    recipe = dataclasses.replace(DWS, steps=40, psnr=np.inf)
    values = images.prepare(DIGITS.train[:3], images.Preparation())
    keys = inr_fitting.keys(0, "train", range(3), 0)
    ours = inr_fitting.run(recipe, values, keys)
    exact = inr_fitting.run(recipe, values, keys, sine=jnp.sin)
    np.testing.assert_allclose(ours.mse, exact.mse, rtol=1e-3)
    np.testing.assert_allclose(ours.vectors, exact.vectors, atol=1e-4)


def test_networks_go_on_where_they_are():
    recipe = dataclasses.replace(DWS, learning_rate=1e-3, steps=200)
    values = images.prepare(DIGITS.train[:3], images.Preparation())
    fit = inr_fitting.run(recipe, values, inr_fitting.keys(0, "train", range(3), 0))
    same = inr_fitting.refine(recipe, fit.vectors, values, 0)
    np.testing.assert_array_equal(same.vectors, fit.vectors)
    np.testing.assert_allclose(same.mse, fit.mse, rtol=1e-4)
    other = inr_fitting.refine(recipe, fit.vectors, 1 - values, 300)
    first = inr_fitting.refine(recipe, fit.vectors, 1 - values, 0)
    assert (other.mse < first.mse / 10).all()
    together = inr_fitting.refine(recipe, fit.vectors, 1 - values, 300, batch=2)
    np.testing.assert_allclose(together.mse, other.mse, rtol=0.05)
    with pytest.raises(ValueError, match="a network of 1185 entries for each of 2 images"):
        inr_fitting.refine(recipe, fit.vectors, values[:2], 1)


def test_one_by_one_as_in_a_vectorised_loop():
    """As an accelerator fits them: a network that is done waits, unchanged, for the others."""
    recipe = dataclasses.replace(DWS, steps=60, psnr=12.0)
    values = images.prepare(DIGITS.train[:5], images.Preparation())
    keys = inr_fitting.keys(0, "train", range(5), 0)
    one, all_ = (inr_fitting.run(recipe, values, keys, count=6, batch=b) for b in (1, 6))
    assert 0 < one.steps.min() < one.steps.max()
    np.testing.assert_array_equal(one.steps, all_.steps)
    np.testing.assert_allclose(one.vectors, all_.vectors, atol=1e-4)

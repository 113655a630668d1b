"""An editor beats leaving networks alone, commutes with renumbering, comes back from its path."""

import re

import jax
import numpy as np
import pytest

from wsjax import architectures, networks, testing, training, zoos
from wsjax.tasks import editing
from wsjax.tasks.editing import Canvas, Objective
from wsjax.zoos.inrs.inr_fitting import initial
from wsjax.zoos.inrs.inr_recipe import DWS, NFN, Recipe

RECIPE = Recipe(hidden=(6, 5), initialization="siren")  # no bias of zeros
SPEC = RECIPE.spec(1)
CANVAS = Canvas.of(RECIPE, 4, 5)
UNF = {"width": 6, "layers": 2}


def make_zoo(count=48):
    keys = jax.random.split(jax.random.key(0), count)
    params = jax.jit(jax.vmap(lambda k: initial(RECIPE, SPEC, k)))(keys)
    zoo = zoos.from_params({k: np.asarray(v) for k, v in params.items()}, SPEC, {})
    return zoos.split(zoo, {"train": count // 2, "validation": count // 4, "test": count // 4}, 0)


ZOO = make_zoo()
WANTED = 0.3 + editing.images(ZOO.vectors, SPEC, CANVAS)  # everything brighter


def train(folder, encoder="unf", settings=UNF, steps=40, **changes):
    how = training.Settings(
        steps=steps, batch=8, learning_rate=1e-2, evaluate_every=20, checkpoint_every=steps
    )
    config = {"encoder": encoder, "encoder_settings": settings}
    zoo, wanted = changes.pop("zoo", ZOO), changes.pop("wanted", WANTED)
    objective = Objective(**changes)
    return editing.train(zoo, wanted, CANVAS, config, objective, how, folder, progress=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return *train(folder), folder


def by_hand(params, canvas):
    """The image of one network, pixel by pixel."""
    out = np.zeros((canvas.rows, canvas.cols, 1))
    for row in range(canvas.rows):
        for col in range(canvas.cols):
            down = -1 + 2 * row / (canvas.rows - 1)
            along = -1 + 2 * col / (canvas.cols - 1)
            x = np.array([along, down] if canvas.indexing == "xy" else [down, along])
            for layer in SPEC.layers:
                kernel = np.asarray(params[f"{layer.name}/kernel"], np.float64)
                x = x @ kernel + np.asarray(params[f"{layer.name}/bias"], np.float64)
                x = np.sin(30 * x) if layer.activation == "sin" else x
            out[row, col] = x + canvas.offset
    return out


@pytest.mark.parametrize("recipe", [DWS, NFN], ids=["dws", "nfn"])
def test_the_loss_is_that_of_rendering_by_hand(recipe):
    canvas, wanted = Canvas.of(recipe, 4, 5), np.zeros((2, 4, 5, 1), np.float32)
    shown = editing.images(ZOO.vectors[:2], SPEC, canvas)
    want = np.stack([by_hand(ZOO.params(i), canvas) for i in (0, 1)])
    np.testing.assert_allclose(shown, want, atol=2e-5)
    errors = editing.squared_errors(shown, wanted)
    np.testing.assert_allclose(errors, (want**2).mean((1, 2, 3)), rtol=1e-4)


@pytest.mark.trains
def test_editing_beats_leaving_networks_as_they_are(trained):
    model, result, _ = trained
    test, held = ZOO.splits["test"], ZOO.splits["validation"]
    assert model.errors(ZOO.vectors[test], WANTED[test]).mean() < 0.5 * 0.3**2
    best = model.errors(ZOO.vectors[held], WANTED[held]).mean()
    assert result.best_value == pytest.approx(best, rel=1e-5)
    # what was trained is what is measured: the edit, in the networks' own units, by hand
    shown = by_hand(model.edit(ZOO.params(int(test[0]))), CANVAS)
    mine = model.errors(ZOO.vectors[test[:1]], WANTED[test[:1]])[0]
    assert np.mean((shown - WANTED[test[0]]) ** 2) == pytest.approx(mine, rel=1e-2)


@pytest.mark.trains
def test_restore_needs_nothing_but_the_path(trained):
    model, _, folder = trained
    again, vectors = editing.restore(folder), ZOO.vectors[:4]
    np.testing.assert_array_equal(again.edit(vectors), model.edit(vectors))
    np.testing.assert_array_equal(again.render(vectors), model.render(vectors))
    assert (again.spec, again.canvas) == (SPEC, CANVAS)


@pytest.mark.trains
def test_named_arrays_and_vectors_one_and_many_agree(trained):
    model, _, _ = trained
    many = model.edit(ZOO.vectors[:3])
    one = model.edit(ZOO.params(2))
    assert set(one) == {a.name for a in SPEC.arrays}
    np.testing.assert_allclose(networks.ravel(one, SPEC), many[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.render(one), model.render(many)[2], atol=1e-4)
    assert model.render(many).shape == (3, 4, 5, 1)


@pytest.mark.trains
def test_after_training_edits_commute_with_renumbering(trained, tmp_path):
    model, _, _ = trained
    params = ZOO.params(0)
    testing.assert_equivariant(model.edit, params, SPEC, jax.random.key(1))
    moved = networks.ravel(model.edit(params), SPEC) - ZOO.vectors[0]
    assert np.abs(moved).max() > 1e-3
    flat, _ = train(tmp_path, "mlp", {"widths": (8,)}, steps=4, permute=True)
    with pytest.raises(AssertionError, match="does not commute"):
        testing.assert_equivariant(flat.edit, params, SPEC, jax.random.key(1))


def test_copies_show_what_the_network_shows():
    copies = Objective(permute=True, flip=True, phase=2).copies
    assert copies.preserves
    moved = copies.apply(jax.random.key(0), ZOO.vectors[:4], SPEC)
    assert np.abs(moved - ZOO.vectors[:4]).max(1).min() > 1e-2
    shown = (editing.images(np.asarray(v), SPEC, CANVAS) for v in (moved, ZOO.vectors[:4]))
    np.testing.assert_allclose(*shown, atol=1e-4)


def test_the_expansion_is_the_editors():
    settings = {"encoder": "gmn", "encoder_settings": {"width": 4, "layers": 1}}
    assert editing.build(settings).expansion == 1
    assert editing.build({**settings, "expansion": 3}).expansion == 3
    settings = {"encoder": "nfn", "encoder_settings": {"readout": "edit"}, "expansion": 3}
    assert editing.build(settings).encoder.expansion == 3


# Bad input


def two_architectures():
    other = architectures.mlp([2, 4, 1], "sin", 30.0)
    params = testing.draw(jax.random.key(0), other, (4,))
    wide = zoos.from_params({k: np.asarray(v) for k, v in params.items()}, other, {})
    return zoos.join([ZOO, wide])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wanted": WANTED[:-1]}, "one for each network, got (47, 4, 5, 1)"),
        ({"wanted": WANTED[..., :4, :]}, "got (48, 4, 4, 1)"),
        ({"wanted": WANTED * np.nan}, "expected finite images (48, 4, 5, 1)"),
        ({"zoo": two_architectures()}, "networks of one architecture, got 2"),
        ({"encoder": "sne", "settings": {}}, "got 'sne'"),
        ({"settings": {"size": 3}}, "got ['size']"),
        ({"phase": -1}, "phase: -1"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
@pytest.mark.trains
def test_training_refuses(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(tmp_path, **changes)


def test_splits_must_be_there():
    zoo = zoos.split(ZOO, {"train": 8}, 0)
    with pytest.raises(ValueError, match=r"expected the splits \['validation'\], got \['train'\]"):
        train("nowhere", zoo=zoo)


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"expected images \(48, 4, 5, 1\), got \(2, 4, 5, 1\)"):
        editing.squared_errors(WANTED[:2], WANTED)

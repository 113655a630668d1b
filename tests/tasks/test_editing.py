"""An editor beats no edit, commutes with permutations, and comes back from its path."""

import re

import jax
import numpy as np
import pytest
from cases.tasks import fit

from wsjax import architectures, encoders, networks, testing, zoos
from wsjax.tasks import editing, restore
from wsjax.tasks.editing import Canvas, Editing, Objective
from wsjax.zoos.fitting import initial
from wsjax.zoos.inrs.inr_recipe import DWS, NFN, Recipe

RECIPE = Recipe(hidden=(6, 5), initialization="siren")  # no bias of zeros
SPEC = RECIPE.spec(1)
CANVAS = Canvas.of(RECIPE, 4, 5)
UNF = {"width": 6, "layers": 2}


def make_zoo(count=48):
    keys = jax.random.split(jax.random.key(0), count)
    params = jax.jit(jax.vmap(lambda k: initial(SPEC, k, RECIPE.initialization)))(keys)
    zoo = zoos.from_params({k: np.asarray(v) for k, v in params.items()}, SPEC, {})
    return zoos.split(zoo, {"train": count // 2, "validation": count // 4, "test": count // 4}, 0)


ZOO = make_zoo()
TARGET = 0.3 + editing.images(ZOO.vectors, SPEC, CANVAS)  # brighter everywhere


def train(folder, encoder="unf", settings=UNF, steps=40, **changes):
    zoo, target = changes.pop("zoo", ZOO), changes.pop("target", TARGET)
    task = Editing(target, CANVAS, Objective(**changes))
    return fit(zoo, task, folder, encoder, settings, steps=steps, batch=8, evaluate_every=20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(folder), folder


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
    canvas, target = Canvas.of(recipe, 4, 5), np.zeros((2, 4, 5, 1), np.float32)
    rendered = editing.images(ZOO.vectors[:2], SPEC, canvas)
    want = np.stack([by_hand(ZOO.params(i), canvas) for i in (0, 1)])
    np.testing.assert_allclose(rendered, want, atol=2e-5)
    errors = editing.squared_errors(rendered, target)
    np.testing.assert_allclose(errors, (want**2).mean((1, 2, 3)), rtol=1e-4)


@pytest.mark.trains
def test_editing_beats_no_edit(trained):
    trained, _ = trained
    test, validation = ZOO.splits["test"], ZOO.splits["validation"]
    assert trained.errors(ZOO.vectors[test], TARGET[test]).mean() < 0.5 * 0.3**2
    best = trained.errors(ZOO.vectors[validation], TARGET[validation]).mean()
    assert trained.result.best_value == pytest.approx(best, rel=1e-5)
    # the raw edit, rendered by hand, has the measured error
    rendered = by_hand(trained.edit(ZOO.params(int(test[0]))), CANVAS)
    error = trained.errors(ZOO.vectors[test[:1]], TARGET[test[:1]])[0]
    assert np.mean((rendered - TARGET[test[0]]) ** 2) == pytest.approx(error, rel=1e-2)


@pytest.mark.trains
def test_restore_needs_nothing_but_the_path(trained):
    trained, folder = trained
    again, vectors = restore(folder), ZOO.vectors[:4]
    np.testing.assert_array_equal(again.edit(vectors), trained.edit(vectors))
    np.testing.assert_array_equal(again.render(vectors), trained.render(vectors))
    assert (again.specs, again.task) == ((SPEC,), trained.task)
    assert again.task.canvas == CANVAS
    assert again.task.target_images is None
    with pytest.raises(ValueError, match="an editor changes networks and has no embedding"):
        again.encode(vectors)


@pytest.mark.trains
def test_named_arrays_and_vectors_one_and_many_agree(trained):
    trained, _ = trained
    many = trained.edit(ZOO.vectors[:3])
    one = trained.edit(ZOO.params(2))
    assert set(one) == {a.name for a in SPEC.arrays}
    np.testing.assert_allclose(networks.ravel(one, SPEC), many[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(trained.render(one), trained.render(many)[2], atol=1e-4)
    assert trained.render(many).shape == (3, 4, 5, 1)


@pytest.mark.trains
def test_after_training_edits_commute_with_permutations(trained, tmp_path):
    trained, _ = trained
    params = ZOO.params(0)
    testing.assert_equivariant(trained.edit, params, SPEC, jax.random.key(1))
    moved = networks.ravel(trained.edit(params), SPEC) - ZOO.vectors[0]
    assert np.abs(moved).max() > 1e-3
    flat = train(tmp_path, "mlp", {"widths": (8,)}, steps=4, permute=True)
    with pytest.raises(AssertionError, match="does not commute"):
        testing.assert_equivariant(flat.edit, params, SPEC, jax.random.key(1))


def test_augmented_copies_have_the_networks_image():
    augmentation = Objective(permute=True, flip=True, phase=2).augmentation
    moved = augmentation.apply(jax.random.key(0), ZOO.vectors[:4], SPEC)
    assert np.abs(moved - ZOO.vectors[:4]).max(1).min() > 1e-2
    both = (editing.images(np.asarray(v), SPEC, CANVAS) for v in (moved, ZOO.vectors[:4]))
    np.testing.assert_allclose(*both, atol=1e-4)


@pytest.mark.parametrize(
    "encoder", [encoders.GMN(width=4, layers=1), encoders.NFN(readout="edit", expansion=1)]
)
def test_the_expansion_is_the_editors(encoder):
    settings = Editing(None, CANVAS, expansion=3).module(encoder, ())
    again = Editing.from_json(Editing(None, CANVAS, expansion=3).to_json())
    assert again.module(encoder, ()) == settings != Editing(None, CANVAS).module(encoder, ())


# Bad input


def two_architectures():
    other = architectures.mlp([2, 4, 1], "sin", 30.0)
    params = testing.draw(jax.random.key(0), other, (4,))
    wide = zoos.from_params({k: np.asarray(v) for k, v in params.items()}, other, {})
    return zoos.join([ZOO, wide])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": TARGET[:-1]}, "one for each network, got (47, 4, 5, 1)"),
        ({"target": TARGET[..., :4, :]}, "got (48, 4, 4, 1)"),
        ({"target": TARGET * np.nan}, "expected finite images (48, 4, 5, 1)"),
        ({"zoo": two_architectures()}, "networks of one architecture, got 2"),
        ({"encoder": "sne", "settings": {}}, "got SNE"),
        ({"settings": {"size": 3}}, "got ['size']"),
        ({"target": None}, "one for each network, got ()"),
        ({"phase": -1}, "phase: -1"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
@pytest.mark.trains
def test_bad_tasks_are_errors(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(tmp_path, **changes)


def test_splits_must_be_there():
    zoo = zoos.split(ZOO, {"train": 8}, 0)
    with pytest.raises(ValueError, match=r"expected the splits \['validation'\], got \['train'\]"):
        train(None, zoo=zoo)


def test_images_of_other_sizes_are_errors():
    with pytest.raises(ValueError, match=r"expected images \(48, 4, 5, 1\), got \(2, 4, 5, 1\)"):
        editing.squared_errors(TARGET[:2], TARGET)


@pytest.mark.trains
def test_networks_of_another_task_or_too_large_are_errors(trained):
    trained, _ = trained
    colours = RECIPE.spec(3)
    message = "networks of 2 inputs and 1 outputs, got one of 2 inputs and 3 outputs, which is"
    with pytest.raises(ValueError, match=message):
        trained.edit(testing.draw(jax.random.key(0), colours), colours)
    large = ZOO.vectors[:3].copy()
    large[1, -SPEC.layers[-1].arrays[0].axes.count("y") - 1 :] = 3e38
    with pytest.raises(ValueError, match="gives NaN or infinity for network 1 of 3, float32"):
        trained.edit(large)
    with pytest.raises(ValueError, match="1 of 3, float32 overflows: the largest weight, 3e"):
        trained.render(large)

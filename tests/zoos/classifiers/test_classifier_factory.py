import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lib import zoo_recipes
from experiments.make import classifier_zoo
from wsjax import architectures
from wsjax.datasets import images
from wsjax.networks import unravel
from wsjax.zoos import store
from wsjax.zoos.classifiers import (
    classifier_factory,
    classifier_recipe,
    classifier_routes,
    classifier_training,
)
from wsjax.zoos.classifiers.classifier_families import FAMILIES
from wsjax.zoos.classifiers.classifier_recipe import Kind

pytestmark = pytest.mark.trains

RECIPE = FAMILIES["conv3-gap"].recipe(
    data="digits",
    kinds=(Kind("conv3-gap", (8,), (2,)),),  # the third convolution does not fit 8 x 8
    networks=12,
    batch=16,
    epochs=("choice", 2, 5),
    checkpoints=(0, 2),
    fraction=("choice", 0.3, 1.0),
    learning_rate=("log", 1e-3, 3e-2),
    dropout=("uniform", 0.0, 0.2),
    deviation=("log", 0.1, 0.3),
    train_images=400,
    test_images=120,
    measured_images=200,
    block=4,
    window=8,
)
DIGITS = images.load("digits")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of a cache, the zoo in it and its manifest."""
    cache = tmp_path_factory.mktemp("zoos")
    zoo, manifest = classifier_factory.make(RECIPE, DIGITS, cache)
    (folder,) = cache.iterdir()
    return folder, zoo, manifest


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("block-*.safetensors"))}


def test_a_zoo_learns(made):
    _, zoo, manifest = made
    last = zoo.labels["epoch"] == zoo.labels["epochs"]
    assert last.sum() == manifest["runs"] == 12
    accuracy = zoo.labels["test_accuracy"]
    assert accuracy[last].max() > 0.6
    assert accuracy[last].min() < 0.4
    assert accuracy[zoo.labels["epoch"] == 0].max() < 0.35
    gap = zoo.labels["train_accuracy"] - accuracy
    np.testing.assert_array_equal(zoo.labels["generalization_gap"], gap)


def test_each_network_has_its_draws_as_labels(made):
    _, zoo, manifest = made
    drawn = classifier_recipe.hyperparameters(RECIPE)
    for name, values in drawn.items():
        np.testing.assert_array_equal(zoo.labels[name], values[zoo.runs].astype(np.float32))
    assert sorted(manifest["labels"]) == sorted(zoo.labels)
    for i in range(12):
        kept = [0, 2, 5] if drawn["epochs"][i] == 5 else [0, 2]
        assert zoo.labels["epoch"][zoo.runs == i].tolist() == kept
    per_epoch = (zoo.labels["fraction"].astype(float) * 400).astype(int) // 16
    np.testing.assert_array_equal(zoo.labels["steps"], per_epoch * zoo.labels["epoch"])


def test_figures_are_those_of_the_weights(made):
    """Anew, by the plain forward pass of each network's own spec."""
    _, zoo, _ = made
    data = classifier_factory.inputs(RECIPE, DIGITS)
    assert {s.layers[0].activation for s in zoo.specs} == {"relu", "tanh"}
    for row in (0, 7, 20, len(zoo) - 1):
        spec = zoo.specs[zoo.which[row]]
        names = RECIPE.activations
        assert spec.layers[0].activation == names[int(zoo.labels["activation"][row])]
        params = unravel(zoo.vectors[row, : spec.count], spec)
        logits = np.asarray(architectures.forward(params, data.test, spec), np.float64)
        right = logits.argmax(-1) == data.test_labels
        assert zoo.labels["test_accuracy"][row] == pytest.approx(right.mean(), abs=0.009)
        shifted = logits - logits.max(-1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(120), data.test_labels]
        assert zoo.labels["test_loss"][row] == pytest.approx(loss.mean(), rel=1e-4)


def test_it_is_found_again(made, monkeypatch):
    folder, zoo, manifest = made
    monkeypatch.setattr(classifier_routes, "run", None)
    again, same = classifier_factory.make(RECIPE, DIGITS, folder.parent)
    assert same == manifest
    np.testing.assert_array_equal(again.vectors, zoo.vectors)
    few, _ = classifier_factory.make(dataclasses.replace(RECIPE, networks=8), DIGITS, folder.parent)
    assert len(list(folder.parent.iterdir())) == 1
    np.testing.assert_array_equal(few.vectors, zoo.vectors[zoo.runs < 8])


def test_an_interrupted_zoo_resumes(made, tmp_path, monkeypatch):
    write, done = store.write, []

    def interrupted(*arguments):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(arguments)
        write(*arguments)

    monkeypatch.setattr(store, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        classifier_factory.make(RECIPE, DIGITS, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert len(contents(folder)) == 1
    first = next(folder.glob("block-*.safetensors")).stat().st_mtime_ns
    monkeypatch.setattr(store, "write", write)
    zoo, _ = classifier_factory.make(RECIPE, DIGITS, tmp_path)
    assert contents(folder) == contents(made[0])
    assert min(p.stat().st_mtime_ns for p in folder.glob("block-*.safetensors")) == first
    np.testing.assert_array_equal(zoo.vectors, made[1].vectors)


@pytest.mark.parametrize("route", ["map", "steps"])
def test_networks_that_diverge_are_left_out_and_listed(tmp_path, route):
    wild = dataclasses.replace(RECIPE, learning_rate=("choice", 1e-3, 1e38), networks=8)
    zoo, manifest = classifier_factory.make(wild, DIGITS, tmp_path, route=route)
    assert manifest["routes"] == [route]
    drawn = classifier_recipe.hyperparameters(wild)
    lost = np.flatnonzero(drawn["learning_rate"] > 1)
    excluded = manifest["excluded"]
    assert 0 < len(lost) < 8
    assert excluded["count"] == len(lost)
    assert [x["number"] for x in excluded["networks"]] == lost.tolist()
    assert all(x["learning_rate"] == pytest.approx(1e38) for x in excluded["networks"])
    assert set(zoo.runs.tolist()) == set(range(8)) - set(lost.tolist())


def test_all_routes_train_alike(made):
    """A few steps: rounding grows with each."""
    data = classifier_routes.put(classifier_factory.inputs(RECIPE, DIGITS))
    drawn, keys = classifier_recipe.hyperparameters(RECIPE), classifier_recipe.keys(RECIPE)
    block = classifier_factory.partition(RECIPE, drawn)[0]
    plan = classifier_factory.plan_of(RECIPE, block, data, 10)
    settings = classifier_factory.settings_of(drawn, keys, block, 400, 4)
    settings = settings._replace(images=settings.images.at[:].set(np.array([16, 32, 32, 48])))
    settings = settings._replace(epochs=settings.epochs.at[:].set(np.array([2, 1, 2, 1])))
    one, *others = (
        classifier_routes.run(plan, data, settings, route) for route in classifier_routes.ROUTES
    )
    assert one.steps[:, -1].tolist() == [2, 2, 4, 3]
    assert np.abs(one.vectors[:, -1] - one.vectors[:, 0]).max(1).min() > 1e-4
    for other in others:
        np.testing.assert_array_equal(one.steps, other.steps)
        np.testing.assert_allclose(one.vectors, other.vectors, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(one.figures, other.figures, rtol=2e-3, atol=0.02)
    with pytest.raises(ValueError, match="expected one device for the route 'steps', got 2"):
        classifier_routes.run(plan, data, settings, "steps", 2 * tuple(jax.devices()))


@pytest.mark.parametrize("room", [1, 2, 3])
def test_no_more_networks_at_once_than_memory_has_room_for(monkeypatch, room):
    data = classifier_routes.put(classifier_factory.inputs(RECIPE, DIGITS))
    drawn, keys = classifier_recipe.hyperparameters(RECIPE), classifier_recipe.keys(RECIPE)
    block = classifier_factory.partition(RECIPE, drawn)[0]
    plan = classifier_factory.plan_of(RECIPE, block, data, 10)
    settings = classifier_factory.settings_of(drawn, keys, block, 400, 4)
    settings = settings._replace(images=jnp.full(4, plan.batch), epochs=jnp.ones(4, jnp.int32))
    whole = classifier_routes.run(plan, data, settings, "vmap")
    batches, inside = [], jax.lax.map

    def note(*arguments, batch_size):
        batches.append(batch_size)
        return inside(*arguments, batch_size=batch_size)

    monkeypatch.setattr(jax.lax, "map", note)
    monkeypatch.setattr(classifier_routes, "appetite", lambda *arguments: 4)
    monkeypatch.setattr(classifier_routes, "_memory", lambda device: room)
    classifier_routes._compiled.cache_clear()
    parts = classifier_routes.run(plan, data, settings, "vmap")
    classifier_routes._compiled.cache_clear()
    assert batches == [min(room, 2)]  # two and two rather than three and one
    np.testing.assert_allclose(parts.vectors, whole.vectors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "route"), [("conv3-gap", "map"), ("conv3-linear2", "steps"), ("vit-small", "map")]
)
def test_convolutions_that_read_much_train_step_by_step(family, route):
    recipe = zoo_recipes.recipe(family, "mnist", "small")
    drawn = classifier_recipe.hyperparameters(recipe)
    block = classifier_factory.partition(recipe, drawn)[0]
    few = np.zeros((2, 28, 28, 1), np.float32)
    data = classifier_training.Data(few, np.zeros(2, np.int32), few, np.zeros(2, np.int32))
    plan = classifier_factory.plan_of(recipe, block, data, 10)
    assert classifier_routes.fastest(plan, jax.devices()[:1]) == route
    assert classifier_routes.fastest(plan, 2 * jax.devices()[:1]) == "map"


def test_blocks_hold_networks_of_one_shape_and_like_cost():
    recipe = FAMILIES["diverse"].recipe(
        data="cifar10", networks=300, window=100, epochs=("choice", 1, 9)
    )
    drawn = classifier_recipe.hyperparameters(recipe)
    found = classifier_factory.partition(recipe, drawn)
    assert sorted(n for b in found for n in b.numbers) == list(range(300))
    assert len({b.name for b in found}) == len(found)
    for block in found:
        rows = list(block.numbers)
        assert len(rows) <= recipe.block
        for name in classifier_recipe.SHAPE:
            assert len(set(drawn[name][rows].tolist())) == 1
        assert (np.diff(drawn["epochs"][rows]) <= 0).all()
    windows = [min(b.numbers) // 100 for b in found]
    assert windows == sorted(windows)


@pytest.mark.parametrize("kind", FAMILIES["diverse"].settings["kinds"], ids=lambda k: k.name)
def test_every_kind_takes_a_step(kind):
    """On a recipe of its family, but for its size."""
    small = dataclasses.replace(kind, widths=(8,), depths=(1,), norms=kind.norms[:1])
    recipe = FAMILIES["diverse"].recipe(
        **{"data": "digits", "kinds": (small,), "networks": 1, "batch": 16, "train_images": 32},
        **{"test_images": 8, "optimizers": ("adam",), "learning_rate": ("choice", 0.1)},
    )
    data = classifier_routes.put(classifier_factory.inputs(recipe, DIGITS))
    drawn, keys = classifier_recipe.hyperparameters(recipe), classifier_recipe.keys(recipe)
    (block,) = classifier_factory.partition(recipe, drawn)
    plan = classifier_factory.plan_of(recipe, block, data, 10)
    settings = classifier_factory.settings_of(drawn, keys, block, 32, 1)
    settings = jax.tree.map(lambda x: x[0], settings)
    begin = classifier_training.begin(plan, settings)
    step = jax.jit(
        lambda state: classifier_training.step(plan, data, settings, state, architectures.by_slices)
    )
    after = step(begin)
    assert bool(after.finite)
    moved = np.asarray(after.vector != begin.vector)
    assert moved.mean() > 0.8
    assert moved[np.asarray(classifier_training.masks(plan.spec)[1]) == 0].all()


def test_images_must_be_those_of_the_recipe(made, tmp_path):
    with pytest.raises(ValueError, match="expected images of 'digits', got 'mnist'"):
        classifier_factory.make(RECIPE, dataclasses.replace(DIGITS, name="mnist"), tmp_path)
    others = dataclasses.replace(DIGITS, train=255 - DIGITS.train)
    with pytest.raises(ValueError, match="begun with other images"):
        classifier_factory.make(RECIPE, others, made[0].parent)
    with pytest.raises(ValueError, match=r"a batch of at most 120 images.* got 200"):
        classifier_factory.make(dataclasses.replace(RECIPE, batch=200), DIGITS, tmp_path)


def test_presets_are_recipes():
    for preset, counts in zoo_recipes.PRESETS.items():
        for family, count in counts.items():
            data = "digits" if preset in ("smoke", "laptop") else "mnist"
            recipe = zoo_recipes.recipe(family, data, preset)
            assert (recipe.networks, recipe.data) == (count, data)
            assert zoo_recipes.recipe(family, data, preset, 7).networks == 7
    mean = lambda data, n: np.mean(zoo_recipes.EPOCHS[data]) * 0.4625 * n / 128
    sizes = {"mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000, "svhn": 10_000}
    assert all(450 < mean(data, n) < 560 for data, n in sizes.items())
    with pytest.raises(ValueError, match="expected data 'digits', got 'mnist'"):
        zoo_recipes.recipe("conv3-gap", "mnist", "smoke")


def test_labels_are_what_testing_anew_finds(made, tmp_path):
    _, zoo, manifest = made
    np.testing.assert_allclose(
        classifier_zoo.tested(RECIPE, DIGITS, zoo), zoo.labels["test_accuracy"], atol=1e-6
    )
    wrong = dataclasses.replace(
        zoo, labels={**zoo.labels, "test_accuracy": zoo.labels["test_accuracy"] + 0.01}
    )
    with pytest.raises(ValueError, match=r"as accurate as labelled, got a change of 0\.0100"):
        classifier_zoo.pack(RECIPE, DIGITS, wrong, manifest, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("route", classifier_routes.ROUTES)
def test_idle_networks_fill_a_block_up(made, route):
    """The idle network that fills a block up is neither trained nor measured."""
    data = classifier_routes.put(classifier_factory.inputs(RECIPE, DIGITS))
    drawn, keys = classifier_recipe.hyperparameters(RECIPE), classifier_recipe.keys(RECIPE)
    block = classifier_factory.partition(RECIPE, drawn)[-1]
    settings = classifier_factory.settings_of(
        drawn, keys, block._replace(numbers=block.numbers[:1]), 400, 4
    )
    plan = classifier_factory.plan_of(RECIPE, block, data, 10)
    out = classifier_routes.run(plan, data, settings, route, jax.devices()[:1])
    assert (out.steps[1:] == 0).all()
    assert (out.figures[1:] == 0).all()
    assert out.figures[0].all()


def test_the_command_makes_and_packs_a_zoo(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(classifier_zoo, "ZOOS", tmp_path / "packed")
    small = ["--preset", "smoke", "--networks", "2", "--folder", str(tmp_path)]
    classifier_zoo.main([*small, "--pack"])
    assert "2 networks of 2 runs, 0 runs excluded" in capsys.readouterr().out
    zoo, manifest = store.load(tmp_path / "packed" / "conv3-gap.digits")
    assert manifest["facts"]["recipe"]["networks"] == len(zoo) == 2
    assert manifest["facts"]["rounding"]["networks"] == 2
    assert manifest["facts"]["rounding"]["largest"] < 0.05
    assert (tmp_path / "results" / "zoo_conv3-gap_digits.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        classifier_zoo.main([*small, "--shard", "2/2"])
    assert "expected --shard K/N" in capsys.readouterr().err

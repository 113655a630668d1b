"""Published settings and scores by a zoo's name, and the presets made of them."""

import dataclasses

import pytest

from experiments.lib import inr_methods, inr_published, inr_recipes
from wsjax.training import Settings


@pytest.mark.parametrize(
    ("zoo", "source", "augmented"),
    [
        ("mnist.dws", "mnist.dws", False),
        ("fashion_mnist.dws-steps4000-learning_rate0.001.dilation", "fashion_mnist.dws", False),
        ("cifar10.nfn-views1", "cifar10.nfn", False),
        ("cifar10.nfn-views21-steps10", "cifar10.nfn", True),
        ("own-mine-resize8.nfn", "own.nfn", False),
    ],
)
def test_names_of_zoos_say_data_recipe_and_views(zoo, source, augmented):
    assert inr_published.source(zoo) == source
    assert inr_published.augmented(zoo) == augmented


@pytest.mark.parametrize("edit", [False, True])
@pytest.mark.parametrize("zoo", ["mnist.dws", "fashion_mnist.dws", "cifar10.nfn", "own-mine.dws"])
def test_every_method_has_a_training_and_steps_after_its_warmup(zoo, edit):
    for name in inr_published.encoders(zoo, edit):
        published = inr_published.training(name, zoo, edit)
        assert published.schedule == "constant", name
        assert published.evaluate_every == published.checkpoint_every, name
        assert 10 <= published.steps / published.evaluate_every <= 300, name
        assert published.warmup <= published.steps / 5, name


def test_our_recipe_changes_the_schedule_and_the_average_alone():
    published = inr_published.training("nfn_np", "mnist.dws")
    own = inr_methods.own(published, 20_000)
    changed = {
        f.name
        for f in dataclasses.fields(Settings)
        if getattr(own, f.name) != getattr(published, f.name)
    }
    changed -= {"steps", "evaluate_every", "checkpoint_every"}
    assert changed == {"schedule", "ema", "warmup"}
    assert (own.warmup, own.ema, own.evaluate_every) == (1_000, 0.999, 800)
    assert inr_methods.own(published).steps == published.steps


@pytest.mark.parametrize("preset", inr_recipes.WHOLE)
def test_whole_data_sets_have_one_network_an_image(preset):
    plan = inr_recipes.recipe("nfn", "cifar10", preset)
    assert (plan.views, plan.train_images) == (1, 0)
    small = inr_recipes.recipe("nfn", "cifar10", "small")
    # the first blocks of the whole
    assert plan == dataclasses.replace(small, train_images=0, test_images=0)

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import families as small_networks

from wsjax import architectures
from wsjax.architectures import random_bits
from wsjax.architectures.training_forward import moved, training_forward
from wsjax.networks import unravel
from wsjax.zoos.classifiers import classifier_families as zoo_families
from wsjax.zoos.classifiers import (
    classifier_recipe,
    classifier_training,
    image_augmentation,
    initializers,
    shuffling,
)
from wsjax.zoos.classifiers.classifier_families import FAMILIES
from wsjax.zoos.classifiers.classifier_training import Data, Plan, Settings


def shape(recipe, kind=0, side=28, channels=1, activation="relu", **changes):
    k = recipe.kinds[kind]
    parts = {"width": k.widths[0], "depth": k.depths[0], "dense": k.dense[0], "norm": k.norms[0]}
    parts |= {"side": side, "channels": channels, "classes": 10} | changes
    return zoo_families.spec(recipe, kind, activation, **parts)


def test_families_have_the_published_numbers_of_parameters():
    recipes = {name: family.recipe(data="mnist") for name, family in FAMILIES.items()}
    assert shape(recipes["conv3-gap"]).count == 4970
    assert shape(recipes["conv3-linear2"]).count == 2464
    assert shape(recipes["conv3-linear2"], channels=3).count == 2864
    varying = recipes["varying-cnns"]
    # GMN's section 4.1: from 970 to 21,165; PyTorch counts three batches' counters
    assert shape(varying, side=32, channels=3, norm="group").count == 970
    widest = {"width": 32, "depth": 3, "dense": 2, "norm": "batch"}
    assert shape(varying, side=32, channels=3, **widest).count + 3 == 21_165
    vit = shape(recipes["diverse"], 4, side=32, channels=3, width=48, depth=3)
    learnt_places, last_norm = 64 * 48, 2 * 48
    assert vit.count - learnt_places - last_norm == 87_658
    assert shape(recipes["vit-small"]).count == 25_082


@pytest.mark.parametrize(("family", "kind", "heads"), [("diverse", 4, 2), ("vit-small", 0, 4)])
def test_vits_have_their_heads(family, kind, heads):
    spec = shape(FAMILIES[family].recipe(data="mnist"), kind, width=32)
    queries = {
        spec.shape(a) for x in spec.layers for a in x.arrays if a.name.endswith("query/kernel")
    }
    assert queries == {(32, heads, 32 // heads)}


def test_a_zoo_is_the_beginning_of_a_larger_one():
    recipe = FAMILIES["diverse"].recipe(data="cifar10", networks=300)
    many = classifier_recipe.hyperparameters(recipe)
    few = classifier_recipe.hyperparameters(dataclasses.replace(recipe, networks=7))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:7], err_msg=name)
    other = classifier_recipe.hyperparameters(dataclasses.replace(recipe, seed=1, networks=7))
    assert not np.array_equal(other["learning_rate"], few["learning_rate"])


def test_draws_fill_their_ranges():
    recipe = FAMILIES["conv3-gap"].recipe(data="mnist", networks=2000)
    drawn = classifier_recipe.hyperparameters(recipe)
    for name in ("learning_rate", "decay", "deviation"):
        _, low, high = getattr(recipe, name)
        share = (np.log(drawn[name]) - np.log(low)) / (np.log(high) - np.log(low))
        counts = np.histogram(share, bins=5, range=(-1e-6, 1 + 1e-6))[0]
        assert counts.sum() == 2000
        assert counts.min() > 300, name
    assert drawn["dropout"].min() >= 0
    assert 0.6 < drawn["dropout"].max() < 0.7
    np.testing.assert_allclose(np.unique(drawn["fraction"]), [0.1, 0.25, 0.5, 1.0])
    for name, count in (("initializer", 5), ("activation", 2), ("optimizer", 3)):
        assert np.bincount(drawn[name], minlength=count).min() > 2000 / count * 0.8
    assert abs(np.corrcoef(drawn["dropout"], drawn["learning_rate"])[0, 1]) < 0.1


def test_each_kind_draws_from_its_own_choices():
    recipe = FAMILIES["diverse"].recipe(data="cifar10", networks=500)
    drawn = classifier_recipe.hyperparameters(recipe)
    for i, kind in enumerate(recipe.kinds):
        mine = drawn["kind"] == i
        assert mine.sum() > 60
        assert set(drawn["width"][mine].tolist()) == set(kind.widths)
        assert set(drawn["depth"][mine].tolist()) == set(kind.depths)
        assert set(drawn["norm"][mine].tolist()) == set(range(len(kind.norms)))
    resnets = drawn["kind"] == 3
    assert not drawn["dropout"][resnets].any()
    assert drawn["dropout"][~resnets].all()


def test_a_recipe_goes_through_json():
    for family in FAMILIES.values():
        recipe = family.recipe(data="cifar10")
        again = classifier_recipe.from_json(json.loads(json.dumps(dataclasses.asdict(recipe))))
        assert again == recipe
        assert hash(again) == hash(recipe)


def test_every_mistake_in_a_recipe_is_named():
    wrong = {
        "batch": 0,
        "low": 3,
        "dropout": ("uniform", 0.0, 1.0),
        "fraction": ("choice", 0.0, 1.0),
        "epochs": ("uniform", 1, 4),
        "learning_rate": ("log", 0.0, 1.0),
        "optimizers": ("lion",),
        "checkpoints": (3, 1),
        "decay_kind": "l1",
    }
    with pytest.raises(ValueError, match="makes no sense") as error:
        FAMILIES["conv3-gap"].recipe(data="mnist", **wrong)
    assert all(f"  {name}: expected" in str(error.value) for name in wrong)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_a_shuffle_is_a_permutation(n):
    draw = jax.jit(
        lambda key, n: shuffling.shuffled(shuffling.shuffle(key), jnp.arange(100) % n, n)
    )
    one, two = (np.asarray(draw(jax.random.key(i), n))[:n] for i in (0, 1))
    assert sorted(one.tolist()) == list(range(n))
    assert n < 7 or not np.array_equal(one, two)


def test_shuffles_are_even():
    draw = jax.vmap(lambda key: shuffling.shuffled(shuffling.shuffle(key), jnp.arange(4), 4))
    decks = np.asarray(jax.jit(draw)(jax.random.split(jax.random.key(0), 4800)))
    counts = np.unique(decks, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-squared of 23 freedoms: p about 0.001


def test_cheap_bits_are_even():
    words = np.asarray(
        jax.jit(lambda key: random_bits.scrambled(key, (64, 1000)))(jax.random.key(0))
    )
    ones = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(ones.mean((0, 1)) - 0.5).max() < 0.01
    rows = (words > 2**31).astype(float)
    assert np.abs(np.corrcoef(rows)[~np.eye(64, dtype=bool)]).max() < 0.2


def network(spec, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda a: rng.uniform(0.2, 1.0, spec.shape(a)) * (1 if a.role == "variance" else 0.5)
    return {a.name: draw(a).astype(np.float32) for a in spec.arrays}


@pytest.mark.parametrize(
    "name", ["cnn flattened", "deepsets group norm", "vit", "resnet layer norm"]
)
def test_without_dropout_training_is_use(name):
    spec, size = small_networks.FAMILIES[name]
    x = np.random.default_rng(1).standard_normal((3, *size)).astype(np.float32)
    params = network(spec)
    train = jax.jit(lambda p, x: training_forward(p, x, spec, jax.random.key(0), dropout=0.0))
    out, statistics = train(params, x)
    assert statistics == {}
    use = jax.jit(lambda p, x: architectures.forward(p, x, spec))
    np.testing.assert_allclose(out, use(params, x), rtol=1e-5, atol=1e-5)


def test_a_number_picks_the_activation():
    names = ("relu", "tanh", "gelu")
    specs = [architectures.cnn([1, 4], [3, 2], activation=name) for name in names]
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 1)).astype(np.float32)
    params = {k: v - 0.3 for k, v in network(specs[0]).items()}
    pick = jax.jit(
        lambda i: training_forward(
            params, x, specs[1], jax.random.key(0), activations=names, activation=i
        )[0]
    )
    for i, spec in enumerate(specs):
        expected = architectures.forward(params, x, spec)
        np.testing.assert_allclose(pick(i), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(pick(0), pick(1))


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    width, share = 500, 0.3
    spec = architectures.mlp([1, width, 1], "relu", bias=False)
    params = {a.name: np.ones(spec.shape(a), np.float32) for a in spec.arrays}
    x = np.ones((200, 1), np.float32)  # every hidden neuron is 1, the output counts those kept
    run = jax.jit(lambda key: training_forward(params, x, spec, key, dropout=share)[0])
    kept = np.asarray(run(jax.random.key(0)))[:, 0] * (1 - share)
    np.testing.assert_allclose(kept, kept.round(), atol=1e-2)
    assert kept.mean() == pytest.approx(width * (1 - share), rel=0.01)
    assert kept.var() == pytest.approx(width * share * (1 - share), rel=0.3)
    assert not np.array_equal(kept, np.asarray(run(jax.random.key(1)))[:, 0] * (1 - share))


def test_batch_norm_is_flax_own():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=False, momentum=0.9)(x)
            return nn.Dense(2)(jnp.tanh(x).mean((-3, -2)))

    spec = architectures.cnn([2, 4], [2], norm="batch", activation="tanh")
    x = np.random.default_rng(0).standard_normal((6, 5, 5, 2)).astype(np.float32)
    params, tree = network(spec), {"params": {}, "batch_stats": {}}
    for name, array in params.items():
        layer, part = name.split("/")
        group = "batch_stats" if part in ("mean", "var") else "params"
        tree[group].setdefault(layer, {})[part] = array
    theirs, after = jax.jit(lambda t: Net().apply(t, x, mutable=["batch_stats"]))(tree)

    def ours(params):
        out, batch = training_forward(params, x, spec, jax.random.key(0))
        return out, moved(params, batch, 0.9)

    out, new = jax.jit(ours)(params)
    np.testing.assert_allclose(out, theirs, rtol=1e-4, atol=1e-5)
    for part in ("mean", "var"):
        found = new[f"BatchNorm_0/{part}"]
        expected = after["batch_stats"]["BatchNorm_0"][part]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert not np.allclose(found, params[f"BatchNorm_0/{part}"])
    np.testing.assert_array_equal(new["Conv_0/kernel"], params["Conv_0/kernel"])


SPEC = architectures.cnn([1, 3], [2], norm="batch")
ROWS = 8


def plan(**changes):
    same = {
        **{"spec": SPEC, "layout": "image", "activations": ("relu",), "momentum": 0.9},
        **{"initializers": ("he_normal",), "optimizers": ("adam", "rmsprop", "sgd")},
        **{"decay_kind": "penalty", "bias": 0.1, "batch": ROWS, "checkpoints": (), "warmup": 0.0},
        **{"flip": False, "translate": 0, "cutout": 0, "measured": 8},
    }
    return Plan(**{**same, **changes})


def settings(**changes):
    numbers = {
        **{"learning_rate": 0.01, "decay": 0.03, "dropout": 0.0, "smoothing": 0.1},
        "deviation": 0.1,
    }
    whole = {"initializer": 0, "activation": 0, "optimizer": 0, "images": ROWS, "epochs": 3}
    values = {k: jnp.asarray(v, jnp.float32) for k, v in numbers.items()}
    values |= {k: jnp.asarray(v, jnp.int32) for k, v in whole.items()}
    return Settings(**{"keys": jax.random.key(3), **values, **changes})


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 4, 4, 1)).astype(np.float32)
    y = rng.integers(0, 2, ROWS).astype(np.int32)
    return Data(jnp.asarray(x), jnp.asarray(y), jnp.asarray(x), jnp.asarray(y))


@pytest.mark.trains
@pytest.mark.parametrize("kind", ["penalty", "gradient", "decoupled"])
def test_steps_are_optax_own(kind):
    """Batches of all images there are, so that their order does not matter."""
    how, images, rate, decay = plan(decay_kind=kind), data(), 0.01, 0.03
    kernels, learnt = classifier_training.masks(SPEC)
    assert kernels.sum() == 27 + 6
    assert learnt.sum() == SPEC.count - 6

    def loss(vector):
        params = unravel(vector, SPEC)
        logits, _ = training_forward(params, images.train, SPEC, jax.random.key(0))
        wanted = 0.9 * jax.nn.one_hot(images.train_labels, 2) + 0.05
        total = -(wanted * jax.nn.log_softmax(logits)).sum(-1).mean()
        penalty = decay * (kernels * vector**2).sum()
        return total + {"penalty": penalty, "gradient": 0.0, "decoupled": 0.0}[kind]

    gradient = jax.jit(jax.grad(loss))
    step = jax.jit(lambda s, state: classifier_training.step(how, images, s, state, CONVOLVE))
    begin = jax.jit(lambda s: classifier_training.begin(how, s))
    for i, optimizer in enumerate(
        (
            optax.scale_by_adam(eps=1e-7),
            optax.scale_by_rms(0.9, eps=1e-7, eps_in_sqrt=False),
            optax.trace(0.9),
        )
    ):
        s = settings(optimizer=jnp.asarray(i))
        state = begin(s)
        vector, memory = state.vector, optimizer.init(state.vector)
        first = state.vector
        for _ in range(3):
            state = step(s, state)
            g = gradient(vector) + (decay * vector if kind == "gradient" else 0.0)
            update, memory = optimizer.update(g * learnt, memory)
            update += decay * vector if kind == "decoupled" else 0.0
            vector = vector - rate * update * learnt
        assert int(state.steps) == 3
        # Adam divides a gradient of nothing but rounding, the bias before a norm, by itself
        seen = (learnt > 0) & (np.abs(gradient(first)) > 1e-5)
        assert seen.sum() > 30
        np.testing.assert_allclose(state.vector[seen], vector[seen], rtol=2e-3, atol=2e-5)
        assert np.abs(state.vector - first)[seen].min() > 1e-6


CONVOLVE = architectures.by_slices


def test_the_learning_rate_rises_and_falls():
    rate = lambda how, t: float(classifier_training.schedule(how, jnp.array(t), jnp.array(100)))
    assert rate(plan(), 0) == rate(plan(), 99) == 1
    shares = [rate(plan(warmup=0.2), t) for t in range(100)]
    assert np.argmax(shares) in (19, 20)
    assert shares[0] == pytest.approx(1 / 21)
    assert shares[60] == pytest.approx(0.5)
    assert 0 < shares[99] < 0.02


def test_augmentations():
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4, 1) + 1
    flipped = image_augmentation.mirror(jnp.asarray(x), jnp.array([True, False]))
    np.testing.assert_array_equal(flipped, np.stack([x[0][:, ::-1], x[1]]))
    moved_by = image_augmentation.shift(jnp.asarray(x), jnp.array([[1, -2], [0, 0]]), 2)
    expected = np.zeros_like(x[0])
    expected[1:, :2] = x[0][:2, 2:]
    np.testing.assert_array_equal(moved_by, np.stack([expected, x[1]]))
    holed = image_augmentation.cut(jnp.asarray(x), jnp.array([[0, 0], [1, 2]]), 2)
    expected = x.copy()
    expected[0, :1, :1] = 0
    expected[1, 0:2, 1:3] = 0
    np.testing.assert_array_equal(holed, expected)
    many = jnp.ones((200, 6, 6, 1))
    out = np.asarray(
        jax.jit(lambda k: image_augmentation.augment(many, k, True, 1, 2))(jax.random.key(0))
    )
    zeros = (out == 0).sum((1, 2, 3))
    assert zeros.min() >= 1
    assert zeros.max() <= 4 + 11
    assert len(set(zeros.tolist())) > 5


@pytest.mark.parametrize("name", sorted(initializers.INITIALIZERS))
def test_initial_weights_have_their_variance(name):
    fan_in, fan_out, std = 9 * 20, 9 * 40, 0.3
    expected = {
        "glorot_normal": (2 / (fan_in + fan_out)) ** 0.5,
        "he_normal": (2 / fan_in) ** 0.5,
        "random_normal": std,
        "truncated_normal": std * 0.8796,
        "kaiming_normal": (2 / fan_in) ** 0.5,
        "kaiming_uniform": (2 / fan_in) ** 0.5,
        "normal": 1.0,
        "uniform": (1 / 3) ** 0.5,  # about zero, not about its mean
        "fan_in_uniform": (1 / 3 / fan_in) ** 0.5,
        "orthogonal": fan_in**-0.5,
    }[name]
    spec = architectures.cnn([20, 40], [3], norm="batch")
    draw = jax.jit(lambda key: initializers.initial(spec, key, (name,), 0, std, 0.25))
    params = draw(jax.random.key(0))
    kernel = np.asarray(params["Conv_0/kernel"])
    assert (kernel**2).mean() ** 0.5 == pytest.approx(expected, rel=0.05)
    if name == "orthogonal":
        flat = kernel.reshape(-1, 40)
        np.testing.assert_allclose(flat.T @ flat, np.eye(40), atol=1e-5)
    assert (np.asarray(params["Dense_0/bias"]) == 0.25).all()
    assert (np.asarray(params["BatchNorm_0/var"]) == 1).all()
    assert (np.asarray(params["BatchNorm_0/mean"]) == 0).all()


def test_kernels_on_flattened_images_read_all_of_them():
    spec = architectures.cnn([1, 8], [200], padding="VALID", pool="flatten", size=(7, 7))
    params = initializers.initial(spec, jax.random.key(0), ("kaiming_normal",))
    spread = float(jnp.std(params["Dense_0/kernel"]))
    assert spread == pytest.approx((2 / (5 * 5 * 8)) ** 0.5, rel=0.05)


def test_layouts_keep_every_pixel():
    images = jnp.asarray(np.random.default_rng(0).random((2, 3, 4, 2)).astype(np.float32))
    sequence = classifier_training.as_sequence(images)
    np.testing.assert_array_equal(sequence[1, 5], images[1, 1, 1])
    pixels = classifier_training.as_set(images)
    assert pixels.shape == (2, 12, 4)
    np.testing.assert_allclose(pixels[1, 5], [*images[1, 1, 1], 0.0, -1 / 3], rtol=1e-6)

"""A predictor learns what blind ones cannot, comes back from its path, and refuses bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, testing, training, zoos
from wsjax.tasks import reading, regression
from wsjax.tasks.regression import Objective

pytestmark = pytest.mark.trains

SPEC = architectures.mlp([1, 4, 1], "tanh")
TINY = {"chunk": 4, "width": 16, "code": 8, "heads": 2, "chunk_depth": 1, "depth": 1}


def make_zoo(count=64, seed=0):
    """The label is which of two kernels is the larger: the same numbers, in other places."""
    params = testing.draw(jax.random.key(seed), SPEC, (count,))
    params = {k: np.array(v) for k, v in params.items()}
    ratio = np.random.default_rng(seed).uniform(-1, 1, count)
    for sign, name in ((1, "Dense_0/kernel"), (-1, "Dense_1/kernel")):
        kernel = params[name]
        size = np.sqrt((kernel**2).mean((1, 2), keepdims=True))
        params[name] = kernel / size * np.exp(sign * ratio)[:, None, None]
    share = (ratio - ratio.min()) / np.ptp(ratio)
    zoo = zoos.from_params(params, SPEC, {"ratio": ratio, "share": share})
    return zoos.split(zoo, {"train": count // 2, "validation": count // 4, "test": count // 4}, 0)


def train(zoo, folder, encoder="sne", settings=TINY, label="ratio", steps=10, **objective):
    config = {"encoder": encoder, "encoder_settings": settings, "head": [16]}
    how = training.Settings(
        steps=steps, batch=16, learning_rate=1e-2, evaluate_every=steps, checkpoint_every=steps
    )
    return regression.train(zoo, label, config, Objective(**objective), how, folder, progress=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    zoo = make_zoo()
    model, result = train(zoo, folder, invariance=0.1, samples=2)
    return zoo, model, result, folder


def test_it_learns_what_an_encoder_blind_to_layers_cannot(tmp_path):
    zoo = make_zoo(256)
    vectors, labels = zoo.part("test", "ratio")
    error = {}
    for name, settings in (("sne", TINY), ("deepsets", {"widths": (16, 16)})):
        model, _ = train(zoo, tmp_path / name, name, settings, steps=150)
        error[name] = np.mean((model.predict(vectors) - labels) ** 2) / labels.var()
    assert error["sne"] < 0.5
    assert error["deepsets"] > 0.8


def test_restore_needs_nothing_but_the_path(trained):
    zoo, model, result, folder = trained
    again = regression.restore(folder)
    vectors, _ = zoo.part("test", "ratio")
    np.testing.assert_array_equal(again.predict(vectors), model.predict(vectors))
    np.testing.assert_array_equal(again.encode(vectors), model.encode(vectors))
    assert again.specs == (SPEC,)
    assert np.std(model.predict(vectors)) > 0
    held, wanted = zoo.part("validation", "ratio")
    assert np.mean((again.predict(held) - wanted) ** 2) == pytest.approx(result.best_value)


def test_a_statistics_encoder_comes_back_with_its_constants(tmp_path):
    zoo = make_zoo()
    model, _ = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4})
    vectors, _ = zoo.part("test", "ratio")
    again = regression.restore(tmp_path)
    np.testing.assert_allclose(again.predict(vectors), model.predict(vectors), rtol=1e-5)
    assert np.abs(np.asarray(again.variables["statistics"]["encoder"]["mean"])).max() > 0


def test_named_arrays_and_vectors_one_and_many_agree(trained):
    zoo, model, _, _ = trained
    many = model.predict(zoo.params(slice(0, 5)))
    assert many.shape == (5,)
    np.testing.assert_allclose(model.predict(zoo.params(2)), many[2], rtol=1e-5)
    np.testing.assert_allclose(model.predict(zoo.vectors[2]), many[2], rtol=1e-5)
    assert model.encode(zoo.params(2)).shape == (8,)


def test_it_reads_another_architecture_of_known_arrays(trained):
    _, model, _, _ = trained
    wide = architectures.mlp([1, 9, 1], "tanh")
    out = model.predict(testing.draw(jax.random.key(0), wide), wide)
    assert np.isfinite(out)


def test_bad_networks_are_refused_by_name(trained, tmp_path):
    zoo, model, _, _ = trained
    params = dict(zoo.params(0))
    broken = {**params, "Dense_0/bias": np.full(4, np.nan)}
    with pytest.raises(ValueError, match="Dense_0/bias: 4 of 4 values are NaN"):
        model.predict(broken)
    del params["Dense_1/bias"]
    with pytest.raises(ValueError, match="Dense_1/bias: expected, absent"):
        model.predict(params)
    cnn = architectures.cnn([1, 4], [1])
    with pytest.raises(ValueError, match=r"trained on arrays .* got also .'conv/bias/0'"):
        model.predict(testing.draw(jax.random.key(0), cnn), cnn)
    flat, _ = train(zoo, tmp_path, "mlp", {"widths": (4,)})
    wide = architectures.mlp([1, 9, 1], "tanh")
    other = testing.draw(jax.random.key(0), wide)
    with pytest.raises(ValueError, match=r"MLP reads only the architecture .*'h0': 4.*'h0': 9"):
        flat.predict(other, wide)
    alike = architectures.mlp([4, 2, 1], "tanh")  # as many numbers
    assert alike.count == SPEC.count
    with pytest.raises(ValueError, match="MLP reads only the architecture"):
        flat.predict(testing.draw(jax.random.key(0), alike), alike)


def test_scales_are_those_of_the_training_networks_alone():
    zoo = make_zoo()
    norm = regression.normalisation(zoo, "ratio", "mse")
    train_params = zoo.of(0).params(zoo.splits["train"])
    want = np.sqrt(np.mean(train_params["Dense_0/kernel"].astype(np.float64) ** 2))
    assert norm.scales["dense/kernel/0"] == pytest.approx(want)
    vectors = zoo.vectors.copy()
    vectors[zoo.splits["test"]] *= 100
    other = dataclasses.replace(zoo, vectors=vectors)
    assert regression.normalisation(other, "ratio", "mse") == norm


def two_depths(count=64):
    """Networks of two depths, two runs each; the label is as of `make_zoo`."""
    flat = make_zoo(count)
    deep = architectures.mlp([1, 4, 3, 1], "tanh")
    params = testing.draw(jax.random.key(9), deep, (count,))
    labels = np.random.default_rng(9).uniform(-1, 1, count)
    params = {k: np.array(v) * np.exp(labels.mean()) for k, v in params.items()}
    other = zoos.from_params(params, deep, {"ratio": labels, "share": labels / 2 + 0.5})
    flat, other = (
        dataclasses.replace(zoo, runs=i * count + np.arange(count) // 2, splits={})
        for i, zoo in enumerate((flat, other))
    )
    both = zoos.concatenate([flat, other])
    sizes = {"train": count // 2, "validation": count // 4, "test": count // 4}
    return zoos.split(both, sizes, 0)


def test_several_architectures_train_in_one_program_and_predicts_as_each_alone(tmp_path):
    zoo = two_depths()
    model, _ = train(zoo, tmp_path, steps=20, invariance=0.1, share=0.5)
    held, _ = zoo.part("test", "ratio")
    together = model.predict(held)
    for s, spec in enumerate(zoo.specs):
        alone = model.predict(held.of(s).vectors, spec)
        np.testing.assert_allclose(together[held.which == s], alone, rtol=1e-4, atol=1e-5)
    again = regression.restore(tmp_path)
    assert again.specs == zoo.specs
    np.testing.assert_array_equal(again.predict(held), together)
    with pytest.raises(ValueError, match="trained on 2 architectures: expected the spec"):
        model.predict(held.of(0).vectors)


def test_encoders_of_one_architecture_read_zoos_that_look_alike_to_them(tmp_path):
    zoo = make_zoo()
    relu = architectures.mlp([1, 4, 1], "relu")
    half = len(zoo) // 2
    both = dataclasses.replace(zoo, specs=(SPEC, relu), which=np.arange(len(zoo)) // half)
    model, _ = train(both, tmp_path / "both", "stat_nn", {"widths": (8,), "code": 4})
    one, _ = train(zoo, tmp_path / "one", "stat_nn", {"widths": (8,), "code": 4})
    np.testing.assert_allclose(
        model.predict(both.part("test", "ratio")[0]),
        one.predict(zoo.part("test", "ratio")[0]),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="StatNN reads one architecture at a time, got 2"):
        train(two_depths(), tmp_path / "deep", "stat_nn", {"widths": (8,), "code": 4})


def test_a_level_not_seen_in_training_takes_the_scale_of_the_nearest():
    scales = {
        "dense/kernel/0": 2.0,
        "dense/kernel/1": 3.0,
        "dense/bias/0": 5.0,
        "dense/bias/1": 7.0,
    }
    deep = architectures.mlp([1, 1, 1, 1])
    assert reading.units(deep, scales).tolist() == [
        scales[f"dense/{a.role}/{min(level, 1)}"]
        for level, layer in enumerate(deep.layers)
        for a in layer.arrays
    ]


def test_arrays_of_a_kind_not_seen_in_training_are_adopted_where_asked():
    scales = {"dense/kernel/0": 2.0, "conv/kernel/2": 3.0, "dense/bias/1": 5.0}
    seen = architectures.vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=1)
    with pytest.raises(ValueError, match=r"trained on arrays .* got also .*attention/kernel/"):
        reading.units(seen, scales)
    found = reading.adopt(scales, [seen])
    assert {k: found[k] for k in scales} == scales
    kinds = [k for k in found if k not in scales]
    assert {k.split("/")[0] for k in kinds} == {"attention", "conv", "embedding", "norm"}
    for kind in kinds:
        _, role, level = kind.split("/")
        nearer = "dense/kernel/0" if level == "0" else "conv/kernel/2"
        same = {"kernel": scales[nearer], "bias": 5.0, "scale": 1.0}
        assert found[kind] == same[role]
    assert np.isfinite(reading.units(seen, found)).all()
    assert reading.adopt(scales, [architectures.mlp([1, 1])]) == scales


def test_the_published_stat_nn_has_its_number_of_parameters():
    """The zoo of small CNNs: 1 059 001, by the authors' code of NFN."""
    spec = architectures.cnn([1, 16, 16, 16], [10], stride=2, padding="VALID")
    config = {
        "encoder": "stat_nn",
        "encoder_settings": {"widths": (1000,), "code": 1000},
        "head": [],
    }
    module = regression.build(config)
    init = lambda key: module.init(key, jnp.zeros((1, spec.count)), module.encoder.view(spec))
    params = jax.eval_shape(init, jax.random.key(0))["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 1_059_001


def test_cross_entropy_predicts_shares(tmp_path):
    zoo = make_zoo()
    model, _ = train(zoo, tmp_path, "stat_nn", {"widths": (8,), "code": 4}, "share", loss="bce")
    vectors, _ = zoo.part("test", "share")
    predicted = model.predict(vectors)
    assert ((predicted > 0) & (predicted < 1)).all()
    with pytest.raises(ValueError, match=r"labels in \[0, 1\], got -"):
        regression.normalisation(zoo, "ratio", "bce")


def test_fewer_networks_than_the_batch(tmp_path):
    with pytest.raises(ValueError, match="batch of 16 examples, got 8"):
        train(make_zoo(16), tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"encoder": "gpt"}, r"encoder of \['deepsets', .*, got 'gpt'"),
        ({"encoder": "sne", "encoder_settings": {"size": 3}}, r"got \['size'\]"),
    ],
)
def test_unknown_encoders_and_settings(config, message):
    with pytest.raises(ValueError, match=message):
        regression.build({"encoder_settings": {}, "head": [4], **config})


def test_objectives_are_checked():
    with pytest.raises(ValueError, match=r"loss of \['bce', 'mse'\].*'mae'"):
        Objective(loss="mae")

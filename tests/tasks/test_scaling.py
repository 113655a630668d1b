import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from cases.tasks import SPEC, ratio_zoo, two_depths

from wsjax import architectures
from wsjax.tasks import InputScale

ZOO = ratio_zoo()


def test_a_scale_is_the_root_mean_square_of_its_arrays():
    train = ZOO.select(ZOO.splits["train"])
    scale = InputScale.fit(train)
    want = np.sqrt(np.mean(train.params(slice(None))["Dense_0/kernel"].astype(np.float64) ** 2))
    assert scale.scales["dense/kernel/0"] == pytest.approx(want)
    normalised = scale.apply(train.vectors, SPEC)
    assert InputScale.fit(dataclasses.replace(train, vectors=normalised)).scales == pytest.approx(
        dict.fromkeys(scale.scales, 1.0)
    )


def test_of_several_architectures_each_weight_counts_once():
    zoo = two_depths()
    kernels = [zoo.of(s).params(slice(None))["Dense_1/kernel"].ravel() for s in (0, 1)]
    want = np.sqrt(np.mean(np.concatenate(kernels).astype(np.float64) ** 2))
    assert InputScale.fit(zoo).scales["dense/kernel/1"] == pytest.approx(want)


def test_arrays_of_zeros_stay_as_they_are():
    for size in (0, 1e-40):  # XLA takes numbers below float32's normal range for zeros
        zeros = dataclasses.replace(ZOO, vectors=np.full_like(ZOO.vectors, size))
        assert set(InputScale.fit(zeros).scales.values()) == {1.0}


def test_invert_undoes_apply():
    scale = InputScale.fit(ZOO)
    back = scale.invert(scale.apply(ZOO.vectors, SPEC), SPEC)
    np.testing.assert_allclose(back, ZOO.vectors, rtol=1e-6)
    assert np.abs(scale.apply(ZOO.vectors, SPEC) - ZOO.vectors).max() > 0.1
    traced = scale.apply(jnp.asarray(ZOO.vectors[0]), SPEC)
    np.testing.assert_allclose(traced, scale.apply(ZOO.vectors, SPEC)[0], rtol=1e-6)


def test_a_zoo_is_normalised_by_architecture_with_zeros_behind():
    zoo = two_depths()
    scale, width = InputScale.fit(zoo), zoo.vectors.shape[1] + 3
    normalised = scale.apply_zoo(zoo, width)
    assert normalised.shape == (len(zoo), width)
    for s, spec in enumerate(zoo.specs):
        own = normalised[zoo.which == s]
        np.testing.assert_array_equal(own[:, : spec.count], scale.apply(zoo.of(s).vectors, spec))
        np.testing.assert_array_equal(own[:, spec.count :], 0)


def test_a_level_not_seen_in_training_takes_the_scale_of_the_nearest():
    scales = {
        "dense/kernel/0": 2.0,
        "dense/kernel/1": 3.0,
        "dense/bias/0": 5.0,
        "dense/bias/1": 7.0,
    }
    deep = architectures.mlp([1, 1, 1, 1])
    assert InputScale(scales).divisors(deep).tolist() == [
        scales[f"dense/{a.role}/{min(level, 1)}"]
        for level, layer in enumerate(deep.layers)
        for a in layer.arrays
    ]


def test_extend_adds_scales_for_kinds_not_seen_in_training():
    scales = {"dense/kernel/0": 2.0, "conv/kernel/2": 3.0, "dense/bias/1": 5.0}
    scale = InputScale(scales)
    vit = architectures.vit(2, 6, 3, size=(4, 4), patch=2, blocks=1, heads=1)
    with pytest.raises(ValueError, match=r"trained on arrays .* got also .*attention/kernel/"):
        scale.divisors(vit)
    extended = scale.extend([vit])
    assert {k: extended.scales[k] for k in scales} == scales
    kinds = [k for k in extended.scales if k not in scales]
    assert {k.split("/")[0] for k in kinds} == {"attention", "conv", "embedding", "norm"}
    for kind in kinds:
        _, role, level = kind.split("/")
        nearer = "dense/kernel/0" if level == "0" else "conv/kernel/2"
        same = {"kernel": scales[nearer], "bias": 5.0, "scale": 1.0}
        assert extended.scales[kind] == same[role]
    assert np.isfinite(extended.divisors(vit)).all()
    assert scale.extend([architectures.mlp([1, 1])]) == scale


def test_json_comes_back_and_is_checked():
    scale = InputScale.fit(ZOO)
    assert InputScale.from_json(json.loads(json.dumps(scale.to_json()))) == scale
    for wrong in (
        {"dense": 1.0},
        {"dense/kernel/0": 0.0},
        {"dense/kernel/0": "1"},
        {"dense/kernel/x": 1.0},
    ):
        with pytest.raises(
            ValueError, match="'kind/role/level' -> a number above 0 in float32, got"
        ):
            InputScale.from_json(wrong)

"""Low-rank adapters: what they change in a base, and bases that they do not fit."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from cases.checkpoints import numbers

from wsjax.files import adapters

DOWN, UP = numbers(2, 6), numbers(4, 2, seed=1)
PEFT = {
    "base_model.model.layers.0.q.lora_A.weight": DOWN,
    "base_model.model.layers.0.q.lora_B.weight": UP,
}
BASE = {
    "model.layers.0.q.weight": numbers(4, 6, seed=2),
    "model.layers.0.k.weight": numbers(4, 6, seed=3),
}


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 16}, 8),
        ({"lora_alpha": 16, "use_rslora": True}, 16 / np.sqrt(2)),
        ({"lora_alpha": 16, "alpha_pattern": {"layers.0.q": 4}}, 2),
        ({"lora_alpha": 16, "alpha_pattern": {"other": 4}}, 8),
    ],
)
def test_peft(config, scale):
    found = adapters.adapter(PEFT, config)
    out = adapters.effective(found, BASE)
    expected = BASE["model.layers.0.q.weight"] + scale * UP @ DOWN
    np.testing.assert_allclose(out["model.layers.0.q.weight"], expected, rtol=1e-5, atol=1e-6)
    assert out["model.layers.0.k.weight"] is BASE["model.layers.0.k.weight"]
    assert list(out) == list(BASE)


def test_kohya_has_its_alpha_beside_the_factors_and_underscores_for_dots():
    names = {
        "lora_unet_layers_0_q.lora_down.weight": DOWN,
        "lora_unet_layers_0_q.lora_up.weight": UP,
    }
    base = {"layers.0.q.weight": np.zeros((4, 6), "f4")}
    out = adapters.effective(adapters.adapter(names, {}), base)  # alpha is the rank
    np.testing.assert_allclose(out["layers.0.q.weight"], UP @ DOWN, rtol=1e-5)
    found = adapters.adapter(names | {"lora_unet_layers_0_q.alpha": np.float32(1)}, {})
    assert str(found) == "an adapter of 1 layer, rank 2, alpha 1"
    assert found.others == ()
    half = adapters.effective(found, base)["layers.0.q.weight"]
    np.testing.assert_allclose(half, UP @ DOWN / 2, rtol=1e-5)


def test_convolutions_embeddings_transposed_and_flaxs_layers():
    delta = lambda names, config=None: adapters.adapter(names, {"lora_alpha": 2} | (config or {}))
    down, up = numbers(2, 6, 3, 3), numbers(4, 2, 1, 1, seed=1)
    got = delta({"c.lora_down.weight": down, "c.lora_up.weight": up}).pairs[0].delta()
    expected = np.einsum("or,rixy->oixy", up[..., 0, 0], down)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    names = {"e.lora_embedding_A": DOWN, "e.lora_embedding_B": UP}
    np.testing.assert_allclose(delta(names).pairs[0].delta(), (UP @ DOWN).T, rtol=1e-5)
    names = {"q.lora_A.weight": DOWN, "q.lora_B.weight": UP}
    got = delta(names, {"fan_in_fan_out": True}).pairs[0].delta()
    np.testing.assert_allclose(got, (UP @ DOWN).T, rtol=1e-5)
    names = {"q/lora_a": DOWN.T, "q/lora_b": UP.T}
    pair = delta(names).pairs[0]
    assert (pair.rank, pair.shape) == (2, (6, 4))
    np.testing.assert_allclose(pair.delta(), DOWN.T @ UP.T, rtol=1e-5)


def test_a_base_of_another_vocabulary_is_named():
    names = {
        "base_model.model.lm_head.lora_A.weight": np.ones((2, 6), "f4"),
        "base_model.model.lm_head.lora_B.weight": np.ones((36, 2), "f4"),
        "base_model.model.model.layers.9.q.lora_A.weight": DOWN,
        "base_model.model.model.layers.9.q.lora_B.weight": UP,
    }
    found = adapters.adapter(names, {"lora_alpha": 2})
    base = BASE | {"lm_head.weight": np.ones((32, 6), "f4")}
    with pytest.raises(ValueError, match="adapter does not fit its base") as error:
        adapters.effective(found, base)
    assert "lm_head: changes a weight [36, 6], the base's lm_head.weight is [32, 6]" in str(
        error.value
    )
    assert "model.layers.9.q: changes a layer that the base lacks" in str(error.value)


def test_a_layer_that_could_be_several_is_not_guessed():
    found = adapters.adapter({"q.lora_A.weight": DOWN, "q.lora_B.weight": UP}, {"lora_alpha": 2})
    base = {f"layers.{i}.q.weight": np.zeros((4, 6), "f4") for i in range(2)}
    with pytest.raises(ValueError, match="q: changes a layer that the base lacks"):
        adapters.effective(found, base)


def test_alpha_is_never_guessed_for_peft():
    found = adapters.adapter(PEFT, {"lora_alpha": True})
    assert str(found) == "an adapter of 1 layer, rank 2, alpha unknown"
    with pytest.raises(ValueError, match="expected an alpha in adapter_config"):
        adapters.effective(found, BASE)
    out = adapters.effective(found, BASE, alpha=2)
    expected = BASE["model.layers.0.q.weight"] + UP @ DOWN
    np.testing.assert_allclose(out["model.layers.0.q.weight"], expected, rtol=1e-5, atol=1e-6)


def test_factors_of_two_ranks_do_not_make_a_change():
    names = {"q.lora_A.weight": DOWN, "q.lora_B.weight": numbers(4, 3)}
    found = adapters.adapter(names, {"lora_alpha": 2})
    with pytest.raises(ValueError, match=r"q: expected two factors of one rank, got \[2, 6\]"):
        adapters.effective(found, {"q.weight": np.zeros((4, 6), "f4")})


def test_a_half_precision_base_is_widened_where_it_changes():
    base = {"q.weight": np.ones((4, 6), ml_dtypes.bfloat16)}
    names = {"q.lora_A.weight": DOWN, "q.lora_B.weight": UP}
    out = adapters.effective(adapters.adapter(names, {"lora_alpha": 2}), base)
    assert out["q.weight"].dtype == np.float32
    np.testing.assert_allclose(out["q.weight"], 1 + UP @ DOWN, rtol=1e-5, atol=1e-6)


def test_a_network_without_factors_is_no_adapter():
    assert adapters.adapter({"q.weight": DOWN, "x.lora_A.weight": DOWN}, {}) is None


@pytest.mark.parametrize(
    ("beside", "config", "match"),
    [
        ("q.lora_magnitude_vector.weight", {"use_dora": True}, r"DoRA's magnitudes .*\(.*magnit"),
        ("score.modules_to_save.weight", {}, r"has arrays beside them \(score\.modules_to_save"),
        ("q.bias", {}, r"has arrays beside them \(q\.bias\)"),
        ("", {"use_dora": True}, "DoRA's magnitudes beside them, which are not added"),
    ],
)
def test_what_an_adapter_has_beside_its_pairs_is_not_dropped(beside, config, match):
    names = {"q.lora_A.weight": DOWN, "q.lora_B.weight": UP}
    names |= {beside: np.ones(4, "f4")} if beside else {}
    found = adapters.adapter(names, {"lora_alpha": 2} | config)
    base = {"q.weight": np.zeros((4, 6), "f4")}
    with pytest.raises(ValueError, match=match):
        adapters.effective(found, base)
    pairs = dataclasses.replace(found, others=(), decomposed=False)
    np.testing.assert_allclose(adapters.effective(pairs, base)["q.weight"], UP @ DOWN, rtol=1e-5)

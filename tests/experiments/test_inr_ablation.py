"""SNE's ablation: figures of invariance, and shares of the training networks."""

import jax
import numpy as np
import pytest

from experiments import inr_ablation
from wsjax import architectures, encoders, networks, testing
from wsjax.tasks import InputScale
from wsjax.tasks.regression import Regression
from wsjax.zoos import Zoo

SPEC = architectures.mlp([1, 6, 6, 1], "sin", 30.0)


@pytest.mark.trains
def test_the_ablation_measures_invariance(tmp_path, monkeypatch):
    monkeypatch.setattr("wsjax.training.compilation_cache", lambda folder: None)
    names = "sne_no_position,boosted_trees_20,boosted_trees"
    found = inr_ablation.main(
        ["--jobs", "1", "--preset", "smoke", "--folder", str(tmp_path), "--methods", names]
    )
    metrics = {r["row"]: r["metrics"] for r in found}
    assert metrics["sne_no_position"]["invariance"] < 1e-8  # neurons have no identity
    assert metrics["sne_no_position"]["untrained_code_error"] < 1e-3
    assert metrics["boosted_trees_20"] != metrics["boosted_trees"]
    assert list(tmp_path.glob("inr_ablation/smoke/training_size.png"))


@pytest.mark.parametrize("encoder", ["mlp", "stat_nn", "deepsets"])
def test_invariance_is_measured_of_every_encoder(encoder):
    vectors = np.asarray(networks.ravel(testing.draw(jax.random.key(0), SPEC, (8,)), SPEC))
    task = Regression("frequency")
    module = task.module(encoders.build(encoder), (8,))
    variables = jax.jit(module.init)(jax.random.key(0), vectors, module.encoder.view(SPEC))
    scale = InputScale({f"{x.kind}/{a.role}/{x.level}": 1.0 for x in SPEC.layers for a in x.arrays})
    constants = {"mean": 2.0, "deviation": 3.0}
    trained = task.trained(task, module, variables, scale, (SPEC,), constants, {}, (8,))
    found = inr_ablation.invariance(trained, vectors)
    if encoder == "mlp":
        assert found["invariance"] > 1e-5
        assert found["code_error"] > 1e-2
    else:
        assert found["invariance"] < 1e-8


def test_methods_learn_from_their_share_of_the_training_networks():
    assert {"sne_20", "nft_40", "dwsnet_60", "boosted_trees_80", "sne_chunk_16"} <= set(
        inr_ablation.PRESETS["smoke"].methods
    )
    vectors = np.zeros((12, SPEC.count), np.float32)
    zoo = Zoo.of_spec(vectors, SPEC, {}, {"train": np.arange(10)})
    sizes = {
        name: len(inr_ablation.reduced(zoo, name).splits["train"])
        for name in ("sne", "sne_20", "boosted_trees_80", "sne_chunk_16", "sne_no_level")
    }
    assert list(sizes.values()) == [10, 2, 8, 10, 10]

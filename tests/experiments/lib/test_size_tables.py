"""Papers' accuracy predictors have the published numbers of parameters, and their training."""

import pytest

from experiments import accuracy_prediction, cross_architecture, cross_dataset, generalization
from experiments import embeddings as figure
from experiments.lib import published_predictors, size_tables
from experiments.lib.published_predictors import ABOUT, PARAMETERS
from wsjax import architectures

PRESETS = {
    name: module.PRESETS["paper"]
    for name, module in {
        "accuracy_prediction": accuracy_prediction,
        "cross_architecture": cross_architecture,
        "cross_dataset": cross_dataset,
        "embeddings": figure,
        "generalization": generalization,
    }.items()
}


def lines(preset):
    """(direction, name, method) of every trained method of a preset."""
    ways = preset.directions or {"": preset.methods}
    return [(way, k, m) for way, here in ways.items() for k, m in here.items() if m.encoder]


def unused(name):
    """Parameters of a net in the published full read-outs that nothing calls."""
    settings = published_predictors.named()[name].settings
    width = settings["width"] if settings.get("readout") == "full" else 0
    return 2 * (width * width + width) + 2 * width


def test_parameters_are_the_published_ones():
    counted = size_tables.counts()
    assert set(PARAMETERS) < set(counted)
    for name, published in PARAMETERS.items():
        if name == "grit":  # of which the paper does not describe all
            assert counted[name] == 3_187_201
        else:
            share = 0.05 if published == ABOUT else 0
            total = counted[name] + unused(name)
            assert total == pytest.approx(published, rel=share, abs=0), name
    for name, method in published_predictors.EMBEDDED.items():
        assert size_tables.parameters(method, size_tables.SPECS["relu"]) == PARAMETERS[name]
    others = {k: n for k, n in counted.items() if k not in PARAMETERS}
    assert others == {
        "mlp of SNE": 8_023_025, "deepsets of SNE": 2_192_377, "sne of SNE": 2_401_785,
        "nft": 4_553_761, "neural_graph": 4_874_497, "scalegmn svhn_relu_b": 550_657,
    }  # fmt: skip


def test_the_table_has_differences():
    text = size_tables.table()
    assert "| `nfn_hnp` | 2,811,743 | 2,811,743 | +0.0% |" in text
    assert "| `gmn` | 755,037 | about 750,000 | +0.7% |" in text
    assert "| `grit` | 3,187,201 | 3,652,865 | -12.7% |" in text


@pytest.mark.parametrize("name", PRESETS)
def test_paper_presets_have_no_other_methods(name):
    """All of them are counted: equal, but for the head that figure 2 of SNE moves."""
    counted = [*published_predictors.named().values()]
    moved = [*published_predictors.EMBEDDED.values()] if name == "embeddings" else []
    for way, k, method in lines(PRESETS[name]):
        assert method in counted + moved, f"{way} {k}"
        for networks in (300, 1500):  # as few as of `conv3-linear2`
            steps = method.epochs * (networks // method.training.batch)
            assert method.over(networks).training.steps == steps


def test_training_is_the_published_one():
    """Steps of 300 epochs of 12,000 networks at batches of 64, and so on."""
    named = published_predictors.named()
    trained = {k: named[k].over(12_000).training for k in named}
    sne, nfn = trained["sne of SNE"], trained["nfn_hnp"]
    assert (sne.steps, sne.learning_rate, sne.weight_decay) == (56_100, 1e-4, 0)
    assert (sne.optimizer, sne.schedule, sne.batch) == ("adam", "multistep", 64)
    assert not named["sne of SNE"].objective.permute
    assert named["sne of SNE"].objective.invariance > 0
    assert (nfn.steps, nfn.learning_rate, nfn.batch, nfn.optimizer) == (75_000, 1e-3, 8, "adam")
    assert trained["grit"].learning_rate == 3e-4
    for k in ("gmn", "dmc", "deepsets"):
        assert named[k].rates == (1e-4, 5e-4, 1e-3, 5e-3, 1e-2)
        assert not named[k].settings.get("product")
    scale = trained["scalegmn cifar10_relu"]
    assert (scale.optimizer, scale.learning_rate, scale.warmup) == ("adamw", 1e-3, 1000)
    assert (scale.clip, scale.steps) == (10, 200 * 187)


def test_directions_of_the_paper_presets_exist():
    """Each has its zoo, and ScaleGMN the configuration of its activations."""
    ways = PRESETS["generalization"].directions
    words = {way: here["scalegmn_b"].words for way, here in ways.items()}
    assert words == {
        "cifar10 relu": "cifar10_relu_b", "cifar10 tanh": "cifar10_tanh_b",
        "cifar10 both": "cifar10_hetero_b", "svhn relu": "svhn_relu_b",
        "svhn tanh": "svhn_tanh_b",
    }  # fmt: skip
    ways = PRESETS["accuracy_prediction"].directions
    with_grit = [way for way, here in ways.items() if "grit" in here]
    assert with_grit == ["conv3-gap cifar10 50 %"]
    assert len(ways) == 7


def test_a_spec_of_another_size_has_other_counts():
    wide = architectures.cnn([1, 8, 8], [10])
    method = published_predictors.NFN_NP
    assert size_tables.parameters(method, wide) != PARAMETERS["nfn_np"]

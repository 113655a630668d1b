"""The published configurations of ScaleGMN have the published sizes, and begin as published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures
from wsjax.encoders import Editor, ScaleGMN
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS

KEY = jax.random.key(7)
# trainable parameters of the published code, measured by running it
PUBLISHED_PARAMETERS = {
    "mnist": 1_772_042, "mnist_b": 3_089_162, "fmnist": 1_160_970, "fmnist_b": 1_722_378,
    "cifar_inr": 397_450, "cifar_inr_b": 492_298, "cifar_inr_aug": 2_285_322,
    "cifar_inr_aug_b": 3_324_938, "mnist_edit": 4_002_058, "mnist_edit_b": 4_821_385,
    "cifar10_relu": 1_356_801, "cifar10_relu_b": 2_263_809, "cifar10_tanh": 2_318_849,
    "cifar10_tanh_b": 3_441_665, "cifar10_hetero": 1_688_577, "cifar10_hetero_b": 4_250_625,
    "svhn_relu": 467_969, "svhn_tanh": 547_457, "svhn_tanh_b": 2_680_577,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_all_begin_as_published_and_send_messages_back_as_published(name):
    settings = SETTINGS[name]
    assert settings["initial"] == "published"
    assert settings["backward"] == ("as_published" if name.endswith("_b") else "none")


@pytest.mark.parametrize(
    "settings",
    [SETTINGS["mnist_b"], {**SETTINGS["fmnist"], "symmetry": "permutation"}],
    ids=["signs", "permutations"],
)
def test_variables_begin_as_pytorchs(settings):
    """Linear layers and their biases uniform within 1 / sqrt(inputs), tables normal, norms one."""
    spec = architectures.mlp([2, 4, 4, 1], "sin", 30.0)
    encoder = ScaleGMN(**{**settings, "width": 40, "layers": 2})
    start = jax.jit(lambda x: encoder.init(KEY, x, encoder.view(spec)))
    params = start(jnp.zeros((1, spec.count)))["params"]
    seen = set()

    def check(path, x):
        name, x = path[-1].key, np.asarray(x)
        seen.add(name.rstrip("01_"))
        if name.endswith("positions"):
            return np.testing.assert_allclose(np.std(x), 1, rtol=0.3)
        if name.startswith("norm"):
            return np.testing.assert_array_equal(x, name == "norm_scale")
        owner = params
        for key in path[:-1]:
            owner = owner[key.key]
        fan_in = len(owner[name.replace("bias", "kernel")])
        assert np.abs(x).max() <= fan_in**-0.5, path
        if x.size > 99:
            np.testing.assert_allclose(np.std(x), (3 * fan_in) ** -0.5, rtol=0.15, err_msg=name)
        return np.testing.assert_array_less(0.3 * fan_in**-0.5, np.abs(x).max())

    jax.tree_util.tree_map_with_path(check, params)
    assert {"kernel", "bias", "nodes_positions"} < seen
    assert ("gamma" in seen) == (settings["symmetry"] == "sign")


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_published_configurations_have_the_published_parameters(name):
    settings = SETTINGS[name]
    editor = settings.get("readout") == "edit"
    spec = architectures.cnn([1, 16, 16, 16], [10])
    if settings["layout"][0] == 2:
        spec = architectures.mlp([2, 32, 32, settings["layout"][2]], "sin", 30.0)
    elif settings["symmetry"] == "sign":
        spec = architectures.cnn([1, 16, 16, 16], [10], activation="tanh")
    encoder = ScaleGMN(**settings)
    module, view = Editor(encoder) if editor else encoder, encoder.view(spec)
    shapes = jax.eval_shape(lambda: module.init(KEY, jnp.zeros((1, spec.count)), view))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    w = settings["width"]
    idle = 2 * w * w + 4 * w if settings["readout"] == "full" else 0  # theirs never runs this MLP
    assert count + idle == PUBLISHED_PARAMETERS[name]

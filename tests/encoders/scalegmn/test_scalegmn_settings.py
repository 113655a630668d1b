"""The published configurations of ScaleGMN have the published sizes."""

import jax
import jax.numpy as jnp
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

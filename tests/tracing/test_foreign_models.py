"""Every model of the catalogue is traced: what is claimed holds, no more and no less.

Verification is part of tracing, and costs a compilation or two. So some models are traced as a
whole here, the others by `python -m experiments.tracing`; of all of them the axes are found.
"""

import jax
import numpy as np
import pytest

import wsjax
from experiments.foreign_models.catalogue import LARGE, MODELS
from wsjax.networks import Spec
from wsjax.tracing.axes import axes

pytestmark = pytest.mark.trains  # as in use: frameworks promote types

# log10 of the group, rounded. None in `shufflenet`: 3 x 4 and 4 x 3 channels are added
GROUPS = {
    **{"mlp": 27, "siren": 40, "nerf": 46, "multiplicative_filters": 33, "lstm": 5, "gru": 5},
    **{"seq2seq_lstm": 5, "bidirectional_gru": 11, "wavenet": 25, "fourier_operator": 14},
    **{"state_space": 19, "linear_attention": 13, "sorted_set": 14, "top_neurons": 9},
    **{"graph_network": 26, "bilinear": 9, "hypernetwork": 7, "siamese": 13, "equilibrium": 7},
    **{"conditional": 7, "neural_ode": 8, "normalising_flow": 13, "recommender": 12},
    **{"highway_maxout": 20, "cnn_batchnorm_flatten": 32, "vgg": 29, "resnet_groupnorm": 26},
    **{"resnet_bottleneck": 68, "bit_resnet": 12, "wide_resnet_padded": 17, "densenet": 54},
    **{"mobilenet": 33, "shufflenet": 0, "convnext": 75, "unet": 23, "diffusion_unet": 69},
    **{"vae": 37, "generator": 13, "actor_critic": 21, "inception": 19, "vit_class_token": 75},
    **{"vit_map_head": 132, "vit_fused_qkv": 88, "vit_packed_qkv": 88, "mixer": 69},
    **{"lm_tied_swiglu": 164, "gpt2": 216, "llama_grouped_queries": 81, "llama_interleaved": 81},
    **{"lm_scanned": 99, "perceiver": 77, "detr": 123, "translator": 64, "experts_soft": 77},
    **{"experts_top_k": 75, "universal_transformer": 36, "bert": 83, "nnx_cnn": 16},
    **{"nnx_transformer": 34, "equinox_mlp": 20, "equinox_cnn": 15, "equinox_transformer": 36},
    **{"haiku_mlp": 15, "haiku_resnet": 27, "haiku_transformer": 36, "plain_mlp": 15},
    **{"plain_gmlp": 18, "plain_stacked": 7, "torch_resnet18": 427, "torch_vgg": 29},
    **{"torch_vit": 98, "torch_mobilenet": 27, "torch_recurrent": 8, "torch_language_model": 53},
}
# traced as a whole: recurrence, complex numbers, loops and implicit layers, a network that makes
# another's weights, skips, packed and rotated attention, experts, and one of each other framework
VERIFIED = (
    *("nerf", "lstm", "fourier_operator", "state_space", "equilibrium", "hypernetwork", "unet"),
    *("experts_soft", "vit_packed_qkv", "llama_interleaved", "universal_transformer", "nnx_cnn"),
    *("equinox_transformer", "haiku_mlp", "plain_gmlp", "torch_vit"),
)


def found(model):
    """The axes of a model, from its shapes."""
    pytest.importorskip(model.needs)
    apply, params, inputs = model.build()
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat]
    function = lambda leaves, *inputs: apply(jax.tree.unflatten(tree, leaves), *inputs)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for _, x in flat]
    return axes(jax.make_jaxpr(function)(shapes, *inputs), names)


def order(found):
    """log10 of the number of permutations."""
    spec = Spec((), tuple(found.sizes.items()), found.hidden, found.nested)
    return sum(spec.orders.values())


@pytest.mark.parametrize("name", MODELS)
def test_the_group_of_a_model_is_found(name):
    assert round(order(found(MODELS[name]))) == GROUPS[name]


@pytest.mark.parametrize("name", VERIFIED)
def test_a_traced_model_keeps_its_function(name):
    model = MODELS[name]
    pytest.importorskip(model.needs)
    apply, params, inputs = model.build()
    traced = wsjax.trace(apply, params, *inputs)
    assert round(traced.group) == GROUPS[name]
    assert traced.error < 1e-5
    assert traced.misaligned > 1e-2
    packed = traced.pack(params)
    back = traced.unpack(packed)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    for mine, own in zip(
        jax.tree.leaves(traced.forward(packed, *inputs)),
        jax.tree.leaves(apply(params, *inputs)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, own)


@pytest.mark.parametrize("name", LARGE)
def test_axes_of_large_models_need_shapes_alone(name):
    blocks = {"gpt2_small": 12, "vit_large": 24}[name]
    large = found(LARGE[name])
    assert len(large.hidden) == 4 * blocks + 1  # heads, two in each, hidden; the stream
    assert len(large.nested) == 2 * blocks

"""This library's own families, from the names and shapes of their arrays."""

import jax
import numpy as np
import pytest
from cases.families import FAMILIES
from cases.recognised import filled

from wsjax import architectures, recognize
from wsjax.recognition import names, own
from wsjax.symmetries import permutations
from wsjax.symmetries.signals import scaling_group
from wsjax.views.graphs import summary

# what a name and a shape do not hold
CONFIGS = {
    "mlp siren": {"omega": 3.0},
    "hash grid": {"coarsest": 2, "finest": 6},
    "hash grid in three dimensions": {"coarsest": 1, "finest": 3},
    "cnn of one channel": {"chain": True, "norm_first": True},
    "cyclic": {"family": "equivariant", "basis": "cyclic", "positions": 5},
    "deepsets of one layer": {"basis": "deepsets_mean", "pool": "mean"},
}
UNFIT = {"cnn flattened groups"}  # a flattened image behind a GroupNorm


def shapes_of(spec):
    return {a.name: spec.shape(a) for a in spec.arrays}


def empty(spec):
    return {n: np.broadcast_to(np.float32(0), s) for n, s in shapes_of(spec).items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_group_is_that_of_the_spec(name):
    spec, _ = FAMILIES[name]
    found = recognize(empty(spec), CONFIGS.get(name))
    if name in UNFIT:
        assert (found.level, found.spec.hidden) == ("opaque", ())
        return
    group = lambda s: sorted(permutations.shapes(s).values())
    assert group(found.spec) == group(spec)
    assert found.spec.count == spec.count
    assert found.coverage == 1
    assert found.wired
    ours, theirs = summary(spec), summary(found.spec)
    assert (theirs.nodes, theirs.edges) == (ours.nodes, ours.edges)


RUN = {
    "mlp": {"activation": "tanh"},
    "mlp siren": {"activation": "sin", "omega": 3.0},
    "cnn": {
        "activation": "tanh",
        "stride": (1, 2),
        "padding": "SAME",
        "max_pool": 1,
        "pool": "mean",
    },
    "cnn batch norm": {
        **{"activation": "gelu", "stride": 1, "padding": "SAME", "max_pool": 1, "pool": "mean"},
        "norm_first": True,
    },
    "cnn flattened": {
        **{"activation": "tanh", "stride": 1, "padding": "VALID", "max_pool": (2, 1)},
    },
    "deepsets": {"activation": "tanh", "basis": "deepsets", "pool": "mean"},
    "resnet": {"activation": "tanh", "stride": (1, 2), "stem": (3, 1, 1)},
    "resnet bottleneck": {"activation": "silu", "stride": 2, "stem": (5, 1, 2)},
    "vit": {"activation": "gelu", "size": (6, 4)},
    "triplane": {"activation": "sin", "omega": 2.0},
}


@pytest.mark.parametrize("name", RUN)
def test_the_function_is_that_of_the_spec(name):
    spec, shape = FAMILIES[name]
    params = filled(shapes_of(spec))
    found = recognize(params, RUN[name])
    assert found.level == "exact"
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    want = architectures.forward(params, x, spec)
    np.testing.assert_allclose(found.forward(found.pack(params), x), want, atol=1e-5)
    kinds = lambda s: sorted((x.sign, x.scale) for x in scaling_group(s).factors.values())
    assert kinds(found.spec) == kinds(spec)


def test_signs_wait_for_pools():
    spec, _ = FAMILIES["resnet"]
    found = recognize(empty(spec), {"activation": "tanh"})
    assert found.level == "chained"
    assert any("'stem', 'stride'" in note for note in found.notes)
    assert recognize(empty(spec), {"activation": "relu"}).level == "exact"


def test_a_chain_that_may_be_a_residual_network_moves_as_both():
    spec = architectures.cnn([1, 4, 4, 4], [2])
    found = recognize(empty(spec), {"activation": "relu"})
    assert (found.level, found.family, len(found.spec.hidden)) == ("chained", "wsjax resnet", 2)
    params = filled(shapes_of(spec))
    element = permutations.derange(jax.random.key(0), params, found.spec)
    moved = permutations.act(element, params, found.spec)
    x = np.random.default_rng(0).normal(size=(5, 5, 1)).astype(np.float32)
    one, two = (architectures.forward(p, x, spec) for p in (params, moved))
    np.testing.assert_allclose(one, two, atol=1e-6)
    for config, hidden in (({"chain": True}, 3), ({"family": "resnet"}, 2)):
        exact = recognize(params, config | {"activation": "relu"})
        assert (exact.level, len(exact.spec.hidden)) == ("exact", hidden)


def test_shapes_that_do_not_agree_are_named():
    spec, _ = FAMILIES["vit"]
    shapes = shapes_of(spec) | {"Dense_2/kernel": (6, 9)}
    with pytest.raises(names.UnfitError, match="Dense_2/kernel"):
        own.own(shapes, {})
    assert own.own({"fc.weight": (2, 3)}, {}) is None

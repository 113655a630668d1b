"""Networks of training are in the domain; of others, the statistic that says so is named."""

import numpy as np
import pytest
from cases import inrs

from wsjax import networks
from wsjax.inr_folders import Convention, convert, domain
from wsjax.tasks.editing import images

MODEL = inrs.classifier()


def measured(vectors):
    return domain(vectors, images(vectors, inrs.SPEC, inrs.CANVAS), MODEL)


def changed(change):
    params = networks.unravel(inrs.vectors(), inrs.SPEC)
    return networks.ravel(
        {n: change(n, a).astype(np.float32) for n, a in params.items()}, inrs.SPEC
    )


def test_networks_like_those_of_training_are_in():
    found = measured(inrs.vectors())
    assert found.arrays == tuple(a.name for a in inrs.SPEC.arrays)
    assert "out" not in found.verdicts
    assert found.verdicts.count("in") >= 11
    kernel = networks.unravel(inrs.vectors(), inrs.SPEC)["Dense_1/kernel"]
    scale = MODEL.scale.scales["dense/kernel/1"]
    want = np.sqrt((kernel.astype(np.float64) ** 2).mean((1, 2))) / scale
    np.testing.assert_allclose(found.factors[:, 2], want, rtol=1e-6)
    assert not found.outside.any()


@pytest.mark.parametrize("times", [4.0, 0.2])
def test_a_first_layer_of_another_scale_is_out(times):
    found = measured(changed(lambda n, a: a * times if n == "Dense_0/kernel" else a))
    if times < 1:  # of fewer than 16 numbers a small size is none to speak of
        assert "out" not in found.verdicts
        found = measured(changed(lambda n, a: a * times if n == "Dense_1/kernel" else a))
    assert set(found.verdicts) == {"out"}
    kernel = "Dense_0/kernel is" if times > 1 else "Dense_1/kernel is 0"
    assert all(reason.startswith(kernel) for reason in found.reasons)
    assert all("times as large as in training, expected" in reason for reason in found.reasons)


def test_of_a_model_that_runs_its_networks_pixels_alone_count(monkeypatch):
    large = changed(lambda n, a: a * 4 if n == "Dense_0/kernel" else a)
    bright = changed(lambda n, a: a + 0.9 if n == "Dense_2/bias" else a)
    monkeypatch.setattr(type(MODEL.module.encoder), "runs_network", True)
    assert set(measured(large).verdicts) == {"in"}
    assert set(measured(bright).reasons) == {"100 % of its pixels are outside of 0 to 1"}


def test_an_offset_of_one_half_is_out():
    """The output is 0.5 too large: the images are no longer on [0, 1]."""
    found = measured(changed(lambda n, a: a + 0.9 if n == "Dense_2/bias" else a))
    assert set(found.verdicts) == {"out"}
    assert all("100 % of its pixels are outside of 0 to 1" in x for x in found.reasons)


def test_between_the_limits_is_the_edge():
    found = measured(changed(lambda n, a: a / np.abs(a).max() if n == "Dense_2/bias" else a * 1))
    sizes = measured(inrs.vectors()).limits
    bias = MODEL.scale.scales["dense/bias/2"]
    assert sizes[-1] == pytest.approx(3.0)
    edge = changed(lambda n, a: np.full_like(a, 3.5 * bias) if n == "Dense_2/bias" else a)
    result = measured(edge)
    assert set(result.verdicts) == {"edge"}
    assert all("Dense_2/bias is 3.5 times" in x and "at most 3.00" in x for x in result.reasons)
    assert found.factors.shape == (12, 6)


def test_conversion_brings_another_convention_into_the_domain():
    theirs, ours = Convention(10.0, None, "ij", True, 0.0, -1), Convention()
    params = networks.unravel(inrs.vectors(), inrs.SPEC)
    stored = convert(params, ours, theirs)
    raw = measured(networks.ravel(stored, inrs.SPEC))
    assert set(raw.verdicts) == {"out"}
    again = measured(networks.ravel(convert(stored, theirs, ours), inrs.SPEC))
    assert again.verdicts == measured(inrs.vectors()).verdicts

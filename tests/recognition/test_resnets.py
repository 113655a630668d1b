"""ResNets by torchvision's names, against functions written here in PyTorch."""

import numpy as np
import pytest
from cases.recognised import assert_recognised, filled

from wsjax import recognize
from wsjax.recognition import names, resnets
from wsjax.symmetries import permutations

torch = pytest.importorskip("torch")
F = torch.nn.functional
IMAGE = np.random.default_rng(2).normal(size=(2, 16, 16, 2)).astype(np.float32)


def convolution(name, fan_in, fan_out, window, groups=1):
    norm = name.replace("conv", "bn") if "conv" in name else name[:-1] + "1"
    parts = ("weight", "bias", "running_mean", "running_var")
    kernel = {f"{name}.weight": (fan_out, fan_in // groups, window, window)}
    return kernel | {f"{norm}.{p}": (fan_out,) for p in parts}


def shapes(deep, groups=1, stem=7):
    """Two stages, the second of two blocks; the first has a projection if it is deep."""
    out = convolution("conv1", 2, 4, stem)
    came, width = 4, 4
    for at, width, project in (
        ("layer1.0", 4, deep),
        ("layer2.0", 6, True),
        ("layer2.1", 6, False),
    ):
        end = width * 2 if deep else width
        out |= convolution(f"{at}.conv1", came, width, 1 if deep else 3)
        if deep:
            out |= convolution(f"{at}.conv2", width, width, 3, groups)
            out |= convolution(f"{at}.conv3", width, end, 1)
        else:
            out |= convolution(f"{at}.conv2", width, end, 3)
        out |= convolution(f"{at}.downsample.0", came, end, 1) if project else {}
        came = end
    return out | {"fc.weight": (3, came), "fc.bias": (3,)}


def run(state):
    t = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}

    def unit(x, conv, norm, stride=1):
        w = t[f"{conv}.weight"]
        x = F.conv2d(x, w, None, stride, w.shape[-1] // 2, groups=x.shape[1] // w.shape[1])
        stored = (t[f"{norm}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *stored)

    x = torch.from_numpy(IMAGE.transpose(0, 3, 1, 2))
    x = F.max_pool2d(unit(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for at in ("layer1.0", "layer2.0", "layer2.1"):
        stride, deep = (2 if at == "layer2.0" else 1), f"{at}.conv3.weight" in t
        y = unit(x, f"{at}.conv1", f"{at}.bn1", 1 if deep else stride).relu()
        y = unit(y, f"{at}.conv2", f"{at}.bn2", stride if deep else 1)
        if deep:
            y = unit(y.relu(), f"{at}.conv3", f"{at}.bn3")
        if f"{at}.downsample.0.weight" in t:
            x = unit(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
        x = (x + y).relu()
    return (x.mean((2, 3)) @ t["fc.weight"].T + t["fc.bias"]).numpy()


@pytest.mark.parametrize("deep", [False, True], ids=["basic", "bottleneck"])
def test_torchvisions_resnet(deep):
    state = filled(shapes(deep)) | {"bn1.num_batches_tracked": np.zeros((), np.int64)}
    found = assert_recognised(state, run)
    assert (found.level, found.family) == ("exact", "torchvision ResNet")
    assert found.beside == {"bn1.num_batches_tracked": "buffer"}
    y = found.forward(found.pack(state), IMAGE)
    np.testing.assert_allclose(y, run(state), atol=1e-4)


def test_groups_of_resnext_move_with_their_members():
    found = assert_recognised(filled(shapes(True, groups=2)), run)
    want = {"g0": (2,), "c0_0": (2, 2), "c0_1": (2, 2), "g1": (2,), "c1_0": (2, 3)}
    assert want.items() <= permutations.shapes(found.spec).items()
    assert found.wired


def test_a_stem_that_is_not_torchvisions_needs_the_activation():
    state = filled(shapes(False, stem=3))
    found = assert_recognised(state, run)
    assert (found.level, found.family, found.forward) == ("chained", "ResNet", None)
    assert assert_recognised(state, run, {"activation": "relu"}).level == "exact"


def test_streams_that_other_arrays_may_read_are_fixed():
    state = filled(shapes(False))
    headless = {n: a for n, a in state.items() if not n.startswith("fc")}
    free = set(permutations.shapes(recognize(state).spec))
    assert free - set(recognize(headless).spec.hidden) == {"s1"}
    other = state | filled({"fpn.inner.weight": (3, 4)})
    assert free - set(recognize(other).spec.hidden) == {"s0", "s1"}
    assert recognize(other).coverage < 1


def test_blocks_with_other_parts_are_refused():
    assert resnets.resnet({"conv1.weight": (4, 2, 7, 7)}, {}) is None
    odd = shapes(False) | {"layer1.0.se.fc1.weight": (2, 4)}
    with pytest.raises(names.UnfitError, match=r"layer1\.0\.se"):
        resnets.resnet(odd, {})
    assert recognize(filled(odd)).level == "opaque"
    wrong = shapes(False) | {"layer2.1.conv2.weight": (5, 6, 3, 3)}
    with pytest.raises(names.UnfitError, match=r"layer2\.1"):
        resnets.resnet(wrong, {})

"""Sequential networks, against PyTorch's own modules and the forward pass of this library."""

import numpy as np
import pytest
from cases.recognised import assert_recognised, filled

from wsjax import architectures, recognize
from wsjax.recognition import chains, names
from wsjax.symmetries import permutations
from wsjax.symmetries.signals import scaling_group


def shapes(**by_name):
    return {k.replace("__", "."): v for k, v in by_name.items()}


def batch_norm(name, width):
    return {f"{name}.{p}": (width,) for p in ("weight", "bias", "running_mean", "running_var")}


def of(module):
    """A module as a function of its arrays."""
    torch = pytest.importorskip("torch")

    def run(state, x):
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
        with torch.no_grad():
            return torch.func.functional_call(module.eval(), tensors, (torch.from_numpy(x),))

    return run


def state_of(module):
    return filled({k: tuple(v.shape) for k, v in module.state_dict().items() if v.ndim})


def inputs(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_a_perceptron_with_batch_norms():
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        *(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU()),
        *(nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4)),
        nn.Linear(4, 2),
    )
    run, x, state = of(net), inputs(7, 3), state_of(net)
    found = assert_recognised(state, lambda s: run(s, x), {"activation": "relu"})
    assert str(found) == "exact: PyTorch MLP, 2 hidden axes, group 10^3, coverage 100 %"
    assert found.beside == {}
    y = found.forward(found.pack(state), x)
    np.testing.assert_allclose(y, run(state, x), atol=1e-5)
    factors = scaling_group(found.spec).factors
    assert {name for name, f in factors.items() if f.scale} >= {"0", "1", "3"}


def test_a_cnn_of_named_layers_flattened_channels_first():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.fc1, self.fc2 = nn.Linear(4 * 4, 5), nn.Linear(5, 3)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = torch.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
            return self.fc2(torch.relu(self.fc1(x.flatten(1))))

    net, x = Net(), inputs(2, 2, 4, 4)
    run, state = of(net), state_of(net)
    config = {"activation": "relu", "stride": 1, "padding": 1, "max_pool": (1, 2)}
    config |= {"norm_first": True, "chain": True}
    found = assert_recognised(state, lambda s: run(s, x), config)
    assert found.level == "exact"
    assert sorted(permutations.shapes(found.spec).values()) == [(4,), (4,), (5,)]
    y = found.forward(found.pack(state), x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(y, run(state, x), atol=1e-4)
    by_name = dict(sorted(state.items()))
    assert recognize(by_name, config).spec.sizes == found.spec.sizes
    together = assert_recognised(state, lambda s: run(s, x), config | {"chain": False})
    assert (together.level, together.forward) == ("chained", None)
    assert permutations.shapes(together.spec) == {"c0": (4,), "h2": (5,)}
    unknown = recognize(state, {"activation": "relu", "chain": True})
    assert unknown.level == "chained"
    assert unknown.forward is None
    assert any("norm_first" in note for note in unknown.notes)
    with pytest.raises(AssertionError):  # channels last is another network
        assert_recognised(state, lambda s: run(s, x), config | {"flatten": "last"})


def test_depthwise_and_grouped_convolutions():
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        *(nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU()),
        *(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 2, groups=2), nn.ReLU()),
        *(nn.Conv2d(8, 3, 2), nn.Flatten()),
    )
    run, x = of(net), inputs(2, 2, 5, 5)
    config, state = {"activation": "relu"}, state_of(net)
    depthwise = assert_recognised(state, lambda s: run(s, x), config)
    assert (depthwise.level, depthwise.spec.hidden) == ("chained", ("c0",))
    found = assert_recognised(state, lambda s: run(s, x), config | {"grouped": True})
    assert found.spec.nested
    assert found.wired
    assert any("grouped" in note for note in found.notes)


def test_a_siren():
    torch = pytest.importorskip("torch")

    def run(state):
        t = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
        y = torch.from_numpy(x)
        for i in range(2):
            w, b = t[f"net.{i}.linear.weight"], t[f"net.{i}.linear.bias"]
            y = torch.sin(3 * (y @ w.T + b))
        return y @ t["net.2.weight"].T + t["net.2.bias"]

    x, net = inputs(9, 2), {"net.2.weight": (1, 4), "net.2.bias": (1,)}
    for i, (fan_in, fan_out) in enumerate([(2, 5), (5, 4)]):
        net |= {f"net.{i}.linear.weight": (fan_out, fan_in), f"net.{i}.linear.bias": (fan_out,)}
    state = filled(net)
    found = assert_recognised(state, run, {"omega": 3.0})
    assert (found.level, found.family) == ("exact", "SIREN")
    np.testing.assert_allclose(found.forward(found.pack(state), x), run(state), atol=1e-4)
    assert set(scaling_group(found.spec).phases) == {"net.0.linear", "net.1.linear"}
    without = recognize(state)
    assert (without.level, without.family) == ("chained", "PyTorch MLP")
    assert not scaling_group(without.spec).factors


def vgg(norm):
    nn = pytest.importorskip("torch").nn
    unit = lambda i, o: [
        nn.Conv2d(i, o, 3, padding=1),
        *([nn.BatchNorm2d(o)] if norm else []),
        nn.ReLU(),
    ]
    net = nn.Module()
    net.features = nn.Sequential(
        *unit(2, 4), nn.MaxPool2d(2), *unit(4, 3), *unit(3, 5), nn.MaxPool2d(2)
    )
    net.classifier = nn.Sequential(
        *(nn.Linear(5 * 4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 4), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4, 3)),
    )
    net.forward = lambda x: net.classifier(net.features(x).flatten(1))
    return net


def test_a_single_layer_is_no_siren():
    found = recognize({"fc.weight": np.zeros((4, 3)), "fc.bias": np.zeros(4)})
    assert "SIREN" not in str(found)


@pytest.mark.parametrize("norm", [False, True])
def test_vgg_is_exact_by_its_names(norm):
    net = vgg(norm)
    run, x, state = of(net), inputs(2, 2, 8, 8), state_of(net)
    found = assert_recognised(state, lambda s: run(s, x))
    assert (found.level, found.family) == ("exact", "torchvision VGG")
    y = found.forward(found.pack(state), x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(y, run(state, x), atol=1e-4)


def test_twelve_layers_of_one_width_in_string_order():
    net = {}
    for i in sorted(range(12), key=str):
        net |= {f"net.{i}.weight": (4, 4 if i else 2), f"net.{i}.bias": (4,)}
    found = recognize(filled(net))
    reads = [layer.name for layer in found.spec.layers]
    assert reads == [f"net.{i}" for i in range(12)]
    assert (found.level, len(found.spec.hidden)) == ("chained", 11)
    assert {layer.activation for layer in found.spec.layers} == {"other", "none"}


KERAS = {
    "conv2d/kernel:0": (3, 3, 1, 4),
    "conv2d/bias:0": (4,),
    "batch_normalization/gamma:0": (4,),
    "batch_normalization/beta:0": (4,),
    "batch_normalization/moving_mean:0": (4,),
    "batch_normalization/moving_variance:0": (4,),
    "dense/kernel:0": (16, 5),
    "dense/bias:0": (5,),
    "dense_1/kernel:0": (5, 2),
    "dense_1/bias:0": (2,),
}


def test_keras_flattens_channels_last():
    config = {"activation": "relu", "norm_first": True, "epsilon": 1e-3}
    config |= {"stride": 1, "padding": "SAME", "max_pool": 2}
    state = filled(KERAS)
    found = recognize(state, config)
    assert (found.level, found.family) == ("exact", "Keras CNN")
    spec = architectures.cnn(
        [1, 4], [5, 2], norm="batch", max_pool=2, pool="flatten", size=(4, 4), epsilon=1e-3
    )
    ours = dict(zip([a.name for a in spec.arrays], found.pack(state).values(), strict=True))
    x = inputs(2, 4, 4, 1)
    y = found.forward(found.pack(state), x)
    np.testing.assert_allclose(y, architectures.forward(ours, x, spec), atol=1e-5)
    first = recognize(state, config | {"flatten": "first"})
    assert np.abs(first.forward(first.pack(state), x) - y).max() > 0.01


REFUSED = {
    "two heads on one layer": {
        **{"a.weight": (8, 4), "mu.weight": (2, 8), "sigma.weight": (2, 8), "b.weight": (8, 2)}
    },
    "orders that all fit, sorted by name": {
        **{"a.weight": (4, 4), "b.weight": (4, 4), "in.weight": (4, 2), "out.weight": (1, 4)}
    },
    "names of queries, keys and values": {f"{n}.weight": (8, 8) for n in ("q", "k", "v", "o")},
    "a squeeze by name": {"conv.weight": (8, 3, 3, 3), "gate1.weight": (8, 8), "fc.weight": (2, 8)},
    "names of residual blocks": {"block1.fc.weight": (4, 4), "block2.fc.weight": (4, 4)},
    "a bias alone": {"fc.weight": (4, 4), "shift.bias": (4,)},
    "another array in a layer": {"fc.weight": (4, 4), "fc.running_mean": (4,)},
    "a dense layer that is unflattened": {"fc.weight": (36, 2), "conv.weight": (3, 4, 3, 3)},
}


@pytest.mark.parametrize("net", REFUSED.values(), ids=REFUSED)
def test_what_is_no_chain_for_certain(net):
    with pytest.raises(names.UnfitError):
        chains.chained(net, {})
    found = recognize(filled(net))
    assert (found.level, found.spec.hidden) == ("opaque", ())
    assert found.notes


def test_the_order_can_be_given():
    net = filled(REFUSED["orders that all fit, sorted by name"])
    found = recognize(net, {"order": ["in", "b", "a", "out"]})
    assert [layer.name for layer in found.spec.layers] == ["in", "b", "a", "out"]
    assert recognize(net, {"order": ["in", "nothing"]}).level == "opaque"


def test_norms_that_may_stand_before_or_after_leave_neurons_fixed():
    net = {f"fc{i}.weight": (4, 4) for i in (1, 2, 3)}
    net |= batch_norm("bn1", 4) | batch_norm("bn2", 4)
    found = recognize(filled(dict(sorted(net.items()))))
    assert found.level == "chained"
    assert not found.spec.hidden
    assert any("may follow" in note for note in found.notes)


def test_a_norm_of_unknown_groups_leaves_its_neurons_fixed():
    net = {"0.weight": (4, 2, 3, 3), "1.weight": (4,), "1.bias": (4,), "3.weight": (6, 4, 3, 3)}
    net |= {"5.weight": (3, 6)}
    found = recognize(filled(net))
    assert permutations.shapes(found.spec) == {"c1": (6,)}
    assert any("unknown groups" in note for note in found.notes)
    assert len(recognize(filled(net), {"norm": "layer"}).spec.hidden) == 2
    grouped = recognize(filled(net), {"norm": "group", "groups": 2})
    assert grouped.spec.nested


def test_signs_wait_for_what_is_pooled():
    net = filled({"0.weight": (4, 2, 3, 3), "3.weight": (3, 4)})
    assert not scaling_group(recognize(net, {"activation": "tanh"}).spec).factors
    config = {"activation": "tanh", "max_pool": 1, "pool": "mean"}
    assert scaling_group(recognize(net, config).spec).factors["0"].sign


def test_residual_blocks_by_number_move_within_alone():
    """MobileNet's names and shapes are a chain; its blocks are added to what came in."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    net = {"features.0.weight": (4, 2, 3, 3), "classifier.1.weight": (3, 4)}
    for i in (1, 2):
        net |= {f"features.{i}.conv.0.weight": (6, 4, 1, 1)}
        net |= {
            f"features.{i}.conv.1.weight": (6, 1, 3, 3),
            f"features.{i}.conv.2.weight": (4, 6, 1, 1),
        }

    def run(state):
        t = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
        y = F.conv2d(torch.from_numpy(x), t["features.0.weight"])
        for i in (1, 2):
            h = F.conv2d(y, t[f"features.{i}.conv.0.weight"]).relu()
            h = F.conv2d(h, t[f"features.{i}.conv.1.weight"], padding=1, groups=6).relu()
            y = y + F.conv2d(h, t[f"features.{i}.conv.2.weight"])
        return y.mean((2, 3)) @ t["classifier.1.weight"].T

    x = inputs(2, 2, 6, 6)
    found = assert_recognised(filled(net), run)
    assert sorted(permutations.shapes(found.spec).values()) == [(6,), (6,)]
    assert any("residual blocks" in note for note in found.notes)
    with pytest.raises(AssertionError):
        assert_recognised(filled(net), run, {"chain": True})


def test_pools_that_may_be_joined_leave_channels_fixed():
    torch = pytest.importorskip("torch")
    net = filled({"conv.weight": (4, 2, 3, 3), "fc.weight": (3, 8)})

    def run(state):
        t = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
        y = torch.nn.functional.conv2d(torch.from_numpy(x), t["conv.weight"])
        return torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1) @ t["fc.weight"].T

    x = inputs(2, 2, 6, 6)
    assert not recognize(net).spec.hidden
    assert assert_recognised(net, run, {"flatten": "last"}).spec.hidden == ("c0",)
    with pytest.raises(AssertionError):
        assert_recognised(net, run, {"flatten": "first"})


def plain(torch, t, x, *layers):
    for name in layers[:-1]:
        x = torch.relu(x @ t[name].T)
    return x @ t[layers[-1]].T


def residual_mlp(torch, t, x):
    h = torch.relu(x @ t["fc1.weight"].T)
    return plain(torch, t, h + plain(torch, t, h, "fc2.weight", "fc3.weight"), "fc4.weight")


def gated(torch, t, x):
    conv = torch.nn.functional.conv2d
    x = conv(conv(x, t["conv1.weight"]).relu(), t["conv2.weight"]).relu()
    x = x * conv(x.mean((2, 3), keepdim=True), t["mix.weight"]).sigmoid()
    return x.mean((2, 3)) @ t["head.weight"].T


def prepared(torch, t, x):
    conv = torch.nn.functional.conv2d
    x = conv(x, t["prep.0.weight"]).relu()
    y = conv(conv(x, t["body.0.0.weight"]).relu(), t["body.1.0.weight"]).relu()
    return (x + y).mean((2, 3)) @ t["fc.weight"].T


def transposed(torch, t, x):
    for name in ("0.weight", "2.weight", "4.weight"):
        x = torch.nn.functional.conv_transpose2d(x.relu(), t[name])
    return x


def shuffled(torch, t, x):
    conv = torch.nn.functional.conv2d
    x = conv(conv(x, t["0.weight"]).relu(), t["2.weight"])
    x = torch.nn.functional.pixel_shuffle(x, 2).relu()
    return conv(conv(x, t["5.weight"]).relu(), t["7.weight"])


def split(torch, t, x):
    for name in ("0.weight", "2.weight", "4.weight"):
        x = torch.nn.functional.conv2d(x, t[name])
        x = torch.nn.functional.glu(x, 1) if name != "4.weight" else x
    return x


def normed(torch, t, x):
    for i in ("in", "hidden"):
        x = x @ t[f"fc_{i}.weight"].T
        own = [t[f"bn_{i}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        x = torch.nn.functional.batch_norm(x, *own).relu()
    return x @ t["fc_out.weight"].T


# function, input, hidden axes that are free with and without a config of their activation
NO_CHAINS = {
    "residual MLP": (
        *(residual_mlp, (3, 5), {"fc1.weight": (4, 5), "fc2.weight": (4, 4)}),
        *({"fc3.weight": (4, 4), "fc4.weight": (2, 4)}, ["h0"]),
    ),
    "squeeze and excitation": (
        *(gated, (2, 3, 6, 6), {"conv1.weight": (4, 3, 3, 3), "conv2.weight": (4, 4, 3, 3)}),
        *({"mix.weight": (4, 4, 1, 1), "head.weight": (2, 4)}, ["c0"]),
    ),
    "a residual that numbers do not mark": (
        *(prepared, (2, 3, 6, 6), {"prep.0.weight": (4, 3, 1, 1)}),
        {"body.0.0.weight": (4, 4, 1, 1), "body.1.0.weight": (4, 4, 1, 1), "fc.weight": (2, 4)},
        ["c0"],
    ),
    "square transposed convolutions": (
        *(transposed, (2, 6, 2, 2), {"0.weight": (6, 4, 2, 2), "2.weight": (4, 4, 2, 2)}),
        *({"4.weight": (4, 3, 2, 2)}, []),
    ),
    "pixels from channels": (
        *(shuffled, (2, 3, 6, 6), {"0.weight": (4, 3, 2, 2), "2.weight": (16, 4, 2, 2)}),
        *({"5.weight": (4, 4, 2, 2), "7.weight": (3, 4, 2, 2)}, ["c0"]),
    ),
    "gated linear units": (
        *(split, (2, 3, 6, 6), {"0.weight": (8, 3, 2, 2), "2.weight": (8, 4, 2, 2)}),
        *({"4.weight": (3, 4, 2, 2)}, []),
    ),
    "norms of several names": (
        *(normed, (7, 3), {"fc_in.weight": (4, 3)} | batch_norm("bn_in", 4)),
        {"fc_hidden.weight": (4, 4)} | batch_norm("bn_hidden", 4) | {"fc_out.weight": (2, 4)},
        ["h0"],
    ),
}


@pytest.mark.parametrize("config", [{}, {"activation": "relu", "norm_first": True}])
@pytest.mark.parametrize("case", NO_CHAINS.values(), ids=NO_CHAINS)
def test_what_is_claimed_of_a_network_that_only_looks_like_a_chain_holds(case, config):
    torch = pytest.importorskip("torch")
    function, size, first, rest, free = case
    state, x = filled(first | rest), torch.from_numpy(inputs(*size))
    run = lambda s: function(torch, {k: torch.from_numpy(np.array(v)) for k, v in s.items()}, x)
    found = recognize(state, config)
    assert (found.level, list(found.spec.hidden)) == ("chained", free)
    if free:
        assert_recognised(state, run, config)


def test_settings_that_outputs_lack_are_named():
    shapes = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "4.weight": (2, 4), "4.bias": (2,)}
    net = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
    config = {"activation": "relu", "max_pool": 1, "pool": "mean"}
    found = recognize(net, config)
    assert found.forward is None
    assert "outputs are not computed: config lacks stride, padding" in found.notes
    found = recognize(net, config | {"stride": 1, "padding": 0})
    assert found.forward is not None
    assert not [n for n in found.notes if "lacks" in n]

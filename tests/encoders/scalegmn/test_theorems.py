"""ScaleGMN runs the networks it reads: a forward and a backward pass, by variables made by hand.

Kalogeropoulos et al. (2024), theorem 4.1. Channels of the states:

    0   the bias b            2   an input's value x      4   an output's cotangent v
    1   the activation h      3   the derivative dL/dz

A round sends  w h  and  w x  forward,  w dL/dz  and  w v  back; its update has two layers:

    z = b + sum w h,   y = sum w dL/dz          a linear map
    h = f(z),          dL/dz = f'(z) y          z and y times what |z| or z / |.| tells

In networks of scales the state is r^2 dL/dz with path norms r, and what is sent back
w (r_j / r_i)^2 times it, whose sum is r_j^2 dL/dh. So v is what outputs have divided by r^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor, ScaleGMN

WIDTH, HIDDEN = 5, 80
WIDTHS = [2, 4, 3, 2]
X, V = np.array([0.7, -1.1]), np.array([0.4, -0.9])
STEEP = 1e7


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def silu(x):
    return x / (1 + np.exp(-np.clip(x, -700, 700)))


def zeros(tree):
    return jax.tree.map(lambda x: np.zeros(x.shape), tree)


def matrix(rows, columns, **entries):
    """Ones where keywords like _0_2=1.0 say: row 0, column 2."""
    out = np.zeros((rows, columns))
    for name, value in entries.items():
        _, i, j = name.split("_")
        out[int(i), int(j)] = value
    return out


def constant(net):
    """An MLP that gives one."""
    return {**net, "bias_1": np.ones_like(net["bias_1"])}


def gates_of_relu(net):
    """1 where z > 0, from the normalised [b, z, ...]; one for channels without."""
    first, shift, second = (np.array(net[k]) for k in ("kernel_0", "bias_0", "kernel_1"))
    bias = np.ones_like(net["bias_1"])
    first[1, :2], shift[1] = STEEP, -1.0
    for channel in (1, 3):
        second[:2, channel], bias[channel] = [1.0, -1.0], 0.0
    return {**net, "kernel_0": first, "bias_0": shift, "kernel_1": second, "bias_1": bias}


def gates_of_tanh(net, backward):
    """f(z) / z and f'(z) from |z|, by least squares over fixed SiLUs."""
    first, shift, second = (np.array(net[k]) for k in ("kernel_0", "bias_0", "kernel_1"))
    bias, rng = np.ones_like(net["bias_1"]), np.random.default_rng(0)
    first[1], shift[:] = rng.normal(size=HIDDEN) * 2, rng.normal(size=HIDDEN) * 4
    t = np.linspace(1e-9, 5.0, 4000)
    basis = np.concatenate([silu(np.outer(t, first[1]) + shift), np.ones((4000, 1))], 1)
    wanted = {1: np.tanh(t) / t} | ({3: 1 - np.tanh(t) ** 2} if backward else {})
    for channel, values in wanted.items():
        fit = np.linalg.lstsq(basis, values, rcond=1e-15)[0]
        second[:, channel if second.shape[1] > 1 else 0] = fit[:-1]
        bias[channel if second.shape[1] > 1 else 0] = fit[-1]
    return {**net, "kernel_0": first, "bias_0": shift, "kernel_1": second, "bias_1": bias}


def by_hand(params, gates, backward):
    """Variables of a model whose rounds are those above."""
    group = "scale" if "scale" in params["layer_0"]["forward"]["message"] else "sign"
    params = zeros(params)
    params["own"]["kernel"][0, 0] = 1.0
    params["weight"]["kernel"][:] = 1.0
    place = params["nodes_positions"]
    place[:2, 2], place[-2:, 4] = X, V
    place[2:-2, :] = 1.0  # hidden levels are multiplied
    for name in (n for n in params if n.startswith("layer_")):
        layer = params[name]
        for way in ("forward", "backward") if backward else ("forward",):
            block = layer[way]
            block["pair"]["kernel"] = np.eye(WIDTH)
            entries = {"_1_1": 1.0, "_2_1": 1.0} if way == "forward" else {"_3_3": 1.0, "_4_3": 1.0}
            block["sender"]["kernel"] = matrix(WIDTH, WIDTH, **entries)
            net = block["message"]
            for end in ("", "_1"):
                net[f"gamma{end}"] = np.eye(WIDTH)
                net[f"free{end}"] = constant(net[f"free{end}"])
                net[f"{group}{end}"]["phi"] = constant(net[f"{group}{end}"]["phi"])
        for pairs in (layer[x] for x in layer if x.startswith("pairs_")):
            if pairs["gamma"]["kernel"].shape[1] == WIDTH:
                pairs["gamma"]["kernel"] = np.eye(WIDTH)  # weights stay weights
                pairs["phi"] = constant(pairs["phi"])
        net = layer["update"]
        height = len(net["gamma"])
        sums = {"_0_0": 1.0, "_0_1": 1.0, f"_{WIDTH + 1}_1": 1.0, "_2_2": 1.0, "_4_4": 1.0}
        if backward:
            sums[f"_{2 * WIDTH + 3}_3"] = 1.0
        out = net["gamma_1"].shape[1]
        last = out == 1  # an editor gives dL/dz of the round before
        net["gamma"] = matrix(height, 1, _3_0=1.0) if last else matrix(height, WIDTH, **sums)
        net["gamma_1"] = np.eye(out)
        for end in ("", "_1"):
            net[f"free{end}"] = constant(net[f"free{end}"])
        net[group]["phi"] = constant(net[group]["phi"])
        net[f"{group}_1"]["phi"] = (constant if last else gates)(net[f"{group}_1"]["phi"])
    return params


def model(spec, symmetry, rounds, **settings):
    settings = {"readout": "last", "code": 2, "backward": "none", **settings}
    encoder = ScaleGMN(
        WIDTH,
        rounds,
        symmetry=symmetry,
        hidden=HIDDEN,
        symmetrise=False,
        norm=False,
        plain=False,
        apart=False,
        skip=False,
        pair_positions=False,
        layout=(2, 2, 2),
        channels=1,
        features=1,
        links=False,
        inputs=0.0,
        depth=2,
        **settings,
    )
    return encoder, encoder.view(spec)


def reads_outputs(net):
    """An MLP that gives channel 1 of both outputs: t = silu(t) - silu(-t)."""
    first, second = (np.array(net[k]) for k in ("kernel_0", "kernel_1"))
    for k in range(2):
        first[k * WIDTH + 1, 2 * k : 2 * k + 2] = 1.0, -1.0
        second[2 * k : 2 * k + 2, k] = 1.0, -1.0
    return {**net, "kernel_0": first, "kernel_1": second}


@pytest.mark.parametrize(
    ("f", "symmetry", "error"), [("relu", "scale", 1e-9), ("tanh", "sign", 1e-5)]
)
def test_it_simulates_a_forward_pass(f, symmetry, error):
    spec = architectures.mlp(WIDTHS, f)
    encoder, view = model(spec, symmetry, 3)
    shapes = jax.eval_shape(
        lambda: encoder.init(jax.random.key(0), jnp.zeros((1, spec.count), jnp.float32), view)
    )
    gates = gates_of_relu if f == "relu" else lambda net: gates_of_tanh(net, False)
    params = by_hand(shapes["params"], gates, False)
    params["readout"]["code"] = reads_outputs(params["readout"]["code"])
    params = jax.tree.map(jnp.asarray, params)
    run = jax.jit(lambda x: encoder.apply({"params": params}, x, view))
    networks_ = testing.draw(jax.random.key(1), spec, (20,))
    got = np.asarray(run(networks.ravel(networks_, spec)))
    want = np.stack([
        architectures.forward({n: x[i] for n, x in networks_.items()}, X[None], spec)[0]
        for i in range(20)
    ])  # fmt: skip
    assert want.dtype == got.dtype == np.float64
    np.testing.assert_allclose(got, want, atol=error)
    assert np.std(want, axis=0).min() > 0.1
    two = model(spec, symmetry, 2)[0]  # a round too few for what is three layers deep
    short = {k: v for k, v in params.items() if k != "layer_2"}
    early = jax.jit(lambda x: two.apply({"params": short}, x, view))(
        networks.ravel(networks_, spec)
    )
    assert np.abs(early - want).max() > 0.1


def path_norms_of(params):
    """By layer, from their definition."""
    r = np.ones(WIDTHS[0])
    for i in range(len(WIDTHS) - 1):
        w, b = (np.asarray(params[f"Dense_{i}/{k}"]) for k in ("kernel", "bias"))
        r = np.sqrt(b**2 + (w**2).T @ r**2)
        yield r


@pytest.mark.parametrize(
    ("f", "symmetry", "error"), [("relu", "scale", 1e-9), ("tanh", "sign", 1e-5)]
)
def test_it_simulates_a_backward_pass(f, symmetry, error):
    """dL/dz of all neurons, which is dL/db; times r^2 in networks of scales."""
    spec = architectures.mlp(WIDTHS, f)
    encoder, view = model(spec, symmetry, 5, backward="balanced", readout="edit")
    editor = Editor(encoder, initial=1.0)
    shapes = jax.eval_shape(
        lambda: editor.init(jax.random.key(0), jnp.zeros((1, spec.count), jnp.float32), view)
    )
    params = {"gamma": np.ones(6)}
    gates = gates_of_relu if f == "relu" else lambda net: gates_of_tanh(net, True)
    params["encoder"] = by_hand(shapes["params"]["encoder"], gates, True)
    params = jax.tree.map(jnp.asarray, params)
    run = jax.jit(lambda x: editor.apply({"params": params}, x, view) - x)
    gradient = jax.jit(
        jax.grad(lambda p, v: (architectures.forward(p, X[None], spec)[0] * v).sum())
    )
    for seed in range(5):
        p = testing.draw(jax.random.key(seed), spec)
        *hidden, last = (r**2 if symmetry == "scale" else np.ones_like(r) for r in path_norms_of(p))
        got = networks.unravel(run(networks.ravel(p, spec)[None])[0], spec)
        want = gradient(p, V / last)
        for i, square in enumerate(hidden):
            name = f"Dense_{i}/bias"
            np.testing.assert_allclose(got[name], square * want[name], atol=error)
            assert np.abs(want[name]).max() > 1e-2

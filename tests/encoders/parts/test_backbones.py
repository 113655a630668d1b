"""Backbones of neural graphs against loops over nodes and pairs in NumPy."""

import jax
import numpy as np
from cases.drawing import shaken

from wsjax.encoders.parts import backbones


def test_aggregators_are_numpys():
    rng = np.random.default_rng(0)
    x, ends = rng.standard_normal((7, 3)).astype(np.float32), np.array([0, 2, 2, 0, 2, 3, 4])
    found, count = backbones.aggregate(x, ends, 4)  # the last message is dropped
    np.testing.assert_array_equal(count[:, 0], [2, 0, 3, 1])
    np.testing.assert_array_equal(found[1], 0)  # nothing arrives
    for node in (0, 2, 3):
        here = x[ends == node]
        want = [here.mean(0), here.min(0), here.max(0), here.std(0)]
        np.testing.assert_allclose(found[node], np.concatenate(want), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3, 9:], 0)  # the deviation of one message


def test_small_deviations_are_zero_and_have_finite_gradients():
    """As published: PyTorch Geometric's have no square of at most 1e-5."""
    ends = np.array([0, 0])
    deviation = jax.jit(lambda x: backbones.aggregate(x, ends, 1)[0][0, 3])
    for half, want in ((0.0, 0.0), (3e-3, 0.0), (4e-3, 4e-3)):
        x = np.array([[1 - half], [1 + half]], np.float32)
        np.testing.assert_allclose(deviation(x), want, rtol=1e-3)
        slope = jax.jit(jax.grad(deviation))(x)[:, 0]
        np.testing.assert_allclose(slope, [-0.5, 0.5] if want else [0, 0], rtol=1e-2)


def test_the_epsilon_of_norms_is_pytorchs():
    x = np.sqrt(1e-5) * np.array([[-1.0, 1.0]], np.float32)  # of a variance as large
    out, _ = backbones.LayerNorm().init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(out, [[-(2**-0.5), 2**-0.5]], rtol=1e-4)


def test_maps_of_both_ends_begin_as_parts_of_one():
    x, e = np.ones((1, 2, 50), np.float32), np.ones((1, 3), np.float32)
    ends = np.array([[0]]), np.array([[1]])
    layer = backbones.PNALayer(False, "published")
    params = jax.jit(layer.init)(jax.random.key(0), x, e, ends, None)["params"]
    fans = {"sender": 100, "receiver": 100, "pair": 3, "post": 450, "out": 50}
    fans |= {"pair_self": 3, "pair_sender": 50, "pair_receiver": 50, "pair_out": 3}
    for name, fan in fans.items():
        assert max(np.abs(x).max() for x in params[name].values()) <= fan**-0.5
        deviation = np.std(params[name]["kernel"])
        np.testing.assert_allclose(deviation, (3 * fan) ** -0.5, rtol=0.5, err_msg=name)
    assert np.abs(params["sender"]["kernel"]).max() > 0.99 * 100**-0.5


def test_a_pna_layer_is_a_loop_over_nodes():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    x, e = draw(1, 4, 3), draw(3, 2)
    sender, receiver = np.array([[0, 1, 0]]), np.array([[2, 2, 3]])
    layer = backbones.PNALayer(last=True)
    variables = shaken(layer, x, e, (sender, receiver), None)
    out, _ = jax.jit(layer.apply)(variables, x, e, (sender, receiver), None)
    p = variables["params"]
    linear = lambda name, y: y @ p[name]["kernel"] + p[name].get("bias", 0)
    typical = np.log1p([0, 0, 2, 1]).mean()
    for node in range(4):
        at = np.flatnonzero(receiver[0] == node)
        sent = linear("sender", x[0, sender[0, at]]) + linear("receiver", x[0, [node] * len(at)])
        scale, shift = np.split(linear("pair", e[at]), 2, axis=-1)
        m, parts = scale * sent + shift, np.zeros(12)
        if len(at):
            parts = np.concatenate([m.mean(0), m.min(0), m.max(0), m.std(0)])
        parts = np.concatenate([x[0, node], parts, parts * np.log1p(len(at)) / typical])
        want = linear("out", linear("post", parts))
        np.testing.assert_allclose(out[0, node], want, rtol=1e-4, atol=1e-5)


def test_relational_attention_is_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    x, e = (rng.standard_normal(s).astype(np.float32) for s in ((1, 3, 4), (1, 3, 3, 2)))
    layer = backbones.RelationalLayer(attention=4, hidden=4, edge_hidden=2, heads=2)
    real = np.array([[True, True, False]])
    variables = shaken(layer, x, e, real)
    p = variables["params"]
    got = jax.jit(lambda v: layer.apply(v, x, e, real, method="attend"))(variables)
    parts = lambda y, n: y.reshape(2, n, 2)  # [head, which, size]
    for i in range(2):
        out = []
        for h in range(2):
            logits, sent = [], []
            for j in range(2):
                at_i, at_j = (parts(x[0, k] @ p["qkv"]["kernel"], 3)[h] for k in (i, j))
                pair = parts(e[0, i, j] @ p["pair_qkv"]["kernel"], 4)[h]
                logits.append((at_i[0] + pair[0]) @ (at_j[1] + pair[1]) / 2)  # root of 4
                sent.append(at_j[2] * pair[3] + pair[2])
            out.append(np.exp(logits) / np.exp(logits).sum() @ sent)
        want = np.concatenate(out) @ p["out"]["kernel"] + p["out"]["bias"]
        np.testing.assert_allclose(got[0, i], want, rtol=1e-4, atol=1e-5)

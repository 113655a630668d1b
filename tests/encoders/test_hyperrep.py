"""HyperRep: its tokens, its blocks, and the auto-encoder it is."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS, kernel, vector
from cases.corner_cases import spec as spec_of

from wsjax import architectures, networks, testing
from wsjax.encoders.hyperrep import PUBLISHED, HyperRep
from wsjax.networks import Layer

KEY = jax.random.key(0)
TINY = HyperRep(width=8, depth=1, heads=2, hidden=6, code=4, head=(6, 5))
MLP = architectures.mlp([2, 5, 4, 1], "tanh")
SMALL_CNN = architectures.cnn([1, 16, 16, 16], [10], kernel=3, stride=2)  # 4 970 parameters
GROUPED = spec_of(
    Layer(
        "Dense_0",
        "dense",
        0,
        (
            kernel("Dense_0", "member", "x", "group", reads=(1,), writes=(0, 2)),
            vector("Dense_0", "bias", "group", "member"),
        ),
    ),
    Layer(
        "Dense_1",
        "dense",
        1,
        (kernel("Dense_1", "group", "member", "y", reads=(0, 1), writes=(2,)),),
    ),
    hidden=("group", "member"),
    nested=(("member", "group"),),
    **dict(x=2, group=3, member=4, y=2),
)  # fmt: skip


def drawn(spec, method=None):
    """Variables of TINY that are nowhere 0 or 1."""
    begin = lambda x: TINY.init(KEY, x, TINY.view(spec), method=method)
    shapes = jax.eval_shape(begin, jnp.zeros((1, spec.count)))
    rng = np.random.default_rng(0)
    draw = lambda x: rng.standard_normal(x.shape) / math.sqrt(max(1, math.prod(x.shape[:-1])))
    return jax.tree.map(lambda x: (draw(x) + 0.1).astype(np.float32), shapes)


def raveled(spec, batch=2):
    return np.random.default_rng(1).standard_normal((batch, spec.count)).astype(np.float32)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(TINY.apply, static_argnames=("train", "method"))


def test_tokens_are_what_a_neuron_reads_and_its_bias():
    params = {n: np.asarray(x) for n, x in testing.draw(KEY, SMALL_CNN).items()}
    view, vector = TINY.view(SMALL_CNN), np.asarray(networks.ravel(params, SMALL_CNN))
    assert view.names == ("Conv_0", "Conv_1", "Conv_2", "Dense_0")
    assert [x.shape for x in view.places] == [(16, 10), (16, 145), (16, 145), (10, 17)]
    weights, bias = params["Conv_1/kernel"], params["Conv_1/bias"]
    want = [[*weights[..., j].ravel(), bias[j]] for j in range(16)]
    np.testing.assert_array_equal(vector[view.places[1]], want)
    every = np.concatenate([x.ravel() for x in view.places])
    np.testing.assert_array_equal(np.sort(every), np.arange(4970))


def test_a_bias_stored_in_another_order_than_its_kernel_meets_its_neuron():
    params = {n: np.asarray(x) for n, x in testing.draw(KEY, GROUPED).items()}
    view, vector = TINY.view(GROUPED), np.asarray(networks.ravel(params, GROUPED))
    weights, bias = params["Dense_0/kernel"], params["Dense_0/bias"]
    want = [[*weights[m, :, g], bias[g, m]] for m in range(4) for g in range(3)]
    np.testing.assert_array_equal(vector[view.places[0]], want)


def test_blocks_are_blocks_of_networks_as_the_published_code_lays_them_out():
    """Layer by layer, the kernels of its neurons one after another and then its biases."""
    rank = networks.unravel(TINY.view(SMALL_CNN).rank, SMALL_CNN)
    starts, sizes = [0, 160, 2480, 4800], [160, 2320, 2320, 170]
    for start, size, layer in zip(starts, sizes, SMALL_CNN.layers, strict=True):
        weights, bias = (rank[a.name] for a in layer.arrays)
        count = bias.size
        np.testing.assert_array_equal(bias, start + size - count + np.arange(count))
        each = (size - count) // count
        for j in range(count):  # the kernel of one neuron is in one piece
            np.testing.assert_array_equal(
                np.sort(weights[..., j].ravel()), start + each * j + np.arange(each)
            )


def by_hand(variables, x, view):
    """TINY's embedding of one network."""
    p = jax.tree.map(np.asarray, variables["params"]["to_code"])

    def dense(x, q, axes=1):
        kernel = q["kernel"]
        return np.tensordot(x, kernel, axes) + q["bias"]

    def norm(x, q):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * q["scale"] + q["bias"]

    rows = [dense(x[w], p[f"embed_{n}"]) for n, w in zip(view.names, view.places, strict=True)]
    x = np.concatenate([p["compression"][0], *rows]) + p["position"]
    b = p["block_0"]
    y, a = norm(x, b["norm_attention"]), b["attention"]
    q, k, v = (dense(y, a[n]) for n in ("query", "key", "value"))  # [token, head, 4]
    scores = np.exp(np.einsum("ihd,jhd->hij", q, k) / 2.0)
    heads = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v)
    x = x + dense(heads, a["out"], 2)
    x = x + dense(np.maximum(dense(norm(x, b["norm_map"]), b["map_in"]), 0), b["map_out"])
    return np.tanh(dense(x[0], p["code_map"]))


def test_embeddings_are_given_by_the_equations(apply):
    variables, vectors, view = drawn(MLP), np.asarray(raveled(MLP)), TINY.view(MLP)
    want = [by_hand(variables, x, view) for x in vectors]
    np.testing.assert_allclose(apply(variables, vectors, view), want, rtol=1e-4, atol=1e-5)


def test_what_is_decoded_stands_where_it_was_read(apply):
    """Maps of zero and biases that number them: every token is decoded as 0, 1, 2, ..."""
    view = TINY.view(MLP)
    variables = jax.tree.map(jnp.zeros_like, drawn(MLP, "autoencode"))
    for layer, places in zip(MLP.layers, view.places, strict=True):
        numbers = jnp.arange(places.shape[1], dtype=jnp.float32)
        variables["params"]["from_code"][f"read_{layer.name}"]["bias"] = numbers
    decoded = apply(variables, jnp.ones((2, 4)), view, method="decode")
    found = networks.unravel(decoded[1], MLP)
    np.testing.assert_array_equal(found["Dense_1/kernel"][:, 2], np.arange(5))
    np.testing.assert_array_equal(found["Dense_1/bias"], [5] * 4)


def test_the_auto_encoder_has_the_encoder_by_the_same_names(apply):
    variables, view, vectors = drawn(MLP, "autoencode"), TINY.view(MLP), raveled(MLP)
    assert set(variables["params"]) == {"to_code", "from_code", "projection"}
    assert set(drawn(MLP)["params"]) == {"to_code"}
    code = apply({"params": {"to_code": variables["params"]["to_code"]}}, vectors, view)
    projected, decoded = apply(variables, vectors, view, method="autoencode")
    assert projected.shape == (2, 5)
    np.testing.assert_allclose(
        decoded, apply(variables, code, view, method="decode"), rtol=1e-4, atol=1e-5
    )


def test_it_reads_the_order_of_neurons_and_every_array(apply):
    variables, view = drawn(MLP), TINY.view(MLP)
    encode = lambda p: apply(variables, networks.ravel(p, MLP)[None], view)[0]
    params = testing.draw(KEY, MLP)
    with pytest.raises(AssertionError, match="depends on the order"):
        testing.assert_invariant(encode, params, MLP, jax.random.key(1))
    for name, _, misaligned in testing.misalignments(params, MLP):
        assert np.abs(encode(misaligned) - encode(params)).max() > 1e-4, name


def test_dropout_needs_training(apply):
    variables, view, x = drawn(MLP), TINY.view(MLP), raveled(MLP)
    still = jax.jit(TINY.clone(dropout=0.0).apply)(variables, x, view)
    np.testing.assert_array_equal(apply(variables, x, view), still)
    one, two = (
        apply(variables, x, view, train=True, rngs={"dropout": jax.random.key(i)}) for i in (1, 2)
    )
    assert np.abs(one - two).max() > 1e-3


def count(encoder, spec, part):
    begin = lambda x: encoder.init(KEY, x, encoder.view(spec), method="autoencode")
    shapes = jax.eval_shape(begin, jnp.zeros((1, spec.count)))["params"]
    return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes[part]))


def test_the_preset_has_the_size_of_the_published_code():
    """Counted from its modules: linear maps, norms (BatchNorms in the head), embeddings."""
    map_, encoder = lambda i, o: i * o + o, HyperRep(**PUBLISHED)
    block = 4 * map_(512, 512) + map_(512, 1000) + map_(1000, 512) + 2 * 2 * 512
    reads = (10, 145, 145, 17)
    code = sum(map_(n, 512) for n in reads) + 512 + 59 * 512 + 4 * block + map_(512, 1200)
    back = map_(1200, 58 * 512) + 58 * 512 + 4 * block + sum(map_(512, n) for n in reads)
    head = map_(1200, 400) + 3 * map_(400, 400) + map_(400, 50) + 2 * (4 * 400 + 50)
    assert count(encoder, SMALL_CNN, "to_code") == code == 9_123_408
    assert count(encoder, SMALL_CNN, "from_code") == back == 44_169_949
    assert count(encoder, SMALL_CNN, "projection") == head == 984_950


def test_the_default_encoder_has_about_a_hundred_thousand_parameters():
    assert count(HyperRep(), architectures.mlp([1, 32, 32, 1], "sin", 30.0), "to_code") == 97_688


def test_narrow_networks_and_residuals_are_supported(apply):
    for spec in (architectures.mlp([1, 1, 1]), SPECS["residual without arrays"]):
        code = apply(drawn(spec), raveled(spec), TINY.view(spec))
        assert np.isfinite(code).all()
        assert np.abs(code[0] - code[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (SPECS["norm without a kernel"], r"Norm_0: expected a dense layer or a conv.* got 'norm'"),
        (SPECS["attention of two reads and writes"], r"(?s)Embed: .*'embedding'.*Attention_0: "),
        (networks.Spec((), (), ()), "at least one array, got none"),
    ],
    ids=["norm", "attention", "empty"],
)
def test_what_is_not_supported_is_named(spec, wrong):
    with pytest.raises(ValueError, match=wrong):
        TINY.view(spec)


@pytest.mark.parametrize(
    ("make", "settings", "wrong"),
    [
        (HyperRep, {"heads": 3}, "heads: expected a divisor of the width 52, got 3"),
        (HyperRep, {"depth": 0}, "depth: expected at least 1, got 0"),
        (HyperRep, {"dropout": 1.0}, r"dropout: expected from 0 to below 1, got 1\.0"),
        (HyperRep, {"head": ()}, r"head: expected widths of at least 1, got \(\)"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_named(make, settings, wrong):
    with pytest.raises(ValueError, match=wrong):
        make(**settings)

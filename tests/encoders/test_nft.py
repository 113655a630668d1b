"""NFT: its attention against NumPy, what it is blind to, its sizes and settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS as CORNERS
from cases.drawing import params_of, reader, shaken, vector_of
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor
from wsjax.encoders.nfn.nfn_layers import reading
from wsjax.encoders.nft import NFT, SETTINGS, Attention
from wsjax.views.arrays import fold, unfold

KEY = jax.random.key(3)
MLP = architectures.mlp([2, 3, 4, 2], "tanh")
TWO = architectures.mlp([2, 3, 2], "tanh")
SMALL = {"frequencies": 4, "sigma": 0.3, "blocks": 1, "heads": 2, "code": 4}


CODES = {
    "mlp": (MLP, {"blocks": 2}),
    "one hidden neuron": (architectures.mlp([2, 1, 3, 1], "tanh"), {"pool": "all", "head": (5,)}),
    "taps and norms": (FAMILIES["cnn layer norm"][0], {}),
}


@pytest.mark.parametrize("name", CODES)
def test_embeddings_are_invariant_to_permutations_alone(name):
    spec, settings = CODES[name]
    encode = reader(NFT(**{**SMALL, **settings}), spec)
    testing.assert_invariant(encode, params_of(spec), spec, KEY, rtol=1e-5)


EDITS = {"no biases": CORNERS["no bias"], "skips": CORNERS["residual without arrays"]}


@pytest.mark.parametrize("name", EDITS)
def test_edits_commute_with_permutations_and_read_the_wiring(name):
    spec = EDITS[name]
    run = reader(NFT(**{**SMALL, "readout": "edit"}), spec)
    edit = lambda p: networks.unravel(run(p), spec)
    testing.assert_equivariant(edit, params_of(spec), spec, KEY)
    testing.assert_reads_wiring(edit, params_of(spec), spec, rtol=1e-5)


def test_embeddings_and_edits_are_exact_in_double_precision():
    with jax.enable_x64(True):
        encode, params = reader(NFT(**SMALL), TWO, np.float64), params_of(TWO, np.float64)
        testing.assert_invariant(encode, params, TWO, KEY, rtol=1e-12)
        run = reader(Editor(NFT(**SMALL, readout="edit")), TWO, np.float64)
        edit = lambda p: networks.unravel(run(p), TWO)
        assert edit(params)["Dense_0/kernel"].dtype == np.float64
        testing.assert_equivariant(edit, params, TWO, KEY, rtol=1e-12)


# each axis of x -> g -> h -> y: arrays that have it, and where
ALONG = {
    "x": {"Dense_0/kernel": 0},
    "g": {"Dense_0/kernel": 1, "Dense_0/bias": 0, "Dense_1/kernel": 0},
    "h": {"Dense_1/kernel": 1, "Dense_1/bias": 0, "Dense_2/kernel": 0},
    "y": {"Dense_2/kernel": 1, "Dense_2/bias": 0},
}


def test_attention_is_the_published_equation():
    """Slice by slice, of one network, three channels in each of two heads."""
    read, x = (
        reading(MLP, "NFT", False),
        np.random.default_rng(0).standard_normal((1, MLP.count, 6)),
    )
    arrays = fold(x.astype(np.float32), MLP, read.keep)
    layer = Attention(read, 2, 0.0)
    variables = shaken(layer, arrays, False)
    run = jax.jit(lambda a: unfold(layer.apply(variables, a, False), MLP, read.keep)[0])
    got = networks.unravel(np.asarray(run(arrays)).T, MLP)  # [channel, *axes]
    w, b = (np.asarray(variables["params"]["qkv"][k], np.float64) for k in ("kernel", "bias"))
    qkv = {k: (v[0] @ w + b).reshape(*v.shape[1:-1], 3, 2, 3) for k, v in arrays.items()}
    want = {k: np.zeros((*v.shape[1:-1], 2, 3)) for k, v in arrays.items()}

    def attend(tokens, t, head):
        """The attention output at one of the tokens [neuron, q k v, head, channel]."""
        q = tokens[t][:, 0, head].ravel()
        score = np.array([q @ s[:, 1, head].ravel() for s in tokens]) / np.sqrt(q.size)
        share = np.exp(score - score.max())
        return sum(p * s[:, 2, head] for p, s in zip(share / share.sum(), tokens, strict=True))

    for places in ALONG.values():
        tokens, whose = [], []
        for name, at in places.items():
            slices = np.moveaxis(qkv[name], at, 0)
            slices = slices[:, None] if slices.ndim == 4 else slices  # [neuron, slice, ...]
            for j in range(slices.shape[1]):
                tokens.append(slices[:, j])
                whose.append((name, at, j))
        for t, (name, at, j) in enumerate(whose):
            attended = np.stack([attend(tokens, t, head) for head in range(2)], axis=1)
            target = want[name] if want[name].ndim == 3 else np.moveaxis(want[name], at, 0)[:, j]
            target += attended
    tokens = [v.mean(tuple(range(v.ndim - 3)))[None] for v in qkv.values()]
    for t, name in enumerate(qkv):
        want[name] += np.stack([attend(tokens, t, head)[0] for head in range(2)])
    for name, x in want.items():
        flat = np.moveaxis(x.reshape(*x.shape[:-2], 6), -1, 0)
        np.testing.assert_allclose(got[name], flat, rtol=1e-4, atol=1e-5)


def test_learned_numbers_distinguish_arrays_inputs_and_outputs():
    encode, params = reader(NFT(**{**SMALL, "pool": "all"}), TWO), params_of(TWO)
    code = np.asarray(encode(params))
    for end in ("x", "y"):
        other = {
            a.name: np.flip(params[a.name], a.axes.index(end)) if end in a.axes else params[a.name]
            for a in TWO.arrays
        }
        assert np.abs(encode(other) - code).max() > 1e-3 * np.abs(code).max()


def size(spec, module):
    view = getattr(module, "encoder", module).view(spec)
    shapes = jax.eval_shape(lambda: module.init(KEY, jnp.zeros((1, spec.count)), view))
    return sum(x.size for x in jax.tree.leaves(shapes))


def test_sizes():
    """Those of the authors' blocks, counted by hand: norms, qkv, dense layers by array."""
    spec = architectures.mlp([2, 32, 32, 1], "sin", 30.0)
    block = lambda f: 6 * 4 * 256 + 257 * 768 + 6 * (257 * f * 256 + (f * 256 + 1) * 256)
    positions = (6 + 2 + 1) * 256
    read = lambda code: ((2 + 1 + 1 + 1 + 1 + 1) * 256 + 1) * code
    want = 4 * block(2) + positions + read(10)
    assert size(spec, NFT(**SETTINGS["classifier"])) == want == 7_144_202
    want = 6 * block(4) + positions + read(32)
    assert size(spec, NFT(**SETTINGS["inr2array"])) == want == 20_201_248


@pytest.mark.parametrize("spec", [TWO, CORNERS["taps in two dimensions"]], ids=["mlp", "taps"])
def test_published_maps_begin_uniform(spec):
    encoder, x = NFT(**SMALL, initial="published"), jnp.zeros((1, spec.count))
    start = lambda e: jax.jit(lambda key: e.init(key, x, e.view(spec)))(KEY)["params"]
    params = start(encoder)["block_0"]["attention"]
    assert all(("_" in name) == (spec is not TWO) or name == "qkv" for name in params)
    for layer in params.values():
        bound = len(layer["kernel"]) ** -0.5
        assert max(np.abs(v).max() for v in layer.values()) <= bound
        np.testing.assert_allclose(np.std(layer["kernel"]), bound / 3**0.5, rtol=0.2)
        assert np.all(layer["bias"])
    ours = start(encoder.clone(initial="lecun"))["block_0"]["attention"]["qkv"]
    np.testing.assert_allclose(np.std(ours["kernel"]), 8**-0.5, rtol=0.2)
    assert not np.any(ours["bias"])


def test_settings_change_what_they_name():
    plain = size(TWO, NFT(**SMALL))
    means = (2 + 1 + 2 + 2) * 8
    assert size(TWO, NFT(**{**SMALL, "code": 5})) == plain + means + 1
    assert size(TWO, NFT(**SMALL, pool="all")) == plain - 3 * 8 * 4
    assert size(TWO, NFT(**SMALL, head=(3,))) == plain - means * 4 + means * 3 + 3 + 3 * 4
    assert size(TWO, NFT(**{**SMALL, "heads": 4})) == plain
    assert size(TWO, NFT(**SMALL, factor=3)) == plain + 4 * 8 * (8 + 1 + 8)
    run = lambda **s: np.asarray(reader(NFT(**{**SMALL, **s}), TWO)(params_of(TWO)))
    first = run()
    for settings in ({"sigma": 0.6}, {"heads": 4}):
        assert np.abs(run(**settings) - first).max() > 1e-3


def test_what_is_dropped_follows_the_key():
    encoder, x = NFT(**SMALL, dropout=0.3), vector_of(TWO)[None]
    view = encoder.view(TWO)
    variables = shaken(encoder, x, view)
    run = lambda key: encoder.apply(variables, x, view, True, rngs={"dropout": key})
    embeddings = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(jax.random.split(KEY, 4)))
    assert len({c.tobytes() for c in embeddings}) == 4


def test_settings_that_make_no_sense_are_named_together():
    with pytest.raises(ValueError, match="settings make no sense") as error:
        NFT(frequencies=0, blocks=0, heads=0, factor=0, code=0, pool="max", readout="x",
            head=(0,), dropout=1.0)  # fmt: skip
    for words in (
        *(f"{x}: expected at least 1, got 0" for x in ("frequencies", "blocks")),
        *(f"{x}: expected at least 1, got 0" for x in ("factor", "code")),
        "heads: expected a divisor of 0 channels, got 0",
        "pool: expected one of ('hidden', 'all'), got 'max'",
        "readout: expected one of ('code', 'edit'), got 'x'",
        "head: expected widths above 0, got (0,)",
        "dropout: expected from 0 to below 1, got 1.0",
    ):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="heads: expected a divisor of 8 channels, got 3"):
        NFT(frequencies=4, heads=3)


def test_networks_it_does_not_support_are_named():
    with pytest.raises(ValueError, match="NFT does not support the network"):
        NFT().view(FAMILIES["vit"][0])

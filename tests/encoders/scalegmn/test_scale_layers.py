"""Rounds of messages in both directions against NumPy: back go the first pairs or the last."""

import jax
import numpy as np
import pytest
from cases.drawing import shaken, vector_of

from wsjax import architectures, networks
from wsjax.encoders import ScaleGMN

WIDTHS = [2, 3, 2, 2]
SPEC = architectures.mlp(WIDTHS, "tanh")
# neurons level by level, and which pairs of them are joined
FIRST = np.cumsum([0, *WIDTHS])
START, END = np.concatenate([
    np.stack(np.meshgrid(range(FIRST[i], FIRST[i + 1]), range(FIRST[i + 1], FIRST[i + 2]),
                         indexing="ij")).reshape(2, -1)
    for i in range(len(WIDTHS) - 1)
], axis=1)  # fmt: skip
HIDDEN = np.isin(np.arange(FIRST[-1]), np.arange(FIRST[1], FIRST[-2]))[:, None]
SETTINGS = {"width": 6, "layers": 3, "code": 4, "readout": "last", "layout": (2, 2, 2)}
SETTINGS |= {"channels": 1, "features": 1, "links": False, "apart": False, "symmetrise": False}
SETTINGS |= {"pair_positions": False, "positions": ("message", "update")}
TYPE = [0, 1, 2, 2, 2, 3, 3, 4, 5]  # inputs, levels of hidden neurons, outputs


def mlp(p, *parts):
    """Linear, LayerNorm, SiLU, linear."""
    x = np.concatenate(parts, 1) @ p["kernel_0"] + p["bias_0"]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x * p["norm_scale"] + p["norm_bias"]
    return x / (1 + np.exp(-x)) @ p["kernel_1"] + p["bias_1"]


def equivariant(p, x, hidden, place):
    """(Gamma x) * s(|x|, position) of hidden neurons, (Gamma x) * s(x, position) of others."""
    s = np.where(hidden, mlp(p["sign"]["phi"], np.abs(x), place), mlp(p["free"], x, place))
    return x @ p["gamma"] * s


def sums(x, end):
    return np.stack([x[end == i].sum(0) for i in range(FIRST[-1])])


def of_signs(layer, way, x, e, place, of_senders):
    """The messages of one direction, summed at neurons."""
    p, (start, end) = layer[way], (START, END) if way == "forward" else (END, START)
    sent = (x @ p["sender"]["kernel"])[start] * (e @ p["pair"]["kernel"])
    place = place[start if of_senders else end]
    return sums(equivariant(p["message"], sent, HIDDEN[end], place), end)


def of_permutations(layer, way, x, e, *_):
    start, end = (START, END) if way == "forward" else (END, START)
    return sums(mlp(layer[way]["message"], e, x[start]), end)


def embedding(p, params, symmetry, as_published):
    """Of a network. Published messages back read the first pairs, and all the senders' places."""
    signs = symmetry != "permutation"
    kernels, biases = ([params[f"Dense_{i}/{k}"] for i in range(3)] for k in ("kernel", "bias"))
    x = np.concatenate([np.ones(WIDTHS[0]), *biases])[:, None] @ p["own"]["kernel"]
    place = p["nodes_positions"][TYPE]
    x = np.where(HIDDEN & signs, x * place, x + place)
    e = first = np.concatenate([k.ravel() for k in kernels])[:, None] @ p["weight"]["kernel"]
    for i in range(SETTINGS["layers"]):
        layer, messages = p[f"layer_{i}"], of_signs if signs else of_permutations
        back = messages(layer, "backward", x, first if as_published else e, place, as_published)
        parts = [x, messages(layer, "forward", x, e, place, as_published), back]
        skip = x @ layer["skip"]["kernel"]
        if i < SETTINGS["layers"] - 1 and signs:
            form, pairs = np.where(HIDDEN, np.abs(x), x), layer["pairs_0"]
            e = e @ pairs["gamma"]["kernel"] * mlp(pairs["phi"], form[START], form[END])
        elif i < SETTINGS["layers"] - 1:
            e = mlp(layer["pairs_0"]["phi"], e, x[START], x[END])
        if signs:
            x = skip + equivariant(layer["update"], np.concatenate(parts, 1), HIDDEN, place)
        else:
            x = skip + mlp(layer["update"], *parts)
    p = p["readout"]
    ends = {"last": x[-WIDTHS[-1] :], "first": x[: WIDTHS[0]]}
    ends = [x.reshape(1, -1) @ p[k]["kernel"] + p[k]["bias"] for k, x in ends.items()]
    return mlp(p["code"], *ends)[0]


@pytest.mark.parametrize("symmetry", ["sign", "hetero", "permutation"])
def test_published_messages_back_read_the_first_pairs_in_every_round(symmetry):
    """Ours read the pairs of the round, and others' positions: another function of the same."""
    found, vector = {}, vector_of(SPEC)
    params = {k: np.asarray(x, np.float64) for k, x in networks.unravel(vector, SPEC).items()}
    # of mixtures, "balanced" has a second state of pairs
    for backward in ("as_published", "balanced")[: 1 if symmetry == "hetero" else 2]:
        encoder = ScaleGMN(**SETTINGS, symmetry=symmetry, backward=backward)
        view = encoder.view(SPEC)
        variables = shaken(encoder, vector[None], view)
        found[backward] = np.asarray(jax.jit(encoder.apply)(variables, vector[None], view)[0])
        if backward == "as_published":
            p = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"])
    first, ours = (embedding(p, params, symmetry, published) for published in (True, False))
    np.testing.assert_allclose(found["as_published"], first, rtol=2e-4, atol=1e-4)
    if "balanced" in found:
        np.testing.assert_allclose(found["balanced"], ours, rtol=2e-4, atol=1e-4)
    assert np.abs(first - ours).max() > 1e-2 * np.abs(first).max()

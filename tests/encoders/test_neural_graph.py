"""Neural graphs: which parameter stands where, both backbones against NumPy, probes, sizes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import corner_cases
from cases.corner_cases import SPECS
from cases.drawing import draw, raveled, reader, shaken

from wsjax import architectures, networks, testing
from wsjax.encoders import neural_graph
from wsjax.encoders.neural_graph import NeuralGraph
from wsjax.encoders.parts import probes
from wsjax.networks import ROLES
from wsjax.tasks import InputScale
from wsjax.views import graphs, neurons, padding

CHAIN = architectures.mlp([2, 3, 2, 1], "tanh")
SETTINGS = dict(
    width=12, edge_width=12, attention=8, hidden=8, edge_hidden=8, heads=2, layers=2, head=(8,),
    code=4, frequencies=16, pool="all",
)  # fmt: skip
SMALL = {b: NeuralGraph(b, reverse=b == "pna", **SETTINGS) for b in neural_graph.BACKBONES}
both = pytest.mark.parametrize("backbone", neural_graph.BACKBONES)


def network(spec, seed=0):
    return raveled(draw(spec, seed=seed), spec)


@functools.cache
def start(encoder, spec):
    vectors, view = network(spec)[None], encoder.view(spec)
    return shaken(encoder, vectors, view), vectors, view


@functools.cache
def applied(encoder):
    """`encoder.apply`, compiled once for all tests."""
    return jax.jit(encoder.apply)


@functools.cache
def together():
    """Every hard network in one bucket, so that one program reads them all."""
    encoder = SMALL["pna"].clone(layers=3)
    rows = dict(zip(SPECS.values(), range(len(SPECS)), strict=True))
    stacked = encoder.stack([encoder.view(s) for s in rows])
    variables, _, _ = start(encoder, CHAIN)
    length = max(s.count for s in rows)

    def code(params, spec):
        row = raveled(params, spec)
        view = jax.tree.map(lambda x: x[rows[spec]][None], stacked)
        return applied(encoder)(variables, np.pad(row, (0, length - spec.count))[None], view)

    return code


def test_the_embedding_is_invariant_and_reads_the_wiring(movable):
    """Every corner case is supported. The other backbone: `test_invariance`."""
    encode = lambda p: together()(p, movable)
    testing.assert_invariant(encode, draw(movable), movable, jax.random.key(2), rtol=1e-5)


def test_every_parameter_stands_in_exactly_one_place(spec):
    view = neurons.neurons(spec, 12, 2)
    places = np.concatenate([view.weight.ravel(), view.own.ravel()])
    np.testing.assert_array_equal(np.sort(places[places >= 0]), np.arange(spec.count))
    ends = list(zip(view.graph.sender.tolist(), view.graph.receiver.tolist(), strict=True))
    assert len(set(ends)) == len(ends)
    assert not {(r, s) for s, r in ends} & set(ends)  # `reverse` puts these in their place
    assert not np.isin(view.graph.place_role[view.graph.place], range(4, 9)).any()
    graph, roles = graphs.parameter_graph(spec), view.graph.place_role[view.graph.place]
    assert sorted(roles) == sorted(
        r for r in graph.place_role[graph.place] if graphs.NODE_ROLES[r] not in networks.ROLES
    )
    free = [graphs.EDGE_ROLES[r] in neurons.FREE for r in graph.relation_role[graph.relation]]
    assert (view.weight == neurons.ONE).sum() == sum(free)


def test_weights_stand_at_the_neurons_they_join_and_vectors_at_theirs():
    case = SPECS["taps in two dimensions"]
    params = draw(case)
    view = neurons.neurons(case, 6, 1)
    vectors = networks.ravel(params, case)[None]
    weight, own = (np.asarray(neurons.gather(vectors, x))[0] for x in (view.weight, view.own))
    place = view.graph.place
    at = lambda role, level: [
        i for i in range(len(place))
        if graphs.NODE_ROLES[view.graph.place_role[place[i]]] == role
        and view.graph.place_level[place[i]] == level
    ]  # fmt: skip
    inputs, first, second = at("input", -1), at("hidden", 0), at("hidden", 1)
    grid = np.zeros((len(place), len(place), 9))
    grid[view.graph.sender, view.graph.receiver] = weight
    for start, end, name in ((inputs, first, "Conv_0"), (first, second, "Conv_1")):
        kernel = params[f"{name}/kernel"]
        want = kernel.reshape(-1, *kernel.shape[2:])  # [tap, read, write]
        got = grid[np.ix_(start, end)].transpose(2, 0, 1)
        np.testing.assert_array_equal(got[: len(want)], want)
        np.testing.assert_array_equal(got[len(want) :], 0)
        np.testing.assert_array_equal(own[end, 1], params[f"{name}/bias"])
    np.testing.assert_array_equal(grid[np.ix_(second, first)], 0)


def test_parallel_weights_rank_by_array_and_free_joins_have_channels_of_their_own():
    case = SPECS["attention of two reads and writes"]
    view, positions = neurons.neurons(case, 2, 1), networks.offsets(case)
    row = np.flatnonzero(view.weight[:, 0] == positions["Query/kernel"][0, 1, 2])
    np.testing.assert_array_equal(view.weight[row, 1], positions["Key/kernel"][0, 1, 2])
    ones = (view.weight == neurons.ONE).sum(0)
    np.testing.assert_array_equal(ones, [0, 0, 6, 0, 28])  # residual, tie, block
    tied = neurons.neurons(SPECS["one axis twice in an array"], 2, 1)
    np.testing.assert_array_equal((tied.weight == neurons.ONE).sum(0), [0, 0, 0, 5, 0])


def test_all_vectors_of_a_norm_are_features_of_its_neurons():
    case = SPECS["norm without a kernel"]
    view, positions = neurons.neurons(case, 1, 2), networks.offsets(case)
    row = int(np.flatnonzero(view.own[:, 2] == positions["Dense_0/bias"][3])[0])
    at = lambda name: positions[name][3]  # two of each role: kernel, bias, scale, mean, variance
    biases = [at("Dense_0/bias"), at("Norm_0/bias")]
    rest = [x for role in ("scale", "mean", "variance") for x in (at(f"Norm_0/{role}"), -1)]
    np.testing.assert_array_equal(view.own[row], [-1, -1, *biases, *rest])


def test_too_many_parameters_are_errors_and_the_layer_is_named():
    wanted = r"Conv_0: 6 weights join two neurons.*Conv_0/kernel.*at most channels = 5"
    with pytest.raises(ValueError, match=wanted):
        NeuralGraph(channels=5).view(SPECS["taps in two dimensions"])
    case = corner_cases.spec(
        corner_cases.dense("Dense_0", 0, "x", "h0"),
        corner_cases.norm("Norm_1", 1, "h0"),
        corner_cases.norm("Norm_2", 2, "h0"),
        corner_cases.dense("Dense_1", 3, "h0", "y"),
        hidden=("h0",),
        **dict(x=2, h0=3, y=1),
    )
    wanted = r"Norm_2: 3 parameters of a role feed one, .*Norm_2/bias.*at most features = 2"
    with pytest.raises(ValueError, match=wanted):
        NeuralGraph(features=2).view(case)
    assert NeuralGraph(features=3).view(case).own.shape == (6, 15)


@both
def test_padding_and_stacking_change_no_number(backbone):
    encoder = SMALL[backbone]
    specs = [SPECS[n] for n in ("attention of two reads and writes", "ones everywhere")]
    alone = [network(s, i) for i, s in enumerate(specs)]
    variables, _, _ = start(encoder, specs[0])
    vectors = padding.vectors(alone)
    for row, short in zip(vectors, alone, strict=True):
        row[len(short) :] = 99.0  # what lies behind a network must not be read
    stacked = encoder.stack([encoder.view(s) for s in specs])
    embeddings = applied(encoder)(variables, vectors, stacked)
    for case, row, code in zip(specs, alone, embeddings, strict=True):
        single = applied(encoder)(variables, row[None], encoder.view(case))[0]
        np.testing.assert_allclose(code, single, rtol=1e-5, atol=1e-5)


def test_other_architectures_in_the_same_bucket_do_not_recompile():
    encoder = SMALL["pna"]
    variables, _, _ = start(encoder, CHAIN)
    encode, embeddings = jax.jit(encoder.apply), []
    for hidden in ([8, 4], [7, 5]):
        case = architectures.mlp([2, *hidden, 1], "tanh")
        vectors = padding.vectors([network(case)])
        embeddings.append(encode(variables, vectors, encoder.stack([encoder.view(case)])))
    assert encode._cache_size() == 1
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-5


@both
def test_gradients_are_finite(backbone):
    """Also of a network of zeros, whose neurons all receive equal messages."""
    probed = {"probes": 3, "inputs": 2} if backbone == "pna" else {}  # once is enough
    encoder = SMALL[backbone].clone(**probed)
    variables, vectors, view = start(encoder, CHAIN)
    loss = lambda v, x: (encoder.apply(v, x, view) ** 2).sum()
    slope = jax.jit(jax.grad(loss, argnums=(0, 1)))
    for scale in (0.0, 1.0, 1e3):
        slopes = slope(variables, np.float32(scale) * vectors)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(slopes))
        assert max(np.abs(g).max() for g in jax.tree.leaves(slopes[0])) > 0


def probed(encoder):
    """(vectors, view, points, units) -> the activations of each neuron, compiled."""

    def activations(vectors, view, points, units=None):
        kernel = neurons.gather(vectors, view.weight)[..., 0]
        bias = neurons.gather(vectors, view.own)[..., encoder.features * ROLES.index("bias")]
        chain = probes.Chain(kernel, bias, view.graph, view.omega, view.depth)
        return chain.activations(points, units)

    return jax.jit(activations)


def test_activations_are_those_of_the_networks():
    """Chains of different activations, widths and depths in one batch."""
    chains = [
        architectures.mlp([2, 4, 3, 1], "sin", 30.0),
        architectures.mlp([2, 3, 2], "gelu", bias=False),
        *(architectures.mlp([2, 2, 2], name) for name in architectures.ACTIVATIONS),
    ]
    encoder = NeuralGraph(probes=5, inputs=2, channels=1, features=1)
    alone = [network(s, i) for i, s in enumerate(chains)]
    stacked = encoder.stack([encoder.view(s) for s in chains])
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    activations = probed(encoder)
    found = activations(padding.vectors(alone), stacked, points)
    for case, row, got in zip(chains, alone, found, strict=True):
        params, x = networks.unravel(row, case), points
        view, seen = encoder.view(case), []
        for layer in case.layers:
            seen.append(x)
            bias = params.get(f"{layer.name}/bias", 0)
            x = x @ params[f"{layer.name}/kernel"] + bias
            if layer.activation != "none":
                x = np.asarray(architectures.ACTIVATIONS[layer.activation](layer.omega * x))
        np.testing.assert_allclose(x, architectures.forward(params, points, case), atol=1e-4)
        want = np.concatenate([*seen, x], axis=-1).T  # [node, probe]
        np.testing.assert_allclose(got[: len(want)], want, rtol=1e-4, atol=1e-4)
        if case == chains[0]:
            single = activations(row[None], view, points)[0]
            np.testing.assert_allclose(single, want, rtol=1e-4, atol=1e-4)


def test_probes_run_networks_as_they_were_before_normalisation():
    spec = architectures.mlp([2, 4, 3, 1], "sin", 30.0)
    encoder = NeuralGraph(probes=5, inputs=2, channels=1, features=1)
    scales = {k: 0.3 + i for i, k in enumerate(sorted(networks.kinds(spec).values()))}
    raw, view = network(spec, 0), encoder.view(spec)
    divided = InputScale(scales).apply(raw, spec)
    found = encoder.calibrate(divided[None], view, scales)
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    activations = probed(encoder)
    scales_by_level = (found["kernel"], found["bias"])
    want = activations(raw[None], view, points)
    np.testing.assert_allclose(
        activations(divided[None], view, points, scales_by_level), want, atol=2e-4
    )
    assert np.abs(activations(divided[None], view, points) - want).max() > 0.1
    assert NeuralGraph().calibrate(divided[None], view, {}) == {}
    with pytest.raises(
        ValueError, match="probes run networks, so their normalisation must be known"
    ):
        encoder.calibrate(divided[None], view, {})


def test_probed_embeddings_are_invariant_and_probes_are_learned():
    encoder, case = SMALL["pna"].clone(probes=4, inputs=2), SPECS["ordinary"]
    variables, vectors, view = start(encoder, case)
    encode = reader(encoder, case)
    testing.assert_invariant(encode, draw(case), case, jax.random.key(2), rtol=1e-5)
    slope = jax.jit(jax.grad(lambda v: (encoder.apply(v, vectors, view) ** 2).sum()))(variables)
    assert variables["params"]["probes"].shape == (4, 2)
    assert np.abs(slope["params"]["probes"]).max() > 1e-6


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("taps in two dimensions", r"(?s)Conv_0: not a dense layer.*Conv_1: not a dense layer"),
        ("norm without a kernel", r"Norm_0: not a dense layer"),
        ("residual without arrays", r"Add_0: not a dense layer"),
        ("one axis twice in an array", r"Recurrent: reads what it writes"),
        ("wide input", r"Dense_0: 50 inputs, where probes have 2"),
    ],
)
def test_what_cannot_be_probed_is_named(name, wrong):
    with pytest.raises(ValueError, match=wrong):
        NeuralGraph(probes=4, inputs=2).view(SPECS[name])


def test_fourier_features():
    x = jnp.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.3]])
    waves = np.asarray(neural_graph.fourier(x, 400, 2.0))
    np.testing.assert_allclose(waves[0], [1.0] * 400 + [0.0] * 400, atol=1e-6)
    np.testing.assert_allclose((waves**2).sum(-1), 400, rtol=1e-5)
    # their products are a Gaussian kernel of deviation 1 / (2 pi sigma)
    near = np.asarray(neural_graph.fourier(jnp.array([[0.0, 0.0], [0.05, 0.0]]), 400, 2.0))
    np.testing.assert_allclose(
        near[0] @ near[1] / 400, np.exp(-((0.2 * np.pi) ** 2) / 2), atol=0.05
    )
    assert np.abs(waves[1] - waves[2]).max() > 0.5  # channels differ


# The original's count on an INR 2-32-32-1, and what it spends on positions and probes there.
TRANSFORMER, PNA = (NeuralGraph(**neural_graph.SETTINGS[k]) for k in ("ng_t", "ng_gnn"))
SIZES = {
    "NG-T": (TRANSFORMER, 376_586, 5 * 64),
    "NG-T, 64 probes": (TRANSFORMER.clone(probes=64, inputs=2), 393_866, 5 * 64),
    "NG-GNN": (PNA, 92_010, 5 * 32),
    "NG-GNN, wide": (PNA.clone(width=64, edge_width=64, head=(64, 64)), 331_466, 5 * 64),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_those_of_kofinas_et_al(name):
    """Equal but for positions, which here fit any architecture, and projections of probes."""
    case = architectures.mlp([2, 32, 32, 1], "sin", 30.0)
    encoder, published, positions = SIZES[name]
    count = lambda tree: sum(math.prod(x.shape) for x in jax.tree.leaves(tree))
    params = jax.eval_shape(
        encoder.init, jax.random.key(0), jnp.zeros((1, case.count)), encoder.view(case)
    )["params"]
    total = count(params)
    print(f"{name}: {total:,} parameters, published {published:,}")
    assert abs(total / published - 1) < 0.05
    spare = 3 * sum(count(params.get(k, {})) for k in ("answers", "answer_norm"))
    assert total - count(params["position"]) + positions + spare == published


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        (dict(backbone="gat"), r"backbone: expected one of \('transformer', 'pna'\), got 'gat'"),
        (dict(pool="cat"), r"pool: expected one of \('output', 'all'\), got 'cat'"),
        (dict(heads=3), "heads: expected a divisor of 128, got 3"),
        (dict(channels=0), "channels: expected at least 1, got 0"),
        (dict(initial="xavier"), r"initial: expected one of \('lecun', 'published'\)"),
        (dict(dropout=1.0), "dropout: expected from 0 to below 1, got 1.0"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(setting, wrong):
    with pytest.raises(ValueError, match=wrong):
        NeuralGraph(**setting)


@both
def test_published_variables_begin_as_pytorchs(backbone):
    """But for the layers of the transformer, which begin as Xavier's, and for positions."""
    encoder = SMALL[backbone].clone(initial="published", layers=1, probes=3, inputs=2)
    view = encoder.view(CHAIN)
    start = lambda e: jax.jit(lambda x: e.init(jax.random.key(0), x, view))(network(CHAIN)[None])
    params = start(encoder)["params"]
    names = {"parameters", "weights", "node_in", "pair_in", "answers", "head_0", "code"}
    for name in names:
        layer, fan_in = params[name], len(params[name]["kernel"])
        assert max(np.abs(x).max() for x in layer.values()) <= fan_in**-0.5, name
        assert np.all(layer["bias"]), name
        np.testing.assert_allclose(np.std(layer["kernel"]), (3 * fan_in) ** -0.5, rtol=0.3)
    assert bool(np.any(params["layer_0"]["out"]["bias"])) == (backbone == "pna")
    np.testing.assert_allclose(np.std(params["position"]["number"]["kernel"]), 1, rtol=0.2)
    ours = start(encoder.clone(initial="lecun"))["params"]
    assert not any(np.any(ours[name]["bias"]) for name in names)
    assert np.std(ours["weights"]["kernel"]) > 1.5 * np.std(params["weights"]["kernel"])


@both
def test_what_is_dropped_follows_the_key_and_only_in_training(backbone):
    encoder = SMALL[backbone].clone(dropout=0.5)
    variables, vectors, view = start(encoder, CHAIN)
    run = jax.jit(lambda k: encoder.apply(variables, vectors, view, True, rngs={"dropout": k}))
    embeddings = [run(jax.random.key(i)) for i in (0, 0, 1)]
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    assert np.abs(embeddings[0] - embeddings[2]).max() > 1e-3
    still = applied(encoder)(variables, vectors, view)
    np.testing.assert_array_equal(still, applied(SMALL[backbone])(variables, vectors, view))


def test_settings_are_different_functions():
    embeddings = []
    for settings in ({}, {"pool": "output"}, {"reverse": False}, {"sigma": 3.0}):
        encoder = SMALL["pna"].clone(**settings)
        variables, vectors, view = start(encoder, CHAIN)
        embeddings.append(jax.jit(encoder.apply)(variables, vectors, view))
    assert min(np.abs(embeddings[0] - c).max() for c in embeddings[1:]) > 1e-4

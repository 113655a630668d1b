"""ScaleGMN: its factors, directions, options, editor, and what the published one gets wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import MOVABLE, dense
from cases.corner_cases import spec as spec_of
from cases.families import FAMILIES
from cases.scaling_cases import MORE

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor, NeuralGraph, ScaleGMN
from wsjax.encoders.scalegmn.scalegmn_settings import SETTINGS
from wsjax.networks import Layer
from wsjax.symmetries import scalings
from wsjax.views import padding

KEY = jax.random.key(7)
EXACT = ("none", "reciprocal", "gated", "balanced")
SMALL = {"width": 12, "layers": 2, "code": 4}
SIREN = architectures.mlp([2, 32, 32, 1], "sin", 30.0)
TANH, RELU = (architectures.mlp([2, 6, 5, 3], f) for f in ("tanh", "relu"))
CNN = architectures.cnn([1, 16, 16, 16], [10])
# a residual around a kernel of the same neurons; levels 0, 5 and 9; two outputs of two neurons
AROUND = spec_of(
    dense("Dense_0", 0, "x", "h"),
    dense("Dense_1", 1, "h", "h", "relu"),
    Layer("Residual_0", "residual", 1, source=0),
    dense("Dense_2", 2, "h", "y"),
    hidden=("h",), x=2, h=4, y=1,
)  # fmt: skip
SPARSE = spec_of(
    dense("Dense_0", 0, "x", "h0", "relu"),
    dense("Dense_5", 5, "h0", "h1", "gelu"),
    dense("Dense_9", 9, "h1", "y"),
    hidden=("h0", "h1"), x=2, h0=3, h1=3, y=1,
)  # fmt: skip
TWO_ENDS = spec_of(
    dense("Dense_0", 0, "x", "h", "relu"),
    dense("Dense_1", 1, "h", "y"),
    dense("Dense_2", 1, "h", "z"),
    hidden=("h",), x=2, h=3, y=2, z=2,
)  # fmt: skip
SPECS = {**MOVABLE, **{k: v[0] for k, v in {**FAMILIES, **MORE}.items()}}


def shaken(module, vectors, view):
    """Variables none of which is zero or one by its initialiser; nothing is compiled for them."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), vectors, view))
    rng = np.random.default_rng(1)

    def draw(path, x):
        size = 1 / np.sqrt(x.shape[0]) if x.ndim == 2 else 0.1
        x = size * rng.standard_normal(x.shape)
        ones = jax.tree_util.keystr(path[-1:]) in ("['norm_scale']", "['gamma']") and x.ndim == 1
        return jnp.asarray(x + ones, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def reader(encoder, spec):
    """params -> what the module makes of them."""
    view = getattr(encoder, "encoder", encoder).view(spec)
    variables = shaken(encoder, jnp.zeros((1, spec.count)), view)
    return jax.jit(lambda p: encoder.apply(variables, networks.ravel(p, spec)[None], view)[0])


def moved(code, other):
    return float(np.abs(np.asarray(other) - code).max() / np.abs(code).max())


# one network of each make: activations, convolutions, residuals, linear layers, grids
MAKES = ("mlp siren", "relu", "linear", "mixed activations", "cnn", "relu and maxima",
         "cnn flattened", "sine and maxima", "residual of relu without norm", "residual of sines",
         "grid", "one axis twice in an array")  # fmt: skip


@pytest.fixture(scope="module")
def every():
    """name -> (vector -> embedding), one program for all."""
    encoder = ScaleGMN(**SMALL)
    views = [encoder.view(SPECS[name]) for name in MAKES]
    width = padding.rounded(max(SPECS[name].count for name in MAKES))
    stacked = encoder.stack(views)
    single = [jax.tree.map(lambda x, i=i: x[i : i + 1], stacked) for i in range(len(views))]
    variables = shaken(encoder, jnp.zeros((1, width)), single[0])
    apply = jax.jit(lambda x, view: encoder.apply(variables, x, view)[0])
    pad = lambda x: np.pad(np.asarray(x), (0, width - x.size))[None]
    read = lambda view: lambda vector: np.asarray(apply(pad(vector), view))
    return {n: read(v) for n, v in zip(MAKES, single, strict=True)}, variables


@pytest.mark.parametrize("name", MAKES)
def test_embeddings_are_invariant_to_factors_that_all_arrays_carry_and_to_no_others(every, name):
    spec, encode = SPECS[name], every[0][name]
    vector = np.asarray(networks.ravel(testing.draw(KEY, spec), spec))
    g = scalings.sample(jax.random.key(3), spec, ("sign", "scale"), 0.7)
    factor, code = np.asarray(scalings.factors(g, spec)[0]), encode(vector)
    assert np.abs(factor - 1).max() > 0.1
    assert moved(code, encode(vector * factor)) < 1e-5
    for a in spec.arrays:  # an array that carries its factors alone
        where = networks.offsets(spec)[a.name].ravel()
        misaligned = vector.copy()
        misaligned[where] *= factor[where]
        if np.abs(misaligned - vector).max() > 1e-2:
            assert moved(code, encode(misaligned)) > 1e-4, a.name


def test_stacked_networks_have_the_embeddings_they_have_alone(every):
    encoder, (read, variables) = ScaleGMN(**SMALL), every
    for name in ("mixed activations", "relu", "cnn flattened"):
        spec = SPECS[name]
        view, vector = encoder.view(spec), networks.ravel(testing.draw(KEY, spec), spec)
        alone = jax.jit(lambda x, w=view: encoder.apply(variables, x, w))(vector[None])[0]
        assert moved(alone, read[name](vector)) < 1e-5


def test_concatenated_outputs_of_networks_with_different_numbers_of_them():
    """Which the published read-out cannot; a network's embedding is the one it has alone."""
    encoder = ScaleGMN(**SMALL, readout="last", layout=(2, 3, 3))
    specs = [RELU, architectures.mlp([1, 4, 2], "tanh")]
    views, vectors = [encoder.view(s) for s in specs], []
    for spec in specs:
        x = networks.ravel(testing.draw(KEY, spec), spec)
        vectors.append(jnp.pad(x, (0, padding.rounded(RELU.count) - x.size)))
    view = encoder.stack(views)
    variables = shaken(encoder, jnp.stack(vectors), view)
    embeddings = jax.jit(lambda x: encoder.apply(variables, x, view))(jnp.stack(vectors))
    for code, vector, spec, one in zip(embeddings, vectors, specs, views, strict=True):
        alone = jax.jit(lambda x, w=one: encoder.apply(variables, x, w))(vector[None, : spec.count])
        assert moved(alone[0], code) < 1e-5


OPTIONS = {
    "forward alone": {"backward": "none"},
    "absolute values": {"symmetrise": False, "symmetry": "sign"},
    "outputs": {"readout": "last", "plain": True},
    "outputs, forward": {
        **{"readout": "last", "backward": "none", "layers": 3},
        **{"apart": False, "skip": False},
    },
    "a table": {"layout": (3, 3, 4), "positions": ("message", "update"), "add": False},
    "a table of outputs": {"layout": (2, 2, 3), "readout": "last", "pair_positions": False},
    "two layers in nets": {"depth": 2, "norm": False},
    "reciprocal": {"backward": "reciprocal"},
    "gated": {"backward": "gated"},
    "published, signs": {"backward": "as_published", "symmetry": "sign", "initial": "published"},
    "no positions": {"node_positions": False, "pair_positions": False},
    "probes": {"probes": 5},
    "probes, signs": {"probes": 5, "symmetry": "sign", "backward": "none"},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_keeps_the_factors(option):
    settings = OPTIONS[option]
    spec = TANH if settings.get("symmetry") == "sign" else architectures.mlp([2, 6, 5, 3])
    params = testing.draw(KEY, spec)
    encode = reader(ScaleGMN(**{**SMALL, **settings}), spec)
    g = scalings.sample(jax.random.key(3), spec, ("sign", "scale"), 0.7)
    assert moved(encode(params), encode(scalings.act(g, params, spec))) < 1e-5
    testing.assert_invariant(encode, params, spec, KEY, rtol=1e-6)


def test_without_factors_it_is_invariant_to_permutations_alone():
    params, encode = (
        testing.draw(KEY, RELU),
        reader(ScaleGMN(**SMALL, symmetry="permutation"), RELU),
    )
    testing.assert_invariant(encode, params, RELU, KEY, rtol=1e-6)
    g = scalings.sample(jax.random.key(3), RELU, spread=0.7)
    assert moved(encode(params), encode(scalings.act(g, params, RELU))) > 1e-3


@pytest.mark.parametrize("symmetry", ["scale", "hetero"])
def test_the_published_messages_back_break_scales_and_the_others_do_not(symmetry):
    params = testing.draw(KEY, RELU)
    g = scalings.sample(jax.random.key(3), RELU, spread=0.7)
    scaled, errors = scalings.act(g, params, RELU), {}
    for backward in ("as_published", *EXACT):
        encode = reader(ScaleGMN(**SMALL, symmetry=symmetry, backward=backward), RELU)
        errors[backward] = moved(encode(params), encode(scaled))
    assert errors.pop("as_published") > 1e-2
    assert max(errors.values()) < 1e-5


def test_in_networks_of_signs_all_messages_back_are_one_but_the_published():
    vector, programs = jnp.ones((1, TANH.count)), {}
    for backward in ("as_published", *EXACT):
        encoder = ScaleGMN(**SMALL, symmetry="sign", backward=backward)
        view = encoder.view(TANH)
        run = lambda x, e=encoder, w=view: e.init_with_output(KEY, x, w)
        programs[backward] = str(jax.make_jaxpr(run)(vector))
    for other in ("none", "as_published"):
        assert programs.pop(other) not in programs.values()
    assert len(set(programs.values())) == 1


def extremes(spec):
    """Networks at which norms, quotients and squares go wrong."""
    params = testing.draw(KEY, spec)
    names = [a.name for a in spec.arrays]
    biases = [a.name for a in spec.arrays if a.role == "bias"]
    yield "zero biases", {**params, **{n: 0 * params[n] for n in biases}}
    yield "zeros", {n: 0 * params[n] for n in names}
    dead = spec.arrays[0].name
    yield (
        "dead neurons",
        {**params, dead: params[dead].at[..., :2].set(0), biases[0]: 0 * params[biases[0]]},
    )
    for size in (1e-15, 1e8):
        yield f"{size:g}", {n: size * params[n] for n in names}
        yield f"some {size:g}", {n: params[n].at[..., ::2].multiply(size) for n in names}


EXTREME = ("mnist", "mnist_b", "cifar_inr_b", "mnist_edit", "cifar10_relu", "cifar10_relu_b", "any")


@pytest.mark.parametrize("settings", EXTREME)
def test_gradients_are_finite_at_extremes(settings):
    if settings == "any":  # with masked padding
        encoder = ScaleGMN(**SMALL)
        view = encoder.stack([encoder.view(CNN), encoder.view(RELU), encoder.view(TANH)])
        spec, rows = CNN, 3
    else:
        spec, rows = (CNN if "cifar10" in settings else SIREN), 1
        small = {"width": 8, "backward": "balanced" if "_b" in settings else "none"}
        small["layers"] = min(SETTINGS[settings]["layers"], 4)
        encoder = ScaleGMN(**{**SETTINGS[settings], **small})
        view = encoder.view(spec)
    width = padding.rounded(spec.count) if rows > 1 else spec.count
    variables = shaken(encoder, jnp.zeros((rows, width)), view)
    loss = lambda v, x: jnp.square(jnp.tanh(encoder.apply(v, x, view))).sum()
    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    others = [networks.ravel(testing.draw(KEY, s), s) for s in (RELU, TANH)][: rows - 1]
    for name, params in extremes(spec):
        vectors = [networks.ravel(params, spec), *others]
        found = both(variables, jnp.stack([jnp.pad(x, (0, width - x.size)) for x in vectors]))
        for x in jax.tree.leaves(found):
            assert np.isfinite(x).all(), name


def test_reciprocals_overflow_where_the_others_do_not():
    """Weights of 1e-15, as trained CNNs have them, three layers deep."""
    params = testing.draw(KEY, CNN)
    small = {n: x.at[..., ::2].multiply(1e-15) for n, x in params.items()}
    found = {}
    for backward in ("reciprocal", "gated", "balanced"):
        encoder = ScaleGMN(**{**SETTINGS["cifar10_relu"], "width": 8, "backward": backward})
        view = encoder.view(CNN)
        variables = shaken(encoder, jnp.zeros((1, CNN.count)), view)
        loss = lambda v, x, e=encoder, w=view: jnp.square(e.apply(v, x, w)).sum()
        grads = jax.jit(jax.grad(loss))(variables, networks.ravel(small, CNN)[None])
        found[backward] = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
    assert not np.isfinite(found.pop("reciprocal"))
    assert max(found.values()) < 1e4


@pytest.mark.parametrize(
    ("settings", "spec", "words"),
    [
        ({"symmetry": "sign"}, RELU, "'scale'.*expected symmetry='hetero'"),
        ({"symmetry": "scale"}, TANH, "'sign'"),
        ({"symmetry": "scale"}, architectures.mlp([2, 4, 1], "gelu"), "'free'"),
        ({}, SPECS["vit"], "Conv_0"),
        ({}, SPECS["resnet"], "BatchNorm_0"),
        ({"links": False}, SPECS["resnet without norm"], "joined without a parameter.*links=True"),
        ({"links": False}, AROUND, "Residual_0: 4 pairs.*links=True"),
        ({"symmetry": "scale"}, SPARSE, "Dense_5: neurons.*'free'"),
        ({"layout": (2, 1, 2)}, TWO_ENDS, r"\(2, 1, 4\)"),
        ({"channels": 4}, CNN, "9 weights join.*channels = 4"),
        ({"features": 1}, SPECS["hash grid"], "features = 1"),
        ({"layout": (2, 2, 2)}, RELU, r"\(2, 2, 3\).*layout = \(2, 2, 2\)"),
    ],
)
def test_networks_it_does_not_support_are_named(settings, spec, words):
    with pytest.raises(ValueError, match=words):
        ScaleGMN(**settings).view(spec)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"symmetry": "even"}, "symmetry: expected one of .*'sign'.*'even'"),
        ({"backward": "both"}, "backward: expected one of"),
        ({"readout": "all"}, "readout: expected one of"),
        ({"initial": "torch"}, r"initial: expected one of \('lecun', 'published'\), got 'torch'"),
        ({"positions": ("edge",)}, "positions: expected some of"),
        ({"positions": "message"}, "got 'message'"),
        ({"layout": (2, 2)}, r"layout: expected \(inputs, hidden levels, outputs\)"),
        ({"depth": 0, "dropout": 2.0}, "depth: expected at least 1, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        ScaleGMN(**settings)


def test_all_outputs_are_read_where_several_layers_make_them():
    encoder = ScaleGMN(**SMALL, readout="last", layout=(2, 1, 4))
    params, encode = testing.draw(KEY, TWO_ENDS), reader(encoder, TWO_ENDS)
    for name in ("Dense_1/bias", "Dense_2/bias"):
        assert moved(encode(params), encode({**params, name: params[name] + 1})) > 1e-3


@pytest.mark.parametrize("encoder", [ScaleGMN(**SMALL), NeuralGraph(width=8)], ids=("s", "n"))
def test_networks_that_do_not_fit_their_view_are_errors(encoder):
    views = [encoder.view(RELU), encoder.view(TANH)]
    with pytest.raises(ValueError, match=r"\[batch, (68|71) or more\]"):
        jax.eval_shape(lambda: encoder.init(KEY, jnp.zeros((1, 20)), views[0]))
    with pytest.raises(ValueError, match="3 networks and 2 views"):
        jax.eval_shape(lambda: encoder.init(KEY, jnp.zeros((3, 99)), encoder.stack(views)))


def test_the_audit_finds_what_is_wrong_with_the_published_messages_back():
    params, verdicts = testing.draw(KEY, RELU), {}
    for backward in ("as_published", "balanced"):
        encode = reader(ScaleGMN(**SMALL, backward=backward), RELU)
        found = testing.audit(encode, params, RELU, KEY, samples=1)
        verdicts[backward] = {name: found[name].verdict for name in ("permutation", "scale")}
    assert verdicts["as_published"] == {"permutation": "exact", "scale": "broken"}
    assert verdicts["balanced"] == {"permutation": "exact", "scale": "exact"}


def test_dropout_needs_training():
    spec, encoder = TANH, ScaleGMN(**SMALL, dropout=0.5, dropout_all=True)
    view, x = encoder.view(spec), networks.ravel(testing.draw(KEY, spec), spec)[None]
    variables = shaken(encoder, x, view)
    train = jax.jit(lambda k: encoder.apply(variables, x, view, True, rngs={"dropout": k}))
    assert moved(train(jax.random.key(1)), train(jax.random.key(2))) > 1e-2
    still = jax.jit(lambda e: e.apply(variables, x, view), static_argnums=0)
    np.testing.assert_array_equal(still(encoder), still(ScaleGMN(**SMALL)))


EDITED = {"tanh": TANH, "relu": RELU, "mixed": SPECS["mixed activations"], "cnn": SPECS["cnn"]}


@pytest.mark.parametrize("name", EDITED)
def test_editing_commutes_with_permutations_and_factors(name):
    spec = EDITED[name]
    vector = reader(Editor(ScaleGMN(width=12, layers=3, readout="edit"), initial=1.0), spec)
    edit = lambda p: networks.unravel(vector(p), spec)
    params = testing.draw(KEY, spec)
    testing.assert_equivariant(edit, params, spec, KEY, rtol=1e-5)
    testing.assert_reads_wiring(edit, params, spec, rtol=1e-5)
    g = scalings.sample(jax.random.key(3), spec, ("sign", "scale"), 0.7)
    delta = lambda p: {n: np.asarray(x) - p[n] for n, x in edit(p).items()}
    still, there = delta(params), delta(scalings.act(g, params, spec))
    here = scalings.act(g, still, spec)
    for a in spec.arrays:
        size = np.abs(params[a.name]).max()  # of what a delta was subtracted from
        assert np.abs(still[a.name]).max() > 1e-4 * size, a.name
        assert moved(here[a.name], there[a.name]) < 1e-3, a.name
    assert max(moved(here[a.name], still[a.name]) for a in spec.arrays) > 0.1  # g moves the edit


def test_a_probed_editor_commutes_with_factors_and_reads_activations():
    spec = architectures.mlp([2, 6, 5, 1], "sin", 3.0)
    encoder = ScaleGMN(width=12, layers=2, readout="edit", symmetry="sign", probes=4)
    read = reader(Editor(encoder, initial=1.0), spec)
    edit = lambda p: networks.unravel(read(p), spec)
    params = testing.draw(KEY, spec)
    testing.assert_equivariant(edit, params, spec, KEY, rtol=1e-5)
    g = scalings.sample(jax.random.key(3), spec, ("sign",), 0.7)
    here, there = scalings.act(g, edit(params), spec), edit(scalings.act(g, params, spec))
    assert max(moved(here[a.name], there[a.name]) for a in spec.arrays) < 1e-5
    assert max(moved(here[a.name], edit(params)[a.name]) for a in spec.arrays) > 0.1
    # an edit that is one, and that other probes would change
    assert min(moved(params[a.name], edit(params)[a.name]) for a in spec.arrays) > 3e-4
    view, vector = encoder.view(spec), networks.ravel(params, spec)[None]
    found = shaken(encoder, vector, view)
    other = {**found, "params": {**found["params"], "probes": 2 * found["params"]["probes"]}}
    assert moved(*(encoder.apply(v, vector, view) for v in (found, other))) > 1e-3


def test_probed_networks_are_distinguished_by_their_activations_and_in_stacks():
    """ReLU and leaky ReLU have one view of parameters: probes alone tell them apart."""
    specs = [architectures.mlp([2, 6, 5, 3], f) for f in ("relu", "leaky_relu")]
    params = testing.draw(KEY, specs[0])
    vector = networks.ravel(params, specs[0])
    silent = {"node_positions": False, "pair_positions": False}

    def embeddings(probes):
        encoder = ScaleGMN(**SMALL, **silent, symmetry="scale", probes=probes)
        views = [encoder.view(s) for s in specs]
        variables = shaken(encoder, vector[None], views[0])
        read = jax.jit(encoder.apply)
        both = read(variables, jnp.stack([vector, vector]), encoder.stack(views))
        return [read(variables, vector[None], view)[0] for view in views], both

    alone, _ = embeddings(probes=0)
    assert moved(*alone) < 1e-6
    alone, both = embeddings(probes=5)
    assert moved(*alone) > 1e-4
    assert moved(both, jnp.stack(alone)) < 1e-5


def test_probes_need_scales_and_chains():
    encoder = ScaleGMN(probes=3)
    with pytest.raises(
        ValueError, match="probes run networks, so their normalisation must be known"
    ):
        encoder.calibrate(np.zeros((1, TANH.count)), encoder.view(TANH), {})
    scales = {k: 2.0 for k in networks.kinds(TANH).values()}
    found = encoder.calibrate(np.zeros((1, TANH.count)), encoder.view(TANH), scales)
    assert {k: x.tolist() for k, x in found.items()} == {"kernel": [2.0] * 3, "bias": [2.0] * 3}
    assert ScaleGMN().calibrate(np.zeros((1, TANH.count)), ScaleGMN().view(TANH), {}) == {}
    with pytest.raises(ValueError, match="Conv_0: not a dense layer"):
        encoder.view(CNN)
    with pytest.raises(ValueError, match="2 inputs, where probes have 3"):
        ScaleGMN(probes=3, coordinates=3).view(TANH)


def test_an_editor_edits_several_architectures_at_once():
    encoder = ScaleGMN(width=12, layers=2, readout="edit")
    specs = [RELU, TANH, SPECS["cnn"]]
    views = [encoder.view(s) for s in specs]
    vectors = [networks.ravel(testing.draw(KEY, s), s) for s in specs]
    width = padding.rounded(max(v.size for v in vectors))
    batch = jnp.stack([jnp.pad(v, (0, width - v.size)) for v in vectors])
    editor = Editor(encoder, arrays=max(len(s.arrays) for s in specs), initial=1.0)
    view = encoder.stack(views)
    variables = shaken(editor, batch, view)
    edited = np.asarray(jax.jit(lambda x: editor.apply(variables, x, view))(batch))
    for row, vector, one in zip(edited, vectors, views, strict=True):
        alone = jax.jit(lambda x, w=one: editor.apply(variables, x, w))(vector[None])[0]
        np.testing.assert_allclose(row[: vector.size], alone, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(row[vector.size :], 0)
    with pytest.raises(ValueError, match="at most 2 arrays, got 6"):
        Editor(encoder, arrays=2).init(KEY, vectors[0][None], views[0])
    with pytest.raises(ValueError, match="readout='edit'"):
        Editor(ScaleGMN()).init(KEY, vectors[0][None], views[0])

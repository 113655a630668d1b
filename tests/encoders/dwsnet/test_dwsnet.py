"""DWSNet: its layer against the equations, what it spans, its size, its settings."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS as CORNERS
from cases.drawing import params_of, reader, shaken, vector_of

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor
from wsjax.encoders.dwsnet.dwsnet import SETTINGS, DWSNet
from wsjax.encoders.dwsnet.dwsnet_layers import Layer
from wsjax.symmetries import permutations

KEY = jax.random.key(3)
# of the published code on these architectures, without the projection of the contrastive loss
PUBLISHED_PARAMETERS = {"mnist": 552_650, "sines": 103_600, "sne": 1_538_720}
SMALL = {"width": 6, "layers": 2, "code": 4, "heads": 2}
MLP = architectures.mlp([2, 3, 4, 2], "tanh")
TWO = architectures.mlp([2, 3, 2], "tanh")
AROUND = CORNERS["residual without arrays"]  # arrays that share two axes
SPECS = {
    "mlp": (MLP, {}),
    "cnn of one channel": (architectures.cnn([2, 1, 4], [3], kernel=2), {}),
    "three axes": (
        CORNERS["attention of two reads and writes"],
        {"sets": "deepsets", "layers": 1},
    ),
}


def two_of(spec):
    """Two networks, [2, entry]."""
    return np.stack([vector_of(spec), vector_of(spec)[::-1]])


@pytest.mark.parametrize("name", SPECS)
def test_embeddings_are_invariant_to_permutations_alone(name):
    spec, settings = SPECS[name]
    encode = reader(DWSNet(**{**SMALL, **settings}), spec)
    testing.assert_invariant(encode, params_of(spec), spec, KEY)


OTHERS = {
    "deepsets of sums": (MLP, {"sets": "deepsets", "reduction": "sum"}),
    "arrays that share two axes": (AROUND, {"sets": "deepsets"}),
    "neighbours alone": (MLP, {"diagonal": True}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_edits_commute_with_permutations_and_read_the_wiring(name):
    spec, settings = OTHERS[name]
    run = reader(DWSNet(**{**SMALL, "readout": "edit", **settings}), spec)
    edit = lambda p: networks.unravel(run(p), spec)
    testing.assert_equivariant(edit, params_of(spec), spec, KEY)
    testing.assert_reads_wiring(edit, params_of(spec), spec)


def test_an_edit_is_exact_in_float64_and_an_editor_adds_it():
    with jax.enable_x64(True):
        editor = Editor(DWSNet(**SMALL, readout="edit"))
        params = params_of(TWO, np.float64)
        run = reader(editor, TWO, np.float64)
        edit = lambda p: networks.unravel(run(p), TWO)
        assert run(params).dtype == np.float64
        testing.assert_equivariant(edit, params, TWO, KEY, rtol=1e-9)


# the layer against the equations


def blocks_of(variables, layer, x):
    """A layer written down matrix by matrix, W [in, out, channel] and b [out, channel].

    Published, W2 reads W1 alike for both outputs, by an attention with fewer channels.
    """
    p, out = jax.tree.map(np.asarray, variables["params"]), layer.out
    reduce = {"max": np.max, "mean": np.mean, "sum": np.sum}[layer.reduction]
    names = [a.name for a in MLP.arrays]  # W0 b0 W1 b1 W2 b2
    flat = lambda y: y.reshape(*y.shape[:-2], -1)
    # hidden axes, and the array with all others among its channels
    sets = {
        names[0]: ("h0", flat(x[names[0]].transpose(1, 0, 2))), names[1]: ("h0", x[names[1]]),
        names[2]: ("h0 h1", x[names[2]]), names[3]: ("h1", x[names[3]]),
        names[4]: ("h1", flat(x[names[4]])), names[5]: ("", flat(x[names[5]])),
    }  # fmt: skip
    width = {n: out * (2 if n in (names[0], *names[4:]) else 1) for n in names}
    sizes = dict(MLP.sizes)

    def to(source, target_axes):
        axes, y = sets[source]
        over = tuple(i for i, h in enumerate(axes.split()) if h not in target_axes.split())
        return reduce(y, axis=over) if over else y

    def alone(a, b):
        shared = [h for h in sets[a][0].split() if h in sets[b][0].split()]
        return shared if len(shared) == 1 else []

    def attend(axis, source, target, q):
        alike = {(names[2], names[4])} if layer.as_published else set()
        one = (source, target) in alike
        here = p[f"along_{axis}_alike" if one else f"along_{axis}"]
        w = out if one else width[target]
        s, t = source.replace("/", "_"), target.replace("/", "_")
        near = lambda a, b: alone(a, b) == [axis] and ((a, b) in alike) == one
        readers = [n for n in names if near(source, n)]
        widths = [width[n] for n in readers]
        readers = sorted(readers, key=lambda n: widths.index(width[n]))
        # queries, keys and values of a source: by width, by target
        start = 3 * sum(width[n] for n in readers[: readers.index(target)])
        y = q @ here[f"{s}_in"] + here[f"{s}_in_bias"]
        q, k, v = y[:, start : start + 3 * w].reshape(len(y), 3, w).transpose(1, 0, 2)
        o, d = np.empty_like(q), w // layer.heads
        for h in range(layer.heads):
            cut = slice(h * d, (h + 1) * d)
            score = np.exp(q[:, cut] @ k[:, cut].T / np.sqrt(w))
            o[:, cut] = q[:, cut] + score / score.sum(1, keepdims=True) @ v[:, cut]
        i = [n for n in names if near(n, target)].index(source)
        o = o + np.maximum(o @ here[f"{t}_out"][i] + here[f"{t}_out_bias"][i], 0)
        return np.tile(o, width[target] // w)

    total = {}
    for target in names:
        axes, label = sets[target][0], target.replace("/", "_")
        shape = [sizes[h] for h in axes.split()]
        sums = np.zeros((*shape, width[target]))
        place = lambda y, axis, axes=axes: y[:, None] if axes.startswith(f"{axis} ") else y
        rows, bias = {}, {}  # of every product, in order of sources
        linear = [n for n in names if len(set(sets[n][0].split()) & set(axes.split())) != 1]
        for source in names:
            shared = [h for h in axes.split() if h in sets[source][0].split()]
            if len(shared) == 1:
                sums = sums + place(attend(shared[0], source, target, to(source, shared[0])),
                                    shared[0])  # fmt: skip
        for source in linear:
            both = len(axes.split()) == 2 and source == target
            patterns = ["none", "h0", "h1", "h0_h1"] if both else ["none"]
            for pattern in patterns:
                y = to(source, pattern.replace("none", "").replace("_", " "))
                product = p[f"{label}_along_{pattern}"]
                row, b = rows.get(pattern, 0), bias.get(pattern, 0)
                y = y @ product["kernel"][row : row + y.shape[-1]] + product["bias"][b]
                rows[pattern], bias[pattern] = row + to(source, "").shape[-1], b + 1
                y = place(y, pattern) if pattern in ("h0", "h1") else y
                sums = sums + y * (0.25 if both else 1.0)
        total[target] = sums / len(names)
    # channels back to axes
    split = lambda y: y.reshape(*y.shape[:-1], 2, out)
    total[names[0]] = split(total[names[0]]).transpose(1, 0, 2)
    return {n: split(total[n]) if n in names[4:] else total[n] for n in names}


@pytest.mark.parametrize(("reduction", "as_published"), [("max", True), ("mean", False)])
def test_a_layer_is_the_equations(reduction, as_published):
    with jax.enable_x64(True):
        layer = Layer(MLP, 4, True, 2, reduction, False, as_published)
        x = np.random.default_rng(0).standard_normal((1, MLP.count, 3))
        variables = shaken(layer, x)
        y = np.asarray(jax.jit(layer.apply)(variables, x))
    take = lambda x: {n: x[0][where] for n, where in networks.offsets(MLP).items()}
    want, found = blocks_of(variables, layer, take(x)), take(y)
    for name, array in want.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


SPANNED = {
    "mlp": (architectures.mlp([1, 2, 3, 1]), False),
    "two arrays that share two axes": (
        networks.Spec(
            tuple(
                networks.Layer(n, "dense", i, (networks.Array(n, "kernel", axes, (0,), (1,)),))
                for i, (n, axes) in enumerate((("A", ("g", "h")), ("B", ("h", "g"))))
            ),
            (("g", 2), ("h", 3)),
            ("g", "h"),
        ),
        False,
    ),
    "neighbours alone": (architectures.mlp([1, 2, 3, 1]), True),
}


@pytest.mark.parametrize("name", SPANNED)
def test_with_means_a_layer_is_every_equivariant_affine_map(name):
    """As many as the group averages of (trace)^2 and of trace say."""
    spec, diagonal = SPANNED[name]
    n, sizes = spec.count, dict(spec.sizes)
    group = [itertools.permutations(range(sizes[h])) for h in spec.hidden]
    traces = []
    for element in itertools.product(*group):
        moved = permutations.act(
            dict(zip(spec.hidden, map(np.array, element), strict=True)),
            networks.offsets(spec), spec,
        )  # fmt: skip
        traces.append(int((np.asarray(networks.ravel(moved, spec)) == np.arange(n)).sum()))
    layer = Layer(spec, 1, False, 1, "mean", diagonal)
    variables = shaken(layer, np.zeros((1, n, 1), np.float32))
    inputs = np.concatenate([np.zeros((1, n)), np.eye(n)]).astype(np.float32)[..., None]
    jacobian = jax.jit(jax.jacobian(lambda v: layer.apply(v, inputs)[..., 0].ravel()))(variables)
    columns = [np.asarray(x).reshape((n + 1) * n, -1) for x in jax.tree.leaves(jacobian)]
    rank = np.linalg.matrix_rank(np.concatenate(columns, 1), tol=1e-4)
    every = np.mean([t * t for t in traces]) + np.mean(traces)
    assert rank < every if diagonal else rank == every


def test_neighbours_alone_read_each_other():
    """Arrays that share neurons, outputs included, and no others."""
    names = [a.name for a in MLP.arrays]
    near = {0: {0, 1, 2}, 1: {0, 1, 2}, 2: {0, 1, 2, 3, 4}, 3: {2, 3, 4}, 4: {2, 3, 4, 5},
            5: {4, 5}}  # fmt: skip
    x = np.random.default_rng(0).standard_normal((1, MLP.count, 1)).astype(np.float32)
    own = np.repeat(np.arange(6), [np.prod(MLP.shape(a)) for a in MLP.arrays])
    for diagonal in (False, True):
        layer = Layer(MLP, 1, False, 1, "mean", diagonal)
        variables = shaken(layer, x)
        jacobian = jax.jit(jax.jacobian(lambda x, f=layer, v=variables: f.apply(v, x).ravel()))(x)
        jacobian = np.abs(np.asarray(jacobian).reshape(MLP.count, MLP.count))
        for target, source in itertools.product(range(6), range(6)):
            some = jacobian[np.ix_(own == target, own == source)].max() > 1e-6
            want = source in near[target] or not diagonal
            assert some == want, (names[target], names[source])


# sizes and settings


@pytest.mark.parametrize("name", SETTINGS)
def test_published_configurations_have_the_published_parameters(name):
    spec = architectures.mlp([2 if name == "mnist" else 1, 32, 32, 1], "sin", 30.0)
    encoder = DWSNet(**SETTINGS[name])
    start = functools.partial(encoder.init, jax.random.key(0))
    shapes = jax.eval_shape(start, jnp.zeros((1, spec.count)), encoder.view(spec))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == PUBLISHED_PARAMETERS[name]


def size(spec, **settings):
    encoder = DWSNet(**{**SETTINGS["mnist"], **settings})
    start = lambda: encoder.init(jax.random.key(0), jnp.zeros((1, spec.count)), encoder.view(spec))
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(start)))


def test_published_layers_read_the_last_inner_matrix_once_for_all_outputs():
    """With a SAB of 32 channels, not of 32 for each of three outputs; with one, it is the same."""
    sab = lambda i, o: 3 * (i + 1) * o + (o + 1) * o
    colours, gray = (architectures.mlp([2, 32, 32, n], "sin", 30.0) for n in (3, 1))
    spared = 4 * (sab(32, 96) - sab(32, 32)) + sab(1, 96) - sab(1, 32)
    assert size(colours, as_published=False) - size(colours) == spared
    assert size(gray, as_published=False) == size(gray)


def test_deepsets_of_several_outputs_read_alike_too():
    x = np.zeros((1, MLP.count, 1), np.float32)
    slopes = {}
    for as_published in (False, True):
        layer = Layer(MLP, 1, False, 1, "mean", False, as_published)
        variables = shaken(layer, x)
        slope = jax.jit(jax.jacobian(lambda x, f=layer, v=variables: f.apply(v, x)[0, :, 0]))(x)
        where = networks.offsets(MLP)
        inner, last = where["Dense_1/kernel"].ravel(), where["Dense_2/kernel"]
        slopes[as_published] = np.asarray(slope)[last][:, :, 0, inner, 0]
    assert np.abs(slopes[True]).max() > 1e-3
    np.testing.assert_allclose(slopes[True][:, 0], slopes[True][:, 1], atol=1e-6)
    assert np.abs(slopes[False][:, 0] - slopes[False][:, 1]).max() > 1e-3


def test_first_weights_have_the_published_deviations():
    """Xavier-normal, times sqrt(2 fan_in / fan_out): 2 / sqrt(fan_out (1 + fan_out / fan_in))."""
    spec = architectures.mlp([2, 3, 1])
    layer = Layer(spec, 256, True, 1, "max", False)
    params = jax.jit(layer.init)(jax.random.key(0), np.zeros((1, spec.count, 8), "f"))["params"]
    deviation = lambda i, o: 2 / np.sqrt(o * (1 + o / i))
    kernel = params["along_h0"]["Dense_0_kernel_in"]  # 2 * 8 -> q, k, v of 512, then 2 of 256
    np.testing.assert_allclose(kernel[:, :1536].std(), deviation(16, 512), rtol=0.05)
    np.testing.assert_allclose(kernel[:, 1536:].std(), deviation(16, 256), rtol=0.05)
    np.testing.assert_allclose(
        params["along_h0"]["Dense_0_bias_out"].std(), deviation(256, 256), rtol=0.05
    )
    none = params["Dense_1_bias_along_none"]["kernel"]  # of arrays in order, the first of 16
    np.testing.assert_allclose(none[:16].std(), deviation(16, 256), rtol=0.1)
    np.testing.assert_allclose(none[16:].std(), deviation(8, 256), rtol=0.1)


def test_settings_are_different_functions():
    spec, embeddings = architectures.mlp([1, 3, 1]), []
    vectors = two_of(spec)
    for settings in (
        {}, {"heads": 1}, {"norm": "none"}, {"reduction": "sum"}, {"sets": "deepsets"},
        {"diagonal": True}, {"layers": 1},
    ):  # fmt: skip
        encoder = DWSNet(**{**SMALL, "width": 4, **settings})
        view = encoder.view(spec)
        variables = shaken(encoder, vectors, view)
        embeddings.append(np.asarray(jax.jit(encoder.apply)(variables, vectors, view)))
    for a, b in itertools.combinations(embeddings, 2):
        assert np.isfinite(a).all()
        assert np.abs(a - b).max() > 1e-4


def test_dropout_acts_in_training_alone():
    spec = architectures.mlp([1, 3, 1])
    encoder, vectors = DWSNet(**SMALL, dropout=0.5), two_of(spec)
    view = encoder.view(spec)
    variables = shaken(encoder, vectors, view)
    run = jax.jit(encoder.apply, static_argnames="train")
    embeddings = [
        np.asarray(run(variables, vectors, view, train=True, rngs={"dropout": jax.random.key(i)}))
        for i in (0, 0, 1)
    ]
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    assert np.abs(embeddings[0] - embeddings[2]).max() > 1e-4
    plain = jax.jit(encoder.clone(dropout=0.0).apply)(variables, vectors, view)
    code = run(variables, vectors, view, train=False)
    np.testing.assert_allclose(code, plain, rtol=1e-5)
    # nor does an embedding depend on the batch
    alone = run(variables, vectors[1:], view, train=False)
    np.testing.assert_allclose(alone, code[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sets": "sab"}, r"sets: expected one of \('attention', 'deepsets'\), got 'sab'"),
        ({"reduction": "min"}, r"reduction: expected one of \('max', 'mean', 'sum'\), got 'min'"),
        ({"norm": "batch"}, r"norm: expected one of \('layer', 'none'\), got 'batch'"),
        ({"readout": "last"}, r"readout: expected one of \('code', 'edit'\), got 'last'"),
        ({"heads": 5}, r"heads: expected a divisor of the width 32, got 5"),
        ({"dropout": 1.0}, r"dropout: expected from 0 to below 1, got 1.0"),
        ({"layers": 0, "code": 0}, r"(?s)layers: expected at least 1, got 0.*code: .* got 0"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        DWSNet(**settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "one axis twice in an array",
            r"Recurrent/kernel: expected hidden axes once, got \['h0'\]",
        ),
        ("dimensions within heads", r"(?s)Query/kernel: .*got \['qk'\] within \['head'\].*Out/k"),
    ],
)
def test_networks_it_does_not_support_are_named(name, words):
    with pytest.raises(ValueError, match=words):
        DWSNet().view(CORNERS[name])


def test_a_network_without_arrays_is_an_error():
    with pytest.raises(ValueError, match="expected arrays, got none"):
        DWSNet().view(networks.Spec((), (), ()))

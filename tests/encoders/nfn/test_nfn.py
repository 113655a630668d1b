"""NFN: its layers against the equations, what they span, its size, its settings."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS as CORNERS
from cases.corner_cases import kernel
from cases.corner_cases import spec as spec_of
from cases.drawing import params_of, reader, shaken, vector_of
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor
from wsjax.encoders.nfn.nfn import NFN, SETTINGS
from wsjax.encoders.nfn.nfn_layers import Dropout, Linear, end_waves, reading
from wsjax.networks import Layer
from wsjax.symmetries import permutations
from wsjax.views.arrays import fold, unfold

KEY = jax.random.key(3)
# variables of the published package's models, measured by building them: "generalisation" on
# networks of 4 970 parameters, "mnist" and "edit" on 2-32-32-1, "cifar" on 2-32-32-3; an
# editor's scale for each array is counted
PUBLISHED_PARAMETERS = {
    "generalisation_hnp": 2_811_743,
    "generalisation_np": 2_031_390,
    "mnist_hnp": 68_844_330,
    "mnist_np": 45_478_186,
    "cifar_hnp": 135_126_826,
    "cifar_np": 47_716_650,
    "edit_hnp": 6_440_853,
    "edit_np": 4_133_656,
}
MLP = architectures.mlp([2, 3, 4, 2], "tanh")
TWO = architectures.mlp([2, 3, 2], "tanh")
SMALL = {"widths": (6,), "head": (), "code": 4}
DEEP = {"widths": (5, 4), "head": (6,), "code": 4}
HNP = {"kind": "hnp", "io": "none"}
# kernels that share both axes, as around a residual
AROUND = spec_of(
    *(
        Layer(f"Dense_{i}", "dense", i, (kernel(f"Dense_{i}", *ends, reads=(0,), writes=(1,)),))
        for i, ends in enumerate(("xg", "gh", "hg", "gy"))
    ),
    hidden=("g", "h"), x=1, g=3, h=2, y=1,
)  # fmt: skip


CODES = {
    "np": (MLP, DEEP),
    "hnp": (MLP, HNP),
    "one hidden neuron": (architectures.mlp([2, 1, 3, 1], "tanh"), {"io": "encoding"}),
    "norms": (CORNERS["norm without a kernel"], {"frequencies": 3, "sigma": 0.2}),
    "flattened": (CORNERS["a kernel that reads flattened images"], HNP),
    "three axes": (CORNERS["attention of two reads and writes"], {"as_published": False}),
}


@pytest.mark.parametrize("name", CODES)
def test_embeddings_are_invariant_to_permutations_alone(name):
    spec, settings = CODES[name]
    encode = reader(NFN(**{**SMALL, **settings}), spec)
    testing.assert_invariant(encode, params_of(spec), spec, KEY, rtol=1e-5)


EDITS = {
    "np": (MLP, {}),
    "hnp": (MLP, HNP),
    "no biases": (CORNERS["no bias"], {"io": "none"}),
    "skips": (AROUND, {"as_published": False}),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_commute_with_permutations_and_read_the_wiring(name):
    spec, settings = EDITS[name]
    run = reader(NFN(**{**SMALL, "readout": "edit", **settings}), spec)
    edit = lambda p: networks.unravel(run(p), spec)
    testing.assert_equivariant(edit, params_of(spec), spec, KEY)
    testing.assert_reads_wiring(edit, params_of(spec), spec)


def test_embeddings_and_edits_are_exact_in_double_precision():
    with jax.enable_x64(True):
        encode, params = reader(NFN(**SMALL), TWO, np.float64), params_of(TWO, np.float64)
        testing.assert_invariant(encode, params, TWO, KEY, rtol=1e-12)
        editor = Editor(NFN(widths=(3,), readout="edit", io="none"))
        run = reader(editor, TWO, np.float64)
        edit = lambda p: networks.unravel(run(p), TWO)
        assert edit(params)["Dense_0/kernel"].dtype == np.float64
        testing.assert_equivariant(edit, params, TWO, KEY, rtol=1e-12)


def test_pointwise_layers_read_no_wiring():
    run = reader(NFN(**SMALL, kind="pt", io="none", readout="edit"), MLP)
    edit = lambda p: networks.unravel(run(p), MLP)
    testing.assert_equivariant(edit, params_of(MLP), MLP, KEY)
    with pytest.raises(AssertionError, match="ignores the wiring"):
        testing.assert_reads_wiring(edit, params_of(MLP), MLP)


# x -> g -> h -> y, each with a letter for an axis. Sources of each target, by hand: by
# target and set of axes, arrays whose means it reads; "*" is averaged over inputs and outputs.
AXES = {"W0": "xg", "b0": "g", "W1": "gh", "b1": "h", "W2": "hy", "b2": "y"}
ALL = "W0 b0 W1 b1 W2 b2"
G, H, TWICE = "W0 b0 W1", "W1 b1 W2", "W0 W0* b0 W1 b1 W2 W2* b2 b2*"
SOURCES = {
    "np": {
        "W0": {"xg": "W0", "x": "W0", "g": G, "": ALL},
        "b0": {"g": G, "": ALL},
        "W1": {"gh": "W1", "g": G, "h": H, "": ALL},
        "b1": {"h": H, "": ALL},
        "W2": {"hy": "W2", "h": H, "y": "W2 b2", "": ALL},
        "b2": {"y": "W2 b2", "": ALL},
    },
    "hnp": {
        "W0": {"g": G, "": TWICE},
        "b0": {"g": G, "": TWICE},
        "W1": {"gh": "W1", "g": "W0 W0* b0 W1", "h": "W1 b1 W2 W2*", "": TWICE},
        "b1": {"h": "W1 b1 W2 W2*", "": TWICE},
        "W2": {"h": "W1 W2", "": TWICE},
        "b2": {"": TWICE},
    },
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_layer_is_the_published_equation(kind):
    names = dict(zip(AXES, (a.name for a in MLP.arrays), strict=True))
    read, rng = reading(MLP, "NFN", kind == "hnp"), np.random.default_rng(0)
    fixed = "xy" if kind == "hnp" else ""
    x = rng.standard_normal((2, MLP.count, 3))
    layer = Linear(read, 2, as_published=True)
    arrays = fold(jnp.asarray(x, jnp.float32), MLP, read.keep)
    variables = shaken(layer, arrays)["params"]
    run = jax.jit(lambda a: unfold(layer.apply({"params": variables}, a), MLP, read.keep))
    got = networks.unravel(np.moveaxis(np.asarray(run(arrays)), -1, 1), MLP)
    whole = networks.unravel(np.moveaxis(x, -1, 1), MLP)  # [batch, channel, *axes]
    sizes = {"x": 2, "g": 3, "h": 4, "y": 2}

    def mean(name, along):
        """[batch, *along, channel of the fixed axes and of the network]"""
        axes, star = AXES[name.rstrip("*")], name.endswith("*")
        over = [a for a in axes if a not in along and (a not in fixed or star)]
        y = whole[names[name.rstrip("*")]].mean(tuple(2 + axes.index(a) for a in over))
        left = [a for a in axes if a not in over]
        order = [*along, *(a for a in left if a not in along)]
        y = y.transpose(0, *(2 + left.index(a) for a in order), 1)
        return y.reshape(2, *(sizes[a] for a in along), -1)

    columns, first = {}, {}
    for target, terms in SOURCES[kind].items():
        axes, kept = AXES[target], [a for a in AXES[target] if a not in fixed]
        width = 2 * int(np.prod([sizes[a] for a in axes if a in fixed], dtype=int))
        want = variables[names[target].replace("/", "_") + "_bias"].sum(0)
        fan_in = 0
        for along, sources in terms.items():
            name = first.setdefault((along, sources), names[target].replace("/", "_"))
            if name == names[target].replace("/", "_"):
                name = "_".join([name, *(str(axes.index(a)) for a in along)])
                first[along, sources] = name
            start = columns.get(name, 0)
            columns[name] = start + width
            features = np.concatenate([mean(s, along) for s in sources.split()], axis=-1)
            fan_in += features.shape[-1]
            y = features @ np.asarray(variables[name], np.float64)[:, start : start + width]
            at = [1 + kept.index(a) for a in along]
            shape = [1] * len(kept)
            for a, i in zip(along, at, strict=True):
                shape[i - 1] = sizes[a]
            want = want + y.reshape(2, *shape, width)
        want = np.broadcast_to(want, (2, *(sizes[a] for a in kept), width))
        want = want.reshape(
            2, *(sizes[a] for a in kept), *(sizes[a] for a in axes if a in fixed), 2
        )
        order = [a for a in axes if a not in fixed] + [a for a in axes if a in fixed]
        want = want.transpose(0, want.ndim - 1, *(1 + order.index(a) for a in axes))
        np.testing.assert_allclose(got[names[target]], want, rtol=1e-4, atol=1e-5)
    assert all(columns[k] == v.shape[1] for k, v in variables.items() if not k.endswith("bias"))


# name -> (architecture, kind, all maps are spanned as published)
SPANNED = {
    "np": (architectures.mlp([2, 2, 3, 2]), "np", True),
    "hnp": (architectures.mlp([2, 2, 3, 2]), "hnp", False),
    "one hidden layer": (architectures.mlp([2, 3, 1]), "hnp", False),
    "one neuron": (architectures.mlp([1, 1, 2, 1]), "np", True),
    "taps": (architectures.cnn([1, 2], [2], kernel=2, dims=1), "np", True),
    "skips": (AROUND, "hnp", None),
}


def maps(spec, kind, as_published):
    """The rank of a layer's maps over many draws of its weights."""
    read = reading(spec, "NFN", kind == "hnp")
    layer, count = Linear(read, 1, as_published=as_published), spec.count
    units = np.concatenate([np.zeros((1, count)), np.eye(count)])[..., None].astype(np.float32)
    arrays = fold(units, spec, read.keep)
    shapes = jax.eval_shape(lambda: layer.init(KEY, arrays))
    draws = 120
    rng = np.random.default_rng(0)
    many = jax.tree.map(lambda x: rng.standard_normal((draws, *x.shape)).astype("f"), shapes)

    @jax.jit
    def operators(variables):
        y = jax.vmap(lambda v: unfold(layer.apply(v, arrays), spec, read.keep)[..., 0])(variables)
        return (y[:, 1:] - y[:, :1]).reshape(draws, -1)

    rank = np.linalg.matrix_rank(np.asarray(operators(many), np.float64), tol=1e-3)
    assert rank < draws
    return rank


def equivariant_maps(spec, kind):
    """How many there are: the mean over all permutations of the square of their fixed entries."""
    read = reading(spec, "NFN", kind == "hnp")
    loose, sizes = dataclasses.replace(spec, hidden=read.keep), dict(spec.sizes)
    entries = networks.unravel(np.arange(spec.count), spec)
    orders = [itertools.permutations(range(sizes[x])) for x in read.keep]
    squares = []
    for g in itertools.product(*orders):
        element = {x: np.asarray(p) for x, p in zip(read.keep, g, strict=True)}
        moved = _permuted(element, entries, loose)
        squares.append((moved == np.arange(spec.count)).sum() ** 2)
    return np.mean(squares)


def _permuted(element, params, spec):
    out = {}
    for a in spec.arrays:
        index = np.ix_(*(element.get(x, np.arange(n)) for x, n in zip(
            a.axes, spec.shape(a), strict=True)))  # fmt: skip
        out[a.name] = params[a.name][index]
    return networks.ravel(out, spec)


@pytest.mark.parametrize("name", SPANNED)
def test_a_layer_spans_all_equivariant_maps(name):
    spec, kind, published = SPANNED[name]
    count = equivariant_maps(spec, kind)
    assert maps(spec, kind, False) == count
    if published is not None:
        assert (maps(spec, kind, True) == count) == published


@pytest.mark.parametrize("name", SETTINGS)
def test_variables_are_as_many_as_published(name):
    last = {"cifar": 3}.get(name.split("_")[0], 1)
    spec = architectures.mlp([2, 32, 32, last], "sin", 30.0)
    if name.startswith("generalisation"):
        spec = architectures.cnn([1, 16, 16, 16], [10], stride=2, padding="VALID")
    module = encoder = NFN(**SETTINGS[name])
    if encoder.readout == "edit":
        module = Editor(encoder)
    view, x = encoder.view(spec), jnp.zeros((1, spec.count))
    shapes = jax.eval_shape(lambda: module.init(KEY, x, view))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == PUBLISHED_PARAMETERS[name]


def test_variables_begin_within_the_number_of_inputs():
    read = reading(MLP, "NFN", False)
    arrays = {a.name: jnp.ones((1, *MLP.shape(a), 4)) for a in MLP.arrays}
    params = jax.jit(Linear(read, 64).init)(KEY, arrays)["params"]
    fan_in = {"kernel": 4 * (1 + 3 + 3 + 6), "bias": 4 * (3 + 6)}  # of the inner arrays
    for role, names in {"kernel": ("1_0_1", "1_bias"), "bias": ("1_bias",)}.items():
        for name in names:
            key = f"Dense_1_{role}_{name.split('_', 1)[1]}"
            largest = np.abs(params[key]).max() * fan_in[role] ** 0.5
            assert 0.9 < largest <= 1, key
    assert params["Dense_1_kernel_bias"].shape == (4, 64)


def test_the_first_kernel_of_hnp_begins_set_by_set():
    """Its two maps begin as PyTorch begins them, each by its own inputs; others by all inputs."""
    read = reading(MLP, "NFN", True)
    arrays = fold(jnp.ones((1, MLP.count, 4)), MLP, read.keep)
    params = jax.jit(Linear(read, 64).init)(KEY, arrays)["params"]
    bound = lambda x: float(np.abs(x).max())
    own, all_arrays = 4 * (2 + 1 + 1), 4 * (2 + 1 + 1 + 1 + 1 + 2 + 1 + 2 + 1)
    kernel, bias = np.split(params["Dense_0_kernel_1"], [2 * 64], axis=1)
    assert 0.95 < bound(kernel) * own**0.5 <= 1
    assert 0.9 < bound(bias) * (own + all_arrays) ** 0.5 <= 1
    for i, inputs in enumerate((own, all_arrays)):
        assert 0.9 < bound(params["Dense_0_kernel_bias"][i]) * inputs**0.5 <= 1
    assert 0.9 < bound(params["Dense_0_bias_bias"]) * (own + all_arrays) ** 0.5 <= 1
    one = jax.jit(Linear(read, 64, as_published=False).init)(KEY, arrays)["params"]
    assert bound(one["Dense_0_kernel_bias"]) < 0.9 * own**-0.5


def moved_by_inputs(settings, spec=TWO):
    """True if a permutation of inputs, or of outputs, moves an embedding."""
    encode, params = reader(NFN(**{**SMALL, **settings}), spec), params_of(spec)
    code = np.asarray(encode(params))
    found = []
    for end in ("x", "y"):
        other = {
            a.name: np.flip(params[a.name], a.axes.index(end)) if end in a.axes else params[a.name]
            for a in spec.arrays
        }
        found.append(bool(np.abs(encode(other) - code).max() > 1e-4 * np.abs(code).max()))
    return found


def test_what_distinguishes_inputs_and_outputs():
    assert moved_by_inputs({"io": "none", "pool": "all"}) == [False, False]
    assert moved_by_inputs({"io": "none"}) == [True, True]
    assert moved_by_inputs({"io": "encoding", "pool": "all"}) == [True, True]
    assert moved_by_inputs({"pool": "all"}) == [True, True]
    assert moved_by_inputs({**HNP, "pool": "all"}) == [True, True]


def test_waves_stand_where_inputs_and_outputs_are():
    waves = end_waves(reading(MLP, "NFN", False), 3, 4.0)
    parts = networks.unravel(waves.T, MLP)
    angle = np.pi * np.linspace(1, 2, 3)
    last = np.concatenate([np.sin(angle), np.cos(angle), [1.0]])
    first = np.concatenate([-np.sin(angle), np.cos(angle), [-1.0]])
    for i, row in enumerate((first, last)):
        np.testing.assert_allclose(parts["Dense_0/kernel"][:, i], np.tile(row[:, None], 3))
        np.testing.assert_allclose(parts["Dense_2/kernel"][:, :, i], np.tile(row[:, None], 4))
        np.testing.assert_allclose(parts["Dense_2/bias"][:, i], row)
    for name in ("Dense_0/bias", "Dense_1/kernel", "Dense_1/bias"):
        assert not parts[name].any()


@pytest.mark.parametrize("hidden_only", [False, True])
def test_whole_channels_of_kernels_drop_and_single_numbers_of_vectors(hidden_only):
    spec = architectures.cnn([2, 40], [3], kernel=2)
    read = reading(spec, "NFN", hidden_only)
    ones = fold(jnp.ones((2, spec.count, 8)), spec, read.keep)
    drop = jax.jit(lambda key: Dropout(read, 0.5).apply({}, ones, True, rngs={"dropout": key}))
    x = np.moveaxis(unfold(drop(KEY), spec, read.keep), -1, 1)
    x = networks.unravel(x, spec)  # [batch, channel, *axes]
    for name, a in ((a.name, a) for a in spec.arrays):
        assert set(np.unique(x[name])) == {0.0, 2.0}
        neurons = tuple(i + 2 for i in (*a.reads, *a.writes))
        assert (np.ptp(x[name], axis=neurons) == 0).all() == (a.role == "kernel")
    np.testing.assert_array_equal(Dropout(read, 0.5).apply({}, ones, False)[name], ones[name])


def test_what_is_dropped_follows_the_key():
    spec, settings = architectures.mlp([2, 3]), {"widths": (16,), "head": (16,)}
    x = vector_of(spec)[None]
    for rates in ({"dropout": 0.5}, {"feature_dropout": 0.5}):
        encoder = NFN(**settings, **rates)
        view = encoder.view(spec)
        variables = shaken(encoder, x, view)
        run = lambda key, e=encoder, v=variables, view=view: e.apply(
            v, x, view, True, rngs={"dropout": key}
        )
        keys = jax.random.split(KEY, 6)
        embeddings = np.asarray(jax.jit(lambda keys, run=run: jax.lax.map(run, keys))(keys))
        assert len({c.tobytes() for c in embeddings}) > 3


def test_settings_change_what_they_name():
    size = lambda **s: sum(
        x.size
        for x in jax.tree.leaves(
            jax.eval_shape(
                lambda: NFN(**{**SMALL, **s}).init(
                    KEY, jnp.zeros((1, MLP.count)), NFN(**{**SMALL, **s}).view(MLP)
                )
            )
        )
    )
    plain, means = size(), 2 + 1 + 1 + 1 + 2 + 2
    assert size(code=5) == plain + 6 * means + 1
    assert size(head=(7,)) == plain - 4 * 6 * means + 7 * (6 * means + 1) + 4 * 7
    assert size(pool="all") == plain - 4 * 6 * (means - 6)
    assert size(io="none") == plain - (2 + 2 + 2)
    assert size(io="encoding", bands=2) > size(io="encoding", bands=1)
    one = {"widths": (4,), "head": (), "io": "encoding", "frequencies": 2}
    code = lambda **s: np.asarray(reader(NFN(**one, **s), TWO)(params_of(TWO)))
    first = code(highest=3.0, sigma=0.1)
    assert np.abs(code(highest=5.0, sigma=0.1) - first).max() > 1e-3
    assert np.abs(code(highest=3.0, sigma=1.0) - first).max() > 1e-3


def test_settings_that_make_no_sense_are_named_together():
    with pytest.raises(ValueError, match="settings make no sense") as error:
        NFN(kind="no", io="some", pool="max", readout="x", widths=(), head=(0,), code=0,
            frequencies=-1, bands=0, dropout=1.0, feature_dropout=-1.0)  # fmt: skip
    for words in (
        "kind: expected one of ('hnp', 'np', 'pt'), got 'no'",
        "io: expected one of ('embed', 'encoding', 'none'), got 'some'",
        "pool: expected one of ('hidden', 'all'), got 'max'",
        "readout: expected one of ('code', 'edit'), got 'x'",
        "widths: expected widths above 0, got ()",
        "head: expected widths above 0, got (0,)",
        "code: expected at least 1, got 0",
        "frequencies: expected at least 0, got -1",
        "bands: expected at least 1, got 0",
        "dropout: expected from 0 to below 1, got 1.0",
        "feature_dropout: expected from 0 to below 1, got -1.0",
    ):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="expected 'encoding' or 'none' for 'hnp'"):
        NFN(kind="hnp")


def test_networks_it_does_not_support_are_named_with_all_reasons():
    with pytest.raises(ValueError, match="NFN does not support the network") as error:
        NFN().view(FAMILIES["vit"][0])
    inner, outer = FAMILIES["vit"][0].nested[0]
    assert f"axis {inner!r}" in str(error.value)
    assert f"nested within {outer!r}" in str(error.value)
    twice = CORNERS["one axis twice in an array"]
    with pytest.raises(ValueError, match="expected distinct axes, got"):
        NFN().view(twice)
    empty = networks.Spec((), (), ())
    with pytest.raises(ValueError, match="expected a network with arrays, got none"):
        NFN(**HNP).view(empty)


def test_symmetries_act_as_the_count_of_maps_assumes():
    spec = architectures.mlp([2, 2, 3, 2])
    g = permutations.sample(KEY, spec)
    entries = networks.unravel(np.arange(spec.count), spec)
    want = networks.ravel(permutations.act(g, entries, spec), spec)
    np.testing.assert_array_equal(_permuted(g, entries, spec), want)

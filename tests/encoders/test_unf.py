"""UNF: its layers are all maps that commute with permutations; it reads every architecture."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS as CORNERS
from cases.corner_cases import conv, dense, kernel, vector
from cases.corner_cases import spec as spec_of
from cases.drawing import params_of, reader, shaken
from cases.families import FAMILIES
from jax.flatten_util import ravel_pytree

from wsjax import architectures, networks, testing
from wsjax.encoders import Editor
from wsjax.encoders.parts import equivariant_maps
from wsjax.encoders.unf import UNF, Layer, groups, permuted
from wsjax.networks import Layer as NetworkLayer
from wsjax.networks import Spec, offsets

KEY = jax.random.key(3)
SIREN = architectures.mlp([1, 32, 32, 1], "sin", 30.0)
SMALL = UNF(width=5, layers=2, code=4)


def size(encoder, spec):
    vectors = np.zeros((1, spec.count), np.float32)
    shapes = jax.eval_shape(encoder.init, KEY, vectors, encoder.view(spec))
    return sum(x.size for x in jax.tree.leaves(shapes))


# the basis

RECURRENT = spec_of(
    dense("In", 0, "x", "h"), dense("Rec", 1, "h", "h"), hidden=("h",), x=1, h=4
)  # fmt: skip
GROUPS = spec_of(
    NetworkLayer("A", "dense", 0, (
        kernel("A", "member", "x", "group", reads=(1,), writes=(0, 2)),
        vector("A", "bias", "group", "member"),
        vector("A", "scale", "group"),
    )),
    NetworkLayer("B", "dense", 1, (
        kernel("B", "group", "member", "h", reads=(0, 1), writes=(2,)),
        vector("B", "bias", "h"),
    )),
    hidden=("group", "member", "h"), nested=(("member", "group"),), x=1, group=2, member=3, h=2,
)  # fmt: skip
HEADS = spec_of(
    NetworkLayer("A", "attention", 0, (
        kernel("Q", "s", "head", "qk", reads=(0,), writes=(1, 2)),
        vector("Q", "bias", "head", "qk"),
        vector("V", "bias", "head", "v"),
    )),
    hidden=("s", "head", "qk", "v"), nested=(("qk", "head"), ("v", "head")),
    s=2, head=2, qk=2, v=2,
)  # fmt: skip
RESIDUAL = spec_of(
    dense("In", 0, "x", "s"),
    dense("Up", 1, "s", "h"),
    dense("Down", 2, "h", "s"),
    NetworkLayer("Add", "residual", 2, source=0),
    dense("Out", 3, "s", "y"),
    hidden=("s", "h"), x=2, s=3, h=2, y=1,
)  # fmt: skip
TAPS = spec_of(
    conv("C0", 0, "t", "x", "c0"), conv("C1", 1, "t", "c0", "c1"),
    hidden=("c0", "c1"), t=2, x=1, c0=2, c1=3,
)  # fmt: skip
TINY = {
    "mlp": architectures.mlp([2, 3, 2, 1], "tanh"),
    "mlp of one neuron": architectures.mlp([1, 1, 2, 2], "tanh"),
    "taps": TAPS,
    "recurrent": RECURRENT,
    "residual": RESIDUAL,
    "groups": GROUPS,
    "heads": HEADS,
    "nothing permuted": architectures.mlp([2, 1]),
}


def tables(spec):
    """(axis, neuron of the outer axis or 0) of every table of a permutation -> its size."""
    sizes, outer = dict(spec.sizes), dict(spec.nested)
    return {
        (h, i): sizes[h] for h in spec.hidden for i in range(sizes[outer[h]] if h in outer else 1)
    }


def goes(spec, g):
    """Where each entry goes, [entry], by loops; `g` gives the new number of each neuron."""
    outer, places, out = dict(spec.nested), offsets(spec), np.zeros(spec.count, int)
    for a in spec.arrays:
        for index in np.ndindex(*spec.shape(a)):
            at = dict(zip(a.axes, index, strict=True))
            new = tuple(
                g[x, at[outer[x]] if x in outer else 0][i] if x in spec.hidden else i
                for x, i in zip(a.axes, index, strict=True)
            )
            out[places[a.name][index]] = places[a.name][new]
    return out


def elements(spec):
    """Every permutation, [element, entry]."""
    rows = tables(spec)
    orders = itertools.product(*(itertools.permutations(range(n)) for n in rows.values()))
    return np.stack([goes(spec, dict(zip(rows, order, strict=True))) for order in orders])


def maps(spec):
    """The maps of one layer, one for each weight: [weight, to, from]."""
    layer = UNF(layers=1, readout="edit")
    view, each = layer.view(spec), np.eye(spec.count, dtype=np.float32)
    shapes = jax.eval_shape(layer.init, KEY, each, view)
    flat, unflatten = ravel_pytree(
        {k: jnp.zeros(v.shape) for k, v in shapes["params"]["layer_0"].items() if k != "bias"}
    )
    bias = jnp.zeros(shapes["params"]["layer_0"]["bias"].shape)

    def matrix(weights):
        weights = {"params": {"layer_0": {**unflatten(weights), "bias": bias}}}
        return layer.apply(weights, each, view).T

    return np.asarray(jax.jit(jax.jacfwd(matrix))(flat)).transpose(2, 0, 1)


@pytest.mark.parametrize("name", TINY)
def test_a_layer_is_every_map_that_commutes_with_permutations(name):
    """As many weights as dimensions, which by Burnside is the mean of (fixed entries)^2."""
    spec = TINY[name]
    group, basis = elements(spec), maps(spec)
    for g in group:  # M[g(i), g(j)] == M[i, j]
        np.testing.assert_allclose(basis[:, g][:, :, g], basis, atol=1e-6)
    fixed = (group == np.arange(spec.count)).sum(1)
    dimension = int((fixed**2).sum()) // len(group)
    rank = np.linalg.matrix_rank(basis.reshape(len(basis), -1))
    assert len(basis) == rank == dimension


@pytest.mark.parametrize("name", ["recurrent", "groups"])
def test_the_average_of_any_map_over_the_group_is_a_layer(name):
    spec = TINY[name]
    basis, one = maps(spec), np.random.default_rng(0).standard_normal((spec.count, spec.count))
    mean = np.mean([one[np.ix_(g, g)] for g in elements(spec)], axis=0)
    flat = basis.reshape(len(basis), -1).T
    weights, *_ = np.linalg.lstsq(flat, mean.ravel(), rcond=None)
    np.testing.assert_allclose(flat @ weights, mean.ravel(), atol=1e-5)
    assert np.abs(flat @ weights - one.ravel()).max() > 0.1


def test_a_width_below_the_number_of_blocks_spans_the_same_with_more_weights():
    """Partitions of more blocks than neurons join no entries: 15 maps, of rank 14 and of 8."""
    for width, rank in ((3, 14), (2, 8)):
        spec = spec_of(
            NetworkLayer("R", "dense", 0, (kernel("R", "h", "h", reads=(0,), writes=(1,)),)),
            hidden=("h",), h=width,
        )  # fmt: skip
        basis, group = maps(spec), elements(spec)
        fixed = (group == np.arange(spec.count)).sum(1)
        assert (fixed**2).sum() / len(group) == rank
        assert len(basis) == 15
        assert np.linalg.matrix_rank(basis.reshape(15, -1)) == rank


@pytest.mark.parametrize("name", ["taps", "recurrent", "heads"])
def test_a_layer_by_loops(name):
    """Every entry of every target, straight from the partitions of both arrays' axes."""
    spec, rng = TINY[name], np.random.default_rng(0)
    sizes, axes = dict(spec.sizes), groups(spec)
    shape = {n: tuple(sizes[x] for x in n) for n in axes}
    x = {n: rng.standard_normal((1, *s, 2)).astype("f") for n, s in shape.items()}
    layer = Layer(spec, (3,) * len(axes))
    variables = shaken(layer, x)
    found, start = jax.jit(layer.apply)(variables, x), 0
    theta = {k: np.asarray(v, float) for k, v in variables["params"].items()}
    for b in axes:
        want, row, mine = np.zeros((*shape[b], 3)), 0, theta["to_" + ".".join(b)]
        for names, into in equivariant_maps.writings(b, spec.nested).items():
            for w in into:
                for a in axes:
                    for r in equivariant_maps.readings(a, spec.nested).get(names, ()):
                        want += _joined(x[a][0], shape[b], r, w) @ mine[row : row + 2]
                        row += 2
                if not names:
                    one = _joined(np.ones(()), shape[b], equivariant_maps.Pattern((), ()), w)
                    want += one[..., None] * theta["bias"][start : start + 3]
                    start += 3
        np.testing.assert_allclose(found[b][0], want, rtol=1e-5, atol=1e-5)
        assert row == len(mine)


def _joined(x, shape, reading, writing):
    """One map of the basis, applied to x [*axes, ...]: [*shape, ...]."""
    out = np.zeros((*shape, *x.shape[sum(map(len, reading.blocks)) :]))
    indices = lambda pattern, size: {
        i: tuple(i[b[0]] for b in pattern.blocks)
        for i in np.ndindex(*size)
        if all(len({i[k] for k in b}) == 1 for b in pattern.blocks)
    }
    sources = indices(reading, x.shape[: sum(map(len, reading.blocks))])
    for j, there in indices(writing, shape).items():
        key = [there[k] for k in writing.kept]
        out[j] = np.mean(
            [x[i] for i, here in sources.items() if [here[k] for k in reading.kept] == key], axis=0
        )
    return out


# the encoder


def response(encoder, spec, dtype="f"):
    """How far a permutation moves the embedding, and each misaligned array.

    One program for all networks, and nothing else to compile.
    """
    rng = np.random.default_rng(0)
    network, turned = rng.standard_normal(spec.count), np.zeros(spec.count)
    turned[goes(spec, {row: rng.permutation(n) for row, n in tables(spec).items()})] = network
    assert not np.array_equal(turned, network)
    batch, names = [network, turned], []
    for a in spec.arrays:
        for i, axis in enumerate(a.axes):
            if axis in permuted(spec):
                misaligned, where = network.copy(), offsets(spec)[a.name]
                misaligned[where] = np.roll(network[where], where.shape[i] // 2, axis=i)
                batch.append(misaligned)
                names.append(f"{a.name} along {axis}")
    vectors, view = np.stack(batch).astype(dtype), encoder.view(spec)
    code = jax.jit(encoder.apply)(shaken(encoder, vectors, view), vectors, view)
    assert code.dtype == vectors.dtype
    code = np.asarray(code, float)
    law, *tears = np.abs(code[1:] - code[0]).max(1) / np.abs(code[0]).max()
    return law, dict(zip(names, tears, strict=True))


# Between them: every kind of layer and role of array, every pattern of permuted and nested
# axes with and without taps and fixed axes, and every number of axes that two arrays share.
# "cnn flattened groups" is read below.
READ = (
    "cnn of one channel",
    "cnn group norm",
    "cnn groups of one",
    "cnn one group",
    "cnn flattened",
    "deepsets group norm",
    "cyclic",
    "grid in three dimensions",
    "resnet group norm",
    "vit",
    "vit of one head",
)


@pytest.mark.parametrize("name", READ)
def test_every_kind_of_architecture_is_supported(name):
    law, tears = response(UNF(width=8, layers=1, code=4), FAMILIES[name][0])
    assert law < 1e-5
    assert not [name for name, moved in tears.items() if not moved > 1e-4]


@pytest.mark.parametrize(
    ("name", "near"), [("recurrent", True), ("groups", False), ("groups", True)]
)
def test_in_double_precision(name, near):
    with jax.enable_x64(True):
        law, tears = response(SMALL.clone(near=near), TINY[name], float)
    assert law < 1e-12
    assert min(tears.values()) > 1e-4


def test_embeddings_are_invariant_to_permutations_and_to_nothing_else():
    spec, _ = FAMILIES["cnn flattened groups"]
    testing.assert_invariant(reader(SMALL, spec), params_of(spec), spec, KEY, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("one axis twice in an array", False),
        ("channels within groups", True),
    ],
)
def test_edits_commute_with_permutations(name, near):
    spec = CORNERS[name]
    editor = Editor(SMALL.clone(readout="edit", near=near), initial=1.0)
    run = reader(editor, spec)
    edit = lambda p: networks.unravel(run(p), spec)
    params = params_of(spec)
    testing.assert_equivariant(edit, params, spec, KEY)
    testing.assert_reads_wiring(edit, params, spec)


def test_sizes():
    assert size(UNF(), SIREN) == 113_957
    assert size(UNF(near=True), SIREN) == 74_618


def test_weights_are_those_of_the_published_code():
    """A matrix for every valid partition, and one bias for each array (no axis occurs twice)."""
    spec, c = architectures.mlp([2, 5, 4, 1], "tanh"), 6
    axes = [tuple(x for x in a.axes if x in spec.hidden) for a in spec.arrays]
    terms = [sum(equivariant_maps.count(a, b) for a in axes) for b in axes]
    assert terms == [9, 9, 13, 9, 9, 6]
    shape = {names: tuple(dict(spec.sizes)[n] for n in names) for names in groups(spec)}
    widths = tuple(c * len(names) for names in groups(spec).values())
    x = {n: jnp.zeros((1, *shape[n], w)) for n, w in zip(shape, widths, strict=True)}
    count = lambda m: sum(v.size for v in jax.tree.leaves(jax.eval_shape(m.init, KEY, x)))
    assert count(Layer(spec, widths)) == sum(terms) * c * c + 6 * c
    assert count(Layer(spec, widths, c)) == (sum(terms) - 36 + 6 + 6 + 1) * c * c + 6 * c


def test_weights_of_near_grow_with_the_number_of_arrays():
    grow = {}
    for near in (False, True):
        sizes = [
            size(UNF(layers=1, near=near), architectures.mlp([1, *[8] * n, 1])) for n in (4, 8, 12)
        ]
        grow[near] = np.diff(sizes)
    assert grow[True][0] == grow[True][1]
    assert grow[False][0] < grow[False][1]


def test_settings_change_what_they_name():
    spec = architectures.mlp([1, 3, 3, 1])
    names = lambda e: " ".join(
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(
            jax.eval_shape(e.init, KEY, jnp.zeros((1, spec.count)), e.view(spec))
        )
    )
    assert "layer_1" in names(SMALL)
    assert "layer_2" not in names(SMALL)
    assert "layer_2" in names(SMALL.clone(layers=3))
    assert "common" not in names(SMALL)
    assert "common" in names(SMALL.clone(near=True))
    assert "code_map" not in names(SMALL.clone(readout="edit"))
    assert size(SMALL.clone(width=6), spec) > size(SMALL, spec)
    shape = lambda e: (
        jax.eval_shape(
            lambda x: e.init_with_output(KEY, x, e.view(spec))[0], jnp.zeros((3, spec.count))
        ).shape
    )
    assert shape(SMALL.clone(code=7)) == (3, 7)
    assert shape(SMALL.clone(readout="edit")) == (3, spec.count)


def test_what_is_not_supported_is_named():
    with pytest.raises(ValueError, match=r"readout: expected one of .*, got 'last'"):
        UNF(readout="last")
    with pytest.raises(ValueError, match="layers: expected at least 1, got 0"):
        UNF(layers=0)
    nothing = Spec((NetworkLayer("N", "norm", 0),), (), ())
    with pytest.raises(ValueError, match=r"expected arrays, got layers \['N'\] without any"):
        UNF().view(nothing)


def test_the_program_grows_with_arrays_and_not_with_their_pairs():
    def operations(layers):
        spec = architectures.mlp([1, *[4] * layers, 1])
        encoder = SMALL.clone(layers=1)
        view, x = encoder.view(spec), jnp.zeros((1, spec.count))
        variables = jax.eval_shape(encoder.init, KEY, x, view)
        return len(jax.make_jaxpr(encoder.apply)(variables, x, view).eqns)

    some, more, most = (operations(n) for n in (4, 8, 12))
    assert abs((most - more) - (more - some)) < 0.05 * some

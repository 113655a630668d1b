import collections
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.corner_cases import SPECS

from wsjax import networks
from wsjax.architectures import mlp
from wsjax.networks import Array, Layer, Spec
from wsjax.views import chunks

SIZES = [1, 3, 8, 32]
MIXED = [
    mlp([2, 5, 4, 1]),
    mlp([1, 1]),
    SPECS["taps in two dimensions"],
    SPECS["residual without arrays"],
]


@pytest.fixture(params=SIZES, ids="chunks of {}".format)
def layout(request, spec):
    return chunks.layout(spec, request.param)


def neurons(layout):
    """(array, tap, output neuron) of every place, [chunk, place, fields]."""
    by_chunk = np.concatenate([layout.array[:, None], layout.tap], axis=1)
    by_chunk = np.repeat(by_chunk[:, None], layout.index.shape[1], axis=1)
    return np.concatenate([by_chunk, layout.write[..., None]], axis=-1)


def test_join_undoes_cut(spec, layout):
    vector = jax.random.normal(jax.random.key(0), (2, spec.count))
    values = chunks.cut(vector, layout)
    assert values.shape == (2, *layout.index.shape)
    np.testing.assert_array_equal(chunks.join(values, layout, spec.count), vector)


def test_every_parameter_sits_in_one_place(spec, layout):
    assert layout.mask.sum() == spec.count
    np.testing.assert_array_equal(np.sort(layout.index[layout.mask]), np.arange(spec.count))
    assert layout.mask.any(axis=1).all()  # no chunk is empty


def test_weights_of_a_neuron_stay_together(layout):
    size, per_neuron = layout.index.shape[1], collections.defaultdict(list)
    where = neurons(layout)
    for chunk, place in zip(*np.nonzero(layout.mask), strict=True):
        per_neuron[tuple(where[chunk, place])].append(chunk)
    together = collections.defaultdict(set)
    for neuron, homes in per_neuron.items():
        # As few chunks as can hold it, one after another
        assert np.ptp(homes) + 1 == len(set(homes)) == -(-len(homes) // size)
        for home in homes:
            together[home].add(neuron)
    for group in together.values():
        assert len(group) == 1 or all(len(set(per_neuron[n])) == 1 for n in group)


def test_places_mean_what_they_say(spec, layout):
    numbers = {a.name: i for i, a in enumerate(spec.arrays)}
    for a in spec.arrays:
        rows = np.nonzero(layout.array == numbers[a.name])[0]
        np.testing.assert_array_equal(layout.position[rows], np.arange(len(rows)))
        shape, start = spec.shape(a), networks.offsets(spec)[a.name].min()
        chunk, place = (x for x in np.nonzero(layout.mask[rows]))
        at = np.unravel_index(layout.index[rows][chunk, place] - start, shape)

        def flat(axes, at=at, shape=shape):
            if not axes:
                return np.full(len(at[0]), chunks.NONE)
            return np.ravel_multi_index([at[i] for i in axes], [shape[i] for i in axes])

        np.testing.assert_array_equal(layout.read[rows][chunk, place], flat(a.reads))
        np.testing.assert_array_equal(layout.write[rows][chunk, place], flat(a.writes))
        for k in range(chunks.TAPS):
            tap = at[a.taps[k]] if k < len(a.taps) else np.full(len(at[0]), chunks.NONE)
            np.testing.assert_array_equal(layout.tap[rows][chunk, k], tap)


def test_tables_of_arrays_and_layers(spec, layout):
    roles = len(networks.ROLES)
    owner = {a.name: layer for layer in spec.layers for a in layer.arrays}
    for i, a in enumerate(spec.arrays):
        kind, role = divmod(layout.array_type[i], roles)
        assert (networks.KINDS[kind], networks.ROLES[role]) == (owner[a.name].kind, a.role)
        assert spec.layers[layout.layer[i]] is owner[a.name]
    for i, layer in enumerate(spec.layers):
        assert networks.KINDS[layout.layer_type[i]] == layer.kind
        assert layout.level[i] == layer.level
        assert layout.source[i] == (chunks.NONE if layer.source is None else layer.source)


def test_the_picture_of_the_docstring():
    layout = chunks.layout(mlp([3, 2]), 4)
    kernel = np.arange(6).reshape(3, 2)
    expected = [[*kernel[:, 0], 0], [*kernel[:, 1], 0], [6, 7, 0, 0]]
    np.testing.assert_array_equal(layout.index, expected)
    np.testing.assert_array_equal(layout.mask.sum(1), [3, 3, 2])


def test_small_neurons_share_a_chunk_and_large_ones_split():
    shared = chunks.layout(mlp([3, 5], bias=False), 8)  # two neurons of three weights, twice
    np.testing.assert_array_equal(shared.mask.sum(1), [6, 6, 3])
    split = chunks.layout(mlp([9, 2], bias=False), 4)
    np.testing.assert_array_equal(split.mask.sum(1), [4, 4, 1, 4, 4, 1])


def test_padded_and_stacked_layouts_change_no_number():
    layouts = [chunks.layout(s, 4) for s in MIXED]
    stacked = chunks.stack(layouts)
    entries = max(s.count for s in MIXED)
    vectors = jax.random.normal(jax.random.key(0), (len(MIXED), entries))
    values = jax.jit(jax.vmap(chunks.cut))(vectors, stacked)
    back = jax.vmap(lambda v, at: chunks.join(v, at, entries))(values, stacked)
    for i, (spec, alone) in enumerate(zip(MIXED, layouts, strict=True)):
        row = jax.tree.map(lambda x, i=i: x[i], stacked)
        n, arrays, layers = alone.sizes
        size = {n: row.sizes[0], arrays: row.sizes[1], layers: row.sizes[2]}
        assert all(have <= r for have, r in size.items())
        for name, real in vars(alone).items():
            padded = getattr(row, name)
            np.testing.assert_array_equal(padded[: len(real)], real, err_msg=name)
            fill = 0 if name in ("index", "mask") else chunks.NONE
            assert (padded[len(real) :] == fill).all(), name
        cut = chunks.cut(vectors[i, : spec.count], alone)
        np.testing.assert_array_equal(values[i, :n], cut)
        np.testing.assert_array_equal(values[i, n:], 0)
        np.testing.assert_array_equal(back[i, : spec.count], vectors[i, : spec.count])
        np.testing.assert_array_equal(back[i, spec.count :], 0)


def test_a_masked_place_is_zero_whatever_it_points_at():
    spec = mlp([3, 2])
    layout = chunks.layout(spec, 4)
    values = chunks.cut(jnp.full(spec.count, jnp.nan), layout)
    np.testing.assert_array_equal(jnp.isnan(values), layout.mask)
    gradient = jax.grad(lambda v: chunks.cut(v, layout).sum())(jnp.ones(spec.count))
    np.testing.assert_array_equal(gradient, 1)


def test_join_leaves_out_what_stands_in_masked_places():
    spec = mlp([3, 2])
    layout = chunks.layout(spec, 4)
    values = jnp.where(layout.mask, chunks.cut(jnp.arange(spec.count), layout), 99)
    np.testing.assert_array_equal(chunks.join(values, layout, spec.count), np.arange(spec.count))


def test_buckets_are_few_and_little_of_them_is_padding():
    sizes = set()
    for n in range(1, 2000):
        size = chunks.bucket([types.SimpleNamespace(sizes=(n, 1, 1))])
        assert n <= size.chunks <= 1.25 * n
        sizes.add(size.chunks)
    assert len(sizes) <= 8 + 4 * 8  # all up to eight, then four for every power of two
    assert chunks.bucket([chunks.layout(s, 4) for s in MIXED]).layers == 8


def test_layouts_are_computed_once():
    assert chunks.layout(mlp([2, 3, 1]), 4) is chunks.layout(mlp([2, 3, 1]), 4)


def test_a_bucket_too_small_is_rejected():
    layout = chunks.layout(mlp([2, 5, 1]), 4)
    with pytest.raises(ValueError, match=r"\(chunks, arrays, layers\) \(8, 4, 2\) does not fit"):
        chunks.pad(layout, chunks.Bucket(chunks=7, arrays=4, layers=2))


def test_a_chunk_size_of_none_is_rejected():
    with pytest.raises(ValueError, match="a chunk size of at least 1, got 0"):
        chunks.layout(mlp([2, 1]), 0)


def test_four_taps_are_rejected():
    window = Array("k", "kernel", ("a", "b", "c", "d", "x", "y"), (4,), (5,))
    sizes = tuple((axis, 2) for axis in window.axes)
    spec = Spec((Layer("Conv_0", "conv", 0, (window,)),), sizes, ())
    with pytest.raises(ValueError, match="k: expected at most 3 taps, got axes"):
        chunks.layout(spec, 4)
